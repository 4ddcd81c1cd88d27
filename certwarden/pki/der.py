"""DER in the few lines that are needed where the library can read something, but not write it."""

from base64 import b64encode
from textwrap import wrap

INTEGER = 0x02
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30


def encode(tag: int, *content: bytes) -> bytes:
    """One value: its tag, its length, and its content in one piece or in several."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def encode_integer(number: int) -> bytes:
    """A number that is not negative; its highest bit is the sign, so a zero may come before it."""
    return encode(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def decode(data: bytes) -> list[tuple[int, bytes]]:
    """The values that stand in a row in `data`: tag and content; raises ValueError if none do."""
    values = []
    while data:
        if len(data) < 2:
            raise ValueError
        length, start = data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            raise ValueError
        values.append((data[0], data[start : start + length]))
        data = data[start + length :]
    return values


def pem(label: str, der: bytes) -> bytes:
    """The same as text (RFC 7468)."""
    lines = "\n".join(wrap(b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode("ascii")
