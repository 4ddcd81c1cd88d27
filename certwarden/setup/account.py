"""The user and the group that certwarden works as: whether those that are there are its own.

Owns that judgement. systemd-sysusers makes them, and takes any that have the name already.
"""

import grp
import pwd
from collections.abc import Iterable
from pathlib import Path

from certwarden.files import read_file
from certwarden.setup.install import Ground
from certwarden.setup.outline import SYSUSERS
from certwarden.setup.service import STATE_DIRECTORY, USER

_NO_SHELLS = frozenset({"nologin", "false"})
_MOST = 1024 * 1024
_GROUP_WORDS = 3  # g NAME -


def fault_of_account() -> str:
    """Why the user or the group of our name is somebody else's; "" where it is ours or absent."""
    return fault_of(user(), members(USER) or ())


def fault_of(user: pwd.struct_passwd | None, members: Iterable[str]) -> str:
    """The same for a user of that name, if there is one, and the members of the group."""
    if user is not None and Path(user.pw_dir) != STATE_DIRECTORY:
        return f"the user {USER} is somebody's: its home is {user.pw_dir}"
    if user is not None and Path(user.pw_shell).name not in _NO_SHELLS:
        return f"the user {USER} is somebody's: its shell is {user.pw_shell}"
    if strangers := sorted(set(members) - {USER}):
        return f"the group {USER}, which may read its secrets, has members: {', '.join(strangers)}"
    return ""


def user() -> pwd.struct_passwd | None:
    """The user of our name, where there is one."""
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


def groups_made(ground: Ground) -> frozenset[str]:
    """The groups that set-up has made, by what it has written down."""
    try:
        text = read_file(ground.place(SYSUSERS), _MOST).decode("utf-8", "replace")
    except OSError:
        return frozenset()
    lines = [line.split() for line in text.splitlines()]
    return frozenset(words[1] for words in lines if len(words) == _GROUP_WORDS and words[0] == "g")


def gid_of(group: str) -> int | None:
    """The group's number, where there is such a group."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def members(group: str) -> tuple[str, ...] | None:
    """Who is in the group beside those whose own it is; None where there is no such group."""
    try:
        return tuple(grp.getgrnam(group).gr_mem)
    except KeyError:
        return None
