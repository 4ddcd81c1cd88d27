"""When to try again after failures, where, and how carefully: pure functions (invariant 4).

Back-off and its causes, the Retry-After of the other side, our own count of the CA's limits, the
proof at the staging directory, and the CA for when the first has long failed. Renews nothing and
decides nothing about when a certificate is due.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from certwarden.errors import Error, IssuerError, ZoneError
from certwarden.lifecycle.renewal import in_words
from certwarden.model import (
    Attempt,
    AttemptOutcome,
    Cause,
    DeployOutcome,
    DeployRecord,
    Observed,
    ObservedTarget,
    Policy,
    Spent,
)

DELAYS = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(minutes=100),
    timedelta(days=1),
)
SHORTEST_CAP = timedelta(seconds=10)
CAP_OF_LIFETIME = 20
LOOK_INTERVAL = timedelta(days=1)
JITTER = 0.2  # a delay is shortened by up to so much
FAILURES_BEFORE_PROOF = 2
CUT_SHORT_FORGIVEN = 2  # attempts that a kill ended: a power cut is no failure, a crash loop is
FAILED_AUTHORIZATIONS_AN_HOUR = 4  # of one name
ISSUANCES_A_WEEK = 3  # of one set of names
FALLBACK_AFTER = timedelta(days=1)
FALLBACK_BELOW = 10  # when less than the tenth part of the lifetime is left

_HOUR = timedelta(hours=1)
_WEEK = timedelta(days=7)
_IDENTIFIER_PROBLEMS = frozenset({"rejectedIdentifier", "unsupportedIdentifier"})


@dataclass(frozen=True)
class Try:
    """The next try for a certificate: not before when, at which directory, and how.

    `text` says what it waits for, or is "". `look_at` is the failure whose cause alone is looked at
    first, if it is one that trying again cannot help. `is_proving`: a new order proves itself at
    the staging directory first.
    """

    at: datetime
    directory_url: str
    text: str = ""
    look_at: Attempt | None = None
    is_proving: bool = False


def next_try(seen: Observed, policy: Policy, now: datetime, *, is_named: bool = False) -> Try:
    """The next try for a certificate that is due, which may be now.

    `is_named` is for the certificate that a person has named: neither back-off nor the look at a
    cause holds it up, but what the CA asked for and its limits do.
    """
    directories = [seen.spec.directory_url]
    if _is_fallback_called_for(seen, policy, now):
        directories = [*seen.spec.fallback_urls, *directories]
    tries = [_try_at(seen, each, policy, now, is_named=is_named) for each in directories]
    return min(tries, key=lambda each: each.at)  # the first of those that are equal


def cause_of(error: Error) -> Cause | None:
    """What a permanent error comes from; None where trying again may help."""
    if not error.permanent:
        return None
    if isinstance(error, ZoneError):
        return Cause.TOKEN
    if isinstance(error, IssuerError) and error.problem == "caa":
        return Cause.CAA
    if isinstance(error, IssuerError) and error.problem in _IDENTIFIER_PROBLEMS:
        return Cause.IDENTIFIER
    return Cause.CONFIGURATION


def back_off(failures: int, lifetime: timedelta | None, seed: str) -> timedelta:
    """How long to wait after so many failures in a row: 1, 10, 100 minutes, then a day.

    Each is capped at a twentieth of the lifetime, but not below ten seconds. `seed` is the same for
    a whole series, so that its jitter never makes a delay shorter than the one before it.
    """
    if failures == 0:
        return timedelta(0)
    return capped(DELAYS[min(failures, len(DELAYS)) - 1], lifetime) * _jitter(seed)


def capped(delay: timedelta, lifetime: timedelta | None) -> timedelta:
    """The delay, but no more than a twentieth of the lifetime or, if that is more, ten seconds."""
    if lifetime is None:
        return delay
    return min(delay, max(SHORTEST_CAP, lifetime / CAP_OF_LIFETIME))


def limits_allow_at(
    spent: Spent, names: Sequence[str], now: datetime, *, is_new_order: bool
) -> tuple[datetime, str]:
    """From when on our own count of the CA's limits allows a try, and what it waits for.

    An order that is under way already has been counted as an issuance, and is not held up by it.
    A name and its wildcard are two authorizations, which the CA counts for the same name.
    """
    at, text = now, ""
    for name, times in Counter(each.removeprefix("*.") for each in names).items():
        recent = _within(spent.failed_authorizations.get(name, ()), now, _HOUR)
        allowed = FAILED_AUTHORIZATIONS_AN_HOUR - times
        if len(recent) > allowed:
            free = recent[allowed] + _HOUR
            if free > at:
                at, text = free, f"{len(recent)} authorizations of {name} failed within an hour"
    recent = _within(spent.issuances, now, _WEEK)
    if is_new_order and len(recent) >= ISSUANCES_A_WEEK:
        free = recent[ISSUANCES_A_WEEK - 1] + _WEEK
        if free > at:
            at, text = free, f"{len(recent)} certificates for these names were issued within a week"
    return at, text


def deploy_try(
    target: ObservedTarget,
    lifetime: timedelta,
    fingerprint: str,
    now: datetime,
    crl_number: int | None = None,
) -> datetime:
    """Not before when certificate and list may be deployed again there, which may be now.

    Deploys that succeeded count as well, from the second on: one that has to be made again and
    again is undone by somebody, and restarting the program each time would help nobody.
    """
    repeats = target.repeats
    if not repeats or repeats[0].fingerprint != fingerprint or repeats[0].crl_number != crl_number:
        return now
    failed = sum(each.outcome is DeployOutcome.FAILED for each in repeats)
    undone = max(0, len(repeats) - failed - 1)
    seed = f"{target.spec.name} {repeats[-1].id}"
    return _after(repeats[0], back_off(failed + undone, lifetime, seed), now)


def last_failure(seen: Observed) -> Attempt | None:
    """The newest attempt that failed since the last success, if there is one."""
    failed = AttemptOutcome.FAILED
    return next((each for each in seen.failures if each.outcome is failed), None)


def counted(failures: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """The attempts that count as failures: those cut short only when it happens again and again."""
    cut_short = [each for each in failures if each.outcome is AttemptOutcome.BEGUN]
    forgiven = {each.id for each in cut_short[:CUT_SHORT_FORGIVEN]}
    return tuple(each for each in failures if each.id not in forgiven)


def look_in_vain(seen: Observed, now: datetime) -> datetime:
    """What to write down as the instant of a look that told nothing: the next is due in an hour."""
    return now - LOOK_INTERVAL * _jitter(_seed(seen)) + _HOUR


def _try_at(
    seen: Observed, directory: str, policy: Policy, now: datetime, *, is_named: bool
) -> Try:
    """The try at one directory; whatever failed at its staging directory counts as its own."""
    staging = policy.staging_urls.get(directory)
    failures = [
        each
        for each in counted(seen.failures)
        if each.directory_url in (directory, staging)
        or each.cause is Cause.TOKEN  # the DNS provider's, so it is the same everywhere
    ]
    is_proving = staging is not None and len(failures) >= FAILURES_BEFORE_PROOF
    holds = list(_holds(seen, directory, policy, failures, now))
    look_at = None
    if failures and not is_named:
        last = failures[0]
        if last.cause is None:
            hold = _after(last, back_off(len(failures), _lifetime(seen), _seed(seen)), now)
            holds.append(
                (hold, f"attempt {len(failures)} failed: {last.what or 'it was cut short'}")
            )
        elif last.setup == seen.setup:
            hold = _after(last, LOOK_INTERVAL * _jitter(_seed(seen)), now)
            holds.append((hold, f"its cause is looked at again then: {last.what}"))
            look_at = last
    at, text = max(holds, key=lambda hold: hold[0], default=(now, ""))
    return Try(at, directory, text if at > now else "", look_at, is_proving)


def _holds(
    seen: Observed,
    directory: str,
    policy: Policy,
    failures: Sequence[Attempt],
    now: datetime,
) -> Iterator[tuple[datetime, str]]:
    """What holds up even a person's wish: a Retry-After, and the limits."""
    for each in failures:
        if each.retry_after is not None:
            asked = in_words(each.retry_after)
            yield _after(each, each.retry_after, now), f"we were asked to wait {asked}: {each.what}"
    if directory in policy.limited:
        spent = seen.spent.get(directory, Spent())
        is_new = seen.draft is None or not seen.draft.order_url
        at, text = limits_allow_at(spent, seen.spec.domains, now, is_new_order=is_new)
        if at > now:
            yield at, f"the CA's limits: {text}"


def _is_fallback_called_for(seen: Observed, policy: Policy, now: datetime) -> bool:
    """Whether the first CA has failed for a day and less than a tenth of the lifetime is left."""
    first = (seen.spec.directory_url, policy.staging_urls.get(seen.spec.directory_url))
    failures = [each for each in counted(seen.failures) if each.directory_url in first]
    # What lies ahead of now was written down under a wrong clock, and says nothing.
    since = min((each.begun_at for each in failures if each.begun_at <= now), default=now)
    has_long_failed = now - since >= FALLBACK_AFTER
    if seen.stored is None:
        return has_long_failed
    leaf = seen.stored.certificate
    return has_long_failed and leaf.not_after - now < leaf.lifetime / FALLBACK_BELOW


def _within(instants: Sequence[datetime], now: datetime, period: timedelta) -> list[datetime]:
    """Those within the period of now, newest first; what lies further ahead is a wrong clock's."""
    return sorted((each for each in instants if abs(each - now) < period), reverse=True)


def _lifetime(seen: Observed) -> timedelta | None:
    return seen.stored.certificate.lifetime if seen.stored else None


def _after(record: Attempt | DeployRecord, wait: timedelta, now: datetime) -> datetime:
    """So long after it ended or was looked at, and never before now.

    Now, if a wrong clock dated it too far ahead.
    """
    ended = record.ended_at or record.begun_at
    if isinstance(record, Attempt) and record.looked_at is not None:
        ended = max(ended, record.looked_at)
    return now if ended > now + wait else max(now, ended + wait)


def _seed(seen: Observed) -> str:
    """The same for a whole series of failures, whichever of them count and wherever they were."""
    return f"{seen.spec.name} {seen.failures[-1].id}"


def _jitter(seed: str) -> float:
    """A factor between 1 - JITTER and 1, the same for the same seed."""
    digest = hashlib.sha256(seed.encode()).digest()
    return 1 - JITTER * int.from_bytes(digest[:4]) / 2**32
