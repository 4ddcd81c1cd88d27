"""Certificates, chains and pairs as read: what belongs together, and what is hostile."""

import ssl
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certwarden.errors import MaterialError
from certwarden.model import KeyType, Secret
from certwarden.pki.certificate import (
    MAX_CERTIFICATE_BYTES,
    MAX_CHAIN_BYTES,
    MAX_CHAIN_LENGTH,
    build_placeholder,
    check_names,
    check_ordered,
    read_certificate,
    read_chain,
    read_pair,
    renewal_certificate_id,
)
from certwarden.pki.keys import load_key
from tests.builders import (
    DOMAINS,
    NOW,
    a_chain_pem,
    a_key,
    a_pair,
    a_self_signed_pem,
    an_alternate_issuer,
    an_issuer,
)

DAY = timedelta(days=1)


def a_der(**changes: object) -> bytes:
    """A certificate with odd contents, in DER."""
    key = load_key(a_key())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(changes.get("issuer", "odd")))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int(str(changes.get("serial", 7))))
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
    )
    extension = changes.get("extension")
    if isinstance(extension, x509.ExtensionType):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


class TestReading:
    def test_what_is_read(self) -> None:
        """A leaf's names, serial, fingerprint, issuer and dates are those in it."""
        key = a_key()
        leaf = x509.load_pem_x509_certificate(a_chain_pem(key))
        read = read_certificate(leaf.public_bytes(Encoding.DER))
        assert read.names == DOMAINS
        assert int(read.serial, 16) == leaf.serial_number
        assert read.fingerprint == leaf.fingerprint(SHA256()).hex()
        assert read.issuer == "Plausible E7"
        assert (read.not_before, read.not_after) == (NOW, NOW + 90 * DAY)
        assert read.lifetime == 90 * DAY

    @pytest.mark.parametrize(
        ("serial", "shown"), [(1, "01"), (0x0F, "0f"), (0x10, "10"), (0x100, "0100")]
    )
    def test_serial_has_even_length(self, serial: int, shown: str) -> None:
        """A serial is shown in whole bytes."""
        assert read_certificate(a_der(serial=serial)).serial == shown

    def test_without_names(self) -> None:
        """A certificate without subjectAltName has no names: the common name is none."""
        assert read_certificate(a_der()).names == ()

    def test_issuer_is_cleaned(self) -> None:
        """An issuer's name cannot move a terminal's cursor."""
        assert read_certificate(a_der(issuer="\x1b[2Jevil\n")).issuer == "[2Jevil"

    @pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x04\x02ab"])
    def test_broken_extension(self, content: bytes) -> None:
        """A certificate whose subjectAltName is garbage is an error of ours, not of a parser."""
        extension = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, content)
        with pytest.raises(MaterialError, match="not readable"):
            read_certificate(a_der(extension=extension))

    @pytest.mark.parametrize("der", [b"", b"garbage", b"\x30\x80", b"0" * 2**17])
    def test_no_certificate(self, der: bytes) -> None:
        """What is no certificate is an error of ours."""
        with pytest.raises(MaterialError):
            read_certificate(der)

    def test_size_is_capped(self) -> None:
        """A certificate as large as nobody needs is not even parsed."""
        with pytest.raises(MaterialError, match="longer than"):
            read_certificate(b"0" * (MAX_CERTIFICATE_BYTES + 1))

    def test_unknown_version(self) -> None:
        """A certificate of a version that does not exist is an error of ours, in a chain too."""
        third, unknown = bytes.fromhex("a003020102"), bytes.fromhex("a003020107")
        der = GOOD_DER.replace(third, unknown, 1)
        assert der != GOOD_DER
        with pytest.raises(MaterialError, match="not readable"):
            read_certificate(der)
        with pytest.raises(MaterialError, match="not a readable PEM"):
            read_chain(ssl.DER_cert_to_PEM_cert(der).encode())

    @pytest.mark.filterwarnings("ignore:Parsed a serial number")
    @given(st.binary(max_size=200), st.integers(min_value=0, max_value=600))
    def test_flipped_bytes(self, noise: bytes, position: int) -> None:
        """However a certificate is garbled, it is read or it is an error of ours."""
        der = bytearray(GOOD_DER)
        der[position : position + len(noise)] = noise
        with suppress(MaterialError):
            read_certificate(bytes(der))


GOOD_DER = x509.load_pem_x509_certificate(a_chain_pem(a_key())).public_bytes(Encoding.DER)


class TestChain:
    def test_order_is_kept_and_text_is_dropped(self) -> None:
        """A chain is serialised afresh, leaf first; what stands around it is dropped."""
        chain = a_chain_pem(a_key())
        dressed = b"\x1b[31mhello\n" + chain.replace(b"\n", b"\r\n") + b"goodbye"
        assert b"".join(read_chain(dressed)) == chain

    def test_a_key_in_it_is_dropped(self) -> None:
        """A private key among the certificates does not pass."""
        chain = a_chain_pem(a_key())
        assert b"".join(read_chain(a_key().reveal() + chain)) == chain

    def test_length_is_capped(self) -> None:
        """A chain has so many certificates and bytes, and no more."""
        one = a_self_signed_pem(a_key())
        assert len(read_chain(one * MAX_CHAIN_LENGTH)) == MAX_CHAIN_LENGTH
        with pytest.raises(MaterialError, match="more than"):
            read_chain(one * (MAX_CHAIN_LENGTH + 1))
        with pytest.raises(MaterialError, match="longer than"):
            read_chain(one + b" " * MAX_CHAIN_BYTES)

    @pytest.mark.parametrize("pem", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
    def test_no_chain(self, pem: bytes) -> None:
        """What holds no certificate is an error of ours."""
        with pytest.raises(MaterialError, match="not a readable PEM"):
            read_chain(pem)


class TestPair:
    def test_key_and_chain(self) -> None:
        """A key and the chain for it are a pair, which shows no secret of itself."""
        key = a_key()
        pair = read_pair(key, a_chain_pem(key))
        assert len(pair.chain_pem) == 2
        assert pair.certificate.names == DOMAINS
        assert "PRIVATE" not in repr(pair)

    def test_another_key(self) -> None:
        """A key and the chain for another one are none."""
        with pytest.raises(MaterialError, match="does not belong"):
            read_pair(a_key(), a_chain_pem(a_key()))

    def test_intermediate_first(self) -> None:
        """A chain that does not begin with the leaf is no chain for the key."""
        key = a_key()
        leaf, intermediate = read_chain(a_chain_pem(key))
        with pytest.raises(MaterialError, match="does not belong"):
            read_pair(key, intermediate + leaf)

    def test_foreign_intermediate(self) -> None:
        """A certificate that has not signed the one before it breaks the chain."""
        key = a_key()
        leaf = read_chain(a_chain_pem(key))[0]
        foreign = an_issuer("Foreign").intermediate.public_bytes(Encoding.PEM)
        with pytest.raises(MaterialError, match="chain is broken"):
            read_pair(key, leaf + foreign)

    def test_same_name_other_key(self) -> None:
        """A namesake of the issuer breaks the chain, too: signatures count, not names."""
        key = a_key()
        leaf = read_chain(a_chain_pem(key))[0]
        namesake = an_issuer("Plausible", "Namesake").intermediate.public_bytes(Encoding.PEM)
        with pytest.raises(MaterialError, match="chain is broken"):
            read_pair(key, leaf + namesake)

    def test_cross_signed(self) -> None:
        """The same intermediate under another root is as good."""
        key = a_key()
        other = an_alternate_issuer()
        signed = other.sign(load_key(key).public_key(), DOMAINS, NOW, NOW + DAY)
        chain = signed + other.root.public_bytes(Encoding.PEM)
        assert len(read_pair(key, chain).chain_pem) == 3

    def test_unreadable_key(self) -> None:
        """An unreadable key is an error of ours."""
        with pytest.raises(MaterialError):
            read_pair(Secret(b""), a_chain_pem(a_key()))


class TestOrdered:
    def test_as_ordered(self) -> None:
        """The names in any order and case are what was ordered."""
        check_ordered(a_pair(), ["*.EXAMPLE.org", "example.org"], NOW)

    @pytest.mark.parametrize(
        ("domains", "words"),
        [
            (["example.org"], r"also names \*\.example\.org"),
            ([*DOMAINS, "example.net"], r"lacks example\.net"),
            (["example.net", "*.example.org"], r"lacks example\.net and also names example\.org"),
        ],
    )
    def test_other_names(self, domains: list[str], words: str) -> None:
        """A certificate for more, fewer or other names is refused, and the names are told."""
        with pytest.raises(MaterialError, match=words):
            check_names(a_pair().certificate, domains)

    @pytest.mark.parametrize(
        ("now", "is_good"),
        [
            (NOW, True),
            (NOW - timedelta(minutes=59), True),
            (NOW - timedelta(minutes=61), False),
            (NOW + 90 * DAY - timedelta(seconds=1), True),
            (NOW + 90 * DAY, False),
        ],
    )
    def test_dates(self, now: datetime, *, is_good: bool) -> None:
        """A leaf must be valid now; a clock that is up to an hour behind is allowed for."""
        pair = a_pair()
        if is_good:
            check_ordered(pair, DOMAINS, now)
            return
        with pytest.raises(MaterialError, match="which is not now") as caught:
            check_ordered(pair, DOMAINS, now)
        assert "clock" in caught.value.hint


class TestPlaceholder:
    @pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.ECDSA_P384, KeyType.RSA_2048])
    def test_placeholder(self, key_type: KeyType) -> None:
        """A placeholder is a pair for the real names, valid for 7 days, and says what it is."""
        pair = build_placeholder(DOMAINS, key_type, NOW)
        check_ordered(pair, DOMAINS, NOW)
        assert pair.certificate.not_after == NOW + 7 * DAY
        assert pair.certificate.issuer == "certwarden placeholder"
        assert len(pair.chain_pem) == 1


# RFC 9773, appendix A.
RFC_9773_LEAF = b"""-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
"""


def test_renewal_id_is_that_of_the_rfc() -> None:
    """The RFC's own example, whose serial begins with a byte for its sign."""
    assert renewal_certificate_id(RFC_9773_LEAF) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.mark.parametrize(
    ("serial", "encoded"),
    [(1, "AQ"), (0x7F, "fw"), (0x80, "AIA"), (0xFF00, "AP8A"), (2**159 - 1, "f" + "_" * 25 + "8")],
)
def test_renewal_id_has_the_serial_as_der_has_it(serial: int, encoded: str) -> None:
    """The fewest bytes, and one more where the highest bit would make it negative."""
    extension = x509.AuthorityKeyIdentifier(b"\xfb\xff", None, None)
    pem = ssl.DER_cert_to_PEM_cert(a_der(serial=serial, extension=extension)).encode()
    assert renewal_certificate_id(pem) == f"-_8.{encoded}"


def test_renewal_id_needs_an_authority_key_identifier() -> None:
    """A self-signed placeholder has none, nor has a leaf that names its issuer another way."""
    placeholder = build_placeholder(DOMAINS, KeyType.ECDSA_P256, NOW)
    assert renewal_certificate_id(placeholder.chain_pem[0]) is None
    issuer = [x509.DirectoryName(x509.Name([]))]
    by_name = a_der(extension=x509.AuthorityKeyIdentifier(None, issuer, 5))
    assert renewal_certificate_id(ssl.DER_cert_to_PEM_cert(by_name).encode()) is None


def test_renewal_id_of_a_stored_leaf() -> None:
    """The leaf is taken as a pair holds it."""
    assert renewal_certificate_id(a_pair().chain_pem[0])
