"""A visit to a target as a client with a certificate: is it let in, or refused?

Owns the handshake, a small request, and what the answer means (design, invariant 6). Verifies
nothing of the server: whoever asks compares what befalls a good client, a revoked one, and one
without a certificate. Never raises: whatever the other side does is an answer.

How a visit's end is read:

- An application byte: **let in**. Only at nginx and HAProxy a status of 400 or 403 is how they
  **refuse**; elsewhere it may come from anything behind the handshake.
- An alert once our certificate was sent: **refused**. TLS 1.2 says so within the handshake; in TLS
  1.3 ours is over by then, and the alert comes in place of an answer. Not so `internal_error`,
  which by RFC 8446 section 6.2 is unrelated to the peer: **unknown**.
- The end of the stream, or a reset, once our certificate was sent: **refused**, if it comes twice
  in a row. So refuses Node: it completes the handshake and drops the connection. But a program that
  is being restarted drops it just so, and then a second visit finds nobody there.
- Whatever comes before our certificate was sent (a reset, an alert, plain HTTP), and silence,
  garbage or half a status line after it: **unknown**. It may befall every client, or be anything.

In a resumed session no certificate is sent; the session stands for it (RFC 8446 section 2.2). Two
are kept, as a server may take back the one and not the other: the usual one, by ticket, and one by
identifier, as a client of TLS 1.2 without tickets has it (RFC 5246 section 7.4.1.2). Where nginx
shares its session cache, that outlives a reload; so whoever is let in visits once more for it.
"""

import contextlib
import errno
import re
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from certwarden import __version__
from certwarden.errors import TargetError, clean
from certwarden.files import in_memory
from certwarden.model import Address, Admission, Answer, Pair, Protocol, TargetKind
from certwarden.ports import Visit
from certwarden.targets.connection import Channel, build_context, connect, reason

_CHUNK = 16 * 1024

# RFC 9112 section 4; its shortest whole beginning is as long as this one.
_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3})")
_STATUS_LINE_BYTES = len(b"HTTP/1.1 200")
_REFUSALS = ("400", "403")

# MQTT 3.1.1 sections 3.1, 3.2 and 3.14: a clean session, kept alive for 10 s, without user name.
_CONNECT = b"\x10\x1c\x00\x04MQTT\x04\x02\x00\x0a\x00\x10certwarden-probe"
_CONNACK = 0x20
_DISCONNECT = b"\xe0\x00"

# RFC 6455 section 4.1; the key need not be a secret, nor another one each time.
_UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: Y2VydHdhcmRlbi1wcm9iZQ==\r\n"
)

# RFC 5246 sections 6.2.1 and 7.4: a record of the handshake whose first message is a certificate.
_HANDSHAKE_RECORD, _RECORD_HEADER_BYTES, _CERTIFICATE_MESSAGE = 22, 5, 11


class _Reception(NamedTuple):
    """How one connection was received; `what` goes on where the address has begun a sentence."""

    admission: Admission
    what: str
    is_wordless: bool = False  # the connection was just dropped
    session: ssl.SSLSession | None = None


class TlsClientProbe:
    """Visits `address`, asking for `server_name` (SNI, RFC 6066; "" or a literal: not asking).

    `timeout`, in seconds, is for the whole of a visit in each of two ways: see above. What speaks
    HTTP can be asked for a websocket at `websocket`, a path, in place of its front page.
    """

    def __init__(
        self,
        address: Address,
        server_name: str,
        kind: TargetKind,
        timeout: float = 3.0,
        *,
        websocket: str = "",
    ) -> None:
        self._address = address
        self._server_name = server_name
        self._kind = kind
        self._timeout = timeout
        self._websocket = websocket

    def visit(self, client: Pair | None) -> Visit:
        """A full handshake and a request, with that certificate or with none to show."""
        try:
            usual, old_fashioned = build_context(), build_context()
            old_fashioned.maximum_version = ssl.TLSVersion.TLSv1_2
            old_fashioned.options |= ssl.OP_NO_TICKET
            if client:
                _load(usual, client)
                _load(old_fashioned, client)
        except OSError as error:
            return _NoVisit(f"the client certificate cannot be shown: {reason(error)}")
        return _TlsVisit(*(_Way(partial(self._call, each)) for each in (usual, old_fashioned)))

    def _call(self, context: ssl.SSLContext, session: ssl.SSLSession | None) -> _Reception:
        deadline = time.monotonic() + self._timeout
        reception = self._call_once(context, session, deadline)
        if reception.is_wordless:
            reception = self._call_once(context, session, deadline)
        return reception

    def _call_once(
        self, context: ssl.SSLContext, session: ssl.SSLSession | None, deadline: float
    ) -> _Reception:
        try:
            connection = connect(self._address, deadline)
        except TargetError as error:
            return _Reception(Admission.UNKNOWN, error.what)
        with connection:
            channel = Channel(connection, deadline)
            try:
                request = build_request(
                    self._kind.protocol, self._server_name, self._address, self._websocket
                )
                tls = channel.wrap(context, self._server_name, session)
            except (ValueError, TypeError) as error:
                what = f"cannot be asked for {clean(self._server_name)}: {reason(error)}"
                reception = _Reception(Admission.UNKNOWN, what)
            else:
                reception = _Conversation(channel, tls, self._kind).hold(request)
        return reception._replace(what=f"{self._address} {reception.what}")


class _Way:
    """A client as the target knows it: by its certificate, and by the session that it was given."""

    def __init__(self, call: Callable[[ssl.SSLSession | None], _Reception]) -> None:
        self._call = call
        self._session: ssl.SSLSession | None = None

    @property
    def has_session(self) -> bool:
        return self._session is not None

    def go(self) -> Answer:
        """With the newest session that came of being let in, else with the first there was."""
        reception = self._call(self._session)
        if reception.session and (reception.admission is Admission.LET_IN or not self._session):
            self._session = reception.session
        return Answer(reception.admission, reception.what)


class _TlsVisit:
    """The answer is that of the usual way; the other is for the session that it brings."""

    def __init__(self, usual: _Way, old_fashioned: _Way) -> None:
        self._usual = usual
        self._old_fashioned = old_fashioned
        self.answer = usual.go()
        if self.answer.admission is Admission.LET_IN:
            old_fashioned.go()

    def again(self) -> Answer:
        answer = self._usual.go()
        if answer.admission is Admission.LET_IN or not self._old_fashioned.has_session:
            return answer
        other = self._old_fashioned.go()
        return answer if other.admission is Admission.REFUSED else other


class _NoVisit:
    """Nothing could be tried."""

    def __init__(self, what: str) -> None:
        self.answer = Answer(Admission.UNKNOWN, what)

    def again(self) -> Answer:
        return self.answer


class _Conversation:
    """One connection, from the handshake to what tells how we were received."""

    def __init__(self, channel: Channel, tls: ssl.SSLObject, kind: TargetKind) -> None:
        self._channel = channel
        self._tls = tls
        self._kind = kind
        self._is_introduced = False  # our certificate was sent, or the session that stands for it
        self._reply = b""

    def hold(self, request: bytes) -> _Reception:
        try:
            self._shake_hands()
            self._tls.write(request)
            self._channel.send()  # together with what TLS 1.3 has left of the handshake
            self._is_introduced = True
            return self._hear()
        except (ConnectionError, ssl.SSLZeroReturnError) as error:
            return self._dropped(error)
        except ssl.SSLError as error:
            self._channel.say_goodbye()
            return self._failed(error)
        except TimeoutError:
            return _Reception(Admission.UNKNOWN, "gives no answer in time")
        except OSError as error:
            return _Reception(Admission.UNKNOWN, f"breaks off the conversation: {reason(error)}")

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._is_introduced |= _shows_certificate(self._channel.send())
                self._channel.receive()
            else:
                return

    def _hear(self) -> _Reception:
        while not (judged := judge(self._reply, self._kind)):
            try:
                said = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                self._channel.send()
                self._channel.receive()
            else:
                if not said:
                    raise ConnectionAbortedError(errno.ECONNABORTED, "end of stream")
                self._reply += said
        admission, what = judged
        if self._tls.session_reused:
            what += f", in a resumed session of {self._tls.version()}"
        session = self._tls.session
        self._part()
        return _Reception(admission, what, session=session)

    def _part(self) -> None:
        """Takes leave in due form: an OpenSSL that is left without it forgets the session."""
        with contextlib.suppress(ssl.SSLError):  # mostly because the other side's is yet to come
            if self._kind.protocol is Protocol.MQTT:
                self._tls.write(_DISCONNECT)
            self._tls.unwrap()
        self._channel.say_goodbye()

    def _dropped(self, error: OSError) -> _Reception:
        if self._reply:
            return _Reception(Admission.UNKNOWN, f"breaks off its answer: {reason(error)}")
        if self._is_introduced:
            return _Reception(Admission.REFUSED, "dropped it without a word", is_wordless=True)
        return _Reception(Admission.UNKNOWN, f"breaks off the handshake: {reason(error)}")

    def _failed(self, error: ssl.SSLError) -> _Reception:
        _, is_alert, alert = (error.reason or "").partition("_ALERT_")
        if is_alert and self._is_introduced and alert != "INTERNAL_ERROR":
            said = alert.lower().replace("_", " ")
            return _Reception(Admission.REFUSED, f"refused it in the handshake (alert: {said})")
        said = "speaks plain HTTP" if self._channel.is_plain_http else reason(error)
        return _Reception(Admission.UNKNOWN, f"does not come to a handshake: {said}")


def judge(reply: bytes, kind: TargetKind) -> tuple[Admission, str] | None:
    """What the beginning of an answer says, and a sentence's end that tells it.

    None where more of the answer is needed.
    """
    if not reply:
        return None
    if kind.protocol is Protocol.MQTT:
        return Admission.LET_IN, f"let it in ({'CONNACK' if reply[0] == _CONNACK else 'no MQTT'})"
    if line := _STATUS_LINE.match(reply):
        status = line[1].decode()
        if kind.refuses_by_status and status in _REFUSALS:
            return Admission.REFUSED, f"answered it with HTTP {status}"
        return Admission.LET_IN, f"let it in (HTTP {status})"
    is_beginning = len(reply) < _STATUS_LINE_BYTES and b"HTTP/".startswith(reply[:5])
    if kind.refuses_by_status and is_beginning:
        return None
    return Admission.LET_IN, "let it in (no HTTP status)"


def build_request(
    protocol: Protocol, server_name: str, address: Address, websocket: str = ""
) -> bytes:
    """The first that a client of such a program says, or of the websocket at that path of it.

    Raises ValueError for a name beyond ASCII.
    """
    if protocol is Protocol.MQTT:
        return _CONNECT
    host = Address(server_name or address.host, address.port)
    wish = _UPGRADE if websocket else "Connection: close\r\n"
    return (
        f"GET {websocket or '/'} HTTP/1.1\r\nHost: {host}\r\n"
        f"User-Agent: certwarden-probe/{__version__}\r\nAccept: */*\r\n{wish}\r\n"
    ).encode("ascii")


def _shows_certificate(flight: bytes) -> bool:
    """Whether it is TLS 1.2's flight of a client that was asked for a certificate.

    In TLS 1.3 that flight is encrypted, and sent when our side of the handshake is over.
    """
    is_handshake = flight[:1] == bytes([_HANDSHAKE_RECORD])
    return is_handshake and flight[_RECORD_HEADER_BYTES:][:1] == bytes([_CERTIFICATE_MESSAGE])


def _load(context: ssl.SSLContext, client: Pair) -> None:
    """Raises OSError where there is no such memory, or the certificate cannot be used."""
    with in_memory("certwarden-client", client.key_pem.reveal() + client.fullchain_pem) as path:
        context.load_cert_chain(path)
