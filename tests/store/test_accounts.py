"""Accounts on disk: one for each directory, the key before the URL, and what damage comes to."""

import json
import stat
from pathlib import Path

import pytest

from certwarden.errors import StoreError
from certwarden.model import Account
from certwarden.store.accounts import AccountStore, directory_id
from tests.builders import DIRECTORY, a_key, an_account

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def test_directory_id_is_readable_and_stable() -> None:
    """The directory's name shows the CA's host, never changes, and tells its paths apart."""
    assert directory_id(LETS_ENCRYPT) == "acme-v02.api.letsencrypt.org-5e76d315"
    assert directory_id(LETS_ENCRYPT) != directory_id(f"{LETS_ENCRYPT}2")
    assert directory_id("https://localhost:14000/dir").startswith("localhost-14000-")
    assert directory_id("https://[::1]:14000/dir").startswith("---1--14000-")


@pytest.mark.parametrize("url", ["", "https://../../x", "../../etc", "https://./d", "https://é/"])
def test_directory_id_leads_nowhere_else(url: str) -> None:
    """No URL makes a name that leads out of the accounts, or hides there."""
    name = directory_id(url)
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()


def test_files(tmp_path: Path) -> None:
    """The key stands alone in its file; everything is ours alone."""
    account = an_account(LETS_ENCRYPT, "https://acme.example/account/1")
    AccountStore(tmp_path / "state").save(account)
    directory = tmp_path / "state" / "accounts" / directory_id(LETS_ENCRYPT)
    assert (directory / "account.key").read_bytes() == account.key_pem.reveal()
    saved = json.loads((directory / "account.json").read_bytes())
    assert (saved["directory_url"], saved["url"]) == (LETS_ENCRYPT, account.url)
    for path in (directory.parent, directory, *directory.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """Looking for an account leaves no trace."""
    assert AccountStore(tmp_path / "state").load(DIRECTORY) is None
    assert not (tmp_path / "state").exists()


def test_saving_again_keeps_the_key_file(tmp_path: Path) -> None:
    """Adding the URL does not rewrite the key: what is not written cannot go wrong."""
    store, account = AccountStore(tmp_path), an_account()
    store.save(account)
    key = tmp_path / "accounts" / directory_id(DIRECTORY) / "account.key"
    before = key.stat().st_ino
    store.save(Account(DIRECTORY, account.key_pem, "https://acme.example/account/1"))
    assert key.stat().st_ino == before


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff", b'{"url": 5}', b" " * 300_000])
def test_damaged_url_is_asked_for_again(text: bytes, tmp_path: Path) -> None:
    """Without a readable URL the key is still there, and the CA knows the account by it."""
    store, account = AccountStore(tmp_path), an_account(url="https://acme.example/account/1")
    store.save(account)
    (tmp_path / "accounts" / directory_id(DIRECTORY) / "account.json").write_bytes(text)
    assert store.load(DIRECTORY) == Account(DIRECTORY, account.key_pem)


def test_url_of_another_key_is_not_used(tmp_path: Path) -> None:
    """A key that was put in place of ours does not get our account's URL."""
    store = AccountStore(tmp_path)
    store.save(an_account(url="https://acme.example/account/1"))
    key = a_key()
    (tmp_path / "accounts" / directory_id(DIRECTORY) / "account.key").write_bytes(key.reveal())
    assert store.load(DIRECTORY) == Account(DIRECTORY, key)


@pytest.mark.parametrize("key", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\n"])
def test_damaged_key_is_no_account(key: bytes, tmp_path: Path) -> None:
    """A key that cannot be read is no account, and a new one takes its place."""
    store = AccountStore(tmp_path)
    store.save(an_account())
    (tmp_path / "accounts" / directory_id(DIRECTORY) / "account.key").write_bytes(key)
    assert store.load(DIRECTORY) is None
    account = an_account()
    store.save(account)
    assert store.load(DIRECTORY) == account


def test_something_else_in_its_place(tmp_path: Path) -> None:
    """A file where the directory of accounts should be is an error that says what to do."""
    (tmp_path / "accounts").write_bytes(b"")
    store = AccountStore(tmp_path)
    with pytest.raises(StoreError, match="cannot be saved"):
        store.save(an_account())
    with pytest.raises(StoreError, match="Not a directory") as caught:
        store.load(DIRECTORY)
    assert "move it away" in caught.value.hint
