"""The server's JSON objects, read with care (RFC 8555 section 7.1). Pure.

Read by us rather than by the library, whose own types know no `expired` authorization, lose a
problem's type, and refuse a whole object for one member that nobody looks at. A member that is
needed and is missing or malformed is an IssuerError.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from certwarden.errors import IssuerError, clean
from certwarden.http import is_secured
from certwarden.issuer.problems import Problem, read_problem
from certwarden.model import OrderStatus

MAX_MEMBERS = 100  # of a list; Let's Encrypt takes as many names in one order
_MAX_URL = 2000
_MAX_IDENTITIES = 20
_BASE64URL = frozenset(string.ascii_letters + string.digits + "-_")


@dataclass(frozen=True)
class Directory:
    """Section 7.1.1: the URLs, and what `meta` says; absent texts are ""."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke_certificate: str
    renewal_info: str  # RFC 9773 section 4, unchecked; "" where it is not offered
    terms_of_service: str
    caa_identities: tuple[str, ...]
    profiles: tuple[str, ...]
    external_account_required: bool

    @property
    def caa_identity(self) -> str:
        """The CA's first name in CAA records; "" where it does not say one."""
        return next(iter(self.caa_identities), "")


@dataclass(frozen=True)
class OrderObject:
    """Section 7.1.3."""

    url: str
    status: OrderStatus
    identifiers: tuple[str, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str
    problem: Problem | None


@dataclass(frozen=True)
class Dns01:
    """A dns-01 challenge (section 8.4)."""

    url: str
    status: str
    token: str


@dataclass(frozen=True)
class Authorization:
    """Section 7.1.4; `problem` is that of the challenge that failed, if one did."""

    url: str
    status: str
    identifier: str  # without a star
    wildcard: bool
    dns01: Dns01 | None
    problem: Problem | None

    @property
    def name(self) -> str:
        """The identifier as it was ordered."""
        return f"*.{self.identifier}" if self.wildcard else self.identifier


def check_url(url: str) -> str:
    """The URL, if it is one that we talk to: https, or http to this machine itself."""
    if not (is_secured(url) and len(url) <= _MAX_URL):
        raise IssuerError(
            f"{clean(url, 200) or 'an empty address'} is not where a CA can be talked to",
            "it must be an https:// address",
            permanent=True,
        )
    return url


def read_directory(server: str, document: object) -> Directory:
    """Section 7.1.1, with the `meta` of section 9.7.6 and of draft-ietf-acme-profiles."""
    read = _Reader(server, "a directory", document)
    meta = read.mapping("meta")
    profiles, identities = meta.get("profiles"), meta.get("caaIdentities")
    named = identities[:_MAX_IDENTITIES] if isinstance(identities, list) else []
    return Directory(
        new_nonce=read.url("newNonce"),
        new_account=read.url("newAccount"),
        new_order=read.url("newOrder"),
        revoke_certificate=read.url("revokeCert"),
        renewal_info=read.optional_text("renewalInfo"),
        terms_of_service=clean(_text(meta, "termsOfService")),
        caa_identities=tuple(clean(each, 253) for each in named if isinstance(each, str)),
        profiles=tuple(map(str, profiles)) if isinstance(profiles, Mapping) else (),
        external_account_required=meta.get("externalAccountRequired") is True,
    )


def read_order(server: str, url: str, document: object) -> OrderObject:
    """Section 7.1.3; an order of another status than RFC 8555's is an error."""
    read = _Reader(server, "an order", document)
    status = read.text("status")
    if status not in set(OrderStatus):
        raise read.fault(f"its status is {clean(status, 30)}")
    return OrderObject(
        url=check_url(url),
        status=OrderStatus(status),
        identifiers=tuple(_text(each, "value").lower() for each in read.objects("identifiers")),
        authorizations=tuple(check_url(str(each)) for each in read.members("authorizations")),
        finalize=read.url("finalize"),
        certificate=read.url("certificate") if status == OrderStatus.VALID else "",
        problem=_problem(read.mapping("error")),
    )


def read_authorization(server: str, url: str, document: object) -> Authorization:
    """Section 7.1.4; only its dns-01 challenge is kept, and a problem from any of them."""
    read = _Reader(server, "an authorization", document)
    challenges = read.objects("challenges")
    problems = [_problem(each.get("error")) for each in challenges]
    dns01 = next((each for each in challenges if each.get("type") == "dns-01"), None)
    identifier = _text(read.mapping("identifier"), "value").lower()
    if not identifier:
        raise read.fault("its identifier is missing")
    return Authorization(
        url=url,
        status=clean(read.text("status"), 30),
        identifier=identifier.removeprefix("*."),
        wildcard=read.flag("wildcard") or identifier.startswith("*."),
        dns01=None if dns01 is None else _read_dns01(server, dns01),
        problem=next((each for each in problems if each is not None), None),
    )


def _read_dns01(server: str, document: Mapping[str, Any]) -> Dns01:
    read = _Reader(server, "a challenge", document)
    token = read.text("token")
    if not _BASE64URL.issuperset(token):
        raise read.fault("its token is not base64url")
    return Dns01(url=read.url("url"), status=read.text("status"), token=token)


class _Reader:
    """Takes members out of a JSON object; says what is wrong with it, and whose it is."""

    def __init__(self, server: str, what: str, document: object) -> None:
        self._server = server
        self._what = what
        if not isinstance(document, Mapping):
            raise self.fault("it is no JSON object")
        self._document = document

    def fault(self, why: str) -> IssuerError:
        return IssuerError(
            f"{self._server} sent {self._what} that makes no sense: {why}",
            "check that acme.directory is the address of an ACME directory",
        )

    def text(self, key: str) -> str:
        value = _text(self._document, key)
        if not value:
            raise self.fault(f"{key} is missing")
        return value

    def url(self, key: str) -> str:
        return check_url(self.text(key))

    def optional_text(self, key: str) -> str:
        return _text(self._document, key)

    def flag(self, key: str) -> bool:
        return self._document.get(key) is True

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self._document.get(key)
        return value if isinstance(value, Mapping) else {}

    def members(self, key: str) -> list[Any]:
        value = self._document.get(key)
        if not isinstance(value, list) or len(value) > MAX_MEMBERS:
            raise self.fault(f"{key} is not a list of at most {MAX_MEMBERS}")
        return value

    def objects(self, key: str) -> list[Mapping[str, Any]]:
        members = self.members(key)
        if not all(isinstance(each, Mapping) for each in members):
            raise self.fault(f"{key} holds something else than objects")
        return members


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _problem(document: object) -> Problem | None:
    return read_problem(document) if isinstance(document, Mapping) and document else None
