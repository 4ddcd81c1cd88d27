"""A listener that stands open, in a thread or a process of its own, and clients that talk to it."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from certwarden.enrolment.exchange import Answer, Reply, Request
from certwarden.enrolment.listener import Limits, listen
from certwarden.model import KeyType
from certwarden.pki.authority import build_client, build_root
from certwarden.pki.keys import generate_key_pair, load_key
from tests.builders_authority import a_client_certificate
from tests.world.authority import TestAuthority

DEFAULT = Limits(question=0.02)
PATIENCE = 20.0  # seconds, for what comes much sooner


def echo(request: Request) -> Reply:
    """Says what was asked; refuses what is called so."""
    if request.path == "/refused":
        return Reply(403, "text/plain", b"no", is_refusal=True)
    return Reply(200, "text/plain", f"{request.method} {request.path}\n".encode() + request.body)


@dataclass
class Opened:
    """A listener in a thread, its address, and what it has reported."""

    address: tuple[str, int]
    trust: ssl.SSLContext
    ends: threading.Event = field(default_factory=threading.Event)
    has_ended: threading.Event = field(default_factory=threading.Event)
    reported: list[str] = field(default_factory=list)
    raised: list[Exception] = field(default_factory=list)

    def connect(self, source: str = "") -> socket.socket:
        """Without TLS; from another address of the loopback, if one is given."""
        origin = (source, 0) if source else None
        return socket.create_connection(self.address, PATIENCE, source_address=origin)

    def call(self, source: str = "", context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """With TLS."""
        return (context or self.trust).wrap_socket(
            self.connect(source), server_hostname=self.address[0]
        )

    def ask(self, data: bytes, source: str = "") -> "Heard":
        """One request in one piece, and all that is replied."""
        with self.call(source) as line:
            line.sendall(data)
            return heard(line)


class Heard(NamedTuple):
    """A reply, taken apart; nothing but status 0 where there was none."""

    status: int
    headers: dict[str, str]
    body: bytes


def heard(line: ssl.SSLSocket) -> Heard:
    """Reads to the end, which must be a proper one, and takes the last reply apart."""
    data = b""
    while more := line.recv(65536):
        data += more
    return taken_apart(data)


def taken_apart(data: bytes) -> Heard:
    while data.startswith(b"HTTP/1.1 100"):
        data = data.partition(b"\r\n\r\n")[2]
    if not data:
        return Heard(0, {}, b"")
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Heard(int(first.split()[1]), {name.lower(): value for name, value in pairs}, body)


def get(path: str = "/", *, host: str = "house.example") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: house.example", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


@contextlib.contextmanager
def opened(
    context: ssl.SSLContext,
    trust: ssl.SSLContext,
    answer: Answer = echo,
    *,
    limits: Limits = DEFAULT,
    idle: float | None = None,
    is_over: Callable[[], bool] = lambda: False,
    contexts: Callable[[], ssl.SSLContext] | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Opened]:
    """Open for as long as the `with` lasts, which must then see it end by itself."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=200) as door:
        house = Opened(door.getsockname()[:2], trust)

        def serve() -> None:
            try:
                listen(
                    door,
                    contexts or (lambda: context),
                    answer,
                    is_over=lambda: house.ends.is_set() or is_over(),
                    limits=limits,
                    idle=idle,
                    report=house.reported.append,
                )
            except Exception as error:  # noqa: BLE001 - the test's to look at
                house.raised.append(error)
            finally:
                house.has_ended.set()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield house
        finally:
            house.ends.set()
            thread.join(PATIENCE)
            assert not thread.is_alive()


class Standing(NamedTuple):
    """A listener in a process of its own."""

    process: subprocess.Popen[str]
    address: tuple[str, int]


@contextlib.contextmanager
def standing(authority: TestAuthority, **limits: float) -> Iterator[Standing]:
    """`tests.enrolment.standing`, from its start until it has ended by itself or by the test."""
    command = [sys.executable, "-m", "tests.enrolment.standing"]
    command += [*map(str, authority.issue("standing")), json.dumps(limits)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Standing(process, ("127.0.0.1", int(process.stdout.readline())))
        finally:
            process.kill()


@dataclass(frozen=True)
class ClientCa:
    """A private CA in a directory, and a client's certificate with its key in one file."""

    root: Path
    client: Path


def a_client_ca(directory: Path, serial: str) -> ClientCa:
    """Valid now."""
    now = datetime.now(UTC)
    key_pem, _ = generate_key_pair(KeyType.ECDSA_P256)
    ca_key = load_key(key_pem)
    root_pem = build_root("Home client CA", ca_key, now)
    client_pem, client_spki = generate_key_pair(KeyType.ECDSA_P256)
    hour = timedelta(hours=1)
    certificate = a_client_certificate(serial, "alice", not_before=now - hour, not_after=now + hour)
    made = ClientCa(directory / "root.pem", directory / "client.pem")
    made.root.write_bytes(root_pem)
    made.client.write_bytes(
        client_pem.reveal() + build_client(root_pem, ca_key, certificate, client_spki)
    )
    return made
