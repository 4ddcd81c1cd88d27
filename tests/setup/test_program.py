"""A program that the service could not run is refused before anything is changed."""

import os
import stat
from pathlib import Path

import pytest

from certwarden.setup.program import fault_of


def test_what_everybody_may_run_is_in_order() -> None:
    """As a program of the system is."""
    assert fault_of(Path("/usr/bin/env")) == ""


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/home/pi/.local/bin/certwarden", "/home"),
        ("/root/.local/bin/certwarden", "/root"),
        ("/opt/no such/certwarden", "quote"),
        ("/opt/none-such/certwarden", "No such file"),
    ],
)
def test_what_a_service_cannot_reach_is_told(path: str, why: str) -> None:
    """ProtectHome= hides homes; pipx without sudo installs there."""
    assert why in fault_of(Path(path))


def test_a_closed_directory_on_the_way_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a umask of 077 leaves it; told with its mode."""
    monkeypatch.setattr("certwarden.setup.program._HIDDEN", ())
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "certwarden").touch()
    assert "closed to other users (mode 0700)" in fault_of(closed / "certwarden")


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "why"),
    [
        (0o755, 0, 0, ""),
        (0o775, 0, 0, ""),
        (0o1777, 0, 0, ""),
        (0o755, 1000, 0, "belongs to user 1000"),
        (0o775, 0, 1000, "may be written by others (mode 0775)"),
        (0o757, 0, 0, "may be written by others (mode 0757)"),
    ],
)
def test_what_others_may_change_is_refused(
    mode: int, uid: int, gid: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root runs it, and so does the service."""
    kind = stat.S_IFDIR | mode
    found = os.stat_result((kind, 0, 0, 1, uid, gid, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda _: found)
    fault = fault_of(Path("/opt/pipx/bin/certwarden"))
    assert why in fault
    assert bool(fault) is bool(why)
