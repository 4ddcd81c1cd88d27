"""What is said of certwarden's module in Node-RED, and of settings.js."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from certwarden.config import Config
from certwarden.doctor.finding import Result
from certwarden.doctor.node_red import judge_advice, judge_module, modules
from certwarden.doctor.patient import Patient
from certwarden.model import HotReload, Installed, ObservedTarget, Unreachable
from certwarden.targets.node_red.advice import Advice
from certwarden.targets.node_red.reports import Report
from certwarden.wiring import Warden
from tests.builders import NOW, a_target_spec
from tests.fakes_store import FakeClock
from tests.lifecycle.client_facts import a_client_target, a_list
from tests.lifecycle.facts import a_leaf, a_version, found

TARGET = a_client_target(a_list(7), HotReload())
GOOD = Report(4711, "0003", 1, "", client_auth=True, crl_number=7)


@pytest.mark.parametrize(
    ("reports", "result", "words"),
    [
        ([GOOD], Result.OK, "generation 0003 is loaded"),
        ([], Result.ERROR, "not loaded"),
        ([replace(GOOD, error="no key")], Result.ERROR, "no key"),
        ([replace(GOOD, servers=0)], Result.WARNING, "no server"),
        ([replace(GOOD, generation="0002", crl_number=6)], Result.ERROR, "generation 0002"),
        ([replace(GOOD, generation="")], Result.ERROR, "generation none"),
        ([replace(GOOD, client_auth=False)], Result.ERROR, "asks nobody"),
        ([replace(GOOD, crl_number=6)], Result.ERROR, "list 6"),
        ([GOOD, replace(GOOD, pid=4712)], Result.WARNING, "2 processes"),
    ],
)
def test_the_module_is_to_have_loaded_what_is_current(
    reports: list[Report], result: Result, words: str
) -> None:
    """Each way of not having done so is told by itself."""
    (finding,) = judge_module(TARGET, reports, is_running=True)
    assert finding.result is result
    assert words in finding.what
    assert finding.remedy or result is Result.OK


def a_house_with_node_red(directory: Path, seen: Unreachable | None, clock: FakeClock) -> Patient:
    """Whose target is there, with its third generation."""
    spec = a_target_spec(directory=directory, reload=HotReload())
    target = ObservedTarget(spec, Installed(3, a_leaf()), seen, None)
    return Patient(
        config=cast("Config", None),
        warden=cast("Warden", SimpleNamespace(clock=clock)),
        now=NOW,
        observed=(found(a_version(), target),),
        authority=None,
    )


@pytest.mark.parametrize("pid", [os.getpid(), 4_194_305], ids=["living", "in a container"])
def test_a_module_is_given_the_time_to_take_up_what_is_new(tmp_path: Path, pid: int) -> None:
    """It looks every five seconds while it runs, also in a container, whose process is not ours."""
    report = tmp_path / "loaded" / f"{pid}.json"
    report.parent.mkdir()
    report.write_text('{"generation": "0002", "servers": 1}')

    class Clock(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            report.write_text('{"generation": "0003", "servers": 1}')

    clock = Clock()
    (finding,) = modules(a_house_with_node_red(tmp_path, Unreachable("nobody answers"), clock))
    assert finding.result is Result.SKIPPED
    assert clock.sleeps == []
    (finding,) = modules(a_house_with_node_red(tmp_path, None, clock))
    assert finding.result is Result.OK, finding


def test_a_node_red_that_does_not_run_has_loaded_nothing() -> None:
    """That it does not is told elsewhere."""
    (finding,) = judge_module(TARGET, [], is_running=False)
    assert finding.result is Result.SKIPPED


def test_what_is_grave_about_settings_js_is_an_error() -> None:
    """The rest is a warning, and nothing to say is in order."""
    spec = a_target_spec()
    advice = [Advice("plain", "do", is_grave=True), Advice("slow", "set", is_grave=False)]
    assert [each.result for each in judge_advice(spec, advice)] == [Result.ERROR, Result.WARNING]
    assert [each.result for each in judge_advice(spec, [])] == [Result.OK]
