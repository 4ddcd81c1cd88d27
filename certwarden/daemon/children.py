"""The children at work, one for each role, and waiting until one of them has something to say."""

import os
import selectors
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Self

from certwarden.daemon.child import Child, Ended, Limits


class Role(Enum):
    """What a child is for."""

    PASS = "a pass"  # noqa: S105 - no password
    CHECK = "a look at the configuration"
    QUESTION = "a question to timedatectl"


class Children:
    """A context manager, at whose end nobody is at work any more. `now` is always monotonic."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._selector = selectors.DefaultSelector()
        self._at_work: dict[Role, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._at_work.values():
            child.kill()
            child.reap()
        self._selector.close()

    def __contains__(self, role: Role) -> bool:
        return role in self._at_work

    def __bool__(self) -> bool:
        return bool(self._at_work)

    def listen(self, descriptor: int, then: Callable[[], None]) -> None:
        """Has `then` called by `wait` whenever the descriptor is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, then)

    def start(
        self,
        role: Role,
        argv: Sequence[str],
        limits: Limits,
        now: float,
        *,
        then: Callable[[Ended], None],
        descriptor: int | None,
    ) -> None:
        """Starts it, with the descriptor open in it; `wait` calls `then` at its end.

        Raises OSError where it cannot be started.
        """
        child = Child(
            argv,
            limits,
            now,
            environment=self._environment,
            descriptors=() if descriptor is None else (descriptor,),
            is_quiet=role is Role.QUESTION,
        )
        self._at_work[role] = child
        self.listen(child.output, partial(self._read, child))
        self.listen(child.end, partial(self._reap, role, then))

    def wait(self, until: float, now: float) -> None:
        """Waits until then at most, and deals with whatever happens meanwhile."""
        due = min([until, *(child.due for child in self._at_work.values())])
        for key, _ in self._selector.select(max(0.0, due - now)):
            if self._selector.get_map().get(key.fd) is key:  # not forgotten in this very round
                key.data()

    def look(self, now: float) -> None:
        """Ends those that are beyond their time."""
        for child in self._at_work.values():
            child.look(now)

    def stop(self, now: float, grace: float) -> None:
        """Asks all to end; a pass has so many seconds for it."""
        for role, child in self._at_work.items():
            child.stop(now, grace if role is Role.PASS else 0)
        self.look(now)

    def are_unstoppable(self, now: float) -> bool:
        """Whether one of them has outlived its killing."""
        return any(child.is_unstoppable(now) for child in self._at_work.values())

    def _read(self, child: Child) -> None:
        if not child.read():
            self._forget(child.output)

    def _reap(self, role: Role, then: Callable[[Ended], None]) -> None:
        child = self._at_work.pop(role)
        self._forget(child.output)
        self._forget(child.end)
        then(child.reap())

    def _forget(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)


def in_memory(text: bytes) -> int:
    """A descriptor from which children may read the text; it is on no disk."""
    descriptor = os.memfd_create("certwarden", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(text)
    return descriptor
