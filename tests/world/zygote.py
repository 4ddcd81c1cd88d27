"""`python -m tests.world.zygote`: runs certwarden's commands in forks of one warm process.

Reads a request a line as JSON, answers each with a line that names the fork's process id, and with
another when it has ended. A fork has imported everything already, so that a run costs what it does
and not what it takes to start; a kill -9 of it is a real one all the same. Nothing of a run stays
in this process: it only imports what the first command had imported in its fork.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.world import stepping


def main() -> None:
    """Serves until its standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        work = _work(request)
        if request["steps_below"]:
            child = stepping.start(work)
            _answer(pid=child)
            done = stepping.follow(child, Path(request["steps_below"]), request["kill_before"])
            _answer(code=done.code, steps=done.steps)
        else:
            child = _fork(work)
            _answer(pid=child)
            _, status = os.waitpid(child, 0)
            _answer(code=os.waitstatus_to_exitcode(status), steps=[])
        if request["learn"]:
            _import_all(Path(request["learn"]).read_text().split())


def _work(request: dict[str, Any]) -> Callable[[], int]:
    def work() -> int:
        nowhere = os.open(os.devnull, os.O_RDONLY)
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number, stream in ((0, nowhere), (1, output), (2, output)):
            os.dup2(stream, number)
        from certwarden.cli import main as certwarden

        try:
            code = certwarden(request["arguments"])
        except SystemExit as end:
            code = int(str(end.code or 0))
        if request["learn"]:
            Path(request["learn"]).write_text("\n".join(sys.modules))
        return code

    return work


def _fork(work: Callable[[], int]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = work()
    finally:
        os._exit(code)


def _import_all(names: list[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # a name that a library made up for itself


def _answer(**answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
