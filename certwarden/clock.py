"""Now, and waiting: the only module that reads a clock or sleeps.

Wall time is for certificates and for people; waiting is by the monotonic clock, which no one sets.
"""

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The wall clock's instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that only ever goes forward; meaningful as differences only."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits so many seconds; a signal that raises in the main thread ends the wait."""
        time.sleep(max(0.0, seconds))
