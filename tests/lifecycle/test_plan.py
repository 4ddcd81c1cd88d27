"""The plan: every decision about when, as a table of facts and an instant."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.lifecycle.plan import deploy_reason, plan, renewal
from certwarden.model import (
    CommandReload,
    DeployOutcome,
    KeyType,
    NoHandshake,
    Observed,
    ObservedTarget,
    PendingRevocation,
    RenewalReason,
    RevocationReason,
    Seen,
    Served,
    StepKind,
    Stored,
    Unreachable,
)
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_deploy_record,
    a_draft,
    a_pair,
    a_stored,
    a_target_spec,
    an_attempt,
    an_installed,
)


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
    steps = plan([observed(None, target)], 0, NOW)
    assert [step.kind for step in steps] == [StepKind.OBTAIN, StepKind.DEPLOY]
    assert steps[0].reason == "there is no certificate yet"


def test_nothing_is_done_for_a_fresh_certificate_in_use() -> None:
    """A pass over a healthy house plans nothing."""
    stored = a_stored()
    target = target_with(stored, Served(stored.certificate))
    assert plan([observed(stored, target)], 0, NOW) == ()


def test_a_due_certificate_is_obtained_from_its_instant_on() -> None:
    """The second before, nothing; at the instant, an order, dated when it fell due."""
    seen = observed(a_stored(obtained_at=NOW))
    due = renewal(seen, NOW).at
    assert plan([seen], 0, due - timedelta(seconds=1)) == ()
    (step,) = plan([seen], 0, due + timedelta(hours=5))
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
    (step,) = plan([seen], 0, NOW)
    assert word in step.reason
    assert renewal(seen, NOW).reason is RenewalReason.DOMAINS_CHANGED


def test_the_order_of_domains_is_no_change() -> None:
    """Sorting the list in the configuration costs no certificate."""
    seen = observed(a_stored())
    seen = replace(seen, spec=replace(seen.spec, domains=tuple(reversed(seen.spec.domains))))
    assert plan([seen], 0, NOW) == ()


def test_force_renews_only_what_is_named() -> None:
    """A person may ask for one certificate before it is due."""
    home, barn = observed(a_stored()), observed(a_stored("barn"))
    barn = replace(barn, spec=replace(barn.spec, name="barn"))
    (step,) = plan([home, barn], 0, NOW, force=["barn"])
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
    (step,) = plan([seen], 0, NOW)
    assert "taken up again" in step.reason


def test_a_failed_renewal_is_a_retry() -> None:
    """Programs can tell a first try from a repeated one."""
    stored = a_stored(days=90, obtained_at=NOW - timedelta(days=80))
    seen = replace(observed(stored), failures=(an_attempt(),))
    assert renewal(seen, NOW).reason is RenewalReason.RETRY


def test_leftover_records_are_swept_first() -> None:
    """What a killed pass left in DNS is removed before anything new is placed."""
    steps = plan([observed(None)], 2, NOW)
    assert [step.kind for step in steps] == [StepKind.SWEEP, StepKind.OBTAIN]


def test_stored_but_not_served_means_deploy_and_no_order() -> None:
    """A target that serves another certificate is put right without asking the CA."""
    stored, other = a_stored(), a_pair()
    target = target_with(stored, Served(other.certificate))
    (step,) = plan([observed(stored, target)], 0, NOW)
    assert step.kind is StepKind.DEPLOY


def test_what_is_not_installed_is_deployed() -> None:
    """Nothing, a placeholder and another pair are each a reason of their own."""
    stored, other = a_stored(), a_pair()
    served = Served(stored.certificate)
    target = target_with(stored, served)
    cases = [
        (None, "nothing usable"),
        (an_installed(other, is_placeholder=True), "placeholder"),
        (an_installed(other), "another certificate is installed"),
    ]
    for installed, words in cases:
        reason = deploy_reason(stored, replace(target, installed=installed), NOW)
        assert reason is not None
        assert words in reason


def test_an_expired_certificate_takes_no_valid_ones_place() -> None:
    """Somebody has helped himself while renewals fail: that is not undone."""
    expired = a_stored(obtained_at=NOW - timedelta(days=91))
    target = target_with(expired, Served(a_pair().certificate))
    assert deploy_reason(expired, target, NOW) is None
    target = target_with(expired, Served(a_pair(now=NOW - timedelta(days=100)).certificate))
    assert deploy_reason(expired, target, NOW) is not None


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
    assert deploy_reason(stored, replace(told, last_deploy=None), NOW) is not None


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
