"""One exchange over HTTP with a CA's server: how long, how large, how many at once, whom to trust.

Owns the connections, and says in one sentence what kept a reply away or what a reply objects to.
Knows nothing of signatures, so that renewal information is had without loading the ACME library.
"""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from certwarden import __version__
from certwarden.errors import IssuerError, clean
from certwarden.http import read_retry_after
from certwarden.issuer.problems import read_problem, refusal, reply_without_problem
from certwarden.issuer.resources import check_url
from certwarden.ports import Clock

MAX_AT_ONCE = 16
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
REPLY_TIMEOUT = 60.0  # for the whole of a reply, however it trickles in
MAX_REPLY_BYTES = 1024 * 1024


class NotReached(IssuerError):
    """No reply came: the server is down, or something between it and us is."""


class Transport:
    """Connections to one server, for any number of threads.

    `caa_identity` is the CA's name in CAA records, once it is known, for sentences that need it.
    """

    def __init__(self, server: str, *, clock: Clock, ca_bundle: Path | None) -> None:
        self.server = server
        self.caa_identity = ""
        self._clock = clock
        # A path here is final; only where there is none may the environment name a bundle.
        self._verify: str | bool = True if ca_bundle is None else str(ca_bundle)
        # Plain HTTP is for loopback, where a proxy of the environment has no business.
        self._sessions = {
            "https": _session(trust_env=True),
            "http": _session(trust_env=False),
        }

    def close(self) -> None:
        """Ends the connections."""
        for session in self._sessions.values():
            session.close()

    def send(
        self, method: str, url: str, *, data: str | None = None, headers: dict[str, str]
    ) -> requests.Response:
        """The whole reply, of whatever status; raises IssuerError where there is none."""
        deadline = self._clock.monotonic() + REPLY_TIMEOUT
        session = self._sessions[urlsplit(check_url(url)).scheme]
        try:
            response = session.request(
                method,
                url,
                data=data,
                headers={"User-Agent": f"certwarden/{__version__}", **headers},
                verify=self._verify,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
                auth=_no_credentials,
            )
            with response:
                self._read(response, deadline)
        except OSError as error:  # requests' own exceptions among them
            raise _not_reached(self.server, error) from None
        return response

    def _read(self, response: requests.Response, deadline: float) -> None:
        body = b""
        for chunk in response.iter_content(65536):
            body += chunk
            if len(body) > MAX_REPLY_BYTES:
                raise IssuerError(
                    f"{self.server} sent a reply of more than {MAX_REPLY_BYTES} bytes",
                    "check that acme.directory is the address of an ACME directory",
                )
            if self._clock.monotonic() > deadline:
                raise IssuerError(
                    f"{self.server} took more than {REPLY_TIMEOUT:.0f} s for one reply",
                    "it is tried again later",
                )
        response._content = body  # noqa: SLF001 - what requests does, less our limits

    def objection(self, response: requests.Response) -> IssuerError | None:
        """What the reply says against our request (RFC 8555 section 6.7); None if it is well."""
        if 200 <= response.status_code < 300:
            return None
        retry_after = read_retry_after(response.headers, self._clock.now())
        problem = read_problem(read_json(response))
        terms = response.links.get("terms-of-service", {}).get("url", "")
        if terms and not problem.instance:
            problem = replace(problem, instance=terms)  # what section 7.3.3 means by it
        if not (problem.type or problem.detail):
            return reply_without_problem(
                self.server,
                response.status_code,
                location=response.headers.get("Location", ""),
                retry_after=retry_after,
            )
        return refusal(
            self.server,
            problem,
            status=response.status_code,
            retry_after=retry_after,
            caa_identity=self.caa_identity,
            now=self._clock.now(),
        )

    def retry_after(self, response: requests.Response) -> timedelta | None:
        """The wait that the reply asks for, if it does."""
        return read_retry_after(response.headers, self._clock.now())


class _Adapter(HTTPAdapter):
    """One TLS context for all connections: reading the system's authorities takes 50 ms a time."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=MAX_AT_ONCE, pool_block=True)
        self._lock = threading.Lock()
        self._contexts: dict[str, Any] = {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Left to the context."""

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, tls = super().build_connection_pool_key_attributes(request, verify=True, cert=cert)
        if host["scheme"] == "https":
            tls["ssl_context"] = self._context(verify if isinstance(verify, str) else "")
        return host, tls

    def _context(self, bundle: str) -> Any:
        with self._lock:
            if bundle not in self._contexts:
                context = create_urllib3_context()
                path = Path(bundle or DEFAULT_CA_BUNDLE_PATH)
                if path.is_dir():
                    context.load_verify_locations(capath=path)
                else:
                    context.load_verify_locations(cafile=path)
                self._contexts[bundle] = context
            return self._contexts[bundle]


def _session(*, trust_env: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = trust_env
    session.mount("https://", _Adapter())
    session.mount("http://", _Adapter())
    return session


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
