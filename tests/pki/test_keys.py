"""Private keys and signing requests."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certwarden.errors import MaterialError
from certwarden.model import KeyType, Secret
from certwarden.pki.keys import build_csr, generate_key, load_key, public_bytes, serialise_key


@pytest.mark.parametrize(
    ("key_type", "curve"),
    [(KeyType.ECDSA_P256, "secp256r1"), (KeyType.ECDSA_P384, "secp384r1")],
)
def test_curves(key_type: KeyType, curve: str) -> None:
    """An elliptic-curve key is on the curve that was asked for, as open PKCS#8."""
    pem = generate_key(key_type)
    key = load_key(pem)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == curve
    assert pem.reveal().startswith(b"-----BEGIN PRIVATE KEY-----\n")


@pytest.mark.parametrize(("key_type", "bits"), [(KeyType.RSA_2048, 2048), (KeyType.RSA_3072, 3072)])
def test_rsa(key_type: KeyType, bits: int) -> None:
    """An RSA key has the length that was asked for."""
    key = load_key(generate_key(key_type))
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == bits


def test_keys_are_fresh() -> None:
    """No two keys are the same."""
    one, two = generate_key(KeyType.ECDSA_P256), generate_key(KeyType.ECDSA_P256)
    assert public_bytes(load_key(one)) != public_bytes(load_key(two))


def test_serialised_key_is_the_same_key() -> None:
    """A key that came in another form (SEC 1) goes out as PKCS#8, the same key."""
    key = ec.generate_private_key(ec.SECP256R1())
    sec1 = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    loaded = load_key(Secret(sec1))
    assert b"BEGIN PRIVATE KEY" in serialise_key(loaded).reveal()
    assert public_bytes(load_key(serialise_key(loaded))) == public_bytes(key)


def test_encrypted_key_is_told_as_such() -> None:
    """A key under a passphrase is an error that says so."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(MaterialError, match="encrypted"):
        load_key(Secret(pem))


def test_other_kinds_of_key_are_refused() -> None:
    """Keys that no CA takes are refused by their kind."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(MaterialError, match="neither RSA nor"):
        load_key(Secret(pem))


@pytest.mark.parametrize(
    "pem",
    [b"", b"\xff", b"canary", b"-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----"],
)
def test_unreadable_key_is_not_quoted(pem: bytes) -> None:
    """An unreadable key is an error that shows nothing of it, in itself or in its cause."""
    with pytest.raises(MaterialError) as caught:
        load_key(Secret(pem))
    assert "canary" not in str(caught.value)
    assert "Y2Fu" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_csr() -> None:
    """A request names the domains in their order, has no subject, and is signed by its key."""
    pem = generate_key(KeyType.ECDSA_P256)
    csr = x509.load_pem_x509_csr(build_csr(pem, ["example.org", "*.example.org"]))
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["example.org", "*.example.org"]
    assert len(csr.extensions) == 1
    assert csr.subject == x509.Name([])
    assert csr.is_signature_valid
