"""What is written down before Node-RED is stopped for its new line, until it is seen to serve.

Whatever kills set-up in between, the next run knows that Node-RED is down by us and not by a
person, and starts it again or takes the line out. Owns that note; it is root's, in root's own
directory.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from certwarden.files import Content, read_file, write_file
from certwarden.frozen import frozen
from certwarden.setup.find import Machine, NodeRed
from certwarden.setup.install import Ground, make_parents

NOTE = Path("/etc/certwarden/setup.json")
_MOST = 64 * 1024


@frozen
class Unfinished:
    """A unit that is, or was about to be, restarted for the line in a settings.js."""

    unit: str
    settings: Path

    def is_about(self, node_red: NodeRed) -> bool:
        """Whether it is this Node-RED's."""
        return (self.unit, self.settings) == (node_red.unit, node_red.settings)


def note(ground: Ground, node_red: NodeRed) -> None:
    """Writes it down; raises OSError."""
    told = {"unit": node_red.unit, "settings": str(node_red.settings)}
    place = ground.place(NOTE)
    make_parents(place.parent)
    write_file(place, Content(json.dumps(told).encode() + b"\n"))


def noted(ground: Ground) -> Unfinished | None:
    """What an earlier run has left undone, if it has."""
    try:
        told = json.loads(read_file(ground.place(NOTE), _MOST))
    except (OSError, ValueError, RecursionError):
        return None
    found: Mapping[str, Any] = told if isinstance(told, dict) else {}
    unit, settings = found.get("unit"), found.get("settings")
    if isinstance(unit, str) and isinstance(settings, str) and unit:
        return Unfinished(unit, Path(settings))
    return None


def forget(ground: Ground) -> None:
    """It is done, or undone."""
    ground.remove(NOTE)


def resumed(machine: Machine, unfinished: Unfinished | None) -> Machine:
    """The machine with the Node-RED that we have stopped taken for running, as it was."""
    if unfinished is None:
        return machine
    return replace(
        machine,
        node_reds=tuple(
            replace(each, is_active=True) if unfinished.is_about(each) else each
            for each in machine.node_reds
        ),
    )
