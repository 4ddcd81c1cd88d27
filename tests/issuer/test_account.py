"""The account of a directory: made once, found again, bound, and never asked about needlessly."""

import threading
from urllib.parse import urlsplit

import pytest

from certwarden.errors import IssuerError
from certwarden.model import Account, Secret
from certwarden.pki.keys import load_key
from tests.builders import DOMAINS
from tests.fakes_issuer import ordered
from tests.issuer.conversation import Household, household
from tests.world import World
from tests.world.faultproxy import AcmeFault, FaultProxy, problem

pytestmark = pytest.mark.world


def stored(user: Household) -> Account:
    account = user.accounts.load(user.world.directory_url)
    assert account is not None
    return account


def test_key_is_saved_before_the_server_hears_of_it(user: Household, proxy: FaultProxy) -> None:
    """A reply that is lost for good leaves the key, by which the same account is found again."""
    proxy.inject(AcmeFault("drop_after", "newAccount", times=4))
    with pytest.raises(IssuerError):
        ordered(user.issuer(), DOMAINS, None)
    saved = stored(user)
    assert saved.url == ""
    assert load_key(saved.key_pem).key_size == 256
    ordered(user.issuer(), DOMAINS, None)
    assert stored(user).key_pem == saved.key_pem
    assert stored(user).url


def test_key_that_the_server_never_heard_of_is_registered(
    user: Household, proxy: FaultProxy
) -> None:
    """A crash between saving the key and registering costs nothing."""
    proxy.inject(AcmeFault("drop_before", "newAccount", times=4))
    with pytest.raises(IssuerError):
        ordered(user.issuer(), DOMAINS, None)
    ordered(user.issuer(), DOMAINS, None)
    assert stored(user).url


def test_known_account_is_not_asked_about(user: Household, proxy: FaultProxy) -> None:
    """With the URL stored, no request is spent on the account."""
    ordered(user.issuer(), DOMAINS, None)
    proxy.forget_requests()
    ordered(user.issuer(), DOMAINS, None)
    assert proxy.calls("newAccount") == proxy.calls("account") == 0


def test_new_issuer_asks_nothing(user: Household, proxy: FaultProxy) -> None:
    """Making an issuer that is not used sends no request."""
    user.issuer()
    assert proxy.calls() == 0


def test_account_that_the_server_forgot_is_registered_again(
    user: Household, proxy: FaultProxy
) -> None:
    """accountDoesNotExist is answered with the same key, once."""
    ordered(user.issuer(), DOMAINS, None)
    before = stored(user)
    proxy.inject(problem("accountDoesNotExist", "newOrder"))
    assert ordered(user.issuer(), DOMAINS, None).challenges
    assert stored(user).key_pem == before.key_pem


def test_server_that_keeps_forgetting_is_an_error(user: Household, proxy: FaultProxy) -> None:
    """Once is enough; then it is told."""
    proxy.inject(problem("accountDoesNotExist", "newOrder", times=9))
    with pytest.raises(IssuerError) as caught:
        ordered(user.issuer(), DOMAINS, None)
    assert caught.value.problem == "accountDoesNotExist"
    assert proxy.calls("newOrder") == 2


def test_restarted_server_has_forgotten_account_and_order() -> None:
    """The same key gets a new account, the old order is gone, and a new one works."""
    with World(proxy=True) as world, household(world) as user:
        assert world.proxy is not None
        order = ordered(user.issuer(), DOMAINS, None)
        before = stored(user)
        world.pebble.stop()
        with world.pebble:
            world.proxy.upstream = urlsplit(world.pebble.origin)
            with pytest.raises(IssuerError) as caught:
                user.issuer().open(DOMAINS, order.url)
            assert caught.value.problem == "orderGone"
            assert stored(user).key_pem == before.key_pem
            user.obtain()


def test_terms_must_be_agreed_to(user: Household, proxy: FaultProxy) -> None:
    """Who has not agreed is told where the terms are, and nothing is registered or saved."""
    with pytest.raises(IssuerError, match="not been agreed to: data:") as caught:
        ordered(user.issuer(terms_of_service_agreed=False), DOMAINS, None)
    assert caught.value.permanent
    assert proxy.calls("newAccount") == 0
    assert user.accounts.load(user.world.directory_url) is None


def test_contact_is_sent_only_if_configured(user: Household) -> None:
    """An address is accepted with and without its scheme."""
    ordered(user.issuer(contact=["me@example.org", "mailto:you@example.org"]), DOMAINS, None)
    assert stored(user).url


def test_useless_key_is_told(user: Household) -> None:
    """A damaged key on disk is not silently replaced."""
    url = user.world.directory_url
    user.accounts.save(Account(url, Secret(b"damaged"), "https://127.0.0.1/account/1"))
    with pytest.raises(IssuerError, match="is of no use") as caught:
        ordered(user.issuer(), DOMAINS, None)
    assert caught.value.permanent


def test_threads_share_one_registration(user: Household, proxy: FaultProxy) -> None:
    """Orders that start side by side on a fresh machine make one account."""
    failures: list[BaseException] = []

    def order(number: int) -> None:
        try:
            ordered(user.issuer(), [f"n{number}.example.org"], None)
        except IssuerError as error:
            failures.append(error)

    threads = [threading.Thread(target=order, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sum(r.resource == "newAccount" and r.status == 201 for r in proxy.requests) == 1
