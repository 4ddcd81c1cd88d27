"""Requests that nobody of good will makes, out of a seeded generator."""

import random

from tests.enrolment.opened import get, post

_CHUNKED = b"POST /redeem HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_GOOD = (
    get(),
    get("https://house.example/x?y=z#w"),
    post(b"token=abc&password=def", "Content-Type: application/x-www-form-urlencoded"),
    post(b"abc", "Expect: 100-continue"),
    post(b"x" * 3000, "Authorization: Basic YTpi", path="/.well-known/est/simpleenroll"),
    _CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    _CHUNKED + b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
)
_BITS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" " * 3000,
    b"\r\n\r\n",
    b":",
    b"\xff\xfe",
    "é\N{RIGHT-TO-LEFT OVERRIDE}".encode(),
    b"Content-Length: 7\r\n",
    b"Content-Length: 18446744073709551617\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b"fffffffffffffffff\r\n",
    b"HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"X: y\r\n" * 900,
    b"X" * 20_000,
)


def garbled(dice: random.Random) -> bytes:
    """A request with something put in, taken out, doubled, cut off or turned over; or noise."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(1, 2000))
    data = bytearray(dice.choice(_GOOD))
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(5):
            case 0:
                data[at:at] = dice.choice(_BITS)
            case 1:
                del data[at : at + dice.randrange(1, 20)]
            case 2:
                data[at:at] = data[at : at + dice.randrange(1, 200)]
            case 3:
                del data[at:]
            case _:
                data[at : at + 1] = dice.randbytes(1)
    return bytes(data)
