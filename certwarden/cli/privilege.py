"""Who we are when the work begins: run as root, a command becomes the owner of the state directory.

Before that it has only read the configuration. Owns no rights of its own to give away, and decides
nothing about files.
"""

import os
import pwd
import resource
from pathlib import Path

from certwarden.errors import UsageError


def settle(state_directory: Path, *, keep_root: bool = False) -> None:
    """Takes on the identity of the state directory's owner, and turns core dumps off.

    `keep_root` leaves a way back for the children that make links at fixed paths as the owners of
    their directories; whatever this process starts otherwise has none. Raises UsageError for users
    who are neither root nor the owner.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        owner = state_directory.stat().st_uid
    except FileNotFoundError:
        return  # there is none yet: whoever makes it owns it
    except OSError as error:
        raise UsageError(
            f"{state_directory} cannot be looked at: {error.strerror}",
            "see `state_directory` in the configuration, and `namei -l` of it",
        ) from None
    me = os.geteuid()
    if owner == me:
        return
    name = _name(owner)
    if me != 0:
        raise UsageError(
            f"{state_directory} belongs to {name}, and you are {_name(me)}",
            "run the command with sudo",
        )
    gid = _group(owner, state_directory)
    os.initgroups(name, gid)
    os.setresgid(gid, gid, gid)
    os.setresuid(owner, owner, 0 if keep_root else owner)


def group_of_owner(state_directory: Path) -> int | None:
    """The group of the state directory's owner, which may read what root keeps for certwarden.

    None where there is no such directory yet.
    """
    try:
        owner = state_directory.stat().st_uid
    except OSError:
        return None
    return _group(owner, state_directory)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(uid: int, state_directory: Path) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return state_directory.stat().st_gid
