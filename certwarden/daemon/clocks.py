"""The clocks by which the daemon waits, and whether somebody has set the one on the wall."""

import time
from datetime import UTC, datetime
from typing import Protocol

# Slewing, as NTP does it for small differences, stays far below this from one tick to the next.
JUMP_SECONDS = 60.0


class Clocks(Protocol):
    """What the daemon reads; a test hands in its own."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that nobody sets; stands still while the machine is suspended."""

    def boottime(self) -> float:
        """Seconds that nobody sets; goes on while the machine is suspended."""


class SystemClocks:
    """The machine's clocks. Not `certwarden.clock`: what that loads would stay in memory."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - see above: the daemon's own clock

    def monotonic(self) -> float:
        """Seconds since some instant, suspension left out."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds since the machine was started, suspension included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class Jumps:
    """Notices when the wall clock was set; a suspended machine's clock was not."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._offset = self._measure()

    def look(self) -> float:
        """By how many seconds the clock has jumped since the last look; 0 where it only slews."""
        before, self._offset = self._offset, self._measure()
        jump = self._offset - before
        return jump if abs(jump) > JUMP_SECONDS else 0.0

    def _measure(self) -> float:
        return self._clocks.now().timestamp() - self._clocks.boottime()


class Synchronisation:
    """Whether the clock has become synchronised since a pass could not trust it: once each time."""

    def __init__(self) -> None:
        self.is_awaited = False
        self._was_so = False

    def answered(self, *, is_trusted: bool, is_synchronised: bool | None) -> None:
        """What a pass found. A clock that is synchronised and not trusted waits for something else.

        What we have seen since the last pass still counts: if it does not do for the worker, the
        same sight must not call it again and again.
        """
        self.is_awaited = not is_trusted
        self._was_so = self.is_awaited and (self._was_so or is_synchronised is True)

    def seen(self, *, is_so: bool) -> bool:
        """What was seen just now; whether that is a reason for a pass."""
        has_turned = self.is_awaited and is_so and not self._was_so
        self._was_so = self.is_awaited and is_so
        return has_turned
