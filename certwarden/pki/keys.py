"""Private keys and certificate signing requests (PKCS#8; RFC 2986). Knows nothing of files."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from certwarden.errors import MaterialError
from certwarden.model import KeyType, Secret

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_CURVES = {KeyType.ECDSA_P256: ec.SECP256R1, KeyType.ECDSA_P384: ec.SECP384R1}
_RSA_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}


def generate_key(key_type: KeyType) -> Secret:
    """A fresh private key, as unencrypted PKCS#8 PEM."""
    return serialise_key(_generate(key_type))


def generate_key_pair(key_type: KeyType) -> tuple[Secret, bytes]:
    """A fresh private key as unencrypted PKCS#8 PEM, and its SubjectPublicKeyInfo in DER."""
    key = _generate(key_type)
    return serialise_key(key), public_bytes(key)


def serialise_key(key: PrivateKey) -> Secret:
    """The key as unencrypted PKCS#8 PEM."""
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def load_key(key_pem: Secret) -> PrivateKey:
    """The private key in a PEM; raises MaterialError for anything but an open RSA or EC key."""
    try:
        key = load_pem_private_key(key_pem.reveal(), password=None)
    except TypeError as error:
        raise MaterialError("the private key is encrypted with a passphrase") from error
    except (ValueError, UnsupportedAlgorithm):
        # Without its cause: a parser's words may quote what it could not read.
        raise MaterialError("the private key is not a readable PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise MaterialError("the private key is neither RSA nor elliptic-curve")
    return key


def public_bytes(key: PrivateKey) -> bytes:
    """The key's SubjectPublicKeyInfo in DER: equal exactly when the keys are."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signature_hash(key: PrivateKey) -> SHA256 | SHA384:
    """The hash that belongs to the key's strength."""
    is_p384 = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256
    return SHA384() if is_p384 else SHA256()


def _generate(key_type: KeyType) -> PrivateKey:
    if key_type in _CURVES:
        return ec.generate_private_key(_CURVES[key_type]())
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS[key_type])


def build_csr(key_pem: Secret, domains: Sequence[str]) -> bytes:
    """A signing request in PEM: empty subject, the names as subjectAltName, nothing else."""
    key = load_key(key_pem)
    names = x509.SubjectAlternativeName([x509.DNSName(domain) for domain in domains])
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
    csr = builder.add_extension(names, critical=False).sign(key, signature_hash(key))
    return csr.public_bytes(Encoding.PEM)
