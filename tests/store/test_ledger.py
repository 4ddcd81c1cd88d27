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
from certwarden.model import (
    AttemptOutcome,
    Cause,
    DeployOutcome,
    PendingRevocation,
    RevocationReason,
    TokenCheck,
    Told,
)
from certwarden.store import ledger as ledger_module
from certwarden.store import spending, watch
from certwarden.store.database import Database
from certwarden.store.ledger import Ledger
from certwarden.store.schema import MIGRATIONS
from tests import crash
from tests.builders import (
    DIRECTORY,
    DOMAINS,
    NOW,
    a_renewal_info,
    a_txt_record,
    an_event,
)

ORDER = "https://acme.example/order/1"


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
    ledger.limits.authorizing(DIRECTORY, ORDER, DOMAINS, NOW)
    ledger.limits.issuing(DIRECTORY, ORDER, DOMAINS, NOW)
    ledger.suggestions.save_renewal_info(a_renewal_info("ab"))
    ledger.watch.set_floor(NOW)
    ledger.watch.save_token_check(TokenCheck(NOW, "a1b2"))
    ledger.watch.tell(Told("token", NOW, NOW, "not valid"))
    other = Ledger(path)
    try:
        assert other.instance() == ledger.instance()
        assert other.failures("home") == ledger.failures("home")
        assert other.leftovers() == (a_txt_record(record_id="7"),)
        assert other.last_deploy("node-red") == ledger.last_deploy("node-red")
        assert other.events(None, 5) == (an_event(),)
        spent = other.limits.spent(DIRECTORY, DOMAINS)
        assert (spent.failed_authorizations, spent.issuances) == (
            {"example.org": (NOW, NOW)},
            (NOW,),
        )
        assert other.suggestions.renewal_info("ab") == a_renewal_info("ab")
        assert other.watch.floor() == NOW
        assert other.watch.token_check() == TokenCheck(NOW, "a1b2")
        assert other.watch.told() == (Told("token", NOW, NOW, "not valid"),)
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
    assert reader.limits.spent(DIRECTORY, DOMAINS).issuances == ()
    assert reader.suggestions.renewal_info("ab") is None
    assert reader.watch.floor() is None
    assert reader.watch.token_check() is None
    assert reader.watch.told() == ()
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
    ledger.watch.set_floor(NOW)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    ledger.instance()
    ledger.failures("home")
    ledger.leftovers()
    ledger.intend([], NOW)
    ledger.removed([])
    ledger.removed([a_txt_record()])
    ledger.limits.authorizing(DIRECTORY, ORDER, [], NOW)
    ledger.limits.authorized(ORDER, [])
    ledger.limits.spent(DIRECTORY, DOMAINS)
    ledger.suggestions.renewal_info("ab")
    ledger.watch.set_floor(NOW)
    ledger.watch.told()
    ledger.watch.forget("token")
    ledger.settle_revocation(PendingRevocation("home", 1, "ab", RevocationReason.UNSPECIFIED, NOW))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ATTEMPTS_KEPT", 3)
    monkeypatch.setattr(ledger_module, "DEPLOYS_KEPT", 3)
    monkeypatch.setattr(ledger_module, "EVENTS_KEPT", 3)
    monkeypatch.setattr(spending, "AUTHORIZATIONS_KEPT", 3)
    monkeypatch.setattr(spending, "ISSUANCES_KEPT", 3)
    monkeypatch.setattr(watch, "SUGGESTIONS_KEPT", 3)
    monkeypatch.setattr(watch, "MATTERS_KEPT", 3)


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


@pytest.mark.usefixtures("small")
def test_books_are_bounded(ledger: Ledger, path: Path) -> None:
    """What was written last is kept in each book, whatever the clock said then."""
    for number in range(10):
        at = NOW - timedelta(days=400 * number)
        ledger.limits.authorizing(DIRECTORY, f"{ORDER}{number}", ["example.org"], at)
        ledger.limits.issuing(DIRECTORY, f"{ORDER}{number}", DOMAINS, at)
        ledger.suggestions.save_renewal_info(a_renewal_info(f"{number}", asked_at=at))
        ledger.suggestions.save_renewal_info(a_renewal_info("again", asked_at=at))
        ledger.watch.tell(Told(f"{number}", at, at, "…"))
        ledger.watch.set_floor(at)
        ledger.watch.save_token_check(TokenCheck(at, "…"))
    last = tuple(NOW - timedelta(days=400 * number) for number in (9, 8, 7))
    spent = ledger.limits.spent(DIRECTORY, DOMAINS)
    assert (spent.failed_authorizations, spent.issuances) == ({"example.org": last}, last)
    kept = [number for number in range(10) if ledger.suggestions.renewal_info(f"{number}")]
    assert kept == [8, 9]
    assert ledger.suggestions.renewal_info("again") is not None
    assert [matter.key for matter in ledger.watch.told()] == ["7", "8", "9"]
    connection = sqlite3.connect(path)
    for table, rows in {
        "authorizations": 3,
        "issuances": 3,
        "renewal_infos": 3,
        "told": 3,
        "clock_floor": 1,
        "token_check": 1,
    }.items():
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)
    connection.close()


def test_ledger_of_the_first_release(path: Path) -> None:
    """A ledger of version 1 keeps its rows; what was permanent is a matter of configuration."""
    path.parent.mkdir()
    first = Database(path, MIGRATIONS[:1], create=True)
    with first.transaction() as connection:
        connection.execute("INSERT INTO installation (instance) VALUES ('0a1b2c3d')")
        connection.executemany(
            "INSERT INTO attempts (certificate, directory_url, domains, begun_at, outcome,"
            " ended_at, what, permanent, retry_after)"
            " VALUES ('home', ?, '[\"example.org\"]', ?, ?, ?, ?, ?, ?)",
            [
                (DIRECTORY, NOW.isoformat(), outcome, ended_at, what, permanent, 90.0)
                for outcome, ended_at, what, permanent in (
                    ("failed", NOW.isoformat(), "no answer", 0),
                    ("begun", None, "", 0),
                    ("failed", NOW.isoformat(), "the token is not valid", 1),
                )
            ],
        )
        connection.execute(
            "INSERT INTO deploys (target, fingerprint, begun_at, outcome)"
            " VALUES ('node-red', 'ab', ?, 'begun')",
            (NOW.isoformat(),),
        )
    first.close()
    ledger = Ledger(path)
    permanent, begun, passing = ledger.failures("home")
    assert (permanent.what, permanent.cause) == ("the token is not valid", Cause.CONFIGURATION)
    assert (permanent.looked_at, permanent.setup, permanent.evidence) == (NOW, "", "")
    assert permanent.retry_after == timedelta(seconds=90)
    assert (begun.outcome, begun.cause, begun.looked_at) == (AttemptOutcome.BEGUN, None, None)
    assert (passing.what, passing.cause, passing.looked_at) == ("no answer", None, None)
    assert ledger.instance() == "0a1b2c3d"
    deploy = ledger.last_deploy("node-red")
    assert deploy is not None
    assert deploy.ended_at is None
    assert ledger.begin_attempt("home", DIRECTORY, DOMAINS, NOW) == permanent.id + 1
    ledger.close()


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
    threads = 64
    start = threading.Barrier(threads)

    def work(number: int) -> str:
        start.wait(30)
        record, order = a_txt_record(f"{number}"), f"{ORDER}{number}"
        for _ in range(2):
            attempt = ledger.begin_attempt(f"home-{number}", DIRECTORY, DOMAINS, NOW)
            ledger.limits.authorizing(DIRECTORY, order, [f"{number}.example"], NOW)
            ledger.intend([record], NOW)
            ledger.limits.authorized(order, [])
            ledger.end_attempt(attempt, NOW, Error("refused"))
            ledger.removed([record])
        return ledger.instance()

    with ThreadPoolExecutor(threads) as pool:
        instances = set(pool.map(work, range(threads)))
    assert len(instances) == 1
    assert ledger.leftovers() == ()
    assert [len(ledger.failures(f"home-{number}")) for number in range(threads)] == [2] * threads
    names = [f"{number}.example" for number in range(threads)]
    assert ledger.limits.spent(DIRECTORY, names).failed_authorizations == {}


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
