"""Waiting for something to become true, by the monotonic clock; never a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T], what: str = "it", *, timeout: float = 30) -> T:
    """What `look` finds, as soon as it finds something; fails the test if that takes too long."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come in time"
        time.sleep(0.02)
    return found
