"""What is to be done, when, and why: pure functions of what was observed and an instant.

Owns the steps of a pass and when it wants to be called next; touches no file, no network, no clock,
and logs nothing. When a certificate is due is `renewal`'s to say, when to try again `retry`'s.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import capped, deploy_try, next_try
from certwarden.model import (
    Call,
    Certificate,
    CommandReload,
    DeployOutcome,
    Job,
    NoHandshake,
    Observed,
    ObservedTarget,
    Policy,
    Served,
    Step,
    StepKind,
    Stored,
    TokenCheck,
    UnitReload,
    UnitVerb,
    Unreachable,
)

LAST_TENTH = 10  # of a lifetime: no maintenance window holds a certificate back any more
TOKEN_INTERVAL = timedelta(days=1)
REST = timedelta(minutes=10)  # after a pass that left undone what was due, and could not say why


def plan(
    observed: Sequence[Observed],
    leftovers: int,
    now: datetime,
    policy: Policy,
    *,
    force: Collection[str] = (),
    named: Collection[str] = (),
) -> tuple[Step, ...]:
    """The steps that are due now, in the order in which a pass takes them.

    `leftovers` is how many TXT records of ours may still exist from earlier passes; `force` names
    the certificates that are to be renewed whether or not they are due, `named` those that no
    back-off is to hold up.
    """
    steps = agenda(observed, leftovers, now, policy, force=force, named=named)
    return tuple(step for step in steps if step.at <= now)


def agenda(
    observed: Sequence[Observed],
    leftovers: int,
    now: datetime,
    policy: Policy,
    *,
    force: Collection[str] = (),
    named: Collection[str] = (),
) -> tuple[Step, ...]:
    """What `plan` gives, and the steps whose time is still to come: each with its instant."""
    steps: list[Step] = []
    if leftovers:
        plural = "s" if leftovers != 1 else ""
        reason = f"{leftovers} TXT record{plural} of an earlier pass may still exist"
        steps.append(Step(StepKind.SWEEP, None, None, reason, now))
    for each in observed:
        if each.trouble is not None:
            continue  # what is stored cannot be read, so that nothing is known to be needed
        name = each.spec.name
        is_forced, is_named = name in force, name in named or name in force
        steps += _certificate_steps(each, now, policy, is_forced=is_forced, is_named=is_named)
    return tuple(steps)


def next_calls(
    steps: Sequence[Step],
    observed: Sequence[Observed],
    token_check: TokenCheck | None,
    token_setup: str,
    now: datetime,
) -> tuple[Call, ...]:
    """When a pass is wanted again after this one, one call for each job, soonest first.

    `steps` is the agenda after the pass; what is still due in it could not be done or had to wait,
    and is not tried again without a rest.
    """
    calls = []
    if steps:
        lifetimes = {
            seen.spec.name: seen.stored.certificate.lifetime
            for seen in observed
            if seen.stored is not None
        }
        rested = [
            (_rested(step.at, now, lifetimes.get(step.certificate or "")), step) for step in steps
        ]
        at, soonest = min(rested, key=lambda each: each[0])
        subject = soonest.certificate or "clean-up"
        calls.append(Call(Job.RECONCILE, at, f"{subject}: {soonest.reason}"))
    asks = [(asked, seen.spec.name) for seen in observed if (asked := ask_at(seen, now))]
    if asks:
        at, name = min(asks)
        calls.append(Call(Job.RENEWAL_INFO, at, f"{name}: the CA is asked when to renew"))
    at = _rested(token_check_at(token_check, token_setup, now), now, None)
    calls.append(Call(Job.TOKEN, at, "the API token is looked at"))
    return tuple(sorted(calls, key=lambda call: call.at))


def ask_at(seen: Observed, now: datetime) -> datetime | None:
    """When the CA is to be asked about the renewal; None where there is nothing to ask about."""
    stored, info = seen.stored, seen.info
    if stored is None or seen.trouble is not None or stored.certificate.not_after <= now:
        return None
    if info is None or info.asked_at > now:  # an answer from the future: the clock was wrong
        return now
    return info.ask_again_at


def token_check_at(check: TokenCheck | None, setup: str, now: datetime) -> datetime:
    """When the API token is to be looked at: daily, and when it is another one."""
    if check is None or check.setup != setup or check.at > now:
        return now
    return check.at + TOKEN_INTERVAL


def restart_at(policy: Policy, now: datetime) -> datetime:
    """From when on programs may be restarted: now, if the window is open or there is none."""
    window = policy.maintenance
    if window is None:
        return now
    local = now.astimezone(policy.zone)
    moment = local.time().replace(tzinfo=None)
    if window.start <= window.end:
        is_open = window.start <= moment < window.end
    else:
        is_open = moment >= window.start or moment < window.end
    if is_open:
        return now
    opens = local.replace(
        hour=window.start.hour, minute=window.start.minute, second=0, microsecond=0, fold=0
    )
    if opens <= local:
        opens += timedelta(days=1)
    return opens.astimezone(now.tzinfo)


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


def _rested(at: datetime, now: datetime, lifetime: timedelta | None) -> datetime:
    return at if at > now else now + capped(REST, lifetime)


def _certificate_steps(
    seen: Observed, now: datetime, policy: Policy, *, is_forced: bool, is_named: bool
) -> Iterator[Step]:
    name = seen.spec.name
    due = renewal(seen, now)
    obtain = Step(StepKind.OBTAIN, name, None, due.text, due.at)
    if is_forced or due.at <= now:
        obtain = _obtain_step(seen, now, policy, is_named=is_named)
    yield obtain
    if obtain.at <= now:
        for target in seen.targets:
            can_wait = not is_named and _can_wait_for_window(seen, target, now)
            at = restart_at(policy, now) if can_wait else now
            reason = "the new certificate is to be put to use"
            yield Step(StepKind.DEPLOY, name, target.spec.name, reason, at)
    else:
        yield from deploy_steps(seen, now, policy, is_named=is_named)


def deploy_steps(
    seen: Observed, now: datetime, policy: Policy, *, is_named: bool
) -> Iterator[Step]:
    """Where the stored certificate has to be put to use, and when that may be done."""
    if seen.stored is None:
        return
    leaf = seen.stored.certificate
    for target in seen.targets:
        if why := deploy_reason(seen.stored, target, now):
            at, delay = (now, "") if is_named else _deploy_at(seen, leaf, target, now, policy)
            yield Step(StepKind.DEPLOY, seen.spec.name, target.spec.name, why + delay, at)


def _obtain_step(seen: Observed, now: datetime, policy: Policy, *, is_named: bool) -> Step:
    """Of a certificate that is due or asked for: now, or when it may be tried for again."""
    due = renewal(seen, now)
    following = next_try(seen, policy, now, is_named=is_named)
    reason = due.text if due.at <= now else "asked for by a person"
    at = min(due.at, now)
    if following.at > now:
        reason, at = f"{reason}; {following.text}", following.at
    elif following.look_at is not None:
        reason += "; first the cause of the last failure is looked at again"
    elif seen.draft is not None and seen.draft.order_url:
        reason += "; the order under way is taken up again"
    elif following.is_proving:
        reason += "; it proves itself at the staging directory first"
    return Step(StepKind.OBTAIN, seen.spec.name, None, reason, at)


def _deploy_at(
    seen: Observed, leaf: Certificate, target: ObservedTarget, now: datetime, policy: Policy
) -> tuple[datetime, str]:
    """When back-off and the maintenance window let a deploy happen, and what it waits for."""
    at, delay = deploy_try(target, leaf.lifetime, leaf.fingerprint, now), ""
    if at > now:
        delay = f"; deploy {len(target.failures)} failed: {target.failures[0].what}"
    if _can_wait_for_window(seen, target, now):
        opens = restart_at(policy, at)
        if opens > at:
            at, delay = opens, f"{delay}; the restart waits for the maintenance window"
    return at, delay


def _can_wait_for_window(seen: Observed, target: ObservedTarget, now: datetime) -> bool:
    """Whether the target needs a restart which can wait: it has a valid certificate meanwhile."""
    reload = target.spec.reload
    is_restart = isinstance(reload, CommandReload) or (
        isinstance(reload, UnitReload) and reload.verb is UnitVerb.RESTART
    )
    installed = target.installed
    if not is_restart or seen.revocations or installed is None or installed.is_placeholder:
        return False
    current = installed.certificate
    if isinstance(target.seen, Served):
        current = target.seen.certificate
    elif target.seen is not None:
        return False  # nothing is served there at all: waiting would help nobody
    return current.is_valid_at(now) and current.not_after - now > current.lifetime / LAST_TENTH
