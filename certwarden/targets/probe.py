"""One look at what a target serves: a TLS handshake, and the leaf that it shows (RFC 8446).

Trusts nothing and verifies nothing: whoever asks compares fingerprints. Sends no request, and never
raises: whatever the other side does is an answer.
"""

import contextlib
import errno
import ipaddress
import queue
import socket
import ssl
import threading
import time
from functools import cache
from typing import Any, cast

from certwarden.errors import MaterialError, clean
from certwarden.model import Address, NoHandshake, Seen, Served, Unreachable
from certwarden.pki.certificate import read_certificate

MAX_HANDSHAKE_BYTES = 256 * 1024
_CHUNK = 16 * 1024
_ENCODING_DER = 2  # _ssl.ENCODING_DER

_Endpoint = tuple[socket.AddressFamily, tuple[Any, ...]]


class TlsProbe:
    """Looks at `address`, asking for `server_name` (SNI, RFC 6066; "" or a literal: not asking).

    `timeout`, in seconds, is for the whole of a look.
    """

    def __init__(self, address: Address, server_name: str, timeout: float = 3.0) -> None:
        self._address = address
        self._server_name = server_name
        self._timeout = timeout

    def look(self) -> Seen:
        """What is served there now."""
        deadline = time.monotonic() + self._timeout
        try:
            endpoints = _resolve(self._address, deadline)
        except (OSError, UnicodeError) as error:
            return Unreachable(f"{self._address.host} has no address: {_reason(error)}")
        failure: OSError = TimeoutError()
        for place, (family, destination) in enumerate(endpoints):
            share = (deadline - time.monotonic()) / (len(endpoints) - place)
            try:
                connection = _connect(family, destination, share)
            except OSError as error:
                failure = error
                continue
            with connection:
                return self._shake_hands(connection, deadline)
        return Unreachable(f"nobody answers at {self._address}: {_reason(failure)}")

    def _shake_hands(self, connection: socket.socket, deadline: float) -> Seen:
        handshake = _Handshake(connection, self._server_name, deadline)
        try:
            return Served(read_certificate(handshake.leaf()))
        except TimeoutError:
            what = f"accepts connections, but no handshake came about within {self._timeout:g} s"
        except ssl.SSLError as error:
            said = "speaks plain HTTP" if handshake.is_plain_http else _reason(error)
            what = f"does not come to a handshake: {said}"
        except OSError as error:
            what = f"breaks off the handshake: {_reason(error)}"
        except MaterialError as error:
            what = f"shows no usable certificate: {error.what}"
        except (ValueError, TypeError) as error:
            what = f"cannot be asked for {clean(self._server_name)}: {_reason(error)}"
        return NoHandshake(f"{self._address} {what}")


class _Handshake:
    """A handshake through memory, so that time and size are bounded as a whole."""

    def __init__(self, connection: socket.socket, server_name: str, deadline: float) -> None:
        self._connection = connection
        self._server_name = server_name
        self._deadline = deadline
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.is_plain_http = False

    def leaf(self) -> bytes:
        """The leaf in DER, as soon as the server has proved that it holds the key.

        Raises OSError (TimeoutError, SSLError), MaterialError, or ValueError and TypeError for a
        name that cannot be asked for, where it does not come to that.
        """
        tls = _context().wrap_bio(
            self._incoming, self._outgoing, server_hostname=self._server_name or None
        )
        received = 0
        proved: bytes | None = None
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                # Up to TLS 1.2 a server that wants a client certificate breaks off before the end.
                # By then it has signed: we answer (RFC 5246 section 7.3) only a signed flight.
                if self._outgoing.pending:
                    proved = _chain_shown(tls)
                self._send()
            except ssl.SSLError as error:
                self._say_goodbye()
                if proved and "ALERT" in (error.reason or ""):
                    return proved
                raise
            else:
                self._say_goodbye()
                return _leaf_of(tls)
            try:
                received += self._receive(is_first=received == 0)
            except ConnectionError:
                if proved:
                    return proved
                raise
            if received > MAX_HANDSHAKE_BYTES:
                raise OSError(errno.EMSGSIZE, "it has no end")

    def _send(self) -> None:
        while self._outgoing.pending:
            self._connection.settimeout(self._left())
            self._connection.sendall(self._outgoing.read(_CHUNK))

    def _say_goodbye(self) -> None:
        """Sends the end of the handshake or an alert; whether it arrives changes nothing."""
        with contextlib.suppress(OSError):
            self._send()

    def _receive(self, *, is_first: bool) -> int:
        self._connection.settimeout(self._left())
        data = self._connection.recv(_CHUNK)
        if not data:
            raise ConnectionAbortedError(errno.ECONNABORTED, "end of stream")
        self.is_plain_http = is_first and data.startswith(b"HTTP/")
        self._incoming.write(data)
        return len(data)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


@cache
def _context() -> ssl.SSLContext:
    """As undemanding as can be: what is served shall be seen, however weak it is.

    One for all probes: to make it takes a fifth of the time of a look.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _leaf_of(tls: ssl.SSLObject) -> bytes:
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None:
        raise MaterialError("the server shows none")
    return leaf


def _chain_shown(tls: ssl.SSLObject) -> bytes | None:
    """The leaf of an unfinished handshake; Python 3.13 has this in public, 3.11 not yet."""
    chain = cast("Any", tls)._sslobj.get_unverified_chain()  # noqa: SLF001  # see the docstring
    return cast("bytes", chain[0].public_bytes(_ENCODING_DER)) if chain else None


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


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return clean(error.reason.lower().replace("_", " ")) if error.reason else "no TLS"
    return clean(getattr(error, "strerror", None) or str(error))
