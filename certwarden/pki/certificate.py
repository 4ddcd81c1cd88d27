"""Certificates and chains as read (RFC 5280), and the check that a key belongs to one.

Everything that comes from outside passes through here: sizes are capped, and what goes on is
serialised afresh, never copied. Knows nothing of files.
"""

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from certwarden.errors import MaterialError, NotNowError, clean
from certwarden.model import Certificate, KeyType, Pair, Secret
from certwarden.pki.keys import generate_key, load_key, public_bytes, signature_hash

MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_CHAIN_BYTES = 128 * 1024
MAX_CHAIN_LENGTH = 10
MAX_PAIRS_REMEMBERED = 256
PLACEHOLDER_LIFETIME = timedelta(days=7)
CLOCK_SKEW = timedelta(hours=1)
PLACEHOLDER_ISSUER = "certwarden placeholder"


def read_certificate(der: bytes) -> Certificate:
    """The certificate in DER; raises MaterialError if it is none."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MaterialError(f"the certificate is longer than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise MaterialError("the certificate is not readable") from None
    return _describe(certificate)


def read_chain(pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM chain, each serialised afresh, in their order (leaf first)."""
    return tuple(each.public_bytes(Encoding.PEM) for each in _load_chain(pem))


def read_pair(key_pem: Secret, chain_pem: bytes) -> Pair:
    """The key and its chain, if they belong together; raises MaterialError if they do not.

    The leaf must be for the key, and each further certificate must have signed the one before it.
    The same bytes are examined once: a pass meets them in the store and again at each target.
    """
    return _read_pair(key_pem, chain_pem)


@lru_cache(maxsize=MAX_PAIRS_REMEMBERED)
def _read_pair(key_pem: Secret, chain_pem: bytes) -> Pair:
    chain = _load_chain(chain_pem)
    key = load_key(key_pem)
    leaf = chain[0]
    if _public_bytes(leaf) != public_bytes(key):
        raise MaterialError("the private key does not belong to the certificate")
    for child, parent in pairwise(chain):
        try:
            child.verify_directly_issued_by(parent)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise MaterialError(
                "the chain is broken: a certificate in it was not signed by the next one"
            ) from None
    return Pair(
        key_pem=key_pem,
        chain_pem=tuple(each.public_bytes(Encoding.PEM) for each in chain),
        certificate=_describe(leaf),
    )


def check_ordered(pair: Pair, domains: Iterable[str], now: datetime) -> None:
    """Raises MaterialError unless the leaf covers exactly the names ordered and is valid now.

    That it is not valid now is told by NotNowError.

    An hour of clock skew is allowed for; a leaf that is already past its end is not.
    """
    check_names(pair.certificate, domains)
    leaf = pair.certificate
    if leaf.not_before > now + CLOCK_SKEW or leaf.not_after <= now:
        raise NotNowError(
            f"the certificate is valid from {leaf.not_before:%Y-%m-%d %H:%M} to "
            f"{leaf.not_after:%Y-%m-%d %H:%M} UTC, which is not now",
            "check this machine's clock",
        )


def check_names(leaf: Certificate, domains: Iterable[str]) -> None:
    """Raises MaterialError unless the leaf covers exactly these names, in whatever order."""
    wanted, got = {name.lower() for name in domains}, {name.lower() for name in leaf.names}
    if wanted != got:
        missing, extra = sorted(wanted - got), sorted(got - wanted)
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"also names {clean(', '.join(extra))}"] if extra else []
        raise MaterialError(f"the certificate {' and '.join(parts)}")


def build_placeholder(domains: Sequence[str], key_type: KeyType, now: datetime) -> Pair:
    """A self-signed pair for the real names, 7 days long, so that a program can start."""
    key_pem = generate_key(key_type)
    key = load_key(key_pem)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PLACEHOLDER_ISSUER)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + PLACEHOLDER_LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(d) for d in domains]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, signature_hash(key))
    )
    return read_pair(key_pem, certificate.public_bytes(Encoding.PEM))


def is_placeholder(pair: Pair) -> bool:
    """No CA bears this name; one certificate alone is all that a placeholder has."""
    return len(pair.chain_pem) == 1 and pair.certificate.issuer == PLACEHOLDER_ISSUER


def renewal_certificate_id(leaf_pem: bytes) -> str | None:
    """The leaf's name in renewal information (RFC 9773 section 4.1); None if it cannot have one.

    That is base64url(its authority key identifier) "." base64url(its serial, DER without tag and
    length). Raises MaterialError if it is no certificate.
    """
    leaf = _load_chain(leaf_pem)[0]
    try:
        extension = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
    key_identifier, serial = extension.value.key_identifier, leaf.serial_number
    if not key_identifier or serial < 0:
        return None
    # A positive INTEGER whose highest bit is set begins with a zero byte for its sign.
    serial_bytes = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_base64url(key_identifier)}.{_base64url(serial_bytes)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _load_chain(pem: bytes) -> list[x509.Certificate]:
    if len(pem) > MAX_CHAIN_BYTES:
        raise MaterialError(f"the certificate chain is longer than {MAX_CHAIN_BYTES} bytes")
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise MaterialError("the certificate is not a readable PEM") from None
    if len(chain) > MAX_CHAIN_LENGTH:
        raise MaterialError(f"the certificate chain has more than {MAX_CHAIN_LENGTH} certificates")
    return chain


def _public_bytes(certificate: x509.Certificate) -> bytes:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise MaterialError("the certificate's public key is of an unknown kind") from None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=MAX_PAIRS_REMEMBERED)
def _describe(certificate: x509.Certificate) -> Certificate:
    """What we say about a certificate; its parts are parsed only now, so they may fail only now.

    Said once: the same is met in the store, at each target, and as what is served there.
    """
    try:
        return Certificate(
            names=tuple(clean(name) for name in _names(certificate)),
            serial=even_hex(certificate.serial_number),
            fingerprint=certificate.fingerprint(SHA256()).hex(),
            issuer=clean(_issuer(certificate)),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise MaterialError("the certificate's names, dates or serial are not readable") from None


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def _issuer(certificate: x509.Certificate) -> str:
    common_names = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not common_names:
        return certificate.issuer.rfc4514_string()
    name = common_names[0].value
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def even_hex(number: int) -> str:
    """How serials are written: lower-case hex of even length."""
    digits = f"{number:x}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"
