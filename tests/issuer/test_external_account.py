"""External account binding (RFC 8555 section 7.3.4), at a CA that requires it."""

from collections.abc import Iterator

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.account import ExternalAccount
from certwarden.model import Secret
from tests.builders import DOMAINS
from tests.fakes_issuer import ordered
from tests.issuer.conversation import Household
from tests.world import World
from tests.world.faultproxy import AcmeFault, FaultProxy
from tests.world.pebble import PebbleOptions

pytestmark = pytest.mark.world

KEY_ID = "kid-1"
HMAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    options = PebbleOptions(eab={KEY_ID: HMAC_KEY}, eab_required=True)
    with World(pebble=options, proxy=True) as world:
        yield world


def is_registered(user: Household) -> bool:
    account = user.accounts.load(user.world.directory_url)
    return account is not None and account.url != ""


def test_bound_account_is_registered(user: Household) -> None:
    """Key id and HMAC key get an account where one is required."""
    binding = ExternalAccount(KEY_ID, Secret(HMAC_KEY.encode() + b"\n"))
    ordered(user.issuer(external_account=binding), DOMAINS, None)
    assert is_registered(user)


def test_bound_account_is_found_without_binding_it_again(
    user: Household, proxy: FaultProxy
) -> None:
    """Some CAs accept a binding once only, so the server is asked for the account first."""
    binding = ExternalAccount(KEY_ID, Secret(HMAC_KEY.encode()))
    proxy.inject(AcmeFault("drop_after", "newAccount", times=4))
    with pytest.raises(IssuerError):
        ordered(user.issuer(external_account=binding), DOMAINS, None)
    ordered(user.issuer(), DOMAINS, None)
    assert is_registered(user)


def test_missing_binding_is_told(user: Household, proxy: FaultProxy) -> None:
    """Without it nobody registers, and the hint names the key to set."""
    with pytest.raises(IssuerError) as caught:
        ordered(user.issuer(), DOMAINS, None)
    assert caught.value.permanent
    assert "acme.eab" in caught.value.hint
    assert proxy.calls("newAccount") == 0


@pytest.mark.parametrize("key_id", ["unknown", KEY_ID])
def test_wrong_binding_is_told_without_the_key(user: Household, key_id: str) -> None:
    """Neither an unknown key id nor a wrong key gets an account, and the key is not shown."""
    wrong = "c2VjcmV0LXRoYXQtaXMtd3Jvbmctc2VjcmV0LXRoYXQtaXMtd3Jvbmc"
    binding = ExternalAccount(key_id, Secret(wrong.encode()))
    with pytest.raises(IssuerError) as caught:
        ordered(user.issuer(external_account=binding), DOMAINS, None)
    assert wrong not in caught.value.what + caught.value.hint + repr(binding)


@pytest.mark.parametrize("key", [b"not base64url \xff", b"x", b"\xc3\xbc"])
def test_unreadable_key_is_told_without_the_key(user: Household, key: bytes) -> None:
    """A key file with something else in it is permanent until it is corrected."""
    with pytest.raises(IssuerError, match="HMAC key") as caught:
        ordered(user.issuer(external_account=ExternalAccount(KEY_ID, Secret(key))), DOMAINS)
    assert caught.value.permanent
