"""What a person should know first: what needs attention, and what happens next. Pure functions.

The judgement itself is `lifecycle.status`'s; here it becomes sentences, for `status` and `report`
alike. There is a concern exactly where `status` exits with 3.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from certwarden.cli.shapes import date_text
from certwarden.doctor.finding import as_typed
from certwarden.errors import clean
from certwarden.frozen import frozen
from certwarden.lifecycle.lists import half_life, list_steps
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import last_failure, next_try
from certwarden.lifecycle.status import (
    OVERDUE,
    ROOT_NOTICE,
    CertificateState,
    ClientState,
    TargetState,
    authority_needs_attention,
    certificate_state,
    client_state,
    needs_attention,
    target_state,
)
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    ClientPurpose,
    NoHandshake,
    Observed,
    ObservedAuthority,
    ObservedTarget,
    Policy,
    ProofOutcome,
    Served,
    Unreachable,
)

_YEAR = 365 * 86400  # seconds
_FINE = (TargetState.IN_USE, TargetState.NOT_PROBED)


@frozen
class House:
    """Everything as it was found at `now`."""

    certificates: Sequence[Observed]
    authority: ObservedAuthority | None
    verdict: Verdict
    policy: Policy
    now: datetime

    @property
    def is_doubtful(self) -> bool:
        """Whether the clock was asked about, and is not to be trusted."""
        return self.verdict.is_asked and not self.verdict.is_trusted


@frozen
class Concern:
    """What needs attention: of what, a sentence, and what to do."""

    subject: str
    what: str
    hint: str = ""


@frozen
class Coming:
    """What will happen, and when."""

    at: datetime
    what: str


def concerns(house: House) -> tuple[Concern, ...]:
    """What a person should look at; nothing where all is well."""
    found = [each for seen in house.certificates for each in _of_certificate(seen, house)]
    if house.authority is not None:
        found += _of_authority(house.authority, house.now)
    if house.is_doubtful:
        found.append(Concern("clock", house.verdict.what, house.verdict.hint))
    return tuple(replace(each, hint=as_typed(each.hint)) for each in found)


def comings(house: House) -> tuple[Coming, ...]:
    """What will happen by itself or end, soonest first."""
    found = []
    for seen in house.certificates:
        due = renewal(seen, house.now)
        if due.at > house.now:
            found.append(Coming(due.at, f"{seen.spec.name} is renewed"))
        elif seen.trouble is None:
            following = next_try(seen, house.policy, house.now)
            found.append(Coming(following.at, f"{seen.spec.name} is tried for again"))
    steps = list_steps(house.authority, house.now)
    found += [Coming(step.at, "the revocation list is signed anew") for step in steps]
    if house.authority is not None:
        found += _ends(house.authority, house.now)
    return tuple(sorted((each for each in found if each.at > house.now), key=lambda each: each.at))


def target_words(seen: Observed, target: ObservedTarget) -> str:
    """What is installed at a target and what is served there, as a clause."""
    where = f" at {target.spec.probe}" if target.spec.probe else ""
    installed = _installed_words(seen, target)
    match target_state(seen, target):
        case TargetState.IN_USE:
            words = f"installed, and served{where}"
        case TargetState.NOT_PROBED:
            looked = "not looked at" if target.spec.probe else "there is no probe to look by"
            words = f"{installed}; {looked}"
        case TargetState.PLACEHOLDER:
            words = "a self-signed placeholder is installed, until there is a certificate"
        case TargetState.STALE if isinstance(target.seen, Served):
            leaf = target.seen.certificate
            until = f"valid until {date_text(leaf.not_after)}"
            words = f"serves serial {leaf.serial}{where}, {until}; {installed}"
        case TargetState.UNREACHABLE if isinstance(target.seen, Unreachable):
            words = f"{clean(target.seen.what)}; {installed}"
        case _:
            words = _failure_words(target)
    return words


def in_time(coming: datetime, now: datetime) -> str:
    """How long until then, in words."""
    seconds = (coming - now).total_seconds()
    for unit, word in ((_YEAR, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"in {round(seconds / unit)} {word}"
    return "in a minute"


def _installed_words(seen: Observed, target: ObservedTarget) -> str:
    if target.installed is None:
        return "nothing is installed yet"
    leaf = target.installed.certificate
    if seen.stored is not None and leaf.fingerprint == seen.stored.certificate.fingerprint:
        return "the stored certificate is installed"
    return f"another certificate is installed, serial {leaf.serial}"


def _failure_words(target: ObservedTarget) -> str:
    if target.trouble is not None:
        return target.trouble.what
    if isinstance(target.seen, NoHandshake):
        return clean(target.seen.what)
    what = target.last_deploy.what if target.last_deploy is not None else ""
    return what or "the last deploy failed"


def _of_certificate(seen: Observed, house: House) -> Iterator[Concern]:
    if not needs_attention(seen, house.now):
        return
    name, now = seen.spec.name, house.now
    state = certificate_state(seen, now)
    due = renewal(seen, now)
    last = last_failure(seen)
    todo = f"certwarden renew {name}"
    if seen.trouble is not None:
        yield Concern(name, seen.trouble.what, seen.trouble.hint)
    elif state is CertificateState.FAILING and last is not None:
        yield Concern(name, f"it cannot be renewed: {last.what}", last.hint)
    elif state in (CertificateState.EXPIRED, CertificateState.MISSING):
        what = "there is no certificate yet"
        if seen.stored is not None:
            what = f"it expired on {date_text(seen.stored.certificate.not_after)}"
        if last is not None:
            yield Concern(name, f"{what}, and none can be obtained: {last.what}", last.hint)
        else:
            yield Concern(name, what, todo)
    elif due.at + OVERDUE <= now:
        yield Concern(name, f"it is due since {date_text(due.at)}: {due.text}", todo)
    for target in seen.targets:
        at = target_state(seen, target)
        if at not in _FINE:
            hint = _target_hint(at, target) or f"certwarden deploy {name}"
            yield Concern(target.spec.name, f"{at}: {target_words(seen, target)}", hint)


def _target_hint(state: TargetState, target: ObservedTarget) -> str:
    if state is TargetState.PLACEHOLDER:
        return f"certwarden renew {target.spec.certificate}"
    if state is TargetState.UNREACHABLE:
        return f"start it, or correct the probe of {target.spec.name} in the configuration"
    if target.trouble is not None:
        return target.trouble.hint
    is_known = state is TargetState.FAILED and target.last_deploy is not None
    return target.last_deploy.hint if is_known and target.last_deploy else ""


def _of_authority(seen: ObservedAuthority, now: datetime) -> Iterator[Concern]:
    if not authority_needs_attention(seen, now):
        return
    name = seen.root.name if seen.root else seen.spec.name
    if seen.trouble is not None:
        yield Concern(name, f"it cannot be read: {seen.trouble.what}", seen.trouble.hint)
        return
    if seen.root is None:
        yield Concern(name, "the private CA is not made yet", "certwarden ca init")
        return
    yield from _of_list(seen, name, now)
    if seen.root.not_after - ROOT_NOTICE <= now:
        what = f"the private CA ends on {date_text(seen.root.not_after)}"
        yield Concern(name, what, "certwarden ca renew-root")
    for proof in seen.proofs.values():
        if proof.outcome is not ProofOutcome.PROVEN and proof.failures:
            yield Concern(proof.target, proof.what or "who gets in is not known", proof.hint)


def _of_list(seen: ObservedAuthority, name: str, now: datetime) -> Iterator[Concern]:
    sign = "certwarden ca unlock" if seen.is_locked else "certwarden renew"
    if seen.crl is None:
        yield Concern(name, "there is no revocation list", sign)
    elif now < seen.crl.this_update:
        yield Concern(name, f"revocation list {seen.crl.number} is from the future", sign)
    elif half_life(seen.crl) <= now:
        end = date_text(seen.crl.next_update)
        verb = "ended" if seen.crl.next_update <= now else "ends"
        yield Concern(name, f"revocation list {seen.crl.number} {verb} on {end}", sign)
    if seen.is_locked and seen.unlisted:
        count = len(seen.unlisted)
        what = f"{count} revoked certificate{'s are' if count != 1 else ' is'} in no list yet"
        yield Concern(name, what, "certwarden ca unlock")


def _ends(seen: ObservedAuthority, now: datetime) -> Iterator[Coming]:
    if seen.root is not None:
        yield Coming(seen.root.not_after, f"the private CA {seen.root.name} ends")
    if seen.is_locked and seen.ladder:
        end = seen.ladder[-1].next_update
        yield Coming(end, "the lists that were signed beforehand are used up")
    for client in seen.clients:
        is_valid = client_state(client, now) is ClientState.VALID
        is_someones = client.purpose is ClientPurpose.CLIENT and client.supersede_at is None
        if is_valid and is_someones and client.not_after is not None:
            yield Coming(client.not_after, f"the certificate of {client.name} ends")
