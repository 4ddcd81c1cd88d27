"""When the CA is looked at again."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.polling import SHORTEST_PAUSE, Pace, poll
from tests.fakes_store import FakeClock

PACE = Pace(early=0.05, steps=(1.0, 2.0), timeout=60.0)


def looks(
    clock: FakeClock, *asked: float | None
) -> tuple[Callable[[], tuple[bool, timedelta | None]], list[float]]:
    """A look for each Retry-After, then one that is over; and when each took place."""
    left, times = list(asked), []

    def look() -> tuple[bool, timedelta | None]:
        times.append(clock.elapsed)
        if not left:
            return True, None
        seconds = left.pop(0)
        return False, None if seconds is None else timedelta(seconds=seconds)

    return look, times


def run(clock: FakeClock, look: Callable[[], tuple[bool, timedelta | None]]) -> bool:
    return poll(look, lambda seen: seen, what="the issuance", pace=PACE, clock=clock)


def test_first_look_is_early_and_ends_it() -> None:
    """What a server finishes at once is not waited for."""
    clock = FakeClock()
    look, _ = looks(clock)
    assert run(clock, look)
    assert clock.sleeps == [PACE.early]


def test_retry_after_rules_after_the_early_look() -> None:
    """A server that says when to come back is obeyed."""
    clock = FakeClock()
    look, _ = looks(clock, 7.0, 3.0)
    run(clock, look)
    assert clock.sleeps == [PACE.early, 7.0, 3.0]


def test_growing_steps_where_the_server_says_nothing() -> None:
    """Without Retry-After the pauses grow to the last step, which repeats."""
    clock = FakeClock()
    look, _ = looks(clock, None, None, None)
    run(clock, look)
    assert clock.sleeps == [PACE.early, 1.0, 2.0, 2.0]


def test_retry_after_zero_does_not_hammer() -> None:
    """A server that says 0 is still given a moment."""
    clock = FakeClock()
    look, _ = looks(clock, 0.0)
    run(clock, look)
    assert clock.sleeps == [PACE.early, SHORTEST_PAUSE]


def test_time_is_up_by_the_monotonic_clock() -> None:
    """It gives up after the timeout, with a sentence, whatever the wall clock did meanwhile."""
    clock = FakeClock()

    def look() -> tuple[bool, timedelta | None]:
        clock.instant += timedelta(days=1)
        return False, None

    with pytest.raises(IssuerError, match="the issuance has not finished in 60 s"):
        run(clock, look)
    assert clock.elapsed <= 1000.0 + PACE.timeout


def test_longer_retry_after_than_there_is_time_is_passed_on() -> None:
    """A wait that is not worth sitting through goes to the next pass, with its Retry-After."""
    clock = FakeClock()
    look, _ = looks(clock, 3600.0)
    with pytest.raises(IssuerError) as caught:
        run(clock, look)
    assert caught.value.retry_after == timedelta(hours=1)
    assert clock.sleeps == [PACE.early]


def test_wait_asked_for_before_the_first_look_is_obeyed() -> None:
    """What the reply to our own request asked for takes the place of the early look."""
    clock = FakeClock()
    look, _ = looks(clock)
    poll(look, bool, what="it", pace=PACE, clock=clock, asked=timedelta(seconds=3))
    assert clock.sleeps == [3.0]
