"""Kills a command at a chosen point, for real: before a step on the disk, or around a request.

Owns the warm process that runs the commands (`tests.world.zygote`), counting the requests that come
to the CA and to Cloudflare, and which of a command's steps are worth dying before. What is left
behind is for the test to judge.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from certwarden.files import TEMPORARY_PREFIX
from tests.world import World
from tests.world.faults import FaultyServer
from tests.world.house import House

_PROJECT = Path(__file__).resolve().parents[2]
_DATABASE = "certwarden.db"
_JOURNAL = f"{_DATABASE}-journal"
_EVERY_STEP = "CERTWARDEN_EVERY_STEP"  # in the environment: no sample, and several minutes


@dataclass(frozen=True)
class Ended:
    """How a command ended (negative: by which signal), and its steps where they were counted."""

    code: int
    steps: tuple[str, ...]

    @property
    def was_killed(self) -> bool:
        """Whether it was, and has not come to its end before."""
        return self.code == -signal.SIGKILL


class Zygote:
    """Runs commands in forks of one process that has everything imported, one after the other."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.world.zygote"],
            cwd=_PROJECT,
            env={
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("CLOUDFLARE_", "CERTWARDEN_", "STATE_DIRECTORY"))
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def learn(self, house: House, *arguments: str) -> Ended:
        """Runs a command and imports for all later ones what it has imported."""
        return self._run(house, arguments, learn=str(house.directory / "imported"))

    def run(
        self,
        house: House,
        *arguments: str,
        on_start: Callable[[int], None] | None = None,
        output: Path | None = None,
    ) -> Ended:
        """Runs a command to its end; `on_start` is told its process id.

        What it says goes into the house's file, unless another one is named.
        """
        request = {} if output is None else {"output": str(output)}
        return self._run(house, arguments, on_start=on_start, **request)

    def run_counted(
        self,
        house: House,
        *arguments: str,
        kill_before: int | None = None,
        below: Path | None = None,
    ) -> Ended:
        """Runs a command and counts its steps in the state directory, or kills it before the n-th.

        Where it was killed, the last step is the one that did not happen any more. `below` is
        another directory to count in.
        """
        place = (below or house.state).resolve()
        return self._run(house, arguments, steps_below=str(place), kill_before=kill_before)

    def output(self, house: House) -> str:
        """All that the commands of this house have said so far."""
        return (house.directory / "output").read_text()

    def _run(
        self,
        house: House,
        arguments: Sequence[str],
        on_start: Callable[[int], None] | None = None,
        **request: Any,
    ) -> Ended:
        assert self._process.stdin is not None
        request = {
            "arguments": ["--config", str(house.config), *arguments],
            "output": str(house.directory / "output"),
            "steps_below": "",
            "kill_before": None,
            "learn": "",
            **request,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        process = int(self._answer()["pid"])
        if on_start is not None:
            on_start(process)
        ended = self._answer()
        return Ended(ended["code"], tuple(ended["steps"]))

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '"it has ended"')
        return answer


def chosen_cuts(
    steps: Sequence[str], is_alike: Callable[[str], bool] = lambda _: False
) -> list[int]:
    """The steps to die before (from 1): all that anybody can see, and a sample of the others.

    Of what is done in a row to temporary files, and within each of SQLite's transactions, one step
    is taken, another one each time: what lies there then differs in litter only. The same goes for
    steps that the caller says are alike.
    """
    if _EVERY_STEP in os.environ:
        return list(range(1, len(steps) + 1))
    cuts: list[int] = []
    hidden: list[int] = []
    for number, step in enumerate(steps, 1):
        is_commit = step.startswith("unlink ") and step.endswith(_JOURNAL)
        is_hidden = TEMPORARY_PREFIX in step or step.endswith((_JOURNAL, _DATABASE))
        if (is_hidden and not is_commit) or is_alike(step):
            hidden.append(number)
            continue
        if hidden:
            cuts.append(hidden[len(cuts) * 7 % len(hidden)])
            hidden = []
        cuts.append(number)
    return cuts


class RequestKiller:
    """Counts what is asked of the CA and of Cloudflare, and kills who asks at a chosen moment.

    Each request is two moments: it has come, and it was carried out but not yet answered.
    """

    def __init__(self, world: World) -> None:
        assert world.proxy is not None
        self._servers: tuple[FaultyServer[Any, Any], ...] = (world.proxy, world.emulator)
        self._lock = threading.Lock()
        self._started = threading.Event()
        self._process = 0
        self._fatal: int | None = None
        self.moments = 0

    def __enter__(self) -> Self:
        self._before = [server.watcher for server in self._servers]
        for server in self._servers:
            server.watcher = self._watch
        return self

    def __exit__(self, *_: object) -> None:
        for server, watcher in zip(self._servers, self._before, strict=True):
            server.watcher = watcher

    def begin(self, kill_at: int | None) -> None:
        """Counts from none, for a command that is about to start and dies at that moment."""
        self._started.clear()
        self._fatal, self.moments = kill_at, 0

    def started(self, process: int) -> None:
        """Says who is to be killed."""
        self._process = process
        self._started.set()

    def _watch(self) -> None:
        with self._lock:
            self.moments += 1
            if self.moments == self._fatal:
                assert self._started.wait(10)
                os.kill(self._process, signal.SIGKILL)
