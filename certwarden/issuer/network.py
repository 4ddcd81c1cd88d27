"""One request to an ACME server: its nonce, its retries and its limits (RFC 8555 section 6).

On the library's ClientNetwork, of which the session and the signing remain: that one loses the
HTTP status, the problem's type and the Retry-After of an error, tries once more with a nonce that
may be stale as well, and reads replies of any size. Every error leaves here as an IssuerError.

Whatever was lost may be sent again, the newOrder included: at worst a second order stays pending
at the server until it expires, and servers that care return the first. What a repetition means to
an answered challenge, a finalized order or a revoked certificate is looked after by the callers.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from acme.client import ClientNetwork
from acme.messages import Registration, RegistrationResource
from josepy.errors import DeserializationError
from josepy.json_util import decode_b64jose
from josepy.jwa import JWASignature
from josepy.jwk import JWK

from certwarden import __version__
from certwarden.errors import IssuerError, clean
from certwarden.http import read_retry_after
from certwarden.issuer.problems import read_problem, refusal, reply_without_problem
from certwarden.issuer.resources import check_url
from certwarden.ports import Clock

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
REPLY_TIMEOUT = 60.0  # for the whole of a reply, however it trickles in
MAX_REPLY_BYTES = 1024 * 1024
MAX_NONCE_RETRIES = 5
MAX_RETRIES = 3
MAX_RETRY_WAIT = timedelta(seconds=10)  # a longer Retry-After is for the next pass
_FIRST_RETRY_WAIT = 0.5

_Made = TypeVar("_Made")

# The library logs whole signed requests, external account binding included, at DEBUG.
logging.getLogger("acme.client").setLevel(logging.WARNING)


class NotReached(IssuerError):
    """No reply came: the server is down, or something between it and us is."""


class Network(ClientNetwork):
    """A session with one server, for one thread: one connection, the last nonce, one signer."""

    def __init__(self, server: str, *, clock: Clock, ca_bundle: Path | None) -> None:
        super().__init__(user_agent=f"certwarden/{__version__}")
        self.caa_identity = ""
        self._server = server
        self._clock = clock
        # A path here is final; only where there is none may the environment name a bundle.
        self._verify: str | bool = True if ca_bundle is None else str(ca_bundle)

    def sign_as(self, key: JWK, algorithm: JWASignature, account_url: str) -> None:
        """Signs all further requests by this key: as an account, or under the bare key if ""."""
        self.key, self.alg = key, algorithm
        self.account = (
            RegistrationResource(uri=account_url, body=Registration()) if account_url else None
        )

    def close(self) -> None:
        """Ends the connection."""
        self.session.close()

    def get(self, url: str, *_: Any, **__: Any) -> requests.Response:
        """A GET, which only a directory takes."""
        return self._persistently(lambda: self._checked(self._send_request("GET", url)))

    def post(self, url: str, obj: Any, *_: Any, **kwargs: Any) -> requests.Response:
        """A signed POST; `obj` None makes it a POST-as-GET. Each try has a nonce of its own.

        Takes `new_nonce_url` and, where something else than JSON is to come back, `accept`.
        """
        new_nonce_url: str = kwargs["new_nonce_url"]
        headers = {"Content-Type": self.JOSE_CONTENT_TYPE}
        if "accept" in kwargs:
            headers["Accept"] = kwargs["accept"]

        def send() -> requests.Response:
            nonce = self._get_nonce(url, new_nonce_url)
            data = self._wrap_in_jws(obj, nonce, url)
            return self._checked(self._send_request("POST", url, data=data, headers=headers))

        return self._persistently(send)

    # ── trying again ──────────────────────────────────────────────────────────────────────────────

    def _persistently(self, attempt: Callable[[], _Made]) -> _Made:
        refused_nonces = failures = 0
        while True:
            try:
                return attempt()
            except IssuerError as error:
                if error.problem == "badNonce" and refused_nonces < MAX_NONCE_RETRIES:
                    refused_nonces += 1  # at once: the refusal has brought a fresh one
                elif is_passing(error) and failures < MAX_RETRIES:
                    failures += 1
                    self._nonces.clear()  # of a server that may have been restarted
                    self._clock.sleep(_retry_wait(error, failures))
                else:
                    raise

    def _get_nonce(self, url: str, new_nonce_url: str) -> Any:  # noqa: ARG002 - the library's shape
        if not self._nonces:
            self._checked(self._send_request("HEAD", new_nonce_url))
        if not self._nonces:
            raise IssuerError(f"{self._server} sent no nonce", "it is tried again later")
        return self._nonces.pop()

    # ── one exchange ──────────────────────────────────────────────────────────────────────────────

    def _send_request(self, method: str, url: str, *_: Any, **kwargs: Any) -> requests.Response:
        deadline = self._clock.monotonic() + REPLY_TIMEOUT
        headers = {"User-Agent": self.user_agent, **kwargs.get("headers", {})}
        # Plain HTTP is for loopback, where a proxy of the environment has no business.
        self.session.trust_env = urlsplit(url).scheme == "https"
        try:
            response = self.session.request(
                method,
                check_url(url),
                data=kwargs.get("data"),
                headers=headers,
                verify=self._verify,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
                auth=_no_credentials,
            )
            with response:
                self._read(response, deadline)
        except OSError as error:  # requests' own exceptions among them
            raise _not_reached(self._server, error) from None
        return response

    def _read(self, response: requests.Response, deadline: float) -> None:
        body = b""
        for chunk in response.iter_content(65536):
            body += chunk
            if len(body) > MAX_REPLY_BYTES:
                raise IssuerError(
                    f"{self._server} sent a reply of more than {MAX_REPLY_BYTES} bytes",
                    "check that acme.directory is the address of an ACME directory",
                )
            if self._clock.monotonic() > deadline:
                raise IssuerError(
                    f"{self._server} took more than {REPLY_TIMEOUT:.0f} s for one reply",
                    "it is tried again later",
                )
        response._content = body  # noqa: SLF001 - what requests does, less our limits

    def _checked(self, response: requests.Response) -> requests.Response:
        """The reply if it is a success; its nonce is kept in any case."""
        if nonce := response.headers.get(self.REPLAY_NONCE_HEADER):
            self._keep_nonce(nonce)
        if 200 <= response.status_code < 300:
            return response
        retry_after = read_retry_after(response.headers, self._clock.now())
        problem = read_problem(read_json(response))
        terms = response.links.get("terms-of-service", {}).get("url", "")
        if terms and not problem.instance:
            problem = replace(problem, instance=terms)  # what section 7.3.3 means by it
        if not (problem.type or problem.detail):
            raise reply_without_problem(
                self._server,
                response.status_code,
                location=response.headers.get("Location", ""),
                retry_after=retry_after,
            )
        raise refusal(
            self._server,
            problem,
            status=response.status_code,
            retry_after=retry_after,
            caa_identity=self.caa_identity,
        )

    def _keep_nonce(self, header: str) -> None:
        try:
            nonce: Any = decode_b64jose(header)
        except DeserializationError:
            return  # as good as none
        self._nonces.clear()  # the newest is the least likely to have gone stale
        self._nonces.add(nonce)


def is_passing(error: IssuerError) -> bool:
    """Whether the same request may succeed in a moment: no connection, or a server's own fault."""
    if error.permanent or (error.retry_after or timedelta()) > MAX_RETRY_WAIT:
        return False
    return isinstance(error, NotReached) or (error.status is not None and error.status >= 500)


def _retry_wait(error: IssuerError, failures: int) -> float:
    """Seconds: doubling, with jitter so that many do not come back at once; or as asked for."""
    doubling = _FIRST_RETRY_WAIT * (1 << (failures - 1))
    jittered = doubling * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing
    return max(jittered, (error.retry_after or timedelta()).total_seconds())


def read_json(response: requests.Response) -> object:
    """The reply's JSON; None where it is none."""
    try:
        document: object = response.json()
    except (ValueError, RecursionError):  # requests' JSONDecodeError is a ValueError
        return None
    return document


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from sending what ~/.netrc may hold."""
    return request


def _not_reached(server: str, error: OSError) -> IssuerError:
    """What kept the reply away, in one sentence. The library's own names URLs and objects."""
    text = str(error)
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.partition("certificate verify failed: ")[2].partition("(")[0]
        return IssuerError(
            f"the TLS certificate of {server} is not to be trusted: {clean(reason, 120)}",
            "check this machine's clock; for a CA of your own name its root in acme.ca_bundle",
        )
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidProxyURL):
        return IssuerError(f"{server} is not an address", "check acme.directory", permanent=True)
    if not isinstance(error, requests.exceptions.RequestException) or "[X509" in text:
        return IssuerError(
            f"the certificates to trust for {server} cannot be read",
            "check that the file that acme.ca_bundle names is there and holds PEM certificates",
            permanent=True,
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        why = f"no connection within {CONNECT_TIMEOUT:.0f} s"
    elif isinstance(error, requests.exceptions.Timeout) or "Read timed out" in text:
        why = f"no reply within {READ_TIMEOUT:.0f} s"
    else:
        why = _reason(error)
    return NotReached(
        f"{server} cannot be reached: {why}",
        "check this machine's connection to the internet; it is tried again later",
    )


def _reason(error: BaseException) -> str:
    """The innermost words of the operating system, of an error that wraps others."""
    reason, depth = "the connection broke off", 0
    inner: BaseException | None = error
    while inner is not None and depth < 10:
        if isinstance(inner, OSError) and inner.strerror:
            reason = clean(inner.strerror, 120)
        nested = [
            each
            for each in (getattr(inner, "reason", None), *inner.args)
            if isinstance(each, BaseException)
        ]
        inner = nested[0] if nested else inner.__cause__ or inner.__context__
        depth += 1
    return reason
