"""Takes certwarden out of the machine again: what set-up has put there, and nothing else.

What cannot be made again (the CA, the state, the configuration) is gone only where that was asked
for. Whom to ask, and what to tell, is the caller's business.
"""

import shutil
import tomllib
from pathlib import Path

from certwarden.setup import account
from certwarden.setup.answers import GROUP
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
from certwarden.setup.service import STATE_DIRECTORY, USER
from certwarden.setup.unfinished import NOTE

_NAME = "certwarden"


def files(ground: Ground) -> list[Path]:
    """What of ours is there: units with their drop-ins, the rule, users and directories."""
    known = (*DROP_INS, *(UNITS_DIRECTORY / unit for unit in UNITS), RULE, TMPFILES, SYSUSERS, NOTE)
    return [path for path in known if ground.has(path)]


def stop(ground: Ground) -> None:
    """No unit of certwarden's runs, or will by itself."""
    for unit in (SERVICE, TIMER):
        if ground.has(UNITS_DIRECTORY / unit):
            ground.command("systemctl", "disable", "--now", "--quiet", unit)


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
    """The directories with all that cannot be made again.

    Only such as are certwarden's by their name: others may hold what is somebody else's.
    """
    found = [STATE_DIRECTORY]
    found += [each for each in (state, configuration.parent) if each and each.name == _NAME]
    return list(dict.fromkeys(found))


def groups(ground: Ground) -> list[str]:
    """The group that set-up has made for keys, by its usual name: others may be anybody's."""
    is_there = account.gid_of(GROUP) is not None
    return [GROUP] if is_there and GROUP in account.groups_made(ground) else []


def purge(ground: Ground, directories: list[Path], groups: list[str]) -> None:
    """Removes the directories with all that is in them, and these groups."""
    for directory in directories:
        place = ground.place(directory)
        try:
            shutil.rmtree(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InstallError(f"{directory} could not be removed: {error.strerror}") from None
    for group in groups:
        ground.command("groupdel", group)


def dismiss(ground: Ground, state: Path | None) -> str:
    """Removes certwarden's user, unless something would be left that belongs to nobody then, or to
    whoever gets its number next; why it stays, or "".
    """
    if account.user() is None:
        return ""
    if fault := account.fault_of_account():
        return fault
    if state is None:
        return "the configuration does not say where the state is kept"
    if ground.has(state):
        return f"{state} is left, which belongs to {USER}"
    ground.command("userdel", USER)
    return ""
