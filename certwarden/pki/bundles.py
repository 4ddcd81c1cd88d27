"""What a person imports: a client's key and certificate, in the form that a device can read.

Owns the forms: PKCS#12 (RFC 7292) in two strengths, Apple's configuration profile, and PEM. Only
the leaf is in them: phones need no root of ours, and some would trust it for servers. Makes bytes;
where they go, and how the password gets to the person, is others' business.
"""

import plistlib
import unicodedata
import uuid
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PBES,
    serialize_key_and_certificates,
)

from certwarden.errors import MaterialError, UsageError
from certwarden.model import Pair, Secret
from certwarden.pki.certificate import read_pair
from certwarden.pki.keys import PrivateKey, load_key

PROFILE_IDENTIFIER = "arpa.home.certwarden"

_NAMESPACE = uuid.UUID("8c6df6d6-3c62-4d0e-9d4b-5d4a2f0d8a2e")  # of ours, made once


class BundleFormat(StrEnum):
    """A form of bundle, by its name on the command line."""

    P12 = "p12"  # AES-256, SHA-256: iOS 18, Android 14, macOS 15, Windows 10, Firefox
    P12_LEGACY = "p12-legacy"  # 3DES, SHA-1: what is older
    MOBILECONFIG = "mobileconfig"  # Apple's devices, with a name and an explanation
    PEM = "pem"  # certificate and encrypted key: curl, programs

    @property
    def extension(self) -> str:
        """How a file of it ends; devices go by that."""
        return "p12" if self is BundleFormat.P12_LEGACY else self.value


def build_bundle(
    form: BundleFormat,
    key_pem: Secret,
    certificate_pem: bytes,
    password: Secret,
    *,
    name: str,
    authority_name: str,
) -> bytes:
    """The bundle's bytes, its key shut by the password.

    `name` is the client's, `authority_name` the CA's: lists of certificates show both. Raises
    UsageError for a password that devices cannot ask for, MaterialError where key and certificate
    do not belong together.
    """
    check_password(password)
    identity = _open(key_pem, certificate_pem)
    friendly_name = f"{name} ({_ascii(authority_name)})"
    match form:
        case BundleFormat.P12:
            return _p12(identity, friendly_name, _modern(password))
        case BundleFormat.P12_LEGACY:
            return _p12(identity, friendly_name, _legacy(password))
        case BundleFormat.MOBILECONFIG:
            # Every iPhone reads the old encryption, those before iOS 18 no other; and whoever gets
            # the file has to guess a random password all the same.
            p12 = _p12(identity, friendly_name, _legacy(password))
            return _mobileconfig(read_pair(key_pem, certificate_pem), p12, name, friendly_name)
        case BundleFormat.PEM:
            return _pem(identity, password)


def check_password(password: Secret) -> None:
    """Raises UsageError for a password that devices cannot ask for."""
    try:
        text = password.reveal().decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise UsageError(
            "the password is empty, or cannot be typed",
            "give one of printable characters in UTF-8, or leave it to certwarden",
        )


def _ascii(text: str) -> str:
    """The nearest that every list of certificates can show."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().strip()


def _modern(password: Secret) -> KeySerializationEncryption:
    # The salt of the MAC is 8 bytes here, as macOS wants it.
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(password.reveal())
    )


def _legacy(password: Secret) -> KeySerializationEncryption:
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .key_cert_algorithm(PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(SHA1())  # noqa: S303 - what old devices can check; the password is random
        .build(password.reveal())
    )


def _open(key_pem: Secret, certificate_pem: bytes) -> tuple[PrivateKey, x509.Certificate]:
    """Key and certificate as the library has them, opened once; MaterialError if they do not match.

    Less than `read_pair` looks at: a thousand of them are made in a row, of what was just signed.
    """
    key = load_key(key_pem)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        is_match = certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise MaterialError("the certificate is not a readable PEM") from None
    if not is_match:
        raise MaterialError("the private key does not belong to the certificate")
    return key, certificate


def _p12(
    identity: tuple[PrivateKey, x509.Certificate],
    friendly_name: str,
    protection: KeySerializationEncryption,
) -> bytes:
    key, certificate = identity
    return serialize_key_and_certificates(
        friendly_name.encode("ascii"), key, certificate, None, protection
    )


def _pem(identity: tuple[PrivateKey, x509.Certificate], password: Secret) -> bytes:
    key, certificate = identity
    # PBKDF2, not the scrypt of the CA's key: GnuTLS, Java and Go cannot read that.
    encrypted = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.reveal())
    )
    return certificate.public_bytes(Encoding.PEM) + encrypted


def _mobileconfig(pair: Pair, p12: bytes, name: str, friendly_name: str) -> bytes:
    """A profile of one payload, without the password: the device asks for it.

    A profile takes the place of one with the same identifier: so a renewed certificate replaces
    the old one instead of standing beside it, and leaves alone one of another house.
    """
    house = uuid.uuid5(_NAMESPACE, pair.certificate.issuer).hex[:8]
    identifier = f"{PROFILE_IDENTIFIER}.{house}.{name}"

    def payload(kind: str, part: str) -> dict[str, object]:
        unique = uuid.uuid5(_NAMESPACE, f"{pair.certificate.fingerprint} {part}")
        return {
            "PayloadType": kind,
            "PayloadVersion": 1,
            "PayloadIdentifier": f"{identifier}{part}",
            "PayloadUUID": str(unique).upper(),
            "PayloadDisplayName": friendly_name,
        }

    identity = payload("com.apple.security.pkcs12", ".identity") | {
        "PayloadCertificateFileName": f"{name}.p12",
        "PayloadContent": p12,
    }
    profile = payload("Configuration", "") | {
        "PayloadDescription": "Lets this device in where certwarden guards the door.",
        "PayloadContent": [identity],
    }
    return plistlib.dumps(profile)
