"""A server of the house run in the foreground, with a configuration of its own, as this user.

Owns starting, waiting until it answers, and ending, for what would be a unit of systemd's. How each
is configured and reloaded is the business of `nginx`, `haproxy` and `mosquitto`.
"""

import os
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from tests.world import tools
from tests.world.process import Child

_START_TIMEOUT = 20.0
IS_ROOT = os.geteuid() == 0


class ReloadFailed(RuntimeError):
    """What the unit's reload would have failed with; the program runs on as it was."""


class Service(ABC):
    """The program; a context manager that starts and ends it.

    `text` is what a person has pasted into its configuration, made for `port`. It may be changed
    and written again by `write`; the program takes it up when it is reloaded or started again.
    """

    name: ClassVar[str]

    def __init__(self, directory: Path, text: str, *, port: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = port
        self.config = directory / f"{self.name}.conf"
        self.log = directory / f"{self.name}.log"
        self._program = tools.program(self.name)
        self._child: Child | None = None
        self.write(text)

    def write(self, text: str) -> None:
        """Write the configuration with this text in it."""
        self.config.write_text(self._whole(text))

    @abstractmethod
    def _whole(self, text: str) -> str:
        """The whole configuration, on loopback only and with nothing outside of `directory`."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """What starts it in the foreground."""

    @abstractmethod
    def check(self) -> str:
        """What the program finds wrong with its configuration; "" where that is nothing."""

    @abstractmethod
    def reload(self) -> None:
        """What `systemctl reload` does by Debian's unit; raises ReloadFailed where that fails."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it and return once it accepts connections."""
        said = len(self.log_text()) if self.log.exists() else 0
        self._child = Child(self._command(), log=self.log, directory=self.directory)
        self._child.wait_until(
            lambda: self._is_ready(self.log_text()[said:]) and self._accepts(),
            timeout=_START_TIMEOUT,
        )
        return self

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.stop(gently=True, timeout=3)
            self._child = None

    def restart(self) -> None:
        """End it and start it again on the same port."""
        self.stop()
        self.start()

    def _is_ready(self, said: str) -> bool:  # noqa: ARG002  others have to look
        """Whether it can be signalled, by what it has said since it was started."""
        return True

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        except OSError:
            return False
        return True

    @property
    def address(self) -> str:
        """For `probe`: address and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that systemd would take for the main one."""
        return self._running.pid

    @property
    def _running(self) -> Child:
        if self._child is None:
            message = f"{self.name} is not running"
            raise RuntimeError(message)
        return self._child

    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        return self._child is not None and self._child.alive()

    def log_text(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    def _ask(self, *arguments: str | Path) -> str:
        """Run the program for a moment; what it said where it failed, else ""."""
        done = subprocess.run(
            [self._program, *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        return (done.stderr + done.stdout).strip() or "it failed" if done.returncode else ""
