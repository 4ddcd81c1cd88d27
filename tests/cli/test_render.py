"""Results as text and JSON: the shapes that other programs rely on, and true words for people."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from certwarden.cli import render
from certwarden.errors import IssuerError, TargetError
from certwarden.lifecycle.act import CertificateResult
from certwarden.lifecycle.deploy import Deployed
from certwarden.lifecycle.plan import agenda
from certwarden.lifecycle.reconcile import PassResult
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    Call,
    DeployOutcome,
    Job,
    Observed,
    ObservedTarget,
    Policy,
    Served,
    Trust,
)
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_pair,
    a_stored,
    a_target_spec,
    an_event,
    an_installed,
)

TRUSTED = Verdict(Trust.TRUSTED, synchronised=True)
STORED = a_stored(obtained_at=NOW - timedelta(days=30))
Shown = pytest.CaptureFixture[str]


def observed(*targets: ObservedTarget) -> Observed:
    return Observed(a_certificate_spec(targets=[t.spec for t in targets]), STORED, None, targets)


def a_target(seen: Served) -> ObservedTarget:
    return ObservedTarget(a_target_spec(), an_installed(STORED.pair), seen, None)


def test_plan_json_has_the_shape_of_the_contract(capsys: Shown) -> None:
    """Step, certificate, target, reason and instant of each."""
    seen = observed(a_target(Served(a_pair().certificate)))
    render.show_plan(agenda([seen], 1, NOW, Policy()), [seen], NOW, is_json=True)
    sweep, deploy = json.loads(capsys.readouterr().out)
    assert (sweep["step"], sweep["certificate"], sweep["target"]) == ("sweep", None, None)
    assert (deploy["step"], deploy["certificate"], deploy["target"]) == (
        "deploy",
        "home",
        "node-red",
    )
    assert deploy["at"] == "2026-11-22T12:00:00Z"


def test_an_empty_plan_says_when_there_will_be_something(capsys: Shown) -> None:
    """Nothing to do is an answer, and so is the next date."""
    seen = observed(a_target(Served(STORED.certificate)))
    render.show_plan(agenda([seen], 0, NOW, Policy()), [seen], NOW, is_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "nothing to do now",
        "obtain   home: a third of its lifetime of 90 days is left (2026-12-22 12:00 UTC)",
    ]


def test_a_pass_is_told_certificate_by_certificate(capsys: Shown) -> None:
    """What was renewed, where it is in use, and what was not done."""
    failed = Deployed("nginx", DeployOutcome.FAILED, TargetError("it refuses", "look"))
    result = PassResult(
        (
            CertificateResult(
                "home",
                STORED,
                is_new=True,
                deployed=(Deployed("node-red", DeployOutcome.IN_USE), failed),
            ),
            CertificateResult("barn", STORED, error=IssuerError("refused", "wait")),
            CertificateResult("attic", None, error=IssuerError("refused")),
        )
    )
    render.show_pass(result, is_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "home: renewed, valid until 2027-01-21 12:00 UTC, in use at node-red, NOT in use at nginx",
        "barn: not renewed, valid until 2027-01-21 12:00 UTC",
        "attic: no certificate",
    ]
    assert not result.is_good
    calls = (Call(Job.TOKEN, NOW, "the API token is looked at"),)
    render.show_pass(replace(result, verdict=TRUSTED, calls=calls), is_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["clock"] == {"synchronised": True, "trusted": True}
    assert document["next"] == [
        {"job": "token", "at": "2026-11-22T12:00:00Z", "why": "the API token is looked at"}
    ]
    home, barn, _ = document["certificates"]
    assert home["targets"][1] == {
        "name": "nginx",
        "outcome": "failed",
        "error": {"what": "it refuses", "hint": "look"},
    }
    assert barn["error"]["what"] == "refused"


def test_history_is_a_line_an_event(capsys: Shown) -> None:
    """When, what kind, of whom if of somebody, and the words."""
    events = [an_event(target="node-red", text="in use"), an_event(certificate=None, text="list 1")]
    render.show_history(events, is_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-22 12:00 UTC  obtained           node-red: in use",
        "2026-11-22 12:00 UTC  obtained           list 1",
    ]


def test_config_is_shown_by_key_path(capsys: Shown) -> None:
    """The same paths that mistakes are told by."""
    render.show_config({"a": {"b": 1}, "c": [{"d": "x"}], "e": []}, is_json=False)
    assert capsys.readouterr().out.splitlines() == ["a.b = 1", 'c[0].d = "x"', "e = []"]
