"""What systemd knows of units: asked by systemctl, and nothing changed.

Owns the question and how its answer reads. What a unit's state means is for whoever asks; making
systemd act is `reload`'s business.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from certwarden.errors import TargetError, clean
from certwarden.targets.process import Limits, run

LIMITS = Limits(seconds=4, output=64 * 1024)
BOOTED = Path("/run/systemd/system")  # sd_booted(3)

_CREDENTIAL = re.compile(r"^\s*LoadCredential(?:Encrypted)?\s*=\s*([^:\s]+)", re.MULTILINE)

Properties = Mapping[str, str]


def is_booted() -> bool:
    """Whether this machine was started by systemd."""
    return BOOTED.is_dir()


def show(units: Sequence[str], properties: Sequence[str]) -> dict[str, Properties]:
    """The units' properties by the units' names; a unit that is not there has a LoadState, too.

    Raises TargetError where systemd does not answer.
    """
    program = shutil.which("systemctl")
    if program is None:
        raise TargetError("there is no systemctl on this machine", "install systemd")
    wanted = ",".join(["Id", *properties])
    try:
        finished = run((program, "show", f"--property={wanted}", "--", *units), LIMITS)
    except OSError as error:
        raise TargetError(f"{program} cannot be started: {clean(error.strerror or '')}") from None
    if finished.status != 0:
        said = clean(finished.output[-200:].decode("utf-8", "replace")) or "no answer in time"
        raise TargetError(f"systemd does not answer: {said}", "see `systemctl status`")
    return _read(finished.output.decode("utf-8", "replace"))


def credentials_of(unit: str) -> frozenset[str]:
    """The names of the credentials that systemd hands to the unit; none where nobody tells.

    By its files: what `systemctl show` says of them is not the same in all versions.
    """
    program = shutil.which("systemctl")
    if program is None:
        return frozenset()
    try:
        finished = run((program, "cat", "--", unit), LIMITS)
    except OSError:
        return frozenset()
    text = finished.output.decode("utf-8", "replace")
    return frozenset(_CREDENTIAL.findall(text) if finished.status == 0 else ())


def _read(text: str) -> dict[str, Properties]:
    """Blocks of `NAME=VALUE` with an empty line between two units."""
    found: dict[str, Properties] = {}
    for block in text.split("\n\n"):
        lines = (line.partition("=") for line in block.splitlines() if "=" in line)
        properties = {name: value for name, _, value in lines}
        if "Id" in properties:
            found[properties["Id"]] = properties
    return found
