"""Several things at once, in threads: run, serialised by name, or done once for all.

Owns the threads of a pass. A signal reaches the main thread only: it tells the clock, which ends
every wait of the others, so that each cleans up after itself before the program ends.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from certwarden.errors import Error
from certwarden.ports import Clock, Locks, Reloader

MOST_AT_ONCE = 64  # orders; each waits most of its time, for DNS and for the CA
FIRST_THREADS = 4
STANDSTILL = 0.005  # seconds without any task's end, after which another thread is worth its memory
SIGNAL_INTERVAL = 0.5  # seconds, at most, until a signal is heard

_Result = TypeVar("_Result")


def side_by_side(
    tasks: Sequence[Callable[[], _Result]], clock: Clock, most: int = MOST_AT_ONCE
) -> list[_Result]:
    """Runs the tasks at the same time and returns their results in order; raises what one raised.

    All that have begun have ended when it returns, also when a signal ends it early. There are no
    more threads than it takes: tasks that are soon done share a few.
    """
    if len(tasks) <= 1:
        return [task() for task in tasks]
    results: dict[int, _Result] = {}
    failures: dict[int, BaseException] = {}
    waiting = deque(enumerate(tasks))

    def work(ended: threading.Event) -> None:
        try:
            while waiting:
                try:
                    number, task = waiting.popleft()
                except IndexError:  # another thread was quicker
                    break
                try:
                    results[number] = task()
                except BaseException as failure:  # noqa: BLE001 - raised again where all come together
                    failures[number] = failure
        finally:
            ended.set()

    threads: list[tuple[threading.Thread, threading.Event]] = []
    try:
        done = 0
        while waiting and len(threads) < most:
            done_before, done = done, len(results) + len(failures)
            if len(threads) < FIRST_THREADS or done == done_before:
                ended = threading.Event()
                thread = threading.Thread(target=work, args=(ended,), daemon=True)
                threads.append((thread, ended))
                thread.start()
            if len(threads) >= FIRST_THREADS:
                ended.wait(STANDSTILL)
        _wait_for([ended for _, ended in threads])
    except BaseException:
        waiting.clear()
        clock.interrupt()
        _wait_for([ended for thread, ended in threads if thread.ident])
        raise
    if failures:
        raise failures[min(failures)]
    return [results[number] for number in range(len(tasks))]


def _wait_for(events: Sequence[threading.Event]) -> None:
    """Waits for all of them, so that a signal is heard.

    That is not done by `join`, which takes a thread for ended when a signal interrupts it (until
    Python 3.13), nor without end: a signal that comes just before the wait would not end it.
    """
    for event in events:
        while not event.wait(SIGNAL_INTERVAL):
            pass


class NameLocks:
    """One at a time for each name, within this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, names: Sequence[str]) -> Iterator[None]:
        """Waits until all the names are free, then keeps them from the others."""
        wanted = set(names)
        with self._changed:
            self._changed.wait_for(lambda: not wanted & self._held)
            self._held |= wanted
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted
                self._changed.notify_all()


class OrderTurn:
    """The lock on orders, held for a whole pass from its first order to its last.

    Whoever cannot have it is told the same as the first who waited for it in vain.
    """

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._guard = threading.Lock()
        self._stack = ExitStack()
        self._members = 0
        self._refusal: Error | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Raises Busy, and StoreError where the lock cannot be made."""
        with self._guard:
            if self._refusal is not None:
                raise self._refusal
            if self._members == 0:
                try:
                    self._stack.enter_context(self._locks.orders())
                except Error as error:
                    self._refusal = error
                    raise
            self._members += 1
        try:
            yield
        finally:
            with self._guard:
                self._members -= 1
                if self._members == 0:
                    self._stack.close()


class SharedService:
    """Targets of one program: it is reloaded once for all that have their files in place."""

    def __init__(self, members: int) -> None:
        self._changed = threading.Condition()
        self._present = members
        self._waiting = 0
        self._turn = 0
        self._failure: Error | None = None

    def leave(self) -> None:
        """A member has nothing to be reloaded any more."""
        with self._changed:
            self._present -= 1
            self._changed.notify_all()

    def reload(self, reloader: Reloader) -> None:
        """Waits for the others, then one of them reloads; raises for each what that raised."""
        with self._changed:
            turn = self._turn
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn != turn or self._waiting == self._present)
            if self._turn == turn:
                self._waiting = 0
                self._turn += 1
                self._failure = None
                try:
                    reloader.reload()
                except Error as error:
                    self._failure = error
                finally:
                    self._changed.notify_all()
            if self._failure is not None:
                raise self._failure


class SharedReloader:
    """The port Reloader of a member of a shared service."""

    def __init__(self, own: Reloader, service: SharedService) -> None:
        self._own = own
        self._service = service

    def is_active(self) -> bool | None:
        """Whether the unit runs."""
        return self._own.is_active()

    def reload(self) -> None:
        """Once for all that are ready."""
        self._service.reload(self._own)

    def complaint(self) -> str:
        """What the program says."""
        return self._own.complaint()
