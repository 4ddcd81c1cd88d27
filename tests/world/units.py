"""A stand-in for `systemctl`, for programs of the world that would be units of systemd's.

Owns the command, and what it does with the units that it knows: it tells whether they run, reloads
and restarts them. Whether one may is a question for a real systemd (`tests.world.container`).
"""

import json
import socketserver
import sys
import threading
from pathlib import Path
from typing import Self

from tests.world.nodered import NodeRed
from tests.world.service import Service

_COMMAND = """\
#!{python} -IS
import json, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    asked.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    status, said = json.loads(asked.makefile().read())
print(said)
sys.exit(status)
"""
_FAILED, _NOT_LOADED = 1, 5  # systemctl(1)


class Units:
    """The units, while the context is open; `bin`, put first on PATH, has the command."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir(parents=True)
        self._units: dict[str, Service | NodeRed] = {}
        address = str(directory / "systemd.sock")
        units = self

        class Answer(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(
                    json.dumps(units.answer(json.loads(self.rfile.readline()))).encode()
                )

        self._server = socketserver.ThreadingUnixStreamServer(address, Answer)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        command = self.bin / "systemctl"
        command.write_text(_COMMAND.format(python=sys.executable, address=address))
        command.chmod(0o755)

    def add(self, unit: str, program: Service | NodeRed) -> None:
        """From now on this program is the unit."""
        self._units[unit] = program

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, arguments: list[str]) -> tuple[int, str]:
        """Does what systemctl was asked to: its exit status, and what it says."""
        place = arguments.index("--")
        options, names = arguments[:place], arguments[place + 1 :]
        if options[0] == "show":
            return 0, "\n\n".join(map(self._properties, names))
        (unit,) = names
        program = self._units.get(unit)
        if program is None:
            return _NOT_LOADED, f"Unit {unit} not found."
        try:
            if options[-1] == "restart":
                program.restart()
            elif isinstance(program, Service) and program.alive():
                program.reload()
            else:
                return _FAILED, f"Job type reload is not applicable for unit {unit}."
        except RuntimeError as error:
            return _FAILED, str(error)
        return 0, ""

    def _properties(self, unit: str) -> str:
        program = self._units.get(unit)
        load = "loaded" if program is not None else "not-found"
        active = "active" if program is not None and program.alive() else "inactive"
        said = f"Id={unit}\nLoadState={load}\nActiveState={active}"
        return f"{said}\nResult=success\nExecMainStatus=0"
