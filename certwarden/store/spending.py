"""What was spent of the CAs' limits, by our own count: the port Limits on the ledger's database.

What is about to be spent is written down first, as spent; what turns out not to be is given back.
So a process killed in between has counted too much rather than too little. Knows no limit and no
period: what is still allowed is for `lifecycle` to say.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from certwarden.model import Spent
from certwarden.store.database import Database
from certwarden.store.schema import instant_text

AUTHORIZATIONS_KEPT = 5000
ISSUANCES_KEPT = 5000


class SpendingBook:
    """Failed authorizations by name, and issuances by set of names. All methods raise StoreError.

    Authorizations are for identifiers: a name and its wildcard are one (RFC 8555 section 7.1.4).
    The newest entries are kept, of all certificates together.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def authorizing(
        self, directory_url: str, order_url: str, names: Sequence[str], at: datetime
    ) -> None:
        """Counts the names as failed, before their challenges are answered.

        Each counts as often as it is named: a name and its wildcard are two authorizations of one
        identifier. An order counts once, at the instant written last.
        """
        if not names:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO authorizations"
                " (directory_url, order_url, name, times, at) VALUES (?, ?, ?, ?, ?)",
                [
                    (directory_url, order_url, each, times, instant_text(at))
                    for each, times in Counter(map(_identifier, names)).items()
                ],
            )
            connection.execute(
                "DELETE FROM authorizations WHERE id <= ("
                "SELECT id FROM authorizations ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (AUTHORIZATIONS_KEPT,),
            )

    def authorized(self, order_url: str, failed: Sequence[str]) -> None:
        """Gives the order's names back, but for those that failed."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM authorizations WHERE order_url = ?"
                " AND name NOT IN (SELECT value FROM json_each(?))",
                (order_url, json.dumps(_identifiers(failed))),
            )

    def issuing(
        self, directory_url: str, order_url: str, domains: Sequence[str], at: datetime
    ) -> None:
        """Counts a certificate for exactly these names, before the order is finalized.

        An order counts once, at the instant written last.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO issuances (directory_url, order_url, domains, at)"
                " VALUES (?, ?, ?, ?)",
                (directory_url, order_url, _set_of(domains), instant_text(at)),
            )
            connection.execute(
                "DELETE FROM issuances WHERE id <= ("
                "SELECT id FROM issuances ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (ISSUANCES_KEPT,),
            )

    def spent(self, directory_url: str, domains: Sequence[str]) -> Spent:
        """What was spent at the directory for these names, newest first.

        Failed authorizations stand under their identifiers, of which those without any are left
        out; issuances are those of exactly this set of names.
        """
        failed: dict[str, list[datetime]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(
                "SELECT name, times, at FROM authorizations WHERE directory_url = ?"
                " AND name IN (SELECT value FROM json_each(?)) ORDER BY id DESC",
                (directory_url, json.dumps(_identifiers(domains))),
            ):
                instants = [datetime.fromisoformat(row["at"])] * row["times"]
                failed.setdefault(row["name"], []).extend(instants)
            issuances = connection.execute(
                "SELECT at FROM issuances WHERE directory_url = ? AND domains = ? ORDER BY id DESC",
                (directory_url, _set_of(domains)),
            )
            return Spent(
                failed_authorizations={name: tuple(instants) for name, instants in failed.items()},
                issuances=tuple(datetime.fromisoformat(row["at"]) for row in issuances),
            )


def _identifiers(names: Sequence[str]) -> list[str]:
    return sorted({_identifier(name) for name in names})


def _identifier(name: str) -> str:
    return name.lower().removeprefix("*.")


def _set_of(domains: Sequence[str]) -> str:
    """The set of names as one text, the same in whatever order they are given."""
    return json.dumps(sorted({domain.lower() for domain in domains}))
