"""Somebody who takes messages by Apprise's `json://` and heartbeats, on loopback.

`TOKEN` is the secret part of its addresses: what no sentence and no log may show.
"""

import json

from certwarden.model import Secret
from tests.world.server import Handler, LoopbackServer

TOKEN = "s3cretpath"


class Postbox(LoopbackServer):
    """Keeps what it takes; `status` is what it answers with, and `headers` what besides."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.messages: list[dict[str, str]] = []
        self.calls: list[str] = []
        super().__init__(_Postbox)

    @property
    def url(self) -> Secret:
        """Its address for messages, as Apprise writes it."""
        return Secret(f"json://127.0.0.1:{self.port}/{TOKEN}".encode())

    @property
    def heartbeat_url(self) -> Secret:
        """Its address for heartbeats, as a line of a file."""
        return Secret(f"{self.origin}/{TOKEN}\n".encode())


class _Postbox(Handler):
    server: Postbox

    def respond(self, body: bytes) -> None:
        self.server.calls.append(f"{self.command} {self.path}")
        if body and 200 <= self.server.status < 300:
            self.server.messages.append(json.loads(body))
        self.send(self.server.status, b"", self.server.headers)
