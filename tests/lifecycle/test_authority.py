"""The private CA in a pass: its lists never lapse, whatever is lost, locked or wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from certwarden.errors import ClockError, LockedError, StoreError, UsageError
from certwarden.lifecycle.authority import (
    NUMBER_JUMP,
    client_trust,
    create_authority,
    observe_authority,
    renew_root,
)
from certwarden.lifecycle.issue import ClientRequest, issue
from certwarden.lifecycle.plan import agenda
from certwarden.lifecycle.reconcile import Wish, reconcile
from certwarden.lifecycle.withdraw import unlock
from certwarden.model import (
    Admission,
    AuthoritySpec,
    Job,
    MaintenanceWindow,
    ProofOutcome,
    RevocationReason,
    Revoked,
    Secret,
    StepKind,
    UnitReload,
    UnitVerb,
)
from certwarden.pki.crl import build_crl, check_trust
from certwarden.pki.protection import decrypt_key
from tests.fakes_authority import FakeAuthority, FakeBelongings, a_register
from tests.lifecycle.client_house import ClientHouse
from tests.lifecycle.facts import DAY, HOUR, MINUTE
from tests.lifecycle.house import House

RESTART = UnitReload("nodered.service", UnitVerb.RESTART)
PASSPHRASE = Secret(b"correct horse battery staple")


# ── founding ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def empty() -> House:
    """A house with [authority] in its configuration, and no CA yet."""
    house = House()
    house.world.authority_spec = AuthoritySpec("Home", Path("/nowhere/ca.passphrase"))
    return house


def found(house: House, *, is_locked: bool = False) -> None:
    """As `ca init` does: the key is opened by the passphrase that it was given."""
    world = house.world
    create = world.authority.create

    def create_and_open(root_pem: bytes, key_pem: Secret, *, is_locked: bool) -> None:
        create(root_pem, key_pem, is_locked=is_locked)
        world.key = decrypt_key(key_pem, PASSPHRASE)

    world.authority.create = create_and_open  # type: ignore[method-assign]
    create_authority(world, passphrase=PASSPHRASE, is_locked=is_locked)


def test_a_founded_authority_has_a_list(empty: House) -> None:
    """From the first moment there is something to judge clients by."""
    found(empty)
    seen = observe_authority(empty.world)
    assert seen is not None
    assert seen.root is not None
    assert seen.root.name.startswith("Home 2026 ")
    assert seen.crl is not None
    assert seen.crl.number == 1
    assert seen.probe is not None
    assert seen.probe.serial in seen.crl.serials


def test_a_locked_authority_has_lists_for_a_year(empty: House) -> None:
    """So that nobody is locked out while nobody types a passphrase."""
    found(empty, is_locked=True)
    seen = observe_authority(empty.world)
    assert seen is not None
    assert seen.crl is not None
    assert [rung.number for rung in seen.ladder] == list(range(2, len(seen.ladder) + 2))
    assert seen.ladder[-1].next_update >= empty.now + 365 * DAY


def test_only_one_authority_is_founded(empty: House) -> None:
    """A second one would lock all clients of the first out."""
    found(empty)
    with pytest.raises(UsageError, match="there is a private CA already"):
        create_authority(empty.world, passphrase=PASSPHRASE, is_locked=False)


def test_another_authority_retires_the_clients_of_the_one_before(empty: House) -> None:
    """After a theft everybody gets a new certificate under the old name."""
    found(empty)
    (old,) = issue(empty.world, [ClientRequest("alice")])
    empty.world.authority = FakeAuthority()
    found(empty)
    entry = empty.world.register.find(old.certificate.serial)
    assert entry is not None
    assert entry.reason is RevocationReason.CESSATION_OF_OPERATION
    assert issue(empty.world, [ClientRequest("alice")])


def test_nothing_is_founded_at_a_doubtful_hour(empty: House) -> None:
    """A root from the future would let nobody in."""
    empty.world.time_sources.state = False
    with pytest.raises(ClockError):
        create_authority(empty.world, passphrase=PASSPHRASE, is_locked=False)
    assert empty.world.authority.root() is None


def test_without_a_section_there_is_no_authority() -> None:
    """The sentence says what to add."""
    house = House()
    assert observe_authority(house.world) is None
    with pytest.raises(UsageError, match="no private CA in the configuration"):
        create_authority(house.world, passphrase=PASSPHRASE, is_locked=False)


def test_a_pass_without_an_authority_signs_nothing(empty: House) -> None:
    """A section whose CA was not founded yet is no failure of a pass."""
    assert empty.run().is_good
    assert empty.world.register.last_number() == 0


# ── the list never lapses ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_locked", [False, True])
@pytest.mark.parametrize("crl_days", [3, 30])
def test_no_instant_of_a_month_is_without_a_good_list(
    is_locked: bool,  # noqa: FBT001 - a row
    crl_days: int,
) -> None:
    """Thirty days of passes: published and installed lists are neither expired nor from ahead."""
    house = ClientHouse(is_locked=is_locked, crl_days=crl_days, lifetime=timedelta(days=90))
    end = house.now + 30 * DAY
    numbers = [house.crl.number]
    while house.now < end:
        result = house.run()
        called = min(call.at for call in result.calls)
        then = min(called, house.now + 6 * HOUR)
        for share in range(1, 5):
            instant = house.now + (then - house.now) * share / 4
            assert house.crl.is_current_at(instant)
            installed = house.target.shelf.installed()
            assert installed is not None
            assert installed.trust is not None
            check_trust(installed.trust, instant)
        house.at(max(then, house.now + MINUTE))
        numbers.append(house.crl.number)
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0]
    assert "certwarden_crl_next_update_timestamp_seconds" in house.world.metric.text


def test_a_pass_that_meets_an_unlocking_publishes_nothing_old() -> None:
    """Whoever waited for the lock looks again: the ladder may be another by now."""
    house = ClientHouse(is_locked=True)
    house.after(11 * DAY)
    take = house.world.locks.authority

    @contextmanager
    def unlocked_meanwhile() -> Iterator[None]:
        house.world.locks.authority = take  # type: ignore[method-assign]
        house.world.key = house.key
        assert unlock(house.world, house.specs).is_good
        house.world.key = None
        with take():
            yield

    house.world.locks.authority = unlocked_meanwhile  # type: ignore[method-assign]
    number = house.authority.last_number
    assert house.run().authority_error is None
    assert house.crl.number == number + 1


def test_a_long_sleep_ends_with_a_list() -> None:
    """A machine that was off for two months signs and installs one in its first pass."""
    house = ClientHouse()
    alice = house.client()
    house.after(60 * DAY)
    assert house.admission(alice) is Admission.REFUSED
    house.run()
    assert house.admission(alice) is Admission.LET_IN


def test_the_first_pass_of_the_daemon_signs() -> None:
    """The daemon's start brings a list, and the pass after it none."""
    house = ClientHouse()
    number = house.crl.number
    reconcile(house.world, house.specs, Wish(is_starting=True))
    assert house.crl.number == number + 1
    house.run()
    assert house.crl.number == number + 1


def test_a_daily_list_restarts_nothing() -> None:
    """The program that cannot reload goes on with its list until that is past half its life."""
    house = ClientHouse(reload=RESTART)
    reloads = house.target.program.reloads
    for _ in range(14):
        house.after(DAY).run()
    assert house.target.program.reloads == reloads
    house.after(2 * DAY).run()
    assert house.target.program.reloads == reloads + 1
    installed = house.target.shelf.installed()
    assert installed is not None
    assert installed.trust is not None
    assert installed.trust.crl == house.crl


def test_a_window_holds_no_ageing_list_back() -> None:
    """Whoever wants restarts at night gets one at noon before everybody is locked out."""
    house = ClientHouse(reload=RESTART)
    policy = house.world.policy
    object.__setattr__(policy, "maintenance", MaintenanceWindow(time(3), time(5)))
    object.__setattr__(policy, "zone", ZoneInfo("UTC"))
    reloads = house.target.program.reloads
    house.after(16 * DAY).run()  # it is noon
    assert house.target.program.reloads == reloads + 1


def test_plan_says_when_the_next_list_is_signed() -> None:
    """A step of its own, with its instant."""
    house = ClientHouse()
    steps = agenda([house.seen()], 0, house.now, house.world.policy, authority=house.authority)
    (step,) = [step for step in steps if step.kind is StepKind.SIGN_CRL]
    assert step.at == house.now + DAY


# ── what may be wrong ─────────────────────────────────────────────────────────────────────────────


def test_a_lost_passphrase_is_told() -> None:
    """It is no reason to fail anything else; a person hears of it before the list ends."""
    house = ClientHouse()
    house.world.key = None
    result = house.after(2 * DAY).run()
    assert isinstance(result.authority_error, LockedError)
    house.after(HOUR).run()
    assert "could not be brought up to date" in house.messenger.sent[-1][1]
    house.world.key = house.key
    house.after(HOUR).run()
    assert "No longer so" in house.messenger.sent[-1][1]


def test_what_a_command_has_signed_is_no_failure_any_more() -> None:
    """Once a revocation has brought the list up to date, nothing is left of what failed."""
    house = ClientHouse()
    house.client()
    house.world.key = None
    house.after(2 * DAY).run()
    assert house.world.watch.setbacks()
    house.world.key = house.key
    assert house.withdraw().is_good
    house.run()
    assert not house.world.watch.setbacks()


def test_near_its_end_the_authority_signs_no_more_than_daily() -> None:
    """A probe that ends with it is not replaced in each pass."""
    house = ClientHouse()
    house.at(house.root.not_after - 30 * DAY).run()
    number = house.crl.number
    result = house.after(HOUR).run()
    assert house.crl.number == number
    assert min(call.at for call in result.calls if call.job is Job.CRL) > house.now + HOUR


def test_an_unreadable_authority_is_told() -> None:
    """Certificates are renewed all the same."""
    house = ClientHouse()
    house.world.authority.failure = StoreError("root.pem cannot be read", "look at the disk")
    result = house.run()
    assert not result.is_good
    assert result.certificates[0].is_good
    assert "root.pem cannot be read" in house.messenger.sent[-1][1]


def test_a_contradicted_clock_signs_nothing() -> None:
    """A list from the future would lock everybody out."""
    house = ClientHouse()
    house.world.time_sources.state = False
    number = house.crl.number
    house.after(20 * DAY).run()
    assert house.crl.number == number


def test_an_unvouched_clock_replaces_what_ages() -> None:
    """Where nobody can tell the time the list must not lapse; a person is told."""
    house = ClientHouse()
    house.world.time_sources.state = None
    number = house.crl.number
    house.after(10 * DAY).run()
    assert house.crl.number == number
    house.after(6 * DAY).run()
    assert house.crl.number == number + 1
    assert "nobody vouches for" in " ".join(house.warnings)


def test_a_list_that_a_wrong_clock_dated_is_replaced() -> None:
    """Once the clock is right again, whatever it dated in the future is signed anew."""
    house = ClientHouse()
    alice = house.client()
    house.after(400 * DAY).run()
    house.world.watch.set_floor(house.now - 400 * DAY)
    house.after(-400 * DAY)
    assert house.admission(alice) is Admission.REFUSED
    house.run()
    assert house.admission(alice) is Admission.LET_IN


def test_a_lost_register_learns_from_the_published_list() -> None:
    """No revocation is forgotten with the database, and no number is given twice."""
    house = ClientHouse()
    alice = house.client()
    house.withdraw()
    number = house.crl.number
    house.world.register = a_register()
    house.after(2 * DAY).run()
    assert house.crl.number == number + NUMBER_JUMP + 1
    assert alice.certificate.serial in house.crl.serials
    assert house.admission(alice) is Admission.REFUSED


def test_a_lost_state_learns_from_the_targets() -> None:
    """Where register and published list are gone, or are of an old copy, targets have the last."""
    house = ClientHouse()
    alice = house.client()
    house.withdraw()
    number = house.crl.number
    house.world.register = a_register()
    del house.world.authority.published[1:]
    house.after(2 * DAY).run()
    assert house.crl.number == number + NUMBER_JUMP + 1
    assert alice.certificate.serial in house.crl.serials
    assert house.admission(alice) is Admission.REFUSED


def test_targets_that_cannot_be_read_hold_up_no_list() -> None:
    """What they have is looked at by the way."""
    house = ClientHouse()
    number = house.crl.number
    belongings = FakeBelongings(list)
    belongings.failure = StoreError("a target cannot be read")
    house.world.belongings = belongings
    house.after(2 * DAY).run()
    assert house.crl.number == number + 1


def test_a_foreign_list_is_never_put_in_place() -> None:
    """What another CA has signed is no list of ours: one of our own takes its place."""
    house = ClientHouse()
    other = ClientHouse()
    alice = house.client()
    foreign = build_crl(
        other.root.pem,
        other.key,
        number=house.crl.number + 5,
        at=house.now,
        lifetime=30 * DAY,
        entries=[Revoked("0a", house.now, RevocationReason.UNSPECIFIED)],
    )
    house.world.authority.published.append(foreign)
    assert client_trust(house.world, house.now) is None
    house.run()
    installed = house.target.shelf.installed()
    assert installed is not None
    assert installed.trust is not None
    assert installed.trust.crl != foreign
    check_trust(installed.trust, house.now)
    assert house.admission(alice) is Admission.LET_IN


def test_a_renewed_root_lets_everybody_in() -> None:
    """The same key under a longer certificate: clients and lists go on."""
    house = ClientHouse()
    alice = house.client()
    old = house.root
    house.after(DAY)
    renewed = renew_root(house.world)
    assert renewed.not_after > old.not_after
    house.run()
    installed = house.target.shelf.installed()
    assert installed is not None
    assert installed.trust is not None
    assert installed.trust.root_pem == renewed.pem
    assert house.admission(alice) is Admission.LET_IN


# ── who gets in is looked at ──────────────────────────────────────────────────────────────────────


def test_a_pass_looks_daily_who_gets_in() -> None:
    """A program that was led astray by hand is found, told, and forgiven when it is right again."""
    house = ClientHouse()
    trust = house.target.program.judges_by
    house.after(2 * DAY)
    house.target.program.judges_by = None
    house.target.program.is_deaf = True
    result = house.run()
    assert not result.is_good
    assert outcome(house) is ProofOutcome.REFUTED
    assert "a revoked client gets in" in house.messenger.sent[-1][1]
    house.target.program.is_deaf = False
    house.target.program.judges_by = trust
    house.after(DAY).run()
    assert outcome(house) is ProofOutcome.PROVEN


def test_probes_of_the_past_are_forgotten() -> None:
    """The register does not grow by a row a day."""
    house = ClientHouse()
    for _ in range(10):
        house.after(DAY).run()
    with house.world.register._database.reading() as connection:
        (count,) = connection.execute("SELECT count(*) FROM client_certificates").fetchone()
    assert count <= 4


def outcome(house: ClientHouse) -> ProofOutcome:
    return house.authority.proofs["node-red"].outcome
