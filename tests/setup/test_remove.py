"""Taking certwarden out leaves what cannot be made again, unless that is wanted."""

from pathlib import Path

import pytest

from certwarden.setup import remove
from certwarden.setup.install import Ground
from certwarden.setup.outline import DROP_INS, SYSUSERS, UNITS_DIRECTORY
from tests.setup.configured import a_config


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A machine whose systemd is not asked."""
    monkeypatch.setattr(Ground, "command", lambda *_: None)
    return Ground(tmp_path)


def put(ground: Ground, path: Path) -> None:
    ground.place(path).parent.mkdir(parents=True, exist_ok=True)
    ground.place(path).touch()


def test_only_what_is_ours_is_taken(ground: Ground) -> None:
    """A drop-in of somebody else's, beside ours, stays with its directory."""
    theirs = DROP_INS[0].parent / "90-mine.conf"
    for path in (SYSUSERS, *DROP_INS[:2], theirs, UNITS_DIRECTORY / "nodered.service"):
        put(ground, path)
    files = remove.files(ground)
    assert set(files) == {SYSUSERS, *DROP_INS[:2]}
    remove.take_out(ground, files)
    assert remove.files(ground) == []
    assert ground.has(theirs)
    assert ground.has(UNITS_DIRECTORY / "nodered.service")
    assert not ground.has(DROP_INS[1].parent)


def test_directories_are_purged_only_by_our_name(ground: Ground, tmp_path: Path) -> None:
    """A configuration in somebody's home takes nothing of that home with it."""
    etc = Path("/etc/certwarden/config.toml")
    assert remove.holdings(None, etc) == [etc.parent]
    config = a_config(tmp_path)
    assert remove.holdings(config, Path("/home/pi/config.toml")) == [config.state_directory]
    put(ground, etc)
    remove.purge(ground, [etc.parent, Path("/var/lib/certwarden")])
    assert not ground.has(etc.parent)
