"""What an interrupted run has left undone is known to the next one."""

import stat
from pathlib import Path

import pytest

from certwarden.setup.find import Machine, NodeRed
from certwarden.setup.install import Ground
from certwarden.setup.unfinished import NOTE, Unfinished, forget, note, noted, resumed

PI = NodeRed(Path("/home/pi/.node-red/settings.js"), "pi", "nodered.service")
OTHER = NodeRed(Path("/srv/red/settings.js"), "red", "red.service")


def test_it_is_written_down_and_forgotten(tmp_path: Path) -> None:
    """For root alone; the second time there is nothing to forget."""
    ground = Ground(tmp_path)
    assert noted(ground) is None
    note(ground, PI)
    assert noted(ground) == Unfinished(PI.unit, PI.settings)
    assert stat.S_IMODE(ground.place(NOTE).stat().st_mode) == 0o600
    forget(ground)
    forget(ground)
    assert noted(ground) is None


@pytest.mark.parametrize("text", ["", "[]", '{"unit": 1, "settings": "/x"}', "{", "[" * 9999])
def test_a_note_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    """As a power cut may leave it."""
    place = Ground(tmp_path).place(NOTE)
    place.parent.mkdir(parents=True)
    place.write_text(text)
    assert noted(Ground(tmp_path)) is None


def test_a_node_red_that_we_have_stopped_is_taken_for_running() -> None:
    """For it would run; one that a person has stopped is not started."""
    machine = Machine((PI, OTHER))
    assert resumed(machine, None) == machine
    found = resumed(machine, Unfinished(PI.unit, PI.settings))
    assert [each.is_active for each in found.node_reds] == [True, False]
