"""In-memory stand-ins for the DNS provider, CAA records and the look at propagation.

`tests/contract/test_zone.py` runs `FakeZone` beside the real adapter.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from certwarden.errors import ZoneError
from certwarden.model import Place, TokenHealth, TxtRecord

Operation = Literal["verify", "locate", "create", "remove"]


@dataclass(frozen=True)
class Script:
    """A failure to come: of which operation, by which error, and whether the change was made."""

    operation: Operation
    error: ZoneError
    applied: bool = False


@dataclass(frozen=True)
class Held:
    """A record as the provider holds it."""

    name: str
    value: str
    comment: str


class FakeZone:
    """One provider's zones; `records` is what they hold, by id. Several threads may call it.

    `aliases` are CNAMEs by name; `health` is what the token is found to be. `fail` scripts
    failures; the first one that fits is used up. `calls` tells what was asked, in order.
    """

    def __init__(self, zones: Sequence[str] = ("example.org",)) -> None:
        self.zones = {name: f"{number:032x}" for number, name in enumerate(zones, 1)}
        self.aliases: dict[str, str] = {}
        self.records: dict[str, Held] = {}
        self.scripts: list[Script] = []
        self.calls: list[Operation] = []
        self.health = TokenHealth(None)
        self._made = 0
        self._lock = threading.RLock()

    def fail(
        self, operation: Operation, error: ZoneError | None = None, *, applied: bool = False
    ) -> None:
        """The next such call fails; with `applied` only its reply is lost."""
        default = ZoneError("Cloudflare cannot be reached", "it is tried again later")
        self.scripts.append(Script(operation, error or default, applied))

    def put(self, name: str, value: str, comment: str = "") -> str:
        """A record that stands there already; returns its id."""
        with self._lock:
            self._made += 1
            record_id = f"{self._made:032x}"
            self.records[record_id] = Held(name, value, comment)
            return record_id

    def drop_zone(self, name: str) -> None:
        """The zone is deleted, with all that it held."""
        with self._lock:
            del self.zones[name]
            self.records = {
                record_id: held
                for record_id, held in self.records.items()
                if held.name != name and not held.name.endswith(f".{name}")
            }

    def calls_of(self, operation: Operation) -> int:
        """How often it was called."""
        return self.calls.count(operation)

    # The port.

    def verify(self) -> TokenHealth:
        """What it was told that the token is."""
        with self._lock:
            self._begin("verify")
            return self.health

    def locate(self, challenge_names: Sequence[str]) -> tuple[Place, ...]:
        """Where each record belongs."""
        with self._lock:
            self._begin("locate")
            return tuple(self._place(name) for name in challenge_names)

    def create(self, records: Sequence[TxtRecord]) -> tuple[TxtRecord, ...]:
        """Makes what is not there yet."""
        with self._lock:
            script = self._begin("create")
            made = tuple(replace(record, record_id=self._create(record)) for record in records)
            if script:
                raise script.error
            return made

    def remove(self, records: Sequence[TxtRecord]) -> None:
        """Removes what is ours of it."""
        with self._lock:
            script = self._begin("remove")
            for record in records:
                held = Held(record.place.record_name, record.value, record.comment)
                for record_id, other in list(self.records.items()):
                    if record_id == record.record_id or (not record.record_id and other == held):
                        del self.records[record_id]
            if script:
                raise script.error

    def _begin(self, operation: Operation) -> Script | None:
        """The failure to raise after the work, if any; one that comes before it is raised here."""
        self.calls.append(operation)
        for script in self.scripts:
            if script.operation == operation:
                self.scripts.remove(script)
                if not script.applied:
                    raise script.error
                return script
        return None

    def _place(self, challenge_name: str) -> Place:
        name = challenge_name
        while name in self.aliases:
            name = self.aliases[name]
        zones = [zone for zone in self.zones if name == zone or name.endswith(f".{zone}")]
        if not zones:
            raise ZoneError(
                f"the API token sees no zone at Cloudflare that holds {name}", permanent=True
            )
        zone = max(zones, key=len)
        return Place(challenge_name, name, self.zones[zone], zone)

    def _create(self, record: TxtRecord) -> str:
        name = record.place.record_name
        for record_id, held in self.records.items():
            if (held.name, held.value) == (name, record.value):
                return record_id if held.comment == record.comment else ""
        return self.put(name, record.value, record.comment)


class FakeCaaRecords:
    """Shows `text`, whatever it is asked about; `looked` is what that was, in order."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.looked: list[tuple[str, ...]] = []

    def look(self, domains: Sequence[str]) -> str:
        """What it was told to show."""
        self.looked.append(tuple(domains))
        return self.text

    def binds_account(self, domains: Sequence[str]) -> bool:
        """Whether that text names an account."""
        self.looked.append(tuple(domains))
        return "accounturi=" in self.text


@dataclass(frozen=True)
class FakeLook:
    """What `FakePropagation` answers."""

    agreed: bool = True
    detail: str = ""


class FakePropagation:
    """Answers at once, with `look`; `waited` is what it was asked about, in order."""

    def __init__(self, look: FakeLook = FakeLook()) -> None:
        self.look = look
        self.waited: list[tuple[TxtRecord, ...]] = []

    def wait(self, records: Sequence[TxtRecord]) -> FakeLook:
        """Tells what it was told to."""
        self.waited.append(tuple(records))
        return self.look
