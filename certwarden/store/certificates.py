"""Certificates on disk, by name and version; and the order on its way, called the draft.

    STATE/certificates/NAME/
        versions/0001/    privkey.pem cert.pem chain.pem fullchain.pem alternate-1.pem metadata.json
        current           -> versions/0001
        highest           the highest number ever given away
        draft/            privkey.pem order.json

A version is whole when its files are there, the key belongs to the leaf, the chain is signed link
by link, and names, dates and serial are those of metadata.json. The newest whole version counts,
whatever `current` says: a process killed between writing a version and switching to it has obtained
it all the same. `current` is for people and their scripts, and is mended in passing.

What is damaged counts as absent, so that a renewal heals it; what may not or cannot be read at all
is an error, so that no certificate is ordered for want of a permission. An expired certificate is
not damaged. Knows nothing of the CA, of targets, or of when to renew.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from certwarden import files
from certwarden.errors import MaterialError, StoreError
from certwarden.files import Content
from certwarden.model import Chains, Draft, KeyType, Pair, Secret, Stored
from certwarden.pki.certificate import MAX_CHAIN_BYTES, check_names, check_ordered, read_pair
from certwarden.pki.keys import load_key
from certwarden.ports import Level, Reporter
from certwarden.store.document import MAX_DOCUMENT_BYTES, Document, build_document
from certwarden.store.state import PRIVATE_MODE, explained, private_directory

VERSIONS_KEPT = 5
MAX_ALTERNATES = 8
MAX_KEY_BYTES = 32 * 1024

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NUMBER = re.compile(r"[0-9]{4,18}")
_PRIVKEY, _CERT, _CHAIN, _FULLCHAIN = "privkey.pem", "cert.pem", "chain.pem", "fullchain.pem"
_METADATA, _ORDER = "metadata.json", "order.json"

# What these say is that the file is not as we wrote it, not that it could not be read.
_DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EFBIG, errno.EINVAL}


class CertificateStore:
    """The port `Certificates` on a directory. Whoever writes holds the lock on orders.

    `read_only` is for commands that change nothing: it leaves a `current` that leads astray as it
    is. Damage is told to the reporter once for each version.
    """

    def __init__(
        self,
        state_directory: Path,
        *,
        reporter: Reporter | None = None,
        read_only: bool = False,
    ) -> None:
        self._state = state_directory
        self._reporter = reporter
        self._read_only = read_only
        self._told: set[tuple[str, int]] = set()

    def load(self, name: str) -> Stored | None:
        """The newest whole version; None before the first, and where no version is whole."""
        home = self._home(name)
        with explained(f"certificate {name} cannot be read from the store"):
            newest = self._newest(name, home)
            if newest and not self._read_only and _current(home) != newest.version:
                self._mend(name, home)
        return newest

    def load_version(self, name: str, version: int) -> Stored | None:
        """That version; None where it is no longer kept, or damaged."""
        directory = self._home(name) / "versions" / _label(version)
        with explained(f"version {version} of certificate {name} cannot be read from the store"):
            try:
                return _read_version(name, directory, version)
            except MaterialError:
                return None

    def load_draft(self, name: str) -> Draft | None:
        """The order on its way; None where there is none, or none that is of use any more.

        One whose key is already the stored certificate's has arrived, and is only not cleared away.
        """
        directory = self._home(name) / "draft"
        with explained(f"the draft of certificate {name} cannot be read"):
            try:
                draft = _read_draft(name, directory)
            except MaterialError:
                return None
        stored = self.load(name)
        return None if stored and stored.pair.key_pem == draft.key_pem else draft

    def save_draft(self, draft: Draft) -> None:
        """Saves the draft in place of the one before; it is on the disk when this returns."""
        order = build_document(
            {
                "domains": draft.domains,
                "key_type": draft.key_type,
                "profile": draft.profile,
                "directory_url": draft.directory_url,
                "account_url": draft.account_url,
                "order_url": draft.order_url,
                "created_at": draft.created_at,
            }
        )
        key = draft.key_pem.reveal()
        with (
            explained(f"the draft of certificate {draft.name} cannot be saved"),
            self._writing(draft.name) as home,
        ):
            directory = home / "draft"
            if _holds(directory / _PRIVKEY, key):
                # The same order, further on: its key must not be away for a moment.
                files.write_file(directory / _ORDER, Content(order))
                return
            if directory.is_dir():
                files.remove_tree(directory)
            contents = {_PRIVKEY: Content(key), _ORDER: Content(order)}
            files.write_directory(directory, contents, PRIVATE_MODE, None)

    def discard_draft(self, name: str) -> None:
        """Forgets the draft, if there is one."""
        if not self._home(name).is_dir():
            return
        with (
            explained(f"the draft of certificate {name} cannot be removed"),
            self._writing(name) as home,
        ):
            if (home / "draft").is_dir():
                files.remove_tree(home / "draft")

    def commit(self, draft: Draft, chains: Chains, now: datetime) -> Stored:
        """Checks the default chain, stores it as a version with its alternates, and switches to it.

        Raises MaterialError if the chain is not what was ordered; nothing is written then.
        """
        pair = read_pair(draft.key_pem, chains.default)
        check_ordered(pair, draft.domains, now)
        contents = _contents(draft, pair, _alternates(pair, chains), now)
        with (
            explained(f"certificate {draft.name} cannot be stored"),
            self._writing(draft.name) as home,
        ):
            number = _next_number(home)
            files.write_file(home / "highest", Content(b"%d\n" % number))
            directory = home / "versions" / _label(number)
            files.write_directory(directory, contents, PRIVATE_MODE, None)
            try:
                stored = _read_version(draft.name, directory, number)
            except MaterialError as error:
                raise StoreError(
                    f"certificate {draft.name} did not read back as it was written: {error.what}",
                    "the storage fails: save what can be read, and replace the card or disk",
                ) from error
            _switch(home, number)
            # From here on it is obtained; what cannot be tidied now is tidied next time.
            with suppress(OSError):
                _prune(home)
                if (home / "draft").is_dir():
                    files.remove_tree(home / "draft")
        return stored

    def tidy(self, name: str) -> None:
        """Removes what a killed writer left half done, which may be a key; raises StoreError."""
        home = self._home(name)
        places = (home, home / "versions", home / "draft")
        if any(files.has_temporaries(place) for place in places):
            with explained(f"{home} cannot be swept"), self._writing(name):
                pass

    def free_bytes(self) -> int:
        """How much room there is for us on the store's file system, in bytes."""
        with explained("the state directory's free space cannot be told"):
            place = self._state.resolve()
            while not place.exists():
                place = place.parent
            room = os.statvfs(place)
        return room.f_bavail * room.f_frsize

    def _home(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise StoreError(f"{name!r} is not a certificate's name")
        return self._state / "certificates" / name

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        """The certificate's directory, ours alone, and swept."""
        self._home(name)
        home = private_directory(self._state, "certificates", name)
        versions = private_directory(self._state, "certificates", name, "versions")
        with _alone(home):
            files.sweep_temporaries(home)
            files.sweep_temporaries(versions)
            if (home / "draft").is_dir():
                files.sweep_temporaries(home / "draft")
            yield home

    def _newest(self, name: str, home: Path) -> Stored | None:
        unreadable: OSError | None = None
        for number in sorted(_numbers(home), reverse=True):
            try:
                return _read_version(name, home / "versions" / _label(number), number)
            except MaterialError as error:
                self._tell(name, number, error.what)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                self._tell(name, number, os.strerror(errno.EIO))
                unreadable = unreadable or error
        if unreadable:
            raise unreadable
        return None

    def _mend(self, name: str, home: Path) -> None:
        """Makes `current` lead to the newest whole version, unless somebody is just at it."""
        with suppress(OSError), _alone(home, patient=False):
            newest = self._newest(name, home)
            if newest and _current(home) != newest.version:
                _switch(home, newest.version)

    def _tell(self, name: str, number: int, what: str) -> None:
        if self._reporter and (name, number) not in self._told:
            self._told.add((name, number))
            text = f"version {number} is passed over, as it is damaged: {what}"
            self._reporter.event(Level.WARNING, name, text)


# ── versions ──────────────────────────────────────────────────────────────────────────────────────


def _contents(
    draft: Draft, pair: Pair, alternates: list[bytes], now: datetime
) -> dict[str, Content]:
    leaf = pair.certificate
    metadata = build_document(
        {
            "domains": draft.domains,
            "key_type": draft.key_type,
            "profile": draft.profile,
            "directory_url": draft.directory_url,
            "account_url": draft.account_url,
            "obtained_at": now,
            "serial": leaf.serial,
            "fingerprint_sha256": leaf.fingerprint,
            "not_before": leaf.not_before,
            "not_after": leaf.not_after,
        }
    )
    files_of = {
        _PRIVKEY: pair.key_pem.reveal(),
        _CERT: pair.chain_pem[0],
        _CHAIN: b"".join(pair.chain_pem[1:]),
        _FULLCHAIN: pair.fullchain_pem,
        _METADATA: metadata,
    }
    for number, alternate in enumerate(alternates, start=1):
        files_of[f"alternate-{number}.pem"] = alternate
    return {name: Content(data) for name, data in files_of.items()}


def _alternates(pair: Pair, chains: Chains) -> list[bytes]:
    """The other chains that lead to the same leaf, serialised afresh; the rest is dropped."""
    kept: list[bytes] = []
    for chain in chains.alternates[:MAX_ALTERNATES]:
        with suppress(MaterialError):
            other = read_pair(pair.key_pem, chain)
            if other.certificate.fingerprint == pair.certificate.fingerprint:
                kept.append(other.fullchain_pem)
    return kept


def _read_version(name: str, directory: Path, number: int) -> Stored:
    """The version, if it is whole; raises MaterialError where it is damaged, OSError else."""
    key = Secret(_read(directory / _PRIVKEY, MAX_KEY_BYTES))
    pair = read_pair(key, _read(directory / _FULLCHAIN, MAX_CHAIN_BYTES))
    leaf = pair.certificate
    for file, expected in ((_CERT, pair.chain_pem[:1]), (_CHAIN, pair.chain_pem[1:])):
        if _read(directory / file, MAX_CHAIN_BYTES) != b"".join(expected):
            raise MaterialError(f"{file} does not belong to {_FULLCHAIN}")
    try:
        metadata = Document(_read(directory / _METADATA, MAX_DOCUMENT_BYTES))
        stored = Stored(
            name=name,
            version=number,
            pair=pair,
            domains=metadata.texts("domains"),
            key_type=KeyType(metadata.text("key_type")),
            profile=metadata.optional_text("profile"),
            directory_url=metadata.text("directory_url"),
            obtained_at=metadata.instant("obtained_at"),
            account_url=metadata.optional_text("account_url") or "",
        )
        described = (
            metadata.text("serial"),
            metadata.text("fingerprint_sha256"),
            metadata.instant("not_before"),
            metadata.instant("not_after"),
        )
    except ValueError:
        raise MaterialError(f"{_METADATA} is not readable") from None
    if described != (leaf.serial, leaf.fingerprint, leaf.not_before, leaf.not_after):
        raise MaterialError(f"{_METADATA} does not describe {_FULLCHAIN}")
    check_names(leaf, stored.domains)
    return stored


def _numbers(home: Path) -> set[int]:
    """The numbers of the versions that are there, whole or not."""
    try:
        labels = [entry.name for entry in (home / "versions").iterdir()]
    except FileNotFoundError:
        return set()
    return {int(label) for label in labels if _NUMBER.fullmatch(label)}


def _current(home: Path) -> int:
    """The number of the version that `current` leads to; 0 where it is not a link of ours."""
    try:
        versions, _, label = str((home / "current").readlink()).partition("/")
    except OSError:
        return 0
    return int(label) if versions == "versions" and _NUMBER.fullmatch(label) else 0


def _next_number(home: Path) -> int:
    """A number that was never given away, whatever was removed by hand since."""
    try:
        highest = int(files.read_file(home / "highest", 12))
    except (OSError, ValueError):
        highest = 0
    return max(highest, _current(home), *_numbers(home), 0) + 1


def _switch(home: Path, number: int) -> None:
    current = home / "current"
    if current.is_dir() and not current.is_symlink():
        files.remove_tree(current)  # what a copying tool that followed links has made of it
    files.switch_link(current, f"versions/{_label(number)}")


def _prune(home: Path) -> None:
    for number in sorted(_numbers(home))[:-VERSIONS_KEPT]:
        files.remove_tree(home / "versions" / _label(number))


def _label(number: int) -> str:
    return f"{number:04d}"


# ── drafts ────────────────────────────────────────────────────────────────────────────────────────


def _read_draft(name: str, directory: Path) -> Draft:
    """The draft; raises MaterialError where there is none or it is damaged, OSError else."""
    key = Secret(_read(directory / _PRIVKEY, MAX_KEY_BYTES))
    load_key(key)
    try:
        order = Document(_read(directory / _ORDER, MAX_DOCUMENT_BYTES))
        return Draft(
            name=name,
            domains=order.texts("domains"),
            key_type=KeyType(order.text("key_type")),
            profile=order.optional_text("profile"),
            directory_url=order.text("directory_url"),
            key_pem=key,
            order_url=order.text("order_url"),
            created_at=order.instant("created_at"),
            account_url=order.optional_text("account_url") or "",
        )
    except ValueError:
        raise MaterialError(f"{_ORDER} is not readable") from None


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


def _read(path: Path, limit: int) -> bytes:
    """The file's bytes; MaterialError if it is not as we wrote it, OSError if it is barred."""
    try:
        return files.read_file(path, limit)
    except OSError as error:
        if error.errno in _DAMAGE:
            raise MaterialError(f"{path.name}: {error.strerror}") from error
        raise


def _holds(path: Path, data: bytes) -> bool:
    try:
        return _read(path, len(data)) == data
    except MaterialError:
        return False


@contextmanager
def _alone(directory: Path, *, patient: bool = True) -> Iterator[None]:
    """Keeps other writers of ours out of the directory; impatient: BlockingIOError at once."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
