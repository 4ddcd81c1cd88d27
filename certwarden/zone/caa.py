"""The port `CaaRecords`: who may issue for a name, as the world's resolvers tell it.

Owns the way up the tree (RFC 8659 section 3), which records bind an issuance, and how they read.
Whether the CA may issue is for the CA to say. Messages are the business of `servers`.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dns.message
import dns.rcode
import dns.rdatatype

from certwarden.errors import clean
from certwarden.model import Address
from certwarden.ports import Clock
from certwarden.zone.names import normalised
from certwarden.zone.once import Once
from certwarden.zone.propagation import DEFAULT_DOH, configured_servers
from certwarden.zone.servers import NameServers, NoVote, Server

ALTOGETHER = 10.0  # seconds
MOST_THREADS = 16
NO_TIME = "no answer in time"
_CRITICAL = 128
_WILDCARD = "*."


@dataclass(frozen=True)
class CaaRecord:
    """One record at `owner`; `value` as it stands there, cleaned."""

    owner: str
    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        return f'{self.owner}: {self.flags} {self.tag} "{self.value}"'

    @property
    def binds_issuance(self) -> bool:
        """Whether a CA that issues for a domain name must heed it; any critical record it must."""
        return self.tag in {"issue", "issuewild"} or bool(self.flags & _CRITICAL)

    @property
    def names_account(self) -> bool:
        """Whether it lets only one account order (RFC 8657 section 3)."""
        return bool(self.parameter("accounturi"))

    @property
    def issuer(self) -> str:
        """The CA that it lets issue; "" where that is none (RFC 8659 section 4.2)."""
        return self.value.partition(";")[0].strip().lower().rstrip(".")

    def parameter(self, name: str) -> tuple[str, ...]:
        """The values of this parameter, of which RFC 8657 allows one at most."""
        parts = (part.partition("=") for part in self.value.split(";")[1:])
        return tuple(value.strip() for key, _, value in parts if key.strip().lower() == name)


@dataclass(frozen=True)
class Unknown:
    """The records at `owner` could not be had: a CA that finds the same does not issue."""

    owner: str
    why: str
    is_answered: bool = False  # somebody did answer, and that there is an error

    def __str__(self) -> str:
        return f"{self.owner}: could not be looked up ({self.why})"


Found = tuple[CaaRecord, ...] | Unknown


def relevant(domain: str, records: Iterable[CaaRecord]) -> tuple[CaaRecord, ...]:
    """Those that decide about the domain: `issuewild` counts for wildcards, before `issue`."""
    records = tuple(records)
    wild = tuple(record for record in records if record.tag == "issuewild")
    if domain.startswith(_WILDCARD) and wild:
        return wild
    return tuple(record for record in records if record.tag == "issue")


class DnsCaaRecords:
    """Asks resolvers: the `nameservers` if there are any, else those at the `doh` URLs.

    The first one that can tell is believed. A look takes no longer than `seconds`.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        nameservers: Sequence[Address] = (),
        doh: Sequence[str] = DEFAULT_DOH,
        seconds: float = ALTOGETHER,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._nameservers = tuple(nameservers)
        self._doh = tuple(doh)

    def look(self, domains: Sequence[str]) -> str:
        """The records that bind an issuance for the domains, one a line, sorted."""
        lines = set()
        for found in self.find(domains).values():
            if isinstance(found, Unknown):
                lines.add(str(found))
            else:
                lines |= {str(record) for record in found if record.binds_issuance}
        return "\n".join(sorted(lines))

    def binds_account(self, domains: Sequence[str]) -> bool:
        """Whether a record that decides about one of the domains names the account."""
        return any(
            record.names_account
            for domain, found in self.find(domains).items()
            if not isinstance(found, Unknown)
            for record in relevant(domain, found)
        )

    def find(self, domains: Sequence[str]) -> dict[str, Found]:
        """What there is for each domain; never raises."""
        names = {domain: normalised(domain).removeprefix(_WILDCARD) for domain in domains}
        try:
            return self._find_side_by_side(names)
        except Exception as error:  # noqa: BLE001 - what cannot be told is told as that
            why = clean(str(error), 80)
            return {domain: Unknown(name, why) for domain, name in names.items()}

    def _find_side_by_side(self, names: Mapping[str, str]) -> dict[str, Found]:
        servers = NameServers(self._clock, self._doh, None)
        deadline = time.monotonic() + self._seconds
        waiting = deque(dict.fromkeys(names.values()))
        found: dict[str, Found] = {}
        try:
            resolvers = configured_servers(self._nameservers) or servers.public()
            climb = _Climb(servers, resolvers, deadline)
            # No pool: at its end the program would wait for who has not answered by now.
            threads = [
                threading.Thread(target=_climb_all, args=(climb, waiting, found), daemon=True)
                for _ in range(min(MOST_THREADS, len(waiting)))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            return {
                domain: found.get(name, Unknown(name, NO_TIME)) for domain, name in names.items()
            }
        finally:
            waiting.clear()
            servers.close()


class _Climb:
    """One look: each name is asked for once, however many domains lie below it."""

    def __init__(self, servers: NameServers, resolvers: Sequence[Server], deadline: float) -> None:
        self._servers = servers
        self._resolvers = resolvers
        self._deadline = deadline
        self._mute: set[Server] = set()
        self._at = Once(self._ask)

    def find(self, name: str) -> Found:
        """The records at the name, or at the closest name above it that has any."""
        while name:
            found = self._at(name)
            if found:
                return found
            name = name.partition(".")[2]
        return ()

    def _ask(self, name: str) -> Found:
        why, is_answered = "nobody to ask", False
        for resolver in sorted(self._resolvers, key=self._mute.__contains__):
            if time.monotonic() > self._deadline:
                return Unknown(name, NO_TIME)
            reply = self._servers.query(resolver, name, "CAA")
            if isinstance(reply, NoVote):
                self._mute.add(resolver)
                why, is_answered = reply.why, False
            elif reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return tuple(_records(name, reply))
            else:
                why, is_answered = f"answers {dns.rcode.to_text(reply.rcode())}", True
        return Unknown(name, why, is_answered)


def _records(name: str, reply: dns.message.Message) -> Iterator[CaaRecord]:
    """Those of the answer, at the end of whatever CNAMEs the resolver has followed."""
    for rrset in reply.answer:
        if rrset.rdtype == dns.rdatatype.CAA:
            for record in rrset:
                tag, value = (
                    clean(part.decode("utf-8", "replace")) for part in (record.tag, record.value)
                )
                yield CaaRecord(name, record.flags, tag.lower(), value)


def _climb_all(climb: _Climb, waiting: deque[str], found: dict[str, Found]) -> None:
    """Looks for one name after the other, as long as there are any."""
    while True:
        try:
            name = waiting.popleft()
        except IndexError:
            return
        try:
            found[name] = climb.find(name)
        except Exception as error:  # noqa: BLE001 - what cannot be told is told as that
            found[name] = Unknown(name, clean(str(error), 80))
