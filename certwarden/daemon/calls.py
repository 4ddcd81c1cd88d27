"""Notices that a command has left something to a pass: it touches a file (see `store.state`)."""

from pathlib import Path

from certwarden.store.state import CALL


class Calls:
    """The file in a state directory, as it was when it was last looked at."""

    def __init__(self, state_directory: Path) -> None:
        self._file = state_directory / "locks" / CALL
        self._seen = self._touched()

    def is_called(self) -> bool:
        """Whether it was touched since the last look."""
        before, self._seen = self._seen, self._touched()
        return self._seen != before

    def _touched(self) -> int:
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return 0
