"""certwarden's own commands, run as children: what they do anyway is not done here a second time.

Each takes on by itself the identity that it needs. No secret is on a command line.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
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
        with self._started(words, stdout=stdout, descriptor=descriptor) as process:
            return self._wait(process)

    def told(self, *words: str | Path) -> Any:
        """What a command says in JSON, whatever its exit code; raises CommandError for less."""
        with self._started(words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
            text = process.stdout.read()
            self._wait(process)
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

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # From a terminal it has been interrupted as well; it is given the time to tidy up.
            if self._is_alone:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
