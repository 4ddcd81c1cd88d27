"""A small certificate authority for the TLS of the world's own servers.

Owns the keys and certificates by which Pebble's API, the fault proxy and DNS over HTTPS are
reached. It has nothing to do with the certificates that Pebble issues.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.world.server import context_for

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as unencrypted PKCS#8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class TestAuthority:
    """A root made afresh, which signs server certificates into one directory."""

    __test__ = False  # its name makes pytest look for tests in it

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("World test root")
        self.root = (
            self._certificate(self._key, self._name, days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = directory / "world-root.pem"
        self.bundle.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, label: str, names: Sequence[str] = LOOPBACK, *, days: int = 30
    ) -> tuple[Path, Path]:
        """Make a key and a certificate for `names`; return the paths of certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._certificate(key, _name(names[0]), days=days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]),
                critical=False,
            )
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        certificate_path = self._directory / f"{label}.pem"
        key_path = self._directory / f"{label}.key"
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.touch(mode=0o600)
        key_path.write_bytes(key_pem(key))
        return certificate_path, key_path

    def _certificate(
        self, key: ec.EllipticCurvePrivateKey, subject: x509.Name, *, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=days))
        )

    def server_context(self, label: str, names: Sequence[str] = LOOPBACK) -> ssl.SSLContext:
        """What a server of ours needs to speak TLS under `names`."""
        return context_for(*self.issue(label, names))

    def client_context(self) -> ssl.SSLContext:
        """What a client needs to trust the servers of this authority, and nobody else."""
        return ssl.create_default_context(cafile=str(self.bundle))


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a key may be used for: signing certificates and lists, or signatures of its own."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
