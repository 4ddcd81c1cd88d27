"""A server of the world that fails on demand and remembers what it was asked.

Owns which fault is due for a request, and the log of requests. What a fault does, and for which
requests it is meant, is the business of those who build on it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from tests.world.server import LoopbackServer


class Counted(Protocol):
    """A fault that strikes `times` matching requests after the first `skip`."""

    @property
    def times(self) -> int: ...

    @property
    def skip(self) -> int: ...


FaultT = TypeVar("FaultT", bound=Counted)
RequestT = TypeVar("RequestT")


@dataclass(slots=True)
class Injection(Generic[FaultT]):
    """A fault that was injected, and how often it has struck."""

    fault: FaultT
    fired: int = 0
    passed: int = 0


class FaultyServer(Generic[FaultT, RequestT]):
    """A context manager that serves while it is open, well or as was injected."""

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._injections: list[Injection[FaultT]] = []
        self._requests: list[RequestT] = []
        # Called twice for each request: when it has come, and when it was carried out, before the
        # reply is sent.
        self.watcher: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def errors(self) -> list[BaseException]:
        """Mistakes of the server itself; a test may insist that there are none."""
        return self._server.errors

    # What is to go wrong.

    def inject(self, fault: FaultT) -> Injection[FaultT]:
        """Let something go wrong from now on."""
        injection = Injection(fault)
        with self._lock:
            self._injections.append(injection)
        return injection

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._injections.clear()

    def take_fault(self, is_meant: Callable[[FaultT], bool]) -> FaultT | None:
        """The fault that is due for a request, of those meant for it, if any; counts it."""
        self._tell()
        with self._lock:
            for injection in self._injections:
                fault = injection.fault
                if injection.fired >= fault.times or not is_meant(fault):
                    continue
                if injection.passed < fault.skip:
                    injection.passed += 1
                    continue
                injection.fired += 1
                return fault
        return None

    # What happened.

    @property
    def requests(self) -> list[RequestT]:
        """Every request so far, in the order they were answered."""
        with self._lock:
            return list(self._requests)

    def forget_requests(self) -> None:
        """Empty the log of requests."""
        with self._lock:
            self._requests.clear()

    def log(self, request: RequestT) -> None:
        """Put a request into the log."""
        with self._lock:
            self._requests.append(request)
        self._tell()

    def _tell(self) -> None:
        if self.watcher is not None:
            self.watcher()
