"""Who may read and change what: judged by tables of modes, and looked at on a disk."""

import grp
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certwarden.doctor.configuration import (
    MOST_TOLD,
    Household,
    Rights,
    household,
    judge_config,
    judge_place,
    judge_secret,
    judge_state,
    look_at_config,
    look_at_passphrases,
    look_at_secrets,
    look_at_state,
)
from certwarden.doctor.finding import Finding, Result
from certwarden.store.accounts import AccountStore
from certwarden.store.ledger import Ledger
from tests.builders import NOW, an_account
from tests.doctor.premises import Premises, premises
from tests.fakes_store import RecordingReporter

ROOT, WARDEN, PI, PROGRAMS = 0, 990, 1000, 1001
HOUSEHOLD = Household(WARDEN, WARDEN)
FILE = Path("/etc/certwarden/some.file")
STATE = Path("/var/lib/certwarden")


def _rights(mode: int, uid: int = ROOT, gid: int = WARDEN, path: Path = FILE) -> Rights:
    return Rights(path, mode, uid, gid)


# ── judging ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rights", "result"),
    [
        (_rights(0o644), Result.OK),
        (_rights(0o664), Result.OK),
        (_rights(0o600, WARDEN), Result.OK),
        (_rights(0o664, gid=PI), Result.WARNING),
        (_rights(0o644, gid=PI), Result.OK),
        (_rights(0o757), Result.ERROR),
        (_rights(0o1777), Result.OK),
        (_rights(0o644, PI), Result.WARNING),
    ],
)
def test_config(rights: Rights, result: Result) -> None:
    """Only root and certwarden may change what certwarden does."""
    assert judge_config(rights, HOUSEHOLD).result is result


@pytest.mark.parametrize(
    ("rights", "is_readable", "result"),
    [
        (_rights(0o640), True, Result.OK),
        (_rights(0o600, WARDEN), True, Result.OK),
        (_rights(0o600, gid=ROOT), False, Result.WARNING),
        (_rights(0o640, gid=PI), True, Result.WARNING),
        (_rights(0o620, WARDEN, PI), True, Result.WARNING),
        (_rights(0o600, PI), True, Result.WARNING),
    ],
)
def test_secret(rights: Rights, is_readable: bool, result: Result) -> None:  # noqa: FBT001
    """A secret is for root and certwarden, and certwarden must be able to read it."""
    finding = judge_secret(rights, HOUSEHOLD, is_readable=is_readable)
    assert finding.result is result
    assert ("sudo" in finding.remedy) == finding.needs_attention


@pytest.mark.parametrize(
    ("resolved", "result"),
    [
        (Path("/etc/certwarden/ca.passphrase"), Result.OK),
        (STATE / "ca.passphrase", Result.ERROR),
        (STATE, Result.ERROR),
        (Path("/var/lib/certwarden-other/p"), Result.OK),
    ],
)
def test_place(resolved: Path, result: Result) -> None:
    """What leads into the state directory protects nothing."""
    assert judge_place("the CA's passphrase", FILE, resolved, STATE).result is result


@pytest.mark.parametrize(
    ("outer", "inner", "count"),
    [
        ([], [], 0),
        ([0o711, 0o711], [0o700, 0o600], 0),
        ([0o2711], [], 0),
        ([0o751, 0o755], [], 0),
        ([0o731], [], 1),
        ([0o713], [], 1),
        ([0o700], [], 1),
        ([], [0o640, 0o604, 0o600], 2),
        ([], [0o644] * 20, MOST_TOLD),
    ],
)
def test_state(outer: list[int], inner: list[int], count: int) -> None:
    """STATE and live may be passed through, and nothing else is anybody's business."""
    found = list(
        judge_state(
            [_rights(mode, WARDEN) for mode in outer],
            [_rights(mode, WARDEN) for mode in inner],
            HOUSEHOLD,
        )
    )
    assert len(found) == count
    assert all(each.result is Result.ERROR and each.remedy for each in found)
    assert not found or ("15 more" in found[-1].what) == (len(inner) == 20)


def test_a_strangers_file() -> None:
    """What root has left behind keeps certwarden from working."""
    (finding,) = judge_state([], [_rights(0o600, ROOT)], HOUSEHOLD)
    assert "does not belong to" in finding.what
    assert "chown" in finding.remedy


# ── looking ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Premises]:
    with premises(tmp_path) as made:
        ledger = Ledger(made.state / "certwarden.db", reporter=RecordingReporter())
        ledger.begin_attempt("home", "https://ca.test/directory", ["example.org"], NOW)
        ledger.close()
        AccountStore(made.state).save(an_account())
        (made.state / "live" / "node-red").mkdir(parents=True)
        (made.state / "live").chmod(0o711)
        made.more = """
[authority]
name = "Home client CA"
passphrase_file = "secrets/ca.passphrase"
"""
        (tmp_path / "secrets").mkdir()
        passphrase = tmp_path / "secrets" / "ca.passphrase"
        passphrase.write_text("correct horse\n")
        passphrase.chmod(0o600)
        yield made


def _look(house: Premises) -> list[Finding]:
    looks = (look_at_config, look_at_secrets, look_at_passphrases, look_at_state)
    with house.patient() as patient:
        return [finding for look in looks for finding in look(patient)]


def test_healthy(house: Premises) -> None:
    """What certwarden's own store has made is as it must be."""
    found = _look(house)
    assert {each.result for each in found} == {Result.OK}, found
    assert len(found) == 6  # two of them secrets, two about the configuration


def test_before_the_first_pass(tmp_path: Path) -> None:
    """A state directory that is not there yet is no fault."""
    with premises(tmp_path) as house:
        assert not any(each.needs_attention for each in _look(house))


def _open_account(house: Premises) -> None:
    (key,) = house.state.glob("accounts/*/account.key")
    key.chmod(0o644)


def _lead_inside(house: Premises) -> None:
    inside = house.state / "ca.passphrase"
    inside.write_text("correct horse\n")
    inside.chmod(0o600)
    link = house.directory / "secrets" / "ca.passphrase"
    link.unlink()
    link.symlink_to(inside)


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (_open_account, "is open to others"),
        (lambda house: (house.state / "certwarden.db").chmod(0o666), "is open to others"),
        (lambda house: house.directory.chmod(0o777), "everybody may put"),
        (lambda house: (house.state / "accounts").chmod(0o755), "is open to others"),
        (lambda house: house.state.chmod(0o700), "targets cannot pass through"),
        (lambda house: (house.state / "live").chmod(0o777), "others may put files into it"),
        (_lead_inside, "lies in the state directory"),
    ],
)
def test_planted(house: Premises, plant: Callable[[Premises], object], sentence: str) -> None:
    """Each mode that is not as it must be is named with the command that puts it right."""
    plant(house)
    faults = [each for each in _look(house) if each.needs_attention]
    assert len(faults) == 1, faults
    assert sentence in faults[0].what


def _give(path: Path, *, uid: int = -1, gid: int = -1, mode: int = 0o640) -> None:
    os.chown(path, uid, gid)
    path.chmod(mode)


def test_a_group_of_programs_is_not_certwardens_own(
    house: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    """certwarden is in its targets' groups, and so are the programs that are to read their keys."""
    user = pwd.getpwuid(house.state.stat().st_uid)
    monkeypatch.setattr(os, "getgrouplist", lambda _name, gid: [gid, PROGRAMS])
    with house.patient() as patient:
        found = household(patient.config)
    assert found.group == grp.getgrgid(user.pw_gid).gr_name
    assert judge_config(_rights(0o775, gid=PROGRAMS), found).result is Result.WARNING
    readable = judge_secret(_rights(0o640, gid=PROGRAMS), found, is_readable=True)
    assert readable.result is Result.WARNING
    own = judge_secret(_rights(0o640, gid=user.pw_gid), found, is_readable=True)
    assert own.result is Result.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="files can only be given away by root")
@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (lambda house: _give(house.config, uid=PI), "may have certwarden run any command"),
        (lambda house: _give(house.directory, gid=PI, mode=0o770), "another configuration"),
        (lambda house: _give(house.token_file, gid=PI), "may use it"),
        (
            lambda house: _give(house.state / "certwarden.db", uid=PI, mode=0o600),
            "does not belong to",
        ),
    ],
)
def test_strangers(house: Premises, plant: Callable[[Premises], None], sentence: str) -> None:
    """Whose files they are counts as much as their modes."""
    house.write()
    plant(house)
    (fault,) = [each for each in _look(house) if each.needs_attention]
    assert sentence in fault.what
