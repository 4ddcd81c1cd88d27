"""Obtains a server certificate: key, order, TXT records, validation, chain, version.

The way of RFC 8555 section 7.1 as seen from the house. What is needed to pick the order up again
is written down before each step (invariant 2), and so is every TXT record (invariant 3).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from certwarden.errors import (
    ORDER_GONE,
    Error,
    IssuerError,
    MaterialError,
    NotNowError,
    StoreError,
    UsageError,
    ZoneError,
    as_error,
)
from certwarden.lifecycle.causes import evidence_of
from certwarden.lifecycle.retry import Try, cause_of, limits_allow_at
from certwarden.lifecycle.side_by_side import NameLocks
from certwarden.model import (
    CertificateSpec,
    Chains,
    Challenge,
    Draft,
    Event,
    Observed,
    Order,
    OrderStatus,
    Pair,
    Place,
    Stored,
    TxtRecord,
)
from certwarden.pki.certificate import check_ordered, read_pair, renewal_certificate_id
from certwarden.pki.keys import build_csr, generate_key
from certwarden.ports import Issuer, Level, Neighbours

ROOM_NEEDED = 1024 * 1024  # a version is a few kilobytes; with less free, ordering would waste one
_REFUSALS = frozenset({"caa", "rejectedIdentifier", "unsupportedIdentifier"})


@dataclass(frozen=True)
class Obtained:
    """A certificate that is stored; `litter` says why TXT records are left, if they are."""

    stored: Stored
    litter: Error | None


class Desk:
    """Where the orders of a pass are worked on: what they share, and what must not meet."""

    def __init__(self, world: Neighbours) -> None:
        self.world = world
        self.names = NameLocks()  # of challenges, for as long as their records are there
        self.rehearsals = NameLocks()  # of identifiers, for as long as they are rehearsed
        self.sets = NameLocks()  # of the names of whole certificates

    def is_limited(self, issuer: Issuer) -> bool:
        """Whether what is spent at this directory is counted."""
        return issuer.directory_url in self.world.policy.limited

    def check_limits(self, issuer: Issuer, names: Sequence[str], *, is_new_order: bool) -> None:
        """No try may overdraw what the CA allows, whoever asks for it; raises IssuerError."""
        if not self.is_limited(issuer):
            return
        now = self.world.clock.now()
        spent = self.world.limits.spent(issuer.directory_url, names)
        at, text = limits_allow_at(spent, names, now, is_new_order=is_new_order)
        if at > now:
            raise IssuerError(
                f"the CA's limits would be overdrawn: {text}",
                "it is tried again when they allow it",
                problem="rateLimited",
                retry_after=at - now,
            )


def obtain(desk: Desk, seen: Observed, wanted: Try, now: datetime) -> Obtained:
    """Obtains a certificate as observed and stores it as a new version; raises Error.

    `wanted` says at which directory, and whether a new order is to prove itself at the staging
    directory first. An order that an earlier pass had under way is taken up where it stands. The
    caller holds the lock on orders.
    """
    world, spec = desk.world, seen.spec
    attempt = world.attempts.begin_attempt(
        spec.name, wanted.directory_url, spec.domains, now, seen.setup
    )
    try:
        with desk.sets.hold([" ".join(sorted(spec.domains))]):  # the limits count them together
            obtained = _Work(desk, seen, wanted, attempt, now).obtain()
    except Exception as exception:  # noqa: BLE001 - what nobody foresaw is a failure as well
        error = as_error(exception)
        event = Event(world.clock.now(), "obtain-failed", spec.name, None, error.what)
        _conclude(world, spec, attempt, error, event)
        raise error from None
    leaf = obtained.stored.certificate
    text = f"valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC, by {leaf.issuer}"
    version = f"version {obtained.stored.version}, {text}"
    event = Event(world.clock.now(), "obtained", spec.name, None, version)
    _conclude(world, spec, attempt, None, event)
    world.reporter.event(Level.INFO, spec.name, f"certificate obtained, {text}")
    return obtained


def rehearse(desk: Desk, spec: CertificateSpec, now: datetime) -> Pair:
    """Goes through the whole of an order at the staging directory and keeps no certificate.

    Authorizations that the directory would reuse prove nothing: they are given up, and ordered
    again. Raises Error, also where TXT records had to be left.
    """
    issuer = desk.world.staging_issuer(spec.directory_url)
    if issuer is None:
        raise UsageError(
            "there is no staging directory to rehearse at",
            "set `acme.staging_directory` in the configuration",
        )
    draft = _new_draft(spec, issuer.directory_url, now)
    names = [domain.removeprefix("*.") for domain in draft.domains]
    with desk.rehearsals.hold(names):  # nobody gives up what another one is about to use
        order = issuer.open(draft.domains, issuer.place(draft.domains, draft.profile))
        if order.reused:
            issuer.deactivate(order)
            order = issuer.open(draft.domains, issuer.place(draft.domains, draft.profile))
        chains, litter = _complete(desk, issuer, draft, order)
    pair = _checked(draft, chains, now)
    if litter is not None:
        raise litter
    return pair


class _Work:
    """One attempt to obtain one certificate."""

    def __init__(
        self, desk: Desk, seen: Observed, wanted: Try, attempt: int, now: datetime
    ) -> None:
        self._desk = desk
        self._world = desk.world
        self._seen = seen
        self._spec = self._as_from(wanted.directory_url)
        self._wanted = wanted
        self._attempt = attempt
        self._now = now

    def obtain(self) -> Obtained:
        world, name = self._world, self._spec.name
        if world.certificates.free_bytes() < ROOM_NEEDED:
            raise StoreError("the state directory's file system is full", "free some space on it")
        begun = world.certificates.load_draft(name)
        issuer, draft, order = self._open(begun)
        chains, litter = _complete(self._desk, issuer, draft, order)
        world.reporter.phase(name, "storing")
        now = world.clock.now()
        try:
            return Obtained(world.certificates.commit(draft, chains, now), litter)
        except NotNowError:
            is_old = begun is not None and begun.order_url == draft.order_url
            if not is_old or read_pair(draft.key_pem, chains.default).certificate.not_after > now:
                raise  # the order is as good as the clock: once that is right, none is to be placed
            world.certificates.discard_draft(name)
            text = "what was ordered before has ended before it was fetched; a new order is needed"
            world.reporter.event(Level.INFO, name, text)
            return self.obtain()
        except MaterialError as error:
            # A garbled download is worth a second one; the same answer twice is the CA's last word.
            failures = self._seen.failures
            if failures and failures[0].what == error.what:
                world.certificates.discard_draft(name)
            raise

    def _as_from(self, directory_url: str) -> CertificateSpec:
        """What is wanted, as that CA names it."""
        spec = self._seen.spec
        profile = self._world.policy.fallback_profiles.get(directory_url, spec.profile)
        return replace(spec, directory_url=directory_url, profile=profile)

    def _open(self, begun: Draft | None) -> tuple[Issuer, Draft, Order]:
        """The order to go on with, where it is, and its draft, which is on disk and names it."""
        world, spec = self._world, self._spec
        world.reporter.phase(spec.name, "ordering")
        draft = None
        if begun is not None and begun.order_url:
            if (picked_up := self._pick_up(begun)) is not None:
                return picked_up
        elif begun is not None and _fits(begun, spec):
            draft = begun
        issuer = world.issuer(spec.directory_url)
        self._desk.check_limits(issuer, spec.domains, is_new_order=True)
        if self._wanted.is_proving:
            self._prove(issuer)
        if draft is None:
            draft = _new_draft(spec, issuer.directory_url, self._now)
            world.certificates.save_draft(draft)
        account_url = issuer.account_url()
        replaces = self._replaces(issuer, account_url)
        order_url = issuer.place(draft.domains, draft.profile, replaces)
        draft = replace(draft, order_url=order_url, account_url=account_url)
        world.certificates.save_draft(draft)
        return issuer, draft, issuer.open(draft.domains, draft.order_url)

    def _pick_up(self, begun: Draft) -> tuple[Issuer, Draft, Order] | None:
        """The order under way, if it still serves; None where a new one is needed.

        One at another of the configured CAs is gone on with where it may have been issued already.
        """
        world, directory = self._world, begun.directory_url
        is_here = directory == self._spec.directory_url
        known = (self._seen.spec.directory_url, *self._seen.spec.fallback_urls)
        if directory not in known or not _fits(begun, self._as_from(directory)):
            return None
        issuer = world.issuer(directory)
        try:
            order = issuer.open(begun.domains, begun.order_url)
        except IssuerError as error:
            if error.problem == ORDER_GONE:
                world.reporter.event(Level.INFO, begun.name, f"a new order is needed: {error.what}")
                return None
            if is_here:
                raise
            return None  # that it does not answer is why another CA is asked
        if not is_here:
            if order.status is OrderStatus.PENDING:
                return None
            world.attempts.move_attempt(self._attempt, directory)
        return issuer, begun, order

    def _replaces(self, issuer: Issuer, account_url: str) -> str | None:
        """Which certificate the order replaces, where the CA has suggested just that.

        RFC 9773 section 5: by the account that had it issued; and only inside the window it is
        exempt from limits.
        """
        stored, info = self._seen.stored, self._seen.info
        if stored is None or info is None or info.window is None:
            return None
        is_ours = stored.directory_url == issuer.directory_url
        is_ours = is_ours and stored.account_url in ("", account_url)
        if not is_ours or not info.window.start <= self._now < info.window.end:
            return None
        return renewal_certificate_id(stored.pair.chain_pem[0])

    def _prove(self, issuer: Issuer) -> None:
        """Rehearses at the staging directory, so that no further failure is spent at this one.

        Raises what would fail here as well; what only the staging directory lacks is told.
        """
        world, spec = self._world, self._spec
        staging = world.staging_issuer(issuer.directory_url)
        if staging is None:
            return
        world.reporter.phase(spec.name, "rehearsing at the staging directory")
        world.attempts.move_attempt(self._attempt, staging.directory_url)
        try:
            rehearse(self._desk, spec, self._now)
        except IssuerError as error:
            is_bound = error.problem == "caa" and world.caa_records().binds_account(spec.domains)
            if not is_bound and (error.failed_names or error.problem in _REFUSALS):
                raise
            why = "a CAA record allows only the account at the real one" if is_bound else error.what
            text = f"nothing was proven at the staging directory, which is left out: {why}"
            world.reporter.event(Level.WARNING, spec.name, text)
        world.attempts.move_attempt(self._attempt, issuer.directory_url)


def _complete(
    desk: Desk, issuer: Issuer, draft: Draft, order: Order
) -> tuple[Chains, Error | None]:
    """From an order as it stands to its chains; and why TXT records are left, if they are."""
    world = desk.world
    litter = None
    if order.status is OrderStatus.PENDING:
        order, litter = _validate(desk, issuer, draft.name, order)
    world.reporter.phase(draft.name, "finalizing")
    if desk.is_limited(issuer):
        at = world.clock.now()
        world.limits.issuing(issuer.directory_url, order.url, draft.domains, at)
    return issuer.finalize(order, build_csr(draft.key_pem, draft.domains)), litter


def _validate(desk: Desk, issuer: Issuer, name: str, order: Order) -> tuple[Order, Error | None]:
    """Answers the order's challenges by TXT records, which are there for no longer than that."""
    if not order.challenges:
        return issuer.validate(order), None
    world = desk.world
    names = [challenge.record_name for challenge in order.challenges]
    world.reporter.phase(name, "placing TXT records")
    with desk.names.hold(names):
        identifiers = [challenge.identifier for challenge in order.challenges]
        desk.check_limits(issuer, identifiers, is_new_order=False)
        zone = world.zone()
        comment = f"certwarden {world.journal.instance()} {_tag(order.url)}"
        records = _wanted(order.challenges, comment, locate=zone.locate)
        world.journal.intend(records, world.clock.now())
        litter = None
        try:
            records = zone.create(records)
            world.journal.intend(records, world.clock.now())
            world.reporter.phase(name, "waiting for DNS")
            look = world.propagation().wait(records)
            if not look.agreed:
                text = f"going ahead although not all servers show the records: {look.detail}"
                world.reporter.event(Level.WARNING, name, text)
            world.reporter.phase(name, "validating")
            order = _answer(desk, issuer, order)
        finally:
            litter = _remove(world, name, records)
    return order, litter


def _answer(desk: Desk, issuer: Issuer, order: Order) -> Order:
    """Has the challenges validated; each counts as failed until it is known that it did not."""
    if not desk.is_limited(issuer):
        return issuer.validate(order)
    limits = desk.world.limits
    names = [challenge.identifier for challenge in order.challenges]
    limits.authorizing(issuer.directory_url, order.url, names, desk.world.clock.now())
    try:
        validated = issuer.validate(order)
    except IssuerError as error:
        if error.failed_names:
            limits.authorized(order.url, error.failed_names)
        raise
    limits.authorized(order.url, ())
    return validated


def sweep(world: Neighbours) -> tuple[int, Error | None]:
    """Removes what earlier passes may have left: how many records that were, and why not all.

    One zone that cannot be cleaned up keeps no other from it. The caller holds the lock on orders,
    so none of the records belongs to an order that is under way. Raises StoreError.
    """
    by_zone: dict[str, list[TxtRecord]] = {}
    for record in world.journal.leftovers():
        by_zone.setdefault(record.place.zone_id, []).append(record)
    swept, failure = 0, None
    for records in by_zone.values():
        try:
            world.zone().remove(records)
        except ZoneError as error:
            failure = failure or error
        else:
            world.journal.removed(records)
            swept += len(records)
    return swept, failure


def _remove(world: Neighbours, name: str, records: Sequence[TxtRecord]) -> Error | None:
    """Removes the records; what cannot be removed stays in the journal, and is swept later."""
    try:
        world.zone().remove(records)
        world.journal.removed(records)
    except Error as error:
        text = f"the TXT records could not be removed and will be in the next pass: {error.what}"
        world.reporter.event(Level.ERROR, name, text, error.hint)
        return error
    return None


def _wanted(
    challenges: Sequence[Challenge],
    comment: str,
    locate: Callable[[Sequence[str]], Sequence[Place]],
) -> tuple[TxtRecord, ...]:
    names = list(dict.fromkeys(challenge.record_name for challenge in challenges))
    places = dict(zip(names, locate(names), strict=True))
    return tuple(
        TxtRecord(places[challenge.record_name], challenge.record_value, comment)
        for challenge in challenges
    )


def _new_draft(spec: CertificateSpec, directory_url: str, now: datetime) -> Draft:
    return Draft(
        name=spec.name,
        domains=spec.domains,
        key_type=spec.key_type,
        profile=spec.profile,
        directory_url=directory_url,
        key_pem=generate_key(spec.key_type),
        order_url="",
        created_at=now,
    )


def _fits(draft: Draft, spec: CertificateSpec) -> bool:
    return (set(draft.domains), draft.key_type, draft.profile, draft.directory_url) == (
        set(spec.domains),
        spec.key_type,
        spec.profile,
        spec.directory_url,
    )


def _checked(draft: Draft, chains: Chains, now: datetime) -> Pair:
    pair = read_pair(draft.key_pem, chains.default)
    check_ordered(pair, draft.domains, now)
    return pair


def _tag(order_url: str) -> str:
    """A short name for an order: comments have little room, and its URL names the account."""
    return hashlib.sha256(order_url.encode()).hexdigest()[:12]


def _conclude(
    world: Neighbours, spec: CertificateSpec, attempt: int, error: Error | None, event: Event
) -> None:
    """Writes down how the attempt ended; that this cannot be done changes nothing about it."""
    try:
        cause = cause_of(error) if error else None
        world.attempts.end_attempt(attempt, event.at, error, cause, evidence_of(world, cause, spec))
        world.history.record(event)
    except StoreError as failure:
        world.reporter.event(Level.ERROR, event.certificate or "", failure.what, failure.hint)
