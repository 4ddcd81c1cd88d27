"""One order from its placing to its chains, as RFC 8555 section 7.1 tells it.

Porcelain: the order of the requests, and what a server's answers mean for it. It obtains
certificates; it does not keep them, and it knows nothing of DNS beyond the record that it wants.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Self, TypeVar

from certwarden.errors import IssuerError
from certwarden.issuer import account, dns01
from certwarden.issuer.account import ExternalAccount, Registration
from certwarden.issuer.client import Client
from certwarden.issuer.polling import ISSUANCE, VALIDATION, poll
from certwarden.issuer.problems import NotValidated, order_gone, refusal, validation_failure
from certwarden.issuer.resources import Authorization, OrderObject
from certwarden.model import Chains, Challenge, Order, OrderStatus
from certwarden.ports import Accounts, Clock

_Made = TypeVar("_Made")

_PENDING, _VALID = "pending", "valid"  # of authorizations and challenges, section 7.1.6
_LOOKS_AT_ORDER_ALONE = 4


class AcmeIssuer:
    """The port Issuer, by ACME. For one thread: a session with its nonces is not to be shared.

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
        self._is_signed_in = False
        # What the server said last, so that nothing is asked for twice.
        self._orders: dict[str, OrderObject] = {}
        self._placed: dict[str, OrderObject] = {}
        self._authorizations: dict[str, Authorization] = {}
        self._chains: dict[str, Chains] = {}

    @property
    def directory_url(self) -> str:
        """Which CA this is."""
        return self._client.directory_url

    def close(self) -> None:
        """Ends the connection; nothing is lost by not calling it but tidiness."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── 1. the order (section 7.4) ────────────────────────────────────────────────────────────────

    def place(self, domains: Sequence[str], profile: str | None) -> str:
        """Places an order and returns its URL; raises IssuerError."""
        self._check_profile(profile)
        order = self._signed_in(partial(self._client.new_order, domains, profile))
        self._orders[order.url] = self._placed[order.url] = order
        return order.url

    def open(self, domains: Sequence[str], order_url: str) -> Order:
        """The order as it stands; see the port Issuer.

        Raises IssuerError; its problem is "orderGone" where it cannot be picked up.
        """
        placed = self._placed.pop(order_url, None)  # its reply still holds
        order = placed or self._pick_up(order_url, domains)
        if order.status is OrderStatus.INVALID:
            raise self._why_invalid(order)
        authorizations = self._open_authorizations(order)
        wanted = [domain.lower() for domain in domains]
        for each in authorizations:
            if each.name not in wanted:
                raise IssuerError(
                    f"{self._client.server} wants {each.name} validated, which was not ordered",
                    "use another CA",
                )
        over = [each for each in authorizations if each.status != _PENDING]
        if over and placed is None:
            raise order_gone(
                self._client.server, f"its authorization of {over[0].name} is {over[0].status}"
            )
        if over:
            raise self._validation_failure([_not_validated(each) for each in over])
        authorizations.sort(key=lambda each: wanted.index(each.name))  # servers shuffle them
        return Order(order.url, order.status, tuple(map(self._as_challenge, authorizations)))

    def _pick_up(self, order_url: str, domains: Sequence[str]) -> OrderObject:
        self._sign_in()
        _ = self._client.directory  # that it is not to be had says nothing about the order
        try:
            order = self._signed_in(partial(self._look_at_order, order_url))[0]
            if order.status is OrderStatus.VALID:
                # At once, because a certificate that cannot be had any more is an order gone.
                self._chains[order_url] = self._client.download(order.certificate)
        except IssuerError as error:
            if error.status == 404 or error.problem in ("malformed", "unauthorized"):
                raise order_gone(self._client.server, error.what) from error
            raise
        if order.status is OrderStatus.INVALID:
            raise order_gone(self._client.server, self._why_invalid(order).what)
        if set(order.identifiers) != {domain.lower() for domain in domains}:
            raise order_gone(self._client.server, "it is for other names")
        return order

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

    def _open_authorizations(self, order: OrderObject) -> list[Authorization]:
        """Those that still have to become valid; an order past pending has none."""
        if order.status is not OrderStatus.PENDING:
            return []
        for url in order.authorizations:
            self._authorizations[url] = self._client.authorization(url)
        found = [self._authorizations[url] for url in order.authorizations]
        return [each for each in found if each.status != _VALID]

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

    # ── 2. the challenges (section 7.5.1) ─────────────────────────────────────────────────────────

    def validate(self, order: Order) -> Order:
        """Answers all challenges and waits until the order is ready, or further.

        Raises IssuerError, with a clause for each name that was not validated.
        """
        if order.status is not OrderStatus.PENDING:
            return order
        self._sign_in()
        for challenge in order.challenges:
            self._answer(challenge)
        current = poll(
            partial(self._look_at_validation, order.url, count()),
            lambda seen: seen.status is not OrderStatus.PENDING,
            what=f"the validation at {self._client.server}",
            pace=VALIDATION,
            clock=self._clock,
        )
        if current.status is OrderStatus.INVALID:
            raise self._why_invalid(current)
        return Order(current.url, current.status)

    def _answer(self, challenge: Challenge) -> None:
        """Answers once: not again what an earlier run has answered, or what is valid by now."""
        known = self._authorizations.get(challenge.authorization_url)
        if known is None:
            known = self._client.authorization(challenge.authorization_url)
        if known.dns01 is not None and known.dns01.status != _PENDING:
            return
        try:
            self._client.answer(challenge.url)
        except IssuerError as error:
            if error.problem != "malformed":
                raise
            # The reply to our first answer may have been lost: then it is no longer pending.
            now = self._client.authorization(challenge.authorization_url)
            if now.status == _PENDING and (now.dns01 is None or now.dns01.status == _PENDING):
                raise

    def _look_at_validation(
        self, order_url: str, looks: Iterator[int]
    ) -> tuple[OrderObject, timedelta | None]:
        """The order's own status says it all in one request, however many names there are.

        Some servers leave an order pending of which an authorization has failed, so that after a
        few looks the authorizations are asked for as well.
        """
        order, retry_after = self._look_at_order(order_url)
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
        if order.url in self._chains:
            return self._chains.pop(order.url)
        self._sign_in()
        current = self._orders.get(order.url) or self._look_at_order(order.url)[0]
        if current.status is OrderStatus.READY:
            current = self._send_request(current, csr_pem)
        if current.status in (OrderStatus.READY, OrderStatus.PROCESSING):
            current = poll(
                partial(self._look_at_order, order.url),
                lambda seen: seen.status in (OrderStatus.VALID, OrderStatus.INVALID),
                what=f"the issuance at {self._client.server}",
                pace=ISSUANCE,
                clock=self._clock,
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

    def _send_request(self, order: OrderObject, csr_pem: bytes) -> OrderObject:
        try:
            return self._client.finalize(order, csr_pem)
        except IssuerError as error:
            if error.problem != "orderNotReady":
                raise
            # The reply to our first request may have been lost: then the order has moved on.
            current = self._look_at_order(order.url)[0]
            if current.status in (OrderStatus.PENDING, OrderStatus.READY):
                raise
            return current

    # ── what all of them need ─────────────────────────────────────────────────────────────────────

    def _look_at_order(self, url: str) -> tuple[OrderObject, timedelta | None]:
        order, retry_after = self._client.order(url)
        self._orders[url] = order
        return order, retry_after

    def _why_invalid(self, order: OrderObject) -> IssuerError:
        """Why the order came to nothing: authorizations that failed, else its own problem."""
        failures = self._failures(order)
        if failures or order.problem is None:
            return self._validation_failure(failures)
        return refusal(
            self._client.server, order.problem, caa_identity=self._client.directory.caa_identity
        )

    def _validation_failure(self, failures: Sequence[NotValidated]) -> IssuerError:
        return validation_failure(
            self._client.server, failures, caa_identity=self._client.directory.caa_identity
        )

    def _sign_in(self) -> None:
        if not self._is_signed_in:
            account.enter(self._client, self._accounts, self._registration)
            self._is_signed_in = True

    def _signed_in(self, request: Callable[[], _Made]) -> _Made:
        """The request's result, as our account; registered anew, once, if the server forgot it."""
        self._sign_in()
        try:
            return request()
        except IssuerError as error:
            if error.problem != "accountDoesNotExist":
                raise
            account.reenter(self._client, self._accounts, self._registration)
            return request()


def _not_validated(authorization: Authorization) -> NotValidated:
    return NotValidated(authorization.name, authorization.status, authorization.problem)
