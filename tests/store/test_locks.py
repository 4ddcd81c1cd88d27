"""Locks on files: who waits is told for whom, and a lock that cannot be made is a sentence."""

import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from certwarden.clock import SystemClock
from certwarden.errors import Busy, StoreError
from certwarden.ports import Level
from certwarden.store.locks import PATIENCE, FileLocks
from tests.fakes_store import RecordingReporter, Told
from tests.waiting import wait_until


def test_waiting_is_told(tmp_path: Path) -> None:
    """Who has to wait tells a person for whom and how long, then gives up naming the same."""
    reporter = RecordingReporter()
    holder = FileLocks(tmp_path, RecordingReporter(), "renew home")
    waiter = FileLocks(tmp_path, reporter, "renew", timedelta(seconds=0.2))
    with (
        holder.orders(),
        pytest.raises(Busy, match=r"held by process \d+, renew home"),
        waiter.orders(),
    ):
        pass
    (told,) = reporter.told
    assert told.level is Level.INFO
    assert told.subject == "orders"
    assert told == Told(told.level, told.subject, told.text)
    assert told.text.startswith("waiting up to 0 s for process")
    assert told.text.endswith("renew home")


def test_who_only_tries_tells_nobody(tmp_path: Path) -> None:
    """There is no waiting to be told, whatever the patience."""
    reporter = RecordingReporter()
    holder = FileLocks(tmp_path, RecordingReporter(), "renew home")
    trier = FileLocks(tmp_path, reporter, "renew")
    with holder.orders(), pytest.raises(Busy, match="renew home"), trier.try_orders():
        pass
    assert reporter.told == []


def test_a_signal_ends_the_wait_of_threads(tmp_path: Path) -> None:
    """SIGTERM is not heard a minute later: the clock tells those that wait for a lock as well."""
    clock, reporter = SystemClock(), RecordingReporter()
    holder = FileLocks(tmp_path, RecordingReporter(), "renew home")
    waiter = FileLocks(tmp_path, reporter, "renew", sleep=clock.sleep)
    ended: list[str] = []

    def wait(name: str) -> None:
        try:
            with waiter.target(name):
                ended.append("held")
        except KeyboardInterrupt:
            ended.append("interrupted")

    threads = [threading.Thread(target=wait, args=("nginx",), daemon=True) for _ in range(2)]
    with holder.target("nginx"):
        for thread in threads:
            thread.start()
        wait_until(lambda: len(reporter.told) == 2, "both to wait")
        clock.interrupt()
        for thread in threads:
            thread.join(PATIENCE.total_seconds() / 2)
        assert ended == ["interrupted"] * 2


def test_patience_is_a_minute() -> None:
    """Waiting ends after 60 s, as the design says."""
    assert timedelta(seconds=60) == PATIENCE


def test_files(tmp_path: Path) -> None:
    """The locks are files of ours alone, where the design says."""
    locks = FileLocks(tmp_path / "state", RecordingReporter(), "renew")
    with locks.orders(), locks.authority(), locks.target("node-red"):
        pass
    directory = tmp_path / "state" / "locks"
    assert {entry.name for entry in directory.iterdir()} == {
        "orders",
        "authority",
        "target-node-red",
    }
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_errors_of_the_block_are_its_own(tmp_path: Path) -> None:
    """An OSError of what is done under the lock is not taken for one of the lock's."""
    locks = FileLocks(tmp_path, RecordingReporter(), "renew")
    with pytest.raises(FileNotFoundError), locks.orders():
        (tmp_path / "absent").read_bytes()


def test_lock_that_cannot_be_made(tmp_path: Path) -> None:
    """A file in place of the directory of locks is an error that says what to do."""
    (tmp_path / "locks").write_bytes(b"")
    locks = FileLocks(tmp_path, RecordingReporter(), "renew")
    with pytest.raises(StoreError, match="lock orders cannot be taken") as caught, locks.orders():
        pass
    assert "move it away" in caught.value.hint
