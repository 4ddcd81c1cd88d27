"""What systemd knows of units: asked by systemctl, and nothing changed.

Owns how systemctl is called, the question, and how its answer reads. What a unit's state means is
for whoever asks; making systemd act is `reload`'s business.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from certwarden.errors import TargetError, clean
from certwarden.targets.process import Finished, Limits, run

LIMITS = Limits(seconds=4, output=64 * 1024)
BOOTED = Path("/run/systemd/system")  # sd_booted(3)

_CREDENTIAL = re.compile(r"^\s*LoadCredential(?:Encrypted)?\s*=\s*([^:\s]+)", re.MULTILINE)

Properties = Mapping[str, str]


def is_booted() -> bool:
    """Whether this machine was started by systemd."""
    return BOOTED.is_dir()


def systemctl(limits: Limits, *arguments: str) -> Finished:
    """How it ended; raises TargetError where there is none that can be started."""
    program = shutil.which("systemctl")
    hint = "use `reload = { command = [...] }` where there is no systemd"
    if program is None:
        raise TargetError("there is no systemctl on this machine", hint)
    try:
        return run((program, *arguments), limits)
    except OSError as error:
        what = f"{program} cannot be started: {clean(error.strerror or '')}"
        raise TargetError(what, hint) from None


def show(
    units: Sequence[str], properties: Sequence[str], limits: Limits = LIMITS
) -> dict[str, Properties]:
    """The units' properties by the units' own names; one that is not there has a LoadState, too.

    Raises TargetError where systemd does not answer.
    """
    wanted = ",".join(["Id", *properties])
    finished = systemctl(limits, "show", f"--property={wanted}", "--", *units)
    if finished.status != 0:
        said = clean(finished.output[-200:].decode("utf-8", "replace")) or "no answer in time"
        raise TargetError(f"systemd does not answer: {said}", "see `systemctl status`")
    return _read(finished.output.decode("utf-8", "replace"))


def credentials_of(unit: str) -> frozenset[str]:
    """The names of the credentials that systemd hands to the unit; none where nobody tells.

    By its files: what `systemctl show` says of them is not the same in all versions.
    """
    try:
        finished = systemctl(LIMITS, "cat", "--", unit)
    except TargetError:
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
