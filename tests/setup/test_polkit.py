"""The rule of polkit's allows exactly what the configuration names."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from certwarden.config.syntax import UnfitError
from certwarden.model import TargetSpec, UnitReload, UnitVerb
from certwarden.setup.polkit import polkit_rule
from tests.builders import a_target_spec
from tests.setup.configured import a_config, inviting

MANAGE = "org.freedesktop.systemd1.manage-units"
ASK = """
var rules = [], results = [];
var polkit = { Result: { YES: "yes", NO: "no" }, addRule: function (rule) { rules.push(rule); } };
%s
%s.forEach(function (question) {
  var action = { id: question[0], lookup: function (name) { return question[1][name]; } };
  results.push(rules[0](action, { user: question[2] }) || "not handled");
});
console.log(JSON.stringify(results));
"""
Question = tuple[str, dict[str, str], str]

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")


def restarting(unit: str, verb: UnitVerb = UnitVerb.RESTART) -> TargetSpec:
    return a_target_spec(name=unit, kind="files", reload=UnitReload(unit, verb))


def answers(rule: str, questions: list[Question]) -> list[str]:
    """What the rule says to (action, its details, user)."""
    done = subprocess.run(
        ["node", "-e", ASK % (rule, json.dumps(questions))],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def asked(verb: str | None, unit: str | None, user: str = "certwarden") -> Question:
    details = {"verb": verb, "unit": unit}
    return MANAGE, {name: value for name, value in details.items() if value is not None}, user


@needs_node
def test_the_units_and_verbs_are_allowed_and_nothing_else(tmp_path: Path) -> None:
    """Another verb, another unit, both swapped, or a detail left out: refused."""
    rule = polkit_rule(
        a_config(
            tmp_path,
            restarting("nodered.service"),
            restarting("mosquitto.service", UnitVerb.RELOAD),
            a_target_spec(name="hot"),
        )
    )
    allowed = [asked("restart", "nodered.service"), asked("reload", "mosquitto.service")]
    refused = [
        *(asked(verb, "nodered.service") for verb in ("stop", "start", "kill", "reload", "")),
        asked("try-restart", "nodered.service"),
        asked("restart", "mosquitto.service"),
        asked("restart", "nodered.service.evil"),
        asked("restart", "xnodered.service"),
        asked("restart", "constructor"),
        asked("nodered.service", "restart"),
        asked("restart", None),
        asked(None, "nodered.service"),
    ]
    assert answers(rule, allowed) == ["yes"] * len(allowed)
    assert answers(rule, refused) == ["no"] * len(refused)


@needs_node
def test_other_users_and_other_actions_are_none_of_its_business(tmp_path: Path) -> None:
    """polkit goes on to the other rules."""
    rule = polkit_rule(a_config(tmp_path, restarting("nodered.service")))
    restart = {"verb": "restart", "unit": "nodered.service"}
    questions: list[Question] = [
        (MANAGE, restart, "pi"),
        ("org.freedesktop.systemd1.manage-unit-files", restart, "certwarden"),
        ("org.freedesktop.login1.reboot", {}, "certwarden"),
    ]
    assert answers(rule, questions) == ["not handled"] * 3


@needs_node
def test_without_a_unit_everything_is_refused(tmp_path: Path) -> None:
    """Hot reloads and commands need no rule; the one that is left over from before allows none."""
    rule = polkit_rule(a_config(tmp_path, a_target_spec()))
    assert answers(rule, [asked("restart", "nodered.service")]) == ["no"]


@needs_node
def test_where_the_service_invites_its_socket_may_be_started_and_stopped(tmp_path: Path) -> None:
    """Exactly that: not the service behind it, and no restart; elsewhere none of it."""
    socket, service = "certwarden-invite.socket", "certwarden-invite.service"
    config = a_config(tmp_path, restarting("nodered.service"))
    allowed = [asked("start", socket), asked("stop", socket), asked("restart", "nodered.service")]
    refused = [
        *(asked(verb, service) for verb in ("start", "stop", "restart")),
        *(asked(verb, socket) for verb in ("restart", "reload", "kill", "")),
        asked("start", "nodered.service"),
    ]
    assert answers(polkit_rule(inviting(config)), allowed) == ["yes"] * 3
    assert answers(polkit_rule(inviting(config)), refused) == ["no"] * len(refused)
    assert answers(polkit_rule(config), allowed) == ["no", "no", "yes"]


def test_each_pair_is_named_once_and_in_order(tmp_path: Path) -> None:
    """The same configuration gives the same text, so a changed rule is a changed configuration."""
    targets = [restarting("b.service"), restarting("a@x.service"), restarting("b.service")]
    rule = polkit_rule(a_config(tmp_path, *targets))
    _, _, rest = rule.partition("var allowed = ")
    assert json.loads(rest.partition(";")[0]) == ["restart a@x.service", "restart b.service"]
    assert rule == polkit_rule(a_config(tmp_path, *reversed(targets)))


@pytest.mark.parametrize(
    "name", ['"]; polkit.addRule(x); [".service', "a b.service", "a\n.service", "*.service", "a"]
)
def test_what_is_no_units_name_gets_into_no_rule(tmp_path: Path, name: str) -> None:
    """The configuration refuses it; should it come by another way, nothing is rendered."""
    with pytest.raises(UnfitError):
        polkit_rule(a_config(tmp_path, restarting(name)))
