"""Tells on stderr what is going on: progress on a terminal, a line an event otherwise.

On a terminal each certificate or target at work has one line with its phase, which is rewritten in
place and gives way to what is to be kept. Under systemd each line bears its priority.
"""

import os
import shutil
import sys
import threading
from typing import TextIO

from certwarden.errors import visible
from certwarden.ports import Level

_PRIORITIES = {Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3}
_CLEAR_LINE = "\r\x1b[K"


class Console:
    """The Reporter of a command; safe to be called from several threads."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        is_verbose: bool = False,
        is_quiet: bool = False,
    ) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._is_journal = _is_journal(self._stream)
        self._is_verbose = is_verbose
        self._is_quiet = is_quiet
        self._phases: dict[str, str] = {}
        self._shown = 0
        self._lock = threading.Lock()

    def phase(self, subject: str, phase: str) -> None:
        """Shows the phase on a terminal; elsewhere it is a line of its own only when verbose."""
        with self._lock:
            if self._is_verbose:
                self._keep(f"{subject}: {phase}", Level.INFO)
            elif self._is_terminal and not self._is_quiet:
                self._phases[subject] = phase
                self._redraw()

    def event(self, level: Level, subject: str, text: str, hint: str = "") -> None:
        """Keeps a line; what it is about is no longer at work."""
        with self._lock:
            self._phases.pop(subject, None)
            if not (self._is_quiet and level is Level.INFO):
                word = "" if level is Level.INFO else f"{level}: "
                advice = f" ({hint})" if hint else ""
                self._keep(f"{subject}: {word}{text}{advice}", level)
            self._redraw()

    def close(self) -> None:
        """Takes the progress off the terminal."""
        with self._lock:
            self._phases.clear()
            self._redraw()

    def _keep(self, line: str, level: Level) -> None:
        self._erase()
        prefix = f"<{_PRIORITIES[level]}>" if self._is_journal else ""
        self._write(f"{prefix}{visible(line)}\n")

    def _redraw(self) -> None:
        if not self._is_terminal:
            return
        self._erase()
        width = shutil.get_terminal_size().columns - 1  # a wrapped line could not be taken back
        for subject, phase in self._phases.items():
            self._write(f"{visible(f'{subject}: {phase} …'[:width])}\n")
        self._shown = len(self._phases)

    def _erase(self) -> None:
        for _ in range(self._shown):
            self._write(f"\x1b[1A{_CLEAR_LINE}")
        self._shown = 0

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            pass  # whoever listened has gone; the work goes on


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream ends in the journal, as systemd's $JOURNAL_STREAM says (device:inode)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
