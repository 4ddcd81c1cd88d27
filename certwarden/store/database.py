"""The SQLite database of the state directory: opened, migrated, and its failures in sentences.

Owns the file, its mode and its migrations; the tables' meaning is the ledger's. One connection,
shared by the threads of a process under a lock; other processes take turns by SQLite's own. What
threads write at the same time is committed together: a card takes its time for every commit. Before
a migration a plain copy is kept beside the file, `….before-4` before the fourth; the last one only.

A damaged database must not keep certificates from being renewed: when it is opened for writing and
SQLite finds it damaged, it is set aside, and a new one begun. Damage that only a later query meets
fails that query and leaves a mark, so that the next opening examines the whole file.
"""

import os
import sqlite3
import stat
import threading
import weakref
from collections import deque
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
BATCH_PATIENCE = 0.1  # seconds

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
_FORGOTTEN = (
    "history, back-off, TXT records that may be left, revocations asked for, and the register of "
    "client certificates"
)

Migration = Sequence[str]  # SQL statements, run in one transaction


class DamagedError(StoreError):
    """SQLite says that the file is not a database, or a malformed one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the database {path} is damaged: {reason}",
            "run `certwarden renew`: it sets the database aside; certificates stay",
        )


class _UnopenedError(StoreError):
    """SQLite cannot open the file, be it for its mode or because it has just gone."""


class _Batch:
    """Transactions of several threads that are committed together, or fail together."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.error: StoreError | None = StoreError("the transaction was broken off")


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
        self._arrivals: deque[None] = deque()  # one for each thread that is about to join a batch
        self._batch: _Batch | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's statements, or none; on the disk when the block ends.

        Whoever leaves last commits for all. Blocks are not nested.
        """
        self._arrivals.append(None)
        try:
            self._lock.acquire()
        finally:
            self._arrivals.pop()
        try:
            with self._using() as connection:
                batch = self._join(connection)
                with _savepoint(connection):
                    yield connection
        finally:
            if not self._arrivals:
                self._commit()
            self._lock.release()
        self._wait(batch)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For statements that only read; they see what other threads are about to commit."""
        with self._using() as connection:
            yield connection

    def close(self) -> None:
        """Lets go of the file; the next use opens it again."""
        with self._lock:
            self._commit()
            self._disconnect()

    def _join(self, connection: sqlite3.Connection) -> _Batch:
        """The batch that is under way, or else a new one."""
        if self._batch is None:
            connection.execute("BEGIN IMMEDIATE")
            self._batch = _Batch()
        return self._batch

    def _commit(self, failure: StoreError | None = None) -> None:
        """Commits the batch, if one is under way; how that went is for its members to raise.

        `failure` is one of a member's, which may have ended the whole transaction.
        """
        batch, self._batch = self._batch, None
        if batch is None or self._connection is None:
            return
        try:
            if failure is not None and not self._connection.in_transaction:
                batch.error = failure
                return
            with self._explained(), _rolled_back_on_failure(self._connection):
                pass  # all that is left is to end it
            batch.error = None
        except StoreError as error:
            batch.error = error
            self._give_up(error)
        finally:
            batch.is_over.set()

    def _wait(self, batch: _Batch) -> None:
        # Whoever was to come and commit may have been interrupted on the way.
        while not batch.is_over.wait(BATCH_PATIENCE):
            with self._lock:
                if self._batch is batch:
                    self._commit()
        if batch.error is not None:
            raise batch.error

    def _give_up(self, error: StoreError) -> None:
        """Lets go of the file: another process may have set it aside, so it is looked at anew."""
        self._disconnect()
        if isinstance(error, DamagedError) and self._create:
            with suppress(OSError):
                files.write_file(self._suspicion, Content(b""))

    def _disconnect(self) -> None:
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
                self._commit(error)  # what others have written is not lost for this one's failure
                self._give_up(error)
                raise

    def _open(self) -> sqlite3.Connection:
        """A connection to what is there, if it is sound, else to an empty database."""
        try:
            try:
                return self._connect(self._place())
            except _UnopenedError:  # after we saw it another process may have set it aside
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
                        "zone, and if it happens again replace the card or disk; clients that were "
                        "revoked are taken over from the published list",
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
            elif self._create:
                with suppress(FileNotFoundError):  # it has gone since: see `_open`
                    if stat.S_IMODE(self._path.stat().st_mode) != _MODE:
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
            if 0 < version < newest:
                self._keep_copy(connection, newest)
            for migration in self._migrations[version:]:
                for statement in migration:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {newest}")

    def _keep_copy(self, connection: sqlite3.Connection, newest: int) -> None:
        """Keeps what is about to be migrated, in place of what was kept before an earlier one.

        Whoever calls holds SQLite's lock for writing. The file itself is not opened: see `_place`.
        """
        kept = self._path.with_name(f"{self._path.name}.before-{newest}")
        with explained(f"no copy of the database {self._path} can be kept before its migration"):
            for earlier in self._path.parent.iterdir():
                if earlier.name.startswith(f"{files.TEMPORARY_PREFIX}{self._path.name}.before-"):
                    earlier.unlink(missing_ok=True)  # a killed one's
            files.write_file(kept, Content(connection.serialize(), _MODE))
            for earlier in self._path.parent.iterdir():
                if earlier.name.startswith(f"{self._path.name}.before-") and earlier != kept:
                    earlier.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            primary = "_".join(name.split("_")[:2])
            if primary in _DAMAGE:
                raise DamagedError(self._path, str(error)) from error
            kind = _UnopenedError if primary == "SQLITE_CANTOPEN" else StoreError
            raise kind(
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


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block's statements, or none, within a transaction that others share."""
    connection.execute("SAVEPOINT block")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # some failures have ended the whole of it already
            connection.execute("ROLLBACK TO block")
            connection.execute("RELEASE block")
        raise
    connection.execute("RELEASE block")


def _read_text(data: bytes) -> str:
    """One damaged letter must not keep a whole row from being read."""
    return data.decode("utf-8", "replace")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
