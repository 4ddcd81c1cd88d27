"""The database file: its migrations, and each way in which it can be unusable, in a sentence."""

import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from certwarden import files
from certwarden.errors import StoreError
from certwarden.ports import Level
from certwarden.store import database as database_module
from certwarden.store.damage import set_aside
from certwarden.store.database import DamagedError, Database, Migration
from certwarden.store.ledger import Ledger
from certwarden.store.schema import MIGRATIONS
from tests import crash
from tests.builders import NOW, an_event
from tests.fakes_store import RecordingReporter
from tests.waiting import wait_until

FIRST: Migration = ("CREATE TABLE one (x TEXT)", "INSERT INTO one VALUES ('kept')")
SECOND: Migration = ("ALTER TABLE one ADD COLUMN y TEXT NOT NULL DEFAULT 'new'",)
BROKEN: Migration = ("CREATE TABLE two (x TEXT)", "CREATE TABLE two (x TEXT)")

Work = Callable[[sqlite3.Connection], None]


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


# ── copies before a migration ─────────────────────────────────────────────────────────────────────


def copy_of(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.before-{version}")


def test_a_migration_keeps_a_copy(path: Path) -> None:
    """What a migration finds is kept beside it, for us alone, and is a whole database."""
    rows(path, [FIRST])
    assert _names(path) == {path.name}
    rows(path, [FIRST, SECOND])
    assert _names(path) == {path.name, copy_of(path, 2).name}
    assert stat.S_IMODE(copy_of(path, 2).stat().st_mode) == 0o600
    assert rows(copy_of(path, 2), [FIRST]) == [("kept",)]


def test_only_the_last_copy_is_kept(path: Path) -> None:
    """A migration's copy takes the place of the one before, and of what a killed one left."""
    rows(path, [FIRST])
    path.with_name(f"{files.TEMPORARY_PREFIX}{path.name}.before-2-1").write_bytes(b"")
    for count in (2, 3):
        rows(path, [FIRST, SECOND, ("CREATE TABLE three (x TEXT)",)][:count])
    assert _names(path) == {path.name, copy_of(path, 3).name}
    assert rows(copy_of(path, 3), [FIRST, SECOND]) == [("kept", "new")]


def test_without_a_copy_nothing_is_migrated(path: Path) -> None:
    """A copy that cannot be kept is an error that says so, and the database stays as it is."""
    rows(path, [FIRST])
    copy_of(path, 2).mkdir()
    with pytest.raises(StoreError, match="no copy of the database"):
        rows(path, [FIRST, SECOND])
    assert rows(path, [FIRST]) == [("kept",)]


def test_killed_while_migrating(tmp_path: Path) -> None:
    """The copy is there whole or not at all; the next opening migrates, and nothing is lost."""

    def begin(step: int) -> crash.Work:
        path = tmp_path / f"{step}" / "certwarden.db"
        path.parent.mkdir()
        rows(path, [FIRST])
        return partial(rows, path, [FIRST, SECOND])

    for step in crash.killed_at_each_step(begin):
        path = tmp_path / f"{step}" / "certwarden.db"
        if copy_of(path, 2).exists():
            assert rows(copy_of(path, 2), [FIRST]) == [("kept",)]
        assert rows(path, [FIRST, SECOND]) == [("kept", "new")]
        assert _names(path) == {path.name, copy_of(path, 2).name}


def test_locks_outlive_the_copy(path: Path) -> None:
    """Whoever copies keeps SQLite's lock while it migrates: nobody writes in between."""
    rows(path, [FIRST])
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    database = Database(path, [FIRST, SECOND], create=True)
    kept, tried = database._keep_copy, []

    def keep_copy(connection: sqlite3.Connection, newest: int) -> None:
        kept(connection, newest)
        with pytest.raises(sqlite3.OperationalError, match="locked") as refused:
            other.execute("BEGIN IMMEDIATE")
        tried.append(refused.value)

    database._keep_copy = keep_copy  # type: ignore[method-assign]
    with database.reading():
        pass
    database.close()
    other.close()
    assert tried


# ── threads ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shared(path: Path) -> Iterator[Database]:
    """A database with an empty table, for several threads."""
    database = Database(path, [FIRST], create=True)
    with database.transaction() as connection:
        connection.execute("DELETE FROM one")
    yield database
    database.close()


def _together(database: Database, works: Sequence[Work]) -> list[BaseException | None]:
    """Has each work done in a transaction of its own, all of them at the same time; their errors.

    The first one enters while the others wait at the door.
    """

    def member(work: Work) -> None:
        with database.transaction() as connection:
            others = expected.pop()
            wait_until(lambda: len(database._arrivals) == others)
            work(connection)

    expected = list(range(len(works)))
    with ThreadPoolExecutor(len(works)) as pool:
        return [each.exception() for each in [pool.submit(member, work) for work in works]]


def _insert(value: str) -> Work:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO one VALUES (?)", (value,))

    return work


def _fail(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO one VALUES ('never')")
    raise ZeroDivisionError


def test_threads_share_a_commit(shared: Database, path: Path) -> None:
    """What is written at the same time costs the card one commit, and is there for all of them."""
    statements: list[str] = []
    with shared.reading() as connection:
        connection.set_trace_callback(statements.append)
    assert _together(shared, [_insert(f"{each}") for each in range(9)]) == [None] * 9
    assert statements.count("COMMIT") == 1
    assert len(rows(path, [FIRST])) == 9


def test_one_that_fails_takes_no_other_with_it(shared: Database, path: Path) -> None:
    """A block that fails leaves nothing of its own; those that share its commit are not hurt."""
    failures = _together(shared, [_insert("a"), _fail, _insert("b"), _fail])
    assert sum(isinstance(each, ZeroDivisionError) for each in failures) == 2
    assert failures.count(None) == 2
    assert sorted(rows(path, [FIRST])) == [("a",), ("b",)]


def test_a_commit_that_fails_is_told_to_all(
    shared: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes for written what could not be committed; the next transaction succeeds."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    shared.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM one").fetchall()
    failures = _together(shared, [_insert(f"{each}") for each in range(5)])
    assert [type(each) for each in failures] == [StoreError] * 5
    assert "locked" in str(failures[0])
    other.execute("COMMIT")
    other.close()
    with shared.transaction() as connection:
        connection.execute("INSERT INTO one VALUES ('after')")
    assert rows(path, [FIRST]) == [("after",)]


def test_a_failure_that_ends_the_whole_transaction_is_told_to_all(
    shared: Database, path: Path
) -> None:
    """Where the disk undoes what others have written before, they are told why as well."""
    members = []

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO one VALUES ('lost')")
        members.append(connection)
        if len(members) == 3:
            connection.execute("ROLLBACK")  # as SQLite does by itself after some errors
            raise sqlite3.OperationalError("disk I/O error")

    failures = _together(shared, [work] * 3)
    assert [type(each) for each in failures] == [StoreError] * 3
    assert all("disk I/O error" in str(each) for each in failures)
    assert rows(path, [FIRST]) == []


def test_one_that_never_comes_holds_up_nobody(shared: Database, path: Path) -> None:
    """A thread that is broken off at the door leaves its batch to those who wait for it."""
    shared._arrivals.append(None)
    with shared.transaction() as connection:
        connection.execute("INSERT INTO one VALUES ('kept')")
    assert rows(path, [FIRST]) == [("kept",)]


# ── damage ────────────────────────────────────────────────────────────────────────────────────────


def _garble(path: Path) -> None:
    path.write_bytes(b"this is not a database, but long enough to be taken for one" * 100)


def _garble_schema(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = bytes(len(data) - 100)
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _garble_later_pages(path: Path) -> None:
    """What is only found when a table is read: the schema stays whole."""
    data = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    pages = [each[0] for each in connection.execute("SELECT rootpage FROM sqlite_master")]
    connection.close()
    for page in pages:
        data[(page - 1) * size : page * size] = bytes(size)
    path.write_bytes(data)


def _garble_values(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET at = 'yesterday'")
    connection.commit()
    connection.close()


def _rename_column(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE events RENAME COLUMN at TO it")
    connection.commit()
    connection.close()


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()


@pytest.fixture
def used(path: Path) -> Path:
    """A database that holds something."""
    ledger = Ledger(path)
    ledger.record(an_event(text="before"))
    ledger.close()
    return path


FOUND_AT_OPENING = (_garble, _garble_schema, _truncate)


@pytest.mark.parametrize("damage", FOUND_AT_OPENING)
def test_damaged_is_set_aside(
    damage: Callable[[Path], None], used: Path, reporter: RecordingReporter
) -> None:
    """A damaged database does not stop who writes: it is kept aside, and a person is told once."""
    damage(used)
    damaged = used.read_bytes()
    ledger = Ledger(used, reporter=reporter)
    assert ledger.events(None, 9) == ()
    ledger.record(an_event(text="after"))
    ledger.close()
    assert [each.text for each in ledger.events(None, 9)] == ["after"]
    ledger.close()
    assert used.with_name("certwarden.db.damaged").read_bytes() == damaged
    assert stat.S_IMODE(used.stat().st_mode) == 0o600
    (told,) = reporter.told
    assert (told.level, told.subject) == (Level.ERROR, "certwarden.db")
    assert "set aside as certwarden.db.damaged" in told.text
    assert "revocations" in told.text
    assert "register of client certificates" in told.text
    assert "taken over from the published list" in told.hint
    assert "_acme-challenge" in told.hint


@pytest.mark.parametrize("damage", FOUND_AT_OPENING)
def test_damaged_counts_as_none_for_who_reads(
    damage: Callable[[Path], None], used: Path, reporter: RecordingReporter
) -> None:
    """Who only reads finds an empty ledger, is told so once, and touches nothing."""
    damage(used)
    before = {each: each.read_bytes() for each in used.parent.iterdir()}
    ledger = Ledger(used, reporter=reporter, read_only=True)
    for _ in range(2):
        assert ledger.events(None, 9) == ()
        ledger.close()
    assert {each: each.read_bytes() for each in used.parent.iterdir()} == before
    (told,) = reporter.told
    assert told.level is Level.WARNING
    assert "nothing is known of history" in told.text
    assert "certwarden renew" in told.hint


def test_damage_found_later(used: Path, reporter: RecordingReporter) -> None:
    """Damage that a query meets fails that query; the next opening finds it and begins afresh."""
    _garble_later_pages(used)
    ledger = Ledger(used, reporter=reporter)
    with pytest.raises(DamagedError, match=str(used)) as caught:
        ledger.events(None, 9)
    assert caught.value.hint
    assert reporter.told == []
    other = Ledger(used, reporter=reporter)
    assert other.instance() == other.instance()
    other.record(an_event(text="after"))
    other.close()
    assert [each.text for each in ledger.events(None, 9)] == ["after"]
    ledger.close()
    assert reporter.texts(Level.WARNING) == []
    assert len(reporter.told) == 1
    assert _names(used) == {"certwarden.db", "certwarden.db.damaged", "locks"}


def test_damage_found_later_by_who_reads(used: Path) -> None:
    """Who only reads leaves no mark of the damage that a query met."""
    _garble_later_pages(used)
    ledger = Ledger(used, read_only=True)
    for _ in range(2):
        with pytest.raises(DamagedError, match="malformed"):
            ledger.events(None, 9)
    ledger.close()
    assert _names(used) == {"certwarden.db"}


def test_unfounded_suspicion(used: Path, reporter: RecordingReporter) -> None:
    """A database that turns out whole when it is examined stays, and is not examined again."""
    mark = used.with_name("certwarden.db.suspect")
    mark.write_bytes(b"")
    for read_only in (True, False):
        ledger = Ledger(used, reporter=reporter, read_only=read_only)
        assert [each.text for each in ledger.events(None, 9)] == ["before"]
        ledger.close()
        assert mark.exists() == read_only
    assert reporter.told == []


def test_two_find_the_damage(used: Path) -> None:
    """Several processes that find the damage at once set it aside once, and share the new one."""
    _garble(used)
    go = used.with_name("locks")

    def work() -> None:
        wait_until(go.exists)
        mine = Ledger(used)
        mine.record(an_event(text=mine.instance()))

    with ThreadPoolExecutor(4) as pool:
        children = [pool.submit(crash.in_child, work) for _ in range(4)]
        go.mkdir()
        assert [child.result() for child in children] == [0] * 4
    ledger = Ledger(used)
    texts = [event.text for event in ledger.events(None, 9)]
    ledger.close()
    assert len(texts) == 4
    assert len(set(texts)) == 1
    assert _names(used) == {"certwarden.db", "certwarden.db.damaged", "locks"}


def test_set_aside_while_it_is_opened(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes the file away after it was seen: then the new one is opened."""
    used.with_name("locks").mkdir()
    place, taken = Database._place, used.with_name("taken")

    def then_taken(database: Database) -> str:
        uri = place(database)
        if not taken.exists():
            used.rename(taken)
        return uri

    monkeypatch.setattr(Database, "_place", then_taken)
    ledger = Ledger(used)
    assert ledger.instance()
    ledger.close()
    assert used.exists()


def test_damaged_while_another_writes(used: Path, reporter: RecordingReporter) -> None:
    """A database that another process is writing to is not taken away from under it."""
    _garble_later_pages(used)
    used.with_name("certwarden.db.suspect").write_bytes(b"")

    def work() -> None:
        mine = Ledger(used, reporter=reporter)
        with pytest.raises(StoreError, match="cannot be set aside"):
            mine.instance()

    other = sqlite3.connect(used)
    other.execute("BEGIN IMMEDIATE")
    assert crash.in_child(work) == 0
    other.rollback()
    other.close()
    assert _names(used) == {"certwarden.db", "certwarden.db.suspect", "locks"}
    ledger = Ledger(used)
    assert ledger.events(None, 9) == ()
    ledger.close()


def test_set_aside_by_another(used: Path) -> None:
    """Who has the database open while another sets it aside goes on with the new one."""
    used.with_name("locks").mkdir()
    ledger = Ledger(used)
    ledger.instance()

    def work() -> None:
        set_aside(used)
        Ledger(used).record(an_event(text="new"))

    assert crash.in_child(work) == 0
    with pytest.raises(StoreError, match="cannot be used"):
        ledger.record(an_event(text="lost"))
    ledger.record(an_event(text="after"))
    assert [each.text for each in ledger.events(None, 9)] == ["after", "new"]
    ledger.close()


def test_killed_while_setting_aside(tmp_path: Path) -> None:
    """Whenever it is killed, the damaged database is kept, and the next opening succeeds."""
    damaged = b"damaged" * 100

    def begin(step: int) -> crash.Work:
        path = tmp_path / f"{step}" / "certwarden.db"
        path.parent.mkdir()
        path.write_bytes(damaged)
        path.with_name("certwarden.db.suspect").write_bytes(b"")
        return Ledger(path).instance

    for step in crash.killed_at_each_step(begin):
        path = tmp_path / f"{step}" / "certwarden.db"
        ledger = Ledger(path)
        assert ledger.instance() == ledger.instance()
        ledger.close()
        assert _names(path) - {"certwarden.db.suspect"} == {
            "certwarden.db",
            "certwarden.db.damaged",
            "locks",
        }
        assert path.with_name("certwarden.db.damaged").read_bytes() == damaged


@pytest.mark.parametrize("damage", [_garble_values, _rename_column, _replace_by_directory])
@pytest.mark.parametrize("read_only", [False, True])
def test_other_damage_is_a_sentence(
    damage: Callable[[Path], None], *, read_only: bool, used: Path
) -> None:
    """What is no damage to SQLite is an error that names the file and says what to do."""
    damage(used)
    ledger = Ledger(used, read_only=read_only)
    for _ in range(2):
        with pytest.raises(StoreError, match=str(used)) as caught:
            ledger.events(None, 9)
        assert caught.value.hint
    ledger.close()
    assert not list(used.parent.glob("*.damaged*"))


def test_a_damaged_letter(used: Path) -> None:
    """A text with a byte that is no UTF-8 is read all the same."""
    connection = sqlite3.connect(used)
    connection.execute("UPDATE events SET text = CAST(x'62ff' AS TEXT)")
    connection.commit()
    connection.close()
    ledger = Ledger(used)
    assert [each.text for each in ledger.events(None, 9)] == ["b\N{REPLACEMENT CHARACTER}"]
    ledger.close()


def _names(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


# ── other failures ────────────────────────────────────────────────────────────────────────────────


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
