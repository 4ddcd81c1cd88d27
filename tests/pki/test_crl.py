"""Revocation lists: what is in them, which ones are read, and which ones may be used."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.errors import MaterialError, NotNowError
from certwarden.model import ClientTrust, RevocationReason, Revoked
from certwarden.pki.authority import ROOT_LIFETIME, extend_root, new_serial
from certwarden.pki.crl import (
    MAX_CRL_BYTES,
    MAX_NUMBER,
    check_trust,
    read_crl,
    read_entries,
    revoked_json,
)
from certwarden.pki.der import SEQUENCE, decode, encode, pem
from tests.builders import NOW
from tests.pki.private_ca import CRL_LIFETIME, PrivateCa, a_ca, another_ca

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

SERIALS = st.integers(min_value=1, max_value=2**159 - 1).map(
    lambda number: number.to_bytes((number.bit_length() + 7) // 8, "big").hex()
)


def revoked(
    serial: str | None = None, reason: RevocationReason = RevocationReason.UNSPECIFIED
) -> Revoked:
    return Revoked(serial or new_serial(), NOW, reason)


def read(pem: bytes) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(pem)


def odd_list(
    change: Callable[
        [x509.CertificateRevocationListBuilder], x509.CertificateRevocationListBuilder
    ] = lambda builder: builder,
    *,
    signer: PrivateCa | None = None,
) -> bytes:
    """A list of the CA's with something odd about it, or by another's key."""
    subject = x509.load_pem_x509_certificate(a_ca().root_pem).subject
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
    )
    key = a_ca().key if signer is None else signer.key
    return change(builder).sign(key, SHA256()).public_bytes(Encoding.PEM)


# ── built ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_full_direct_and_dated() -> None:
    """Issuer as in the root, from an hour ago, AKI and number, neither of them critical."""
    crl = a_ca().crl([revoked()], number=12)
    built, root = read(crl.pem), x509.load_pem_x509_certificate(a_ca().root_pem)
    assert built.issuer.public_bytes() == root.subject.public_bytes()
    assert (built.last_update_utc, built.next_update_utc) == (NOW - HOUR, NOW + CRL_LIFETIME)
    assert {type(each.value).__name__: each.critical for each in built.extensions} == {
        "AuthorityKeyIdentifier": False,
        "CRLNumber": False,
    }
    identifier = built.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier.key_identifier == own.digest
    assert (crl.number, crl.this_update, crl.next_update) == (12, NOW - HOUR, NOW + CRL_LIFETIME)
    assert crl.is_current_at(NOW)


def test_the_issuer_is_spelt_as_in_the_root() -> None:
    """Also that of an imported root, whose name is of another type of string."""
    key = ec.generate_private_key(ec.SECP256R1())
    printable = x509.name._ASN1Type.PrintableString
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "CH")
    name = x509.Name([country, x509.NameAttribute(NameOID.COMMON_NAME, "Easy", printable)])
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .sign(key, SHA256())
    )
    subject = name.public_bytes()
    assert b"\x13\x04Easy" in subject
    ca = PrivateCa(root.public_bytes(Encoding.PEM), key)
    assert subject in read(ca.crl().pem).public_bytes(Encoding.DER)
    assert subject in x509.load_pem_x509_certificate(ca.client().pem).public_bytes(Encoding.DER)


def test_reasons_are_said_unless_there_is_none() -> None:
    """RFC 5280 section 5.3.1: unspecified is said by saying nothing; the others come back."""
    entries = [revoked(reason=reason) for reason in RevocationReason]
    crl = a_ca().crl(entries)
    assert read_entries(crl.pem) == tuple(entries)
    said = {each.serial_number: len(each.extensions) for each in read(crl.pem)}
    for entry in entries:
        is_said = said[int(entry.serial, 16)] == 1
        assert is_said == (entry.reason is not RevocationReason.UNSPECIFIED)


def test_an_empty_list_has_no_entries_at_all() -> None:
    """RFC 5280 section 5.1.2.6: revokedCertificates is absent then, not empty."""
    crl = a_ca().crl()
    assert crl.serials == frozenset()
    assert read_entries(crl.pem) == ()
    # What follows the dates in TBSCertList are the extensions, tagged [0].
    assert len(crl.pem) < len(a_ca().crl([revoked()]).pem)
    dates = read(crl.pem).tbs_certlist_bytes.index(b"\x17\x0d261222120000Z")
    assert read(crl.pem).tbs_certlist_bytes[dates + 15] == 0xA0


@given(st.sets(SERIALS, max_size=20), st.integers(min_value=1, max_value=MAX_NUMBER))
@settings(deadline=None, max_examples=30)
def test_serials_and_number_come_back(serials: set[str], number: int) -> None:
    """Whatever they are, in lower case and of even length."""
    crl = a_ca().crl([revoked(serial) for serial in sorted(serials)], number=number)
    assert crl.serials == serials
    assert crl.number == number
    assert read_crl(crl.pem, a_ca().root_pem) == crl


@pytest.mark.parametrize("number", [-1, 0, MAX_NUMBER + 1])
def test_a_number_has_bounds(number: int) -> None:
    """RFC 5280 section 5.2.3: at most 20 octets."""
    with pytest.raises(MaterialError, match="number"):
        a_ca().crl(number=number)


@pytest.mark.parametrize("serial", ["00", "-1", "f" * 41, "rubbish"])
def test_a_serial_that_is_none_is_refused(serial: str) -> None:
    """In a sentence, before anything is signed."""
    with pytest.raises(MaterialError, match="serial that is to be revoked"):
        a_ca().crl([revoked(serial)])


def test_a_list_is_signed_by_the_roots_own_key() -> None:
    """A list by another key would let nobody in."""
    with pytest.raises(MaterialError, match="does not belong"):
        PrivateCa(a_ca().root_pem, another_ca().key).crl()


def test_no_list_is_built_entry_by_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented way copies the list for each entry: its use would show in hours."""

    def refuse(*_: object) -> None:
        raise AssertionError

    builder = x509.CertificateRevocationListBuilder
    monkeypatch.setattr(builder, "add_revoked_certificate", refuse)
    entries = [revoked() for _ in range(2000)]
    assert len(a_ca().crl(entries).serials) == 2000


def test_a_library_that_takes_no_list_is_got_along_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way in is not documented; without it, lists are slow, but they are signed."""

    class Later(x509.CertificateRevocationListBuilder):
        def __init__(self, *arguments: object, **named: object) -> None:
            if "revoked_certificates" in named:
                raise TypeError
            super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they come

    monkeypatch.setattr(x509, "CertificateRevocationListBuilder", Later)
    entries = [revoked() for _ in range(5)]
    assert a_ca().crl(entries).serials == {entry.serial for entry in entries}


def test_a_library_that_drops_entries_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that lacks somebody is worse than none: what was signed is read back."""

    class Lossy(x509.CertificateRevocationListBuilder):
        def __init__(self, *arguments: object, **_: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they come

    monkeypatch.setattr(x509, "CertificateRevocationListBuilder", Lossy)
    with pytest.raises(MaterialError, match="does not hold what was to be revoked"):
        a_ca().crl([revoked()])


# ── read ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pem", "sentence"),
    [
        (b"", "not one revocation list"),
        (b"x" * (MAX_CRL_BYTES + 1), "longer than"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "not a readable PEM"),
        (a_ca().root_pem, "not a readable PEM"),
        (a_ca().crl().pem * 2, "not one revocation list"),
        (another_ca().crl().pem, "another CA's"),
        (odd_list(signer=another_ca()), "not signed by the CA's key"),
        (odd_list(), "has no number"),
        (
            odd_list(lambda list_: list_.add_extension(x509.DeltaCRLIndicator(1), critical=True)),
            "not a full one",
        ),
        (
            odd_list(
                lambda list_: list_.add_extension(
                    x509.IssuingDistributionPoint(
                        full_name=None,
                        relative_name=None,
                        only_contains_user_certs=True,
                        only_contains_ca_certs=False,
                        only_some_reasons=None,
                        indirect_crl=False,
                        only_contains_attribute_certs=False,
                    ),
                    critical=True,
                )
            ),
            "not a full one",
        ),
    ],
)
def test_what_is_no_list_of_ours_is_refused(pem: bytes, sentence: str) -> None:
    """Nothing, too much, rubbish, two at once, foreign, forged, without a number, in part."""
    with pytest.raises(MaterialError, match=sentence):
        read_crl(pem, a_ca().root_pem)


def test_extensions_that_cannot_be_read_are_told() -> None:
    """A number that is none, and a reason that is none."""
    number = x509.UnrecognizedExtension(x509.CRLNumber.oid, b"rubbish")
    with pytest.raises(MaterialError, match="list is not readable"):
        read_crl(
            odd_list(lambda list_: list_.add_extension(number, critical=False)), a_ca().root_pem
        )
    reason = x509.UnrecognizedExtension(x509.CRLReason.oid, b"\x0a\x01\x63")
    entry = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(NOW)
    odd = entry.add_extension(reason, critical=False).build()
    with pytest.raises(MaterialError, match="an entry of the revocation list is not readable"):
        read_entries(odd_list(lambda list_: list_.add_revoked_certificate(odd)))


def test_a_list_without_an_end_is_refused() -> None:
    """RFC 5280 section 5.1.2.5: nextUpdate must be there, or nobody knows when it lapses."""
    key = a_ca().key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = x509.CRLNumber(1)
    der = x509.load_pem_x509_crl(
        odd_list(lambda list_: list_.add_extension(number, critical=False))
    ).tbs_certlist_bytes
    ((_, content),) = decode(der)
    version, algorithm, issuer, this_update, _, *rest = (encode(*each) for each in decode(content))
    info = encode(SEQUENCE, version, algorithm, issuer, this_update, *rest)
    signature = encode(0x03, b"\0" + key.sign(info, ec.ECDSA(SHA256())))
    endless = pem("X509 CRL", encode(SEQUENCE, info, algorithm, signature))
    with pytest.raises(MaterialError, match="until when it is good"):
        read_crl(endless, a_ca().root_pem)


def test_a_list_that_was_tampered_with_is_refused() -> None:
    """One bit in its serials."""
    entry = revoked()
    der = bytearray(read(a_ca().crl([entry]).pem).public_bytes(Encoding.DER))
    der[der.index(bytes.fromhex(entry.serial)) + 5] ^= 1
    with pytest.raises(MaterialError, match="not signed by the CA's key"):
        read_crl(pem("X509 CRL", bytes(der)), a_ca().root_pem)


def test_an_extended_root_reads_the_old_lists() -> None:
    """And the old root the new ones: the name and the key are the same."""
    ca = a_ca()
    extended = PrivateCa(extend_root(ca.root_pem, ca.key, NOW), ca.key)
    assert read_crl(ca.crl().pem, extended.root_pem).number == 1
    assert read_crl(extended.crl(number=2).pem, ca.root_pem).number == 2


def test_text_beside_the_list_does_not_go_on() -> None:
    """What comes out is serialised afresh."""
    crl = a_ca().crl()
    assert read_crl(b"by the way\n" + crl.pem + b"so much\n", a_ca().root_pem) == crl


def test_entries_of_other_cas_are_all_taken() -> None:
    """A reason that we do not give is none; the entry is revoked all the same."""

    def hold(
        builder: x509.CertificateRevocationListBuilder,
    ) -> x509.CertificateRevocationListBuilder:
        for number, flag in enumerate(x509.ReasonFlags, start=1):
            entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(NOW)
            if flag is not x509.ReasonFlags.unspecified:
                entry = entry.add_extension(x509.CRLReason(flag), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder

    entries = read_entries(odd_list(hold))
    assert len(entries) == len(x509.ReasonFlags)
    assert {entry.reason for entry in entries} == set(RevocationReason)
    assert entries[0].serial == "01"


def test_entries_that_cannot_be_read_are_told() -> None:
    """Rubbish where a list should be."""
    with pytest.raises(MaterialError):
        read_entries(b"rubbish")


# ── judged ────────────────────────────────────────────────────────────────────────────────────────


def trust(**changes: datetime | timedelta) -> ClientTrust:
    crl = a_ca().crl(**changes)  # type: ignore[arg-type]  # at or lifetime
    return ClientTrust(a_ca().root_pem, crl)


def test_a_list_in_order_may_be_used() -> None:
    """From its first instant to the last before its end."""
    good = trust()
    for instant in (NOW - HOUR, NOW, NOW + CRL_LIFETIME - timedelta(seconds=1)):
        check_trust(good, instant)


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (NOW + CRL_LIFETIME, r"the revocation list has expired on 2026-12-22 12:00 UTC"),
        (NOW - HOUR - DAY, r"the CA's certificate is not valid before 2026-11-22 11:00 UTC"),
        (NOW + ROOT_LIFETIME + DAY, r"the CA's certificate has expired on 2036-11-21 12:00 UTC"),
    ],
)
def test_dates_that_do_not_include_now(now: datetime, sentence: str) -> None:
    """With an ended list, or from an ended CA, nobody would be let in."""
    with pytest.raises(NotNowError, match=sentence):
        check_trust(trust(), now)


def test_a_list_of_the_future_may_not_be_used_yet() -> None:
    """OpenSSL refuses everybody by it."""
    with pytest.raises(NotNowError, match=r"not valid before 2026-11-23 11:00 UTC"):
        check_trust(trust(at=NOW + DAY), NOW)


@pytest.mark.parametrize(
    ("pem", "sentence"),
    [(b"", "not one revocation list"), (another_ca().crl().pem, "another CA's")],
)
def test_an_empty_or_foreign_list_is_never_used(pem: bytes, sentence: str) -> None:
    """What is in the file counts, not what is said of it."""
    good = trust()
    with pytest.raises(MaterialError, match=sentence):
        check_trust(replace(good, crl=replace(good.crl, pem=pem)), NOW)


def test_the_list_for_programs_is_as_node_prints_it() -> None:
    """Upper case, even length, in a settled order."""
    crl = a_ca().crl([revoked("0b"), revoked("0afe")], number=7)
    assert revoked_json(crl) == b'{"crl_number": 7, "serials": ["0AFE", "0B"]}\n'
    assert json.loads(revoked_json(a_ca().crl()))["serials"] == []
