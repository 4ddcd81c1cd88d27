"""A real nginx.

Owns the configuration round what is pasted into its `http` part, and how Debian's unit reloads it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.world.service import IS_ROOT, ReloadFailed, Service

_CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log stderr info;
{main}
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{text}
}}
"""


class Nginx(Service):
    """nginx with `text` in its `http` part and `main` before that; requests go to `backend_port`,
    whatever the text says of 127.0.0.1:1880.
    """

    name: ClassVar[str] = "nginx"

    def __init__(
        self, directory: Path, text: str, *, port: int, backend_port: int, main: str = ""
    ) -> None:
        self._backend = f"127.0.0.1:{backend_port}"
        self._main = main
        super().__init__(directory, text, port=port)

    def _whole(self, text: str) -> str:
        text = re.sub(r"(?m)^\s*listen \[::\].*\n", "", text)
        text = re.sub(r"\blisten (?=\d+\b)", "listen 127.0.0.1:", text)
        return _CONFIG.format(
            # Workers that were another user could not enter root's temporary directories.
            user="user root;" if IS_ROOT else "",
            main=self._main,
            text=text.replace("127.0.0.1:1880", self._backend),
        )

    def _options(self) -> Sequence[str | Path]:
        return ("-e", "stderr", "-p", self.directory, "-c", self.config)

    def _command(self) -> Sequence[str | Path]:
        return (self._program, *self._options())

    def _is_ready(self, said: str) -> bool:  # noqa: ARG002  it says so by a file
        # It listens before its process id is where a reload looks for it.
        pid = self.directory / "nginx.pid"
        return pid.exists() and pid.read_text().strip() == str(self.pid)

    def check(self) -> str:
        """`nginx -t`."""
        return self._ask(*self._options(), "-t", "-q")

    def reload(self) -> None:
        """`nginx -s reload`, which reads the configuration itself before it sends a signal."""
        if said := self._ask(*self._options(), "-s", "reload"):
            raise ReloadFailed(said)
