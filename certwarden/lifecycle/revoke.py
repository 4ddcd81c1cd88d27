"""Revokes a server certificate: written down first, replaced, deployed, then revoked at the CA.

Level-triggered like the rest: what was asked for stands in the ledger until it is done, so a kill
at any point leaves a pass that finishes it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from certwarden.errors import Error, StoreError, UsageError
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.deploy import Deployed
from certwarden.lifecycle.setbacks import (
    after_failure,
    held_until,
    revocation_key,
    setback_of,
)
from certwarden.model import (
    DeployOutcome,
    Event,
    PendingRevocation,
    RevocationReason,
    Stored,
)
from certwarden.ports import Level, Neighbours


def request_revocation(
    world: Neighbours, name: str, reason: RevocationReason, now: datetime, *, is_urgent: bool
) -> None:
    """Writes down that the stored certificate is to be revoked; the next pass carries it out.

    When urgent it is revoked at the CA before this returns, and replaced afterwards.
    Raises UsageError where there is nothing to revoke.
    """
    stored = world.certificates.load(name)
    if stored is None:
        raise UsageError(f"there is no certificate {name} to revoke", "see `certwarden status`")
    fingerprint = stored.certificate.fingerprint
    pending = PendingRevocation(name, stored.version, fingerprint, reason, now)
    world.revocations.request_revocation(pending)
    if is_urgent:
        _revoke(world, Books(world.reporter), stored, reason)
        world.revocations.request_revocation(replace(pending, is_revoked=True))


def finish_revocations(
    world: Neighbours,
    stored: Stored,
    deployed: Sequence[Deployed],
    now: datetime,
    *,
    is_clock_trusted: bool,
    is_named: bool = False,
) -> Error | None:
    """Revokes what was to be revoked, once its replacement is in use; returns what went wrong.

    What failed rests before it is tried again, unless a person has named the certificate.
    """
    if any(each.outcome is DeployOutcome.FAILED for each in deployed):
        return None  # the failed deploy is what a person has to hear of
    try:
        wanted = world.revocations.pending_revocations(stored.name)
    except StoreError as unread:
        world.reporter.event(Level.ERROR, stored.name, unread.what, unread.hint)
        return unread
    failure: Error | None = None
    for pending in wanted:
        if pending.fingerprint != stored.certificate.fingerprint:  # else it is not replaced yet
            error = _finish_unless_held(
                world, pending, now, is_clock_trusted=is_clock_trusted, is_named=is_named
            )
            failure = error or failure
    return failure


def _finish_unless_held(
    world: Neighbours,
    pending: PendingRevocation,
    now: datetime,
    *,
    is_clock_trusted: bool,
    is_named: bool,
) -> Error | None:
    """What went wrong, which is written down and rests then; or the refusal that still stands."""
    books, watch = Books(world.reporter), world.watch
    key, setup = revocation_key(pending), pending.reason
    before = setback_of(books.read(watch.setbacks, ()), key)
    error: Error | None = None
    if before is not None and not is_named and held_until(before, setup, now) > now:
        if before.is_permanent:
            error = Error(before.what, before.hint, permanent=True)
    else:
        try:
            error = _finish(world, books, pending, now, is_clock_trusted=is_clock_trusted)
            if before is not None:
                books.write(partial(watch.clear_setback, key))
        except Error as failure:
            error = failure
            failed = after_failure(before, key, setup, error, now)
            books.write(partial(watch.save_setback, failed))
    if error is not None:
        world.reporter.event(Level.ERROR, pending.certificate, error.what, error.hint)
    return error


def _finish(
    world: Neighbours,
    books: Books,
    pending: PendingRevocation,
    now: datetime,
    *,
    is_clock_trusted: bool,
) -> Error | None:
    """Revokes the replaced certificate, unless that is done already or it has expired.

    Returns why that will never be done, where it cannot be; raises Error where it failed.
    """
    name = pending.certificate
    if pending.is_revoked:
        world.revocations.settle_revocation(pending)
        return None
    old = world.certificates.load_version(name, pending.version)
    if old is None or old.certificate.fingerprint != pending.fingerprint:
        world.revocations.settle_revocation(pending)
        return Error(
            f"the certificate of {name} to be revoked is no longer kept, so it was not revoked",
            "if its key is in strange hands, ask the CA to revoke it",
        )
    if is_clock_trusted and old.certificate.not_after <= now:
        text = f"serial {old.certificate.serial} has expired, so it need not be revoked any more"
        world.reporter.event(Level.INFO, name, text)
    else:
        _revoke(world, books, old, pending.reason)
    world.revocations.settle_revocation(pending)
    return None


def _revoke(world: Neighbours, books: Books, stored: Stored, reason: RevocationReason) -> None:
    world.reporter.phase(stored.name, "revoking")
    world.revoker().revoke(stored.directory_url, stored.pair, reason)
    text = f"serial {stored.certificate.serial} is revoked ({reason})"
    event = Event(world.clock.now(), "revoked", stored.name, None, text)
    books.write(partial(world.history.record, event))
    world.reporter.event(Level.INFO, stored.name, text)
