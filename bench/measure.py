"""Runs a command as a whole process and tells what it took.

Owns the process and its environment, which is bare: nothing of whoever runs the bench reaches a
client, save what its command says. Knows nothing of clients.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.findings import Sample

TIMEOUT = 300.0

_LAUNCHER = Path(__file__).with_name("launch.py")


class Failed(RuntimeError):
    """A measured command did not do its job; the message ends with the last that it said."""


@dataclass(frozen=True)
class Command:
    """What to run: an absolute path and arguments, and additions to a bare environment.

    `inside` is a command line that runs another one, and is not measured itself.
    """

    arguments: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    inside: Sequence[str | Path] = ()


def environment(command: Command, home: Path) -> dict[str, str]:
    """All that a command gets to know of where it runs; `home` is its HOME."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        **command.environment,
    }


def run(command: Command, home: Path) -> Sample:
    """Runs it to its end with `home` as HOME; raises Failed unless it exits with 0."""
    with tempfile.NamedTemporaryFile(prefix="bench-", suffix=".result") as result:
        process = subprocess.Popen(
            [
                *command.inside,
                *(sys.executable, "-I", "-S", _LAUNCHER, result.name),
                *command.arguments,
            ],
            env=environment(command, home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        numbers = Path(result.name).read_text().split()
    name = Path(command.arguments[0]).name
    if len(numbers) != 4 or numbers[0] != "0":
        last = " / ".join(line.strip() for line in output.splitlines()[-8:] if line.strip())
        raise Failed(f"{name} ended with {numbers[0] if numbers else process.returncode}: {last}")
    wall, cpu, peak_kib = map(float, numbers[1:])
    return Sample(wall, cpu, peak_kib * 1024 / 1e6)
