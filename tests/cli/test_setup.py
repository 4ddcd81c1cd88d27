"""`certwarden setup` up to the point where it would change something; the rest is end_to_end's."""

import argparse
import os
import sys
from pathlib import Path

import pytest

from certwarden.cli import arguments, main
from certwarden.cli import setup_answers as command
from certwarden.errors import TargetError, UsageError
from certwarden.model import Secret
from certwarden.setup.answers import Answers, FirstClient, Place
from certwarden.setup.configuration import House
from certwarden.setup.find import Machine, NodeRed
from tests.person import Person

PI = NodeRed(Path("/home/pi/.node-red/settings.js"), "pi", "nodered.service", is_active=True)
OTHER = NodeRed(Path("/srv/red/settings.js"), "red", "red.service", port=1881)


def parsed(*words: str) -> argparse.Namespace:
    return arguments.parse(["setup", *words])


def answered(tmp_path: Path, machine: Machine, *words: str) -> Answers:
    return command.answers_of(parsed(*words), machine, House.at(tmp_path / "config.toml"))


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
    (tmp_path / "ca.pem").touch()
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
        ca_bundle=tmp_path / "ca.pem",
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
