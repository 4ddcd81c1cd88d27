"""An in-memory CA behind the ports Issuer and Revoker; `tests/contract/test_issuer.py` proves it.

It issues real certificates under a throw-away root. Orders, calls and revocations are plain
attributes, so that a test can look at them; `fail` makes a call go wrong, before or after its work.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from cryptography import x509

from certwarden.errors import Error, IssuerError
from certwarden.model import Chains, Challenge, Order, OrderStatus, Pair, RevocationReason
from certwarden.ports import Clock, Issuer
from tests.builders import DIRECTORY, an_issuer

Method = Literal["place", "open", "validate", "finalize", "revoke"]


@dataclass
class FakeOrder:
    """An order as the fake CA keeps it."""

    url: str
    domains: tuple[str, ...]
    profile: str | None
    status: OrderStatus
    to_validate: tuple[str, ...]
    chains: Chains | None = None


@dataclass(frozen=True)
class _Failure:
    error: Error
    after: bool


@dataclass
class FakeIssuer:
    """One CA with all its orders; a restarted program just goes on with the same one.

    `sees` says whether a TXT record (name, value) is to be seen when the CA looks; by default all
    are. `reuses` lists names whose authorization is valid already. `profiles` are what it offers.
    """

    clock: Clock
    directory_url: str = DIRECTORY
    lifetime: timedelta = timedelta(days=90)
    profiles: tuple[str, ...] = ("classic", "shortlived")
    sees: Callable[[str, str], bool] = lambda _name, _value: True
    reuses: set[str] = field(default_factory=set)
    orders: dict[str, FakeOrder] = field(default_factory=dict)
    revoked: dict[str, RevocationReason] = field(default_factory=dict)  # serial to reason
    calls: Counter[str] = field(default_factory=Counter)
    _failures: dict[str, list[_Failure]] = field(default_factory=dict)

    def fail(self, method: Method, error: Error, *, times: int = 1, after: bool = False) -> None:
        """The next calls of the method raise; `after`: when their work is done at the CA."""
        self._failures.setdefault(method, []).extend([_Failure(error, after)] * times)

    def forget_orders(self) -> None:
        """The CA no longer knows any order."""
        self.orders.clear()

    # ── the port Issuer ───────────────────────────────────────────────────────────────────────────

    def place(self, domains: Sequence[str], profile: str | None) -> str:
        failure = self._begin("place")
        order = self._place(domains, profile)
        self._end(failure)
        return order.url

    def open(self, domains: Sequence[str], order_url: str) -> Order:
        failure = self._begin("open")
        order = self._pick_up(order_url, domains)
        self._end(failure)
        return self._shown(order)

    def validate(self, order: Order) -> Order:
        failure = self._begin("validate")
        known = self._known(order.url)
        unseen = [
            each for each in order.challenges if not self.sees(each.record_name, each.record_value)
        ]
        if known.status is OrderStatus.PENDING:
            known.status = OrderStatus.INVALID if unseen else OrderStatus.READY
        self._end(failure)
        if unseen:
            names = ", ".join(f"{each.identifier} (no TXT record)" for each in unseen)
            raise IssuerError(f"the CA did not validate {names}", "look at it", problem="dns")
        return self._shown(known)

    def finalize(self, order: Order, csr_pem: bytes) -> Chains:
        failure = self._begin("finalize")
        known = self._known(order.url)
        if known.status not in (OrderStatus.READY, OrderStatus.VALID):
            raise IssuerError("the order is not ready", "run it again", problem="orderNotReady")
        if known.chains is None:
            known.chains = self._issue(csr_pem)
            known.status = OrderStatus.VALID
        self._end(failure)
        return known.chains

    # ── the port Revoker ──────────────────────────────────────────────────────────────────────────

    def revoke(self, directory_url: str, pair: Pair, reason: RevocationReason) -> None:  # noqa: ARG002 - the port's
        failure = self._begin("revoke")
        self.revoked.setdefault(pair.certificate.serial, reason)
        self._end(failure)

    # ── the CA behind them ────────────────────────────────────────────────────────────────────────

    def _begin(self, method: Method) -> _Failure | None:
        self.calls[method] += 1
        scripted = self._failures.get(method)
        failure = scripted.pop(0) if scripted else None
        if failure is not None and not failure.after:
            raise failure.error
        return failure

    def _end(self, failure: _Failure | None) -> None:
        if failure is not None:
            raise failure.error

    def _place(self, domains: Sequence[str], profile: str | None) -> FakeOrder:
        if profile is not None and profile not in self.profiles:
            raise IssuerError(
                f"the CA has no profile {profile}, only {', '.join(self.profiles)}",
                "set another acme.profile, or none",
                problem="invalidProfile",
                permanent=True,
            )
        url = f"{self.directory_url}/order/{len(self.orders) + 1}"
        names = tuple(domain.lower() for domain in domains)
        left = tuple(name for name in names if name not in self.reuses)
        status = OrderStatus.PENDING if left else OrderStatus.READY
        self.orders[url] = FakeOrder(url, names, profile, status, left)
        return self.orders[url]

    def _pick_up(self, url: str, domains: Sequence[str]) -> FakeOrder:
        order = self.orders.get(url)
        if order is None or order.status is OrderStatus.INVALID:
            raise IssuerError("the order is gone", "a new one is placed", problem="orderGone")
        if set(order.domains) != {domain.lower() for domain in domains}:
            raise IssuerError("the order is for other names", "-", problem="orderGone")
        return order

    def _known(self, url: str) -> FakeOrder:
        if url not in self.orders:
            raise IssuerError("there is no such order", "run it again", status=404)
        return self.orders[url]

    def _shown(self, order: FakeOrder) -> Order:
        if order.status is not OrderStatus.PENDING:
            return Order(order.url, order.status)
        challenges = tuple(_challenge(order.url, name) for name in order.to_validate)
        return Order(order.url, order.status, challenges)

    def _issue(self, csr_pem: bytes) -> Chains:
        csr = x509.load_pem_x509_csr(csr_pem)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        domains = names.get_values_for_type(x509.DNSName)
        start = self.clock.now().replace(microsecond=0) - timedelta(hours=1)
        return Chains(an_issuer().sign(csr.public_key(), domains, start, start + self.lifetime))


def ordered(issuer: Issuer, domains: Sequence[str], profile: str | None = None) -> Order:
    """A new order, placed and opened."""
    return issuer.open(domains, issuer.place(domains, profile))


def _challenge(order_url: str, name: str) -> Challenge:
    identifier = name.removeprefix("*.")
    value = f"value-of-{name}".replace("*", "star").replace(".", "-").ljust(43, "0")[:43]
    return Challenge(
        identifier=identifier,
        url=f"{order_url}/challenge/{name}",
        authorization_url=f"{order_url}/authorization/{name}",
        record_name=f"_acme-challenge.{identifier}",
        record_value=value,
    )
