"""One look at real servers, well-behaved and hostile: never an exception, never without end."""

import contextlib
import socket
import ssl
import struct
import threading
import time
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from certwarden.model import Address, KeyType, NoHandshake, Pair, Secret, Seen, Served, Unreachable
from certwarden.pki.certificate import read_pair
from certwarden.pki.keys import serialise_key
from certwarden.targets.probe import TlsProbe
from tests.builders import NOW, a_pair
from tests.targets.servers import (
    Handler,
    a_closed_port,
    server_context,
    serving,
    tls,
    write_pair,
)
from tests.waiting import wait_until
from tests.world.server import context_for

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
PATIENT = 30.0  # seconds; nothing here takes as long, unless the machine is very busy


def look(address: Address, name: str = "example.org", timeout: float = PATIENT) -> Seen:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return TlsProbe(address, name, timeout).look()


def what(seen: Seen) -> str:
    assert isinstance(seen, NoHandshake | Unreachable)
    return seen.what


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_leaf_is_seen(tmp_path: Path, version: ssl.TLSVersion, host: str) -> None:
    """In both versions of TLS, over IPv4 and IPv6."""
    pair = a_pair()
    with contextlib.ExitStack() as stack:
        try:
            handler = tls(server_context(pair, tmp_path, version))
            address = stack.enter_context(serving(handler, host))
        except OSError:
            pytest.skip(f"there is no {host} here")

        assert look(address) == Served(pair.certificate)


def test_a_name_is_resolved(tmp_path: Path) -> None:
    """And every address of it is tried: localhost is often ::1 first."""
    pair = a_pair()
    with serving(tls(server_context(pair, tmp_path))) as address:
        assert look(Address("localhost", address.port)) == Served(pair.certificate)


def test_the_server_is_asked_for_the_name(tmp_path: Path) -> None:
    """A server of many names shows the certificate of this one."""
    by_name = {"a.example": a_pair(["a.example"]), "b.example": a_pair(["b.example"])}
    contexts = {}
    for name, pair in by_name.items():
        (tmp_path / name).mkdir()
        contexts[name] = server_context(pair, tmp_path / name)
    front = server_context(a_pair(), tmp_path)

    def choose(tls_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name in contexts:
            tls_socket.context = contexts[name]

    front.sni_callback = choose
    with serving(tls(front)) as address:
        for name, pair in by_name.items():
            assert look(address, name) == Served(pair.certificate)


@pytest.mark.parametrize("name", ["", "127.0.0.1", "::1"])
def test_without_a_name_nobody_is_asked_for(tmp_path: Path, name: str) -> None:
    """A literal is no server name (RFC 6066 section 3)."""
    pair = a_pair()
    with serving(tls(server_context(pair, tmp_path))) as address:
        assert look(address, name) == Served(pair.certificate)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_demands_a_client_certificate_shows_its_leaf(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Up to TLS 1.2 it breaks off before the end, but after it has signed."""
    pair = a_pair()
    context = server_context(pair, tmp_path, version)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tmp_path / "served-chain.pem")
    with serving(tls(context)) as address:
        assert look(address) == Served(pair.certificate)


def test_a_certificate_without_its_key_is_not_served(tmp_path: Path) -> None:
    """Whoever shows a leaf must prove that he holds its key: else anybody could show it."""
    by_length: dict[int, Pair] = {}
    while True:  # the lengths of the signatures vary by a byte or two
        other = a_pair()
        theirs = der_of(other.chain_pem[0])
        if len(theirs) in by_length:
            break
        by_length[len(theirs)] = other
    ours = der_of(by_length[len(theirs)].chain_pem[0])
    real = server_context(other, tmp_path, ssl.TLSVersion.TLSv1_2)

    with serving(tls(real)) as behind:

        def in_the_middle(connection: socket.socket) -> None:
            with socket.create_connection((behind.host, behind.port)) as upstream:
                threading.Thread(target=pump, args=[connection, upstream, b"", b""]).start()
                pump(upstream, connection, theirs, ours)

        with serving(in_the_middle) as address:
            assert isinstance(look(address), NoHandshake)


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def pump(source: socket.socket, sink: socket.socket, old: bytes, new: bytes) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data.replace(old, new) if old else data)


def test_a_weak_certificate_is_seen_too(tmp_path: Path) -> None:
    """What a blog's RSA 1024 serves is what is to be replaced: it must be visible."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .sign(key, SHA256())
    )
    key_pem = Secret(serialise_key(key).reveal())
    pair = read_pair(key_pem, certificate.public_bytes(Encoding.PEM))
    with serving(tls(server_context(pair, tmp_path, ssl.TLSVersion.TLSv1_2))) as address:
        assert look(address) == Served(pair.certificate)


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_other_kinds_of_keys_are_seen(tmp_path: Path, key_type: KeyType) -> None:
    """The longer ones of each differ in nothing but time."""
    pair = a_pair(key_type=key_type)
    with serving(tls(server_context(pair, tmp_path))) as address:
        assert look(address) == Served(pair.certificate)


def test_nobody_at_the_port_is_unreachable() -> None:
    """As a program that is stopped."""
    seen = look(a_closed_port())

    assert isinstance(seen, Unreachable)
    assert "refused" in seen.what


def test_a_name_without_an_address_is_unreachable() -> None:
    """RFC 6761 promises that this name has none."""
    seen = look(Address("nobody.invalid", 443), timeout=5)

    assert isinstance(seen, Unreachable)
    assert "nobody.invalid" in seen.what


@pytest.mark.parametrize(
    "host", ["", "a" * 64 + ".example", "a..b", "\N{SNOWMAN}" * 70, "exa mple"]
)
def test_a_name_that_cannot_be_one_is_unreachable(host: str) -> None:
    """Whatever the resolver throws at it."""
    assert isinstance(look(Address(host, 9), timeout=5), Unreachable)


def test_a_resolver_that_hangs_does_not_hold_us_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no time limit of its own."""
    release = threading.Event()

    def hang(*_arguments: object, **_options: object) -> list[object]:
        release.wait(PATIENT)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        assert "no answer in time" in what(look(Address("slow.example", 443), timeout=0.2))
    finally:
        release.set()


def test_plain_http_is_told_as_such() -> None:
    """The commonest mistake: `https` is not switched on."""

    def http(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with serving(http) as address:
        seen = look(address)

    assert isinstance(seen, NoHandshake)
    assert "plain HTTP" in seen.what


@pytest.mark.parametrize("size", [0, 3, 517])
def test_a_server_that_hangs_up_does_not_shake_hands(size: int) -> None:
    """At once, or in the midst of our greeting."""

    def hang_up(connection: socket.socket) -> None:
        if size:
            connection.recv(size)

    with serving(hang_up) as address:
        assert isinstance(look(address), NoHandshake)


def test_a_reset_does_not_shake_hands() -> None:
    """As a Node-RED without a certificate, or a firewall, may answer."""

    def reset(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with serving(reset) as address:
        assert isinstance(look(address), NoHandshake)


def test_a_server_without_a_certificate_is_told() -> None:
    """It answers by an alert: somebody is there, and speaks TLS."""
    with serving(tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))) as address:
        seen = look(address)

    assert isinstance(seen, NoHandshake)
    assert "alert" in seen.what


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def dripping(connection: socket.socket) -> None:
    """A record that never gets whole, a byte at a time."""
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while True:
        connection.sendall(b"\x0b")
        time.sleep(0.05)


@pytest.mark.parametrize("tarpit", [silent, dripping])
def test_a_tarpit_is_left_in_time(tarpit: Handler) -> None:
    """The limit is for the whole of a look, however it is spun out."""
    begun = time.monotonic()
    with serving(tarpit) as address:
        seen = look(address, timeout=0.5)

    assert isinstance(seen, NoHandshake)
    assert "0.5 s" in seen.what
    assert time.monotonic() - begun < PATIENT / 2


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 100_000,
        b"\x16\x03\x03\x00\x04\x02\xff\xff\xff" * 1000,
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x16\x03\x03\x40\x00" + b"\x0b\xff\xff\xff" * 4096,
        b"HTTP/1.1 \x1b[31m\r\n" * 10,
        b"220 mail.example ESMTP\r\n",
    ],
)
def test_garbage_does_not_shake_hands(garbage: bytes) -> None:
    """And what the other side says cannot get at a terminal."""

    def babble(connection: socket.socket) -> None:
        connection.sendall(garbage)
        silent(connection)

    with serving(babble) as address:
        seen = look(address, timeout=2)

    assert isinstance(seen, NoHandshake)
    assert seen.what.isprintable()


def test_no_end_of_a_handshake_is_an_end() -> None:
    """A server that floods us is left after a quarter of a megabyte."""

    def flood(connection: socket.socket) -> None:
        # Handshake messages that OpenSSL ignores while it waits for the first: HelloRequest.
        while True:
            connection.sendall(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 1000)

    with serving(flood) as address:
        assert isinstance(look(address), NoHandshake)


@pytest.mark.parametrize("name", [".", "a" * 300, "x..y", "\0"])
def test_a_name_that_cannot_be_asked_for_is_told(tmp_path: Path, name: str) -> None:
    """The configuration is checked elsewhere; a look never raises all the same."""
    with serving(tls(server_context(a_pair(), tmp_path))) as address:
        assert isinstance(look(address, name), NoHandshake)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),  # a version that does not exist
        (b"\x82\x0bexample.org", b"\x82\x0b\xff\xfe\xfdmple.org"),  # a name that is not ASCII
    ],
)
def test_a_malformed_certificate_is_no_certificate(
    tmp_path: Path, part: bytes, instead: bytes
) -> None:
    """OpenSSL does not mind, but whoever reads it would stumble."""
    pair = a_pair()
    chain, key = write_pair(pair, tmp_path)
    der = der_of(pair.chain_pem[0])
    assert part in der
    chain.write_text(ssl.DER_cert_to_PEM_cert(der.replace(part, instead)))
    with serving(tls(context_for(chain, key))) as address:
        seen = look(address)

    assert isinstance(seen, NoHandshake)
    assert "certificate" in seen.what


def test_nothing_is_left_open(tmp_path: Path) -> None:
    """Connections are closed whatever comes of them: the warnings of a leak are errors here."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with serving(tls(server_context(a_pair(), tmp_path))) as address:
        for _ in range(20):
            look(address)
    for _ in range(20):
        look(a_closed_port())
    wait_until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
