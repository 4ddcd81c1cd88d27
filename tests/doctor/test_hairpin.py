"""What it means where a name's ways end; the ways themselves are walked in test_house_network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.hairpin import Paths, judge_paths
from certwarden.model import Address, NoHandshake, Seen, Served, Unreachable
from tests.builders import a_pair, a_target_spec

HOST = "example.org"
OURS = ("192.168.1.10",)
RIGHT = a_pair().certificate
SERVED, NOBODY = Served(RIGHT), Unreachable("nobody answers")
OUTSIDE = "203.0.113.5"


def judged(
    own: Mapping[Address, Seen],
    named: Mapping[Address, Seen],
    *,
    probe: str = "127.0.0.1",
    ours: Sequence[str] = OURS,
) -> list[Finding]:
    target = replace(a_target_spec("front"), probe=Address(probe, 1880))
    paths = Paths(target, HOST, frozenset({RIGHT.fingerprint}), own, named, has_proxy=False)
    return list(judge_paths(paths, ours))


def at(host: str, seen: Seen, port: int = 1880) -> dict[Address, Seen]:
    return {Address(host, port): seen}


def results(findings: list[Finding]) -> list[Result]:
    return [each.result for each in findings]


def test_the_port_that_people_use_may_be_another() -> None:
    """A router that hands 443 on is as good as one that hands on the target's own port."""
    named = {**at(OUTSIDE, NOBODY), **at(OUTSIDE, SERVED, 443)}
    assert results(judged(at("192.168.1.10", SERVED), named)) == [Result.OK, Result.OK]


def test_another_server_of_the_same_name_is_no_router() -> None:
    """A website elsewhere at the top of the zone is nobody's fault."""
    website = at(OUTSIDE, Served(a_pair((HOST, "www.example.org")).certificate), 443)
    _, finding = judged(at("192.168.1.10", SERVED), website)
    assert finding.result is Result.SKIPPED
    assert "another server" in finding.what


def test_cloudflares_proxy_is_told_from_a_router() -> None:
    """An orange cloud leads to Cloudflare, whatever is served there."""
    proxied = at("104.21.1.1", Served(a_pair(("sni.cloudflaressl.com",)).certificate), 443)
    _, finding = judged(at("192.168.1.10", SERVED), proxied)
    assert finding.result is Result.SKIPPED
    assert "Cloudflare" in finding.what


def test_a_name_at_home_that_leads_to_another_machine() -> None:
    """An entry that was forgotten when the machine's address changed."""
    _, finding = judged(at("192.168.1.10", SERVED), at("192.168.1.99", NOBODY))
    assert finding.result is Result.WARNING
    assert "192.168.1.99" in finding.what


def test_another_program_at_the_same_port_is_told() -> None:
    """The probe looks at loopback; the house is served by somebody else."""
    stranger = at("192.168.1.10", Served(a_pair(("other.example",)).certificate))
    finding, _ = judged(stranger, {})
    assert finding.result is Result.WARNING
    assert "192.168.1.10:1880" in finding.what


def test_nothing_is_said_where_nothing_can_be_seen() -> None:
    """No address in the house, a probe that is no loopback, or IPv6 that this machine lacks."""
    assert results(judged({}, {})) == [Result.SKIPPED, Result.SKIPPED]
    found = judged(at("192.168.1.10", NOBODY), {}, probe="192.168.1.20")
    assert results(found) == [Result.SKIPPED, Result.SKIPPED]
    unreachable = at("2001:db8:9::1", NoHandshake("no"))
    assert results(judged({}, unreachable)) == [Result.SKIPPED, Result.SKIPPED]
    with_ipv6 = judged({}, at("2a00:1450::1", NOBODY), ours=("2a00:1450:1::1",))
    assert results(with_ipv6) == [Result.SKIPPED, Result.SKIPPED]


def test_silence_outside_proves_nothing() -> None:
    """The router may hand on another port than those that are tried; what may be is told."""
    _, finding = judged(at("192.168.1.10", SERVED), at(OUTSIDE, NOBODY))
    assert finding.result is Result.SKIPPED
    assert "hairpin NAT" in finding.what
    assert "snippet dnsmasq" in finding.remedy
