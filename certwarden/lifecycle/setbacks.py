"""What fails beside orders and deploys, and how long it rests then: pure functions.

Clean-up, revocations, the look at the API token, the revocation list, backups and the door for
invitations: each is known by its key for as long as it fails, and is tried at once when what it
was tried with has changed.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from certwarden.errors import Error
from certwarden.lifecycle.retry import back_off
from certwarden.model import PendingRevocation, Setback, TxtRecord

CLEAN_UP = "clean-up"
TOKEN = "token"  # noqa: S105  the key of a setback
REVOCATION = "revocation:"
LIST = "list"
BACKUP = "backup"
DOOR = "invitations"

PERMANENT_REST = timedelta(days=1)
FIRST_CLEAN_UP_REST = timedelta(minutes=10)
LONGEST_CLEAN_UP_REST = timedelta(hours=6)
TOKEN_REST = timedelta(hours=1)

_MOST_DOUBLINGS = 10


def revocation_key(pending: PendingRevocation) -> str:
    """Of one leaf's revocation."""
    return f"{REVOCATION}{pending.certificate}:{pending.fingerprint}"


def clean_up_setup(leftovers: Sequence[TxtRecord], token: str) -> str:
    """What a clean-up is tried with: the records that are to go, and the token's digest."""
    names = sorted(f"{each.place.record_name} {each.value}" for each in leftovers)
    return hashlib.sha256("\n".join([token, *names]).encode()).hexdigest()


def setback_of(setbacks: Sequence[Setback], key: str) -> Setback | None:
    """The setback of that key, if it stands."""
    return next((each for each in setbacks if each.key == key), None)


def after_failure(
    before: Setback | None, key: str, setup: str, error: Error, now: datetime
) -> Setback:
    """The setback once `key` has failed again at `now`, or for the first time."""
    is_series = before is not None and before.since <= now  # else a wrong clock has written it
    since = before.since if before and is_series else now
    failures = (before.failures if before and is_series else 0) + 1
    rest = PERMANENT_REST if error.permanent else _rest(key, failures)
    if error.retry_after is not None:
        rest = max(rest, error.retry_after)
    return Setback(
        key=key,
        setup=setup,
        since=since,
        at=now,
        again_at=now + rest,
        failures=failures,
        what=error.what,
        hint=error.hint,
        is_permanent=error.permanent,
    )


def held_until(setback: Setback | None, setup: str, now: datetime) -> datetime:
    """From when on it may be tried again: now, if nothing holds it up any more.

    A failure in the future was written down by a wrong clock, and holds up nothing.
    """
    if setback is None or setback.setup != setup or setback.at > now:
        return now
    return max(now, setback.again_at)


def _rest(key: str, failures: int) -> timedelta:
    if key in (CLEAN_UP, LIST, DOOR):
        doubled = FIRST_CLEAN_UP_REST * (1 << min(failures - 1, _MOST_DOUBLINGS))
        return min(doubled, LONGEST_CLEAN_UP_REST)
    if key == TOKEN:
        return TOKEN_REST
    return back_off(failures, None, key)
