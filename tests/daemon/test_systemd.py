"""What is said to systemd, received on a real socket."""

import socket
from pathlib import Path

import pytest

from certwarden.daemon.systemd import Systemd, for_children


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_notification_arrives(kind: str, tmp_path: Path) -> None:
    """On a socket in the file system, and on an abstract one, which systemd writes with an `@`."""
    path = str(tmp_path / "notify") if kind == "path" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path.replace("@", "\0", 1))
        listener.settimeout(10)
        systemd = Systemd({"NOTIFY_SOCKET": path}, 1)
        systemd.notify("READY=1", "STATUS=all is well")
        assert listener.recv(100) == b"READY=1\nSTATUS=all is well"


def test_a_status_is_sent_when_it_changes(tmp_path: Path) -> None:
    """Not at every tick."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")}, 1)
        for sentence in ("one", "one", "two"):
            systemd.status(sentence)
        assert [listener.recv(100), listener.recv(100)] == [b"STATUS=one", b"STATUS=two"]


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody", "x" * 500, "\0"])
def test_nobody_listening_is_no_error(address: str) -> None:
    """The daemon works without systemd, and with one that has gone."""
    Systemd({"NOTIFY_SOCKET": address}, 1).notify("READY=1")


def test_a_full_queue_does_not_hold_it_up(tmp_path: Path) -> None:
    """A manager that does not read cannot stop the main loop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")}, 1)
        for _ in range(2000):
            systemd.notify("WATCHDOG=1")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 90),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "7"}, 90),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(
    environ: dict[str, str], expected: float | None
) -> None:
    """Half of what systemd says, and only where it means this process."""
    assert Systemd(environ, 7).watchdog == expected


def test_children_do_not_get_systemds_socket() -> None:
    """A worker must not speak for the daemon; whether stderr is the journal it may know."""
    environ = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    assert for_children({**environ, "JOURNAL_STREAM": "8:1"}) == {
        "HOME": "/",
        "JOURNAL_STREAM": "8:1",
    }
