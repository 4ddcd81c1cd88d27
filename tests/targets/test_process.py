"""Programs that are not ours: bounded in time and output, and told nothing."""

import os
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from certwarden.targets.process import Limits, harmless_environment, run
from tests.waiting import wait_until

PATIENCE = 20.0  # seconds, for what takes a fraction of one


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", program)


def test_status_and_output_come_back() -> None:
    """Both streams, in their order."""
    finished = run(("sh", "-c", "echo one; echo two >&2; exit 3"), Limits(PATIENCE, 100))

    assert (finished.status, finished.output) == (3, b"one\ntwo\n")
    assert not finished.is_cut


def test_a_signal_is_a_negative_status() -> None:
    """As the standard library has it."""
    assert run(("sh", "-c", "kill -9 $$"), Limits(PATIENCE, 100)).status == -9


def test_output_is_cut_and_the_rest_thrown_away() -> None:
    """A program that talks without end neither fills the memory nor gets stuck."""
    finished = run(("sh", "-c", "head -c 5000000 /dev/zero"), Limits(PATIENCE, 1000))

    assert (finished.status, len(finished.output), finished.is_cut) == (0, 1000, True)


def test_a_late_program_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """Nothing is left of it, and there is no status."""
    pids = tmp_path / "pids"
    script = f"echo $$ >>{pids}; sh -c 'echo $$ >>{pids}; exec sleep 1000' & sleep 1000"

    finished = run(("sh", "-c", script), Limits(1.0, 100))

    assert finished.status is None
    for pid in pids.read_text().split():
        wait_until(partial(is_gone, int(pid)))


def test_a_service_that_was_left_running_is_not_waited_for(tmp_path: Path) -> None:
    """It holds the pipe open, but the command itself is over; and it is left alone."""
    pid = tmp_path / "pid"
    script = f"sleep 1000 & echo $! >{pid}; echo started"
    begun = time.monotonic()

    finished = run(("sh", "-c", script), Limits(1000, 100, may_leave_children=True))

    assert finished.output == b"started\n"
    assert time.monotonic() - begun < PATIENCE
    os.kill(int(pid.read_text()), 9)  # raises if it is gone


def test_a_child_that_may_not_stay_is_killed(tmp_path: Path) -> None:
    """What settings.js started does not outlive the inspection."""
    pid = tmp_path / "pid"

    run(("sh", "-c", f"sleep 1000 & echo $! >{pid}"), Limits(PATIENCE, 100))

    wait_until(lambda: is_gone(int(pid.read_text())))


def test_nothing_secret_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credentials nor systemd's sockets nor tokens: a few harmless names only."""
    for name in ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "CLOUDFLARE_API_TOKEN", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LC_ALL", "C")

    output = run(("env",), Limits(PATIENCE, 10_000)).output.decode()

    assert "secret" not in output
    assert "LC_ALL=C" in output
    assert harmless_environment()["PATH"] == os.environ["PATH"]


def test_stdin_is_empty() -> None:
    """A command that asks a question gets no answer, rather than waiting for one."""
    assert run(("cat",), Limits(PATIENCE, 100)).status == 0


def test_an_absent_program_raises() -> None:
    """OSError, for the caller to explain."""
    with pytest.raises(FileNotFoundError):
        run(("/nonexistent/program",), Limits(PATIENCE, 100))


def is_gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody has collected yet has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"
