"""What the doctor found, for people and for programs."""

import json

import pytest

from certwarden.cli.render_doctor import show_findings
from certwarden.doctor.finding import Finding, Result
from tests.cli.conftest import Machine

FINDINGS = (
    Finding(Result.OK, "home", "it is served", check="served"),
    Finding(Result.SKIPPED, "", "there is no systemd here", check="service"),
    Finding(Result.WARNING, "node-red", "anybody may edit", "set a password", check="editor"),
    Finding(Result.ERROR, "", "the token is dead", "make another", check="token"),
)
Shown = pytest.CaptureFixture[str]


def test_people_see_what_needs_them_with_its_remedy_and_a_count_of_the_rest(capsys: Shown) -> None:
    """What is in order is shown to those who ask for more."""
    show_findings(FINDINGS, is_json=False, is_verbose=False)
    assert capsys.readouterr().out.splitlines() == [
        "WARNING  editor node-red: anybody may edit",
        "         → set a password",
        "ERROR    token: the token is dead",
        "         → make another",
        "4 findings: 1 in order, 1 not looked at, 1 warning, 1 error",
    ]
    show_findings(FINDINGS, is_json=False, is_verbose=True)
    assert "ok       served home: it is served\n" in capsys.readouterr().out


def test_json_has_the_fields_of_the_contract_and_null_for_nothing(capsys: Shown) -> None:
    """check, subject, result, what, remedy."""
    show_findings(FINDINGS, is_json=True, is_verbose=False)
    document = json.loads(capsys.readouterr().out)
    assert [each["result"] for each in document] == ["ok", "skipped", "warning", "error"]
    assert document[3] == {
        "check": "token",
        "subject": None,
        "result": "error",
        "what": "the token is dead",
        "remedy": "make another",
    }
    assert document[0]["remedy"] is None


def test_a_wrong_configuration_is_a_finding_and_exit_3(bare: Machine) -> None:
    """Elsewhere it is exit 2; here it is what one came for."""
    bare.config.write_text("certificates = 1\n")
    run = bare.run("doctor", "--json")
    assert run.code == 3
    assert {each["check"] for each in run.json} == {"configuration"}
    assert any("certificates" in each["what"] for each in run.json)
    assert run.err == ""
