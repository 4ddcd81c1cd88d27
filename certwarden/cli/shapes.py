"""How instants, durations and errors look in results: in text for people, in JSON for programs.

The rules of JSON: it keeps its shape (fields are added, never taken away); what is absent is null;
times are UTC with a Z; hex is lower case. Text says the same in fewer words and is no interface.
"""

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from certwarden.errors import Error, visible

if TYPE_CHECKING:
    from certwarden.lifecycle.trust import Verdict

_BAR_WIDTH = 24
_YEAR = timedelta(days=365)


def time_text(instant: datetime) -> str:
    """An instant as in JSON."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def optional_time(instant: datetime | None) -> str | None:
    """The same where there may be none."""
    return None if instant is None else time_text(instant)


def date_text(instant: datetime) -> str:
    """An instant for people, to the minute."""
    return instant.strftime("%Y-%m-%d %H:%M UTC")


def left_text(duration: timedelta) -> str:
    """How much of a life is left."""
    if duration <= timedelta(0):
        return "expired"
    if duration >= 2 * _YEAR:
        return f"{duration // _YEAR} years left"
    if duration >= timedelta(days=2):
        return f"{round(duration / timedelta(days=1))} days left"
    return f"{duration // timedelta(hours=1)} hours left"


def bar_text(
    start: datetime,
    end: datetime,
    now: datetime,
    mark: datetime | None = None,
    *,
    width: int = _BAR_WIDTH,
) -> str:
    """A life as a bar: what has passed, then what is left; ┃ where the mark lies within it."""

    def cells(instant: datetime) -> int:
        return round(width * min(max((instant - start) / (end - start), 0.0), 1.0))

    passed = cells(now) if end > start else width
    bar = "█" * passed + "░" * (width - passed)
    if mark is None or not start <= mark < end:
        return bar
    place = min(cells(mark), width - 1)
    return f"{bar[:place]}┃{bar[place + 1 :]}"


def error_json(error: Error | None) -> dict[str, str] | None:
    """What is wrong, and what to do."""
    return {"what": error.what, "hint": error.hint} if error else None


def clock_json(verdict: "Verdict | None") -> dict[str, bool | None] | None:
    """Whether the clock is synchronised and trusted; None where nobody can tell, or has asked."""
    if verdict is None:
        return None
    is_known = verdict.is_trusted or verdict.is_asked
    return {
        "synchronised": verdict.synchronised,
        "trusted": verdict.is_trusted if is_known else None,
    }


def show_json(value: Any) -> None:
    """Prints it as JSON; what a terminal might obey, or nobody sees, is escaped in it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if visible(text) != text:
        text = "".join(
            each if each == visible(each) else json.dumps(each).strip('"') for each in text
        )
    print(text)


def show_line(text: str) -> None:
    """Prints a line of text, or several, without what a terminal would obey."""
    print(visible(text))
