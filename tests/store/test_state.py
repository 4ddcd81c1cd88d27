"""The state directory: which directory is taken for one, and which is left alone."""

import stat
from pathlib import Path

import pytest

from certwarden.errors import StoreError
from certwarden.store.state import ENTRIES, private_directory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    return state


def test_others_directory_is_left_alone(state: Path) -> None:
    """A directory of somebody else's, named by a slip of the pen, keeps its mode and content."""
    (state / "photos").mkdir()
    (state / "lost+found").mkdir()
    with pytest.raises(StoreError, match="holds other things") as caught:
        private_directory(state, "locks")
    assert str(state) in caught.value.what
    assert "`state_directory`" in caught.value.hint
    assert stat.S_IMODE(state.stat().st_mode) == 0o755
    assert {each.name for each in state.iterdir()} == {"photos", "lost+found"}


@pytest.mark.parametrize("there", ["", "lost+found", *sorted(ENTRIES)])
def test_empty_or_ours(state: Path, there: str) -> None:
    """A directory that is empty, a fresh file system's root, or has been ours, is taken."""
    (state / there).mkdir(exist_ok=True)
    if there in ENTRIES:
        (state / "notes.txt").write_bytes(b"")
    assert private_directory(state, "locks") == state / "locks"
    assert stat.S_IMODE(state.stat().st_mode) == 0o711


def test_absent_is_made(tmp_path: Path) -> None:
    """A directory that is not there is made."""
    assert private_directory(tmp_path / "new" / "state", "locks").is_dir()


@pytest.mark.parametrize("below", ["", "state"])
def test_file_in_its_place(tmp_path: Path, below: str) -> None:
    """A file where the state directory or its parent should be is an error that says so."""
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(StoreError, match="is not a directory") as caught:
        private_directory(tmp_path / "file" / below, "locks")
    assert caught.value.hint
    assert (tmp_path / "file").read_bytes() == b"kept"
