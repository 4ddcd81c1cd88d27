"""What was last found out about targets that ask for client certificates: the port Proofs.

On the ledger's database. Decides nothing: neither what a proof is, nor when to try again.
"""

import sqlite3
from datetime import datetime

from certwarden.model import Proof, ProofOutcome
from certwarden.store.database import Database
from certwarden.store.schema import instant_text, optional_instant, optional_text

PROOFS_KEPT = 1000


class ProofBook:
    """The last proof of each target. All methods raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def proofs(self) -> tuple[Proof, ...]:
        """The last one of each target, in the order in which they were saved."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM proofs ORDER BY id")
            return tuple(_proof(row) for row in rows)

    def save_proof(self, proof: Proof) -> None:
        """Saves it in place of the target's last one; of too many, those saved last are kept."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO proofs (target, crl_number, at, outcome, what, hint,"
                " since, failures, is_resumable) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    proof.target,
                    proof.crl_number,
                    instant_text(proof.at),
                    proof.outcome,
                    proof.what,
                    proof.hint,
                    optional_text(proof.since),
                    proof.failures,
                    proof.is_resumable,
                ),
            )
            connection.execute(
                "DELETE FROM proofs WHERE id <= ("
                "SELECT id FROM proofs ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (PROOFS_KEPT,),
            )

    def forget_proof(self, target: str) -> None:
        """Of that target nothing is known any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM proofs WHERE target = ?", (target,))


def _proof(row: sqlite3.Row) -> Proof:
    return Proof(
        target=row["target"],
        crl_number=row["crl_number"],
        at=datetime.fromisoformat(row["at"]),
        outcome=ProofOutcome(row["outcome"]),
        what=row["what"],
        hint=row["hint"],
        since=optional_instant(row["since"]),
        failures=row["failures"],
        is_resumable=bool(row["is_resumable"]),
    )
