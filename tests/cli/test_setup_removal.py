"""`certwarden setup --remove`: what it finds, what it refuses, and what it leaves for a person."""

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.cli import arguments, setup_removal
from certwarden.cli.commands import DONE, FAILED
from certwarden.errors import TargetError
from certwarden.model import TargetSpec
from certwarden.setup import account
from certwarden.setup.find import Machine, NodeRed
from certwarden.setup.install import Ground, InstallError
from certwarden.setup.outline import SERVICE, UNITS_DIRECTORY
from certwarden.setup.service import STATE_DIRECTORY
from certwarden.targets.node_red.settings import https_line
from tests.builders import a_target_spec
from tests.setup.configured import a_config

UNIT = UNITS_DIRECTORY / SERVICE
CA = STATE_DIRECTORY / "certwarden.db"


class House:
    """A machine that certwarden is set up on, with a Node-RED that no unit starts."""

    def __init__(self, directory: Path) -> None:
        self.settings = directory / "settings.js"
        self.ground = Ground(directory / "root")
        self.commands: list[str] = []
        for path in (UNIT, CA):
            self.put(path)

    def put(self, path: Path) -> None:
        self.ground.place(path).parent.mkdir(parents=True, exist_ok=True)
        self.ground.place(path).touch()

    def remove(self, *options: str) -> int:
        words = ("setup", "--unattended", "--remove", *options)
        return setup_removal.remove(arguments.parse(words))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """No program of the machine's is run; its user certwarden is whoever runs the tests."""
    house = House(tmp_path)
    machine = Machine((NodeRed(house.settings, "pi"),))
    home = str(STATE_DIRECTORY)
    user = pwd.struct_passwd(("certwarden", "x", os.geteuid(), 9, "", home, "/bin/false"))

    def propose_removal(*_: object, **__: object) -> None:
        raise TargetError("there is no node here", "name one")

    monkeypatch.setenv("CERTWARDEN_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(Ground, "command", lambda _, *argv: house.commands.append(argv[0]))
    monkeypatch.setattr(setup_removal, "Ground", lambda: house.ground)
    monkeypatch.setattr(setup_removal, "find", lambda _: machine)
    monkeypatch.setattr(setup_removal, "propose_removal", propose_removal)
    monkeypatch.setattr(account, "user", lambda: user)
    monkeypatch.setattr(account, "members", lambda _: ())
    monkeypatch.setattr(account, "gid_of", lambda _: None)
    return house


def configured(monkeypatch: pytest.MonkeyPatch, directory: Path, *targets: TargetSpec) -> None:
    config = a_config(directory, *targets)
    monkeypatch.setattr(setup_removal, "_existing", lambda _: config)


def test_purge_alone_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants to be rid of certwarden does not want it set up."""
    with pytest.raises(SystemExit) as ended:
        arguments.parse(["setup", "--purge"])
    assert ended.value.code == 2
    assert "without `--remove`" in capsys.readouterr().err
    assert arguments.parse(["setup", "--remove", "--purge"]).purge


def test_a_line_that_stays_keeps_what_it_reads(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """Node-RED would be without its key; a script is told by the exit code."""
    house.settings.write_text(f"module.exports = {{ {https_line(a_target_spec())} }};")
    assert house.remove("--purge") == FAILED
    said = capsys.readouterr().out
    assert f"{house.settings}: certwarden's line stays: there is no node here" in said
    assert f"(kept: {STATE_DIRECTORY})" in said
    assert house.ground.has(CA)
    assert not house.ground.has(UNIT)
    assert "userdel" not in house.commands
    assert house.remove() == FAILED


def test_a_node_red_without_our_line_is_left_out(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever else may be unusual about its settings.js."""
    house.settings.write_text("module.exports = make();\n" + "\n" * 6000)
    assert house.remove() == DONE
    assert "settings.js" not in capsys.readouterr().out
    assert house.remove() == DONE
    assert "There is nothing of certwarden's" in capsys.readouterr().out


def test_what_cannot_be_read_may_have_the_line(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is not the same as to say that it has it."""
    house.settings.mkdir()
    assert house.remove("--purge") == FAILED
    said = capsys.readouterr().out
    assert "it could not be looked at" in said
    assert "line stays" not in said
    assert house.ground.has(CA)


def test_a_state_behind_a_link_is_seen_before_anything_is_taken_out(house: House) -> None:
    """It could not be purged, and by then nothing would renew what is in use."""
    state = house.ground.place(STATE_DIRECTORY)
    state.rename(state.with_name("elsewhere"))
    state.symlink_to(state.with_name("elsewhere"))
    with pytest.raises(InstallError, match="is a symbolic link"):
        house.remove("--purge")
    assert house.ground.has(UNIT)
    assert house.remove() == DONE


def test_the_user_stays_with_what_a_target_has_elsewhere(
    house: House,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Private keys among it: whoever got the user's number next could read them."""
    configured(monkeypatch, tmp_path, replace(a_target_spec(), directory=Path("/srv/tls")))
    house.put(Path("/srv/tls/2/privkey.pem"))
    assert house.remove("--purge") == DONE
    assert "The user certwarden stays: /srv/tls is left" in capsys.readouterr().out
    assert not house.ground.has(CA)
    assert "userdel" not in house.commands


def test_the_user_goes_with_all_that_is_its(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not where no configuration tells what that is: at a second run, above all."""
    assert house.remove("--purge") == DONE
    assert "userdel" not in house.commands
    configured(monkeypatch, tmp_path, a_target_spec())
    assert house.remove("--purge") == DONE
    assert "userdel" in house.commands
