"""Permanent errors: whether their cause is still there, without asking the CA anything."""

from dataclasses import replace

import pytest

from certwarden.errors import Error, ZoneError
from certwarden.lifecycle.causes import evidence_of, still_there
from certwarden.model import Cause
from tests.builders import an_attempt
from tests.lifecycle.house import House

REFUSED = ZoneError("the token is refused", "make another", permanent=True)


@pytest.fixture
def house() -> House:
    return House()


def look(house: House, cause: Cause, evidence: str = "") -> Error | None:
    error = Error("CAA forbids it", "allow it")
    failure = an_attempt(error=error, cause=cause, evidence=evidence)
    return still_there(house.world, house.spec, failure)


def test_a_good_token_is_no_cause_any_more(house: House) -> None:
    """It is verified, and asked where the records belong; nothing is written."""
    assert look(house, Cause.TOKEN) is None
    assert house.zone.calls == ["verify", "locate"]


def test_a_refused_token_still_is(house: House) -> None:
    """The sentence is that of today."""
    house.zone.fail("verify", REFUSED)
    assert look(house, Cause.TOKEN) is REFUSED
    assert house.zone.calls == ["verify"]


def test_a_token_that_does_not_see_the_zone_still_is(house: House) -> None:
    """A token may be good, and not for these names."""
    spec = replace(house.spec, domains=("other.example.com",))
    house.specs = [spec]
    error = look(house, Cause.TOKEN)
    assert isinstance(error, ZoneError)
    assert error.permanent


def test_unchanged_caa_records_still_are_the_cause(house: House) -> None:
    """With the sentence and the advice of then; as a permanent error of the CA."""
    house.caa.text = "example.org 0 issue ca.example"
    error = look(house, Cause.CAA, house.caa.text)
    assert error is not None
    assert (error.what, error.hint, error.permanent) == ("CAA forbids it", "allow it", True)
    assert house.caa.looked == [house.spec.domains]


def test_changed_caa_records_are_worth_a_try(house: House) -> None:
    """Whether they allow it now is the CA's to say."""
    house.caa.text = "example.org 0 issue letsencrypt.org"
    assert look(house, Cause.CAA, "example.org 0 issue ca.example") is None
    house.caa.text = ""
    assert look(house, Cause.CAA, "example.org 0 issue ca.example") is None


@pytest.mark.parametrize("cause", [Cause.IDENTIFIER, Cause.CONFIGURATION])
def test_where_nothing_is_cheaper_the_try_itself_is_the_look(house: House, cause: Cause) -> None:
    """Once a day, which costs the CA an order at most."""
    assert look(house, cause) is None
    assert house.zone.calls == []
    assert house.caa.looked == []


def test_only_caa_leaves_evidence(house: House) -> None:
    """What the records looked like when the CA refused."""
    house.caa.text = "example.org 0 issue ca.example"
    assert evidence_of(house.world, Cause.CAA, house.spec) == house.caa.text
    assert evidence_of(house.world, Cause.TOKEN, house.spec) == ""
    assert evidence_of(house.world, None, house.spec) == ""
    assert house.caa.looked == [house.spec.domains]
