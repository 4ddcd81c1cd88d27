"""Signing requests of strangers: whose key is taken, and what is refused, and how quickly."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.errors import MaterialError
from certwarden.pki.authority import build_client
from certwarden.pki.csr import MAX_CSR_BYTES, read_csr
from certwarden.pki.der import INTEGER, OBJECT_IDENTIFIER, SEQUENCE, decode, encode, pem
from certwarden.pki.keys import PrivateKey
from tests.pki.private_ca import a_ca

_BIT_STRING, _NULL = 0x03, 0x05
_MD5_WITH_RSA = bytes.fromhex("2a864886f70d010104")
_SHA1_WITH_RSA = bytes.fromhex("2a864886f70d010105")
_SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")


def a_csr(
    key: PrivateKey | None = None,
    algorithm: HashAlgorithm | None = None,
    *values: x509.ExtensionType,
) -> x509.CertificateSigningRequest:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody/../else")])
    builder = x509.CertificateSigningRequestBuilder(name)
    for value in values:
        builder = builder.add_extension(value, critical=True)
    key = key or ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, algorithm or SHA256())  # type: ignore[arg-type]  # any that there is


def spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def an_rsa_key(bits: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=exponent, key_size=bits)


def rsa_signed(algorithm: HashAlgorithm, identifier: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """A request as an old program makes it: what the library no longer signs, signed by hand."""
    info = a_csr(key).tbs_certrequest_bytes
    signature = key.sign(info, padding.PKCS1v15(), algorithm)
    name = encode(SEQUENCE, encode(OBJECT_IDENTIFIER, identifier), encode(_NULL))
    der = encode(SEQUENCE, info, name, encode(_BIT_STRING, b"\0" + signature))
    return pem("CERTIFICATE REQUEST", der)


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), SHA256()),
        (lambda: ec.generate_private_key(ec.SECP384R1()), SHA384()),
        (lambda: an_rsa_key(2048), SHA512()),
    ],
)
def test_a_good_request_gives_its_key(
    form: Encoding, make: Callable[[], PrivateKey], algorithm: HashAlgorithm
) -> None:
    """In both forms that programs write."""
    key = make()
    assert read_csr(a_csr(key, algorithm).public_bytes(form)) == spki(key)


def test_what_is_asked_for_is_ignored() -> None:
    """A CA of its own and other people's names: the profile decides."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = a_csr(
        key,
        None,
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectAlternativeName([x509.DNSName("bank.example"), x509.RFC822Name("b@c.example")]),
    )
    public_key = read_csr(request.public_bytes(Encoding.PEM))
    entry = a_ca().client().certificate
    issued = x509.load_pem_x509_certificate(
        build_client(a_ca().root_pem, a_ca().key, entry, public_key)
    )
    assert issued.public_key() == key.public_key()
    assert issued.subject.rfc4514_string() == "CN=alice-iphone"
    constraints = issued.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("alice-iphone.clients.home.arpa")]


def refused(data: bytes) -> str:
    with pytest.raises(MaterialError) as caught:
        read_csr(data)
    assert caught.value.what.isprintable()
    assert caught.value.hint
    return caught.value.what


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00" * MAX_CSR_BYTES,
        b"hello",
        b"-----BEGIN CERTIFICATE REQUEST-----\n\x00\n-----END CERTIFICATE REQUEST-----\n",
        a_ca().root_pem,
        a_csr().public_bytes(Encoding.DER)[:-1],
        a_csr().public_bytes(Encoding.PEM).replace(b"REQUEST", b"REQUESTS"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    """Nothing, NUL, rubbish, something else, a part."""
    assert "not a readable PKCS#10" in refused(data)


def test_a_long_request_is_not_even_read() -> None:
    """Ten megabytes."""
    request = a_csr().public_bytes(Encoding.PEM)
    assert "longer than" in refused(request + b"\n" * (10_000_000 - len(request)))


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (lambda: an_rsa_key(1024), "RSA key has 1024 bits"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "on the curve secp521r1"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "on the curve secp256k1"),
        (lambda: an_rsa_key(2048, 3), "odd public exponent"),
    ],
)
def test_keys_that_will_not_do(key: Callable[[], PrivateKey], sentence: str) -> None:
    """Too short, or what no browser knows."""
    assert sentence in refused(a_csr(key()).public_bytes(Encoding.PEM))


def test_an_edwards_key_will_not_do() -> None:
    """No browser knows it."""
    name = x509.Name([])
    request = x509.CertificateSigningRequestBuilder(name).sign(
        ed25519.Ed25519PrivateKey.generate(), None
    )
    assert "neither RSA nor elliptic-curve" in refused(request.public_bytes(Encoding.PEM))


def with_key(request: x509.CertificateSigningRequest, der: bytes) -> bytes:
    """The request for another public key, its signature left as it was."""
    (tag, content), *_ = decode(request.public_bytes(Encoding.DER))
    (_, info), algorithm, signature = decode(content)
    version, subject, _, attributes = decode(info)
    new_info = encode(SEQUENCE, encode(*version), encode(*subject), der, encode(*attributes))
    return encode(tag, new_info, encode(*algorithm), encode(*signature))


def test_a_tiny_and_a_huge_rsa_key_are_refused_unverified() -> None:
    """512 bits, which the library does not make any more; 16,384, which take long to verify."""
    rsa_encryption = bytes.fromhex("300d06092a864886f70d0101010500")
    for bits in (512, 16_384):
        modulus = encode(INTEGER, b"\0" + ((1 << bits) - 1).to_bytes(bits // 8, "big"))
        numbers = encode(SEQUENCE, modulus, encode(INTEGER, b"\x01\x00\x01"))
        key = encode(SEQUENCE, rsa_encryption, encode(_BIT_STRING, b"\0" + numbers))
        assert f"RSA key has {bits} bits" in refused(with_key(a_csr(an_rsa_key(2048)), key))


def test_weak_signatures_are_refused() -> None:
    """SHA-1 and MD5 prove nothing; the same by hand with SHA-256 does."""
    key = an_rsa_key(2048)
    assert read_csr(rsa_signed(SHA256(), _SHA256_WITH_RSA, key)) == spki(key)
    for algorithm, identifier in ((SHA1(), _SHA1_WITH_RSA), (MD5(), _MD5_WITH_RSA)):
        assert "a hash that is too weak" in refused(rsa_signed(algorithm, identifier, key))


def test_whoever_has_not_the_key_gets_nothing() -> None:
    """A request for somebody else's public key, of the same kind and of another."""
    mine = a_csr()
    for theirs in (ec.generate_private_key(ec.SECP256R1()), an_rsa_key(2048)):
        assert "not signed by the private key" in refused(with_key(mine, spki(theirs)))


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(min_value=0, max_value=200))
def test_nothing_but_a_sentence_comes_of_rubbish(rubbish: bytes, place: int) -> None:
    """Whatever is put into a good request: it is refused, or its key is what it was."""
    key = a_ca().key
    good = a_csr(key).public_bytes(Encoding.DER)
    bad = good[:place] + rubbish + good[place + len(rubbish) :]
    try:
        found = read_csr(bad)
    except MaterialError:
        return
    assert found == spki(key)
