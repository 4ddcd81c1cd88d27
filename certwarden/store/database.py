"""The SQLite database of the state directory: opened, migrated, and its failures in sentences.

Owns the file, its mode and its migrations; the tables' meaning is the ledger's. One connection,
shared by the threads of a process under a lock; other processes take turns by SQLite's own.
"""

import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from certwarden.errors import StoreError
from certwarden.store.state import explained, private_directory

BUSY_SECONDS = 20

_MODE = 0o600
_DAMAGED = "move it away and run again: certificates stay, history and back-off begin afresh"
_HINTS = {
    "SQLITE_FULL": "free some space on its file system",
    "SQLITE_IOERR": "the storage fails: save what can be read, and replace the card or disk",
    "SQLITE_READONLY": "make it writable, and run certwarden as its owner",
    "SQLITE_CANTOPEN": "make it writable, and run certwarden as its owner",
    "SQLITE_PERM": "make it writable, and run certwarden as its owner",
    "SQLITE_BUSY": "end the program that keeps it locked, and run again",
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
}

Migration = Sequence[str]  # SQL statements, run in one transaction


class Database:
    """A database at `path`, brought to the newest migration when it is first used.

    Without `create`, where there is no file, it is an empty one in memory: who only reads leaves no
    trace. All errors are StoreError.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration], *, create: bool) -> None:
        self._path = path
        self._migrations = migrations
        self._create = create
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's statements, or none; on the disk when the block ends."""
        with self._lock, self._explained():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            with _rolled_back_on_failure(connection):
                yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For statements that only read."""
        with self._lock, self._explained():
            yield self._open()

    def close(self) -> None:
        """Lets go of the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        connection = sqlite3.connect(
            self._place(),
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        try:
            # A rollback journal, synced at each commit: slower than WAL, whole after a power cut.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        weakref.finalize(self, connection.close)
        self._connection = connection
        return connection

    def _place(self) -> str:
        """Where to connect to, as a URI; makes an empty file first, so that it is never wider."""
        with explained(f"the database {self._path} cannot be opened"):
            if not self._path.exists():
                if not self._create:
                    return ":memory:"
                private_directory(self._path.parent)
                # Made here once and never opened here again: closing a second descriptor of the
                # file would take away the locks that SQLite holds on it in this process.
                with suppress(FileExistsError):
                    os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE))
            elif stat.S_IMODE(self._path.stat().st_mode) != _MODE and self._create:
                self._path.chmod(_MODE)
        return f"{self._path.absolute().as_uri()}?mode=rw"

    def _migrate(self, connection: sqlite3.Connection) -> None:
        newest = len(self._migrations)
        if _version(connection) == newest:
            return
        connection.execute("BEGIN IMMEDIATE")
        with _rolled_back_on_failure(connection):
            version = _version(connection)  # looked at again: somebody may have been quicker
            if version > newest:
                raise StoreError(
                    f"the database {self._path} was written by a newer certwarden "
                    f"(its version is {version}, known are those up to {newest})",
                    "install that certwarden again, or restore a backup from before it",
                )
            for migration in self._migrations[version:]:
                for statement in migration:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {newest}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            primary = "_".join(name.split("_")[:2])
            raise StoreError(
                f"the database {self._path} cannot be used: {error}", _HINTS.get(primary, "")
            ) from error
        except ValueError as error:
            raise StoreError(
                f"the database {self._path} holds what is not ours", _DAMAGED
            ) from error


@contextmanager
def _rolled_back_on_failure(connection: sqlite3.Connection) -> Iterator[None]:
    """Ends a transaction that has begun."""
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
