"""Taking certwarden out leaves what cannot be made again, unless that is wanted."""

import os
import pwd
import shutil
from pathlib import Path

import pytest

from certwarden.setup import account, remove
from certwarden.setup.install import Ground, InstallError
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


def a_user(uid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd(("certwarden", "x", uid, 9, "", str(STATE_DIRECTORY), "/bin/false"))


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


def test_the_socket_is_stopped_before_its_service(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a visitor would start it again; what was never installed is not asked for."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(Ground, "command", lambda _, *argv: asked.append(argv))
    remove.stop(ground)
    assert asked == []
    units = ("certwarden.service", "certwarden-invite.socket", "certwarden-invite.service")
    for unit in units:
        put(ground, UNITS_DIRECTORY / unit)
    remove.stop(ground)
    assert [argv[-1] for argv in asked] == [*units]


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


def test_the_sources_are_called_certwarden_as_well(ground: Ground) -> None:
    """Of a configuration that is kept there, no more goes than it and its secrets."""
    sources = Path("/home/pi/src/certwarden")
    configuration, token = sources / "config.toml", sources / "secrets/cloudflare.token"
    for path in (configuration, token, sources / ".git/HEAD"):
        put(ground, path)
    remove.purge(ground, remove.holdings(None, configuration), [])
    assert not ground.has(configuration)
    assert not ground.has(token)
    assert ground.has(sources / ".git/HEAD")


def test_a_link_is_no_directory_that_could_be_purged(ground: Ground) -> None:
    """What it leads to would stay, with the CA's key; and there is a word for it."""
    put(ground, Path("/mnt/ssd/ca.db"))
    state = ground.place(STATE_DIRECTORY)
    state.parent.mkdir(parents=True)
    remove.refuse_links(ground, [STATE_DIRECTORY])
    state.symlink_to(ground.place(Path("/mnt/ssd")))
    with pytest.raises(InstallError, match="is a symbolic link"):
        remove.refuse_links(ground, [STATE_DIRECTORY])
    with pytest.raises(InstallError, match=r"could not be removed: .*symbolic link"):
        remove.purge(ground, [STATE_DIRECTORY], [])
    assert ground.has(Path("/mnt/ssd/ca.db"))


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
    user = a_user(os.geteuid())
    monkeypatch.setattr(Ground, "command", lambda _, *argv: done.append(argv[0]))
    monkeypatch.setattr(account, "user", lambda: user)
    monkeypatch.setattr(account, "members", lambda _: ())
    backups = Path("/mnt/usb")
    put(ground, backups / "x")
    assert "/mnt/usb is left" in remove.dismiss(ground, [STATE_DIRECTORY, backups])
    assert "no configuration" in remove.dismiss(ground, None)
    assert done == []
    shutil.rmtree(ground.place(backups))
    assert remove.dismiss(ground, [STATE_DIRECTORY, backups]) == ""
    assert done == ["userdel"]


def test_a_directory_of_others_keeps_no_user(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a key is often put where another program has its own."""
    done: list[str] = []
    user = a_user(os.geteuid() + 1)
    monkeypatch.setattr(Ground, "command", lambda _, *argv: done.append(argv[0]))
    monkeypatch.setattr(account, "user", lambda: user)
    monkeypatch.setattr(account, "members", lambda _: ())
    theirs = Path("/etc/mosquitto/certs")
    put(ground, theirs / "ca.crt")
    assert remove.dismiss(ground, [theirs]) == ""
    assert done == ["userdel"]


def test_somebody_elses_user_stays(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person may be called certwarden."""
    person = pwd.struct_passwd(("certwarden", "x", 1000, 1000, "", "/home/certwarden", "/bin/sh"))
    monkeypatch.setattr(Ground, "command", lambda *_: pytest.fail("it is not ours"))
    monkeypatch.setattr(account, "user", lambda: person)
    assert "its home is /home/certwarden" in remove.dismiss(ground, [STATE_DIRECTORY])


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
