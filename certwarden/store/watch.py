"""What outlives a run of what was seen: renewal suggestions, clock, API token, and what was told.

The ports Suggestions and Watch on the ledger's database. Decides nothing: neither when to ask
again, nor whether the clock is right, nor what is worth telling.
"""

import sqlite3
from datetime import datetime

from certwarden.model import RenewalInfo, RenewalWindow, TokenCheck, Told
from certwarden.store.database import Database
from certwarden.store.schema import instant_text, optional_instant

SUGGESTIONS_KEPT = 1000
MATTERS_KEPT = 1000


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
    """The clock's floor, the API token's health, and what a person was told.

    All methods raise StoreError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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


def _told(row: sqlite3.Row) -> Told:
    return Told(
        key=row["key"],
        since=datetime.fromisoformat(row["since"]),
        told_at=datetime.fromisoformat(row["told_at"]),
        text=row["text"],
    )
