"""A private CA to test with: its root and key, clients and lists; and keys that live elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certwarden.model import ClientCertificate, Crl, KeyType, Revoked, Secret
from certwarden.pki.authority import build_client, build_root, client_dates, new_serial, read_root
from certwarden.pki.crl import build_crl
from certwarden.pki.keys import PrivateKey, generate_key, load_key, public_bytes
from tests.builders import NOW

NAME = "Home client CA"
CLIENT_LIFETIME = timedelta(days=825)
CRL_LIFETIME = timedelta(days=30)


@dataclass(frozen=True)
class Client:
    """A client with its key, as only the person has it."""

    certificate: ClientCertificate
    pem: bytes
    key_pem: Secret


@dataclass(frozen=True)
class PrivateCa:
    """A root with its key."""

    root_pem: bytes
    key: PrivateKey
    now: datetime = NOW

    def client(
        self,
        name: str = "alice-iphone",
        email: str | None = None,
        key_type: KeyType = KeyType.ECDSA_P256,
    ) -> Client:
        """A client certificate with a fresh key."""
        key_pem = generate_key(key_type)
        dates = client_dates(read_root(self.root_pem), self.now, CLIENT_LIFETIME)
        certificate = ClientCertificate(new_serial(), name, email, *dates)
        public_key = public_bytes(load_key(key_pem))
        return Client(
            certificate, build_client(self.root_pem, self.key, certificate, public_key), key_pem
        )

    def crl(
        self,
        entries: Sequence[Revoked] = (),
        *,
        number: int = 1,
        at: datetime | None = None,
        lifetime: timedelta = CRL_LIFETIME,
    ) -> Crl:
        """A list, signed now unless it is said when."""
        return build_crl(
            self.root_pem,
            self.key,
            number=number,
            at=at or self.now,
            lifetime=lifetime,
            entries=entries,
        )


def found(key: PrivateKey, *, name: str = NAME, now: datetime = NOW) -> PrivateCa:
    """A CA with this key."""
    return PrivateCa(build_root(name, key, now), key, now)


@cache
def a_ca() -> PrivateCa:
    """The CA of most tests."""
    return found(ec.generate_private_key(ec.SECP256R1()))


@cache
def another_ca() -> PrivateCa:
    """A stranger."""
    return found(ec.generate_private_key(ec.SECP256R1()), name="Neighbour")


def _refuse(*_: object) -> NoReturn:
    message = "the key does not leave the token"
    raise AssertionError(message)


_closed: Any = _refuse  # in place of methods of several types


class EcToken(ec.EllipticCurvePrivateKey):
    """An elliptic-curve key in a token, which can sign, and nothing else."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._key.curve

    @property
    def key_size(self) -> int:
        return self._key.key_size

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        return self._key.sign(data, signature_algorithm)

    exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = _closed


class RsaToken(rsa.RSAPrivateKey):
    """The same with an RSA key."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def public_key(self) -> rsa.RSAPublicKey:
        return self._key.public_key()

    @property
    def key_size(self) -> int:
        return self._key.key_size

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        return self._key.sign(data, padding, algorithm)

    decrypt = private_numbers = private_bytes = __copy__ = __deepcopy__ = _closed
