"""One order from its placing to its chains, as RFC 8555 section 7.1 tells it.

Porcelain: the order of the requests, and what a server's answers mean for it. It obtains
certificates; it does not keep them, and it knows nothing of DNS beyond the record that it wants.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Self, TypeVar

from certwarden.errors import IssuerError
from certwarden.issuer import account, dns01
from certwarden.issuer.account import ExternalAccount, Registration
from certwarden.issuer.client import Client
from certwarden.issuer.once import Once
from certwarden.issuer.polling import ISSUANCE, VALIDATION, poll
from certwarden.issuer.problems import NotValidated, order_gone, refusal, validation_failure
from certwarden.issuer.resources import Authorization, OrderObject
from certwarden.model import Chains, Challenge, Order, OrderStatus
from certwarden.ports import Accounts, Clock

_Made = TypeVar("_Made")

_PENDING, _VALID = "pending", "valid"  # of authorizations and challenges, section 7.1.6
_LOOKS_AT_ORDER_ALONE = 4


@dataclass
class _Known:
    """What the server said last of an order, so that nothing is asked for twice."""

    order: OrderObject
    is_placed: bool = False  # by us, and not opened yet: the reply still holds
    authorizations: dict[str, Authorization] = field(default_factory=dict)
    chains: Chains | None = None


class AcmeIssuer:
    """The port Issuer, by ACME; for any number of threads, each with an order of its own.

    `ca_bundle`: whom to trust for the directory's own TLS, instead of the system's authorities.
    """

    def __init__(
        self,
        directory_url: str,
        *,
        accounts: Accounts,
        clock: Clock,
        terms_of_service_agreed: bool,
        contact: Sequence[str] = (),
        external_account: ExternalAccount | None = None,
        ca_bundle: Path | None = None,
    ) -> None:
        self._client = Client(directory_url, clock=clock, ca_bundle=ca_bundle)
        self._accounts = accounts
        self._clock = clock
        self._registration = Registration(terms_of_service_agreed, contact, external_account)
        self._entry = Once(partial(self._enter, account.enter))
        self._entering_again = threading.Lock()
        self._known: dict[str, _Known] = {}

    @property
    def directory_url(self) -> str:
        """Which CA this is."""
        return self._client.directory_url

    def account_url(self) -> str:
        """The account that orders; registers one where there is none. Raises IssuerError."""
        self._sign_in()
        return self._client.account_url

    def close(self) -> None:
        """Ends the connections; nothing is lost by not calling it but tidiness."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── 1. the order (section 7.4) ────────────────────────────────────────────────────────────────

    def place(
        self, domains: Sequence[str], profile: str | None, replaces: str | None = None
    ) -> str:
        """Places an order and returns its URL; raises IssuerError.

        `replaces` is the id of the certificate that it replaces (RFC 9773 section 5): a help to the
        CA, so that its objections to that are no reason not to order.
        """
        self._check_profile(profile)
        if replaces and not self._client.directory.renewal_info:
            replaces = None
        try:
            order = self._placed(domains, profile, replaces)
        except IssuerError as error:
            if not (replaces and _may_object_to_replacing(error)):
                raise
            order = self._placed(domains, profile, None)
        self._known[order.url] = _Known(order, is_placed=True)
        return order.url

    def _placed(
        self, domains: Sequence[str], profile: str | None, replaces: str | None
    ) -> OrderObject:
        return self._signed_in(partial(self._client.new_order, domains, profile, replaces))

    def open(self, domains: Sequence[str], order_url: str) -> Order:
        """The order as it stands; see the port Issuer.

        Raises IssuerError; its problem is "orderGone" where it cannot be picked up.
        """
        with self._forgetting_on_error(order_url):
            known = self._known.get(order_url)
            is_placed = known is not None and known.is_placed
            if known is None or not known.is_placed:
                known = self._known[order_url] = self._pick_up(order_url, domains)
            known.is_placed = False
            return self._opened(known, domains, is_placed=is_placed)

    def _opened(self, known: _Known, domains: Sequence[str], *, is_placed: bool) -> Order:
        order = known.order
        if order.status is OrderStatus.INVALID:
            raise self._why_invalid(order)
        if order.status is not OrderStatus.PENDING:  # so that all of them are valid
            return Order(order.url, order.status, reused=order.authorizations)
        for url in order.authorizations:
            known.authorizations[url] = self._client.authorization(url)
        authorizations = [each for each in known.authorizations.values() if each.status != _VALID]
        wanted = [domain.lower() for domain in domains]
        for each in authorizations:
            if each.name not in wanted:
                raise IssuerError(
                    f"{self._client.server} wants {each.name} validated, which was not ordered",
                    "use another CA",
                )
        over = [each for each in authorizations if each.status != _PENDING]
        if over and not is_placed:
            raise order_gone(
                self._client.server, f"its authorization of {over[0].name} is {over[0].status}"
            )
        if over:
            raise self._validation_failure([_not_validated(each) for each in over])
        authorizations.sort(key=lambda each: wanted.index(each.name))  # servers shuffle them
        return Order(
            order.url,
            order.status,
            tuple(map(self._as_challenge, authorizations)),
            tuple(url for url, each in known.authorizations.items() if each.status == _VALID),
        )

    def _pick_up(self, order_url: str, domains: Sequence[str]) -> _Known:
        self._sign_in()
        _ = self._client.directory  # that it is not to be had says nothing about the order
        chains = None
        try:
            order, _ = self._signed_in(partial(self._client.order, order_url))
            if order.status is OrderStatus.VALID:
                # At once, because a certificate that cannot be had any more is an order gone.
                chains = self._client.download(order.certificate)
        except IssuerError as error:
            if error.status == 404 or error.problem in ("malformed", "unauthorized"):
                raise order_gone(self._client.server, error.what) from error
            raise
        if order.status is OrderStatus.INVALID:
            raise order_gone(self._client.server, self._why_invalid(order).what)
        if set(order.identifiers) != {domain.lower() for domain in domains}:
            raise order_gone(self._client.server, "it is for other names")
        return _Known(order, chains=chains)

    def _check_profile(self, profile: str | None) -> None:
        offered = self._client.directory.profiles
        if profile and profile not in offered:
            raise IssuerError(
                f"{self._client.server} has no profile {profile}"
                + (f", only {', '.join(offered)}" if offered else ", nor any other"),
                "set another acme.profile, or none",
                problem="invalidProfile",
                permanent=True,
            )

    def _as_challenge(self, authorization: Authorization) -> Challenge:
        challenge = authorization.dns01
        if challenge is None:
            raise IssuerError(
                f"{self._client.server} offers no dns-01 challenge for {authorization.name}",
                "use another CA",
                permanent=True,
            )
        return Challenge(
            identifier=authorization.identifier,
            url=challenge.url,
            authorization_url=authorization.url,
            record_name=dns01.record_name(authorization.identifier),
            record_value=dns01.record_value(challenge.token, self._client.thumbprint),
        )

    def deactivate(self, order: Order) -> None:
        """Gives up the order's reused authorizations (section 7.5.2); the order comes to nothing.

        Raises IssuerError at the first that cannot be given up.
        """
        self._sign_in()
        self._known.pop(order.url, None)
        for url in order.reused:
            try:
                self._client.deactivate(url)
            except IssuerError:
                # The reply to our first request may have been lost: then it is given up.
                if self._client.authorization(url).status == _VALID:
                    raise

    # ── 2. the challenges (section 7.5.1) ─────────────────────────────────────────────────────────

    def validate(self, order: Order) -> Order:
        """Answers all challenges and waits until the order is ready, or further.

        Raises IssuerError, with a clause for each name that was not validated.
        """
        if order.status is not OrderStatus.PENDING:
            return order
        self._sign_in()
        with self._forgetting_on_error(order.url):
            waits = [self._answer(order.url, challenge) for challenge in order.challenges]
            current = poll(
                partial(self._look_at_validation, order.url, count()),
                lambda seen: seen.status is not OrderStatus.PENDING,
                what=f"the validation at {self._client.server}",
                pace=VALIDATION,
                clock=self._clock,
                asked=max((wait for wait in waits if wait is not None), default=None),
            )
            if current.status is OrderStatus.INVALID:
                raise self._why_invalid(current)
            self._known[order.url] = _Known(current)
        return replace(order, status=current.status, challenges=())

    def _answer(self, order_url: str, challenge: Challenge) -> timedelta | None:
        """Answers once: not again what an earlier run has answered, or what is valid by now."""
        opened = self._known.get(order_url)
        known = opened and opened.authorizations.get(challenge.authorization_url)
        if not known:
            known = self._client.authorization(challenge.authorization_url)
        if known.dns01 is not None and known.dns01.status != _PENDING:
            return None
        try:
            return self._client.answer(challenge.url)
        except IssuerError as error:
            if error.problem != "malformed":
                raise
            # The reply to our first answer may have been lost: then it is no longer pending.
            now = self._client.authorization(challenge.authorization_url)
            if now.status == _PENDING and (now.dns01 is None or now.dns01.status == _PENDING):
                raise
            return None

    def _look_at_validation(
        self, order_url: str, looks: Iterator[int]
    ) -> tuple[OrderObject, timedelta | None]:
        """The order's own status says it all in one request, however many names there are.

        Some servers leave an order pending of which an authorization has failed, so that after a
        few looks the authorizations are asked for as well.
        """
        order, retry_after = self._client.order(order_url)
        if order.status is OrderStatus.PENDING and next(looks) >= _LOOKS_AT_ORDER_ALONE:
            failures = self._failures(order)
            if failures:
                raise self._validation_failure(failures)
        return order, retry_after

    def _failures(self, order: OrderObject) -> list[NotValidated]:
        found = [self._client.authorization(url) for url in order.authorizations]
        return [_not_validated(each) for each in found if each.status not in (_PENDING, _VALID)]

    # ── 3. the certificate (sections 7.4 and 7.4.2) ───────────────────────────────────────────────

    def finalize(self, order: Order, csr_pem: bytes) -> Chains:
        """Finalizes a ready order, waits and downloads; picks up a processing or valid one."""
        known = self._known.pop(order.url, None)
        if known is not None and known.chains is not None:
            return known.chains
        self._sign_in()
        current, asked = (known.order, None) if known else self._client.order(order.url)
        if current.status is OrderStatus.READY:
            current, asked = self._send_request(current, csr_pem)
        if current.status in (OrderStatus.READY, OrderStatus.PROCESSING):
            current = poll(
                partial(self._client.order, order.url),
                lambda seen: seen.status in (OrderStatus.VALID, OrderStatus.INVALID),
                what=f"the issuance at {self._client.server}",
                pace=ISSUANCE,
                clock=self._clock,
                asked=asked,
            )
        if current.status is OrderStatus.PENDING:
            raise IssuerError(
                f"the order at {self._client.server} is not ready: not all names are validated",
                "run it again",
                problem="orderNotReady",
            )
        if current.status is OrderStatus.INVALID:
            raise self._why_invalid(current)
        return self._client.download(current.certificate)

    def _send_request(
        self, order: OrderObject, csr_pem: bytes
    ) -> tuple[OrderObject, timedelta | None]:
        try:
            return self._client.finalize(order, csr_pem)
        except IssuerError as error:
            if error.problem != "orderNotReady":
                raise
            # The reply to our first request may have been lost: then the order has moved on.
            current, asked = self._client.order(order.url)
            if current.status in (OrderStatus.PENDING, OrderStatus.READY):
                raise
            return current, asked

    # ── what all of them need ─────────────────────────────────────────────────────────────────────

    @contextmanager
    def _forgetting_on_error(self, order_url: str) -> Iterator[None]:
        """What was remembered of the order goes with an error: then it is looked at afresh."""
        try:
            yield
        except IssuerError:
            self._known.pop(order_url, None)
            raise

    def _why_invalid(self, order: OrderObject) -> IssuerError:
        """Why the order came to nothing: authorizations that failed, else its own problem."""
        failures = self._failures(order)
        if failures or order.problem is None:
            return self._validation_failure(failures)
        return refusal(
            self._client.server,
            order.problem,
            caa_identity=self._client.directory.caa_identity,
            now=self._clock.now(),
        )

    def _validation_failure(self, failures: Sequence[NotValidated]) -> IssuerError:
        return validation_failure(
            self._client.server, failures, caa_identity=self._client.directory.caa_identity
        )

    def _enter(self, way: Callable[[Client, Accounts, Registration], None]) -> None:
        way(self._client, self._accounts, self._registration)

    def _sign_in(self) -> None:
        self._entry.get()

    def _signed_in(self, request: Callable[[], _Made]) -> _Made:
        """The request's result, as our account; registered anew, once, if the server forgot it."""
        entry = self._entry
        entry.get()
        try:
            return request()
        except IssuerError as error:
            if error.problem != "accountDoesNotExist":
                raise
        with self._entering_again:
            if self._entry is entry:  # else another thread has seen to it
                self._entry = Once(partial(self._enter, account.reenter))
        self._sign_in()
        return request()


def _may_object_to_replacing(error: IssuerError) -> bool:
    """Whether an order may have been refused for what it was to replace.

    A server error counts, because a server may stumble over what is to be replaced; it has been
    tried again by then, so that it is no passing one.
    """
    return error.problem in ("alreadyReplaced", "malformed", "unauthorized") or error.status in (
        404,
        409,
        500,
    )


def _not_validated(authorization: Authorization) -> NotValidated:
    return NotValidated(authorization.name, authorization.status, authorization.problem)
