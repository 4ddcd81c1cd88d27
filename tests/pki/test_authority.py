"""What is in a root and in a client certificate, and who may be issued one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError, VerifiedClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certwarden.errors import MaterialError, UsageError
from certwarden.model import ClientCertificate, KeyType
from certwarden.pki.authority import (
    MAX_EMAIL,
    ROOT_LIFETIME,
    build_client,
    build_root,
    check_identity,
    client_dates,
    extend_root,
    new_serial,
    read_root,
)
from certwarden.pki.certificate import MAX_CERTIFICATE_BYTES
from certwarden.pki.keys import generate_key, load_key, public_bytes
from tests.builders import NOW, a_key, a_self_signed_pem
from tests.pki.private_ca import (
    CLIENT_LIFETIME,
    NAME,
    EcToken,
    PrivateCa,
    RsaToken,
    a_ca,
    another_ca,
    found,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def read(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def extensions(certificate: x509.Certificate) -> dict[str, bool]:
    """By the names of their kinds: whether they are critical."""
    return {type(each.value).__name__: each.critical for each in certificate.extensions}


def verified(ca: PrivateCa, client_pem: bytes) -> VerifiedClient:
    """By cryptography's own strict verifier; raises VerificationError."""
    verifier = PolicyBuilder().store(Store([read(ca.root_pem)])).time(NOW)
    return verifier.build_client_verifier().verify(read(client_pem), [])


# ── serials ───────────────────────────────────────────────────────────────────────────────────────


def test_serials_are_long_random_and_positive() -> None:
    """RFC 5280 section 4.1.2.2: at most 20 octets, whose first bit is the sign; ours is hex."""
    serials = [new_serial() for _ in range(500)]
    assert len(set(serials)) == 500
    numbers = [int(serial, 16) for serial in serials]
    assert all(0 < number < 2**159 for number in numbers)
    assert max(number.bit_length() for number in numbers) == 159
    assert all(serial == serial.lower() and len(serial) % 2 == 0 for serial in serials)


# ── the root ──────────────────────────────────────────────────────────────────────────────────────


def test_the_root_is_for_clients_of_one_tier() -> None:
    """Critical constraints and usage, an identifier of its key, and nothing else."""
    root = read(a_ca().root_pem)
    assert extensions(root) == {
        "BasicConstraints": True,
        "KeyUsage": True,
        "SubjectKeyIdentifier": False,
    }
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert not usage.digital_signature
    assert isinstance(root.signature_hash_algorithm, SHA256)
    assert root.version is x509.Version.v3


def test_the_root_is_read_as_it_was_built() -> None:
    """Ten years from an hour ago, in the name of the house, the year and the key."""
    root = read_root(a_ca().root_pem)
    identifier = x509.SubjectKeyIdentifier.from_public_key(a_ca().key.public_key()).digest.hex()
    assert root.name == f"{NAME} 2026 {identifier[:4]}"
    assert (root.not_before, root.not_after) == (NOW - HOUR, NOW + ROOT_LIFETIME)
    assert root.fingerprint == read(root.pem).fingerprint(SHA256()).hex()
    assert int(root.serial, 16) == read(root.pem).serial_number
    assert root.pem == a_ca().root_pem


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a\x00b", "a\nb", "x" * 55, "ü" * 28, "\ud800"]
)
def test_a_root_needs_a_name_that_fits(name: str) -> None:
    """A common name has 64 characters (RFC 5280 appendix A.1), and those can be seen."""
    with pytest.raises(MaterialError, match="cannot be named"):
        build_root(name, a_ca().key, NOW)


def test_a_root_may_bear_any_other_name() -> None:
    """Also one that is not ASCII."""
    assert read_root(build_root("Zürich " + "x" * 46, a_ca().key, NOW)).name.startswith("Zürich x")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"x" * (MAX_CERTIFICATE_BYTES + 1),
        a_self_signed_pem(a_key()),
        a_ca().client().pem,
        a_ca().root_pem * 2,
    ],
)
def test_what_is_no_root_is_refused(pem: bytes) -> None:
    """Nothing, rubbish, too much, a server's own, a client's, two at once."""
    with pytest.raises(MaterialError):
        read_root(pem)


def odd_root(key: ec.EllipticCurvePrivateKey, *values: x509.ExtensionType) -> bytes:
    """A self-signed certificate with these extensions."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Imported")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
    )
    for value in values:
        builder = builder.add_extension(value, critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_a_root_that_may_not_sign_lists_is_refused() -> None:
    """The lists of such a one would be worth nothing."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    pem = odd_root(key, x509.BasicConstraints(ca=True, path_length=None), usage)
    with pytest.raises(MaterialError, match="does not let it sign"):
        read_root(pem)


def test_a_root_with_names_that_nobody_reads_is_refused() -> None:
    """What the library cannot read ends in a sentence, too."""
    key = ec.generate_private_key(ec.SECP256R1())
    # subjectAltName with an x400Address.
    value = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00")
    with pytest.raises(MaterialError, match="not one readable, self-signed root"):
        read_root(odd_root(key, x509.BasicConstraints(ca=True, path_length=None), value))


def test_a_root_of_another_kind_of_key_is_refused() -> None:
    """What browsers and strict verifiers do not know cannot be served."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "modern")])
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    with pytest.raises(MaterialError, match="neither RSA nor elliptic-curve"):
        read_root(root.public_bytes(Encoding.PEM))


# ── extended ──────────────────────────────────────────────────────────────────────────────────────


def test_an_extended_root_goes_on_for_its_clients() -> None:
    """The same name, key and identifier, so that what the old one signed verifies; new dates."""
    ca, client, later = a_ca(), a_ca().client(), NOW + 3000 * DAY
    extended_pem = extend_root(ca.root_pem, ca.key, later)
    old, new = read(ca.root_pem), read(extended_pem)
    assert new.subject.public_bytes() == old.subject.public_bytes()
    assert new.public_key() == old.public_key()
    assert {each.oid: each.value for each in new.extensions} == {
        each.oid: each.value for each in old.extensions
    }
    assert new.serial_number != old.serial_number
    extended = read_root(extended_pem)
    assert (extended.not_before, extended.not_after) == (later - HOUR, later + ROOT_LIFETIME)
    read(client.pem).verify_directly_issued_by(new)


def test_a_root_is_extended_by_its_own_key() -> None:
    """Another key would lock every client out."""
    with pytest.raises(MaterialError, match="does not belong"):
        extend_root(a_ca().root_pem, another_ca().key, NOW)


def test_an_imported_root_keeps_what_its_clients_name() -> None:
    """Its key's identifier, and its serial where they name that too, as easy-rsa's do."""
    key = ec.generate_private_key(ec.SECP256R1())
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    identifier = x509.SubjectKeyIdentifier(b"\x01\x02\x03\x04")
    by_key = x509.AuthorityKeyIdentifier(identifier.digest, None, None)
    name = x509.DirectoryName(x509.Name([]))
    by_serial = x509.AuthorityKeyIdentifier(identifier.digest, [name], 77)

    for own, keeps_serial in ((by_key, False), (by_serial, True)):
        extended = read(extend_root(odd_root(key, constraints, identifier, own), key, NOW))
        found_identifier = extended.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        assert found_identifier.value == identifier
        assert (extended.serial_number == 77) == keeps_serial

    bare = read_root(extend_root(odd_root(key, constraints), key, NOW))
    assert bare.name == "O=Imported"
    assert bare.serial != "4d"


# ── clients ───────────────────────────────────────────────────────────────────────────────────────


def test_a_client_certificate_is_for_clients_alone() -> None:
    """What the profile says, extension by extension."""
    client = a_ca().client()
    certificate = read(client.pem)
    assert extensions(certificate) == {
        "BasicConstraints": True,
        "KeyUsage": True,
        "ExtendedKeyUsage": False,
        "SubjectAlternativeName": False,
        "AuthorityKeyIdentifier": False,
        "SubjectKeyIdentifier": False,
    }
    found_in = certificate.extensions.get_extension_for_class
    constraints = found_in(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (False, None)
    usage = found_in(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_encipherment
    assert not usage.key_cert_sign
    assert list(found_in(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = found_in(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("alice-iphone.clients.home.arpa")]
    root_identifier = read(a_ca().root_pem).extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier
    )
    authority = found_in(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == root_identifier.value.digest
    assert authority.authority_cert_serial_number is None
    assert certificate.subject.rfc4514_string() == "CN=alice-iphone"
    assert certificate.issuer.public_bytes() == read(a_ca().root_pem).subject.public_bytes()
    assert f"{certificate.serial_number:040x}".endswith(client.certificate.serial)
    assert certificate.not_valid_before_utc == client.certificate.not_before
    assert certificate.not_valid_after_utc == client.certificate.not_after


def test_an_address_is_the_alternative_name() -> None:
    """The e-mail address instead of the name in our own domain."""
    certificate = read(a_ca().client(email="alice@example.org").pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.RFC822Name("alice@example.org")]


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.RSA_3072, KeyType.ECDSA_P384])
def test_other_keys(key_type: KeyType) -> None:
    """RSA keys may also decipher a TLS 1.2 session's key; elliptic ones may not."""
    client = a_ca().client(key_type=key_type)
    usage = read(client.pem).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment == key_type.value.startswith("rsa")
    verified(a_ca(), client.pem)


def test_a_strict_verifier_takes_them() -> None:
    """With what it says of the client; and another CA's clients it does not take."""
    subjects = verified(a_ca(), a_ca().client().pem).subjects
    assert subjects == [x509.DNSName("alice-iphone.clients.home.arpa")]
    with pytest.raises(VerificationError):
        verified(a_ca(), another_ca().client().pem)


@pytest.mark.parametrize("name", ["ec", "rsa"])
def test_a_key_may_live_in_a_token(name: str) -> None:
    """Root, client and list are signed by an object that can sign, and has no bytes to show."""
    key = (
        EcToken(ec.generate_private_key(ec.SECP256R1()))
        if name == "ec"
        else RsaToken(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    )
    ca = found(key)
    verified(ca, ca.client().pem)
    assert ca.crl(number=3).number == 3
    assert read_root(extend_root(ca.root_pem, key, NOW)).name == read_root(ca.root_pem).name


def test_dates_stay_within_the_root() -> None:
    """From an hour ago, in whole seconds; never beyond the CA's own end, however long is asked."""
    root, now = read_root(a_ca().root_pem), NOW + timedelta(microseconds=5)
    assert client_dates(root, now, CLIENT_LIFETIME) == (NOW - HOUR, NOW + CLIENT_LIFETIME)
    late = root.not_after - DAY
    assert client_dates(root, late, CLIENT_LIFETIME) == (late - HOUR, root.not_after)
    assert client_dates(root, now, timedelta.max) == (NOW - HOUR, root.not_after)
    with pytest.raises(MaterialError, match=r"has expired on 2036-11-21"):
        client_dates(root, root.not_after, CLIENT_LIFETIME)


def test_a_client_is_not_signed_beside_its_profile() -> None:
    """Without dates, beyond the root, by a foreign key, for a key or a name that will not do."""
    ca = a_ca()
    public_key = public_bytes(load_key(generate_key(KeyType.ECDSA_P256)))
    good = ca.client().certificate
    assert good.not_after is not None
    beyond = read_root(ca.root_pem).not_after + timedelta(seconds=1)
    odd_key = ed25519.Ed25519PrivateKey.generate().public_key()
    odd_der = odd_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for certificate, key, der, sentence in (
        (replace(good, not_before=None), ca.key, public_key, "has no dates"),
        (replace(good, not_before=good.not_after), ca.key, public_key, "has no dates"),
        (replace(good, not_after=beyond), ca.key, public_key, "would outlive"),
        (good, another_ca().key, public_key, "does not belong"),
        (good, ca.key, b"rubbish", "not readable"),
        (good, ca.key, odd_der, "neither RSA nor elliptic-curve"),
    ):
        with pytest.raises(MaterialError, match=sentence):
            build_client(ca.root_pem, key, certificate, der)
    with pytest.raises(UsageError, match="cannot be the name"):
        build_client(ca.root_pem, ca.key, replace(good, name="../a"), public_key)


# ── identities ────────────────────────────────────────────────────────────────────────────────────

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join).filter(lambda name: len(name) < 64)


@settings(deadline=None)
@given(NAMES)
@example("a" * 63)
@example("alice.work-phone_2")
def test_a_good_name_comes_back_from_the_certificate(name: str) -> None:
    """Whatever is allowed as a name is what the certificate says, in subject and SAN."""
    check_identity(name, None)
    ca = a_ca()
    dates = client_dates(read_root(ca.root_pem), NOW, DAY)
    entry = ClientCertificate(new_serial(), name, None, *dates)
    certificate = read(build_client(ca.root_pem, ca.key, entry, public_bytes(ca.key)))
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [f"{name}.clients.home.arpa"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Alice",
        "alice iphone",
        "-alice",
        "alice-",
        ".alice",
        "alice.",
        "a..b",
        "a.-b",
        "a-.b",
        "a._b",
        "a_",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "a\x00b",
        "alice\n",
        "älice",
        "a" * 64,
        "a" * 10_000_000,
    ],
)
def test_a_bad_name_is_refused_in_a_sentence(name: str) -> None:
    """Path separators, control characters, empty labels, what is too long."""
    with pytest.raises(UsageError) as caught:
        check_identity(name, None)
    assert "cannot be the name of a client" in caught.value.what
    assert len(caught.value.what) < 200
    assert caught.value.what.isprintable()
    assert caught.value.hint


@settings(deadline=None)
@given(st.text(max_size=70))
def test_no_other_character_gets_in(name: str) -> None:
    """What passes consists of what is allowed, whatever is tried."""
    try:
        check_identity(name, None)
    except UsageError:
        return
    assert set(name) <= set(ALPHABET + "._-")
    assert len(name) <= 63


@pytest.mark.parametrize(
    "email", ["alice@example.org", "o'hara+home@sub.example.co.uk", "a.b@xn--bcher-kva.example"]
)
def test_a_plain_address_is_taken(email: str) -> None:
    """A dot-atom at a domain (RFC 5322 section 3.4.1)."""
    check_identity("alice", email)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "alice",
        "alice@localhost",
        "alice@",
        "@example.org",
        "a@b@example.org",
        '"a b"@example.org',
        ".a@example.org",
        "a..b@example.org",
        "alice@example..org",
        "alice@-example.org",
        "alice@example.org.",
        "alice@[192.0.2.1]",
        "alice@192.0.2.1",
        "alice@example.o",
        "älice@example.org",
        "alice@exämple.org",
        "alice@example.org\n",
        "a\x00@example.org",
        "a" * 65 + "@example.org",
        "a@" + "b." * 200 + "org",
        f"a@{'b' * 64}.org",
        "a" * (MAX_EMAIL + 1) + "@example.org",
        "a." * 5_000_000,
    ],
)
def test_an_odd_address_is_refused_in_a_sentence(email: str) -> None:
    """Quotes, other alphabets, addresses of machines, and what is too long."""
    with pytest.raises(UsageError, match="is no e-mail address that a certificate can bear"):
        check_identity("alice", email)
