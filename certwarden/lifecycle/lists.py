"""When revocation lists are signed, published and put in place: pure functions (invariant 7).

A list is signed daily and with each revocation, so that one that is in use never ends. With a
locked CA the lists of a year were signed beforehand, and each is published when its time has come.
Nothing here signs, or knows how a list looks inside.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from certwarden.lifecycle.retry import back_off
from certwarden.lifecycle.setbacks import LIST, held_until, setback_of
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    Call,
    Certificate,
    ClientCertificate,
    ClientTrust,
    CommandReload,
    Crl,
    Job,
    ObservedAuthority,
    ObservedTarget,
    Proof,
    ProofOutcome,
    Root,
    Rung,
    Setback,
    Step,
    StepKind,
    Trust,
    UnitReload,
)

SIGNED_EVERY = timedelta(days=1)
BACK_DATED = timedelta(hours=1)  # thisUpdate, and notBefore, for clocks that are a little behind
LADDER_LENGTH = timedelta(days=365)
RUNGS_A_LIFETIME = 3
PROBE_LIFETIME = LADDER_LENGTH + timedelta(days=60)
PROBE_RENEWED_BEFORE = timedelta(days=40)  # its end
PROVEN_EVERY = timedelta(days=1)
SUPERSEDED_AFTER = timedelta(days=14)  # a renewed client's old certificate stays good so long
REST = timedelta(minutes=10)  # after a pass that could not sign what was due
# The number, the entries and the last day of a publication.
PUBLISHED = re.compile(r"revocation list (\d{1,18}) \((\d+) entr\w+\) until (\d{4}-\d\d-\d\d)")

# ── signing ───────────────────────────────────────────────────────────────────────────────────────


def signed_at(crl: Crl) -> datetime:
    """The instant of the list's signature; of a rung that of its publication."""
    return crl.this_update + BACK_DATED


def publication(crl: Crl) -> str:
    """What the history says of a list when it is published; PUBLISHED reads it."""
    entries = len(crl.serials)
    plural = "y" if entries == 1 else "ies"
    return f"revocation list {crl.number} ({entries} entr{plural}) until {crl.next_update:%Y-%m-%d}"


def half_life(crl: Crl) -> datetime:
    """When half of the time is over for which the list is good."""
    return crl.this_update + (crl.next_update - crl.this_update) / 2


def signature_reason(
    seen: ObservedAuthority, now: datetime, *, is_starting: bool = False
) -> str | None:
    """Why a list is to be signed now, by a CA that is not locked; None where there is no need."""
    if seen.root is None or seen.trouble is not None or seen.is_locked:
        return None
    crl = seen.crl
    if crl is None:
        return "there is no revocation list"
    reason = None
    if overdue := _superseded(seen.clients, now):
        reason = f"{_count(len(overdue), 'renewed certificate')} may no longer be used"
    elif seen.unlisted:
        reason = f"{_count(len(seen.unlisted), 'revocation')} not in the list yet"
    elif crl.this_update > now:
        reason = "the list is dated in the future"
    elif signed_at(crl) + SIGNED_EVERY <= now:
        reason = f"the list is of {_day(signed_at(crl))}"
    elif is_probe_due(seen.probe, seen.root, now):
        reason = "the probe that is to be refused needs another"
    elif is_starting:
        reason = "the daemon starts"
    return reason


def is_probe_due(probe: Certificate | None, root: Root, now: datetime) -> bool:
    """Whether another revoked probe is needed: what is refused for its dates proves nothing.

    One that ends with the CA itself is as good as another would be.
    """
    if probe is None or now < probe.not_before:
        return True
    return probe.not_after - PROBE_RENEWED_BEFORE <= now and probe.not_after < root.not_after


def list_setup(seen: ObservedAuthority) -> str:
    """What a signature is tried with: a new revocation does not wait for what failed before it."""
    root = seen.root.fingerprint if seen.root else ""
    # Of clients only: a try that fails may have revoked another probe.
    waiting = sorted(each.serial for each in seen.clients if each.serial in seen.unlisted)
    return hashlib.sha256("\n".join([root, *waiting]).encode()).hexdigest()


def rung_to_publish(seen: ObservedAuthority, now: datetime) -> Rung | None:
    """The newest list of the ladder whose time has come, if a newer one than the published."""
    published = seen.crl.number if seen.crl else 0
    due = [rung for rung in seen.ladder if rung.at <= now and rung.number > published]
    return due[-1] if due else None


def may_sign(verdict: Verdict, crl: Crl | None, now: datetime) -> bool:
    """Whether the clock allows a list to be signed or published.

    Where nobody can tell the time, one past half its life is replaced all the same: else it would
    lapse, and nobody would be let in.
    """
    if verdict.is_trusted:
        return True
    return verdict.trust is Trust.UNKNOWN and crl is not None and half_life(crl) <= now


def ladder_dates(now: datetime, lifetime: timedelta) -> tuple[datetime, ...]:
    """When the lists of a year are to be published, the first one now."""
    step = lifetime / RUNGS_A_LIFETIME
    return tuple(now + step * place for place in range(LADDER_LENGTH // step + 1))


def superseded(clients: Sequence[ClientCertificate], now: datetime) -> tuple[str, ...]:
    """The serials of renewed certificates whose time with their successors is over."""
    return tuple(each.serial for each in _superseded(clients, now))


def list_steps(
    seen: ObservedAuthority | None, now: datetime, setbacks: Sequence[Setback] = ()
) -> Iterator[Step]:
    """The next list: due now, or when it will be."""
    if seen is None or seen.root is None or seen.trouble is not None:
        return
    if seen.is_locked:
        if rung := rung_to_publish(seen, now):
            yield _step("a list that was signed beforehand has its time", rung.at)
        elif seen.ladder:
            yield _step("a list that was signed beforehand will have its time", seen.ladder[0].at)
        return
    reason = signature_reason(seen, now)
    if reason is not None:
        yield _step(reason, held_until(setback_of(setbacks, LIST), list_setup(seen), now))
        return
    assert seen.crl is not None  # noqa: S101 - else there would have been a reason
    times = [(signed_at(seen.crl) + SIGNED_EVERY, "lists are signed daily")]
    times += [
        (each.supersede_at, f"the renewed certificate of {each.name} may no longer be used then")
        for each in seen.clients
        if each.supersede_at is not None and each.revoked_at is None
    ]
    at, why = min(times)
    yield _step(why, at)


def list_calls(
    seen: ObservedAuthority | None,
    targets: Sequence[ObservedTarget],
    now: datetime,
    setbacks: Sequence[Setback] = (),
) -> list[Call]:
    """When a pass is wanted for the list's sake, or to see whether it is in use."""
    calls = [
        Call(Job.CRL, step.at if step.at > now else now + REST, step.reason)
        for step in list_steps(seen, now, setbacks)
    ]
    if seen is None or seen.is_locked:
        return calls
    for target in targets:
        proof = seen.proofs.get(target.spec.name)
        if target.spec.client_auth and proof is not None:
            at = proof_at(proof, now)
            why = f"{target.spec.name}: whether revoked clients are refused is looked at"
            calls.append(Call(Job.CRL, at if at > now else now + REST, why))
    return sorted(calls, key=lambda call: call.at)[:1]


# ── putting in place ──────────────────────────────────────────────────────────────────────────────


def trust_reason(
    target: ObservedTarget, trust: ClientTrust | None, now: datetime
) -> tuple[str, bool] | None:
    """Why the list has to be put in place at the target, and whether that may not wait.

    A list without a new revocation restarts or reloads nothing before the installed one is past
    half its life. One that is not good now is never put in place.
    """
    if not target.spec.client_auth or trust is None or not trust.crl.is_current_at(now):
        return None
    installed = target.installed.trust if target.installed else None
    if installed is None:
        return "the clients' CA and its list are not installed", True
    new, old = trust.crl, installed.crl
    is_newer = old.number < new.number
    reason: tuple[str, bool] | None = None
    # What may not wait comes first: a renewed CA may, and there may be a revocation beside it.
    if is_newer and (missing := new.serials - old.serials):
        reason = f"{_count(len(missing), 'revocation')} not in the installed list", True
    elif is_newer and old.this_update > now:
        reason = "the installed list is dated in the future", True
    elif is_newer and half_life(old) <= now:
        reason = "the installed list is past half its life", True
    elif installed.root_pem != trust.root_pem:
        # Under the same key numbers go on; another CA, whose list begins anew, cannot wait.
        reason = "the certificate of the clients' CA is another one", new.number < old.number
    elif not is_newer:
        reason = _untold_reason(target, old)
    elif not isinstance(target.spec.reload, UnitReload | CommandReload):
        reason = "there is a newer list", True
    return reason


def _untold_reason(target: ObservedTarget, installed: Crl) -> tuple[str, bool] | None:
    """Of a program that is told of new files: whether it was told of the installed list."""
    last = target.last_deploy
    is_told = last is not None and last.ended_at is not None and last.crl_number == installed.number
    if is_told or not isinstance(target.spec.reload, UnitReload | CommandReload):
        return None
    return "its list is installed, but its program was not told", True


# ── proving ───────────────────────────────────────────────────────────────────────────────────────


def proof_at(proof: Proof, now: datetime) -> datetime:
    """When it is to be looked at again who is let in: daily, after a failure as it backs off."""
    if proof.at > now:
        return now  # a wrong clock wrote it down
    if proof.outcome is ProofOutcome.PROVEN or not proof.failures:
        return proof.at + PROVEN_EVERY
    return proof.at + back_off(proof.failures, None, f"proof {proof.target}")


def is_proof_due(target: ObservedTarget, proof: Proof | None, now: datetime) -> bool:
    """Whether it is to be seen now who is let in at the target."""
    installed = target.installed.trust if target.installed else None
    if not target.spec.client_auth or installed is None:
        return False
    if proof is None or proof.crl_number < installed.crl.number:
        return True
    if proof.outcome is ProofOutcome.UNKNOWN:
        return True  # whoever was away may be back; a pass that comes anyway has a look
    return proof_at(proof, now) <= now


def _superseded(clients: Sequence[ClientCertificate], now: datetime) -> list[ClientCertificate]:
    return [
        each
        for each in clients
        if each.supersede_at is not None and each.supersede_at <= now and each.revoked_at is None
    ]


def _step(reason: str, at: datetime) -> Step:
    return Step(StepKind.SIGN_CRL, None, None, reason, at)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
