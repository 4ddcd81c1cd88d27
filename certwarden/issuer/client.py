"""One method per request of the ACME protocol (RFC 8555 section 7), on the library `acme`.

Plumbing: knows what a request looks like and what comes back, not in which order they are made.
The library's own names (orderr, authzr, regr) never leave this file and `network`.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from acme import messages
from acme.challenges import DNS01Response
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256, ES384, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA
from josepy.util import ComparableRSAKey
from requests.utils import parse_header_links

from certwarden.errors import IssuerError, MaterialError
from certwarden.http import read_retry_after
from certwarden.issuer.network import Network, read_json
from certwarden.issuer.resources import (
    Authorization,
    Directory,
    OrderObject,
    check_url,
    read_authorization,
    read_directory,
    read_order,
)
from certwarden.model import Chains, Secret
from certwarden.pki.certificate import read_chain
from certwarden.pki.keys import PrivateKey, load_key
from certwarden.ports import Clock

MAX_ALTERNATES = 5
_CHAIN_TYPE = "application/pem-certificate-chain"  # RFC 8555 section 9.1


class Client:
    """A conversation with one ACME server, for one thread. All methods raise IssuerError."""

    def __init__(self, directory_url: str, *, clock: Clock, ca_bundle: Path | None) -> None:
        self.directory_url = check_url(directory_url)
        self.server = urlsplit(directory_url).netloc.rpartition("@")[2]
        self._clock = clock
        self._network = Network(self.server, clock=clock, ca_bundle=ca_bundle)

    def close(self) -> None:
        """Ends the connection."""
        self._network.close()

    @cached_property
    def directory(self) -> Directory:
        """Section 7.1.1; asked for once."""
        directory = read_directory(self.server, read_json(self._network.get(self.directory_url)))
        self._network.caa_identity = directory.caa_identity
        return directory

    def sign_as(self, key_pem: Secret, account_url: str = "") -> None:
        """Signs what follows as an account; without a URL, under the bare key (section 6.2)."""
        key = load_key(key_pem)
        self._key = _jwk(key)
        self._network.sign_as(self._key, _algorithm(key), account_url)

    @property
    def thumbprint(self) -> bytes:
        """The SHA-256 thumbprint of the key that signs (RFC 7638)."""
        return bytes(self._key.thumbprint())

    # ── account, section 7.3 ──────────────────────────────────────────────────────────────────────

    def find_account(self) -> str:
        """The URL of the signing key's account; "accountDoesNotExist" if it has none."""
        return self._new_account(messages.NewRegistration(only_return_existing=True))

    def register(self, contact: Sequence[str], external_account: tuple[str, Secret] | None) -> str:
        """The URL of the account of the signing key, made if need be; the terms are agreed to.

        `contact`: URLs, or bare e-mail addresses. `external_account`: key id and HMAC key.
        """
        urls = tuple(each if ":" in each else f"mailto:{each}" for each in contact)
        details: dict[str, Any] = {"contact": urls} if urls else {}
        if external_account:
            details["external_account_binding"] = self._bind(*external_account)
        return self._new_account(messages.NewRegistration(terms_of_service_agreed=True, **details))

    def _new_account(self, payload: messages.NewRegistration) -> str:
        reply = self._post(self.directory.new_account, payload)
        return self._location(reply, "an account")

    def _bind(self, key_id: str, hmac_key: Secret) -> dict[str, Any]:
        try:
            return messages.ExternalAccountBinding.from_data(
                self._key.public_key(),
                key_id,
                hmac_key.reveal().decode("ascii").strip(),
                messages.Directory({"newAccount": self.directory.new_account}),
            )
        except ValueError:  # without its cause: it may quote the key
            raise IssuerError(
                "the HMAC key of the external account is not base64url",
                "copy it again from the CA into the file that acme.eab names",
                permanent=True,
            ) from None

    # ── order, section 7.4 ────────────────────────────────────────────────────────────────────────

    def new_order(self, domains: Sequence[str], profile: str | None) -> OrderObject:
        """Places an order."""
        identifiers = [
            messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=domain) for domain in domains
        ]
        payload = messages.NewOrder(identifiers=identifiers, profile=profile or "")
        reply = self._post(self.directory.new_order, payload)
        return read_order(self.server, self._location(reply, "an order"), read_json(reply))

    def order(self, url: str) -> tuple[OrderObject, timedelta | None]:
        """An order as it is now, and the Retry-After that came with it."""
        reply = self._post(url)
        order = read_order(self.server, url, read_json(reply))
        return order, read_retry_after(reply.headers, self._clock.now())

    def authorization(self, url: str) -> Authorization:
        """An authorization as it is now."""
        return read_authorization(self.server, url, read_json(self._post(url)))

    def answer(self, challenge_url: str) -> None:
        """Tells the server that the challenge is ready to be looked at (section 7.5.1)."""
        self._post(challenge_url, DNS01Response(key_authorization=""))  # it is sent as {}

    def finalize(self, order: OrderObject, csr_pem: bytes) -> OrderObject:
        """Sends the certificate signing request; the order as it is then."""
        payload = messages.CertificateRequest(csr=x509.load_pem_x509_csr(csr_pem))
        reply = self._post(order.finalize, payload)
        return read_order(self.server, order.url, read_json(reply))

    def download(self, url: str) -> Chains:
        """The certificate's chain and its alternates (section 7.4.2), serialised afresh."""
        reply = self._post(url, accept=_CHAIN_TYPE)
        default = self._chain(reply)
        alternates = []
        for alternate_url in _links(reply, "alternate")[:MAX_ALTERNATES]:
            try:
                alternate = self._chain(self._post(alternate_url, accept=_CHAIN_TYPE))
            except IssuerError:
                continue  # a certificate in hand is worth more than a choice of chains
            alternates.append(alternate)
        return Chains(default, tuple(alternates))

    def _chain(self, reply: requests.Response) -> bytes:
        try:
            return b"".join(read_chain(reply.content))
        except MaterialError as error:
            raise IssuerError(
                f"{self.server} sent something that is no certificate chain: {error.what}",
                "it is tried again later",
            ) from None

    # ── revocation, section 7.6 ───────────────────────────────────────────────────────────────────

    def revoke(self, certificate_pem: bytes, reason: int) -> None:
        """Revokes a certificate, for a reason code of RFC 5280 section 5.3.1."""
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        payload = messages.Revocation(certificate=certificate, reason=reason)
        self._post(self.directory.revoke_certificate, payload)

    # ── requests and replies ──────────────────────────────────────────────────────────────────────

    def _post(
        self, url: str, payload: JSONDeSerializable | None = None, **headers: str
    ) -> requests.Response:
        return self._network.post(url, payload, new_nonce_url=self.directory.new_nonce, **headers)

    def _location(self, reply: requests.Response, what: str) -> str:
        url = reply.headers.get("Location", "")
        if not url:
            raise IssuerError(
                f"{self.server} made {what} and did not say where", "it is tried again later"
            )
        return check_url(url)


def _links(reply: requests.Response, relation: str) -> list[str]:
    # Not reply.links: that keeps one link of each relation.
    links = parse_header_links(reply.headers.get("Link", ""))
    return [link["url"] for link in links if link.get("rel") == relation and link["url"]]


def _jwk(key: PrivateKey) -> JWK:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return JWKEC(key=key)
    return JWKRSA(key=ComparableRSAKey(key))


def _algorithm(key: PrivateKey) -> JWASignature:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return RS256
    return ES256 if key.curve.key_size == 256 else ES384
