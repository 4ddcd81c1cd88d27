"""One world for all tests of the issuer: Pebble, refusing some nonces, behind a fault proxy."""

from collections.abc import Iterator

import pytest

from tests.issuer.conversation import Household, household
from tests.world import World
from tests.world.faultproxy import FaultProxy
from tests.world.pebble import DEFAULT_PROFILES, MORE_PROFILES, PebbleOptions


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """With profiles and two alternate chains; no authorization is used twice."""
    options = PebbleOptions(
        # With thousands of requests, more than this would use up six tries in a row now and then.
        nonce_reject=5,
        authz_reuse=0,
        profiles=DEFAULT_PROFILES | MORE_PROFILES,
        alternate_roots=2,
        blocked_domains=("blocked.test",),
    )
    with World(proxy=True, pebble=options) as world:
        yield world


@pytest.fixture
def user(world: World) -> Iterator[Household]:
    """A user without an account, in an empty zone; no fault is set."""
    with household(world) as user:
        yield user


@pytest.fixture
def proxy(user: Household) -> FaultProxy:
    """What stands before the CA."""
    assert user.world.proxy is not None
    return user.world.proxy
