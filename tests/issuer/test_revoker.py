"""Revocation at a real CA."""

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.revoker import AcmeRevoker
from certwarden.model import Account, KeyType, Pair, RevocationReason
from certwarden.pki.certificate import read_pair
from certwarden.pki.keys import build_csr, generate_key
from tests.builders import DOMAINS, a_key
from tests.fakes_store import FakeAccounts
from tests.issuer.conversation import Household
from tests.world.faultproxy import AcmeFault, FaultProxy, problem

pytestmark = pytest.mark.world


def revoke(
    user: Household,
    pair: Pair,
    reason: RevocationReason = RevocationReason.SUPERSEDED,
    *,
    accounts: FakeAccounts | None = None,
) -> None:
    url = user.world.directory_url
    revoker = AcmeRevoker(
        accounts=accounts or user.accounts,
        clock=user.clock,
        ca_bundles={url: user.world.ca_bundle},
    )
    revoker.revoke(url, pair, reason)


def state(user: Household, pair: Pair) -> tuple[str, int]:
    found = user.world.pebble.certificate_status(pair.certificate.serial)
    return found["Status"], found.get("Reason", 0)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (RevocationReason.UNSPECIFIED, 0),
        (RevocationReason.KEY_COMPROMISE, 1),
        (RevocationReason.AFFILIATION_CHANGED, 3),
        (RevocationReason.SUPERSEDED, 4),
        (RevocationReason.CESSATION_OF_OPERATION, 5),
    ],
)
def test_account_revokes_for_a_reason(user: Household, reason: RevocationReason, code: int) -> None:
    """The CA's book shows the certificate as revoked, for the reason given."""
    pair = user.obtain()
    revoke(user, pair, reason)
    assert state(user, pair) == ("Revoked", code)


def test_already_revoked_is_success(user: Household) -> None:
    """Doing it again, as after a crash, is no error."""
    pair = user.obtain()
    revoke(user, pair)
    revoke(user, pair)
    assert state(user, pair)[0] == "Revoked"


def test_lost_reply_is_success(user: Household, proxy: FaultProxy) -> None:
    """A revocation whose reply was lost is repeated and found done."""
    pair = user.obtain()
    proxy.inject(AcmeFault("drop_after", "revoke"))
    revoke(user, pair)
    assert state(user, pair)[0] == "Revoked"


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_own_key_revokes_without_an_account(user: Household, key_type: KeyType) -> None:
    """With the account lost, the certificate's own key is enough."""
    order = user.validated()
    key_pem = generate_key(key_type)
    chains = user.issuer().finalize(order, build_csr(key_pem, DOMAINS))
    pair = read_pair(key_pem, chains.default)
    revoke(user, pair, accounts=FakeAccounts())
    assert state(user, pair)[0] == "Revoked"


@pytest.mark.parametrize("kind", ["accountDoesNotExist", "unauthorized"])
def test_own_key_revokes_where_the_account_may_not(
    user: Household, proxy: FaultProxy, kind: str
) -> None:
    """An account that the CA does not know, or that did not order it, is no obstacle."""
    pair = user.obtain()
    proxy.inject(problem(kind, "revoke"))
    revoke(user, pair)
    assert state(user, pair)[0] == "Revoked"


def test_unknown_account_url_is_no_obstacle(user: Household) -> None:
    """The real thing: an account URL that means nothing to the CA."""
    pair = user.obtain()
    url = user.world.directory_url
    accounts = FakeAccounts()
    accounts.save(Account(url, a_key(), url.replace("/dir", "/my-account/nobody")))
    revoke(user, pair, accounts=accounts)
    assert state(user, pair)[0] == "Revoked"


def test_reason_that_the_ca_does_not_take_is_told(user: Household, proxy: FaultProxy) -> None:
    """The CA's own refusal is a sentence."""
    pair = user.obtain()
    proxy.inject(problem("malformed", "revoke", times=9))
    with pytest.raises(IssuerError) as caught:
        revoke(user, pair)
    assert caught.value.problem == "malformed"
    assert state(user, pair)[0] == "Valid"
