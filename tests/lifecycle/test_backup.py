"""Backups of the private CA, and the way back: no revocation is forgotten."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.errors import InvitationError, LockedError, StoreError, UsageError
from certwarden.lifecycle.backup import (
    KEPT,
    LONGEST_WAIT,
    automatic_backup,
    backup_reason,
    check_backup,
    restore,
    sign_anew,
    superfluous,
)
from certwarden.lifecycle.invite import InvitationRequest, invite, redeem
from certwarden.model import Backup, KeptBackup, Secret
from certwarden.pki import sealing
from certwarden.pki.backup import read_backup
from certwarden.ports import Level
from tests import crash
from tests.builders import NOW, an_account
from tests.lifecycle.machine import PASSPHRASE, SEALED_UNDER, Machine, is_let_in


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seals quickly: what it takes to guess a passphrase is tested elsewhere."""
    monkeypatch.setattr(sealing, "_COST", 2)
    monkeypatch.setattr(sealing, "_COSTS", {2})


def opened(sealed: bytes) -> Backup:
    return read_backup(sealed, SEALED_UNDER)


# ── the way back ──────────────────────────────────────────────────────────────────────────────────


def test_a_restore_from_before_a_revocation_does_not_let_the_revoked_client_in(
    tmp_path: Path,
) -> None:
    """The list that a target still has tells of the revocation that the backup does not know."""
    old = Machine(tmp_path / "old")
    old.found()
    alice, bob = old.issue("alice", "bob")
    sealed = old.back_up()
    newest = old.revoke(alice)
    new = Machine(tmp_path / "new", is_passphrase_kept=True)
    new.install(newest)
    crl = new.put_back(opened(sealed))
    assert alice.certificate.serial in crl.serials
    assert crl.number > newest.number
    assert not is_let_in(new, alice.pem, crl.pem)
    assert is_let_in(new, bob.pem, crl.pem)
    (revoked,) = [each for each in new.register.clients() if each.revoked_at]
    assert (revoked.name, revoked.serial) == ("alice", alice.certificate.serial)


def test_a_client_issued_and_revoked_after_the_backup_stays_out(tmp_path: Path) -> None:
    """The backup knows nothing of it, but its serial is in the list that was found."""
    old = Machine(tmp_path / "old")
    old.found()
    sealed = old.back_up()
    (mallory,) = old.issue("mallory")
    newest = old.revoke(mallory)
    new = Machine(tmp_path / "new")
    new.install(newest)
    restored = restore(new, opened(sealed))
    assert mallory.certificate.serial in restored.unknown
    assert not restored.is_behind
    (crl,) = sign_anew(new)
    assert not is_let_in(new, mallory.pem, crl.pem)


def test_a_list_that_another_ca_has_signed_is_not_believed(tmp_path: Path) -> None:
    """What stands at a target may be anybody's: it takes nobody's certificate away."""
    stranger, old = Machine(tmp_path / "stranger"), Machine(tmp_path / "old")
    for each in (stranger, old):
        each.found()
    (alice,) = old.issue("alice")
    sealed = old.back_up()
    forged = stranger.authority.crl()
    assert forged is not None
    new = Machine(tmp_path / "new")
    new.install(replace(forged, pem=b"rubbish\n" + forged.pem))
    crl = new.put_back(opened(sealed))
    assert not crl.serials & forged.serials
    assert is_let_in(new, alice.pem, crl.pem)


def test_without_a_newer_list_it_is_said_that_revocations_may_be_missing(tmp_path: Path) -> None:
    """Where nothing but the backup is left, nobody can tell what was revoked since."""
    old = Machine(tmp_path / "old")
    old.found()
    restored = restore(Machine(tmp_path / "new"), opened(old.back_up()))
    assert restored.is_behind


def test_everything_of_the_ca_comes_back(tmp_path: Path) -> None:
    """Root, key, book, certificates and accounts are as they were.

    Not so the probe: targets may have lists that refuse the old one already.
    """
    old = Machine(tmp_path / "old")
    old.found()
    account = an_account()
    old.belongings.put_account(account)
    alice, bob = old.issue("alice", "bob")
    old.register.supersede([bob.certificate.serial], NOW + timedelta(days=3))
    old.revoke(alice)
    backup = opened(old.back_up())
    new = Machine(tmp_path / "new")
    new.put_back(backup)
    assert new.register.clients() == old.register.clients()
    assert new.register.pem(bob.certificate.serial) == bob.pem
    assert new.authority.root() == old.authority.root()
    assert new.authority.probe() not in (None, old.authority.probe())
    assert new.belongings.accounts() == (account,)
    assert backup.passphrase == PASSPHRASE
    assert backup.config_text == old.belongings.configuration()
    assert old.register.backed_up_at() == NOW


def test_nobody_is_invited_after_a_restore(tmp_path: Path) -> None:
    """A book that was put back by itself may not know which tokens were used since."""
    machine = Machine(tmp_path)
    machine.found()
    sealed = machine.back_up()
    invitation, token = invite(machine, InvitationRequest("alice"))
    shutil.rmtree(machine.state / "authority")
    restore(machine, opened(sealed))
    found = machine.invitations.find(invitation.id)
    assert found is not None
    assert found.withdrawn_at is not None
    with pytest.raises(InvitationError):
        redeem(machine, token)


def test_numbers_jump_past_all_that_may_have_been_given(tmp_path: Path) -> None:
    """The first list after a restore is newer than a thousand that nobody knows of."""
    old = Machine(tmp_path / "old")
    old.found()
    backup = opened(old.back_up())
    crl = Machine(tmp_path / "new").put_back(backup)
    assert crl.number == backup.last_number + 1001


def test_a_restore_over_another_ca_is_refused(tmp_path: Path) -> None:
    """What is there stays as it is."""
    machine = Machine(tmp_path / "here")
    machine.found()
    (alice,) = machine.issue("alice")
    backup = opened(machine.back_up())
    machine.revoke(alice)
    before = machine.register.clients()
    with pytest.raises(UsageError, match="there is a private CA already"):
        restore(machine, backup)
    assert machine.register.clients() == before


def test_a_restore_that_was_killed_at_any_step_can_be_run_again(tmp_path: Path) -> None:
    """Whatever was left behind, the next restore or the CA itself is whole, and nobody gets in."""
    old = Machine(tmp_path / "old")
    old.found()
    account = an_account()
    old.belongings.put_account(account)
    alice, bob = old.issue("alice", "bob")
    sealed = old.back_up()
    newest = old.revoke(alice)
    backup = opened(sealed)

    def begin(step: int) -> crash.Work:
        machine = Machine(tmp_path / str(step))
        machine.install(newest)
        return lambda: machine.put_back(backup)

    for step in crash.killed_at_each_step(begin):
        after = Machine(tmp_path / str(step))
        if after.authority.root() is None:
            restore(after, backup)
        (crl,) = sign_anew(after)
        assert alice.certificate.serial in crl.serials
        assert bob.certificate.serial not in crl.serials
        assert crl.number > newest.number
        assert {each.name for each in after.register.clients()} == {"alice", "bob"}
        assert after.belongings.accounts() == (account,)
        shutil.rmtree(after.directory)


def test_a_locked_ca_comes_back_locked_and_signs_a_year_of_lists(tmp_path: Path) -> None:
    """Its passphrase is in no backup: a person has to type it."""
    old = Machine(tmp_path / "old", is_passphrase_kept=False)
    old.found(is_locked=True)
    backup = opened(old.back_up())
    assert backup.is_locked
    assert backup.passphrase is None
    new = Machine(tmp_path / "new", is_passphrase_kept=False)
    restore(new, backup)
    with pytest.raises(LockedError):
        sign_anew(new)
    new.passphrase = PASSPHRASE
    assert len(sign_anew(new)) > 12
    assert new.authority.is_locked()


def test_another_passphrase_is_noticed_before_anything_is_put_back(tmp_path: Path) -> None:
    """A CA whose key nobody can open would be of no use."""
    old = Machine(tmp_path / "old")
    old.found()
    backup = opened(old.back_up())
    check_backup(backup, PASSPHRASE)
    with pytest.raises(LockedError):
        check_backup(backup, Secret(b"another one entirely"))


# ── by themselves ─────────────────────────────────────────────────────────────────────────────────


def test_a_backup_is_made_when_clients_change_and_weekly(tmp_path: Path) -> None:
    """Signing the daily list is no reason; issuing, revoking and the passing of a week are."""
    machine = Machine(tmp_path / "here")
    machine.backups.mkdir()
    machine.found()

    def made_after(wait: timedelta) -> bool:
        before = set(machine.backups.iterdir())
        machine.clock.advance(wait)
        assert automatic_backup(machine, machine.clock.now()) is None
        return set(machine.backups.iterdir()) != before

    day = timedelta(days=1)
    assert made_after(day)
    machine.sign()
    assert not made_after(day)
    (alice,) = machine.issue("alice")
    assert made_after(day)
    machine.revoke(alice)
    assert made_after(day)
    assert not made_after(LONGEST_WAIT - timedelta(seconds=1))
    assert made_after(timedelta(seconds=1))
    newest = max(machine.backups.iterdir())
    assert newest.stat().st_mode & 0o777 == 0o600
    names = [row.certificate.name for row in opened(newest.read_bytes()).booked]
    assert "alice" in names


def test_ten_backups_are_kept(tmp_path: Path) -> None:
    """The oldest one goes when there are more; what is not ours stays."""
    machine = Machine(tmp_path / "here")
    machine.backups.mkdir()
    (machine.backups / "holiday.jpg").write_bytes(b"")
    machine.found()
    for number in range(KEPT + 2):
        machine.issue(f"client-{number}")
        machine.clock.advance(timedelta(hours=1))
        assert automatic_backup(machine, machine.clock.now()) is None
    names = sorted(path.name for path in machine.backups.iterdir())
    assert names[-1] == "holiday.jpg"
    assert len(names) == KEPT + 1
    assert opened((machine.backups / names[-2]).read_bytes()).made_at == machine.clock.now()


@pytest.mark.parametrize("trouble", ["no directory", "no passphrase", "an empty passphrase"])
def test_a_backup_that_cannot_be_made_ends_no_pass(tmp_path: Path, trouble: str) -> None:
    """It is said in a sentence, and returned for whoever tells a person."""
    machine = Machine(tmp_path / "here")
    machine.found()
    if trouble != "no directory":
        machine.backups.mkdir()
    file = machine.directory / "backups.passphrase"
    if trouble == "no passphrase":
        file.unlink()
    elif trouble == "an empty passphrase":
        file.write_text("\n")
    error = automatic_backup(machine, machine.clock.now())
    assert isinstance(error, StoreError)
    assert machine.reporter.texts(Level.ERROR) == [error.what]
    assert machine.register.backed_up_at() is None


def test_nothing_happens_without_a_place_or_a_ca(tmp_path: Path) -> None:
    """Backups are kept only where that is configured, and only of a CA that is there."""
    machine = Machine(tmp_path / "here")
    machine.backups.mkdir()
    assert automatic_backup(machine, NOW) is None
    machine.found()
    machine.has_safe = False
    assert automatic_backup(machine, NOW) is None
    assert not list(machine.backups.iterdir())


def kept(days: float, mark: str = "same") -> KeptBackup:
    made_at = NOW + timedelta(days=days)
    return KeptBackup(f"certwarden-{made_at:%Y%m%d-%H%M%S}.backup", made_at, mark)


def test_a_backup_of_the_future_does_not_count() -> None:
    """A clock that was wrong once must not keep backups from being made."""
    assert backup_reason([kept(400)], "same", NOW)
    assert not backup_reason([kept(400), kept(-1)], "same", NOW)
    assert backup_reason([kept(400), kept(-1, "other")], "same", NOW)


@given(
    st.lists(st.integers(-5000, 5000).map(kept), max_size=30, unique_by=lambda each: each.name),
    st.integers(0, 29),
)
def test_what_was_just_written_is_never_thrown_away(backups: list[KeptBackup], index: int) -> None:
    """Whatever the dates of the others say; and at least the newest ten stay."""
    if not backups:
        assert superfluous(backups, "none") == ()
        return
    written = backups[index % len(backups)].name
    gone = superfluous(backups, written)
    assert written not in gone
    assert len(backups) - len(gone) in {min(len(backups), KEPT), KEPT + 1}
    newest = sorted(backups, key=lambda each: each.made_at)[-KEPT:]
    assert not {each.name for each in newest} & set(gone)
