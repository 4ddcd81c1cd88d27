"""What is to be done, when, and why: pure functions of what was observed and an instant.

Owns the steps of a pass and when it wants to be called next; touches no file, no network, no clock,
and logs nothing. When a certificate is due is `renewal`'s to say, when to try again `retry`'s.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from certwarden.lifecycle.lists import list_calls, list_steps, trust_reason
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import capped, deploy_try, next_try
from certwarden.lifecycle.setbacks import (
    TOKEN,
    TOKEN_REST,
    held_until,
    revocation_key,
    setback_of,
)
from certwarden.model import (
    Call,
    Certificate,
    ClientTrust,
    CommandReload,
    DeployOutcome,
    Job,
    NoHandshake,
    Observed,
    ObservedAuthority,
    ObservedTarget,
    Policy,
    Served,
    Setback,
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
ASKED_TOGETHER = timedelta(hours=1)  # so much later a CA may be asked, for one pass instead of many
REST = timedelta(minutes=10)  # after a pass that left undone what was due, and could not say why


def plan(
    observed: Sequence[Observed],
    leftovers: int,
    now: datetime,
    policy: Policy,
    *,
    force: Collection[str] = (),
    named: Collection[str] = (),
    authority: ObservedAuthority | None = None,
) -> tuple[Step, ...]:
    """The steps that are due now, in the order in which a pass takes them.

    `leftovers` is how many TXT records of ours may still exist from earlier passes; `force` names
    the certificates that are to be renewed whether or not they are due, `named` those that no
    back-off is to hold up.
    """
    steps = agenda(observed, leftovers, now, policy, force=force, named=named, authority=authority)
    return tuple(step for step in steps if step.at <= now)


def agenda(
    observed: Sequence[Observed],
    leftovers: int,
    now: datetime,
    policy: Policy,
    *,
    force: Collection[str] = (),
    named: Collection[str] = (),
    authority: ObservedAuthority | None = None,
) -> tuple[Step, ...]:
    """What `plan` gives, and the steps whose time is still to come: each with its instant."""
    steps: list[Step] = []
    if leftovers:
        plural = "s" if leftovers != 1 else ""
        reason = f"{leftovers} TXT record{plural} of an earlier pass may still exist"
        steps.append(Step(StepKind.SWEEP, None, None, reason, now))
    steps += list_steps(authority, now)
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
    *,
    setbacks: Sequence[Setback] = (),
    authority: ObservedAuthority | None = None,
) -> tuple[Call, ...]:
    """When a pass is wanted again after this one, one call for each job, soonest first.

    `steps` is the agenda after the pass; what is still due in it could not be done or had to wait,
    and is not tried again without a rest.
    """
    lifetimes = {
        seen.spec.name: seen.stored.certificate.lifetime
        for seen in observed
        if seen.stored is not None
    }
    calls = [
        Call(
            Job.RECONCILE,
            _rested(step.at, now, lifetimes.get(step.certificate or "")),
            f"{step.certificate or 'clean-up'}: {step.reason}",
        )
        for step in steps
        if step.kind is not StepKind.SIGN_CRL
    ]
    calls += _revocation_calls(steps, observed, setbacks, now)
    calls = sorted(calls, key=lambda call: call.at)[:1]
    asks = [(asked, seen) for seen in observed if (asked := ask_at(seen, now))]
    if asks:
        at, name = _when_to_ask(asks, calls[0].at if calls else None)
        calls.append(Call(Job.RENEWAL_INFO, at, f"{name}: the CA is asked when to renew"))
    targets = [target for seen in observed for target in seen.targets]
    calls += list_calls(authority, targets, now, setbacks)
    at = token_check_at(token_check, token_setup, now, setback_of(setbacks, TOKEN))
    calls.append(
        Call(Job.TOKEN, at if at > now else now + TOKEN_REST, "the API token is looked at")
    )
    return tuple(sorted(calls, key=lambda call: call.at))


def ask_at(seen: Observed, now: datetime) -> datetime | None:
    """When the CA is to be asked about the renewal; None where there is nothing to ask about."""
    stored, info = seen.stored, seen.info
    if stored is None or seen.trouble is not None or stored.certificate.not_after <= now:
        return None
    if info is None or info.asked_at > now:  # an answer from the future: the clock was wrong
        return now
    return info.ask_again_at


def token_check_at(
    check: TokenCheck | None, setup: str, now: datetime, setback: Setback | None = None
) -> datetime:
    """When the API token is to be looked at: daily, and when it is another one.

    `setback` is a look that nobody answered: the next one rests.
    """
    if check is None or check.setup != setup or check.at > now:
        return held_until(setback, setup, now)
    return max(check.at + TOKEN_INTERVAL, held_until(setback, setup, now))


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
    day = local.date() if moment < window.start else local.date() + timedelta(days=1)
    opens = datetime.combine(day, window.start, tzinfo=policy.zone)
    return opens.astimezone(now.tzinfo)  # without a zone it is the machine's, as of that day


def deploy_reason(
    stored: Stored, target: ObservedTarget, now: datetime, trust: ClientTrust | None = None
) -> str | None:
    """Why certificate and list must be deployed to the target; None where they are in use.

    Also None where nobody answers and all that can be done without somebody there is done.
    """
    if why := _certificate_reason(stored, target, now):
        return why
    why_trust = trust_reason(target, trust, now)
    return why_trust[0] if why_trust else None


def _certificate_reason(stored: Stored, target: ObservedTarget, now: datetime) -> str | None:
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


def _revocation_calls(
    steps: Sequence[Step], observed: Sequence[Observed], setbacks: Sequence[Setback], now: datetime
) -> Iterator[Call]:
    """For leaves that are still to be revoked although their replacement is in use."""
    waiting = {step.certificate for step in steps if step.kind is StepKind.DEPLOY}
    for seen in observed:
        if seen.stored is None or seen.spec.name in waiting:
            continue
        for pending in seen.revocations:
            if pending.fingerprint != seen.stored.certificate.fingerprint:
                setback = setback_of(setbacks, revocation_key(pending))
                at = _rested(held_until(setback, pending.reason, now), now, None)
                why = f"{seen.spec.name}: the replaced certificate is to be revoked"
                yield Call(Job.RECONCILE, at, why)


def _when_to_ask(
    asks: Sequence[tuple[datetime, Observed]], next_pass: datetime | None
) -> tuple[datetime, str]:
    """The instant for all that are to be asked soon after the first, and the last one's name.

    None is asked late by more than a twentieth of its certificate's lifetime. The next pass asks
    by the way, so that nothing is gained by waiting beyond it.
    """
    latest = min(
        at + capped(ASKED_TOGETHER, seen.stored.certificate.lifetime if seen.stored else None)
        for at, seen in asks
    )
    if next_pass is not None:
        latest = min(latest, next_pass)
    first = min(at for at, _ in asks)
    return max((at, seen.spec.name) for at, seen in asks if at <= max(first, latest))


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
            at = now if is_named else _when_restart_suits(seen, target, now, policy)
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
        if why := deploy_reason(seen.stored, target, now, seen.trust):
            at, delay = (now, "") if is_named else _deploy_at(seen, leaf, target, now, policy)
            yield Step(StepKind.DEPLOY, seen.spec.name, target.spec.name, why + delay, at)


def wanted_list(target: ObservedTarget, trust: ClientTrust | None) -> int | None:
    """The number of the list that a deploy would put in place, or leave there."""
    if not target.spec.client_auth:
        return None
    if trust is not None:
        return trust.crl.number
    return (
        target.installed.trust.crl.number if target.installed and target.installed.trust else None
    )


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
    wanted = wanted_list(target, seen.trust)
    at, delay = deploy_try(target, leaf.lifetime, leaf.fingerprint, now, wanted), ""
    if at > now:
        last = target.repeats[0]
        how = f"failed: {last.what}" if last.outcome is DeployOutcome.FAILED else "was undone"
        delay = f"; deploy {len(target.repeats)} {how}"
    about_list = trust_reason(target, seen.trust, now)
    is_urgent = about_list is not None and about_list[1]
    opens = at if is_urgent else _when_restart_suits(seen, target, at, policy)
    if opens > at:
        at, delay = opens, f"{delay}; the restart waits for the maintenance window"
    return at, delay


def _when_restart_suits(
    seen: Observed, target: ObservedTarget, now: datetime, policy: Policy
) -> datetime:
    """From when on the target's program may be restarted for a new certificate.

    In the maintenance window, or when what is in use there comes to its last tenth; at once where
    nothing has to be restarted, or nothing valid is in use meanwhile.
    """
    reload = target.spec.reload
    is_restart = isinstance(reload, CommandReload) or (
        isinstance(reload, UnitReload) and reload.verb is UnitVerb.RESTART
    )
    installed = target.installed
    if not is_restart or seen.revocations or installed is None or installed.is_placeholder:
        return now
    current = installed.certificate
    if isinstance(target.seen, Served):
        current = target.seen.certificate
    elif target.seen is not None:
        return now  # nothing is served there at all: waiting would help nobody
    if not current.is_valid_at(now):
        return now
    last_tenth = current.not_after - current.lifetime / LAST_TENTH
    return min(restart_at(policy, now), max(now, last_tenth))
