"""The clock: each verdict is one sentence with its remedy, and whoever hangs is not waited for."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from certwarden.config import ClockConfig, ClockTrust, Config
from certwarden.doctor.clock import judge_clock, look_at_clock
from certwarden.doctor.finding import Result
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Patient
from certwarden.errors import Error
from certwarden.lifecycle.trust import TOLERANCE, judge
from certwarden.model import TimeEvidence
from certwarden.wiring import Warden
from tests.builders import NOW
from tests.fakes import FakeWorld
from tests.fakes_watch import FakeTimeSources

FLOOR = NOW - timedelta(days=1)
LATER = NOW + timedelta(days=1)
NONE = timedelta(0)


@pytest.mark.parametrize(
    ("synchronised", "floor", "offset", "result", "word"),
    [
        (True, FLOOR, None, Result.OK, "synchronised by a time service"),
        (True, LATER, None, Result.WARNING, "that was wrong"),
        (False, FLOOR, None, Result.ERROR, "not synchronised yet"),
        (None, FLOOR, NONE, Result.OK, "agrees with the Date"),
        (None, FLOOR, TOLERANCE * 2, Result.ERROR, "behind the Date"),
        (None, FLOOR, -TOLERANCE * 2, Result.ERROR, "ahead of the Date"),
        (None, LATER, NONE, Result.ERROR, "but this version or the last signature"),
        (None, FLOOR, None, Result.WARNING, "nobody can tell"),
    ],
)
def test_verdicts(
    synchronised: bool | None,  # noqa: FBT001 - a row of the table
    floor: datetime,
    offset: timedelta | None,
    result: Result,
    word: str,
) -> None:
    """By what a pass would act on; what is not trusted says how it can be."""
    finding = judge_clock(judge(NOW, TimeEvidence(synchronised, floor, offset)))
    assert (finding.result, word in finding.what) == (result, True), finding
    assert bool(finding.remedy) == finding.needs_attention


def _patient(world: FakeWorld, trust: ClockTrust = ClockTrust.AUTO) -> Patient:
    class _Config:
        clock = ClockConfig(trust)

    return Patient(cast("Config", _Config()), cast("Warden", world), NOW, (), None)


def test_looking() -> None:
    """A server is asked for its Date where nobody else can tell, and the floor counts."""
    world = FakeWorld()
    world.time_sources = FakeTimeSources(synchronised=None, offset=timedelta(hours=1))
    (finding,) = look_at_clock(_patient(world))
    assert finding.result is Result.ERROR
    assert world.time_sources.asked == 1
    world.time_sources = FakeTimeSources(synchronised=None, offset=timedelta(0))
    world.watch.set_floor(datetime(2040, 1, 1, tzinfo=UTC))
    (finding,) = look_at_clock(_patient(world))
    assert "2040-01-01" in finding.what


def test_trusted_by_configuration() -> None:
    """Nobody is asked where the configuration vouches for the clock."""
    world = FakeWorld()
    world.time_sources = FakeTimeSources(synchronised=False)
    (finding,) = look_at_clock(_patient(world, ClockTrust.ALWAYS))
    assert finding.result is Result.OK


def test_too_slow() -> None:
    """A look that hangs ends in a sentence, and its own failure keeps its sentence."""
    from threading import Event

    let_go = Event()
    late = in_time(lambda: let_go.wait(60), 0.05)
    let_go.set()
    assert isinstance(late, Error)
    assert "no answer within 0.05 s" in late.what
    assert judge_clock(late).result is Result.WARNING

    def fail() -> None:
        raise TimeoutError

    failed = in_time(fail)
    assert isinstance(failed, Error)
    assert "TimeoutError" in failed.what
    assert in_time(lambda: 7) == 7
