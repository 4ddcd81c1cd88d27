"""The list of changes: complete, told in words, and free of secrets."""

from dataclasses import replace
from pathlib import Path

from certwarden.model import Secret, UnitReload, UnitVerb
from certwarden.setup.answers import Answers, Place
from certwarden.setup.configuration import House
from certwarden.setup.find import NodeRed
from certwarden.setup.outline import (
    RULE,
    SOCKET_DROP_IN,
    SYSUSERS,
    Change,
    Command,
    WriteFile,
    first_configuration,
    fittings,
    readers,
    units,
    users,
)
from tests.builders import a_target_spec
from tests.setup.configured import a_config, inviting

PROGRAM = Path("/opt/pipx/venvs/certwarden/bin/certwarden")
HOUSE = House.at(Path("/etc/certwarden/config.toml"))


def texts(changes: list[Change]) -> dict[str, str]:
    return {
        str(change.act.path): change.act.data.decode()
        for change in changes
        if isinstance(change.act, WriteFile)
    }


def test_users_are_made_with_the_groups_of_keys() -> None:
    """certwarden is in each group, and so is whoever reads there; root is in none."""
    pi = NodeRed(Path("/home/pi/.node-red/settings.js"), "pi")
    text = texts(users(["tls"], [(pi.user, "tls")]))[str(SYSUSERS)]
    assert text.splitlines()[-3:] == ["g tls -", "m certwarden tls", "m pi tls"]
    assert "\ng " not in texts(users([], []))[str(SYSUSERS)]


def test_node_red_reads_its_own_key_and_no_other(tmp_path: Path) -> None:
    """The key of another program is none of its business; root needs no group."""
    pi = NodeRed(Path("/home/pi/.node-red/settings.js"), "pi")
    own = replace(a_target_spec(), settings=pi.settings, group="tls-nodered")
    others = [
        replace(a_target_spec(name="mosquitto"), group="tls-mosquitto"),
        replace(own, name="red", settings=Path("/srv/red/settings.js"), group="tls-red"),
    ]
    config = a_config(tmp_path, own, *others)
    assert readers(pi, config) == [("pi", "tls-nodered")]
    assert readers(replace(pi, user="root"), config) == []
    assert readers(None, config) == []
    assert readers(pi, a_config(tmp_path, replace(own, group=None), *others)) == []


def test_units_run_the_program_that_is_installed() -> None:
    """Wherever pipx has put it; nothing is left of where they come from."""
    written = texts(units(PROGRAM))
    assert len(written) == 6
    for path, text in written.items():
        assert "/opt/certwarden" not in text
        assert (f"ExecStart={PROGRAM} " in text) is path.endswith(".service")


def test_secrets_are_in_files_of_their_own_and_never_shown() -> None:
    """Root's, readable to certwarden's group; not in the configuration, not in a repr."""
    answers = Answers(
        domains=("example.org",),
        place=Place.NONE,
        token=Secret(b"token-of-mine"),
        notify_urls=Secret(b"ntfy://mine"),
        backup_directory=Path("/mnt/usb/certwarden"),
        backup_passphrase=Secret(b"passphrase-of-mine"),
    )
    changes = first_configuration(answers, HOUSE)
    told = repr(changes) + "".join(change.what + change.place for change in changes)
    for secret in ("token-of-mine", "ntfy://mine", "passphrase-of-mine"):
        assert secret not in told
        holders = [path for path, text in texts(changes).items() if secret in text]
        assert len(holders) == 1
        assert Path(holders[0]).parent == HOUSE.secrets
    for change in changes:
        if isinstance(change.act, WriteFile) and change.act.path.parent == HOUSE.secrets:
            assert (change.act.mode, change.act.group) == (0o640, "certwarden")
    assert changes[-1].place == str(HOUSE.config_file)  # what it names is there before it


def test_the_rule_is_there_only_where_something_is_asked_of_systemd(tmp_path: Path) -> None:
    """A Node-RED that reloads hot needs none, and so no polkit."""
    hot = fittings(a_config(tmp_path, a_target_spec()))
    restarting = a_target_spec(reload=UnitReload("nodered.service", UnitVerb.RESTART))
    assert str(RULE) not in texts(hot)
    assert "nodered.service" in texts(fittings(a_config(tmp_path, restarting)))[str(RULE)]
    assert isinstance(hot[-1].act, Command)


def test_who_invites_gets_a_socket_and_its_rule(tmp_path: Path) -> None:
    """Also where no program is restarted; elsewhere the unit is there, and listens nowhere."""
    config = a_config(tmp_path, a_target_spec())
    written = texts(fittings(inviting(config)))
    assert "ListenStream=192.0.2.10:8443" in written[str(SOCKET_DROP_IN)]
    assert "start certwarden-invite.socket" in written[str(RULE)]
    assert not {str(SOCKET_DROP_IN), str(RULE)} & texts(fittings(config)).keys()


def test_every_file_is_told() -> None:
    """Only commands, which make true what a file says, go without a word."""
    changes = [*users(["tls"], []), *units(PROGRAM)]
    for change in changes:
        assert bool(change.what) is not isinstance(change.act, Command)
