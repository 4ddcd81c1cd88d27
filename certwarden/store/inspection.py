"""Looks whether the database is sound, from its first page to its last, and changes nothing.

Passes find damage when they meet it; this is for whoever wants to know before.
"""

import sqlite3
import time
from pathlib import Path

from certwarden.errors import StoreError, clean

SECONDS = 3.0
_STEPS = 10_000  # of SQLite's machine, between two looks at the clock


def check_database(path: Path) -> bool:
    """Whether the whole of it was looked at: False where there is none, or too much for the time.

    Raises StoreError for what is wrong with it.
    """
    if not path.exists():
        return False
    deadline = time.monotonic() + SECONDS
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        try:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return False  # it is being written, or the time is over
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise StoreError(
            f"the database {path} is damaged: {clean(str(verdict))}",
            "save what can be read, replace the card or disk if it fails, then `certwarden renew`: "
            "it sets the database aside; certificates stay",
        )
    return True
