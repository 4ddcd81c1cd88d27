"""Which program the service is to run, and whether the service will find it.

Owns the judgement of its place, and of who may change it. Installing it is pipx's business, or
uv's.
"""

import os
import stat
import sys
from pathlib import Path

import certwarden
from certwarden.errors import UsageError

_PIPX = (
    "sudo PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin PIPX_MAN_DIR=/usr/local/share/man pipx"
)
INSTALL = f"in the directory of its sources: {_PIPX} install ."
UNINSTALL = f"{_PIPX} uninstall certwarden"
_HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - what the units hide
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+")


def installed_program() -> Path:
    """The `certwarden` of the environment that we run in.

    Raises UsageError where the service, as its own user and with homes hidden, could not run it.
    """
    program = Path(sys.executable).parent / "certwarden"
    package = Path(certwarden.__file__).parent
    python = Path(sys.executable)
    found = (program, program.resolve(), python, python.resolve(), package, package.resolve())
    for path in dict.fromkeys(found):
        if fault := fault_of(path):
            raise UsageError(f"the service could not run {program}: {fault}", INSTALL)
    return program


def fault_of(path: Path) -> str:
    """Why the service could not run or read what is at the path, or ought not; or nothing."""
    hidden = next((place for place in _HIDDEN if path.is_relative_to(place)), None)
    if hidden:
        return f"{path} lies in {hidden}, which is hidden from services"
    if not set(str(path)) <= _PLAIN:
        return f"{path} has characters that a unit file would have to quote"
    for part in (path, *path.parents):
        try:
            mode = part.stat().st_mode
        except OSError as error:
            return f"{part}: {os.strerror(error.errno or 0)}"
        wanted = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
        if not mode & wanted:
            return f"{part} is closed to other users (mode {stat.S_IMODE(mode):04o})"
    return next((fault for part in (path, *path.parents) if (fault := _fault_of_owner(part))), "")


def _fault_of_owner(part: Path) -> str:
    """Who else than root could put another program there: it is root that runs it, too."""
    found = part.stat()
    if found.st_uid != 0:
        return f"{part} belongs to user {found.st_uid}, who could put another program there"
    writers = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid else 0)
    is_sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_mode & writers and not is_sticky:
        return f"{part} may be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""
