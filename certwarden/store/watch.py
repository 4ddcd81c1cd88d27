"""What outlives a run of what was seen: renewal suggestions, clock, API token, setbacks, and what
was told.

The ports Suggestions and Watch on the ledger's database. Decides nothing: neither when to ask
again, nor whether the clock is right, nor what is worth telling.
"""

import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certwarden.errors import StoreError
from certwarden.model import RenewalInfo, RenewalWindow, Setback, TokenCheck, Told
from certwarden.store.database import Database
from certwarden.store.schema import instant_text, optional_instant
from certwarden.store.state import explained, private_directory

SUGGESTIONS_KEPT = 1000
MATTERS_KEPT = 1000
SETBACKS_KEPT = 1000

_MARK = "message"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SuggestionBook:
    """What CAs said last about each certificate's renewal. All methods raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def renewal_info(self, fingerprint: str) -> RenewalInfo | None:
        """The last answer about the certificate; None where there was none."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT * FROM renewal_infos WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
            return _renewal_info(row) if row else None

    def save_renewal_info(self, info: RenewalInfo) -> None:
        """Saves the answer in place of the one before; the answers saved last are kept."""
        window = info.window
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO renewal_infos (fingerprint, window_start, window_end,"
                " explanation_url, asked_at, ask_again_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    info.fingerprint,
                    instant_text(window.start) if window else None,
                    instant_text(window.end) if window else None,
                    window.explanation_url if window else "",
                    instant_text(info.asked_at),
                    instant_text(info.ask_again_at),
                ),
            )
            connection.execute(
                "DELETE FROM renewal_infos WHERE id <= ("
                "SELECT id FROM renewal_infos ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (SUGGESTIONS_KEPT,),
            )


class WatchBook:
    """The clock's floor, the API token's health, setbacks, and what a person was told.

    The mark is a file without content, STATE/locks/message. All methods raise StoreError.
    """

    def __init__(self, database: Database, state_directory: Path) -> None:
        self._database = database
        self._state = state_directory

    def floor(self) -> datetime | None:
        """The last instant that was certainly not in the future; None before the first."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT at FROM clock_floor").fetchone()
            return datetime.fromisoformat(row["at"]) if row else None

    def set_floor(self, at: datetime) -> None:
        """Sets the floor, be it higher or lower than before; the same once more writes nothing."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO clock_floor (only_row, at) VALUES (1, ?)"
                " ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <> excluded.at",
                (instant_text(at),),
            )

    def token_check(self) -> TokenCheck | None:
        """The last look at the token; None before the first."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM token_check").fetchone()
            return _token_check(row) if row else None

    def save_token_check(self, check: TokenCheck) -> None:
        """Saves the look in place of the one before."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO token_check (only_row, at, setup, expires_at, what, hint)"
                " VALUES (1, ?, ?, ?, ?, ?)",
                (
                    instant_text(check.at),
                    check.setup,
                    instant_text(check.expires_at) if check.expires_at else None,
                    check.what,
                    check.hint,
                ),
            )

    def told(self) -> tuple[Told, ...]:
        """The matters that stand, in the order in which they were told last."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM told ORDER BY id")
            return tuple(_told(row) for row in rows)

    def tell(self, matter: Told) -> None:
        """Writes down that a person was told; in place of what was told under the key before.

        Of too many matters that stand, those told last are kept.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO told (key, since, told_at, text) VALUES (?, ?, ?, ?)",
                (
                    matter.key,
                    instant_text(matter.since),
                    instant_text(matter.told_at),
                    matter.text,
                ),
            )
            connection.execute(
                "DELETE FROM told WHERE id <= ("
                "SELECT id FROM told ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (MATTERS_KEPT,),
            )

    def forget(self, key: str) -> None:
        """The matter has been put right."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM told WHERE key = ?", (key,))

    def marked_at(self) -> datetime | None:
        """When the mark was set last: the file's time; None where there is none."""
        with explained("the mark of the last message cannot be read"):
            try:
                seconds = int((self._state / "locks" / _MARK).stat().st_mtime)
            except FileNotFoundError:
                return None
        return _EPOCH + timedelta(seconds=seconds)

    def mark(self, at: datetime) -> None:
        """Sets the mark; a full disk usually has room for a file's name and time all the same."""
        seconds = (at - _EPOCH) // timedelta(seconds=1)
        with explained("the mark of the last message cannot be set"):
            path = private_directory(self._state, "locks") / _MARK
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(path, flags, 0o600))
            try:
                os.utime(path, (seconds, seconds))
            except OverflowError as error:  # beyond 2038 on a system that counts by 32 bits
                raise StoreError("the mark of the last message cannot be set so late") from error

    def setbacks(self) -> tuple[Setback, ...]:
        """What failed last and is tried again later, in the order of the last failures."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM setbacks ORDER BY id")
            return tuple(_setback(row) for row in rows)

    def save_setback(self, setback: Setback) -> None:
        """Saves it in place of the one before; of too many, those saved last are kept."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO setbacks (key, setup, since, at, again_at, failures, what,"
                " hint, is_permanent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    setback.key,
                    setback.setup,
                    instant_text(setback.since),
                    instant_text(setback.at),
                    instant_text(setback.again_at),
                    setback.failures,
                    setback.what,
                    setback.hint,
                    setback.is_permanent,
                ),
            )
            connection.execute(
                "DELETE FROM setbacks WHERE id <= ("
                "SELECT id FROM setbacks ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (SETBACKS_KEPT,),
            )

    def clear_setback(self, key: str) -> None:
        """It failed no more, or is of no interest any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM setbacks WHERE key = ?", (key,))


def _renewal_info(row: sqlite3.Row) -> RenewalInfo:
    start, end = optional_instant(row["window_start"]), optional_instant(row["window_end"])
    return RenewalInfo(
        fingerprint=row["fingerprint"],
        window=RenewalWindow(start, end, row["explanation_url"]) if start and end else None,
        asked_at=datetime.fromisoformat(row["asked_at"]),
        ask_again_at=datetime.fromisoformat(row["ask_again_at"]),
    )


def _token_check(row: sqlite3.Row) -> TokenCheck:
    return TokenCheck(
        at=datetime.fromisoformat(row["at"]),
        setup=row["setup"],
        expires_at=optional_instant(row["expires_at"]),
        what=row["what"],
        hint=row["hint"],
    )


def _setback(row: sqlite3.Row) -> Setback:
    return Setback(
        key=row["key"],
        setup=row["setup"],
        since=datetime.fromisoformat(row["since"]),
        at=datetime.fromisoformat(row["at"]),
        again_at=datetime.fromisoformat(row["again_at"]),
        failures=row["failures"],
        what=row["what"],
        hint=row["hint"],
        is_permanent=bool(row["is_permanent"]),
    )


def _told(row: sqlite3.Row) -> Told:
    return Told(
        key=row["key"],
        since=datetime.fromisoformat(row["since"]),
        told_at=datetime.fromisoformat(row["told_at"]),
        text=row["text"],
    )
