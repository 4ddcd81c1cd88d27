"""certwarden's own commands are run, and interrupted with us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certwarden.setup.commands import Certwarden, CommandError

# In place of certwarden: says that it is there, and then by what it was ended.
_SLOW = """
import pathlib, signal, sys, time
def end(number, _):
    with open(sys.argv[1], "a") as file:
        file.write(signal.Signals(number).name)
    time.sleep(0.3)  # for a second signal, which there should not be
    sys.exit(0)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
pathlib.Path(sys.argv[1] + ".there").touch()
while True:
    time.sleep(0.05)
"""
_SETUP = """
import signal, sys
from certwarden.cli import _interrupt
from certwarden.setup.commands import Certwarden
signal.signal(signal.SIGTERM, _interrupt)
running = Certwarden({config!r}, is_alone={is_alone})
running._argv = (sys.executable, "-c", {slow!r})
try:
    running.run({file!r})
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_interrupts_us_interrupts_the_command(
    tmp_path: Path, number: signal.Signals, *, is_alone: bool
) -> None:
    """Once, and it is waited for: it has TXT records to remove."""
    file = tmp_path / "ended"
    script = _SETUP.format(config=str(tmp_path), is_alone=is_alone, slow=_SLOW, file=str(file))
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as process:
        wait_for(Path(f"{file}.there"))
        if number == signal.SIGINT and not is_alone:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        assert process.wait(20) == 130
    assert file.read_text() == number.name


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_no_json_is_a_sentence(tmp_path: Path) -> None:
    """It says which command it was."""
    with pytest.raises(CommandError, match="certwarden --version"):
        Certwarden(tmp_path, is_alone=True).told("--version")
