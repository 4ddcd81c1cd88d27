"""What has happened in the house over time, as far as it is known: facts for `report`.

Pure functions of the history, the versions and the lists; draws nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from certwarden.cli.outlook import House
from certwarden.frozen import frozen
from certwarden.lifecycle.lists import BACK_DATED, PUBLISHED
from certwarden.model import Crl, Event, Stored


@frozen
class List:
    """A revocation list that is known: from when until when it was good."""

    number: int
    this_update: datetime
    next_update: datetime
    entries: int | None = None


@frozen
class Span:
    """A stretch of time."""

    start: datetime
    end: datetime


@frozen
class Chronicle:
    """The house now, the stored versions of each certificate (newest first), and its history."""

    house: House
    versions: Mapping[str, Sequence[Stored]]
    events: Sequence[Event]


def known_lists(chronicle: Chronicle) -> tuple[List, ...]:
    """The lists by number: those of the history, and exactly those that are still to be seen.

    The history has the day on which a list ends; its hour is that of its publication.
    """
    found = {each.number: each for event in chronicle.events for each in _published(event)}
    authority = chronicle.house.authority
    if authority is not None:
        for rung in authority.ladder:
            found[rung.number] = List(rung.number, rung.at, rung.next_update)
    for crl in _seen_lists(chronicle.house):
        found[crl.number] = List(crl.number, crl.this_update, crl.next_update, len(crl.serials))
    return tuple(found[number] for number in sorted(found))


def gaps(lists: Iterable[List], now: datetime) -> tuple[Span, ...]:
    """When no known list was good, between the first one's beginning and now."""
    found = []
    covered: datetime | None = None
    for each in sorted(lists, key=lambda one: one.this_update):
        if covered is not None and covered < min(each.this_update, now):
            found.append(Span(covered, min(each.this_update, now)))
        covered = max(each.next_update, covered or each.next_update)
    if covered is not None and covered < now:
        found.append(Span(covered, now))
    return tuple(found)


def _published(event: Event) -> Iterable[List]:
    told = PUBLISHED.match(event.text) if event.kind == "list-published" else None
    if told is None:
        return
    start = event.at - BACK_DATED
    try:
        day = date.fromisoformat(told[3])
    except ValueError:
        return  # such a day does not exist
    end = datetime.combine(day, event.at.timetz())
    if end > start:
        yield List(int(told[1]), start, end, int(told[2]))


def _seen_lists(house: House) -> Iterable[Crl]:
    for seen in house.certificates:
        for target in seen.targets:
            if target.installed is not None and target.installed.trust is not None:
                yield target.installed.trust.crl
    if house.authority is not None and house.authority.crl is not None:
        yield house.authority.crl
