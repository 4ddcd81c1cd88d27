"""A program that the service could not run is refused before anything is changed."""

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
