"""One request out of bytes, and one reply into bytes: HTTP/1.1 (RFC 9112), by h11.

It touches no connection and knows no route. What is lax in a head is refused before h11 sees it:
h11 bears it, and takes seconds over some of it.
"""

import re
from http import HTTPStatus

import h11

from certwarden.enrolment.exchange import MAX_BODY, Reply, Request

# A control character, half an end of line, or a folded line (RFC 9112 sections 2.2 and 5.2). One
# of them behind 16 KiB of spaces makes h11's patterns try 128 million ways to match.
_LAX = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)|(?<!\r)\n|(?<=\n)[ \t]")
# For the same reason what stands between the chunks of a body is short.
_SLICE = 512
_SINGLE = frozenset({b"authorization", b"content-type", b"cookie"})
_VERSIONS = (b"1.0", b"1.1")
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)  # RFC 9112 section 3.2.2

_COMMON = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
    "Connection": "close",
}


def sentence(status: int, text: str, **headers: str) -> Reply:
    """A reply that is one sentence."""
    body = f"{text}\n".encode()
    return Reply(status, "text/plain; charset=utf-8", body, headers)


class RefusedRequest(Exception):
    """A request that nobody is to be asked about; `reply` says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.reply = sentence(status, text)


class Wire:
    """The one exchange of a connection. `head_size` is in bytes."""

    def __init__(self, head_size: int, client_serial: str | None = None) -> None:
        self._head_size = head_size
        self._client_serial = client_serial
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_SLICE)
        self._head = bytearray()
        self._asked: h11.Request | None = None
        self._body = bytearray()

    @property
    def has_head(self) -> bool:
        """Whether everything before the body is here."""
        return self._asked is not None

    @property
    def is_waiting(self) -> bool:
        """Whether the other side keeps its body until it is told to go on (RFC 9110 10.1.1)."""
        return self._connection.they_are_waiting_for_100_continue

    def receive(self, data: bytes) -> Request | None:
        """The request, when the last of its bytes has come; what follows it is not looked at.

        `data` is not empty. RefusedRequest where it breaks the grammar or a limit.
        """
        try:
            if self._asked is None:
                data = self._receive_head(data)
            return None if self._asked is None else self._receive_body(self._asked, data)
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            raise RefusedRequest(status, "this is not a request that HTTP/1.1 knows") from None

    def go_on(self) -> bytes:
        """What tells the other side to send its body."""
        return self._connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def send(self, reply: Reply) -> bytes:
        """The reply; h11.LocalProtocolError or ValueError where its headers cannot be sent."""
        headers = {name.lower(): (name, value) for name, value in _COMMON.items()}
        own = dict(reply.headers)
        if reply.content_type:
            own["Content-Type"] = reply.content_type
        if reply.status != HTTPStatus.NO_CONTENT:  # which has no length (RFC 9110 section 8.6)
            own["Content-Length"] = str(len(reply.body))
        headers |= {name.lower(): (name, value) for name, value in own.items()}
        start = h11.Response(
            status_code=reply.status,
            headers=list(headers.values()),
            reason=HTTPStatus(reply.status).phrase.encode(),
        )
        is_bare = self._asked is not None and self._asked.method == b"HEAD"
        parts = [start, h11.Data(data=b"" if is_bare else reply.body), h11.EndOfMessage()]
        return b"".join(self._connection.send(part) or b"" for part in parts)

    def _receive_head(self, data: bytes) -> bytes:
        """What comes behind the head, once that is whole."""
        new = max(len(self._head) - 3, 0)
        self._head += data
        found = self._head.find(b"\r\n\r\n", new)
        end = len(self._head) if found < 0 else found + 4
        if end > self._head_size:
            raise RefusedRequest(431, "the head of this request is too long")
        if _LAX.search(self._head, new, end):
            raise RefusedRequest(400, "there is a character in this request that must not be there")
        if found < 0:
            return b""
        self._connection.receive_data(bytes(self._head[:end]))
        asked = self._connection.next_event()
        if not isinstance(asked, h11.Request):
            raise RefusedRequest(400, "there is no request line")
        self._asked = asked
        _check(asked)
        return bytes(self._head[end:])

    def _receive_body(self, asked: h11.Request, data: bytes) -> Request | None:
        if self._take():
            return self._request(asked)
        for start in range(0, len(data), _SLICE):
            self._connection.receive_data(data[start : start + _SLICE])
            if self._take():
                return self._request(asked)
        return None

    def _take(self) -> bool:
        """Whether the body is complete with what is here."""
        while isinstance(event := self._connection.next_event(), h11.Data):
            self._body += event.data
            if len(self._body) > MAX_BODY:
                raise _too_long()
        return isinstance(event, h11.EndOfMessage)

    def _request(self, asked: h11.Request) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in asked.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Request(
            method=asked.method.decode("latin-1"),
            path=_path(asked.target),
            headers=headers,
            body=bytes(self._body),
            client_serial=self._client_serial,
        )


def _check(asked: h11.Request) -> None:
    """RefusedRequest for what h11 lets pass, and we do not."""
    if asked.http_version not in _VERSIONS:
        raise RefusedRequest(505, "only HTTP/1.1 is spoken here")
    _path(asked.target)
    names = [name for name, _ in asked.headers]
    if any(names.count(name) > 1 for name in _SINGLE):
        raise RefusedRequest(400, "a header that there is one of is there twice")
    if b"transfer-encoding" in names:
        # Two lengths, or one that HTTP/1.0 does not know, hide a second request (RFC 9112 6.1).
        if b"content-length" in names or asked.http_version == b"1.0":
            raise RefusedRequest(400, "it cannot be told how long this request is")
    elif int(dict(asked.headers).get(b"content-length", b"0")) > MAX_BODY:
        raise _too_long()


def _too_long() -> RefusedRequest:
    return RefusedRequest(413, f"nothing longer than {MAX_BODY // 1024} KiB is taken here")


def _path(target: bytes) -> str:
    """The path alone (RFC 9112 section 3.2): what a query could hold must be read by nobody."""
    absolute = _ABSOLUTE.match(target)
    local = target[absolute.end() :] if absolute else target
    path = re.split(rb"[?#]", local, maxsplit=1)[0] or (b"/" if absolute else b"")
    if not path.startswith(b"/"):
        raise RefusedRequest(400, "this request asks for nothing that could be here")
    return path.decode("ascii")
