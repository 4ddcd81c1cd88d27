"""Servers that ask their clients for certificates, for the tests of visits to them."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from certwarden.model import ClientTrust
from tests.builders import a_pair
from tests.targets.servers import server_context
from tests.targets.trust import SmallAuthority

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
HTTP_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def an_authority(name: str = "Home client CA") -> SmallAuthority:
    """One whose certificates and lists real servers take, as they are of this very hour."""
    return SmallAuthority(name, datetime.now(UTC))


def demanding(
    trust: ClientTrust, directory: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """What lets in only the clients of that CA which are not in its list."""
    context = server_context(a_pair(["localhost"]), directory, version)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=trust.root_pem.decode())
    if trust.crl.serials:  # an empty one changes nothing, and OpenSSL would prefer it to the next
        take_up(context, trust, directory)
    return context


def take_up(context: ssl.SSLContext, trust: ClientTrust, directory: Path) -> None:
    """Also the list, which OpenSSL does not look at in a resumed session."""
    file = directory / f"crl-{trust.crl.number}.pem"
    file.write_bytes(trust.crl.pem)
    context.load_verify_locations(file)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


class Secured:
    """A TLS server for `serving`: shakes hands by its context, hears a request, and answers.

    An `answer` of None drops the connection instead, as Node does with those that it refuses.
    """

    def __init__(
        self, context: ssl.SSLContext, answer: Callable[[], bytes | None] = lambda: HTTP_OK
    ) -> None:
        self.context = context
        self.answer = answer
        self.requests: list[bytes] = []
        self.resumptions = 0
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket) -> None:
        with self.context.wrap_socket(connection, server_side=True) as secure:
            request = secure.recv(65536)
            with self._lock:
                self.requests.append(request)
                self.resumptions += bool(secure.session_reused)
            if answer := self.answer():
                secure.sendall(answer)
                with contextlib.suppress(OSError):
                    secure.unwrap()
