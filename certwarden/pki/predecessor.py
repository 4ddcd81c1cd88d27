"""The book of a CA that was made by other means: OpenSSL's index.txt, certificates, old lists.

Reads what easy-rsa and `openssl ca` leave behind, and says of each thing that cannot be taken over
as it is what became of it. Knows no files, and does not judge their root and key.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certwarden.errors import MaterialError, UsageError, clean
from certwarden.frozen import frozen
from certwarden.model import (
    Booked,
    ClientCertificate,
    Predecessor,
    RevocationReason,
    Revoked,
)
from certwarden.pki.authority import check_identity
from certwarden.pki.certificate import even_hex
from certwarden.pki.foreign_root import (
    extension_of,
    is_signed_by,
    load_certificate,
    serial_of,
)

MAX_INDEX_LINES = 200_000
MAX_NUMBER = 2**60  # of a list; greater ones leave no room to count on
MAX_REMARKS = 20  # further ones of a kind are only counted

_NEVER = datetime.min.replace(tzinfo=UTC)
_FIELDS = 6  # flag, end, revocation, serial, file, subject
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,40}")
_NUMBER = re.compile(r"[0-9A-Fa-f]{1,15}")
_COMMON_NAME = re.compile(r"(?:^|/)CN=([^/]*)")
_ESCAPED = re.compile(r"\\x([0-9A-Fa-f]{2})")
_UNFIT = re.compile(r"[^a-z0-9._]+")
_MAX_NAME = 63
_CLIENT_USES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
_REASONS = {reason.value.lower(): reason for reason in RevocationReason} | {
    "cacompromise": RevocationReason.KEY_COMPROMISE,
    "keytime": RevocationReason.KEY_COMPROMISE,
    "cakeytime": RevocationReason.KEY_COMPROMISE,
}


@frozen
class Inheritance:
    """What is taken over: the rows of the book, revocations of lists, and the next list's number.

    `remarks` are sentences for a person: what was renamed, left out, or not believed.
    """

    booked: tuple[Booked, ...]
    revoked: tuple[Revoked, ...]
    last_number: int
    remarks: tuple[str, ...]


# ── the book ──────────────────────────────────────────────────────────────────────────────────────


def inherit(predecessor: Predecessor) -> Inheritance:
    """What its book, its certificates and its list say; raises MaterialError for what is no book.

    Certificates of servers let nobody in: only their revocations are of interest.
    """
    reader = _Reader(predecessor)
    rows = [*reader.index_rows(), *reader.unlisted_rows()]
    rows.sort(key=lambda row: (row.not_after is None, row.not_after or _NEVER, row.serial))
    names = _unique_names(row.common_name for row in rows)
    reader.remark_each(
        f"the client {clean(common_name, 80)!r} is called {name} from now on"
        for common_name, name in names.items()
        if common_name != name
    )
    booked = tuple(row.booked(names[row.common_name]) for row in rows)
    revoked, number = reader.old_list()
    return Inheritance(booked, revoked, number, tuple(reader.remarks))


@frozen
class _Row:
    """A certificate as the index has it, or as its file alone has."""

    serial: str
    common_name: str
    email: str | None
    not_before: datetime | None
    not_after: datetime | None
    revoked: Revoked | None
    pem: bytes | None

    def booked(self, name: str) -> Booked:
        certificate = ClientCertificate(
            serial=self.serial,
            name=name,
            email=self.email,
            not_before=self.not_before,
            not_after=self.not_after,
            revoked_at=self.revoked.at if self.revoked else None,
            reason=self.revoked.reason if self.revoked else None,
        )
        return Booked(certificate, self.pem)


class _Reader:
    """Reads the parts of a predecessor, and notes what a person should know of them."""

    def __init__(self, predecessor: Predecessor) -> None:
        self.remarks: list[str] = []
        self._predecessor = predecessor
        root = load_certificate(predecessor.root_pem)
        if root is None:
            raise MaterialError("the CA's certificate is not a readable PEM")
        self._root = root
        self._seen = {serial_of(root)}
        self._certificates = dict(self._own(predecessor.certificates))

    def remark_each(self, remarks: Iterable[str]) -> None:
        """Notes them all, or the first ones and how many more there are."""
        told = list(remarks)
        self.remarks += told[:MAX_REMARKS]
        if (more := len(told) - MAX_REMARKS) > 0:
            self.remarks.append(f"… and so on for {more} more")

    def index_rows(self) -> Iterator[_Row]:
        """The rows of index.txt; a server's only where it was revoked."""
        text = self._predecessor.index.decode("utf-8", "replace")
        lines = text.splitlines()
        if len(lines) > MAX_INDEX_LINES:
            raise MaterialError(f"index.txt has more than {MAX_INDEX_LINES} lines")
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            row = self._index_row(line, number)
            if row.serial in self._seen:
                continue
            self._seen.add(row.serial)
            if row.revoked is not None or self._is_a_client(row):
                yield row

    def unlisted_rows(self) -> Iterator[_Row]:
        """Certificates that the index has forgotten, but that let somebody in."""
        forgotten = []
        for serial, certificate in self._certificates.items():
            if serial not in self._seen and _is_for_clients(certificate):
                row = self._described(serial, certificate, None)
                forgotten.append(f"the certificate {serial} is not in index.txt; it is taken over")
                yield row
        self.remark_each(forgotten)

    def old_list(self) -> tuple[tuple[Revoked, ...], int]:
        """The entries of the old list, if it is this CA's, and the last number that was given."""
        number = self._counted()
        pem = self._predecessor.crl_pem
        if pem is None:
            return (), number
        try:
            crl = x509.load_pem_x509_crl(pem)
            is_ours = crl.is_signature_valid(self._public_key())
            extension = extension_of(crl, x509.CRLNumber)
            entries = tuple(_entry(each) for each in crl) if is_ours else ()
        except (ValueError, TypeError, UnsupportedAlgorithm, MaterialError):
            is_ours = False
        if not is_ours:
            self.remarks.append(
                "its revocation list is not signed by it, or not readable: only the revocations of "
                "index.txt are taken over"
            )
            return (), number
        if extension and extension.crl_number <= MAX_NUMBER:
            number = max(number, extension.crl_number)
        return entries, number

    def _public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        key = self._root.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise TypeError
        return key

    def _counted(self) -> int:
        """The number before the next one, by the file crlnumber (hexadecimal)."""
        text = self._predecessor.crl_number.strip().decode("ascii", "replace")
        if _NUMBER.fullmatch(text):
            return max(int(text, 16) - 1, 0)
        if text:
            self.remarks.append("crlnumber holds no number that will do: it is not taken over")
        return 0

    def _own(self, pems: Iterable[bytes]) -> Iterator[tuple[str, x509.Certificate]]:
        """Those of the certificates that this CA has signed, by serial."""
        unread = foreign = 0
        for pem in pems:
            certificate = load_certificate(pem)
            if certificate is None:
                unread += 1
            elif is_signed_by(certificate, self._root):
                yield serial_of(certificate), certificate
            else:
                foreign += 1
        if unread:
            self.remarks.append(f"{unread} files could not be read as certificates")
        if foreign:
            self.remarks.append(f"{foreign} certificates are of another CA: they are left out")

    def _index_row(self, line: str, number: int) -> _Row:
        fields = line.split("\t")
        if len(fields) != _FIELDS or fields[0] not in {"V", "R", "E"}:
            raise MaterialError(
                f"line {number} of index.txt is none: {clean(line, 60)!r}",
                "repair it: six fields with tabs between them, the first one V, R or E",
            )
        flag, end, revocation, serial_text, _, subject = fields
        if not _SERIAL.fullmatch(serial_text):
            raise MaterialError(f"line {number} of index.txt has no serial: {clean(line, 60)!r}")
        serial = even_hex(int(serial_text, 16))
        try:
            revoked = _revocation(serial, revocation) if flag == "R" else None
            not_after = _instant(end)
        except ValueError:
            raise MaterialError(
                f"line {number} of index.txt has a date that is none: {clean(line, 60)!r}"
            ) from None
        if certificate := self._certificates.get(serial):
            return self._described(serial, certificate, revoked)
        common_name = _common_name_of(subject)
        return _Row(serial, common_name, None, None, not_after, revoked, None)

    def _described(
        self, serial: str, certificate: x509.Certificate, revoked: Revoked | None
    ) -> _Row:
        if _is_a_ca(certificate):
            self.remarks.append(
                f"the certificate {serial} is an intermediate CA's: whoever that one signs is let "
                "in; revoke it if that is not meant"
            )
        return _Row(
            serial=serial,
            common_name=_attribute(certificate, NameOID.COMMON_NAME) or serial,
            email=_email(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            revoked=revoked,
            pem=certificate.public_bytes(Encoding.PEM),
        )

    def _is_a_client(self, row: _Row) -> bool:
        certificate = self._certificates.get(row.serial)
        if certificate is None or _is_for_clients(certificate):
            return True
        name = clean(row.common_name, 80)
        self.remarks.append(f"the server {name!r} is left out: its certificate lets nobody in")
        return False


def _revocation(serial: str, text: str) -> Revoked:
    at, _, reason = text.partition(",")
    word = reason.partition(",")[0].strip().lower()
    instant = _instant(at)
    if instant is None:
        raise ValueError("no date")
    return Revoked(serial, instant, _REASONS.get(word, RevocationReason.UNSPECIFIED))


def _entry(entry: x509.RevokedCertificate) -> Revoked:
    try:
        found = extension_of(entry, x509.CRLReason)
    except MaterialError:
        found = None
    word = found.reason.value.lower() if found else ""
    reason = _REASONS.get(word, RevocationReason.UNSPECIFIED)
    return Revoked(even_hex(entry.serial_number), entry.revocation_date_utc, reason)


def _instant(text: str) -> datetime | None:
    """UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5); None where there is none."""
    if not text:
        return None
    if len(text) == 13:
        century = "20" if int(text[:2]) < 50 else "19"
        text = century + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


def fit_name(common_name: str) -> str:
    """The common name as a client's name: lower case, without accents, blanks become dashes."""
    plain = unicodedata.normalize("NFKD", common_name.replace("@", " at "))
    ascii_only = "".join(each for each in plain if not unicodedata.combining(each)).lower()
    dashed = _UNFIT.sub("-", ascii_only)
    labels = [label.strip("-_") for label in dashed.split(".")]
    name = ".".join(label for label in labels if label)[:_MAX_NAME].rstrip("-_.")
    return name.lstrip("-_.") or "client"


def _unique_names(common_names: Iterable[str]) -> dict[str, str]:
    """Each common name's name; two that would be called alike are told apart by a number."""
    names: dict[str, str] = {}
    distinct = dict.fromkeys(common_names)
    taken = {name for name in distinct if fit_name(name) == name}
    for common_name in distinct:
        name = fit_name(common_name)
        if name != common_name:
            base, number = name, 2
            while name in taken:
                suffix = f"-{number}"
                name, number = base[: _MAX_NAME - len(suffix)].rstrip("-_.") + suffix, number + 1
            taken.add(name)
        names[common_name] = name
    return names


def _common_name_of(subject: str) -> str:
    r"""The CN in a subject as index.txt has it: /C=…/CN=…, other letters as \xNN of UTF-8."""
    found = _COMMON_NAME.search(subject)
    raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), found[1] if found else "client")
    try:
        return raw.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return raw


# ── certificates ──────────────────────────────────────────────────────────────────────────────────


def _is_for_clients(certificate: x509.Certificate) -> bool:
    """Whether it would be taken for a client's; one that cannot be read might be."""
    try:
        usage = extension_of(certificate, x509.ExtendedKeyUsage)
    except MaterialError:
        return True
    return usage is None or bool(_CLIENT_USES & set(usage))


def _is_a_ca(certificate: x509.Certificate) -> bool:
    try:
        constraints = extension_of(certificate, x509.BasicConstraints)
    except MaterialError:
        return False
    return constraints is not None and constraints.ca


def _email(certificate: x509.Certificate) -> str | None:
    """Its address, if a certificate of ours can bear it."""
    try:
        names = extension_of(certificate, x509.SubjectAlternativeName)
        emails = names.get_values_for_type(x509.RFC822Name) if names else []
    except MaterialError:
        emails = []
    email = emails[0] if emails else _attribute(certificate, NameOID.EMAIL_ADDRESS)
    try:
        check_identity("client", email)
    except UsageError:
        return None
    return email


def _attribute(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> str | None:
    found = certificate.subject.get_attributes_for_oid(kind)
    value = found[0].value if found else None
    return value if isinstance(value, str) and value else None
