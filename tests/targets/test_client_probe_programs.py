"""Visits to nginx, HAProxy, mosquitto and Node, before and after a client was revoked."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from certwarden.model import TARGET_KINDS, Address, Admission, Answer
from certwarden.targets.client_probe import TlsClientProbe
from tests.builders import a_pair
from tests.targets.clients import an_authority
from tests.waiting import wait_until
from tests.world import tools
from tests.world.haproxy import Haproxy
from tests.world.mosquitto import Mosquitto
from tests.world.nginx import Nginx
from tests.world.process import Child, free_port

pytestmark = pytest.mark.world

LET_IN, REFUSED, UNKNOWN = Admission.LET_IN, Admission.REFUSED, Admission.UNKNOWN
AUTHORITY = an_authority()
GOOD, REVOKED = AUTHORITY.client("good"), AUTHORITY.client("revoked")

Reload = Callable[[], None]

NODE_SERVER = """
const fs = require('fs');
const [directory, port, options] = process.argv.slice(2);
const read = (name) => fs.readFileSync(`${directory}/${name}`);
const material = () => ({
  key: read('privkey.pem'), cert: read('fullchain.pem'), ca: read('client-ca.pem'),
  crl: read('client-crl.pem'), ...eval(`(${options})`),
});
const server = require('https').createServer(
  { ...material(), requestCert: true, rejectUnauthorized: true },
  (request, response) => response.end('hello'),
);
process.on('SIGHUP', () => server.setSecureContext(material()));
server.listen(Number(port), '127.0.0.1');
"""


class Files:
    """What the programs read, in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        pair = a_pair(["localhost"])
        self._write("fullchain.pem", pair.fullchain_pem)
        self._write("privkey.pem", pair.key_pem.reveal())
        self._write("combined.pem", pair.fullchain_pem + pair.key_pem.reveal())
        self._write("client-ca.pem", AUTHORITY.root_pem)
        self.list_nobody()

    def list_nobody(self) -> None:
        self._write("client-crl.pem", AUTHORITY.trust(1).crl.pem)

    def list_the_revoked(self) -> None:
        trust = AUTHORITY.trust(2, [REVOKED.certificate.serial])
        self._write("client-crl.pem", trust.crl.pem)

    def empty_the_list(self) -> None:
        self._write("client-crl.pem", b"")

    def _write(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)


class Backend(BaseHTTPRequestHandler):
    """The program behind a proxy."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    """Its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextmanager
def nginx(files: Files, backend: int, options: str) -> Iterator[tuple[TlsClientProbe, Nginx]]:
    port, d = free_port(), files.directory
    text = f"""
server {{
    listen {port} ssl;
    server_name localhost;
    ssl_certificate {d}/fullchain.pem;
    ssl_certificate_key {d}/privkey.pem;
    ssl_client_certificate {d}/client-ca.pem;
    ssl_crl {d}/client-crl.pem;
    ssl_verify_client on;
    {options}
    location / {{ proxy_pass http://127.0.0.1:1880; }}
}}
"""
    with Nginx(d / "nginx", text, port=port, backend_port=backend) as program:
        yield probe("nginx", port), program


@contextmanager
def haproxy(files: Files, backend: int, options: str) -> Iterator[tuple[TlsClientProbe, Haproxy]]:
    port, d = free_port(), files.directory
    text = f"""
frontend front
    bind :{port} ssl crt {d}/combined.pem verify required ca-file {d}/client-ca.pem \
crl-file {d}/client-crl.pem {options}
    default_backend back
backend back
    server one 127.0.0.1:1880
"""
    with Haproxy(d / "haproxy", text, port=port, backend_port=backend) as program:
        yield probe("haproxy", port), program


@contextmanager
def mosquitto(files: Files) -> Iterator[tuple[TlsClientProbe, Mosquitto]]:
    port, d = free_port(), files.directory
    text = f"""
listener {port}
certfile {d}/fullchain.pem
keyfile {d}/privkey.pem
cafile {d}/client-ca.pem
crlfile {d}/client-crl.pem
require_certificate true
allow_anonymous false
"""
    with Mosquitto(d / "mosquitto", text, port=port) as program:
        yield probe("mosquitto", port), program


@contextmanager
def node(files: Files, options: str) -> Iterator[tuple[TlsClientProbe, Reload]]:
    port, d = free_port(), files.directory
    script = d / "server.js"
    script.write_text(NODE_SERVER)
    child = Child([tools.node(20), script, d, str(port), options], log=d / "node.log")
    try:
        visitor = probe("node-red", port)
        child.wait_until(lambda: visitor.visit(GOOD).answer.admission is LET_IN, timeout=30)
        yield visitor, lambda: os.kill(child.pid, signal.SIGHUP)
    finally:
        child.stop(gently=False)


def probe(kind: str, port: int) -> TlsClientProbe:
    return TlsClientProbe(Address("127.0.0.1", port), "localhost", TARGET_KINDS[kind], timeout=20)


def after_revocation(
    files: Files, visitor: TlsClientProbe, reload: Reload
) -> tuple[Answer, Answer]:
    """What the revoked client is told, and what with the session that it had been given before.

    Sees to it that everybody else is received as they should be.
    """
    assert visitor.visit(None).answer.admission is REFUSED
    assert visitor.visit(an_authority().client("good")).answer.admission is REFUSED
    before = visitor.visit(REVOKED)
    assert before.answer.admission is LET_IN
    assert before.again().admission is LET_IN

    files.list_the_revoked()
    reload()
    # For a moment, workers from before a reload may take connections too.
    wait_until(
        lambda: all(visitor.visit(REVOKED).answer.admission is REFUSED for _ in range(10)),
        "the new list",
    )

    again = before.again()
    assert visitor.visit(GOOD).answer.admission is LET_IN
    return visitor.visit(REVOKED).answer, again


SAFE = "ssl_session_cache off; ssl_session_tickets off;"
TLS_1_2, TLS_1_3 = "ssl_protocols TLSv1.2;", "ssl_protocols TLSv1.3;"


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_nginx_refuses_by_status(files: Files, backend: int, version: str) -> None:
    """A session from before is of no use where there is no cache."""
    with nginx(files, backend, f"{version} {SAFE}") as (visitor, program):
        revoked, again = after_revocation(files, visitor, program.reload)

    assert revoked == again
    assert revoked == Answer(REFUSED, f"{program.address} answered it with HTTP 400")


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("tickets", ["ssl_session_tickets off;", ""])
def test_the_trap_of_a_shared_session_cache_is_found(
    files: Files, backend: int, version: str, tickets: str
) -> None:
    """It outlives a reload: with tickets too, for clients of TLS 1.2 that do not ask for one."""
    options = f"{version} ssl_session_cache shared:SSL:1m; {tickets}"
    with nginx(files, backend, options) as (visitor, program):
        revoked, again = after_revocation(files, visitor, program.reload)

    is_trap = version == TLS_1_2 or tickets != ""
    assert revoked.admission is REFUSED
    assert again.admission is (LET_IN if is_trap else REFUSED)
    assert ("in a resumed session of TLSv1" in again.what) == is_trap


def test_a_page_for_the_refused_refuses(files: Files, backend: int) -> None:
    """As our own snippet has it."""
    page = "error_page 495 496 =403 /no; location = /no { internal; return 403; }"
    with nginx(files, backend, f"{SAFE} {page}") as (visitor, program):
        revoked, again = after_revocation(files, visitor, program.reload)

    assert revoked.what.endswith("answered it with HTTP 403")
    assert again.admission is REFUSED


@pytest.mark.parametrize("options", ["no-tls-tickets", "", "ssl-max-ver TLSv1.2"])
def test_haproxy_refuses_by_alert(files: Files, backend: int, options: str) -> None:
    """A reload starts other workers, who know nothing of sessions from before."""
    with haproxy(files, backend, options) as (visitor, program):
        revoked, again = after_revocation(files, visitor, program.reload)

    assert revoked.what.endswith("refused it in the handshake (alert: certificate revoked)")
    assert again.admission is REFUSED


def test_mosquitto_refuses_by_alert(files: Files) -> None:
    """Whom it lets in it answers with CONNACK, even if it then wants a password."""
    with mosquitto(files) as (visitor, program):
        assert visitor.visit(GOOD).answer.what.endswith("let it in (CONNACK)")
        revoked, again = after_revocation(files, visitor, program.reload)

    assert revoked.what.endswith("refused it in the handshake (alert: certificate revoked)")
    assert again.admission is REFUSED


def test_mosquitto_that_fails_open_is_found_out(files: Files) -> None:
    """With an empty list it lets everybody in, and says so only in its log."""
    with mosquitto(files) as (visitor, program):
        after_revocation(files, visitor, program.reload)
        files.empty_the_list()
        program.reload()

        wait_until(lambda: visitor.visit(REVOKED).answer.admission is LET_IN, "the empty list")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_node_drops_those_that_it_refuses(files: Files, version: str) -> None:
    """Without a word; and a new context has new keys for its tickets."""
    options = f"{{minVersion: '{version}', maxVersion: '{version}'}}"
    with node(files, options) as (visitor, reload):
        revoked, again = after_revocation(files, visitor, reload)

    assert revoked.what.endswith("dropped it without a word")
    assert again.admission is REFUSED


def test_the_trap_of_fixed_ticket_keys_is_found(files: Files) -> None:
    """With `ticketKeys` in its options, Node takes sessions from before a revocation."""
    with node(files, "{ticketKeys: Buffer.alloc(48, 7)}") as (visitor, reload):
        revoked, again = after_revocation(files, visitor, reload)

    assert revoked.admission is REFUSED
    assert again.admission is LET_IN
