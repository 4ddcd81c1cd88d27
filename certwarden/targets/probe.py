"""One look at what a target serves: a TLS handshake, and the leaf that it shows (RFC 8446).

Trusts nothing and verifies nothing: whoever asks compares fingerprints. Sends no request, and never
raises: whatever the other side does is an answer.
"""

import ssl
import time
from functools import cache
from typing import Any, cast

from certwarden.errors import MaterialError, TargetError, clean
from certwarden.model import Address, NoHandshake, Seen, Served, Unreachable
from certwarden.pki.certificate import read_certificate
from certwarden.targets.connection import Channel, build_context, connect, reason

_ENCODING_DER = 2  # _ssl.ENCODING_DER


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
            connection = connect(self._address, deadline)
        except TargetError as error:
            return Unreachable(error.what)
        with connection:
            return self._shake_hands(Channel(connection, deadline))

    def _shake_hands(self, channel: Channel) -> Seen:
        try:
            return Served(read_certificate(_leaf(channel, self._server_name)))
        except TimeoutError:
            what = f"accepts connections, but no handshake came about within {self._timeout:g} s"
        except ssl.SSLError as error:
            said = "speaks plain HTTP" if channel.is_plain_http else reason(error)
            what = f"does not come to a handshake: {said}"
        except OSError as error:
            what = f"breaks off the handshake: {reason(error)}"
        except MaterialError as error:
            what = f"shows no usable certificate: {error.what}"
        except (ValueError, TypeError) as error:
            what = f"cannot be asked for {clean(self._server_name)}: {reason(error)}"
        return NoHandshake(f"{self._address} {what}")


def _leaf(channel: Channel, server_name: str) -> bytes:
    """The leaf in DER, as soon as the server has proved that it holds the key.

    Raises OSError (TimeoutError, SSLError), MaterialError, or ValueError and TypeError for a
    name that cannot be asked for, where it does not come to that.
    """
    tls = channel.wrap(_context(), server_name)
    proved: bytes | None = None
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            # Up to TLS 1.2 a server that wants a client certificate breaks off before the end.
            # By then it has signed: we answer (RFC 5246 section 7.3) only a signed flight.
            if channel.has_unsent:
                proved = _chain_shown(tls)
            channel.send()
        except ssl.SSLError as error:
            channel.say_goodbye()
            if proved and "ALERT" in (error.reason or ""):
                return proved
            raise
        else:
            channel.say_goodbye()
            return _leaf_of(tls)
        try:
            channel.receive()
        except ConnectionError:
            if proved:
                return proved
            raise


@cache
def _context() -> ssl.SSLContext:
    """One for all looks: to make it takes a fifth of the time of a look."""
    return build_context()


def _leaf_of(tls: ssl.SSLObject) -> bytes:
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None:
        raise MaterialError("the server shows none")
    return leaf


def _chain_shown(tls: ssl.SSLObject) -> bytes | None:
    """The leaf of an unfinished handshake; Python 3.13 has this in public, 3.11 not yet."""
    chain = cast("Any", tls)._sslobj.get_unverified_chain()  # noqa: SLF001  # see the docstring
    return cast("bytes", chain[0].public_bytes(_ENCODING_DER)) if chain else None
