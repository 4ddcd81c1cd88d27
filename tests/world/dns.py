"""Authoritative DNS over UDP, TCP and HTTPS (RFC 8484), answering from the store of zones.

Owns turning what the store shows at a moment into DNS messages, and misbehaving on demand. It
changes nothing in the store, and knows nothing of the API that does.
"""

import base64
import binascii
import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tests.world.server import Handler, LoopbackServer
from tests.world.zones import Record, Zone, Zones

DNS_FAULT_KINDS = (
    "servfail",
    "refused",
    "nxdomain",
    "drop",
    "truncate",
    "stale",
    "empty",
    "garbage",
    "bogus",
    "intercepted",
)
DOH_PATH = "/dns-query"
NEGATIVE_TTL = 60
_CHAIN_LIMIT = 16
_AUTOMATIC_TTL = 300

Transport = Literal["udp", "tcp", "https"]


@dataclass(frozen=True, slots=True)
class DnsFault:
    """How a server misbehaves, for matching queries; `times` None means while it is set.

    servfail, refused, nxdomain: that code. drop: no answer. truncate: over UDP an empty answer with
    TC, so that TCP must be asked. stale: the answer of the moment the fault was set (a lame one).
    empty: no data. garbage: bytes that are no DNS message. bogus: servfail, as by a resolver that
    finds DNSSEC broken, unless the query leaves checking to us (CD). intercepted: the answer of now
    as a router gives it that catches port 53: without authority (AA), and with recursion (RA).
    """

    kind: str
    name: str | None = None
    type: str | None = None
    transport: Transport | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in DNS_FAULT_KINDS:
            message = f"no DNS fault is called {self.kind!r}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Query:
    """One query as it was answered; rcode None means not at all."""

    name: str
    type: str
    transport: Transport
    rcode: str | None
    answers: tuple[str, ...]
    at: float


@dataclass(slots=True)
class _Active:
    fault: DnsFault
    since: float
    fired: int = 0


class Answers:
    """Turns queries into replies, from the store and the faults that are set."""

    def __init__(self, store: Zones) -> None:
        self.store = store
        self.errors: list[Exception] = []
        self.lag = 0.0  # this one shows each change so many seconds later than the others
        self._lock = threading.Lock()
        self._faults: list[_Active] = []
        self._queries: list[Query] = []

    @property
    def queries(self) -> list[Query]:
        """Every query so far."""
        with self._lock:
            return list(self._queries)

    def forget_queries(self) -> None:
        """Empty the log of queries."""
        with self._lock:
            self._queries.clear()

    def inject(self, fault: DnsFault) -> None:
        """Misbehave from now on."""
        with self._lock:
            self._faults.append(_Active(fault, self.store.clock()))

    def clear_faults(self) -> None:
        """Behave again."""
        with self._lock:
            self._faults.clear()

    def _fault(self, name: str, rdtype: str, transport: Transport) -> _Active | None:
        with self._lock:
            for active in self._faults:
                fault = active.fault
                if (
                    (fault.times is None or active.fired < fault.times)
                    and (fault.name is None or re.search(fault.name, name))
                    and fault.type in (None, rdtype)
                    and fault.transport in (None, transport)
                    and not (fault.kind == "truncate" and transport != "udp")
                ):
                    active.fired += 1
                    return active
        return None

    def reply(self, wire: bytes, transport: Transport) -> bytes | None:
        """The reply to a message, or None for silence."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        try:
            return self._answer(query, wire, transport)
        except Exception as error:  # noqa: BLE001 - a server outlives its own mistakes
            self.errors.append(error)
            return None

    def _answer(
        self, query: dns.message.Message, wire: bytes, transport: Transport
    ) -> bytes | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        active = self._fault(name, rdtype, transport)
        kind = active.fault.kind if active else None
        if kind == "bogus":
            kind = None if query.flags & dns.flags.CD else "servfail"

        reply = dns.message.make_response(query, our_payload=1232)
        if kind in ("servfail", "refused", "nxdomain"):
            reply.set_rcode(dns.rcode.from_text(str(kind)))
        elif kind == "truncate":
            reply.flags |= dns.flags.TC | dns.flags.AA
        elif kind == "empty":
            reply.flags |= dns.flags.AA
        elif kind not in ("drop", "garbage"):
            moment = active.since if active and kind == "stale" else self.store.clock() - self.lag
            _Resolution(self.store, moment, reply).resolve(name, question.rdtype)
        if kind == "intercepted":
            reply.flags = (reply.flags & ~dns.flags.AA) | dns.flags.RA
        silent = kind in ("drop", "garbage")
        self._log(name, rdtype, transport, None if silent else reply)
        if silent:
            return None if kind == "drop" else wire[:2] + b"\xff" * 10
        return self._encode(query, reply, transport)

    def _encode(
        self, query: dns.message.Message, reply: dns.message.Message, transport: Transport
    ) -> bytes:
        # RFC 6891: without EDNS a message over UDP has at most 512 bytes.
        room = 65535 if transport != "udp" else max(512, min(query.payload, 1232))
        try:
            return reply.to_wire(max_size=room)
        except dns.exception.TooBig:
            reply.answer.clear()
            reply.authority.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire(max_size=room)

    def _log(
        self, name: str, rdtype: str, transport: Transport, reply: dns.message.Message | None
    ) -> None:
        rcode = None if reply is None else dns.rcode.to_text(reply.rcode())
        found = () if reply is None else tuple(r.to_text() for rs in reply.answer for r in rs)
        with self._lock:
            self._queries.append(Query(name, rdtype, transport, rcode, found, time.monotonic()))


class _Resolution:
    """One question answered from what the store shows at one moment (RFC 1034, 4.3.2)."""

    def __init__(self, store: Zones, moment: float, reply: dns.message.Message) -> None:
        self._store = store
        self._moment = moment
        self._reply = reply

    def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> None:
        """Fill in the reply."""
        zone = self._store.zone_of(name)
        if zone is None:
            # Asked as a resolver it knows the way to its zones: `org` is there, and holds nothing.
            if not (self._reply.flags & dns.flags.RD and self._leads_to_a_zone(name)):
                self._reply.set_rcode(dns.rcode.REFUSED)
            return
        self._reply.flags |= dns.flags.AA
        for _ in range(_CHAIN_LIMIT):
            if self._delegated(zone, name):
                return
            records = self._at(zone, name)
            if records is None:
                self._reply.set_rcode(dns.rcode.NXDOMAIN)
                self._deny(zone)
                return
            answer = self._rrset(zone, name, rdtype, records)
            if answer:
                self._reply.answer.append(answer)
                return
            aliases = [r for r in records if r.type == "CNAME" and not _is_hidden(r)]
            if not aliases or rdtype == dns.rdatatype.CNAME:
                self._deny(zone)
                return
            self._reply.answer.append(_rrset_of(name, dns.rdatatype.CNAME, aliases[:1]))
            name = aliases[0].content.lower().rstrip(".")
            following = self._store.zone_of(name)
            if following is None:
                # The rest of the chain is someone else's; who asked must go on there.
                return
            zone = following
        self._reply.set_rcode(dns.rcode.SERVFAIL)

    def _leads_to_a_zone(self, name: str) -> bool:
        return any(zone.name.endswith(f".{name}") for zone in self._store.zones())

    def _at(self, zone: Zone, name: str) -> list[Record] | None:
        """The records at a name, its own or a wildcard's; None if there is no such name."""
        if name == zone.name or self._store.exists(name, self._moment):
            return self._store.visible(name, self._moment)
        # RFC 4592: only the wildcard right below the closest name that exists counts.
        labels = name.split(".")
        for cut in range(1, len(labels)):
            encloser = ".".join(labels[cut:])
            if encloser == zone.name or self._store.exists(encloser, self._moment):
                wildcard = self._store.visible(f"*.{encloser}", self._moment)
                return wildcard or None
        return None

    def _delegated(self, zone: Zone, name: str) -> bool:
        """Answer by a referral if the name lies below an NS record that is not the apex's own."""
        labels = name.split(".")
        for cut in range(len(labels) - len(zone.name.split(".")) - 1, -1, -1):
            owner = ".".join(labels[cut:])
            servers = [r for r in self._store.visible(owner, self._moment) if r.type == "NS"]
            if servers:
                if not self._reply.answer:
                    self._reply.flags &= ~dns.flags.AA
                self._reply.authority.append(_rrset_of(owner, dns.rdatatype.NS, servers))
                return True
        return False

    def _rrset(
        self, zone: Zone, name: str, rdtype: dns.rdatatype.RdataType, records: list[Record]
    ) -> dns.rrset.RRset | None:
        wanted = dns.rdatatype.to_text(rdtype)
        if name == zone.name and rdtype == dns.rdatatype.SOA:
            return self._soa(zone, NEGATIVE_TTL)
        if name == zone.name and rdtype == dns.rdatatype.NS:
            servers = zone.delegated_to or zone.name_servers
            return dns.rrset.from_text_list(
                _absolute(name), 3600, "IN", "NS", [f"{server}." for server in servers]
            )
        matching = [
            record for record in records if record.type == wanted and not _is_hidden(record)
        ]
        return _rrset_of(name, rdtype, matching) if matching else None

    def _deny(self, zone: Zone) -> None:
        self._reply.authority.append(self._soa(zone, NEGATIVE_TTL))

    def _soa(self, zone: Zone, ttl: int) -> dns.rrset.RRset:
        primary = zone.name_servers[0]
        text = f"{primary}. dns.world.test. 2026110001 10000 2400 604800 {NEGATIVE_TTL}"
        return dns.rrset.from_text(_absolute(zone.name), ttl, "IN", "SOA", text)


def _is_hidden(record: Record) -> bool:
    """A CNAME that Cloudflare proxies: the world does not see where it leads."""
    return record.type == "CNAME" and record.proxied


def _absolute(name: str) -> dns.name.Name:
    return dns.name.from_text(name + ".")


def _rrset_of(name: str, rdtype: dns.rdatatype.RdataType, records: list[Record]) -> dns.rrset.RRset:
    rrset = dns.rrset.RRset(_absolute(name), dns.rdataclass.IN, rdtype)
    ttl = min(_AUTOMATIC_TTL if record.ttl == 1 else record.ttl for record in records)
    for record in records:
        text = _presentation(record)
        # Names in it are absolute already, and must stay so to be put into a message.
        rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, text, relativize=False)
        rrset.add(rdata, ttl)
    return rrset


def _presentation(record: Record) -> str:
    """A record's content in zone file form."""
    match record.type:
        case "TXT":
            return " ".join(_quoted(string) for string in txt_strings(record.content))
        case "CNAME" | "NS" | "PTR":
            return record.content.rstrip(".") + "."
        case "MX":
            return f"{record.priority or 10} {record.content.rstrip('.')}."
        case _:
            return record.content


def txt_strings(content: str) -> list[bytes]:
    """The character strings of a TXT record as Cloudflare makes them from its content."""
    if not content.startswith('"'):
        strings = [content]
    else:
        strings = [
            re.sub(r"\\(.)", r"\1", found) for found in re.findall(r'"((?:[^"\\]|\\.)*)"', content)
        ]
    return [
        piece
        for string in strings
        for raw in [string.encode()]
        for piece in ([raw[at : at + 255] for at in range(0, len(raw), 255)] or [b""])
    ]


def _quoted(string: bytes) -> str:
    def escaped() -> Iterator[str]:
        for byte in string:
            if byte in b'"\\':
                yield "\\" + chr(byte)
            else:
                yield chr(byte) if 32 <= byte < 127 else f"\\{byte:03d}"

    return f'"{"".join(escaped())}"'


class DnsServer(Answers):
    """An authoritative server over UDP and TCP on one port; serves while the context is open."""

    def __init__(self, store: Zones, *, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(store)
        self.host = address
        self._udp, self._tcp = _bind(address, port)
        self.port: int = self._udp.getsockname()[1]
        self._threads = [
            threading.Thread(target=work, name=f"dns-{self.port}", daemon=True)
            for work in (self._serve_udp, self._serve_tcp)
        ]

    @property
    def address(self) -> str:
        """Address and port, as `-dnsserver` and `[dns] nameservers` take them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would leave the threads asleep in their system calls.
        for listener in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, client = self._udp.recvfrom(65535)
            except OSError:
                return
            # A UDP socket that was shut down reads an empty message from nobody.
            if not client:
                return
            reply = self.reply(wire, "udp")
            if reply is not None:
                with contextlib.suppress(OSError):
                    self._udp.sendto(reply, client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            with connection.makefile("rb") as stream:
                while len(head := stream.read(2)) == 2:
                    reply = self.reply(stream.read(struct.unpack("!H", head)[0]), "tcp")
                    if reply is None:
                        return
                    connection.sendall(struct.pack("!H", len(reply)) + reply)


def _bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on the same port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    attempts = 1 if port else 20
    for attempt in range(1, attempts + 1):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((address, port))
            tcp.listen(64)
            udp.bind((address, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            # The TCP port was free and the UDP port of that number is not: try another.
            if attempt == attempts:
                raise
        else:
            return udp, tcp
    raise AssertionError


class DohServer(Answers):
    """DNS over HTTPS, GET and POST; plain HTTP without a TLS context."""

    def __init__(
        self, store: Zones, *, context: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        super().__init__(store)
        answers = self

        class Exchange(_DohExchange):
            doh = answers

        self._server = LoopbackServer(Exchange, context=context, port=port)

    @property
    def url(self) -> str:
        """Where to send queries."""
        return self._server.origin + DOH_PATH

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()


class _DohExchange(Handler):
    doh: DohServer

    def respond(self, body: bytes) -> None:
        """Answer one query by RFC 8484, section 4."""
        url = urlsplit(self.path)
        if url.path != DOH_PATH:
            self.send(404, b"no such page\n")
            return
        wire = body
        if self.command == "GET":
            encoded = parse_qs(url.query).get("dns", [""])[0]
            try:
                wire = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            except (ValueError, binascii.Error):
                wire = b""
        elif self.command != "POST":
            self.send(405, b"", {"Allow": "GET, POST"})
            return
        elif self.headers.get("Content-Type") != "application/dns-message":
            self.send(415, b"application/dns-message is meant\n")
            return
        if len(wire) < 12:
            self.send(400, b"no DNS message\n")
            return
        reply = self.doh.reply(wire, "https")
        if reply is None:
            self.hang_up()
            return
        headers = {"Content-Type": "application/dns-message", "Cache-Control": "no-store"}
        self.send(200, reply, headers)
