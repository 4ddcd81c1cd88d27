"""What was found, as Markdown: each figure of the design beside its target, then all that was seen.

Owns the targets. Medians are judged; the least and the most stand beside them in brackets.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.findings import (
    CERTBOT,
    CERTWARDEN,
    CLIENTS_ISSUED,
    COMPLETION,
    DELAY,
    ENTRIES,
    FEW,
    FIRST,
    FIRST_DELAYED,
    HELP,
    MANY,
    MANY_DUE,
    MANY_DUE_DELAYED,
    MOST_ENTRIES,
    NOTHING_DUE,
    NOTHING_DUE_CA,
    NOTHING_DUE_MANY,
    ONE_DUE,
    OPENSSL,
    SAMPLED,
    SAMPLED_DUE,
    UACME,
    VERSION,
    Findings,
    Sample,
    Spread,
    revocation,
)

_LIST_SECONDS = 0.8  # of ENTRIES
_ENTRY_KILOBYTES = 2


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
    calls = found.calls.get((FIRST, CERTWARDEN))
    if calls:
        yield Figure("calls to Cloudflare for a certificate", "", 4, Spread(calls))
    yield from _of_many(found)
    for job in (NOTHING_DUE, NOTHING_DUE_MANY):
        yield from _compared(found, job, _WALL, CERTBOT, limit=0.35)
        yield from _compared(found, job, _PEAK, CERTBOT, limit=0.65)
    for of, limit in ((_WALL, 0.35), (_PEAK, 0.65)):
        yield from _compared(found, NOTHING_DUE_CA, of, CERTBOT, limit=limit, their_job=NOTHING_DUE)
    for job in (VERSION, HELP):
        yield from _compared(found, job, _WALL, CERTBOT, limit=0.15)
    # certbot has no completion script to print; its help is the like of it.
    yield from _compared(found, COMPLETION, _WALL, CERTBOT, limit=0.15, their_job=HELP)
    yield from _of_authority(found)
    if found.idleness:
        resident = Spread(tuple(each.resident for each in found.idleness))
        yield Figure("idle daemon: memory", "MB", 28, resident)
        written = Spread(tuple(each.written_per_day for each in found.idleness))
        yield Figure("idle daemon: written in a day", "MB", 1, written)


def _of_many(found: Findings) -> Iterator[Figure]:
    """certbot's are fewer, and counted up: it does one after the other, and sleeps for most."""
    theirs = found.spread(SAMPLED_DUE, CERTBOT, lambda sample: sample.wall * MANY / SAMPLED)
    against = f"{CERTBOT} {SAMPLED_DUE}, times {MANY // SAMPLED}"
    for job, times in ((MANY_DUE, 75), (MANY_DUE_DELAYED, 45)):
        ours = found.spread(job, CERTWARDEN, _WALL.read)
        if ours and theirs:
            yield Figure(f"{job}: {_WALL.name}", _WALL.unit, 1 / times, ours, against, theirs)
    one = found.spread(ONE_DUE, CERTWARDEN, _PEAK.read)
    many = found.spread(MANY_DUE, CERTWARDEN, _PEAK.read)
    if one and many:
        each = Spread(tuple((peak - one.median) / (MANY - 1) for peak in many.values))
        yield Figure("memory for each further certificate due", "MB", 0.5, each)


def _of_authority(found: Findings) -> Iterator[Figure]:
    """What a list costs is what a revocation takes beyond one in a short list."""
    yield from _compared(found, CLIENTS_ISSUED, _WALL, OPENSSL, limit=0.1)
    for entries in (ENTRIES, MOST_ENTRIES):
        taken = _beyond(found, entries, _WALL.read)
        if taken:
            limit = _LIST_SECONDS * entries / ENTRIES
            yield Figure(f"revocation list, {entries:,} entries: time", "s", limit, taken)
    held = _beyond(found, MOST_ENTRIES, _PEAK.read)
    if held:  # of fewer there is nothing to be seen: opening the CA's key takes as much
        each = Spread(tuple(1e3 * megabytes / MOST_ENTRIES for megabytes in held.values))
        what = f"revocation list, {MOST_ENTRIES:,} entries: memory for each"
        yield Figure(what, "kB", _ENTRY_KILOBYTES, each)


def _beyond(found: Findings, entries: int, of: Callable[[Sample], float]) -> Spread | None:
    """What a revocation takes beyond one in a short list."""
    few = found.spread(revocation(FEW), CERTWARDEN, of)
    if few is None:
        return None
    return found.spread(revocation(entries), CERTWARDEN, lambda sample: of(sample) - few.median)


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
            _ratio(figure.value) if figure.theirs else "",
            f"≤ {figure.limit:.3g}" + ("" if figure.theirs else f" {figure.unit}".rstrip()),
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
    jobs = dict.fromkeys(job for job, _ in found.calls)
    notes = [f"Calls to Cloudflare, {job}: {_calls(found, job)}." for job in jobs]
    notes += [f"{client} was left out: {why}." for client, why in found.left_out.items()]
    tables = [
        _table(("what", "certwarden", "beside", "ratio", "target", "met"), judged),
        _table(("job", "client", "runs", "wall s", "processor s", "peak MB"), seen),
    ]
    return "\n\n".join([*tables, *notes]) + "\n"


def _calls(found: Findings, job: str) -> str:
    return ", ".join(
        f"{client} {_spread(Spread(calls), '')}"
        for (of, client), calls in found.calls.items()
        if of == job
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(spread: Spread, unit: str) -> str:
    least, median, most = (_number(value) for value in (spread.least, spread.median, spread.most))
    suffix = f" {unit}" if unit else ""
    return f"{median}{suffix}" + (f" ({least} to {most})" if least != most else "")


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 and value % 1 else f"{value:.1f}".removesuffix(".0")


def _ratio(value: float) -> str:
    """With three figures, where it is small."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}".rstrip("0")
