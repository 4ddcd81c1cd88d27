"""What any Issuer and Revoker must do: the fake of the lifecycle's tests, and ACME with Pebble."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.revoker import AcmeRevoker
from certwarden.model import Challenge, KeyType, Order, OrderStatus, RevocationReason
from certwarden.pki.certificate import check_ordered, read_pair
from certwarden.pki.keys import build_csr, generate_key
from certwarden.ports import Clock, Issuer, Revoker
from tests.builders import DOMAINS
from tests.fakes_issuer import FakeIssuer, ordered
from tests.fakes_store import FakeClock
from tests.issuer.conversation import household
from tests.world import World
from tests.world.pebble import PebbleOptions

PROFILE = "shortlived"


@dataclass
class Side:
    """One implementation: `issuer` makes a fresh one, as after a crash, over the same CA."""

    issuer: Callable[[], Issuer]
    revoker: Revoker
    publish: Callable[[Sequence[Challenge]], None]
    clock: Clock


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(pebble=PebbleOptions(authz_reuse=0, profiles={PROFILE: 6 * 86400})) as world:
        yield world


@pytest.fixture(params=["fake", pytest.param("acme", marks=pytest.mark.world)])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "fake":
        clock = FakeClock()
        seen: set[tuple[str, str]] = set()
        fake = FakeIssuer(clock, sees=lambda name, value: (name, value) in seen)
        yield Side(
            issuer=lambda: fake,
            revoker=fake,
            publish=lambda all_: seen.update(
                (each.record_name, each.record_value) for each in all_
            ),
            clock=clock,
        )
        return
    world: World = request.getfixturevalue("world")
    with household(world) as user:
        bundles = {world.directory_url: world.ca_bundle}
        revoker = AcmeRevoker(accounts=user.accounts, clock=user.clock, ca_bundles=bundles)
        yield Side(user.issuer, revoker, user.publish, user.clock)


def ready(side: Side) -> Order:
    issuer = side.issuer()
    order = ordered(issuer, DOMAINS, PROFILE)
    side.publish(order.challenges)
    return issuer.validate(order)


def test_each_name_has_a_challenge(side: Side) -> None:
    """Apex and wildcard share a record name, and have a value each."""
    order = ordered(side.issuer(), DOMAINS, PROFILE)
    assert order.status is OrderStatus.PENDING
    assert order.url
    assert {each.record_name for each in order.challenges} == {"_acme-challenge.example.org"}
    assert {each.identifier for each in order.challenges} == {"example.org"}
    assert len({each.record_value for each in order.challenges}) == len(DOMAINS)
    assert len({each.url for each in order.challenges}) == len(DOMAINS)


def test_the_whole_way_ends_in_what_was_ordered(side: Side) -> None:
    """The chain belongs to the key and is for the names, now."""
    order = ready(side)
    assert (order.status, order.challenges) == (OrderStatus.READY, ())
    key_pem = generate_key(KeyType.ECDSA_P256)
    chains = side.issuer().finalize(order, build_csr(key_pem, DOMAINS))
    check_ordered(read_pair(key_pem, chains.default), DOMAINS, side.clock.now())


def test_open_order_is_picked_up_as_it_was(side: Side) -> None:
    """After a crash the same challenges are still to be answered."""
    order = ordered(side.issuer(), DOMAINS, PROFILE)
    assert side.issuer().open(DOMAINS, order.url) == order


def test_ready_order_is_picked_up(side: Side) -> None:
    """After a crash behind the validation nothing is to be validated again."""
    order = ready(side)
    issuer = side.issuer()
    again = issuer.open(DOMAINS, order.url)
    assert again == order
    assert issuer.validate(again) == order


def test_finished_order_is_downloaded_again(side: Side) -> None:
    """After a crash behind the issuance the same certificate comes again."""
    order, key_pem = ready(side), generate_key(KeyType.ECDSA_P256)
    csr = build_csr(key_pem, DOMAINS)
    first = side.issuer().finalize(order, csr)
    issuer = side.issuer()
    again = issuer.open(DOMAINS, order.url)
    assert again.status is OrderStatus.VALID
    assert issuer.finalize(issuer.validate(again), csr).default == first.default


def test_missing_record_is_an_error_and_ends_the_order(side: Side) -> None:
    """A name that is not validated is told; the order cannot be picked up."""
    issuer = side.issuer()
    order = ordered(issuer, DOMAINS, PROFILE)
    with pytest.raises(IssuerError, match=r"did not validate .*example\.org"):
        issuer.validate(order)
    with pytest.raises(IssuerError) as caught:
        side.issuer().open(DOMAINS, order.url)
    assert caught.value.problem == "orderGone"


def test_unknown_order_is_gone(side: Side) -> None:
    """An order that the CA does not know is told as such."""
    issuer = side.issuer()
    url = ordered(issuer, DOMAINS, PROFILE).url
    with pytest.raises(IssuerError) as caught:
        side.issuer().open(DOMAINS, f"{url}-never-heard-of")
    assert caught.value.problem == "orderGone"


def test_order_for_other_names_is_gone(side: Side) -> None:
    """When the names have changed, the order is not what is wanted."""
    url = ordered(side.issuer(), DOMAINS, PROFILE).url
    with pytest.raises(IssuerError) as caught:
        side.issuer().open(["example.org"], url)
    assert caught.value.problem == "orderGone"


def test_profile_that_is_not_offered_is_permanent(side: Side) -> None:
    """The sentence lists those that are."""
    with pytest.raises(IssuerError, match=PROFILE) as caught:
        ordered(side.issuer(), DOMAINS, "nonsense")
    assert (caught.value.problem, caught.value.permanent) == ("invalidProfile", True)


def test_pending_order_is_not_finalized(side: Side) -> None:
    """Nothing is issued before the names are validated."""
    issuer = side.issuer()
    order = ordered(issuer, DOMAINS, PROFILE)
    with pytest.raises(IssuerError) as caught:
        issuer.finalize(order, build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS))
    assert caught.value.problem == "orderNotReady"


def test_revoking_twice_is_revoking(side: Side) -> None:
    """Already revoked counts as success."""
    order, key_pem = ready(side), generate_key(KeyType.ECDSA_P256)
    issuer = side.issuer()
    pair = read_pair(key_pem, issuer.finalize(order, build_csr(key_pem, DOMAINS)).default)
    side.revoker.revoke(issuer.directory_url, pair, RevocationReason.SUPERSEDED)
    side.revoker.revoke(issuer.directory_url, pair, RevocationReason.SUPERSEDED)
