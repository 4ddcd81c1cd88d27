"""The examination as a whole: every check is heard, and none spoils the others."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from certwarden.config import Config, read_secret
from certwarden.doctor import examination
from certwarden.doctor.examination import checks, examine, misconfigured
from certwarden.doctor.finding import Finding, Result, as_typed, error, ok, skipped, warning
from certwarden.doctor.patient import Patient
from certwarden.errors import ConfigError, Mistake, TargetError, ZoneError
from certwarden.wiring import Warden
from tests.builders import NOW
from tests.fakes import FakeWorld


def a_patient() -> Patient:
    """One whose checks look at nothing of it."""
    return Patient(
        config=cast("Config", None),
        warden=cast("Warden", FakeWorld()),
        now=NOW,
        observed=(),
        authority=None,
    )


def test_findings_come_in_the_order_of_the_checks_and_bear_their_ids() -> None:
    """Whatever ends first: a person reads them from the bottom of the matter to its top."""

    def first(_: Patient) -> Iterator[Finding]:
        yield ok("a", "fine")
        yield error("b", "broken", "mend it")

    found = examine(a_patient(), {"first": first, "second": lambda _: [warning("", "hm", "look")]})
    assert [(each.check, each.subject) for each in found] == [
        ("first", "a"),
        ("first", "b"),
        ("second", ""),
    ]


def test_a_check_that_fails_is_a_finding_and_the_others_are_heard() -> None:
    """What it had found before stays; an Error keeps its sentence, anything else is a bug's."""

    def stumbles(_: Patient) -> Iterator[Finding]:
        yield ok("a", "fine")
        raise ZoneError("the API is silent", "wait")

    def breaks(_: Patient) -> Iterator[Finding]:
        raise KeyError("secret")

    found = examine(
        a_patient(), {"one": stumbles, "two": breaks, "three": lambda _: [skipped("", "no")]}
    )
    assert [(each.check, each.result) for each in found] == [
        ("one", Result.OK),
        ("one", Result.ERROR),
        ("two", Result.ERROR),
        ("three", Result.SKIPPED),
    ]
    assert found[1].what == "this could not be looked at: the API is silent"
    assert found[1].remedy == "wait"
    assert "secret" not in found[2].what


def test_a_check_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as at a server of files that is no more: what it has found stays."""
    monkeypatch.setattr(examination, "SECONDS", 0.05)
    release = threading.Event()

    def hangs(_: Patient) -> Iterator[Finding]:
        yield ok("a", "fine")
        release.wait(30)
        yield ok("b", "too late")

    found = examine(a_patient(), {"one": hangs, "two": lambda _: [ok("c", "fine")]})
    release.set()
    assert [(each.subject, each.result) for each in found] == [
        ("a", Result.OK),
        ("", Result.ERROR),
        ("c", Result.OK),
    ]
    assert "no answer within" in found[1].what
    assert "df -h" in found[1].remedy


def test_a_file_that_is_at_fault_is_told_with_its_fault(tmp_path: Path) -> None:
    """Not merely that there is a mistake in it."""

    def looks(_: Patient) -> Iterator[Finding]:
        read_secret(tmp_path / "absent.token")
        yield ok("", "")

    (finding,) = examine(a_patient(), {"one": looks})
    assert f"{tmp_path}/absent.token does not exist" in finding.what


def test_where_nothing_can_be_observed_the_other_checks_are_heard() -> None:
    """A target's directory that hangs is told, and does not hang the doctor."""
    patient = replace(a_patient(), trouble=TargetError("no answer", "see `df -h`"))
    first, second = examine(patient, {"one": lambda _: [ok("c", "fine")]})
    assert (first.check, first.result) == ("target-files", Result.ERROR)
    assert (first.remedy, second.check) == ("see `df -h`", "one")


def test_every_mistake_of_a_configuration_is_a_finding() -> None:
    """A wrong configuration is what the doctor is for."""
    closed = Mistake("", "may not be read by this user; run the command with sudo")
    found = misconfigured(ConfigError("config.toml", [Mistake("acme", "is missing"), closed]))
    assert [each.what for each in found] == ["acme: is missing", "may not be read by this user"]
    assert "config check" in found[0].remedy
    assert found[1].remedy == "run the command with sudo"
    assert all(each.check == "configuration" and each.needs_attention for each in found)


@pytest.mark.parametrize(
    ("remedy", "typed"),
    [
        ("certwarden renew home", "sudo certwarden renew home"),
        ("sudo certwarden deploy home", "sudo certwarden deploy home"),
        (
            "run it as Node-RED's user: sudo -u USER certwarden nodered inspect x",
            "run it as Node-RED's user: sudo -u USER certwarden nodered inspect x",
        ),
        (
            "see `certwarden status`, then: certwarden ca unlock",
            "see `sudo certwarden status`, then: sudo certwarden ca unlock",
        ),
        ("`sudo chown certwarden /srv`", "`sudo chown certwarden /srv`"),
        (
            "make the directory, writable for certwarden",
            "make the directory, writable for certwarden",
        ),
        ("", ""),
    ],
)
def test_our_commands_are_shown_as_they_have_to_be_typed(remedy: str, typed: str) -> None:
    """With sudo, whoever wrote the sentence; other words are left alone."""
    assert as_typed(remedy) == typed


def test_ids_of_checks_are_words_that_can_be_typed_and_looked_up() -> None:
    """kebab-case, as the documentation lists them."""
    assert checks()
    for check in checks():
        assert check.replace("-", "").isalnum()
        assert check == check.lower()
