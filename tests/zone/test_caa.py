"""DnsCaaRecords: up the tree, what binds an issuance, and that a look always comes to an end."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import dns.message
import pytest

from certwarden.model import Address
from certwarden.ports import CaaRecords
from certwarden.zone.caa import CaaRecord, DnsCaaRecords, relevant
from certwarden.zone.servers import NameServers, Server
from tests.fakes_store import FakeClock
from tests.fakes_zone import FakeCaaRecords
from tests.world.dns import DnsFault, DnsServer, DohServer
from tests.world.zones import Zones

ISSUE = '0 issue "letsencrypt.org; validationmethods=dns-01"'
BOUND = '0 issuewild "letsencrypt.org; accounturi=https://acme.example/acct/7"'


@dataclass
class World:
    """Zones, and a resolver for them over UDP and HTTPS."""

    store: Zones
    dns: DnsServer
    doh: DohServer

    def caa(self, name: str, content: str) -> None:
        """A record."""
        self.store.add("CAA", name, content)

    @property
    def by_dns(self) -> DnsCaaRecords:
        """Looks by the configured server."""
        return DnsCaaRecords(
            clock=FakeClock(), nameservers=[Address(self.dns.host, self.dns.port)], doh=[]
        )

    @property
    def by_doh(self) -> DnsCaaRecords:
        """Looks over HTTPS."""
        return DnsCaaRecords(clock=FakeClock(), doh=[self.doh.url])


@pytest.fixture
def world() -> Iterator[World]:
    store = Zones()
    store.add_zone("example.org")
    store.add("A", "a.b.example.org", "192.0.2.1")
    with ExitStack() as stack:
        dns_server = stack.enter_context(DnsServer(store))
        doh = stack.enter_context(DohServer(store))
        yield World(store, dns_server, doh)
        assert (dns_server.errors, doh.errors) == ([], [])


@pytest.fixture(params=["dns", "doh"])
def records(request: pytest.FixtureRequest, world: World) -> CaaRecords:
    return world.by_dns if request.param == "dns" else world.by_doh


# ── up the tree ───────────────────────────────────────────────────────────────────────────────────


def test_nothing(records: CaaRecords) -> None:
    """Where nobody has said anything, anybody may issue, and there is nothing to show."""
    assert records.look(["a.b.example.org", "*.example.org"]) == ""
    assert not records.binds_account(["a.b.example.org"])


def test_no_domains(records: CaaRecords) -> None:
    """Nothing is asked about nothing."""
    assert records.look([]) == ""
    assert not records.binds_account([])


def test_the_closest_one_counts(world: World, records: CaaRecords) -> None:
    """The closest name that has any decides; what stands above it does not."""
    world.caa("example.org", ISSUE)
    assert records.look(["a.b.example.org"]) == f"example.org: {ISSUE}"
    world.caa("b.example.org", '0 issue ";"')
    assert records.look(["a.b.example.org"]) == 'b.example.org: 0 issue ";"'
    assert records.look(["example.org"]) == f"example.org: {ISSUE}"


def test_up_to_the_top(world: World) -> None:
    """The way goes up to the top-level domain, and each name is asked for once for all domains."""
    world.by_dns.look(["a.b.example.org", "*.b.example.org", "example.org"])
    asked = [query.name for query in world.dns.queries]
    assert sorted(asked) == ["a.b.example.org", "b.example.org", "example.org", "org"]
    assert {query.type for query in world.dns.queries} == {"CAA"}


def test_a_star_is_no_name(world: World, records: CaaRecords) -> None:
    """For a wildcard the name below the star is looked up."""
    world.caa("b.example.org", BOUND)
    assert records.look(["*.b.example.org"]) == f"b.example.org: {BOUND}"


def test_through_a_cname(world: World, records: CaaRecords) -> None:
    """What the target of a CNAME has counts as if it stood at the name."""
    world.store.add_zone("elsewhere.test")
    world.store.add("CNAME", "www.example.org", "host.elsewhere.test")
    world.caa("host.elsewhere.test", ISSUE)
    world.caa("example.org", '0 issue ";"')
    assert records.look(["www.example.org"]) == f"www.example.org: {ISSUE}"


# ── as text ───────────────────────────────────────────────────────────────────────────────────────


def test_one_order(world: World, records: CaaRecords) -> None:
    """The same records are the same text, in whatever order they and the domains come."""
    for content in (BOUND, ISSUE, '128 tbs "unknown"', '0 iodef "mailto:a@example.org"'):
        world.caa("example.org", content)
    world.caa("b.example.org", '0 issue ";"')
    text = records.look(["*.example.org", "b.example.org", "example.org"])
    assert text.splitlines() == [
        'b.example.org: 0 issue ";"',
        f"example.org: {ISSUE}",
        f"example.org: {BOUND}",
        'example.org: 128 tbs "unknown"',
    ]
    assert text == records.look(["example.org", "b.example.org"])


def test_a_strangers_text_is_cleaned(world: World, records: CaaRecords) -> None:
    """Control characters do not get into our log."""
    world.caa("example.org", r'0 issue "evil\027[31m\010example: 0 issue"')
    assert records.look(["example.org"]) == 'example.org: 0 issue "evil[31m example: 0 issue"'


@pytest.mark.parametrize(
    ("kind", "why"), [("servfail", "answers SERVFAIL"), ("refused", "answers REFUSED")]
)
def test_what_cannot_be_looked_up_is_told(
    world: World, records: CaaRecords, kind: str, why: str
) -> None:
    """A CA does not issue then, so it is a line of its own; names above it are not asked."""
    for server in (world.dns, world.doh):
        server.inject(DnsFault(kind, name=r"^b\.example", type="CAA"))
    world.caa("example.org", ISSUE)
    assert records.look(["a.b.example.org", "example.org"]).splitlines() == [
        f"b.example.org: could not be looked up ({why})",
        f"example.org: {ISSUE}",
    ]
    assert not records.binds_account(["a.b.example.org"])


# ── whom it asks ──────────────────────────────────────────────────────────────────────────────────


def test_the_next_resolver_is_asked(world: World) -> None:
    """Where one resolver cannot tell, the next one is believed."""
    world.caa("example.org", ISSUE)
    world.doh.inject(DnsFault("servfail"))
    with DohServer(world.store) as second:
        urls = ["https://127.0.0.1:9/dns-query", world.doh.url, second.url]
        looked = DnsCaaRecords(clock=FakeClock(), doh=urls).look(["example.org"])
    assert looked == f"example.org: {ISSUE}"


def test_configured_servers_only(world: World) -> None:
    """With nameservers configured nobody else is asked."""
    world.caa("example.org", ISSUE)
    address = Address(world.dns.host, world.dns.port)
    both = DnsCaaRecords(clock=FakeClock(), nameservers=[address], doh=[world.doh.url])
    assert both.look(["example.org"]) == f"example.org: {ISSUE}"
    assert world.doh.queries == []


@pytest.mark.parametrize("host", ["192.0.2.999", "no such name", "", "a..b"])
@pytest.mark.parametrize("domain", ["example.org", "x" * 64 + ".org", "", ".", "a..b", "ü.org"])
def test_never_raises(host: str, domain: str) -> None:
    """Neither a server nor a domain that cannot be one is an error."""
    records = DnsCaaRecords(clock=FakeClock(), nameservers=[Address(host, 53)])
    is_name = bool(domain.strip("."))
    assert ("could not be looked up" in records.look([domain])) is is_name
    assert not records.binds_account([domain])


def test_nobody_to_ask() -> None:
    """Without any server that is what is told."""
    text = DnsCaaRecords(clock=FakeClock(), doh=[]).look(["example.org"])
    assert text == "example.org: could not be looked up (nobody to ask)"


def test_the_look_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not answer in time is not waited for; what is there by then is shown."""
    let_go = threading.Event()

    def query(_: NameServers, __: Server, name: str, kind: str) -> dns.message.Message:
        if name.startswith("slow"):
            let_go.wait(60)
        reply = dns.message.make_response(dns.message.make_query(name, kind))
        reply.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "CAA", ISSUE))
        return reply

    monkeypatch.setattr(NameServers, "query", query)
    begun = time.monotonic()
    text = DnsCaaRecords(clock=FakeClock(), seconds=0.3).look(["slow.org", "quick.org"])
    assert time.monotonic() - begun < 30
    let_go.set()
    assert text.splitlines() == [
        f"quick.org: {ISSUE}",
        "slow.org: could not be looked up (no answer in time)",
    ]


# ── accounts ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("contents", "domain", "bound"),
    [
        ([BOUND], "*.example.org", True),
        ([BOUND], "example.org", False),
        ([ISSUE, BOUND], "example.org", False),
        ([ISSUE, BOUND], "*.example.org", True),
        (['0 issue "ca.example; accounturi=https://x/1"', ISSUE], "example.org", True),
        (['0 issue "ca.example;ACCOUNTURI=x"'], "*.example.org", True),
        (['0 issue "ca.example; x=accounturi"'], "example.org", False),
        (['0 iodef "mailto:x;accounturi=1"'], "example.org", False),
        ([ISSUE, '0 issue "ca.example; accounturi=x"', '0 issuewild ";"'], "*.example.org", False),
    ],
)
def test_binds_account(world: World, contents: list[str], domain: str, *, bound: bool) -> None:
    """Only a record that decides about the name, and has the parameter, binds the account."""
    for content in contents:
        world.caa("example.org", content)
    assert world.by_dns.binds_account([domain]) is bound


def test_the_fake_says_so_too() -> None:
    """The fake tells it from the text that it was given."""
    fake = FakeCaaRecords(f"example.org: {BOUND}")
    assert fake.look(["example.org"]) == fake.text
    assert fake.binds_account(["example.org"])
    assert fake.looked == [("example.org",)] * 2


def test_relevant() -> None:
    """`issuewild` replaces `issue` for wildcards, where there is any (RFC 8659 section 4.3)."""
    issue = CaaRecord("example.org", 0, "issue", "a")
    wild = CaaRecord("example.org", 0, "issuewild", "b")
    assert relevant("*.example.org", [issue, wild]) == (wild,)
    assert relevant("*.example.org", [issue]) == (issue,)
    assert relevant("example.org", [issue, wild]) == (issue,)
    assert relevant("example.org", [wild]) == ()
