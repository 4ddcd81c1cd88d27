"""A TLS server that lets in clients with a certificate, and nobody whose is in the installed list.

It reads what a target's `current` holds anew for each connection, so it need not be told of new
files, and gives no session to come back with.
"""

import ssl
from pathlib import Path
from typing import Any

from tests.world.server import Handler, LoopbackServer


class _Welcome(Handler):
    """A page for whoever has got in."""

    def respond(self, body: bytes) -> None:  # noqa: ARG002 - whatever is asked
        self.send(200, b"in\n", {"Connection": "close"})
        self.close_connection = True


class Turnstile(LoopbackServer):
    """Serves on loopback what stands in the directory `live`, a target's."""

    def __init__(self) -> None:
        super().__init__(_Welcome)
        self.live = Path("nowhere")

    @property
    def address(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handle one connection by the files that are there now."""
        current = (self.live / "current").resolve()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(current / "fullchain.pem", current / "privkey.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        context.load_verify_locations(current / "client-ca.pem")
        context.load_verify_locations(current / "client-crl.pem")
        with context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)
