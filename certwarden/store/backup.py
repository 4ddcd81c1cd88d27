"""What a backup holds beside the private CA and its book, and the directory where backups are kept.

    DIRECTORY/certwarden-20261122-013000.backup

How a backup looks inside, and when one is made, is not known here.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from certwarden import files
from certwarden.errors import MaterialError, StoreError
from certwarden.files import Content
from certwarden.model import Account, GenerationFile, KeptBackup, Secret
from certwarden.pki.crl import MAX_CRL_BYTES
from certwarden.pki.sealing import MAX_LABEL_BYTES, read_label
from certwarden.store.accounts import AccountStore
from certwarden.store.document import MAX_DOCUMENT_BYTES, Document
from certwarden.store.state import explained

MAX_CONFIG_BYTES = 1024 * 1024
MAX_SECRET_BYTES = 64 * 1024

_NAME = re.compile(r"certwarden-[0-9]{8}-[0-9]{6}\.backup")
_LIST = re.compile(rb"-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----")


class StateBelongings:
    """The port Belongings on files; `passphrase_file` is the private CA's, where one is configured.

    `target_directories` are the targets' own, wherever they are; those below STATE/live are looked
    at whether or not they are configured.
    """

    def __init__(
        self,
        state_directory: Path,
        *,
        config_file: Path,
        passphrase_file: Path | None,
        target_directories: Sequence[Path] = (),
    ) -> None:
        self._state = state_directory
        self._config_file = config_file
        self._passphrase_file = passphrase_file
        self._target_directories = target_directories
        self._accounts = AccountStore(state_directory)

    def accounts(self) -> tuple[Account, ...]:
        """Those that are whole, by their directories' names."""
        with explained("the accounts cannot be read from the store"):
            found = [self._accounts.load(url) for url in self._directory_urls()]
        return tuple(account for account in found if account is not None)

    def put_account(self, account: Account) -> None:
        """Saves it unless there is another one at that directory of a CA already."""
        there = self._accounts.load(account.directory_url)
        is_cut_short = there is not None and there.key_pem == account.key_pem and not there.url
        if there is None or is_cut_short:
            self._accounts.save(account)

    def configuration(self) -> bytes:
        """The text of the configuration file."""
        with explained("the configuration cannot be read for the backup"):
            return files.read_file(self._config_file, MAX_CONFIG_BYTES)

    def passphrase(self) -> Secret | None:
        """The private CA's; None where no file with it is there."""
        if self._passphrase_file is None:
            return None
        try:
            return _secret(self._passphrase_file, "the private CA's passphrase")
        except FileNotFoundError:
            return None

    def lists(self) -> tuple[bytes, ...]:
        """Each list that is installed at a target, or was published by an authority moved away."""
        with explained("the installed revocation lists cannot be read"):
            return tuple(dict.fromkeys(self._lists()))

    def _directory_urls(self) -> Iterator[str]:
        for document in sorted(self._state.glob("accounts/*/account.json")):
            try:
                yield Document(files.read_file(document, MAX_DOCUMENT_BYTES)).text("directory_url")
            except ValueError:
                continue  # damaged: the key alone does not say where it is known

    def _lists(self) -> Iterator[bytes]:
        found = [
            *sorted(self._state.glob(f"live/*/current/{GenerationFile.CLIENT_CRL}")),
            *(each / "current" / GenerationFile.CLIENT_CRL for each in self._target_directories),
            *sorted(self._state.glob("authority*/crl.pem")),
        ]
        for path in found:
            try:
                data = files.read_file(path, MAX_CRL_BYTES)
            except FileNotFoundError:
                continue
            yield from (match + b"\n" for match in _LIST.findall(data))


class BackupDirectory:
    """The port Safe on a directory, which must be there: it may be a disk that is not mounted."""

    def __init__(self, directory: Path, passphrase_file: Path) -> None:
        self._directory = directory
        self._passphrase_file = passphrase_file

    def passphrase(self) -> Secret:
        """What the backups are sealed under, read afresh."""
        with explained("the backups' passphrase cannot be read"):
            return _secret(self._passphrase_file, "the backups' passphrase")

    def kept(self) -> tuple[KeptBackup, ...]:
        """Those that are there, oldest first by their labels; what is no backup is left alone."""
        with self._explained("read"):
            found = [
                each
                for path in self._directory.iterdir()
                if _NAME.fullmatch(path.name) and (each := _kept(path)) is not None
            ]
        return tuple(sorted(found, key=lambda each: (each.made_at, each.name)))

    def keep(self, name: str, sealed: bytes) -> None:
        """Writes it, whole or not at all; what an earlier writer left half done is removed."""
        with self._explained("written"):
            files.sweep_temporaries(self._directory)
            files.write_file(self._directory / name, Content(sealed))

    def discard(self, name: str) -> None:
        """Removes it, if it is there."""
        with self._explained("tidied up"):
            (self._directory / name).unlink(missing_ok=True)

    def _explained(self, done: str) -> AbstractContextManager[None]:
        return explained(f"the backups in {self._directory} cannot be {done}")


def _kept(path: Path) -> KeptBackup | None:
    try:
        with path.open("rb") as file:
            label = read_label(file.read(MAX_LABEL_BYTES))
    except (MaterialError, OSError):
        return None
    return KeptBackup(path.name, label.made_at, label.mark)


def _secret(path: Path, what: str) -> Secret:
    secret = Secret(files.read_file(path, MAX_SECRET_BYTES).strip())
    if not secret.reveal():
        raise StoreError(f"{what} is not in {path}: the file is empty", "write it into the file")
    return secret
