"""Revocation: written down, replaced, put to use, then revoked; and finished after any failure."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certwarden.errors import IssuerError, StoreError, TargetError, UsageError
from certwarden.lifecycle.revoke import request_revocation
from certwarden.model import Job, RevocationReason
from certwarden.ports import Level
from tests.builders import NOW, a_certificate_spec, a_target_spec
from tests.fakes import FakeTarget, FakeWorld
from tests.lifecycle.house import House

COMPROMISED = RevocationReason.KEY_COMPROMISE


class Used(House):
    """A certificate that is in use at one target."""

    def __init__(self) -> None:
        super().__init__(a_certificate_spec(targets=[a_target_spec()]))
        assert self.run().is_good

    def revoke(self, reason: RevocationReason = COMPROMISED, *, is_urgent: bool = False) -> None:
        request_revocation(self.world, "home", reason, NOW, is_urgent=is_urgent)

    @property
    def target(self) -> FakeTarget:
        return self.world.targets["node-red"]

    @property
    def revoked(self) -> list[tuple[str, RevocationReason]]:
        return self.world.revokers.revoked


@pytest.fixture
def house() -> Used:
    return Used()


def test_the_replacement_is_in_use_before_the_old_one_is_revoked(house: Used) -> None:
    """A new key and certificate, deployed, and only then is the old one revoked."""
    old = house.stored()
    house.revoke()
    assert house.revoked == []
    assert house.run().is_good
    assert house.stored().pair.key_pem != old.pair.key_pem
    assert house.revoked == [(old.certificate.fingerprint, COMPROMISED)]
    assert house.run().is_good
    assert len(house.revoked) == 1


def test_urgent_revokes_first_and_once(house: Used) -> None:
    """With `--now` the CA hears before anything is replaced, and is not told twice."""
    old = house.stored()
    house.revoke(is_urgent=True)
    assert house.revoked == [(old.certificate.fingerprint, COMPROMISED)]
    assert house.run().is_good
    assert house.stored().version == 2
    assert len(house.revoked) == 1


def test_a_revoked_certificate_is_never_put_back(house: Used) -> None:
    """A failed deploy after `--now` does not bring back what has just been revoked."""
    house.revoke(is_urgent=True)
    house.target.program.is_deaf = True
    result = house.run()
    assert not result.is_good
    assert house.target.shelf.current is not None
    assert house.target.shelf.current.pair == house.stored().pair


def test_it_waits_for_a_replacement_that_is_in_use(house: Used) -> None:
    """What the target refuses is not relied upon: the old one stays valid until it is replaced."""
    house.revoke()
    house.target.program.reload_error = TargetError("it does not answer")
    assert not house.run().is_good
    assert house.revoked == []
    house.target.program.reload_error = None
    assert house.after(timedelta(minutes=1)).run().is_good
    assert len(house.revoked) == 1


def test_a_failure_at_the_ca_is_finished_by_the_next_pass(house: Used) -> None:
    """The replacement stands; the revocation is asked for again, without a new order."""
    house.revoke()
    house.world.revokers.failure = IssuerError("the CA is down")
    result = house.run()
    assert not result.is_good
    (call,) = [call for call in result.calls if call.job is Job.RECONCILE]
    assert house.now + timedelta(seconds=48) <= call.at <= house.now + timedelta(minutes=1)
    assert call.why == "home: the replaced certificate is to be revoked"
    assert house.world.reporter.texts(Level.ERROR) == ["the CA is down"]
    orders = len(house.issuer.orders)
    house.world.revokers.failure = None
    assert house.run().is_good  # it rests
    assert house.revoked == []
    result = house.at(call.at).run()
    assert result.is_good
    assert len(house.revoked) == 1
    assert len(house.issuer.orders) == orders
    assert house.world.watch.setbacks() == ()
    assert "revoked" not in result.calls[0].why


def test_a_revocation_that_fails_again_rests_longer_and_is_told(house: Used) -> None:
    """A key in strange hands is worth a message, not 144 passes a day; its end is told as well."""
    house.revoke()
    house.world.revokers.failure = IssuerError("the CA is down")
    house.run()
    assert house.messenger.sent == []
    passes, start = 0, house.now
    while house.now < start + timedelta(days=1):
        calls = [call for call in house.run().calls if call.job is Job.RECONCILE]
        house.at(calls[0].at)
        passes += 1
    assert passes < 6
    titles = [title for title, _ in house.messenger.sent]
    assert titles == ["a replaced certificate home could not be revoked: the CA is down"]
    assert house.messenger.heartbeats == 2  # in use, and while the first failure rested
    house.world.revokers.failure = None
    assert house.run().is_good
    assert len(house.revoked) == 1
    assert "No longer so" in house.messenger.sent[-1][1]


def test_what_the_ca_refuses_to_revoke_is_told_and_rests_a_day(house: Used) -> None:
    """The pass has failed for as long as it stands; a person's wish is passed on at once."""
    house.revoke()
    refusal = IssuerError("the CA does not accept the reason", "another reason", permanent=True)
    house.world.revokers.failure = refusal
    result = house.run()
    assert len(house.messenger.sent) == 1
    (call,) = [call for call in result.calls if call.job is Job.RECONCILE]
    assert call.at == house.now + timedelta(days=1)
    house.world.revokers.failure = None
    assert not house.run().is_good
    assert house.revoked == []
    assert house.run(named=["home"]).is_good
    assert len(house.revoked) == 1


def test_another_reason_is_tried_at_once(house: Used) -> None:
    """What the CA had against the first one is over."""
    house.revoke(RevocationReason.SUPERSEDED)
    old = house.stored().certificate.fingerprint
    house.world.revokers.failure = IssuerError("not that reason", permanent=True)
    house.run()
    house.world.revokers.failure = None
    (pending,) = house.world.ledger.pending_revocations("home")
    house.world.ledger.request_revocation(replace(pending, reason=COMPROMISED))
    assert house.run().is_good
    assert house.revoked == [(old, COMPROMISED)]


def test_a_wrong_clock_discards_no_revocation(house: Used) -> None:
    """Only whoever knows the date can say that a certificate has expired."""
    house.revoke()
    house.world.revokers.failure = IssuerError("the CA is down")
    house.run()
    house.world.revokers.failure = None
    house.world.time_sources.state = False
    house.after(timedelta(days=400)).run()
    assert len(house.revoked) == 1


def test_a_date_is_asked_for_before_a_revocation_is_dropped(house: Used) -> None:
    """Where no time service can tell, a server can."""
    house.revoke()
    house.world.revokers.failure = IssuerError("the CA is down")
    house.run()
    sources = house.world.time_sources
    sources.state, sources.difference = None, timedelta()
    asked = sources.asked
    house.after(timedelta(minutes=2)).run()
    assert sources.asked > asked


def test_a_revocation_waits_for_its_deploy_without_passes_of_its_own(house: Used) -> None:
    """While the replacement cannot be put to use the deploy's back-off is the next call."""
    house.revoke()
    house.target.program.reload_error = TargetError("it does not answer")
    for _ in range(3):
        result = house.run()
        (call,) = [call for call in result.calls if call.job is Job.RECONCILE]
        assert "deploy" in call.why
        house.at(call.at)
    assert house.revoked == []


def test_a_full_disk_keeps_nobody_from_revoking(
    house: Used, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be settled is asked for again, ten minutes later: revoked already is no harm."""
    house.revoke()
    house.world.revokers.failure = IssuerError("the CA is down")
    house.run()
    house.world.revokers.failure = None

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    for name in ("record", "settle_revocation"):
        monkeypatch.setattr(house.world.ledger, name, full)
    for name in ("save_setback", "clear_setback"):
        monkeypatch.setattr(house.world.watch, name, full)
    assert not house.after(timedelta(minutes=1)).run().is_good
    assert len(house.revoked) == 1


def test_what_is_no_longer_kept_is_no_silent_success(house: Used) -> None:
    """A person hears once that it was not revoked, and what to do; later passes are good again."""
    house.revoke()
    house.world.certificates.load_version = lambda *_: None  # type: ignore[method-assign]
    result = house.run()
    assert not result.is_good
    assert "not revoked" in house.world.reporter.texts(Level.ERROR)[0]
    assert house.run().is_good


def test_what_has_expired_need_not_be_revoked(house: Used) -> None:
    """A CA that refuses expired certificates does not fail every pass for ever."""
    house.revoke()
    house.world.revokers.failure = IssuerError("the CA is down")
    assert not house.run().is_good
    house.world.clock.advance(timedelta(days=100))
    result = house.run()
    assert result.is_good
    assert house.revoked == []


def test_the_last_reason_counts(house: Used) -> None:
    """A person who learns that the key is out can say so while the first request waits."""
    house.revoke(RevocationReason.SUPERSEDED)
    house.revoke(COMPROMISED)
    house.run()
    assert [reason for _, reason in house.revoked] == [COMPROMISED]


def test_a_second_request_does_not_forget_the_first(house: Used) -> None:
    """The replacement may have to be revoked as well: both are."""
    first = house.stored()
    house.revoke()
    house.target.program.is_deaf = True
    house.run()
    second = house.stored()
    house.revoke()
    house.target.program.is_deaf = False
    assert house.run().is_good
    fingerprints = {fingerprint for fingerprint, _ in house.revoked}
    assert fingerprints == {first.certificate.fingerprint, second.certificate.fingerprint}


def test_there_must_be_something_to_revoke() -> None:
    """Before the first certificate it is a usage error."""
    with pytest.raises(UsageError):
        request_revocation(FakeWorld(), "home", COMPROMISED, NOW, is_urgent=False)
