"""A program of the world as a child process that cannot outlive it.

Owns starting, waiting until ready, pausing and ending. Knows nothing of what the program does.
"""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

# Linux sends the parent-death signal when the *thread* ends that started the child, so all are
# started from one thread that lives as long as this process does.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="world-starter")
_children: set["Child"] = set()
_children_lock = threading.Lock()
_pause = threading.Event()


class DidNotStart(RuntimeError):
    """A program ended, or was not ready in time; its log's end is in the message."""


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that is free now; another may take it before it is used."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Child:
    """A running program with its log file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.log = log
        self.command = [str(part) for part in command]
        full = dict(os.environ) if environment is None else dict(environment)
        # setpriv (util-linux) because a preexec_fn is unsafe in a process with threads.
        guard = shutil.which("setpriv")
        prefix = [guard, "--pdeathsig", "KILL", "--"] if guard else []
        with log.open("ab") as output:
            self._process: subprocess.Popen[bytes] = _starter.submit(
                subprocess.Popen,
                [*prefix, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=full,
                cwd=directory,
                start_new_session=True,
            ).result()
        with _children_lock:
            _children.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait(self, timeout: float) -> int | None:
        """Its exit status once it ends, or None if it does not within `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def log_text(self) -> str:
        """All that it has written so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Return when `ready` says so; raise DidNotStart if it ends or takes too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.alive() or time.monotonic() > deadline:
                why = "was not ready in time" if self.alive() else "ended at once"
                tail = self.log_text()[-2000:]
                self.stop()
                message = f"{self.command[0]} {why}; its log ends:\n{tail}"
                raise DidNotStart(message)
            _pause.wait(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to it and to all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def pause(self) -> None:
        """Stop it where it stands, so that it keeps all it knows and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.signal(signal.SIGCONT)

    def stop(self, *, gently: bool = False, timeout: float = 5.0) -> None:
        """End it: at once, or first by SIGTERM with some time to comply."""
        if self.alive() and gently:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            self.wait(timeout)
        # Also when the leader has ended: it may have left something of its group behind.
        self.signal(signal.SIGKILL)
        self._process.wait()
        with _children_lock:
            _children.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@atexit.register
def _end_all() -> None:
    with _children_lock:
        left = list(_children)
    for child in left:
        child.stop()
