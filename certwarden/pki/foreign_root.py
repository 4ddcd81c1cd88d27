"""Whether another tool's root and key will do as ours, and what is read of its certificates.

Knows neither books nor files.
"""

from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certwarden.errors import LockedError, MaterialError
from certwarden.model import Root, Secret
from certwarden.pki.authority import read_root
from certwarden.pki.certificate import even_hex
from certwarden.pki.keys import PrivateKey, load_key, public_bytes
from certwarden.pki.protection import decrypt_key

MIN_RSA_BITS = 2048

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_CURVES = (ec.SECP256R1, ec.SECP384R1)


def is_encrypted(key_pem: Secret) -> bool:
    """Whether the key needs a passphrase."""
    return b"ENCRYPTED" in key_pem.reveal()


def open_foreign_key(key_pem: Secret, passphrase: Secret | None) -> PrivateKey:
    """The CA's private key; raises LockedError where it needs a passphrase, or another one.

    Raises MaterialError for anything but RSA of 2048 bits or more, P-256 and P-384.
    """
    if not is_encrypted(key_pem):
        key = load_key(key_pem)
    elif passphrase is None:
        raise LockedError("the CA's key is encrypted", "give its passphrase")
    else:
        key = decrypt_key(key_pem, passphrase)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    raise MaterialError(
        f"the CA's key is neither RSA of {MIN_RSA_BITS} bits or more nor of P-256 or P-384",
        "it will not do: found another CA by `certwarden ca init` and issue its clients anew",
    )


def read_foreign_root(root_pem: bytes, key: PrivateKey, now: datetime) -> Root:
    """The CA's certificate; raises MaterialError unless it can go on as ours: its own, in force."""
    another = "found another CA by `certwarden ca init` and issue its clients anew"
    root = load_certificate(root_pem)
    if root is None:
        raise MaterialError("the CA's certificate is not a readable PEM")
    if _spki(root) != public_bytes(key):
        raise MaterialError("the CA's key does not belong to its certificate")
    if not is_signed_by(root, root):
        raise MaterialError(
            "the CA's certificate is not self-signed: it is an intermediate of another CA",
            "import the directory of the root, or found a CA by `certwarden ca init`",
        )
    if fault := _fault(root, now):
        raise MaterialError(f"the CA's certificate {fault}", another)
    return read_root(root.public_bytes(Encoding.PEM))


def _fault(root: x509.Certificate, now: datetime) -> str:
    """What is wrong with the root, or ""."""
    try:
        constraints = extension_of(root, x509.BasicConstraints)
        usage = extension_of(root, x509.KeyUsage)
    except MaterialError as error:
        return error.what
    begin, end = root.not_valid_before_utc, root.not_valid_after_utc
    faults = {
        "is not a CA's (its basicConstraints do not say CA:TRUE)": not (
            constraints and constraints.ca
        ),
        "may not sign certificates (keyCertSign is not among its key usages)": usage is not None
        and not usage.key_cert_sign,
        "may not sign revocation lists (cRLSign is not among its key usages)": usage is not None
        and not usage.crl_sign,
        f"has expired on {end:%Y-%m-%d %H:%M} UTC": end <= now,
        f"is not in force before {begin:%Y-%m-%d %H:%M} UTC": begin > now,
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


def load_certificate(pem: bytes) -> x509.Certificate | None:
    """The first certificate in the PEM; easy-rsa and OpenSSL put its text before it."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        _ = certificate.subject, certificate.serial_number, certificate.not_valid_after_utc
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None
    return certificate


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and signature are on the certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def extension_of(
    extended: x509.Certificate | x509.CertificateRevocationList | x509.RevokedCertificate,
    kind: type[_Extension],
) -> _Extension | None:
    """The extension, if it has one; raises MaterialError where that cannot be told."""
    try:
        return extended.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise MaterialError("has extensions that cannot be read") from None


def _spki(certificate: x509.Certificate) -> bytes:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def serial_of(certificate: x509.Certificate) -> str:
    """Its serial in lower-case hex of even length."""
    return even_hex(certificate.serial_number)
