"""Takes certwarden out of the machine again: what set-up has put there, and nothing else.

What cannot be made again (the CA, the state, the configuration) is gone only where that was asked
for. Whom to ask, and what to tell, is the caller's business.
"""

import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path

from certwarden.setup import account
from certwarden.setup.answers import GROUP
from certwarden.setup.configuration import House
from certwarden.setup.install import Ground, InstallError
from certwarden.setup.outline import (
    DROP_INS,
    RULE,
    SERVICE,
    SYSUSERS,
    TIMER,
    TMPFILES,
    UNITS,
    UNITS_DIRECTORY,
)
from certwarden.setup.service import RECEIVER, STATE_DIRECTORY, USER
from certwarden.setup.unfinished import NOTE
from certwarden.targets.door import SOCKET

_NAME = "certwarden"
_CONFIGURED = Path("/etc/certwarden")


def files(ground: Ground) -> list[Path]:
    """What of ours is there: units with their drop-ins, the rule, users and directories."""
    known = (*DROP_INS, *(UNITS_DIRECTORY / unit for unit in UNITS), RULE, TMPFILES, SYSUSERS, NOTE)
    return [path for path in known if ground.has(path)]


def stop(ground: Ground) -> None:
    """No unit of certwarden's runs, or will by itself."""
    for unit in (SERVICE, TIMER):
        if ground.has(UNITS_DIRECTORY / unit):
            ground.command("systemctl", "disable", "--now", "--quiet", unit)
    for unit in (SOCKET, RECEIVER):  # in this order, or a visitor would start it again
        if ground.has(UNITS_DIRECTORY / unit):
            ground.command("systemctl", "stop", unit)


def take_out(ground: Ground, paths: list[Path]) -> None:
    """Removes the files, and the directories of drop-ins that are empty then."""
    for path in paths:
        ground.remove(path)
        if path in DROP_INS and not any(ground.place(path.parent).iterdir()):
            ground.remove(path.parent)
    if paths:
        ground.command("systemctl", "daemon-reload")


def state_of(text: bytes) -> Path | None:
    """Where a configuration keeps the state, whatever else is wrong with it; None: not known."""
    try:
        told = tomllib.loads(text.decode("utf-8-sig")).get("state_directory", str(STATE_DIRECTORY))
    except (ValueError, RecursionError):
        return None
    return Path(told) if isinstance(told, str) and told.startswith("/") else None


def holdings(state: Path | None, configuration: Path) -> list[Path]:
    """The directories and files with all that cannot be made again.

    Only such as are certwarden's by their name: others may hold what is somebody else's. So may one
    with a configuration that is not the service's: the directory of the sources has that name, too.
    """
    found = [STATE_DIRECTORY]
    if state and state.name == _NAME:
        found.append(state)
    if configuration.parent == _CONFIGURED:
        found.append(_CONFIGURED)
    elif configuration.parent.name == _NAME:
        found += [configuration, House.at(configuration).secrets]
    return list(dict.fromkeys(found))


def refuse_links(ground: Ground, holdings: Iterable[Path]) -> None:
    """Raises InstallError where one of them is a symbolic link: all that it leads to would stay."""
    for each in holdings:
        if ground.place(each).is_symlink():
            raise InstallError(
                f"{each} is a symbolic link, which is not followed; nothing was changed",
                "leave --purge out, then remove the link and what it leads to, and run this again",
            )


def groups(ground: Ground) -> list[str]:
    """The group that set-up has made for keys, by its usual name: others may be anybody's."""
    is_there = account.gid_of(GROUP) is not None
    return [GROUP] if is_there and GROUP in account.groups_made(ground) else []


def purge(ground: Ground, holdings: Iterable[Path], groups: Iterable[str]) -> None:
    """Removes the files, the directories with all that is in them, and these groups."""
    for each in holdings:
        place = ground.place(each)
        try:
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise InstallError(f"{each} could not be removed: {why}") from None
    for group in groups:
        ground.command("groupdel", group)


def dismiss(ground: Ground, directories: Iterable[Path] | None) -> str:
    """Removes certwarden's user, unless something would be left that belongs to nobody then, or to
    whoever gets its number next; why it stays, or "".

    `directories` are all that it may have written in; None: not known.
    """
    user = account.user()
    if user is None:
        return ""
    if fault := account.fault_of_account():
        return fault
    if directories is None:
        return (
            "there is no configuration to tell where its keys and backups are; once they are gone, "
            f"remove it by `sudo userdel {USER}`"
        )
    for directory in directories:
        if _has_something_of(user.pw_uid, ground.place(directory)):
            return f"{directory} is left, with what belongs to {USER}"
    ground.command("userdel", USER)
    return ""


def _has_something_of(uid: int, directory: Path) -> bool:
    """Whether the directory, or what is in it, is the user's; so it is where nobody can tell."""
    try:
        return any(each.lstat().st_uid == uid for each in (directory, *directory.iterdir()))
    except FileNotFoundError:
        return False
    except OSError:
        return True
