"""The database file: its migrations, and each way in which it can be unusable, in a sentence."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from certwarden.errors import StoreError
from certwarden.store import database as database_module
from certwarden.store.database import Database, Migration
from certwarden.store.ledger import MIGRATIONS, Ledger
from tests.builders import NOW, an_event

FIRST: Migration = ("CREATE TABLE one (x TEXT)", "INSERT INTO one VALUES ('kept')")
SECOND: Migration = ("ALTER TABLE one ADD COLUMN y TEXT NOT NULL DEFAULT 'new'",)
BROKEN: Migration = ("CREATE TABLE two (x TEXT)", "CREATE TABLE two (x TEXT)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "certwarden.db"


def rows(path: Path, migrations: Sequence[Migration]) -> list[tuple[str, ...]]:
    database = Database(path, migrations, create=True)
    try:
        with database.reading() as connection:
            return [tuple(row) for row in connection.execute("SELECT * FROM one")]
    finally:
        database.close()


def test_migrations_run_once_and_in_order(path: Path) -> None:
    """A database is brought to the newest version from wherever it stands; its rows stay."""
    assert rows(path, [FIRST]) == [("kept",)]
    assert rows(path, [FIRST, SECOND]) == [("kept", "new")]
    assert rows(path, [FIRST, SECOND]) == [("kept", "new")]


def test_a_broken_migration_changes_nothing(path: Path) -> None:
    """Migrations happen together or not at all."""
    rows(path, [FIRST])
    with pytest.raises(StoreError, match="cannot be used"):
        rows(path, [FIRST, SECOND, BROKEN])
    assert rows(path, [FIRST]) == [("kept",)]


def test_newer_database_is_refused(path: Path) -> None:
    """A database of a newer certwarden is left alone, and the sentence says so."""
    rows(path, [FIRST, SECOND])
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer certwarden .*its version is 2") as caught:
        rows(path, [FIRST])
    assert "install that certwarden" in caught.value.hint
    assert path.read_bytes() == before


def test_settings(path: Path) -> None:
    """Every commit is on the disk when it returns, by a rollback journal."""
    database = Database(path, MIGRATIONS, create=True)
    with database.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    database.close()


def test_failed_block_is_rolled_back(path: Path) -> None:
    """An error inside a transaction leaves nothing of it, and the database usable."""
    rows(path, [FIRST])
    database = Database(path, [FIRST], create=True)

    def work() -> None:
        with database.transaction() as connection:
            connection.execute("DELETE FROM one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    database.close()
    assert rows(path, [FIRST]) == [("kept",)]


def _garble(path: Path) -> None:
    path.write_bytes(b"this is not a database, but long enough to be taken for one" * 100)


def _garble_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = bytes(len(data) - 100)
    path.write_bytes(data)


def _garble_values(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET at = 'yesterday'")
    connection.commit()
    connection.close()


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_garble, _garble_pages, _garble_values, _replace_by_directory])
@pytest.mark.parametrize("read_only", [False, True])
def test_damage_is_a_sentence(
    damage: Callable[[Path], None], *, read_only: bool, path: Path
) -> None:
    """A damaged database is an error that names the file and says what to do."""
    ledger = Ledger(path)
    ledger.record(an_event())
    ledger.close()
    damage(path)
    ledger = Ledger(path, read_only=read_only)
    with pytest.raises(StoreError, match=str(path)) as caught:
        ledger.events(None, 9)
    assert caught.value.hint
    ledger.close()


def test_locked_by_another_program(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that somebody keeps locked is an error in the end, not a hang."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    ledger = Ledger(path)
    ledger.record(an_event())
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked") as caught:
        ledger.record(an_event())
    assert "end the program" in caught.value.hint
    other.rollback()
    other.close()
    ledger.record(an_event(at=NOW))
    assert len(ledger.events(None, 9)) == 2
    ledger.close()


def test_full_disk(path: Path) -> None:
    """A full disk is an error that says to free some space, and what was there stays."""
    ledger = Ledger(path)
    ledger.record(an_event(text="before"))
    with ledger._database.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
    with pytest.raises(StoreError, match="full") as caught:
        ledger.record(an_event(text="x" * 100_000))
    assert "free some space" in caught.value.hint
    assert ledger.events(None, 1000)[-1].text == "before"
    ledger.close()
