"""DNSSEC and port 53: judged by tables, and looked at through the world's resolvers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certwarden.doctor.finding import Result
from certwarden.doctor.resolution import (
    judge_dnssec,
    judge_port_53,
    look_at_dnssec,
    look_at_port_53,
    tops,
)
from certwarden.errors import Error
from certwarden.zone.resolving import OwnServer, Resolved
from tests.doctor.premises import Premises, premises
from tests.world.dns import DnsFault

TRUE = OwnServer("ada (192.0.2.1)", is_authoritative=True)
FALSE = OwnServer("bob (192.0.2.2)", is_authoritative=False)
MUTE = OwnServer("bob (192.0.2.3)", is_authoritative=False, silence="does not answer")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Premises]:
    with premises(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (Resolved("doh", "NOERROR"), Result.OK),
        (Resolved("doh", "NXDOMAIN"), Result.OK),
        (Resolved("doh", "SERVFAIL", unchecked="NOERROR"), Result.ERROR),
        (Resolved("doh", "SERVFAIL", unchecked="SERVFAIL"), Result.ERROR),
        (Resolved("doh", "SERVFAIL"), Result.ERROR),
        (None, Result.SKIPPED),
        (Error("slow"), Result.SKIPPED),
    ],
)
def test_dnssec(found: Resolved | Error | None, result: Result) -> None:
    """Only what fails because signatures are checked is blamed on DNSSEC."""
    finding = judge_dnssec("example.org", found)
    assert finding.result is result
    is_bogus = isinstance(found, Resolved) and found.unchecked == "NOERROR"
    assert ("DNSSEC is broken" in finding.what) == is_bogus


@pytest.mark.parametrize(
    ("servers", "result"),
    [
        ((TRUE, TRUE), Result.OK),
        ((TRUE, MUTE), Result.OK),
        ((MUTE,), Result.OK),
        ((FALSE,), Result.WARNING),
        ((TRUE, FALSE), Result.WARNING),
        ((), Result.SKIPPED),
        (Error("slow"), Result.SKIPPED),
    ],
)
def test_port_53(servers: tuple[OwnServer, ...] | Error, result: Result) -> None:
    """Who answers without authority stands in somebody's stead; silence proves nothing."""
    assert judge_port_53("example.org", servers).result is result


def test_tops() -> None:
    """A name is asked for once, and not when one above it is."""
    assert tops(["*.a.org", "a.org", "x.a.org", "xa.org", "*.y.b.org"]) == [
        "a.org",
        "xa.org",
        "y.b.org",
    ]


@pytest.mark.parametrize("asks", ["nameservers", "doh"])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (None, ""),
        (DnsFault("bogus"), "its DNSSEC is broken"),
        (DnsFault("servfail"), "cannot resolve it"),
    ],
)
def test_looking(house: Premises, asks: str, fault: DnsFault | None, sentence: str) -> None:
    """A resolver that finds signatures broken is told from one that cannot resolve at all."""
    house.asks = asks
    if fault is not None:
        house.dns.inject(fault)
        house.doh.inject(fault)
    with house.patient() as patient:
        (finding,) = look_at_dnssec(patient)
    assert finding.needs_attention == bool(sentence)
    assert sentence in finding.what


def test_no_answer(house: Premises) -> None:
    """A resolver that does not answer proves nothing."""
    house.dns.inject(DnsFault("drop"))
    with house.patient() as patient:
        (finding,) = look_at_dnssec(patient)
    assert finding.result is Result.SKIPPED


def test_configured_servers(house: Premises) -> None:
    """Whoever asks configured servers does not depend on port 53 of others."""
    with house.patient() as patient:
        (finding,) = look_at_port_53(patient)
    assert finding.result is Result.SKIPPED
