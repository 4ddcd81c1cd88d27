"""A connection to a target, and TLS over it through memory: bounded as a whole, in time and bytes.

Trusts nothing and verifies nothing of the server. What is said over it, and what that means, is the
business of `probe` and `client_probe`.
"""

import contextlib
import errno
import ipaddress
import queue
import socket
import ssl
import threading
import time
from typing import Any

from certwarden.errors import TargetError, clean
from certwarden.model import Address

MAX_RECEIVED_BYTES = 256 * 1024
_CHUNK = 16 * 1024

_Endpoint = tuple[socket.AddressFamily, tuple[Any, ...]]


def connect(address: Address, deadline: float) -> socket.socket:
    """A connection to one of the address's endpoints, by the monotonic clock's `deadline`.

    Raises TargetError, whose sentence says that there is no address or that nobody answers.
    """
    try:
        endpoints = _resolve(address, deadline)
    except (OSError, UnicodeError) as error:
        raise TargetError(f"{address.host} has no address: {reason(error)}") from error
    failure: OSError = TimeoutError()
    for place, (family, destination) in enumerate(endpoints):
        share = (deadline - time.monotonic()) / (len(endpoints) - place)
        try:
            return _connect(family, destination, share)
        except OSError as error:
            failure = error
    raise TargetError(f"nobody answers at {address}: {reason(failure)}") from failure


class Channel:
    """What TLS writes and reads, carried over a connection by the monotonic clock's `deadline`.

    All methods raise OSError; TimeoutError once the deadline has passed.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._received = 0
        self.is_plain_http = False  # whether the other side's first words were

    def wrap(
        self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None = None
    ) -> ssl.SSLObject:
        """TLS over this channel, asking for `server_name` (SNI; "" or a literal: not asking).

        Raises ValueError or TypeError for a name that cannot be asked for.
        """
        return context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name or None, session=session
        )

    @property
    def has_unsent(self) -> bool:
        """Whether TLS has something to say."""
        return self._outgoing.pending > 0

    def send(self) -> bytes:
        """Sends what TLS has to say, and returns it."""
        sent = self._outgoing.read()
        if sent:
            self._connection.settimeout(self._left())
            self._connection.sendall(sent)
        return sent

    def say_goodbye(self) -> None:
        """Sends the end of a conversation or an alert; whether it arrives changes nothing."""
        with contextlib.suppress(OSError):
            self.send()

    def receive(self) -> None:
        """Hears what the other side says next; the end of the stream is a ConnectionError."""
        self._connection.settimeout(self._left())
        data = self._connection.recv(_CHUNK)
        if not data:
            raise ConnectionAbortedError(errno.ECONNABORTED, "end of stream")
        if not self._received:
            self.is_plain_http = data.startswith(b"HTTP/")
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            raise OSError(errno.EMSGSIZE, "it has no end")
        self._incoming.write(data)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def build_context() -> ssl.SSLContext:
    """As undemanding as can be: what is served shall be seen, however weak it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def reason(error: Exception) -> str:
    """Why it failed, in a few words that are safe to show."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return clean(error.reason.lower().replace("_", " ")) if error.reason else "no TLS"
    return clean(getattr(error, "strerror", None) or str(error))


def _resolve(address: Address, deadline: float) -> list[_Endpoint]:
    """Where to connect to. A name is looked up in a thread, because the resolver knows no limit."""
    if _is_literal(address.host):
        return _look_up(address, socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[_Endpoint] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_look_up(address, 0))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True, name=f"resolve {address.host}").start()
    try:
        answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(address: Address, flags: int) -> list[_Endpoint]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, destination) for family, _, _, _, destination in found]


def _connect(
    family: socket.AddressFamily, destination: tuple[Any, ...], seconds: float
) -> socket.socket:
    if seconds <= 0:
        raise TimeoutError
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(destination)
    except OSError:
        connection.close()
        raise
    return connection
