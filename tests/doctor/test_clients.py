"""What is said of who gets in at a target."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certwarden.doctor.clients import (
    Visits,
    foreign_client,
    judge_proof,
    judge_visits,
    judge_way_around,
    why_not_revoked,
)
from certwarden.doctor.finding import Result
from certwarden.model import (
    Address,
    Admission,
    Answer,
    HotReload,
    ObservedTarget,
    Pair,
    ProofOutcome,
    Secret,
    Unreachable,
)
from certwarden.targets.visits import Listener
from tests.builders import NOW, a_target_spec
from tests.lifecycle.client_facts import a_client_target, a_list, a_proof
from tests.lifecycle.facts import DAY, HOUR, a_leaf

IN = Answer(Admission.LET_IN, "127.0.0.1:1880 let it in (HTTP 200)")
OUT = Answer(Admission.REFUSED, "127.0.0.1:1880 dropped it without a word")
WHO_KNOWS = Answer(Admission.UNKNOWN, "127.0.0.1:1880 gives no answer in time")
TARGET = a_client_target(a_list(signed_at=NOW - HOUR), HotReload())
ALL_OUT = {"no certificate": OUT, "a certificate of another CA": OUT, "a revoked one": OUT}


def test_a_door_that_is_shut_to_all_strangers_is_in_order() -> None:
    """One finding says whom it refuses."""
    (finding,) = judge_visits(TARGET, Visits(ALL_OUT, ALL_OUT))
    assert finding.result is Result.OK
    assert "or a revoked one, at its websocket as well" in finding.what


@pytest.mark.parametrize("caller", ALL_OUT)
def test_every_way_in_that_is_open_is_an_error(caller: str) -> None:
    """By page or by websocket; a page that is open is told once."""
    (page,) = judge_visits(TARGET, Visits({**ALL_OUT, caller: IN}, {**ALL_OUT, caller: IN}))
    (socket,) = judge_visits(TARGET, Visits(ALL_OUT, {**ALL_OUT, caller: IN}))
    assert page.result is socket.result is Result.ERROR
    assert caller in page.what
    assert "websocket" not in page.what
    assert f"{caller} gets in by a websocket" in socket.what
    assert page.remedy
    assert socket.remedy


def test_what_cannot_be_told_is_no_success() -> None:
    """Silence may mean anything."""
    (finding,) = judge_visits(TARGET, Visits({**ALL_OUT, "a revoked one": WHO_KNOWS}))
    assert finding.result is Result.WARNING


def test_a_proxy_that_is_configured_as_files_is_told_from_an_open_door() -> None:
    """It refuses by 400, which would count as being let in."""
    (finding,) = judge_visits(TARGET, Visits({"no certificate": IN}, is_told_by_status=True))
    assert 'kind = "nginx"' in finding.remedy


def test_where_no_revoked_client_could_be_sent_it_is_not_said_to_be_refused() -> None:
    """The rest is told all the same."""
    shut = {"no certificate": OUT}
    (finding,) = judge_visits(TARGET, Visits(shut, why_not_revoked="there is none"))
    assert finding.result is Result.SKIPPED
    (finding,) = judge_visits(TARGET, Visits({"no certificate": IN}, why_not_revoked="no"))
    assert finding.result is Result.ERROR


def test_a_revoked_client_tells_nothing_by_dates_or_before_its_list() -> None:
    """Then its refusal would prove nothing, and its admission would be right."""
    leaf = a_leaf()
    probe = Pair(Secret(b""), (b"",), leaf)
    listed = a_client_target(a_list(serials=[leaf.serial]), HotReload())
    assert why_not_revoked(listed, probe, NOW) == ""
    assert "older" in why_not_revoked(TARGET, probe, NOW)
    assert "dates" in why_not_revoked(listed, probe, NOW + 91 * DAY)
    assert "no revoked" in why_not_revoked(listed, None, NOW)


def test_the_stranger_is_good_but_for_his_ca() -> None:
    """Else he would be refused for something else."""
    assert foreign_client(NOW).certificate.is_valid_at(NOW)


# ── the last proof ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("outcome", "age", "number", "is_locked", "result"),
    [
        (ProofOutcome.PROVEN, HOUR, 7, False, Result.OK),
        (ProofOutcome.PROVEN, 47 * HOUR, 7, False, Result.OK),
        (ProofOutcome.PROVEN, 49 * HOUR, 7, False, Result.WARNING),
        (ProofOutcome.PROVEN, 49 * HOUR, 7, True, Result.OK),
        (ProofOutcome.PROVEN, HOUR, 6, False, Result.WARNING),
        (ProofOutcome.PROVEN, HOUR, 6, True, Result.OK),
        (ProofOutcome.REFUTED, HOUR, 7, True, Result.ERROR),
        (ProofOutcome.UNKNOWN, HOUR, 7, False, Result.WARNING),
        (ProofOutcome.UNKNOWN, HOUR, 7, True, Result.SKIPPED),
    ],
)
def test_the_last_proof_says_whether_good_clients_get_in(
    outcome: ProofOutcome,
    age: timedelta,
    number: int,
    is_locked: bool,  # noqa: FBT001 - a row
    result: Result,
) -> None:
    """As long as it is of the list that is installed, and of yesterday at the latest."""
    proof = a_proof(outcome, NOW - age, number=number, failures=int(outcome != "proven"))
    finding = judge_proof(TARGET, proof, NOW, is_locked=is_locked)
    assert finding.result is result
    assert finding.remedy or not finding.needs_attention


def test_a_list_that_is_quite_new_is_about_to_be_looked_at() -> None:
    """The daemon signs first, and proves a moment later: no fault, until it takes too long."""
    fresh = a_client_target(a_list(signed_at=NOW), HotReload())
    late = a_client_target(a_list(signed_at=NOW - timedelta(minutes=10)), HotReload())
    proof = a_proof(number=6)
    assert judge_proof(fresh, proof, NOW, is_locked=False).result is Result.SKIPPED
    assert judge_proof(late, proof, NOW, is_locked=False).result is Result.WARNING


def test_without_any_proof_nobody_has_looked() -> None:
    """A locked CA has nobody to send."""
    assert judge_proof(TARGET, None, NOW, is_locked=False).result is Result.WARNING
    locked = judge_proof(TARGET, None, NOW, is_locked=True)
    assert (locked.result, locked.remedy) == (Result.SKIPPED, "certwarden ca unlock")


def test_a_session_that_outlives_a_revocation_is_told_with_its_setting() -> None:
    """nginx's shared session cache keeps it through every reload."""
    proof = replace(a_proof(ProofOutcome.REFUTED), is_resumable=True)
    finding = judge_proof(TARGET, proof, NOW, is_locked=False)
    assert finding.result is Result.ERROR
    assert "ssl_session_cache off" in finding.remedy


def test_who_got_in_is_told_as_well_where_the_files_are_not_whole() -> None:
    """The program goes by what it has loaded, whatever has become of its files."""
    target = replace(TARGET, installed=None)
    for proof in (
        a_proof(ProofOutcome.REFUTED),
        replace(a_proof(ProofOutcome.PROVEN), is_resumable=True),
    ):
        assert judge_proof(target, proof, NOW, is_locked=False).result is Result.ERROR


def cannot_be_asked() -> Iterator[ObservedTarget]:
    yield replace(TARGET, seen=Unreachable("nobody answers"))
    yield replace(TARGET, installed=None)
    yield replace(TARGET, spec=replace(TARGET.spec, probe=None))


@pytest.mark.parametrize("target", [*cannot_be_asked()])
def test_a_target_that_is_away_is_told_elsewhere(target: ObservedTarget) -> None:
    """Once is enough."""
    assert judge_proof(target, None, NOW, is_locked=False).result is Result.SKIPPED


def test_a_way_around_the_proxy_is_told_with_the_address() -> None:
    """Whoever takes it needs no certificate, and is believed whatever he says of himself."""
    spec = a_target_spec("nginx", kind="nginx")
    assert judge_way_around(spec, []).result is Result.OK
    listener = Listener(Address("0.0.0.0", 1880), Address("127.0.0.1", 1880))
    finding = judge_way_around(spec, [listener])
    assert finding.result is Result.WARNING
    assert "0.0.0.0:1880" in finding.what
    assert 'uiHost: "127.0.0.1"' in finding.remedy


def test_strangers_are_made_for_any_instant() -> None:
    """Also on a machine whose clock is in the past."""
    past = datetime.fromisoformat("1990-01-01T00:00:00Z")
    assert foreign_client(past).certificate.is_valid_at(past)
