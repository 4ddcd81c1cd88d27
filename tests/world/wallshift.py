"""A wall clock that a test sets for one program and its children, by a shim under LD_PRELOAD.

Owns compiling the shim and the file that says how far the clock is off. Shifts no monotonic clock,
and no program that is linked statically.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.world.tools import Missing

_SOURCE = Path(__file__).with_suffix(".c")


class WallShift:
    """The clock of the programs that are started with `env` in their environment.

    `directory` gets the shim and the file. Raises Missing, with a sentence, where there is no C
    compiler.
    """

    env: Mapping[str, str]

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            message = "shifting the clock needs a C compiler: run `sudo apt install gcc libc6-dev`."
            raise Missing(message)
        shim = directory / "wallshift.so"
        command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]
        subprocess.run([*command, str(shim), str(_SOURCE), "-ldl"], check=True)
        self._file = directory / "wallshift"
        self.shift(0)
        self.env = MappingProxyType({"LD_PRELOAD": str(shim), "WALLSHIFT_FILE": str(self._file)})

    def shift(self, seconds: float) -> None:
        """Puts the clock so many whole seconds ahead of the real one (negative: behind), at once.

        It counts from the real time, not from the last shift.
        """
        new = self._file.with_suffix(".new")  # never half a number
        new.write_text(f"{round(seconds)}\n")
        new.replace(self._file)
