"""Carries out what the outline lists; looks first whether it is there already.

Each change is whole or not at all, and may be made again: a set-up that was interrupted goes on
where it stopped. Owns no list of its own, and tells nobody.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from certwarden.errors import Error, clean
from certwarden.files import Content, make_directory, read_file, sync_directory, write_file
from certwarden.setup.outline import Change, MakeDirectory, WriteFile
from certwarden.setup.system import run_program
from certwarden.targets import foreign
from certwarden.targets.process import Limits

_LIMITS = Limits(seconds=120, output=64 * 1024)
_MOST = 1024 * 1024


class InstallError(Error):
    """The machine could not be changed as it was to be."""


class Ground:
    """The machine that is changed; below `root`, which is / but for a test."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def outstanding(self, changes: Iterable[Change]) -> list[Change]:
        """Those that are not there yet; a command is never there."""
        return [change for change in changes if not self._is_there(change)]

    def make(self, changes: Iterable[Change]) -> None:
        """Makes those that are not there yet, in their order; raises InstallError at the first
        that cannot be made.
        """
        for change in changes:
            if not self._is_there(change):
                self._make(change)

    def has(self, path: Path) -> bool:
        """Whether there is something at the path, be it a link that leads nowhere."""
        return os.path.lexists(self.place(path))

    def remove(self, path: Path) -> None:
        """Takes away a file, or a directory with nothing in it; what is not there is gone."""
        place = self.place(path)
        try:
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            else:
                place.unlink(missing_ok=True)
        except OSError as error:
            raise InstallError(f"{path} could not be removed: {error.strerror}") from None

    def command(self, *argv: str) -> None:
        """Runs a program; raises InstallError with what it says where it fails."""
        try:
            finished = run_program(argv, _LIMITS)
        except OSError as error:
            raise InstallError(
                f"`{argv[0]}` cannot be run: {error.strerror}", "setup needs systemd"
            ) from None
        if finished.status != 0:
            said = clean(finished.output.decode("utf-8", "replace"))
            raise InstallError(f"`{' '.join(argv)}` failed: {said or finished.status}")

    def place(self, path: Path) -> Path:
        """Where the path is for us."""
        return self._root / path.relative_to("/")

    @contextmanager
    def _opened(self, path: Path) -> Iterator[Path]:
        """The path by a way on which no stranger can lead us elsewhere."""
        place = self.place(path)
        make_parents(place.parent)
        with foreign.opened(place.parent) as parent:
            yield parent / place.name

    def _is_there(self, change: Change) -> bool:
        act = change.act
        try:
            if isinstance(act, WriteFile):
                return self._is_written(act)
            if isinstance(act, MakeDirectory):
                return self._is_made(act)
        except (OSError, KeyError):  # no such file, user or group yet
            return False
        return False

    def _is_written(self, act: WriteFile) -> bool:
        place = self.place(act.path)
        found = place.lstat()
        gid = grp.getgrnam(act.group).gr_gid if act.group else os.getegid()
        is_ours = (found.st_uid, found.st_gid) == (os.geteuid(), gid)
        is_closed = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == act.mode
        return is_ours and is_closed and read_file(place, _MOST) == act.data

    def _is_made(self, act: MakeDirectory) -> bool:
        found = self.place(act.path).lstat()
        is_ours = (found.st_uid, found.st_gid) == _owner(act.owner)
        return stat.S_ISDIR(found.st_mode) and is_ours and stat.S_IMODE(found.st_mode) == act.mode

    def _make(self, change: Change) -> None:
        act = change.act
        try:
            if isinstance(act, WriteFile):
                gid = grp.getgrnam(act.group).gr_gid if act.group else None
                with self._opened(act.path) as place:
                    write_file(place, Content(act.data, act.mode, gid))
            elif isinstance(act, MakeDirectory):
                with self._opened(act.path) as place:
                    _make_directory(place, act)
            else:
                self.command(*act.argv)
        except KeyError as unknown:
            raise InstallError(f"{change.place}: {unknown.args[0]}") from None
        except OSError as error:
            where = clean(str(error.filename or change.place))
            raise InstallError(f"{where} could not be written: {error.strerror}") from None


def make_parents(directory: Path) -> None:
    """The directories that lead to a file, 0755 where they are missing."""
    if not directory.is_dir():
        make_parents(directory.parent)
        make_directory(directory, 0o755)


def _make_directory(place: Path, act: MakeDirectory) -> None:
    """Makes it, or takes one that is empty or its owner's already; whatever its name leads to
    meanwhile, it is the one that was looked at that changes hands.
    """
    uid, gid = _owner(act.owner)
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
        sync_directory(place.parent)
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != uid and os.listdir(descriptor):  # noqa: PTH208 - a Path has no descriptor
            raise InstallError(
                f"{act.path} is there already, with what is somebody else's in it",
                "move that away, or name another directory",
            )
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, act.mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _owner(owner: str) -> tuple[int, int]:
    """`user` or `user:group` as numbers; KeyError where there is no such one."""
    user, _, group = owner.partition(":")
    found = pwd.getpwnam(user)
    return found.pw_uid, grp.getgrnam(group).gr_gid if group else found.pw_gid
