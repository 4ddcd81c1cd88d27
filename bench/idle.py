"""Watches a daemon that has nothing to do: what it holds, and what it writes.

By what the kernel counts (proc(5)): its resident memory, and the bytes that it and the children it
has waited for had written to the storage.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.findings import Idleness
from bench.measure import Command, Failed, environment

IDLE_SECONDS = 30.0

_PATIENCE = 60.0
_QUIET = 2.0  # seconds without a child: then its first pass is over
_STEP = 0.05


def watch(command: Command, home: Path) -> Idleness:
    """Starts the daemon, watches it once its first pass is over, and ends it; raises Failed."""
    with (home / "daemon.log").open("w") as log:
        process = subprocess.Popen(
            command.arguments,
            env=environment(command, home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        place = Path("/proc", str(process.pid))
        _wait_until(lambda: bool(_children(place)), "has begun no pass", process)
        _wait_until_quiet(place, process)
        written = _written(place)
        time.sleep(IDLE_SECONDS)
        per_hour = (_written(place) - written) * 3600 / IDLE_SECONDS
        return Idleness(_resident(place), written, per_hour)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_quiet(place: Path, process: "subprocess.Popen[bytes]") -> None:
    last_seen = time.monotonic()

    def is_quiet() -> bool:
        nonlocal last_seen
        if _children(place):
            last_seen = time.monotonic()
        return time.monotonic() - last_seen > _QUIET

    _wait_until(is_quiet, "does not finish its first pass", process)


def _wait_until(
    is_so: Callable[[], bool], complaint: str, process: "subprocess.Popen[bytes]"
) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not is_so():
        if process.poll() is not None:
            raise Failed(f"the daemon ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"the daemon {complaint}")
        time.sleep(_STEP)


def _children(place: Path) -> str:
    return (place / "task" / place.name / "children").read_text().strip()


def _written(place: Path) -> int:
    return int(_fields(place / "io")["write_bytes"])


def _resident(place: Path) -> float:
    return int(_fields(place / "status")["VmRSS"].split()[0]) * 1024 / 1e6


def _fields(file: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in file.read_text().splitlines())
