"""What is to be done, and why: pure functions of what was observed and an instant.

Owns every decision about when; touches no file, no network, no clock, and logs nothing.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from certwarden.model import (
    CommandReload,
    DeployOutcome,
    NoHandshake,
    Observed,
    ObservedTarget,
    Renewal,
    RenewalReason,
    Served,
    Step,
    StepKind,
    Stored,
    UnitReload,
    Unreachable,
)

SHORT_LIFETIME = timedelta(days=10)


def plan(
    observed: Sequence[Observed],
    leftovers: int,
    now: datetime,
    force: Collection[str] = (),
) -> tuple[Step, ...]:
    """The steps that are due now, in the order in which a pass takes them.

    `leftovers` is how many TXT records of ours may still exist from earlier passes; `force` names
    the certificates that are to be renewed whether or not they are due.
    """
    steps: list[Step] = []
    if leftovers:
        plural = "s" if leftovers != 1 else ""
        reason = f"{leftovers} TXT record{plural} of an earlier pass may still exist"
        steps.append(Step(StepKind.SWEEP, None, None, reason, now))
    for each in observed:
        if each.trouble is not None:
            continue  # what is stored cannot be read, so that nothing is known to be needed
        steps += _certificate_steps(each, now, is_forced=each.spec.name in force)
    return tuple(steps)


def renewal(seen: Observed, now: datetime) -> Renewal:
    """When the certificate is due, and why then.

    At once when there is none, when what is wanted is no longer what is stored, or when it is to be
    revoked; else at a third of the lifetime before its end (half of a lifetime under ten days).
    """
    stored = seen.stored
    if stored is None:
        return Renewal(now, RenewalReason.MISSING, "there is no certificate yet")
    if change := _change(seen, stored):
        return Renewal(now, RenewalReason.DOMAINS_CHANGED, change)
    leaf = stored.certificate
    for revocation in seen.revocations:
        if revocation.fingerprint == leaf.fingerprint:
            verb = "has been" if revocation.is_revoked else "is to be"
            return Renewal(now, RenewalReason.LIFETIME, f"it {verb} revoked, so it is replaced")
    is_short = leaf.lifetime < SHORT_LIFETIME
    remainder, words = (leaf.lifetime / 2, "half") if is_short else (leaf.lifetime / 3, "a third")
    at = leaf.not_after - remainder
    is_retry = bool(seen.failures) and at <= now
    return Renewal(
        at,
        RenewalReason.RETRY if is_retry else RenewalReason.LIFETIME,
        f"{words} of its lifetime of {_in_words(leaf.lifetime)} is left",
    )


def deploy_reason(stored: Stored, target: ObservedTarget, now: datetime) -> str | None:
    """Why the stored certificate must be deployed to the target; None where it is in use.

    Also None where nobody answers and all that can be done without somebody there is done.
    """
    wanted = stored.certificate.fingerprint
    installed = target.installed
    is_expired = stored.certificate.not_after <= now
    if is_expired and isinstance(target.seen, Served) and target.seen.certificate.is_valid_at(now):
        return None  # whoever put the valid one there has helped himself, and is not undone
    if installed is None:
        return "nothing usable is installed"
    if installed.is_placeholder:
        return "only a placeholder is installed"
    if installed.certificate.fingerprint != wanted:
        return "another certificate is installed"
    return _unserved_reason(target, wanted, now)


def _unserved_reason(target: ObservedTarget, wanted: str, now: datetime) -> str | None:
    """Why what is installed still has to be made use of, or None."""
    last = target.last_deploy
    is_settled = (
        last is not None
        and last.fingerprint == wanted
        and last.outcome not in (DeployOutcome.BEGUN, DeployOutcome.FAILED)
    )
    reason = None
    match target.seen:
        case Served(certificate):
            if certificate.fingerprint != wanted:
                which = "an expired" if certificate.not_after < now else "another"
                reason = f"{which} certificate is served"
        case None:
            if isinstance(target.spec.reload, UnitReload | CommandReload) and not is_settled:
                reason = "it is installed, but its program was not told"
        case Unreachable(what):
            if not is_settled:
                reason = f"it is installed, but {what}"
        case NoHandshake(what):
            reason = f"it is installed, but not served: {what}"
    return reason


def _certificate_steps(seen: Observed, now: datetime, *, is_forced: bool) -> Iterator[Step]:
    name = seen.spec.name
    due = renewal(seen, now)
    if is_forced or due.at <= now:
        reason = due.text if due.at <= now else "asked for by a person"
        if seen.draft is not None and seen.draft.order_url:
            reason += "; the order under way is taken up again"
        yield Step(StepKind.OBTAIN, name, None, reason, min(due.at, now))
        for target in seen.targets:
            reason = "the new certificate is to be put to use"
            yield Step(StepKind.DEPLOY, name, target.spec.name, reason, now)
    elif seen.stored is not None:
        for target in seen.targets:
            if why := deploy_reason(seen.stored, target, now):
                yield Step(StepKind.DEPLOY, name, target.spec.name, why, now)


def _change(seen: Observed, stored: Stored) -> str | None:
    spec = seen.spec
    if set(spec.domains) != set(stored.domains):
        return "its domains have changed in the configuration"
    if spec.key_type != stored.key_type:
        return f"its key type is now {spec.key_type}, and was {stored.key_type}"
    if spec.directory_url != stored.directory_url:
        return f"it is to come from {spec.directory_url}, and came from {stored.directory_url}"
    if spec.profile != stored.profile:
        before, after = stored.profile or "the CA's default", spec.profile or "the CA's default"
        return f"its profile is now {after}, and was {before}"
    return None


def _in_words(duration: timedelta) -> str:
    if duration >= timedelta(days=2):
        return f"{round(duration / timedelta(days=1))} days"
    return f"{round(duration / timedelta(hours=1))} hours"
