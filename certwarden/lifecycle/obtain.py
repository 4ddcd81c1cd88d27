"""Obtains a server certificate: key, order, TXT records, validation, chain, version.

The way of RFC 8555 section 7.1 as seen from the house. What is needed to pick the order up again
is written down before each step (invariant 2), and so is every TXT record (invariant 3).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from certwarden.errors import Error, IssuerError, MaterialError, StoreError, UsageError
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

ORDER_GONE = "orderGone"
ROOM_NEEDED = 1024 * 1024  # a version is a few kilobytes; with less free, ordering would waste one


def obtain(world: Neighbours, spec: CertificateSpec, now: datetime) -> Stored:
    """Obtains a certificate for the spec and stores it as a new version; raises Error.

    An order that an earlier pass had under way is taken up where it stands. The caller holds the
    lock on orders.
    """
    issuer = world.issuer()
    attempt = world.attempts.begin_attempt(spec.name, issuer.directory_url, spec.domains, now)
    try:
        stored = _obtain(world, issuer, spec, now)
    except Error as error:
        world.attempts.end_attempt(attempt, world.clock.now(), error)
        _record(world, "obtain-failed", spec.name, error.what)
        raise
    world.attempts.end_attempt(attempt, world.clock.now(), None)
    leaf = stored.certificate
    text = f"valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC, by {leaf.issuer}"
    _record(world, "obtained", spec.name, f"version {stored.version}, {text}")
    world.reporter.event(Level.INFO, spec.name, f"certificate obtained, {text}")
    return stored


def rehearse(world: Neighbours, spec: CertificateSpec, now: datetime) -> Pair:
    """Goes through the whole of an order at the staging directory and keeps no certificate."""
    issuer = world.staging_issuer()
    if issuer is None:
        raise UsageError(
            "there is no staging directory to rehearse at",
            "set `acme.staging_directory` in the configuration",
        )
    draft = _new_draft(spec, issuer.directory_url, now)
    order = issuer.open(draft.domains, issuer.place(draft.domains, draft.profile))
    chains = _complete(world, issuer, draft, order)
    return _checked(draft, chains, now)


def _obtain(world: Neighbours, issuer: Issuer, spec: CertificateSpec, now: datetime) -> Stored:
    if world.certificates.free_bytes() < ROOM_NEEDED:
        raise StoreError("the state directory's file system is full", "free some space on it")
    draft, order = _open(world, issuer, spec, now)
    chains = _complete(world, issuer, draft, order)
    world.reporter.phase(spec.name, "storing")
    try:
        return world.certificates.commit(draft, chains, now)
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
    if draft is not None and not (
        _fits(draft, spec, issuer.directory_url) and _is_unused(world, draft)
    ):
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


def _complete(world: Neighbours, issuer: Issuer, draft: Draft, order: Order) -> Chains:
    """From an order as it stands to its chains."""
    if order.status is OrderStatus.PENDING:
        with _txt_records(world, draft.name, order) as records:
            if records:
                world.reporter.phase(draft.name, "waiting for DNS")
                look = world.propagation().wait(records)
                if not look.agreed:
                    text = f"going ahead although not all servers show the records: {look.detail}"
                    world.reporter.event(Level.WARNING, draft.name, text)
            world.reporter.phase(draft.name, "validating")
            order = issuer.validate(order)
    world.reporter.phase(draft.name, "finalizing")
    return issuer.finalize(order, build_csr(draft.key_pem, draft.domains))


@contextmanager
def _txt_records(world: Neighbours, name: str, order: Order) -> Iterator[Sequence[TxtRecord]]:
    """The TXT records that answer the order's challenges, for as long as the block runs."""
    if not order.challenges:
        yield ()
        return
    world.reporter.phase(name, "placing TXT records")
    zone = world.zone()
    comment = f"certwarden {world.journal.instance()} {_tag(order.url)}"
    records = _wanted(order.challenges, comment, locate=zone.locate)
    world.journal.intend(records, world.clock.now())
    try:
        records = zone.create(records)
        world.journal.intend(records, world.clock.now())
        yield records
    finally:
        _remove(world, name, records)


def sweep(world: Neighbours) -> int:
    """Removes what earlier passes may have left, and returns how many records that were.

    The caller holds the lock on orders, so none of them belongs to an order that is under way.
    """
    leftovers = world.journal.leftovers()
    if leftovers:
        world.zone().remove(leftovers)
        world.journal.removed(leftovers)
    return len(leftovers)


def _remove(world: Neighbours, name: str, records: Sequence[TxtRecord]) -> None:
    """Removes the records; a failure is told, stays in the journal, and is swept later."""
    try:
        world.zone().remove(records)
    except Error as error:
        text = f"the TXT records could not be removed and will be in the next pass: {error.what}"
        world.reporter.event(Level.ERROR, name, text, error.hint)
        _record(world, "clean-up-failed", name, error.what)
    else:
        world.journal.removed(records)


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


def _is_unused(world: Neighbours, draft: Draft) -> bool:
    """Whether the draft has not become a version yet: a kill may come before it is forgotten."""
    stored = world.certificates.load(draft.name)
    return stored is None or stored.pair.key_pem != draft.key_pem


def _checked(draft: Draft, chains: Chains, now: datetime) -> Pair:
    pair = read_pair(draft.key_pem, chains.default)
    check_ordered(pair, draft.domains, now)
    return pair


def _tag(order_url: str) -> str:
    """A short name for an order: comments have little room, and its URL names the account."""
    return hashlib.sha256(order_url.encode()).hexdigest()[:12]


def _record(world: Neighbours, kind: str, certificate: str, text: str) -> None:
    world.history.record(Event(world.clock.now(), kind, certificate, None, text))
