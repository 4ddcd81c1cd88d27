"""The daemon as a process of its own, with stand-ins and a pace that tests can wait for.

`python -m tests.daemon.driver DIRECTORY`. Pace and oddities stand in DIRECTORY/driver.json.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

from certwarden.cli.console import Console
from certwarden.daemon import Daemon, Pace
from certwarden.daemon.clocks import SystemClocks


class SuspendedClocks(SystemClocks):
    """What $WALLSHIFT_FILE adds to the wall clock was spent asleep, not set by anybody."""

    def boottime(self) -> float:
        return super().boottime() + float(Path(os.environ["WALLSHIFT_FILE"]).read_text())


def main(directory: Path) -> int:
    said = json.loads((directory / "driver.json").read_text())
    daemon = Daemon(
        directory / "config.toml",
        Console(),
        program=[sys.executable, "-I", "-S", str(Path(__file__).with_name("standin.py"))],
        settle=lambda _state: None,
        environ=os.environ,
        clocks=SuspendedClocks() if said.pop("is_suspended", False) else SystemClocks(),
        pace=Pace(**said.pop("pace")),
        synchronised=directory / "synchronized",
    )
    if said.pop("is_paused", False):  # a scheduler that never fires
        scheduler = daemon._jobs._scheduler
        scheduler.start = partial(scheduler.start, paused=True)
    assert not said
    return daemon.run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
