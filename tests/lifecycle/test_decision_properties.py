"""The decision as a whole, stepped through lives of certificates that hypothesis makes up.

Nothing here acts: `Life` plays CA, ledger and clock for the pure functions, and keeps what a real
CA would count, so that the limits are judged by sliding periods and not by our own book.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.lifecycle.plan import agenda, next_calls
from certwarden.lifecycle.renewal import LAST_RESORT, renewal
from certwarden.lifecycle.retry import CAP_OF_LIFETIME, DELAYS, JITTER, SHORTEST_CAP, next_try
from certwarden.model import (
    Attempt,
    AttemptOutcome,
    Cause,
    Draft,
    Job,
    Observed,
    Policy,
    RenewalReason,
    RenewalWindow,
    Spent,
    StepKind,
    Stored,
)
from tests.builders import DIRECTORY, DOMAINS, NOW, a_draft, an_attempt
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND, a_version, found

LIFETIMES = (90 * DAY, 64 * DAY, 45 * DAY, 6 * DAY, 60 * SECOND)
SLOWEST = settings(max_examples=60, deadline=None)

# How many tries in a row may fail before a certificate expires: of one that is due by its lifetime,
# and of one whose CA suggests to renew it as late as that is believed.
SURVIVES = {
    90 * DAY: (32, 7),
    64 * DAY: (24, 6),
    45 * DAY: (17, 5),
    6 * DAY: (12, 3),
    60 * SECOND: (2, 0),
}

LIMITED = Policy(limited=frozenset({DIRECTORY}))
DRAFT = a_draft(order_url="https://acme.example/order/1")


@dataclass(frozen=True)
class Outcome:
    """How an attempt ends: "obtained", or which kind of failure.

    "validation" fails the authorizations, and so does "killed", whose end nobody learns of;
    "cut-short" is a kill before the CA has looked; "finalize" leaves an order that is counted.
    """

    kind: str
    cause: Cause | None = None


OBTAINED = Outcome("obtained")
FAILURES = st.sampled_from(
    [Outcome(kind) for kind in ("network", "validation", "finalize", "killed", "cut-short")]
)


@dataclass
class Life:
    """A certificate at a CA: outcomes come from `outcomes`, then all is well."""

    lifetime: timedelta
    outcomes: list[Outcome] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    window: Callable[[Stored], RenewalWindow] | None = None
    now: datetime = NOW
    stored: Stored | None = None
    failures: list[Attempt] = field(default_factory=list)  # newest first, as the ledger gives them
    draft: Draft | None = None
    tries: list[datetime] = field(default_factory=list)
    obtained: list[datetime] = field(default_factory=list)
    failed_authorizations: list[datetime] = field(default_factory=list)  # each one at the CA
    book: dict[int, datetime] = field(default_factory=dict)  # failed orders, by our own count
    issuances: dict[int, datetime] = field(default_factory=dict)  # orders finalized
    setup: str = ""
    _orders: int = 0

    def seen(self) -> Observed:
        window = self.window(self.stored) if self.window and self.stored else None
        newest_first = [at for at in sorted(self.book.values(), reverse=True) for _ in DOMAINS]
        spent = Spent({"example.org": tuple(newest_first)}, tuple(sorted(self.issuances.values())))
        return found(
            self.stored,
            failures=self.failures,
            window=window,
            spent=spent,
            draft=self.draft,
            setup=self.setup,
        )

    def visit(self, *, force: bool = False, named: bool = False) -> bool:
        """A pass: tries if the agenda says so; whether it did."""
        steps = agenda(
            [self.seen()],
            0,
            self.now,
            self.policy,
            force=["home"] if force else [],
            named=["home"] if named else [],
        )
        due = [step for step in steps if step.kind is StepKind.OBTAIN and step.at <= self.now]
        if due:
            self._try()
        return bool(due)

    def next_visit(self) -> datetime:
        """When a pass is wanted again."""
        steps = agenda([self.seen()], 0, self.now, self.policy)
        calls = next_calls(steps, [self.seen()], None, "", self.now)
        return next(call.at for call in calls if call.job is Job.RECONCILE)

    def run_until(self, end: datetime) -> None:
        """Passes whenever one is wanted, none sooner than ten seconds after the last."""
        while self.now < end:
            self.visit()
            self.now = max(self.next_visit(), self.now + timedelta(seconds=10))

    def _try(self) -> None:
        outcome = self.outcomes.pop(0) if self.outcomes else OBTAINED
        self.tries.append(self.now)
        if self.draft is None:
            self._orders += 1
            self.draft = DRAFT
        if outcome.kind in {"validation", "killed", "cut-short"}:
            self.book[self._orders] = self.now
        if outcome.kind in {"validation", "killed"}:
            self.failed_authorizations += [self.now] * len(DOMAINS)  # the wildcard's as well
            self.draft = None  # an authorization that failed takes its order with it
        if outcome.kind in {"obtained", "finalize"}:
            self.issuances[self._orders] = self.now
        if outcome.kind == "obtained":
            self.book.pop(self._orders, None)
            self.draft = None
            self.failures = []
            fingerprint = f"{self._orders:064x}"
            self.stored = a_version(self.lifetime, start=self.now, fingerprint=fingerprint)
            self.obtained.append(self.now)
            return
        is_killed = outcome.kind in {"killed", "cut-short"}
        attempt = an_attempt(
            number=len(self.tries),
            begun_at=self.now,
            outcome=AttemptOutcome.BEGUN if is_killed else AttemptOutcome.FAILED,
            cause=outcome.cause,
            setup=self.setup,
        )
        ended_at = None if is_killed else self.now
        self.failures.insert(0, replace(attempt, ended_at=ended_at))


def most_within(instants: Sequence[datetime], period: timedelta) -> int:
    """The most that lie within any stretch of so long."""
    ordered = sorted(instants)
    return max(
        (sum(start <= each < start + period for each in ordered) for start in ordered), default=0
    )


def delays(lifetime: timedelta, failures: int) -> list[timedelta]:
    """How long is waited after each failure at most, by the words of invariant 4."""
    cap = max(SHORTEST_CAP, lifetime / CAP_OF_LIFETIME)
    return [min(DELAYS[min(n, 3)], cap) for n in range(failures)]


# ── when ──────────────────────────────────────────────────────────────────────────────────────────


@SLOWEST
@given(
    lifetime=st.sampled_from(LIFETIMES),
    outcomes=st.lists(st.one_of(st.just(OBTAINED), FAILURES), max_size=8),
    window=st.none() | st.tuples(st.floats(-0.5, 1.5), st.floats(0.01, 1)),
)
def test_nothing_is_ordered_before_its_time(
    lifetime: timedelta, outcomes: list[Outcome], window: tuple[float, float] | None
) -> None:
    """Never before the CA's window or, without one, the share of the lifetime."""

    def suggest(stored: Stored) -> RenewalWindow:
        assert window is not None
        start = stored.certificate.not_before + lifetime * window[0]
        return RenewalWindow(start, start + lifetime * window[1])

    life = Life(lifetime, outcomes, window=suggest if window else None)
    life.visit()
    while life.stored is None:
        life.now = life.next_visit()
        life.visit()
    for _ in range(30):
        before, leaf = len(life.tries), life.stored.certificate
        stored = life.stored
        life.run_until(life.next_visit() + SECOND)
        share = leaf.not_after - lifetime / (2 if lifetime < 10 * DAY else 3)
        last_resort = leaf.not_after - lifetime / LAST_RESORT
        earliest = min(suggest(stored).start, last_resort) if window else share
        assert all(each >= earliest for each in life.tries[before : before + 1])


@SLOWEST
@given(
    lifetime=st.timedeltas(MINUTE, 400 * DAY),
    start=st.floats(-3, 3),
    width=st.floats(0.001, 4),
    age=st.floats(0, 1),
)
def test_no_suggestion_lets_a_certificate_expire(
    lifetime: timedelta, start: float, width: float, age: float
) -> None:
    """Whatever the window: due before the last twentieth, at the same instant at all times."""
    stored = a_version(lifetime)
    leaf = stored.certificate
    begin = NOW + lifetime * start
    window = RenewalWindow(begin, begin + lifetime * width + SECOND)
    due = renewal(found(stored, window=window), NOW + lifetime * age)
    assert due == renewal(found(stored, window=window), NOW)
    last_resort = leaf.not_after - lifetime / LAST_RESORT
    assert due.at <= last_resort
    assert due.at >= min(window.start, last_resort)
    if due.reason is RenewalReason.ARI:
        rest = min(6 * HOUR, lifetime / 20)
        assert due.at <= max(window.end, NOW + rest)


# ── failures in a row ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_how_many_failures_in_a_row_a_certificate_survives(lifetime: timedelta) -> None:
    """The table: computed from the delays of invariant 4, none of them shortened by jitter."""
    fraction = 2 if lifetime < 10 * DAY else 3
    survived = []
    for left in (lifetime / fraction, lifetime / LAST_RESORT):
        count = 0
        while sum(delays(lifetime, count + 1), timedelta()) < left:
            count += 1
        survived.append(count)
    assert tuple(survived) == SURVIVES[lifetime]


@pytest.mark.parametrize("is_late", [False, True], ids=["by lifetime", "by a late suggestion"])
@pytest.mark.parametrize("lifetime", LIFETIMES)
@SLOWEST
@given(data=st.data())
def test_a_certificate_is_renewed_before_it_expires(
    data: st.DataObject, lifetime: timedelta, *, is_late: bool
) -> None:
    """Under as many failures in a row as the table says, of whatever kind that may go by itself."""
    most = SURVIVES[lifetime][is_late]
    outcomes = data.draw(st.lists(FAILURES, min_size=most, max_size=most))

    def far(stored: Stored) -> RenewalWindow:
        end = stored.certificate.not_after
        return RenewalWindow(end + DAY, end + 2 * DAY)

    life = Life(lifetime, window=far if is_late else None)
    life._orders = data.draw(st.integers(0, 1000))  # another certificate and another jitter
    life.visit()
    assert life.stored is not None
    expires_at = life.stored.certificate.not_after
    life.outcomes = list(outcomes)
    life.run_until(life.next_visit())
    while len(life.obtained) < 2:
        life.visit()
        assert life.now < expires_at
        life.now = life.next_visit()
    assert not life.outcomes


@SLOWEST
@given(
    lifetime=st.sampled_from((None, *LIFETIMES)),
    kills=st.lists(st.booleans(), min_size=3, max_size=20),
    number=st.integers(1, 10_000),
)
def test_back_off_never_falls_within_a_series(
    lifetime: timedelta | None, kills: list[bool], number: int
) -> None:
    """However the failures are mixed with kills: each waits at least as long as the one before."""
    stored = None if lifetime is None else a_version(lifetime, start=NOW - lifetime * 2 / 3)
    series: list[Attempt] = []
    waits = []
    now = NOW
    for count, is_kill in enumerate(kills):
        outcome = AttemptOutcome.BEGUN if is_kill else AttemptOutcome.FAILED
        attempt = an_attempt(number=number + count, begun_at=now, outcome=outcome)
        series.insert(0, replace(attempt, ended_at=None if is_kill else now))
        at = next_try(found(stored, failures=series), Policy(), now).at
        if not is_kill:
            waits.append(at - now)
            assert at > now
        now = max(at, now + SECOND)
    assert all(first <= second for first, second in pairwise(waits))
    assert all(wait <= DAY for wait in waits)


# ── limits ────────────────────────────────────────────────────────────────────────────────────────


VISITS = st.lists(
    st.tuples(
        st.timedeltas(timedelta(0), 3 * HOUR),
        st.sampled_from(["called", "named", "forced"]),
        st.one_of(st.just(OBTAINED), FAILURES),
    ),
    min_size=10,
    max_size=60,
)


@SLOWEST
@given(lifetime=st.sampled_from(LIFETIMES), visits=VISITS)
def test_the_limits_are_never_overdrawn(
    lifetime: timedelta, visits: list[tuple[timedelta, str, Outcome]]
) -> None:
    """In no hour more than four failed authorizations, in no week more than three certificates."""
    life = Life(lifetime, policy=LIMITED)
    for pause, kind, outcome in visits:
        life.now += pause
        life.outcomes = [outcome]
        life.visit(force=kind == "forced", named=kind == "named")
    assert most_within(life.failed_authorizations, HOUR) <= 4
    assert most_within(list(life.issuances.values()), 7 * DAY) <= 3


@SLOWEST
@given(kind=st.sampled_from(["named", "forced"]), outcome=FAILURES | st.just(OBTAINED))
def test_the_limits_hold_against_impatience(kind: str, outcome: Outcome) -> None:
    """Whoever asks every minute for three hours gets no further."""
    life = Life(90 * DAY, policy=LIMITED)
    for _ in range(180):
        life.outcomes = [outcome]
        life.visit(force=kind == "forced", named=True)
        life.now += MINUTE
    assert most_within(life.failed_authorizations, HOUR) <= 4
    assert most_within(list(life.issuances.values()), 7 * DAY) <= 3


# ── permanent errors ──────────────────────────────────────────────────────────────────────────────


@SLOWEST
@given(
    cause=st.sampled_from(list(Cause)),
    visits=st.lists(
        st.tuples(st.timedeltas(SECOND, 2 * DAY), st.booleans()), min_size=1, max_size=60
    ),
)
def test_a_permanent_cause_is_tried_once_a_day_unless_something_changes(
    cause: Cause, visits: list[tuple[timedelta, bool]]
) -> None:
    """A day but for the jitter; at once after a change of ours."""
    life = Life(90 * DAY)
    changes = [NOW]
    for pause, is_changed in visits:
        life.outcomes = [Outcome("network", cause=cause)] * 2
        life.visit()
        life.now += pause
        if is_changed:
            life.setup += "x"
            changes.append(life.now)
            assert life.visit()
    for first, second in pairwise(life.tries):
        is_free = any(first < change <= second for change in changes)
        assert is_free or second - first >= DAY * (1 - JITTER)


# ── wrong clocks ──────────────────────────────────────────────────────────────────────────────────

INSTANTS = st.timedeltas(-4000 * DAY, 4000 * DAY)


@SLOWEST
@given(
    begun=st.lists(INSTANTS, min_size=1, max_size=6),
    wait=st.none() | st.timedeltas(SECOND, 30 * DAY),
    cause=st.none() | st.sampled_from(list(Cause)),
    looked=st.none() | INSTANTS,
    spent=st.lists(INSTANTS, max_size=8),
)
def test_nothing_that_a_wrong_clock_wrote_down_blocks_for_ever(
    begun: list[timedelta],
    wait: timedelta | None,
    cause: Cause | None,
    looked: timedelta | None,
    spent: list[timedelta],
) -> None:
    """Whatever the instants: the next try comes within twice what was to be waited at most."""
    failures = [
        replace(
            an_attempt(number=number, begun_at=NOW + instant, cause=cause),
            retry_after=wait,
            looked_at=NOW + looked if looked is not None else None,
        )
        for number, instant in enumerate(begun, 1)
    ]
    instants = tuple(NOW + each for each in spent)
    seen = found(
        a_version(start=NOW - 80 * DAY),
        failures=failures,
        spent=Spent({"example.org": instants}, instants),
    )
    at = next_try(seen, LIMITED, NOW).at
    longest = max(7 * DAY, wait or timedelta(0))
    assert NOW <= at <= NOW + 2 * longest + SECOND


@SLOWEST
@given(obtained=INSTANTS, start=INSTANTS, width=st.timedeltas(SECOND, 100 * DAY))
def test_no_record_keeps_a_certificate_from_its_renewal(
    obtained: timedelta, start: timedelta, width: timedelta
) -> None:
    """Neither when it was obtained nor what the CA said, whatever clock wrote it down."""
    stored = a_version(obtained_at=NOW + obtained)
    window = RenewalWindow(NOW + start, NOW + start + width)
    last_resort = stored.certificate.not_after - stored.certificate.lifetime / LAST_RESORT
    assert renewal(found(stored, window=window), NOW).at <= last_resort


def test_a_simulated_life_is_called_when_it_needs_to_be() -> None:
    """The simulation itself: ten years in good health, one order for each need."""
    life = Life(90 * DAY, policy=LIMITED)
    life.run_until(NOW + 3650 * DAY)
    assert len(life.tries) == len(life.obtained) == 61
    assert all(second - first == 60 * DAY for first, second in pairwise(life.obtained))
