"""The files that a command line names to be written: made before rights are dropped, by nobody's
leave overwritten, and gone again unless the command comes to a good end.

    with Outputs() as outputs:
        output = outputs.reserve(path)   # exists from here on: 0600, of whoever called sudo
        settle(…)
        output.write(data)
        outputs.keep()                   # durable from here on: now success may be said

Whichever way the command ends without `keep`, by kill -9 too, the files are taken away again. Owns
neither what is in them nor how they are called.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from certwarden.cli.porter import Porter, Reserved
from certwarden.errors import Error, UsageError, clean

_SECRET_FOR_GROUP = 0o640


class Output:
    """A file that is reserved: it exists, empty, and nobody but its owner can open it."""

    def __init__(self, path: Path, porter: Porter, index: int, *, is_alone: bool) -> None:
        self.path = path
        self._porter = porter
        self._index = index
        self._is_alone = is_alone

    def write(self, data: bytes) -> None:
        """Makes the file hold exactly this, which must not be empty; raises Error if it cannot.

        Works whatever rights we have left. Only with `Outputs.keep` is the file there to stay.
        """
        try:
            descriptor = self._porter.open(self._index)
            try:
                os.ftruncate(descriptor, 0)
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                if self._is_alone:  # many are synced at once, when they are kept
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unwritten(self.path, error) from None


class Outputs:
    """The output files of a command; a context, at whose end is removed what was not kept."""

    def __init__(self) -> None:
        self._porters: list[Porter] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for porter in reversed(self._porters):  # a file may be in another one's directory
            porter.close()

    def reserve(self, path: Path) -> Output:
        """Makes the file: mode 0600, of the one who called sudo where that is how we are root.

        A file or link of that name is left alone: UsageError, as for a directory that is missing or
        closed to us. To be called before rights are dropped.
        """
        uid, gid = _caller()
        reserved = Reserved(path.parent, (path.name,), uid=uid, gid=gid)
        return self._reserve(path, reserved)[path.name]

    def reserve_again(self, path: Path, marker: bytes) -> Output:
        """The same for a file that is made again and again: it takes the place of one of its kind.

        That is a file of the caller's, or of ours, that begins with the marker; any other is left
        alone. The new one is there, whole, with `keep`.
        """
        uid, gid = _caller()
        reserved = Reserved(path.parent, (path.name,), uid=uid, gid=gid, marker=marker)
        return self._reserve(path, reserved)[path.name]

    def reserve_all(self, directory: Path, names: Sequence[str]) -> Mapping[str, Output]:
        """The same for many files of one directory, by their names; one that exists spoils it all.

        The directory is made (0700) where it is missing. The files are synced all at once.
        """
        uid, gid = _caller()
        reserved = Reserved(directory, tuple(names), uid=uid, gid=gid, may_make_directory=True)
        return self._reserve(directory, reserved)

    def reserve_secret(self, path: Path, group: int | None) -> Output:
        """The same for a secret that certwarden itself will read: root's, and readable to `group`.

        `group` is that of the state directory's owner (`privilege.group_of_owner`); where we are
        not root, or there is none, nobody but us may read it.
        """
        if group is None or os.geteuid() != 0:
            reserved = Reserved(path.parent, (path.name,))
        else:
            reserved = Reserved(path.parent, (path.name,), _SECRET_FOR_GROUP, uid=0, gid=group)
        return self._reserve(path, reserved)[path.name]

    def keep(self) -> None:
        """What was written is there to stay, durably, when this returns; what was not is removed.

        The last thing to be done before success is said; raises Error if it cannot be.
        """
        for porter in self._porters:
            try:
                porter.keep()
            except OSError as error:
                raise _unwritten(error.filename, error) from None
        self._porters.clear()

    def _reserve(self, path: Path, reserved: Reserved) -> Mapping[str, Output]:
        if not all(map(_is_name, reserved.names)):
            raise UsageError(f"{clean(str(path))} names no file", "give the name of a file to make")
        try:
            porter = Porter(reserved)
        except OSError as error:
            raise _unmade(error) from None
        self._porters.append(porter)
        is_alone = len(reserved.names) == 1
        return {
            name: Output(reserved.path(index), porter, index, is_alone=is_alone)
            for index, name in enumerate(reserved.names)
        }


def _caller() -> tuple[int | None, int | None]:
    """Whose the files are to be: the one's who called sudo, as sudo tells; else our own."""
    if os.geteuid() != 0:
        return None, None
    uid, gid = (os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID"))
    if not (_is_id(uid) and _is_id(gid)):
        return None, None
    return int(uid), int(gid)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 2**32 - 1


def _is_name(name: str) -> bool:
    return bool(name) and name not in {".", ".."} and "/" not in name and "\0" not in name


def _unmade(error: OSError) -> Error:
    where = clean(str(error.filename or "the output file"))
    match error.errno:
        case errno.EEXIST:
            hint = "nothing is overwritten: move it away, or choose another name"
            return UsageError(f"{where} exists already", hint)
        case errno.ENOENT:
            hint = "make it first, or choose another one"
            return UsageError(f"there is no directory {where}", hint)
        case errno.ENOTDIR:
            return UsageError(f"{where} is no directory", "choose another one")
        case errno.EACCES:
            hint = "choose a directory of your own, or run the command with sudo"
            return UsageError(f"you may not write to {where}", hint)
        case errno.EPERM | errno.EOPNOTSUPP:
            hint = "choose a place on a disk of this machine; a USB stick is often like that"
            return UsageError(f"{where} could not be closed to others on that file system", hint)
        case _:
            return UsageError(f"{where} cannot be made: {error.strerror}")


def _unwritten(path: object, error: OSError) -> Error:
    return Error(f"{clean(str(path or 'the output'))} could not be written: {error.strerror}")
