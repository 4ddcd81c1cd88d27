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
    KeyType,
    Observed,
    ObservedTarget,
    Policy,
    Served,
    Trust,
    Unreachable,
)
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_pair,
    a_stored,
    a_target_spec,
    an_attempt,
    an_event,
    an_installed,
)

TRUSTED = Verdict(Trust.TRUSTED, synchronised=True)
STORED = a_stored(obtained_at=NOW - timedelta(days=30))
Shown = pytest.CaptureFixture[str]


def observed(*targets: ObservedTarget) -> Observed:
    return Observed(a_certificate_spec(targets=[t.spec for t in targets]), STORED, None, targets)


def failing(seen: Observed) -> Observed:
    """Another key type is wanted, and the attempt to get it has failed."""
    spec = replace(seen.spec, key_type=KeyType.ECDSA_P384)
    return replace(seen, spec=spec, failures=(an_attempt(),))


def a_target(seen: Served | Unreachable) -> ObservedTarget:
    return ObservedTarget(a_target_spec(), an_installed(STORED.pair), seen, None)


def test_status_json_has_every_field_of_the_contract(capsys: Shown) -> None:
    """Times with a Z, even lower-case hex, null where there is nothing."""
    target = a_target(Served(STORED.certificate))
    render.show_status([failing(observed(target))], None, TRUSTED, Policy(), NOW, is_json=True)
    document = json.loads(capsys.readouterr().out)
    (certificate,) = document["certificates"]
    assert set(certificate) >= {
        *("name", "domains", "state", "serial", "fingerprint_sha256", "issuer"),
        *("not_before", "not_after", "renewal", "last_error", "targets"),
    }
    assert certificate["state"] == "failing"
    assert certificate["last_error"]["what"] == "the CA could not be reached"
    assert certificate["renewal"] == {
        "at": "2026-11-22T12:00:00Z",
        "reason": "domains-changed",
    }
    assert certificate["targets"][0]["served"] == STORED.certificate.fingerprint
    assert "2026-11-22T12:00:48Z" <= certificate["last_error"]["next_try"] <= "2026-11-22T12:01:00Z"
    assert document["authority"] is None
    assert document["clock"] == {"synchronised": True, "trusted": True}


def test_a_doubtful_clock_is_told_after_the_certificates(capsys: Shown) -> None:
    """What is wrong with it, and what to do; JSON says no more than whether it is trusted."""
    doubtful = Verdict(Trust.CONTRADICTED, None, "the clock is ahead", "set it")
    render.show_status([observed()], None, doubtful, Policy(), NOW, is_json=False)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2:] == ["clock  NOT TRUSTED: the clock is ahead", "       set it"]
    render.show_status([observed()], None, doubtful, Policy(), NOW, is_json=True)
    clock = json.loads(capsys.readouterr().out)["clock"]
    assert clock == {"synchronised": None, "trusted": False}


def test_status_text_shows_life_renewal_and_targets(capsys: Shown) -> None:
    """A third of 90 days has passed: a third of the bar is full."""
    other = a_target(Served(a_pair().certificate))
    render.show_status([failing(observed(other))], None, TRUSTED, Policy(), NOW, is_json=False)
    text = capsys.readouterr().out
    assert "█" * 8 + "░" * 16 in text
    assert "60 days left" in text
    assert "renews   now: its key type is now ecdsa-p384" in text
    assert "stale — serves serial" in text
    assert "the CA could not be reached" in text
    assert "check the network" in text


def test_an_unreachable_target_says_why(capsys: Shown) -> None:
    """The probe's own words are shown."""
    seen = observed(a_target(Unreachable("nobody is there")))
    render.show_status([seen], None, TRUSTED, Policy(), NOW, is_json=False)
    assert "unreachable — nobody is there" in capsys.readouterr().out


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
