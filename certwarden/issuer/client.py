"""One method per request of the ACME protocol (RFC 8555 section 7), on the library `acme`.

Plumbing: knows what a request looks like and what comes back, not in which order they are made.
The library's own names (orderr, authzr, regr) never leave this file.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from acme import messages
from acme.challenges import DNS01Response
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.interfaces import JSONDeSerializable
from josepy.json_util import field
from josepy.jwa import ES256, ES384, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA
from josepy.util import ComparableRSAKey
from requests.utils import parse_header_links

from certwarden.errors import IssuerError, MaterialError
from certwarden.issuer.network import Network, Signer
from certwarden.issuer.once import Once
from certwarden.issuer.resources import (
    Authorization,
    Directory,
    OrderObject,
    check_url,
    read_authorization,
    read_directory,
    read_order,
)
from certwarden.issuer.transport import read_json
from certwarden.model import Chains, Secret
from certwarden.pki.certificate import read_chain
from certwarden.pki.keys import PrivateKey, load_key
from certwarden.ports import Clock

MAX_ALTERNATES = 5
_CHAIN_TYPE = "application/pem-certificate-chain"  # RFC 8555 section 9.1


class _NewOrder(messages.NewOrder):
    replaces: str | None = field("replaces", omitempty=True)  # RFC 9773 section 5


class Client:
    """A conversation with one ACME server, for any number of threads; all raise IssuerError."""

    def __init__(self, directory_url: str, *, clock: Clock, ca_bundle: Path | None) -> None:
        self.directory_url = check_url(directory_url)
        self.server = urlsplit(directory_url).netloc.rpartition("@")[2]
        self._network = Network(self.server, clock=clock, ca_bundle=ca_bundle)
        self._directory = Once(self._ask_directory)
        self._signer: Signer

    def close(self) -> None:
        """Ends the connections."""
        self._network.close()

    @property
    def directory(self) -> Directory:
        """Section 7.1.1; asked for once."""
        return self._directory.get()

    def _ask_directory(self) -> Directory:
        directory = read_directory(self.server, read_json(self._network.get(self.directory_url)))
        self._network.transport.caa_identity = directory.caa_identity
        return directory

    def sign_as(self, key_pem: Secret, account_url: str = "") -> None:
        """Signs what follows as an account; without a URL, under the bare key (section 6.2)."""
        self._signer = _signer(key_pem, account_url)

    @property
    def account_url(self) -> str:
        """As whom it signs."""
        return self._signer.account_url

    @property
    def thumbprint(self) -> bytes:
        """The SHA-256 thumbprint of the key that signs (RFC 7638)."""
        return bytes(self._signer.key.thumbprint())

    # ── account, section 7.3 ──────────────────────────────────────────────────────────────────────

    def find_account(self, key_pem: Secret) -> str:
        """The URL of the key's account; "accountDoesNotExist" if it has none."""
        payload = messages.NewRegistration(only_return_existing=True)
        return self._new_account(_signer(key_pem), payload)

    def register(
        self, key_pem: Secret, contact: Sequence[str], external_account: tuple[str, Secret] | None
    ) -> str:
        """The URL of the key's account, made if need be; the terms are agreed to.

        `contact`: URLs, or bare e-mail addresses. `external_account`: key id and HMAC key.
        """
        signer = _signer(key_pem)
        urls = tuple(each if ":" in each else f"mailto:{each}" for each in contact)
        details: dict[str, Any] = {"contact": urls} if urls else {}
        if external_account:
            details["external_account_binding"] = self._bind(signer, *external_account)
        payload = messages.NewRegistration(terms_of_service_agreed=True, **details)
        return self._new_account(signer, payload)

    def _new_account(self, signer: Signer, payload: messages.NewRegistration) -> str:
        reply = self._post(self.directory.new_account, payload, signer=signer)
        return self._location(reply, "an account")

    def _bind(self, signer: Signer, key_id: str, hmac_key: Secret) -> dict[str, Any]:
        try:
            return messages.ExternalAccountBinding.from_data(
                signer.key.public_key(),
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

    def new_order(
        self, domains: Sequence[str], profile: str | None, replaces: str | None
    ) -> OrderObject:
        """Places an order, which may replace a certificate (RFC 9773 section 5)."""
        identifiers = [
            messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=domain) for domain in domains
        ]
        payload = _NewOrder(identifiers=identifiers, profile=profile or "", replaces=replaces)
        reply = self._post(self.directory.new_order, payload)
        return read_order(self.server, self._location(reply, "an order"), read_json(reply))

    def order(self, url: str) -> tuple[OrderObject, timedelta | None]:
        """An order as it is now, and the Retry-After that came with it."""
        reply = self._post(url)
        order = read_order(self.server, url, read_json(reply))
        return order, self._network.transport.retry_after(reply)

    def authorization(self, url: str) -> Authorization:
        """An authorization as it is now."""
        return read_authorization(self.server, url, read_json(self._post(url)))

    def deactivate(self, authorization_url: str) -> None:
        """Gives up an authorization (section 7.5.2)."""
        self._post(authorization_url, messages.UpdateAuthorization(status="deactivated"))

    def answer(self, challenge_url: str) -> timedelta | None:
        """Tells the server that the challenge is ready to be looked at (section 7.5.1).

        Returns the Retry-After that came with the reply.
        """
        reply = self._post(challenge_url, DNS01Response(key_authorization=""))  # it is sent as {}
        return self._network.transport.retry_after(reply)

    def finalize(self, order: OrderObject, csr_pem: bytes) -> tuple[OrderObject, timedelta | None]:
        """Sends the certificate signing request; the order as it is then, and the Retry-After."""
        payload = messages.CertificateRequest(csr=x509.load_pem_x509_csr(csr_pem))
        reply = self._post(order.finalize, payload)
        finalized = read_order(self.server, order.url, read_json(reply))
        return finalized, self._network.transport.retry_after(reply)

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
        self,
        url: str,
        payload: JSONDeSerializable | None = None,
        *,
        signer: Signer | None = None,
        accept: str = "application/json",
    ) -> requests.Response:
        return self._network.post(
            url,
            payload,
            signer=signer or self._signer,
            new_nonce_url=self.directory.new_nonce,
            accept=accept,
        )

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


def _signer(key_pem: Secret, account_url: str = "") -> Signer:
    key = load_key(key_pem)
    return Signer(_jwk(key), _algorithm(key), account_url)


def _jwk(key: PrivateKey) -> JWK:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return JWKEC(key=key)
    return JWKRSA(key=ComparableRSAKey(key))


def _algorithm(key: PrivateKey) -> JWASignature:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return RS256
    return ES256 if key.curve.key_size == 256 else ES384
