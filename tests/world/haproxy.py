"""A real HAProxy.

Owns the configuration before what is pasted at its end, and how Debian's unit reloads it.
"""

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.world.service import ReloadFailed, Service

# What Debian's has too; a `global` section may be gone on with further down.
_CONFIG = """\
global
    log stderr format raw local0
    maxconn 200

defaults
    log     global
    mode    http
    option  httplog
    option  dontlognull
    timeout connect 5000
    timeout client  50000
    timeout server  50000

{text}
"""


class Haproxy(Service):
    """HAProxy with `text` at the end of its configuration; requests go to `backend_port`, whatever
    the text says of 127.0.0.1:1880.
    """

    name: ClassVar[str] = "haproxy"

    def __init__(self, directory: Path, text: str, *, port: int, backend_port: int) -> None:
        self._backend = f"127.0.0.1:{backend_port}"
        super().__init__(directory, text, port=port)

    def _whole(self, text: str) -> str:
        text = re.sub(r"\bbind :+(?=\d+\b)", "bind 127.0.0.1:", text)
        return _CONFIG.format(text=text.replace("127.0.0.1:1880", self._backend))

    def _command(self) -> Sequence[str | Path]:
        # -W: a master that starts workers, as with the unit's -Ws but without telling systemd.
        return (self._program, "-W", "-db", "-f", self.config)

    def check(self) -> str:
        """`haproxy -c`."""
        return self._ask("-c", "-q", "-f", self.config)

    def reload(self) -> None:
        """The unit's two steps: a check of the configuration, then SIGUSR2 to the master."""
        if said := self.check():
            raise ReloadFailed(said)
        os.kill(self.pid, signal.SIGUSR2)
