"""Waiting for something to become true, by the monotonic clock; never a fixed sleep."""

import time
from collections.abc import Callable


def wait_until(is_true: Callable[[], bool], *, timeout: float = 30) -> None:
    """Returns as soon as it is true; fails the test if it does not become so in time."""
    deadline = time.monotonic() + timeout
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
