"""The unit files: systemd takes every line of them, and the services are shut in."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from certwarden.lifecycle.side_by_side import MOST_THREADS

UNITS = Path(__file__).parents[1] / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
DAEMON = UNITS / "certwarden.service"
TIMER = UNITS / "certwarden-renew.timer"
SOCKET = UNITS / "certwarden-invite.socket"
OTHERS = (TIMER, SOCKET)
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)


def values(unit: Path, key: str) -> list[str]:
    """What the unit says of a key, as systemd reads it: comments are none."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def test_the_units_are_there() -> None:
    """The daemon, the one-shot pass, who receives the invited, and the one that tells a person."""
    assert [path.name for path in SERVICES] == [
        *("certwarden-failed@.service", "certwarden-invite.service"),
        *("certwarden-renew.service", "certwarden.service"),
    ]


@needs_systemd
def test_systemd_knows_every_line(tmp_path: Path) -> None:
    """A misspelt directive is an error; the program is replaced by one that is there."""
    for unit in (*SERVICES, *OTHERS):
        text = re.sub(r"/opt/certwarden/bin/certwarden .*", "/bin/true", unit.read_text())
        # Nothing is run; on a machine without it the daemon's unit is right all the same.
        (tmp_path / unit.name).write_text(text.replace("/bin/kill", "/bin/true"))
    done = subprocess.run(
        [
            str(ANALYZE),
            "verify",
            "--man=no",
            "--recursive-errors=yes",
            *(tmp_path / unit.name for unit in (*SERVICES, *OTHERS)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert done.returncode == 0, done.stderr


@needs_systemd
@each_service
def test_the_service_is_shut_in(service: Path) -> None:
    """systemd's own judgement of the exposure stays at 1.5 of 10 or better."""
    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--threshold=15", "--no-pager", service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-400:]


@each_service
def test_the_state_can_be_passed_through_and_nothing_else(service: Path) -> None:
    """0711 as the design has it; no capability, no core dump."""
    text = service.read_text()
    for line in ("StateDirectoryMode=0711", "CapabilityBoundingSet=", "LimitCORE=0"):
        assert f"\n{line}\n" in text


@each_service
def test_no_secret_is_in_the_environment(service: Path) -> None:
    """Only switches of Python and of the allocator; secrets are files, or credentials."""
    named = {
        word.partition("=")[0] for line in values(service, "Environment") for word in line.split()
    }
    assert named <= {
        "PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "MALLOC_ARENA_MAX"
    }  # fmt: skip
    assert not values(service, "EnvironmentFile")


@each_service
def test_a_pass_may_have_its_threads(service: Path) -> None:
    """Each thread may have a process or a thread of its own at work; some ask name servers."""
    (allowed,) = values(service, "TasksMax")
    others = 50
    assert int(allowed) >= 2 * MOST_THREADS + others


def test_all_services_are_shut_in_alike() -> None:
    """What one may not, none may: they differ in what they run and when, not in their walls."""
    bodies = {
        path.read_text().partition("\nUser=")[2].partition("\n[Install]")[0].rstrip()
        for path in SERVICES
    }
    assert len(bodies) == 1


@pytest.mark.parametrize(
    "name", ["certwarden.service", "certwarden-renew.service", "certwarden-invite.service"]
)
def test_a_failure_is_told(name: str) -> None:
    """The unit that tells is started by the others, and never by itself."""
    assert values(UNITS / name, "OnFailure") == ["certwarden-failed@%n.service"]
    assert not values(UNITS / "certwarden-failed@.service", "OnFailure")


def test_only_one_way_runs_at_a_time() -> None:
    """The daemon and the timer stop each other; a pass by hand stops neither."""
    assert values(DAEMON, "Conflicts") == [TIMER.name]
    assert values(TIMER, "Conflicts") == [DAEMON.name]
    assert not values(UNITS / "certwarden-renew.service", "Conflicts")


def test_a_wrong_configuration_is_not_tried_again() -> None:
    """Exit status 2 is for a person to mend; what is worth a new try is tried again."""
    assert values(DAEMON, "Restart") == ["on-failure"]
    assert values(DAEMON, "RestartPreventExitStatus") == ["2"]


def test_the_door_is_nobodys_but_the_passes() -> None:
    """It is in no target: nothing listens after a start of the machine before somebody is invited.

    On its own it is this machine's alone; who is let in from the LAN is the configuration's.
    """
    assert "[Install]" not in SOCKET.read_text()
    assert values(SOCKET, "ListenStream") == ["127.0.0.1:8443"]
    assert not values(SOCKET, "Accept")
