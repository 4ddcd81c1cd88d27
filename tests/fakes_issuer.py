"""An in-memory CA behind the ports Issuer, Revoker and RenewalInfos, proved by the contract tests.

It issues real certificates under a throw-away root. Orders, calls and revocations are plain
attributes, so that a test can look at them; `fail` makes a call go wrong, before or after its work.
Orders may be under way in many threads at once.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from cryptography import x509

from certwarden.errors import Error, IssuerError
from certwarden.model import (
    Chains,
    Challenge,
    Order,
    OrderStatus,
    Pair,
    RenewalAnswer,
    RevocationReason,
)
from certwarden.ports import Clock, Issuer
from tests.builders import DIRECTORY, an_issuer

Method = Literal["account_url", "place", "open", "validate", "finalize", "deactivate", "revoke"]

NO_ARI = RenewalAnswer(None, timedelta(days=1))
_AUTHORIZATION = "/authorization/"


@dataclass
class FakeOrder:
    """An order as the fake CA keeps it."""

    url: str
    domains: tuple[str, ...]
    profile: str | None
    status: OrderStatus
    to_validate: tuple[str, ...]
    replaces: str | None = None
    chains: Chains | None = None


@dataclass(frozen=True)
class _Failure:
    error: Error
    after: bool


@dataclass
class FakeIssuer:
    """One CA with all its orders; a restarted program just goes on with the same one.

    `sees` says whether a TXT record (name, value) is to be seen when the CA looks; by default all
    are. `reuses` lists names whose authorization is valid already, until it is deactivated; with
    `reuses_validated` each that is validated joins them. `profiles` are what it offers. Without
    `offers_ari` it is never told what an order replaces; with `refuses_replaces` it objects to
    that, so that the order is placed without.
    """

    clock: Clock
    directory_url: str = DIRECTORY
    lifetime: timedelta = timedelta(days=90)
    backdated: timedelta = timedelta(hours=1)  # how far notBefore lies before the order
    profiles: tuple[str, ...] = ("classic", "shortlived")
    sees: Callable[[str, str], bool] = lambda _name, _value: True
    reuses: set[str] = field(default_factory=set)
    reuses_validated: bool = False
    offers_ari: bool = True
    refuses_replaces: bool = False
    orders: dict[str, FakeOrder] = field(default_factory=dict)
    revoked: dict[str, RevocationReason] = field(default_factory=dict)  # serial to reason
    calls: Counter[str] = field(default_factory=Counter)
    deactivated: list[str] = field(default_factory=list)  # URLs of authorizations
    _failures: dict[str, list[_Failure]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def fail(self, method: Method, error: Error, *, times: int = 1, after: bool = False) -> None:
        """The next calls of the method raise; `after`: when their work is done at the CA."""
        self._failures.setdefault(method, []).extend([_Failure(error, after)] * times)

    def forget_orders(self) -> None:
        """The CA no longer knows any order."""
        self.orders.clear()

    # ── the port Issuer ───────────────────────────────────────────────────────────────────────────

    def account_url(self) -> str:
        with self._calling("account_url"):
            return f"{self.directory_url}/account/1"

    def place(
        self, domains: Sequence[str], profile: str | None, replaces: str | None = None
    ) -> str:
        with self._calling("place"):
            told = replaces if self.offers_ari and not self.refuses_replaces else None
            return self._place(domains, profile, told).url

    def open(self, domains: Sequence[str], order_url: str) -> Order:
        with self._calling("open"):
            return _shown(self._pick_up(order_url, domains))

    def validate(self, order: Order) -> Order:
        unseen = [
            each for each in order.challenges if not self.sees(each.record_name, each.record_value)
        ]
        with self._calling("validate"):
            known = self._known(order.url)
            if known.status is OrderStatus.PENDING:
                known.status = OrderStatus.INVALID if unseen else OrderStatus.READY
            if unseen:
                names = ", ".join(f"{each.identifier} (no TXT record)" for each in unseen)
                raise IssuerError(
                    f"the CA did not validate {names}",
                    "look at it",
                    problem="dns",
                    failed_names=tuple(dict.fromkeys(each.identifier for each in unseen)),
                )
            if self.reuses_validated:
                self.reuses.update(known.domains)
            return replace(order, status=known.status, challenges=())

    def finalize(self, order: Order, csr_pem: bytes) -> Chains:
        with self._calling("finalize"):
            known = self._known(order.url)
            if known.status not in (OrderStatus.READY, OrderStatus.VALID):
                raise IssuerError("the order is not ready", "run it again", problem="orderNotReady")
            if known.chains is None:
                known.chains = self._issue(csr_pem)
                known.status = OrderStatus.VALID
            return known.chains

    def deactivate(self, order: Order) -> None:
        with self._calling("deactivate"):
            for url in order.reused:
                self.deactivated.append(url)
                self.reuses.discard(url.partition(_AUTHORIZATION)[2])
            if order.reused and order.url in self.orders:
                self.orders[order.url].status = OrderStatus.INVALID

    # ── the port Revoker ──────────────────────────────────────────────────────────────────────────

    def revoke(self, directory_url: str, pair: Pair, reason: RevocationReason) -> None:  # noqa: ARG002 - the port's
        with self._calling("revoke"):
            self.revoked.setdefault(pair.certificate.serial, reason)

    # ── the CA behind them ────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _calling(self, method: Method) -> Iterator[None]:
        """One call at a time; it fails as was arranged, before its work or when it is done."""
        with self._lock:
            self.calls[method] += 1
            scripted = self._failures.get(method)
            failure = scripted.pop(0) if scripted else None
            if failure is not None and not failure.after:
                raise failure.error
            yield
            if failure is not None:
                raise failure.error

    def _place(
        self, domains: Sequence[str], profile: str | None, replaces: str | None
    ) -> FakeOrder:
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
        self.orders[url] = FakeOrder(url, names, profile, status, left, replaces)
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

    def _issue(self, csr_pem: bytes) -> Chains:
        csr = x509.load_pem_x509_csr(csr_pem)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        domains = names.get_values_for_type(x509.DNSName)
        start = self.clock.now().replace(microsecond=0) - self.backdated
        return Chains(an_issuer().sign(csr.public_key(), domains, start, start + self.lifetime))


@dataclass
class FakeRenewalInfos:
    """What CAs say about renewals: `answers` by certificate id, else `default`; `error` is raised.

    `asked` are the questions so far, as (directory URL, certificate id).
    """

    default: RenewalAnswer = NO_ARI
    answers: dict[str, RenewalAnswer] = field(default_factory=dict)
    error: Error | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, directory_url: str, certificate_id: str) -> RenewalAnswer:
        self.asked.append((directory_url, certificate_id))
        if self.error is not None:
            raise self.error
        return self.answers.get(certificate_id, self.default)


def ordered(issuer: Issuer, domains: Sequence[str], profile: str | None = None) -> Order:
    """A new order, placed and opened."""
    return issuer.open(domains, issuer.place(domains, profile))


def _shown(order: FakeOrder) -> Order:
    to_validate = order.to_validate if order.status is OrderStatus.PENDING else ()
    return Order(
        order.url,
        order.status,
        tuple(_challenge(order.url, name) for name in to_validate),
        tuple(_authorization(order.url, name) for name in order.domains if name not in to_validate),
    )


def _authorization(order_url: str, name: str) -> str:
    return f"{order_url}{_AUTHORIZATION}{name}"


def _challenge(order_url: str, name: str) -> Challenge:
    identifier = name.removeprefix("*.")
    value = f"value-of-{name}".replace("*", "star").replace(".", "-").ljust(43, "0")[:43]
    return Challenge(
        identifier=identifier,
        url=f"{order_url}/challenge/{name}",
        authorization_url=_authorization(order_url, name),
        record_name=f"_acme-challenge.{identifier}",
        record_value=value,
    )
