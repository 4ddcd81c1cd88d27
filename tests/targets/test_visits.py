"""What strangers are shown beside the leaf."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from certwarden.model import Address
from certwarden.targets import visits
from certwarden.targets.visits import exposed, served_chain, speaks_plain_http
from tests.builders import a_pair
from tests.targets.servers import a_closed_port, server_context, serving, tls, write_pair
from tests.targets.trust import SmallAuthority


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_chain_is_seen_as_it_is_shown(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Whole, or the leaf alone; also by a server that then asks for a certificate."""
    pair = a_pair()
    certificate, key = write_pair(pair, tmp_path)
    for chain, length in ((pair.fullchain_pem, 2), (pair.chain_pem[0], 1)):
        certificate.write_bytes(chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = version
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(cadata=SmallAuthority().root_pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        with serving(tls(context)) as address:
            assert len(served_chain(address, "example.org")) == length


def test_where_nothing_is_shown_there_is_no_chain() -> None:
    """Nobody there, or somebody who speaks something else."""
    assert served_chain(a_closed_port(), "example.org") == ()
    with serving(lambda connection: connection.sendall(b"HTTP/1.1 400 \r\n\r\n")) as address:
        assert served_chain(address, "example.org") == ()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\nLocation: /ui\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nlocation: https://example.org/\r\n\r\n", True),
        (b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", False),
        (b"HTTP/1.1 301 Moved Permanently\r\nlocation: HTTPS://example.org/\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"", False),
    ],
)
def test_a_door_that_asks_for_tls_is_no_way_around(head: bytes, *, expected: bool) -> None:
    """A proxy's port for TLS answers a plain request with 400, or sends it to HTTPS."""

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(head)

    with serving(answer) as address:
        assert speaks_plain_http(address) is expected
    assert not speaks_plain_http(a_closed_port())


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"HT", b"TP/1.1 200 OK\r\n"], True),
        ([b"HTTP/1.1 301 Moved\r\nLoc", b"ation: https://example.org/\r\n\r\n"], False),
    ],
)
def test_an_answer_may_come_in_pieces_and_without_an_end(
    pieces: list[bytes], *, expected: bool
) -> None:
    """What has been heard when the time is over counts."""
    release = threading.Event()

    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            release.wait(0.05)
        release.wait(30)

    with serving(answer) as address:
        assert speaks_plain_http(address, timeout=0.4) is expected
        release.set()


def test_tls_is_no_plain_http(tmp_path: Path) -> None:
    """A guarded Node-RED at its usual port is no way around."""
    with serving(tls(server_context(a_pair(), tmp_path))) as address:
        assert not speaks_plain_http(address)


@pytest.mark.parametrize(
    ("host", "bound", "reached"),
    [
        ("0.0.0.0", "0.0.0.0", "127.0.0.1"),
        ("::", "::", "::1"),
        ("127.0.0.1", None, None),
        ("127.0.0.2", None, None),
    ],
)
def test_listeners_for_others_are_found(host: str, bound: str | None, reached: str | None) -> None:
    """Those for this machine alone are nobody's way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        found = {(each.bound, each.reached) for each in exposed({port})}
    wanted = set() if bound is None else {(Address(bound, port), Address(reached or "", port))}
    assert found == wanted


def test_without_the_kernels_table_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container without /proc."""
    monkeypatch.setattr(visits, "_TABLES", (Path("/nonexistent"),))
    assert exposed({1880}) == ()
