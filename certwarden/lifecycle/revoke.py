"""Revokes a server certificate: written down first, replaced, deployed, then revoked at the CA.

Level-triggered like the rest: what was asked for stands in the ledger until it is done, so a kill
at any point leaves a pass that finishes it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from certwarden.errors import Error, StoreError, UsageError
from certwarden.lifecycle.deploy import Deployed
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
        _revoke(world, stored, reason)
        world.revocations.request_revocation(replace(pending, is_revoked=True))


def finish_revocations(
    world: Neighbours, stored: Stored, deployed: Sequence[Deployed], now: datetime
) -> Error | None:
    """Revokes what was to be revoked, once its replacement is in use; returns what went wrong."""
    if any(each.outcome is DeployOutcome.FAILED for each in deployed):
        return None  # the failed deploy is what a person has to hear of
    failure: Error | None = None
    for pending in world.revocations.pending_revocations(stored.name):
        if pending.fingerprint == stored.certificate.fingerprint:
            continue  # not replaced yet
        try:
            _finish(world, pending, now)
        except Error as error:
            world.reporter.event(Level.ERROR, stored.name, error.what, error.hint)
            failure = error
    return failure


def _finish(world: Neighbours, pending: PendingRevocation, now: datetime) -> None:
    """Revokes the replaced certificate, unless that is done already or it has expired."""
    name = pending.certificate
    if pending.is_revoked:
        world.revocations.settle_revocation(pending)
        return
    old = world.certificates.load_version(name, pending.version)
    if old is None or old.certificate.fingerprint != pending.fingerprint:
        world.revocations.settle_revocation(pending)
        raise StoreError(
            f"the certificate of {name} to be revoked is no longer kept, so it was not revoked",
            "if its key is in strange hands, ask the CA to revoke it",
        )
    if old.certificate.not_after <= now:
        text = f"serial {old.certificate.serial} has expired, so it need not be revoked any more"
        world.reporter.event(Level.INFO, name, text)
    else:
        _revoke(world, old, pending.reason)
    world.revocations.settle_revocation(pending)


def _revoke(world: Neighbours, stored: Stored, reason: RevocationReason) -> None:
    world.reporter.phase(stored.name, "revoking")
    world.revoker().revoke(stored.directory_url, stored.pair, reason)
    text = f"serial {stored.certificate.serial} is revoked ({reason})"
    world.history.record(Event(world.clock.now(), "revoked", stored.name, None, text))
    world.reporter.event(Level.INFO, stored.name, text)
