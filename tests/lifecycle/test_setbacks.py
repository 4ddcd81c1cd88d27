"""How long what failed rests: longer each time, never for a wrong clock's sake."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certwarden.errors import Error
from certwarden.lifecycle.setbacks import (
    CLEAN_UP,
    PERMANENT_REST,
    TOKEN,
    TOKEN_REST,
    after_failure,
    clean_up_setup,
    held_until,
    revocation_key,
    setback_of,
)
from certwarden.model import PendingRevocation, RevocationReason, Setback
from tests.builders import NOW, a_txt_record
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND

PENDING = PendingRevocation("home", 1, "ab" * 32, RevocationReason.SUPERSEDED, NOW)
DOWN = Error("no reply", "wait")
REFUSED = Error("not allowed", "change it", permanent=True)


def series(key: str, times: int, error: Error = DOWN) -> list[Setback]:
    """Failures in a row, each at the instant at which it may be tried again."""
    found: list[Setback] = []
    before, now = None, NOW
    for _ in range(times):
        before = after_failure(before, key, "setup", error, now)
        now = before.again_at
        found.append(before)
    return found


def rests(setbacks: list[Setback]) -> list[timedelta]:
    return [each.again_at - each.at for each in setbacks]


def test_a_clean_up_rests_twice_as_long_each_time() -> None:
    """From ten minutes to six hours."""
    found = rests(series(CLEAN_UP, 8))
    assert [each // MINUTE for each in found] == [10, 20, 40, 80, 160, 320, 360, 360]
    assert rests(series(CLEAN_UP, 2000))[-1] == 6 * HOUR


def test_a_revocation_rests_as_an_order_does() -> None:
    """A minute, ten, a hundred, then a day; with jitter, never falling."""
    found = rests(series(revocation_key(PENDING), 6))
    for rest, longest in zip(
        found, (MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY, DAY), strict=True
    ):
        assert 0.8 * longest <= rest <= longest
    assert found == sorted(found)


def test_a_look_at_the_token_rests_an_hour() -> None:
    """However often nobody has answered."""
    assert rests(series(TOKEN, 3)) == [TOKEN_REST] * 3


@pytest.mark.parametrize("key", [CLEAN_UP, TOKEN, revocation_key(PENDING)])
def test_what_trying_again_cannot_help_rests_a_day(key: str) -> None:
    """Until it is tried with something else."""
    (first, second) = series(key, 2, REFUSED)
    assert rests([first, second]) == [PERMANENT_REST] * 2
    assert held_until(first, "setup", NOW) == first.again_at
    assert held_until(first, "another", NOW) == NOW
    assert (second.since, second.failures, second.is_permanent) == (NOW, 2, True)
    assert (second.what, second.hint) == (REFUSED.what, REFUSED.hint)


def test_what_the_other_side_asked_for_is_obeyed() -> None:
    """Where it is longer than our own rest, and only then."""
    for asked, rest in ((2 * DAY, 2 * DAY), (SECOND, TOKEN_REST)):
        error = Error("too many requests", retry_after=asked)
        assert rests([after_failure(None, TOKEN, "setup", error, NOW)]) == [rest]


def test_nothing_is_held_up_for_nothing() -> None:
    """Without a failure, or once its rest is over, it is tried now."""
    (setback,) = series(CLEAN_UP, 1)
    assert held_until(None, "setup", NOW) == NOW
    assert held_until(setback, "setup", NOW) == NOW + 10 * MINUTE
    assert held_until(setback, "setup", NOW + 11 * MINUTE) == NOW + 11 * MINUTE


def test_a_failure_in_the_future_is_a_wrong_clocks() -> None:
    """It neither holds anything up nor makes the next one the second of a series."""
    (ahead,) = series(CLEAN_UP, 1)
    ahead = replace(ahead, since=NOW + DAY, at=NOW + DAY, again_at=NOW + 2 * DAY)
    assert held_until(ahead, "setup", NOW) == NOW
    assert held_until(ahead, "setup", ahead.at) == ahead.again_at
    after = after_failure(ahead, CLEAN_UP, "setup", DOWN, NOW)
    assert (after.failures, after.since) == (1, NOW)


def test_a_clean_up_is_known_by_its_records_and_the_token() -> None:
    """Other records or another token are tried at once; their order says nothing."""
    one, other = a_txt_record("a" * 43), a_txt_record("b" * 43)
    setup = clean_up_setup([one, other], "token")
    assert clean_up_setup([other, one], "token") == setup
    assert len({setup, clean_up_setup([one], "token"), clean_up_setup([one, other], "new")}) == 3


def test_each_is_found_by_its_key() -> None:
    """A revocation by its certificate and leaf."""
    key = revocation_key(PENDING)
    assert key != revocation_key(replace(PENDING, fingerprint="cd" * 32))
    both = [*series(TOKEN, 1), *series(key, 1)]
    assert setback_of(both, key) == both[1]
    assert setback_of(both, CLEAN_UP) is None
