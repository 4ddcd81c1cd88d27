"""What the issuer's tests share: a quick clock, and a CA with the DNS that it looks at."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from certwarden.issuer.issuer import AcmeIssuer
from certwarden.model import Challenge, KeyType, Order, Pair
from certwarden.pki.certificate import read_pair
from certwarden.pki.keys import build_csr, generate_key
from tests.builders import DOMAINS
from tests.fakes_issuer import ordered
from tests.fakes_store import FakeAccounts
from tests.world import World

HASTE = 20.0


class QuickClock:
    """A clock that runs twenty times as fast, so that real waiting is short."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() * HASTE

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        time.sleep(seconds / HASTE)

    def interrupt(self) -> None:
        """Nobody does."""


class Household:
    """One user of a world's CA: his accounts, his DNS, and issuers as fresh as after a crash."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.accounts = FakeAccounts()
        self.clock = QuickClock()
        self._open: list[AcmeIssuer] = []

    def issuer(self, **changes: Any) -> AcmeIssuer:
        """A new issuer over the same accounts, as another process would have it."""
        arguments: dict[str, Any] = {
            "accounts": self.accounts,
            "clock": self.clock,
            "terms_of_service_agreed": True,
            "ca_bundle": self.world.ca_bundle,
        }
        issuer = AcmeIssuer(self.world.directory_url, **(arguments | changes))
        self._open.append(issuer)
        return issuer

    def publish(self, challenges: Sequence[Challenge]) -> None:
        """Puts the TXT records into the DNS that the CA asks."""
        for each in challenges:
            self.world.store.add("TXT", each.record_name, each.record_value)

    def validated(self, domains: Sequence[str] = DOMAINS) -> Order:
        """An order, opened and validated without trouble."""
        issuer = self.issuer()
        order = ordered(issuer, domains, None)
        self.publish(order.challenges)
        return issuer.validate(order)

    def obtain(self, domains: Sequence[str] = DOMAINS, **changes: Any) -> Pair:
        """The whole way, with one issuer."""
        issuer = self.issuer(**changes)
        order = ordered(issuer, domains, None)
        self.publish(order.challenges)
        key_pem = generate_key(KeyType.ECDSA_P256)
        chains = issuer.finalize(issuer.validate(order), build_csr(key_pem, domains))
        return read_pair(key_pem, chains.default)

    def close(self) -> None:
        for issuer in self._open:
            issuer.close()


@contextmanager
def household(world: World) -> Iterator[Household]:
    """A user with no account yet, in a zone without records."""
    if world.proxy:
        world.proxy.clear_faults()
        world.proxy.forget_requests()
    user = Household(world)
    try:
        yield user
    finally:
        user.close()
        for record in world.store.records():
            if record.type == "TXT":
                world.store.remove(record)
