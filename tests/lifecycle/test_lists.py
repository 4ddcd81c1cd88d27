"""When lists are signed, published and put in place."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.lifecycle.lists import (
    LADDER_LENGTH,
    half_life,
    is_proof_due,
    ladder_dates,
    list_calls,
    list_setup,
    list_steps,
    may_sign,
    proof_at,
    rung_to_publish,
    signature_reason,
    superseded,
    trust_reason,
)
from certwarden.lifecycle.setbacks import LIST
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    ClientTrust,
    CommandReload,
    DeployOutcome,
    DeployRecord,
    HotReload,
    Job,
    ProofOutcome,
    Reload,
    Rung,
    Setback,
    Trust,
    UnitReload,
    UnitVerb,
)
from tests.builders import NOW
from tests.lifecycle.client_facts import (
    CRL_LIFETIME,
    ROOT,
    a_client,
    a_client_target,
    a_list,
    a_proof,
    an_authority,
)
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND

RESTART = UnitReload("nodered.service", UnitVerb.RESTART)
RELOADS: list[Reload] = [
    RESTART,
    UnitReload("nginx.service", UnitVerb.RELOAD),
    CommandReload(("reload-it",)),
]


# ── signing ───────────────────────────────────────────────────────────────────────────────────────


def test_a_fresh_list_needs_no_signature() -> None:
    """Nothing is signed without a reason."""
    assert signature_reason(an_authority(a_list()), NOW) is None


@pytest.mark.parametrize(("age", "is_due"), [(DAY - SECOND, False), (DAY, True), (20 * DAY, True)])
def test_lists_are_signed_daily(age: timedelta, is_due: bool) -> None:  # noqa: FBT001 - a row
    """A list a day old is replaced."""
    seen = an_authority(a_list(signed_at=NOW - age))
    assert (signature_reason(seen, NOW) is not None) is is_due


def test_a_revocation_that_is_in_no_list_asks_for_one() -> None:
    """What a killed revocation left behind is signed by the next pass."""
    reason = signature_reason(an_authority(a_list(), unlisted=["0c"]), NOW)
    assert reason == "1 revocation not in the list yet"


def test_a_list_from_the_future_is_signed_again() -> None:
    """A list that a wrong clock has dated lets nobody in until its time has come."""
    seen = an_authority(a_list(signed_at=NOW + 2 * HOUR))
    assert signature_reason(seen, NOW) == "the list is dated in the future"


def test_the_daemons_start_asks_for_a_list() -> None:
    """Whatever was missed while it was down is made up for at once."""
    seen = an_authority(a_list(signed_at=NOW - HOUR))
    assert signature_reason(seen, NOW, is_starting=True) == "the daemon starts"


def test_a_superseded_certificate_asks_for_a_list_when_its_time_is_over() -> None:
    """A renewed client's old certificate is revoked at its time, and no sooner."""
    seen = an_authority(a_list(), a_client(supersede_at=NOW + DAY))
    assert signature_reason(seen, NOW) is None
    assert superseded(seen.clients, NOW + DAY) == ("0c",)
    due = replace(seen, crl=a_list(signed_at=NOW + DAY))
    assert signature_reason(due, NOW + DAY) == "1 renewed certificate may no longer be used"


def test_a_probe_near_its_end_asks_for_another() -> None:
    """An expired probe is refused anyway, and would prove nothing."""
    assert signature_reason(an_authority(a_list(), probe_until=NOW + 39 * DAY), NOW)


def test_a_probe_from_the_future_asks_for_another() -> None:
    """It would be refused for its dates, whatever list the target has."""
    seen = an_authority(a_list())
    assert seen.probe is not None
    seen = replace(seen, probe=replace(seen.probe, not_before=NOW + DAY))
    assert signature_reason(seen, NOW) == "the probe that is to be refused needs another"


def test_a_probe_that_ends_with_the_authority_needs_no_other() -> None:
    """Another would end then, too: near its end a CA does not sign list after list."""
    root = replace(ROOT, not_after=NOW + 5 * DAY)
    seen = an_authority(a_list(), probe_until=root.not_after, root=root)
    assert signature_reason(seen, NOW) is None


def test_a_locked_authority_signs_nothing() -> None:
    """Its key is not to be had."""
    seen = an_authority(a_list(signed_at=NOW - 20 * DAY), is_locked=True, unlisted=["0c"])
    assert signature_reason(seen, NOW) is None


def test_an_authority_that_was_never_founded_signs_nothing() -> None:
    """A configured section alone is no CA."""
    assert signature_reason(an_authority(None, root=None), NOW) is None
    assert not list(list_steps(an_authority(None, root=None), NOW))


def test_the_newest_rung_whose_time_has_come_is_published() -> None:
    """After a long time without power, not the oldest list but the right one."""
    ladder = [Rung(number, NOW + (number - 10) * 10 * DAY, NOW) for number in range(8, 13)]
    seen = an_authority(a_list(7), is_locked=True, ladder=ladder)
    assert rung_to_publish(seen, NOW) == ladder[2]
    assert rung_to_publish(replace(seen, crl=a_list(10)), NOW) is None


@given(st.integers(min_value=3, max_value=365))
def test_the_ladder_leaves_no_gap(days: int) -> None:
    """At each instant of a year a list has begun that goes on for two thirds of its life."""
    lifetime = timedelta(days=days)
    dates = ladder_dates(NOW, lifetime)
    assert dates[0] == NOW
    assert dates[-1] + lifetime >= NOW + LADDER_LENGTH
    for one, following in pairwise(dates):
        assert following - one == lifetime / 3


@pytest.mark.parametrize(
    ("trust", "age", "is_allowed"),
    [
        (Trust.TRUSTED, timedelta(), True),
        (Trust.UNKNOWN, 14 * DAY, False),
        (Trust.UNKNOWN, 15 * DAY, True),
        (Trust.CONTRADICTED, 15 * DAY, False),
        (Trust.CONTRADICTED, 29 * DAY, False),
    ],
)
def test_an_unvouched_clock_signs_only_what_ages(
    trust: Trust,
    age: timedelta,
    is_allowed: bool,  # noqa: FBT001 - a row
) -> None:
    """Where nobody can tell the time a list past half its life is replaced; else nothing is."""
    crl = a_list(signed_at=NOW - age)
    assert may_sign(Verdict(trust, None), crl, NOW) is is_allowed


def test_a_failed_signature_rests() -> None:
    """A passphrase that is gone is not asked for every second."""
    seen = an_authority(a_list(signed_at=NOW - DAY))
    failed = Setback(LIST, list_setup(seen), NOW, NOW, NOW + 10 * MINUTE, 1, "no passphrase")
    (step,) = list_steps(seen, NOW, [failed])
    assert step.at == NOW + 10 * MINUTE
    (call,) = list_calls(seen, [], NOW, [failed])
    assert (call.job, call.at) == (Job.CRL, NOW + 10 * MINUTE)


def test_a_new_revocation_does_not_rest() -> None:
    """What failed without it says nothing of a list that has to have it; a probe is no reason."""
    seen = an_authority(a_list(signed_at=NOW - DAY), a_client(serial="0c"))
    failed = Setback(LIST, list_setup(seen), NOW, NOW, NOW + 6 * HOUR, 5, "no passphrase")
    (step,) = list_steps(replace(seen, unlisted=frozenset({"0c"})), NOW, [failed])
    assert step.at == NOW
    (step,) = list_steps(replace(seen, unlisted=frozenset({"0f"})), NOW, [failed])
    assert step.at == NOW + 6 * HOUR


def test_the_daemon_is_called_for_the_next_list() -> None:
    """An idle daemon wakes for the daily list, or for the rung whose time comes."""
    (call,) = list_calls(an_authority(a_list(signed_at=NOW - HOUR)), [], NOW)
    assert call.at == NOW + 23 * HOUR
    rung = Rung(8, NOW + 3 * DAY, NOW + 33 * DAY)
    (call,) = list_calls(an_authority(a_list(), is_locked=True, ladder=[rung]), [], NOW)
    assert call.at == NOW + 3 * DAY


# ── putting in place ──────────────────────────────────────────────────────────────────────────────


def test_a_hot_target_gets_each_list() -> None:
    """Nothing is restarted there, so nothing is gained by waiting."""
    target = a_client_target(a_list(7, NOW - DAY), HotReload())
    assert trust_reason(target, ClientTrust(ROOT.pem, a_list(8)), NOW) == (
        "there is a newer list",
        True,
    )


@pytest.mark.parametrize("reload", RELOADS)
def test_a_list_without_a_revocation_restarts_nothing(reload: Reload) -> None:
    """Until the installed one is past half its life."""
    old = a_list(7, NOW - 14 * DAY, serials=["0c"])
    target = a_client_target(old, reload)
    target = replace(target, last_deploy=a_deploy(7))
    new = ClientTrust(ROOT.pem, a_list(21, serials=["0c"]))
    assert trust_reason(target, new, NOW) is None
    assert trust_reason(target, new, half_life(old)) == (
        "the installed list is past half its life",
        True,
    )


@pytest.mark.parametrize("reload", RELOADS)
def test_a_new_revocation_waits_for_nothing(reload: Reload) -> None:
    """No maintenance window holds it back."""
    target = a_client_target(a_list(7, serials=["0c"]), reload)
    reason = trust_reason(target, ClientTrust(ROOT.pem, a_list(8, serials=["0c", "0d"])), NOW)
    assert reason == ("1 revocation not in the installed list", True)


def test_a_renewed_root_may_wait_for_the_window() -> None:
    """The old one is still good, so that restarting for it has time."""
    target = a_client_target(a_list(7), RESTART, root_pem=b"the one before")
    reason = trust_reason(target, ClientTrust(ROOT.pem, a_list(7)), NOW)
    assert reason == ("the certificate of the clients' CA is another one", False)


def test_another_authority_waits_for_nothing() -> None:
    """After a theft the old CA's clients must not get in until the night."""
    target = a_client_target(a_list(7), RESTART, root_pem=b"the stolen one")
    reason = trust_reason(target, ClientTrust(ROOT.pem, a_list(1)), NOW)
    assert reason == ("the certificate of the clients' CA is another one", True)


def test_a_renewed_root_holds_no_revocation_back() -> None:
    """What came with it, or after it, waits for no window."""
    target = a_client_target(a_list(7), RESTART, root_pem=b"the one before")
    reason = trust_reason(target, ClientTrust(ROOT.pem, a_list(8, serials=["0d"])), NOW)
    assert reason == ("1 revocation not in the installed list", True)
    ageing = a_client_target(a_list(7, NOW - 16 * DAY), RESTART, root_pem=b"the one before")
    reason = trust_reason(ageing, ClientTrust(ROOT.pem, a_list(8)), NOW)
    assert reason == ("the installed list is past half its life", True)


@pytest.mark.parametrize("signed_at", [NOW - CRL_LIFETIME, NOW + 2 * HOUR])
def test_a_list_that_is_not_good_now_is_never_put_in_place(signed_at: datetime) -> None:
    """Expired or from the future, it would shut everybody out: what is there stays."""
    target = a_client_target(a_list(7, NOW - DAY), HotReload())
    bad = a_list(8, signed_at, serials=["0c"])
    assert trust_reason(target, ClientTrust(ROOT.pem, bad), NOW) is None


def test_a_program_that_was_never_told_is_told() -> None:
    """A kill between the list's installation and the reload is made up for."""
    target = a_client_target(a_list(7), RESTART)
    trust = ClientTrust(ROOT.pem, a_list(7))
    untold = ("its list is installed, but its program was not told", True)
    assert trust_reason(target, trust, NOW) == untold
    assert trust_reason(replace(target, last_deploy=a_deploy(6)), trust, NOW) == untold
    assert trust_reason(replace(target, last_deploy=a_deploy(7)), trust, NOW) is None


def test_a_target_that_asks_nobody_gets_no_list() -> None:
    """Only client_auth brings CA and list."""
    target = a_client_target(None, HotReload())
    target = replace(target, spec=replace(target.spec, client_auth=False))
    assert trust_reason(target, ClientTrust(ROOT.pem, a_list()), NOW) is None


# ── proving ───────────────────────────────────────────────────────────────────────────────────────


def test_who_gets_in_is_looked_at_daily_and_with_each_list() -> None:
    """A proof is of one list, and no older than a day."""
    target = a_client_target(a_list(7), HotReload())
    assert is_proof_due(target, None, NOW)
    assert not is_proof_due(target, a_proof(), NOW + 23 * HOUR)
    assert is_proof_due(target, a_proof(), NOW + DAY)
    assert is_proof_due(target, a_proof(number=6), NOW)
    assert is_proof_due(target, a_proof(at=NOW + 7 * DAY), NOW)  # a wrong clock's


def test_a_proof_that_failed_backs_off() -> None:
    """It is tried again within minutes, then more and more seldom."""
    waits = [
        proof_at(a_proof(ProofOutcome.REFUTED, failures=failures), NOW) - NOW
        for failures in (1, 2, 3, 4)
    ]
    assert waits == sorted(waits)
    assert waits[0] <= MINUTE
    assert waits[-1] <= DAY


def a_deploy(crl_number: int) -> DeployRecord:
    return DeployRecord(
        1, "node-red", "ab" * 32, NOW, None, None, DeployOutcome.IN_USE,
        ended_at=NOW, crl_number=crl_number,
    )  # fmt: skip
