"""What keeps private keys shut: passphrases, passwords, and the encryption of the CA's key.

The key is an EncryptedPrivateKeyInfo (RFC 5958) by PBES2 (RFC 8018) with scrypt (RFC 7914) and
AES-256-CBC, which `openssl pkey` opens as well. Knows nothing of where any of it is kept.
"""

import re
import secrets
from base64 import b64decode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from certwarden.errors import LockedError, MaterialError
from certwarden.model import Secret
from certwarden.pki.der import (
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    decode,
    encode,
    encode_integer,
    pem,
)
from certwarden.pki.keys import PrivateKey

MAX_KEY_BYTES = 16 * 1024

# Without i, l and o, which look like others; without digits, which phones have on another page.
_LETTERS = "abcdefghjkmnpqrstuvwxyz"
_PASSPHRASE_GROUPS, _PASSPHRASE_GROUP = 6, 5  # 135 bits
_PASSWORD_GROUPS, _PASSWORD_GROUP = 3, 6  # 81 bits
_PASSWORD = re.compile(
    "-".join([f"[{_LETTERS}]{{{_PASSWORD_GROUP}}}"] * _PASSWORD_GROUPS).encode("ascii")
)

# OpenSSL's own programs lend scrypt 32 MiB, and n = 2^15 is a little more than that.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 2
_MAX_SCRYPT_COST = 2**21  # n r p: at most 256 MiB
_MAX_ITERATIONS = 10_000_000

_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES_256_CBC = bytes.fromhex("60864801650304012a")
_LABEL = "ENCRYPTED PRIVATE KEY"
_ARMOUR = re.compile(rf"-----BEGIN {_LABEL}-----(.+?)-----END {_LABEL}-----".encode(), re.DOTALL)


# ── passphrases ───────────────────────────────────────────────────────────────────────────────────


def generate_passphrase() -> Secret:
    """A random passphrase of at least 128 bits, in groups of letters that can be copied by hand."""
    return _generate(_PASSPHRASE_GROUPS, _PASSPHRASE_GROUP)


def normalise_passphrase(passphrase: Secret) -> Secret:
    """A generated passphrase as it was made, however it was typed: case, blanks and dashes.

    One that cannot have been generated stays as it is.
    """
    letters = passphrase.reveal().translate(None, b" -\t\r\n").lower()
    is_generated = len(letters) == _PASSPHRASE_GROUPS * _PASSPHRASE_GROUP and all(
        letter in _LETTERS.encode() for letter in letters
    )
    if not is_generated:
        return passphrase
    starts = range(0, len(letters), _PASSPHRASE_GROUP)
    return Secret(b"-".join(letters[start : start + _PASSPHRASE_GROUP] for start in starts))


def generate_password() -> Secret:
    """A random password of at least 80 bits for a bundle, which is typed on a phone."""
    return _generate(_PASSWORD_GROUPS, _PASSWORD_GROUP)


def is_generated_password(password: Secret) -> bool:
    """Whether it has the form of one that `generate_password` makes, wherever it was made."""
    return _PASSWORD.fullmatch(password.reveal()) is not None


def _generate(groups: int, length: int) -> Secret:
    words = ("".join(secrets.choice(_LETTERS) for _ in range(length)) for _ in range(groups))
    return Secret("-".join(words).encode())


# ── the CA's key ──────────────────────────────────────────────────────────────────────────────────


def generate_authority_key() -> PrivateKey:
    """A fresh key for a private CA: P-256, which every device and program can check."""
    return ec.generate_private_key(ec.SECP256R1())


def encrypt_key(key: PrivateKey, passphrase: Secret) -> Secret:
    """The key as PKCS#8 PEM, encrypted; raises LockedError for an empty passphrase."""
    _refuse_empty(passphrase)
    salt, initial_vector = secrets.token_bytes(16), secrets.token_bytes(16)
    scrypt = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
    cipher = Cipher(AES256(scrypt.derive(passphrase.reveal())), CBC(initial_vector)).encryptor()
    padder = PKCS7(AES256.block_size).padder()
    open_key = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    padded = padder.update(open_key) + padder.finalize()
    key_derivation = encode(
        SEQUENCE,
        encode(OCTET_STRING, salt),
        *(encode_integer(cost) for cost in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P)),
    )
    schemes = encode(
        SEQUENCE,
        _algorithm(_SCRYPT, key_derivation),
        _algorithm(_AES_256_CBC, encode(OCTET_STRING, initial_vector)),
    )
    encrypted = cipher.update(padded) + cipher.finalize()
    info = encode(SEQUENCE, _algorithm(_PBES2, schemes), encode(OCTET_STRING, encrypted))
    return Secret(pem(_LABEL, info))


def decrypt_key(key_pem: Secret, passphrase: Secret) -> PrivateKey:
    """The key in an encrypted PEM; a generated passphrase may be typed as `normalise_passphrase`
    allows. Raises LockedError where the passphrase is wrong, MaterialError where it is no such key.
    """
    _refuse_empty(passphrase)
    _check_cost(key_pem.reveal())
    for candidate in dict.fromkeys((passphrase, normalise_passphrase(passphrase))):
        try:
            key = load_pem_private_key(key_pem.reveal(), candidate.reveal())
        except ValueError:
            continue
        except (TypeError, UnsupportedAlgorithm):
            raise MaterialError(
                "the private key is not an encrypted one that can be read"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise MaterialError("the private key is neither RSA nor elliptic-curve")
        return key
    raise LockedError(
        "the passphrase does not open the private key",
        "type it as it was printed when the CA was made, or as you chose it",
    )


def _refuse_empty(passphrase: Secret) -> None:
    if not passphrase.reveal():
        raise LockedError("the passphrase is empty", "give the one of the private CA's key")


def _algorithm(identifier: bytes, parameters: bytes) -> bytes:
    return encode(SEQUENCE, encode(OBJECT_IDENTIFIER, identifier), parameters)


def _check_cost(key_pem: bytes) -> None:
    """Raises MaterialError for what is too long, or would take all memory or days to open."""
    if len(key_pem) > MAX_KEY_BYTES:
        raise MaterialError(f"the private key is longer than {MAX_KEY_BYTES} bytes")
    armoured = _ARMOUR.search(key_pem)
    if armoured is None:
        if b"\nProc-Type: 4,ENCRYPTED" in key_pem:
            return  # OpenSSL's own old form, where nothing says how costly it is
        raise MaterialError("the private key is not an encrypted one in PEM")
    try:
        is_costly = _is_costly(b64decode(armoured[1]))
    except (ValueError, IndexError):
        raise MaterialError("the encrypted private key is not readable") from None
    if is_costly:
        raise MaterialError(
            "the encrypted private key asks for more memory or time than it should take to open it"
        )


def _is_costly(der: bytes) -> bool:
    (_, info), *_ = decode(der)
    (_, algorithm), _ = decode(info)
    (_, scheme), (_, parameters) = decode(algorithm)
    if scheme == _PBES2:
        (_, key_derivation), _ = decode(parameters)
        (_, function), (_, parameters) = decode(key_derivation)
        if function == _SCRYPT:
            costs = [_number(content) for tag, content in decode(parameters) if tag == INTEGER]
            return costs[0] * costs[1] * costs[2] > _MAX_SCRYPT_COST
    # PBKDF2, and what came before PBES2: a salt and a number of iterations.
    return any(
        _number(content) > _MAX_ITERATIONS for tag, content in decode(parameters) if tag == INTEGER
    )


def _number(content: bytes) -> int:
    return int.from_bytes(content, "big")
