"""When to look again at what the CA is working on (RFC 8555 sections 7.4 and 7.5.1).

The server's Retry-After rules, that of the reply to our own request included. Where it sends none
there is an early look, because most servers have finished by then, and growing steps after that.
All on the monotonic clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, repeat
from typing import TypeVar

from certwarden.errors import IssuerError
from certwarden.ports import Clock

Resource = TypeVar("Resource")

SHORTEST_PAUSE = 0.25  # a Retry-After of 0 is no invitation to hammer


@dataclass(frozen=True)
class Pace:
    """Pauses before the looks, in seconds: the early one, then the steps, whose last repeats."""

    early: float
    steps: tuple[float, ...]
    timeout: float


# Let's Encrypt and Pebble send no Retry-After while they validate, and an order takes seconds.
VALIDATION = Pace(early=0.03, steps=(0.1, 0.25, 0.5, 1.0, 2.0, 3.0), timeout=300.0)
ISSUANCE = Pace(early=0.05, steps=(1.0, 2.0, 3.0), timeout=300.0)


def poll(
    look: Callable[[], tuple[Resource, timedelta | None]],
    is_over: Callable[[Resource], bool],
    *,
    what: str,
    pace: Pace,
    clock: Clock,
    asked: timedelta | None = None,
) -> Resource:
    """Looks until it is over; `look` returns what it saw and the Retry-After that came with it.

    `asked` is the Retry-After that the server has sent already; `what` completes "… has not
    finished". Raises IssuerError when the pace's time is up, or when the server asks for a longer
    wait than is left of it.
    """
    deadline = clock.monotonic() + pace.timeout
    pause = pace.early if asked is None else _obeyed(asked)
    for step in chain(pace.steps, repeat(pace.steps[-1])):
        if clock.monotonic() + pause > deadline:
            raise IssuerError(
                f"{what} has not finished in {pace.timeout:.0f} s",
                "the order is kept and picked up again later",
                retry_after=asked,
            )
        clock.sleep(pause)
        seen, asked = look()
        if is_over(seen):
            return seen
        pause = step if asked is None else _obeyed(asked)
    raise AssertionError  # pragma: no cover - the steps never end


def _obeyed(asked: timedelta) -> float:
    return max(asked.total_seconds(), SHORTEST_PAUSE)
