"""The API token: judged by tables, and looked at through the emulated API."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.token import (
    judge_token,
    judge_zones,
    look_at_token,
    look_at_zones,
)
from certwarden.errors import ConfigError, Error, Mistake, ZoneError
from certwarden.model import TokenHealth
from certwarden.zone.client import CloudflareClient
from certwarden.zone.refusals import RefusedError
from certwarden.zone.survey import SurveyedZone
from tests.builders import NOW
from tests.doctor.premises import Premises, premises
from tests.world.cloudflare import DNS_READ, ZONE_READ, Fault

DAY = timedelta(days=1)
ZONE = SurveyedZone("0" * 32, "example.org", "active")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Premises]:
    with premises(tmp_path) as made:
        yield made


# ── judging ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("found", "result", "word"),
    [
        (TokenHealth(None), Result.OK, "accepts"),
        (TokenHealth(NOW + 31 * DAY), Result.OK, "until"),
        (TokenHealth(NOW + 29 * DAY), Result.WARNING, "in 29 days"),
        (TokenHealth(NOW + timedelta(minutes=1)), Result.WARNING, "in 1 day"),
        (TokenHealth(NOW - DAY), Result.ERROR, "expired"),
        (ZoneError("it was revoked", "make one", permanent=True), Result.ERROR, "it was revoked"),
        (ZoneError("no way there", "look"), Result.ERROR, "cannot be told: no way there"),
        (ConfigError("t", [Mistake("", "is empty")]), Result.ERROR, "t is empty"),
        (Error("too slow", "wait"), Result.ERROR, "cannot be told: too slow"),
    ],
)
def test_token(found: TokenHealth | Error, result: Result, word: str) -> None:
    """Whatever verification comes to is one sentence; what is wrong has a remedy."""
    finding = judge_token(found, NOW)
    assert finding.result is result
    assert word in finding.what
    assert bool(finding.remedy) == finding.needs_attention


def test_zones() -> None:
    """A domain in no zone and a zone that may not be changed are errors; no answer is none."""
    refused = ZoneError("it may not", "give it", permanent=True)
    busy = ZoneError("asked too often", "wait")
    found = list(
        judge_zones(
            {"example.org": ZONE, "elsewhere.test": None},
            {
                ZONE: None,
                SurveyedZone("1" * 32, "example.net"): refused,
                SurveyedZone("2" * 32, "example.com"): busy,
            },
        )
    )
    assert [(each.subject, each.result) for each in found] == [
        ("elsewhere.test", Result.ERROR),
        ("example.org", Result.OK),
        ("example.net", Result.ERROR),
        ("example.com", Result.SKIPPED),
    ]


# ── looking ───────────────────────────────────────────────────────────────────────────────────────


def _look(house: Premises) -> list[Finding]:
    with house.patient() as patient:
        return [*look_at_token(patient), *look_at_zones(patient)]


def test_healthy(house: Premises) -> None:
    """A good token draws no attention, and looking at it leaves every record as it was."""
    before = house.store.records()
    found = _look(house)
    assert [each.result for each in found] == [Result.OK, Result.OK]
    assert house.store.records() == before


def _revoked(house: Premises) -> str:
    del house
    return "cfut_" + "a" * 48


def _expiring(house: Premises) -> str:
    end = datetime.now(UTC) + 10 * DAY
    return house.cloudflare.add_token(expires_on=f"{end:%Y-%m-%dT%H:%M:%SZ}").secret


def _early(house: Premises) -> str:
    return house.cloudflare.add_token(not_before="2050-01-01T00:00:00Z").secret


def _read_only(house: Premises) -> str:
    return house.cloudflare.add_token(ZONE_READ, DNS_READ).secret


def _blind(house: Premises) -> str:
    return house.cloudflare.add_token(DNS_READ, zones=[house.store.add_zone("other.test")]).secret


@pytest.mark.parametrize(
    ("plant", "sentence", "remedy"),
    [
        (_revoked, "does not accept the API token any more", "make a new token"),
        (lambda house: house.cloudflare.add_token(status="disabled").secret, "disabled", "enable"),
        (lambda house: house.cloudflare.add_token(status="expired").secret, "expired", "new token"),
        (_expiring, "it expires on", "Create Token"),
        (_early, "not valid before 2050-01-01", "start date"),
        (_read_only, "does not let the API token change records", "Read is not enough"),
        (_blind, "the API token sees no zone", "Zone / Zone / Read"),
        (
            lambda house: house.cloudflare.add_token(addresses=["198.51.100.7"]).secret,
            "from this machine's address 127.0.0.1",
            "client IP address filter",
        ),
        (lambda house: house.cloudflare.add_global_key("me@a.test"), "Global API Key", "API token"),
        (lambda _: "not-a-token", "cannot read the API token", "alone"),
    ],
)
def test_planted(
    house: Premises, plant: Callable[[Premises], str], sentence: str, remedy: str
) -> None:
    """Each way in which a token is no good is named, with what to do; nobody sees the token."""
    house.secret = plant(house)
    faults = [each for each in _look(house) if each.needs_attention]
    assert any(sentence in each.what and remedy in each.remedy for each in faults), faults
    assert not any(house.secret in f"{each.what} {each.remedy}" for each in faults)


def test_file(house: Premises) -> None:
    """The remedy names the file that the token belongs in, not the key that names the file."""
    house.secret = _revoked(house)
    (fault,) = [each for each in _look(house) if each.needs_attention]
    assert f"write it to {house.token_file}" in fault.remedy


def test_zone_ids(house: Premises) -> None:
    """A token that may list nothing is enough where zone_ids names the zone."""
    zone = house.store.zone_named("example.org")
    house.secret = house.cloudflare.add_token(DNS_READ, "dns:edit", zones=[zone]).secret
    house.cloudflare_settings = f'zone_ids = {{ "example.org" = "{zone.id}" }}'
    assert [each.result for each in _look(house)] == [Result.OK, Result.OK]
    house.cloudflare_settings = f'zone_ids = {{ "example.org" = "{"f" * 32}" }}'
    assert [each.result for each in _look(house)] == [Result.OK, Result.ERROR]


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (lambda _: "not-a-token", "cannot read the API token"),
        (_revoked, "does not accept the API token any more"),
        (lambda house: house.cloudflare.add_token(DNS_READ).secret, "change records"),
    ],
)
def test_with_zone_ids_no_token_is_called_good_that_is_not(
    house: Premises, plant: Callable[[Premises], str], sentence: str
) -> None:
    """Nothing is listed then that would be refused before."""
    house.secret = plant(house)
    zone_id = house.store.zone_named("example.org").id
    house.cloudflare_settings = f'zone_ids = {{ "example.org" = "{zone_id}" }}'
    with house.patient() as patient:
        (finding,) = look_at_zones(patient)
    assert finding.result is Result.ERROR
    assert sentence in finding.what


@pytest.mark.parametrize(
    ("refused", "result"),
    [
        (RefusedError(404, [(81044, "Record does not exist.")]), Result.OK),
        (RefusedError(404, [(7003, "Could not route"), (7000, "No route")]), Result.OK),
        (RefusedError(403, [(7003, "Could not route"), (10000, "No")]), Result.ERROR),
        (RefusedError(400, [(6003, "Invalid request headers")]), Result.ERROR),
        (RefusedError(400, [(9106, "Missing X-Auth-Key")]), Result.ERROR),
        (RefusedError(400, [(10000, "Authentication error")]), Result.ERROR),
        (RefusedError(400, [(424242, "Never heard of")]), Result.SKIPPED),
        (RefusedError(429, []), Result.SKIPPED),
    ],
)
def test_only_what_is_refused_for_the_record_alone_shows_the_permission(
    house: Premises, monkeypatch: pytest.MonkeyPatch, refused: RefusedError, result: Result
) -> None:
    """That the record is not there is told to who may remove it; whatever else is no permission."""

    def refuse(*_: object) -> None:
        raise refused

    monkeypatch.setattr(CloudflareClient, "batch", refuse)
    with house.patient() as patient:
        (finding,) = look_at_zones(patient)
    assert finding.result is result


def test_api_fails(house: Premises) -> None:
    """Where the API only fails, that is one error, and nothing is said about the zones."""
    house.cloudflare.inject(Fault("server_error", times=100))
    assert [each.result for each in _look(house)] == [Result.ERROR, Result.SKIPPED]


def test_api_hangs(house: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that keeps us waiting is told within seconds."""
    monkeypatch.setattr("certwarden.doctor.in_time.SECONDS", 0.2)
    house.cloudflare.inject(Fault("slow", seconds=3.0, times=100))
    with house.patient() as patient:
        (finding,) = look_at_token(patient)
    assert finding.result is Result.ERROR
    assert "no answer within" in finding.what
