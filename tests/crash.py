"""Kills or fails a piece of work at each of its file-system steps in turn.

The steps are the calls of `os` that change something or may fail; the work runs in a forked child,
so that a kill is a real one: no `finally`, no `except`, no buffer flushed. What it leaves behind is
for the test to judge.
"""

import errno
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

STEPS = (
    "open", "mkdir", "write", "pwrite", "ftruncate", "fchown", "fchmod", "chmod", "fsync",
    "rename", "replace", "symlink", "link", "unlink", "rmdir",
)  # fmt: skip
# How disks fail: a read or write now and then; a full one, until something is removed; a card that
# turns read-only.
FAILURES = ((errno.EIO, False), (errno.ENOSPC, True), (errno.EROFS, True))

_KILLED, _FAILED = 77, 78
_MOST_STEPS = 500


Work = Callable[[], object]


def killed_at_each_step(begin: Callable[[int], Work]) -> Iterator[int]:
    """Runs `begin(n)()` in a child that dies before its n-th step, n = 1, 2, … until it is done.

    Yields n after each death, for the caller to judge what is left; not after the run that was
    done. A write dies with half of its bytes written. Steps that change nothing are no steps here:
    to die before one of them is to die before the next. `begin` itself runs undisturbed.
    """
    for step in range(1, _MOST_STEPS):
        status = in_child(partial(_run_until, step, begin(step)))
        if status == 0:
            assert step > 1, "the work has no steps at all"
            return
        assert status == _KILLED, f"the work failed by itself before step {step}"
        yield step
    raise AssertionError("the work never ends")


def failed_at_each_step(
    begin: Callable[[int], Work], number: int, *, for_good: bool
) -> Iterator[tuple[int, Exception | None]]:
    """Runs `begin(n)()` while its n-th step fails with this errno, and all later ones if for good.

    Yields n and what the work raised, if anything; not after the run in which nothing failed.
    """

    def fail(_call: Callable[..., Any], _arguments: tuple[Any, ...]) -> None:
        raise OSError(number, os.strerror(number))

    for step in range(1, _MOST_STEPS):
        work, raised = begin(step), None
        with _stepping(step, fail, is_step=lambda *_: True, for_good=for_good) as seen:
            try:
                work()
            except Exception as error:  # noqa: BLE001  the caller judges it
                raised = error
        if len(seen) < step:
            assert step > 1, "the work has no steps at all"
            assert raised is None
            return
        yield step, raised
    raise AssertionError("the work never ends")


def _run_until(step: int, work: Work) -> None:
    def die(call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if call.__name__ == "write":
            descriptor, data = arguments
            call(descriptor, bytes(data)[: len(data) // 2])
        os._exit(_KILLED)

    with _stepping(step, die, is_step=_changes_something, for_good=False):
        work()


@contextmanager
def _stepping(
    step: int,
    act: Callable[[Callable[..., Any], tuple[Any, ...]], None],
    *,
    is_step: Callable[[str, tuple[Any, ...]], bool],
    for_good: bool,
) -> Iterator[list[str]]:
    """Calls `act` instead of letting the n-th step happen."""
    real = {name: getattr(os, name) for name in STEPS}
    seen: list[str] = []

    def stepped(name: str, *arguments: Any, **options: Any) -> Any:
        if not is_step(name, arguments):
            return real[name](*arguments, **options)
        seen.append(name)
        if len(seen) == step or (for_good and len(seen) > step):
            act(real[name], arguments)
        return real[name](*arguments, **options)

    for name in STEPS:
        setattr(os, name, partial(stepped, name))
    try:
        yield seen
    finally:
        for name in STEPS:
            setattr(os, name, real[name])


def _changes_something(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a process that is killed after the call leaves something else than before it."""
    return name != "fsync" and (name != "open" or bool(arguments[1] & os.O_CREAT))


def in_child(work: Work) -> int:
    """Does the work in a forked child; 0 if it went through, another number if it did not."""
    with warnings.catch_warnings():
        # The child only touches files and leaves by _exit: threads of the parent do not matter.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = _FAILED
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001  nothing may return into the parent's test run
            traceback.print_exc()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended)
