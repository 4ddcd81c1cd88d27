"""`nodered inspect` and `nodered apply`, as they are typed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from certwarden.targets.shelf import GenerationShelf
from tests.builders import a_pair, a_target_spec
from tests.cli.conftest import Machine, Terminal

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
STOCK = "module.exports = {\n    uiPort: 1880,\n};\n"
TARGET = """
[[certificate.target]]
name = "{name}"
kind = "node-red"
directory = "{home}/live"
reload = {{ unit = "nodered.service", verb = "restart" }}
"""
NOBODY = 65534


@pytest.fixture
def home() -> Iterator[Path]:
    """Node-RED's, with a stock settings.js and a certificate to serve."""
    home = Path(mkdtemp(prefix="certwarden-node-red-"))
    home.chmod(0o755)
    (home / "settings.js").write_text(STOCK)
    GenerationShelf(a_target_spec(directory=home / "live")).publish(a_pair())
    if os.geteuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def settings(home: Path) -> Path:
    return home / "settings.js"


@pytest.fixture
def machine(bare: Machine, home: Path) -> Machine:
    """With a target whose settings.js is configured."""
    configure(bare, home, f'settings = "{home}/settings.js"\n')
    return bare


def configure(machine: Machine, home: Path, further: str = "", name: str = "node-red") -> None:
    with machine.config.open("a") as config:
        config.write(TARGET.format(name=name, home=home) + further)


def answer(terminal: Terminal, typed: str) -> None:
    os.write(terminal._screen, typed.encode())


def test_agreed_to_it_is_changed(machine: Machine, settings: Path) -> None:
    """The diff, the question, the backup, and what to type next."""
    answer(machine.sit_down(), "y\n")

    run = machine.must("nodered", "apply")

    assert "+    https: require(" in run.out
    assert "hot.js" in settings.read_text()
    (backup,) = settings.parent.glob("settings.js.certwarden-*")
    assert str(backup) in run.out
    assert backup.read_text() == STOCK
    assert "sudo systemctl restart nodered.service" in run.out

    again = machine.must("nodered", "apply")
    assert "has certwarden's line already" in again.out


def test_declined_it_is_not(machine: Machine, settings: Path) -> None:
    """No is the answer to an empty line."""
    terminal = machine.sit_down()
    answer(terminal, "\n")

    run = machine.run("nodered", "apply", str(settings))

    assert run.code == 1
    assert "nothing was changed" in run.out
    assert f"Put this into {settings}?" in terminal.seen()
    assert settings.read_text() == STOCK


def test_nobody_there_to_ask(machine: Machine, settings: Path) -> None:
    """A script must say --yes."""
    run = machine.run("nodered", "apply")

    assert run.code == 2
    assert "--yes" in run.err
    assert settings.read_text() == STOCK

    machine.must("nodered", "apply", "--yes")
    assert "hot.js" in settings.read_text()


def test_what_is_not_changed_is_printed_to_paste(machine: Machine, settings: Path) -> None:
    """Exit code 1, a sentence, and the lines."""
    settings.write_text("module.exports = require('./other');")
    (settings.parent / "other.js").write_text(STOCK)

    run = machine.run("nodered", "apply", "--yes")

    assert run.code == 1
    assert "not written out" in run.err
    assert "https: require(" in run.err


def test_it_must_be_clear_what_is_meant(bare: Machine, home: Path, settings: Path) -> None:
    """Which target's certificate goes into which file."""
    none = bare.run("nodered", "apply", str(settings))
    assert none.code == 2
    assert "0 targets of kind node-red" in none.err

    configure(bare, home)
    assert bare.run("nodered", "apply").code == 2
    bare.must("nodered", "apply", str(settings), "--yes")

    configure(bare, home / "second", name="second")
    two = bare.run("nodered", "apply", str(settings))
    assert two.code == 2
    assert "2 targets" in two.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_roots_own_file_must_be_named(machine: Machine, settings: Path) -> None:
    """What stands in the configuration may have come from Node-RED's user."""
    for path in (settings.parent, settings):
        os.chown(path, 0, 0)

    found = machine.run("nodered", "apply", "--yes", "--user", "nobody")
    assert found.code == 1
    assert "belongs to root" in found.err
    assert "https: require(" in found.err
    assert settings.read_text() == STOCK

    machine.must("nodered", "apply", "--yes", "--user", "nobody", str(settings))
    assert "hot.js" in settings.read_text()


def test_advice_is_given(machine: Machine) -> None:
    """For people, and as JSON."""
    text = machine.must("nodered", "inspect").out
    assert "https    absent" in text
    assert "editor   open" in text
    assert "WRONG    Node-RED speaks plain HTTP" in text
    assert "node-red admin hash-pw" in text

    found = machine.must("nodered", "inspect", "--json").json
    assert found["is_editor_protected"] is False
    assert {"what", "remedy", "is_grave"} == set(found["advice"][0])
