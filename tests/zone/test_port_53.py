"""The way through a zone's own servers on port 53, in a network and mount namespace of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NAMESPACE = ("unshare", "--net", "--mount")


def _why_not() -> str:
    if os.geteuid() != 0:
        return "a network and mount namespace needs root"
    if missing := [tool for tool in ("unshare", "ip", "mount") if shutil.which(tool) is None]:
        return f"a network and mount namespace needs {missing[0]}"
    try_it = [*NAMESPACE, "ip", "address", "add", "2001:db8::1/128", "dev", "lo"]
    tried = subprocess.run(try_it, check=False, capture_output=True, timeout=20)
    return "this system lets root make no namespace with IPv6 in it" if tried.returncode else ""


_REASON = _why_not()
pytestmark = [pytest.mark.world, pytest.mark.skipif(bool(_REASON), reason=_REASON)]


def _play(scenario: str) -> dict[str, Any]:
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.zone.port_53", scenario],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


@pytest.mark.parametrize("scenario", ["honest", "unnamed_zone"])
def test_all_servers_are_asked(scenario: str) -> None:
    """Every address of every name server is asked until all agree; nobody else is asked."""
    outcome = _play(scenario)
    assert outcome["agreed"], outcome
    assert all(times >= 2 for times in outcome["asked"])
    assert outcome["resolver_asked"] == outcome["doh_asked"] == 0


def test_a_stale_server_is_named() -> None:
    """One address of one server is enough to disagree, and is told by name and address."""
    outcome = _play("stale")
    assert not outcome["agreed"]
    assert "bob.ns.world.test (2001:db8::1) shows 0 of 2 values" in outcome["detail"]
    assert outcome["doh_asked"] == 0


@pytest.mark.parametrize("scenario", ["unreachable", "swallowed"])
def test_an_address_out_of_reach_is_not_waited_for(scenario: str) -> None:
    """An address without a way to it, or that swallows packets, does not keep anybody waiting."""
    outcome = _play(scenario)
    assert outcome["agreed"], outcome
    assert outcome["seconds"] < 10
    assert outcome["doh_asked"] == 0


def test_an_intercepted_port_is_not_believed() -> None:
    """Where something answers without authority in the servers' stead, HTTPS decides."""
    outcome = _play("lying")
    assert outcome["agreed"], outcome
    assert outcome["doh_asked"] >= 2


def test_the_servers_are_found_over_https() -> None:
    """Where the local resolver is of no use, the zone's servers are found all the same."""
    outcome = _play("no_resolver")
    assert outcome["agreed"], outcome
    assert all(times >= 2 for times in outcome["asked"])
    assert outcome["doh_asked"] == 0


@pytest.mark.parametrize(
    ("scenario", "result"),
    [("surveyed", "ok"), ("surveyed_lame", "ok"), ("surveyed_lying", "warning")],
)
def test_a_survey(scenario: str, result: str) -> None:
    """Interception is told from silence and from a server that knows no such zone, soon, and
    without a question about the challenge.
    """
    outcome = _play(scenario)
    assert outcome["result"] == result, outcome
    assert outcome["seconds"] < 10
    assert not any(outcome["asked"])
