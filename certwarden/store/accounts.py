"""ACME accounts on disk, one for each directory of a CA.

    STATE/accounts/acme-v02.api.letsencrypt.org-3f2a1b9c/{account.key,account.json}

The key is written before the URL; account.json says to which key its URL belongs, so that a process
killed between the two leaves an account without a URL, which the CA finds again by its key (RFC
8555 section 7.3.1). A damaged key counts as none: a new account is the cure for it.
"""

import errno
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from certwarden import files
from certwarden.errors import MaterialError
from certwarden.files import Content
from certwarden.model import Account, Secret
from certwarden.pki.keys import load_key, public_bytes
from certwarden.store.document import MAX_DOCUMENT_BYTES, Document, build_document
from certwarden.store.state import explained, private_directory

MAX_KEY_BYTES = 32 * 1024

_KEY, _ACCOUNT = "account.key", "account.json"


class AccountStore:
    """The port `Accounts` on a directory. Whoever saves holds the lock on orders."""

    def __init__(self, state_directory: Path) -> None:
        self._state = state_directory

    def load(self, directory_url: str) -> Account | None:
        """The account at this directory of a CA; its URL is "" where it is not known yet."""
        directory = self._state / "accounts" / directory_id(directory_url)
        with explained(f"the account at {directory_url} cannot be read from the store"):
            try:
                key = Secret(files.read_file(directory / _KEY, MAX_KEY_BYTES))
                key_id = _key_id(key)
            except (FileNotFoundError, MaterialError):
                return None
            return Account(directory_url, key, _read_url(directory / _ACCOUNT, key_id))

    def save(self, account: Account) -> None:
        """Saves the account in place of the one before; it is on the disk when this returns."""
        key_id = _key_id(account.key_pem)
        with explained(f"the account at {account.directory_url} cannot be saved"):
            directory = private_directory(
                self._state, "accounts", directory_id(account.directory_url)
            )
            files.sweep_temporaries(directory)
            saved = self.load(account.directory_url)
            if saved is None or saved.key_pem != account.key_pem:
                files.write_file(directory / _KEY, Content(account.key_pem.reveal()))
            fields = {
                "directory_url": account.directory_url,
                "url": account.url or None,
                "key_id": key_id,
            }
            files.write_file(directory / _ACCOUNT, Content(build_document(fields)))


def directory_id(directory_url: str) -> str:
    """A directory name for the URL: its host for people, a digest to tell its paths apart."""
    host = re.sub(r"[^a-z0-9.-]", "-", urlsplit(directory_url).netloc.lower())[:100]
    return f"{host or 'acme'}-{hashlib.sha256(directory_url.encode()).hexdigest()[:8]}".lstrip(".")


def _key_id(key_pem: Secret) -> str:
    return hashlib.sha256(public_bytes(load_key(key_pem))).hexdigest()


def _read_url(path: Path, key_id: str) -> str:
    """The account's URL, if the file is whole and belongs to the key; else ""."""
    try:
        account = Document(files.read_file(path, MAX_DOCUMENT_BYTES))
        return (account.optional_text("url") or "") if account.text("key_id") == key_id else ""
    except (FileNotFoundError, ValueError):
        return ""
    except OSError as error:
        if error.errno == errno.EFBIG:
            return ""
        raise
