"""The port `Zone` for many orders at once: what they ask for at the same time goes in one call.

Owns who shares a call with whom, and that nobody pays for another's mistake. What a call does is
the business of the zone behind it.
"""

import threading
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from certwarden.errors import ZoneError
from certwarden.model import Place, TokenHealth, TxtRecord
from certwarden.ports import Zone
from certwarden.zone.refusals import RATE_LIMITED, TokenError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class BatchingZone:
    """Group commit in front of a zone; safe for threads.

    Whoever comes while nothing is under way goes at once, and alone. Who comes meanwhile goes
    together with the others of the same zone as soon as that is done.
    """

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._locating: _Joined[str, Place] = _Joined(zone.locate)
        self._creating: dict[str, _Joined[TxtRecord, TxtRecord]] = {}  # by zone, as is the next
        self._removing: dict[str, _Joined[TxtRecord, None]] = {}

    def verify(self) -> TokenHealth:
        """As the zone behind it."""
        return self._zone.verify()

    def locate(self, challenge_names: Sequence[str]) -> tuple[Place, ...]:
        """Where a record for each name must be written, in their order."""
        return self._locating.carry_out(challenge_names)

    def create(self, records: Sequence[TxtRecord]) -> tuple[TxtRecord, ...]:
        """Creates the records and returns them, in their order, with their ids."""
        made: dict[TxtRecord, TxtRecord] = {}
        for zone_id, members in _by_zone(records).items():
            joined = self._creating.setdefault(zone_id, _Joined(self._zone.create))
            made |= zip(members, joined.carry_out(members), strict=True)
        return tuple(made[record] for record in records)

    def remove(self, records: Sequence[TxtRecord]) -> None:
        """Removes the records; a zone that fails does not keep the others from being cleaned."""
        failed: ZoneError | None = None
        for zone_id, members in _by_zone(records).items():
            joined = self._removing.setdefault(zone_id, _Joined(self._remove))
            try:
                joined.carry_out(members)
            except ZoneError as error:
                failed = failed or error
        if failed:
            raise failed

    def _remove(self, records: Sequence[TxtRecord]) -> tuple[None, ...]:
        self._zone.remove(records)
        return (None,) * len(records)


@dataclass(eq=False)
class _Ticket(Generic[_Item, _Result]):
    """What one thread asks for, and what came of it: if nothing did, it must ask alone."""

    items: tuple[_Item, ...]
    is_settled: bool = False
    results: tuple[_Result, ...] | None = None
    error: ZoneError | None = None


@dataclass
class _Joined(Generic[_Item, _Result]):
    """One operation: takes many items, and gives as many results in their order."""

    call: Callable[[Sequence[_Item]], Sequence[_Result]]
    queue: "list[_Ticket[_Item, _Result]]" = field(default_factory=list)
    leader: "_Ticket[_Item, _Result] | None" = None  # whose thread calls for all `members`
    members: "list[_Ticket[_Item, _Result]]" = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def carry_out(self, items: Sequence[_Item]) -> tuple[_Result, ...]:
        """The results for these items, by a call that they may share; raises ZoneError."""
        if not items:
            return ()
        ticket: _Ticket[_Item, _Result] = _Ticket(tuple(items))
        try:
            if self._is_to_lead(ticket):
                self._share(self._take_queue())
        finally:
            self._leave(ticket)
        if ticket.error:
            raise ticket.error
        # After a call that failed for many each one asks for itself, so that none fails for others.
        return tuple(self.call(ticket.items)) if ticket.results is None else ticket.results

    def _is_to_lead(self, ticket: _Ticket[_Item, _Result]) -> bool:
        """Waits until somebody has settled the ticket, or it is this thread's turn to call."""
        with self.changed:
            self.queue.append(ticket)
            self.changed.wait_for(lambda: ticket.is_settled or self.leader is None)
            if not ticket.is_settled:
                self.leader = ticket
            return not ticket.is_settled

    def _take_queue(self) -> "list[_Ticket[_Item, _Result]]":
        with self.changed:
            self.members, self.queue = self.queue, []
            return self.members

    def _leave(self, ticket: _Ticket[_Item, _Result]) -> None:
        """Nobody waits for this thread any longer, nor does it for anybody: signals end it too."""
        with self.changed:
            if ticket in self.queue:
                self.queue.remove(ticket)
            if self.leader is ticket:
                self.leader = None
                for member in self.members:
                    member.is_settled = True
                self.changed.notify_all()

    def _share(self, members: Sequence[_Ticket[_Item, _Result]]) -> None:
        if len(members) == 1:
            members[0].results = tuple(self.call(members[0].items))
            return
        try:
            results = list(self.call([item for member in members for item in member.items]))
        except ZoneError as error:
            if isinstance(error, TokenError) or error.code in RATE_LIMITED:
                for member in members:
                    member.error = copy(error)
        except Exception:  # noqa: BLE001 - the one whose it is meets it again, alone
            return
        else:
            for member in members:
                member.results = tuple(results[: len(member.items)])
                del results[: len(member.items)]


def _by_zone(records: Sequence[TxtRecord]) -> dict[str, list[TxtRecord]]:
    groups: dict[str, list[TxtRecord]] = {}
    for record in records:
        groups.setdefault(record.place.zone_id, []).append(record)
    return groups
