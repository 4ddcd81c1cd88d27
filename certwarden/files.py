"""Whole or not at all: files, directories and links that survive a power cut, and locks.

A writer here leaves either what was there before or all of what was meant, on disk as well as in
the page cache. Knows nothing of certificates. Raises OSError; whoever calls says what it means.

The order of steps is always: temporary name, content, group, mode, fsync, rename, fsync of the
directory. The group comes before the mode, so that nothing is ever wider than meant. A killed
writer leaves at most something whose name begins with `TEMPORARY_PREFIX`. Writers of one directory
take turns: whoever calls holds a lock, or two of them would sweep each other's work away.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path

from certwarden.errors import Busy, clean
from certwarden.frozen import frozen

TEMPORARY_PREFIX = ".tmp-"
_LOCK_POLL_SECONDS = 0.1
_CHUNK = 64 * 1024


@frozen
class Content:
    """What a file shall hold, and who may read it: `gid` and `uid` None keep our own."""

    data: bytes = field(repr=False)  # it may be a key
    mode: int = 0o600
    gid: int | None = None
    uid: int | None = None


def write_file(path: Path, content: Content) -> None:
    """Makes `path` hold exactly the content, replacing what was there; the directory must exist."""
    temporary = _temporary(path)
    try:
        _create(temporary, content)
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def write_directory(
    path: Path, contents: Mapping[str, Content], mode: int, gid: int | None
) -> None:
    """Makes the directory `path`, which must not exist yet, hold exactly these files."""
    temporary = _temporary(path)
    _remove(temporary)
    try:
        temporary.mkdir(mode=0o700)
        for name, content in contents.items():
            _create(temporary / name, content)
        descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if gid is not None:
                os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if os.path.lexists(path):  # rename would silently replace an empty directory
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        temporary.rename(path)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(path.parent)


def switch_link(link: Path, destination: str) -> None:
    """Makes `link` a symbolic link to `destination`, by one rename over whatever stood there."""
    temporary = _temporary(link)
    _remove(temporary)
    try:
        temporary.symlink_to(destination)
        temporary.rename(link)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(link.parent)


def make_directory(path: Path, mode: int, gid: int | None = None) -> None:
    """Makes sure that a directory of this mode is there; its parents are made 0711 where missing.

    A symbolic link at `path` itself is refused (ENOTDIR); one among its parents is followed.
    """
    if not path.parent.is_dir():
        make_directory(path.parent, 0o711)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        sync_directory(path.parent)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if gid is not None and found.st_gid != gid:
            os.fchown(descriptor, -1, gid)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def read_file(path: Path, limit: int) -> bytes:
    """The file's bytes; raises OSError (EFBIG) rather than read more than `limit` of them.

    Only regular files are read (else EINVAL): opening somebody's pipe could wait for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        data = bytearray()  # bytes would be copied with each chunk
        while len(data) <= limit and (
            chunk := os.read(descriptor, min(_CHUNK, limit + 1 - len(data)))
        ):
            data += chunk
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes", str(path))
    return bytes(data)


@contextmanager
def in_memory(name: str, data: bytes) -> Iterator[str]:
    """A path at which the data can be read for a while, and which leads to memory, not to a disk.

    For libraries that take keys and certificates by their path only.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def has_temporaries(directory: Path) -> bool:
    """Whether a writer is at work in the directory, or one was killed there."""
    try:
        with os.scandir(directory) as entries:
            return any(entry.name.startswith(TEMPORARY_PREFIX) for entry in entries)
    except OSError:
        return False


def sweep_temporaries(directory: Path) -> None:
    """Removes what a killed writer left half done in the directory."""
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if entry.name.startswith(TEMPORARY_PREFIX):
            with contextlib.suppress(OSError):  # litter must not keep anybody from writing
                _remove(entry)


def remove_tree(path: Path) -> None:
    """Removes a directory so that a kill half-way leaves nothing under its old name."""
    doomed = _temporary(path)
    _remove(doomed)
    path.rename(doomed)
    sync_directory(path.parent)
    shutil.rmtree(doomed)


def sync_directory(path: Path) -> None:
    """Makes renames and creations in the directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def lock(
    path: Path,
    purpose: str,
    patience: float,
    on_wait: Callable[[str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Holds an exclusive flock on `path`; the kernel frees it when the process dies.

    Waits up to `patience` seconds for another holder, telling `on_wait` once who that is; then
    raises Busy. What `sleep` raises ends the wait as well. `purpose` is left in the file for
    whoever waits for us. Two locks on one path wait for each other within one process, too.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _acquire(descriptor, path, patience, on_wait, sleep)
        with contextlib.suppress(OSError):  # a full disk takes the courtesy away, not the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()}, {purpose}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(
    descriptor: int,
    path: Path,
    patience: float,
    on_wait: Callable[[str], None] | None,
    sleep: Callable[[float], None],
) -> None:
    deadline = time.monotonic() + patience
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = clean(os.pread(descriptor, 200, 0).decode("utf-8", "replace")) or "somebody"
            if time.monotonic() >= deadline:
                raise Busy(
                    f"the lock {path.name} is held by {holder}, and {patience:.0f} s of waiting "
                    "were in vain",
                    "try again when it has finished",
                ) from None
            if on_wait and not told:
                on_wait(holder)
                told = True
            sleep(_LOCK_POLL_SECONDS)
        else:
            return


def _temporary(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")


def _remove(path: Path) -> None:
    """Removes whatever is there, if anything is; process ids come again, and so do their names."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _create(path: Path, content: Content) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    _remove(path)
    descriptor = os.open(path, flags, 0o600)
    try:
        rest = memoryview(content.data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if content.gid is not None or content.uid is not None:
            keep = -1
            os.fchown(
                descriptor,
                keep if content.uid is None else content.uid,
                keep if content.gid is None else content.gid,
            )
        os.fchmod(descriptor, content.mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
