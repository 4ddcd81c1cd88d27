"""One request to an ACME server: its nonce, its signature and its retries (RFC 8555 section 6).

Not on the library's ClientNetwork, of which only the signing remains: that one is not for threads,
loses the HTTP status, the problem's type and the Retry-After of an error, tries once more with a
nonce that may be stale as well, reads replies of any size, and logs signed requests. Every error
leaves here as an IssuerError.

Whatever was lost may be sent again, the newOrder included: at worst a second order stays pending
at the server until it expires, and servers that care return the first. What a repetition means to
an answered challenge, a finalized order or a revoked certificate is looked after by the callers.
"""

import random
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import requests
from acme.jws import JWS
from josepy.errors import DeserializationError
from josepy.interfaces import JSONDeSerializable
from josepy.json_util import decode_b64jose
from josepy.jwa import JWASignature
from josepy.jwk import JWK

from certwarden.errors import IssuerError
from certwarden.issuer.transport import MAX_AT_ONCE, NotReached, Transport
from certwarden.ports import Clock

MAX_NONCE_RETRIES = 5
MAX_RETRIES = 3
MAX_RETRY_WAIT = timedelta(seconds=10)  # a longer Retry-After is for the next pass
NONCE_LIFETIME = 30.0  # seconds that a nonce is trusted for; Let's Encrypt's live about a minute
_FIRST_RETRY_WAIT = 0.5


@dataclass(frozen=True)
class Signer:
    """Who signs: as an account, or under the bare key where `account_url` is "" (section 6.2)."""

    key: JWK
    algorithm: JWASignature
    account_url: str

    def sign(self, payload: bytes, nonce: bytes, url: str) -> str:
        """The request's body."""
        kid = self.account_url or None
        jws = JWS.sign(payload, key=self.key, alg=self.algorithm, nonce=nonce, url=url, kid=kid)
        return str(jws.json_dumps())


class Network:
    """Requests to one server; any number of threads, of which MAX_AT_ONCE are served at a time."""

    def __init__(self, server: str, *, clock: Clock, ca_bundle: Path | None) -> None:
        self.transport = Transport(server, clock=clock, ca_bundle=ca_bundle)
        self._clock = clock
        self._nonces = _Nonces(clock)
        # Not left to the connection pool: who waits for his turn is to hold no nonce meanwhile.
        self._turn = threading.BoundedSemaphore(MAX_AT_ONCE)

    def close(self) -> None:
        """Ends the connections."""
        self.transport.close()

    def get(self, url: str) -> requests.Response:
        """A GET, which only a directory takes."""
        failures = 0
        while True:
            try:
                with self._turn:
                    return self._accepted(self.transport.send("GET", url, headers={}))
            except IssuerError as error:
                failures = self._wait_after(error, failures)

    def post(
        self,
        url: str,
        payload: JSONDeSerializable | None,
        *,
        signer: Signer,
        new_nonce_url: str,
        accept: str = "*/*",
    ) -> requests.Response:
        """A signed POST; without a payload it is a POST-as-GET. Each try has its own nonce."""
        data = payload.json_dumps().encode() if payload is not None else b""
        headers = {"Content-Type": "application/jose+json", "Accept": accept}
        failures = refused_nonces = 0
        nonce: bytes | None = None
        while True:
            fresh: bytes | None = None
            try:
                with self._turn:
                    body = signer.sign(data, nonce or self._nonce(new_nonce_url), url)
                    reply = self.transport.send("POST", url, data=body, headers=headers)
                fresh = _nonce_of(reply)
                accepted = self._accepted(reply)
            except IssuerError as error:
                if error.problem == "badNonce" and refused_nonces < MAX_NONCE_RETRIES:
                    refused_nonces += 1
                    nonce = fresh  # the refusal's own, at once: one from the stock may be as old
                else:
                    failures = self._wait_after(error, failures)
                    nonce = None
            else:
                self._nonces.put(fresh)
                return accepted

    def _wait_after(self, error: IssuerError, failures: int) -> int:
        """Waits before another try, and counts it; raises the error where none is to be made."""
        if not is_passing(error) or failures == MAX_RETRIES:
            raise error
        self._nonces.clear()  # of a server that may have been restarted
        self._clock.sleep(_retry_wait(error, failures + 1))
        return failures + 1

    def _nonce(self, new_nonce_url: str) -> bytes:
        nonce = self._nonces.take()
        return self._new_nonce(new_nonce_url) if nonce is None else nonce

    def _new_nonce(self, url: str) -> bytes:
        nonce = _nonce_of(self._accepted(self.transport.send("HEAD", url, headers={})))
        if nonce is None:
            raise IssuerError(f"{self.transport.server} sent no nonce", "it is tried again later")
        return nonce

    def _accepted(self, reply: requests.Response) -> requests.Response:
        objection = self.transport.objection(reply)
        if objection is not None:
            raise objection
        return reply


class _Nonces:
    """Nonces for later (section 6.5): the newest first, and none that may have gone stale."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: list[tuple[bytes, float]] = []

    def put(self, nonce: bytes | None) -> None:
        if nonce is not None:
            with self._lock:
                self._held.append((nonce, self._clock.monotonic()))

    def take(self) -> bytes | None:
        oldest = self._clock.monotonic() - NONCE_LIFETIME
        with self._lock:
            if self._held and self._held[-1][1] >= oldest:
                return self._held.pop()[0]
            self._held.clear()
            return None

    def clear(self) -> None:
        with self._lock:
            self._held.clear()


def _nonce_of(reply: requests.Response) -> bytes | None:
    """The nonce that every reply brings; one that is no base64url is as good as none."""
    try:
        nonce: bytes = decode_b64jose(reply.headers.get("Replay-Nonce", ""))
    except DeserializationError:
        return None
    return nonce or None


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
