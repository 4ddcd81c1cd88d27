"""The mark, which is to be set where nothing else can be written any more."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certwarden.errors import StoreError
from certwarden.store.ledger import Ledger
from tests.builders import NOW


def test_the_mark_is_an_empty_file_among_the_locks(tmp_path: Path) -> None:
    """Its time needs no room on the disk, and nobody else may touch it."""
    watch = Ledger(tmp_path / "certwarden.db").watch
    watch.mark(NOW)
    mark = tmp_path / "locks" / "message"
    assert (mark.stat().st_size, mark.stat().st_mode & 0o777) == (0, 0o600)
    assert Ledger(tmp_path / "certwarden.db").watch.marked_at() == NOW


def test_a_mark_that_cannot_be_set_is_a_sentence(tmp_path: Path) -> None:
    """Such as on a file system that has turned read-only."""
    watch = Ledger(tmp_path / "certwarden.db").watch
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "message").symlink_to("elsewhere")
    with pytest.raises(StoreError, match="mark of the last message cannot be set"):
        watch.mark(NOW)


def test_a_mark_beyond_what_the_system_can_count_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 bits of seconds end in 2038; certificates do not."""

    def utime(*_: object) -> None:
        raise OverflowError

    monkeypatch.setattr("certwarden.store.watch.os.utime", utime)
    with pytest.raises(StoreError, match="so late"):
        Ledger(tmp_path / "certwarden.db").watch.mark(datetime(2038, 2, 1, tzinfo=UTC))


def test_dates_beyond_2038(tmp_path: Path) -> None:
    """Where the system can count them they are as good as any."""
    watch = Ledger(tmp_path / "certwarden.db").watch
    late = NOW + timedelta(days=20 * 365)
    watch.mark(late)
    assert watch.marked_at() == late
