"""The private CA's book as data: every row out, for a backup, and rows back in.

Beside the register, on its table; how a backup looks is not known here.
"""

import sqlite3
from collections.abc import Iterator, Sequence

from certwarden.model import Booked
from certwarden.store.database import Database
from certwarden.store.register import read_row
from certwarden.store.schema import instant_text, optional_text

_COLUMNS = (
    *("serial", "purpose", "name", "email", "not_before", "not_after", "is_signed", "pem"),
    *("revoked_at", "reason", "revoked_under", "supersede_at", "seen_at"),
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM client_certificates ORDER BY id"  # noqa: S608 - ours
# Of a row without an end nothing but the serial is known: it was taken over from a list.
_FILL_IN = ", ".join(
    f"{each} = excluded.{each}"
    for each in ("purpose", "name", "email", "not_before", "not_after", "is_signed", "pem")
)
_ADD = (
    f"INSERT INTO client_certificates ({', '.join(_COLUMNS)})"  # noqa: S608 - the columns are ours
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT (serial) DO UPDATE SET {_FILL_IN} WHERE not_after IS NULL"
)
_REVOKE = (
    "UPDATE client_certificates SET revoked_at = ?, reason = ?, revoked_under = ?"
    " WHERE serial = ? AND revoked_at IS NULL"
)


class RegisterArchive:
    """The port Archive on the ledger's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self) -> tuple[Booked, ...]:
        """Every row with its certificate, oldest first."""
        with self._database.reading() as connection:
            return tuple(_booked(row) for row in connection.execute(_SELECT))

    def put_back(self, rows: Sequence[Booked]) -> None:
        """Adds them all, or none; rows that are there already stay, but what is revoked is."""
        with self._database.transaction() as connection:
            book = connection.execute("SELECT last_number FROM authority_book").fetchone()
            connection.executemany(_ADD, _values(rows, book["last_number"]))
            connection.executemany(
                _REVOKE,
                [
                    (instant_text(at), each.certificate.reason, book["last_number"], serial)
                    for each in rows
                    if (at := each.certificate.revoked_at) and (serial := each.certificate.serial)
                ],
            )


def _values(rows: Sequence[Booked], last_number: int) -> Iterator[tuple[object, ...]]:
    for row in rows:
        each = row.certificate
        yield (
            *(each.serial, each.purpose, each.name, each.email),
            *(optional_text(each.not_before), optional_text(each.not_after)),
            *(each.is_signed, row.pem),
            *(optional_text(each.revoked_at), each.reason),
            last_number if each.revoked_at else None,
            optional_text(each.supersede_at),
            optional_text(each.seen_at),
        )


def _booked(row: sqlite3.Row) -> Booked:
    certificate = read_row(row)
    return Booked(certificate, row["pem"])
