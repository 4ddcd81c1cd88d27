"""A revocation is one act: book, sign, publish, put in place, verify."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from certwarden.errors import Error, LockedError, StoreError, TargetError, UsageError
from certwarden.lifecycle.issue import ClientRequest, renew_client
from certwarden.lifecycle.prove import Probes, good_probe, prove
from certwarden.lifecycle.withdraw import prove_again, unlock
from certwarden.model import (
    Admission,
    Answer,
    ClientPurpose,
    ProofOutcome,
    RevocationReason,
    UnitReload,
    UnitVerb,
)
from tests.fakes_authority import a_register
from tests.lifecycle.client_house import ClientHouse, as_pair
from tests.lifecycle.facts import DAY, HOUR

RESTART = UnitReload("nodered.service", UnitVerb.RESTART)
RELOAD = UnitReload("mosquitto.service", UnitVerb.RELOAD)


def test_a_revoked_client_is_out_when_it_is_said() -> None:
    """Success is said once every target refuses the client and lets others in."""
    house = ClientHouse("node-red", "dashboard")
    alice, bob = house.client("alice"), house.client("bob")
    before = house.crl.number
    withdrawal = house.withdraw("alice", RevocationReason.KEY_COMPROMISE)
    assert withdrawal.is_good
    assert [each.outcome for each in withdrawal.proofs] == [ProofOutcome.PROVEN] * 2
    assert [each.reason for each in withdrawal.certificates] == [RevocationReason.KEY_COMPROMISE]
    assert house.crl.number == before + 1
    for name in ("node-red", "dashboard"):
        assert house.admission(alice, name) is Admission.REFUSED
        assert house.admission(bob, name) is Admission.LET_IN


@pytest.mark.parametrize("write", [str.upper, lambda text: ":".join([text[:2], text[2:]])])
def test_one_certificate_is_revoked_by_its_serial(write: object) -> None:
    """In any case, with or without colons; the client's others stay."""
    house = ClientHouse()
    old = house.client()
    new, _ = renew_client(house.world, ClientRequest("alice"))
    assert callable(write)
    assert house.withdraw(write(old.certificate.serial)).is_good
    assert house.admission(old) is Admission.REFUSED
    assert house.admission(new) is Admission.LET_IN


def test_a_client_is_revoked_with_all_its_certificates() -> None:
    """Whoever stole the phone has the renewed certificate, too."""
    house = ClientHouse()
    old = house.client()
    new, _ = renew_client(house.world, ClientRequest("alice"))
    assert house.withdraw().is_good
    assert {house.admission(old), house.admission(new)} == {Admission.REFUSED}


def test_whom_nobody_knows_is_not_revoked() -> None:
    """A slip of the pen says so, and signs nothing."""
    house = ClientHouse()
    number = house.crl.number
    with pytest.raises(UsageError, match="there is no client alicia"):
        house.withdraw("alicia")
    assert house.crl.number == number


def test_a_serial_that_the_register_has_lost_is_revoked_all_the_same() -> None:
    """What was issued after the backup that was restored lets its client in until then."""
    house = ClientHouse()
    alice = house.client()
    house.world.register = a_register()
    assert house.admission(alice) is Admission.LET_IN
    assert house.withdraw(alice.certificate.serial).is_good
    assert house.admission(alice) is Admission.REFUSED
    assert "does not know the serial" in " ".join(house.warnings)


def test_revoking_twice_verifies_again() -> None:
    """The first reason and instant stay."""
    house = ClientHouse()
    house.client()
    first = house.withdraw(reason=RevocationReason.SUPERSEDED)
    again = house.after(HOUR).withdraw(reason=RevocationReason.KEY_COMPROMISE)
    assert again.is_good
    assert again.certificates == first.certificates


def test_a_deaf_program_is_no_success() -> None:
    """A program that goes on with its old list lets the client in: that is said, and stands."""
    house = ClientHouse()
    alice = house.client()
    house.target.program.is_deaf = True
    withdrawal = house.withdraw()
    assert not withdrawal.is_good
    (proof,) = withdrawal.proofs
    assert proof.outcome is ProofOutcome.REFUTED
    assert "a revoked client gets in" in proof.what
    assert house.admission(alice) is Admission.LET_IN
    house.target.program.is_deaf = False
    house.target.program.reload()
    assert house.after(HOUR).run().is_good
    assert house.admission(alice) is Admission.REFUSED
    assert house.authority.proofs["node-red"].outcome is ProofOutcome.PROVEN


def test_a_session_from_before_is_tried() -> None:
    """A cached session that lets a revoked client in is found, told, and looked at anew."""
    house = ClientHouse()
    house.client()
    house.target.clients.keeps_sessions = True
    (proof,) = house.withdraw().proofs
    assert (proof.outcome, proof.is_resumable) == (ProofOutcome.REFUTED, True)
    assert not house.after(HOUR).run().is_good  # looked at with a probe that has a session
    assert house.authority.proofs["node-red"].is_resumable
    house.target.clients.keeps_sessions = False
    assert house.after(DAY).run().is_good
    assert house.authority.proofs["node-red"].outcome is ProofOutcome.PROVEN


def test_a_door_that_is_shut_to_all_is_no_proof() -> None:
    """That a revoked client is refused says nothing where a good one is, too."""
    house = ClientHouse()
    house.client()
    house.target.program.judges_by = None
    other = ClientHouse()
    house.target.program.is_deaf = True
    house.target.program.judges_by = other.target.program.judges_by  # a foreign CA
    (proof,) = house.withdraw().proofs
    assert proof.outcome is ProofOutcome.REFUTED
    assert "a good client is refused, too" in proof.what


def test_who_is_away_proves_nothing() -> None:
    """A program that is stopped is not taken for one that refuses; the list waits for it."""
    house = ClientHouse(reload=RESTART)
    alice = house.client()
    house.target.program.is_running = False
    withdrawal = house.withdraw()
    assert not withdrawal.is_good
    assert [each.outcome for each in withdrawal.proofs] == [ProofOutcome.UNKNOWN]
    assert withdrawal.crl is not None
    assert alice.certificate.serial in withdrawal.crl.serials
    house.target.program.is_running = True
    house.target.program.reload()
    house.after(HOUR).run()
    assert house.admission(alice) is Admission.REFUSED


def test_a_target_without_a_probe_is_not_proven() -> None:
    """What cannot be looked at is said."""
    house = ClientHouse()
    house.client()
    house.target.spec = replace(house.target.spec, probe=None)
    withdrawal = house.withdraw()
    assert [each.what for each in withdrawal.proofs] == ["it has no probe"]
    assert not withdrawal.is_good


def test_the_probes_are_nobodys_business() -> None:
    """They are in the register, and in no list of clients."""
    house = ClientHouse()
    house.client()
    house.withdraw()
    assert {each.name for each in house.authority.clients} == {"alice"}
    kept = house.world.authority.probe()
    assert kept is not None
    entry = house.world.register.find(kept.certificate.serial)
    assert entry is not None
    assert entry.purpose is ClientPurpose.PROBE
    assert entry.revoked_at is not None


def test_only_the_newest_list_refuses_the_probe() -> None:
    """The probe is revoked with the client: to refuse it takes the list that the client is in."""
    house = ClientHouse()
    house.client()
    serials = house.crl.serials
    house.withdraw()
    kept = house.world.authority.probe()
    assert kept is not None
    assert kept.certificate.serial not in serials
    assert kept.certificate.serial in house.crl.serials


def test_an_untrusted_clock_keeps_it_in_the_book() -> None:
    """It is written down whatever the clock shows, and signed once the clock is right."""
    house = ClientHouse()
    alice = house.client()
    house.world.time_sources.state = False
    withdrawal = house.withdraw()
    assert withdrawal.crl is None
    assert not withdrawal.is_good
    house.world.time_sources.state = True
    assert house.run().is_good
    assert house.admission(alice) is Admission.REFUSED


def test_a_list_that_cannot_be_signed_is_signed_by_a_later_pass() -> None:
    """The revocation stands in the book, and is not forgotten."""
    house = ClientHouse()
    alice = house.client()
    house.world.key = None
    withdrawal = house.withdraw()
    assert isinstance(withdrawal.error, LockedError)
    house.world.key = house.key
    house.after(HOUR).run()
    assert house.admission(alice) is Admission.REFUSED


def test_what_cannot_be_written_down_is_not_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an entry in the book nothing is signed."""
    house = ClientHouse()
    house.client()
    number = house.crl.number

    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(house.world.register, "revoke", fail)
    with pytest.raises(StoreError):
        house.withdraw()
    assert house.crl.number == number


def test_a_list_that_cannot_be_put_in_place_is_no_success() -> None:
    """A read-only directory keeps the old list there; the command fails, and says so."""
    house = ClientHouse()
    house.client()
    house.target.shelf.publish_error = TargetError("the directory is read-only")
    withdrawal = house.withdraw()
    assert not withdrawal.is_good
    assert "the directory is read-only" in " ".join(house.errors)


def test_a_restart_takes_it_up() -> None:
    """A program that cannot reload is restarted for a revocation, at any hour."""
    house = ClientHouse(reload=RESTART)
    alice = house.client()
    reloads = house.target.program.reloads
    assert house.withdraw().is_good
    assert house.target.program.reloads == reloads + 1
    assert house.admission(alice) is Admission.REFUSED


# ── locked ────────────────────────────────────────────────────────────────────────────────────────


def test_with_a_locked_authority_it_waits_for_the_passphrase() -> None:
    """It stands in the book; unlocking signs it into every list of the year, and proves it."""
    house = ClientHouse(is_locked=True)
    house.world.key = house.key
    alice = house.client()
    house.world.key = None
    assert not house.withdraw().is_good
    assert house.admission(alice) is Admission.LET_IN
    house.world.key = house.key
    withdrawal = unlock(house.world, house.specs)
    house.world.key = None
    assert withdrawal.is_good
    assert house.admission(alice) is Admission.REFUSED
    for _ in range(12):
        house.after(30 * DAY).run()
        assert house.admission(alice) is Admission.REFUSED
        assert house.crl.is_current_at(house.now)


def test_a_locked_authority_proves_what_it_can() -> None:
    """Without the key nobody good can be sent: that is not proven, and what was still stands."""
    house = ClientHouse(is_locked=True)
    revoked = house.world.authority.probe()
    assert revoked is not None
    assert good_probe(house.world, house.root, house.now) is None
    (proof,) = prove(house.world, house.spec.targets, Probes(None, revoked))
    assert proof.outcome is ProofOutcome.UNKNOWN
    assert "the CA is locked" in proof.what


def test_there_is_nothing_to_unlock() -> None:
    """A CA that signs by itself needs nobody."""
    house = ClientHouse()
    with pytest.raises(UsageError, match="not locked"):
        unlock(house.world, house.specs)


# ── renewal ───────────────────────────────────────────────────────────────────────────────────────


def test_a_renewed_certificate_is_revoked_two_weeks_later() -> None:
    """Both are good for a while, so that the phone can be changed over in peace."""
    house = ClientHouse()
    old = house.client()
    new, before = renew_client(house.world, ClientRequest("alice"))
    assert before == (old.certificate.serial,)
    house.after(timedelta(days=13)).run()
    assert {house.admission(old), house.admission(new)} == {Admission.LET_IN}
    house.after(timedelta(days=1, hours=1)).run()
    assert house.admission(old) is Admission.REFUSED
    assert house.admission(new) is Admission.LET_IN
    entry = house.world.register.find(old.certificate.serial)
    assert entry is not None
    assert entry.reason is RevocationReason.SUPERSEDED


def test_the_good_probe_is_in_no_list() -> None:
    """It is good for minutes, and nobody has its key afterwards."""
    house = ClientHouse()
    good = good_probe(house.world, house.root, house.now)
    assert good is not None
    assert good.certificate.not_after - house.now <= timedelta(minutes=10)
    assert good.certificate.serial not in house.crl.serials
    assert as_pair(house.client("bob")).certificate.issuer == good.certificate.issuer


# ── what was cut short, and who is proven by what ─────────────────────────────────────────────────


def test_a_pass_does_not_take_an_old_probe_for_proof() -> None:
    """Of a revocation that a pass goes on with, only a probe of the same list can tell."""
    house = ClientHouse()
    alice = house.client()
    house.world.key = None
    assert not house.withdraw().is_good
    house.world.key = house.key
    house.target.program.is_deaf = True
    assert not house.after(HOUR).run().is_good
    assert alice.certificate.serial in house.crl.serials
    assert house.admission(alice) is Admission.LET_IN
    assert house.authority.proofs["node-red"].outcome is ProofOutcome.REFUTED


def test_without_a_published_list_an_old_probe_is_no_proof() -> None:
    """After a restore nobody knows which lists had it, and the next one may have more in it."""
    house = ClientHouse()
    old = house.world.authority.probe()
    house.world.authority.published.clear()
    house.after(HOUR).run()
    probe = house.world.authority.probe()
    assert probe != old
    assert probe is not None
    assert probe.certificate.serial in house.crl.serials


def test_signing_that_fails_makes_no_probe_after_probe() -> None:
    """One that is in no list yet is as good as another."""
    house = ClientHouse()
    house.client()
    house.world.key = None
    house.withdraw()
    house.world.key = house.key
    full = failing(StoreError("no space is left"))
    house.world.authority.publish = full  # type: ignore[method-assign]
    for _ in range(4):
        house.after(DAY).run()
    assert len(house.world.authority.probes) == 2


def test_a_probe_that_would_be_refused_for_its_dates_proves_nothing() -> None:
    """After a clock that was wrong there may be one from the future."""
    house = ClientHouse()
    probe = house.world.authority.probe()
    assert probe is not None
    late = replace(probe, certificate=replace(probe.certificate, not_before=house.now + DAY))
    good = good_probe(house.world, house.root, house.now)
    (proof,) = prove(house.world, house.spec.targets, Probes(good, late))
    assert proof.outcome is ProofOutcome.UNKNOWN


def test_one_unreadable_target_spoils_no_other_proof() -> None:
    """What goes wrong at one target is said of that one."""
    house = ClientHouse("dashboard", "node-red")
    house.client()
    unreadable = TargetError("it cannot be read")
    house.world.targets["dashboard"].shelf.installed = failing(unreadable)  # type: ignore[method-assign]
    withdrawal = house.withdraw()
    assert {proof.target: proof.outcome for proof in withdrawal.proofs} == {
        "dashboard": ProofOutcome.UNKNOWN,
        "node-red": ProofOutcome.PROVEN,
    }
    assert not withdrawal.is_good


def test_a_locked_authority_does_not_wait_in_vain() -> None:
    """Without a good probe nothing more is to be learned: no pass waits for it."""
    house = ClientHouse(is_locked=True)
    house.after(11 * DAY)
    before = house.world.clock.monotonic()
    house.run()
    assert house.world.clock.monotonic() - before < 1


def test_sessions_stay_in_question_until_one_was_refused() -> None:
    """Neither a program that is away nor `deploy` settles whether old sessions get in."""
    house = ClientHouse()
    house.client()
    house.target.clients.keeps_sessions = True
    assert house.withdraw().proofs[0].is_resumable
    assert prove_again(house.world, house.specs) is not None
    assert house.authority.proofs["node-red"].is_resumable
    house.target.clients.overrides = [Answer(Admission.UNKNOWN, "silence")] * 99
    house.after(DAY).run()
    house.target.clients.overrides = []
    assert house.authority.proofs["node-red"].outcome is ProofOutcome.UNKNOWN
    assert house.authority.proofs["node-red"].is_resumable


def test_a_client_is_revoked_with_all_that_it_may_hold() -> None:
    """A clock that is days ahead takes a good certificate for an expired one."""
    house = ClientHouse()
    old = house.client()
    house.after(820 * DAY).run()
    renew_client(house.world, ClientRequest("alice"))
    house.after(6 * DAY)  # not really
    house.withdraw()
    entry = house.world.register.find(old.certificate.serial)
    assert entry is not None
    assert entry.revoked_at is not None


def test_a_target_that_asks_nobody_any_more_is_forgotten() -> None:
    """What was found out about it would be told for ever."""
    house = ClientHouse("dashboard", "node-red")
    house.client()
    house.world.targets["dashboard"].program.is_deaf = True
    house.withdraw()
    assert house.authority.proofs["dashboard"].outcome is ProofOutcome.REFUTED
    spec = house.specs[0]
    kept = tuple(target for target in spec.targets if target.name == "node-red")
    house.specs[0] = replace(spec, targets=kept)
    house.after(HOUR).run()
    assert list(house.authority.proofs) == ["node-red"]


def failing(error: Error) -> Callable[..., NoReturn]:
    """What raises the error, whatever it is asked for."""

    def fail(*_: object) -> NoReturn:
        raise error

    return fail


# ── put right by a pass ───────────────────────────────────────────────────────────────────────────


def test_a_program_that_goes_by_no_list_is_told_again() -> None:
    """mosquitto after somebody emptied its list: the files are right, the program is not. It is
    told once, and not day by day.
    """
    house = ClientHouse(reload=RELOAD)
    alice = house.client()
    assert house.withdraw().is_good
    house.target.program.judges_by = None
    assert house.admission(alice) is Admission.LET_IN
    reloads = house.target.program.reloads
    assert house.after(DAY).run().is_good
    assert house.target.program.reloads == reloads + 1
    assert house.admission(alice) is Admission.REFUSED
    house.target.program.judges_by = None
    house.target.program.is_deaf = True
    for _ in range(3):
        assert not house.after(DAY).run().is_good
    assert house.target.program.reloads == reloads + 2


def test_what_was_just_put_in_place_is_looked_at_at_once() -> None:
    """Also where the list has the number that was proven already."""
    house = ClientHouse()
    visits = len(house.target.clients.visits)
    house.target.shelf.is_broken = True
    house.run()
    assert len(house.target.clients.visits) > visits


def test_the_daemon_is_called_for_what_may_be_left_open() -> None:
    """A killed or unproven revocation is not left lying for hours."""
    house = ClientHouse()
    house.client()
    house.withdraw()
    assert house.world.calls == 1
