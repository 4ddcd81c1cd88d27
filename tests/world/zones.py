"""The zones and their records: one store that the Cloudflare emulator writes and the DNS reads.

Owns what exists, what is visible in DNS at a given moment, and that a change is whole or not at
all. Knows neither HTTP nor DNS messages, and judges no request: that is the emulator's business.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

# Reserved by RFC 6761, so that nothing here can be mistaken for a name of the real world.
NAME_SERVERS = ("ada.ns.world.test", "bob.ns.world.test")


def new_id() -> str:
    """An identifier as Cloudflare makes them: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def now_text() -> str:
    """The time now as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True)
class Record:
    """One DNS record as the API keeps it; `content` stands as it was sent."""

    zone_id: str
    type: str
    name: str
    content: str
    ttl: int = 1
    comment: str | None = None
    proxied: bool = False
    priority: int | None = None
    tags: tuple[str, ...] = ()
    id: str = field(default_factory=new_id)
    created_on: str = field(default_factory=now_text)
    modified_on: str = field(default_factory=now_text)

    @property
    def bare_content(self) -> str:
        """The content without the quotes that Cloudflare asks for around TXT."""
        if self.type == "TXT" and len(self.content) > 1 and self.content[0] == '"':
            return self.content[1:-1] if self.content.endswith('"') else self.content
        return self.content


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone; a hidden one is served in DNS but does not exist for the API."""

    name: str
    id: str = field(default_factory=new_id)
    status: str = "active"
    paused: bool = False
    name_servers: tuple[str, ...] = NAME_SERVERS
    delegated_to: tuple[str, ...] = ()  # whom the world asks instead, where that is not them
    account_id: str = field(default_factory=new_id)
    record_quota: int = 200
    hidden: bool = False
    created_on: str = field(default_factory=now_text)


@dataclass(slots=True)
class _Showing:
    """A record and the span of monotonic time in which DNS shows it."""

    record: Record
    since: float
    until: float | None = None

    def at(self, moment: float) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


class Zones:
    """All zones and records; safe to use from many threads.

    `propagation_delay` is how many seconds after an API call DNS shows what it changed. It may be
    set at any time and holds for the changes that follow. Nothing ever sleeps: each record carries
    the span in which it is seen, and the one who asks says when it asks.
    """

    def __init__(
        self, *, propagation_delay: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.propagation_delay = propagation_delay
        self.clock = clock
        self.account_id = new_id()
        self._lock = threading.RLock()
        self._zones: dict[str, Zone] = {}
        self._records: dict[str, dict[str, Record]] = {}
        self._showings: dict[str, list[_Showing]] = {}

    def add_zone(
        self,
        name: str,
        *,
        status: str = "active",
        paused: bool = False,
        name_servers: Sequence[str] = NAME_SERVERS,
        record_quota: int = 200,
        hidden: bool = False,
        account_id: str | None = None,
    ) -> Zone:
        """Make a zone, in the store's account unless another one is given."""
        zone = Zone(
            name=name.lower().rstrip("."),
            status=status,
            paused=paused,
            name_servers=tuple(name_servers),
            record_quota=record_quota,
            hidden=hidden,
            account_id=account_id or self.account_id,
        )
        with self._lock:
            self._zones[zone.id] = zone
            self._records[zone.id] = {}
        return zone

    def remove_zone(self, zone_id: str) -> None:
        """Delete a zone with all its records; they vanish from DNS at once."""
        with self._lock:
            for record in list(self._records[zone_id].values()):
                self.remove(record)
            del self._zones[zone_id], self._records[zone_id]

    def change_zone(
        self, zone_id: str, *, status: str = "active", delegated_to: Sequence[str] = ()
    ) -> Zone:
        """Give a zone another status: `active`, `pending`, `moved`.

        `delegated_to` are the name servers that DNS tells instead of the zone's own at Cloudflare.
        """
        with self._lock:
            zone = replace(self._zones[zone_id], status=status, delegated_to=tuple(delegated_to))
            self._zones[zone_id] = zone
        return zone

    def zones(self) -> list[Zone]:
        """The zones that the API shows, in the order they were made."""
        with self._lock:
            return [zone for zone in self._zones.values() if not zone.hidden]

    def zone(self, zone_id: str) -> Zone | None:
        """The zone of this id, if the API shows it."""
        with self._lock:
            zone = self._zones.get(zone_id)
        return None if zone is None or zone.hidden else zone

    def zone_named(self, name: str) -> Zone:
        """The zone of exactly this name."""
        with self._lock:
            for zone in self._zones.values():
                if zone.name == name:
                    return zone
        raise KeyError(name)

    def zone_of(self, name: str) -> Zone | None:
        """The closest zone that holds this name."""
        with self._lock:
            by_name = {zone.name: zone for zone in self._zones.values()}
        labels = name.lower().rstrip(".").split(".")
        for cut in range(len(labels)):
            if zone := by_name.get(".".join(labels[cut:])):
                return zone
        return None

    def records(self, zone_id: str | None = None) -> list[Record]:
        """The records that the API shows now: of one zone, or of all."""
        with self._lock:
            if zone_id is not None:
                return list(self._records[zone_id].values())
            return [record for zone in self.zones() for record in self._records[zone.id].values()]

    def txt(self, name: str) -> list[str]:
        """The TXT values that the API holds at this name, without quotes."""
        return [r.bare_content for r in self.records() if r.type == "TXT" and r.name == name]

    def add(
        self,
        record_type: str,
        name: str,
        content: str,
        *,
        ttl: int = 300,
        comment: str | None = None,
        proxied: bool = False,
    ) -> Record:
        """Put a record there by hand; DNS shows it at once, whatever the delay."""
        zone = self.zone_of(name)
        if zone is None:
            raise KeyError(name)
        record = Record(
            zone_id=zone.id,
            type=record_type,
            name=name.lower(),
            content=content,
            ttl=ttl,
            comment=comment,
            proxied=proxied,
        )
        with self._lock:
            self._records[zone.id][record.id] = record
            # The beginning of time and not now: a server that shows an older state shows it too.
            self._showings.setdefault(record.name, []).append(_Showing(record, float("-inf")))
        return record

    def remove(self, record: Record) -> None:
        """Take a record away by hand; it vanishes from DNS at once."""
        with self._lock:
            del self._records[record.zone_id][record.id]
            self._end(record, self.clock())

    @contextmanager
    def change(self, zone_id: str) -> Iterator[dict[str, Record]]:
        """Yield the zone's records by id, to be changed; an exception leaves everything as it was.

        Holds the lock all the while, so two changes never see each other half done.
        """
        with self._lock:
            before = self._records[zone_id]
            after = dict(before)
            yield after
            self._records[zone_id] = after
            seen_from = self.clock() + self.propagation_delay
            for record_id, old in before.items():
                if after.get(record_id) is not old:
                    self._end(old, seen_from)
            for record_id, new in after.items():
                if before.get(record_id) is not new:
                    self._showings.setdefault(new.name, []).append(_Showing(new, seen_from))

    def _end(self, record: Record, moment: float) -> None:
        for showing in self._showings.get(record.name, []):
            if showing.record == record and showing.until is None:
                # A record that is deleted before it was ever seen is never seen.
                showing.until = max(moment, showing.since)

    def visible(self, name: str, at: float | None = None) -> list[Record]:
        """The records that DNS shows at exactly this name, at that moment or now."""
        moment = self.clock() if at is None else at
        with self._lock:
            showings = list(self._showings.get(name, ()))
        return [showing.record for showing in showings if showing.at(moment)]

    def exists(self, name: str, at: float | None = None) -> bool:
        """Whether DNS knows the name: by a record of its own or below it."""
        moment = self.clock() if at is None else at
        if self.visible(name, moment):
            return True
        suffix = "." + name
        with self._lock:
            below = [
                showing
                for other, showings in self._showings.items()
                if other.endswith(suffix)
                for showing in showings
            ]
        return any(showing.at(moment) for showing in below)
