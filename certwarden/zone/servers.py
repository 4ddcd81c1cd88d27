"""Asking name servers: one question to one of them, and which of them hold a zone.

Owns DNS messages and how they travel: UDP with TCP after a truncated answer (RFC 1035, RFC 6891),
and HTTPS (RFC 8484); many at once over UDP is the business of `datagrams`. What the answers
together mean is decided in `propagation`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from certwarden.errors import clean
from certwarden.http import is_secured
from certwarden.ports import Clock
from certwarden.zone.names import ancestors
from certwarden.zone.once import Once

if TYPE_CHECKING:
    import requests

PAYLOAD = 1232  # bytes that pass everywhere unfragmented: DNS Flag Day 2020
TRIES = (0.7, 1.3)  # seconds for each try; a lost datagram is nothing unusual
LOOKUP_SECONDS = 3.0
HTTPS_SECONDS = (3.0, 5.0)  # to connect, to read
MOST_BYTES = 65535  # of a DNS message
MOST_SERVERS = 32  # of one zone
MOST_THREADS = 4  # that ask the same server; one that is slow keeps none of the others busy


class Role(StrEnum):
    """Why a server is asked, and with that how far its answer is trusted."""

    AUTHORITATIVE = "authoritative"  # named in the zone's NS records: believed where it says AA
    CONFIGURED = "configured"  # named by the user: believed
    PUBLIC = "public"  # a resolver over HTTPS: believed where no authoritative server counts


@dataclass(frozen=True)
class Server:
    """Who is asked: `where` is an IP address, or a URL for a public one."""

    role: Role
    label: str
    where: str
    port: int = 53


@dataclass(frozen=True)
class Question:
    """Which TXT values does this server show at this name?"""

    server: Server
    name: str


@dataclass(frozen=True)
class Shown:
    """The TXT values that a server shows at a name; none where there is no such name."""

    values: frozenset[str]


@dataclass(frozen=True)
class NoVote:
    """A server that cannot be asked or whose answer does not count, and why, as a predicate."""

    why: str


Answer = Shown | NoVote


class NameServers:
    """Who can be asked, and asking them; safe for threads.

    `doh` are URLs; `ca_bundle` is whom to trust for them.
    """

    def __init__(self, clock: Clock, doh: Sequence[str], ca_bundle: Path | None) -> None:
        self._clock = clock
        self._doh = tuple(doh)
        self._ca_bundle = ca_bundle
        self._lock = threading.Lock()
        self._of_zone = Once(self._find_authoritative)
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._sessions: dict[str, requests.Session] = {}

    def close(self) -> None:
        """Closes the connections that were kept; who has not answered by now is not waited for."""
        with self._lock:
            for pool in self._pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            self._pools.clear()
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()

    # ── one question ──────────────────────────────────────────────────────────────────────────────

    def ask(self, question: Question) -> Answer:
        """The TXT values at the name, from this server and nobody else."""
        reply = self.query(question.server, question.name, "TXT")
        return reply if isinstance(reply, NoVote) else read(reply, question.server)

    def ask_aside(self, question: Question) -> "Future[Answer]":
        """The same in a thread, of which there are few for each server."""
        where = question.server.where
        with self._lock:
            if where not in self._pools:
                self._pools[where] = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="dns")
            return self._pools[where].submit(self.ask, question)

    def query(
        self, server: Server, name: str, kind: str, *, is_checked: bool = True
    ) -> dns.message.Message | NoVote:
        """The server's reply, or why there is none that could be read.

        Not `is_checked`: a resolver is asked to leave DNSSEC to us (CD, RFC 4035 section 3.2.2).
        """
        try:
            query = query_for(server, name, kind)
            if not is_checked:
                query.flags |= dns.flags.CD
            if server.role is Role.PUBLIC:
                return self._over_https(server.where, query)
            return _over_udp(server, query)
        except dns.exception.Timeout:
            return NoVote("does not answer")
        except (OSError, dns.exception.DNSException, ValueError) as error:
            return NoVote(f"cannot be asked ({clean(str(error), 80) or type(error).__name__})")

    def _over_https(self, url: str, query: dns.message.Message) -> dns.message.Message:
        query.id = 0  # RFC 8484 section 4.1
        headers = {"Content-Type": _DNS_MESSAGE, "Accept": _DNS_MESSAGE}
        with self._session(url).post(
            url,
            data=query.to_wire(),
            headers=headers,
            timeout=HTTPS_SECONDS,
            # Here and not on the session, where $REQUESTS_CA_BUNDLE would overrule it.
            verify=str(self._ca_bundle) if self._ca_bundle else True,
            allow_redirects=False,
            stream=True,
        ) as response:
            kind = response.headers.get("Content-Type", "")
            if response.status_code != 200 or kind.partition(";")[0].strip() != _DNS_MESSAGE:
                raise ValueError(f"HTTP status {response.status_code}")
            wire = b"".join(self._within_bounds(response.iter_content(4096)))
        reply = dns.message.from_wire(wire)
        if not query.is_response(reply):
            raise ValueError("the answer to another question")
        return reply

    def _within_bounds(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        size, deadline = 0, self._clock.monotonic() + sum(HTTPS_SECONDS)
        for chunk in chunks:
            size += len(chunk)
            if size > MOST_BYTES or self._clock.monotonic() > deadline:
                raise ValueError("the answer does not end")
            yield chunk

    def _session(self, url: str) -> "requests.Session":
        import requests

        if not is_secured(url):
            raise ValueError("not an https address")
        with self._lock:
            if url not in self._sessions:
                session = requests.Session()
                session.auth = lambda request: request  # nothing of ~/.netrc
                # Plain HTTP is for loopback, where a proxy of the environment has no business.
                session.trust_env = urlsplit(url).scheme == "https"
                self._sessions[url] = session
            return self._sessions[url]

    # ── who is to be asked ────────────────────────────────────────────────────────────────────────

    def public(self) -> tuple[Server, ...]:
        """The resolvers over HTTPS."""
        return tuple(
            Server(Role.PUBLIC, clean(urlsplit(url).netloc, 100), url) for url in self._doh
        )

    def authoritative(self, record_name: str, zone_name: str) -> tuple[Server, ...]:
        """Every address of every name server of the zone; none where nobody can tell.

        Where `zone_name` is "" the zone is found by going up from the record's name. The record
        itself is not asked for here. What was found is kept.
        """
        return self._of_zone((zone_name,) if zone_name else tuple(ancestors(record_name)))

    def _find_authoritative(self, candidates: tuple[str, ...]) -> tuple[Server, ...]:
        lookups = [_system_lookup, *(self._public_lookup(server) for server in self.public())]
        return next(filter(None, (_servers(look, candidates) for look in lookups)), ())

    def _public_lookup(self, server: Server) -> "_Lookup":
        def look(name: str, kind: str) -> tuple[str, ...] | None:
            reply = self.query(server, name, kind)
            return None if isinstance(reply, NoVote) else _texts(reply, name, kind)

        return look


_DNS_MESSAGE = "application/dns-message"
# From name and type to the records' text; None where nobody could tell.
_Lookup = Callable[[str, str], tuple[str, ...] | None]


def query_for(server: Server, name: str, kind: str) -> dns.message.Message:
    """The question as this server is to be asked: only resolvers are asked to resolve."""
    flags = 0 if server.role is Role.AUTHORITATIVE else dns.flags.RD
    return dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD, flags=flags)


def _over_udp(server: Server, query: dns.message.Message) -> dns.message.Message:
    for seconds in TRIES[:-1]:
        try:
            return _try_over_udp(server, query, seconds)
        except dns.exception.Timeout:
            continue
    return _try_over_udp(server, query, TRIES[-1])


def _try_over_udp(
    server: Server, query: dns.message.Message, seconds: float
) -> dns.message.Message:
    reply, _ = dns.query.udp_with_fallback(
        query,
        server.where,
        timeout=seconds,
        port=server.port,
        # Whoever sends rubbish or from elsewhere must not end the waiting for the true answer.
        ignore_unexpected=True,
        ignore_errors=True,
    )
    return reply


def read(reply: dns.message.Message, server: Server) -> Answer:
    """What a reply amounts to, from this server."""
    rcode = reply.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return NoVote(f"answers {dns.rcode.to_text(rcode)}")
    if server.role is Role.AUTHORITATIVE and not reply.flags & dns.flags.AA:
        # A router or provider that answers in the server's stead, from its own cache.
        return NoVote("answers without authority")
    return Shown(
        frozenset(
            b"".join(record.strings).decode("utf-8", "replace")
            for rrset in reply.answer
            if rrset.rdtype == dns.rdatatype.TXT
            for record in rrset
        )
    )


def _servers(look: _Lookup, candidates: Iterable[str]) -> tuple[Server, ...]:
    for zone_name in candidates:
        hosts = look(zone_name, "NS")
        if hosts is None:
            return ()
        if hosts:
            return tuple(_addresses(look, hosts))[:MOST_SERVERS]
    return ()


def _addresses(look: _Lookup, hosts: Sequence[str]) -> Iterator[Server]:
    questions = [(host, kind) for host in hosts for kind in ("A", "AAAA")]
    with ThreadPoolExecutor(len(questions), thread_name_prefix="dns-lookup") as pool:
        found = pool.map(lambda question: look(*question) or (), questions)
    for (host, _), addresses in zip(questions, found, strict=True):
        for address in addresses:
            label = f"{clean(host.rstrip('.'), 100)} ({address})"
            yield Server(Role.AUTHORITATIVE, label, address)


def _system_lookup(name: str, kind: str) -> tuple[str, ...] | None:
    """By the resolvers of /etc/resolv.conf."""
    import dns.resolver

    try:
        answer = dns.resolver.resolve(
            f"{name.rstrip('.')}.", kind, lifetime=LOOKUP_SECONDS, raise_on_no_answer=False
        )
    except dns.resolver.NXDOMAIN:
        return ()
    except (OSError, dns.exception.DNSException):
        return None
    return _texts(answer.response, name, kind)


def _texts(reply: dns.message.Message, name: str, kind: str) -> tuple[str, ...]:
    owner = dns.name.from_text(name)
    return tuple(
        record.to_text()
        for rrset in reply.answer
        if rrset.rdtype == dns.rdatatype.from_text(kind) and rrset.name == owner
        for record in rrset
    )
