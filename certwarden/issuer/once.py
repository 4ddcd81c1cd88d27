"""What many threads need and one of them gets."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from certwarden.errors import IssuerError

_Made = TypeVar("_Made")


class Once(Generic[_Made]):
    """The result of `make`, which is called by the first who needs it, and not again.

    Who waited while another failed shares that failure, so that a server which cannot be reached
    costs all of them one series of tries; who comes later tries for himself.
    """

    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[_Made] = []
        self._failures: list[IssuerError] = []

    def get(self) -> _Made:
        """The result; raises IssuerError where there is none."""
        known_failures = len(self._failures)
        with self._lock:
            if self._made:
                return self._made[0]
            if len(self._failures) > known_failures:
                raise self._failures[-1]
            try:
                self._made.append(self._make())
            except IssuerError as error:
                self._failures.append(error)
                raise
            return self._made[0]
