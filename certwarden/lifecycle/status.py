"""In what state a certificate and its targets are: pure functions of what was observed."""

from datetime import datetime, timedelta
from enum import StrEnum

from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import last_failure
from certwarden.model import (
    DeployOutcome,
    NoHandshake,
    Observed,
    ObservedTarget,
    Served,
    Unreachable,
)

OVERDUE = timedelta(days=1)


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


def _has_failed(target: ObservedTarget, wanted: str | None) -> bool:
    last = target.last_deploy
    return last is not None and last.outcome is DeployOutcome.FAILED and last.fingerprint == wanted
