"""CAA: judged by a table of RFC 8659 and 8657, and looked at through the world's name server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certwarden.doctor.caa import Applicant, judge_caa, look_at_caa
from certwarden.doctor.finding import Result
from certwarden.zone.caa import CaaRecord, Found, Unknown
from tests.doctor.premises import Premises, premises
from tests.world.dns import DnsFault

URL = "https://acme-v02.api.letsencrypt.org/directory"
OURS = "https://acme.example/acct/7"
LE = Applicant(URL, ("letsencrypt.org",), OURS)
SOMEBODY = Applicant("https://ca.test/directory", (), OURS)
NEW = Applicant(URL, ("letsencrypt.org",), "")
SECOND = Applicant(URL, ("letsencrypt.org",), OURS, is_first=False)
TWO_NAMES = Applicant(URL, ("pki.example", "CA.example."), OURS)
APEX, STAR = "example.org", "*.example.org"
OK, BAD, LATER, OPEN = Result.OK, Result.ERROR, Result.WARNING, Result.SKIPPED


def _issue(value: str, tag: str = "issue", flags: int = 0) -> CaaRecord:
    return CaaRecord(APEX, flags, tag, value)


LETS = _issue("letsencrypt.org")
NOBODY = _issue(";")


@pytest.mark.parametrize(
    ("domain", "found", "applicant", "result"),
    [
        (APEX, (), LE, OK),
        (APEX, (_issue("mailto:me@a.test", "iodef"),), LE, OK),
        (APEX, (LETS,), LE, OK),
        (APEX, (_issue("LetsEncrypt.org."),), LE, OK),
        (STAR, (LETS,), LE, OK),
        (APEX, (_issue("digicert.com"),), LE, BAD),
        (APEX, (_issue("digicert.com"),), SECOND, LATER),
        (APEX, (_issue("digicert.com"), LETS), LE, OK),
        (APEX, (NOBODY,), LE, BAD),
        (APEX, (_issue(""),), LE, BAD),
        (STAR, (LETS, _issue(";", "issuewild")), LE, BAD),
        (APEX, (LETS, _issue(";", "issuewild")), LE, OK),
        (STAR, (NOBODY, _issue("letsencrypt.org", "issuewild")), LE, OK),
        (APEX, (_issue("letsencrypt.org", "issuewild"),), LE, OK),
        (APEX, (_issue("letsencrypt.org; validationmethods=dns-01"),), LE, OK),
        (APEX, (_issue("letsencrypt.org; validationmethods=http-01,dns-01"),), LE, OK),
        (APEX, (_issue("letsencrypt.org;validationmethods=http-01"),), LE, BAD),
        (APEX, (_issue("letsencrypt.org; validationmethods=http-01"), LETS), LE, OK),
        (APEX, (_issue(f"letsencrypt.org; accounturi={OURS}"),), LE, OK),
        (APEX, (_issue(f"letsencrypt.org; accounturi={OURS}8"),), LE, BAD),
        (APEX, (_issue(f"letsencrypt.org; accounturi={OURS}"),), NEW, BAD),
        (APEX, (_issue(f"letsencrypt.org; accounturi={OURS}; accounturi={OURS}"),), LE, BAD),
        (APEX, (LETS, _issue("x", "tbs", 128)), LE, BAD),
        (APEX, (LETS, _issue("x", "tbs")), LE, OK),
        (APEX, (_issue("letsencrypt.org", flags=128),), LE, OK),
        (APEX, (_issue("pki.example"),), TWO_NAMES, OK),
        (APEX, (_issue("ca.example"),), TWO_NAMES, OK),
        (APEX, (LETS,), TWO_NAMES, BAD),
        (APEX, (LETS,), SOMEBODY, OPEN),
        (APEX, (NOBODY,), SOMEBODY, BAD),
        (APEX, (_issue("a.test; validationmethods=http-01"),), SOMEBODY, BAD),
        (APEX, (_issue("a.test; accounturi=https://a.test/1"),), SOMEBODY, BAD),
        (APEX, Unknown(APEX, "answers SERVFAIL", is_answered=True), LE, BAD),
        (APEX, Unknown(APEX, "no answer in time"), LE, OPEN),
    ],
)
def test_caa(domain: str, found: Found, applicant: Applicant, result: Result) -> None:
    """Who may issue, by which method, and for which account; what is wrong has a remedy."""
    finding = judge_caa(domain, found, applicant)
    assert finding.result is result, finding
    assert not finding.needs_attention or finding.remedy


@pytest.mark.parametrize(
    ("domain", "found", "applicant", "record"),
    [
        (APEX, (_issue("digicert.com; accounturi=https://d.test/1"),), LE, "letsencrypt.org"),
        (
            APEX,
            (_issue("letsencrypt.org; accounturi=https://ca.test/1"),),
            LE,
            f"letsencrypt.org; accounturi={OURS}",
        ),
        (
            STAR,
            (_issue("letsencrypt.org; validationmethods=http-01", "issuewild"),),
            LE,
            "letsencrypt.org; validationmethods=dns-01",
        ),
        (
            APEX,
            (_issue("letsencrypt.org; accounturi=https://ca.test/1; validationmethods=http-01"),),
            LE,
            f"letsencrypt.org; accounturi={OURS}; validationmethods=dns-01",
        ),
        (
            APEX,
            (
                _issue("letsencrypt.org; accounturi=https://ca.test/1"),
                _issue("letsencrypt.org; validationmethods=http-01"),
            ),
            LE,
            f"letsencrypt.org; accounturi={OURS}; validationmethods=dns-01",
        ),
        (
            APEX,
            (_issue("letsencrypt.org; accounturi=https://ca.test/1"),),
            NEW,
            "letsencrypt.org; accounturi=our account's URL",
        ),
    ],
)
def test_a_record_that_is_added_binds_as_much_as_those_beside_it(
    domain: str, found: Found, applicant: Applicant, record: str
) -> None:
    """CAA records are alternatives: one without the owner's account or method undoes his others."""
    remedy = judge_caa(domain, found, applicant).remedy
    tag = "issuewild" if domain == STAR else "issue"
    assert f'add the record `{APEX} CAA 0 {tag} "{record}"`' in remedy


def test_what_nobody_understands_is_to_be_removed() -> None:
    """No record that is added would help."""
    strange = _issue("x", "tbs", 128)
    remedy = judge_caa(APEX, (LETS, strange), LE).remedy
    assert "remove the record" in remedy
    assert str(strange) in remedy


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Premises]:
    with premises(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("content", "faulty"),
    [
        ("", set()),
        ('0 issue ";"', {APEX, STAR}),
        ('0 issuewild ";"', {STAR}),
        ('0 issue "ca.test; validationmethods=http-01"', {APEX, STAR}),
        ('0 issue "ca.test; accounturi=https://ca.test/acct/1"', {APEX, STAR}),
    ],
)
def test_looking(house: Premises, content: str, faulty: set[str]) -> None:
    """What is planted in the zone is found for the names that it decides about, and for no other;
    a CA that cannot be reached changes nothing about what forbids everybody.
    """
    if content:
        house.store.add("CAA", "example.org", content)
    with house.patient() as patient:
        found = list(look_at_caa(patient))
    assert {each.subject for each in found if each.needs_attention} == faulty


@pytest.mark.parametrize(("kind", "result"), [("servfail", BAD), ("drop", OPEN)])
def test_no_records_to_be_had(house: Premises, kind: str, result: Result) -> None:
    """A failure that a CA would meet as well is an error; silence may be this network's."""
    house.dns.inject(DnsFault(kind, type="CAA"))
    with house.patient() as patient:
        assert {each.result for each in look_at_caa(patient)} == {result}
