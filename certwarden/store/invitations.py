"""The private CA's book of invitations: the port Invitations, on the ledger's database.

Beside the register, so that a token is burnt and its certificate entered in one transaction. Of a
token there is nothing here to redeem it by: a digest of its secret part only.
"""

import sqlite3
from datetime import datetime, timedelta

from certwarden.errors import StoreError
from certwarden.model import ClientCertificate, ClientPurpose, Enrolment, Invitation
from certwarden.store.database import Database
from certwarden.store.register import insert, mark_signed, read_row, supersede
from certwarden.store.schema import instant_text, optional_instant, optional_text

_WITHDRAW = (
    "UPDATE invitations SET withdrawn_at = ? WHERE redeemed_at IS NULL AND withdrawn_at IS NULL"
)


class InvitationBook:
    """Who was invited to a certificate, and what came of it. All methods raise StoreError.

    Whoever writes holds the lock on the authority.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, invitation: Invitation) -> None:
        """Writes it down; the client's earlier ones are withdrawn. A known id is refused.

        Those that are over are withdrawn as well: a clock that is put back must not revive them.
        """
        with self._database.transaction() as connection:
            known = _find(connection, invitation.id)
            if known is None:
                made_at = instant_text(invitation.made_at)
                connection.execute(f"{_WITHDRAW} AND name = ?", (made_at, invitation.name))
                _insert(connection, invitation)
        if known is not None:
            raise StoreError(
                f"there is an invitation {invitation.id} already",
                "try again: its name is random",
            )

    def find(self, invitation_id: str) -> Invitation | None:
        """The one that a token names, open or not."""
        with self._database.reading() as connection:
            return _find(connection, invitation_id)

    def open(self, now: datetime) -> tuple[Invitation, ...]:
        """Those that can be redeemed, the one that ends soonest first."""
        unused = self._select("redeemed_at IS NULL AND withdrawn_at IS NULL ORDER BY ends_at")
        return tuple(each for each in unused if each.is_open_at(now))

    def of(self, name: str) -> tuple[Invitation, ...]:
        """All of a client, newest first."""
        return self._select("name = ? ORDER BY number DESC", name)

    def miss(self, invitation_id: str) -> None:
        """One try less, if one was left."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE invitations SET tries_left = tries_left - 1"
                " WHERE id = ? AND tries_left > 0",
                (invitation_id,),
            )

    def redeem(
        self,
        invitation_id: str,
        now: datetime,
        certificate: ClientCertificate,
        pem: bytes,
        *,
        enrolment: Enrolment,
        supersede_at: datetime,
    ) -> None:
        """Burns the token and enters the signed certificate, in one transaction.

        `enrolment` is how it was really redeemed, whatever was expected. The client's other valid
        certificates are to be revoked at `supersede_at`, or earlier if that was said before. One
        that is not open at `now` is refused, and nothing is written.
        """
        with self._database.transaction() as connection:
            invitation = _find(connection, invitation_id)
            is_open = invitation is not None and invitation.is_open_at(now)
            if is_open:
                before = _valid_serials(connection, certificate.name, now)
                supersede(connection, before, supersede_at)
                insert(connection, [certificate])
                mark_signed(connection, {certificate.serial: pem})
                connection.execute(
                    "UPDATE invitations SET redeemed_at = ?, serial = ?, enrolment = ?"
                    " WHERE id = ?",
                    (instant_text(now), certificate.serial, enrolment, invitation_id),
                )
        if not is_open:
            raise StoreError(
                f"the invitation {invitation_id} is not open any more", "make another one"
            )

    def withdraw(self, invitation_id: str, at: datetime) -> None:
        """It cannot be redeemed any more; one that was redeemed stays as it is."""
        with self._database.transaction() as connection:
            connection.execute(f"{_WITHDRAW} AND id = ?", (instant_text(at), invitation_id))

    def withdraw_all(self, at: datetime) -> None:
        """None can be redeemed any more, whatever a clock says of their time."""
        with self._database.transaction() as connection:
            connection.execute(_WITHDRAW, (instant_text(at),))

    def forget(self, before: datetime) -> None:
        """Those that ended before that instant and were never redeemed are of no interest."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM invitations WHERE redeemed_at IS NULL AND ends_at < ?",
                (instant_text(before),),
            )

    def _select(self, condition: str, *values: str) -> tuple[Invitation, ...]:
        query = f"SELECT * FROM invitations WHERE {condition}"  # noqa: S608 - ours
        with self._database.reading() as connection:
            return tuple(_invitation(row) for row in connection.execute(query, values))


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────


def _find(connection: sqlite3.Connection, invitation_id: str) -> Invitation | None:
    row = connection.execute("SELECT * FROM invitations WHERE id = ?", (invitation_id,)).fetchone()
    return _invitation(row) if row else None


def _valid_serials(connection: sqlite3.Connection, name: str, now: datetime) -> list[str]:
    rows = connection.execute(
        "SELECT * FROM client_certificates WHERE purpose = ? AND name = ?",
        (ClientPurpose.CLIENT, name),
    )
    return [each.serial for each in map(read_row, rows) if each.is_valid_at(now)]


def _insert(connection: sqlite3.Connection, invitation: Invitation) -> None:
    lifetime = invitation.lifetime
    connection.execute(
        "INSERT INTO invitations (id, digest, name, email, lifetime, enrolment, made_at, ends_at,"
        " tries_left, redeemed_at, serial, withdrawn_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            invitation.id,
            invitation.digest,
            invitation.name,
            invitation.email,
            None if lifetime is None else int(lifetime.total_seconds()),
            invitation.enrolment,
            instant_text(invitation.made_at),
            instant_text(invitation.ends_at),
            invitation.tries_left,
            optional_text(invitation.redeemed_at),
            invitation.serial,
            optional_text(invitation.withdrawn_at),
        ),
    )


def _invitation(row: sqlite3.Row) -> Invitation:
    lifetime = row["lifetime"]
    return Invitation(
        id=row["id"],
        digest=row["digest"],
        name=row["name"],
        email=row["email"],
        lifetime=None if lifetime is None else timedelta(seconds=lifetime),
        enrolment=Enrolment(row["enrolment"]),
        made_at=datetime.fromisoformat(row["made_at"]),
        ends_at=datetime.fromisoformat(row["ends_at"]),
        tries_left=row["tries_left"],
        redeemed_at=optional_instant(row["redeemed_at"]),
        serial=row["serial"],
        withdrawn_at=optional_instant(row["withdrawn_at"]),
    )
