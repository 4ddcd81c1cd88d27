"""The examination as a whole: every check is heard, and none spoils the others."""

from collections.abc import Iterator
from typing import cast

from certwarden.config import Config
from certwarden.doctor.examination import checks, examine, misconfigured
from certwarden.doctor.finding import Finding, Result, error, ok, skipped, warning
from certwarden.doctor.patient import Patient
from certwarden.errors import ConfigError, Mistake, ZoneError
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


def test_every_mistake_of_a_configuration_is_a_finding() -> None:
    """A wrong configuration is what the doctor is for."""
    mistakes = ConfigError("config.toml", [Mistake("acme", "is missing"), Mistake("", "not TOML")])
    found = misconfigured(mistakes)
    assert [each.what for each in found] == ["acme: is missing", "not TOML"]
    assert all(each.check == "configuration" and each.needs_attention for each in found)


def test_ids_of_checks_are_words_that_can_be_typed_and_looked_up() -> None:
    """kebab-case, as the documentation lists them."""
    assert checks()
    for check in checks():
        assert check.replace("-", "").isalnum()
        assert check == check.lower()
