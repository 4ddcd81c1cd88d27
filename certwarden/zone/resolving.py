"""How the world's resolvers and the zones' own servers answer, seen from here.

Owns the questions; which answers are a fault is judged by whoever asks. TXT records of challenges
are never asked for, since resolvers would remember that there are none.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from certwarden.errors import clean
from certwarden.model import Address
from certwarden.ports import Clock
from certwarden.zone.names import CHALLENGE_LABEL, normalised
from certwarden.zone.propagation import configured_servers
from certwarden.zone.servers import NameServers, NoVote, Server

MOST_ASKED = 4  # of a zone's own servers: two names, each with two addresses


@dataclass(frozen=True)
class Resolved:
    """What a resolver answers: its code as a word (RFC 1035 section 4.1.1), and the answer's texts.

    `unchecked` is the code where DNSSEC was left to us, asked for after a SERVFAIL only.
    """

    resolver: str
    code: str
    texts: frozenset[str] = frozenset()
    unchecked: str = ""


@dataclass(frozen=True)
class OwnServer:
    """How one of a zone's own servers answers by port 53; `silence` is why it does not, if so.

    A server that refuses, or was never told of the zone, tells nothing either.
    """

    label: str
    is_authoritative: bool
    silence: str = ""


class DnsSurvey:
    """Asks the `nameservers` if there are any, else the resolvers at the `doh` URLs.

    Safe for threads. `close` ends the connections that were kept.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        nameservers: Sequence[Address],
        doh: Sequence[str],
        ca_bundle: Path | None = None,
    ) -> None:
        self.is_configured = bool(nameservers)
        self._nameservers = tuple(nameservers)
        self._servers = NameServers(clock, () if nameservers else doh, ca_bundle)

    def close(self) -> None:
        """Ends the connections."""
        self._servers.close()

    def resolve(self, name: str, kind: str) -> Resolved | None:
        """What the first resolver that answers says; None where nobody does."""
        for resolver in configured_servers(self._nameservers) or self._servers.public():
            reply = self._servers.query(resolver, name, kind)
            if isinstance(reply, NoVote):
                continue
            unchecked = ""
            if reply.rcode() == dns.rcode.SERVFAIL:
                again = self._servers.query(resolver, name, kind, is_checked=False)
                unchecked = "" if isinstance(again, NoVote) else dns.rcode.to_text(again.rcode())
            code = dns.rcode.to_text(reply.rcode())
            return Resolved(resolver.label, code, _texts(reply, kind), unchecked)
        return None

    def own_servers(self, name: str) -> tuple[OwnServer, ...]:
        """How the servers of the zone that holds the name answer by port 53; none if unknown."""
        servers = self._servers.authoritative(CHALLENGE_LABEL + name, "")[:MOST_ASKED]
        if not servers:
            return ()
        with ThreadPoolExecutor(len(servers), thread_name_prefix="dns-own") as pool:
            return tuple(pool.map(lambda server: self._ask_own(server, name), servers))

    def _ask_own(self, server: Server, name: str) -> OwnServer:
        reply = self._servers.query(server, name, "SOA")
        if isinstance(reply, NoVote):
            return OwnServer(server.label, is_authoritative=False, silence=reply.why)
        if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            why = f"answers {dns.rcode.to_text(reply.rcode())}"
            return OwnServer(server.label, is_authoritative=False, silence=why)
        return OwnServer(server.label, is_authoritative=bool(reply.flags & dns.flags.AA))


def _texts(reply: dns.message.Message, kind: str) -> frozenset[str]:
    """The records of that type in the answer, with names in one form."""
    wanted = dns.rdatatype.from_text(kind)
    return frozenset(
        clean(normalised(record.to_text()), 253)
        for rrset in reply.answer
        if rrset.rdtype == wanted
        for record in rrset
    )
