"""A host's addresses as different sides tell them: this machine, the zone's own servers, the world.

Owns whom to ask and how long; A (RFC 1035) and AAAA (RFC 3596) are told apart. What it means that
two sides differ is for others to judge. Messages are the business of `servers`.
"""

import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from certwarden.errors import clean
from certwarden.model import Address
from certwarden.ports import Clock
from certwarden.zone.names import normalised
from certwarden.zone.propagation import DEFAULT_DOH, configured_servers
from certwarden.zone.servers import NameServers, NoVote, Role, Server

SECONDS = 4.0  # for a look
SECONDS_HERE = 1.5  # for one that asks this machine's resolver only, before more is done
MOST_THREADS = 24
MOST_ASKED = 4  # servers of a zone; the first that can tell is believed

_NOTHING = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Family(StrEnum):
    """Which kind of address a record holds."""

    A = "A"
    AAAA = "AAAA"


_SOCKET_FAMILIES = {Family.A: socket.AF_INET, Family.AAAA: socket.AF_INET6}


@dataclass(frozen=True)
class Addresses:
    """The addresses that a side tells, sorted: none where it says that there are none."""

    found: tuple[str, ...]


@dataclass(frozen=True)
class Mute:
    """A side that cannot tell, and why, as a predicate; `is_late`: it had said nothing in time."""

    why: str
    is_late: bool = False


Told = Addresses | Mute


@dataclass(frozen=True)
class Resolution:
    """What the sides say of one host and one family.

    `system` is this machine's resolver, hosts file included; `zone` the zone's own servers, or
    those that the user has named; `public` resolvers over HTTPS.
    """

    host: str
    family: Family
    system: Told
    zone: Told
    public: Told

    @property
    def world(self) -> Told:
        """What is true outside: the zone's own word, else that of the public resolvers."""
        return self.public if isinstance(self.zone, Mute) else self.zone


class HostAddresses:
    """Asks all sides at once; a look takes no longer than SECONDS, whoever is silent.

    With `nameservers` these are asked in place of the zone's own, and nobody over HTTPS.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        nameservers: Sequence[Address] = (),
        doh: Sequence[str] = DEFAULT_DOH,
    ) -> None:
        self._clock = clock
        self._nameservers = tuple(nameservers)
        self._doh = () if nameservers else tuple(doh)

    def look(self, hosts: Sequence[str]) -> tuple[Resolution, ...]:
        """Both families of each host; never raises."""
        servers = NameServers(self._clock, self._doh, None)
        sides: tuple[_Ask, ...] = (
            by_system,
            partial(self._of_zone, servers),
            partial(_first, servers, servers.public()),
        )
        places = [(host, family) for host in hosts for family in Family]
        try:
            tasks = [partial(ask, *place) for place in places for ask in sides]
            told = iter(_aside(tasks, SECONDS))
        finally:
            servers.close()
        return tuple(
            Resolution(host, family, next(told), next(told), next(told)) for host, family in places
        )

    def look_here(self, hosts: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Where programs on this machine are led to, by host; nowhere if it cannot be told."""
        places = [(host, family) for host in hosts for family in Family]
        led: dict[str, tuple[str, ...]] = dict.fromkeys(hosts, ())
        told = _aside([partial(by_system, *place) for place in places], SECONDS_HERE)
        for (host, _), each in zip(places, told, strict=True):
            led[host] += each.found if isinstance(each, Addresses) else ()
        return led

    def _of_zone(self, servers: NameServers, host: str, family: Family) -> Told:
        whom = configured_servers(self._nameservers) or servers.authoritative(host, "")
        return _first(servers, whom[:MOST_ASKED], host, family)


def by_system(host: str, family: Family) -> Told:
    """What programs on this machine are told: by the hosts file, mDNS, and its resolver.

    Knows no time limit.
    """
    try:
        entries = socket.getaddrinfo(host, None, _SOCKET_FAMILIES[family], socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _NOTHING:
            return Addresses(())
        return Mute(f"cannot be asked ({clean(error.strerror or '', 80)})")
    except (OSError, UnicodeError) as error:
        return Mute(f"cannot be asked ({clean(str(error), 80)})")
    return Addresses(tuple(sorted({str(entry[4][0]) for entry in entries})))


def _first(servers: NameServers, whom: Iterable[Server], host: str, family: Family) -> Told:
    """What the first one says that can tell."""
    told = Mute("cannot be found")
    for server in whom:
        reply = servers.query(server, normalised(host), family.value)
        answer = Mute(reply.why) if isinstance(reply, NoVote) else _read(reply, server, family)
        if isinstance(answer, Addresses):
            return answer
        told = answer
    return told


def _read(reply: dns.message.Message, server: Server, family: Family) -> Told:
    rcode = reply.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Mute(f"answers {dns.rcode.to_text(rcode)}")
    if server.role is Role.AUTHORITATIVE and not reply.flags & dns.flags.AA:
        return Mute("answers without authority")
    kinds = {rrset.rdtype for rrset in reply.answer}
    wanted = dns.rdatatype.from_text(family.value)
    if server.role is Role.AUTHORITATIVE and wanted not in kinds and dns.rdatatype.CNAME in kinds:
        return Mute("shows an alias only")  # which may lead out of the zone
    found = {
        record.to_text() for rrset in reply.answer if rrset.rdtype == wanted for record in rrset
    }
    return Addresses(tuple(sorted(found)))


_Ask = Callable[[str, Family], Told]


def _aside(tasks: Sequence[Callable[[], Told]], seconds: float) -> list[Told]:
    """What the tasks say in time, in their order.

    They are done in threads of which nobody waits for the end: a resolver knows no limit.
    """
    waiting = deque(enumerate(tasks))
    done: queue.SimpleQueue[tuple[int, Told]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                place, task = waiting.popleft()
            except IndexError:
                return
            done.put((place, _told(task)))

    deadline = time.monotonic() + seconds
    for _ in range(min(MOST_THREADS, len(tasks))):
        threading.Thread(target=work, daemon=True, name="addresses").start()
    told: list[Told] = [Mute("does not answer", is_late=True)] * len(tasks)
    try:
        for _ in tasks:
            place, each = done.get(timeout=max(0.0, deadline - time.monotonic()))
            told[place] = each
    except queue.Empty:
        waiting.clear()
    return told


def _told(task: Callable[[], Told]) -> Told:
    try:
        return task()
    except Exception as error:  # noqa: BLE001 - that it cannot tell is all there is to know
        return Mute(f"cannot be asked ({clean(str(error), 80) or type(error).__name__})")
