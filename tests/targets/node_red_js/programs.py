"""Starts the other side: a small https server on Node, or Node-RED itself; and talks TLS to it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until
from tests.world import tools
from tests.world.process import free_port

from .material import Pair

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULES = ROOT / "certwarden" / "targets" / "node_red"
HOT = MODULES / "hot.js"
INSPECT = MODULES / "inspect.js"
IDENTITY = MODULES / "identity.js"
SERVER = HERE / "server.js"
NODE_REDS = [("4.1", 18), ("4.1", 20), ("5.0", 22)]
POLL = 0.2
NOBODY = 65534


def node(major: int) -> Path:
    """Node.js of this major version."""
    return tools.node(major)


def let_polls_pass(count: int) -> None:
    """For what must not happen: gives the module that many chances to do it."""
    end = time.monotonic() + count * POLL
    wait_until(lambda: time.monotonic() > end, "time goes by")


@dataclass(frozen=True)
class Answer:
    """What came of one connection: the leaf that was shown, and the HTTP status, if any."""

    fingerprint: str | None
    status: int | None
    why: str = ""

    @property
    def let_in(self) -> bool:
        return self.status is not None


def tls_context(client: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the tests compare fingerprints
    if client is not None:
        context.load_cert_chain(client)
    return context


@contextmanager
def connection(port: int, client: Path | None = None) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        tls_context(client).wrap_socket(plain, server_hostname="home.example.org") as secure,
    ):
        yield secure


def request(secure: ssl.SSLSocket) -> int | None:
    """One request over an open connection; the status, or nothing where the other side hung up."""
    secure.sendall(b"GET /settings HTTP/1.1\r\nHost: home.example.org\r\n\r\n")
    received = b""
    while b"\r\n\r\n" not in received:
        piece = secure.recv(65536)
        if not piece:
            return None
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += secure.recv(65536)
    found = re.match(rb"HTTP/1\.1 (\d+)", head)
    return int(found[1]) if found else None


def ask(port: int, client: Path | None = None) -> Answer:
    """A handshake and a request; TLS 1.3 tells only on the first read that it refused a client."""
    fingerprint = None
    try:
        with connection(port, client) as secure:
            leaf = secure.getpeercert(binary_form=True)
            fingerprint = hashlib.sha256(leaf).hexdigest() if leaf else None
            return Answer(fingerprint, request(secure))
    except TimeoutError:
        raise
    except OSError as error:
        return Answer(fingerprint, None, str(error))


def serves(port: int, pair: Pair, client: Path | None = None) -> None:
    """Waits until this leaf is shown, and a request answered."""
    wait_until(lambda: ask(port, client) == Answer(pair.fingerprint, 200), "the new leaf")


def plain_http(port: int) -> bytes:
    """What a plain HTTP request gets."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: home.example.org\r\nConnection: close\r\n\r\n")
        try:
            return plain.recv(4096)
        except ConnectionError:
            return b""


def as_nobody() -> dict[str, int | list[int]]:
    """For subprocess: gives up root where the suite runs as root."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


@dataclass
class Program:
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def said(self, text: str) -> bool:
        return text in self.log

    def wait_for(self, text: str) -> None:
        wait_until(lambda: self.said(text) or self.ended(), text, timeout=60)
        assert self.said(text), self.log

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        if not self.ended():
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)


@contextmanager
def running(
    command: Sequence[str | Path], directory: Path, *, nobody: bool = False
) -> Iterator[Program]:
    log = directory / "program.log"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "NODE_RED_ENABLE_PROJECTS": "false",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            **(as_nobody() if nobody else {}),  # type: ignore[call-overload]
        )
    program = Program(process, log)
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def node_red(
    place: Path, version: str, major: int, options: str, more: str = ""
) -> Iterator[tuple[Program, int]]:
    """Node-RED with hot.js and these options; `more` are further lines of its settings.js."""
    port = free_port()
    (place / "settings.js").write_text(
        f"""module.exports = {{
            uiPort: {port}, uiHost: "127.0.0.1", flowFile: "flows.json",
            telemetry: {{ enabled: false }}, externalModules: {{ autoInstall: false }},
            https: require({json.dumps(str(HOT))})({options}),
            {more}
        }};"""
    )
    command: list[str | Path] = [node(major), tools.node_red(version), "--userDir", place]
    with running(command, place) as program:
        program.wait_for("Server now running at ")
        yield program, port


def copy_modules(directory: Path) -> Path:
    """The modules where an unprivileged user can read them, wherever the checkout lies."""
    for module in (HOT, INSPECT, SERVER):
        shutil.copy(module, directory / module.name)
        (directory / module.name).chmod(0o644)
    return directory
