"""What it means that this machine and the world are told different addresses."""

import pytest

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.host_names import hosts, is_at_home, judge_host
from certwarden.zone.addresses import Addresses, Family, Mute, Resolution, Told
from tests.builders import a_certificate_spec, a_target_spec

HOST = "home.example.org"
OURS = ("192.168.1.10", "2001:db8:1:1::10")
SILENT = Mute("does not answer", is_late=True)
FAILED = Mute("cannot be asked (temporary failure)")


def told(*addresses: str) -> Addresses:
    return Addresses(addresses)


def judged(
    a: tuple[Told, Told, Told], aaaa: tuple[Told, Told, Told] = (told(), told(), told())
) -> list[Finding]:
    """The findings where the system, the zone and the public resolvers say this."""
    seen = {
        Family.A: Resolution(HOST, Family.A, *a),
        Family.AAAA: Resolution(HOST, Family.AAAA, *aaaa),
    }
    return list(judge_host(HOST, seen, OURS))


def worst(findings: list[Finding]) -> Result:
    order = [Result.SKIPPED, Result.OK, Result.WARNING, Result.ERROR]
    return max((each.result for each in findings), key=order.index)


OUT, HOME = told("203.0.113.5"), told("192.168.1.10")


@pytest.mark.parametrize(
    ("a", "result", "words"),
    [
        ((OUT, OUT, OUT), Result.OK, "here as outside"),
        ((HOME, OUT, OUT), Result.OK, "203.0.113.5 outside"),
        ((HOME, told(), told()), Result.OK, "nowhere outside"),
        ((told("127.0.1.1"), OUT, OUT), Result.OK, "127.0.1.1"),
        ((told(), told(), told()), Result.SKIPPED, "hosts file"),
        ((told(), SILENT, SILENT), Result.SKIPPED, "nobody outside could be asked"),
        ((OUT, SILENT, SILENT), Result.SKIPPED, "does not answer"),
        ((SILENT, OUT, OUT), Result.SKIPPED, "does not answer"),
        ((FAILED, HOME, HOME), Result.ERROR, "rebinding"),
        ((FAILED, OUT, OUT), Result.SKIPPED, "temporary failure"),
        ((SILENT, HOME, HOME), Result.SKIPPED, "does not answer"),
        ((told(), HOME, HOME), Result.ERROR, "rebinding"),
        ((told(), SILENT, HOME), Result.ERROR, "rebinding"),
        ((told(), OUT, OUT), Result.WARNING, "knows no A"),
        ((told("198.51.100.7"), OUT, OUT), Result.WARNING, "198.51.100.7"),
        ((told("198.51.100.7"), told(), OUT), Result.OK, "nowhere outside"),
    ],
)
def test_each_difference_has_its_meaning(
    a: tuple[Told, Told, Told], result: Result, words: str
) -> None:
    """Split DNS is meant; an answer that is lost or another one is not."""
    findings = judged(a)
    assert worst(findings) is result
    assert any(words in each.what for each in findings)
    assert all(each.remedy for each in findings if each.needs_attention)


@pytest.mark.parametrize("other", [SILENT, FAILED])
def test_a_resolver_that_tells_nothing_at_all_is_away(other: Mute) -> None:
    """It drops no answer where it gives none."""
    findings = judged((FAILED, HOME, HOME), (other, told(), told()))
    assert worst(findings) is Result.SKIPPED


def test_an_override_of_ipv4_alone_is_told() -> None:
    """IPv6 that leads elsewhere is tried first; where it leads to this machine, all is well."""
    elsewhere = told("2001:db8:9::1")
    assert worst(judged((HOME, OUT, OUT), (elsewhere,) * 3)) is Result.WARNING
    ours = told("2001:db8:1:1::77")
    assert worst(judged((HOME, OUT, OUT), (ours,) * 3)) is Result.OK


def test_one_family_may_be_left_out_at_home() -> None:
    """A resolver that filters AAAA, or overrides both by one address, is no fault."""
    assert worst(judged((HOME, OUT, OUT), (told(), told("2001:db8:9::1"), SILENT))) is Result.OK


def test_rebind_protection_names_every_cure() -> None:
    """A person reads the lines for the resolver that stands in the house."""
    (finding,) = [each for each in judged((told(), HOME, HOME)) if each.needs_attention]
    for word in ("rebind-domain-ok=/home.example.org/", "OpenWrt", "Pi-hole", "DNS-Rebind-Schutz"):
        assert word in finding.remedy


def test_names_that_people_type() -> None:
    """Those of the probes and the first without a star, each once."""
    target = a_target_spec(probe_name="nodes.example.org")
    certificates = (
        a_certificate_spec(domains=("*.example.org", "example.org"), targets=(target,)),
        a_certificate_spec(domains=("*.example.net",)),
    )
    assert hosts([(certificates[0], target)], certificates) == (
        "nodes.example.org",
        "example.org",
    )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.168.1.77", True),
        ("100.101.1.1", True),
        ("fe80::1%eth0", True),
        ("2001:db8:1:1::77", True),
        ("2001:db8:1:2::77", False),
        ("192.0.2.1", False),
    ],
)
def test_what_is_at_home(address: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """Private addresses, a provider's shared ones, and those of this machine's own network."""
    assert is_at_home(address, OURS) is expected
