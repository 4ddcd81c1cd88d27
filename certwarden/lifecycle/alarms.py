"""What a person should hear of, and when: pure functions of what was observed and was told.

Owns what matters and how often it may be said. Sends nothing and remembers nothing: that is
`announce`'s business. A matter is known by its key for as long as it stands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from certwarden.errors import Error
from certwarden.lifecycle.authority_alarms import (
    ENDS,
    LADDER_ENDS,
    LIST_ENDS,
    LIST_FAILING,
    LOCKED,
    PROOF,
    ROOT_ENDED,
    authority_expiry_matters,
    authority_matters,
)
from certwarden.lifecycle.matter import Matter
from certwarden.lifecycle.retry import counted
from certwarden.lifecycle.setbacks import CLEAN_UP, DOOR, TOKEN, revocation_key, setback_of
from certwarden.lifecycle.status import TargetState, target_state
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    Cause,
    ClientCertificate,
    NoHandshake,
    Observed,
    ObservedAuthority,
    ObservedTarget,
    Setback,
    Stored,
    TokenCheck,
    Told,
    Unreachable,
)

DAY = timedelta(days=1)
LONGEST_SILENCE = timedelta(days=7)  # about a matter that stands
LAST_QUARTER = 4  # of a lifetime
TOKEN_NOTICE = timedelta(days=30)
PATIENCE = DAY  # with what may still be put right without anybody, such as in a maintenance window

_TOKEN = "token"  # noqa: S105  the key of a matter
_TOKEN_EXPIRY = "token-expiry"  # noqa: S105  the same
_CLOCK = "clock"
_LITTER = "litter"
_RECORDS = "records"
_UNIT = "unit:"
_UNBEARABLE = (
    "expired:",
    "expiring:",
    "failing:",
    "revocation:",
    LIST_ENDS,
    LIST_FAILING,
    PROOF,
    ROOT_ENDED,
)
# What is not to be told of a private CA that cannot be read.
_OF_AUTHORITY = (DOOR, ENDS, LADDER_ENDS, LIST_ENDS, LIST_FAILING, LOCKED, PROOF, ROOT_ENDED)


@dataclass(frozen=True)
class Findings:
    """The matters that stand, and the keys of those of which it cannot be told now.

    `unclear_kinds` are beginnings of such keys.
    """

    standing: tuple[Matter, ...]
    unclear: frozenset[str] = frozenset()
    unclear_kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """What is sent in one piece, and what is written down once somebody was reached.

    `ending` are the clients' certificates that it is about.
    """

    title: str
    text: str
    tell: tuple[Told, ...]
    ending: tuple[ClientCertificate, ...] = ()


@dataclass(frozen=True)
class Outbox:
    """The messages that are due now, and the keys of which nothing need be known any more."""

    messages: tuple[Message, ...] = ()
    forget: tuple[str, ...] = ()


def matters(
    observed: Sequence[Observed],
    verdict: Verdict,
    token_check: TokenCheck | None,
    now: datetime,
    *,
    is_clock_needed: bool = False,
    setbacks: Sequence[Setback] = (),
    leftovers: int = 0,
    trouble: Error | None = None,
    authority: ObservedAuthority | None = None,
) -> Findings:
    """All that stands. About expiry only where the clock is trusted.

    `leftovers` are TXT records that are still to be removed, and `trouble` is what our own records
    suffer from. An untrusted clock is a matter once something depends on it (`is_clock_needed`):
    before the network is up every machine without a battery has one for a moment.
    """
    found = [*_token_matters(observed, token_check, setback_of(setbacks, TOKEN), now)]
    found += _litter_matters(leftovers, setback_of(setbacks, CLEAN_UP), now)
    if trouble is not None:
        what = f"certwarden's own records cannot be kept: {trouble.what}"
        found.append(Matter(_RECORDS, what, now, trouble.hint))
    if is_clock_needed and not verdict.is_trusted:
        found.append(Matter(_CLOCK, verdict.what, now, verdict.hint))
    absent = _absent_guarded(observed)
    if authority is not None:
        found += authority_matters(authority, setbacks, now, absent=absent)
    unclear = {f"{PROOF}{name}" for name in absent}
    for seen in observed:
        found += _certificate_matters(seen, now)
        found += _revocation_matters(seen, setbacks, now)
        for target in seen.targets:
            found += _target_matters(seen, target, now)
            if target_state(seen, target) is not TargetState.IN_USE and target.spec.probe:
                unclear.add(_target_key(target))
        if seen.trouble is not None or not verdict.is_trusted:
            unclear |= _expiry_keys(seen)
    if verdict.is_trusted:
        found += expiry_matters(observed, token_check, now)
        found += authority_expiry_matters(authority, now)
    else:
        unclear |= {_TOKEN_EXPIRY, _CLOCK, LIST_ENDS, LADDER_ENDS, ROOT_ENDED}
    unclear_kinds: tuple[str, ...] = () if verdict.is_trusted else (ENDS,)
    if authority is not None and authority.trouble is not None:
        unclear_kinds = _OF_AUTHORITY
    covered = {key for matter in found for key in matter.covers}
    standing = tuple(matter for matter in found if matter.key not in covered)
    unclear -= {matter.key for matter in standing}
    return Findings(standing, frozenset(unclear), unclear_kinds)


def is_bearable(findings: Findings) -> bool:
    """Whether what stands lets a heartbeat say that all is well."""
    return not any(matter.key.startswith(_UNBEARABLE) for matter in findings.standing)


def expiry_matters(
    observed: Sequence[Observed], token_check: TokenCheck | None, now: datetime
) -> tuple[Matter, ...]:
    """Those of the matters that are true only if the clock is right."""
    found = [matter for seen in observed for matter in _lifetime_matters(seen, now)]
    expires_at = token_check.expires_at if token_check else None
    if expires_at is not None and expires_at - now <= TOKEN_NOTICE:
        verb = "expires" if now < expires_at else "has expired"
        what = f"the Cloudflare API token {verb} on {expires_at:%Y-%m-%d}"
        todo = "make a new one at Cloudflare and put it into cloudflare.api_token_file"
        found.append(Matter(_TOKEN_EXPIRY, what, expires_at - TOKEN_NOTICE, todo))
    return tuple(found)


def to_send(
    findings: Findings, told: Sequence[Told], now: datetime, *, is_good: bool = False
) -> Outbox:
    """The messages that are due: what is new, what still stands, what has been put right.

    A new matter is told at once, and again when it is twice as old, but never before a day and
    never after more than a week of silence. Once it is gone that is told, once; should it come
    back, it is not told again before a day has passed since. That a unit failed is put right by a
    good pass. An instant in the future was written down by a wrong clock: it counts as long ago.
    """
    before = {each.key: each for each in told}
    standing = {matter.key for matter in findings.standing}
    covered = {key for matter in findings.standing for key in matter.covers}
    doubtful = findings.unclear - covered
    gone = [
        each
        for each in told
        if each.key not in standing
        and each.key not in doubtful
        and not each.key.startswith(findings.unclear_kinds)
        and (is_good or not each.key.startswith(_UNIT))
    ]
    due = [matter for matter in findings.standing if _is_due(matter, before.get(matter.key), now)]
    recovered = [
        each
        for each in gone
        if each.text and each.key not in covered and not each.key.startswith(ENDS)
    ]
    forget = [each.key for each in gone if not each.text and _has_rested(each, now, DAY)]
    forget += [
        each.key
        for each in gone
        if each.text and (each.key in covered or each.key.startswith(ENDS))
    ]
    messages = []
    if due:
        messages.append(_alarm(due, before, now))
    if recovered:
        messages.append(_recovery(recovered, now))
    return Outbox(tuple(messages), tuple(forget))


def unit_matter(unit: str, now: datetime) -> Matter:
    """A systemd unit of ours has failed."""
    return Matter(
        f"{_UNIT}{unit}",
        f"the unit {unit} has failed",
        now,
        f"see `systemctl status {unit}` and `journalctl -u {unit}`",
    )


# ── what matters ──────────────────────────────────────────────────────────────────────────────────


def _token_matters(
    observed: Sequence[Observed],
    check: TokenCheck | None,
    setback: Setback | None,
    now: datetime,
) -> Iterator[Matter]:
    """The API token is refused: by the last look at it, or by attempts since the last good look.

    Or nobody has told for a day whether it is good.
    """
    refused = {
        seen.spec.name: attempts[0]
        for seen in observed
        if (attempts := counted(seen.failures)) and attempts[0].cause is Cause.TOKEN
    }
    covers = (_TOKEN_EXPIRY, _LITTER, *(f"failing:{name}" for name in refused))
    if check is not None and check.what:
        yield Matter(_TOKEN, check.what, min(check.at, now), check.hint, covers)
        return
    fresh = [
        attempt
        for attempt in refused.values()
        if check is None or check.at > now or check.at <= (attempt.ended_at or attempt.begun_at)
    ]
    if fresh:
        first = min(fresh, key=lambda attempt: attempt.begun_at)
        yield Matter(_TOKEN, first.what, first.begun_at, first.hint, covers)
    elif setback is not None and now - setback.since >= PATIENCE:
        what = f"nobody tells whether the API token is good: {setback.what}"
        yield Matter(_TOKEN, what, setback.since, setback.hint)


def _litter_matters(leftovers: int, setback: Setback | None, now: datetime) -> Iterator[Matter]:
    if leftovers and setback is not None and now - setback.since >= PATIENCE:
        plural = "s" if leftovers != 1 else ""
        what = f"{leftovers} TXT record{plural} of ours cannot be removed: {setback.what}"
        yield Matter(_LITTER, what, setback.since, setback.hint)


def _revocation_matters(
    seen: Observed, setbacks: Sequence[Setback], now: datetime
) -> Iterator[Matter]:
    """It failed twice, or once where trying again is no use."""
    for pending in seen.revocations:
        key = revocation_key(pending)
        setback = setback_of(setbacks, key)
        if setback is not None and (setback.failures > 1 or setback.is_permanent):
            what = f"a replaced certificate {seen.spec.name} could not be revoked: {setback.what}"
            todo = setback.hint or f"see `certwarden history {seen.spec.name}`"
            yield Matter(key, what, min(setback.since, now), todo)


def _certificate_matters(seen: Observed, now: datetime) -> Iterator[Matter]:
    """It cannot be read, or could not be obtained twice, or once where trying again is no use."""
    name, key = seen.spec.name, f"failing:{seen.spec.name}"
    if seen.trouble is not None:
        what = f"the stored certificate {name} cannot be read: {seen.trouble.what}"
        yield Matter(key, what, now, seen.trouble.hint)
        return
    failed = counted(seen.failures)
    if len(failed) > 1 or (failed and failed[0].cause is not None):
        times = f"{len(failed)} times now" if len(failed) > 1 else "trying again is of no use"
        why = failed[0].what or "the attempt was cut short"
        what = f"the certificate {name} could not be obtained ({times}): {why}"
        todo = failed[0].hint or "see `certwarden status`"
        yield Matter(key, what, failed[-1].begun_at, todo)


def _lifetime_matters(seen: Observed, now: datetime) -> Iterator[Matter]:
    if seen.stored is None:
        return
    name, leaf = seen.spec.name, seen.stored.certificate
    expiring = f"expiring:{name}"
    last_quarter = leaf.not_after - leaf.lifetime / LAST_QUARTER
    todo = f"see `certwarden status` for why, then `certwarden renew {name}`"
    if now >= leaf.not_after:
        what = f"the certificate {name} has expired on {_instant(leaf.not_after)}"
        yield Matter(f"expired:{name}", what, leaf.not_after, todo, covers=(expiring,))
    elif now >= last_quarter:
        what = (
            f"the certificate {name} is in the last quarter of its lifetime and has not been "
            f"renewed; it expires on {_instant(leaf.not_after)}"
        )
        yield Matter(expiring, what, last_quarter, todo)


def _absent_guarded(observed: Sequence[Observed]) -> set[str]:
    """The targets that ask their clients for certificates, and where nobody answers."""
    return {
        target.spec.name
        for seen in observed
        for target in seen.targets
        if target.spec.client_auth and isinstance(target.seen, Unreachable)
    }


def _target_matters(seen: Observed, target: ObservedTarget, now: datetime) -> Iterator[Matter]:
    """What is served is not what is stored: a deploy failed, or none put it right in a day.

    A target where nobody answers serves nothing; whoever stopped its program knows.
    """
    stored = seen.stored
    if stored is None:
        return
    state, name = target_state(seen, target), target.spec.name
    todo = f"see `certwarden status`, then `certwarden deploy {seen.spec.name}`"
    if state is TargetState.FAILED or (state is TargetState.PLACEHOLDER and target.repeats):
        since = min([each.begun_at for each in target.repeats], default=now)
        why, hint = _why_failed(target)
        what = f"{name} does not serve the stored certificate {seen.spec.name}: {why}"
        yield Matter(_target_key(target), what, since, hint or todo)
    elif state is TargetState.STALE and now - _stale_since(target, stored) >= PATIENCE:
        what = f"{name} serves another certificate than the stored {seen.spec.name}"
        yield Matter(_target_key(target), what, _stale_since(target, stored), todo)


def _target_key(target: ObservedTarget) -> str:
    return f"target:{target.spec.name}"


def _expiry_keys(seen: Observed) -> set[str]:
    return {f"expiring:{seen.spec.name}", f"expired:{seen.spec.name}"}


def _why_failed(target: ObservedTarget) -> tuple[str, str]:
    if target.trouble is not None:
        return target.trouble.what, target.trouble.hint
    if target.last_deploy is not None and target.last_deploy.what:
        return target.last_deploy.what, target.last_deploy.hint
    if isinstance(target.seen, NoHandshake):
        return target.seen.what, ""
    return "the last deploy failed", ""


def _stale_since(target: ObservedTarget, stored: Stored) -> datetime:
    last = target.last_deploy
    is_later = last is not None and last.fingerprint == stored.certificate.fingerprint
    return last.begun_at if last is not None and is_later else stored.obtained_at


# ── when it is said ───────────────────────────────────────────────────────────────────────────────


def _is_due(matter: Matter, before: Told | None, now: datetime) -> bool:
    if before is None:
        return True
    if matter.is_once and before.text:
        return False
    if not before.text:
        return _has_rested(before, now, DAY)
    age = before.told_at - before.since
    return _has_rested(before, now, min(max(age, DAY), LONGEST_SILENCE))


def _has_rested(before: Told, now: datetime, rest: timedelta) -> bool:
    return before.told_at > now or now - before.told_at >= rest


def _alarm(due: Sequence[Matter], before: dict[str, Told], now: datetime) -> Message:
    tell, paragraphs = [], []
    for matter in due:
        known = before.get(matter.key)
        # The first instant that we have heard of counts, unless a wrong clock wrote it down.
        since = min(matter.since, now)
        if known is not None and known.text and known.since <= now:
            since = min(since, known.since)
        tell.append(Told(matter.key, since, now, matter.what))
        lines = [f"{_sentence(matter.what)}", f"Since: {_instant(since)}"]
        if matter.todo:
            lines.append(f"To do: {matter.todo}")
        paragraphs.append("\n".join(lines))
    title = due[0].what if len(due) == 1 else f"{len(due)} matters need attention"
    ending = tuple(each for matter in due for each in matter.ending)
    return Message(title, "\n\n".join(paragraphs), tuple(tell), ending)


def _recovery(recovered: Sequence[Told], now: datetime) -> Message:
    paragraphs = [
        f"No longer so: {each.text}\nIt was so since: {_instant(each.since)}" for each in recovered
    ]
    title = "recovered" if len(recovered) == 1 else f"{len(recovered)} matters have recovered"
    tell = tuple(Told(each.key, each.since, now, "") for each in recovered)
    return Message(title, "\n\n".join(paragraphs) + "\n\nThere is nothing to do.", tell)


def _sentence(what: str) -> str:
    return f"{what[:1].upper()}{what[1:]}."


def _instant(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
