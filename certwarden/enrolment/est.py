"""EST for programs that make their own key (RFC 7030, with RFC 8951).

Owns the four paths that every EST server has, and what goes over them: requests are PKCS#10,
replies certificates in a CMS message without signers, both in base64. Who may have a certificate is
others' business. Replies to what is wrong are one sentence of plain text, as a program has no use
for a page.
"""

import re
from base64 import b64decode, encodebytes
from collections.abc import Callable, Mapping
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from certwarden.enrolment.exchange import Reply, Request
from certwarden.errors import (
    Busy,
    ClockError,
    Error,
    InvitationError,
    LockedError,
    MaterialError,
)
from certwarden.lifecycle.issue import IssuedClient
from certwarden.model import Secret
from certwarden.pki.csr import read_csr

PREFIX = "/.well-known/est/"
RETRY_AFTER = "60"  # seconds, where only time or a person can help

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="certwarden invitation", charset="UTF-8"'}
_BASIC = re.compile(r"basic +([^ ]+) *", re.IGNORECASE)
# The header means nothing any more (RFC 8951 section 3.1), but some clients still ask for it.
_BASE64 = {"Content-Transfer-Encoding": "base64"}
_NOT_INVITED = "this needs an open invitation: its token is the password of HTTP Basic"
_NOT_SHOWN = "this needs the certificate that is to be renewed, still valid, in the TLS handshake"
_NOT_RENEWED = "for the client of this certificate no invitation for EST is open"


class Est:
    """The paths under /.well-known/est/.

    `redeem` gives a certificate for a token and a signing request, `reenrol` for the serial of a
    certificate that was shown and a signing request; both raise InvitationError where there is none
    to be had. The `root_pem` is that of the CA.
    """

    def __init__(
        self,
        redeem: Callable[[Secret, bytes], IssuedClient],
        reenrol: Callable[[str, bytes], IssuedClient],
        *,
        root_pem: bytes,
    ) -> None:
        self._redeem = redeem
        self._reenrol = reenrol
        self._root_pem = root_pem

    def answer(self, request: Request) -> Reply:
        """The reply to a request for a path under PREFIX.

        Raises those errors of redeeming that are not the client's: Busy, LockedError, ClockError,
        StoreError and the like, which `failure` makes a reply of.
        """
        match request.path.removeprefix(PREFIX):
            case "cacerts":
                return _reading(request) or _certificates(self._root_pem, "application/pkcs7-mime")
            case "csrattrs":  # the profile decides, whatever a request asks for
                return _reading(request) or Reply(204)
            case "simpleenroll":
                return _posting(request) or self._enrol(request)
            case "simplereenroll":
                return _posting(request) or self._renew(request)
            case _:
                return _plain(404, "there is nothing at this path")

    def _enrol(self, request: Request) -> Reply:
        credentials = request.headers.get("authorization")
        if credentials is None:
            return _plain(401, _NOT_INVITED, _CHALLENGE)
        token = _token(credentials)
        if token is None:
            return _uninvited()
        try:
            csr = _signing_request(request)
        except MaterialError as error:
            return _plain(400, error.what)
        try:
            issued = self._redeem(token, csr)
        except InvitationError:
            return _uninvited()
        return _issued(issued)

    def _renew(self, request: Request) -> Reply:
        if request.client_serial is None:
            return _plain(403, _NOT_SHOWN)
        try:
            csr = _signing_request(request)
        except MaterialError as error:
            return _plain(400, error.what)
        try:
            issued = self._reenrol(request.client_serial, csr)
        except InvitationError:
            return _plain(403, _NOT_RENEWED, is_refusal=True)
        return _issued(issued)


def failure(error: Error) -> Reply:
    """What a program is told where it is not its fault."""
    again = {"Retry-After": RETRY_AFTER}
    match error:
        case Busy():
            return _plain(503, "the private CA is busy", again)
        case LockedError():
            return _plain(503, "the private CA is locked", again)
        case ClockError():
            return _plain(503, "the clock of the private CA is not to be trusted", again)
        case _:
            return _plain(500, "something went wrong; the machine itself says what")


def _token(credentials: str) -> Secret | None:
    """The password of HTTP Basic (RFC 7617); the user's name is not looked at."""
    basic = _BASIC.fullmatch(credentials)
    if basic is None:
        return None
    try:
        _, colon, password = b64decode(basic[1], validate=True).partition(b":")
    except ValueError:
        return None
    return Secret(password) if colon else None


def _signing_request(request: Request) -> bytes:
    """The PKCS#10 of a body, base64 in lines of any length; or PEM, which openssl writes.

    Raises MaterialError where it is none that we sign.
    """
    csr = request.body
    if b"-----BEGIN" not in csr:
        try:
            csr = b64decode(b"".join(csr.split()), validate=True)
        except ValueError:
            raise MaterialError("the signing request is not a PKCS#10 in base64") from None
    read_csr(csr)
    return csr


def _reading(request: Request) -> Reply | None:
    """Why a path that is only read is not read by this, if so."""
    if request.method in ("GET", "HEAD"):
        return None
    return _plain(405, "this is only read", {"Allow": "GET, HEAD"})


def _posting(request: Request) -> Reply | None:
    """Why a path that signing requests go to does not take this one, if so.

    No page of another site can send this media type unasked.
    """
    if request.method != "POST":
        return _plain(405, "this takes a POST", {"Allow": "POST"})
    media_type, _, _ = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/pkcs10":
        return _plain(415, "the signing request's Content-Type is to be application/pkcs10")
    return None


def _uninvited() -> Reply:
    return _plain(401, _NOT_INVITED, _CHALLENGE, is_refusal=True)


def _issued(issued: IssuedClient) -> Reply:
    return _certificates(issued.pem, "application/pkcs7-mime; smime-type=certs-only")


def _certificates(pem: bytes, content_type: str) -> Reply:
    """A certs-only message (RFC 5272 section 4.1) of one certificate."""
    message = serialize_certificates([x509.load_pem_x509_certificate(pem)], Encoding.DER)
    return Reply(200, content_type, encodebytes(message), _BASE64)


def _plain(
    status: int,
    sentence: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    is_refusal: bool = False,
) -> Reply:
    body = f"{sentence}\n".encode()
    return Reply(status, "text/plain; charset=utf-8", body, headers, is_refusal)
