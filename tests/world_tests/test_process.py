"""What the world starts ends with the one who started it, however that ends."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import World
from tests.world.pebble import PebbleOptions
from tests.world.process import Child, DidNotStart, free_port
from tests.world.zones import NAME_SERVERS

PROJECT = Path(__file__).resolve().parents[2]

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.world.process import Child
child = Child(["sleep", "60"], log=Path(sys.argv[1]))
# Before it has become `sleep` it has not asked yet to be told of our end.
comm = Path(f"/proc/{child.pid}/comm")
child.wait_until(lambda: comm.read_text() == "sleep\\n", timeout=20)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _state(pid: int) -> str:
    """The state letter of a process; Z is one that has ended and that nobody asked about."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    return stat.rpartition(")")[2].split()[0]


def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """Not even SIGKILL leaves a process behind."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "log"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    waiting = Child(["sleep", "60"], log=tmp_path / "other")
    waiting.wait_until(lambda: _state(pid) in ("gone", "Z"), timeout=10)
    waiting.stop()


def test_a_child_ends_with_all_it_started(tmp_path: Path) -> None:
    """The whole process group goes, also where the first of it has gone already."""
    child = Child(["sh", "-c", "sleep 60 & echo $!; exit"], log=tmp_path / "log")
    assert child.wait(10) == 0
    grandchild = int(child.log_text())
    child.stop()
    waiting = Child(["sleep", "60"], log=tmp_path / "other")
    waiting.wait_until(lambda: _state(grandchild) in ("gone", "Z"), timeout=10)
    waiting.stop()
    assert not waiting.alive()


def test_a_program_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    """The end of what it wrote is in the error."""
    child = Child(["sh", "-c", "echo the reason; exit 1"], log=tmp_path / "log")
    with pytest.raises(DidNotStart, match=r"(?s)ended at once.*the reason"):
        child.wait_until(lambda: False, timeout=10)
    slow = Child(["sleep", "60"], log=tmp_path / "log")
    with pytest.raises(DidNotStart, match="not ready in time"):
        slow.wait_until(lambda: False, timeout=0.05)
    assert not slow.alive()


@pytest.mark.world
def test_a_world_ends_whole(tmp_path: Path) -> None:
    """Ports are free again and the files stay where they were asked for; the token is private."""
    with World(directory=tmp_path, pebble=PebbleOptions(nonce_reject=0), proxy=True) as world:
        assert world.proxy is not None
        ports = [world.pebble.port, world.dns.port, int(world.proxy.origin.rpartition(":")[2])]
        assert world.token_file.stat().st_mode & 0o777 == 0o600
        assert world.token.secret == world.token_file.read_text().strip()
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert (tmp_path / "pebble.log").exists()


@pytest.mark.world
def test_the_name_servers_can_be_served_on_port_53() -> None:
    """Each at an address of its own, with faults of its own, on the same records."""
    addresses = dict(zip(NAME_SERVERS, ("127.53.0.2", "127.53.0.3"), strict=True))
    try:
        with socket.socket() as probe:
            probe.bind((addresses[NAME_SERVERS[0]], 53))
    except PermissionError:
        pytest.skip("port 53 needs root or a network namespace")
    with World(name_server_addresses=addresses) as world:
        assert set(NAME_SERVERS) == set(world.name_servers)
        assert world.store.visible(NAME_SERVERS[0])[0].content == "127.53.0.2"
        assert world.name_servers[NAME_SERVERS[1]].address == "127.53.0.3:53"


def test_a_free_port_is_free() -> None:
    """It can be bound."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))
