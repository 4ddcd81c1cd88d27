"""When to try again after failures, where, and how carefully (invariant 4)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certwarden.errors import Error, IssuerError, StoreError, ZoneError
from certwarden.lifecycle.retry import (
    FALLBACK_AFTER,
    JITTER,
    back_off,
    capped,
    cause_of,
    counted,
    deploy_try,
    last_failure,
    limits_allow_at,
    next_try,
)
from certwarden.model import (
    Attempt,
    AttemptOutcome,
    Cause,
    DeployOutcome,
    DeployRecord,
    ObservedTarget,
    Policy,
    Spent,
)
from tests.builders import DIRECTORY, DOMAINS, NOW, a_deploy_record, a_draft, a_target_spec
from tests.lifecycle.facts import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    a_version,
    cut_short,
    failed,
    found,
)

STAGING = "https://staging.example/"
FALLBACK = "https://fallback.example/"
WEEK = 7 * DAY
LIMITED = Policy(limited=frozenset({DIRECTORY}))
PROVING = Policy(staging_urls={DIRECTORY: STAGING})
DUE = a_version(start=NOW - 61 * DAY)
OLD = a_version(start=NOW - 82 * DAY)  # less than a tenth is left
REFUSED = IssuerError("CAA forbids it", "allow it", problem="caa", permanent=True)


# ── back-off ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lifetime", "delays"),
    [
        (None, [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY]),
        (90 * DAY, [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY]),
        (64 * DAY, [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY]),
        (45 * DAY, [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY]),
        (6 * DAY, [MINUTE, 10 * MINUTE, 100 * MINUTE, 6 * DAY / 20, 6 * DAY / 20]),
        (60 * SECOND, [10 * SECOND] * 5),
        (300 * SECOND, [15 * SECOND] * 5),
    ],
)
def test_delays_grow_and_are_capped_by_the_lifetime(
    lifetime: timedelta | None, delays: list[timedelta]
) -> None:
    """1, 10, 100 minutes, a day; each at most a twentieth of the lifetime, or ten seconds."""
    assert back_off(0, lifetime, "x") == timedelta(0)
    for failures, delay in enumerate(delays, 1):
        waits = [back_off(failures, lifetime, f"{seed}") for seed in range(100)]
        assert all(delay * (1 - JITTER) <= wait <= delay for wait in waits)
        assert max(waits) > delay * 0.97
        assert min(waits) < delay * (1 - JITTER) * 1.03


def test_a_series_has_one_jitter() -> None:
    """So that none of its delays is shorter than the one before it."""
    for seed in ("home 1", "home 2", "barn 1"):
        ratios = {
            back_off(failures, None, seed) / delay
            for failures, delay in ((1, MINUTE), (2, 10 * MINUTE), (4, DAY), (9, DAY))
        }
        assert max(ratios) - min(ratios) < 1e-6
    assert back_off(1, None, "home 1") != back_off(1, None, "home 2")


def test_a_cap_of_a_lifetime_that_is_not_known_is_none() -> None:
    """Before the first certificate there is nothing to be late for."""
    assert capped(DAY, None) == DAY
    assert capped(DAY, 40 * DAY) == DAY
    assert capped(DAY, 10 * DAY) == DAY / 2
    assert capped(DAY, SECOND) == 10 * SECOND
    assert capped(SECOND, SECOND) == SECOND


def next_at(failures: Sequence[Attempt], now: datetime = NOW, **options: bool) -> datetime:
    return next_try(found(DUE, failures=failures), Policy(), now, **options).at


def test_without_failures_the_next_try_is_now() -> None:
    """At the first directory, without any precaution."""
    wanted = next_try(found(DUE), LIMITED, NOW)
    assert (wanted.at, wanted.directory_url, wanted.text) == (NOW, DIRECTORY, "")
    assert wanted.look_at is None
    assert not wanted.is_proving


def test_a_failure_is_waited_out_from_its_end() -> None:
    """The delay counts from when the attempt ended, and says what it waits for."""
    wanted = next_try(found(DUE, failures=failed(NOW)), Policy(), NOW + 2 * SECOND)
    assert NOW + SECOND + 48 * SECOND <= wanted.at <= NOW + SECOND + 60 * SECOND
    assert wanted.text == "attempt 1 failed: the CA could not be reached"
    over = next_try(found(DUE, failures=failed(NOW)), Policy(), wanted.at)
    assert (over.at, over.text) == (wanted.at, "")


def test_an_over_due_try_is_due_now() -> None:
    """Its instant is never before now."""
    assert next_at(failed(NOW - DAY)) == NOW


def test_the_second_failure_is_waited_out_longer() -> None:
    """The number of failures in a row decides; the last of them is what it counts from."""
    at = next_at(failed(NOW - HOUR, NOW))
    assert NOW + 8 * MINUTE <= at <= NOW + 10 * MINUTE + SECOND


def test_the_jitter_is_that_of_the_first_failure() -> None:
    """Kills and tries elsewhere in the same series do not change it."""
    series = failed(NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY, NOW)
    at = next_at(series)
    killed = [cut_short(6, NOW - SECOND), cut_short(5, NOW - SECOND), *series]
    assert next_at(killed) == at
    other = [replace(each, id=each.id + 1) for each in series]
    assert next_at(other) != at


def test_a_person_need_not_wait() -> None:
    """Who names the certificate is not held up by back-off."""
    assert next_at(failed(NOW), is_named=True) == NOW


def test_an_attempt_that_a_wrong_clock_dated_ahead_holds_up_nothing() -> None:
    """A record from the future counts as a failure, but not as a reason to wait for years."""
    assert next_at(failed(NOW + 1000 * DAY)) == NOW
    within = next_at(failed(NOW + 30 * SECOND))
    assert NOW < within <= NOW + 91 * SECOND


# ── kills ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_power_cut_is_no_failure_and_a_crash_loop_is() -> None:
    """Two attempts that were cut short are forgiven, the newest; the others count."""
    begun = [cut_short(number, NOW - number * SECOND) for number in (4, 3, 2, 1)]
    assert counted(begun[2:]) == ()
    assert counted(begun) == tuple(begun[2:])
    assert next_at(begun[2:]) == NOW
    assert next_at(begun[1:]) > NOW
    text = next_try(found(DUE, failures=begun[1:]), Policy(), NOW).text
    assert text == "attempt 1 failed: it was cut short"


def test_failures_count_whatever_was_cut_short_among_them() -> None:
    """Only those that were cut short are forgiven."""
    mixed = [cut_short(3, NOW), *failed(NOW - HOUR), cut_short(0, NOW - 2 * HOUR)]
    assert [each.id for each in counted(mixed)] == [1]
    assert last_failure(found(DUE, failures=mixed)) == mixed[1]
    assert last_failure(found(DUE, failures=mixed[:1])) is None
    assert last_failure(found(DUE)) is None


# ── what the other side asked for ─────────────────────────────────────────────────────────────────


def asked_to_wait(wait: timedelta) -> Error:
    return IssuerError("too many requests", "wait", problem="rateLimited", retry_after=wait)


@pytest.mark.parametrize("is_named", [False, True])
def test_retry_after_is_obeyed(*, is_named: bool) -> None:
    """Longer than back-off, for whoever asks, and it is said."""
    failures = failed(NOW, error=asked_to_wait(5 * HOUR))
    wanted = next_try(found(DUE, failures=failures), Policy(), NOW, is_named=is_named)
    assert wanted.at == NOW + SECOND + 5 * HOUR
    assert wanted.text == "we were asked to wait 5 hours: too many requests"


def test_an_older_retry_after_still_holds() -> None:
    """Another failure since does not make it void."""
    first = failed(NOW - HOUR, error=asked_to_wait(5 * HOUR))
    second = replace(failed(NOW)[0], id=2)
    assert next_at([second, *first]) == NOW - HOUR + SECOND + 5 * HOUR


def test_what_is_said_of_two_waits_that_end_together_is_the_newer() -> None:
    """Two tries side by side were told the same."""
    older = replace(failed(NOW, error=asked_to_wait(5 * HOUR))[0], what="b: an older one")
    newer = replace(older, id=2, what="a: a newer one")
    wanted = next_try(found(DUE, failures=[newer, older]), Policy(), NOW)
    assert wanted.text == "we were asked to wait 5 hours: a: a newer one"


def test_a_wait_that_a_wrong_clock_began_is_believed_up_to_its_own_length() -> None:
    """Twice the wait from now, but not a second more."""
    failure = replace(failed(NOW, error=asked_to_wait(HOUR))[0], ended_at=NOW + HOUR)
    assert next_at([failure], is_named=True) == NOW + 2 * HOUR
    ahead = replace(failure, ended_at=NOW + HOUR + SECOND)
    assert next_at([ahead], is_named=True) == NOW


def test_a_short_retry_after_does_not_shorten_the_back_off() -> None:
    """The later of the two."""
    assert next_at(failed(NOW, error=asked_to_wait(SECOND))) >= NOW + 48 * SECOND


# ── permanent errors ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ZoneError("refused", permanent=True), Cause.TOKEN),
        (IssuerError("no", problem="caa", permanent=True), Cause.CAA),
        (IssuerError("no", problem="rejectedIdentifier", permanent=True), Cause.IDENTIFIER),
        (IssuerError("no", problem="unsupportedIdentifier", permanent=True), Cause.IDENTIFIER),
        (IssuerError("no", problem="invalidProfile", permanent=True), Cause.CONFIGURATION),
        (StoreError("no", permanent=True), Cause.CONFIGURATION),
        (ZoneError("no reply"), None),
        (IssuerError("no", problem="caa"), None),
        (Error("no"), None),
    ],
)
def test_the_cause_of_an_error(error: Error, cause: Cause | None) -> None:
    """What is permanent comes from somewhere; the rest may go by itself."""
    assert cause_of(error) is cause


@pytest.mark.parametrize("cause", list(Cause))
def test_after_a_permanent_error_only_its_cause_is_looked_at_daily(cause: Cause) -> None:
    """No try before the next look, and the look comes first."""
    failures = failed(NOW, error=REFUSED, cause=cause)
    waiting = next_try(found(DUE, failures=failures), Policy(), NOW + HOUR)
    assert NOW + 0.8 * DAY <= waiting.at <= NOW + DAY + SECOND
    assert waiting.text == "its cause is looked at again then: CAA forbids it"
    due = next_try(found(DUE, failures=failures), Policy(), NOW + 2 * DAY)
    assert due.at == NOW + 2 * DAY
    assert due.look_at == failures[0]


def test_a_look_counts_for_a_day() -> None:
    """The next look is due a day after the last one, not after the attempt."""
    (failure,) = failed(NOW, error=REFUSED, cause=Cause.CAA)
    looked = replace(failure, looked_at=NOW + 3 * DAY)
    at = next_try(found(DUE, failures=[looked]), Policy(), NOW + 3 * DAY).at
    assert NOW + 3.8 * DAY <= at <= NOW + 4 * DAY


def test_something_of_ours_that_changed_is_tried_at_once() -> None:
    """Another token or configuration than the attempt's: no back-off, and no look first."""
    failures = failed(NOW, error=REFUSED, cause=Cause.CONFIGURATION, setup="before")
    same = next_try(found(DUE, failures=failures, setup="before"), Policy(), NOW + MINUTE)
    assert same.at > NOW + HOUR
    changed = next_try(found(DUE, failures=failures, setup="after"), Policy(), NOW + MINUTE)
    assert (changed.at, changed.look_at) == (NOW + MINUTE, None)


def test_who_names_the_certificate_has_it_tried() -> None:
    """A person may know better than the last look."""
    failures = failed(NOW, error=REFUSED, cause=Cause.CAA)
    wanted = next_try(found(DUE, failures=failures), Policy(), NOW, is_named=True)
    assert (wanted.at, wanted.look_at) == (NOW, None)


def test_a_later_failure_that_may_go_by_itself_is_backed_off() -> None:
    """The last failure decides how it goes on."""
    first = failed(NOW - DAY, error=REFUSED, cause=Cause.CAA)
    wanted = next_try(found(DUE, failures=[replace(failed(NOW)[0], id=2), *first]), Policy(), NOW)
    assert wanted.look_at is None
    assert wanted.at <= NOW + 10 * MINUTE + SECOND


# ── the proof at the staging directory ────────────────────────────────────────────────────────────


def test_from_the_second_failure_on_a_try_proves_itself_first() -> None:
    """Failures at the staging directory count as the first CA's own."""
    once = failed(NOW - HOUR)
    twice = [replace(failed(NOW, directory_url=STAGING)[0], id=2), *once]
    assert not next_try(found(DUE, failures=once), PROVING, NOW).is_proving
    assert next_try(found(DUE, failures=twice), PROVING, NOW).is_proving
    assert next_try(found(DUE, failures=twice), PROVING, NOW, is_named=True).is_proving
    assert not next_try(found(DUE, failures=twice), Policy(), NOW).is_proving


def test_a_failure_at_the_staging_directory_is_backed_off() -> None:
    """As one at the CA would be."""
    failures = failed(NOW, directory_url=STAGING)
    assert next_try(found(DUE, failures=failures), PROVING, NOW).at > NOW


# ── the CA's limits ───────────────────────────────────────────────────────────────────────────────


def allowed(
    spent: Spent, names: Sequence[str] = ("example.org",), *, is_new_order: bool = True
) -> tuple[datetime, str]:
    return limits_allow_at(spent, names, NOW, is_new_order=is_new_order)


def test_four_failed_authorizations_an_hour_and_no_more() -> None:
    """The fifth waits until the first of the four is an hour old."""
    instants = [NOW - 50 * MINUTE, NOW - 40 * MINUTE, NOW - 30 * MINUTE, NOW - SECOND]
    assert allowed(Spent({"example.org": tuple(instants[1:])})) == (NOW, "")
    at, text = allowed(Spent({"example.org": tuple(instants)}))
    assert at == NOW + 10 * MINUTE
    assert text == "4 authorizations of example.org failed within an hour"
    older = Spent({"example.org": (*instants[1:], NOW - HOUR)})
    assert allowed(older) == (NOW, "")
    assert allowed(Spent({"example.org": tuple(instants)}), is_new_order=False)[0] > NOW


def test_more_than_was_allowed_is_waited_out_until_it_is_less() -> None:
    """Five in the last hour: the second oldest has to go as well."""
    instants = tuple(NOW - minutes * MINUTE for minutes in (50, 40, 30, 20, 10))
    at, text = allowed(Spent({"example.org": instants}))
    assert at == NOW + 20 * MINUTE
    assert text.startswith("5 authorizations")


def test_a_name_with_its_wildcard_is_two_authorizations() -> None:
    """The CA counts both for the same name, so that two such orders may fail in an hour."""
    first, second = (NOW - 20 * MINUTE,) * 2, (NOW - 10 * MINUTE,) * 2
    assert allowed(Spent({"example.org": first}), DOMAINS) == (NOW, "")
    at, text = allowed(Spent({"example.org": (*second, *first)}), DOMAINS)
    assert at == NOW + 40 * MINUTE
    assert text == "4 authorizations of example.org failed within an hour"
    three = Spent({"example.org": (NOW - 10 * MINUTE, *first)})
    assert allowed(three) == (NOW, "")
    assert allowed(three, DOMAINS)[0] == NOW + 40 * MINUTE


def test_the_name_that_must_wait_longest_decides() -> None:
    """Each name of the certificate is looked at; others' failures are none of its business."""
    names = ("a.example.org", "b.example.org")
    spent = Spent(
        {
            "a.example.org": (NOW - 5 * MINUTE,) * 4,
            "b.example.org": (NOW - 10 * MINUTE,) * 4,
            "c.example.org": (NOW,) * 4,
        }
    )
    at, text = allowed(spent, names)
    assert at == NOW + 55 * MINUTE
    assert "a.example.org" in text
    assert allowed(spent, tuple(reversed(names)))[0] == at


def test_what_is_said_of_two_that_end_together_is_the_first() -> None:
    """The names in their order, before the certificates of the week."""
    since = (NOW - 50 * MINUTE,) * 4
    names = ("a.example.org", "b.example.org")
    spent = Spent(dict.fromkeys(names, since), (NOW + 10 * MINUTE - WEEK,) * 3)
    for first, second in (names, reversed(names)):
        at, text = allowed(spent, (first, second))
        assert at == NOW + 10 * MINUTE
        assert text == f"4 authorizations of {first} failed within an hour"


def test_three_certificates_a_week_for_one_set_of_names() -> None:
    """The fourth waits, unless its order is under way: then it has been counted."""
    instants = (NOW - DAY, NOW - 2 * DAY, NOW - 6 * DAY)
    assert allowed(Spent(issuances=instants[:2])) == (NOW, "")
    at, text = allowed(Spent(issuances=instants))
    assert at == NOW + DAY
    assert text == "3 certificates for these names were issued within a week"
    assert allowed(Spent(issuances=instants), is_new_order=False) == (NOW, "")
    assert allowed(Spent(issuances=(*instants[:2], NOW - WEEK))) == (NOW, "")


def test_what_a_wrong_clock_dated_ahead_holds_up_nothing_for_long() -> None:
    """What lies further ahead than the limit's period is not counted."""
    ahead = (NOW + 1000 * DAY,) * 9
    assert allowed(Spent({"example.org": ahead}, ahead)) == (NOW, "")
    at, _ = allowed(Spent({"example.org": (NOW + 30 * MINUTE,) * 4}))
    assert at == NOW + 90 * MINUTE
    assert allowed(Spent({"example.org": (NOW + HOUR,) * 4})) == (NOW, "")


@pytest.mark.parametrize("is_named", [False, True])
def test_the_limits_hold_up_whoever_asks(*, is_named: bool) -> None:
    """Where they are counted; an order that is under way is picked up all the same."""
    spent = Spent(issuances=(NOW - DAY,) * 3)
    seen = found(DUE, spent=spent)
    wanted = next_try(seen, LIMITED, NOW, is_named=is_named)
    assert wanted.at == NOW + 6 * DAY
    assert wanted.text == (
        "the CA's limits: 3 certificates for these names were issued within a week"
    )
    assert next_try(seen, Policy(), NOW, is_named=is_named).at == NOW
    under_way = replace(seen, draft=a_draft(order_url="https://acme.example/order/1"))
    assert next_try(under_way, LIMITED, NOW, is_named=is_named).at == NOW
    begun = replace(seen, draft=a_draft())
    assert next_try(begun, LIMITED, NOW, is_named=is_named).at == NOW + 6 * DAY


def test_nothing_spent_holds_up_nothing() -> None:
    """A directory whose limits count and that has never been asked."""
    assert next_try(found(DUE), LIMITED, NOW).at == NOW


# ── the fallback ──────────────────────────────────────────────────────────────────────────────────


def at_which(stored: object, failures: Sequence[Attempt], policy: Policy = PROVING) -> str:
    seen = found(stored, failures=failures, fallback_urls=[FALLBACK])  # type: ignore[arg-type]
    return next_try(seen, policy, NOW).directory_url


def test_the_fallback_is_for_when_the_first_has_failed_for_a_day() -> None:
    """And less than a tenth of the lifetime is left."""
    long_ago = NOW - FALLBACK_AFTER
    assert at_which(OLD, failed(long_ago)) == FALLBACK
    assert at_which(OLD, failed(long_ago + SECOND)) == DIRECTORY
    assert at_which(DUE, failed(long_ago)) == DIRECTORY
    assert at_which(OLD, failed(long_ago, NOW - SECOND)) == FALLBACK
    assert at_which(OLD, failed(long_ago, directory_url=STAGING)) == FALLBACK
    assert at_which(OLD, failed(long_ago, directory_url=STAGING), Policy()) == DIRECTORY
    assert at_which(OLD, []) == DIRECTORY


def test_a_tenth_is_exactly_a_tenth() -> None:
    """At that instant the first is still tried."""
    tenth = a_version(start=NOW - 81 * DAY)
    assert at_which(tenth, failed(NOW - 2 * DAY)) == DIRECTORY
    assert at_which(a_version(start=NOW - 81 * DAY - SECOND), failed(NOW - 2 * DAY)) == FALLBACK


def test_before_the_first_certificate_a_day_is_enough() -> None:
    """There is no lifetime to be left."""
    assert at_which(None, failed(NOW - 2 * DAY)) == FALLBACK
    assert at_which(None, failed(NOW - HOUR)) == DIRECTORY


def test_kills_do_not_call_for_the_fallback() -> None:
    """What was cut short says nothing about a CA."""
    assert at_which(OLD, [cut_short(1, NOW - 2 * DAY)]) == DIRECTORY


def test_without_a_fallback_the_first_is_tried_for_ever() -> None:
    """There is nowhere else to go."""
    seen = found(OLD, failures=failed(NOW - 2 * DAY))
    assert next_try(seen, Policy(), NOW).directory_url == DIRECTORY


def test_a_wrong_clock_keeps_nobody_from_the_fallback() -> None:
    """A record from the future says nothing about since when."""
    assert at_which(OLD, failed(NOW - 2 * DAY, NOW + 900 * DAY)) == FALLBACK
    ahead_first = [replace(failed(NOW - 2 * DAY)[0], id=2), *failed(NOW + 900 * DAY)]
    assert at_which(OLD, ahead_first) == FALLBACK
    assert at_which(OLD, failed(NOW + 900 * DAY)) == DIRECTORY


def test_a_fallback_that_fails_is_backed_off_by_itself() -> None:
    """Whichever of the two may be tried sooner is; the fallback is never proven by staging."""
    first = failed(NOW - 3 * DAY, NOW - 2 * DAY)
    there = replace(failed(NOW, directory_url=FALLBACK)[0], id=3)
    seen = found(OLD, failures=[there, *first], fallback_urls=[FALLBACK])
    wanted = next_try(seen, PROVING, NOW)
    assert (wanted.at, wanted.directory_url) == (NOW, DIRECTORY)
    now = NOW + 2 * MINUTE
    again = next_try(seen, PROVING, now)
    assert (again.at, again.directory_url) == (now, FALLBACK)
    twice = [replace(there, id=4, begun_at=NOW + HOUR), *seen.failures]
    third = next_try(replace(seen, failures=tuple(twice)), PROVING, NOW + DAY)
    assert (third.directory_url, third.is_proving) == (FALLBACK, False)


def test_several_fallbacks_are_tried_in_their_order() -> None:
    """The first of those that may be tried now."""
    other = "https://another.example/"
    failures = [replace(failed(NOW, directory_url=FALLBACK)[0], id=2), *failed(NOW - 2 * DAY)]
    seen = found(OLD, failures=failures, fallback_urls=[FALLBACK, other])
    assert next_try(seen, Policy(), NOW).directory_url == other
    unspoilt = replace(seen, failures=tuple(failures[1:]))
    assert next_try(unspoilt, Policy(), NOW).directory_url == FALLBACK


def test_a_refused_token_is_refused_everywhere() -> None:
    """The DNS provider is the same for all CAs: no other one helps."""
    refused = ZoneError("the token is refused", "make another", permanent=True)
    failures = failed(NOW - 2 * DAY, NOW - MINUTE, error=refused, cause=Cause.TOKEN)
    seen = found(OLD, failures=failures, fallback_urls=[FALLBACK])
    wanted = next_try(seen, Policy(), NOW)
    assert wanted.at > NOW + HOUR
    elsewhere = failed(NOW - MINUTE, error=refused, cause=Cause.CAA, directory_url=FALLBACK)
    assert next_try(found(DUE, failures=elsewhere), Policy(), NOW).at == NOW


# ── deploys ───────────────────────────────────────────────────────────────────────────────────────


def a_failed_deploy(number: int, begun_at: datetime, fingerprint: str = "aa" * 32) -> DeployRecord:
    outcome = DeployOutcome.FAILED
    return a_deploy_record(
        number=number, fingerprint=fingerprint, outcome=outcome, begun_at=begun_at
    )


def deploy_at(
    *failures: DeployRecord, now: datetime = NOW, lifetime: timedelta = 90 * DAY
) -> datetime:
    target = ObservedTarget(a_target_spec(), None, None, None, repeats=failures)
    return deploy_try(target, lifetime, "aa" * 32, now)


def test_a_deploy_has_a_back_off_of_its_own() -> None:
    """The same delays, counted over the failures with this certificate."""
    assert deploy_at() == NOW
    first = a_failed_deploy(1, NOW)
    assert NOW + 49 * SECOND <= deploy_at(first) <= NOW + 61 * SECOND
    second = a_failed_deploy(2, NOW)
    assert NOW + 8 * MINUTE < deploy_at(second, first) <= NOW + 10 * MINUTE + SECOND
    assert deploy_at(second, first, now=NOW + HOUR) == NOW + HOUR
    assert deploy_at(second, first, lifetime=60 * SECOND) <= NOW + 11 * SECOND


def test_the_jitter_of_deploys_is_constant_in_a_series_and_differs_between_targets() -> None:
    """It comes from the first failure and the target's name."""
    series = [a_failed_deploy(number, NOW) for number in (4, 3, 2, 1)]
    assert (deploy_at(*series) - NOW - SECOND) / DAY == pytest.approx(
        (deploy_at(series[-1]) - NOW - SECOND) / MINUTE, abs=1e-6
    )
    other = [replace(each, id=each.id + 7) for each in series]
    assert deploy_at(*other) != deploy_at(*series)
    named = ObservedTarget(a_target_spec("nginx"), None, None, None, repeats=tuple(series))
    assert deploy_try(named, 90 * DAY, "aa" * 32, NOW) != deploy_at(*series)


def test_a_new_certificate_is_deployed_at_once() -> None:
    """That another one failed there says nothing about it."""
    assert deploy_at(a_failed_deploy(1, NOW, "bb" * 32)) == NOW


def test_an_outcome_is_what_makes_a_failure() -> None:
    """An attempt that obtained is never the last failure."""
    obtained = replace(failed(NOW)[0], outcome=AttemptOutcome.OBTAINED)
    assert last_failure(found(DUE, failures=[obtained])) is None
