"""Takes certwarden out of the machine again: what set-up has put there, and nothing else.

What cannot be made again (the CA, the state, the configuration) is gone only where that was asked
for. Whom to ask, and what to tell, is the caller's business.
"""

import pwd
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from certwarden.config import Config
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
from certwarden.setup.service import USER

_NAME = "certwarden"


def files(ground: Ground) -> list[Path]:
    """What of ours is there: units with their drop-ins, the rule, users and directories."""
    known = (*DROP_INS, *(UNITS_DIRECTORY / unit for unit in UNITS), RULE, TMPFILES, SYSUSERS)
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


def holdings(config: Config | None, configuration: Path) -> list[Path]:
    """The directories with all that cannot be made again.

    Only such as are certwarden's by their name: others may hold what is somebody else's.
    """
    return list(_holdings(config, configuration))


def _holdings(config: Config | None, configuration: Path) -> Iterator[Path]:
    if config is not None and config.state_directory.name == _NAME:
        yield config.state_directory
    if configuration.parent.name == _NAME:
        yield configuration.parent


def purge(ground: Ground, directories: list[Path]) -> None:
    """Removes the directories with all that is in them, and certwarden's user."""
    for directory in directories:
        place = ground.place(directory)
        try:
            shutil.rmtree(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InstallError(f"{directory} could not be removed: {error.strerror}") from None
    with suppress(KeyError):  # it is gone already
        pwd.getpwnam(USER)
        ground.command("userdel", USER)
