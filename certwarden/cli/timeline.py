"""A strip of time as inline SVG: bars, marks, and now. It is as wide as its place, at any width.

All that lies on the strip is placed in percent, so nothing needs a script and no text is scaled.
Owns no judgement: what is a failure or a gap is told by the caller.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from certwarden.cli.markup import Markup, joined, tag
from certwarden.frozen import frozen

_AXIS = 22
_ROW = 24
_BAR = 12
_TICKS = 4
FIGURES = {  # of marks, around their place
    "renewal": "M-5 0 L0 -5 L5 0 L0 5 Z",
    "failure": "M-4 -4 L4 4 M-4 4 L4 -4",
    "due": "M-5 -6 L5 -6 L0 3 Z",
}


@frozen
class Bar:
    """A stretch of time in one of the rows; `title` is shown when it is pointed at."""

    row: int
    start: datetime
    end: datetime
    kind: str
    title: str


@frozen
class Mark:
    """An instant in one of the rows: renewal, failure or due."""

    row: int
    at: datetime
    kind: str
    title: str


@frozen
class Axis:
    """The stretch of time that a strip shows."""

    start: datetime
    end: datetime

    @classmethod
    def around(cls, instants: Iterable[datetime]) -> "Axis":
        """One that all of them lie on, with a little room at both ends."""
        known = sorted(instants)
        room = max((known[-1] - known[0]) / 40, timedelta(hours=1))
        return cls(known[0] - room, known[-1] + room)

    def percent(self, instant: datetime) -> float:
        """Where the instant lies; what is beyond an end lies at that end."""
        share = (instant - self.start) / (self.end - self.start)
        return round(100 * min(max(share, 0.0), 1.0), 3)


def strip(
    axis: Axis, now: datetime, bars: Sequence[Bar], marks: Sequence[Mark], *, label: str
) -> Markup:
    """The picture; `label` says in a sentence what it shows, for whoever cannot see it."""
    rows = 1 + max([*(bar.row for bar in bars), *(mark.row for mark in marks)], default=0)
    height = _AXIS + rows * _ROW + 4
    return tag(
        "svg",
        tag("title", label),
        *_ticks(axis, height),
        *(_bar(axis, each) for each in bars),
        _now(axis, now, height),
        *(_mark(axis, each) for each in marks),
        class_="strip",
        role="img",
        aria_label=label,
        width="100%",
        height=height,
    )


def _ticks(axis: Axis, height: int) -> Iterable[Markup]:
    step = (axis.end - axis.start) / _TICKS
    form = "%b %Y" if step > timedelta(days=60) else "%d %b"
    for place in range(_TICKS):
        at = axis.start + step * (place + 0.5)
        x = f"{axis.percent(at)}%"
        yield tag("line", x1=x, x2=x, y1=_AXIS - 4, y2=height, class_="tick")
        yield tag("text", at.strftime(form), x=x, y=12, class_="tick")


def _bar(axis: Axis, bar: Bar) -> Markup:
    start, end = axis.percent(bar.start), axis.percent(bar.end)
    return tag(
        "rect",
        tag("title", bar.title),
        x=f"{start}%",
        y=_AXIS + bar.row * _ROW + (_ROW - _BAR) // 2,
        width=f"{round(max(end - start, 0.4), 3)}%",
        height=_BAR,
        rx=3,
        class_=f"bar {bar.kind}",
    )


def _mark(axis: Axis, mark: Mark) -> Markup:
    """A figure of its own size at a place in percent: an inner picture that may overflow."""
    figure = tag("path", tag("title", mark.title), d=FIGURES[mark.kind], class_=f"mark {mark.kind}")
    return tag(
        "svg",
        figure,
        x=f"{axis.percent(mark.at)}%",
        y=_AXIS + mark.row * _ROW + _ROW // 2,
        width=1,
        height=1,
        overflow="visible",
    )


def _now(axis: Axis, now: datetime, height: int) -> Markup:
    x = f"{axis.percent(now)}%"
    return joined(tag("line", x1=x, x2=x, y1=_AXIS - 6, y2=height, class_="now"))
