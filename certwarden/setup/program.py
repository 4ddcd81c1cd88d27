"""Which program the service is to run, and whether the service will find it.

Owns the judgement of its place. Installing it is pipx's business, or uv's.
"""

import os
import stat
import sys
from pathlib import Path

import certwarden
from certwarden.errors import UsageError

INSTALL = "sudo PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install certwarden"
_HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - what the units hide
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+")


def installed_program() -> Path:
    """The `certwarden` of the environment that we run in.

    Raises UsageError where the service, as its own user and with homes hidden, could not run it.
    """
    program = Path(sys.executable).parent / "certwarden"
    package = Path(certwarden.__file__).parent
    for path in (program, program.resolve(), Path(sys.executable).resolve(), package.resolve()):
        if fault := fault_of(path):
            raise UsageError(f"the service could not run {program}: {fault}", INSTALL)
    return program


def fault_of(path: Path) -> str:
    """Why the service could not run or read what is at the path, or nothing."""
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
    return ""
