"""A damaged database is moved out of the way, and kept for whoever wants to look into it.

Whether it is damaged is for `database` to say.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from certwarden import files

KEPT = 3
GLANCE_SECONDS = 0.5  # another process that finds it damaged as well looks at it no longer
_POLL_SECONDS = 0.01

# SQLite's lock bytes on Unix: pending, reserved, and 510 shared ones (sqlite.org, os_unix.c).
_LOCK_START, _LOCK_LENGTH = 0x40000000, 512


def set_aside(path: Path) -> Path:
    """Renames the database to `….damaged`, `….damaged-2` and so on; its new path.

    The last name is used over and over, so that no card is filled. Whoever calls has closed its
    own connections, and keeps others from doing the same. Raises BlockingIOError where another
    process goes on reading or writing it: that one's journal would be replayed into the new one.
    """
    with _unused(path):
        names = [path.with_name(f"{path.name}.damaged")]
        names += [path.with_name(f"{path.name}.damaged-{each}") for each in range(2, KEPT + 1)]
        aside = next((each for each in names if not os.path.lexists(each)), names[-1])
        if os.path.lexists(aside):
            _journal(aside).unlink(missing_ok=True)
        # The journal first: left alone, it would be taken for the new database's.
        with suppress(FileNotFoundError):
            _journal(path).rename(_journal(aside))
        path.rename(aside)
        files.sync_directory(path.parent)
    return aside


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


@contextmanager
def _unused(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + GLANCE_SECONDS
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_LENGTH, _LOCK_START)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_SECONDS)  # noqa: TID251 - over before a signal could end it
        else:
            return
