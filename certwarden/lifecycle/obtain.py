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
)
from certwarden.model import (
    CertificateSpec,
    Chains,
    Challenge,
    Draft,
    Event,
    Order,
    OrderStatus,
    Pair,
    Place,
    Stored,
    TxtRecord,
)
from certwarden.pki.certificate import check_ordered, read_pair
from certwarden.pki.keys import build_csr, generate_key
from certwarden.ports import Issuer, Level, Neighbours

ROOM_NEEDED = 1024 * 1024  # a version is a few kilobytes; with less free, ordering would waste one


@dataclass(frozen=True)
class Obtained:
    """A certificate that is stored; `litter` says why TXT records are left, if they are."""

    stored: Stored
    litter: Error | None


def obtain(world: Neighbours, spec: CertificateSpec, now: datetime) -> Obtained:
    """Obtains a certificate for the spec and stores it as a new version; raises Error.

    An order that an earlier pass had under way is taken up where it stands. The caller holds the
    lock on orders.
    """
    issuer = world.issuer()
    attempt = world.attempts.begin_attempt(spec.name, issuer.directory_url, spec.domains, now)
    try:
        obtained = _obtain(world, issuer, spec, now)
    except Error as error:
        event = Event(world.clock.now(), "obtain-failed", spec.name, None, error.what)
        _conclude(world, attempt, error, event)
        raise
    leaf = obtained.stored.certificate
    text = f"valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC, by {leaf.issuer}"
    version = f"version {obtained.stored.version}, {text}"
    _conclude(world, attempt, None, Event(world.clock.now(), "obtained", spec.name, None, version))
    world.reporter.event(Level.INFO, spec.name, f"certificate obtained, {text}")
    return obtained


def rehearse(world: Neighbours, spec: CertificateSpec, now: datetime) -> Pair:
    """Goes through the whole of an order at the staging directory and keeps no certificate.

    Raises Error, also where TXT records had to be left.
    """
    issuer = world.staging_issuer()
    if issuer is None:
        raise UsageError(
            "there is no staging directory to rehearse at",
            "set `acme.staging_directory` in the configuration",
        )
    draft = _new_draft(spec, issuer.directory_url, now)
    order = issuer.open(draft.domains, issuer.place(draft.domains, draft.profile))
    chains, litter = _complete(world, issuer, draft, order)
    pair = _checked(draft, chains, now)
    if litter is not None:
        raise litter
    return pair


def _obtain(world: Neighbours, issuer: Issuer, spec: CertificateSpec, now: datetime) -> Obtained:
    if world.certificates.free_bytes() < ROOM_NEEDED:
        raise StoreError("the state directory's file system is full", "free some space on it")
    draft, order = _open(world, issuer, spec, now)
    chains, litter = _complete(world, issuer, draft, order)
    world.reporter.phase(spec.name, "storing")
    try:
        return Obtained(world.certificates.commit(draft, chains, now), litter)
    except NotNowError:
        raise  # the order is as good as the clock: once that is right, there is nothing to order
    except MaterialError as error:
        # A garbled download is worth a second one; the same answer twice is the CA's last word.
        failures = world.attempts.failures(spec.name)
        if failures and failures[0].what == error.what:
            world.certificates.discard_draft(spec.name)
        raise


def _open(
    world: Neighbours, issuer: Issuer, spec: CertificateSpec, now: datetime
) -> tuple[Draft, Order]:
    """The order to go on with, and its draft, which is on disk and names it."""
    world.reporter.phase(spec.name, "ordering")
    draft = world.certificates.load_draft(spec.name)
    if draft is not None and not _fits(draft, spec, issuer.directory_url):
        draft = None
    if draft is not None and draft.order_url:
        try:
            return draft, issuer.open(draft.domains, draft.order_url)
        except IssuerError as error:
            if error.problem != ORDER_GONE:
                raise
            world.reporter.event(Level.INFO, spec.name, f"a new order is needed: {error.what}")
            draft = None
    if draft is None:
        draft = _new_draft(spec, issuer.directory_url, now)
        world.certificates.save_draft(draft)
    draft = replace(draft, order_url=issuer.place(draft.domains, draft.profile))
    world.certificates.save_draft(draft)
    return draft, issuer.open(draft.domains, draft.order_url)


def _complete(
    world: Neighbours, issuer: Issuer, draft: Draft, order: Order
) -> tuple[Chains, Error | None]:
    """From an order as it stands to its chains; and why TXT records are left, if they are."""
    litter = None
    if order.status is OrderStatus.PENDING:
        order, litter = _validate(world, issuer, draft.name, order)
    world.reporter.phase(draft.name, "finalizing")
    return issuer.finalize(order, build_csr(draft.key_pem, draft.domains)), litter


def _validate(
    world: Neighbours, issuer: Issuer, name: str, order: Order
) -> tuple[Order, Error | None]:
    """Answers the order's challenges by TXT records, which are there for no longer than that."""
    if not order.challenges:
        return issuer.validate(order), None
    world.reporter.phase(name, "placing TXT records")
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
        order = issuer.validate(order)
    finally:
        litter = _remove(world, name, records)
    return order, litter


def sweep(world: Neighbours) -> int:
    """Removes what earlier passes may have left, and returns how many records that were.

    The caller holds the lock on orders, so none of them belongs to an order that is under way.
    """
    leftovers = world.journal.leftovers()
    if leftovers:
        world.zone().remove(leftovers)
        world.journal.removed(leftovers)
    return len(leftovers)


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


def _fits(draft: Draft, spec: CertificateSpec, directory_url: str) -> bool:
    return (set(draft.domains), draft.key_type, draft.profile, draft.directory_url) == (
        set(spec.domains),
        spec.key_type,
        spec.profile,
        directory_url,
    )


def _checked(draft: Draft, chains: Chains, now: datetime) -> Pair:
    pair = read_pair(draft.key_pem, chains.default)
    check_ordered(pair, draft.domains, now)
    return pair


def _tag(order_url: str) -> str:
    """A short name for an order: comments have little room, and its URL names the account."""
    return hashlib.sha256(order_url.encode()).hexdigest()[:12]


def _conclude(world: Neighbours, attempt: int, error: Error | None, event: Event) -> None:
    """Writes down how the attempt ended; that this cannot be done changes nothing about it."""
    try:
        world.attempts.end_attempt(attempt, event.at, error)
        world.history.record(event)
    except StoreError as failure:
        world.reporter.event(Level.ERROR, event.certificate or "", failure.what, failure.hint)
