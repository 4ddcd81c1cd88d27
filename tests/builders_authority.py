"""A private CA made once for each test run, and what it signs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from certwarden.model import (
    ClientCertificate,
    ClientPurpose,
    Crl,
    KeyType,
    Pair,
    RevocationReason,
    Revoked,
)
from certwarden.pki.authority import build_client, build_root
from certwarden.pki.certificate import read_pair
from certwarden.pki.crl import build_crl
from certwarden.pki.keys import PrivateKey, load_key, public_bytes
from tests.builders import NOW, a_key

CRL_LIFETIME = timedelta(days=30)
CLIENT_LIFETIME = timedelta(days=825)


@dataclass(frozen=True)
class PrivateAuthority:
    """A root and its open key."""

    root_pem: bytes
    key: PrivateKey

    def crl(self, number: int = 1, *serials: str, at: datetime = NOW) -> Crl:
        """A list of these serials, all revoked when it is signed."""
        return self.sign_list(number, at, [a_revocation(serial, at) for serial in serials])

    def sign_list(self, number: int, at: datetime, entries: Sequence[Revoked]) -> Crl:
        """A list as the register asks for it."""
        return build_crl(
            self.root_pem, self.key, number=number, at=at, lifetime=CRL_LIFETIME, entries=entries
        )

    def client(self, serial: str = "0a", name: str = "alice") -> Pair:
        """A client certificate with its key."""
        key_pem = a_key()
        certificate = a_client_certificate(serial, name)
        spki = public_bytes(load_key(key_pem))
        return read_pair(key_pem, build_client(self.root_pem, self.key, certificate, spki))


@cache
def a_private_authority(name: str = "Home client CA") -> PrivateAuthority:
    key = load_key(a_key(KeyType.ECDSA_P256))
    return PrivateAuthority(build_root(name, key, NOW), key)


def a_client_certificate(
    serial: str = "0a",
    name: str = "alice",
    *,
    not_before: datetime = NOW - timedelta(hours=1),
    not_after: datetime = NOW + CLIENT_LIFETIME,
    email: str | None = None,
    purpose: ClientPurpose = ClientPurpose.CLIENT,
    is_signed: bool = False,
) -> ClientCertificate:
    """One that is about to be signed."""
    return ClientCertificate(
        serial=serial,
        name=name,
        email=email,
        not_before=not_before,
        not_after=not_after,
        purpose=purpose,
        is_signed=is_signed,
    )


def a_revocation(
    serial: str, at: datetime = NOW, reason: RevocationReason = RevocationReason.UNSPECIFIED
) -> Revoked:
    return Revoked(serial, at, reason)
