"""Who comes with an invitation, without a browser: requests as a phone or a program sends them.

Owns the connection and what a form looks like on it, and a command that invites by --json. Uses
nothing of certwarden's own code.
"""

import http.client
import json
import socket
import ssl
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlencode, urlsplit

from tests.world.house import House

PASSWORD = "abcdef-ghjkmn-pqrstu"
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing cuts the connection (RST)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Guest:
    """Comes to the place that a link names, from an address of the loopback network."""

    url: str
    trusted: bytes = field(repr=False)  # the root of the public CA
    source: str = "127.0.0.1"

    @property
    def token(self) -> str:
        return self.url.partition("#")[2]

    def connect(self) -> ssl.SSLSocket:
        """A connection after its handshake; the server's certificate is verified."""
        place = urlsplit(self.url)
        assert place.hostname is not None
        context = ssl.create_default_context(cadata=self.trusted.decode())
        address = ("127.0.0.1", place.port or 443)
        plain = socket.create_connection(address, 30, (self.source, 0))
        try:
            return context.wrap_socket(plain, server_hostname=place.hostname)
        except BaseException:
            plain.close()
            raise

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """A whole request, and all of its reply."""
        with self.connect() as secured:
            secured.sendall(self._request(method, path, body, headers or {}))
            reply = http.client.HTTPResponse(secured, method=method)
            reply.begin()
            return Reply(reply.status, reply.read(), dict(reply.headers))

    def redeem(self, token: str = "", form: str = "p12", password: str = PASSWORD) -> Reply:
        """What the page's button does, with the link's token or another."""
        return self.ask("POST", "/redeem", *self._form(token or self.token, form, password))

    def redeems_and_is_gone(self) -> None:
        """The same, but the connection is cut when the reply begins to come."""
        secured = self.connect()
        body, headers = self._form(self.token, "p12", PASSWORD)
        secured.sendall(self._request("POST", "/redeem", body, headers))
        assert secured.recv(1) == b"H"
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        secured.close()

    def _form(self, token: str, form: str, password: str) -> tuple[bytes, dict[str, str]]:
        fields = {"token": token, "password": password, "format": form, "language": "en"}
        return urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"}

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        lines = {"Host": urlsplit(self.url).netloc, "User-Agent": "guest", **headers}
        if body:
            lines["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Invited:
    """`client invite --json` at work on loopback; its end is awaited by `ends`."""

    def __init__(self, house: House, name: str, *options: str) -> None:
        self._house = house
        arguments = ("client", "invite", name, "--listen=127.0.0.1:0", "--json", *options)
        self.process = house.start("--verbose", *arguments)

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.ends()
        self.guest = Guest(json.loads(line)["url"], self._house.world.pebble.root())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.ends()

    def ends(self) -> tuple[int, str]:
        """Its exit code, and what it said on stderr."""
        try:
            _, err = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, err
