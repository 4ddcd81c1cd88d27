"""Setting a damaged database aside: under which names, with its journal, whenever it is killed."""

import fcntl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certwarden.store import damage
from certwarden.store.damage import KEPT, set_aside
from tests import crash
from tests.waiting import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "certwarden.db"


def contents(path: Path) -> dict[str, bytes]:
    return {each.name.removeprefix(path.name): each.read_bytes() for each in path.parent.iterdir()}


def test_journal_goes_along(path: Path) -> None:
    """The journal keeps belonging to its database, and is not taken for the next one's."""
    path.write_bytes(b"first")
    path.with_name("certwarden.db-journal").write_bytes(b"journal")
    assert set_aside(path) == path.with_name("certwarden.db.damaged")
    path.write_bytes(b"second")
    assert set_aside(path) == path.with_name("certwarden.db.damaged-2")
    assert contents(path) == {
        ".damaged": b"first",
        ".damaged-journal": b"journal",
        ".damaged-2": b"second",
    }


def test_few_are_kept(path: Path) -> None:
    """The first ones and the last are kept: a dying card is not filled with them."""
    for number in range(KEPT + 2):
        path.write_bytes(b"%d" % number)
        if number == KEPT - 1:
            path.with_name("certwarden.db-journal").write_bytes(b"goes with its database")
        set_aside(path)
    assert contents(path) == {".damaged": b"0", ".damaged-2": b"1", ".damaged-3": b"4"}


def test_in_use(path: Path) -> None:
    """While another process holds SQLite's locks on it, it stays where it is."""

    def work() -> None:
        with pytest.raises(BlockingIOError):
            set_aside(path)

    path.write_bytes(b"damaged")
    with path.open("r+b") as other:
        fcntl.lockf(other, fcntl.LOCK_SH, 510, 0x40000002)
        assert crash.in_child(work) == 0
    assert contents(path) == {"": b"damaged"}


def test_a_glance_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that only finds it damaged as well does not keep it from being set aside."""
    monkeypatch.setattr(damage, "GLANCE_SECONDS", 30)
    waits = path.with_name("waits")

    def work() -> None:
        monkeypatch.setattr(time, "sleep", lambda _: waits.touch())
        set_aside(path)

    path.write_bytes(b"damaged")
    with ThreadPoolExecutor(1) as pool, path.open("r+b") as other:
        fcntl.lockf(other, fcntl.LOCK_SH, 510, 0x40000002)
        child = pool.submit(crash.in_child, work)
        wait_until(waits.exists)
        fcntl.lockf(other, fcntl.LOCK_UN)
        assert child.result() == 0
    assert contents(path) == {".damaged": b"damaged", "waits": b""}


def test_killed_at_each_step(tmp_path: Path) -> None:
    """Neither the database nor its journal is lost, and the journal is never left by itself."""

    def begin(step: int) -> crash.Work:
        path = tmp_path / f"{step}" / "certwarden.db"
        path.parent.mkdir()
        path.write_bytes(b"damaged")
        path.with_name("certwarden.db-journal").write_bytes(b"journal")
        return lambda: set_aside(path)

    for step in crash.killed_at_each_step(begin):
        path = tmp_path / f"{step}" / "certwarden.db"
        left = contents(path)
        assert sorted(left.values()) == [b"damaged", b"journal"]
        assert "" in left or "-journal" not in left
