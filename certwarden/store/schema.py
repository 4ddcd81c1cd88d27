"""The tables of the database, migration by migration, and how an instant stands in them.

What the rows mean is for the ledger and its books to say. A migration that has been released is
never changed: a new one is added.
"""

from datetime import UTC, datetime

from certwarden.store.database import Migration

MIGRATIONS: tuple[Migration, ...] = (
    (
        "CREATE TABLE installation (instance TEXT NOT NULL)",
        """
        CREATE TABLE attempts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            certificate TEXT NOT NULL,
            directory_url TEXT NOT NULL,
            domains TEXT NOT NULL,
            begun_at TEXT NOT NULL,
            outcome TEXT NOT NULL,
            ended_at TEXT,
            what TEXT NOT NULL DEFAULT '',
            hint TEXT NOT NULL DEFAULT '',
            permanent INTEGER NOT NULL DEFAULT 0,
            retry_after REAL
        )
        """,
        "CREATE INDEX attempts_of_certificate ON attempts (certificate, id)",
        """
        CREATE TABLE txt_records (
            record_name TEXT NOT NULL,
            value TEXT NOT NULL,
            comment TEXT NOT NULL,
            challenge_name TEXT NOT NULL,
            zone_id TEXT NOT NULL,
            zone_name TEXT NOT NULL,
            record_id TEXT NOT NULL,
            intended_at TEXT NOT NULL,
            PRIMARY KEY (record_name, value, comment)
        )
        """,
        """
        CREATE TABLE revocations (
            certificate TEXT NOT NULL,
            version INTEGER NOT NULL,
            fingerprint TEXT NOT NULL,
            reason TEXT NOT NULL,
            requested_at TEXT NOT NULL,
            is_revoked INTEGER NOT NULL,
            PRIMARY KEY (certificate, fingerprint)
        )
        """,
        """
        CREATE TABLE deploys (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            target TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            begun_at TEXT NOT NULL,
            was_active INTEGER,
            served_before TEXT,
            outcome TEXT NOT NULL,
            ended_at TEXT,
            what TEXT NOT NULL DEFAULT '',
            hint TEXT NOT NULL DEFAULT ''
        )
        """,
        "CREATE INDEX deploys_of_target ON deploys (target, id)",
        """
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,
            kind TEXT NOT NULL,
            certificate TEXT,
            target TEXT,
            text TEXT NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE attempts ADD COLUMN cause TEXT",
        "ALTER TABLE attempts ADD COLUMN setup TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE attempts ADD COLUMN evidence TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE attempts ADD COLUMN looked_at TEXT",
        "UPDATE attempts SET cause = 'configuration', looked_at = ended_at WHERE permanent = 1",
        "ALTER TABLE attempts DROP COLUMN permanent",
        """
        CREATE TABLE authorizations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            directory_url TEXT NOT NULL,
            order_url TEXT NOT NULL,
            name TEXT NOT NULL,
            times INTEGER NOT NULL,
            at TEXT NOT NULL,
            UNIQUE (order_url, name)
        )
        """,
        "CREATE INDEX authorizations_of_name ON authorizations (directory_url, name)",
        """
        CREATE TABLE issuances (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            directory_url TEXT NOT NULL,
            order_url TEXT NOT NULL UNIQUE,
            domains TEXT NOT NULL,
            at TEXT NOT NULL
        )
        """,
        "CREATE INDEX issuances_of_domains ON issuances (directory_url, domains)",
        """
        CREATE TABLE renewal_infos (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            fingerprint TEXT NOT NULL UNIQUE,
            window_start TEXT,
            window_end TEXT,
            explanation_url TEXT NOT NULL,
            asked_at TEXT NOT NULL,
            ask_again_at TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE clock_floor (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            at TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE token_check (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            at TEXT NOT NULL,
            setup TEXT NOT NULL,
            expires_at TEXT,
            what TEXT NOT NULL,
            hint TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE told (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            since TEXT NOT NULL,
            told_at TEXT NOT NULL,
            text TEXT NOT NULL
        )
        """,
    ),
    (
        """
        CREATE TABLE setbacks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            setup TEXT NOT NULL,
            since TEXT NOT NULL,
            at TEXT NOT NULL,
            again_at TEXT NOT NULL,
            failures INTEGER NOT NULL,
            what TEXT NOT NULL,
            hint TEXT NOT NULL,
            is_permanent INTEGER NOT NULL
        )
        """,
    ),
    (
        """
        CREATE TABLE client_certificates (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            serial TEXT NOT NULL UNIQUE,
            purpose TEXT NOT NULL,
            name TEXT NOT NULL,
            email TEXT,
            not_before TEXT,
            not_after TEXT,
            is_signed INTEGER NOT NULL,
            revoked_at TEXT,
            reason TEXT,
            revoked_under INTEGER,
            supersede_at TEXT,
            pem BLOB
        )
        """,
        "CREATE INDEX certificates_of_client ON client_certificates (name, id)",
        """
        CREATE INDEX revocations_of_clients
            ON client_certificates (revoked_at, serial, reason, not_after, revoked_under)
            WHERE revoked_at IS NOT NULL
        """,
        """
        CREATE TABLE authority_book (
            only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
            last_number INTEGER NOT NULL,
            signed_at TEXT,
            backed_up_at TEXT
        )
        """,
        "INSERT INTO authority_book (only_row, last_number) VALUES (1, 0)",
        """
        CREATE TABLE ladder (
            number INTEGER PRIMARY KEY,
            at TEXT NOT NULL,
            next_update TEXT NOT NULL,
            pem BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE proofs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            target TEXT NOT NULL UNIQUE,
            crl_number INTEGER NOT NULL,
            at TEXT NOT NULL,
            outcome TEXT NOT NULL,
            what TEXT NOT NULL,
            hint TEXT NOT NULL,
            since TEXT,
            failures INTEGER NOT NULL,
            is_resumable INTEGER NOT NULL
        )
        """,
        "ALTER TABLE deploys ADD COLUMN crl_number INTEGER",
    ),
    (
        "ALTER TABLE client_certificates ADD COLUMN seen_at TEXT",
        """
        CREATE TABLE invitations (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            digest TEXT NOT NULL,
            name TEXT NOT NULL,
            email TEXT,
            lifetime INTEGER,
            enrolment TEXT NOT NULL,
            made_at TEXT NOT NULL,
            ends_at TEXT NOT NULL,
            tries_left INTEGER NOT NULL,
            redeemed_at TEXT,
            serial TEXT UNIQUE,
            withdrawn_at TEXT
        )
        """,
        "CREATE INDEX invitations_of_client ON invitations (name, number)",
        "ALTER TABLE authority_book ADD COLUMN watched_since TEXT",
    ),
)


def instant_text(instant: datetime) -> str:
    """The instant in UTC, to the microsecond."""
    return instant.astimezone(UTC).isoformat()


def optional_text(instant: datetime | None) -> str | None:
    """The same; NULL where there is none."""
    return instant_text(instant) if instant else None


def optional_instant(text: str | None) -> datetime | None:
    """The instant; None where none was written. Raises ValueError."""
    return datetime.fromisoformat(text) if text else None
