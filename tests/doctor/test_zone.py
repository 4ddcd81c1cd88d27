"""The zones: judged by tables, and looked at through the emulated API and name server."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.token import look_at_token, look_at_zones
from certwarden.doctor.zone import (
    MOST_TXT,
    Surrounded,
    judge_delegation,
    judge_status,
    judge_txt,
    look_at_delegation,
    look_at_status,
    look_at_txt,
)
from certwarden.errors import Error, ZoneError
from certwarden.lifecycle.canary import COMMENT as CANARY
from certwarden.model import Place
from certwarden.zone.resolving import Resolved
from certwarden.zone.survey import SurveyedRecord, SurveyedZone
from tests.doctor.premises import Premises, premises
from tests.world.cloudflare import Fault
from tests.world.dns import DnsFault

CHALLENGE = "_acme-challenge.example.org"
ZONE = SurveyedZone("0" * 32, "example.org", "active", ("ada.test", "bob.test"))
HERE = Place(CHALLENGE, CHALLENGE, ZONE.id, ZONE.name)
THERE = Place(CHALLENGE, "x.example.net", "1" * 32, "example.net")
ALIAS = SurveyedRecord("1", "CNAME", CHALLENGE, "x.example.net")
SHOWN = Resolved("doh", "NOERROR", frozenset({"x.example.net"}))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Premises]:
    with premises(tmp_path) as made:
        yield made


# ── judging ───────────────────────────────────────────────────────────────────────────────────────


def _told(*servers: str) -> Resolved:
    return Resolved("doh", "NOERROR", frozenset(servers))


@pytest.mark.parametrize(
    ("zone", "shown", "result", "word"),
    [
        (ZONE, _told("ada.test", "bob.test"), Result.OK, "the world asks Cloudflare"),
        (ZONE, _told("ada.test"), Result.OK, "the world asks Cloudflare"),
        (ZONE, _told("ns1.isp.test"), Result.ERROR, "not Cloudflare's"),
        (ZONE, _told("ada.test", "ns1.isp.test"), Result.WARNING, "also asks ns1.isp.test"),
        (ZONE, None, Result.OK, "not looked at"),
        (ZONE, Error("slow"), Result.OK, "not looked at"),
        (ZONE, Resolved("doh", "SERVFAIL"), Result.OK, "not looked at"),
        (SurveyedZone("0", "a.org", "pending"), None, Result.ERROR, "pending"),
        (SurveyedZone("0", "a.org", "moved"), _told("ada.test"), Result.ERROR, "moved"),
        (SurveyedZone("0", "a.org"), _told("ada.test"), Result.SKIPPED, "zone_ids"),
    ],
)
def test_status(
    zone: SurveyedZone, shown: Resolved | Error | None, result: Result, word: str
) -> None:
    """A zone must be active, and the world be sent to Cloudflare's servers and no others."""
    finding = judge_status(zone, shown)
    assert (finding.result, word in finding.what) == (result, True)


def _at(record: SurveyedRecord) -> Surrounded:
    return Surrounded(CHALLENGE, ZONE, [record], THERE, SHOWN)


@pytest.mark.parametrize(
    ("seen", "result", "word"),
    [
        (Surrounded(CHALLENGE, ZONE, [], HERE), Result.OK, "belongs into the zone example.org"),
        (
            Surrounded(
                CHALLENGE,
                ZONE,
                [SurveyedRecord("1", "CNAME", "*.example.org", "a.b.test")],
                HERE,
            ),
            Result.OK,
            "*.example.org gives way",
        ),
        (_at(ALIAS), Result.OK, "leads to x.example.net"),
        (
            Surrounded(CHALLENGE, ZONE, [ALIAS], ZoneError("no such zone", "give it")),
            Result.ERROR,
            "no such zone",
        ),
        (
            _at(SurveyedRecord("1", "CNAME", CHALLENGE, "x.example.net", "", is_proxied=True)),
            Result.ERROR,
            "proxied",
        ),
        (
            Surrounded(CHALLENGE, ZONE, [ALIAS], THERE, Resolved("doh", "NOERROR")),
            Result.ERROR,
            "the world does not see it",
        ),
        (Surrounded(CHALLENGE, ZONE, [ALIAS], THERE, None), Result.OK, "leads to"),
        (Surrounded(CHALLENGE, ZONE, [ALIAS], THERE, Error("slow")), Result.OK, "leads to"),
        (_at(SurveyedRecord("1", "NS", CHALLENGE, "ns.isp.test")), Result.ERROR, "ns.isp.test"),
        (_at(SurveyedRecord("1", "NS", "example.org", "ada.test")), Result.OK, "belongs"),
        (_at(SurveyedRecord("1", "NS", "other.example.org", "ns.isp.test")), Result.OK, "belongs"),
        (_at(SurveyedRecord("1", "NS", "challenge.example.org", "n.test")), Result.OK, "belongs"),
    ],
)
def test_delegation(seen: Surrounded, result: Result, word: str) -> None:
    """Cuts above the name and CNAMEs that lead nowhere are errors; wildcards are not."""
    (finding,) = judge_delegation(seen)
    assert (finding.result, word in finding.what) == (result, True), finding


def _txt(count: int, value: str = "v{}", comment: str = "") -> list[SurveyedRecord]:
    return [
        SurveyedRecord(str(n), "TXT", CHALLENGE, value.format(n), comment) for n in range(count)
    ]


@pytest.mark.parametrize(
    ("found", "result", "word"),
    [
        ([], Result.OK, "nothing"),
        (_txt(1), Result.OK, "1 TXT record of other"),
        (_txt(MOST_TXT), Result.OK, f"{MOST_TXT} TXT records of other"),
        (_txt(MOST_TXT + 1), Result.WARNING, f"left {MOST_TXT + 1} TXT records"),
        (_txt(1, "ours"), Result.OK, "of ours"),
        (_txt(2, comment=CANARY), Result.OK, "2 TXT records of a trial by `setup`"),
        ([*_txt(1, "ours"), *_txt(1, comment=CANARY)], Result.OK, "1 TXT record of ours"),
        ([*_txt(1, comment=CANARY), *_txt(MOST_TXT)], Result.OK, "of a trial by"),
        ([*_txt(1, "ours"), *_txt(MOST_TXT + 1)], Result.WARNING, "other programs"),
    ],
)
def test_txt(found: list[SurveyedRecord], result: Result, word: str) -> None:
    """Ours are swept, by a pass or by `setup`; a few of others' disturb nobody, many are to be
    deleted.
    """
    finding = judge_txt(CHALLENGE, found, {"ours"})
    assert (finding.result, word in finding.what) == (result, True), finding


# ── looking ───────────────────────────────────────────────────────────────────────────────────────


def _look(house: Premises) -> list[Finding]:
    looks: Iterable[Callable[..., Iterable[Finding]]] = (
        look_at_status,
        look_at_delegation,
        look_at_txt,
    )
    with house.patient() as patient:
        return [finding for look in looks for finding in look(patient)]


def test_healthy(house: Premises) -> None:
    """A zone in order draws no attention; no name server is asked about challenges."""
    assert [each.result for each in _look(house)] == [Result.OK] * 3
    assert not [query for query in house.dns.queries if "_acme-challenge" in query.name]


def _pend(house: Premises) -> None:
    house.store.change_zone(house.store.zone_named("example.org").id, status="pending")


def _move_away(house: Premises) -> None:
    zone = house.store.zone_named("example.org")
    house.store.change_zone(zone.id, delegated_to=["ns1.isp.test"])


def _flatten(house: Premises) -> None:
    house.store.add_zone("example.net")
    house.store.add("CNAME", CHALLENGE, "x.example.net")
    house.dns.inject(DnsFault("empty", name=CHALLENGE, type="CNAME"))


def _proxy(house: Premises) -> None:
    house.store.add_zone("example.net")
    house.store.add("CNAME", CHALLENGE, "x.example.net", proxied=True)


def _crowd(house: Premises) -> None:
    for number in range(12):
        house.store.add("TXT", CHALLENGE, f'"old-{number}"')


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (_pend, "pending at Cloudflare, not active"),
        (_move_away, "the world asks ns1.isp.test"),
        (_flatten, "the world does not see it"),
        (_proxy, "is proxied by Cloudflare"),
        (_crowd, "left 12 TXT records"),
        (
            lambda house: house.store.add("CNAME", CHALLENGE, "x.elsewhere.test"),
            "the API token sees no zone that holds that name",
        ),
        (
            lambda house: house.store.add("NS", CHALLENGE, "ns1.isp.test"),
            "hand it over to ns1.isp.test",
        ),
    ],
)
def test_planted(house: Premises, plant: Callable[[Premises], object], sentence: str) -> None:
    """Each way in which a zone is not in order is named once, with its remedy."""
    plant(house)
    (fault,) = [each for each in _look(house) if each.needs_attention]
    assert sentence in fault.what
    assert fault.remedy


def test_delegated(house: Premises) -> None:
    """A CNAME to a zone of ours, or to one that a wildcard shadows, draws no attention."""
    house.store.add_zone("example.net")
    house.store.add("CNAME", CHALLENGE, "x.example.net")
    house.store.add("CNAME", "*.example.org", "elsewhere.test")
    found = _look(house)
    assert not [each for each in found if each.needs_attention], found
    assert any("leads to x.example.net" in each.what for each in found)


def test_api_fails(house: Premises) -> None:
    """Where the API does not tell, nothing is claimed."""
    house.cloudflare.inject(Fault("token_9109", times=100))
    assert {each.result for each in _look(house)} == {Result.SKIPPED}


def test_no_token(house: Premises) -> None:
    """A token that cannot be read is no reason to fail."""
    with house.patient() as patient:
        house.token_file.unlink()
        del patient.warden._token  # that is read once
        found = [*look_at_status(patient), *look_at_delegation(patient), *look_at_txt(patient)]
        told = [*look_at_token(patient), *look_at_zones(patient)]
    assert {each.result for each in found} == {Result.SKIPPED}
    assert [each.result for each in told] == [Result.ERROR, Result.SKIPPED]
