"""A private CA for the tests of targets, with real keys and lists: `SmallAuthority`."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certwarden.model import (
    ClientCertificate,
    ClientTrust,
    KeyType,
    Pair,
    RevocationReason,
    Revoked,
)
from certwarden.pki.authority import build_client, build_root, extend_root, new_serial
from certwarden.pki.certificate import read_pair
from certwarden.pki.crl import build_crl
from certwarden.pki.keys import generate_key, load_key
from tests.builders import NOW

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class SmallAuthority:
    """Signs clients and lists; `now` is the instant at which it does so."""

    def __init__(self, name: str = "Home client CA", now: datetime = NOW) -> None:
        self._now = now
        self._key = cast("ec.EllipticCurvePrivateKey", load_key(generate_key(KeyType.ECDSA_P256)))
        self.root_pem = build_root(name, self._key, now)

    def extend(self) -> None:
        """A new root certificate under the same key."""
        self.root_pem = extend_root(self.root_pem, self._key, self._now + _DAY)

    def trust(
        self, number: int = 1, revoked: Iterable[str] = (), *, days: float = 30
    ) -> ClientTrust:
        """The root with a list of this number, in which these serials are."""
        entries = [Revoked(each, self._now, RevocationReason.UNSPECIFIED) for each in revoked]
        crl = build_crl(
            self.root_pem,
            self._key,
            number=number,
            at=self._now,
            lifetime=timedelta(days=days),
            entries=entries,
        )
        return ClientTrust(self.root_pem, crl)

    def client(
        self, name: str, email: str | None = None, key_type: KeyType = KeyType.ECDSA_P256
    ) -> Pair:
        """A client's certificate with its key."""
        key_pem = generate_key(key_type)
        public = load_key(key_pem).public_key()
        certificate = ClientCertificate(
            serial=new_serial(),
            name=name,
            email=email,
            not_before=self._now - _HOUR,
            not_after=self._now + 100 * _DAY,
        )
        pem = build_client(
            self.root_pem,
            self._key,
            certificate,
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        )
        return read_pair(key_pem, pem)
