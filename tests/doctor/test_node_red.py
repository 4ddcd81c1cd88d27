"""What is said of certwarden's module in Node-RED, and of settings.js."""

from dataclasses import replace

import pytest

from certwarden.doctor.finding import Result
from certwarden.doctor.node_red import judge_advice, judge_module
from certwarden.model import HotReload
from certwarden.targets.node_red.advice import Advice
from certwarden.targets.node_red.reports import Report
from tests.builders import a_target_spec
from tests.lifecycle.client_facts import a_client_target, a_list

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
        ([GOOD, replace(GOOD, generation="0002", is_alive=False)], Result.OK, "4711"),
    ],
)
def test_the_module_is_to_have_loaded_what_is_current(
    reports: list[Report], result: Result, words: str
) -> None:
    """Each way of not having done so is told by itself; the dead say nothing."""
    (finding,) = judge_module(TARGET, reports, is_running=True)
    assert finding.result is result
    assert words in finding.what
    assert finding.remedy or result is Result.OK


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
