"""Who reads a target's files, as the machine has it, and whether they may.

Owns what systemd says of a unit and /proc of its process, and the rules by which the kernel lets a
user read. Only looks: nothing is started, and no file of anybody's is changed.
"""

import grp
import json
import os
import pwd
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from certwarden.errors import TargetError, clean
from certwarden.targets import foreign
from certwarden.targets.process import Identity
from certwarden.targets.units import Properties, show

_OF_THE_USER = ("User", "Group", "SupplementaryGroups")
_PROPERTIES = ("Names", "LoadState", "ActiveState", "CanReload", "MainPID", *_OF_THE_USER)


@dataclass(frozen=True)
class UnitFacts:
    """What systemd says of a unit; "" where it says nothing."""

    unit: str
    load: str  # loaded | not-found | masked | bad-setting | error
    active: str  # active | activating | reloading | inactive | failed | …
    can_reload: bool | None
    main_pid: int  # 0 where there is none
    user: str = ""
    group: str = ""
    supplementary_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """Somebody who reads files; `groups` are all that he is in."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int]


def ask_units(units: Iterable[str]) -> dict[str, UnitFacts]:
    """What systemd says of each unit, asked in one go.

    Takes 4 s at most; raises TargetError where there is nobody to ask.
    """
    wanted = tuple(dict.fromkeys(units))
    if not wanted:
        return {}
    shown = show(wanted, _PROPERTIES)
    # A unit that was asked for by an alias is told by its own name.
    told = {name: each for key, each in shown.items() for name in (*_words(each, "Names"), key)}
    return {unit: _facts(unit, told.get(unit, {})) for unit in wanted}


def _words(properties: Properties, name: str) -> tuple[str, ...]:
    return tuple(clean(properties.get(name, "")).split())


def _facts(unit: str, found: Properties) -> UnitFacts:
    if "LoadState" not in found:
        raise TargetError(f"systemd does not tell about {unit}", f"see `systemctl status {unit}`")
    pid = found.get("MainPID", "")
    return UnitFacts(
        unit=unit,
        load=clean(found["LoadState"], 40),
        active=clean(found.get("ActiveState", ""), 40),
        can_reload={"yes": True, "no": False}.get(found.get("CanReload", "")),
        main_pid=int(pid) if pid.isascii() and pid.isdigit() else 0,
        user=clean(found.get("User", ""), 64),
        group=clean(found.get("Group", ""), 64),
        supplementary_groups=_words(found, "SupplementaryGroups"),
    )


def reader_of_process(pid: int) -> Reader | None:
    """Whom the process is now, with the groups that it has now; None where it cannot be told."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        uid, gid = (int(found[key].split()[1]) for key in ("Uid", "Gid"))  # the effective ones
        groups = frozenset(int(group) for group in found["Groups"].split())
    except (KeyError, ValueError, IndexError):
        return None
    return Reader(_name_of(uid), uid, gid, groups | {gid})


def reader_of_user(
    user: str, group: str = "", supplementary_groups: Sequence[str] = ()
) -> Reader | None:
    """Whom a process of that user will be when it is started; None where there is no such user.

    Names or numbers, as systemd has them.
    """
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        gid = _gid_of(group) if group else entry.pw_gid
        more = {_gid_of(each) for each in supplementary_groups}
    except KeyError:
        return None
    groups = frozenset(os.getgrouplist(entry.pw_name, gid)) | more
    return Reader(entry.pw_name, entry.pw_uid, gid, groups)


def reader_of_owner(path: Path) -> Reader | None:
    """The user to whom the file belongs, or the first directory on the way that is not root's."""
    try:
        return reader_of_user(str(foreign.owner_of(path).uid))
    except (OSError, TargetError):
        return None


def members(group: str) -> frozenset[str]:
    """The users of a group, by name, those whose first group it is included."""
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return frozenset()
    first = (user.pw_name for user in pwd.getpwall() if user.pw_gid == entry.gr_gid)
    return frozenset(entry.gr_mem) | frozenset(first)


def may_read(path: Path, reader: Reader) -> bool | None:
    """Whether modes and groups let the reader read the file; None where we cannot see them.

    Links are followed as the reader would. Access control lists are not looked at.
    """
    if reader.uid == 0:
        return True
    try:
        real = path.resolve(strict=True)
        ways = [*reversed(path.absolute().parents), *reversed(real.parents)]
        is_reached = all(_allows(each.stat(), reader, stat.S_IXOTH) for each in ways)
        return is_reached and _allows(real.stat(), reader, stat.S_IROTH)
    except FileNotFoundError:
        return False
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return None


def can_read(paths: Sequence[Path], reader: Reader) -> list[bool] | None:
    """Whether a child that is this user can open them.

    None where that cannot be tried: where we are not root, or the reader is a process from before
    its user was put into a group, which a child would be in.
    """
    if reader.uid == 0:
        return [True] * len(paths)
    identity = Identity(reader.uid, reader.gid)
    if not foreign.is_root() or not reader.groups.issuperset(foreign.groups_of(identity)):
        return None

    def work() -> bytes:
        return json.dumps([_can_open(path) for path in paths]).encode()

    answer: list[bool] = json.loads(foreign.run_as(identity, sorted(reader.groups), work))
    return answer


def _can_open(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _allows(found: os.stat_result, reader: Reader, right: int) -> bool:
    """`right` is that of the others; before it come owner and group, which may shut out as well."""
    if found.st_uid == reader.uid:
        return bool(found.st_mode & right << 6)
    if found.st_gid in reader.groups:
        return bool(found.st_mode & right << 3)
    return bool(found.st_mode & right)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _gid_of(group: str) -> int:
    return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
