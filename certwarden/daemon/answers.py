"""What the children print, as values, and when the next pass is due. Pure: reads no clock.

The children are our own program, perhaps a newer version of it: fields that are unknown here are
passed over, and what cannot be read is a ValueError.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certwarden.errors import clean

RECONCILE = "reconcile"
CHECK_EVERY = timedelta(hours=6)  # where the configuration does not say
MAX_APPOINTMENTS = 20

_JOB = re.compile(r"[a-z][a-z-]{0,31}")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Settings:
    """What the daemon needs of the configuration."""

    state_directory: Path
    check_every: timedelta


@dataclass(frozen=True)
class Appointment:
    """When the worker wants to be called again, and why."""

    job: str
    at: datetime
    why: str = ""


@dataclass(frozen=True)
class Answer:
    """What a pass says at its end. `is_synchronised` is None where nobody can tell."""

    appointments: tuple[Appointment, ...]
    is_synchronised: bool | None
    is_trusted: bool


def read_settings(output: bytes) -> Settings:
    """From what `config show --json` prints; raises ValueError."""
    shown = _document(output)
    directory = Path(_text(shown.get("state_directory")))
    if not directory.is_absolute():
        raise ValueError("the state directory is not an absolute path")
    written = _object(shown.get("daemon", {})).get("check_every")
    return Settings(directory, CHECK_EVERY if written is None else _duration(_text(written)))


def read_answer(output: bytes) -> Answer:
    """From what `renew --json` prints; raises ValueError."""
    said = {key: value for key, value in _document(output).items() if value is not None}
    clock, entries = _object(said.get("clock", {})), said.get("next", [])
    if not isinstance(entries, list) or len(entries) > MAX_APPOINTMENTS:
        raise ValueError("`next` is not a list of a few appointments")
    return Answer(
        tuple(_appointment(_object(entry)) for entry in entries),
        is_synchronised=None if (known := clock.get("synchronised")) is None else known is True,
        is_trusted=clock.get("trusted") is not False,
    )


def agenda(
    answer: Answer, now: datetime, check_every: timedelta, soonest: timedelta
) -> dict[str, Appointment]:
    """The appointments to keep, by job: the first of each, none sooner than in `soonest`, and
    always a reconcile at most `check_every` ahead.
    """
    latest = Appointment(RECONCILE, now + check_every, "it is time to look again")
    kept: dict[str, Appointment] = {}
    for each in (*answer.appointments, latest):
        at = max(each.at, now + soonest)
        if each.job not in kept or at < kept[each.job].at:
            kept[each.job] = Appointment(each.job, at, each.why)
    return kept


def back_off(failures: int, first: timedelta, check_every: timedelta) -> timedelta:
    """How long to wait after so many failed passes in a row (at least one): doubling, capped."""
    return min(first * (1 << min(failures - 1, 20)), check_every)


def _appointment(entry: Mapping[str, object]) -> Appointment:
    job, written = _text(entry.get("job")), _text(entry.get("at"))
    at = datetime.fromisoformat(written)
    if not _JOB.fullmatch(job) or at.tzinfo is None:
        raise ValueError("an appointment has no proper name or no time zone")
    return Appointment(job, at.astimezone(UTC), clean(_text(entry.get("why") or ""), 120))


def _duration(text: str) -> timedelta:
    matched = _DURATION.fullmatch(text)
    if matched is None or not int(matched[1]):
        raise ValueError("a duration cannot be read")
    return timedelta(**{_UNITS[matched[2]]: int(matched[1])})


def _document(output: bytes) -> Mapping[str, object]:
    try:
        return _object(json.loads(output))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - whoever calls catches what json raises
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004 - see above
    return value
