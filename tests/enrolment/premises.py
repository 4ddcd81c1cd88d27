"""A house with a CA, its list and a server certificate of today, in memory, to be invited into."""

from datetime import UTC, datetime
from pathlib import Path

from certwarden.lifecycle.authority import sign_lists
from certwarden.model import AuthoritySpec, Pair, Root, Secret
from certwarden.pki.authority import build_root
from certwarden.pki.protection import generate_authority_key
from tests.builders import a_certificate_spec, a_stored
from tests.fakes import FakeWorld

SPEC = a_certificate_spec()
HOST = "red.example.org"


def a_house() -> FakeWorld:
    """Today's: OpenSSL looks at the real time."""
    world = FakeWorld(SPEC)
    world.clock.instant = datetime.now(UTC)
    world.key = generate_authority_key()
    world.authority_spec = AuthoritySpec("Home", Path("/nowhere/ca.passphrase"))
    world.authority.create(
        build_root("Home", world.key, world.clock.now()), Secret(b"encrypted"), is_locked=False
    )
    publish(world)
    store(world)
    return world


def publish(world: FakeWorld) -> None:
    """A list of who is revoked now."""
    assert world.key is not None
    sign_lists(world, root_of(world), world.key, world.clock.now())


def root_of(world: FakeWorld) -> Root:
    root = world.authority.root()
    assert root is not None
    return root


def store(world: FakeWorld, days: float = 90) -> Pair:
    """Another version of the server certificate."""
    stored = a_stored(obtained_at=world.clock.now(), days=days)
    world.certificates.versions.setdefault("home", []).append(stored)
    return stored.pair
