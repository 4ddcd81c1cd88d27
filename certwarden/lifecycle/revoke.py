"""Revokes a server certificate: written down first, replaced, deployed, then revoked at the CA.

Level-triggered like the rest: what was asked for stands in the ledger until it is done, so a kill
at any point leaves a pass that finishes it.
"""

from collections.abc import Sequence
from datetime import datetime

from certwarden.errors import Error, UsageError
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
    if world.revocations.pending_revocation(name) is None:
        pending = PendingRevocation(
            name, stored.version, stored.certificate.fingerprint, reason, now
        )
        world.revocations.request_revocation(pending)
    if is_urgent:
        _revoke(world, stored, reason)


def finish_revocation(
    world: Neighbours, stored: Stored, deployed: Sequence[Deployed]
) -> Error | None:
    """Revokes what was to be revoked, if its replacement is in use; returns what went wrong."""
    pending = world.revocations.pending_revocation(stored.name)
    if pending is None or pending.fingerprint == stored.certificate.fingerprint:
        return None
    if any(each.outcome is DeployOutcome.FAILED for each in deployed):
        return None  # the failed deploy is what a person has to hear of
    old = world.certificates.load_version(stored.name, pending.version)
    if old is None or old.certificate.fingerprint != pending.fingerprint:
        text = "the certificate to be revoked is no longer kept, so it was not revoked"
        world.reporter.event(Level.WARNING, stored.name, text)
    else:
        try:
            _revoke(world, old, pending.reason)
        except Error as error:
            world.reporter.event(Level.ERROR, stored.name, error.what, error.hint)
            return error
    world.revocations.revoked(stored.name)
    return None


def _revoke(world: Neighbours, stored: Stored, reason: RevocationReason) -> None:
    world.reporter.phase(stored.name, "revoking")
    world.revoker().revoke(stored.directory_url, stored.pair, reason)
    text = f"serial {stored.certificate.serial} is revoked ({reason})"
    world.history.record(Event(world.clock.now(), "revoked", stored.name, None, text))
    world.reporter.event(Level.INFO, stored.name, text)
