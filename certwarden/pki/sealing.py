"""Bytes sealed under a passphrase: the container that a backup is kept in.

    certwarden backup 1                             what it is, and the version of the container
    {"made_at": …, "mark": …, "scrypt": …, "nonce": …}   in clear, but what it says is sealed too
    …                                               AES-256-GCM over the rest, compressed (gzip)

Nothing that was sealed is believed before the whole of it has proved genuine, by a key that scrypt
(RFC 7914) draws from the passphrase; how much memory a hostile container can ask for is bounded.
Knows neither files nor what it seals.
"""

import binascii
import json
import os
import unicodedata
import zlib
from base64 import b64decode, b64encode
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from certwarden.errors import LockedError, MaterialError
from certwarden.frozen import frozen
from certwarden.model import Secret

MAX_SEALED_BYTES = 256 * 1024 * 1024  # of the container, and of what is in it
MAX_LABEL_BYTES = 1024  # of all that stands before what is sealed

_MAGIC = b"certwarden backup "
_VERSION = b"1"
_COST, _BLOCK_SIZE, _PARALLELISM = 2**17, 8, 1  # 128 MiB, and half a second on a fast machine
_COSTS = {2**power for power in range(14, 18)}
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"
_GZIP = 31  # zlib's number for a gzip stream
_TAIL = "it was cut short, or is no backup of certwarden's"
_HINT = "see whether the whole file was copied, and take another one if there is"


@frozen
class Label:
    """What is to be read without the passphrase; `mark` is what tells two contents apart."""

    made_at: datetime
    mark: str


def seal(content: bytes, passphrase: Secret, label: Label) -> bytes:
    """The content sealed; raises MaterialError where it is too large."""
    if len(content) > MAX_SEALED_BYTES:
        raise MaterialError(f"a backup cannot hold more than {MAX_SEALED_BYTES >> 20} MiB")
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    fields = {
        "made_at": label.made_at.astimezone(UTC).strftime(_INSTANT),
        "mark": label.mark,
        "scrypt": {"n": _COST, "salt": b64encode(salt).decode()},
        "nonce": b64encode(nonce).decode(),
    }
    head = _MAGIC + _VERSION + b"\n" + json.dumps(fields).encode() + b"\n"
    compressor = zlib.compressobj(wbits=_GZIP)
    packed = compressor.compress(content) + compressor.flush()
    return head + AESGCM(_draw_key(passphrase, salt, _COST)).encrypt(nonce, packed, head)


def read_label(data: bytes) -> Label:
    """What the first MAX_LABEL_BYTES of a container say of it; raises MaterialError.

    Nobody vouches for that before `unseal`.
    """
    return _read_head(data).label


def unseal(data: bytes, passphrase: Secret) -> bytes:
    """The content; raises MaterialError where the container is none, and LockedError.

    That is for a wrong passphrase, which cannot be told from a container that somebody changed.
    """
    if len(data) > MAX_SEALED_BYTES:
        raise MaterialError(f"the backup is larger than {MAX_SEALED_BYTES >> 20} MiB", _HINT)
    head = _read_head(data)
    key = _draw_key(passphrase, head.salt, head.cost)
    view = memoryview(data)
    try:
        packed = AESGCM(key).decrypt(head.nonce, view[head.size :], bytes(view[: head.size]))
    except InvalidTag:
        raise LockedError(
            "the passphrase is not the backup's, or the backup was changed",
            "give the passphrase that it was made with; if it is that, take another backup",
        ) from None
    return _unpack(packed)


@frozen
class _Head:
    label: Label
    salt: bytes
    cost: int
    nonce: bytes
    size: int


def _read_head(data: bytes) -> _Head:
    first, _, rest = data[:MAX_LABEL_BYTES].partition(b"\n")
    second, end, _ = rest.partition(b"\n")
    if not first.startswith(_MAGIC) or not end:
        raise MaterialError(f"this is not a backup that can be read: {_TAIL}", _HINT)
    if first != _MAGIC + _VERSION:
        raise MaterialError(
            "the backup was written by a newer certwarden", "install that certwarden, or a newer"
        )
    try:
        match json.loads(second):
            case {
                "made_at": str(made_at),
                "mark": str(mark),
                "scrypt": {"n": int(cost), "salt": str(salt)},
                "nonce": str(nonce),
            } if cost in _COSTS:
                found = datetime.strptime(made_at, _INSTANT).replace(tzinfo=UTC)
                head = _Head(
                    label=Label(found, mark),
                    salt=b64decode(salt, validate=True),
                    cost=cost,
                    nonce=b64decode(nonce, validate=True),
                    size=len(first) + len(second) + 2,
                )
                if (len(head.salt), len(head.nonce)) == (_SALT_BYTES, _NONCE_BYTES):
                    return head
    except (ValueError, RecursionError, binascii.Error):
        pass  # said below
    raise MaterialError(f"the backup's first lines are damaged: {_TAIL}", _HINT)


def _draw_key(passphrase: Secret, salt: bytes, cost: int) -> bytes:
    kdf = Scrypt(salt=salt, length=_KEY_BYTES, n=cost, r=_BLOCK_SIZE, p=_PARALLELISM)
    return kdf.derive(_normal(passphrase.reveal()))


def _normal(passphrase: bytes) -> bytes:
    """The same from every keyboard, and from a file: form C, without the blanks around it."""
    try:
        return unicodedata.normalize("NFC", passphrase.decode()).strip().encode()
    except UnicodeDecodeError:
        return passphrase.strip()


def _unpack(packed: bytes) -> bytes:
    """The content, which a small stream could claim to be of any size."""
    decompressor = zlib.decompressobj(wbits=_GZIP)
    try:
        content = decompressor.decompress(packed, MAX_SEALED_BYTES + 1)
    except zlib.error:
        raise MaterialError("what is in the backup is damaged", _HINT) from None
    if len(content) > MAX_SEALED_BYTES:
        raise MaterialError(f"what is in the backup is larger than {MAX_SEALED_BYTES >> 20} MiB")
    if not decompressor.eof:
        raise MaterialError("what is in the backup is damaged", _HINT)
    return content
