"""The ledger on SQLite: what outlives the process, what is bounded, and several at once."""

import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from certwarden.errors import Error
from certwarden.model import AttemptOutcome, DeployOutcome, PendingRevocation, RevocationReason
from certwarden.store import ledger as ledger_module
from certwarden.store.ledger import Ledger
from tests import crash
from tests.builders import DIRECTORY, DOMAINS, NOW, a_txt_record, an_event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "certwarden.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def test_everything_outlives_the_process(ledger: Ledger, path: Path) -> None:
    """Another process finds all that was written, without anything having been closed."""
    number = ledger.begin_attempt("home", DIRECTORY, DOMAINS, NOW)
    ledger.end_attempt(number, NOW, Error("refused", retry_after=timedelta(seconds=90)))
    ledger.intend([a_txt_record(record_id="7")], NOW)
    ledger.begin_deploy("node-red", "ab", NOW, was_active=True, served_before=None)
    ledger.record(an_event())
    other = Ledger(path)
    try:
        assert other.instance() == ledger.instance()
        assert other.failures("home") == ledger.failures("home")
        assert other.leftovers() == (a_txt_record(record_id="7"),)
        assert other.last_deploy("node-red") == ledger.last_deploy("node-red")
        assert other.events(None, 5) == (an_event(),)
    finally:
        other.close()


def test_attempts_show_those_cut_short(ledger: Ledger) -> None:
    """All attempts can be looked at, newest first, those that never ended included."""
    first = ledger.begin_attempt("home", DIRECTORY, DOMAINS, NOW)
    ledger.end_attempt(first, NOW, None)
    ledger.begin_attempt("home", DIRECTORY, DOMAINS, NOW + timedelta(minutes=1))
    newest, oldest = ledger.attempts("home", 5)
    assert (newest.outcome, newest.ended_at) == (AttemptOutcome.BEGUN, None)
    assert (oldest.outcome, oldest.ended_at) == (AttemptOutcome.OBTAINED, NOW)
    assert ledger.attempts("home", 1) == (newest,)


def test_instants_are_kept_to_the_microsecond_in_utc(ledger: Ledger) -> None:
    """An instant of another zone comes back as the same instant, in UTC."""
    odd = datetime(2046, 2, 3, 4, 5, 6, 789, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    ledger.record(an_event(at=odd))
    (event,) = ledger.events(None, 1)
    assert event.at == odd
    assert event.at.utcoffset() == timedelta(0)


def test_modes(ledger: Ledger, path: Path) -> None:
    """The database is ours alone, whatever the umask; one that was wider is narrowed."""
    before = os.umask(0)
    try:
        ledger.record(an_event())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711
    ledger.close()
    path.chmod(0o644)
    ledger.record(an_event())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_reading_makes_no_ledger(path: Path) -> None:
    """Where there is no ledger, one who only reads finds an empty one and leaves no trace."""
    reader = Ledger(path, read_only=True)
    assert reader.failures("home") == ()
    assert reader.attempts("home", 9) == ()
    assert reader.leftovers() == ()
    assert reader.last_deploy("node-red") is None
    assert reader.pending_revocations("home") == ()
    assert reader.events(None, 9) == ()
    assert re.fullmatch("[0-9a-f]{8}", reader.instance())
    reader.close()
    assert not path.parent.exists()


def test_reading_an_existing_ledger(ledger: Ledger, path: Path) -> None:
    """One who only reads sees what is there."""
    ledger.record(an_event())
    reader = Ledger(path, read_only=True)
    assert reader.events(None, 9) == (an_event(),)
    reader.close()


def test_doing_nothing_writes_nothing(ledger: Ledger, path: Path) -> None:
    """A pass with nothing to do leaves the card alone."""
    ledger.instance()
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    ledger.instance()
    ledger.failures("home")
    ledger.leftovers()
    ledger.intend([], NOW)
    ledger.removed([])
    ledger.removed([a_txt_record()])
    ledger.settle_revocation(PendingRevocation("home", 1, "ab", RevocationReason.UNSPECIFIED, NOW))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ATTEMPTS_KEPT", 3)
    monkeypatch.setattr(ledger_module, "DEPLOYS_KEPT", 3)
    monkeypatch.setattr(ledger_module, "EVENTS_KEPT", 3)


@pytest.mark.usefixtures("small")
def test_history_is_bounded(ledger: Ledger) -> None:
    """The newest entries are kept, of each certificate and target, whatever the clock said then."""
    ledger.begin_attempt("garden", DIRECTORY, DOMAINS, NOW)
    ledger.begin_deploy("nginx", "ab", NOW, was_active=None, served_before=None)
    for day in range(10):
        at = NOW - timedelta(days=400 * day)
        ledger.begin_attempt("home", DIRECTORY, DOMAINS, at)
        ledger.begin_deploy("node-red", f"{day}", at, was_active=None, served_before=None)
        ledger.record(an_event(text=f"{day}"))
    assert [each.id for each in ledger.attempts("home", 99)] == [11, 10, 9]
    assert len(ledger.attempts("garden", 99)) == 1
    assert [each.text for each in ledger.events(None, 99)] == ["9", "8", "7"]
    assert ledger.last_deploy("nginx") is not None
    last = ledger.last_deploy("node-red")
    assert last is not None
    assert last.fingerprint == "9"


def test_numbers_are_not_used_twice(ledger: Ledger, path: Path) -> None:
    """An attempt's number stays its own, also when the newest entries were removed."""
    number = ledger.begin_attempt("home", DIRECTORY, DOMAINS, NOW)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM attempts")
    connection.commit()
    connection.close()
    assert ledger.begin_attempt("home", DIRECTORY, DOMAINS, NOW) == number + 1


def test_many_threads_on_one_ledger(ledger: Ledger) -> None:
    """Orders that run side by side share one ledger, from its first use on."""
    start = threading.Barrier(8)

    def work(number: int) -> str:
        start.wait(30)
        for each in range(5):
            record = a_txt_record(f"{number}-{each}")
            ledger.intend([record], NOW)
            attempt = ledger.begin_attempt(f"home-{number}", DIRECTORY, DOMAINS, NOW)
            ledger.end_attempt(attempt, NOW, Error("refused"))
            ledger.removed([record])
        return ledger.instance()

    with ThreadPoolExecutor(8) as pool:
        instances = set(pool.map(work, range(8)))
    assert len(instances) == 1
    assert ledger.leftovers() == ()
    assert [len(ledger.failures(f"home-{number}")) for number in range(8)] == [5] * 8


def test_many_processes_on_one_ledger(path: Path) -> None:
    """Several processes make the ledger, its instance and their entries without a quarrel."""

    def work() -> None:
        mine = Ledger(path)
        for _ in range(5):
            mine.record(an_event(text=mine.instance()))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(crash.in_child, [work] * 4)) == [0] * 4
    ledger = Ledger(path)
    texts = [event.text for event in ledger.events(None, 99)]
    ledger.close()
    assert len(texts) == 20
    assert len(set(texts)) == 1


def test_killed_within_a_transaction(ledger: Ledger, path: Path) -> None:
    """What was being written when the process was killed is gone as a whole; the rest is there."""
    ledger.record(an_event(text="before"))

    def work() -> None:
        mine = Ledger(path)
        with mine._database.transaction() as connection:
            connection.execute("DELETE FROM events")
            connection.execute("PRAGMA cache_spill = 1")
            for _ in range(2000):
                connection.execute(
                    "INSERT INTO events (at, kind, text) VALUES ('', '', ?)", ("x" * 3000,)
                )
            os._exit(0)

    ledger.close()
    assert crash.in_child(work) == 0
    assert [event.text for event in ledger.events(None, 9)] == ["before"]


def test_deploy_cut_short_is_seen(ledger: Ledger) -> None:
    """A deploy that never ended is found as begun."""
    ledger.begin_deploy("node-red", "ab", NOW, was_active=True, served_before="cd")
    ledger.close()
    record = ledger.last_deploy("node-red")
    assert record is not None
    assert record.outcome is DeployOutcome.BEGUN
