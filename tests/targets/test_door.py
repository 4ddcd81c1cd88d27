"""The door as a socket unit: systemd is asked to start or stop exactly that, where need be."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.targets import door as module
from certwarden.targets.door import SOCKET, SocketDoor

FakeSystemctl = Callable[[str], Path]


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemctl:
    """A shell script in systemctl's place; it notes its arguments in the file returned."""
    calls, program = tmp_path / "calls", tmp_path / "bin" / "systemctl"
    monkeypatch.setattr(module, "is_booted", lambda: True)

    def install(script: str) -> Path:
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        return calls

    return install


def test_it_is_opened_and_shut_by_its_socket(systemctl: FakeSystemctl) -> None:
    """As the polkit rule allows it, and nobody is asked for a password."""
    calls = systemctl("exit 0")
    door = SocketDoor()
    door.open()
    door.shut()
    asked = [f"--no-ask-password {verb} -- {SOCKET}" for verb in ("start", "stop")]
    assert calls.read_text().splitlines() == asked


@pytest.mark.parametrize(
    ("load", "state", "is_open"),
    [("loaded", "active", True), ("loaded", "failed", False), ("not-found", "inactive", False)],
)
def test_it_is_open_while_systemd_listens(
    systemctl: FakeSystemctl,
    load: str,
    state: str,
    is_open: bool,  # noqa: FBT001 - a row
) -> None:
    """A socket that has failed does not; nor does one that was never installed."""
    systemctl(f"printf 'Id={SOCKET}\\nLoadState={load}\\nActiveState={state}\\n'")
    assert SocketDoor().is_open() is is_open


@pytest.mark.parametrize(("status", "hint"), [(4, "polkit"), (5, "setup"), (1, "systemctl status")])
def test_a_refusal_says_what_to_do(systemctl: FakeSystemctl, status: int, hint: str) -> None:
    """A rule or a unit that is missing, or an address that is taken."""
    systemctl(f"echo refused >&2; exit {status}")
    with pytest.raises(TargetError, match="certwarden-invite") as caught:
        SocketDoor().open()
    assert hint in caught.value.hint


def test_a_machine_without_systemd_has_no_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays shut without a word, and opens with one."""
    monkeypatch.setattr(module, "is_booted", lambda: False)
    door = SocketDoor()
    assert not door.is_open()
    with pytest.raises(TargetError, match="no systemd") as caught:
        door.open()
    assert "invite_listen" in caught.value.hint
