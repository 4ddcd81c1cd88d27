"""Several things at once, in threads: run, serialised by name, or done once for all.

Owns the threads of a pass. A signal reaches the main thread only: it tells the clock, which ends
every wait of the others, so that each cleans up after itself before the program ends.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Generic, TypeVar

from certwarden.errors import Error, TargetError, as_error
from certwarden.ports import Clock, Locks, Reloader

MOST_AT_ONCE = 64  # of one kind; each waits most of its time: for DNS, the CA, or a program
# Of all kinds, also where one task has others run side by side. With the process or thread that
# each may have at work for it, and those that ask name servers, the units' TasksMax allows them.
MOST_THREADS = 96
FIRST_THREADS = 4
STANDSTILL = 0.005  # seconds without any task's end, after which another thread is worth its memory
SIGNAL_INTERVAL = 0.5  # seconds, at most, until a signal is heard

_Result = TypeVar("_Result")
_room = threading.BoundedSemaphore(MOST_THREADS)


def side_by_side(
    tasks: Sequence[Callable[[], _Result]], clock: Clock, most: int = MOST_AT_ONCE
) -> list[_Result]:
    """Runs the tasks at the same time and returns their results in order; raises what one raised.

    All that have begun have ended when it returns, also when a signal ends it early. There are no
    more threads than it takes: tasks that are soon done share a few. Where there is no room for
    another one they share those that there are, and where there is none the caller does it all.
    """
    if len(tasks) <= 1:
        return [task() for task in tasks]
    work = _Work(tasks)
    with work.until_ended(clock):
        done = 0
        while work.waiting and len(work.threads) < most:
            done_before, done = done, work.done
            is_full = False
            if len(work.threads) < FIRST_THREADS or done == done_before:
                is_full = not work.share()
            if not work.threads:
                work.take()
            elif is_full:
                work.threads[-1].wait(SIGNAL_INTERVAL)
            elif len(work.threads) >= FIRST_THREADS:
                work.threads[-1].wait(STANDSTILL)
    return work.outcome()


def together(tasks: Sequence[Callable[["SharedService"], _Result]], clock: Clock) -> list[_Result]:
    """Runs tasks that wait for each other, as `side_by_side` does: each in a thread of its own.

    Each is given the service that it has in common with those that run at the same time. Tasks for
    which there is no room follow after these, and have another one.
    """
    results: list[_Result] = []
    while rest := tasks[len(results) :]:
        service = SharedService(len(rest))
        work = _Work([partial(_be_member, service, task) for task in rest], service.leave)
        if len(rest) > 1:
            with work.until_ended(clock):
                while work.waiting and work.share():
                    pass
                work.drop()
        results += work.outcome() or [rest[0](SharedService(1))]
    return results


def _be_member(service: "SharedService", task: Callable[["SharedService"], _Result]) -> _Result:
    try:
        return task(service)
    finally:
        service.leave()


class _Work(Generic[_Result]):
    """Tasks, the threads that share them, and what has come of them.

    `on_drop` is called for each task that nobody will begin.
    """

    def __init__(
        self, tasks: Sequence[Callable[[], _Result]], on_drop: Callable[[], None] = lambda: None
    ) -> None:
        self.waiting = deque(enumerate(tasks))
        self.threads: list[threading.Event] = []  # set when one has ended
        self._results: dict[int, _Result] = {}
        self._failures: dict[int, BaseException] = {}
        self._on_drop = on_drop

    @property
    def done(self) -> int:
        """How many tasks have ended."""
        return len(self._results) + len(self._failures)

    def outcome(self) -> list[_Result]:
        """The results, in order; raises what a task raised, and before all that it was ended."""
        failures = self._failures
        if failures:
            raise failures[min(failures, key=lambda each: (_is_mistake(failures[each]), each))]
        return [self._results[number] for number in sorted(self._results)]

    def share(self) -> bool:
        """Starts another thread; False where there is no room for it."""
        if not _room.acquire(blocking=False):
            return False
        ended = threading.Event()
        thread = threading.Thread(target=self._take_in_thread, args=(ended,), daemon=True)
        self.threads.append(ended)
        try:
            thread.start()
        except RuntimeError:  # the system allows no more
            self.threads.pop()
            _room.release()
            return False
        except BaseException:
            if thread.ident is None:
                self.threads.pop()
            raise
        return True

    def take(self) -> None:
        """Works on the tasks until none is left."""
        for number, task in self._taken():
            try:
                self._results[number] = task()
            except BaseException as failure:  # noqa: BLE001 - raised again where all meet
                self._failures[number] = failure
                if not _is_mistake(failure):
                    self.drop()

    def drop(self) -> None:
        """Takes back whatever nobody has begun."""
        for _ in self._taken():
            self._on_drop()

    @contextmanager
    def until_ended(self, clock: Clock) -> Iterator[None]:
        """Waits at its end for all threads; a signal that comes meanwhile calls them off."""
        try:
            yield
            self._wait()
        except BaseException:
            clock.interrupt()
            self.drop()
            self._wait()
            raise

    def _taken(self) -> Iterator[tuple[int, Callable[[], _Result]]]:
        while True:
            try:
                yield self.waiting.popleft()
            except IndexError:  # nothing is waiting any more
                return

    def _take_in_thread(self, ended: threading.Event) -> None:
        try:
            self.take()
        finally:
            _room.release()
            ended.set()

    def _wait(self) -> None:
        """Waits for all of them, so that a signal is heard.

        That is not done by `join`, which takes a thread for ended when a signal interrupts it
        (until Python 3.13), nor without end: a signal that comes just before the wait would not
        end it.
        """
        for ended in self.threads:
            while not ended.wait(SIGNAL_INTERVAL):
                pass


def _is_mistake(failure: BaseException) -> bool:
    """Whether it failed, in contrast to having been ended."""
    return isinstance(failure, Exception)


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
    """The lock on orders, held by all orders of a pass that are under way: one takes it for them.

    It is let go of whenever none is. Whoever cannot have it is told the same as the first who
    waited for it in vain.
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
        self._failure: BaseException | None = None

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
                self._failure = _failure_of(reloader)
                self._changed.notify_all()
            if self._failure is not None:
                raise self._failure


def _failure_of(reloader: Reloader) -> BaseException | None:
    """Reloads; why that is not done, if it is not: a signal that ends it ends it for all."""
    try:
        reloader.reload()
    except Exception as exception:  # noqa: BLE001 - for all of them it is a reload that failed
        error = as_error(exception)
        if error is exception:
            return error
        return TargetError(f"the reload was broken off, {error.what}", error.hint)
    except BaseException as end:  # noqa: BLE001 - raised by each of them
        return end
    return None


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
