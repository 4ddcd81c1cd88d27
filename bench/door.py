"""A TLS server that shows whatever certificate certwarden has put up for the name asked for.

So that the probes of a pass with nothing due have somewhere to look, as they have in a house.
"""

import ssl
from pathlib import Path

from tests.world.authority import TestAuthority
from tests.world.server import Handler, LoopbackServer


class _Nobody(Handler):
    """The probes of a pass look at the handshake; whoever asks for more finds nothing."""

    def respond(self, body: bytes) -> None:  # noqa: ARG002  there is nothing to answer
        """Answer the request."""
        self.send(404, b"")


class Door(LoopbackServer):
    """Serves on loopback; `put_up` says where the generations for a name lie."""

    def __init__(self, authority: TestAuthority) -> None:
        # What it shows for a name that nothing has been put up for.
        context = authority.server_context("door")
        context.sni_callback = self._choose
        super().__init__(_Nobody, context=context)
        self._directories: dict[str, Path] = {}
        self._contexts: dict[Path, ssl.SSLContext] = {}

    @property
    def address(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    def put_up(self, name: str, directory: Path) -> None:
        """Show for `name` what `directory`/current holds, from when it is there."""
        self._directories[name] = directory

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        current = (self._directories.get(name or "", Path("nowhere")) / "current").resolve()
        if current not in self._contexts:
            if not current.is_dir():
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(current / "fullchain.pem", current / "privkey.pem")
            self._contexts[current] = context
        connection.context = self._contexts[current]
