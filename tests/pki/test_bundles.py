"""Bundles: what is in each form, that a device can open it, and that nobody else can."""

import plistlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PKCS12KeyAndCertificates,
    load_pkcs12,
)

from certwarden.errors import MaterialError, UsageError
from certwarden.model import KeyType, Secret
from certwarden.pki.bundles import BundleFormat, build_bundle
from certwarden.pki.certificate import read_chain
from certwarden.pki.keys import load_key, public_bytes
from certwarden.pki.protection import generate_password
from tests.pki.private_ca import Client, a_ca, another_ca
from tests.pki.programs import run

PASSWORD = generate_password()
AUTHORITY = "Home client CA"


@cache
def a_client(key_type: KeyType = KeyType.ECDSA_P256) -> Client:
    return a_ca().client(key_type=key_type)


def bundle(
    form: BundleFormat,
    client: Client | None = None,
    password: Secret = PASSWORD,
    *,
    authority_name: str = AUTHORITY,
) -> bytes:
    client = client if client is not None else a_client()
    return build_bundle(
        form,
        client.key_pem,
        client.pem,
        password,
        name=client.certificate.name,
        authority_name=authority_name,
    )


def opened(p12: bytes, password: Secret = PASSWORD) -> PKCS12KeyAndCertificates:
    return load_pkcs12(p12, password.reveal())


@pytest.mark.parametrize("form", [BundleFormat.P12, BundleFormat.P12_LEGACY])
@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.RSA_2048])
def test_key_and_leaf_are_in_a_p12(form: BundleFormat, key_type: KeyType) -> None:
    """With the name that lists show, and without the root, which no device is to trust."""
    client = a_client(key_type)
    found = opened(bundle(form, client))
    assert found.cert is not None
    assert found.cert.certificate == x509.load_pem_x509_certificate(client.pem)
    assert found.cert.friendly_name == b"alice-iphone (Home client CA)"
    assert found.additional_certs == []
    assert isinstance(found.key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    assert public_bytes(found.key) == public_bytes(load_key(client.key_pem))


def test_a_name_beyond_ascii_comes_near() -> None:
    """Some lists show nothing at all where they cannot read the name."""
    found = opened(bundle(BundleFormat.P12, authority_name="Zürich 🏠 CA"))
    assert found.cert is not None
    assert found.cert.friendly_name == b"alice-iphone (Zurich  CA)"


def test_a_file_ends_as_devices_expect() -> None:
    """They offer to import it by that, and both strengths of PKCS#12 are one kind of file."""
    found = {form.value: form.extension for form in BundleFormat}
    assert found == {
        "p12": "p12",
        "p12-legacy": "p12",
        "mobileconfig": "mobileconfig",
        "pem": "pem",
    }


@pytest.mark.parametrize("form", list(BundleFormat))
def test_the_key_is_never_open(form: BundleFormat) -> None:
    """In no form are the key or the password to be found."""
    client = a_ca().client()
    made = bundle(form, client)
    if form is BundleFormat.MOBILECONFIG:
        made += payload(made)["PayloadContent"]
    key = load_key(client.key_pem)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    assert secret not in made
    assert PASSWORD.reveal() not in made
    assert b"BEGIN PRIVATE KEY" not in made


@pytest.mark.parametrize("form", list(BundleFormat))
@pytest.mark.parametrize("password", [b"", b"\xff\xfe", b"a\x00b", b"a\nb"])
def test_a_password_that_cannot_be_typed_is_refused(form: BundleFormat, password: bytes) -> None:
    """None at all, too: Android asks for one, and iOS and macOS read different ones of none."""
    with pytest.raises(UsageError, match="the password is empty, or cannot be typed"):
        bundle(form, password=Secret(password))


@pytest.mark.parametrize("form", list(BundleFormat))
def test_what_does_not_belong_together_is_not_bundled(form: BundleFormat) -> None:
    """A key with somebody else's certificate."""
    with pytest.raises(MaterialError, match="does not belong"):
        build_bundle(
            form,
            another_ca().client().key_pem,
            a_ca().client().pem,
            PASSWORD,
            name="alice",
            authority_name=AUTHORITY,
        )


# ── PEM ───────────────────────────────────────────────────────────────────────────────────────────


def test_pem_is_certificate_and_key_in_one_file() -> None:
    """The certificate first, then the key, shut by the password."""
    client = a_ca().client()
    made = bundle(BundleFormat.PEM, client)
    certificate, _, key = made.partition(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert read_chain(certificate) == (client.pem,)
    assert certificate == client.pem
    assert key
    found = load_pem_private_key(made, PASSWORD.reveal())
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    assert public_bytes(found) == public_bytes(load_key(client.key_pem))


# ── Apple's profile ───────────────────────────────────────────────────────────────────────────────


def payload(profile: bytes) -> dict[str, Any]:
    (only,) = plistlib.loads(profile)["PayloadContent"]
    assert isinstance(only, dict)
    return only


def test_a_profile_holds_the_identity_without_its_password() -> None:
    """In the encryption that every iPhone reads; the phone asks for the password."""
    client = a_ca().client()
    made = bundle(BundleFormat.MOBILECONFIG, client)
    profile, identity = plistlib.loads(made), payload(made)
    assert profile["PayloadType"] == "Configuration"
    assert profile["PayloadVersion"] == 1
    assert profile["PayloadDisplayName"] == "alice-iphone (Home client CA)"
    assert identity["PayloadType"] == "com.apple.security.pkcs12"
    assert identity["PayloadCertificateFileName"] == "alice-iphone.p12"
    assert "Password" not in identity
    found = opened(identity["PayloadContent"])
    assert found.cert is not None
    assert found.cert.certificate == x509.load_pem_x509_certificate(client.pem)


def identifiers(profile: bytes) -> tuple[list[object], list[object]]:
    both = [plistlib.loads(profile), payload(profile)]
    return [each["PayloadIdentifier"] for each in both], [each["PayloadUUID"] for each in both]


def test_a_renewed_profile_takes_the_place_of_the_old() -> None:
    """The same identifiers, other UUIDs; those of the same certificate are the same."""
    first, second = a_ca().client(), a_ca().client()
    names, ids = identifiers(bundle(BundleFormat.MOBILECONFIG, first))
    again = identifiers(bundle(BundleFormat.MOBILECONFIG, first))
    renewed_names, renewed_ids = identifiers(bundle(BundleFormat.MOBILECONFIG, second))
    assert (names, ids) == again
    assert renewed_names == names
    assert not set(renewed_ids) & set(ids)
    assert len(set(names)) == len(set(ids)) == 2


def test_a_profile_of_another_house_stays() -> None:
    """The same name with two CAs, or two names with one: other identifiers."""
    ours, _ = identifiers(bundle(BundleFormat.MOBILECONFIG))
    theirs, _ = identifiers(bundle(BundleFormat.MOBILECONFIG, another_ca().client()))
    other, _ = identifiers(bundle(BundleFormat.MOBILECONFIG, a_ca().client("bob")))
    assert not set(ours) & set(theirs)
    assert not set(ours) & set(other)


# ── other programs ────────────────────────────────────────────────────────────────────────────────


def inner_p12(form: BundleFormat, client: Client) -> bytes:
    made = bundle(form, client)
    return payload(made)["PayloadContent"] if form is BundleFormat.MOBILECONFIG else made


MODERN = ("PBES2, PBKDF2, AES-256-CBC", "MAC: sha256, Iteration 2048", "salt length: 8")
LEGACY = ("pbeWithSHA1And3-KeyTripleDES-CBC", "MAC: sha1, Iteration 2048", "salt length: 8")


@pytest.mark.world
@pytest.mark.parametrize(
    ("form", "said"),
    [
        (BundleFormat.P12, MODERN),
        (BundleFormat.P12_LEGACY, LEGACY),
        (BundleFormat.MOBILECONFIG, LEGACY),
    ],
)
def test_openssl_reads_a_p12(form: BundleFormat, said: tuple[str, ...], tmp_path: Path) -> None:
    """And says the encryption that each device can read; macOS wants a MAC's salt of 8 bytes."""
    (tmp_path / "client.p12").write_bytes(inner_p12(form, a_ca().client()))
    command = ["openssl", "pkcs12", "-in", "client.p12", "-info", "-noout", "-passin"]
    legacy = [] if form is BundleFormat.P12 else ["-legacy"]
    done = run(*command, f"pass:{PASSWORD.reveal().decode()}", *legacy, cwd=tmp_path)
    assert done.returncode == 0
    for words in said:
        assert words in done.stderr
    assert run(*command, "pass:wrong", *legacy, cwd=tmp_path).returncode != 0


@pytest.mark.world
@pytest.mark.parametrize(
    "form", [BundleFormat.P12, BundleFormat.P12_LEGACY, BundleFormat.MOBILECONFIG]
)
@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.RSA_2048])
def test_firefox_and_chrome_import_a_p12(
    form: BundleFormat, key_type: KeyType, tmp_path: Path
) -> None:
    """By NSS: the identity is in the list under its friendly name; a wrong password is refused."""
    client = a_client(key_type)
    (tmp_path / "client.p12").write_bytes(inner_p12(form, client))
    (tmp_path / "db").mkdir()
    made = run("certutil", "-N", "-d", "sql:db", "--empty-password", cwd=tmp_path)
    assert made.returncode == 0
    take = ["pk12util", "-i", "client.p12", "-d", "sql:db", "-W"]
    assert run(*take, "wrong", cwd=tmp_path).returncode != 0
    done = run(*take, PASSWORD.reveal().decode(), cwd=tmp_path)
    assert "IMPORT SUCCESSFUL" in done.stdout + done.stderr
    listed = run("certutil", "-L", "-d", "sql:db", cwd=tmp_path).stdout
    assert "alice-iphone (Home client CA)" in listed
    assert listed.count("u,u,u") == 1


@pytest.mark.world
@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.RSA_2048])
def test_openssl_and_gnutls_read_the_pem(key_type: KeyType, tmp_path: Path) -> None:
    """What curl is built on, of either kind."""
    (tmp_path / "client.pem").write_bytes(bundle(BundleFormat.PEM, a_client(key_type)))
    password = PASSWORD.reveal().decode()
    read = ["openssl", "pkey", "-in", "client.pem", "-noout", "-passin"]
    assert run(*read, f"pass:{password}", cwd=tmp_path).returncode == 0
    assert run(*read, "pass:wrong", cwd=tmp_path).returncode != 0
    command = ["certtool", "--key-info", "--infile", "client.pem", "--password", password]
    assert run(*command, cwd=tmp_path).returncode == 0
