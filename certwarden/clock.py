"""Now, and waiting: the only module that reads a clock or sleeps; and who can tell if it is right.

Wall time is for certificates and for people; waiting is by the monotonic clock, which no one sets.
Whether the wall clock is to be trusted is decided elsewhere; here only its witnesses are heard.
"""

import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from certwarden import BUILD_DATE
from certwarden.http import is_secured, read_date
from certwarden.ports import Clock

SYNCHRONISED = Path("/run/systemd/timesync/synchronized")  # timesyncd makes it at its first success
TIMEDATECTL = ("timedatectl", "show", "--property=NTP", "--property=NTPSynchronized")
TIMEDATECTL_SECONDS = 5
# timedated is asked over D-Bus at its well-known place; nothing of our environment is its business.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_CLOSE = timedelta(minutes=1)  # whoever agrees with us so well need not be outvoted


class SystemClock:
    """The machine's clocks. One instance belongs to one command, whose threads it can call off."""

    def __init__(self) -> None:
        self._is_interrupted = threading.Event()

    def now(self) -> datetime:
        """The wall clock's instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that only ever goes forward; meaningful as differences only."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits so many seconds; ended by a signal that raises in the main thread, in the others
        by `interrupt`.
        """
        if self._is_interrupted.wait(max(0.0, seconds)):
            raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Ends every wait of every thread, now and from now on, by KeyboardInterrupt."""
        self._is_interrupted.set()


class SystemTimeSources:
    """Who can tell on this machine (port TimeSources). Made, it has asked nobody yet.

    `date_urls` are addresses with the CA bundle for their TLS, or None for the usual roots; of each
    only the origin is asked for its Date, once, and what it said counts on by the monotonic clock.
    """

    def __init__(self, clock: Clock, date_urls: Sequence[tuple[str, Path | None]] = ()) -> None:
        self._clock = clock
        self._date_urls = tuple(date_urls)
        self._answers: tuple[_Answer, ...] | None = None

    def synchronised(self) -> bool | None:
        """By timesyncd's file, else by timedated, which knows of other time services as well."""
        return True if os.path.lexists(SYNCHRONISED) else _ask_timedated()

    def build_date(self) -> datetime:
        """The day of this version."""
        return _build_date()

    def offset(self) -> timedelta | None:
        """The Date of whichever server agrees best with our clock, minus our clock."""
        if self._answers is None:
            self._answers = self._ask()
        return min((self._offset(answer) for answer in self._answers), key=abs, default=None)

    def _ask(self) -> "tuple[_Answer, ...]":
        answers = []
        for url, ca_bundle in self._date_urls:
            answer = self._ask_server(url, ca_bundle)
            if answer is not None:
                answers.append(answer)
                if abs(self._offset(answer)) <= _CLOSE:
                    break
        return tuple(answers)

    def _ask_server(self, url: str, ca_bundle: Path | None) -> "_Answer | None":
        if not is_secured(url):
            return None
        from certwarden.timeless import head

        parts = urlsplit(url)
        before = self._clock.monotonic()
        headers = head(f"{parts.scheme}://{parts.netloc}/", ca_bundle)
        date = read_date(headers) if headers is not None else None
        if date is None:
            return None
        return _Answer(date, (before + self._clock.monotonic()) / 2)

    def _offset(self, answer: "_Answer") -> timedelta:
        elapsed = timedelta(seconds=self._clock.monotonic() - answer.monotonic)
        return answer.date - self._clock.now() + elapsed


class AlwaysTrusted:
    """Time sources (port TimeSources) for whoever knows that this machine's clock is right."""

    def synchronised(self) -> bool:
        """It is said to be."""
        return True

    def build_date(self) -> datetime:
        """The day of this version."""
        return _build_date()

    def offset(self) -> timedelta | None:
        """Nobody needs to be asked."""
        return None


class _Answer(NamedTuple):
    """What a server said, and when by the monotonic clock: at the middle of the exchange."""

    date: datetime
    monotonic: float


def _build_date() -> datetime:
    return datetime.fromisoformat(BUILD_DATE).replace(tzinfo=UTC)


def _ask_timedated() -> bool | None:
    import subprocess

    try:
        ended = subprocess.run(
            TIMEDATECTL,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEDATECTL_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # none is installed, or nobody answers it
        return None
    properties = dict(line.partition(b"=")[::2] for line in ended.stdout.splitlines())
    if properties.get(b"NTPSynchronized") == b"yes":
        return True
    # Without a time service nobody sets the kernel's flag, so its absence says nothing.
    return False if properties.get(b"NTP") == b"yes" else None
