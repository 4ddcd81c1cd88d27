"""Revocation lists of the private CA: built, read, and judged (RFC 5280 section 5).

Lists are full and direct: relying parties ignore deltas, and refuse lists that another key signed.
Owns the words thisUpdate and nextUpdate, which the library has another name for. What is in a list,
and its number, is the register's business; so is when one is signed the lifecycle's.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certwarden.errors import MaterialError, NotNowError
from certwarden.model import ClientTrust, Crl, RevocationReason, Revoked
from certwarden.pki.authority import authority_key_identifier, check_key, load_root
from certwarden.pki.certificate import CLOCK_SKEW, even_hex
from certwarden.pki.keys import PrivateKey, signature_hash

MAX_CRL_BYTES = 32 * 1024 * 1024  # 400,000 entries
MAX_NUMBER = 2**159 - 1  # RFC 5280 section 5.2.3: at most 20 octets, of which one bit is the sign
LISTS_REMEMBERED = 4

_FLAGS: dict[RevocationReason, x509.ReasonFlags] = {
    reason: x509.ReasonFlags(reason.value)
    for reason in RevocationReason
    if reason is not RevocationReason.UNSPECIFIED
}
_REASONS = {flag: reason for reason, flag in _FLAGS.items()}

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def build_crl(
    root_pem: bytes,
    key: PrivateKey,
    *,
    number: int,
    at: datetime,
    lifetime: timedelta,
    entries: Sequence[Revoked],
) -> Crl:
    """A list signed as at the instant `at`, and read back: what is returned is what is in it.

    thisUpdate is an hour before, for clocks that are behind; nextUpdate is `lifetime` after. Raises
    MaterialError where the key is not the root's, or a number is out of bounds.
    """
    root = load_root(root_pem)
    check_key(root, key)
    if not 0 < number <= MAX_NUMBER:
        raise MaterialError("the number of a revocation list is between 1 and 20 octets long")
    revoked = _build_entries(entries)
    unsigned = (
        _with_entries(revoked)
        .issuer_name(root.subject)
        .last_update(at - CLOCK_SKEW)
        .next_update(at + lifetime)
        .add_extension(authority_key_identifier(root), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    pem = unsigned.sign(key, signature_hash(key)).public_bytes(Encoding.PEM)
    crl = read_crl(pem, root_pem)
    # The library's constructor is not documented, and a token may sign what it likes.
    if crl.serials != {even_hex(each.serial_number) for each in revoked}:
        raise MaterialError("the revocation list does not hold what was to be revoked")
    return crl


def read_crl(pem: bytes, root_pem: bytes) -> Crl:
    """The list in a PEM, its signature by the root checked; of its entries only the serials.

    Raises MaterialError for anything but one full list of this root's. The dates are not judged.
    """
    return _read_crl(pem, root_pem)


@lru_cache(maxsize=LISTS_REMEMBERED)
def _read_crl(pem: bytes, root_pem: bytes) -> Crl:
    root = load_root(root_pem)
    crl = _load(pem)
    if crl.issuer != root.subject:
        raise MaterialError("the revocation list is another CA's")
    try:
        # What load_root lets through can be asked for a signature.
        is_signed = crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]
        extensions = {each.oid: each for each in crl.extensions}
        next_update = crl.next_update_utc
        serials = frozenset([even_hex(entry.serial_number) for entry in crl])
    except _UNREADABLE:
        raise MaterialError("the revocation list is not readable") from None
    if not is_signed:
        raise MaterialError("the revocation list was not signed by the CA's key")
    if any(each.critical for each in extensions.values()):
        raise MaterialError("the revocation list is not a full one: it is a delta, or one of parts")
    number = extensions.get(x509.CRLNumber.oid)
    if number is None or not isinstance(number.value, x509.CRLNumber):
        raise MaterialError("the revocation list has no number")
    if next_update is None:
        raise MaterialError("the revocation list does not say until when it is good")
    return Crl(
        pem=crl.public_bytes(Encoding.PEM),
        number=number.value.crl_number,
        this_update=crl.last_update_utc,
        next_update=next_update,
        serials=serials,
    )


def read_entries(pem: bytes) -> tuple[Revoked, ...]:
    """All entries of a list in PEM; who signed it is not asked: `read_crl` does that.

    Whatever else a list may say of an entry, it is revoked: a reason that we do not know is none.
    Raises MaterialError where it cannot be read.
    """
    crl = _load(pem)
    try:
        return tuple([_read_entry(entry) for entry in crl])
    except _UNREADABLE:
        raise MaterialError("an entry of the revocation list is not readable") from None


def check_trust(trust: ClientTrust, now: datetime) -> None:
    """Raises MaterialError unless clients can be judged by it now: by the CA, and by its list.

    With a list that is not in order nobody is let in, or everybody is. That the dates are why is
    told by NotNowError.
    """
    root = load_root(trust.root_pem)
    crl = read_crl(trust.crl.pem, trust.root_pem)
    begin, end = root.not_valid_before_utc, root.not_valid_after_utc
    if now < begin:
        raise NotNowError(
            f"the CA's certificate is not valid before {begin:%Y-%m-%d %H:%M} UTC",
            "check this machine's clock",
        )
    if now > end:
        raise NotNowError(
            f"the CA's certificate has expired on {end:%Y-%m-%d %H:%M} UTC",
            "extend it: certwarden ca renew-root",
        )
    if now < crl.this_update:
        raise NotNowError(
            f"the revocation list is not valid before {crl.this_update:%Y-%m-%d %H:%M} UTC",
            "check this machine's clock",
        )
    if now >= crl.next_update:
        raise NotNowError(
            f"the revocation list has expired on {crl.next_update:%Y-%m-%d %H:%M} UTC",
            "have another signed: certwarden renew, or certwarden ca unlock where it is locked",
        )


def revoked_json(crl: Crl) -> bytes:
    """The list for programs that cannot read one; serials as Node prints them."""
    serials = sorted(serial.upper() for serial in crl.serials)
    return json.dumps({"crl_number": crl.number, "serials": serials}).encode() + b"\n"


def _with_entries(entries: list[x509.RevokedCertificate]) -> x509.CertificateRevocationListBuilder:
    """A builder that holds the entries.

    The documented way copies the list for each entry: 45 s for 100,000. What takes a list as a
    whole is not documented, so it may go.
    """
    try:
        return x509.CertificateRevocationListBuilder(revoked_certificates=entries)
    except TypeError:
        builder = x509.CertificateRevocationListBuilder()
        for entry in entries:
            builder = builder.add_revoked_certificate(entry)
        return builder


def _build_entries(entries: Sequence[Revoked]) -> list[x509.RevokedCertificate]:
    try:
        return [_build_entry(entry) for entry in entries]
    except ValueError:
        raise MaterialError(
            "a serial that is to be revoked is not a positive number of at most 20 octets"
        ) from None


def _build_entry(entry: Revoked) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(int(entry.serial, 16))
        .revocation_date(entry.at)
    )
    # RFC 5280 section 5.3.1: the reason should be absent rather than say unspecified.
    if flag := _FLAGS.get(entry.reason):
        builder = builder.add_extension(x509.CRLReason(flag), critical=False)
    return builder.build()


def _read_entry(entry: x509.RevokedCertificate) -> Revoked:
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        flag = x509.ReasonFlags.unspecified
    reason = _REASONS.get(flag, RevocationReason.UNSPECIFIED)
    return Revoked(even_hex(entry.serial_number), entry.revocation_date_utc, reason)


def _load(pem: bytes) -> x509.CertificateRevocationList:
    if len(pem) > MAX_CRL_BYTES:
        raise MaterialError(f"the revocation list is longer than {MAX_CRL_BYTES} bytes")
    if pem.count(b"-----BEGIN ") != 1:
        raise MaterialError("that is not one revocation list in PEM")
    try:
        return x509.load_pem_x509_crl(pem)
    except _UNREADABLE:
        raise MaterialError("the revocation list is not a readable PEM") from None
