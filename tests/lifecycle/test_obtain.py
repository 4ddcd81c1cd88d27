"""Obtaining with fakes: what is written down before each step, and what is left after a failure."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certwarden.errors import (
    Error,
    IssuerError,
    MaterialError,
    NotNowError,
    StoreError,
    UsageError,
    ZoneError,
)
from certwarden.lifecycle.obtain import ROOM_NEEDED, Desk, rehearse, sweep
from certwarden.model import AttemptOutcome, Cause, Chains, KeyType, Stored
from certwarden.pki.certificate import renewal_certificate_id
from certwarden.ports import Level
from tests.builders import DIRECTORY, NOW, a_certificate_spec, a_renewal_info, a_stored
from tests.fakes_store import FakeClock
from tests.fakes_zone import FakeLook
from tests.lifecycle.house import FALLBACK, House


@pytest.fixture
def house() -> House:
    return House(staging=True)


def test_an_order_goes_through_all_its_phases(house: House) -> None:
    """Stored, attempted with success, no TXT record and no draft left."""
    stored = house.obtain().stored
    assert set(stored.certificate.names) == set(house.spec.domains)
    assert [a.outcome for a in house.world.ledger.attempts] == [AttemptOutcome.OBTAINED]
    assert house.has_no_litter()
    assert house.world.certificates.drafts == {}


def test_key_and_order_are_saved_before_the_challenges(house: House) -> None:
    """What a resumed order needs is on disk before any TXT record is made (invariant 2)."""
    house.zone.fail("create", ZoneError("no reply"))
    with pytest.raises(ZoneError):
        house.obtain()
    draft = house.world.certificates.drafts["home"]
    assert draft.order_url
    first = house.world.certificates.saved_drafts[0]
    assert (first.order_url, first.key_pem) == ("", draft.key_pem)


@pytest.mark.parametrize("method", ["open", "validate", "finalize"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "applied-but-lost"])
def test_a_failure_is_resumed_with_the_same_order(
    house: House, method: str, *, after: bool
) -> None:
    """One order for one need, whatever fails between placing it and its certificate."""
    error = IssuerError("the connection was lost")
    house.issuer.fail(method, error, after=after)  # type: ignore[arg-type]
    with pytest.raises(IssuerError):
        house.obtain()
    assert house.has_no_litter()
    house.obtain()
    assert len(house.issuer.orders) == 1


def test_an_order_that_is_gone_is_made_anew(house: House) -> None:
    """What the CA no longer holds open cannot be resumed."""
    house.issuer.fail("validate", IssuerError("the connection was lost"))
    with pytest.raises(IssuerError):
        house.obtain()
    house.issuer.forget_orders()
    assert house.obtain().stored.version == 1


@pytest.mark.parametrize(
    "change",
    [
        {"domains": ("example.org",)},
        {"key_type": KeyType.ECDSA_P384},
        {"profile": "shortlived"},
    ],
)
def test_a_draft_for_another_wish_is_not_resumed(house: House, change: dict[str, object]) -> None:
    """A draft whose names, key type or profile no longer fit gives way to a new order."""
    house.issuer.fail("validate", IssuerError("the connection was lost"))
    with pytest.raises(IssuerError):
        house.obtain()
    spec = replace(house.spec, **change)  # type: ignore[arg-type]
    stored = house.obtain(spec=spec).stored
    assert set(stored.certificate.names) == set(spec.domains)


def test_a_draft_that_has_become_a_version_is_not_resumed(house: House) -> None:
    """A kill between the switch and the forgetting of the draft costs no stale certificate."""
    first = house.obtain().stored
    draft = house.world.certificates.saved_drafts[-1]
    house.world.certificates.save_draft(draft)
    second = house.obtain().stored
    assert second.certificate.fingerprint != first.certificate.fingerprint
    assert second.pair.key_pem != first.pair.key_pem


def test_every_record_is_written_down_before_it_is_made(house: House) -> None:
    """A create whose reply was lost is swept by the next pass (invariant 3)."""
    house.zone.fail("create", ZoneError("no reply"), applied=True)
    house.zone.fail("remove", ZoneError("no reply either"))
    with pytest.raises(ZoneError):
        house.obtain()
    assert house.zone.records
    assert house.world.ledger.leftovers()
    assert sweep(house.world) == (2, None)
    assert house.has_no_litter()


def test_a_failed_clean_up_does_not_lose_the_certificate(house: House) -> None:
    """The certificate is stored, a person hears, the pass is not good, and the next one sweeps."""
    house.zone.fail("remove", ZoneError("no reply"))
    result = house.run()
    assert not result.is_good
    assert result.certificates[0].stored is not None
    assert house.world.reporter.texts(Level.ERROR)
    assert house.run().swept == 2
    assert house.has_no_litter()


def test_an_interruption_removes_the_records(house: House) -> None:
    """Ctrl-C while the CA validates: what is in `finally` runs."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    house.issuer.validate = interrupt  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        house.obtain()
    assert house.has_no_litter()


def test_a_timeout_of_the_check_is_advice(house: House) -> None:
    """Where not all servers show the records the order goes on, with a warning."""
    house.propagation.look = FakeLook(agreed=False, detail="ns2 does not show it")
    house.obtain()
    (warning,) = house.world.reporter.texts(Level.WARNING)
    assert "ns2 does not show it" in warning


def test_authorizations_that_are_valid_need_no_records(house: House) -> None:
    """An order without open challenges never touches the DNS provider."""
    house.obtain()
    calls = house.zone.calls_of("create")
    house.issuer.reuses = set(house.spec.domains)
    house.obtain()
    assert house.zone.calls_of("create") == calls


def test_a_full_disk_is_told_before_anything_is_ordered(house: House) -> None:
    """What cannot be stored is not ordered."""
    house.world.certificates.free = ROOM_NEEDED - 1
    with pytest.raises(StoreError, match="full"):
        house.obtain()
    assert not house.issuer.orders


def test_a_failure_is_recorded_with_its_hint(house: House) -> None:
    """`status` and `history` can tell later what failed and what to do."""
    house.issuer.fail("place", IssuerError("refused", "do this", permanent=True))
    with pytest.raises(Error):
        house.obtain()
    (failure,) = house.world.ledger.failures("home")
    assert (failure.what, failure.hint) == ("refused", "do this")
    assert failure.cause is Cause.CONFIGURATION
    assert house.world.ledger.history[-1].kind == "obtain-failed"


def test_a_rehearsal_leaves_nothing(house: House) -> None:
    """It asks the staging directory only, and keeps neither version nor draft nor record."""
    pair = rehearse(Desk(house.world), house.spec, NOW)
    assert set(pair.certificate.names) == set(house.spec.domains)
    assert not house.issuer.orders
    assert not house.world.certificates.versions
    assert not house.world.certificates.saved_drafts
    assert house.has_no_litter()


def test_a_rehearsal_that_leaves_records_has_failed(house: House) -> None:
    """It is there to show that all of it works."""
    house.zone.fail("remove", ZoneError("no reply"))
    with pytest.raises(ZoneError):
        rehearse(Desk(house.world), house.spec, NOW)


def test_a_wrong_clock_does_not_cost_the_order(house: House) -> None:
    """A certificate that is not valid now is asked for again when the clock is right."""
    house.issuer.clock = FakeClock()
    house.after(timedelta(days=-30))
    for _ in range(3):
        with pytest.raises(NotNowError):
            house.obtain()
    assert len(house.issuer.orders) == 1
    house.after(timedelta(days=30)).obtain()
    assert len(house.issuer.orders) == 1


def test_a_full_ledger_does_not_unmake_a_certificate(house: House) -> None:
    """What is stored is stored; that it could not be recorded is told."""

    def end_attempt(*_: object) -> None:
        raise StoreError("the disk is full")

    house.world.ledger.end_attempt = end_attempt  # type: ignore[method-assign, assignment]
    assert house.obtain().stored.version == 1
    assert house.world.reporter.texts(Level.ERROR) == ["the disk is full"]


def test_one_failing_certificate_does_not_hold_up_another(house: House) -> None:
    """A pass goes on after an error."""
    barn = a_certificate_spec("barn", domains=("barn.example.org",))
    house.specs.append(barn)
    house.issuer.sees = lambda name, _: name != "_acme-challenge.example.org"
    result = house.run()
    assert [each.error is None for each in result.certificates] == [False, True]
    assert not result.is_good


def test_what_another_process_renewed_meanwhile_is_not_ordered_again(house: House) -> None:
    """After waiting for the lock it looks again."""
    world = house.world
    taken = world.locks.orders

    def orders() -> object:
        world.certificates.versions.setdefault("home", []).append(a_stored(obtained_at=NOW))
        return taken()

    world.locks.orders = orders  # type: ignore[method-assign, assignment]
    result = house.run()
    assert result.is_good
    assert not house.issuer.orders


def test_what_cannot_be_read_does_not_hold_up_the_others(house: House) -> None:
    """Unreadable files are an error of that certificate alone; nothing is ordered for it."""
    barn = a_certificate_spec("barn", domains=("barn.example.org",))
    load = house.world.certificates.load

    def load_all_but_home(name: str) -> Stored | None:
        if name == "home":
            raise StoreError("versions/0001 may not be read", "see its mode")
        return load(name)

    house.world.certificates.load = load_all_but_home  # type: ignore[method-assign]
    house.specs.append(barn)
    result = house.run()
    assert [each.error is None for each in result.certificates] == [False, True]
    assert [order.domains for order in house.issuer.orders.values()] == [barn.domains]


# ── what an order replaces (RFC 9773 section 5) ───────────────────────────────────────────────────

ACCOUNT = f"{DIRECTORY}/account/1"


def replaced(house: House, stored: Stored, *, start: int = -1, end: int = 1) -> list[str | None]:
    """What orders say that they replace, if the CA's window lies so many days from now."""
    house.put(stored)
    info = a_renewal_info(
        stored.certificate.fingerprint,
        start=NOW + timedelta(days=start),
        end=NOW + timedelta(days=end),
    )
    house.world.suggestions.save_renewal_info(info)
    house.obtain()
    return [order.replaces for order in house.issuer.orders.values()]


def test_inside_the_window_an_order_says_what_it_replaces(house: House) -> None:
    """By the account that had it issued, or where that was not written down."""
    for account_url in (ACCOUNT, ""):
        each = House()
        stored = a_stored(account_url=account_url)
        assert replaced(each, stored) == [renewal_certificate_id(stored.pair.chain_pem[0])]
    stored = a_stored(account_url=ACCOUNT)
    expected = renewal_certificate_id(stored.pair.chain_pem[0])
    assert replaced(house, stored, start=0) == [expected]
    assert house.stored().account_url == ACCOUNT


@pytest.mark.parametrize(
    ("stored", "start", "end"),
    [
        (a_stored(account_url=ACCOUNT), 1, 2),
        (a_stored(account_url=ACCOUNT), -2, 0),
        (a_stored(account_url=f"{DIRECTORY}/account/2"), -1, 1),
        (a_stored(account_url=ACCOUNT, directory_url="https://other.example/"), -1, 1),
    ],
    ids=["too early", "too late", "another account", "another CA"],
)
def test_elsewhere_it_says_nothing(house: House, stored: Stored, start: int, end: int) -> None:
    """Only inside the window is the order exempt from limits, and only for the same account."""
    assert replaced(house, stored, start=start, end=end) == [None]


def test_without_a_suggestion_nothing_is_said(house: House) -> None:
    """Neither for the first certificate nor where the CA has no window."""
    house.obtain()
    house.obtain()
    assert [order.replaces for order in house.issuer.orders.values()] == [None, None]


# ── resuming ──────────────────────────────────────────────────────────────────────────────────────


def test_a_garbled_download_is_asked_for_once_more_and_then_ordered_anew(house: House) -> None:
    """The same answer twice is the CA's last word."""
    house.issuer.finalize = lambda *_: Chains(b"garbled")  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(MaterialError):
            house.obtain()
    assert len(house.issuer.orders) == 1
    del house.issuer.finalize
    house.obtain()
    assert len(house.issuer.orders) == 2


def test_a_draft_of_another_ca_is_not_resumed(house: House) -> None:
    """The fallback knows nothing of the first one's orders."""
    house.issuer.fail("validate", IssuerError("the connection was lost"))
    with pytest.raises(IssuerError):
        house.obtain()
    stored = house.obtain(directory_url=FALLBACK).stored
    assert stored.directory_url == FALLBACK
    assert len(house.fallback.orders) == 1


def test_the_fallback_has_a_profile_of_its_own() -> None:
    """Or none, whatever the first one's is."""
    house = House(a_certificate_spec(profile="shortlived", fallback_urls=[FALLBACK]))
    house.world.policy = replace(house.world.policy, fallback_profiles={FALLBACK: None})
    stored = house.obtain(directory_url=FALLBACK).stored
    assert stored.profile is None
    assert house.obtain().stored.profile == "shortlived"


def test_a_rehearsal_needs_a_staging_directory() -> None:
    """It is never done at the real one."""
    house = House()
    with pytest.raises(UsageError):
        rehearse(Desk(house.world), house.spec, NOW)
    assert not house.issuer.orders


def test_what_the_first_ca_has_issued_is_fetched_before_another_is_asked() -> None:
    """Its reply was lost and it was away for long: no certificate is ordered for the same need."""
    house = House(a_certificate_spec(fallback_urls=[FALLBACK]))
    house.issuer.fail("finalize", IssuerError("no reply"), after=True)
    with pytest.raises(IssuerError):
        house.obtain()
    obtained = house.obtain(directory_url=FALLBACK)
    assert obtained.stored.directory_url == DIRECTORY
    assert house.attempts[-1].directory_url == DIRECTORY
    assert (len(house.issuer.orders), len(house.fallback.orders)) == (1, 0)


def test_what_was_never_issued_there_keeps_nobody_from_another_ca() -> None:
    """An order that is only pending, or does not answer, is left."""
    house = House(a_certificate_spec(fallback_urls=[FALLBACK]))
    house.issuer.fail("validate", IssuerError("no reply"))
    with pytest.raises(IssuerError):
        house.obtain()
    assert house.obtain(directory_url=FALLBACK).stored.directory_url == FALLBACK
