"""The DNS server answers as an authoritative server must, and misbehaves as it is told."""

import base64
from collections.abc import Iterator

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
import requests

from tests.world.cloudflare import CloudflareEmulator
from tests.world.dns import DnsFault, DnsServer, DohServer, txt_strings
from tests.world.zones import Record, Zones


class Clock:
    """A clock that the test turns."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Zones:
    store = Zones(clock=Clock())
    store.add_zone("example.org")
    store.add_zone("example.net")
    store.add("A", "example.org", "192.0.2.1")
    return store


@pytest.fixture
def server(store: Zones) -> Iterator[DnsServer]:
    with DnsServer(store) as server:
        yield server
        assert server.errors == []


def ask(
    server: DnsServer, name: str, rdtype: str, *, tcp: bool = False, edns: bool = True
) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, use_edns=0 if edns else None)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, server.host, port=server.port, timeout=2)


def answers(reply: dns.message.Message) -> list[str]:
    return sorted(rdata.to_text() for rrset in reply.answer for rdata in rrset)


def rcode(reply: dns.message.Message) -> str:
    return dns.rcode.to_text(reply.rcode())


def test_the_apex_says_who_serves_it(server: DnsServer) -> None:
    """SOA and NS come with authority."""
    reply = ask(server, "example.org", "NS")
    assert answers(reply) == ["ada.ns.world.test.", "bob.ns.world.test."]
    assert reply.flags & dns.flags.AA
    assert not reply.flags & dns.flags.RA
    assert answers(ask(server, "EXAMPLE.org", "SOA"))[0].startswith("ada.ns.world.test.")


@pytest.mark.parametrize("tcp", [False, True])
def test_a_name_may_have_several_txt_values(server: DnsServer, store: Zones, *, tcp: bool) -> None:
    """Apex and wildcard share a name: two values at once, over UDP and TCP."""
    store.add("TXT", "_acme-challenge.example.org", '"one"')
    store.add("TXT", "_acme-challenge.example.org", "two")
    reply = ask(server, "_acme-challenge.example.org", "TXT", tcp=tcp)
    assert answers(reply) == ['"one"', '"two"']


def test_long_and_odd_txt_values_arrive_whole(server: DnsServer, store: Zones) -> None:
    """Strings are split at 255 bytes; quotes, backslashes and other letters survive."""
    store.add("TXT", "long.example.org", '"' + "x" * 300 + '"')
    store.add("TXT", "odd.example.org", r'"a\"b\\c" "é"')
    (rrset,) = ask(server, "long.example.org", "TXT").answer
    assert [len(string) for string in rrset[0].strings] == [255, 45]
    (rrset,) = ask(server, "odd.example.org", "TXT").answer
    assert (b'a"b\\c', "é".encode()) == rrset[0].strings
    assert txt_strings('""') == [b""]


def test_no_such_name_and_no_such_data_are_told_apart(server: DnsServer, store: Zones) -> None:
    """Both carry the SOA; a name with something below it exists (RFC 8020)."""
    store.add("A", "a.b.example.org", "192.0.2.2")
    missing = ask(server, "nothing.example.org", "TXT")
    assert rcode(missing) == "NXDOMAIN"
    assert missing.authority[0].rdtype == dns.rdatatype.SOA
    for name in ("example.org", "b.example.org"):
        empty = ask(server, name, "TXT")
        assert (rcode(empty), answers(empty)) == ("NOERROR", [])
        assert empty.authority[0].rdtype == dns.rdatatype.SOA


def test_names_above_a_zone(server: DnsServer) -> None:
    """Asked as a resolver, it knows that the names above its zones are there, and hold nothing."""
    reply = ask(server, "org", "CAA")
    assert (rcode(reply), reply.answer, reply.flags & dns.flags.AA) == ("NOERROR", [], 0)


def test_caa(server: DnsServer, store: Zones) -> None:
    """CAA records are shown as they were put there."""
    store.add("CAA", "example.org", '128 issue "ca.example; accounturi=https://x/1"')
    assert answers(ask(server, "example.org", "CAA")) == [
        '128 issue "ca.example; accounturi=https://x/1"'
    ]


def test_a_strangers_name_is_refused(server: DnsServer) -> None:
    """We are no resolver."""
    reply = ask(server, "example.com", "A")
    assert rcode(reply) == "REFUSED"
    assert not reply.flags & dns.flags.AA


def test_a_chain_of_aliases_is_followed_as_far_as_we_hold_it(
    server: DnsServer, store: Zones
) -> None:
    """Pebble asks nobody else, so it must get the whole chain."""
    store.add("CNAME", "_acme-challenge.example.org", "one.example.net")
    store.add("CNAME", "one.example.net", "two.example.net")
    store.add("TXT", "two.example.net", '"there"')
    reply = ask(server, "_acme-challenge.example.org", "TXT")
    assert answers(reply) == ['"there"', "one.example.net.", "two.example.net."]
    assert answers(ask(server, "_acme-challenge.example.org", "CNAME")) == ["one.example.net."]
    store.add("CNAME", "away.example.org", "elsewhere.example.com")
    assert answers(ask(server, "away.example.org", "TXT")) == ["elsewhere.example.com."]
    store.add("CNAME", "broken.example.org", "missing.example.net")
    assert rcode(ask(server, "broken.example.org", "TXT")) == "NXDOMAIN"
    store.add("CNAME", "loop.example.org", "loop.example.org")
    assert rcode(ask(server, "loop.example.org", "TXT")) == "SERVFAIL"


def test_a_wildcard_answers_for_names_that_do_not_exist(server: DnsServer, store: Zones) -> None:
    """And for no others (RFC 4592): a name with anything below it blocks it."""
    store.add("CNAME", "*.example.org", "host.example.net")
    store.add("A", "real.example.org", "192.0.2.3")
    store.add("A", "below.blocked.example.org", "192.0.2.4")
    assert answers(ask(server, "_acme-challenge.example.org", "CNAME")) == ["host.example.net."]
    assert answers(ask(server, "a.b.example.org", "CNAME")) == ["host.example.net."]
    assert answers(ask(server, "real.example.org", "CNAME")) == []
    blocked = ask(server, "other.blocked.example.org", "CNAME")
    assert (rcode(blocked), answers(blocked)) == ("NXDOMAIN", [])


def test_a_delegation_is_a_referral(server: DnsServer, store: Zones) -> None:
    """What lies below NS records is someone else's, though the API shows records there."""
    store.add("NS", "sub.example.org", "ns.example.com")
    store.add("TXT", "_acme-challenge.sub.example.org", '"useless"')
    reply = ask(server, "_acme-challenge.sub.example.org", "TXT")
    assert answers(reply) == []
    assert not reply.flags & dns.flags.AA
    assert reply.authority[0][0].to_text() == "ns.example.com."


def test_caa_records_are_served(server: DnsServer, store: Zones) -> None:
    """What a doctor looks at before an order."""
    store.add("CAA", "example.org", '0 issuewild "ca.example.net"')
    assert answers(ask(server, "example.org", "CAA")) == ['0 issuewild "ca.example.net"']


def test_an_answer_that_is_too_long_is_truncated(server: DnsServer, store: Zones) -> None:
    """Over UDP without EDNS there is room for 512 bytes; TCP gives all."""
    for number in range(12):
        store.add("TXT", "big.example.org", f'"{number:04d}{"x" * 50}"')
    reply = ask(server, "big.example.org", "TXT", edns=False)
    assert reply.flags & dns.flags.TC
    assert answers(reply) == []
    assert len(answers(ask(server, "big.example.org", "TXT", tcp=True))) == 12


def test_changes_by_the_api_show_after_the_delay(store: Zones, server: DnsServer) -> None:
    """They come and go later than the call; what is gone before it came is never seen."""
    clock = store.clock
    assert isinstance(clock, Clock)
    store.propagation_delay = 5
    zone = store.zone_named("example.org")
    record = Record(zone.id, "TXT", "x.example.org", '"value"')
    with store.change(zone.id) as records:
        records[record.id] = record
    assert store.txt("x.example.org") == ["value"]
    assert rcode(ask(server, "x.example.org", "TXT")) == "NXDOMAIN"
    clock.now += 5
    assert answers(ask(server, "x.example.org", "TXT")) == ['"value"']
    server.lag = 3
    assert answers(ask(server, "x.example.org", "TXT")) == []
    server.lag = 0
    with store.change(zone.id) as records:
        del records[record.id]
    assert answers(ask(server, "x.example.org", "TXT")) == ['"value"']
    clock.now += 5
    assert rcode(ask(server, "x.example.org", "TXT")) == "NXDOMAIN"

    with store.change(zone.id) as records:
        records[record.id] = record
    clock.now += 1
    with store.change(zone.id) as records:
        del records[record.id]
    seen = []
    for _ in range(8):
        seen += store.visible("x.example.org")
        clock.now += 1
    assert len(seen) <= 1


def test_a_change_that_fails_changes_nothing(store: Zones) -> None:
    """A transaction is whole or not at all."""
    zone = store.zone_named("example.org")
    before = store.records()

    def change_and_fail() -> None:
        with store.change(zone.id) as records:
            records.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert before == store.records()
    assert len(store.visible("example.org")) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("servfail", "SERVFAIL"),
        ("refused", "REFUSED"),
        ("nxdomain", "NXDOMAIN"),
        ("empty", "NOERROR"),
    ],
)
def test_a_server_fails_by_code(server: DnsServer, kind: str, expected: str) -> None:
    """As often as it was told, for the names it was told."""
    server.inject(DnsFault(kind, name="example", type="A", times=1))
    assert answers(ask(server, "example.org", "NS")) == ["ada.ns.world.test.", "bob.ns.world.test."]
    reply = ask(server, "example.org", "A")
    assert (expected, []) == (rcode(reply), answers(reply))
    assert answers(ask(server, "example.org", "A")) == ["192.0.2.1"]


def test_a_server_is_silent(server: DnsServer) -> None:
    """Drop: no answer comes, and the log says so."""
    server.inject(DnsFault("drop", transport="udp"))
    query = dns.message.make_query("example.org", "A")
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(query, server.host, port=server.port, timeout=0.1)
    assert server.queries[-1].rcode is None
    assert answers(ask(server, "example.org", "A", tcp=True)) == ["192.0.2.1"]


def test_a_server_speaks_nonsense(server: DnsServer) -> None:
    """Garbage: what comes is no DNS message."""
    server.inject(DnsFault("garbage"))
    with pytest.raises(dns.exception.DNSException):
        ask(server, "example.org", "A")


def test_a_server_truncates_over_udp_only(server: DnsServer) -> None:
    """TC sends the client to TCP, where the answer is."""
    server.inject(DnsFault("truncate"))
    assert ask(server, "example.org", "A").flags & dns.flags.TC
    assert answers(ask(server, "example.org", "A", tcp=True)) == ["192.0.2.1"]


def test_a_stale_server_stays_where_it_was(server: DnsServer, store: Zones) -> None:
    """A lame server shows the zone as it was when the fault was set."""
    assert isinstance(store.clock, Clock)
    server.inject(DnsFault("stale"))
    store.clock.now += 1
    zone = store.zone_named("example.org")
    record = Record(zone.id, "TXT", "x.example.org", '"value"')
    with store.change(zone.id) as records:
        records[record.id] = record
    assert rcode(ask(server, "x.example.org", "TXT")) == "NXDOMAIN"
    server.clear_faults()
    assert answers(ask(server, "x.example.org", "TXT")) == ['"value"']


def test_queries_are_logged(server: DnsServer) -> None:
    """Who asked too early can be found out."""
    ask(server, "x.example.org", "TXT")
    (query,) = server.queries
    assert (
        query.name,
        query.type,
        query.transport,
        query.rcode,
    ) == ("x.example.org", "TXT", "udp", "NXDOMAIN")


def test_a_misspelt_fault_is_a_mistake() -> None:
    """It does not go unnoticed."""
    with pytest.raises(ValueError, match="nonsense"):
        DnsFault("nonsense")


def test_https_serves_the_same_data(store: Zones) -> None:
    """RFC 8484 by GET and POST; other paths, methods and types are refused."""
    query = dns.message.make_query("example.org", "A", id=0)
    with DohServer(store) as doh:
        message = {"Content-Type": "application/dns-message"}
        posted = requests.post(doh.url, data=query.to_wire(), headers=message, timeout=5)
        assert posted.headers["Content-Type"] == "application/dns-message"
        assert answers(dns.message.from_wire(posted.content)) == ["192.0.2.1"]
        encoded = base64.urlsafe_b64encode(query.to_wire()).rstrip(b"=").decode()
        got = requests.get(doh.url, params={"dns": encoded}, timeout=5)
        assert answers(dns.message.from_wire(got.content)) == ["192.0.2.1"]
        assert requests.post(doh.url, data=query.to_wire(), timeout=5).status_code == 415
        assert requests.get(doh.url + "/other", timeout=5).status_code == 404
        assert requests.get(doh.url, params={"dns": "!"}, timeout=5).status_code == 400
        assert requests.put(doh.url, data=b"x", timeout=5).status_code == 405
        doh.inject(DnsFault("servfail"))
        failed = requests.post(doh.url, data=query.to_wire(), headers=message, timeout=5)
        assert rcode(dns.message.from_wire(failed.content)) == "SERVFAIL"


def test_hidden_zones_are_in_dns_and_not_in_the_api(store: Zones) -> None:
    """The name servers' own addresses are nobody's zone at Cloudflare."""
    store.add_zone("world.test", hidden=True)
    store.add("A", "ada.ns.world.test", "127.0.0.1")
    with CloudflareEmulator(store) as emulator, DnsServer(store) as server:
        assert answers(ask(server, "ada.ns.world.test", "A")) == ["127.0.0.1"]
        headers = {"Authorization": f"Bearer {emulator.add_token().secret}"}
        reply = requests.get(f"{emulator.base_url}/zones", headers=headers, timeout=5).json()
        assert [zone["name"] for zone in reply["result"]] == ["example.org", "example.net"]
