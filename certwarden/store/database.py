"""The SQLite database of the state directory: opened, migrated, and its failures in sentences.

Owns the file, its mode and its migrations; the tables' meaning is the ledger's. One connection,
shared by the threads of a process under a lock; other processes take turns by SQLite's own.

A damaged database must not keep certificates from being renewed: when it is opened for writing and
SQLite finds it damaged, it is set aside, and a new one begun. Damage that only a later query meets
fails that query and leaves a mark, so that the next opening examines the whole file.
"""

import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from certwarden import files
from certwarden.errors import StoreError, clean
from certwarden.files import Content
from certwarden.ports import Level, Reporter
from certwarden.store.damage import set_aside
from certwarden.store.state import explained, private_directory

BUSY_SECONDS = 20

_MODE = 0o600
_READONLY = "make it writable, and run certwarden as its owner"
_HINTS = {
    "SQLITE_FULL": "free some space on its file system",
    "SQLITE_IOERR": "the storage fails: save what can be read, and replace the card or disk",
    "SQLITE_READONLY": _READONLY,
    "SQLITE_CANTOPEN": _READONLY,
    "SQLITE_PERM": _READONLY,
    "SQLITE_BUSY": "end the program that keeps it locked, and run again",
}
_DAMAGE = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
_FORGOTTEN = "history, back-off, TXT records that may be left, and revocations asked for"

Migration = Sequence[str]  # SQL statements, run in one transaction


class DamagedError(StoreError):
    """SQLite says that the file is not a database, or a malformed one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the database {path} is damaged: {reason}",
            "run `certwarden renew`: it sets the database aside; certificates stay",
        )


class Database:
    """A database at `path`, brought to the newest migration when it is first used.

    Without `create`, where there is no file or a damaged one, it is an empty one in memory: who
    only reads leaves no trace. The reporter is told once of a damaged one. All errors are
    StoreError, and Busy where another process does not finish setting the database aside.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration],
        *,
        create: bool,
        reporter: Reporter | None = None,
    ) -> None:
        self._path = path
        self._suspicion = path.with_name(f"{path.name}.suspect")
        self._migrations = migrations
        self._create = create
        self._reporter = reporter
        self._has_told = False
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's statements, or none; on the disk when the block ends."""
        with self._using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with _rolled_back_on_failure(connection):
                yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For statements that only read."""
        with self._using() as connection:
            yield connection

    def close(self) -> None:
        """Lets go of the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
                weakref.finalize(self, self._connection.close)
            try:
                with self._explained():
                    yield self._connection
            except StoreError as error:
                # The next use looks at the file anew: another process may have set it aside.
                self.close()
                if isinstance(error, DamagedError) and self._create:
                    with suppress(OSError):
                        files.write_file(self._suspicion, Content(b""))
                raise

    def _open(self) -> sqlite3.Connection:
        """A connection to what is there, if it is sound, else to an empty database."""
        try:
            return self._connect(self._place())
        except DamagedError as error:
            if self._create:
                return self._begin_afresh()
            self._tell(
                Level.WARNING,
                f"{error.what}; without it nothing is known of {_FORGOTTEN}",
                error.hint,
            )
            return self._connect(":memory:")

    def _begin_afresh(self) -> sqlite3.Connection:
        """Sets the damaged database aside, and makes a new one, unless somebody was quicker."""
        with explained(f"the damaged database {self._path} cannot be set aside"):
            lock = private_directory(self._path.parent, "locks") / "database"
            with files.lock(lock, "setting the damaged database aside", BUSY_SECONDS):
                try:
                    return self._connect(self._place())
                except DamagedError as error:
                    aside = set_aside(self._path)
                    self._suspicion.unlink(missing_ok=True)
                    self._tell(
                        Level.ERROR,
                        f"{error.what}; it was set aside as {aside.name}, and forgotten are "
                        f"{_FORGOTTEN}",
                        "ask again for revocations, look for old _acme-challenge records in the "
                        "zone, and if it happens again replace the card or disk",
                    )
                    return self._connect(self._place())

    def _tell(self, level: Level, text: str, hint: str) -> None:
        if self._reporter and not self._has_told:
            self._has_told = True
            self._reporter.event(level, self._path.name, text, hint)

    def _connect(self, place: str) -> sqlite3.Connection:
        with self._explained():
            connection = sqlite3.connect(
                place,
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.row_factory = sqlite3.Row
            connection.text_factory = _read_text
            try:
                # A rollback journal, synced at each commit: slower than WAL, whole after a power
                # cut.
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # reads the schema now
                self._examine(connection)
                self._migrate(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _examine(self, connection: sqlite3.Connection) -> None:
        """Looks at the whole database, if an earlier query has met damage."""
        if not self._suspicion.exists():
            return
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise DamagedError(self._path, clean(str(verdict)))
        if self._create:
            with suppress(OSError):
                self._suspicion.unlink()

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
            if primary in _DAMAGE:
                raise DamagedError(self._path, str(error)) from error
            raise StoreError(
                f"the database {self._path} cannot be used: {error}", _HINTS.get(primary, "")
            ) from error
        except (ValueError, IndexError) as error:  # IndexError: a row without that column
            raise StoreError(
                f"the database {self._path} holds what is not ours",
                "move it away and run again: certificates stay, history and back-off begin afresh",
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


def _read_text(data: bytes) -> str:
    """One damaged letter must not keep a whole row from being read."""
    return data.decode("utf-8", "replace")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
