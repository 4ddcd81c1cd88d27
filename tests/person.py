"""A person at a terminal, for a program that talks with one there: reads the screen, and types."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# A process that leads a session and opens a terminal has it as its own (/dev/tty) from then on.
_SIT_DOWN = """\
import os, sys
os.close(os.open(sys.argv[1], os.O_RDWR))
os.execv(sys.argv[2], sys.argv[2:])
"""
_QUESTION = re.compile(r"([^\n]+): \Z")


class Person:
    """Runs a program whose terminal this is; its stdin is empty, stdout and stderr are pipes.

    `screen` is all that the terminal has shown, what was echoed included.
    """

    def __init__(
        self, argv: Sequence[str | Path], environ: Mapping[str, str] | None = None
    ) -> None:
        self.screen = ""
        self._answered = 0  # how much of it was there when the last answer was typed
        self._leader, self._follower = pty.openpty()
        self._program = subprocess.Popen(
            [sys.executable, "-I", "-c", _SIT_DOWN, os.ttyname(self._follower), *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=None if environ is None else dict(environ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._program.kill()
        self._program.communicate()
        os.close(self._leader)
        os.close(self._follower)

    def sees(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Waits until the screen shows what the pattern matches."""
        deadline = time.monotonic() + 60
        while not (found := pattern.search(self.screen)):
            assert time.monotonic() < deadline, f"{pattern.pattern} is not in {self.screen!r}"
            assert self._program.poll() is None, self._program.communicate()
            self._look(0.05)
        return found

    def types(self, line: str, *, after: str) -> None:
        """Waits until the screen shows the words that it has not shown before, then types."""
        self._await(after)
        os.write(self._leader, line.encode() + b"\n")

    def is_asked(self) -> str:
        """Waits for the next question, whatever it is; the words before its colon."""
        deadline = time.monotonic() + 60
        while True:
            self._look(0.1)
            found = _QUESTION.search(self.screen, self._answered)
            if found and not select.select([self._leader], [], [], 0.1)[0]:
                return found[1]
            assert time.monotonic() < deadline, f"nothing was asked: {self.screen!r}"
            assert self._program.poll() is None, f"it has ended: {self.screen!r}"

    def answers(self, line: str) -> None:
        """Types what `is_asked` waited for."""
        self._answered = len(self.screen)
        os.write(self._leader, line.encode() + b"\n")

    def leaves_by_ctrl_c(self, *, after: str = "") -> None:
        """The same, but for Ctrl-C, at once or after the words; and waits for the program's end."""
        self._await(after)
        os.write(self._leader, b"\x03")
        code, _, _ = self.leaves()
        assert code, "it went on all the same"

    def leaves(self) -> tuple[int, str, str]:
        """Waits for the program's end: its exit code, stdout and stderr."""
        deadline = time.monotonic() + 180
        while self._program.poll() is None and time.monotonic() < deadline:
            self._look(0.05)  # a terminal that nobody reads from holds its program up
        out, err = self._program.communicate(timeout=60)
        self._look(0)
        return self._program.returncode, out, err

    def _await(self, after: str) -> None:
        seen = len(self.screen)
        deadline = time.monotonic() + 30
        while after not in self.screen[seen:]:
            assert time.monotonic() < deadline, f"{after!r} was not asked, but {self.screen!r}"
            assert self._program.poll() is None, self._program.communicate()
            self._look(0.05)

    def _look(self, patience: float) -> None:
        while select.select([self._leader], [], [], patience)[0]:
            self.screen += os.read(self._leader, 4096).decode("utf-8", "replace")
            patience = 0
