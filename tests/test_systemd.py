"""The unit files: systemd takes every line of them, and the service is shut in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[1] / "systemd"
SERVICE, TIMER = UNITS / "certwarden-renew.service", UNITS / "certwarden-renew.timer"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_systemd_knows_every_line(tmp_path: Path) -> None:
    """A misspelt directive is an error; the program is replaced by one that is there."""
    service = tmp_path / SERVICE.name
    service.write_text(
        SERVICE.read_text().replace("/opt/certwarden/bin/certwarden renew", "/bin/true")
    )
    shutil.copy(TIMER, tmp_path)
    done = subprocess.run(
        [
            str(ANALYZE),
            "verify",
            "--man=no",
            "--recursive-errors=yes",
            service,
            tmp_path / TIMER.name,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert done.returncode == 0, done.stderr


@needs_systemd
def test_the_service_is_shut_in() -> None:
    """systemd's own judgement of the exposure stays at 1.5 of 10 or better."""
    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--threshold=15", "--no-pager", SERVICE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-400:]


def test_the_state_can_be_passed_through_and_nothing_else() -> None:
    """0711 as the design has it; no capability, no core dump."""
    text = SERVICE.read_text()
    for line in ("StateDirectoryMode=0711", "CapabilityBoundingSet=", "LimitCORE=0"):
        assert f"\n{line}\n" in text
