"""The end of a pass: sent, then written down; and nobody out of reach makes a pass fail."""

from datetime import timedelta
from typing import NoReturn

import pytest

from certwarden.errors import NotifyError, StoreError
from certwarden.lifecycle.announce import announce, announce_unit_failure
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.judge import ClockJudge
from certwarden.model import CertificateSpec, Observed, Stored, TokenCheck, Told
from certwarden.ports import Level
from tests.builders import NOW, a_certificate_spec, a_stored, an_attempt
from tests.fakes import FakeWorld
from tests.fakes_watch import FakeMessenger, FakeTimeSources

UNREACHABLE = NotifyError("line 1 of notify.urls_file (ntfys://…) did not take the message")
PARTIAL = NotifyError("line 2 of notify.urls_file did not take the message", is_partial=True)


@pytest.fixture
def messenger() -> FakeMessenger:
    """Who reaches a person."""
    return FakeMessenger()


@pytest.fixture
def world(messenger: FakeMessenger) -> FakeWorld:
    """A world with somebody to tell."""
    return FakeWorld(messenger=messenger)


def _announce(world: FakeWorld, *observed: Observed, is_good: bool = True) -> None:
    books, now = Books(world.reporter), world.clock.now()
    announce(world, books, ClockJudge(world, books), observed, now, is_good=is_good)


def _spec() -> CertificateSpec:
    return a_certificate_spec()


def _failing() -> Observed:
    return Observed(_spec(), None, None, (), failures=(an_attempt(number=2), an_attempt()))


def _well(stored: Stored | None = None) -> Observed:
    return Observed(_spec(), stored or a_stored(), None, ())


def test_a_good_pass_is_a_heartbeat(world: FakeWorld, messenger: FakeMessenger) -> None:
    """Silence is what the far-away watchdog listens for."""
    _announce(world, _well())
    assert messenger.heartbeats == 1
    assert messenger.sent == []


def test_a_bad_pass_is_none(world: FakeWorld, messenger: FakeMessenger) -> None:
    """A pass in which something failed leaves the heartbeat out."""
    _announce(world, _failing(), is_good=False)
    assert messenger.heartbeats == 0
    assert len(messenger.sent) == 1


def test_a_matter_is_told_once_and_then_its_end(world: FakeWorld, messenger: FakeMessenger) -> None:
    """Pass after pass: one alarm, one recovery."""
    for _ in range(3):
        _announce(world, _failing(), is_good=False)
        world.clock.advance(timedelta(hours=6))
    for _ in range(3):
        _announce(world, _well())
        world.clock.advance(timedelta(hours=6))
    assert len(messenger.sent) == 2
    assert "No longer so" in messenger.sent[1][1]


def test_nothing_is_kept_for_ever(world: FakeWorld) -> None:
    """A matter that is over leaves nothing behind."""
    _announce(world, _failing(), is_good=False)
    for _ in range(3):
        _announce(world, _well())
        world.clock.advance(timedelta(days=1))
    assert world.watch.told() == ()


def test_a_failed_message_is_sent_by_the_next_pass(
    world: FakeWorld, messenger: FakeMessenger
) -> None:
    """Only what has reached somebody is written down."""
    messenger.failure = UNREACHABLE
    _announce(world, _failing(), is_good=False)
    assert world.reporter.texts(Level.WARNING) == [UNREACHABLE.what]
    assert world.watch.told() == ()
    messenger.failure = None
    _announce(world, _failing(), is_good=False)
    assert len(messenger.sent) == 1


def test_a_message_that_reached_somebody_is_not_repeated(
    world: FakeWorld, messenger: FakeMessenger
) -> None:
    """One dead address does not make the others ring in each pass."""
    messenger.failure = PARTIAL
    for _ in range(2):
        _announce(world, _failing(), is_good=False)
    assert len(messenger.sent) == 1


def test_nobody_in_reach_is_a_warning(world: FakeWorld, messenger: FakeMessenger) -> None:
    """A failed heartbeat is said in the log, and is no exception."""
    messenger.failure = UNREACHABLE
    _announce(world, _well())
    assert world.reporter.texts(Level.WARNING) == [UNREACHABLE.what]


def test_without_anybody_to_tell_nothing_is_told() -> None:
    """Who configures [notify] later hears of what stands then."""
    world = FakeWorld()
    _announce(world, _failing(), is_good=False)
    assert world.watch.told() == ()


def test_secrets_that_cannot_be_read_are_a_warning(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of addresses that has gone does not make a pass fail."""
    error = StoreError("the file is not there")

    def messenger() -> FakeMessenger:
        raise error

    monkeypatch.setattr(world, "messenger", messenger)
    _announce(world, _well())
    assert world.reporter.texts(Level.WARNING) == [error.what]


def test_a_server_is_asked_before_an_alarm_about_expiry(
    world: FakeWorld, messenger: FakeMessenger
) -> None:
    """Where only a server's Date can tell, it is asked for the alarm's sake, and only then."""
    world.time_sources = FakeTimeSources(synchronised=None, offset=timedelta())
    _announce(world, _well())
    assert world.time_sources.asked == 0
    world.clock.advance(timedelta(days=80))
    _announce(world, _well(a_stored()))
    assert world.time_sources.asked == 1
    assert "last quarter" in messenger.sent[0][0]


def test_a_wrong_clock_raises_no_alarm_about_expiry(
    world: FakeWorld, messenger: FakeMessenger
) -> None:
    """A clock that is years ahead makes nobody run."""
    world.time_sources = FakeTimeSources(synchronised=None, offset=timedelta(days=-400))
    world.clock.advance(timedelta(days=400))
    world.watch.save_token_check(TokenCheck(NOW, "setup", expires_at=NOW))
    _announce(world, _well())
    assert messenger.sent == []


def test_a_clock_that_holds_back_an_order_is_told(
    world: FakeWorld, messenger: FakeMessenger
) -> None:
    """What was due and had to wait for the clock is worth a message."""
    world.time_sources = FakeTimeSources(synchronised=False)
    judge = ClockJudge(world)
    judge.assess(NOW, needs_date=True)  # as a pass does where something is due
    announce(world, Books(world.reporter), judge, [_well()], NOW, is_good=False)
    assert "not synchronised" in messenger.sent[0][0]


def test_a_heartbeat_does_not_hide_what_stands(world: FakeWorld, messenger: FakeMessenger) -> None:
    """An expired certificate that waits for its next try is no reason to say that all is well."""
    world.clock.advance(timedelta(days=91))
    _announce(world, _well(a_stored()))
    assert "has expired" in messenger.sent[0][0]
    _announce(world, _failing())
    assert messenger.heartbeats == 0
    _announce(world, _well(a_stored(obtained_at=world.clock.now())))
    assert messenger.heartbeats == 1


# ── a full disk ───────────────────────────────────────────────────────────────────────────────────


def _full(*_: object) -> NoReturn:
    raise StoreError("the disk is full", "free some space")


def _fill(world: FakeWorld, monkeypatch: pytest.MonkeyPatch, *, is_read_only: bool = False) -> None:
    for entry in ("tell", "forget", *(("mark",) if is_read_only else ())):
        monkeypatch.setattr(world.watch, entry, _full)


def test_a_full_disk_rings_once_a_day(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written down as told is told all the same, and not in each pass."""
    _fill(world, monkeypatch)
    for _ in range(16):
        _announce(world, _failing(), is_good=False)
        world.clock.advance(timedelta(hours=3))
    assert len(messenger.sent) == 2


def test_a_disk_that_fills_up_while_a_message_is_on_its_way(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its telling is marked where it cannot be written down: the next pass is silent."""
    send = messenger.send

    def send_and_fill(title: str, text: str) -> None:
        send(title, text)
        _fill(world, monkeypatch)

    monkeypatch.setattr(messenger, "send", send_and_fill)
    for _ in range(3):
        _announce(world, _failing(), is_good=False)
    assert len(messenger.sent) == 1


def test_a_message_that_fails_on_a_full_disk_is_sent_by_the_next_pass(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark does not take for told what reached nobody."""
    _fill(world, monkeypatch)
    messenger.failure = UNREACHABLE
    _announce(world, _failing(), is_good=False)
    messenger.failure = None
    _announce(world, _failing(), is_good=False)
    assert len(messenger.sent) == 1


def test_where_nothing_can_be_kept_nobody_is_rung_in_each_pass(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file system that has turned read-only the heartbeat tells, by its absence."""
    _fill(world, monkeypatch, is_read_only=True)
    for _ in range(3):
        _announce(world, _failing(), is_good=False)
    assert messenger.sent == []
    assert messenger.heartbeats == 0


def test_a_mark_of_a_wrong_clock_silences_nobody(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that lies in the future counts for nothing."""
    world.watch.mark(NOW + timedelta(days=400))
    _fill(world, monkeypatch)
    _announce(world, _failing(), is_good=False)
    assert len(messenger.sent) == 1


def test_records_that_fail_are_told_and_call_nothing_put_right(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not found may only not have been read; and there is no heartbeat."""
    _announce(world, _failing(), is_good=False)
    monkeypatch.setattr(world.watch, "setbacks", _full)
    _announce(world, _well())
    assert len(messenger.sent) == 2
    assert "own records cannot be kept: the disk is full" in messenger.sent[1][0]
    assert messenger.heartbeats == 0
    monkeypatch.undo()
    _announce(world, _well())
    assert "No longer so" in messenger.sent[2][1]


def test_a_failed_unit_on_a_full_disk_is_told_once_a_day(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit that the full disk makes fail every 20 s does not ring as often."""
    _fill(world, monkeypatch)
    monkeypatch.setattr(world.watch, "told", _full)
    for _ in range(3):
        announce_unit_failure(world, messenger, "certwarden.service", world.clock.now())
    assert len(messenger.sent) == 1


def test_a_kill_before_a_message_is_sent_loses_nothing(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written down before leaves the matter due, and is nothing to recover from."""

    def killed(*_: str) -> NoReturn:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(messenger, "send", killed)
        with pytest.raises(SystemExit):
            _announce(world, _failing(), is_good=False)
    _announce(world, _failing(), is_good=False)
    assert len(messenger.sent) == 1
    with monkeypatch.context() as patched:
        patched.setattr(messenger, "send", killed)
        world.clock.advance(timedelta(days=1))
        with pytest.raises(SystemExit):
            _announce(world, _failing(), is_good=False)
    _announce(world, _well())
    assert "No longer so" in messenger.sent[1][1]


# ── units ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_unit_is_told_once_a_day(world: FakeWorld, messenger: FakeMessenger) -> None:
    """A unit that fails in each of its passes does not ring each time."""
    for _ in range(8):
        now = world.clock.now()
        assert announce_unit_failure(world, messenger, "certwarden-renew.service", now) is None
        world.clock.advance(timedelta(hours=4))
    assert len(messenger.sent) == 2


def test_a_failed_unit_is_told_without_a_ledger(
    world: FakeWorld, messenger: FakeMessenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What made the unit fail may well be our own files."""

    def told() -> tuple[Told, ...]:
        raise StoreError("the ledger cannot be read")

    monkeypatch.setattr(world.watch, "told", told)
    announce_unit_failure(world, messenger, "certwarden.service", NOW)
    assert len(messenger.sent) == 1
