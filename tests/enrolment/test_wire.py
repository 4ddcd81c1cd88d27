"""HTTP/1.1 out of bytes and into bytes, without a connection."""

import contextlib
import random
import time

import h11
import pytest

from certwarden.enrolment.exchange import MAX_BODY, Reply, Request
from certwarden.enrolment.wire import RefusedRequest, Wire
from tests.enrolment.garbage import garbled
from tests.enrolment.opened import get, post

HEAD_SIZE = 16 * 1024
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def received(data: bytes, *, step: int = 100_000) -> Request | None:
    """What a fresh wire makes of it, in pieces of so many bytes."""
    wire = Wire(HEAD_SIZE)
    for start in range(0, len(data), step):
        request = wire.receive(data[start : start + step])
        if request is not None:
            return request
    return None


def refused(data: bytes, *, step: int = 100_000) -> int:
    """The status that it is refused with."""
    with pytest.raises(RefusedRequest) as caught:
        received(data, step=step)
    return caught.value.reply.status


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_request_is_the_same_in_whatever_pieces_it_comes(step: int) -> None:
    """Method, path, headers and body are what was sent, names in lower case."""
    request = received(post(b"a=1&b=2", "X-Thing: \xe9", "x-thing: two", path="/redeem"), step=step)
    assert request is not None
    assert (request.method, request.path, request.body) == ("POST", "/redeem", b"a=1&b=2")
    assert request.headers["x-thing"] == "é, two".encode().decode("latin-1")
    assert request.headers["host"] == "house.example"


@pytest.mark.parametrize("step", [1, 100_000])
def test_a_chunked_body_is_put_together(step: int) -> None:
    """What comes in chunks, with their extensions and trailers, is one body."""
    data = CHUNKED + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    request = received(data, step=step)
    assert request is not None
    assert request.body == b"abcde"
    assert "trailer" not in request.headers


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/redeem?token=x", "/redeem"),
        ("/#token", "/"),
        ("https://house.example/est?x#y", "/est"),
        ("HTTPS://house.example:8443", "/"),
        ("//other.example/x", "//other.example/x"),
        ("/%2e%2e/%C3%A9", "/%2e%2e/%C3%A9"),
    ],
)
def test_a_path_is_what_is_left_of_a_target(target: str, path: str) -> None:
    """Neither the house's name nor a query or a fragment gets to whoever answers."""
    request = received(get(target))
    assert request is not None
    assert request.path == path


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (get() + b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", 0),  # a second one is not looked at
        (post(b"", "Content-Length: 5"), 400),
        (post(b"", "Transfer-Encoding: chunked"), 400),
        (CHUNKED.replace(b"1.1", b"1.0"), 400),
        (CHUNKED.replace(b"chunked", b"gzip, chunked"), 501),
        (CHUNKED + b"zz\r\n", 400),
        (CHUNKED + b"3\r\nabcd\r\n", 400),
        (CHUNKED + b"5;" + b"x" * 2000, 431),
        (post(b"", "Authorization: a", "authorization: b"), 400),
        (post(b"", "Content-Type: a", "Content-Type: b"), 400),
        (post(b"", "Cookie: a", "Cookie: b"), 400),
        (post(b"").replace(b"Length: 0", b"Length: -1"), 400),
        (post(b"").replace(b"Length: 0", b"Length: " + b"9" * 25), 400),
        (post(b"").replace(b"Length: 0", b"Length: 99999999999"), 413),
        (post(b"").replace(b"Length: 0", b"Length: %d" % (MAX_BODY + 1)), 413),
        (CHUNKED + b"%x\r\n" % (MAX_BODY + 1) + b"x" * (MAX_BODY + 1), 413),
        (get("/" + "x" * HEAD_SIZE), 431),
        (b"x" * (HEAD_SIZE + 1), 431),
    ],
)
@pytest.mark.parametrize("step", [3, 100_000])
def test_what_breaks_a_rule_is_refused(data: bytes, status: int, step: int) -> None:
    """Each with the status that says why, before its body has been read."""
    if status:
        assert refused(data, step=step) == status
    else:
        request = received(data, step=step)
        assert request is not None
        assert request.headers["host"] == "house.example"


def test_the_longest_that_is_taken() -> None:
    """A body of MAX_BODY gets through, by its length and in chunks."""
    body = b"x" * MAX_BODY
    by_length = received(post(body))
    chunked = received(CHUNKED + b"%x\r\n" % MAX_BODY + body + b"\r\n0\r\n\r\n")
    assert by_length is not None
    assert chunked is not None
    assert by_length.body == chunked.body == body


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 6_000 + b"\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 6_000 + b"\x0b\r\n\r\n",
        CHUNKED + b"5;" + b" " * 6_000 + b"\n\r\n",
        CHUNKED + b"0\r\nX:" + b" " * 6_000 + b"\x00\r\n\r\n",
    ],
)
def test_no_request_takes_long_to_refuse(data: bytes) -> None:
    """What makes h11 alone try every way to match costs a fraction of that here."""
    naive = h11.Connection(h11.SERVER)
    start = time.thread_time()
    naive.receive_data(data)
    with contextlib.suppress(h11.RemoteProtocolError):
        while naive.next_event():
            pass
    between = time.thread_time()
    refused(data)
    assert time.thread_time() - between < (between - start) / 4


def test_whoever_waits_is_told_to_go_on() -> None:
    """`Expect: 100-continue` is answered once, and not where the body would be refused."""
    wire = Wire(HEAD_SIZE)
    head, body = post(b"abc", "Expect: 100-continue").split(b"abc")[0], b"abc"
    assert wire.receive(head) is None
    assert wire.is_waiting
    assert wire.go_on().startswith(b"HTTP/1.1 100")
    assert not wire.is_waiting
    request = wire.receive(body)
    assert request is not None
    assert request.body == body
    assert refused(head.replace(b"Length: 3", b"Length: 100000000")) == 413


def replied(asked: bytes, reply: Reply) -> tuple[h11.Response, bytes]:
    """What a client of h11 reads."""
    wire = Wire(HEAD_SIZE)
    wire.receive(asked)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=asked.split()[0], target="/", headers=[("Host", "a")]))
    client.receive_data(wire.send(reply))
    client.receive_data(b"")
    start = client.next_event()
    assert isinstance(start, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return start, body


def test_a_reply_has_what_all_have_in_common() -> None:
    """No reply is stored, guessed at, referred to or kept open; its own headers go before ours."""
    own = {"Content-Disposition": "attachment", "referrer-policy": "origin"}
    start, body = replied(get(), Reply(200, "text/html", b"hello", own))
    assert (start.status_code, start.reason, body) == (200, b"OK", b"hello")
    assert dict(start.headers) == {
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"origin",
        b"cross-origin-resource-policy": b"same-origin",
        b"x-robots-tag": b"noindex",
        b"connection": b"close",
        b"content-disposition": b"attachment",
        b"content-type": b"text/html",
        b"content-length": b"5",
    }


def test_head_and_no_content_have_no_body() -> None:
    """HEAD tells the length of what GET would have; 204 has none."""
    start, body = replied(get().replace(b"GET", b"HEAD"), Reply(200, "text/html", b"hello"))
    assert (dict(start.headers)[b"content-length"], body) == (b"5", b"")
    start, body = replied(get(), Reply(204))
    assert b"content-length" not in dict(start.headers)
    assert body == b""


def test_a_header_cannot_become_two() -> None:
    """What would end a line is not sent."""
    wire = Wire(HEAD_SIZE)
    wire.receive(get())
    with pytest.raises(h11.LocalProtocolError):
        wire.send(Reply(200, "text/plain\r\nX: y", b""))


def test_garbage_is_refused_or_waited_for() -> None:
    """Whatever comes, there is a request, a refusal with a reply, or a wait for more; no other."""
    dice = random.Random(6)
    refusals = 0
    for _ in range(6_000):
        data = garbled(dice)
        wire = Wire(HEAD_SIZE)
        step = dice.choice([1 + len(data) // 3, len(data) or 1])
        try:
            for start in range(0, len(data), step):
                if wire.receive(data[start : start + step]):
                    break
        except RefusedRequest as error:
            refusals += 1
            status = error.reply.status
            assert 400 <= status < 600
            assert wire.send(error.reply).startswith(b"HTTP/1.1 %d " % status)  # noqa: PT017
    assert refusals > 2_000
