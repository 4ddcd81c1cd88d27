"""Directories that belong to somebody else: reached without being led astray, written as their
owner.

Whoever owns a directory on the way to a file can put a symbolic link there. Root, and the daemon
with its access to every key, must not write where such a link leads; so every step of the way is
opened by itself, links are followed only where root or we ourselves have made them, and root takes
on the identity of the first owner on the way before it writes anything.
"""

import grp
import json
import os
import pwd
import shlex
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from certwarden.errors import TargetError, clean
from certwarden.targets.process import Identity, Limits, listen

_MAX_LINKS = 40
_MAX_MESSAGE = 256 * 1024
_PATIENCE = 30.0  # seconds
_UNKNOWN = -1  # no user has this number
_DYING = 1.0  # seconds that a killed child may take: one that a file system holds up does not die
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(directory: Path) -> Iterator[Path]:
    """The directory as a path that keeps leading to it, whatever its name leads to meanwhile.

    Raises TargetError where a stranger's link is on the way or anybody may write to a directory on
    it, OSError where it cannot be reached.
    """
    descriptor, _, _ = _walk(directory, until_owned=False)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def is_root() -> bool:
    """Whether we are root, or have kept the right to be root again (the saved user id)."""
    return 0 in os.getresuid()


def owner_of(path: Path) -> Identity:
    """Who may put links on the way to `path`, or in its place: the owner of its first part that is
    not root's.

    Raises TargetError where others may as well, because a group may write to one of root's
    directories on the way.
    """
    we = os.geteuid()
    try:
        return _owner_of(path, we)
    except PermissionError:
        if not is_root() or we == 0:
            raise

    def look_as_root() -> bytes:
        found = _owner_of(path, we)
        return json.dumps([found.uid, found.gid]).encode()

    return Identity(*json.loads(run_as(Identity(0, 0), [], look_as_root)))


def run_as(
    identity: Identity,
    groups: list[int],
    work: Callable[[], bytes | None],
    *,
    seconds: float = _PATIENCE,
) -> bytes:
    """Does the work in a child that is this user and nobody else; returns what it returns, up to
    256 KiB, and raises what it raises, of which only TargetError and OSError come back whole.

    Only for root. What the child is cannot be taken back: no way leads from it to root again. It is
    in the user's own groups and in `groups`. The user can hold it up, by signals or in a file
    system of his own: after so many seconds it is killed, and there is a TargetError.
    """
    groups = [*groups_of(identity), *groups]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work_and_leave(writer, identity, groups, work)
    os.close(writer)
    try:
        message, size, is_over = listen(reader, child, Limits(seconds, _MAX_MESSAGE))
        if not is_over:
            run_as(Identity(0, 0), [], lambda: os.kill(child, signal.SIGKILL))
            _, _, is_dead = listen(reader, child, Limits(_DYING, 0))
    finally:
        os.close(reader)
    status = os.waitpid(child, 0 if is_over or is_dead else os.WNOHANG)[1]
    if not is_over:
        raise TargetError(
            f"what user {identity.uid} has to do took more than {seconds:.0f} s, and was stopped",
            "see what that user's processes and file systems wait for, and try again",
        )
    if size > _MAX_MESSAGE:
        raise TargetError(f"the child that works as user {identity.uid} said too much")
    if status == 0:
        return message
    if not message:
        raise TargetError(f"the child that works as user {identity.uid} was killed")
    told = json.loads(message)
    if "errno" in told:
        raise OSError(told["errno"], told["strerror"], told["filename"])
    raise TargetError(told["what"], told["hint"])


def groups_of(identity: Identity) -> list[int]:
    """The groups that the user has at a login; none are known of one who cannot log in."""
    try:
        name = pwd.getpwuid(identity.uid).pw_name
    except KeyError:
        return []
    return os.getgrouplist(name, identity.gid)


def _work_and_leave(
    writer: int, identity: Identity, groups: list[int], work: Callable[[], bytes | None]
) -> None:
    """Never returns: nothing of the parent's may run on in the child."""
    status = 1
    try:
        found, told = _work_as(identity, groups, work)
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(told).encode() if told else found)
        status = 1 if told else 0
    finally:
        os._exit(status)


def _work_as(
    identity: Identity, groups: list[int], work: Callable[[], bytes | None]
) -> tuple[bytes, dict[str, object]]:
    """What the work came to, and how it failed, if it did."""
    try:
        os.seteuid(0)
        os.setgroups(groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        return work() or b"", {}
    except OSError as error:
        filename = error.filename and os.fsdecode(error.filename)
        return b"", {"errno": error.errno, "strerror": error.strerror, "filename": filename}
    except TargetError as error:
        return b"", {"what": error.what, "hint": error.hint}
    except BaseException as error:  # noqa: BLE001  # there is nobody above us to raise it to
        what = f"unforeseen: {type(error).__name__}"
        return b"", {"what": what, "hint": "please report this"}


def _owner_of(path: Path, we: int) -> Identity:
    """`we` is the user that we work as, who is no stranger."""
    descriptor, found, passed = _walk(path, until_owned=True)
    os.close(descriptor)
    for each in passed:
        if _writers_by_group(each) - {0, we, found.st_uid}:
            raise TargetError(
                f"group {each.st_gid} may write to a directory of root's on the way to "
                f"{clean(str(path))}, and so put something else there",
                f"take that right away; {_show_way(path)}",
            )
    try:
        gid = pwd.getpwuid(found.st_uid).pw_gid
    except KeyError:
        gid = found.st_gid
    return Identity(found.st_uid, gid)


def _writers_by_group(found: os.stat_result) -> set[int]:
    """The users who may put things into the directory because they are in its group."""
    if not found.st_mode & stat.S_IWGRP or found.st_mode & stat.S_ISVTX or found.st_gid == 0:
        return set()
    try:
        names = grp.getgrgid(found.st_gid).gr_mem
    except KeyError:
        return {_UNKNOWN}
    users = pwd.getpwall()
    return {each.pw_uid for each in users if each.pw_gid == found.st_gid or each.pw_name in names}


def _walk(
    directory: Path, *, until_owned: bool
) -> tuple[int, os.stat_result, list[os.stat_result]]:
    """Goes to the directory step by step; `until_owned`: no further than the first that is not
    root's. The caller closes the descriptor; the directories that it passed through come last.
    """
    if not directory.is_absolute():
        raise TargetError(f"{clean(str(directory))} is not an absolute path")
    to_go = list(reversed(directory.parts[1:]))
    links = 0
    passed: list[os.stat_result] = []
    here = os.open("/", _STEP)
    try:
        found = os.fstat(here)
        while to_go and not (until_owned and found.st_uid != 0):
            passed.append(os.fstat(here))
            step = os.open(to_go.pop(), _STEP, dir_fd=here)
            found = os.fstat(step)
            if stat.S_ISLNK(found.st_mode) and not (until_owned and found.st_uid != 0):
                links += 1
                destination = _trusted_link(step, found, directory, links)
                to_go += reversed([part for part in destination.parts if part != "/"])
                if not destination.is_absolute():
                    continue
                step = os.open("/", _STEP)
            os.close(here)
            here = step
            _refuse_if_anybody_may_write(found, directory)
    except BaseException:
        os.close(here)
        raise
    return here, found, passed


def _trusted_link(link: int, found: os.stat_result, directory: Path, links: int) -> PurePosixPath:
    """Where the link leads; closes its descriptor."""
    try:
        if found.st_uid not in (0, os.geteuid()):
            raise TargetError(
                f"{clean(str(directory))} leads through a symbolic link of user {found.st_uid}",
                "name the directory itself in the target's configuration",
            )
        if links > _MAX_LINKS:
            raise TargetError(f"{clean(str(directory))} leads through too many symbolic links")
        return PurePosixPath(os.readlink("", dir_fd=link))
    finally:
        os.close(link)


def _refuse_if_anybody_may_write(found: os.stat_result, directory: Path) -> None:
    anybody_may = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    if stat.S_ISDIR(found.st_mode) and anybody_may:
        raise TargetError(
            f"anybody may write to {clean(str(directory))}, or to a directory on the way to it",
            f"take that right away; {_show_way(directory)}",
        )


def _show_way(path: Path) -> str:
    return f"`namei -l {shlex.quote(clean(str(path)))}` shows where"
