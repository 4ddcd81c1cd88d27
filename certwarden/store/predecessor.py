"""The directory of another CA: where easy-rsa and `openssl ca` keep what they have.

    easy-rsa 3    ca.crt private/ca.key index.txt crl.pem issued/ certs_by_serial/ revoked/
    openssl ca    cacert.pem private/cakey.pem index.txt crlnumber crl.pem newcerts/ certs/
    easy-rsa 2    ca.crt ca.key index.txt crl.pem, and the certificates beside them

Only reads, and follows no link: a command that is run by root may come here. What the files say is
judged elsewhere.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from certwarden.errors import UsageError, clean
from certwarden.model import Predecessor, Secret

MAX_INDEX_BYTES = 32 * 1024 * 1024
MAX_LIST_BYTES = 32 * 1024 * 1024
MAX_KEY_BYTES = 32 * 1024
MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_CERTIFICATES = 200_000
MAX_CERTIFICATES_BYTES = 256 * 1024 * 1024

_ROOTS = (
    *("ca.crt", "cacert.pem", "ca.pem", "ca.cert.pem"),
    *("certs/ca.crt", "certs/cacert.pem", "certs/ca.pem", "certs/ca.cert.pem"),
)
_KEYS = (
    *("private/ca.key", "private/cakey.pem", "private/ca.pem", "private/ca.key.pem"),
    *("ca.key", "cakey.pem", "ca.key.pem"),
)
_INDEX = "index.txt"
_LISTS = ("crl.pem", "crl/crl.pem", "crl/ca.crl.pem")
_NUMBER = "crlnumber"
_CERTIFICATES = (
    *("", "issued", "certs_by_serial", "newcerts", "certs", "expired"),
    *("revoked/certs_by_serial", "renewed/issued", "renewed/certs_by_serial"),
)
_SUFFIXES = (".crt", ".pem", ".cer")
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_WHAT_IT_IS = "name the directory with index.txt in it: easy-rsa's pki, or `dir` in openssl.cnf"
_PRESENT = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def read_predecessor(directory: Path) -> Predecessor:
    """The CA's files; raises UsageError where the directory has none, or not all, or two of one.

    A directory with `pki` or `keys` in it, as easy-rsa makes it, may be named as well.
    """
    home = next(
        (each for each in (directory, directory / "pki", directory / "keys") if _has_index(each)),
        directory,
    )
    with _opened(home) as folder:
        index = _read(folder, _INDEX, MAX_INDEX_BYTES)
        if index is None:
            raise UsageError(f"{_shown(home)} has no {_INDEX}", _WHAT_IT_IS)
        root = _only(folder, home, "the CA's certificate", _ROOTS, MAX_CERTIFICATE_BYTES)
        key = _only(folder, home, "the CA's key", _KEYS, MAX_KEY_BYTES)
        lists = (_read(folder, name, MAX_LIST_BYTES) for name in _LISTS)
        return Predecessor(
            root_pem=root,
            key_pem=Secret(key),
            index=index,
            certificates=tuple(_certificates(folder, home)),
            crl_pem=next((each for each in lists if each is not None), None),
            crl_number=_read(folder, _NUMBER, MAX_KEY_BYTES) or b"",
        )


def _has_index(directory: Path) -> bool:
    return os.path.lexists(directory / _INDEX)


def _only(folder: int, home: Path, what: str, names: Sequence[str], limit: int) -> bytes:
    found = {name: data for name in names if (data := _read(folder, name, limit)) is not None}
    if not found:
        raise UsageError(
            f"{_shown(home)} lacks {what}: it has none of {', '.join(names)}", _WHAT_IT_IS
        )
    if len(set(found.values())) > 1:
        raise UsageError(
            f"{_shown(home)} has {what} more than once: {', '.join(found)}",
            "move away what is not the CA's that is to be imported",
        )
    return next(iter(found.values()))


def _certificates(folder: int, home: Path) -> Iterator[bytes]:
    """What looks like a certificate in the places where there are some, each once."""
    seen: set[bytes] = set()
    size = 0
    for place in _CERTIFICATES:
        for name in _names(folder, place):
            data = _read(folder, f"{place}/{name}" if place else name, MAX_CERTIFICATE_BYTES)
            if data is None or _BEGIN not in data:
                continue
            pem = data[data.index(_BEGIN) :]  # without the text that may stand before it
            if pem in seen:
                continue
            seen.add(pem)
            size += len(pem)
            if len(seen) > MAX_CERTIFICATES or size > MAX_CERTIFICATES_BYTES:
                raise UsageError(f"{_shown(home)} holds more certificates than can be imported")
            yield pem


def _names(folder: int, place: str) -> list[str]:
    descriptor = _open(folder, place or ".", os.O_DIRECTORY)
    if descriptor is None:
        return []
    try:
        found = os.listdir(descriptor)  # noqa: PTH208 - a path could lead elsewhere by now
        return sorted(name for name in found if name.endswith(_SUFFIXES))
    finally:
        os.close(descriptor)


def _read(folder: int, name: str, limit: int) -> bytes | None:
    """The file's bytes; None where there is none. A link, or anything else, is refused."""
    descriptor = _open(folder, name, 0)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{clean(name)} in the directory is no file", _WHAT_IT_IS)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UsageError(f"{clean(name)} is larger than {limit // 1024} KiB, which cannot be right")
    return data


def _open(folder: int, name: str, flags: int) -> int | None:
    """What is below the folder by that name, no link among the parts of it."""
    *parents, last = name.split("/")
    descriptor = os.dup(folder)
    try:
        for part in parents:
            below = os.open(part, _PRESENT | os.O_DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        return os.open(last, _PRESENT | flags, dir_fd=descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise UsageError(
                f"{clean(name)} in the directory is a link, or leads through one",
                "copy the directory with its links resolved (`cp -rL`), and import the copy",
            ) from None
        raise UsageError(
            f"{clean(name)} in the directory cannot be read: {error.strerror}",
            "run the command with sudo",
        ) from None
    finally:
        os.close(descriptor)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(
            f"{_shown(directory)} cannot be read: {error.strerror}", _WHAT_IT_IS
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _shown(path: Path) -> str:
    return clean(str(path))
