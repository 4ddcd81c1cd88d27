"""A child that makes files in a directory, and takes them away again unless told to keep them.

It has the rights that its parent had when it was forked, and outlives it: whichever way a command
ends, by an error, by kill -9, nothing half done stays behind. The names are settled before the
fork; afterwards it opens those files for its parent, keeps them or removes them, and can do nothing
else. Owns no sentences: its errors are OSErrors. What is in the files it never sees.
"""

import contextlib
import ctypes
import errno
import os
import signal
import socket
import stat
import warnings
from pathlib import Path

from certwarden.frozen import frozen

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
_DONE, _FAILED = b"+", b"-"
_OPEN, _KEEP = b"o", b"k"
_MESSAGE = 64


@frozen
class Reserved:
    """The files to make, all of one directory, and whose they are: uid and gid None are our own.

    `may_make_directory`: where it is missing it is made, 0700 and theirs too. With a `marker` each
    file is made under another name, and takes its own with `keep`: from nothing, or from a file of
    theirs or ours that begins with the marker.
    """

    directory: Path
    names: tuple[str, ...]
    mode: int = 0o600
    uid: int | None = None
    gid: int | None = None
    may_make_directory: bool = False
    marker: bytes = b""

    def path(self, index: int) -> Path:
        """Of one of the files; of the directory where the index is negative."""
        return self.directory / self.names[index] if index >= 0 else self.directory


class Porter:
    """The parent's side. Raises OSError, with the path of the file or directory that it is about.

    When it is made, the files are there, empty, and were not before.
    """

    def __init__(self, reserved: Reserved) -> None:
        self._reserved = reserved
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._child: int | None = None
        # The child must be deaf to what ends its parent before it is born.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            with warnings.catch_warnings():
                # Where others have threads, as tests do: the child touches nothing of theirs.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._child = os.fork()
            if self._child == 0:
                _serve_and_leave(theirs, reserved)
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def open(self, index: int) -> int:
        """A descriptor of that file, for writing; the caller closes it."""
        self._socket.send(_OPEN + str(index).encode())
        (descriptor,) = self._answer()
        return descriptor

    def keep(self) -> None:
        """Whatever was written stays, durably; files that are empty still are removed."""
        self._socket.send(_KEEP)
        self._answer()
        self.close()

    def close(self) -> None:
        """Removes what was not kept; returns when that is done."""
        self._socket.close()
        if self._child is not None:
            os.waitpid(self._child, 0)
            self._child = None

    def _answer(self) -> list[int]:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._socket, _MESSAGE, 1)
        except ConnectionResetError:
            message, descriptors = b"", []
        if message == _DONE:
            return descriptors
        number, _, index = message[1:].decode().partition(":")
        if not index:
            raise OSError(errno.EPIPE, "the process that keeps the files has gone")
        raise OSError(int(number), os.strerror(int(number)), self._reserved.path(int(index)))


# ── the child's side ──────────────────────────────────────────────────────────────────────────────


def _serve_and_leave(parent: socket.socket, reserved: Reserved) -> None:
    """Never returns: nothing of the parent's may run on in the child."""
    try:
        _detach(parent.fileno())
        desk = _Desk(reserved)
        try:
            _serve(parent, desk)
        finally:
            desk.clear()
    finally:
        os._exit(0)


def _detach(ours: int) -> None:
    """Lets go of all that was inherited, or others would wait for us in vain to close it."""
    os.setsid()
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.closerange(0, ours)
    os.closerange(ours + 1, os.sysconf("SC_OPEN_MAX"))


def _serve(parent: socket.socket, desk: "_Desk") -> None:
    try:
        desk.make()
    except OSError as error:
        _tell(parent, error, desk.at)
        return
    parent.send(_DONE)
    while request := parent.recv(_MESSAGE):
        try:
            if request == _KEEP:
                desk.keep()
                parent.send(_DONE)
                return
            descriptor = desk.open(int(request.removeprefix(_OPEN)))
        except OSError as error:
            _tell(parent, error, desk.at)
            continue
        socket.send_fds(parent, [_DONE], [descriptor])
        os.close(descriptor)


def _tell(parent: socket.socket, error: OSError, index: int) -> None:
    parent.send(_FAILED + f"{error.errno}:{index}".encode())


class _Desk:
    """The files; `at` is the index of the one that it is busy with, -1 for the directory."""

    def __init__(self, reserved: Reserved) -> None:
        self._reserved = reserved
        self._made: list[tuple[int, int]] = []  # device and inode of each file that is ours
        self._working = reserved.names  # what the files are called until they are kept
        if reserved.marker:
            self._working = tuple(f".{name[:200]}.{os.getpid()}" for name in reserved.names)
        self._directory = -1
        self._has_made_directory = False
        self.at = -1

    def make(self) -> None:
        wanted = self._reserved
        if wanted.may_make_directory:
            with contextlib.suppress(FileExistsError):
                wanted.directory.mkdir(mode=0o700)
                self._has_made_directory = True
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        if self._has_made_directory:
            flags |= os.O_NOFOLLOW  # or somebody's link in its place would be given away
        self._directory = os.open(wanted.directory, flags)
        if self._has_made_directory:
            self._give(self._directory, 0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for index, name in enumerate(self._working):
            self.at = index
            if wanted.marker:
                self._is_replacing(wanted.names[index])
            descriptor = os.open(name, flags, 0o600, dir_fd=self._directory)
            try:
                found = os.fstat(descriptor)
                self._made.append((found.st_dev, found.st_ino))
                self._give(descriptor, wanted.mode)
            finally:
                os.close(descriptor)

    def open(self, index: int) -> int:
        self.at = index
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._working[index], flags, dir_fd=self._directory)
        try:
            self._check(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def keep(self) -> None:
        for index, name in enumerate(self._working):
            self.at = index
            found = self._look(name)
            if not found.st_size:
                os.unlink(name, dir_fd=self._directory)
            elif self._reserved.marker:
                self._put_in_place(name, self._reserved.names[index])
        self.at = -1
        if len(self._reserved.names) > 1:
            _sync_file_system(self._directory)
        os.fsync(self._directory)
        if self._has_made_directory:
            above = os.open(self._reserved.directory.parent, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(above)
            os.close(above)
        self._made.clear()

    def clear(self) -> None:
        """Removes what was made; what has become of it otherwise is somebody else's by now."""
        for index in range(len(self._made)):
            self.at = index
            name = self._working[index]
            with contextlib.suppress(OSError):
                self._look(name)
                os.unlink(name, dir_fd=self._directory)
        if self._has_made_directory:
            with contextlib.suppress(OSError):  # something is in it
                self._reserved.directory.rmdir()

    def _put_in_place(self, working: str, name: str) -> None:
        ours = self._directory
        if self._is_replacing(name):
            os.rename(working, name, src_dir_fd=ours, dst_dir_fd=ours)
        else:
            os.link(working, name, src_dir_fd=ours, dst_dir_fd=ours)  # nothing is overwritten
            os.unlink(working, dir_fd=ours)

    def _is_replacing(self, name: str) -> bool:
        """Whether a file is there that may be replaced; raises FileExistsError for any other."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        except OSError as error:  # a link, or a file that is closed to us
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        try:
            found = os.fstat(descriptor)
            marker = self._reserved.marker
            is_known = (
                stat.S_ISREG(found.st_mode)
                and found.st_uid in {self._reserved.uid, os.geteuid()}
                and os.pread(descriptor, len(marker), 0) == marker
            )
        finally:
            os.close(descriptor)
        if not is_known:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        return True

    def _give(self, descriptor: int, mode: int) -> None:
        uid, gid = self._reserved.uid, self._reserved.gid
        if uid is not None or gid is not None:
            keep = -1
            os.fchown(descriptor, keep if uid is None else uid, keep if gid is None else gid)
        os.fchmod(descriptor, mode)
        if os.fstat(descriptor).st_mode & 0o777 & ~mode:
            raise PermissionError(errno.EOPNOTSUPP, "knows no modes")

    def _look(self, name: str) -> os.stat_result:
        found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        self._check(found)
        return found

    def _check(self, found: os.stat_result) -> None:
        if (found.st_dev, found.st_ino) != self._made[self.at]:
            raise FileExistsError(errno.EEXIST, "another file has taken its place")


def _sync_file_system(directory: int) -> None:
    """Makes all of it durable at once; file by file, a card takes a minute for thousands."""
    if ctypes.CDLL(None, use_errno=True).syncfs(directory) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
