"""A machine with a configuration, at which commands are typed; the private CA in it is real."""

import contextlib
import getpass
import io
import json
import os
import pty
import select
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certwarden.cli import main

CONFIG = """\
state_directory = "state"
[acme]
directory = "https://127.0.0.1:1/directory"
terms_of_service_agreed = true
[cloudflare]
api_token_file = "token"
[clock]
trust = "always"
[authority]
name = "Home client CA"
passphrase_file = "ca.passphrase"
[[certificate]]
name = "home"
domains = ["example.org", "*.example.org"]
"""
TOKEN = "cfut_" + "0" * 40
PASSPHRASE = "five random words are good"


@dataclass(frozen=True)
class Run:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """A terminal that somebody sits at."""

    def __init__(self) -> None:
        self._screen, self._line = pty.openpty()
        self.path = os.ttyname(self._line)

    def seen(self) -> str:
        """What it has shown since it was looked at last."""
        text = b""
        while select.select([self._screen], [], [], 0)[0]:
            text += os.read(self._screen, 4096)
        return text.decode()

    def close(self) -> None:
        os.close(self._screen)
        os.close(self._line)


class Machine:
    """Commands are run in `directory`; nobody sits there until `sit_down`."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.directory = directory
        self.config = directory / "config.toml"
        self.state = directory / "state"
        self.passphrase_file = directory / "ca.passphrase"
        self._terminals: list[Terminal] = []
        self._patch, self._capsys = monkeypatch, capsys
        self.get_up()

    def run(self, *arguments: str) -> Run:
        """Runs `certwarden` with these arguments."""
        try:
            code = main(["--config", str(self.config), *arguments])
        except SystemExit as end:
            code = int(str(end.code))
        out, err = self._capsys.readouterr()
        return Run(code, out, err)

    def must(self, *arguments: str) -> Run:
        """The same for what has to go well."""
        run = self.run(*arguments)
        assert run.code == 0, run.err
        return run

    def sit_down(self, *typed: str) -> Terminal:
        """Somebody sits at a terminal and types these."""
        terminal = Terminal()
        self._terminals.append(terminal)
        self._patch.setattr("certwarden.cli.terminal.TERMINAL", terminal.path)
        answers = iter(typed)
        self._patch.setattr(getpass, "getpass", lambda _prompt: next(answers))
        return terminal

    def get_up(self) -> None:
        """Nobody sits there any more."""
        self._patch.setattr("certwarden.cli.terminal.TERMINAL", str(self.directory / "nowhere"))

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()

    def write(self, name: str, text: str) -> Path:
        """A file of ours, closed to others."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def files(self) -> set[str]:
        """What lies about beside what was there from the beginning."""
        ours = {"config.toml", "token", "state", "ca.passphrase"}
        return {path.name for path in self.directory.iterdir()} - ours


@pytest.fixture
def bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Machine]:
    """A machine with a configuration and nothing else."""
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "CERTWARDEN_CONFIG", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    machine = Machine(tmp_path, monkeypatch, capsys)
    machine.write("token", TOKEN)
    machine.write("config.toml", CONFIG)
    yield machine
    machine.close()


def founded(directory: Path, *options: str) -> Path:
    """The directory, with a CA that was made there once for many tests."""
    for name, text in (("token", TOKEN), ("config.toml", CONFIG), ("secret", PASSPHRASE)):
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr("certwarden.cli.terminal.TERMINAL", str(directory / "nowhere"))
        assert main(["--quiet", "--config", str(directory / "config.toml"), "ca", *options]) == 0
    return directory


@pytest.fixture(scope="session")
def house_with_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return founded(tmp_path_factory.mktemp("ca"), "init")


@pytest.fixture(scope="session")
def house_with_locked_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    secret = tmp_path_factory.mktemp("locked")
    options = ("init", "--locked", "--password-file", str(secret / "secret"))
    return founded(secret, *options)


@pytest.fixture
def machine(bare: Machine, house_with_ca: Path) -> Machine:
    """One with a private CA."""
    shutil.copytree(house_with_ca / "state", bare.state)
    shutil.copy(house_with_ca / "ca.passphrase", bare.directory)
    return bare


@pytest.fixture
def locked(bare: Machine, house_with_locked_ca: Path) -> Machine:
    """One with a locked CA, under `PASSPHRASE`, which lies in `secret`."""
    shutil.copytree(house_with_locked_ca / "state", bare.state)
    bare.write("secret", PASSPHRASE)
    return bare


Snapshot = Callable[[], dict[Path, bytes]]


@pytest.fixture
def snapshot(bare: Machine) -> Snapshot:
    """Every file of the state, and what is in it."""

    def take() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in bare.state.rglob("*") if path.is_file()}

    return take
