"""The plan: every decision about when, as a table of facts and an instant."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.errors import Error, StoreError
from certwarden.lifecycle.plan import (
    REST,
    agenda,
    ask_at,
    deploy_reason,
    next_calls,
    plan,
    restart_at,
    token_check_at,
)
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.setbacks import TOKEN_REST, revocation_key
from certwarden.model import (
    Call,
    Cause,
    CommandReload,
    DeployOutcome,
    DeployRecord,
    HotReload,
    Job,
    KeyType,
    MaintenanceWindow,
    NoHandshake,
    Observed,
    ObservedTarget,
    PendingRevocation,
    Policy,
    Reload,
    RenewalInfo,
    RenewalReason,
    RevocationReason,
    Seen,
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
from tests.builders import (
    DIRECTORY,
    NOW,
    a_certificate_spec,
    a_deploy_record,
    a_draft,
    a_pair,
    a_renewal_info,
    a_stored,
    a_target_spec,
    an_attempt,
    an_installed,
)

POLICY = Policy()


def observed(stored: Stored | None, *targets: ObservedTarget) -> Observed:
    spec = a_certificate_spec(targets=[target.spec for target in targets])
    return Observed(spec, stored, None, targets)


def target_with(
    stored: Stored, seen: Seen | None, outcome: DeployOutcome | None = DeployOutcome.IN_USE
) -> ObservedTarget:
    """A target in which the stored pair is installed, and the last deploy of it ended like this."""
    fingerprint = stored.certificate.fingerprint
    record = a_deploy_record(fingerprint=fingerprint, outcome=outcome) if outcome else None
    return ObservedTarget(a_target_spec(), an_installed(stored.pair), seen, record)


@pytest.mark.parametrize(
    ("days", "share_left"), [(90, 1 / 3), (64, 1 / 3), (45, 1 / 3), (6, 1 / 2)]
)
def test_renewal_is_due_by_a_share_of_the_lifetime(days: int, share_left: float) -> None:
    """A third of the lifetime before the end, half of one under ten days; never days."""
    seen = observed(a_stored(days=days, obtained_at=NOW))
    due = renewal(seen, NOW)
    assert due.at == NOW + timedelta(days=days) * (1 - share_left)
    assert due.reason is RenewalReason.LIFETIME


def test_a_missing_certificate_is_obtained_and_deployed_at_once() -> None:
    """Before the first certificate there is something to do, for each target."""
    target = ObservedTarget(a_target_spec(), None, Unreachable("nobody"), None)
    steps = plan([observed(None, target)], 0, NOW, POLICY)
    assert [step.kind for step in steps] == [StepKind.OBTAIN, StepKind.DEPLOY]
    assert [(step.certificate, step.target) for step in steps] == [
        ("home", None),
        ("home", "node-red"),
    ]
    assert steps[0].reason == "there is no certificate yet"


def test_nothing_is_done_for_a_fresh_certificate_in_use() -> None:
    """A pass over a healthy house plans nothing."""
    stored = a_stored()
    target = target_with(stored, Served(stored.certificate))
    assert plan([observed(stored, target)], 0, NOW, POLICY) == ()


def test_a_due_certificate_is_obtained_from_its_instant_on() -> None:
    """The second before, nothing; at the instant, an order, dated when it fell due."""
    seen = observed(a_stored(obtained_at=NOW))
    due = renewal(seen, NOW).at
    assert plan([seen], 0, due - timedelta(seconds=1), POLICY) == ()
    (step,) = plan([seen], 0, due + timedelta(hours=5), POLICY)
    assert (step.kind, step.at) == (StepKind.OBTAIN, due)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"domains": ("example.org", "other.example.org")}, "domains"),
        ({"key_type": KeyType.ECDSA_P384}, "key type"),
        ({"profile": "shortlived"}, "profile"),
        ({"directory_url": "https://other.example/directory"}, "other.example"),
    ],
)
def test_a_changed_wish_renews_now_and_says_so(change: dict[str, object], word: str) -> None:
    """What is configured differently from what is stored is obtained at once."""
    seen = observed(a_stored())
    seen = replace(seen, spec=replace(seen.spec, **change))  # type: ignore[arg-type]
    (step,) = plan([seen], 0, NOW, POLICY)
    assert word in step.reason
    assert renewal(seen, NOW).reason is RenewalReason.DOMAINS_CHANGED


def test_the_order_of_domains_is_no_change() -> None:
    """Sorting the list in the configuration costs no certificate."""
    seen = observed(a_stored())
    seen = replace(seen, spec=replace(seen.spec, domains=tuple(reversed(seen.spec.domains))))
    assert plan([seen], 0, NOW, POLICY) == ()


def test_force_renews_only_what_is_named() -> None:
    """A person may ask for one certificate before it is due."""
    home, barn = observed(a_stored()), observed(a_stored("barn"))
    barn = replace(barn, spec=replace(barn.spec, name="barn"))
    (step,) = plan([home, barn], 0, NOW, POLICY, force=["barn"])
    assert (step.certificate, step.reason) == ("barn", "asked for by a person")


def test_a_certificate_to_be_revoked_is_replaced() -> None:
    """A pending revocation of what is stored makes it due; one of an older version does not."""
    stored = a_stored()
    seen = observed(stored)
    pending = PendingRevocation(
        "home", 1, stored.certificate.fingerprint, RevocationReason.KEY_COMPROMISE, NOW
    )
    assert renewal(replace(seen, revocations=(pending,)), NOW).at == NOW
    other = replace(pending, fingerprint="00" * 32)
    assert renewal(replace(seen, revocations=(other,)), NOW).at > NOW


def test_an_order_under_way_is_said_to_be_taken_up() -> None:
    """The reason tells that no second order is made for the same need."""
    seen = replace(observed(None), draft=a_draft(order_url="https://acme.example/order/1"))
    (step,) = plan([seen], 0, NOW, POLICY)
    assert step.reason == "there is no certificate yet; the order under way is taken up again"


def test_a_failed_renewal_is_a_retry() -> None:
    """Programs can tell a first try from a repeated one."""
    stored = a_stored(days=90, obtained_at=NOW - timedelta(days=80))
    seen = replace(observed(stored), failures=(an_attempt(),))
    assert renewal(seen, NOW).reason is RenewalReason.RETRY


def test_leftover_records_are_swept_first() -> None:
    """What a killed pass left in DNS is removed before anything new is placed."""
    steps = plan([observed(None)], 2, NOW, POLICY)
    assert [step.kind for step in steps] == [StepKind.SWEEP, StepKind.OBTAIN]


def test_stored_but_not_served_means_deploy_and_no_order() -> None:
    """A target that serves another certificate is put right without asking the CA."""
    stored, other = a_stored(), a_pair()
    target = target_with(stored, Served(other.certificate))
    (step,) = plan([observed(stored, target)], 0, NOW, POLICY)
    assert (step.kind, step.certificate, step.target) == (StepKind.DEPLOY, "home", "node-red")


def test_what_is_not_installed_is_deployed() -> None:
    """Nothing, a placeholder and another pair are each a reason of their own."""
    stored, other = a_stored(), a_pair()
    served = Served(stored.certificate)
    target = target_with(stored, served)
    cases = [
        (None, "nothing usable is installed"),
        (an_installed(other, is_placeholder=True), "only a placeholder is installed"),
        (an_installed(other), "another certificate is installed"),
    ]
    for installed, words in cases:
        reason = deploy_reason(stored, replace(target, installed=installed), NOW)
        assert reason == words


def test_an_expired_certificate_takes_no_valid_ones_place() -> None:
    """Somebody has helped himself while renewals fail: that is not undone."""
    expired = a_stored(obtained_at=NOW - timedelta(days=91))
    target = target_with(expired, Served(a_pair().certificate))
    assert deploy_reason(expired, target, NOW) is None
    target = target_with(expired, Served(a_pair(now=NOW - timedelta(days=100)).certificate))
    assert deploy_reason(expired, target, NOW) == "an expired certificate is served"
    ends_now = a_stored(obtained_at=NOW - timedelta(days=90))
    target = target_with(ends_now, Served(a_pair().certificate))
    assert deploy_reason(ends_now, target, NOW) is None
    just_before = NOW - timedelta(seconds=1)
    assert deploy_reason(ends_now, target, just_before) == "another certificate is served"


def test_a_certificate_that_ends_this_very_second_has_not_expired() -> None:
    """It is valid to the end of it (RFC 5280, section 4.1.2.5)."""
    stored, old = a_stored(), a_pair(now=NOW - timedelta(days=90))
    target = target_with(stored, Served(old.certificate))
    assert deploy_reason(stored, target, NOW) == "another certificate is served"
    later = NOW + timedelta(seconds=1)
    assert deploy_reason(stored, target, later) == "an expired certificate is served"


@pytest.mark.parametrize(
    ("outcome", "is_due"),
    [
        (DeployOutcome.UNREACHABLE, False),
        (DeployOutcome.IN_USE, False),
        (DeployOutcome.BEGUN, True),
        (DeployOutcome.FAILED, True),
        (None, True),
    ],
)
def test_an_absent_program_is_not_bothered_again(
    outcome: DeployOutcome | None, *, is_due: bool
) -> None:
    """With the files in place there is nothing to do until somebody answers."""
    stored = a_stored()
    target = target_with(stored, Unreachable("connection refused"), outcome)
    assert (deploy_reason(stored, target, NOW) is not None) == is_due


def test_somebody_without_tls_is_a_reason_to_deploy() -> None:
    """A program that answers, but not with a handshake, is told again."""
    stored = a_stored()
    target = target_with(stored, NoHandshake("it speaks plain HTTP"))
    assert "plain HTTP" in (deploy_reason(stored, target, NOW) or "")


def test_an_unprobed_program_is_told_once() -> None:
    """Without a probe the ledger says whether the program was told of these files."""
    stored = a_stored()
    told = target_with(stored, None, DeployOutcome.INSTALLED)
    told = replace(told, spec=replace(told.spec, probe=None, reload=CommandReload(("true",))))
    assert deploy_reason(stored, told, NOW) is None
    reason = deploy_reason(stored, replace(told, last_deploy=None), NOW)
    assert reason == "it is installed, but its program was not told"


@given(
    days=st.floats(min_value=0.5, max_value=400),
    age=st.floats(min_value=0, max_value=1),
)
def test_renewal_leaves_time_to_fail(days: float, age: float) -> None:
    """For any lifetime: never due in its first half, always due before its last quarter."""
    stored = a_stored(days=days, obtained_at=NOW)
    seen = observed(stored)
    leaf = stored.certificate
    now = leaf.not_before + leaf.lifetime * age
    is_due = renewal(seen, now).at <= now
    if age < 0.49:
        assert not is_due
    if age > 0.75:
        assert is_due


# ── what holds a deploy back ──────────────────────────────────────────────────────────────────────

RESTART = UnitReload("nodered.service", UnitVerb.RESTART)
NIGHT = MaintenanceWindow(time(3), time(5))


def stale(
    reload: Reload = RESTART, *, days_left: float = 20, failures: Sequence[DeployRecord] = ()
) -> tuple[Stored, ObservedTarget]:
    """A new certificate is stored, and a target serves an older one that is still valid."""
    stored = a_stored()
    old = a_pair(now=NOW - timedelta(days=90 - days_left))
    spec = a_target_spec(reload=reload)
    target = ObservedTarget(
        spec, an_installed(old), Served(old.certificate), None, repeats=tuple(failures)
    )
    return stored, target


def deploy_step(
    facts: tuple[Stored, ObservedTarget],
    policy: Policy = POLICY,
    now: datetime = NOW,
    *,
    force: Sequence[str] = (),
    named: Sequence[str] = (),
) -> Step:
    """The one deploy that is on the agenda."""
    steps = agenda([observed(*facts)], 0, now, policy, force=force, named=named)
    (step,) = [step for step in steps if step.kind is StepKind.DEPLOY]
    return step


def a_failed_deploy(stored: Stored, begun_at: datetime = NOW) -> DeployRecord:
    return a_deploy_record(
        fingerprint=stored.certificate.fingerprint,
        outcome=DeployOutcome.FAILED,
        begun_at=begun_at,
        what="it would not start",
    )


def test_a_deploy_that_failed_is_backed_off_and_says_why() -> None:
    """A program that refuses a file is not restarted in every pass."""
    stored, target = stale()
    target = replace(target, repeats=(a_failed_deploy(stored),))
    step = deploy_step((stored, target))
    assert NOW + timedelta(seconds=48) <= step.at <= NOW + timedelta(seconds=61)
    assert step.reason == ("another certificate is installed; deploy 1 failed: it would not start")
    assert plan([observed(stored, target)], 0, NOW, POLICY) == ()
    short = a_stored(days=1 / 1440)
    refused = replace(target, repeats=(a_failed_deploy(short),))
    assert deploy_step((short, refused)).at <= NOW + timedelta(seconds=11)
    later = deploy_step((stored, target), now=NOW + timedelta(minutes=5))
    assert later.at == NOW + timedelta(minutes=5)
    assert later.reason == "another certificate is installed"


def test_a_deploy_that_somebody_undoes_is_backed_off_too() -> None:
    """It went well, and has to be made again: the program is not restarted each time."""
    stored, target = stale()
    fingerprint = stored.certificate.fingerprint
    undone = a_deploy_record(fingerprint=fingerprint, outcome=DeployOutcome.IN_USE)
    once = deploy_step((stored, replace(target, repeats=(undone,))))
    assert once.at == NOW  # whatever undid it may have been an accident
    step = deploy_step((stored, replace(target, repeats=(undone, undone))))
    assert NOW + timedelta(seconds=48) <= step.at <= NOW + timedelta(seconds=61)
    assert step.reason == "another certificate is installed; deploy 2 was undone"


@pytest.mark.parametrize(("force", "named"), [(["home"], []), ([], ["home"])])
def test_a_person_who_names_it_has_it_deployed_now(force: list[str], named: list[str]) -> None:
    """Neither back-off nor the window holds up what somebody asks for by name."""
    stored, target = stale()
    target = replace(target, repeats=(a_failed_deploy(stored),))
    night = Policy(maintenance=NIGHT)
    step = deploy_step((stored, target), night, force=force, named=named)
    assert step.at == NOW
    if named:
        assert step.reason == "another certificate is installed"
        assert step in plan([observed(stored, target)], 0, NOW, night, named=named)
    assert deploy_step((stored, target), night, named=["barn"]).at > NOW


@pytest.mark.parametrize("reload", [RESTART, CommandReload(("systemctl", "restart", "x"))])
def test_a_restart_waits_for_the_maintenance_window(reload: Reload) -> None:
    """It is noon: at three in the morning it may be restarted; a command counts as a restart."""
    step = deploy_step(stale(reload), Policy(maintenance=NIGHT))
    assert step.at == NOW.replace(day=23, hour=3)
    assert step.reason == (
        "another certificate is installed; the restart waits for the maintenance window"
    )


@pytest.mark.parametrize(
    "reload", [HotReload(), UnitReload("nginx.service", UnitVerb.RELOAD), None]
)
def test_what_needs_no_restart_waits_for_no_window(reload: Reload) -> None:
    """Hot reloads disturb nobody."""
    assert deploy_step(stale(reload), Policy(maintenance=NIGHT)).at == NOW


def test_the_window_holds_nothing_back_that_is_urgent() -> None:
    """The last tenth, a revocation, a placeholder, nothing usable, nobody serving."""
    night = Policy(maintenance=NIGHT)
    assert deploy_step(stale(days_left=9.01), night).at > NOW
    assert deploy_step(stale(days_left=9), night).at == NOW
    assert deploy_step(stale(days_left=-1), night).at == NOW
    stored, target = stale()
    assert target.installed is not None
    pending = PendingRevocation("home", 1, "00" * 32, RevocationReason.KEY_COMPROMISE, NOW)
    revoked = replace(observed(stored, target), revocations=(pending,))
    (step,) = plan([revoked], 0, NOW, night)
    assert step.kind is StepKind.DEPLOY
    placeholder = replace(target.installed, is_placeholder=True)
    for urgent in (
        replace(target, installed=placeholder),
        replace(target, installed=None),
        replace(target, seen=Unreachable("connection refused")),
        replace(target, seen=NoHandshake("it speaks plain HTTP")),
    ):
        assert deploy_step((stored, urgent), night).at == NOW


def test_what_is_served_decides_whether_it_can_wait() -> None:
    """The installed one may be long gone from use; unprobed, it is all that is known."""
    night = Policy(maintenance=NIGHT)
    stored, target = stale()
    dying = a_pair(now=NOW - timedelta(days=85))
    served = replace(target, seen=Served(dying.certificate))
    assert deploy_step((stored, served), night).at == NOW
    unprobed = replace(target, seen=None)
    assert deploy_step((stored, unprobed), night).at > NOW
    assert deploy_step((stored, replace(unprobed, installed=an_installed(dying))), night).at == NOW


def test_a_restart_that_is_backed_off_waits_for_the_window_after_that() -> None:
    """Also where the back-off ended inside a window that has closed since."""
    night = Policy(maintenance=NIGHT)
    stored, target = stale()
    failed = replace(target, repeats=(a_failed_deploy(stored, NOW.replace(hour=4, minute=58)),))
    assert deploy_step((stored, failed), night).at == NOW.replace(day=23, hour=3)
    inside = NOW.replace(day=23, hour=3)
    retried = replace(target, repeats=(a_failed_deploy(stored, inside),))
    step = deploy_step((stored, retried), night, inside)
    assert inside < step.at < inside + timedelta(minutes=2)
    assert step.reason.endswith("deploy 1 failed: it would not start")


def test_a_renewal_is_put_to_use_within_the_window_too() -> None:
    """The deploy that follows an order is on the agenda with its own instant."""
    stored = a_stored(obtained_at=NOW - timedelta(days=61))
    target = target_with(stored, Served(stored.certificate))
    target = replace(target, spec=replace(target.spec, reload=RESTART))
    night = Policy(maintenance=NIGHT)
    steps = agenda([observed(stored, target)], 0, NOW, night)
    assert [step.kind for step in steps] == [StepKind.OBTAIN, StepKind.DEPLOY]
    assert steps[1].at == NOW.replace(day=23, hour=3)
    assert steps[1].reason == "the new certificate is to be put to use"
    named = agenda([observed(stored, target)], 0, NOW, night, named=["home"])
    assert named[1].at == NOW


@pytest.mark.parametrize(
    ("window", "hour", "opens"),
    [
        ((3, 5), 2, (22, 3)),
        ((3, 5), 3, None),
        ((3, 5), 4, None),
        ((3, 5), 5, (23, 3)),
        ((22, 2), 21, (22, 22)),
        ((22, 2), 22, None),
        ((22, 2), 0, None),
        ((22, 2), 1, None),
        ((22, 2), 2, (22, 22)),
    ],
)
def test_the_window_of_the_day_and_of_the_night(
    window: tuple[int, int], hour: int, opens: tuple[int, int] | None
) -> None:
    """Open from its start to just before its end, across midnight as well."""
    policy = Policy(maintenance=MaintenanceWindow(time(window[0]), time(window[1])))
    now = NOW.replace(hour=hour)
    expected = now if opens is None else NOW.replace(day=opens[0], hour=opens[1])
    assert restart_at(policy, now) == expected
    if opens is None:
        assert restart_at(policy, now + timedelta(minutes=59, seconds=59)) > now


def test_the_window_is_in_local_time_to_the_minute() -> None:
    """03:30 in Helsinki is 01:30 UTC, whatever the second at which somebody asks."""
    zone = timezone(timedelta(hours=2))
    policy = Policy(maintenance=MaintenanceWindow(time(3, 30), time(5)), zone=zone)
    now = datetime(2026, 11, 22, 1, 29, 59, 999_999, tzinfo=UTC)
    opens = restart_at(policy, now)
    assert opens == datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
    assert opens.tzinfo is UTC
    assert restart_at(policy, opens) == opens
    after = datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC)
    assert restart_at(policy, after) == datetime(2026, 11, 23, 1, 30, tzinfo=UTC)


@given(
    now=st.datetimes(timezones=st.just(UTC), min_value=datetime(2024, 1, 1)),  # noqa: DTZ001
    start=st.integers(0, 1439),
    length=st.integers(1, 1439),
    offset=st.integers(-14, 14),
)
def test_the_window_opens_within_a_day(now: datetime, start: int, length: int, offset: int) -> None:
    """Whatever the hours, the zone and the instant; and at that instant it is open."""
    hours = [time(*divmod(minute % 1440, 60)) for minute in (start, start + length)]
    zone = timezone(timedelta(hours=offset))
    policy = Policy(maintenance=MaintenanceWindow(*hours), zone=zone)
    opens = restart_at(policy, now)
    assert now <= opens <= now + timedelta(days=1) - timedelta(minutes=length)
    assert restart_at(policy, opens) == opens


def test_a_restart_waits_no_longer_than_to_the_last_tenth() -> None:
    """Also where the window opens only after that."""
    stored, target = stale(days_left=9 + 1 / 24)
    step = deploy_step((stored, target), Policy(maintenance=NIGHT))
    assert step.at == NOW + timedelta(hours=1)


def test_without_a_window_it_is_always_open() -> None:
    """Now is as good as any other time."""
    assert restart_at(POLICY, NOW) == NOW


# ── reasons of an order ───────────────────────────────────────────────────────────────────────────


def obtain_step(
    seen: Observed,
    policy: Policy = POLICY,
    *,
    force: Sequence[str] = (),
    named: Sequence[str] = (),
) -> Step:
    steps = agenda([seen], 0, NOW, policy, force=force, named=named)
    (step,) = [step for step in steps if step.kind is StepKind.OBTAIN]
    return step


def test_an_order_that_waits_says_what_for() -> None:
    """Due, and in back-off: its instant is that of the next try."""
    step = obtain_step(replace(observed(None), failures=(an_attempt(),)))
    assert NOW < step.at < NOW + timedelta(minutes=2)
    assert step.reason == (
        "there is no certificate yet; attempt 1 failed: the CA could not be reached"
    )


def test_while_an_order_waits_what_is_stored_is_put_to_use() -> None:
    """Stored, installed and served are put right on their own."""
    stored = a_stored(obtained_at=NOW - timedelta(days=61))
    target = target_with(stored, Served(a_pair().certificate))
    seen = replace(observed(stored, target), failures=(an_attempt(),))
    (step,) = plan([seen], 0, NOW, POLICY)
    assert (step.kind, step.reason) == (StepKind.DEPLOY, "another certificate is served")


def test_a_cause_that_is_looked_at_first_is_said() -> None:
    """A day after a permanent error; before that, when that will be."""
    failure = an_attempt(begun_at=NOW - timedelta(days=2), cause=Cause.CAA)
    step = obtain_step(replace(observed(None), failures=(failure,)))
    assert step.at == NOW
    assert step.reason == (
        "there is no certificate yet; first the cause of the last failure is looked at again"
    )


def test_a_proof_is_said() -> None:
    """From the second failure on."""
    failures = tuple(an_attempt(number=n, begun_at=NOW - timedelta(days=n)) for n in (2, 1))
    policy = Policy(staging_urls={DIRECTORY: "https://staging.example/"})
    step = obtain_step(replace(observed(None), failures=failures), policy)
    assert step.reason == (
        "there is no certificate yet; it proves itself at the staging directory first"
    )


def test_a_draft_without_an_order_is_not_taken_up() -> None:
    """Only its key was written down."""
    step = obtain_step(replace(observed(None), draft=a_draft()))
    assert step.reason == "there is no certificate yet"


@pytest.mark.parametrize(("force", "named"), [(["home"], []), ([], ["home"])])
def test_naming_a_certificate_skips_its_back_off(force: list[str], named: list[str]) -> None:
    """By force or because a person has named it."""
    seen = replace(observed(None), failures=(an_attempt(),))
    assert obtain_step(seen, force=force, named=named).at == NOW


def test_naming_alone_renews_nothing() -> None:
    """What is not due stays as it is, unless it is forced."""
    seen = observed(a_stored())
    assert obtain_step(seen, named=["home"]).at > NOW
    forced = obtain_step(seen, force=["home"])
    assert (forced.at, forced.reason) == (NOW, "asked for by a person")
    assert obtain_step(seen, force=["barn"]).at > NOW


def test_force_on_a_due_certificate_keeps_its_reason() -> None:
    """It is dated when it fell due."""
    stored = a_stored(obtained_at=NOW - timedelta(days=61))
    step = obtain_step(observed(stored), force=["home"])
    assert step.reason == "a third of its lifetime of 90 days is left"
    assert step.at == NOW - timedelta(days=1)


def test_what_cannot_be_read_is_left_alone() -> None:
    """Nothing is known to be needed, so nothing is ordered; the others go on."""
    unreadable = replace(observed(None), trouble=StoreError("may not be read"))
    assert agenda([unreadable], 0, NOW, POLICY) == ()
    assert len(agenda([unreadable, observed(None)], 0, NOW, POLICY)) == 1


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 TXT record of an earlier pass may still exist"),
        (2, "2 TXT records of an earlier pass may still exist"),
    ],
)
def test_litter_is_counted(count: int, text: str) -> None:
    """For people who read the plan."""
    (step,) = agenda([], count, NOW, POLICY)
    assert step == Step(StepKind.SWEEP, None, None, text, NOW)


# ── when a pass is wanted again ───────────────────────────────────────────────────────────────────

CHECK = TokenCheck(NOW - timedelta(hours=1), "token")


def calls(
    *observed: Observed, leftovers: int = 0, check: TokenCheck | None = CHECK, now: datetime = NOW
) -> dict[Job, Call]:
    steps = agenda(observed, leftovers, now, POLICY)
    found = next_calls(steps, observed, check, "token", now)
    assert list(found) == sorted(found, key=lambda call: call.at)
    assert len({call.job for call in found}) == len(found)
    return {call.job: call for call in found}


def test_the_next_pass_is_wanted_when_something_falls_due() -> None:
    """The soonest of all certificates, and what for."""
    home = observed(a_stored(obtained_at=NOW - timedelta(days=10)))
    barn = observed(a_stored("barn", obtained_at=NOW - timedelta(days=20)))
    barn = replace(barn, spec=replace(barn.spec, name="barn"))
    call = calls(home, barn)[Job.RECONCILE]
    assert call.at == NOW + timedelta(days=40)
    assert call.why == "barn: a third of its lifetime of 90 days is left"


def test_what_a_pass_left_undone_is_not_tried_again_without_a_rest() -> None:
    """A lock that was busy, a full disk: no pass every ten seconds."""
    missing = calls(observed(None))[Job.RECONCILE]
    assert missing.at == NOW + REST
    due = observed(a_stored(obtained_at=NOW - timedelta(days=61)))
    assert calls(due)[Job.RECONCILE].at == NOW + REST
    short = observed(a_stored(days=1 / 1440, obtained_at=NOW - timedelta(seconds=40)))
    assert calls(short)[Job.RECONCILE].at == NOW + timedelta(seconds=10)
    litter = calls(leftovers=1)[Job.RECONCILE]
    assert litter.at == NOW + REST
    assert litter.why.startswith("clean-up: 1 TXT record")


def test_the_soonest_call_wins_over_what_has_to_rest() -> None:
    """A retry in a minute is not put off by litter."""
    seen = replace(observed(None), failures=(an_attempt(),))
    call = calls(seen, leftovers=1)[Job.RECONCILE]
    assert NOW < call.at < NOW + timedelta(minutes=2)
    assert "attempt 1 failed" in call.why


def with_info(stored: Stored, info: RenewalInfo | None) -> Observed:
    return replace(observed(stored), info=info)


def test_the_ca_is_asked_when_its_answer_is_old() -> None:
    """The soonest of all; one that was never asked about, now."""
    stored = a_stored()
    home = with_info(stored, a_renewal_info(ask_again_at=NOW + timedelta(hours=6)))
    barn = with_info(stored, a_renewal_info(ask_again_at=NOW + timedelta(hours=2)))
    barn = replace(barn, spec=replace(barn.spec, name="barn"))
    call = calls(home, barn)[Job.RENEWAL_INFO]
    assert call.at == NOW + timedelta(hours=2)
    assert call.why == "barn: the CA is asked when to renew"
    assert calls(home, with_info(stored, None))[Job.RENEWAL_INFO].at == NOW


def asked_in(name: str, wait: timedelta, days: float = 90) -> Observed:
    """A certificate whose CA is to be asked again after that time."""
    info = a_renewal_info(ask_again_at=NOW + wait)
    seen = with_info(a_stored(days=days, obtained_at=NOW), info)
    return replace(seen, spec=replace(seen.spec, name=name))


def test_certificates_of_different_times_are_asked_about_in_one_pass() -> None:
    """Fifty answers that run out within an hour are one pass, a little late; none is early."""
    six = timedelta(hours=6)
    many = [asked_in(f"c{number:02}", six + number * timedelta(minutes=1)) for number in range(50)]
    later = asked_in("later", six + timedelta(minutes=61))
    call = calls(*many, later)[Job.RENEWAL_INFO]
    assert call.at == NOW + six + timedelta(minutes=49)
    assert call.why == "c49: the CA is asked when to renew"


def test_a_short_lived_certificate_is_not_asked_about_late() -> None:
    """A twentieth of its lifetime is the most."""
    day = asked_in("day", timedelta(minutes=10), days=1)
    others = [asked_in(f"c{late}", timedelta(minutes=10 + late)) for late in (30, 71, 73, 90)]
    assert calls(day, *others)[Job.RENEWAL_INFO].at == NOW + timedelta(minutes=40)
    minute = asked_in("minute", timedelta(seconds=20), days=1 / 1440)
    call = calls(minute, *others)[Job.RENEWAL_INFO]
    assert (call.at, call.why.split(":")[0]) == (NOW + timedelta(seconds=20), "minute")


def test_a_question_is_not_put_off_beyond_the_next_pass() -> None:
    """That asks by the way; and a pass for the question alone is never later than the first."""
    first, second = asked_in("a", timedelta(minutes=5)), asked_in("b", timedelta(minutes=45))
    litter = calls(first, second, leftovers=1)
    assert litter[Job.RECONCILE].at == NOW + REST
    assert litter[Job.RENEWAL_INFO].at == NOW + timedelta(minutes=5)
    late = asked_in("a", timedelta(minutes=20))
    assert calls(late, second, leftovers=1)[Job.RENEWAL_INFO].at == NOW + timedelta(minutes=20)


def test_an_answer_from_the_future_is_asked_for_again() -> None:
    """It was written down under a wrong clock; one of this very moment was not."""
    ahead = a_renewal_info(asked_at=NOW + timedelta(days=1), ask_again_at=NOW + timedelta(days=2))
    assert ask_at(with_info(a_stored(), ahead), NOW) == NOW
    present = replace(ahead, asked_at=NOW)
    assert ask_at(with_info(a_stored(), present), NOW) == NOW + timedelta(days=2)


def test_nobody_is_asked_about_what_is_not_there() -> None:
    """Missing, unreadable or expired: there is nothing to suggest."""
    expired = a_stored(obtained_at=NOW - timedelta(days=90))
    assert ask_at(observed(None), NOW) is None
    assert ask_at(observed(expired), NOW) is None
    assert ask_at(observed(expired), NOW - timedelta(seconds=1)) is not None
    unreadable = replace(observed(a_stored()), trouble=StoreError("may not be read"))
    assert ask_at(unreadable, NOW) is None
    assert Job.RENEWAL_INFO not in calls(observed(expired), unreadable)


@pytest.mark.parametrize(
    ("check", "at"),
    [
        (TokenCheck(NOW, "token"), NOW + timedelta(days=1)),
        (TokenCheck(NOW - timedelta(hours=23), "token"), NOW + timedelta(hours=1)),
        (TokenCheck(NOW - timedelta(days=3), "token"), NOW),
        (TokenCheck(NOW, "another"), NOW),
        (TokenCheck(NOW + timedelta(seconds=1), "token"), NOW),
        (None, NOW),
    ],
)
def test_the_token_is_looked_at_daily_and_when_it_is_another(
    check: TokenCheck | None, at: datetime
) -> None:
    """A look that a wrong clock dated ahead counts for nothing."""
    assert token_check_at(check, "token", NOW) == at
    call = calls(check=check)[Job.TOKEN]
    assert call.at == (at if at > NOW else NOW + TOKEN_REST)
    assert call.why == "the API token is looked at"


def test_a_certificate_of_hours_is_asked_about_in_minutes() -> None:
    """Its twentieth is shorter than the hour in which others are asked about together."""
    hours = asked_in("hours", timedelta(minutes=10), days=1 / 6)
    others = [asked_in("soon", timedelta(minutes=20)), asked_in("late", timedelta(minutes=30))]
    call = calls(hours, *others)[Job.RENEWAL_INFO]
    assert call.at == NOW + timedelta(minutes=20)


# ── what rests beside orders and deploys ──────────────────────────────────────────────────────────

OLD_LEAF = PendingRevocation("home", 1, "00" * 32, RevocationReason.KEY_COMPROMISE, NOW)


def a_setback(key: str, setup: str, again_at: datetime) -> Setback:
    return Setback(key, setup, NOW, NOW, again_at, failures=1, what="refused")


def rested_calls(
    *observed: Observed, setbacks: Sequence[Setback] = (), check: TokenCheck | None = CHECK
) -> dict[Job, Call]:
    steps = agenda(observed, 0, NOW, POLICY)
    found = next_calls(steps, observed, check, "token", NOW, setbacks=setbacks)
    return {call.job: call for call in found}


def test_a_replaced_leaf_that_is_to_be_revoked_calls_a_pass() -> None:
    """After a rest, or when the last failure lets it be tried."""
    stored = a_stored(obtained_at=NOW - timedelta(days=10))
    home = replace(observed(stored), revocations=(OLD_LEAF,))
    call = rested_calls(home)[Job.RECONCILE]
    assert call == Call(
        Job.RECONCILE, NOW + REST, "home: the replaced certificate is to be revoked"
    )
    key = revocation_key(OLD_LEAF)
    again_at = NOW + timedelta(hours=3)
    failed = a_setback(key, RevocationReason.KEY_COMPROMISE, again_at)
    assert rested_calls(home, setbacks=[failed])[Job.RECONCILE].at == again_at
    other_reason = a_setback(key, RevocationReason.SUPERSEDED, again_at)
    assert rested_calls(home, setbacks=[other_reason])[Job.RECONCILE].at == NOW + REST
    of_another = a_setback("revocation:barn:00", RevocationReason.KEY_COMPROMISE, again_at)
    assert rested_calls(home, setbacks=[of_another])[Job.RECONCILE].at == NOW + REST


def test_a_leaf_that_is_not_replaced_in_use_waits_for_that() -> None:
    """Where nothing is stored, or its deploy waits, the revocation calls no pass for itself."""
    stored = a_stored(obtained_at=NOW - timedelta(days=10))
    alone = rested_calls(observed(stored))[Job.RECONCILE]
    nothing = replace(observed(None), revocations=(OLD_LEAF,))
    assert "revoked" not in rested_calls(nothing)[Job.RECONCILE].why
    target = ObservedTarget(a_target_spec(), None, None, None)
    undeployed = replace(observed(stored, target), revocations=(OLD_LEAF,))
    assert "revoked" not in rested_calls(undeployed)[Job.RECONCILE].why
    barn = replace(observed(stored), revocations=(OLD_LEAF,))
    barn = replace(barn, spec=replace(barn.spec, name="barn"))
    assert "barn: the replaced" in rested_calls(barn)[Job.RECONCILE].why
    later = Error("not now", retry_after=timedelta(days=9))
    patient = replace(observed(None), failures=(an_attempt(error=later),))
    assert "barn: the replaced" in rested_calls(patient, barn)[Job.RECONCILE].why
    assert alone.at == NOW + timedelta(days=50)


def test_a_token_that_nobody_could_look_at_is_looked_at_after_its_rest() -> None:
    """With another token at once, which is an hour after a pass that did not get to it."""
    again_at = NOW + timedelta(hours=5)
    for check in (None, TokenCheck(NOW - timedelta(days=2), "token")):
        held = a_setback("token", "token", again_at)
        call = rested_calls(setbacks=[held], check=check)[Job.TOKEN]
        assert call == Call(Job.TOKEN, again_at, "the API token is looked at")
        stale = a_setback("token", "another", again_at)
        assert rested_calls(setbacks=[stale], check=check)[Job.TOKEN].at == NOW + TOKEN_REST
    fresh = TokenCheck(NOW, "token")
    held = a_setback("token", "token", again_at)
    assert rested_calls(setbacks=[held], check=fresh)[Job.TOKEN].at == NOW + timedelta(days=1)
