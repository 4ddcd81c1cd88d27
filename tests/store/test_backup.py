"""What a backup needs of a machine's disk, and the directory where backups are kept."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from certwarden.errors import StoreError
from certwarden.model import Account, Secret
from certwarden.pki import sealing
from certwarden.pki.sealing import Label, seal
from certwarden.store.backup import BackupDirectory, StateBelongings
from tests.builders import DIRECTORY, NOW, a_key, an_account
from tests.builders_authority import a_private_authority

NAME = "certwarden-20261122-120000.backup"


def belongings(state: Path, *targets: Path, passphrase: Path | None = None) -> StateBelongings:
    return StateBelongings(
        state,
        config_file=state / "config.toml",
        passphrase_file=passphrase,
        target_directories=targets,
    )


# ── what belongs into a backup ────────────────────────────────────────────────────────────────────


def test_accounts_go_out_and_come_back(tmp_path: Path) -> None:
    """All that are whole, with their URLs."""
    accounts = (
        Account(DIRECTORY, Secret(a_key().reveal()), f"{DIRECTORY}/1"),
        Account("https://other.example/dir", Secret(a_key().reveal())),
    )
    there, back = belongings(tmp_path / "there"), belongings(tmp_path / "back")
    for account in accounts:
        there.put_account(account)
    damaged = tmp_path / "there" / "accounts" / "odd"
    damaged.mkdir()
    (damaged / "account.json").write_text("{")
    for account in there.accounts():
        back.put_account(account)
    assert set(back.accounts()) == set(there.accounts()) == set(accounts)


def test_an_account_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    """It is newer than the backup's; but a URL that is missing is filled in."""
    there = belongings(tmp_path)
    first = an_account()
    there.put_account(first)
    there.put_account(Account(DIRECTORY, Secret(a_key().reveal()), "another"))
    assert there.accounts() == (first,)
    there.put_account(Account(DIRECTORY, first.key_pem, "its URL"))
    there.put_account(Account(DIRECTORY, first.key_pem, "another URL"))
    assert there.accounts() == (Account(DIRECTORY, first.key_pem, "its URL"),)


def test_lists_are_found_at_every_target(tmp_path: Path) -> None:
    """Below STATE/live, at targets elsewhere, in authorities that were moved away; each once."""
    one, two, three = (a_private_authority().crl(number).pem for number in (1, 2, 3))
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    for directory, data in (
        (state / "live" / "nginx", one),
        (state / "live" / "no-longer-configured", one + two),
        (elsewhere, three),
    ):
        (directory / "generations" / "0007").mkdir(parents=True)
        (directory / "generations" / "0007" / "client-crl.pem").write_bytes(data)
        (directory / "current").symlink_to("generations/0007")
    (state / "authority.old").mkdir()
    (state / "authority.old" / "crl.pem").write_bytes(two)
    (state / "live" / "without").mkdir()
    assert set(belongings(state, elsewhere, tmp_path / "missing").lists()) == {one, two, three}


def test_the_passphrase_is_there_or_not(tmp_path: Path) -> None:
    """A file that is there and empty is a mistake."""
    file = tmp_path / "ca.passphrase"
    assert belongings(tmp_path).passphrase() is None
    assert belongings(tmp_path, passphrase=file).passphrase() is None
    file.write_text("kept apart\n")
    assert belongings(tmp_path, passphrase=file).passphrase() == Secret(b"kept apart")
    file.write_text("\n")
    with pytest.raises(StoreError, match="is empty"):
        belongings(tmp_path, passphrase=file).passphrase()


def test_a_configuration_that_cannot_be_read_gets_a_sentence(tmp_path: Path) -> None:
    """A backup without it would not make a machine whole."""
    with pytest.raises(StoreError, match="cannot be read for the backup"):
        belongings(tmp_path).configuration()


# ── where backups are kept ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupDirectory:
    monkeypatch.setattr(sealing, "_COST", 2)
    (tmp_path / "passphrase").write_text("correct horse\n")
    (tmp_path / "backups").mkdir()
    return BackupDirectory(tmp_path / "backups", tmp_path / "passphrase")


def test_what_is_kept_is_listed_by_its_label(directory: BackupDirectory, tmp_path: Path) -> None:
    """Oldest first; what is no backup, or is called otherwise, is left alone."""
    passphrase = directory.passphrase()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_COSTS", {2})
        for days, name in ((2, NAME), (1, NAME.replace("20261122", "20991231"))):
            label = Label(NOW + timedelta(days=days), f"mark {days}")
            directory.keep(name, seal(b"content", passphrase, label))
        (tmp_path / "backups" / NAME.replace("12", "13")).write_text("cut short")
        (tmp_path / "backups" / "holiday.jpg").write_text("")
        kept = directory.kept()
    assert [each.mark for each in kept] == ["mark 1", "mark 2"]
    assert (tmp_path / "backups" / NAME).stat().st_mode & 0o777 == 0o600
    directory.discard(NAME)
    directory.discard(NAME)
    assert not (tmp_path / "backups" / NAME).exists()


def test_litter_of_a_killed_writer_is_removed(directory: BackupDirectory, tmp_path: Path) -> None:
    """With the next backup."""
    (tmp_path / "backups" / f".tmp-{NAME}-1").write_text("half")
    directory.keep(NAME, b"whole")
    assert os.listdir(tmp_path / "backups") == [NAME]  # noqa: PTH208 - the names are what matters


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """It may be a disk that is not mounted: the backup would be on the very card it is for."""
    directory = BackupDirectory(tmp_path / "mnt", tmp_path / "passphrase")
    with pytest.raises(StoreError, match="No such file"):
        directory.kept()
    with pytest.raises(StoreError):
        directory.keep(NAME, b"")
    assert not (tmp_path / "mnt").exists()
