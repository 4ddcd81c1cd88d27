"""The private CA's certificates: its root, and what it issues to clients (RFC 5280 section 4).

Owns what each of them contains, extension by extension, and whom one may be issued to. Signs with
whatever has the interface of cryptography's private keys, so that a key may live in a token. Knows
nothing of files, of the register, or of how the key is kept.
"""

import re
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certwarden.errors import MaterialError, UsageError, clean
from certwarden.model import ClientCertificate, Root
from certwarden.pki.certificate import CLOCK_SKEW, MAX_CERTIFICATE_BYTES, even_hex
from certwarden.pki.keys import PrivateKey, public_bytes, signature_hash

ROOT_LIFETIME = timedelta(days=3652)
CLIENTS_DOMAIN = "clients.home.arpa"  # RFC 8375: a name that no public server ever answers to
MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name; the library counts bytes
MAX_EMAIL = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
MAX_EMAIL_LOCAL_PART = 64

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"  # RFC 5322 section 3.2.3
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_TOP_LABEL = r"[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z]"
_EMAIL = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@(?:{_LABEL}\.)+{_TOP_LABEL}")


def new_serial() -> str:
    """A serial number of 159 random bits (RFC 5280 section 4.1.2.2)."""
    return even_hex(x509.random_serial_number())


# ── the root ──────────────────────────────────────────────────────────────────────────────────────


def build_root(name: str, key: PrivateKey, now: datetime) -> bytes:
    """A root for the key in PEM, from an hour ago on; raises MaterialError for a name that is none.

    Its common name is `name`, the year, and four digits of the key's identifier, since browsers
    choose among certificates by their issuer's name: no two roots may share one.
    """
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    tail = f" {now.year} {key_identifier.digest.hex()[:4]}"
    longest = MAX_COMMON_NAME - len(tail)
    if not name or name != name.strip() or not name.isprintable() or len(name.encode()) > longest:
        raise MaterialError(
            f"the private CA cannot be named {clean(name, 80)!r}",
            f"give it a name of 1 to {longest} printable characters, fewer if not ASCII",
        )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name + tail)])
    return _sign_root(subject, key_identifier, x509.random_serial_number(), key, now)


def extend_root(root_pem: bytes, key: PrivateKey, now: datetime) -> bytes:
    """Another certificate for the root, in PEM: same name, key and key identifier, a new span.

    What the old one has signed is signed by this one too. Raises MaterialError where the key is
    not the root's.
    """
    root = load_root(root_pem)
    check_key(root, key)
    key_identifier = x509.SubjectKeyIdentifier(_key_identifier(root))
    return _sign_root(root.subject, key_identifier, _next_serial(root), key, now)


def read_root(pem: bytes) -> Root:
    """The root in a PEM; raises MaterialError for anything but one self-signed CA certificate."""
    return _describe(load_root(pem))


@lru_cache(maxsize=8)
def load_root(pem: bytes) -> x509.Certificate:
    """The same as the library has it."""
    if len(pem) > MAX_CERTIFICATE_BYTES:
        raise MaterialError(f"the CA's certificate is longer than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        (root,) = x509.load_pem_x509_certificates(pem)
        root.verify_directly_issued_by(root)
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
        is_authority = constraints.ca and _may_sign(root)
        key = root.public_key()
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        raise MaterialError("the CA's certificate is not one readable, self-signed root") from None
    if not is_authority:
        raise MaterialError("the CA's certificate does not let it sign certificates and lists")
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise MaterialError("the CA's key is neither RSA nor elliptic-curve")
    return root


def check_key(root: x509.Certificate, key: PrivateKey) -> None:
    """Raises MaterialError unless the key is the root's."""
    spki = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public_bytes(key) != spki:
        raise MaterialError(
            "the private key does not belong to the CA's certificate",
            "restore both from one backup: certwarden ca restore",
        )


def authority_key_identifier(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """How what the root signs refers to its key (RFC 5280 section 4.2.1.1)."""
    return x509.AuthorityKeyIdentifier(_key_identifier(root), None, None)


def _sign_root(
    subject: x509.Name,
    key_identifier: x509.SubjectKeyIdentifier,
    serial: int,
    key: PrivateKey,
    now: datetime,
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(key_identifier, critical=False)
    )
    return builder.sign(key, signature_hash(key)).public_bytes(Encoding.PEM)


def _next_serial(root: x509.Certificate) -> int:
    """A new serial, except where what the root has signed names it by the one that it has.

    easy-rsa does so: its clients would not be let in any more. Its root says so of itself, too.
    """
    try:
        own = root.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.random_serial_number()
    is_named_by_serial = own.authority_cert_serial_number is not None
    return root.serial_number if is_named_by_serial else x509.random_serial_number()


def _key_identifier(root: x509.Certificate) -> bytes:
    try:
        return root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(root.public_key()).digest


def _may_sign(root: x509.Certificate) -> bool:
    try:
        usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.key_cert_sign and usage.crl_sign


@lru_cache(maxsize=8)
def _describe(root: x509.Certificate) -> Root:
    common_names = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = common_names[0].value if common_names else root.subject.rfc4514_string()
    return Root(
        pem=root.public_bytes(Encoding.PEM),
        name=clean(name if isinstance(name, str) else name.decode("utf-8", "replace")),
        serial=even_hex(root.serial_number),
        fingerprint=root.fingerprint(SHA256()).hex(),
        not_before=root.not_valid_before_utc,
        not_after=root.not_valid_after_utc,
    )


# ── clients ───────────────────────────────────────────────────────────────────────────────────────


def check_identity(name: str, email: str | None) -> None:
    """Raises UsageError for a name or an e-mail address that a client certificate cannot bear."""
    # Of the labels of a host name; neither a dash nor an underscore may be at an edge of one.
    if not _NAME.fullmatch(name) or not all(
        label == label.strip("-_") != "" for label in name.split(".")
    ):
        raise UsageError(
            f"{clean(name, 80)!r} cannot be the name of a client",
            "use at most 63 of a-z, 0-9, '.', '_' and '-', where what is between two dots begins "
            "and ends with a letter or a digit",
        )
    if email is None:
        return
    address = _EMAIL.fullmatch(email) if len(email) <= MAX_EMAIL else None
    if address is None or len(address[1]) > MAX_EMAIL_LOCAL_PART:
        raise UsageError(
            f"{clean(email, 80)!r} is no e-mail address that a certificate can bear",
            "give one such as alice@example.org, in ASCII and without quotes",
        )


def client_dates(root: Root, now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
    """notBefore, an hour back for clocks that are behind, and notAfter, never beyond the root's.

    In whole seconds, as certificates have them. Raises MaterialError where the root has ended.
    """
    left = root.not_after - now
    if left <= timedelta():
        raise MaterialError(
            f"the CA's certificate has expired on {root.not_after:%Y-%m-%d}",
            "extend it: certwarden ca renew-root",
        )
    not_before, not_after = now - CLOCK_SKEW, now + min(lifetime, left)
    return not_before.replace(microsecond=0), not_after.replace(microsecond=0)


def build_client(
    root_pem: bytes, key: PrivateKey, certificate: ClientCertificate, public_key_der: bytes
) -> bytes:
    """The client's certificate in PEM, for the public key (SubjectPublicKeyInfo in DER).

    Takes serial, name, address and dates from `certificate`. Raises UsageError as `check_identity`
    does, MaterialError for dates that will not do, and where a key is not what it should be.
    """
    check_identity(certificate.name, certificate.email)
    root = load_root(root_pem)
    check_key(root, key)
    not_before, not_after = certificate.not_before, certificate.not_after
    if not_before is None or not_after is None or not not_before < not_after:
        raise MaterialError(f"the certificate of the client {certificate.name} has no dates")
    if not_after > root.not_valid_after_utc:
        raise MaterialError(
            f"the certificate of the client {certificate.name} would outlive the CA's",
            "extend that first: certwarden ca renew-root",
        )
    public_key = _load_public_key(public_key_der)
    usages = ["digital_signature"]
    if isinstance(public_key, rsa.RSAPublicKey):
        usages.append("key_encipherment")
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, certificate.name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([common_name]))
        .issuer_name(root.subject)
        .public_key(public_key)
        .serial_number(int(certificate.serial, 16))
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(*usages), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(_alternative_name(certificate), critical=False)
        .add_extension(authority_key_identifier(root), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    return builder.sign(key, signature_hash(key)).public_bytes(Encoding.PEM)


def _load_public_key(der: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise MaterialError("the client's public key is not readable") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise MaterialError("the client's public key is neither RSA nor elliptic-curve")
    return key


def _alternative_name(certificate: ClientCertificate) -> x509.SubjectAlternativeName:
    # Strict validators accept no client without one, and neither urn: nor a single label in it.
    if certificate.email is not None:
        return x509.SubjectAlternativeName([x509.RFC822Name(certificate.email)])
    return x509.SubjectAlternativeName([x509.DNSName(f"{certificate.name}.{CLIENTS_DOMAIN}")])


def _key_usage(*usages: str) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{usage: usage in usages for usage in every})
