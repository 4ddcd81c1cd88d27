"""Names and ways in a house of its own: a real resolver, real addresses, real handshakes."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.zone.test_port_53 import _REASON, NAMESPACE

pytestmark = [pytest.mark.world, pytest.mark.skipif(bool(_REASON), reason=_REASON)]

_Finding = tuple[str, str, str, str]


@cache
def _play() -> dict[str, list[_Finding]]:
    """The findings of all scenes."""
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.doctor.house_network"],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    played = json.loads(done.stdout)
    return {scene: [tuple(each) for each in found] for scene, found in played.items()}


def test_silence_at_the_outside_address_is_told_without_alarm() -> None:
    """A router without hairpin NAT, or one that hands on another port: that cannot be told."""
    found = [each for each in _play()["no_hairpin"] if "hairpin NAT" in each[2]]
    assert [(result, subject) for result, subject, _, _ in found] == [("skipped", "front")]
    assert "certwarden snippet dnsmasq front" in found[0][3]
    assert _troubles(_play()["no_hairpin"]) == []


def _troubles(findings: list[_Finding]) -> list[_Finding]:
    return [each for each in findings if each[0] in ("warning", "error")]


@pytest.mark.parametrize(
    "scene",
    ["healthy", "public_address_at_home", "hairpin_works", "behind_proxy", "unknown_everywhere"],
)
def test_a_healthy_house_raises_no_alarm(scene: str) -> None:
    """Split DNS, an address at home in the public zone, hairpin NAT, a proxy, hosts files."""
    findings = _play()[scene]
    assert findings
    assert _troubles(findings) == []


@pytest.mark.parametrize(
    ("scene", "result", "subject", "what", "remedy"),
    [
        ("rebind_protection", "error", "example.org", "rebinding", "rebind-domain-ok=/example.org"),
        ("routers_page", "warning", "front", "router.box", "certwarden snippet dnsmasq front"),
        ("forgotten_ipv6", "warning", "example.org", "AAAA elsewhere", "filter-AAAA"),
        ("loopback_only", "warning", "front", "only this machine", "uiHost"),
    ],
)
def test_what_is_wrong_is_named_once(
    scene: str, result: str, subject: str, what: str, remedy: str
) -> None:
    """One fault, one finding, and in it what to do."""
    ((found, about, sentence, advice),) = _troubles(_play()[scene])
    assert (found, about) == (result, subject)
    assert what in sentence
    assert remedy in advice
