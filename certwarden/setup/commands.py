"""certwarden's own commands, run as children: what they do anyway is not done here a second time.

Each takes on by itself the identity that it needs. No secret is on a command line.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from certwarden.errors import Error

_PATIENCE = 60.0  # seconds for a command to tidy up after it was interrupted


class CommandError(Error):
    """A command of ours said nothing that could be understood."""


class Certwarden:
    """The `certwarden` that we are, with a configuration.

    `is_alone`: nobody is there to be asked or to be shown a secret, whoever's terminal it is.
    """

    def __init__(self, config_file: Path, *, is_alone: bool) -> None:
        self._argv = (sys.executable, "-I", "-m", "certwarden", "--config", str(config_file))
        self._is_alone = is_alone

    def run(
        self, *words: str | Path, descriptor: int | None = None, is_silent: bool = False
    ) -> int:
        """Runs a command, which prints where we do; returns its exit code.

        `descriptor` is one of ours that the command may read. Of one that `is_silent` only what
        goes to stderr or to the terminal itself is seen.
        """
        stdout = subprocess.DEVNULL if is_silent else None
        process = self._started(words, stdout=stdout, descriptor=descriptor)
        with process, self._attended(process):
            return process.wait()

    def told(self, *words: str | Path) -> Any:
        """What a command says in JSON, whatever its exit code; raises CommandError for less."""
        process = self._started(words, stdout=subprocess.PIPE)
        with process, self._attended(process):
            assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
            text = process.stdout.read()
            process.wait()
        try:
            found = json.loads(text)
        except ValueError:
            command = " ".join(map(str, words))
            raise CommandError(
                f"`certwarden {command}` could not say how it is", "run it to see why"
            ) from None
        return found

    def _started(
        self, words: tuple[str | Path, ...], *, stdout: int | None, descriptor: int | None = None
    ) -> subprocess.Popen[bytes]:
        sys.stdout.flush()
        environment = {
            name: value for name, value in os.environ.items() if name != "CERTWARDEN_CONFIG"
        }
        return subprocess.Popen(
            (*self._argv, *map(str, words)),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL if stdout == subprocess.PIPE else None,
            env=environment,
            start_new_session=self._is_alone,
            pass_fds=() if descriptor is None else (descriptor,),
        )

    @contextmanager
    def _attended(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """What interrupts us interrupts the command, once, which is given the time to tidy up."""
        is_told = not self._is_alone  # a terminal interrupts us both

        def pass_on(number: int, _frame: FrameType | None) -> None:
            nonlocal is_told
            is_told = True
            process.send_signal(number)
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, pass_on)
        try:
            yield
        except KeyboardInterrupt:
            if not is_told:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
