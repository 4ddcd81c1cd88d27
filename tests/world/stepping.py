"""Follows a forked child system call by system call, and kills it before the n-th that matters.

What matters is a call that changes something below one directory: SQLite's writes as well as ours,
by whichever thread. A seccomp filter hands only those kinds of calls to ptrace(2), so that the rest
runs at full speed. Linux alone can do this, and only for the machines in `_NUMBERS`; no program is
needed, and no right beyond that to trace one's own children.
"""

import ctypes
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# The calls that change files, by their numbers: <asm/unistd_64.h> and <asm-generic/unistd.h>.
_NUMBERS = {
    "x86_64": {
        "write": 1, "open": 2, "pwrite64": 18, "writev": 20, "ftruncate": 77, "rename": 82,
        "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "openat": 257, "mkdirat": 258,
        "fchownat": 260, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266,
        "fchmodat": 268, "fallocate": 285, "renameat2": 316,
    },
    "aarch64": {
        "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38,
        "ftruncate": 46, "fallocate": 47, "fchmod": 52, "fchmodat": 53, "fchownat": 54,
        "fchown": 55, "openat": 56, "write": 64, "writev": 66, "pwrite64": 68, "renameat2": 276,
    },
}  # fmt: skip
# Where a call's arguments say which file: a descriptor, a path, or a descriptor and a path after
# it. Of two paths the last is the one that is made.
_BY_DESCRIPTOR = frozenset({"write", "pwrite64", "writev", "ftruncate", "fallocate", "fchmod",
                            "fchown"})  # fmt: skip
_BY_PATH = {"open": 0, "mkdir": 0, "rmdir": 0, "creat": 0, "unlink": 0, "chmod": 0, "chown": 0,
            "rename": 1, "link": 1, "symlink": 1}  # fmt: skip
_BY_PATH_AT = {"openat": 0, "mkdirat": 0, "fchownat": 0, "unlinkat": 0, "fchmodat": 0,
               "renameat": 2, "renameat2": 2, "linkat": 2, "symlinkat": 1}  # fmt: skip
_OPENING = {"open": 1, "openat": 2}  # and which argument holds the flags

# <linux/ptrace.h>, <linux/prctl.h>, <linux/seccomp.h>, <linux/filter.h>
_TRACEME, _CONT, _SETOPTIONS, _SYSCALL_INFO = 0, 7, 0x4200, 0x420E
_OPTIONS = 0x80 | 0x8 | 0x4 | 0x2 | 0x100000  # TRACESECCOMP, CLONE, VFORK, FORK; EXITKILL
_EVENT_SECCOMP = 7
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD_NUMBER, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_ALL = 0x40000000  # __WALL: threads as well
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


@dataclass
class Followed:
    """A child that was followed to its end: its exit code (negative: a signal), and its steps."""

    code: int = 0
    steps: list[str] = field(default_factory=list)


def why_not() -> str | None:
    """Why no child can be followed on this kind of machine, or None if one can."""
    if not sys.platform.startswith("linux") or platform.machine() not in _NUMBERS:
        return f"the numbers of system calls are not known for {platform.machine()}"
    if sys.maxsize < 2**32:
        return "the numbers of system calls are known for 64-bit programs only"
    return None


def start(work: Callable[[], int]) -> int:
    """Forks a child that waits to be followed and then does the work; returns its process id.

    The caller must have one thread only.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        _filter()
        code = work()
    finally:
        os._exit(code)


def follow(child: int, below: Path, kill_before: int | None) -> Followed:
    """Lets the child run to its end, or to just before its n-th step below the directory (from 1).

    Programs that the child starts run undisturbed, and their steps are not counted.
    """
    followed = Followed()
    known: dict[int, bool] = {child: True}
    names = {number: name for name, number in _NUMBERS[platform.machine()].items()}
    prepared = False
    while known:
        task, status = os.waitpid(-1, _ALL)
        known.setdefault(task, _thread_group(task) == child)
        if not os.WIFSTOPPED(status):
            del known[task]
            if task == child:
                followed.code = os.waitstatus_to_exitcode(status)
            continue
        if not prepared:  # the child waits for us
            _ptrace(_SETOPTIONS, child, _OPTIONS)
            prepared = True
        event, number = status >> 16, os.WSTOPSIG(status)
        if event == _EVENT_SECCOMP and known[task] and (step := _step(task, names, below)):
            followed.steps.append(step)
            if len(followed.steps) == kill_before:
                os.kill(child, signal.SIGKILL)
                continue
        _go_on(task, 0 if event or number in (signal.SIGSTOP, signal.SIGTRAP) else number)
    return followed


def _step(task: int, names: dict[int, str], below: Path) -> str:
    """What the call is and which file below the directory it changes, or ""."""
    info = ctypes.create_string_buffer(88)
    if _libc.ptrace(_SYSCALL_INFO, task, len(info), info) < 0:
        return ""  # it has died meanwhile
    number, *arguments = struct.unpack_from("Q6Q", info.raw, 24)
    name = names[number]
    if name in _OPENING and not arguments[_OPENING[name]] & (os.O_CREAT | os.O_TRUNC):
        return ""
    try:
        path = _path(task, name, arguments)
    except OSError:
        return ""
    if not path.is_relative_to(below) or _is_idle(name, path):
        return ""
    return f"{name} {path.relative_to(below)}"


def _is_idle(name: str, path: Path) -> bool:
    """Whether the call will change nothing: to die before it is to die before the next one."""
    if name.startswith("mkdir"):
        return path.is_dir()
    return name.startswith("unlink") and not os.path.lexists(path)


def _path(task: int, name: str, arguments: list[int]) -> Path:
    process = Path("/proc") / str(task)
    if name in _BY_DESCRIPTOR:
        return (process / "fd" / str(arguments[0])).readlink()
    if name in _BY_PATH:
        return process.joinpath("cwd").readlink() / _text(process, arguments[_BY_PATH[name]])
    at = _BY_PATH_AT[name]
    directory = ctypes.c_int(arguments[at]).value
    base = process / "cwd" if directory == _AT_FDCWD else process / "fd" / str(directory)
    return base.readlink() / _text(process, arguments[at + 1])


def _text(process: Path, address: int) -> str:
    with (process / "mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        # A path that ends near the end of a mapping is read as far as that goes.
        return os.fsdecode(memory.read(4096).partition(b"\0")[0])


def _thread_group(task: int) -> int:
    try:
        status = Path(f"/proc/{task}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("Tgid:")[2].split(maxsplit=1)[0])


def _go_on(task: int, number: int) -> None:
    # It may have died meanwhile: then waiting for it says so.
    _libc.ptrace(_CONT, task, None, number)


def _ptrace(request: int, task: int, data: int = 0) -> None:
    if _libc.ptrace(request, task, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _filter() -> None:
    """Asks the kernel to stop us at the calls in the table, for whoever traces us."""
    numbers = sorted(_NUMBERS[platform.machine()].values())
    program = [struct.pack("HBBI", _LOAD_NUMBER, 0, 0, 0)]
    program += [
        struct.pack("HBBI", _IF_EQUAL, len(numbers) - place, 0, number)
        for place, number in enumerate(numbers)
    ]
    program.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    program.append(struct.pack("HBBI", _RETURN, 0, 0, _TRACE))
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    # Without new privileges any user may ask for a filter.
    for option, first, second in (
        (_SET_NO_NEW_PRIVS, 1, None),
        (_SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(header)),
    ):
        if _libc.prctl(option, ctypes.c_ulong(first), second, 0, 0) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
