"""The clocks: what is a jump and what is not, and when the clock has become synchronised."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from certwarden.daemon.clocks import Jumps, Synchronisation, SystemClocks


class Clocks:
    """Clocks that a test moves."""

    def __init__(self) -> None:
        self.wall, self.boot = datetime(1970, 1, 1, tzinfo=UTC), 0.0

    def now(self) -> datetime:
        return self.wall

    def boottime(self) -> float:
        return self.boot

    def monotonic(self) -> float:
        return self.boot

    def pass_by(self, seconds: float, *, set_by: float = 0) -> None:
        self.boot += seconds
        self.wall += timedelta(seconds=seconds + set_by)


@pytest.mark.parametrize("days", [200, -200, 365 * 60])
def test_a_jump_is_seen_once(days: float) -> None:
    """Forward, backward, and from 1970 to now; the next look finds nothing new."""
    clocks = Clocks()
    if days < 0:
        clocks.wall = datetime(2030, 1, 1, tzinfo=UTC)
    jumps = Jumps(clocks)
    clocks.pass_by(5, set_by=days * 86400)
    assert jumps.look() == pytest.approx(days * 86400)
    clocks.pass_by(5)
    assert jumps.look() == 0


def test_slewing_and_suspension_are_no_jumps() -> None:
    """NTP's small corrections, however long, and a night asleep leave the schedule alone."""
    clocks = Clocks()
    jumps = Jumps(clocks)
    for _ in range(1000):
        clocks.pass_by(5, set_by=0.5)
        assert jumps.look() == 0
    clocks.pass_by(8 * 3600)
    assert jumps.look() == 0


def test_the_machines_clocks_agree_with_python() -> None:
    """The wall is the wall; the others never go back."""
    clocks = SystemClocks()
    assert abs(clocks.now().timestamp() - time.time()) < 60
    assert clocks.now().tzinfo is UTC
    assert clocks.boottime() <= clocks.boottime()
    assert clocks.monotonic() <= clocks.monotonic()


def test_synchronisation_calls_for_one_pass() -> None:
    """The change does, the state does not: a worker that is not content is not called in a loop."""
    synchronisation = Synchronisation()
    assert not synchronisation.seen(is_so=True)  # nobody waits for it
    synchronisation.answered(is_trusted=False, is_synchronised=False)
    assert synchronisation.seen(is_so=True)
    synchronisation.answered(is_trusted=False, is_synchronised=False)
    assert not synchronisation.seen(is_so=True)
    assert not synchronisation.seen(is_so=False)
    assert synchronisation.seen(is_so=True)
    synchronisation.answered(is_trusted=True, is_synchronised=True)
    assert not synchronisation.is_awaited


def test_a_synchronised_clock_that_is_not_trusted_waits_for_something_else() -> None:
    """Where the worker knows that it is synchronised, seeing it so is no news."""
    synchronisation = Synchronisation()
    synchronisation.answered(is_trusted=False, is_synchronised=True)
    assert not synchronisation.seen(is_so=True)
