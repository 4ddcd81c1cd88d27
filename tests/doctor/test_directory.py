"""The CAs: judged by tables of what they say and of what is written down; looked at in Pebble."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certwarden.config import AcmeConfig, ExternalAccount
from certwarden.doctor.directory import (
    Role,
    judge_attempts,
    judge_directory,
    judge_limits,
    look_at_attempts,
    look_at_directories,
    look_at_limits,
    roles_of,
)
from certwarden.doctor.finding import Finding, Result
from certwarden.errors import Error, IssuerError, StoreError
from certwarden.issuer.resources import Directory
from certwarden.model import Attempt, AttemptOutcome, Cause, Observed, Policy, Spent
from tests.builders import DIRECTORY, NOW, a_certificate_spec, a_stored, an_attempt
from tests.doctor.premises import NOBODY, Premises, premises
from tests.world import World

HOUR = timedelta(hours=1)
STAGING = "https://staging.test/directory"
LIMITED = Policy(limited=frozenset({DIRECTORY}))
ACME = AcmeConfig(DIRECTORY, STAGING, True, None, None, (), None, limits=True)  # noqa: FBT003
FIRST, REHEARSAL = roles_of(ACME)
SECOND = Role(DIRECTORY, ACME)
OFFER = Directory("n", "a", "o", "r", "", "", (), ("classic", "shortlived"), False)  # noqa: FBT003


# ── what the CA says of itself ────────────────────────────────────────────────────────────────────


def _with(role: Role, profile: str = "", *, eab: bool = False) -> Role:
    account = ExternalAccount("kid", Path("eab.key")) if eab else None
    return replace(role, acme=replace(ACME, profile=profile or None, external_account=account))


BOUND = replace(OFFER, external_account_required=True)


@pytest.mark.parametrize(
    ("role", "found", "result", "word"),
    [
        (FIRST, OFFER, Result.OK, "answers"),
        (FIRST, IssuerError("it is down", "wait"), Result.ERROR, "it is down"),
        (FIRST, Error("too slow"), Result.ERROR, "too slow"),
        (REHEARSAL, IssuerError("it is down", "wait"), Result.WARNING, "it is down"),
        (SECOND, IssuerError("it is down", "wait"), Result.WARNING, "it is down"),
        (_with(FIRST, "shortlived"), OFFER, Result.OK, "answers"),
        (_with(FIRST, "longlived"), OFFER, Result.ERROR, "it offers: classic, shortlived"),
        (_with(REHEARSAL, "longlived"), OFFER, Result.OK, "answers"),
        (FIRST, BOUND, Result.ERROR, "at its own site"),
        (_with(FIRST, eab=True), BOUND, Result.OK, "answers"),
    ],
)
def test_directory(role: Role, found: Directory | Error, result: Result, word: str) -> None:
    """The first CA is needed today, the others only some day."""
    finding = judge_directory(role, found)
    assert (finding.result, word in finding.what) == (result, True), finding
    assert bool(finding.remedy) == finding.needs_attention


def test_roles() -> None:
    """Each directory is looked at once, whoever shares it."""
    fallback = replace(ACME, directory_url="https://ca.test/dir", staging_directory_url=None)
    roles = list(roles_of(replace(ACME, fallbacks=(fallback, fallback))))
    assert [(role.url, role.is_first, role.is_staging) for role in roles] == [
        (DIRECTORY, True, False),
        (STAGING, False, True),
        ("https://ca.test/dir", False, False),
    ]


# ── limits and attempts ───────────────────────────────────────────────────────────────────────────


def _seen(*failures: Attempt, spent: Spent | None = None, is_stored: bool = True) -> Observed:
    return Observed(
        a_certificate_spec(),
        a_stored() if is_stored else None,
        None,
        (),
        failures=failures,
        spent={DIRECTORY: spent} if spent else {},
    )


@pytest.mark.parametrize(
    ("spent", "result", "word"),
    [
        (None, Result.OK, "leave room"),
        (Spent({}, (NOW - HOUR,) * 2), Result.OK, "leave room"),
        (Spent({}, (NOW - HOUR,) * 3), Result.WARNING, "3 certificates for these names"),
        (Spent({}, (NOW - timedelta(days=8),) * 3), Result.OK, "leave room"),
        (Spent({"example.org": (NOW,) * 2}), Result.OK, "leave room"),
        (Spent({"example.org": (NOW,) * 4}), Result.WARNING, "4 authorizations of example.org"),
    ],
)
def test_limits(spent: Spent | None, result: Result, word: str) -> None:
    """It is told when our own count holds back the next attempt, and until when."""
    (finding,) = judge_limits(_seen(spent=spent), LIMITED, NOW)
    assert (finding.result, word in finding.what) == (result, True), finding


def test_no_limits() -> None:
    """A CA without limits holds nothing back, whatever was spent."""
    (finding,) = judge_limits(_seen(spent=Spent({}, (NOW,) * 9)), Policy(), NOW)
    assert finding.result is Result.OK


CUT = [an_attempt(number=n, outcome=AttemptOutcome.BEGUN) for n in (4, 3, 2, 1)]
REFUSED = IssuerError("CAA forbids it", "correct it", problem="caa", permanent=True)


@pytest.mark.parametrize(
    ("seen", "result", "word"),
    [
        (_seen(), Result.OK, "no attempt"),
        (_seen(*CUT[:1]), Result.OK, "no attempt"),
        (_seen(*CUT), Result.WARNING, "cut short"),
        (_seen(an_attempt()), Result.WARNING, "the next one is made at"),
        (_seen(an_attempt(begun_at=NOW - 30 * HOUR)), Result.WARNING, "the next one is due now"),
        (_seen(an_attempt(number=2), an_attempt()), Result.ERROR, "the last attempt failed"),
        (_seen(an_attempt(), is_stored=False), Result.ERROR, "the last attempt failed"),
        (
            _seen(an_attempt(error=REFUSED, cause=Cause.CAA)),
            Result.ERROR,
            "until something is put right: CAA forbids it",
        ),
        (replace(_seen(), trouble=StoreError("damaged")), Result.SKIPPED, "damaged"),
    ],
)
def test_attempts(seen: Observed, result: Result, word: str) -> None:
    """What stands in the way of the next certificate is told with the next try and what to do."""
    finding = judge_attempts(seen, Policy(), NOW)
    assert (finding.result, word in finding.what) == (result, True), finding
    assert bool(finding.remedy) == finding.needs_attention


# ── looking ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Premises]:
    with premises(tmp_path) as made:
        yield made


def _look(house: Premises) -> list[Finding]:
    with house.patient() as patient:
        return list(look_at_directories(patient))


@pytest.mark.world
def test_looking(house: Premises, world: World) -> None:
    """A CA that answers draws no attention; a profile that it lacks, and TLS of strangers, do."""
    house.acme_directory = world.directory_url
    trusting = f'ca_bundle = "{world.ca_bundle}"\n'
    house.acme = trusting
    assert [each.result for each in _look(house)] == [Result.OK]
    house.acme = f'{trusting}profile = "no-such-profile"'
    (finding,) = _look(house)
    assert "does not offer the profile no-such-profile" in finding.what
    house.acme = ""
    (finding,) = _look(house)
    assert "is not to be trusted" in finding.what
    assert "ca_bundle" in finding.remedy
    house.acme_directory = f"{world.directory_url}/elsewhere"
    house.acme = trusting
    (finding,) = _look(house)
    assert finding.result is Result.ERROR


def test_nobody_there(house: Premises) -> None:
    """A CA that cannot be reached is an error; one for some day, and a rehearsal's, a warning."""
    house.acme = f"""
staging_directory = "{NOBODY}/staging"
[[acme.fallback]]
directory = "{NOBODY}/second"
terms_of_service_agreed = true
"""
    found = _look(house)
    assert [each.result for each in found] == [Result.ERROR, Result.WARNING, Result.WARNING]
    assert all("cannot be reached" in each.what for each in found)


def test_an_empty_house(house: Premises) -> None:
    """Where nothing was ever attempted, nothing is held against anybody, and nothing is written."""
    with house.patient() as patient:
        found = [*look_at_limits(patient), *look_at_attempts(patient)]
    assert [each.result for each in found] == [Result.OK, Result.OK]
    assert not house.state.exists()
