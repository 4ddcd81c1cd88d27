"""Children that take too long, say too much, or leave something behind."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certwarden.daemon.child import Child, Ended, Limits
from tests.waiting import wait_until

AMPLE = Limits(60, 60, 1 << 20)


def child(code: str, limits: Limits = AMPLE) -> Child:
    return Child(
        [sys.executable, "-I", "-S", "-c", code], limits, time.monotonic(), environment=os.environ
    )


def ended(running: Child) -> Ended:
    """Its end, by a loop as the daemon has one."""
    deadline = time.monotonic() + 60
    streams = [running.output, running.end]
    while True:
        assert time.monotonic() < deadline
        ready, _, _ = select.select(streams, [], [], 0.05)
        if running.output in ready and not running.read():
            streams.remove(running.output)
        if running.end in ready:
            return running.reap()
        running.look(time.monotonic())


def test_its_output_and_status_are_kept() -> None:
    """All of what a pipe cannot hold at once, too."""
    found = ended(child("import sys; print('x' * 300_000, end=''); sys.exit(3)"))
    assert found == Ended(3, b"x" * 300_000, is_cut=False, is_late=False)
    assert found.how() == "ended with exit status 3"


def test_too_much_output_is_cut() -> None:
    """It is read on, so that the child can end, and not kept."""
    found = ended(child("print('x' * 5_000_000)", Limits(60, 60, 1000)))
    assert found == Ended(0, b"x" * 1000, is_cut=True, is_late=False)


def test_one_that_is_late_is_asked_to_end() -> None:
    """By SIGTERM, upon which it may clean up."""
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); time.sleep(60)"
    found = ended(child(code, Limits(0.5, 60, 100)))
    assert found == Ended(7, b"", is_cut=False, is_late=True)
    assert "too long" in found.how()


def test_one_that_does_not_listen_is_killed() -> None:
    """After its grace."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    found = ended(child(code, Limits(0.5, 0.3, 100)))
    assert found == Ended(-signal.SIGKILL, b"", is_cut=False, is_late=True)


def test_one_that_was_killed_says_by_what() -> None:
    """A crash or the OOM killer is told by its signal's name."""
    assert ended(child("import os; os.kill(os.getpid(), 9)")).how() == "was killed by SIGKILL"


def test_what_it_leaves_running_goes_with_it() -> None:
    """Nothing works on in its session; nobody who holds its output open is waited for."""
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    left = int(ended(child(code)).output)
    wait_until(lambda: not is_running(left), "the end of what was left")


@pytest.mark.parametrize("program", ["/nowhere/at/all", "/etc/passwd"])
def test_one_that_cannot_be_started_is_an_oserror(program: str, tmp_path: Path) -> None:
    """Whatever stands between us and the program; no descriptor is lost."""
    before = len([*Path("/proc/self/fd").iterdir()])
    try:
        running = Child([program], AMPLE, 0, environment={"PATH": str(tmp_path)})
    except OSError:
        pass
    else:  # setpriv was there, and has found nothing to become
        assert ended(running).status != 0
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_it_ends_with_whoever_started_it() -> None:
    """A daemon that is killed outright leaves no orphan that works on."""
    code = f"""
import os, sys, time
sys.path[:0] = {sys.path!r}
from certwarden.daemon.child import Child, Limits
program = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
running = Child(program, Limits(60, 60, 100), time.monotonic(), environment=os.environ)
while not running._kept: running.read()
print(running._kept.decode(), flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    wait_until(lambda: not is_running(int(done.stdout)), "the end of the orphan")


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
