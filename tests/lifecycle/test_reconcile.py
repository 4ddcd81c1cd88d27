"""A pass among others: what is looked at again under a lock, and what is none of its business."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from certwarden.errors import ClockError, IssuerError, StoreError, ZoneError
from certwarden.lifecycle.act import deploy_again
from certwarden.lifecycle.plan import REST
from certwarden.lifecycle.reconcile import CLOCK_WAIT
from certwarden.model import DeployOutcome, Job, RenewalAnswer, RenewalWindow, Stored, TokenCheck
from certwarden.ports import Level
from tests.builders import NOW, a_certificate_spec, a_pair, a_stored, a_target_spec, a_txt_record
from tests.fakes import FakeTarget, FakeWorld
from tests.lifecycle.house import House


class OneTarget(House):
    """One certificate, wanted at one target."""

    def __init__(self) -> None:
        super().__init__(a_certificate_spec(targets=[a_target_spec()]))

    @property
    def target(self) -> FakeTarget:
        return self.world.targets["node-red"]

    def meanwhile(self, stored: Stored) -> None:
        """While somebody waits for the target, another process stores and deploys this."""
        taken = self.world.locks.target

        @contextmanager
        def target(name: str) -> Iterator[None]:
            with taken(name):
                self.world.certificates.versions["home"].append(stored)
                self.target.shelf.publish(stored.pair)
                self.target.program.loaded = stored.pair
                yield

        self.world.locks.target = target  # type: ignore[method-assign]


@pytest.fixture
def house() -> OneTarget:
    return OneTarget()


def test_after_waiting_the_newest_version_is_deployed(house: OneTarget) -> None:
    """What was read before the wait for a target's lock is not put over what came since."""
    house.world.certificates.versions["home"] = [a_stored()]
    newer = a_stored(version=2)
    house.meanwhile(newer)
    assert house.run().is_good
    assert house.target.shelf.current is not None
    assert house.target.shelf.current.pair == newer.pair


def test_deploy_looks_again_as_well(house: OneTarget) -> None:
    """The same for the command that deploys needed or not."""
    house.world.certificates.versions["home"] = [a_stored()]
    newer = a_stored(version=2)
    house.meanwhile(newer)
    deploy_again(house.world, [house.spec])
    assert house.target.shelf.current is not None
    assert house.target.shelf.current.pair == newer.pair


def test_records_of_a_running_order_are_not_litter(house: OneTarget) -> None:
    """Somebody else holds the lock on orders: what the journal shows may be at work."""
    stored = a_stored()
    house.world.certificates.versions["home"] = [stored]
    house.target.shelf.publish(stored.pair)
    house.target.program.loaded = stored.pair
    house.world.ledger.intend([a_txt_record()], NOW)
    house.world.locks.busy = {"orders"}
    assert house.run().is_good
    assert house.world.reporter.texts(Level.ERROR) == []


def test_an_order_that_begins_beside_us_is_not_our_failure(house: OneTarget) -> None:
    """Only our own records that could not be removed make a pass a bad one."""
    taken = house.world.locks.target

    @contextmanager
    def target(name: str) -> Iterator[None]:
        with taken(name):
            yield
        house.world.ledger.intend([a_txt_record()], NOW)

    house.world.locks.target = target  # type: ignore[method-assign]
    assert house.run().is_good


def test_a_busy_target_does_not_hold_up_the_next_one() -> None:
    """A lock that is not to be had is that target's failure alone."""
    spec = a_certificate_spec(targets=[a_target_spec("a"), a_target_spec("b")])
    world = FakeWorld(spec)
    world.certificates.versions["home"] = [a_stored()]
    world.locks.busy = {"target-a"}
    (result,) = deploy_again(world, [spec])
    outcomes = [each.outcome for each in result.deployed]
    assert outcomes == [DeployOutcome.FAILED, DeployOutcome.IN_USE]


def test_a_placeholder_is_never_called_in_use(house: OneTarget) -> None:
    """It lets a program start; it is a failure to a script, and a warning to a person."""
    (result,) = deploy_again(house.world, [house.spec])
    assert not result.is_good
    assert not any("in use" in text for text in house.world.reporter.texts())
    assert [event.kind for event in house.world.ledger.history] == ["placeholder"]


def test_a_wrong_clock_signs_no_placeholder(house: OneTarget) -> None:
    """It would be valid at another time than this; the clock is asked about once for all."""
    (result,) = deploy_again(untrusted(house).world, [house.spec])
    (deployed,) = result.deployed
    assert isinstance(deployed.error, ClockError)
    assert deployed.outcome is DeployOutcome.FAILED
    assert house.target.shelf.generations == []
    assert len(house.warnings) == 1
    stored = house.put(a_stored(), is_used=False)
    (result,) = deploy_again(house.world, [house.spec])
    assert result.is_good
    assert house.target.program.loaded == stored.pair


def test_a_placeholder_takes_no_valid_certificates_place(house: OneTarget) -> None:
    """What a target serves from elsewhere stays until there is a certificate of ours."""
    house.target.program.loaded = a_pair()
    (result,) = deploy_again(house.world, [house.spec])
    assert not result.is_good
    assert house.target.shelf.generations == []


# ── the clock ─────────────────────────────────────────────────────────────────────────────────────


def untrusted(house: House) -> House:
    house.world.time_sources.state = False
    return house


def test_with_a_wrong_clock_nothing_is_ordered_and_that_is_the_result(house: OneTarget) -> None:
    """No attempt is counted; the pass has failed, and asks to be called again in ten minutes."""
    result = untrusted(house).run()
    (home,) = result.certificates
    assert isinstance(home.error, ClockError)
    assert "not synchronised" in home.error.what
    assert not result.is_good
    assert house.issuer.orders == {}
    assert house.attempts == []
    (call,) = [call for call in result.calls if call.job is Job.RECONCILE]
    assert (call.at, call.why) == (NOW + CLOCK_WAIT, "the clock is looked at again")


def test_with_a_wrong_clock_what_is_stored_is_put_to_use_all_the_same(house: OneTarget) -> None:
    """Installing signs nothing."""
    stored = house.put(a_stored(obtained_at=NOW - timedelta(days=61)), is_used=False)
    untrusted(house).run()
    assert house.target.program.loaded == stored.pair


def test_a_wrong_clock_is_no_failure_where_nothing_is_to_be_signed(house: OneTarget) -> None:
    """It is said, and the calls that lie far ahead stay as they are."""
    house.put(a_stored())
    result = untrusted(house).run()
    assert result.is_good
    assert any("not synchronised" in text for text in house.warnings)
    (call,) = [call for call in result.calls if call.job is Job.RECONCILE]
    assert call.at == NOW + timedelta(days=60)


def test_a_date_is_asked_for_only_when_an_order_is_due(house: OneTarget) -> None:
    """Where no time service can tell; a clock that the Date confirms is trusted."""
    sources = house.world.time_sources
    sources.state = None
    house.put(a_stored())
    assert house.run().is_good
    assert sources.asked == 0
    house.after(timedelta(days=61))
    sources.difference = timedelta(seconds=1)
    assert house.run().is_good
    assert sources.asked > 0
    assert house.stored().version == 2


def test_nobody_who_can_tell_means_no_order(house: OneTarget) -> None:
    """Without time service and Date it waits, and says so."""
    house.world.time_sources.state = None
    result = house.run()
    assert isinstance(result.certificates[0].error, ClockError)
    assert house.issuer.orders == {}


def test_an_order_raises_the_floor(house: OneTarget) -> None:
    """It cannot be earlier than when a certificate was obtained."""
    house.run()
    assert house.world.watch.clock_floor == NOW


# ── a person is told, and the next call ───────────────────────────────────────────────────────────


def test_only_a_whole_pass_tells_a_person(house: OneTarget) -> None:
    """What was not looked at would seem to be put right."""
    house.run(is_whole=False)
    house.run(is_deploying=False)
    assert house.messenger.heartbeats == 0
    assert house.world.metric.text == ""
    house.run()
    assert house.messenger.heartbeats == 1
    assert "certwarden_last_pass_success 1" in house.world.metric.text


def test_a_pass_that_failed_has_no_heartbeat(house: OneTarget) -> None:
    """Silence is what healthchecks alarm about; the metrics say it too."""
    house.issuer.fail("place", IssuerError("refused"))
    assert not house.run().is_good
    assert house.messenger.heartbeats == 0
    assert "certwarden_last_pass_success 0" in house.world.metric.text


def test_metrics_that_cannot_be_written_are_a_warning(house: OneTarget) -> None:
    """They are no reason for a pass to fail."""

    def write(_text: str) -> None:
        raise StoreError("the directory is not there")

    house.world.metric.write = write  # type: ignore[method-assign, assignment]
    assert house.run().is_good
    assert "the directory is not there" in house.warnings


def test_a_pass_says_when_it_is_wanted_again(house: OneTarget) -> None:
    """By what stands after it: the new certificate, the CA's answer about it, the token."""
    house.world.infos.default = RenewalAnswer(
        RenewalWindow(NOW + timedelta(days=30), NOW + timedelta(days=31)), timedelta(hours=6)
    )
    calls = {call.job: call for call in house.run().calls}
    assert calls[Job.RENEWAL_INFO].at == NOW + timedelta(hours=6)
    assert NOW + timedelta(days=30) <= calls[Job.RECONCILE].at <= NOW + timedelta(days=31)
    assert calls[Job.RECONCILE].why == "home: the CA suggests it"
    assert calls[Job.TOKEN].at == NOW + timedelta(days=1)


def test_after_a_failure_it_is_wanted_when_the_back_off_is_over(house: OneTarget) -> None:
    """And not before."""
    house.issuer.fail("place", IssuerError("refused"))
    calls = house.run().calls
    assert NOW + timedelta(seconds=48) <= calls[0].at <= NOW + timedelta(seconds=60)
    assert "attempt 1 failed: refused" in calls[0].why


def test_a_window_that_moves_into_the_past_renews_in_the_same_pass(house: OneTarget) -> None:
    """The CA is going to revoke: its answer is acted on as soon as it is there."""
    house.put(a_stored(obtained_at=NOW - timedelta(days=1)))
    past = RenewalWindow(NOW - timedelta(days=1), NOW - timedelta(hours=1))
    house.world.infos.default = RenewalAnswer(past, timedelta(hours=6))
    assert house.run().is_good
    assert house.stored().version == 2
    for _ in range(5):
        house.after(timedelta(hours=1)).run()
    assert house.stored().version == 2


# ── the token ─────────────────────────────────────────────────────────────────────────────────────


def test_the_token_is_looked_at_in_whole_passes_once_a_day(house: OneTarget) -> None:
    """Where no order has shown what it can do."""
    house.run()
    house.after(timedelta(days=1)).run(is_whole=False)
    assert house.zone.calls_of("verify") == 0
    house.run()
    house.run()
    assert house.zone.calls_of("verify") == 1


def test_an_error_that_stands_does_not_keep_the_token_from_its_look(house: OneTarget) -> None:
    """Else a pass would be wanted for the token every ten seconds."""
    house.issuer.fail("place", IssuerError("refused", permanent=True))
    house.run()
    house.issuer.fail("place", IssuerError("refused", permanent=True))
    result = house.after(timedelta(hours=25)).run()
    assert house.zone.calls_of("verify") == 1
    (call,) = [call for call in result.calls if call.job is Job.TOKEN]
    assert call.at == house.now + timedelta(days=1)


def test_a_refused_token_fails_the_pass_until_it_is_good(house: OneTarget) -> None:
    """It is asked about once a day, and told in each pass."""
    house.put(a_stored())
    house.after(timedelta(days=1))
    house.zone.fail("verify", ZoneError("it is revoked", "make another", permanent=True))
    for _ in range(2):
        result = house.run()
        assert result.token_error is not None
        assert not result.is_good
    assert house.zone.calls_of("verify") == 1
    house.world.setups[None] = "another"
    assert house.run().is_good


# ── clean-up ──────────────────────────────────────────────────────────────────────────────────────


def test_litter_that_cannot_be_removed_rests_before_the_next_try(house: OneTarget) -> None:
    """The pass is not good, and no pass is wanted every ten seconds because of it."""
    house.put(a_stored())
    house.world.ledger.intend([a_txt_record()], NOW)
    house.zone.fail("remove", ZoneError("no reply"))
    result = house.run()
    assert result.sweep_error is not None
    assert house.errors == ["TXT records of an earlier pass could not be removed: no reply"]
    assert result.calls[0].at == NOW + REST
    assert (house.run().swept, house.zone.calls_of("remove")) == (0, 1)
    again = house.after(REST).run()
    assert (again.swept, again.is_good) == (1, True)
    assert "1 TXT record of an earlier pass removed" in house.world.reporter.texts(Level.INFO)
    assert house.world.watch.setbacks() == ()


def test_litter_that_stands_for_a_day_is_told(house: OneTarget) -> None:
    """A few tries, fewer each time; then a person hears of it, once."""
    house.put(a_stored())
    house.world.ledger.intend([a_txt_record()], NOW)
    passes = 0
    while house.now < NOW + timedelta(days=2):
        house.zone.fail("remove", ZoneError("no reply"))
        house.world.watch.check = TokenCheck(house.now, "")
        calls = [call for call in house.run().calls if call.job is Job.RECONCILE]
        house.at(calls[0].at)
        passes += 1
    assert passes == house.zone.calls_of("remove") < 14
    assert [title for title, _ in house.messenger.sent] == [
        "1 TXT record of ours cannot be removed: no reply"
    ]
    house.zone.scripts.clear()
    assert house.run().swept == 1
    assert len(house.messenger.sent) == 2


def test_a_dead_token_is_not_swept_with_until_it_is_another(house: OneTarget) -> None:
    """The pass has failed for as long as it stands, and Cloudflare is asked once a day."""
    house.put(a_stored())
    house.world.ledger.intend([a_txt_record()], NOW)
    house.zone.fail("remove", ZoneError("the token is no good", permanent=True))
    result = house.run()
    (call,) = [call for call in result.calls if call.job is Job.RECONCILE]
    assert call.at == NOW + timedelta(days=1)
    assert not house.after(timedelta(hours=23)).run().is_good
    assert house.zone.calls_of("remove") == 1
    house.world.setups[None] = "another"
    assert house.run().swept == 1


def test_new_litter_does_not_wait_for_the_old(house: OneTarget) -> None:
    """What a killed pass has left is gone after the next one (invariant 3)."""
    house.put(a_stored())
    house.world.ledger.intend([a_txt_record()], NOW)
    house.zone.fail("remove", ZoneError("no reply"))
    house.run()
    house.world.ledger.intend([a_txt_record("b" * 43)], NOW)
    assert house.run().swept == 2


def test_whoever_names_a_certificate_has_it_swept_for(house: OneTarget) -> None:
    """No back-off holds up a person."""
    house.put(a_stored())
    house.world.ledger.intend([a_txt_record()], NOW)
    house.zone.fail("remove", ZoneError("no reply"))
    house.run()
    assert house.run(named=["home"]).swept == 1


def test_one_zone_that_cannot_be_cleaned_up_keeps_no_other_from_it(house: OneTarget) -> None:
    """What is gone is written down as gone, and counted."""
    house.put(a_stored())
    kept, other = a_txt_record(), a_txt_record("b" * 43)
    other = replace(other, place=replace(other.place, zone_id="zone-2"))
    house.world.ledger.intend([kept, other], NOW)
    house.zone.fail("remove", ZoneError("the zone is gone", permanent=True))
    result = house.run()
    assert (result.swept, result.is_good) == (1, False)
    assert house.world.ledger.leftovers() == (kept,)
    assert house.zone.calls_of("remove") == 2
    house.run()
    assert house.zone.calls_of("remove") == 2


def test_nobody_waits_to_clean_up(house: OneTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the lock on orders is at work; neither is that a warning."""

    def orders() -> NoReturn:
        raise AssertionError("this would wait for a minute")

    house.put(a_stored())
    house.world.ledger.intend([a_txt_record()], NOW)
    monkeypatch.setattr(house.world.locks, "orders", orders)
    house.world.locks.busy = {"orders"}
    house.run()
    house.world.locks.busy = set()
    assert house.run().swept == 1
    assert house.warnings == house.errors == []


def test_nobody_waits_to_tidy(house: OneTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks half done may be under way; what is left by a killed writer is removed."""
    house.put(a_stored())
    house.target.shelf.is_littered = True
    monkeypatch.setattr(house.world.locks, "target", disk_is_full)
    house.world.locks.busy = {"target-node-red"}
    assert house.run().is_good
    assert house.target.shelf.is_littered
    assert house.warnings == []
    house.world.locks.busy = set()
    house.run()
    assert not house.target.shelf.is_littered


# ── a full disk ───────────────────────────────────────────────────────────────────────────────────


WRITES = ("set_floor", "save_token_check", "tell", "forget", "save_setback", "clear_setback")
READS = ("floor", "token_check", "told", "setbacks")


def disk_is_full(*_: object, **__: object) -> NoReturn:
    raise StoreError("the disk is full", "free some space")


def test_a_full_disk_keeps_nothing_from_being_put_to_use(
    house: OneTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored is deployed, a person hears of it, and the next pass is called for."""
    stored = house.put(a_stored(), is_used=False)
    house.world.watch.check = None
    for entry in WRITES:
        monkeypatch.setattr(house.world.watch, entry, disk_is_full)
    monkeypatch.setattr(house.world.suggestions, "save_renewal_info", disk_is_full)
    result = house.run()
    assert house.target.program.loaded == stored.pair
    assert {call.job for call in result.calls} == set(Job) - {Job.CRL, Job.INVITATIONS}
    assert not result.is_good
    assert house.errors == ["the disk is full"]
    assert [title for title, _ in house.messenger.sent] == [
        "certwarden's own records cannot be kept: the disk is full"
    ]
    assert "certwarden_last_pass_success 0" in house.world.metric.text
    house.after(timedelta(hours=6)).run()
    assert len(house.messenger.sent) == 1
    monkeypatch.undo()
    assert house.run().is_good
    assert "No longer so" not in house.messenger.sent[-1][1]  # it was never written down


def test_a_certificate_is_obtained_although_the_floor_cannot_be_raised(
    house: OneTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass goes on to its end."""
    monkeypatch.setattr(house.world.watch, "set_floor", disk_is_full)
    result = house.run()
    assert result.certificates[0].is_new
    assert result.calls


def test_records_that_cannot_be_read_do_not_end_a_pass(
    house: OneTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored is put to use all the same, and the next pass is called for."""
    stored = house.put(a_stored(), is_used=False)
    for entry in (*WRITES, *READS):
        monkeypatch.setattr(house.world.watch, entry, disk_is_full)
    monkeypatch.setattr(house.world.ledger, "leftovers", disk_is_full)
    result = house.run()
    assert house.target.program.loaded == stored.pair
    assert result.calls
    assert not result.is_good
    assert len(house.messenger.sent) == 1


@pytest.mark.parametrize(
    "entry", ["failures", "pending_revocations", "last_deploy", "begin_deploy", "begin_attempt"]
)
def test_a_ledger_that_cannot_be_read_is_told(
    house: OneTarget, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """What has to be written down before it is done is left undone; the pass goes on to its end."""
    if entry != "begin_attempt":
        house.put(a_stored(), is_used=False)
    monkeypatch.setattr(house.world.ledger, entry, disk_is_full)
    result = house.run()
    assert not result.is_good
    assert result.calls
    assert len(house.messenger.sent) == 1
    assert "the disk is full" in house.messenger.sent[0][1]
