"""A request as it was received, and the reply that it gets; plain values without a connection.

The listener makes requests of bytes and sends replies; everything in between is a function from
one to the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MAX_BODY = 32 * 1024  # bytes; the longest that anybody has to say is a signing request


@dataclass(frozen=True)
class Request:
    """One request: `path` without its query, the names of `headers` in lower case.

    The body is at most MAX_BODY long. `client_serial` is that of the certificate which the client
    has shown in the handshake, and which our CA and its list vouch for; hex as everywhere.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # Authorization is among them
    body: bytes = field(default=b"", repr=False)
    client_serial: str | None = None


@dataclass(frozen=True)
class Reply:
    """What is sent; the listener adds the length, and what all replies have in common.

    With `is_refusal` it is sent at a fixed time after its request came, whatever was wrong with
    that: nobody learns from a clock what the sentence does not say.
    """

    status: int
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)  # there may be a key in it
    headers: Mapping[str, str] = field(default_factory=dict)
    is_refusal: bool = False


Answer = Callable[[Request], Reply]
