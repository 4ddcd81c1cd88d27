"""Taking certwarden out leaves what cannot be made again, unless that is wanted."""

import pwd
from pathlib import Path

import pytest

from certwarden.setup import account, remove
from certwarden.setup.install import Ground
from certwarden.setup.outline import DROP_INS, SYSUSERS, UNITS_DIRECTORY
from certwarden.setup.service import STATE_DIRECTORY


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


def test_directories_are_purged_only_by_our_name(ground: Ground) -> None:
    """A configuration in somebody's home takes nothing of that home with it."""
    etc = Path("/etc/certwarden/config.toml")
    assert remove.holdings(None, etc) == [STATE_DIRECTORY, etc.parent]
    mine, theirs = Path("/srv/certwarden"), Path("/srv/tls")
    home = Path("/home/pi/config.toml")
    assert remove.holdings(mine, home) == [STATE_DIRECTORY, mine]
    assert remove.holdings(theirs, home) == [STATE_DIRECTORY]
    put(ground, etc)
    remove.purge(ground, [etc.parent, Path("/var/lib/certwarden")], [])
    assert not ground.has(etc.parent)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("nonsense = 1", STATE_DIRECTORY),
        ('state_directory = "/srv/tls"\nnonsense = 1', Path("/srv/tls")),
        ("state_directory = 5", None),
        ("[", None),
    ],
)
def test_a_broken_configuration_still_says_where_the_state_is(
    text: str, state: Path | None
) -> None:
    """Or --purge would leave the CA, and say that it is gone."""
    assert remove.state_of(text.encode()) == state


def test_the_user_stays_while_something_belongs_to_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next user that is made would get its number, and the CA with it."""
    done: list[str] = []
    user = pwd.struct_passwd(("certwarden", "x", 9, 9, "", "/var/lib/certwarden", "/bin/false"))
    monkeypatch.setattr(Ground, "command", lambda _, *argv: done.append(argv[0]))
    monkeypatch.setattr(account, "user", lambda: user)
    monkeypatch.setattr(account, "members", lambda _: ())
    state = Path("/srv/tls")
    put(ground, state / "x")
    assert str(state) in remove.dismiss(ground, state)
    assert "does not say" in remove.dismiss(ground, None)
    assert done == []
    assert remove.dismiss(ground, STATE_DIRECTORY) == ""
    assert done == ["userdel"]


def test_somebody_elses_user_stays(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person may be called certwarden."""
    person = pwd.struct_passwd(("certwarden", "x", 1000, 1000, "", "/home/certwarden", "/bin/sh"))
    monkeypatch.setattr(Ground, "command", lambda *_: pytest.fail("it is not ours"))
    monkeypatch.setattr(account, "user", lambda: person)
    assert "its home is /home/certwarden" in remove.dismiss(ground, STATE_DIRECTORY)


def test_only_the_group_that_was_made_for_keys_goes(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a person has named may be anybody's."""
    monkeypatch.setattr(account, "gid_of", lambda _: 996)
    assert remove.groups(ground) == []
    put(ground, SYSUSERS)
    ground.place(SYSUSERS).write_text("g ssl-cert -\n")
    assert remove.groups(ground) == []
    ground.place(SYSUSERS).write_text("g ssl-cert -\ng tls-nodered -\n")
    assert remove.groups(ground) == ["tls-nodered"]
