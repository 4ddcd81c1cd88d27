"""The door, by real sockets with TLS: every limit, and how it is shut."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from certwarden.enrolment.exchange import MAX_BODY, Reply, Request
from certwarden.enrolment.listener import source_of
from certwarden.errors import StoreError
from tests.enrolment.opened import (
    DEFAULT,
    PATIENCE,
    Opened,
    a_client_ca,
    echo,
    get,
    heard,
    opened,
    post,
    standing,
    taken_apart,
)
from tests.waiting import wait_until
from tests.world.authority import TestAuthority
from tests.world.server import context_for


class House(NamedTuple):
    """What a listener and its clients need to trust each other."""

    directory: Path
    authority: TestAuthority
    context: ssl.SSLContext
    trust: ssl.SSLContext


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    directory = tmp_path_factory.mktemp("tls")
    authority = TestAuthority(directory)
    return House(
        directory, authority, authority.server_context("house"), authority.client_context()
    )


@contextlib.contextmanager
def door(house: House, *arguments: object, **options: object) -> Iterator[Opened]:
    with opened(house.context, house.trust, *arguments, **options) as it:  # type: ignore[arg-type]  # passed on
        yield it


class Turn:
    """An answer that waits until it may go on, and counts how many wait in it at once."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.begun: list[str] = []
        self.threads: set[int] = set()
        self.at_once = 0
        self.most_at_once = 0

    def __call__(self, request: Request) -> Reply:
        self.begun.append(request.path)
        self.threads.add(threading.get_ident())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.may_go_on.wait(PATIENCE)
        self.at_once -= 1
        return echo(request)


def hung_up(line: socket.socket) -> bool:
    """Whether the other side has closed, properly or not, within the test's patience."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


# ── one request ───────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_answered_and_the_connection_ended(house: House) -> None:
    """One request, one reply with its length, a proper end of TLS; then the next connection."""
    with door(house) as it:
        for path in ("/", "/second?query"):
            reply = it.ask(get(path))
            assert reply.status == 200
            assert reply.body == f"GET {path.partition('?')[0]}\n".encode()
            assert reply.headers["connection"] == "close"
            assert reply.headers["cache-control"] == "no-store"


def test_a_large_reply_arrives_whole(house: House) -> None:
    """Also when it is longer than every buffer under way, and is read slowly at first."""
    body = os.urandom(3_000_000)
    with door(house, lambda _: Reply(200, "text/plain", body)) as it:
        assert it.ask(get()).body == body


def test_curl_speaks_with_it(house: House, tmp_path: Path) -> None:
    """HEAD, an expectation, a chunked body and one that is too long, as a program sends them."""
    upload = tmp_path / "upload"

    def curl(*arguments: str) -> str:
        host, port = it.address
        trusting = ["curl", "-sS", "--cacert", str(house.authority.bundle), "--noproxy", "*"]
        done = subprocess.run(
            [*trusting, *arguments, f"https://{host}:{port}/path"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout

    with door(house, limits=replace(DEFAULT, farewell=60)) as it:
        assert curl() == "GET /path\n"
        assert curl("--http1.0", "-d", "abc") == "POST /path\nabc"
        assert "content-length: 11" in curl("-I").lower()
        upload.write_bytes(b"x" * MAX_BODY)
        sent = ("--data-binary", f"@{upload}", "-H", "Expect: 100-continue")
        assert len(curl(*sent)) == MAX_BODY + len("POST /path\n")
        assert len(curl(*sent, "-H", "Transfer-Encoding: chunked")) == MAX_BODY + len(
            "POST /path\n"
        )
        upload.write_bytes(b"x" * 3_000_000)
        assert "32 KiB" in curl(*sent)
        assert "32 KiB" in curl(*sent[:2], "-H", "Expect:")
        assert not it.reported


def test_a_second_request_is_not_looked_at(house: House) -> None:
    """What is sent behind the first gets no reply, and does not spoil the one that there is."""
    asked: list[str] = []

    def answer(request: Request) -> Reply:
        asked.append(request.path)
        return echo(request)

    with door(house, answer) as it:
        assert it.ask(get("/one") + get("/two") * 1000).body == b"GET /one\n"
    assert asked == ["/one"]


def test_a_refused_request_is_told_why(house: House) -> None:
    """The status comes before the body has been sent, and nobody is asked for an answer."""
    turn = Turn()
    with door(house, turn) as it:
        assert it.ask(b"GET / HTTP/1.1\r\n\r\n").status == 400
        with it.call() as line:
            line.sendall(post(b"").replace(b"Length: 0", b"Length: 100000000"))
            assert heard(line).status == 413
    assert not turn.begun


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff", b"\x00" * 100]
)
def test_what_is_no_tls_is_hung_up_on(house: House, sent: bytes) -> None:
    """Plain HTTP and noise end at once; the next is served."""
    with door(house, limits=replace(DEFAULT, handshake=60)) as it:
        with it.connect() as line:
            line.sendall(sent)
            while not hung_up(line):
                pass
        assert it.ask(get()).status == 200
        assert not it.reported


# ── who it is ─────────────────────────────────────────────────────────────────────────────────────


def test_the_serial_of_a_clients_certificate_is_told(house: House, tmp_path: Path) -> None:
    """As the book writes it, where the client has shown one; a stranger's is no handshake."""
    ca = a_client_ca(tmp_path, "00abcdef0123456789abcdef01234567")
    (tmp_path / "other").mkdir()
    other = a_client_ca(tmp_path / "other", "0a")
    asking = context_for(*house.authority.issue("asking"))
    asking.load_verify_locations(ca.root)
    asking.verify_mode = ssl.CERT_OPTIONAL
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return Reply(200)

    with door(house, answer, contexts=lambda: asking) as it:
        assert it.ask(get()).status == 200
        shown = house.authority.client_context()
        shown.load_cert_chain(ca.client)
        with it.call(context=shown) as line:
            line.sendall(get())
            assert heard(line).status == 200
        strange = house.authority.client_context()
        strange.load_cert_chain(other.client)
        with pytest.raises(ssl.SSLError, match="alert"), it.call(context=strange) as line:  # noqa: PT012 - either may be told
            line.sendall(get())
            line.recv(1)
    assert [each.client_serial for each in asked] == [None, "abcdef0123456789abcdef01234567"]


def test_another_context_is_used_from_the_next_connection_on(house: House) -> None:
    """A renewed certificate is served with the door open; trouble with it is reported."""
    found: list[ssl.SSLContext | StoreError] = [house.context]

    def contexts() -> ssl.SSLContext:
        if isinstance(found[-1], StoreError):
            raise found[-1]
        return found[-1]

    def served() -> bytes | None:
        with it.call() as line:
            return line.getpeercert(binary_form=True)

    with door(house, contexts=contexts) as it:
        first = served()
        found.append(house.authority.server_context("renewed"))
        assert served() not in (None, first)
        found.append(StoreError("the certificate cannot be read"))
        with it.connect() as line:
            assert hung_up(line)
        found.append(house.context)
        assert served() == first
        assert it.reported == ["the certificate cannot be read"]


@pytest.mark.parametrize(
    ("address", "source", "network"),
    [
        ("192.0.2.7", "192.0.2.7", ""),
        ("::ffff:192.0.2.7", "192.0.2.7", ""),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80::/64"),
    ],
)
def test_whom_an_address_is_counted_for(address: str, source: str, network: str) -> None:
    """IPv4 for itself, also within IPv6; IPv6 for its network as well, which others share."""
    assert source_of(address) == (source, network)


def test_it_serves_by_ipv6(house: House) -> None:
    """A listening socket of IPv6 is one like any other."""
    with door(house, host="::1") as it:
        assert it.ask(get()).status == 200


# ── how many ──────────────────────────────────────────────────────────────────────────────────────


def test_one_source_has_four_connections(house: House) -> None:
    """The fifth is closed before TLS, another source's is not, and room comes back."""
    limits = replace(DEFAULT, farewell=0.2, handshake=60)
    with door(house, limits=limits) as it, contextlib.ExitStack() as lines:
        held = [lines.enter_context(it.call()) for _ in range(4)]
        with it.connect() as fifth:
            assert hung_up(fifth)
        assert it.ask(get(), "127.0.0.9").status == 200
        held[0].close()
        assert wait_until(lambda: can_ask(it, "127.0.0.1"))


def test_one_network_has_its_own_limit(house: House) -> None:
    """Who takes another address of the same /64 for each connection is not heard without end."""
    limits = replace(DEFAULT, farewell=0.2, handshake=60, connections_of_network=2)
    with door(house, host="::1", limits=limits) as it:
        with it.call(), it.call(), it.connect() as third:
            assert hung_up(third)
        assert wait_until(lambda: can_ask(it))


def test_all_together_have_thirty_two(house: House) -> None:
    """Beyond them nobody gets in, from wherever; when they have gone, everybody does again."""
    with door(house, limits=replace(DEFAULT, farewell=0.2, handshake=60)) as it:
        with contextlib.ExitStack() as lines:
            for number in range(32):
                lines.enter_context(it.call(f"127.0.1.{1 + number // 4}"))
            with it.connect("127.0.2.1") as late:
                assert hung_up(late)
        assert wait_until(lambda: can_ask(it, "127.0.2.1"))


def can_ask(it: Opened, *source: str) -> bool:
    try:
        return it.ask(get(), *source).status == 200
    except OSError:
        return False


def test_answers_are_given_one_after_the_other(house: House) -> None:
    """In one thread; eight wait, and whoever comes then is told to come again."""
    turn = Turn()
    with door(house, turn) as it, ThreadPoolExecutor(12) as visitors:
        replies = [visitors.submit(it.ask, get(), f"127.0.3.{number}") for number in range(1, 13)]
        wait_until(lambda: sum(each.done() for each in replies) == 3, "a full desk")
        turn.may_go_on.set()
        found = Counter(
            (each.result().status, "retry-after" in each.result().headers) for each in replies
        )
    assert found == {(200, False): 9, (503, True): 3}
    assert turn.most_at_once == len(turn.threads) == 1


def test_whoever_is_refused_too_often_is_not_listened_to(house: House) -> None:
    """Until a while has passed; others are, and what is no refusal does not count."""
    limits = replace(DEFAULT, refusal=0, refusals=3, memory=2)
    with door(house, limits=limits) as it:
        for _ in range(5):
            assert it.ask(get()).status == 200
        for _ in range(3):
            assert it.ask(get("/refused")).status == 403
        with it.call() as line:  # which has not asked yet
            reply = heard(line)
        assert reply.status == 429
        assert reply.headers["retry-after"] == "60"
        assert it.ask(get(), "127.0.0.9").status == 200
        assert wait_until(lambda: it.ask(get()).status == 200)


# ── how long ──────────────────────────────────────────────────────────────────────────────────────


def test_refusals_come_after_the_same_time(house: House) -> None:
    """Whatever it took to find out; and if that took longer, without another wait."""
    pause = threading.Event()
    answered: list[float] = []

    def answer(request: Request) -> Reply:
        pause.wait(float(request.path[1:]))
        answered.append(time.monotonic())
        return Reply(403, is_refusal=True)

    times = []
    with door(house, answer, limits=replace(DEFAULT, refusal=0.8)) as it:
        for path in ("/0", "/0.4", "/0.9"):
            with it.call() as line:
                start = time.monotonic()
                line.sendall(get(path))
                line.recv(1)
                times.append(time.monotonic() - start)
    assert min(times) >= 0.8
    assert start + times[-1] - answered[-1] < 0.8


@pytest.mark.parametrize("more", [b"", b"\x16"])
def test_a_slow_handshake_is_ended(house: House, more: bytes) -> None:
    """Nobody holds a place by saying nothing, or little."""
    with door(house, limits=replace(DEFAULT, handshake=0.3)) as it:
        with it.connect() as line:
            assert trickled(line, more) == b""
        assert it.ask(get()).status == 200


@pytest.mark.parametrize(
    ("said", "more", "status"),
    [
        (b"", b"", 0),
        (b"G", b"", 408),
        (get()[:-4] + b"\r\nX: ", b"y", 408),
        (post(b"a")[:-1], b"", 408),
        (post(b"a" * 10_000)[:-9_000], b"a", 408),
    ],
)
def test_a_slow_request_is_ended(house: House, said: bytes, more: bytes, status: int) -> None:
    """Head and body have a deadline that no trickle moves; a silent connection is just ended."""
    with door(house, limits=replace(DEFAULT, head=0.3, request=0.4)) as it:
        with it.call() as line:
            line.sendall(said)
            assert taken_apart(trickled(line, more)).status == status
        assert it.ask(get()).status == 200


def trickled(line: socket.socket, data: bytes) -> bytes:
    """What is heard until the other side hangs up, while it is told something all the time."""
    line.settimeout(0.05)
    deadline = time.monotonic() + PATIENCE
    received = b""
    while time.monotonic() < deadline:
        try:
            line.sendall(data)
            if not (more := line.recv(1000)):
                return received
            received += more
        except TimeoutError:
            continue
        except OSError:
            return received
    raise AssertionError("the other side did not hang up")


def test_whoever_does_not_read_is_cut(house: House) -> None:
    """A reply that nobody takes holds its place until the deadline, not longer."""
    limits = replace(DEFAULT, connections_of_source=1, reply=0.3)
    large = b"x" * 30_000_000
    with (
        door(house, lambda _: Reply(200, "text/plain", large), limits=limits) as it,
        it.call() as line,
    ):
        line.sendall(get())
        assert wait_until(lambda: has_room(it))


def has_room(it: Opened) -> bool:
    """Whether a connection is kept open."""
    try:
        with it.call():
            return True
    except OSError:
        return False


@pytest.mark.parametrize(("more", "farewell"), [(b"", 0.3), (b"x" * 30_000_000, 60)])
def test_the_farewell_is_short(house: House, more: bytes, farewell: float) -> None:
    """Whoever has got the reply and does not hang up, or sends on and on, is hung up on."""
    limits = replace(DEFAULT, connections_of_source=1, farewell=farewell)
    with door(house, limits=limits) as it, it.call() as line:
        line.sendall(get())
        assert line.recv(12) == b"HTTP/1.1 200"
        with contextlib.suppress(OSError):
            line.sendall(more)
        assert wait_until(lambda: has_room(it))


def test_a_reply_is_not_lost_to_what_is_still_sent(house: House) -> None:
    """Who is refused in the middle of a body is read on from, not reset."""
    body = b"x" * 2_000_000
    with door(house, limits=replace(DEFAULT, farewell=60)) as it, it.call() as line:
        line.sendall(post(body)[: -len(body)])
        for start in range(0, len(body), 100_000):
            line.sendall(body[start : start + 100_000])
        assert heard(line).status == 413


def test_the_connection_ends_below_tls_too(house: House) -> None:
    """After the good-bye of TLS comes that of TCP, without waiting for the other side's."""
    with door(house, limits=replace(DEFAULT, farewell=60)) as it, it.call() as line:
        line.sendall(get())
        assert heard(line).status == 200
        assert line.unwrap().recv(1) == b""


def test_a_connection_as_a_whole_has_an_end(house: House) -> None:
    """Also while its request waits for an answer; what has not begun is then never answered."""
    turn = Turn()
    with door(house, turn, limits=replace(DEFAULT, connection=0.5)) as it:
        with it.call() as first, it.call() as second:
            first.sendall(get("/first"))
            wait_until(lambda: turn.begun)
            second.sendall(get("/second"))
            assert hung_up(first)
            assert hung_up(second)
        turn.may_go_on.set()
        assert it.ask(get("/third")).status == 200
    assert turn.begun == ["/first", "/third"]


def test_what_is_too_much_before_a_reply_is_cut(house: House) -> None:
    """A body in chunks of one byte with long extensions is short, and yet many bytes."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with door(house) as it:
        with it.call() as line:
            with contextlib.suppress(OSError):
                line.sendall(head + (b"1;" + b"x" * 400 + b"\r\ny\r\n") * 2000)
            assert hung_up(line)
        assert it.ask(get()).status == 200


# ── what goes wrong in an answer ──────────────────────────────────────────────────────────────────


def test_a_mistake_in_an_answer_is_a_500_without_details(house: House) -> None:
    """One sentence for the visitor, one line for us, and in neither what was sent."""

    def answer(request: Request) -> Reply:
        if request.path == "/reply":
            return Reply(200, "text/plain", b"x", {"X": f"{request.headers['authorization']}\n"})
        if request.path == "/error":
            raise StoreError("the book cannot be written")
        raise ValueError(request.headers["authorization"])

    with door(house, answer) as it:
        for path in ("/", "/error"):
            reply = it.ask(post(b"", "Authorization: secret", path=path))
            assert reply.status == 500
            assert len(reply.body.splitlines()) == 1
            assert b"secret" not in reply.body
        with it.call() as line:
            line.sendall(post(b"", "Authorization: secret", path="/reply"))
            assert heard(line).status == 0
        mistake, error, header = it.reported
        assert re.fullmatch(r"unforeseen: ValueError in test_listener.py, line \d+", mistake)
        assert error == "the book cannot be written"
        assert header.startswith("unforeseen: LocalProtocolError")


# ── the end ───────────────────────────────────────────────────────────────────────────────────────


def test_it_ends_when_it_is_over(house: House) -> None:
    """What is being answered is delivered whole, and what only waits to ask is cut."""
    body = os.urandom(2_000_000)
    turn = Turn()

    def answer(request: Request) -> Reply:
        turn(request)
        return Reply(200, "application/x-pkcs12", body)

    with (
        door(house, answer, limits=replace(DEFAULT, head=60, farewell=0.2)) as it,
        it.call() as idle,
        it.call() as line,
    ):
        line.sendall(get())
        wait_until(lambda: turn.begun)
        it.ends.set()
        turn.may_go_on.set()
        assert heard(line).body == body
        assert hung_up(idle)
        assert it.has_ended.wait(PATIENCE)
        assert not it.reported


def test_the_end_is_asked_about_after_each_answer(house: House) -> None:
    """So the door shuts with the reply that makes it over, and never in the middle of an answer."""
    asked_during: list[bool] = []
    answering = threading.Lock()
    answered = threading.Event()

    def answer(request: Request) -> Reply:
        with answering:
            answered.wait(0.5)  # much longer than from one question to the next
            return echo(request)

    def is_over() -> bool:
        asked_during.append(answering.locked())
        return bool(asked_during[1:]) and done.is_set()

    done = threading.Event()
    with door(house, answer, is_over=is_over) as it:
        with it.call() as line:
            line.sendall(get())
            wait_until(answering.locked)
            done.set()
            assert heard(line).status == 200
        assert it.has_ended.wait(PATIENCE)
    assert not any(asked_during)


def test_it_ends_when_nobody_comes(house: House) -> None:
    """After so many seconds without a visitor, counted from when the last one went."""
    with door(house, idle=0.6) as it:
        with it.call() as line:
            assert not it.has_ended.wait(0.8)
            line.sendall(get())
            assert heard(line).status == 200
        assert not it.has_ended.wait(0.3)
        assert it.has_ended.wait(PATIENCE)


def test_trouble_with_the_end_is_the_callers(house: House) -> None:
    """What `is_over` raises comes out of it, and all connections are cut."""
    gone = threading.Event()

    def is_over() -> bool:
        if gone.is_set():
            raise StoreError("the book is gone")
        return False

    with door(house, is_over=is_over) as it, it.call() as line:
        line.sendall(b"GET")
        gone.set()
        assert hung_up(line)
        assert it.has_ended.wait(PATIENCE)
        assert [str(error) for error in it.raised] == ["the book is gone"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_at_once(house: House, number: signal.Signals) -> None:
    """All connections are cut, but an answer under way comes to its end; nothing is left."""
    with standing(house.authority) as (process, address), contextlib.ExitStack() as stack:
        lines = [stack.enter_context(called(house, address)) for _ in range(4)]
        lines[0].sendall(get("/"))
        assert heard(lines[0]).status == 200
        lines[1].sendall(get("/when-told"))
        assert process.stdout is not None
        while process.stdout.readline() != "begun /when-told\n":
            pass
        lines[2].sendall(get("/never"))
        lines[3].sendall(b"GET")
        process.send_signal(number)
        assert all(hung_up(line) for line in lines[1:])
        output, errors = process.communicate("go", timeout=PATIENCE)
    answered, interrupted, ended = output.splitlines()
    assert answered == "answered /when-told"
    assert interrupted == "interrupted"
    assert re.fullmatch(r"ended with 1 threads, \d descriptors", ended)
    assert errors == ""
    assert process.returncode == 0


def test_an_answer_that_does_not_end_keeps_nobody(house: House) -> None:
    """After a signal it is waited for a while, and not by Python at its end either."""
    with (
        standing(house.authority, ending=0.2) as (process, address),
        called(house, address) as line,
    ):
        line.sendall(get("/never"))
        assert process.stdout is not None
        assert process.stdout.readline() == "begun /never\n"
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE)
    assert output.splitlines()[0] == "interrupted"
    assert errors == ""


def called(house: House, address: tuple[str, int]) -> ssl.SSLSocket:
    raw = socket.create_connection(address, PATIENCE)
    return house.trust.wrap_socket(raw, server_hostname=address[0])
