"""What any Issuer, Revoker and RenewalInfos must do: the fakes, and ACME with a real CA."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.renewal_info import AcmeRenewalInfos
from certwarden.issuer.revoker import AcmeRevoker
from certwarden.model import (
    Challenge,
    KeyType,
    Order,
    OrderStatus,
    Pair,
    RenewalAnswer,
    RenewalWindow,
    RevocationReason,
)
from certwarden.pki.certificate import check_ordered, read_pair, renewal_certificate_id
from certwarden.pki.keys import build_csr, generate_key
from certwarden.ports import Clock, Issuer, RenewalInfos, Revoker
from tests.builders import DOMAINS, NOW
from tests.fakes_issuer import FakeIssuer, FakeRenewalInfos, ordered
from tests.fakes_store import FakeClock
from tests.issuer.conversation import household
from tests.world import World
from tests.world.pebble import PebbleOptions

PROFILE = "shortlived"
UNKNOWN = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"  # of RFC 9773


@dataclass
class Side:
    """One implementation: `issuer` makes a fresh one, as after a crash, over the same CA."""

    issuer: Callable[[], Issuer]
    revoker: Revoker
    renewal_infos: RenewalInfos
    publish: Callable[[Sequence[Challenge]], None]
    clock: Clock


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    options = PebbleOptions(authz_reuse=0, nonce_reject=10, profiles={PROFILE: 6 * 86400})
    with World(pebble=options) as world:
        yield world


@pytest.fixture(scope="module")
def reusing_world() -> Iterator[World]:
    with World(pebble=PebbleOptions(authz_reuse=100, profiles={PROFILE: 6 * 86400})) as world:
        yield world


def fake_side(*, reuses_validated: bool = False) -> Side:
    clock = FakeClock()
    seen: set[tuple[str, str]] = set()
    fake = FakeIssuer(
        clock,
        sees=lambda name, value: (name, value) in seen,
        reuses_validated=reuses_validated,
    )
    answer = RenewalAnswer(RenewalWindow(NOW, NOW + timedelta(days=1)), timedelta(hours=6))
    return Side(
        issuer=lambda: fake,
        revoker=fake,
        renewal_infos=FakeRenewalInfos(answer),
        publish=lambda all_: seen.update((each.record_name, each.record_value) for each in all_),
        clock=clock,
    )


@contextmanager
def acme_side(world: World) -> Iterator[Side]:
    bundles = {world.directory_url: world.ca_bundle}
    with household(world) as user:
        revoker = AcmeRevoker(accounts=user.accounts, clock=user.clock, ca_bundles=bundles)
        with closing(AcmeRenewalInfos(clock=user.clock, ca_bundles=bundles)) as infos:
            yield Side(user.issuer, revoker, infos, user.publish, user.clock)


BOTH = ["fake", pytest.param("acme", marks=pytest.mark.world)]


@pytest.fixture(params=BOTH)
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "fake":
        yield fake_side()
    else:
        with acme_side(request.getfixturevalue("world")) as side:
            yield side


@pytest.fixture(params=BOTH)
def reusing_side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """A CA that spares validating a name again."""
    if request.param == "fake":
        yield fake_side(reuses_validated=True)
    else:
        with acme_side(request.getfixturevalue("reusing_world")) as side:
            yield side


def obtain(side: Side, domains: Sequence[str] = DOMAINS, issuer: Issuer | None = None) -> Pair:
    issuer = issuer or side.issuer()
    order = ordered(issuer, domains, PROFILE)
    side.publish(order.challenges)
    key_pem = generate_key(KeyType.ECDSA_P256)
    chains = issuer.finalize(issuer.validate(order), build_csr(key_pem, domains))
    return read_pair(key_pem, chains.default)


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
    assert (again.url, again.status, again.challenges) == (order.url, OrderStatus.READY, ())
    assert issuer.validate(again) == again


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


def test_account_has_a_url(side: Side) -> None:
    """Before the first order too, and the same ever after."""
    url = side.issuer().account_url()
    assert url
    ordered(side.issuer(), DOMAINS, PROFILE)
    assert side.issuer().account_url() == url


def test_replacing_order_is_an_order(side: Side) -> None:
    """Named by its id, a certificate is replaced; also one that the CA does not know."""
    replaces = renewal_certificate_id(obtain(side).chain_pem[0])
    issuer = side.issuer()
    for each in (replaces, UNKNOWN):
        order = issuer.open(DOMAINS, issuer.place(DOMAINS, PROFILE, each))
        assert order.status is OrderStatus.PENDING


def test_failed_names_are_told(side: Side) -> None:
    """Each name of which the validation failed, once, without a star; not the good ones."""
    issuer = side.issuer()
    order = ordered(issuer, [*DOMAINS, "good.example.org"], PROFILE)
    side.publish([each for each in order.challenges if each.identifier == "good.example.org"])
    with pytest.raises(IssuerError) as caught:
        issuer.validate(order)
    assert caught.value.failed_names == ("example.org",)


def test_reused_authorizations_are_told(reusing_side: Side) -> None:
    """What was validated before needs no challenge, and is not taken for a proof."""
    obtain(reusing_side)
    order = ordered(reusing_side.issuer(), DOMAINS, PROFILE)
    assert (order.status, order.challenges) == (OrderStatus.READY, ())
    assert len(set(order.reused)) == len(DOMAINS)


def test_deactivated_authorizations_are_validated_again(reusing_side: Side) -> None:
    """Given up, they are not reused: the next order has all its challenges."""
    obtain(reusing_side)
    issuer = reusing_side.issuer()
    issuer.deactivate(ordered(issuer, DOMAINS, PROFILE))
    order = ordered(issuer, DOMAINS, PROFILE)
    assert order.status is OrderStatus.PENDING
    assert len(order.challenges) == len(DOMAINS)
    assert order.reused == ()


def test_orders_are_under_way_side_by_side(side: Side) -> None:
    """Twenty threads share one issuer, and each gets what it has ordered."""
    issuer = side.issuer()

    def one(number: int) -> None:
        domains = [f"n{number}.example.org", f"*.n{number}.example.org"]
        check_ordered(obtain(side, domains, issuer), domains, side.clock.now())

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(one, range(20)))


def test_renewal_window_is_one(side: Side) -> None:
    """It ends after it begins, and there is an hour at which to ask again."""
    certificate_id = renewal_certificate_id(obtain(side).chain_pem[0])
    assert certificate_id is not None
    answer = side.renewal_infos.ask(side.issuer().directory_url, certificate_id)
    assert answer.window is not None
    assert answer.window.start < answer.window.end
    assert timedelta(minutes=1) <= answer.retry_after <= timedelta(days=1)


def test_revoking_twice_is_revoking(side: Side) -> None:
    """Already revoked counts as success."""
    order, key_pem = ready(side), generate_key(KeyType.ECDSA_P256)
    issuer = side.issuer()
    pair = read_pair(key_pem, issuer.finalize(order, build_csr(key_pem, DOMAINS)).default)
    side.revoker.revoke(issuer.directory_url, pair, RevocationReason.SUPERSEDED)
    side.revoker.revoke(issuer.directory_url, pair, RevocationReason.SUPERSEDED)
