"""Passphrases and passwords, and the CA's key shut by one."""

import math
import re
import subprocess
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.errors import LockedError, MaterialError
from certwarden.model import KeyType, Secret
from certwarden.pki.der import decode, encode, encode_integer, pem
from certwarden.pki.keys import generate_key, load_key, public_bytes
from certwarden.pki.protection import (
    MAX_KEY_BYTES,
    decrypt_key,
    encrypt_key,
    generate_authority_key,
    generate_passphrase,
    generate_password,
    is_generated_password,
    normalise_passphrase,
)
from tests.pki.programs import run

PASSPHRASE = Secret(b"correct horse battery staple")
KEY = generate_authority_key()
ENCRYPTED = encrypt_key(KEY, PASSPHRASE)


# ── passphrases ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("generate", "bits"), [(generate_passphrase, 128), (generate_password, 80)]
)
def test_what_is_generated_cannot_be_guessed_but_typed(
    generate: Callable[[], Secret], bits: int
) -> None:
    """Enough letters, none of which looks like another, in groups; no two the same."""
    made = [generate().reveal().decode() for _ in range(200)]
    assert len(set(made)) == 200
    letters = set("".join(made)) - {"-"}
    assert letters == set("abcdefghjkmnpqrstuvwxyz")
    assert all(len(text.replace("-", "")) * math.log2(len(letters)) >= bits for text in made)
    assert all(re.fullmatch(r"([a-z]{5,6})(-[a-z]{5,6})+", text) for text in made)


@pytest.mark.parametrize(
    "spelling",
    [
        bytes.upper,
        lambda text: text.replace(b"-", b""),
        lambda text: text.replace(b"-", b"  "),
        lambda text: b" " + text + b"\r\n",
        lambda text: text,
    ],
)
def test_a_recovery_code_may_be_typed_in_any_spelling(
    spelling: Callable[[bytes], bytes],
) -> None:
    """Case, dashes and blanks do not matter, so that nobody is locked out by a dash."""
    passphrase = generate_passphrase()
    typed = Secret(spelling(passphrase.reveal()))
    assert normalise_passphrase(typed) == passphrase


@pytest.mark.parametrize(
    "text", [b"", b"Correct Horse-Battery", b"ABCDE-FGHJK", b"i" * 30, b"\xff" * 30]
)
def test_a_persons_passphrase_stays_as_it_is(text: bytes) -> None:
    """Nothing of it is taken away, whatever it is made of."""
    assert normalise_passphrase(Secret(text)) == Secret(text)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_normalised_once_is_normalised(text: bytes) -> None:
    """A spelling leads to one place."""
    once = normalise_passphrase(Secret(text))
    assert normalise_passphrase(once) == once


@pytest.mark.parametrize(
    "spoil",
    [
        bytes.upper,
        lambda text: text.replace(b"-", b""),
        lambda text: text.replace(b"-", b" "),
        lambda text: text + b"\n",
        lambda text: text[:-1],
        lambda text: b"i" + text[1:],
        lambda text: b"1" + text[1:],
        lambda text: text[:13],
        lambda text: text + b"-abcdef",
        lambda _: b"",
        lambda _: b"\xff" * 20,
    ],
)
def test_a_generated_password_is_told_from_others(spoil: Callable[[bytes], bytes]) -> None:
    """One that a page has made is as good as ours; a person's own, which may be weak, is not."""
    password = generate_password()
    assert is_generated_password(password)
    assert not is_generated_password(Secret(spoil(password.reveal())))


# ── the CA's key ──────────────────────────────────────────────────────────────────────────────────


def der_of(key_pem: Secret) -> bytes:
    return b64decode(b"".join(key_pem.reveal().splitlines()[1:-1]))


def test_the_authoritys_key_is_one_that_everybody_knows() -> None:
    """P-256, and a fresh one."""
    key = generate_authority_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert public_bytes(key) != public_bytes(KEY)


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_a_key_comes_back(key_type: KeyType) -> None:
    """With the passphrase that shut it."""
    key = load_key(generate_key(key_type))
    assert public_bytes(decrypt_key(encrypt_key(key, PASSPHRASE), PASSPHRASE)) == public_bytes(key)


def test_a_key_is_shut_by_scrypt_with_fresh_salt() -> None:
    """PBES2, scrypt of 16 MiB, AES-256; twice the same key is twice something else."""
    der = der_of(ENCRYPTED)
    for identifier in ("2a864886f70d01050d", "2b06010401da47040b", "60864801650304012a"):
        assert bytes.fromhex(identifier) in der
    assert encode_integer(2**14) + encode_integer(8) + encode_integer(2) in der
    assert ENCRYPTED.reveal().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert encrypt_key(KEY, PASSPHRASE) != ENCRYPTED


def test_a_wrong_passphrase_says_so() -> None:
    """Not that the key is damaged; and nothing of passphrase or key is in what is said."""
    for wrong in (b"correct horse battery stapl", b"\xff\x00", b"Correct horse battery staple"):
        with pytest.raises(LockedError, match="does not open") as caught:
            decrypt_key(ENCRYPTED, Secret(wrong))
        assert wrong.decode("latin-1") not in repr(caught.value) + str(caught.value.hint)
        assert caught.value.__cause__ is None


def test_an_empty_passphrase_is_none() -> None:
    """Neither to shut with, nor to open."""
    with pytest.raises(LockedError, match="empty"):
        encrypt_key(KEY, Secret(b""))
    with pytest.raises(LockedError, match="empty"):
        decrypt_key(ENCRYPTED, Secret(b""))


def test_a_recovery_code_opens_in_any_spelling() -> None:
    """As it was printed, and as it was typed; and a person's own one that looks like one, too."""
    code = generate_passphrase()
    shut = encrypt_key(KEY, code)
    assert public_bytes(decrypt_key(shut, Secret(code.reveal().upper()))) == public_bytes(KEY)
    own = Secret(b"A" * 30)
    assert public_bytes(decrypt_key(encrypt_key(KEY, own), own)) == public_bytes(KEY)


def with_costs(shut: bytes, *costs: int) -> Secret:
    """The encrypted key (PKCS#8 in DER) with other costs of its key derivation."""
    ((_, info),) = decode(shut)
    (_, algorithm), encrypted = decode(info)
    scheme, (_, schemes) = decode(algorithm)
    (_, derivation), cipher = decode(schemes)
    name, (_, parameters) = decode(derivation)
    salt, *rest = decode(parameters)
    after = b"".join(encode(*each) for each in rest[len(costs) :])
    numbers = b"".join(encode_integer(cost) for cost in costs)
    derivation = encode(0x30, encode(*name), encode(0x30, encode(*salt), numbers, after))
    algorithm = encode(0x30, encode(*scheme), encode(0x30, derivation, encode(*cipher)))
    return Secret(pem("ENCRYPTED PRIVATE KEY", encode(0x30, algorithm, encode(*encrypted))))


def test_a_key_that_takes_all_memory_is_not_tried() -> None:
    """Two gigabytes, or days: refused before the library begins; a little more is tried."""
    shut = der_of(ENCRYPTED)
    with pytest.raises(LockedError):
        decrypt_key(with_costs(shut, 2**15, 8, 1), PASSPHRASE)
    same = decrypt_key(with_costs(shut, 2**14, 8, 2), PASSPHRASE)
    assert public_bytes(same) == public_bytes(KEY)
    for costs in ((2**21, 8, 1), (2**14, 2**20, 1), (2, 8, 2**40)):
        with pytest.raises(MaterialError, match="more memory or time"):
            decrypt_key(with_costs(shut, *costs), PASSPHRASE)


def test_keys_of_others_are_opened() -> None:
    """PBKDF2 in PKCS#8, and OpenSSL's old form; not where it would take days."""
    protection = BestAvailableEncryption(PASSPHRASE.reveal())
    shut = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, protection)
    assert public_bytes(decrypt_key(with_costs(shut, 2048), PASSPHRASE)) == public_bytes(KEY)
    with pytest.raises(MaterialError, match="more memory or time"):
        decrypt_key(with_costs(shut, 2**31), PASSPHRASE)
    old = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, protection)
    assert public_bytes(decrypt_key(Secret(old), PASSPHRASE)) == public_bytes(KEY)
    with pytest.raises(LockedError):
        decrypt_key(Secret(old), Secret(b"wrong"))


@pytest.mark.parametrize(
    ("key_pem", "sentence"),
    [
        (b"", "not an encrypted one in PEM"),
        (generate_key(KeyType.ECDSA_P256).reveal(), "not an encrypted one in PEM"),
        (b"x" * (MAX_KEY_BYTES + 1), "longer than"),
        (pem("ENCRYPTED PRIVATE KEY", b"\x30\x03abc"), "not readable"),
        (pem("ENCRYPTED PRIVATE KEY", b"\x30\x00"), "not readable"),
        (ENCRYPTED.reveal().replace(b"\n", b"\n*", 1)[:300], "not an encrypted one in PEM"),
    ],
)
def test_what_is_no_encrypted_key_is_told(key_pem: bytes, sentence: str) -> None:
    """Nothing, an open key, too much, rubbish, a part."""
    with pytest.raises(MaterialError, match=sentence):
        decrypt_key(Secret(key_pem), PASSPHRASE)


def test_an_open_key_before_it_is_told() -> None:
    """What is read first counts: not that the passphrase is wrong."""
    both = generate_key(KeyType.ECDSA_P256).reveal() + ENCRYPTED.reveal()
    with pytest.raises(MaterialError, match="not an encrypted one that can be read"):
        decrypt_key(Secret(both), PASSPHRASE)


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_rubbish_in_its_armour_is_told(rubbish: bytes) -> None:
    """As unreadable, or as locked; never as something else."""
    with pytest.raises((MaterialError, LockedError)):
        decrypt_key(Secret(pem("ENCRYPTED PRIVATE KEY", rubbish)), PASSPHRASE)


def test_a_key_of_another_kind_is_told() -> None:
    """What browsers and strict verifiers do not know."""
    key = ed25519.Ed25519PrivateKey.generate()
    shut = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.reveal())
    )
    with pytest.raises(MaterialError, match="neither RSA nor elliptic-curve"):
        decrypt_key(Secret(shut), PASSPHRASE)


@pytest.mark.world
@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.RSA_2048])
def test_openssl_opens_it(key_type: KeyType, tmp_path: Path) -> None:
    """So that the key is not lost with certwarden; with the wrong passphrase it does not."""
    key = load_key(generate_key(key_type))
    (tmp_path / "root.key").write_bytes(encrypt_key(key, PASSPHRASE).reveal())
    (tmp_path / "right").write_bytes(PASSPHRASE.reveal() + b"\n")
    (tmp_path / "wrong").write_bytes(b"wrong\n")

    def opened(passphrase: str) -> subprocess.CompletedProcess[str]:
        read = ["pkey", "-in", "root.key", "-passin", f"file:{passphrase}"]
        return run("openssl", *read, "-pubout", "-out", f"{passphrase}.pub", cwd=tmp_path)

    assert opened("right").returncode == 0
    public = load_pem_public_key((tmp_path / "right.pub").read_bytes())
    assert public == key.public_key()
    assert opened("wrong").returncode != 0
