"""A look at the whole database."""

from pathlib import Path

import pytest

from certwarden.errors import StoreError
from certwarden.store.inspection import check_database
from certwarden.store.ledger import Ledger
from tests.builders import NOW
from tests.fakes_store import RecordingReporter


def test_a_sound_database_is_seen_through(tmp_path: Path) -> None:
    """One that is not there yet is none, and is not made."""
    path = tmp_path / "certwarden.db"
    assert not check_database(path)
    assert not path.exists()
    ledger = Ledger(path, reporter=RecordingReporter())
    ledger.watch.set_floor(NOW)
    ledger.close()
    assert check_database(path)


@pytest.mark.parametrize("place", [0, 4096])
def test_damage_is_told_wherever_it_is(tmp_path: Path, place: int) -> None:
    """In the head, which every opening reads, and in a page that only some queries meet."""
    path = tmp_path / "certwarden.db"
    ledger = Ledger(path, reporter=RecordingReporter())
    ledger.watch.set_floor(NOW)
    ledger.close()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\x5a" * 2000)
    with pytest.raises(StoreError, match="damaged"):
        check_database(path)
