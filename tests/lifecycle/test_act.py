"""The acting part of a pass: many certificates, failures of every kind, and what holds up whom."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from certwarden.errors import IssuerError, StoreError, TargetError, ZoneError
from certwarden.lifecycle import act, plan, side_by_side
from certwarden.lifecycle.revoke import request_revocation
from certwarden.model import (
    AttemptOutcome,
    Cause,
    CommandReload,
    DeployOutcome,
    HotReload,
    MaintenanceWindow,
    RevocationReason,
    Stored,
    TargetSpec,
    TxtRecord,
    UnitReload,
    UnitVerb,
    Unreachable,
)
from certwarden.ports import Visibility
from tests.builders import DIRECTORY, NOW, a_certificate_spec, a_pair, a_stored, a_target_spec
from tests.fakes_zone import FakeLook
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND
from tests.lifecycle.house import FALLBACK, STAGING, House

NETWORK = IssuerError("the CA could not be reached")
REFUSED = IssuerError("CAA forbids it", "allow it", problem="caa", permanent=True)
NGINX = UnitReload("nginx.service", UnitVerb.RELOAD)
SECRET = "cfut_secret"
PATIENCE = 30


def many(count: int, *, shared: str | None = None, targets: int = 0) -> House:
    """So many certificates for names of their own, or all for the same name."""
    specs = [
        a_certificate_spec(
            f"c{number}",
            domains=(shared or f"c{number}.example.org",),
            targets=[
                a_target_spec(f"t{number}-{each}", certificate=f"c{number}", reload=HotReload())
                for each in range(targets)
            ],
        )
        for number in range(count)
    ]
    return House(*specs)


# ── permanent errors ──────────────────────────────────────────────────────────────────────────────


def refused(house: House) -> House:
    """A first attempt has been refused because of CAA records."""
    house.caa.text = "example.org 0 issue ca.example"
    house.issuer.fail("place", REFUSED)
    assert not house.run().is_good
    return house


def test_while_a_permanent_error_stands_nothing_is_asked_and_the_pass_fails() -> None:
    """Its sentence is that of the attempt; the CA is not bothered."""
    house = refused(House())
    for _ in range(3):
        (result,) = house.after(HOUR).run().certificates
        assert result.error is not None
        assert (result.error.what, result.error.hint) == ("CAA forbids it", "allow it")
        assert not result.is_good
    assert house.issuer.calls["place"] == 1
    assert len(house.attempts) == 1
    assert house.caa.looked == [house.spec.domains]


def test_after_a_day_the_cause_is_looked_at_and_that_is_written_down() -> None:
    """No attempt; the next look is due a day later."""
    house = refused(House())
    (result,) = house.after(DAY + MINUTE).run().certificates
    assert result.error is not None
    assert house.issuer.calls["place"] == 1
    (attempt,) = house.attempts
    assert attempt.looked_at == house.now
    house.after(HOUR).run()
    assert len(house.caa.looked) == 2
    house.after(DAY).run()
    assert len(house.caa.looked) == 3
    assert house.issuer.calls["place"] == 1


def test_a_cause_that_is_gone_is_followed_by_a_try() -> None:
    """In the same pass."""
    house = refused(House())
    house.caa.text = ""
    assert house.after(DAY + MINUTE).run().is_good
    assert house.stored().version == 1


def test_a_change_of_ours_is_tried_at_once() -> None:
    """No waiting for tomorrow's look, and no look."""
    house = refused(House())
    house.world.setups["home"] = "another configuration"
    assert house.after(MINUTE).run().is_good
    assert len(house.caa.looked) == 1


def test_a_token_is_looked_at_before_anything_is_ordered() -> None:
    """A refused token costs the CA nothing, however long it stays."""
    house = House()
    house.zone.fail("create", ZoneError("the token is refused", "make another", permanent=True))
    house.run()
    assert house.attempts[0].cause is Cause.TOKEN
    calls = dict(house.issuer.calls)
    for _ in range(5):
        house.zone.fail("verify", ZoneError("still refused", "make another", permanent=True))
        (result,) = house.after(DAY + MINUTE).run(is_whole=False).certificates
        assert result.error is not None
        assert result.error.what == "still refused"
    assert dict(house.issuer.calls) == calls
    assert house.after(DAY + MINUTE).run().is_good
    assert len(house.issuer.orders) == 1


def test_a_look_that_tells_nothing_is_made_again_in_an_hour() -> None:
    """The provider could not be reached: that is no day's look."""
    house = House()
    house.zone.fail("create", ZoneError("the token is refused", permanent=True))
    house.run()
    house.zone.fail("verify", ZoneError("no reply"))
    (result,) = house.after(DAY).run(is_whole=False).certificates
    assert result.error is not None
    assert result.error.what == "no reply"
    house.after(HOUR - SECOND).run(is_whole=False)
    assert house.zone.calls_of("verify") == 1
    assert house.after(SECOND).run(is_whole=False).is_good
    assert house.zone.calls_of("verify") == 2


def test_an_error_of_the_fallback_is_not_taken_for_one_of_the_first() -> None:
    """Of two causes each is looked at for itself, and the look noted with its own attempt."""
    house = House(a_certificate_spec(fallback_urls=[FALLBACK]))
    refused(house)
    house.fallback.fail(
        "place",
        IssuerError("no such account", "see eab", problem="accountDoesNotExist", permanent=True),
    )
    house.after(DAY + MINUTE).run()
    assert [each.directory_url for each in house.attempts] == [DIRECTORY, FALLBACK]
    house.after(HOUR).run()
    assert house.attempts[0].looked_at == house.now
    assert len(house.attempts) == 2


def test_an_error_that_stands_does_not_keep_the_stored_one_from_use() -> None:
    """Stored, installed and served are put right each on its own."""
    house = House(a_certificate_spec(targets=[a_target_spec()]))
    house.put(a_stored(obtained_at=NOW - 61 * DAY), is_used=False)
    refused(house)
    result = house.after(HOUR).run()
    assert not result.is_good
    program = house.world.targets["node-red"].program
    assert program.loaded == house.stored().pair


# ── failures that may go by themselves ────────────────────────────────────────────────────────────


def test_a_failure_is_tried_again_after_its_back_off() -> None:
    """Not before; and by name at once."""
    house = House()
    house.issuer.fail("place", NETWORK, times=2)
    house.run()
    house.after(30 * SECOND).run()
    assert house.issuer.calls["place"] == 1
    assert not house.run(named=["home"]).is_good
    assert house.issuer.calls["place"] == 2
    house.after(2 * MINUTE).run()
    assert house.issuer.calls["place"] == 2
    assert house.after(9 * MINUTE).run().is_good


def test_retry_after_holds_for_people_too() -> None:
    """What the CA asked for is not up to us."""
    house = House()
    busy = IssuerError("too many requests", problem="rateLimited", retry_after=3 * HOUR)
    house.issuer.fail("place", busy)
    house.run()
    (result,) = house.after(2 * HOUR).run(named=["home"]).certificates
    assert result.error is not None
    assert result.error.what.startswith("it is not tried before 2026-11-22 15:00:00 UTC: ")
    (result,) = house.run(force=["home"]).certificates
    assert result.error is not None
    assert house.issuer.calls["place"] == 1
    assert house.run().is_good
    assert house.after(HOUR + MINUTE).run().is_good


@pytest.mark.parametrize("lifetime", [90 * DAY, 64 * DAY, 45 * DAY, 6 * DAY, 60 * SECOND])
def test_a_life_of_renewals(lifetime: timedelta) -> None:
    """Called whenever it asked to be, it renews in time, once for each need."""
    house = House(lifetime=lifetime)
    house.issuer.backdated = timedelta(0)
    assert house.run().is_good
    for renewals in range(1, 6):
        expires_at = house.stored().certificate.not_after
        while house.stored().version == renewals:
            assert house.now < expires_at
            calls = house.run().calls
            house.at(max(calls[0].at, house.now + 10 * SECOND))
    assert len(house.issuer.orders) == house.stored().version


# ── the proof at the staging directory ────────────────────────────────────────────────────────────


def failed_twice(house: House) -> House:
    house.issuer.fail("place", NETWORK, times=2)
    house.run()
    house.run(named=["home"])
    return house


def test_the_third_try_proves_itself_at_the_staging_directory() -> None:
    """The order at the CA is placed when the rehearsal has gone well."""
    house = failed_twice(House(staging=True))
    assert house.staging.calls["place"] == 0
    assert house.after(HOUR).run().is_good
    assert house.staging.calls["finalize"] == 1
    assert house.stored().directory_url == DIRECTORY
    assert house.attempts[-1].directory_url == DIRECTORY


def test_what_staging_refuses_costs_the_ca_nothing() -> None:
    """The attempt has failed there, and is backed off as at the CA."""
    house = failed_twice(House(staging=True))
    calls = dict(house.issuer.calls)
    house.staging.sees = lambda _name, _value: False
    assert not house.after(HOUR).run().is_good
    assert dict(house.issuer.calls) == calls
    assert house.attempts[-1].directory_url == STAGING
    assert house.attempts[-1].outcome is AttemptOutcome.FAILED
    assert house.has_no_litter()
    house.after(HOUR).run()
    assert len(house.attempts) == 3


def test_reused_authorizations_prove_nothing() -> None:
    """They are given up at the staging directory, and ordered again."""
    house = failed_twice(House(staging=True))
    house.staging.reuses = set(house.spec.domains)
    assert house.after(HOUR).run().is_good
    assert len(house.staging.deactivated) == 2
    assert house.staging.calls["place"] == 2
    assert house.staging.calls["validate"] == 1
    assert house.issuer.deactivated == []


def test_a_caa_record_for_our_account_makes_staging_useless_and_that_is_said() -> None:
    """accounturi names the account at the real directory, so another one cannot prove anything."""
    house = failed_twice(House(staging=True))
    house.caa.text = "example.org 0 issue letsencrypt.org; accounturi=https://acme/1"
    house.staging.fail("validate", replace_names(REFUSED))
    assert house.after(HOUR).run().is_good
    (warning,) = house.warnings
    assert warning.startswith("nothing was proven at the staging directory, which is left out: ")
    assert warning.endswith("a CAA record allows only the account at the real one")


def replace_names(error: IssuerError) -> IssuerError:
    """The same, naming whose authorization failed."""
    return IssuerError(
        error.what,
        error.hint,
        problem=error.problem,
        permanent=error.permanent,
        failed_names=("example.org",),
    )


@pytest.mark.parametrize("failed_names", [(), ("example.org",)])
def test_a_caa_record_that_forbids_everybody_is_proof_enough(failed_names: tuple[str, ...]) -> None:
    """It would fail at the CA as well, wherever in the order it is said."""
    house = failed_twice(House(staging=True))
    calls = dict(house.issuer.calls)
    house.caa.text = "example.org 0 issue ca.example"
    house.staging.fail("validate", replace_names(REFUSED) if failed_names else REFUSED)
    assert not house.after(HOUR).run().is_good
    assert dict(house.issuer.calls) == calls
    assert house.attempts[-1].cause is Cause.CAA


@pytest.mark.parametrize("method", ["place", "open", "validate", "finalize"])
def test_an_outage_of_the_staging_directory_is_left_out(method: str) -> None:
    """It is not there to keep certificates from being renewed; a person hears."""
    house = failed_twice(House(staging=True))
    house.staging.fail(method, IssuerError("staging is down", status=503))  # type: ignore[arg-type]
    assert house.after(HOUR).run().is_good
    assert house.warnings == [
        "nothing was proven at the staging directory, which is left out: staging is down"
    ]
    assert house.has_no_litter()


def test_an_order_under_way_needs_no_proof() -> None:
    """It is taken up where it stands."""
    house = House(staging=True)
    house.issuer.fail("validate", NETWORK, times=2)
    house.run()
    house.run(named=["home"])
    assert house.after(HOUR).run().is_good
    assert house.staging.calls == {}
    assert len(house.issuer.orders) == 1


# ── the CA's limits ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("domains", [("example.org",), ("example.org", "*.example.org")])
def test_no_more_than_four_authorizations_fail_in_an_hour(domains: tuple[str, ...]) -> None:
    """By name and by force; an order for a name and its wildcard fails two at once."""
    house = House(a_certificate_spec(domains=domains), limits=True)
    house.issuer.sees = lambda _name, _value: False
    for minute in range(60):
        if minute % 2:
            house.run(named=["home"])
        else:
            house.run(force=["home"])
        house.after(MINUTE)
    assert house.issuer.calls["validate"] == 4 // len(domains)
    house.after(MINUTE).run(named=["home"])
    assert house.issuer.calls["validate"] == 4 // len(domains) + 1


def test_no_more_than_three_certificates_a_week_for_a_set_of_names() -> None:
    """The fourth waits for a week after the first, force or not."""
    house = House(limits=True)
    for _ in range(10):
        house.run(force=["home"])
        house.after(HOUR)
    assert house.stored().version == 3
    house.at(NOW + 7 * DAY).run(force=["home"])
    assert house.stored().version == 4


def test_a_resumed_order_is_counted_once() -> None:
    """Finalized as often as it takes, it is one certificate of the week."""
    house = House(limits=True)
    house.issuer.fail("finalize", NETWORK, times=3)
    for _ in range(4):
        house.after(HOUR).run(named=["home"])
    assert house.stored().version == 1
    assert len(house.world.limits.spent(DIRECTORY, house.spec.domains).issuances) == 1
    for _ in range(2):
        assert house.run(force=["home"]).is_good
    house.run(force=["home"])
    assert house.stored().version == 3


def test_a_kill_before_the_answer_counts_as_a_failed_authorization() -> None:
    """What may have failed at the CA is not given back by a crash."""
    house = House(a_certificate_spec(domains=("example.org",)), limits=True)

    def killed(*_: object) -> None:
        raise SystemExit

    validate = house.issuer.validate
    house.issuer.validate = killed  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemExit):
        house.run()
    spent = house.world.limits.spent(DIRECTORY, house.spec.domains)
    assert len(spent.failed_authorizations["example.org"]) == 1
    house.issuer.validate = validate  # type: ignore[method-assign]
    assert house.run().is_good
    assert house.world.limits.spent(DIRECTORY, house.spec.domains).failed_authorizations == {}


def test_an_answer_without_names_does_not_give_back_what_may_have_failed() -> None:
    """A lost reply is no success."""
    house = House(a_certificate_spec(domains=("example.org",)), limits=True)
    house.issuer.fail("validate", NETWORK)
    house.run()
    spent = house.world.limits.spent(DIRECTORY, house.spec.domains)
    assert len(spent.failed_authorizations["example.org"]) == 1


def test_only_the_names_that_failed_are_counted() -> None:
    """The others of the order are given back."""
    house = House(a_certificate_spec(domains=("a.example.org", "b.example.org")), limits=True)
    house.issuer.sees = lambda name, _value: "b." in name
    house.run()
    spent = house.world.limits.spent(DIRECTORY, house.spec.domains)
    assert list(spent.failed_authorizations) == ["a.example.org"]


def test_limits_hold_for_certificates_that_are_worked_on_at_once() -> None:
    """Ten orders for one name, and ten for one set of names, spend no more than a single one."""
    specs = [a_certificate_spec(f"c{number}", domains=("example.org",)) for number in range(10)]
    failing = House(*specs, limits=True)
    failing.issuer.sees = lambda _name, _value: False
    failing.run()
    assert failing.issuer.calls["validate"] == 4
    assert failing.has_no_litter()
    issued = House(*specs, limits=True)
    issued.issuer.reuses = {"example.org"}
    issued.run()
    assert issued.issuer.calls["finalize"] == 3


def test_staging_is_not_counted() -> None:
    """It has limits of its own, which are generous."""
    house = failed_twice(House(limits=True, staging=True))
    house.staging.sees = lambda _name, _value: False
    for _ in range(8):
        house.run(named=["home"])
    assert house.staging.calls["validate"] == 8


# ── the fallback ──────────────────────────────────────────────────────────────────────────────────


def test_the_fallback_is_used_in_need_and_the_first_comes_back_by_itself() -> None:
    """Its certificate is not taken for a changed wish; the next renewal is at the first again."""
    house = House(a_certificate_spec(fallback_urls=[FALLBACK]))
    house.put(a_stored(obtained_at=NOW - 60 * DAY))
    house.issuer.fail("place", NETWORK, times=1000)
    while house.stored().version == 1:
        house.at(max(house.run().calls[0].at, house.now + MINUTE))
        assert house.now < NOW + 30 * DAY
    assert house.stored().directory_url == FALLBACK
    assert house.now - NOW > 20 * DAY
    calls = dict(house.issuer.calls)
    assert house.after(DAY).run().is_good
    assert dict(house.issuer.calls) == calls
    house.issuer._failures.clear()
    house.after(70 * DAY).run()
    assert house.stored().version == 3
    assert house.stored().directory_url == DIRECTORY


# ── many at once ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "failure", ["place", "open", "validate", "finalize", "store", "propagation", "unreadable"]
)
def test_one_failing_certificate_holds_up_no_other(failure: str) -> None:
    """Whatever fails of one, nineteen are obtained and in use."""
    house = many(20, targets=1)
    if failure == "store":
        commit = house.world.certificates.commit

        def commit_others(draft, chains, now):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            if draft.name == "c7":
                raise StoreError("the disk is full")
            return commit(draft, chains, now)

        house.world.certificates.commit = commit_others  # type: ignore[method-assign]
    elif failure == "propagation":
        house.issuer.sees = lambda name, _value: name != "_acme-challenge.c7.example.org"
        house.propagation.look = FakeLook(agreed=False)
    elif failure == "unreadable":
        load = house.world.certificates.load

        def load_others(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
            if name == "c7":
                raise StoreError("versions/0001 may not be read")
            return load(name)

        house.world.certificates.load = load_others  # type: ignore[method-assign]
    else:
        house.issuer.fail(failure, NETWORK)  # type: ignore[arg-type]
    result = house.run()
    assert [each.name for each in result.certificates] == [spec.name for spec in house.specs]
    assert sum(each.error is None for each in result.certificates) == 19
    in_use = [each for target in result.certificates for each in target.deployed]
    assert [each.outcome for each in in_use] == [DeployOutcome.IN_USE] * 19
    assert house.has_no_litter()


def test_one_waits_for_dns_while_others_go_on() -> None:
    """The slow one is not the measure of all."""
    house = many(3)
    others = threading.Event()
    done = 0
    commit = house.world.certificates.commit

    def note(draft, chains, now):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        nonlocal done
        done += 1
        if done == 2:
            others.set()
        return commit(draft, chains, now)

    def wait(records: tuple[TxtRecord, ...]) -> Visibility:
        if records[0].place.record_name == "_acme-challenge.c1.example.org":
            assert others.wait(PATIENCE)
        return FakeLook()

    house.world.certificates.commit = note  # type: ignore[method-assign]
    house.propagation.wait = wait  # type: ignore[method-assign, assignment]
    assert house.run().is_good


def test_two_orders_for_one_challenge_name_follow_each_other() -> None:
    """They would take each other's TXT records away; both are obtained."""
    house = many(5, shared="example.org")
    standing: list[int] = []
    wait = house.propagation.wait

    def look(records: tuple[TxtRecord, ...]) -> Visibility:
        standing.append(len(house.zone.records))
        return wait(records)

    house.propagation.wait = look  # type: ignore[method-assign, assignment]
    assert house.run().is_good
    assert standing == [1] * 5


def test_a_busy_lock_on_orders_is_waited_for_once() -> None:
    """Fifty certificates do not wait fifty times; each is told, and what is stored is deployed."""
    house = many(50, targets=1)
    for spec in house.specs[:10]:
        house.put(
            a_stored(spec.name, domains=spec.domains, obtained_at=NOW - 61 * DAY), is_used=False
        )
    house.world.locks.busy = {"orders"}
    waits = 0
    taken = house.world.locks.orders

    @contextmanager
    def orders() -> Iterator[None]:
        nonlocal waits
        waits += 1
        with taken():
            yield

    house.world.locks.orders = orders  # type: ignore[method-assign]
    result = house.run()
    assert waits == 1
    assert all(each.error is not None for each in result.certificates)
    assert sum(len(each.deployed) for each in result.certificates) == 10
    assert house.attempts == []


def test_ctrl_c_ends_the_waits_of_all_and_leaves_no_records() -> None:
    """Each thread removes its TXT records although no wait is left to it."""
    house = many(4)
    lock, waiting = threading.Lock(), 0
    all_wait = threading.Event()

    def wait(_records: tuple[TxtRecord, ...]) -> Visibility:
        nonlocal waiting
        with lock:
            waiting += 1
            if waiting == 4:
                all_wait.set()
        assert all_wait.wait(PATIENCE)
        house.world.clock.interrupt()
        house.world.clock.sleep(600)
        return FakeLook()

    house.propagation.wait = wait  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        house.run()
    assert house.has_no_litter()
    assert {each.outcome for each in house.attempts} == {AttemptOutcome.BEGUN}


def test_a_kill_leaves_the_order_for_the_next_pass() -> None:
    """And it is no failure: nothing is backed off."""
    house = House()

    def killed(*_: object) -> None:
        raise SystemExit

    finalize = house.issuer.finalize
    house.issuer.finalize = killed  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemExit):
        house.run()
    house.issuer.finalize = finalize  # type: ignore[method-assign]
    assert house.run().is_good
    assert len(house.issuer.orders) == 1


# ── targets that share a program ──────────────────────────────────────────────────────────────────


def sharing(*reloads: object) -> House:
    """Certificates with one target each, of which those with the same reload share a program."""
    specs = []
    for number, reload in enumerate(reloads):
        target: TargetSpec = a_target_spec(
            f"t{number}",
            certificate=f"c{number}",
            reload=reload,  # type: ignore[arg-type]
        )
        specs.append(
            a_certificate_spec(f"c{number}", domains=(f"c{number}.example.org",), targets=[target])
        )
    house = House(*specs)
    for each in house.world.targets.values():
        each.program.is_unit = True
    return house


def reloads_of(house: House) -> list[int]:
    return [each.program.reloads for each in house.world.targets.values()]


@pytest.fixture
def nginx() -> House:
    """Three sites of one nginx, whose reload takes up the files of all."""
    house = sharing(NGINX, NGINX, NGINX)
    programs = [each.program for each in house.world.targets.values()]
    takes_up = [program.reload for program in programs]

    def reload_all() -> None:
        for each in takes_up:
            each()

    for program in programs:
        program.reload = reload_all  # type: ignore[method-assign]
    return house


def test_a_shared_program_is_reloaded_once(nginx: House) -> None:
    """For all certificates that were obtained in a pass."""
    assert nginx.run().is_good
    assert reloads_of(nginx) == [1, 1, 1]


def test_programs_of_their_own_are_reloaded_each() -> None:
    """Hot reloads and different units have nothing to share; the same command is one program."""
    command = CommandReload(("true",))
    house = sharing(NGINX, UnitReload("other.service", UnitVerb.RELOAD), HotReload(), command)
    assert house.run().is_good
    assert reloads_of(house) == [1, 1, 1, 1]


def test_a_failed_reload_is_rolled_back_for_all_by_one_more(nginx: House) -> None:
    """Each gets its last good pair back; a person hears of each."""
    assert nginx.run().is_good
    old = {name: target.program.loaded for name, target in nginx.world.targets.items()}
    for target in nginx.world.targets.values():
        target.program.is_deaf = True
    result = nginx.run(force=[spec.name for spec in nginx.specs])
    assert [each.deployed[0].outcome for each in result.certificates] == [DeployOutcome.FAILED] * 3
    assert reloads_of(nginx) == [3, 3, 3]
    assert {name: t.program.loaded for name, t in nginx.world.targets.items()} == old
    currents = {name: target.shelf.current for name, target in nginx.world.targets.items()}
    assert {name: each.pair for name, each in currents.items() if each} == old


def test_the_roll_back_of_one_leaves_the_others_in_use(nginx: House) -> None:
    """Who refuses its certificate alone is rolled back alone, by a reload of its own."""
    assert nginx.run().is_good
    deaf = nginx.world.targets["t1"]
    deaf.program.is_deaf = True
    old = deaf.program.loaded
    result = nginx.run(force=[spec.name for spec in nginx.specs])
    outcomes = [each.deployed[0].outcome for each in result.certificates]
    assert outcomes == [DeployOutcome.IN_USE, DeployOutcome.FAILED, DeployOutcome.IN_USE]
    assert reloads_of(nginx) == [3, 3, 3]
    assert deaf.shelf.current is not None
    assert deaf.shelf.current.pair == old
    for name in ("t0", "t2"):
        assert nginx.world.targets[name].program.loaded == nginx.stored(f"c{name[1]}").pair


def test_a_certificate_that_fails_keeps_its_neighbours_from_nothing(nginx: House) -> None:
    """One of three sites has no certificate yet: the others are put to use all the same."""
    nginx.issuer.sees = lambda name, _value: "c1." not in name
    result = nginx.run()
    assert [len(each.deployed) for each in result.certificates] == [1, 0, 1]
    assert [each.is_good for each in result.certificates] == [True, False, True]


def test_a_busy_target_keeps_its_neighbours_from_nothing(nginx: House) -> None:
    """A lock that is not to be had is that target's failure alone."""
    nginx.world.locks.busy = {"target-t1"}
    result = nginx.run()
    outcomes = [each.deployed[0].outcome for each in result.certificates]
    assert outcomes == [DeployOutcome.IN_USE, DeployOutcome.FAILED, DeployOutcome.IN_USE]


# ── what nobody foresaw ───────────────────────────────────────────────────────────────────────────


def spoil_commit(house: House) -> None:
    commit = house.world.certificates.commit

    def commit_others(draft, chains, now):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        if draft.name == "c1":
            raise RuntimeError(SECRET)
        return commit(draft, chains, now)

    house.world.certificates.commit = commit_others  # type: ignore[method-assign]


def spoil_load(house: House) -> None:
    load = house.world.certificates.load

    def load_others(name: str) -> Stored | None:
        if name == "c1":
            raise PermissionError(SECRET)
        return load(name)

    house.world.certificates.load = load_others  # type: ignore[method-assign]


@pytest.mark.parametrize("spoil", [spoil_commit, spoil_load])
def test_a_mistake_of_ours_is_one_certificates_error(
    nginx: House, spoil: Callable[[House], None]
) -> None:
    """Its neighbours are obtained and in use, and the pass comes to its end."""
    spoil(nginx)
    result = nginx.run()
    assert [each.is_good for each in result.certificates] == [True, False, True]
    assert [len(each.deployed) for each in result.certificates] == [1, 0, 1]
    error = result.certificates[1].error
    assert error is not None
    assert error.what.startswith("unforeseen: ")
    assert " in test_act.py, line " in error.what
    assert SECRET not in "".join(nginx.errors)
    assert any("report" in told.hint for told in nginx.world.reporter.told)
    assert result.calls


def test_a_mistake_in_what_a_certificate_needs_keeps_no_other_from_use(
    nginx: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is its old certificate revoked then, for nobody knows whether the new one is in use."""
    needed = plan.deploy_steps

    def steps_of_others(seen, *arguments, **wish):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN202
        if seen.spec.name == "c1":
            raise ZeroDivisionError
        return needed(seen, *arguments, **wish)

    finished: list[str] = []

    def finish(_world, stored, *_, **__) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003
        finished.append(stored.name)

    monkeypatch.setattr(act, "deploy_steps", steps_of_others)
    monkeypatch.setattr(act, "finish_revocations", finish)
    result = nginx.run()
    assert [each.is_good for each in result.certificates] == [True, False, True]
    assert [each.is_new for each in result.certificates] == [True] * 3
    assert [len(each.deployed) for each in result.certificates] == [1, 0, 1]
    assert sorted(finished) == ["c0", "c2"]


@pytest.mark.parametrize("failure", [StoreError("the ledger cannot be read"), ValueError(SECRET)])
def test_a_revocation_that_cannot_be_finished_is_that_certificates_error(
    nginx: House, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """What was deployed stays told."""

    def finish(_world, stored, *_, **__) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003
        if stored.name == "c1":
            raise failure

    monkeypatch.setattr(act, "finish_revocations", finish)
    result = nginx.run()
    assert [each.is_good for each in result.certificates] == [True, False, True]
    assert [len(each.deployed) for each in result.certificates] == [1, 1, 1]


def test_with_few_threads_allowed_all_are_obtained_and_in_use(
    nginx: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever limits them, nothing waits for what cannot begin."""
    monkeypatch.setattr(side_by_side, "_room", threading.Semaphore(1))
    assert nginx.run().is_good
    house = many(10, targets=3)
    assert house.run().is_good


# ── deploys ───────────────────────────────────────────────────────────────────────────────────────


def one_target(reload: object = NGINX, window: MaintenanceWindow | None = None) -> House:
    target = a_target_spec(reload=reload)  # type: ignore[arg-type]
    return House(a_certificate_spec(targets=[target]), window=window)


def test_a_refused_certificate_is_not_tried_in_every_pass() -> None:
    """A deploy has a back-off of its own, and no order is made because of it."""
    house = one_target()
    house.put(a_stored(obtained_at=NOW - DAY))
    program = house.world.targets["node-red"].program
    assert house.run(force=["home"]).is_good
    program.reload_error = TargetError("it would not start")
    assert not house.run(force=["home"]).is_good
    reloads = program.reloads
    for _ in range(20):
        house.run()
    assert program.reloads == reloads
    program.reload_error = None
    assert house.after(MINUTE).run().is_good
    assert program.loaded == house.stored().pair
    assert len(house.issuer.orders) == 2


def test_an_absent_program_is_told_of_in_each_pass() -> None:
    """It is no failure, and it is not forgotten."""
    house = one_target()
    house.put(a_stored())
    target = house.world.targets["node-red"]
    target.program.is_running = False
    house.world.ledger.begin_deploy(
        "node-red",
        house.stored().certificate.fingerprint,
        NOW,
        was_active=False,
        served_before=None,
    )
    house.world.ledger.end_deploy(1, DeployOutcome.UNREACHABLE, NOW, None)
    for count in (1, 2):
        assert house.run().is_good
        assert house.warnings == ["nobody answers"] * count
    assert isinstance(target.probe.look(), Unreachable)


def test_nothing_is_deployed_where_that_is_not_wished() -> None:
    """`renew --no-deploy`: obtained, and no target is even looked at."""
    house = one_target()
    (result,) = house.run(is_deploying=False).certificates
    assert result.is_new
    assert result.deployed == ()
    assert house.world.targets["node-red"].probe.looks == 0


def test_a_revocation_waits_for_a_deploy_that_waits() -> None:
    """The old certificate is in use until the back-off is over, so it is not revoked before."""
    house = one_target()
    assert house.run().is_good
    request_revocation(
        house.world, "home", RevocationReason.KEY_COMPROMISE, house.now, is_urgent=False
    )
    program = house.world.targets["node-red"].program
    program.reload_error = TargetError("it would not start")
    house.run()
    program.reload_error = None
    house.run()
    assert house.world.revokers.revoked == []
    house.after(MINUTE).run()
    assert len(house.world.revokers.revoked) == 1


def test_what_somebody_put_right_meanwhile_is_not_done_again() -> None:
    """Under the target's lock it is looked at again."""
    house = one_target()
    stored = house.put(a_stored(), is_used=False)
    target = house.world.targets["node-red"]
    target.program.loaded = a_pair()
    taken = house.world.locks.target

    @contextmanager
    def put_right(name: str) -> Iterator[None]:
        with taken(name):
            target.shelf.publish(stored.pair)
            target.program.loaded = stored.pair
            yield

    house.world.locks.target = put_right  # type: ignore[method-assign]
    (result,) = house.run().certificates
    assert result.deployed == ()
    assert target.program.reloads == 0


def test_force_counts_for_what_was_stored_when_it_was_said() -> None:
    """Another process renewed while we waited for the lock: that is what was asked for."""
    house = House()
    house.put(a_stored())
    taken = house.world.locks.orders

    @contextmanager
    def renewed_meanwhile() -> Iterator[None]:
        with taken():
            house.put(a_stored(version=2))
            yield

    house.world.locks.orders = renewed_meanwhile  # type: ignore[method-assign]
    (result,) = house.run(force=["home"]).certificates
    assert result.error is None
    assert result.stored is not None
    assert result.stored.version == 2
    assert house.issuer.orders == {}


def test_what_another_process_failed_at_meanwhile_is_not_tried_at_once() -> None:
    """Its back-off counts for us."""
    house = House()
    taken = house.world.locks.orders

    @contextmanager
    def failed_meanwhile() -> Iterator[None]:
        with taken():
            number = house.world.ledger.begin_attempt("home", DIRECTORY, (), house.now)
            house.world.ledger.end_attempt(number, house.now, NETWORK)
            yield

    house.world.locks.orders = failed_meanwhile  # type: ignore[method-assign]
    house.run()
    assert house.issuer.orders == {}
    assert not house.errors


def test_what_becomes_unreadable_while_it_waits_is_an_error() -> None:
    """Nothing is ordered for what cannot be read."""
    house = House()
    taken = house.world.locks.orders

    @contextmanager
    def damaged_meanwhile() -> Iterator[None]:
        with taken():
            house.world.certificates.failure = StoreError("versions/0001 may not be read")
            yield
            house.world.certificates.failure = None

    house.world.locks.orders = damaged_meanwhile  # type: ignore[method-assign]
    (result,) = house.run().certificates
    assert result.error is not None
    assert house.errors == ["versions/0001 may not be read"]
    assert house.attempts == []
