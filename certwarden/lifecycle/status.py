"""In what state a certificate and its targets are: pure functions of what was observed."""

from datetime import datetime, timedelta
from enum import StrEnum

from certwarden.lifecycle.lists import half_life
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import last_failure
from certwarden.model import (
    ClientCertificate,
    DeployOutcome,
    NoHandshake,
    Observed,
    ObservedAuthority,
    ObservedTarget,
    ProofOutcome,
    Served,
    Unreachable,
)

OVERDUE = timedelta(days=1)
ROOT_NOTICE = timedelta(days=30)
UNUSED_AFTER = timedelta(days=7)
UNSEEN_AFTER = timedelta(days=90)


class CertificateState(StrEnum):
    """The first that applies, in this order."""

    EXPIRED = "expired"
    MISSING = "missing"
    FAILING = "failing"
    DUE = "due"
    OK = "ok"


class TargetState(StrEnum):
    """The first that applies, in this order."""

    PLACEHOLDER = "placeholder"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    NOT_PROBED = "not-probed"
    STALE = "stale"
    IN_USE = "in-use"


class ClientState(StrEnum):
    """The first that applies."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    VALID = "valid"


class ClientUsage(StrEnum):
    """What is odd about how a client certificate is used."""

    NEVER_USED = "never-used"
    NOT_SEEN = "not-seen"


def client_state(client: ClientCertificate, now: datetime) -> ClientState | None:
    """The state of a certificate in the register; None for one that was never signed."""
    if client.revoked_at is not None:
        return ClientState.REVOKED
    if client.not_after is not None and client.not_after < now:
        return ClientState.EXPIRED
    return ClientState.VALID if client.is_signed else None


def client_usage(
    client: ClientCertificate, now: datetime, watched_since: datetime | None
) -> ClientUsage | None:
    """What is odd about how a valid certificate is used; None where nothing is, or nobody knows.

    `watched_since`: since when no client comes in unseen, see `Register`. What may have been used
    before that is not called unused.
    """
    if watched_since is None or client_state(client, now) is not ClientState.VALID:
        return None
    if client.seen_at is None and client.not_before is not None:
        from certwarden.pki.certificate import CLOCK_SKEW  # else this would load cryptography

        issued_at = client.not_before + CLOCK_SKEW
        if issued_at >= watched_since:
            return ClientUsage.NEVER_USED if now - issued_at > UNUSED_AFTER else None
    last = max(client.seen_at or watched_since, watched_since)
    return ClientUsage.NOT_SEEN if now - last > UNSEEN_AFTER else None


def certificate_state(seen: Observed, now: datetime) -> CertificateState:
    """The state of a certificate in the store."""
    if seen.trouble is not None:
        return CertificateState.FAILING
    if seen.stored is None:
        return CertificateState.MISSING
    if seen.stored.certificate.not_after <= now:
        return CertificateState.EXPIRED
    if renewal(seen, now).at <= now:
        return CertificateState.FAILING if last_failure(seen) else CertificateState.DUE
    return CertificateState.OK


def target_state(seen: Observed, target: ObservedTarget) -> TargetState:
    """The state of a certificate at a target."""
    wanted = seen.stored.certificate.fingerprint if seen.stored else None
    is_served = isinstance(target.seen, Served) and target.seen.certificate.fingerprint == wanted
    if target.installed is not None and target.installed.is_placeholder:
        return TargetState.PLACEHOLDER
    if target.trouble is not None:
        return TargetState.FAILED
    if not is_served and (_has_failed(target, wanted) or isinstance(target.seen, NoHandshake)):
        return TargetState.FAILED
    if isinstance(target.seen, Unreachable):
        return TargetState.UNREACHABLE
    if target.seen is None:
        return TargetState.NOT_PROBED
    return TargetState.IN_USE if is_served else TargetState.STALE


def needs_attention(seen: Observed, now: datetime) -> bool:
    """Whether a person should look: something fails, is not in use, or is overdue by a day."""
    state = certificate_state(seen, now)
    if state in (CertificateState.EXPIRED, CertificateState.MISSING, CertificateState.FAILING):
        return True
    if renewal(seen, now).at + OVERDUE <= now:
        return True
    fine = (TargetState.IN_USE, TargetState.NOT_PROBED)
    return any(target_state(seen, target) not in fine for target in seen.targets)


def authority_needs_attention(seen: ObservedAuthority | None, now: datetime) -> bool:
    """Whether a person should look: it cannot be read, its list ages, or who gets in is not known.

    A CA that was configured and not founded yet needs one, too.
    """
    if seen is None:
        return False
    if seen.trouble is not None or seen.root is None or seen.crl is None:
        return True
    is_unproven = any(
        each.outcome is not ProofOutcome.PROVEN and each.failures for each in seen.proofs.values()
    )
    is_waiting = seen.is_locked and bool(seen.unlisted)
    is_ending = seen.root.not_after - ROOT_NOTICE <= now
    is_list_bad = half_life(seen.crl) <= now or now < seen.crl.this_update
    return is_unproven or is_waiting or is_ending or is_list_bad


def _has_failed(target: ObservedTarget, wanted: str | None) -> bool:
    last = target.last_deploy
    return last is not None and last.outcome is DeployOutcome.FAILED and last.fingerprint == wanted
