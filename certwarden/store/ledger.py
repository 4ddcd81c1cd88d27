"""The ledger: attempts, TXT records that may exist, revocations asked for, deploys, and history.

What is about to be done is written down before it is done, so that whoever comes after a power cut
knows of it. Implements the ports Attempts, TxtJournal, Revocations, Deploys and History on one
database, and shares that with the books beside it: what was spent of a CA's limits, what CAs said
about renewals, the watch over clock, token and what was told, the private CA's register and its
invitations, and the proofs of who is let in. What is kept is bounded by count, never by age: a
wrong clock must not make it forget; the register forgets nothing.
"""

import json
import secrets
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from certwarden.errors import Error
from certwarden.model import (
    Attempt,
    AttemptOutcome,
    Cause,
    DeployOutcome,
    DeployRecord,
    Event,
    PendingRevocation,
    Place,
    RevocationReason,
    TxtRecord,
)
from certwarden.ports import Reporter
from certwarden.store.archive import RegisterArchive
from certwarden.store.database import Database
from certwarden.store.invitations import InvitationBook
from certwarden.store.proofs import ProofBook
from certwarden.store.register import Register
from certwarden.store.schema import MIGRATIONS, instant_text, optional_instant
from certwarden.store.spending import SpendingBook
from certwarden.store.watch import SuggestionBook, WatchBook

ATTEMPTS_KEPT = 1000  # of each certificate
DEPLOYS_KEPT = 200  # of each target
EVENTS_KEPT = 10_000


class Ledger:
    """The ledger at `path`. Safe for threads; every write is on the disk when it returns.

    Its books `limits`, `suggestions`, `watch`, `register`, `invitations` and `proofs` are the ports
    of those names.

    `read_only` is for commands that change nothing: where there is no ledger yet, none is made.
    A damaged one counts as none, and the reporter is told; who writes sets it aside. All methods
    raise StoreError.
    """

    def __init__(
        self, path: Path, *, reporter: Reporter | None = None, read_only: bool = False
    ) -> None:
        self._database = Database(path, MIGRATIONS, create=not read_only, reporter=reporter)
        self.limits = SpendingBook(self._database)
        self.suggestions = SuggestionBook(self._database)
        self.watch = WatchBook(self._database, path.parent)
        self.register = Register(self._database)
        self.invitations = InvitationBook(self._database)
        self.proofs = ProofBook(self._database)
        self.archive = RegisterArchive(self._database)

    def close(self) -> None:
        """Lets go of the database; the next call opens it again."""
        self._database.close()

    # ── attempts ──────────────────────────────────────────────────────────────────────────────────

    def begin_attempt(
        self,
        certificate: str,
        directory_url: str,
        domains: Sequence[str],
        at: datetime,
        setup: str = "",
    ) -> int:
        """Writes down that an attempt begins, and with what configuration; its number."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM attempts WHERE certificate = :certificate AND id <= ("
                "SELECT id FROM attempts WHERE certificate = :certificate"
                " ORDER BY id DESC LIMIT 1 OFFSET :kept)",
                {"certificate": certificate, "kept": ATTEMPTS_KEPT - 1},
            )
            return _inserted(
                connection.execute(
                    "INSERT INTO attempts (certificate, directory_url, domains, begun_at, outcome,"
                    " setup) VALUES (:certificate, :directory_url, :domains, :begun_at, :outcome,"
                    " :setup)",
                    {
                        "certificate": certificate,
                        "directory_url": directory_url,
                        "domains": json.dumps(list(domains)),
                        "begun_at": instant_text(at),
                        "outcome": AttemptOutcome.BEGUN,
                        "setup": setup,
                    },
                )
            )

    def move_attempt(self, attempt: int, directory_url: str) -> None:
        """Writes down that it goes on at this directory: staging, for proof, or back from there."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET directory_url = ? WHERE id = ?", (directory_url, attempt)
            )

    def end_attempt(
        self,
        attempt: int,
        at: datetime,
        error: Error | None,
        cause: Cause | None = None,
        evidence: str = "",
    ) -> None:
        """Writes down how it ended: well without an error.

        `cause` and `evidence` are those of a permanent error, just looked at.
        """
        wait = error.retry_after if error else None
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET outcome = :outcome, ended_at = :ended_at, what = :what,"
                " hint = :hint, cause = :cause, evidence = :evidence, looked_at = :looked_at,"
                " retry_after = :retry_after WHERE id = :id",
                {
                    "id": attempt,
                    "outcome": AttemptOutcome.FAILED if error else AttemptOutcome.OBTAINED,
                    "ended_at": instant_text(at),
                    "what": error.what if error else "",
                    "hint": error.hint if error else "",
                    "cause": cause,
                    "evidence": evidence,
                    "looked_at": instant_text(at) if cause else None,
                    "retry_after": None if wait is None else wait.total_seconds(),
                },
            )

    def note_look(self, attempt: int, at: datetime) -> None:
        """Writes down that its error's cause was looked at again, and is still there."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET looked_at = ? WHERE id = ?", (instant_text(at), attempt)
            )

    def failures(self, certificate: str) -> tuple[Attempt, ...]:
        """Attempts since the last success, newest first: those that failed and those cut short.

        One that is under way cannot be told from one cut short, and stands here as well: as begun.
        """
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM attempts WHERE certificate = :certificate"
                " AND id > coalesce((SELECT max(id) FROM attempts"
                " WHERE certificate = :certificate AND outcome = :obtained), 0) ORDER BY id DESC",
                {"certificate": certificate, "obtained": AttemptOutcome.OBTAINED},
            )
            return tuple(_attempt(row) for row in rows)

    def attempts(self, certificate: str, limit: int) -> tuple[Attempt, ...]:
        """The last attempts, newest first, however they ended and those cut short included."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM attempts WHERE certificate = ? ORDER BY id DESC LIMIT ?",
                (certificate, min(limit, ATTEMPTS_KEPT)),
            )
            return tuple(_attempt(row) for row in rows)

    # ── TXT records ───────────────────────────────────────────────────────────────────────────────

    def instance(self) -> str:
        """The random id of this installation: 8 hexadecimal digits, made once."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT instance FROM installation").fetchone()
        if row:
            return str(row[0])
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO installation (instance)"
                " SELECT ? WHERE NOT EXISTS (SELECT 1 FROM installation)",
                (secrets.token_hex(4),),
            )
            row = connection.execute("SELECT instance FROM installation").fetchone()
            return str(row[0])

    def intend(self, records: Sequence[TxtRecord], at: datetime) -> None:
        """Writes down that the records may exist; once more with their ids, when they are known."""
        if not records:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO txt_records (record_name, value, comment, challenge_name,"
                " zone_id, zone_name, record_id, intended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        record.place.record_name,
                        record.value,
                        record.comment,
                        record.place.challenge_name,
                        record.place.zone_id,
                        record.place.zone_name,
                        record.record_id,
                        instant_text(at),
                    )
                    for record in records
                ],
            )

    def removed(self, records: Sequence[TxtRecord]) -> None:
        """Writes down that the records are gone, whatever is known of their ids."""
        if not records:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM txt_records WHERE record_name = ? AND value = ? AND comment = ?",
                [(each.place.record_name, each.value, each.comment) for each in records],
            )

    def leftovers(self) -> tuple[TxtRecord, ...]:
        """The records that may still exist, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM txt_records ORDER BY rowid")
            return tuple(_txt_record(row) for row in rows)

    # ── revocations ───────────────────────────────────────────────────────────────────────────────

    def request_revocation(self, revocation: PendingRevocation) -> None:
        """Writes down what is to be revoked; what was asked last for a leaf counts."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO revocations (certificate, version, fingerprint, reason, requested_at,"
                " is_revoked) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " reason = excluded.reason, is_revoked = max(is_revoked, excluded.is_revoked)",
                (
                    revocation.certificate,
                    revocation.version,
                    revocation.fingerprint,
                    revocation.reason,
                    instant_text(revocation.requested_at),
                    revocation.is_revoked,
                ),
            )

    def pending_revocations(self, certificate: str) -> tuple[PendingRevocation, ...]:
        """What is to be revoked or replaced and is not yet, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM revocations WHERE certificate = ? ORDER BY rowid", (certificate,)
            )
            return tuple(_pending_revocation(row) for row in rows)

    def settle_revocation(self, revocation: PendingRevocation) -> None:
        """Writes down that it is done."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM revocations WHERE certificate = ? AND fingerprint = ?",
                (revocation.certificate, revocation.fingerprint),
            )

    # ── deploys ───────────────────────────────────────────────────────────────────────────────────

    def begin_deploy(
        self,
        target: str,
        fingerprint: str,
        at: datetime,
        *,
        was_active: bool | None,
        served_before: str | None,
        crl_number: int | None = None,
    ) -> int:
        """Writes down that a deploy begins, and what was found before it; its number."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM deploys WHERE target = :target AND id <= ("
                "SELECT id FROM deploys WHERE target = :target"
                " ORDER BY id DESC LIMIT 1 OFFSET :kept)",
                {"target": target, "kept": DEPLOYS_KEPT - 1},
            )
            return _inserted(
                connection.execute(
                    "INSERT INTO deploys (target, fingerprint, begun_at, was_active,"
                    " served_before, outcome, crl_number) VALUES (:target, :fingerprint,"
                    " :begun_at, :was_active, :served_before, :outcome, :crl_number)",
                    {
                        "target": target,
                        "fingerprint": fingerprint,
                        "begun_at": instant_text(at),
                        "was_active": was_active,
                        "served_before": served_before,
                        "outcome": DeployOutcome.BEGUN,
                        "crl_number": crl_number,
                    },
                )
            )

    def end_deploy(
        self, deploy: int, outcome: DeployOutcome, at: datetime, error: Error | None
    ) -> None:
        """Writes down how it ended."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE deploys SET outcome = :outcome, ended_at = :ended_at, what = :what,"
                " hint = :hint WHERE id = :id",
                {
                    "id": deploy,
                    "outcome": outcome,
                    "ended_at": instant_text(at),
                    "what": error.what if error else "",
                    "hint": error.hint if error else "",
                },
            )

    def last_deploy(self, target: str) -> DeployRecord | None:
        """The target's last deploy, one cut short included."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT * FROM deploys WHERE target = ? ORDER BY id DESC LIMIT 1", (target,)
            ).fetchone()
            return _deploy(row) if row else None

    def repeated_deploys(self, target: str) -> tuple[DeployRecord, ...]:
        """Deploys of the last leaf and list that failed or succeeded, newest first, in a row.

        One that was cut short, or at which nobody answered, neither counts nor ends the row.
        """
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM deploys WHERE target = :target"
                " AND outcome IN (:failed, :in_use, :installed) AND id > ("
                "SELECT coalesce(max(each.id), 0) FROM deploys AS each WHERE target = :target AND"
                " (fingerprint, crl_number) IS NOT (SELECT fingerprint, crl_number FROM"
                " deploys WHERE target = :target ORDER BY id DESC LIMIT 1)) ORDER BY id DESC",
                {
                    "target": target,
                    "failed": DeployOutcome.FAILED,
                    "in_use": DeployOutcome.IN_USE,
                    "installed": DeployOutcome.INSTALLED,
                },
            )
            return tuple(_deploy(row) for row in rows)

    # ── history ───────────────────────────────────────────────────────────────────────────────────

    def record(self, event: Event) -> None:
        """Adds a line to the history."""
        with self._database.transaction() as connection:
            number = _inserted(
                connection.execute(
                    "INSERT INTO events (at, kind, certificate, target, text)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (
                        instant_text(event.at),
                        event.kind,
                        event.certificate,
                        event.target,
                        event.text,
                    ),
                )
            )
            connection.execute("DELETE FROM events WHERE id <= ?", (number - EVENTS_KEPT,))

    def events(self, name: str | None, limit: int) -> tuple[Event, ...]:
        """The last lines, newest first: of a certificate or target, or all."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM events WHERE :name IS NULL OR certificate = :name OR target = :name"
                " ORDER BY id DESC LIMIT :limit",
                {"name": name, "limit": min(limit, EVENTS_KEPT)},
            )
            return tuple(_event(row) for row in rows)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────


def _attempt(row: sqlite3.Row) -> Attempt:
    return Attempt(
        id=row["id"],
        certificate=row["certificate"],
        directory_url=row["directory_url"],
        domains=tuple(json.loads(row["domains"])),
        begun_at=datetime.fromisoformat(row["begun_at"]),
        outcome=AttemptOutcome(row["outcome"]),
        ended_at=optional_instant(row["ended_at"]),
        what=row["what"],
        hint=row["hint"],
        cause=Cause(row["cause"]) if row["cause"] else None,
        retry_after=None if row["retry_after"] is None else timedelta(seconds=row["retry_after"]),
        setup=row["setup"],
        evidence=row["evidence"],
        looked_at=optional_instant(row["looked_at"]),
    )


def _txt_record(row: sqlite3.Row) -> TxtRecord:
    return TxtRecord(
        place=Place(
            challenge_name=row["challenge_name"],
            record_name=row["record_name"],
            zone_id=row["zone_id"],
            zone_name=row["zone_name"],
        ),
        value=row["value"],
        comment=row["comment"],
        record_id=row["record_id"],
    )


def _pending_revocation(row: sqlite3.Row) -> PendingRevocation:
    return PendingRevocation(
        certificate=row["certificate"],
        version=row["version"],
        fingerprint=row["fingerprint"],
        reason=RevocationReason(row["reason"]),
        requested_at=datetime.fromisoformat(row["requested_at"]),
        is_revoked=bool(row["is_revoked"]),
    )


def _deploy(row: sqlite3.Row) -> DeployRecord:
    return DeployRecord(
        id=row["id"],
        target=row["target"],
        fingerprint=row["fingerprint"],
        begun_at=datetime.fromisoformat(row["begun_at"]),
        was_active=None if row["was_active"] is None else bool(row["was_active"]),
        served_before=row["served_before"],
        outcome=DeployOutcome(row["outcome"]),
        what=row["what"],
        hint=row["hint"],
        ended_at=optional_instant(row["ended_at"]),
        crl_number=row["crl_number"],
    )


def _event(row: sqlite3.Row) -> Event:
    return Event(
        at=datetime.fromisoformat(row["at"]),
        kind=row["kind"],
        certificate=row["certificate"],
        target=row["target"],
        text=row["text"],
    )


def _inserted(cursor: sqlite3.Cursor) -> int:
    return cursor.lastrowid or 0
