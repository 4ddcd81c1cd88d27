"""Several things at once: all come to their end, and what must not meet does not."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from certwarden.clock import SystemClock
from certwarden.errors import Busy, Error, TargetError
from certwarden.lifecycle import side_by_side as module
from certwarden.lifecycle.side_by_side import (
    MOST_AT_ONCE,
    NameLocks,
    OrderTurn,
    SharedReloader,
    SharedService,
    side_by_side,
    together,
)
from tests.fakes_store import FakeClock, FakeLocks
from tests.fakes_targets import FakeReloader, FakeShelf
from tests.waiting import wait_until

PATIENCE = 30  # seconds that a broken test waits before it says so


def test_results_come_in_the_order_of_the_tasks() -> None:
    """Whichever ends first."""
    second_is_done = threading.Event()

    def first() -> str:
        assert second_is_done.wait(PATIENCE)
        return "first"

    def second() -> str:
        second_is_done.set()
        return "second"

    assert side_by_side([first, second], FakeClock()) == ["first", "second"]
    assert side_by_side([], FakeClock()) == []


def test_what_one_raises_holds_up_no_other() -> None:
    """All have ended when it is raised."""
    done: list[int] = []

    def fail(text: str) -> None:
        raise Error(text)

    tasks = [partial(fail, "one"), partial(done.append, 1), partial(fail, "two")]
    with pytest.raises(Error, match="one"):
        side_by_side([*tasks, partial(done.append, 2)], FakeClock())
    assert sorted(done) == [1, 2]


def test_one_task_needs_no_thread() -> None:
    """A signal reaches it directly."""
    assert side_by_side([threading.current_thread], FakeClock()) == [threading.main_thread()]


def test_no_more_than_so_many_at_once() -> None:
    """A thousand certificates do not open a thousand connections."""
    lock, running, most = threading.Lock(), 0, 0
    is_full = threading.Event()

    def task() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == MOST_AT_ONCE:
                is_full.set()
        assert is_full.wait(PATIENCE)
        with lock:
            running -= 1

    side_by_side([task] * (2 * MOST_AT_ONCE), FakeClock())
    assert most == MOST_AT_ONCE


def test_a_signal_ends_the_waits_of_the_others() -> None:
    """Ctrl-C reaches the main thread; each thread cleans up before the program ends."""
    clock = SystemClock()
    cleaned: list[int] = []

    waiting: list[int] = []
    both_wait = threading.Event()

    def wait(number: int) -> None:
        try:
            waiting.append(number)
            if len(waiting) == 2:
                both_wait.set()
            clock.sleep(600)
        finally:
            cleaned.append(number)

    main = threading.get_ident()

    def interrupt_when_all_wait() -> None:
        assert both_wait.wait(PATIENCE)
        signal.pthread_kill(main, signal.SIGINT)

    alarm = threading.Thread(target=interrupt_when_all_wait)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        alarm.start()
        with pytest.raises(KeyboardInterrupt):
            side_by_side([partial(wait, 1), partial(wait, 2)], clock)
    finally:
        signal.signal(signal.SIGINT, before)
        alarm.join()
    assert sorted(cleaned) == [1, 2]


# ── room ──────────────────────────────────────────────────────────────────────────────────────────


class Meeting:
    """Notes how many are in it at once; waits in it for as long as others may come."""

    def __init__(self, most: int) -> None:
        self.most = 0
        self._inside = 0
        self._expected = most
        self._changed = threading.Condition()

    def attend(self) -> None:
        with self._changed:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.most >= self._expected, PATIENCE)
            self._inside -= 1


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets there be room for so many threads."""

    def furnish(count: int) -> None:
        monkeypatch.setattr(module, "_room", threading.Semaphore(count))

    return furnish


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, type[BaseException]], None]:
    """Lets so many threads be started, and raises after that."""
    start = threading.Thread.start

    def allow(count: int, refusal: type[BaseException]) -> None:
        started: list[int] = []

        def start_some(thread: threading.Thread) -> None:
            if len(started) >= count:
                raise refusal
            started.append(1)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_some)

    return allow


@pytest.mark.parametrize("count", [1, 3, 5])
def test_where_there_is_no_room_for_more_threads_they_are_shared(
    room: Callable[[int], None], count: int
) -> None:
    """All tasks are done, as many at once as there is room for."""
    room(count)
    meeting = Meeting(count)
    side_by_side([meeting.attend] * 20, FakeClock())
    assert meeting.most == count


@pytest.mark.parametrize("count", [1, 5])
def test_where_the_system_allows_no_more_threads_they_are_shared(
    system: Callable[[int, type[BaseException]], None], count: int
) -> None:
    """A pass does not end by "can't start new thread"."""
    system(count, RuntimeError)
    meeting = Meeting(count)
    side_by_side([meeting.attend] * 10, FakeClock())
    assert meeting.most == count


def test_without_any_thread_the_caller_does_it_all(room: Callable[[int], None]) -> None:
    """One after the other."""
    room(0)
    threads = side_by_side([threading.current_thread] * 5, FakeClock())
    assert threads == [threading.main_thread()] * 5


def test_room_counts_for_all_levels_and_is_given_back(room: Callable[[int], None]) -> None:
    """Tasks that have others run side by side get on although they fill all the room."""
    room(6)
    before, most = threading.active_count(), 0

    def inner() -> None:
        nonlocal most
        most = max(most, threading.active_count() - before)
        time.sleep(0.01)

    def outer() -> int:
        return len(side_by_side([inner] * 3, FakeClock()))

    for _ in range(2):
        assert side_by_side([outer] * 12, FakeClock()) == [3] * 12
    assert 2 < most <= 6
    wait_until(lambda: threading.active_count() == before, "the end of all threads")


def test_room_that_comes_free_is_taken(room: Callable[[int], None]) -> None:
    """Whoever found none when it began does not go on alone for ever."""
    room(3)
    all_in, meeting = threading.Event(), Meeting(2)

    def hold() -> None:
        all_in.wait(PATIENCE)

    def share() -> None:
        all_in.set()  # the only one at work lets the others go, and waits for company
        meeting.attend()

    def outer() -> None:
        side_by_side([share] * 3, FakeClock())

    side_by_side([hold, outer], FakeClock())
    assert meeting.most == 2


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_who_is_interrupted_lets_no_other_begin(room: Callable[[int], None], count: int) -> None:
    """And that it was is what the caller hears, whatever failed before."""
    room(count)
    begun: list[int] = []

    def task(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise Error("it failed")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side([partial(task, number) for number in range(50)], FakeClock())
    assert len(begun) <= max(2, count + 1)


# ── together ──────────────────────────────────────────────────────────────────────────────────────


def test_those_who_wait_for_each_other_all_run_at_once() -> None:
    """However many they are."""
    meeting = Meeting(70)
    assert together([lambda _: meeting.attend()] * 70, FakeClock()) == [None] * 70
    assert together([], FakeClock()) == []


def test_for_whom_there_is_no_room_follow_after_the_others(room: Callable[[int], None]) -> None:
    """Each has the service of those it runs with; nobody waits for one who is not there."""
    room(3)
    own = FakeReloader(FakeShelf())

    def member(number: int, service: SharedService) -> int:
        service.reload(own)
        return number

    tasks = [partial(member, number) for number in range(7)]
    assert together(tasks, FakeClock()) == list(range(7))
    assert 3 <= own.reloads <= 5


@pytest.mark.parametrize("started", [0, 1, 2])
def test_a_signal_while_they_begin_leaves_nobody_waiting(
    system: Callable[[int, type[BaseException]], None], started: int
) -> None:
    """Those that will never come have left."""
    system(started, KeyboardInterrupt)
    own = FakeReloader(FakeShelf())
    clock, before = FakeClock(), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        together([lambda service: service.reload(own)] * 4, clock)
    assert clock.is_interrupted
    wait_until(lambda: threading.active_count() == before, "the end of all threads")


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_held_by_one_at_a_time() -> None:
    """Two orders for the same challenge name follow each other; others do not wait for them."""
    locks = NameLocks()
    events: list[str] = []
    second = threading.Thread(target=lambda: hold_and_note(["b", "c"], "second"))

    def hold_and_note(names: list[str], text: str) -> None:
        with locks.hold(names):
            events.append(text)

    with locks.hold(["a", "b"]):
        second.start()
        hold_and_note(["d"], "other")
        events.append("first")
    second.join(PATIENCE)
    assert events == ["other", "first", "second"]


def test_a_failure_lets_go_of_the_names() -> None:
    """Nobody waits for one who has gone."""
    locks = NameLocks()
    with pytest.raises(Error), locks.hold(["a", "a"]):
        raise Error("it failed")
    with locks.hold(["a"]):
        pass


# ── the lock on orders ────────────────────────────────────────────────────────────────────────────


def test_the_lock_on_orders_is_taken_once_for_all() -> None:
    """From the first order of a pass to its last; then others may have it."""
    locks = FakeLocks()
    turn = OrderTurn(locks)
    with turn.hold():
        with turn.hold():
            assert locks.held == {"orders"}
        assert locks.held == {"orders"}
    assert locks.held == set()
    assert locks.taken == ["orders"]
    with turn.hold():
        assert locks.taken == ["orders", "orders"]


def test_who_cannot_have_the_lock_is_told_the_same_at_once() -> None:
    """Fifty certificates do not wait fifty times for it."""

    class Waiting(FakeLocks):
        waits = 0

        @contextmanager
        def orders(self) -> Iterator[None]:
            self.waits += 1
            with super().orders():
                yield

    locks = Waiting("orders")
    turn = OrderTurn(locks)
    for _ in range(50):
        with pytest.raises(Busy, match="process 1, renew"), turn.hold():
            pass
    assert locks.waits == 1


# ── programs ──────────────────────────────────────────────────────────────────────────────────────


class Program:
    """A program with several targets, each of which reloads it as often as it is told to."""

    def __init__(self, members: int) -> None:
        self.own = FakeReloader(FakeShelf())
        self.service = SharedService(members)
        self.shared = SharedReloader(self.own, self.service)
        self.failures: list[str] = []

    def member(self, reloads: int) -> None:
        try:
            for _ in range(reloads):
                self.shared.reload()
        except TargetError as error:
            self.failures.append(error.what)
        finally:
            self.service.leave()

    def run(self, *reloads: int) -> int:
        """How often the program was reloaded, if its targets ask for it so often each."""
        tasks = [partial(self.member, each) for each in reloads]
        side_by_side(tasks, FakeClock())
        return self.own.reloads


@pytest.mark.parametrize(
    ("reloads", "expected"),
    [((1, 1, 1), 1), ((1, 0, 1), 1), ((0, 0), 0), ((2, 1, 1), 2), ((2, 2, 0), 2), ((1,), 1)],
)
def test_a_program_is_reloaded_once_for_all_that_are_ready(
    reloads: tuple[int, ...], expected: int
) -> None:
    """Those that need nothing are not waited for; a roll-back is a turn of its own."""
    for _ in range(20):
        assert Program(len(reloads)).run(*reloads) == expected


def test_a_reload_that_fails_has_failed_for_each() -> None:
    """Each of them rolls back, and that is one reload again."""
    program = Program(3)
    program.own.reload_error = TargetError("nginx could not be reloaded")
    assert program.run(1, 1, 1) == 1
    assert program.failures == ["nginx could not be reloaded"] * 3


@pytest.mark.parametrize("end", [OSError, KeyboardInterrupt])
def test_a_reload_that_is_broken_off_is_done_for_nobody(end: type[BaseException]) -> None:
    """Whoever waited for it must not take it for done."""
    program = Program(3)

    def reload() -> None:
        raise end

    program.own.reload = reload  # type: ignore[method-assign]
    ended: list[type[BaseException]] = []

    def member() -> None:
        try:
            program.shared.reload()
        except (TargetError, KeyboardInterrupt) as failure:
            ended.append(type(failure))
        finally:
            program.service.leave()

    side_by_side([member] * 3, FakeClock())
    assert ended == [TargetError if end is OSError else end] * 3


def test_a_failure_is_over_with_the_next_reload() -> None:
    """What failed once is not raised for the roll-back that worked."""
    program = Program(2)
    failure = TargetError("the new configuration is refused")
    program.own.reload_error = failure
    outcomes: list[str] = []

    def member() -> None:
        try:
            program.shared.reload()
        except TargetError:
            program.own.reload_error = None
            program.shared.reload()
            outcomes.append("rolled back")
        finally:
            program.service.leave()

    side_by_side([member, member], FakeClock())
    assert outcomes == ["rolled back"] * 2
    assert program.own.reloads == 2


def test_a_member_waits_for_those_that_may_still_come() -> None:
    """A reload before the last one's files are in place would have to be made again."""
    program = Program(2)
    first = threading.Thread(target=partial(program.member, 1), daemon=True)
    first.start()
    wait_until(lambda: program.service._waiting == 1, "the first member")
    assert program.own.reloads == 0
    program.member(0)
    first.join(PATIENCE)
    assert program.own.reloads == 1


def test_the_rest_is_the_targets_own() -> None:
    """Whether the unit runs, and what the program says."""
    program = Program(1)
    program.own.says = "key values mismatch"
    assert program.shared.is_active() is True
    assert program.shared.complaint() == "key values mismatch"
