"""The private CA's book: certificates, revocations, numbers of lists, and the ladder.

The port Register on the ledger's database. Client keys are never kept, revoked certificates for
ever. Signs nothing itself: a list is signed by the caller's function, within the transaction that
gives it its number.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from certwarden.errors import StoreError
from certwarden.model import (
    ClientCertificate,
    ClientPurpose,
    Crl,
    RevocationReason,
    Revoked,
    Rung,
)
from certwarden.store.database import Database
from certwarden.store.schema import instant_text, optional_instant, optional_text

_COLUMNS = (
    "serial, purpose, name, email, not_before, not_after, is_signed, revoked_at, reason,"
    " supersede_at, seen_at"
)
# What the next list holds. RFC 5280 section 3.3: an entry stays until it was in a list that was
# signed after its certificate's end; `previous` is when the last one was, NULL where that is not
# known. The index `revocations_of_clients` answers without touching the certificates.
_TO_BE_LISTED = (
    "revoked_at IS NOT NULL"
    " AND NOT (coalesce(not_after < :previous, FALSE) AND revoked_under < :last_number)"
)


class Register:
    """What the private CA has signed, and what it has revoked. All methods raise StoreError.

    Whoever writes holds the lock on the authority.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # ── certificates ──────────────────────────────────────────────────────────────────────────────

    def add(self, certificates: Sequence[ClientCertificate]) -> None:
        """Writes them down before they are signed, all or none; a known serial is refused."""
        serials = [each.serial for each in certificates]
        with self._database.transaction() as connection:
            known = _known(connection, serials)
            if not known:
                insert(connection, certificates)
        if known:
            raise StoreError(
                f"the register has a certificate of the serial {min(known)} already",
                "try again: a serial is random, and never used twice",
            )

    def signed(self, certificates: Mapping[str, bytes]) -> None:
        """These are signed: PEM by serial. An unknown one is refused, and none is written."""
        with self._database.transaction() as connection:
            unknown = certificates.keys() - _known(connection, certificates)
            if not unknown:
                mark_signed(connection, certificates)
        _refuse(unknown)

    def clients(self) -> tuple[ClientCertificate, ...]:
        """All that are for clients, taken-over ones included; by name, then as they were added."""
        return self._select("purpose = ? ORDER BY name, id", ClientPurpose.CLIENT)

    def named(self, name: str) -> tuple[ClientCertificate, ...]:
        """Those of a client, the one that was added last first."""
        return self._select("purpose = ? AND name = ? ORDER BY id DESC", ClientPurpose.CLIENT, name)

    def find(self, serial: str) -> ClientCertificate | None:
        """The one of that serial, whatever it is for."""
        return next(iter(self._select("serial = ?", serial)), None)

    def pem(self, serial: str) -> bytes | None:
        """The certificate itself, if it was signed here."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT pem FROM client_certificates WHERE serial = ?", (serial,)
            ).fetchone()
            return row["pem"] if row else None

    def forget_probes(self, before: datetime) -> None:
        """Probes that were never revoked and ended before that instant are of no interest."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM client_certificates"
                " WHERE purpose = ? AND revoked_at IS NULL AND not_after < ?",
                (ClientPurpose.PROBE, instant_text(before)),
            )

    def saw(self, serials: Mapping[str, datetime]) -> None:
        """Clients' certificates that a target has seen in use, and when last.

        An instant never moves back; serials that are not a client's are passed over.
        """
        if not serials:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE client_certificates SET seen_at = :at WHERE serial = :serial"
                " AND purpose = :purpose AND coalesce(seen_at < :at, TRUE)",
                [
                    {"serial": serial, "at": instant_text(at), "purpose": ClientPurpose.CLIENT}
                    for serial, at in serials.items()
                ],
            )

    def watched_since(self) -> datetime | None:
        """Since when every target can tell whom it lets in; None where one of them cannot."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT watched_since FROM authority_book").fetchone()
            return optional_instant(row["watched_since"])

    def set_watched_since(self, at: datetime | None) -> None:
        """Writes down since when."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE authority_book SET watched_since = ?", (optional_text(at),))

    # ── revocations ───────────────────────────────────────────────────────────────────────────────

    def revoke(self, serials: Sequence[str], reason: RevocationReason, at: datetime) -> None:
        """What is revoked already stays as it is; an unknown serial is refused, and none written.

        One that was never signed may be revoked: its signature might have got out all the same.
        """
        with self._database.transaction() as connection:
            unknown = set(serials) - _known(connection, serials)
            if not unknown:
                _revoke(connection, [Revoked(each, at, reason) for each in serials])
        _refuse(unknown)

    def supersede(self, serials: Sequence[str], at: datetime) -> None:
        """They are to be revoked at that instant, or earlier if that was said before."""
        with self._database.transaction() as connection:
            unknown = set(serials) - _known(connection, serials)
            if not unknown:
                supersede(connection, serials, at)
        _refuse(unknown)

    def superseded(self, now: datetime) -> tuple[str, ...]:
        """The serials of those whose time with their successors is over, and not revoked yet."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT serial FROM client_certificates"
                " WHERE supersede_at <= ? AND revoked_at IS NULL ORDER BY id",
                (instant_text(now),),
            )
            return tuple(row["serial"] for row in rows)

    def take_over(self, entries: Sequence[Revoked], last_number: int) -> tuple[str, ...]:
        """Revocations and number of a list that was found; the serials that were not known.

        No revocation is ever taken back, and the number never falls. Of the unknown ones nothing
        but the serial is written down, so they stay in all lists.
        """
        with self._database.transaction() as connection:
            if last_number > _last_number(connection):
                # What the lists in between held is not known: nothing is left out of the next one.
                connection.execute(
                    "UPDATE authority_book SET last_number = ?, signed_at = NULL", (last_number,)
                )
            known = _known(connection, [each.serial for each in entries])
            strangers: dict[str, ClientCertificate] = {}
            for each in entries:
                if each.serial not in known:
                    strangers.setdefault(each.serial, _stranger(each))
            insert(connection, [*strangers.values()], is_signed=True)
            _revoke(connection, [each for each in entries if each.serial in known])
        return tuple(strangers)

    # ── lists ─────────────────────────────────────────────────────────────────────────────────────

    def unlisted(self, crl: Crl | None) -> frozenset[str]:
        """Serials that the next list will hold, and this one does not; without one, all of them."""
        with self._database.reading() as connection:
            last_number, signed_at = _book(connection)
            rows = connection.execute(
                f"SELECT serial FROM client_certificates WHERE {_TO_BE_LISTED}",  # noqa: S608 - ours
                {"previous": optional_text(signed_at), "last_number": last_number},
            )
            listed = crl.serials if crl else frozenset()
            return frozenset(row["serial"] for row in rows if row["serial"] not in listed)

    def sign_lists(
        self,
        dates: Sequence[datetime],
        now: datetime,
        sign: Callable[[int, datetime, Sequence[Revoked]], Crl],
    ) -> tuple[Crl, ...]:
        """Lists with the next numbers, one for each date; several of them become the ladder.

        Number, entries and signature are of one transaction: where `sign` raises, nothing has
        happened. Its entries are those revoked first first. One is left out if its certificate had
        ended when the last list was signed, and that list had it; where a wrong clock says that
        this was in the future, it was now.
        """
        if not dates:
            return ()
        with self._database.transaction() as connection:
            last_number, signed_at = _book(connection)
            previous = min(signed_at, now) if signed_at else None
            rows = connection.execute(
                "SELECT serial, revoked_at, reason FROM client_certificates"  # noqa: S608 - ours
                f" WHERE {_TO_BE_LISTED} ORDER BY revoked_at, serial",
                {"previous": optional_text(previous), "last_number": last_number},
            )
            entries = tuple(_entry(row) for row in rows)
            lists = tuple(
                sign(number, date, entries) for number, date in enumerate(dates, last_number + 1)
            )
            connection.execute("DELETE FROM ladder")
            connection.executemany(
                "INSERT INTO ladder (number, at, next_update, pem) VALUES (?, ?, ?, ?)",
                [
                    (crl.number, instant_text(date), instant_text(crl.next_update), crl.pem)
                    for date, crl in zip(dates, lists, strict=True)
                    if len(lists) > 1
                ],
            )
            connection.execute(
                "UPDATE authority_book SET last_number = ?, signed_at = ?",
                (last_number + len(lists), instant_text(now)),
            )
        return lists

    def last_number(self) -> int:
        """Of the last list that was signed or taken over; 0 before the first."""
        with self._database.reading() as connection:
            return _last_number(connection)

    def ladder(self) -> tuple[Rung, ...]:
        """The lists that were signed beforehand and are not published yet, soonest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT number, at, next_update FROM ladder ORDER BY number")
            return tuple(_rung(row) for row in rows)

    def rung(self, number: int) -> bytes:
        """That list of the ladder in PEM."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT pem FROM ladder WHERE number = ?", (number,))
            found = row.fetchone()
        if found is None:
            raise StoreError(
                f"the register has no list number {number} that was signed beforehand",
                "run `certwarden ca unlock`, which signs new ones",
            )
        return bytes(found["pem"])

    def step_up(self, number: int) -> None:
        """The rungs up to this number are of no use any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM ladder WHERE number <= ?", (number,))

    # ── backups ───────────────────────────────────────────────────────────────────────────────────

    def backed_up_at(self) -> datetime | None:
        """When the last backup was made; None before the first."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT backed_up_at FROM authority_book").fetchone()
            return optional_instant(row["backed_up_at"])

    def set_backed_up_at(self, at: datetime) -> None:
        """Writes down that a backup was made."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE authority_book SET backed_up_at = ?", (instant_text(at),))

    def _select(self, condition: str, *values: str) -> tuple[ClientCertificate, ...]:
        query = f"SELECT {_COLUMNS} FROM client_certificates WHERE {condition}"  # noqa: S608 - ours
        with self._database.reading() as connection:
            return tuple(read_row(row) for row in connection.execute(query, values))


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────


def _known(connection: sqlite3.Connection, serials: Iterable[str]) -> set[str]:
    rows = connection.execute(
        "SELECT serial FROM client_certificates WHERE serial IN (SELECT value FROM json_each(?))",
        (json.dumps(list(serials)),),
    )
    return {row["serial"] for row in rows}


def _refuse(unknown: set[str]) -> None:
    if unknown:
        raise StoreError(
            f"the register has no certificate of the serial {min(unknown)}",
            "see `certwarden client list` for those that there are",
        )


def insert(
    connection: sqlite3.Connection,
    certificates: Sequence[ClientCertificate],
    *,
    is_signed: bool = False,
) -> None:
    """Adds rows for certificates whose serials are not known."""
    last_number = _last_number(connection)
    connection.executemany(
        "INSERT INTO client_certificates"  # noqa: S608 - the columns are ours
        f" ({_COLUMNS}, revoked_under) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.serial,
                each.purpose,
                each.name,
                each.email,
                optional_text(each.not_before),
                optional_text(each.not_after),
                is_signed,
                optional_text(each.revoked_at),
                each.reason,
                optional_text(each.supersede_at),
                optional_text(each.seen_at),
                last_number if each.revoked_at else None,
            )
            for each in certificates
        ],
    )


def mark_signed(connection: sqlite3.Connection, certificates: Mapping[str, bytes]) -> None:
    """Enters the signed certificates: PEM by serial."""
    connection.executemany(
        "UPDATE client_certificates SET is_signed = TRUE, pem = ? WHERE serial = ?",
        [(pem, serial) for serial, pem in certificates.items()],
    )


def supersede(connection: sqlite3.Connection, serials: Iterable[str], at: datetime) -> None:
    """Has them revoked at that instant, or earlier if that was said before."""
    connection.executemany(
        "UPDATE client_certificates"
        " SET supersede_at = min(:at, coalesce(supersede_at, :at)) WHERE serial = :serial",
        [{"serial": each, "at": instant_text(at)} for each in serials],
    )


def _revoke(connection: sqlite3.Connection, entries: Sequence[Revoked]) -> None:
    """Revokes what is not revoked yet, and writes down which list did not have it."""
    last_number = _last_number(connection)
    connection.executemany(
        "UPDATE client_certificates SET revoked_at = ?, reason = ?, revoked_under = ?"
        " WHERE serial = ? AND revoked_at IS NULL",
        [(instant_text(each.at), each.reason, last_number, each.serial) for each in entries],
    )


def _book(connection: sqlite3.Connection) -> tuple[int, datetime | None]:
    """Number and instant of the last list; no instant where it was not signed by this book."""
    row = connection.execute("SELECT last_number, signed_at FROM authority_book").fetchone()
    return row["last_number"], optional_instant(row["signed_at"])


def _last_number(connection: sqlite3.Connection) -> int:
    return _book(connection)[0]


def _stranger(entry: Revoked) -> ClientCertificate:
    return ClientCertificate(
        serial=entry.serial,
        name="",
        email=None,
        not_before=None,
        not_after=None,
        revoked_at=entry.at,
        reason=entry.reason,
    )


def read_row(row: sqlite3.Row) -> ClientCertificate:
    """The certificate of a row; raises ValueError where it is not as we write it."""
    return ClientCertificate(
        serial=row["serial"],
        name=row["name"],
        email=row["email"],
        not_before=optional_instant(row["not_before"]),
        not_after=optional_instant(row["not_after"]),
        purpose=ClientPurpose(row["purpose"]),
        is_signed=bool(row["is_signed"]),
        revoked_at=optional_instant(row["revoked_at"]),
        reason=RevocationReason(row["reason"]) if row["reason"] else None,
        supersede_at=optional_instant(row["supersede_at"]),
        seen_at=optional_instant(row["seen_at"]),
    )


def _entry(row: sqlite3.Row) -> Revoked:
    return Revoked(
        serial=row["serial"],
        at=datetime.fromisoformat(row["revoked_at"]),
        reason=RevocationReason(row["reason"]),
    )


def _rung(row: sqlite3.Row) -> Rung:
    return Rung(
        number=row["number"],
        at=datetime.fromisoformat(row["at"]),
        next_update=datetime.fromisoformat(row["next_update"]),
    )
