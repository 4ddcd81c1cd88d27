"""What was found, as Markdown: each figure of the design beside its target, then all that was seen.

Owns the targets. Medians are judged; the least and the most stand beside them in brackets.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.findings import (
    CERTBOT,
    CERTWARDEN,
    COMPLETION,
    DELAY,
    FIRST,
    FIRST_DELAYED,
    HELP,
    NOTHING_DUE,
    NOTHING_DUE_MANY,
    UACME,
    VERSION,
    Findings,
    Sample,
    Spread,
)


@dataclass(frozen=True)
class _Quantity:
    """One of the things that a sample holds."""

    name: str
    unit: str
    read: Callable[[Sample], float]


_WALL = _Quantity("time", "s", lambda sample: sample.wall)
_CPU = _Quantity("processor", "s", lambda sample: sample.cpu)
_PEAK = _Quantity("memory", "MB", lambda sample: sample.peak)


@dataclass(frozen=True)
class Figure:
    """Ours, as a share of another client's where there is one, and the most that it may be."""

    what: str
    unit: str
    limit: float
    ours: Spread
    other: str = ""
    theirs: Spread | None = None

    @property
    def value(self) -> float:
        """What is judged."""
        return self.ours.median / self.theirs.median if self.theirs else self.ours.median

    @property
    def is_met(self) -> bool:
        """Whether it is within the limit."""
        return self.value <= self.limit


def figures(found: Findings) -> Iterator[Figure]:
    """The design's figures, as far as there is something to tell them from."""
    yield from _compared(found, FIRST, _WALL, CERTBOT, limit=0.1)
    yield from _compared(found, FIRST, _WALL, UACME, limit=1.0)
    delayed = found.spread(FIRST_DELAYED, CERTWARDEN, _WALL.read)
    if delayed:
        yield Figure(f"{FIRST_DELAYED}: time", "s", DELAY + 1.5, delayed)
    calls = found.calls.get(CERTWARDEN)
    if calls:
        yield Figure("calls to Cloudflare for a certificate", "", 4, Spread(calls))
    for job in (NOTHING_DUE, NOTHING_DUE_MANY):
        yield from _compared(found, job, _WALL, CERTBOT, limit=0.35)
        yield from _compared(found, job, _PEAK, CERTBOT, limit=0.65)
    for job in (VERSION, HELP):
        yield from _compared(found, job, _WALL, CERTBOT, limit=0.15)
    # certbot has no completion script to print; its help is the like of it.
    yield from _compared(found, COMPLETION, _WALL, CERTBOT, limit=0.15, their_job=HELP)


def _compared(
    found: Findings, job: str, of: _Quantity, other: str, *, limit: float, their_job: str = ""
) -> Iterator[Figure]:
    ours = found.spread(job, CERTWARDEN, of.read)
    theirs = found.spread(their_job or job, other, of.read)
    if ours and theirs:
        against = f"{other} {their_job}".strip()
        yield Figure(f"{job}: {of.name}", of.unit, limit, ours, against, theirs)


def markdown(found: Findings) -> str:
    """Both tables and the notes below them."""
    judged = [
        (
            figure.what,
            _spread(figure.ours, figure.unit),
            f"{figure.other} {_spread(figure.theirs, figure.unit)}" if figure.theirs else "",
            f"{figure.value:.2f}" if figure.theirs else "",
            f"≤ {figure.limit:g}" + ("" if figure.theirs else f" {figure.unit}".rstrip()),
            "yes" if figure.is_met else "**no**",
        )
        for figure in figures(found)
    ]
    seen = [
        (
            job,
            client,
            str(len(samples)),
            *(_spread(Spread(tuple(map(of.read, samples))), "") for of in (_WALL, _CPU, _PEAK)),
        )
        for (job, client), samples in found.samples.items()
    ]
    calls = ", ".join(f"{client} {_spread(Spread(of), '')}" for client, of in found.calls.items())
    notes = [f"Calls to Cloudflare for one certificate: {calls}."] if calls else []
    notes += [f"{client} was left out: {why}." for client, why in found.left_out.items()]
    tables = [
        _table(("what", "certwarden", "beside", "ratio", "target", "met"), judged),
        _table(("job", "client", "runs", "wall s", "processor s", "peak MB"), seen),
    ]
    return "\n\n".join([*tables, *notes]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(spread: Spread, unit: str) -> str:
    least, median, most = (_number(value) for value in (spread.least, spread.median, spread.most))
    suffix = f" {unit}" if unit else ""
    return f"{median}{suffix}" + (f" ({least} to {most})" if least != most else "")


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 and value % 1 else f"{value:.1f}".removesuffix(".0")
