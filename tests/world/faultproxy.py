"""An HTTPS reverse proxy before Pebble that says what Pebble cannot: limits, refusals, outages.

Owns passing requests through, knowing what each asks for, and spoiling those replies that it was
told to spoil. It holds no ACME state: Pebble builds its URLs from the Host header, which is passed
on, so every resource leads through here and the `url` of each JWS is right.
"""

import base64
import binascii
import http.client
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.world.authority import TestAuthority
from tests.world.faults import FaultyServer
from tests.world.server import Handler, LoopbackServer

ERROR = "urn:ietf:params:acme:error:"

RESOURCES = (
    "directory",
    "newNonce",
    "newAccount",
    "account",
    "newOrder",
    "order",
    "authz",
    "challenge",
    "finalize",
    "cert",
    "revoke",
    "keyChange",
    "renewalInfo",
)

# Answered here; Pebble never hears of the request.
_INSTEAD = ("problem", "html_503", "drop_before", "garbage", "huge", "reply")
# Pebble has done it; what it said is spoilt, or lost.
_AFTERWARDS = (
    "drop_after",
    "html_503_after",
    "headers",
    "date",
    "processing",
    "change",
    "truncated_chain",
    "truncated_pem",
    "wrong_key",
    "wrong_names",
)
ACME_FAULT_KINDS = (*_INSTEAD, *_AFTERWARDS, "slow")

_PATHS = tuple(
    (re.compile(pattern), resource)
    for pattern, resource in (
        (r"/dir", "directory"),
        (r"/nonce-plz", "newNonce"),
        (r"/sign-me-up", "newAccount"),
        (r"/my-account/.*|/list-orderz/.*", "account"),
        (r"/order-plz", "newOrder"),
        (r"/my-order/.*", "order"),
        (r"/authZ/.*", "authz"),
        (r"/chalZ/.*", "challenge"),
        (r"/finalize-order/.*", "finalize"),
        (r"/certZ/.*", "cert"),
        (r"/revoke-cert", "revoke"),
        (r"/rollover-account-key", "keyChange"),
        (r"/.*renewalInfo.*", "renewalInfo"),
    )
)
# These speak of one connection and are not passed on (RFC 9110, 7.6.1).
_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 8555, 6.7) with its status and further headers."""

    status: int
    type: str
    detail: str
    subproblems: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The document."""
        document: dict[str, Any] = {
            "type": self.type if ":" in self.type else ERROR + self.type,
            "detail": self.detail,
            "status": self.status,
        }
        if self.subproblems:
            document["subproblems"] = [dict(each) for each in self.subproblems]
        return json.dumps(document).encode()

    def with_headers(self, **headers: str) -> Self:
        """The same with further headers; `retry_after="60"` is `Retry-After: 60`."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})


def subproblem(name: str, kind: str, detail: str) -> dict[str, Any]:
    """What a problem says of one name."""
    return {
        "type": ERROR + kind,
        "detail": detail,
        "identifier": {"type": "dns", "value": name},
    }


def http_date(seconds_from_now: float = 0) -> str:
    """A moment as HTTP writes it."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds_from_now)
    return format_datetime(moment, usegmt=True)


# The wording is Boulder's, as far as it is known.
PROBLEMS: Mapping[str, Problem] = {
    "rateLimited": Problem(
        429,
        "rateLimited",
        "too many certificates (5) already issued for this exact set of identifiers in the last "
        "168h0m0s, retry after 2026-11-24 10:00:00 UTC: see "
        "https://letsencrypt.org/docs/rate-limits/#new-certificates-per-exact-set-of-identifiers",
        headers={"Retry-After": "60"},
    ),
    "paused": Problem(
        429,
        "rateLimited",
        "Your account is temporarily prevented from requesting certificates for example.org and "
        "possibly others. Please visit: https://unpause.example.org/sfe/v1/unpause?jwt=eyJhbGc",
    ),
    "alreadyReplaced": Problem(
        409,
        "alreadyReplaced",
        "cannot indicate an order replaces a certificate which already has a replacement order",
    ),
    "caa": Problem(
        403,
        "caa",
        "Error finalizing order :: Rechecking CAA for 'example.org' and 1 more identifiers failed. "
        "Refer to sub-problems for more information",
        (
            subproblem("example.org", "caa", "CAA record for example.org prevents issuance"),
            subproblem("*.example.org", "caa", "CAA record for *.example.org prevents issuance"),
        ),
    ),
    "malformed": Problem(400, "malformed", "The request message was malformed"),
    "unauthorized": Problem(403, "unauthorized", "Account is not valid, has status deactivated"),
    "serverInternal": Problem(500, "serverInternal", "The server experienced an internal error"),
    "unavailable": Problem(
        503, "serverInternal", "Service busy; retry later.", headers={"Retry-After": "1"}
    ),
    "userActionRequired": Problem(
        403,
        "userActionRequired",
        "Terms of service have changed",
        headers={"Link": '<https://ca.example.org/terms/v2>;rel="terms-of-service"'},
    ),
    "accountDoesNotExist": Problem(400, "accountDoesNotExist", "unable to find account for key"),
    "badNonce": Problem(400, "badNonce", "JWS has an invalid anti-replay nonce"),
    "orderNotReady": Problem(
        403, "orderNotReady", 'Order\'s status ("pending") is not acceptable for finalization'
    ),
    "externalAccountRequired": Problem(
        403, "externalAccountRequired", "ACME server policy requires external account binding"
    ),
    "unsupportedIdentifier": Problem(
        400, "unsupportedIdentifier", "identifier type is not supported"
    ),
    "rejectedIdentifier": Problem(
        400,
        "rejectedIdentifier",
        "Cannot issue for example.org: The ACME server refuses to issue a certificate for this "
        "domain name, because it is forbidden by policy",
        (subproblem("example.org", "rejectedIdentifier", "forbidden by policy"),),
    ),
    "invalidProfile": Problem(400, "invalidProfile", "profile is not offered: nonsense"),
    "badCSR": Problem(400, "badCSR", "Error parsing certificate request"),
    "dns": Problem(400, "dns", "DNS problem: SERVFAIL looking up CAA for example.org"),
    "connection": Problem(400, "connection", "Timeout during connect (likely firewall problem)"),
}


@dataclass(frozen=True, slots=True)
class AcmeFault:
    """Something to go wrong with `times` matching requests after the first `skip`.

    Instead of the request: problem (`problem` is the reply), reply (`status`, `body`, `headers`
    are), html_503, garbage (200, no JSON), huge (a body without end), drop_before.
    After it was carried out: drop_after, html_503_after, headers (`headers` replace the reply's, an
    empty value removes one), date (the `Date` is `seconds` off), processing (an order that is done
    looks unfinished), change (the keys of `document` replace those of the JSON reply, None removes
    one); truncated_chain, truncated_pem, wrong_key, wrong_names (of a downloaded certificate).
    slow: `seconds` of wait before it is passed on.
    """

    kind: str
    resource: str | None = None
    method: str | None = None
    times: int = 1
    skip: int = 0
    problem: Problem | None = None
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ACME_FAULT_KINDS:
            message = f"no ACME fault is called {self.kind!r}"
            raise ValueError(message)
        if self.resource is not None and self.resource not in RESOURCES:
            message = f"no ACME resource is called {self.resource!r}"
            raise ValueError(message)
        if (self.kind == "problem") != (self.problem is not None):
            message = "a problem belongs to a fault of that kind, and to no other"
            raise ValueError(message)

    def matches(self, method: str, resource: str | None) -> bool:
        """Whether it is meant for such a request."""
        return self.resource in (None, resource) and self.method in (None, method)


def problem(name: str, resource: str | None = None, *, times: int = 1, **headers: str) -> AcmeFault:
    """The fault that replies with one of PROBLEMS; `retry_after="60"` adds a header."""
    return AcmeFault(
        "problem", resource, times=times, problem=PROBLEMS[name].with_headers(**headers)
    )


@dataclass(frozen=True, slots=True)
class AcmeRequest:
    """One request as it was answered; status 0 means that the connection ended instead.

    `payload` is what was signed, where that is JSON, and {} where there was nothing.
    """

    method: str
    path: str
    resource: str | None
    status: int
    fault: str | None
    forwarded: bool
    at: float
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def classify(path: str) -> str | None:
    """What a path of Pebble's is for."""
    for pattern, resource in _PATHS:
        if pattern.fullmatch(path):
            return resource
    return None


class FaultProxy(FaultyServer[AcmeFault, AcmeRequest]):
    """The proxy; a context manager that serves while it is open."""

    def __init__(self, upstream: str, *, authority: TestAuthority, port: int = 0) -> None:
        self.upstream = urlsplit(upstream)
        self.upstream_context = authority.client_context()
        proxy = self

        class Exchange(_Exchange):
            world = proxy

        context = authority.server_context("faultproxy")
        super().__init__(LoopbackServer(Exchange, port=port, context=context))

    @property
    def origin(self) -> str:
        """Where it is, without a path."""
        return self._server.origin

    @property
    def directory_url(self) -> str:
        """The ACME directory, through the proxy."""
        return f"{self.origin}/dir"

    def calls(self, resource: str | None = None) -> int:
        """How many requests there were, for one resource or for all."""
        return sum(1 for request in self.requests if resource in (None, request.resource))

    def pause(self) -> None:
        """Take no connection and answer nothing, until `resume`."""
        self._server.pause()

    def resume(self) -> None:
        """Carry on after `pause`."""
        self._server.resume()


class _Exchange(Handler):
    """The requests of one connection, each passed on over one connection to Pebble."""

    world: FaultProxy

    def setup(self) -> None:
        """Prepare the connection to Pebble, which is opened when it is needed."""
        super().setup()
        self._pebble = self._connection()

    def _connection(self) -> http.client.HTTPSConnection:
        upstream = self.world.upstream
        return http.client.HTTPSConnection(
            str(upstream.hostname), upstream.port, context=self.world.upstream_context, timeout=60
        )

    def finish(self) -> None:
        """Close the connection to Pebble too."""
        self._pebble.close()
        super().finish()

    def respond(self, body: bytes) -> None:
        """Answer one request: with Pebble's reply, or with what was injected."""
        self._payload = _signed(body)
        self._resource = classify(urlsplit(self.path).path)
        self._fault = self.world.take_fault(
            lambda fault: fault.matches(self.command, self._resource)
        )
        self._forwarded = False
        fault = self._fault
        if fault is None:
            self._pass_back(self._forward(body))
        elif fault.kind == "slow":
            self.server.stopping.wait(fault.seconds)
            self._pass_back(self._forward(body))
        elif fault.kind in _INSTEAD:
            self._answer_instead(fault)
        else:
            self._spoil(fault, self._forward(body))

    def _log(self, status: int) -> None:
        """Put the request into the log: before the reply, so that who has that finds this."""
        self.world.log(
            AcmeRequest(
                method=self.command,
                path=self.path,
                resource=self._resource,
                status=status,
                fault=self._fault.kind if self._fault else None,
                forwarded=self._forwarded,
                at=time.monotonic(),
                payload=self._payload,
            )
        )

    def _forward(self, body: bytes) -> _Reply:
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in _OF_THE_CONNECTION
        }
        reply = self._ask(self.command, self.path, headers, body)
        self._forwarded = True
        return reply

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> _Reply:
        # A client's connection outlives a Pebble that was started again, on another port.
        if self._pebble.port != self.world.upstream.port:
            self._pebble.close()
            self._pebble = self._connection()
        try:
            self._pebble.request(method, path, body=body or None, headers=dict(headers))
            answer = self._pebble.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._pebble.close()
            return _Reply(502, {"Content-Type": "text/plain"}, b"Pebble does not answer\n")
        passed = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in _OF_THE_CONNECTION | {"link"}
        }
        # There may be several, which a mapping cannot hold; a list of links is one header too.
        if links := answer.headers.get_all("Link"):
            passed["Link"] = ", ".join(links)
        return _Reply(answer.status, passed, content)

    def _pass_back(self, reply: _Reply) -> None:
        self._log(reply.status)
        self.send(reply.status, reply.body, reply.headers)

    def _nonce(self) -> dict[str, str]:
        """A fresh nonce, which a server gives with every reply, errors included."""
        reply = self._ask("HEAD", "/nonce-plz", {"Host": self.headers.get("Host", "")})
        nonce = reply.headers.get("Replay-Nonce")
        return {"Replay-Nonce": nonce} if nonce else {}

    def _answer_instead(self, fault: AcmeFault) -> None:
        match fault.kind:
            case "problem":
                assert fault.problem is not None
                headers = {"Content-Type": "application/problem+json", **self._nonce()}
                self._pass_back(
                    _Reply(
                        fault.problem.status,
                        {**headers, **fault.problem.headers},
                        fault.problem.body(),
                    )
                )
            case "html_503":
                self._pass_back(_html_503(fault.headers))
            case "garbage":
                headers = {"Content-Type": "application/json", **self._nonce()}
                self._pass_back(_Reply(200, headers, b'{"status": "val'))
            case "reply":
                headers = {"Content-Type": "application/json", **self._nonce()}
                self._pass_back(_Reply(fault.status, {**headers, **fault.headers}, fault.body))
            case "huge":
                self._log(200)
                headers = {"Content-Type": "application/json", **self._nonce()}
                self.stream(200, headers, (b" " * 65536 for _ in range(16 * 1024)))
            case _:
                self._log(0)
                self.hang_up()

    def _spoil(self, fault: AcmeFault, reply: _Reply) -> None:
        match fault.kind:
            case "drop_after":
                self._log(0)
                self.hang_up()
                return
            case "html_503_after":
                reply = _html_503(fault.headers)
            case "headers":
                _rewrite(reply.headers, fault.headers)
            case "date":
                _rewrite(reply.headers, {"Date": http_date(fault.seconds)})
            case "processing":
                reply.body = _unfinished(reply.body)
            case "change":
                reply.body = _changed(reply.body, fault.document)
            case "truncated_pem":
                reply.body = reply.body[: len(reply.body) // 3]
            case _:
                reply.body = _wrong_chain(fault.kind, reply.body)
        self._pass_back(reply)


def _signed(body: bytes) -> Mapping[str, Any]:
    """The payload of a JWS (RFC 7515)."""
    try:
        payload = base64.urlsafe_b64decode(json.loads(body)["payload"] + "==")
        document = json.loads(payload)
    except (ValueError, KeyError, TypeError, binascii.Error):
        return {}
    return document if isinstance(document, dict) else {}


def _html_503(headers: Mapping[str, str]) -> _Reply:
    page = b"<html><head><title>503 Service Unavailable</title></head><body>busy</body></html>"
    return _Reply(503, {"Content-Type": "text/html", **headers}, page)


def _rewrite(headers: dict[str, str], changes: Mapping[str, str]) -> None:
    for name, value in changes.items():
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        if value:
            headers[name] = value


def _changed(body: bytes, changes: Mapping[str, Any]) -> bytes:
    document = {**json.loads(body), **changes}
    return json.dumps(
        {name: value for name, value in document.items() if value is not None}
    ).encode()


def _unfinished(body: bytes) -> bytes:
    """The same order, still in processing; anything else as it is."""
    document = json.loads(body)
    if document.get("status") != "valid":
        return body
    return _changed(body, {"status": "processing", "certificate": None})


def _wrong_chain(kind: str, body: bytes) -> bytes:
    """A downloaded chain with something wrong; anything that is no chain as it is."""
    if b"BEGIN CERTIFICATE" not in body:
        return body
    chain = x509.load_pem_x509_certificates(body)
    if kind == "truncated_chain":
        return _pem(chain[:1])
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = chain[0]
    names = x509.SubjectAlternativeName([x509.DNSName("somebody-else.example.net")])
    if kind == "wrong_key":
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    forged = (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(leaf.issuer)
        .public_key(key.public_key() if kind == "wrong_key" else _public_key(leaf))
        .serial_number(x509.random_serial_number())
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
        .add_extension(names, critical=False)
        # Nobody here has the intermediate's key; who checks the signature finds that too.
        .sign(key, hashes.SHA256())
    )
    return _pem([forged, *chain[1:]])


def _public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey), "the world's certificates are ECDSA"
    return key


def _pem(chain: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
