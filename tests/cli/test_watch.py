"""`status --watch`: in place, for people only, and nothing is held between two looks."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from certwarden.cli import status
from certwarden.cli.outlook import House
from certwarden.cli.screen import screen_of
from certwarden.config import Config, load
from certwarden.errors import Busy
from certwarden.lifecycle.trust import Verdict
from certwarden.model import Policy, Served, Trust
from certwarden.wiring import Warden
from tests.cli.conftest import Machine
from tests.cli.houses import a_good_chronicle
from tests.fakes import FakeWorld
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


class Watcher:
    """`certwarden status --watch` at a terminal of a certain size."""

    def __init__(self, machine: Machine, *, columns: int = 80, lines: int = 40) -> None:
        self._machine, self._size = machine, struct.pack("HHHH", lines, columns, 0, 0)
        self.seen = ""

    def __enter__(self) -> Self:
        self._screen, line = pty.openpty()
        fcntl.ioctl(line, termios.TIOCSWINSZ, self._size)
        os.set_blocking(self._screen, False)
        command = [sys.executable, "-m", "certwarden", "--config", str(self._machine.config)]
        others = ("NO_COLOR", "LINES", "COLUMNS")  # they would win over the terminal's own
        variables = {name: value for name, value in os.environ.items() if name not in others}
        self.process = subprocess.Popen(
            [*command, "status", "--watch"],
            stdin=line,
            stdout=line,
            stderr=line,
            cwd=ROOT,
            env={**variables, "TERM": "xterm", "PYTHONUTF8": "1"},
        )
        os.close(line)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def wait_for(self, text: str) -> None:
        try:
            wait_until(lambda: text in self._read(), text, timeout=30)
        except AssertionError:
            pytest.fail(f"{text!r} was not shown, but {self.seen[-2000:]!r}")

    def end(self, number: signal.Signals) -> int:
        """Send it the signal, and take in all until it has ended."""
        self.process.send_signal(number)
        wait_until(lambda: [self._read(), self.process.poll()][1] is not None, "the end")
        self._read()
        return self.process.returncode

    def holds(self, name: str) -> bool:
        """Whether it has a file of that name open."""
        found = []
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                found.append(each.readlink().name)
            except FileNotFoundError:
                continue
        return name in found

    def _read(self) -> str:
        try:
            while text := os.read(self._screen, 65536):
                self.seen += text.decode(errors="replace")
        except OSError:
            pass  # nothing more by now, or nobody is there any more
        return self.seen


def test_it_is_shown_in_place_until_it_is_interrupted(machine: Machine) -> None:
    """On a screen of its own, which is gone afterwards; exit 0; the database is let go of."""
    with Watcher(machine) as watcher:
        watcher.wait_for("LIFE")
        watcher.wait_for("\x1b[J")
        assert not watcher.holds("certwarden.db")
        assert watcher.end(signal.SIGINT) == 0
        assert watcher.seen.startswith("\x1b[?1049h\x1b[?25l")
        assert watcher.seen.endswith("\x1b[?25h\x1b[?1049l")
        assert "MISSING" in watcher.seen
        assert "Ctrl-C" in watcher.seen


def test_what_does_not_fit_is_counted(machine: Machine) -> None:
    """A small terminal does not scroll."""
    with Watcher(machine, columns=40, lines=8) as watcher:
        watcher.wait_for("more lines")
        watcher.wait_for("\x1b[J")
        (drawn, *_) = watcher.seen.split("\x1b[H")[1].split("\x1b[J")
        assert drawn.count("\n") == 7
        assert watcher.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--watch", "--json"], "for programs"), (["--watch"], "needs a terminal")],
)
def test_it_is_for_people_at_terminals(machine: Machine, options: list[str], words: str) -> None:
    """Anything else is a mistake: exit 2, a sentence, and nothing shown."""
    run = machine.run("status", *options)
    assert (run.code, run.out) == (2, "")
    assert words in run.err


def test_a_terminal_without_a_cursor_is_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM=dumb shows what it is sent, line by line."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert machine.run("status", "--watch").code == 2


def test_between_probes_the_last_look_stands_in(machine: Machine) -> None:
    """What was seen at a target, and of the clock, is not forgotten by a look that asks nobody."""
    (home,) = a_good_chronicle().house.certificates
    (target,) = home.targets
    doubtful = Verdict(Trust.CONTRADICTED, None, "the clock is ahead")
    before = House((home,), None, doubtful, Policy(), a_good_chronicle().house.now)
    config = replace(_config(machine), certificates=(home.spec,))
    with closing(Warden(config, FakeWorld().reporter, purpose="test", is_read_only=True)) as warden:
        alone = status.look(warden, config, is_probing=False)
        after = status.look(warden, config, is_probing=False, before=before)
    assert alone.certificates[0].targets[0].seen is None
    assert alone.verdict.is_trusted
    assert after.certificates[0].targets[0].seen == target.seen
    assert isinstance(target.seen, Served)
    assert after.verdict == doubtful


def test_it_probes_every_third_look_and_survives_a_failed_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is busy is a sentence on the screen, and the next look is made."""
    looks: list[tuple[bool, bool]] = []
    verdicts: list[Verdict | None] = []
    house = a_good_chronicle().house

    def look_once(
        _config: Config,
        _secrets: object,
        *,
        is_probing: bool,
        before: House | None,
        verdict: Verdict | None,
    ) -> House:
        looks.append((is_probing, before is not None))
        verdicts.append(verdict)
        if len(looks) == 2:
            raise Busy("the database is busy " * 20, "wait")
        return house

    monkeypatch.setattr(status, "_look_once", look_once)
    shown: Iterator[Sequence[str]] = status._looks(_config(machine), is_offline=False)
    texts = ["\n".join(next(shown)) for _ in range(4)]
    assert looks == [(True, False), (False, True), (False, True), (True, False)]
    assert " ".join(texts[1].split()) == "the database is busy " * 20 + "wait"
    assert max(len(line) for line in texts[1].splitlines()) <= screen_of(sys.stdout).width
    # Whether the clock is right is not asked of a server at each probe.
    assert verdicts == [None, house.verdict, house.verdict, house.verdict]
    assert "All is well." in texts[2]


def _config(machine: Machine) -> Config:
    return load(machine.config, {})
