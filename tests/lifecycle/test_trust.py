"""The clock is trusted exactly as invariant 9 has it, and a server is asked only where needed."""

from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.errors import StoreError
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.trust import TOLERANCE, judge, raise_floor
from certwarden.model import TimeEvidence, Trust
from certwarden.ports import Level
from tests.builders import NOW
from tests.fakes import FakeWorld
from tests.fakes_watch import FakeTimeSources

EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1)
CLOSE, FAR = timedelta(minutes=4), timedelta(minutes=6)

# Far beyond 2038, where a time_t of 32 bits ends.
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
OFFSETS = st.none() | st.timedeltas(-timedelta(days=40_000), timedelta(days=40_000))
SYNCHRONISED = st.none() | st.booleans()


@pytest.mark.parametrize(
    ("synchronised", "floor", "offset", "trust"),
    [
        (True, EARLIER, None, Trust.TRUSTED),
        (True, LATER, None, Trust.TRUSTED),
        (True, EARLIER, FAR, Trust.TRUSTED),
        (False, EARLIER, None, Trust.CONTRADICTED),
        (False, EARLIER, CLOSE, Trust.CONTRADICTED),
        (None, EARLIER, CLOSE, Trust.TRUSTED),
        (None, EARLIER, -CLOSE, Trust.TRUSTED),
        (None, NOW, TOLERANCE, Trust.TRUSTED),
        (None, EARLIER, FAR, Trust.CONTRADICTED),
        (None, EARLIER, -FAR, Trust.CONTRADICTED),
        (None, LATER, CLOSE, Trust.CONTRADICTED),
        (None, LATER, FAR, Trust.CONTRADICTED),
        (None, LATER, None, Trust.CONTRADICTED),
        (None, EARLIER, None, Trust.UNKNOWN),
        (None, NOW, None, Trust.UNKNOWN),
    ],
)
def test_verdict(
    synchronised: bool | None,  # noqa: FBT001  a column of the table
    floor: datetime,
    offset: timedelta | None,
    trust: Trust,
) -> None:
    """The time service's word is final; else Date and floor must both agree; else nobody knows."""
    assert judge(NOW, TimeEvidence(synchronised, floor, offset)).trust is trust


def test_a_synchronised_clock_lowers_a_poisoned_floor() -> None:
    """A floor that a wrong clock has left in the future gives way, and that is said."""
    verdict = judge(NOW, TimeEvidence(synchronised=True, floor=LATER))
    assert verdict.new_floor == NOW
    assert "2026-11-23 12:00" in verdict.what
    assert verdict.hint


def test_a_date_does_not_lower_the_floor() -> None:
    """One server's Date is no proof against what was signed; the way out is said."""
    verdict = judge(NOW, TimeEvidence(synchronised=None, floor=LATER, offset=CLOSE))
    assert verdict.new_floor is None
    assert "timedatectl set-ntp" in verdict.hint
    assert "[clock]" in verdict.hint


@given(now=INSTANTS, floor=INSTANTS, offset=OFFSETS, synchronised=SYNCHRONISED)
def test_an_untrusted_clock_says_why(
    now: datetime,
    floor: datetime,
    offset: timedelta | None,
    synchronised: bool | None,  # noqa: FBT001  hypothesis passes by name
) -> None:
    """Whoever is refused an order for the clock's sake reads why and what to do about it."""
    verdict = judge(now, TimeEvidence(synchronised, floor, offset))
    if not verdict.is_trusted:
        assert verdict.what
        assert verdict.hint
        assert verdict.new_floor is None
    assert verdict.synchronised is synchronised


@given(now=INSTANTS, floor=INSTANTS, offset=OFFSETS, synchronised=SYNCHRONISED)
def test_an_unsynchronised_clock_below_the_floor_is_never_trusted(
    now: datetime,
    floor: datetime,
    offset: timedelta | None,
    synchronised: bool | None,  # noqa: FBT001  hypothesis passes by name
) -> None:
    """Nothing but a time service lets us act at an instant before the last signature."""
    verdict = judge(now, TimeEvidence(synchronised, floor, offset))
    if verdict.is_trusted and now < floor:
        assert synchronised
        assert verdict.new_floor == now


@given(now=INSTANTS, floor=st.none() | INSTANTS, offset=OFFSETS, synchronised=SYNCHRONISED)
def test_only_a_trusted_clock_raises_the_floor(
    now: datetime,
    floor: datetime | None,
    offset: timedelta | None,
    synchronised: bool | None,  # noqa: FBT001  hypothesis passes by name
) -> None:
    """A signature made by a wrong clock leaves no trace in the floor; raising never lowers."""
    verdict = judge(now, TimeEvidence(synchronised, floor or now, offset))
    raised = raise_floor(now, floor, verdict)
    if raised is not None:
        assert verdict.is_trusted
        assert raised == now
        assert floor is None or raised > floor


def _world(sources: FakeTimeSources, floor: datetime | None = None) -> FakeWorld:
    world = FakeWorld()
    world.time_sources = sources
    world.watch.clock_floor = floor
    return world


def test_no_server_is_asked_while_nothing_depends_on_it() -> None:
    """A machine that nobody can vouch for does not call a server in each idle pass."""
    sources = FakeTimeSources(synchronised=None, offset=CLOSE)
    verdict = ClockJudge(_world(sources)).assess(NOW, needs_date=False)
    assert sources.asked == 0
    assert not verdict.is_trusted
    assert not verdict.is_asked
    assert not verdict.what  # nothing to worry anybody with


@pytest.mark.parametrize("state", [True, False])
def test_no_server_is_asked_where_the_time_service_tells(
    state: bool,  # noqa: FBT001  a column of the table
) -> None:
    """The time service's word is enough."""
    sources = FakeTimeSources(synchronised=state)
    verdict = ClockJudge(_world(sources)).assess(NOW, needs_date=True)
    assert sources.asked == 0
    assert verdict.is_trusted is state


def test_a_server_is_asked_where_something_depends_on_it() -> None:
    """An order that is due is worth the question; later questions of the pass know the answer."""
    sources = FakeTimeSources(synchronised=None, offset=CLOSE)
    judged = ClockJudge(_world(sources))
    assert judged.assess(NOW, needs_date=True).is_trusted
    assert judged.assess(NOW, needs_date=False).is_trusted


def test_the_build_date_is_a_floor() -> None:
    """A clock that shows a time before this version was made is wrong, also on a new machine."""
    sources = FakeTimeSources(synchronised=None, offset=CLOSE, build_date=LATER)
    assert ClockJudge(_world(sources)).assess(NOW, needs_date=True).trust is Trust.CONTRADICTED


def test_assessing_changes_nothing() -> None:
    """`status` and `plan` judge the clock as well, and write nothing and tell nobody."""
    world = _world(FakeTimeSources(), floor=LATER)
    ClockJudge(world).assess(NOW, needs_date=True)
    assert world.watch.clock_floor == LATER
    assert world.reporter.told == []


def test_settling_lowers_the_floor_with_a_warning() -> None:
    """A pass with a synchronised clock puts the poisoned floor right."""
    world = _world(FakeTimeSources(), floor=LATER)
    judged = ClockJudge(world)
    judged.settle(judged.assess(NOW, needs_date=False))
    assert world.watch.clock_floor == NOW
    assert len(world.reporter.texts(Level.WARNING)) == 1


def test_settling_says_that_the_clock_is_not_trusted() -> None:
    """A pass that waits for the clock says so."""
    world = _world(FakeTimeSources(synchronised=False))
    judged = ClockJudge(world)
    judged.settle(judged.assess(NOW, needs_date=True))
    assert "not synchronised" in world.reporter.texts(Level.WARNING)[0]


def test_a_floor_that_cannot_be_kept_keeps_nobody_from_judging(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a full disk, or with a database that cannot be read, it is told, once."""

    def full(*_: object) -> NoReturn:
        raise StoreError("the disk is full")

    world = _world(FakeTimeSources())
    for entry in ("floor", "set_floor"):
        monkeypatch.setattr(world.watch, entry, full)
    judged = ClockJudge(world)
    judged.signed(NOW)
    assert judged.refusal(NOW) is None
    assert world.reporter.texts() == ["the disk is full"]


def test_an_untrusted_clock_is_why_nothing_is_signed() -> None:
    """Whoever signs outside of a pass is told as well, and what to do."""
    world = _world(FakeTimeSources(synchronised=False))
    refusal = ClockJudge(world).refusal(NOW)
    assert refusal is not None
    assert "not synchronised" in refusal.what
    assert refusal.hint
    assert world.reporter.texts(Level.WARNING) == [refusal.what]
    assert ClockJudge(_world(FakeTimeSources())).refusal(NOW) is None


def test_a_trusted_clock_has_nothing_to_say() -> None:
    """An ordinary pass is silent about the clock."""
    world = _world(FakeTimeSources(), floor=EARLIER)
    judged = ClockJudge(world)
    judged.settle(judged.assess(NOW, needs_date=True))
    assert world.reporter.told == []
    assert world.watch.clock_floor == EARLIER


def test_a_signature_raises_the_floor() -> None:
    """What was signed while the clock was trusted has certainly happened."""
    world = _world(FakeTimeSources(), floor=EARLIER)
    ClockJudge(world).signed(NOW)
    assert world.watch.clock_floor == NOW


def test_a_signature_under_an_untrusted_clock_does_not() -> None:
    """A wrong clock must not poison the floor."""
    world = _world(FakeTimeSources(synchronised=False), floor=EARLIER)
    ClockJudge(world).signed(NOW)
    assert world.watch.clock_floor == EARLIER
