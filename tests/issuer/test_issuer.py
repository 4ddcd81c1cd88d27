"""Orders at a real CA that refuses nonces, fails, forgets and says no."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http import HTTPStatus
from itertools import product
from urllib.parse import urlsplit

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.issuer import AcmeIssuer
from certwarden.issuer.network import MAX_RETRIES
from certwarden.issuer.polling import ISSUANCE
from certwarden.issuer.transport import MAX_AT_ONCE
from certwarden.model import KeyType, Order, OrderStatus
from certwarden.pki.certificate import check_ordered, read_pair, renewal_certificate_id
from certwarden.pki.keys import build_csr, generate_key
from tests.builders import DOMAINS
from tests.fakes_issuer import ordered
from tests.fakes_store import FakeAccounts
from tests.issuer.conversation import Household, QuickClock, household
from tests.world import World
from tests.world.faultproxy import PROBLEMS, AcmeFault, FaultProxy, http_date, problem
from tests.world.pebble import PebbleOptions
from tests.world.process import free_port

pytestmark = pytest.mark.world

CALLS = (
    "directory",
    "newNonce",
    "newAccount",
    "newOrder",
    "authz",
    "challenge",
    "order",
    "finalize",
    "cert",
)


def test_the_whole_way(user: Household) -> None:
    """Apex and wildcard in one order."""
    pair = user.obtain()
    check_ordered(pair, DOMAINS, user.clock.now())


def test_a_fifth_of_all_nonces_refused() -> None:
    """A CA that is that fussy still issues."""
    with World(pebble=PebbleOptions(nonce_reject=20)) as world, household(world) as user:
        check_ordered(user.obtain(), DOMAINS, user.clock.now())


def test_no_request_too_many(user: Household, proxy: FaultProxy) -> None:
    """A second order costs one request for each thing that it needs, and none for the account."""
    user.obtain()
    proxy.forget_requests()
    user.obtain()
    done = [request for request in proxy.requests if request.status < 400]
    counted = {name: sum(request.resource == name for request in done) for name in CALLS}
    assert counted["newAccount"] == 0
    assert counted["directory"] == counted["newNonce"] == 1
    assert counted["newOrder"] == counted["finalize"] == 1
    assert counted["authz"] == counted["challenge"] == len(DOMAINS)
    assert counted["cert"] == 3  # the chain and its alternates


def test_alternate_chains_are_kept(user: Household) -> None:
    """All chains that the CA offers come along, for the same leaf."""
    order = user.validated()
    key_pem = generate_key(KeyType.ECDSA_P256)
    chains = user.issuer().finalize(order, build_csr(key_pem, DOMAINS))
    pairs = [read_pair(key_pem, each) for each in (chains.default, *chains.alternates)]
    assert len(pairs) == 3
    assert len({pair.certificate.fingerprint for pair in pairs}) == 1


def test_alternate_that_cannot_be_had_is_done_without() -> None:
    """A certificate in hand is not given up for want of a choice."""
    calm = PebbleOptions(nonce_reject=0, alternate_roots=2)
    with World(proxy=True, pebble=calm) as world, household(world) as user:
        assert world.proxy is not None
        order = user.validated()
        world.proxy.inject(
            AcmeFault("problem", "cert", skip=1, times=9, problem=PROBLEMS["malformed"])
        )
        chains = user.issuer().finalize(order, build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS))
    assert chains.default
    assert chains.alternates == ()


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_other_kinds_of_keys(user: Household, key_type: KeyType) -> None:
    """The certificate's key may be of any kind that can be configured."""
    order = user.validated()
    key_pem = generate_key(key_type)
    chains = user.issuer().finalize(order, build_csr(key_pem, DOMAINS))
    assert read_pair(key_pem, chains.default).certificate.names


# ── profiles ──────────────────────────────────────────────────────────────────────────────────────


def test_profile_is_ordered(user: Household) -> None:
    """The lifetime is that of the profile asked for."""
    issuer = user.issuer()
    order = ordered(issuer, DOMAINS, "shortlived")
    user.publish(order.challenges)
    key_pem = generate_key(KeyType.ECDSA_P256)
    chains = issuer.finalize(issuer.validate(order), build_csr(key_pem, DOMAINS))
    lifetime = read_pair(key_pem, chains.default).certificate.lifetime
    assert timedelta(days=5) < lifetime < timedelta(days=7)


def test_profile_that_is_not_offered_lists_those_that_are(
    user: Household, proxy: FaultProxy
) -> None:
    """A misspelt profile is told with the right ones, before anything is ordered."""
    with pytest.raises(IssuerError, match=r"default, .*shortlived.*tlsserver") as caught:
        ordered(user.issuer(), DOMAINS, "shortlive")
    assert caught.value.permanent
    assert proxy.calls("newOrder") == proxy.calls("newAccount") == 0


# ── replacing (RFC 9773 section 5) ────────────────────────────────────────────────────────────────


def test_replaced_certificate_is_named_in_the_order(user: Household, proxy: FaultProxy) -> None:
    """The CA is told which certificate the order replaces, by the id that it knows."""
    # Pebble does not find one whose serial is short and begins with a set bit: 1 in some hundreds.
    obtained = (user.obtain() for _ in range(5))
    pair = next(each for each in obtained if int(each.certificate.serial, 16).bit_length() % 8)
    replaces = renewal_certificate_id(pair.chain_pem[0])
    proxy.forget_requests()
    user.issuer().place(DOMAINS, None, replaces)
    assert _replaced(proxy) == [replaces]


def test_server_without_ari_is_not_told_what_is_replaced(
    user: Household, proxy: FaultProxy
) -> None:
    """A member that a server does not know might be refused."""
    proxy.inject(AcmeFault("change", "directory", document={"renewalInfo": None}))
    user.issuer().place(DOMAINS, None, "a.b")
    assert _replaced(proxy) == [None]


@pytest.mark.parametrize(
    "objection",
    [
        problem("alreadyReplaced", "newOrder"),
        problem("malformed", "newOrder"),
        problem("unauthorized", "newOrder"),
        AcmeFault("reply", "newOrder", status=404),
        AcmeFault("reply", "newOrder", status=409),
    ],
)
def test_refused_replacement_is_ordered_without(
    user: Household, proxy: FaultProxy, objection: AcmeFault
) -> None:
    """An objection to what is replaced is no reason not to order; once."""
    proxy.inject(objection)
    assert user.issuer().place(DOMAINS, None, "a.b")
    assert _replaced(proxy) == ["a.b", None]


def test_certificate_that_the_server_does_not_know_is_ordered_without(
    user: Household, proxy: FaultProxy
) -> None:
    """As after a move to another CA, or with a server that has forgotten."""
    assert user.issuer().place(DOMAINS, None, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
    assert _replaced(proxy)[-1] is None


def test_lasting_server_error_is_ordered_without(user: Household, proxy: FaultProxy) -> None:
    """A 500 may be about what is replaced, once it has not passed."""
    proxy.inject(problem("serverInternal", "newOrder", times=4))
    assert user.issuer().place(DOMAINS, None, "a.b")
    assert _replaced(proxy) == ["a.b"] * 4 + [None]


def test_passing_server_error_keeps_the_replacement(user: Household, proxy: FaultProxy) -> None:
    """An order that is exempt from limits is not given away for a moment's trouble."""
    replaces = renewal_certificate_id(user.obtain().chain_pem[0])
    proxy.forget_requests()
    proxy.inject(problem("serverInternal", "newOrder"))
    assert user.issuer().place(DOMAINS, None, replaces)
    assert _replaced(proxy) == [replaces] * 2


@pytest.mark.parametrize(
    ("name", "times"), [("rateLimited", 1), ("rejectedIdentifier", 1), ("unavailable", 4)]
)
def test_other_refusals_are_not_blamed_on_the_replacement(
    user: Household, proxy: FaultProxy, name: str, times: int
) -> None:
    """A limit, a name that is refused and a busy server are told as they are."""
    proxy.inject(problem(name, "newOrder", times=9))
    with pytest.raises(IssuerError):
        user.issuer().place(DOMAINS, None, "a.b")
    assert _replaced(proxy) == ["a.b"] * times


def test_second_refusal_is_told(user: Household, proxy: FaultProxy) -> None:
    """What is refused without a replacement too, is refused."""
    proxy.inject(problem("malformed", "newOrder", times=9))
    with pytest.raises(IssuerError, match="malformed"):
        user.issuer().place(DOMAINS, None, "a.b")
    assert _replaced(proxy) == ["a.b", None]


# ── picking up (invariant 2) ──────────────────────────────────────────────────────────────────────


def test_picked_up_after_open(user: Household, proxy: FaultProxy) -> None:
    """A run that was killed before the challenges were answered goes on with the same order."""
    order = ordered(user.issuer(), DOMAINS, None)
    again = user.issuer().open(DOMAINS, order.url)
    assert again == order
    user.publish(again.challenges)
    assert user.issuer().validate(again).status is OrderStatus.READY
    assert _succeeded(proxy, "newOrder") == 1


def test_picked_up_after_an_answer(user: Household, proxy: FaultProxy) -> None:
    """A challenge that an earlier run has answered is not answered twice."""
    issuer = user.issuer()
    order = ordered(issuer, DOMAINS, None)
    user.publish(order.challenges)
    issuer._client.answer(order.challenges[0].url)
    fresh = user.issuer()
    again = fresh.open(DOMAINS, order.url)
    assert fresh.validate(again).status is OrderStatus.READY
    assert _succeeded(proxy, "challenge") == len(order.challenges)


def test_picked_up_after_validation(user: Household, proxy: FaultProxy) -> None:
    """A ready order has no challenges left and is finalized."""
    order = user.validated()
    fresh = user.issuer()
    again = fresh.open(DOMAINS, order.url)
    assert (again.status, again.challenges) == (OrderStatus.READY, ())
    key_pem = generate_key(KeyType.ECDSA_P256)
    chains = fresh.finalize(fresh.validate(again), build_csr(key_pem, DOMAINS))
    read_pair(key_pem, chains.default)
    assert _succeeded(proxy, "newOrder") == 1


@pytest.mark.parametrize("status", ["valid", "processing"])
def test_picked_up_after_finalizing(user: Household, proxy: FaultProxy, status: str) -> None:
    """An order that was finalized before the crash is downloaded, not finalized again."""
    order = user.validated()
    key_pem = generate_key(KeyType.ECDSA_P256)
    csr = build_csr(key_pem, DOMAINS)
    proxy.inject(AcmeFault("problem", "cert", times=9, problem=PROBLEMS["malformed"]))
    with pytest.raises(IssuerError):
        user.issuer().finalize(order, csr)
    proxy.clear_faults()
    if status == "processing":
        proxy.inject(AcmeFault("processing", "order", times=6))
    fresh = user.issuer()
    again = fresh.open(DOMAINS, order.url)
    assert again.status == status
    read_pair(key_pem, fresh.finalize(fresh.validate(again), csr).default)
    assert _succeeded(proxy, "finalize") == 1
    assert _succeeded(proxy, "newOrder") == 1


@pytest.mark.parametrize(
    "fault",
    [
        AcmeFault("reply", "order", status=404),
        AcmeFault("change", "order", document={"status": "invalid"}, times=9),
        problem("malformed", "order"),
        problem("unauthorized", "order"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.problem.type if fault.problem else ''}",
)
def test_order_that_is_gone_is_told_as_such(
    user: Household, proxy: FaultProxy, fault: AcmeFault
) -> None:
    """Whoever picks up an order learns that it is gone, and nothing is ordered in its place."""
    order = ordered(user.issuer(), DOMAINS, None)
    proxy.inject(fault)
    with pytest.raises(IssuerError) as caught:
        user.issuer().open(DOMAINS, order.url)
    assert caught.value.problem == "orderGone"
    assert _succeeded(proxy, "newOrder") == 1


@pytest.mark.parametrize("call", ["directory", "newNonce"])
def test_order_is_not_gone_because_the_directory_is(
    user: Household, proxy: FaultProxy, call: str
) -> None:
    """A CA that is out of order, 404 and all, does not cost us the order."""
    order = ordered(user.issuer(), DOMAINS, None)
    proxy.inject(AcmeFault("reply", call, status=404 if call == "directory" else 502, times=9))
    with pytest.raises(IssuerError) as caught:
        user.issuer().open(DOMAINS, order.url)
    assert caught.value.problem == ""


def test_order_with_an_expired_authorization_is_gone(user: Household, proxy: FaultProxy) -> None:
    """An authorization whose time is over cannot be answered, so its order is no good."""
    order = ordered(user.issuer(), DOMAINS, None)
    proxy.inject(AcmeFault("change", "authz", document={"status": "expired"}, times=9))
    with pytest.raises(IssuerError, match="is expired") as caught:
        user.issuer().open(DOMAINS, order.url)
    assert caught.value.problem == "orderGone"


def test_certificate_that_is_gone_makes_its_order_gone(user: Household, proxy: FaultProxy) -> None:
    """A finished order whose certificate can no longer be downloaded is not clung to."""
    order = user.validated()
    csr = build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS)
    user.issuer().finalize(order, csr)
    proxy.inject(AcmeFault("reply", "cert", status=404))
    with pytest.raises(IssuerError) as caught:
        user.issuer().open(DOMAINS, order.url)
    assert caught.value.problem == "orderGone"


# ── validation ────────────────────────────────────────────────────────────────────────────────────


def test_missing_record_is_told_by_name(user: Household) -> None:
    """Each name that was not validated is in the sentence, and told once as one that failed."""
    issuer = user.issuer()
    domains = [*DOMAINS, "good.example.org"]
    order = ordered(issuer, domains, None)
    user.publish([each for each in order.challenges if each.identifier == "good.example.org"])
    with pytest.raises(IssuerError, match="did not validate") as caught:
        issuer.validate(order)
    assert "example.org (" in caught.value.what
    assert caught.value.failed_names == ("example.org",)
    with pytest.raises(IssuerError) as gone:
        user.issuer().open(domains, order.url)
    assert gone.value.problem == "orderGone"


def test_failed_authorization_is_seen_though_the_order_stays_pending(
    user: Household, proxy: FaultProxy
) -> None:
    """A CA that leaves the order pending for ever is not waited for."""
    issuer = user.issuer()
    order = ordered(issuer, DOMAINS, None)
    user.publish(order.challenges)
    proxy.inject(AcmeFault("change", "order", document={"status": "pending"}, times=999))
    proxy.inject(AcmeFault("change", "authz", document={"status": "deactivated"}, times=99))
    with pytest.raises(IssuerError, match="its authorization is deactivated"):
        issuer.validate(order)
    assert sum(user.clock.sleeps) < 30


def test_authorization_without_dns01_is_an_error(user: Household, proxy: FaultProxy) -> None:
    """A CA that offers no dns-01 cannot be used."""
    proxy.inject(AcmeFault("change", "authz", document={"challenges": []}, times=9))
    with pytest.raises(IssuerError, match="offers no dns-01 challenge") as caught:
        ordered(user.issuer(), DOMAINS, None)
    assert caught.value.permanent


def test_authorization_for_a_stranger_is_refused(user: Household, proxy: FaultProxy) -> None:
    """No CA makes us write TXT records for names that were not ordered."""
    stranger = {"type": "dns", "value": "stranger.example.net"}
    proxy.inject(AcmeFault("change", "authz", document={"identifier": stranger}, times=9))
    with pytest.raises(IssuerError, match=r"stranger\.example\.net"):
        ordered(user.issuer(), DOMAINS, None)


def test_valid_authorizations_are_left_out() -> None:
    """What the CA still holds valid needs no TXT record; an order of nothing else is ready."""
    with World(pebble=PebbleOptions(authz_reuse=100)) as world, household(world) as user:
        user.obtain()
        order = ordered(user.issuer(), DOMAINS, None)
        assert (order.status, order.challenges) == (OrderStatus.READY, ())
        assert len(order.reused) == len(DOMAINS)
        mixed = ordered(user.issuer(), [*DOMAINS, "new.example.org"], None)
        assert [each.identifier for each in mixed.challenges] == ["new.example.org"]
        assert len(mixed.reused) == len(DOMAINS)
        assert mixed.challenges[0].authorization_url not in mixed.reused


def test_lost_reply_to_a_deactivation_is_survived() -> None:
    """What is given up already is given up; what cannot be is an error."""
    options = PebbleOptions(authz_reuse=100)
    with World(proxy=True, pebble=options) as world, household(world) as user:
        assert world.proxy is not None
        user.obtain()
        issuer = user.issuer()
        order = ordered(issuer, DOMAINS, None)
        world.proxy.inject(problem("malformed", "authz"))
        with pytest.raises(IssuerError, match="malformed"):
            issuer.deactivate(order)
        issuer.deactivate(order)
        world.proxy.inject(problem("malformed", "authz"))
        issuer.deactivate(order)
        assert ordered(issuer, DOMAINS, None).reused == ()


def test_record_of_apex_and_wildcard_is_one_name_with_two_values(user: Household) -> None:
    """Both challenges share a record name and differ in value."""
    challenges = ordered(user.issuer(), DOMAINS, None).challenges
    assert {each.record_name for each in challenges} == {"_acme-challenge.example.org"}
    assert len({each.record_value for each in challenges}) == 2


# ── side by side ──────────────────────────────────────────────────────────────────────────────────


def test_threads_share_directory_account_and_connections(
    user: Household, proxy: FaultProxy
) -> None:
    """Orders that start at once ask for the directory once, register once, and all go through."""
    issuer, count = user.issuer(), 24
    orders = _side_by_side(count, lambda number: ordered(issuer, [f"n{number}.example.org"], None))
    assert len({order.url for order in orders}) == count
    assert proxy.calls("directory") == 1
    assert proxy.calls("newNonce") <= MAX_AT_ONCE
    assert _registered(proxy) == 1


def test_threads_share_one_series_of_tries() -> None:
    """A CA that cannot be reached does not hold up fifty orders one after the other."""
    clock, count = QuickClock(), 16
    with AcmeIssuer(
        f"http://127.0.0.1:{free_port()}/dir",
        accounts=FakeAccounts(),
        clock=clock,
        terms_of_service_agreed=True,
    ) as issuer:
        barrier = threading.Barrier(count)

        def place(number: int) -> str:
            barrier.wait(30)
            with pytest.raises(IssuerError, match="cannot be reached") as caught:
                issuer.place([f"n{number}.example.org"], None)
            return caught.value.what

        with ThreadPoolExecutor(count) as threads:
            assert len(set(threads.map(place, range(count)))) == 1
        assert len(clock.sleeps) == MAX_RETRIES
        with pytest.raises(IssuerError):
            issuer.place(DOMAINS, None)
        assert len(clock.sleeps) == 2 * MAX_RETRIES


def test_threads_enter_again_once() -> None:
    """A server that has forgotten the account is told of it again by one thread for all."""
    with World(proxy=True) as world, household(world) as user:
        assert world.proxy is not None
        issuer, count = user.issuer(), 8
        issuer.account_url()
        world.pebble.stop()
        with world.pebble:
            world.proxy.upstream = urlsplit(world.pebble.origin)
            world.proxy.forget_requests()
            orders = _side_by_side(
                count, lambda number: ordered(issuer, [f"n{number}.example.org"], None)
            )
            assert len(orders) == count
            assert _registered(world.proxy) == 1


def test_nothing_is_kept_of_orders_that_are_over(user: Household) -> None:
    """Memory does not grow with the orders of a pass, whether they end well or not."""
    issuer = user.issuer()
    good = ordered(issuer, ["good.example.org"], None)
    user.publish(good.challenges)
    issuer.finalize(
        issuer.validate(good), build_csr(generate_key(KeyType.ECDSA_P256), ["good.example.org"])
    )
    bad = ordered(issuer, ["bad.example.org"], None)
    with pytest.raises(IssuerError):
        issuer.validate(bad)
    with pytest.raises(IssuerError):
        issuer.open(["bad.example.org"], bad.url)
    assert issuer._known == {}


def _registered(proxy: FaultProxy) -> int:
    return sum(
        request.resource == "newAccount" and request.status == HTTPStatus.CREATED
        for request in proxy.requests
    )


def _side_by_side(count: int, act: Callable[[int], Order]) -> list[Order]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(act, range(count)))


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_processing_order_obeys_retry_after(user: Household, proxy: FaultProxy, form: str) -> None:
    """The order is looked at when the CA says, the first time too: in seconds or by a date."""
    issuer = user.issuer()
    order = ordered(issuer, DOMAINS, None)
    user.publish(order.challenges)
    order = issuer.validate(order)
    headers = {"Retry-After": http_date(2) if form == "date" else "2"}
    proxy.inject(AcmeFault("headers", "finalize", headers=headers))
    body = _processing(order.url)
    proxy.inject(AcmeFault("reply", "order", times=3, headers=headers, body=body))
    user.clock.sleeps.clear()
    issuer.finalize(order, build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS))
    assert len(user.clock.sleeps) == 4
    assert all(0.0 < each <= 2.0 for each in user.clock.sleeps)
    assert user.clock.sleeps[0] > ISSUANCE.early


def test_without_retry_after_the_first_look_is_early(user: Household, proxy: FaultProxy) -> None:
    """Most CAs have issued by then, and nobody waits a second for nothing."""
    order = user.validated()
    proxy.inject(AcmeFault("headers", "finalize", headers={"Retry-After": ""}))
    user.clock.sleeps.clear()
    user.issuer().finalize(order, build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS))
    assert user.clock.sleeps[0] == ISSUANCE.early


def test_order_that_is_never_done_is_given_up(user: Household, proxy: FaultProxy) -> None:
    """Waiting has an end, and the sentence says that the order is picked up later."""
    order = user.validated()
    headers = {"Retry-After": http_date(3600)}
    csr = build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS)
    user.issuer().finalize(order, csr)
    proxy.inject(AcmeFault("reply", "order", times=9, headers=headers, body=_processing(order.url)))
    with pytest.raises(IssuerError, match="has not finished") as caught:
        user.issuer().finalize(order, csr)
    assert caught.value.retry_after is not None
    assert timedelta(minutes=59) < caught.value.retry_after < timedelta(minutes=61)


# ── faults on every call ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["html_503", "html_503_after", "drop_before", "drop_after"])
@pytest.mark.parametrize("call", CALLS)
def test_passing_fault_on_every_call_is_survived(
    user: Household, proxy: FaultProxy, call: str, kind: str
) -> None:
    """A 5xx and a lost connection, before or after the CA has done its work, change nothing."""
    fault = proxy.inject(AcmeFault(kind, call))
    pair = user.obtain()
    assert fault.fired == 1
    check_ordered(pair, DOMAINS, user.clock.now())
    assert proxy.errors == []


# A HEAD has no body, and what an answered challenge looks like does not matter.
HARMLESS = {("newNonce", "garbage"), ("newNonce", "huge"), ("challenge", "garbage")}


@pytest.mark.parametrize(
    ("call", "kind"), sorted(set(product(CALLS, ("garbage", "huge", "html_503"))) - HARMLESS)
)
def test_lasting_fault_on_every_call_is_one_sentence(
    user: Household, proxy: FaultProxy, call: str, kind: str
) -> None:
    """A CA that does not come to its senses ends in a sentence, and nothing is permanent."""
    proxy.inject(AcmeFault(kind, call, times=99))
    with pytest.raises(IssuerError) as caught:
        user.obtain()
    assert caught.value.what.startswith("127.0.0.1:")
    assert caught.value.hint
    assert not caught.value.permanent
    assert "\n" not in caught.value.what


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"badNonce"}))
def test_every_problem_of_a_new_order_is_one_sentence(
    user: Household, proxy: FaultProxy, name: str
) -> None:
    """Each kind of refusal is told by type, status, sentence and hint, and leaves no order."""
    ordered(user.issuer(), DOMAINS, None)
    proxy.forget_requests()
    proxy.inject(problem(name, "newOrder", times=9))
    with pytest.raises(IssuerError) as caught:
        ordered(user.issuer(), DOMAINS, None)
    error = caught.value
    assert (error.problem, error.status) == (PROBLEMS[name].type, PROBLEMS[name].status)
    assert error.hint
    assert "\n" not in error.what
    assert _succeeded(proxy, "newOrder") == 0


def test_rate_limit_carries_its_wait(user: Household, proxy: FaultProxy) -> None:
    """Seconds and a date come to the same."""
    for value in ("600", http_date(600)):
        proxy.clear_faults()
        proxy.inject(problem("rateLimited", "newOrder", retry_after=value))
        with pytest.raises(IssuerError) as caught:
            ordered(user.issuer(), DOMAINS, None)
        wait = caught.value.retry_after
        assert wait is not None
        assert timedelta(seconds=590) < wait <= timedelta(seconds=601)


def test_changed_terms_are_linked(user: Household, proxy: FaultProxy) -> None:
    """When the CA wants its new terms read, the hint says where they are."""
    proxy.inject(problem("userActionRequired", "newOrder"))
    with pytest.raises(IssuerError) as caught:
        ordered(user.issuer(), DOMAINS, None)
    assert "https://ca.example.org/terms/v2" in caught.value.hint


def test_refused_name_is_permanent(user: Household) -> None:
    """Pebble's own refusal of a name reads well."""
    with pytest.raises(IssuerError, match="will not issue for") as caught:
        ordered(user.issuer(), ["blocked.test"], None)
    assert caught.value.permanent


def test_problem_of_finalizing_names_the_names(user: Household, proxy: FaultProxy) -> None:
    """CAA that is rechecked at the end is told for each name, with what to change."""
    order = user.validated()
    proxy.inject(problem("caa", "finalize"))
    with pytest.raises(IssuerError, match="CAA record for example") as caught:
        user.issuer().finalize(order, build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS))
    assert caught.value.permanent
    assert "example.org" in caught.value.hint


def test_order_that_becomes_invalid_tells_its_own_problem(
    user: Household, proxy: FaultProxy
) -> None:
    """When all names were validated, the order's error says why there is no certificate."""
    order = user.validated()
    issue = {
        "status": "invalid",
        "error": {"type": "urn:ietf:params:acme:error:badCSR", "detail": "weak key"},
    }
    issuer = user.issuer()
    issuer.open(DOMAINS, order.url)
    proxy.inject(AcmeFault("change", "order", document=issue, times=9))
    with pytest.raises(IssuerError, match="weak key") as caught:
        issuer.finalize(order, build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS))
    assert caught.value.problem == "badCSR"


@pytest.mark.parametrize("body", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nMIIB", b"\xff"])
def test_download_that_is_no_chain_is_an_error(
    user: Household, proxy: FaultProxy, body: bytes
) -> None:
    """What is not PEM certificates is not handed on."""
    order = user.validated()
    proxy.inject(AcmeFault("reply", "cert", times=9, body=body))
    with pytest.raises(IssuerError, match="no certificate chain"):
        user.issuer().finalize(order, build_csr(generate_key(KeyType.ECDSA_P256), DOMAINS))


def _succeeded(proxy: FaultProxy, resource: str) -> int:
    return sum(r.resource == resource and 200 <= r.status < 300 for r in proxy.requests)


def _replaced(proxy: FaultProxy) -> list[str | None]:
    """What each newOrder said that it replaces; one whose nonce was refused does not count."""
    return [
        request.payload.get("replaces")
        for request in proxy.requests
        if request.resource == "newOrder"
        and (request.fault or request.status == HTTPStatus.CREATED)
    ]


def _processing(order_url: str) -> bytes:
    names = b", ".join(b'{"type": "dns", "value": "%s"}' % name.encode() for name in DOMAINS)
    return (
        b'{"status": "processing", "identifiers": [%s], "authorizations": [], "finalize": "%s"}'
        % (names, order_url.encode())
    )
