"""The states that programs read in `status --json`: the first that applies, in the order given."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certwarden.errors import StoreError, TargetError
from certwarden.lifecycle.status import (
    CertificateState,
    TargetState,
    certificate_state,
    needs_attention,
    target_state,
)
from certwarden.model import (
    DeployOutcome,
    NoHandshake,
    Observed,
    ObservedTarget,
    Seen,
    Served,
    Stored,
    Unreachable,
)
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_deploy_record,
    a_pair,
    a_stored,
    a_target_spec,
    an_attempt,
    an_installed,
)

FRESH = a_stored(obtained_at=NOW)
OLD = a_stored(obtained_at=NOW - timedelta(days=70))
EXPIRED = a_stored(obtained_at=NOW - timedelta(days=91))


@pytest.mark.parametrize(
    ("stored", "has_failed", "expected"),
    [
        (FRESH, False, CertificateState.OK),
        (OLD, False, CertificateState.DUE),
        (OLD, True, CertificateState.FAILING),
        (EXPIRED, True, CertificateState.EXPIRED),
        (None, True, CertificateState.MISSING),
        (None, False, CertificateState.MISSING),
    ],
)
def test_the_first_state_that_applies(
    stored: Stored | None, expected: CertificateState, *, has_failed: bool
) -> None:
    """Expired before missing before failing before due before ok."""
    failures = (an_attempt(),) if has_failed else ()
    seen = Observed(a_certificate_spec(), stored, None, (), failures)
    assert certificate_state(seen, NOW) is expected


def observe(
    seen: Seen | None, *, outcome: DeployOutcome = DeployOutcome.IN_USE, placeholder: bool = False
) -> tuple[Observed, ObservedTarget]:
    record = a_deploy_record(fingerprint=FRESH.certificate.fingerprint, outcome=outcome)
    installed = an_installed(FRESH.pair, is_placeholder=placeholder)
    target = ObservedTarget(a_target_spec(), installed, seen, record)
    return Observed(a_certificate_spec(targets=[target.spec]), FRESH, None, (target,)), target


IN_USE = Served(FRESH.certificate)
OTHER = Served(a_pair().certificate)


@pytest.mark.parametrize(
    ("seen", "outcome", "placeholder", "expected"),
    [
        (IN_USE, DeployOutcome.IN_USE, False, TargetState.IN_USE),
        (IN_USE, DeployOutcome.FAILED, False, TargetState.IN_USE),
        (OTHER, DeployOutcome.IN_USE, False, TargetState.STALE),
        (OTHER, DeployOutcome.FAILED, False, TargetState.FAILED),
        (None, DeployOutcome.INSTALLED, False, TargetState.NOT_PROBED),
        (Unreachable("x"), DeployOutcome.UNREACHABLE, False, TargetState.UNREACHABLE),
        (Unreachable("x"), DeployOutcome.FAILED, False, TargetState.FAILED),
        (NoHandshake("x"), DeployOutcome.IN_USE, False, TargetState.FAILED),
        (OTHER, DeployOutcome.FAILED, True, TargetState.PLACEHOLDER),
    ],
)
def test_the_first_target_state_that_applies(
    seen: Seen | None, outcome: DeployOutcome, expected: TargetState, *, placeholder: bool
) -> None:
    """Placeholder, failed, unreachable, not-probed, stale, in-use; sight has the last word."""
    observed, target = observe(seen, outcome=outcome, placeholder=placeholder)
    assert target_state(observed, target) is expected
    is_fine = expected in {TargetState.IN_USE, TargetState.NOT_PROBED}
    assert needs_attention(observed, NOW) is not is_fine


def test_a_day_of_grace_before_a_due_certificate_needs_a_person() -> None:
    """Due alone is no alarm; due for more than a day is."""
    seen = Observed(a_certificate_spec(), FRESH, None, ())
    due = NOW + timedelta(days=60)
    assert not needs_attention(seen, due + timedelta(hours=23))
    assert needs_attention(seen, due + timedelta(hours=25))


def test_failures_need_a_person_where_something_is_due() -> None:
    """A renewal that is due and failed is an alarm; a forced one that failed is over and done."""
    due = Observed(a_certificate_spec(), OLD, None, (), (an_attempt(),))
    assert needs_attention(due, NOW)
    fresh = replace(due, stored=FRESH)
    assert certificate_state(fresh, NOW) is CertificateState.OK
    assert not needs_attention(fresh, NOW)


def test_what_cannot_be_read_needs_a_person() -> None:
    """A certificate or a target in unreadable files is never called well."""
    seen = Observed(a_certificate_spec(), None, None, (), trouble=StoreError("may not be read"))
    assert certificate_state(seen, NOW) is CertificateState.FAILING
    observed, target = observe(IN_USE)
    target = replace(target, trouble=TargetError("may not be read"))
    assert target_state(observed, target) is TargetState.FAILED
