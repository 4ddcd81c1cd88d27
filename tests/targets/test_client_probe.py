"""Visits to real servers, well-behaved and hostile: what each end of a visit says, and no more."""

import errno
import os
import socket
import ssl
import struct
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from certwarden import __version__
from certwarden.model import TARGET_KINDS, Address, Admission, Answer, KeyType, Pair, Protocol
from certwarden.ports import Visit
from certwarden.targets.client_probe import (
    TlsClientProbe,
    _Reception,
    _Way,
    build_request,
    judge,
)
from tests.builders import a_pair
from tests.targets.clients import HTTP_OK, VERSIONS, Secured, an_authority, demanding, take_up
from tests.targets.servers import Handler, a_closed_port, server_context, serving, tls
from tests.waiting import wait_until

PATIENT = 30.0  # seconds; nothing here takes as long, unless the machine is very busy
LET_IN, REFUSED, UNKNOWN = Admission.LET_IN, Admission.REFUSED, Admission.UNKNOWN
AUTHORITY = an_authority()
CLIENT = AUTHORITY.client("alice")
TRUST = AUTHORITY.trust()

INTERNAL_ERROR, CERTIFICATE_REVOKED, HANDSHAKE_FAILURE = 80, 44, 40


def visit(
    address: Address,
    client: Pair | None = CLIENT,
    *,
    kind: str = "node-red",
    name: str = "localhost",
    timeout: float = PATIENT,
) -> Visit:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return TlsClientProbe(address, name, TARGET_KINDS[kind], timeout).visit(client)


def answer(address: Address, client: Pair | None = CLIENT, **options: str | float) -> Answer:
    return visit(address, client, **options).answer  # type: ignore[arg-type]  # only for brevity


# ── what an answer says ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "reply", "admission"),
    [
        ("node-red", b"H", LET_IN),
        ("node-red", b"HTTP/1.1 200 OK\r\n", LET_IN),
        ("node-red", b"HTTP/1.1 403 Forbidden\r\n", LET_IN),
        ("files", b"HTTP/1.1 400 Bad Request\r\n", LET_IN),
        ("nginx", b"HTTP/1.1 400", REFUSED),
        ("nginx", b"HTTP/1.1 403 Forbidden\r\n", REFUSED),
        ("haproxy", b"HTTP/1.0 403 Forbidden\r\n", REFUSED),
        ("nginx", b"HTTP/1.1 401 Unauthorized\r\n", LET_IN),
        ("nginx", b"HTTP/1.1 502 Bad Gateway\r\n", LET_IN),
        ("nginx", b"HTTP/1.1 40", None),
        ("nginx", b"H", None),
        ("nginx", b"HTTX", LET_IN),
        ("nginx", b"HTTP/1.1 abc def", LET_IN),
        ("nginx", b"<html>400 Bad Request", LET_IN),
        ("nginx", b"\0" * 100, LET_IN),
        ("mosquitto", b"\x20\x02\x00\x00", LET_IN),
        ("mosquitto", b"\x20\x02\x00\x05", LET_IN),
        ("mosquitto", b"HTTP/1.1 400 Bad Request\r\n", LET_IN),
        ("haproxy", b"", None),
        ("mosquitto", b"", None),
    ],
)
def test_what_an_answer_says(kind: str, reply: bytes, admission: Admission | None) -> None:
    """Any byte lets in, save for 400 and 403 where the kind refuses so; half of one is nothing."""
    judged = judge(reply, TARGET_KINDS[kind])

    assert (judged and judged[0]) == admission


def test_what_a_client_of_http_says() -> None:
    """The name, who asks, and that nothing more will come."""
    request = build_request(Protocol.HTTP, "home.example.org", Address("::1", 1880)).decode()

    assert request.startswith("GET / HTTP/1.1\r\nHost: home.example.org:1880\r\n")
    assert f"\r\nUser-Agent: certwarden-probe/{__version__}\r\n" in request
    assert request.endswith("\r\nConnection: close\r\n\r\n")


def test_without_a_name_the_host_is_the_address() -> None:
    """A literal of IPv6 in brackets (RFC 3986 section 3.2.2)."""
    assert b"\r\nHost: [::1]:1880\r\n" in build_request(Protocol.HTTP, "", Address("::1", 1880))


def test_what_a_client_of_mqtt_says() -> None:
    """A CONNECT of MQTT 3.1.1, whose lengths are right: a broker drops any other."""
    request = build_request(Protocol.MQTT, "home.example.org", Address("::1", 8883))

    kind, length, name, level, flags, keep_alive, identifier_length = struct.unpack_from(
        ">BB6sBBHH", request
    )
    assert (kind, length) == (0x10, len(request) - 2)
    assert (name, level, flags, keep_alive) == (b"\x00\x04MQTT", 4, 2, 10)
    assert request[-identifier_length:] == b"certwarden-probe"


def test_a_websocket_is_asked_for_at_its_path() -> None:
    """As a browser does it (RFC 6455 section 4.1); MQTT knows no such thing."""
    address = Address("127.0.0.1", 1880)
    request = build_request(Protocol.HTTP, "example.org", address, "/comms")
    assert request.startswith(b"GET /comms HTTP/1.1\r\nHost: example.org:1880\r\n")
    assert b"\r\nUpgrade: websocket\r\n" in request
    assert request.endswith(b"\r\n\r\n")
    assert b"Upgrade" not in build_request(Protocol.HTTP, "example.org", address)
    mqtt = build_request(Protocol.MQTT, "", address, "/comms")
    assert mqtt == build_request(Protocol.MQTT, "", address)


# ── refused ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", VERSIONS)
def test_the_alert_is_told(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Why a client is refused is in it; TLS 1.3 says so only after our side's handshake."""
    trust = AUTHORITY.trust(2, [CLIENT.certificate.serial])
    with serving(Secured(demanding(trust, tmp_path, version))) as address:
        assert answer(address) == Answer(
            REFUSED, f"{address} refused it in the handshake (alert: certificate revoked)"
        )
        assert answer(address, an_authority().client("alice")).what.endswith("(alert: unknown ca)")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_reset", [False, True])
def test_a_connection_that_is_dropped_twice_was_refused(
    tmp_path: Path, version: ssl.TLSVersion, *, is_reset: bool
) -> None:
    """So does Node: it completes the handshake, and then says nothing."""
    dropping = Dropping(demanding(TRUST, tmp_path, version), is_reset=is_reset)
    with serving(dropping) as address:
        found = answer(address)

    assert found == Answer(REFUSED, f"{address} dropped it without a word")
    assert dropping.count == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_goodbye_in_place_of_an_answer_refuses(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """The orderly end of a stream is an end all the same."""
    context = demanding(TRUST, tmp_path, version)

    def part(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.unwrap()

    with serving(part) as address:
        assert answer(address).admission is REFUSED


def test_an_alert_that_ends_the_handshake_refuses(tmp_path: Path) -> None:
    """In TLS 1.2 the server says it at once."""
    context = server_context(a_pair(), tmp_path, ssl.TLSVersion.TLSv1_2)
    context.verify_mode = ssl.CERT_OPTIONAL
    with serving(tls(context)) as behind:
        middle = InTheMiddle(behind, after_flights=2, words=alert(CERTIFICATE_REVOKED))
        with serving(middle) as address:
            assert answer(address).admission is REFUSED


@pytest.mark.parametrize("status", [b"400 Bad Request", b"403 Forbidden"])
def test_the_status_refuses_where_the_kind_does(tmp_path: Path, status: bytes) -> None:
    """nginx and HAProxy speak TLS to the end first; from anything else it says nothing."""
    server = Secured(
        demanding(TRUST, tmp_path), lambda: b"HTTP/1.1 " + status + b"\r\n\r\n" + b"x" * 10_000
    )
    with serving(server) as address:
        found = [answer(address, kind=kind).admission for kind in ("nginx", "haproxy", "files")]

    assert found == [REFUSED, REFUSED, LET_IN]


# ── let in ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client", [CLIENT, None])
def test_who_asks_for_no_certificate_lets_everybody_in(
    tmp_path: Path, version: ssl.TLSVersion, client: Pair | None
) -> None:
    """With one to show or without."""
    with serving(Secured(server_context(a_pair(), tmp_path, version))) as address:
        assert answer(address, client) == Answer(LET_IN, f"{address} let it in (HTTP 200)")


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P384])
def test_clients_with_other_keys_are_let_in(tmp_path: Path, key_type: KeyType) -> None:
    """Whatever the private CA signs on request can be shown."""
    client = AUTHORITY.client("old", key_type=key_type)
    with serving(Secured(demanding(TRUST, tmp_path))) as address:
        assert answer(address, client).admission is LET_IN


@pytest.mark.parametrize("version", VERSIONS)
def test_the_session_is_used_and_renewed(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Each time with the newest one, so that a single use is no way out of it."""
    server = Secured(demanding(TRUST, tmp_path, version))
    with serving(server) as address:
        first = visit(address)
        before = server.resumptions
        answers = [first.again() for _ in range(3)]

    assert all(f"in a resumed session of {each_version(version)}" in each.what for each in answers)
    assert server.resumptions - before == 3


# In TLS 1.2 two by ticket and one by identifier: a session that OpenSSL drops, it also forgets.
@pytest.mark.parametrize(("version", "tries"), [(VERSIONS[0], 3), (VERSIONS[1], 2)])
def test_a_dropped_session_is_tried_again_as_a_session(
    tmp_path: Path, version: ssl.TLSVersion, tries: int
) -> None:
    """The second time must not be a full handshake, which says nothing about sessions."""
    replies: list[bytes | None] = [HTTP_OK]
    server = Secured(demanding(TRUST, tmp_path, version), lambda: replies[-1])
    with serving(server) as address:
        first = visit(address)
        replies.append(None)
        again = first.again()

    assert again.admission is REFUSED
    assert server.resumptions == tries


def test_a_session_without_a_ticket_is_found_to_outlive_one_with(tmp_path: Path) -> None:
    """As in nginx' shared cache: who asks for no ticket gets in where who has one does not."""
    context = demanding(TRUST, tmp_path, ssl.TLSVersion.TLSv1_2)
    with serving(Secured(context)) as address:
        first = visit(address)
        take_up(context, AUTHORITY.trust(2, [CLIENT.certificate.serial]), tmp_path)
        context.options |= ssl.OP_NO_TICKET  # sent none and takes none, but has its cache

        assert answer(address).admission is REFUSED
        assert first.again() == Answer(
            LET_IN, f"{address} let it in (HTTP 200), in a resumed session of TLSv1.2"
        )


@pytest.mark.parametrize(
    ("admissions", "shown"),
    [
        ([LET_IN, LET_IN, LET_IN], [None, 0, 1]),
        ([LET_IN, REFUSED, LET_IN], [None, 0, 0]),
        ([REFUSED, REFUSED, LET_IN], [None, 0, 0]),
        ([UNKNOWN, UNKNOWN, LET_IN], [None, None, None]),
    ],
)
def test_the_newest_session_of_being_let_in_is_shown(
    admissions: list[Admission], shown: list[int | None]
) -> None:
    """One that may be used only once is soon worth nothing; one of a refusal never was."""
    sessions = [cast("ssl.SSLSession", object()) for _ in admissions]
    given: list[ssl.SSLSession | None] = []

    def call(session: ssl.SSLSession | None) -> _Reception:
        place = len(given)
        given.append(session)
        has_one = admissions[place] is not UNKNOWN
        return _Reception(admissions[place], "", session=sessions[place] if has_one else None)

    way = _Way(call)
    for _ in admissions:
        way.go()

    assert given == [None if place is None else sessions[place] for place in shown]


# ── unknown ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("afterwards", "admission"), [("gone", UNKNOWN), ("up", LET_IN), ("silent", UNKNOWN)]
)
def test_a_program_that_is_restarted_refuses_nobody(
    tmp_path: Path, afterwards: str, admission: Admission
) -> None:
    """Its connections are dropped as Node drops one, so a second visit decides."""
    context = demanding(TRUST, tmp_path)
    first, second = Dropping(context), Secured(context)
    listener: list[Callable[[], None]] = []

    def handle(connection: socket.socket) -> None:
        if first.count:
            return second(connection) if afterwards == "up" else silent(connection)
        if afterwards == "gone":
            listener[0]()
        return first(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        listener.append(lambda: server.shutdown(socket.SHUT_RDWR))
        thread = threading.Thread(target=serve, args=[server, handle], daemon=True)
        thread.start()
        timeout = 1 if afterwards == "silent" else PATIENT
        found = answer(Address("127.0.0.1", server.getsockname()[1]), timeout=timeout)
        server.close()

    assert found.admission is admission


def test_nobody_at_the_port_is_unknown() -> None:
    """A program that is stopped refuses no one in particular."""
    address = a_closed_port()

    assert answer(address) == Answer(UNKNOWN, f"nobody answers at {address}: Connection refused")


def test_a_name_without_an_address_is_unknown() -> None:
    """RFC 6761 promises that this name has none."""
    assert answer(Address("nobody.invalid", 443), timeout=5).admission is UNKNOWN


def test_plain_http_is_unknown() -> None:
    """Even if it is the status that would refuse within TLS."""

    def http(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with serving(http) as address:
        found = answer(address, kind="nginx")

    assert found.admission is UNKNOWN
    assert "plain HTTP" in found.what


@pytest.mark.parametrize("is_reset", [False, True])
def test_an_end_before_the_handshake_is_unknown(*, is_reset: bool) -> None:
    """A firewall, or a program without a certificate, drops everybody."""

    def drop(connection: socket.socket) -> None:
        connection.recv(1)
        end(connection, is_reset=is_reset)

    with serving(drop) as address:
        assert answer(address).admission is UNKNOWN


@pytest.mark.parametrize("version", VERSIONS)
def test_an_end_in_the_servers_flight_is_unknown(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """We have shown nothing by then."""
    with serving(Secured(demanding(TRUST, tmp_path, version))) as behind:

        def cut(connection: socket.socket) -> None:
            with socket.create_connection((behind.host, behind.port)) as upstream:
                upstream.sendall(connection.recv(65536))
                connection.sendall(upstream.recv(200))
                end(connection, is_reset=True)

        with serving(cut) as address:
            assert answer(address).admission is UNKNOWN


def test_an_alert_before_the_certificate_is_unknown() -> None:
    """A server without a certificate of its own refuses everybody."""
    with serving(tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))) as address:
        found = answer(address)

    assert found.admission is UNKNOWN
    assert "alert handshake failure" in found.what


def test_an_alert_after_our_second_greeting_is_unknown(tmp_path: Path) -> None:
    """A HelloRetryRequest (RFC 8446 section 4.1.4) is not answered with a certificate."""
    context = demanding(TRUST, tmp_path)
    context.set_ecdh_curve("secp384r1")
    with serving(Secured(context)) as behind:
        assert answer(behind).admission is LET_IN
        middle = InTheMiddle(behind, after_flights=2, words=alert(HANDSHAKE_FAILURE))
        with serving(middle) as address:
            assert answer(address).admission is UNKNOWN


@pytest.mark.parametrize("asks", [False, True])
def test_an_internal_error_is_unknown(tmp_path: Path, *, asks: bool) -> None:
    """By definition it has nothing to do with us, whether our certificate was asked for or not."""
    context = server_context(a_pair(), tmp_path, ssl.TLSVersion.TLSv1_2)
    context.verify_mode = ssl.CERT_OPTIONAL if asks else ssl.CERT_NONE
    with serving(tls(context)) as behind:
        middle = InTheMiddle(behind, after_flights=2, words=alert(INTERNAL_ERROR))
        with serving(middle) as address:
            assert answer(address).admission is UNKNOWN


def test_an_alert_where_no_certificate_was_asked_for_is_unknown(tmp_path: Path) -> None:
    """What was not shown cannot be refused."""
    context = server_context(a_pair(), tmp_path, ssl.TLSVersion.TLSv1_2)
    with serving(tls(context)) as behind:
        middle = InTheMiddle(behind, after_flights=2, words=alert(HANDSHAKE_FAILURE))
        with serving(middle) as address:
            assert answer(address).admission is UNKNOWN


@pytest.mark.parametrize("version", VERSIONS)
def test_garbage_after_the_handshake_is_unknown(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """What breaks TLS says nothing about a certificate."""
    context = demanding(TRUST, tmp_path, version)

    def babble(connection: socket.socket) -> None:
        secure = context.wrap_socket(connection, server_side=True)
        secure.recv(65536)
        raw = socket.socket(fileno=secure.detach())
        with raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
            raw.recv(65536)

    with serving(babble) as address:
        assert answer(address).admission is UNKNOWN


@pytest.mark.parametrize(
    ("piece", "ends"), [(b"", False), (b"HTTP/1.1 4", False), (b"HTTP/1.1 4", True)]
)
def test_half_an_answer_is_unknown(tmp_path: Path, piece: bytes, *, ends: bool) -> None:
    """Nothing, or half a status line from nginx, that ends there or never ends."""
    context = demanding(TRUST, tmp_path)

    def begin(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(piece)
            if not ends:
                secure.recv(65536)

    with serving(begin) as address:
        found = answer(address, kind="nginx", timeout=PATIENT if ends else 1)

    assert found.admission is UNKNOWN


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
    """The limit is for the whole of a visit, however it is spun out."""
    begun = time.monotonic()
    with serving(tarpit) as address:
        found = answer(address, timeout=0.5)

    assert found == Answer(UNKNOWN, f"{address} gives no answer in time")
    assert time.monotonic() - begun < PATIENT / 2


def test_no_end_of_a_conversation_is_an_end(tmp_path: Path) -> None:
    """A server that floods us with empty records is left after a quarter of a megabyte."""
    context = demanding(TRUST, tmp_path, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION

    def flood(connection: socket.socket) -> None:
        with serving(Secured(context)) as behind:
            middle = InTheMiddle(
                behind, after_flights=1, words=b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 100_000
            )
            middle(connection)

    with serving(flood) as address:
        assert answer(address, timeout=5).admission is UNKNOWN


@pytest.mark.parametrize(
    "name", [".", "a" * 300, "x..y", "\0", "b\N{LATIN SMALL LETTER U WITH DIAERESIS}"]
)
def test_a_name_that_cannot_be_asked_for_is_told(tmp_path: Path, name: str) -> None:
    """The configuration is checked elsewhere; a visit never raises all the same."""
    with serving(Secured(demanding(TRUST, tmp_path))) as address:
        found = answer(address, name=name)

    assert found.admission is UNKNOWN
    assert found.what.isprintable()


# ── the key ───────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_on_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python loads it by a path; what that leads to has no name, and is gone at once."""
    opened: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def watch(context: ssl.SSLContext, path: str) -> None:
        opened.append(str(Path(path).readlink()))
        load(context, path)

    context = demanding(TRUST, tmp_path)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watch)
    with serving(Secured(context)) as address:
        assert answer(address).admission is LET_IN

    assert set(opened) == {"/memfd:certwarden-client (deleted)"}


def test_without_such_memory_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may forbid it; then a sentence says so, and nothing is tried."""

    def refuse(_name: str, _flags: int) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    first = visit(a_closed_port())

    expected = "the client certificate cannot be shown: Operation not permitted"
    assert first.answer == first.again() == Answer(UNKNOWN, expected)


def test_a_key_of_another_certificate_cannot_be_shown() -> None:
    """Nor is anything of it in the sentence."""
    pair = replace(CLIENT, key_pem=a_pair().key_pem)

    found = answer(a_closed_port(), pair)

    assert found == Answer(UNKNOWN, "the client certificate cannot be shown: key values mismatch")


def test_nothing_is_left_open(tmp_path: Path) -> None:
    """Connections and the key's memory are closed whatever comes of them."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with serving(Secured(demanding(TRUST, tmp_path))) as address:
        for _ in range(5):
            visit(address).again()
            visit(address, None).again()
    visit(a_closed_port()).again()
    wait_until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)


# ── hostile servers ───────────────────────────────────────────────────────────────────────────────


class Dropping:
    """Completes the handshake, and drops the connection before it has read the request."""

    def __init__(self, context: ssl.SSLContext, *, is_reset: bool = False) -> None:
        self._context = context
        self._is_reset = is_reset
        self.count = 0

    def __call__(self, connection: socket.socket) -> None:
        secure = self._context.wrap_socket(connection, server_side=True)
        self.count += 1
        with socket.socket(fileno=secure.detach()) as raw:
            end(raw, is_reset=self._is_reset)


class InTheMiddle:
    """Hands everything on to the server behind, but after so many flights of the client's, and
    then says these words itself.
    """

    def __init__(self, behind: Address, *, after_flights: int, words: bytes) -> None:
        self._behind = behind
        self._after_flights = after_flights
        self._words = words

    def __call__(self, connection: socket.socket) -> None:
        with socket.create_connection((self._behind.host, self._behind.port)) as upstream:
            for _ in range(self._after_flights - 1):
                upstream.sendall(connection.recv(65536))
                connection.sendall(upstream.recv(65536))
            connection.recv(65536)
            connection.sendall(self._words)
            connection.recv(65536)


def alert(number: int) -> bytes:
    """A fatal alert as it is before encryption (RFC 5246 section 7.2)."""
    return b"\x15\x03\x03\x00\x02\x02" + bytes([number])


def end(connection: socket.socket, *, is_reset: bool) -> None:
    if is_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def serve(server: socket.socket, handle: Handler) -> None:
    """One connection after the other, until the listener is shut down."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            try:
                handle(connection)
            except OSError:
                continue


def each_version(version: ssl.TLSVersion) -> str:
    """As OpenSSL writes it."""
    return version.name.replace("_", ".")
