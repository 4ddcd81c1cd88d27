"""Who we are when the work begins: run as root, a command becomes the owner of the state directory.

Before that it has only read the configuration and secrets that it names. Owns no rights of its own
to give away, and decides nothing about files.
"""

import os
import pwd
import resource
import stat
from pathlib import Path

from certwarden.config import Config, read_secret
from certwarden.errors import UsageError
from certwarden.model import Secret

USER = "certwarden"
_SERVICE = "certwarden.service"


def settle(state_directory: Path, *, keep_root: bool = False, is_looking: bool = False) -> None:
    """Takes on the identity of the state directory's owner, and turns core dumps off.

    `keep_root` leaves a way back for the children that make links at fixed paths as the owners of
    their directories; whatever this process starts otherwise has none. Raises UsageError for users
    who are neither root nor the owner, and for root where there is no such directory but a user
    that it is to be of: root would own it, and run whatever the configuration names, by accident.
    Not so where the command `is_looking` only.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        owner = state_directory.stat().st_uid
    except FileNotFoundError:
        if os.geteuid() == 0 and not is_looking:
            _refuse_to_found(state_directory)
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


def _refuse_to_found(state_directory: Path) -> None:
    """Raises UsageError where certwarden has a user of its own on this machine."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return
    raise UsageError(
        f"there is no {state_directory}, and what root makes there would be root's, not {USER}'s",
        f"run `sudo install -d -m 0711 -o {USER} -g {USER} {state_directory}`, then this again",
    )


def handed_over(config: Config) -> dict[Path, Secret]:
    """The secrets that root alone may read, where systemd hands them to the service.

    Read while we are root, for a command that looks at what the service works with. None where we
    are not, or where the state directory is root's own.
    """
    if os.geteuid() != 0:
        return {}
    closed = [path for path in config.secret_files if _is_closed(path)]
    if not closed:
        return {}
    from certwarden.targets.units import credentials_of

    names = credentials_of(_SERVICE)
    return {path: read_secret(path) for path in closed if path.name in names}


def _is_closed(path: Path) -> bool:
    """Whether there is such a file, and it is root's alone."""
    try:
        found = path.stat()
    except OSError:
        return False
    is_shared = found.st_mode & stat.S_IRGRP and found.st_gid != 0
    return found.st_uid == 0 and not is_shared


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
