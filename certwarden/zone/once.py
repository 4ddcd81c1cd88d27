"""Finding a thing out once, for all threads that want to know it at the same time."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Once(Generic[_K, _V]):
    """What was found out, by key, as long as the instance lives.

    `find` runs in the thread that asks first; those that ask meanwhile get its answer, or its
    failure. A failure is not kept, so whoever asks later finds out anew.
    """

    def __init__(self, find: Callable[[_K], _V]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._found: dict[_K, Future[_V]] = {}

    def __call__(self, key: _K) -> _V:
        """The answer; raises what `find` raises."""
        with self._lock:
            is_first = key not in self._found
            future = self._found.setdefault(key, Future())
        if is_first:
            self._settle(key, future)
        try:
            return future.result()
        except CancelledError:
            return self(key)

    def _settle(self, key: _K, future: Future[_V]) -> None:
        try:
            future.set_result(self._find(key))
        except Exception as error:  # noqa: BLE001 - each thread raises it, this one included
            self._forget(key)
            future.set_exception(error)
        except BaseException:  # a signal is for one thread: the next one finds out
            self._forget(key)
            future.cancel()
            raise

    def _forget(self, key: _K) -> None:
        with self._lock:
            del self._found[key]
