"""The private CA on disk: its certificate, its encrypted key, its published list, and its probe.

    STATE/authority/{root.key,authority.json,root.pem,crl.pem,probe.pem}

`root.pem` is written last: without it there is no authority, so a process killed in `create` leaves
nothing that is in the way of another. `probe.pem` has key and certificate in one file, so that they
always belong together. Knows neither the passphrase nor what is in the lists; serials and numbers
are the register's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certwarden import files
from certwarden.errors import MaterialError, StoreError, UsageError
from certwarden.files import Content
from certwarden.model import Crl, Pair, Root, Secret
from certwarden.pki.authority import read_root
from certwarden.pki.certificate import MAX_CHAIN_BYTES, read_pair
from certwarden.pki.crl import MAX_CRL_BYTES, read_crl
from certwarden.pki.keys import load_key, serialise_key
from certwarden.ports import Level, Reporter
from certwarden.store.document import MAX_DOCUMENT_BYTES, Document, build_document
from certwarden.store.state import explained, private_directory

MAX_KEY_BYTES = 32 * 1024

_DIRECTORY = "authority"
_KEY, _DOCUMENT, _ROOT, _CRL, _PROBE = (
    "root.key",
    "authority.json",
    "root.pem",
    "crl.pem",
    "probe.pem",
)
_RESTORE = "move STATE/authority away, and run `certwarden ca restore FILE` with a backup"


class AuthorityStore:
    """The port `Authority` on a directory. Whoever writes holds the lock on the authority.

    A list or a probe that is damaged counts as none, so that the next one heals it, and the
    reporter is told once; a damaged root or key is an error, as nothing else can take its place.
    """

    def __init__(self, state_directory: Path, *, reporter: Reporter | None = None) -> None:
        self._state = state_directory
        self._home = state_directory / _DIRECTORY
        self._reporter = reporter
        self._told: set[str] = set()

    def root(self) -> Root | None:
        """The CA's certificate; None before `create`."""
        with _reading(_ROOT):
            pem = self._read(_ROOT, MAX_CHAIN_BYTES)
            if pem is None and (self._home / _CRL).exists():
                raise StoreError(
                    "the private CA's root.pem is gone, and its list is there", _RESTORE
                )
            return read_root(pem) if pem is not None else None

    def key(self) -> Secret:
        """The private key: encrypted PKCS#8 PEM."""
        with _reading(_KEY):
            key = self._read(_KEY, MAX_KEY_BYTES)
        if key is None:
            raise StoreError("the private CA's key, root.key, is not there", _RESTORE)
        return Secret(key)

    def is_locked(self) -> bool:
        """Whether the passphrase is a person's, and not kept on this machine."""
        with _reading(_DOCUMENT):
            data = self._read(_DOCUMENT, MAX_DOCUMENT_BYTES)
            return data is not None and Document(data).flag("is_locked")

    def create(self, root_pem: bytes, key_pem: Secret, *, is_locked: bool) -> None:
        """Makes the authority; raises UsageError where there is one already."""
        read_root(root_pem)
        with explained("the private CA cannot be saved"):
            directory = self._writing()
            if any((directory / name).exists() for name in (_ROOT, _CRL)):
                raise UsageError(
                    f"there is a private CA already, in {directory}",
                    "see it by `certwarden ca show`; to begin afresh, move that directory away",
                )
            files.write_file(directory / _KEY, Content(key_pem.reveal()))
            document = build_document({"is_locked": is_locked})
            files.write_file(directory / _DOCUMENT, Content(document))
            files.write_file(directory / _ROOT, Content(root_pem))

    def replace_root(self, root_pem: bytes) -> None:
        """The same key under a new certificate."""
        read_root(root_pem)
        self._write(_ROOT, root_pem)

    def crl(self) -> Crl | None:
        """The published list, its signature checked; None where there is none of this CA's."""
        root = self.root()
        with _reading(_CRL):
            pem = self._read(_CRL, MAX_CRL_BYTES)
            try:
                return read_crl(pem, root.pem) if root and pem is not None else None
            except MaterialError as error:
                self._tell(_CRL, error.what)
                return None

    def publish(self, crl: Crl) -> None:
        """Publishes the list; raises StoreError where a newer one is published."""
        published = self.crl()
        if published is not None and published.number > crl.number:
            raise StoreError(
                f"the revocation list number {crl.number} is older than the published one, "
                f"number {published.number}",
                "sign a new one: `certwarden renew`, or `certwarden ca unlock` if the CA is locked",
            )
        self._write(_CRL, crl.pem)

    def probe(self) -> Pair | None:
        """The revoked probe that is kept; None where there is none that is whole."""
        with _reading(_PROBE):
            data = self._read(_PROBE, MAX_CHAIN_BYTES)
            try:
                return read_pair(serialise_key(load_key(Secret(data))), data) if data else None
            except MaterialError as error:
                self._tell(_PROBE, error.what)
                return None

    def save_probe(self, probe: Pair) -> None:
        """Keeps this probe in place of the one before."""
        self._write(_PROBE, probe.key_pem.reveal() + probe.fullchain_pem)

    def _read(self, name: str, limit: int) -> bytes | None:
        try:
            return files.read_file(self._home / name, limit)
        except FileNotFoundError:
            return None

    def _writing(self) -> Path:
        """The directory, swept."""
        directory = private_directory(self._state, _DIRECTORY)
        files.sweep_temporaries(directory)
        return directory

    def _write(self, name: str, data: bytes) -> None:
        with explained(f"the private CA's {name} cannot be saved"):
            files.write_file(self._writing() / name, Content(data))

    def _tell(self, name: str, what: str) -> None:
        if self._reporter and name not in self._told:
            self._told.add(name)
            text = f"the private CA's {name} is passed over, as it is damaged: {what}"
            self._reporter.event(Level.WARNING, _DIRECTORY, text)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Says of which file it is that cannot be read, or is not as we write it."""
    try:
        with explained(f"the private CA's {name} cannot be read"):
            yield
    except (MaterialError, ValueError) as error:
        reason = error.what if isinstance(error, MaterialError) else "it is not ours"
        raise StoreError(f"the private CA's {name} is damaged: {reason}", _RESTORE) from error
