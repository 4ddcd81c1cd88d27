"""What the children print, and what follows from it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certwarden.daemon.answers import (
    Answer,
    Appointment,
    Settings,
    agenda,
    back_off,
    read_answer,
    read_settings,
)

NOW = datetime(2039, 1, 1, tzinfo=UTC)  # where time_t has 32 bits it cannot hold this
HOUR, SOON = timedelta(hours=1), timedelta(seconds=10)


def answer(*appointments: Appointment) -> Answer:
    return Answer(appointments, is_synchronised=True, is_trusted=True)


def test_an_answer_is_read() -> None:
    """Job, instant and reason, and what the worker thinks of the clock."""
    said = {
        "certificates": [],
        "next": [{"job": "token", "at": "2039-01-01T00:00:00Z", "why": "it\x1b[1m ends"}],
        "clock": {"synchronised": None, "trusted": False},
    }
    assert read_answer(json.dumps(said).encode()) == Answer(
        (Appointment("token", NOW, "it[1m ends"),), is_synchronised=None, is_trusted=False
    )


@pytest.mark.parametrize("text", ["{}", '{"next": null, "clock": null}', '{"next": [], "x": 1}'])
def test_an_answer_may_leave_things_out(text: str) -> None:
    """No appointment and no word about the clock: the daemon's own rhythm, and a trusted clock."""
    assert read_answer(text.encode()) == Answer((), is_synchronised=None, is_trusted=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "\xff",
        '{"next": {}}',
        '{"next": [1]}',
        '{"next": [{"job": "reconcile"}]}',
        '{"next": [{"job": "reconcile", "at": "soon"}]}',
        '{"next": [{"job": "reconcile", "at": "2039-01-01T00:00:00"}]}',
        '{"next": [{"job": "a b", "at": "2039-01-01T00:00:00Z"}]}',
        '{"clock": 1}',
        json.dumps({"next": [{"job": "j", "at": "2039-01-01T00:00:00Z"}] * 21}),
        "[" * 100_000,
    ],
)
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    """Nothing is guessed from half an answer."""
    with pytest.raises(ValueError):  # noqa: PT011 - json raises its own
        read_answer(text.encode("latin-1"))


def test_settings_are_read() -> None:
    """The state directory, and how often; six hours where nothing is said."""
    assert read_settings(b'{"state_directory": "/s", "daemon": {"check_every": "90m"}}') == (
        Settings(Path("/s"), timedelta(minutes=90))
    )
    assert read_settings(b'{"state_directory": "/s"}').check_every == timedelta(hours=6)


@pytest.mark.parametrize("every", ["", "6", "0h", "six", "6h ", "-1h"])
def test_settings_that_cannot_be_understood_are_refused(every: str) -> None:
    """A duration is a number and a unit."""
    with pytest.raises(ValueError, match="duration"):
        read_settings(
            json.dumps({"state_directory": "/s", "daemon": {"check_every": every}}).encode()
        )
    with pytest.raises(ValueError, match="absolute"):
        read_settings(b'{"state_directory": "s"}')


def test_a_reconcile_is_never_further_than_check_every() -> None:
    """Also where the worker asks for none, or for a later one."""
    later = Appointment("reconcile", NOW + 5 * HOUR, "much later")
    for given in (answer(), answer(later)):
        assert agenda(given, NOW, HOUR, SOON)["reconcile"].at == NOW + HOUR


def test_an_appointment_in_the_past_is_kept_soon() -> None:
    """A worker that asks for it again and again cannot make the daemon spin."""
    past = Appointment("renewal-info", NOW - HOUR, "due")
    kept = agenda(answer(past), NOW, HOUR, SOON)
    assert kept["renewal-info"] == Appointment("renewal-info", NOW + SOON, "due")


def test_the_first_of_two_appointments_of_a_job_counts() -> None:
    """Each job is armed once."""
    two = [Appointment("token", NOW + minutes * timedelta(minutes=1)) for minutes in (40, 20)]
    assert agenda(answer(*two), NOW, HOUR, SOON)["token"].at == NOW + timedelta(minutes=20)


def test_back_off_doubles_to_its_cap() -> None:
    """A minute, two, four; never more than check_every, however long it goes on."""
    minute = timedelta(minutes=1)
    found = [back_off(n, minute, HOUR) / minute for n in (1, 2, 3, 7, 10_000)]
    assert found == [1, 2, 4, 60, 60]
