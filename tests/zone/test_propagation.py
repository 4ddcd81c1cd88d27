"""DnsPropagation: whom it asks, when it is content, and how long it takes for that."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dns.flags
import dns.message
import pytest

from certwarden.clock import SystemClock
from certwarden.model import Address
from certwarden.ports import Clock
from certwarden.zone import propagation
from certwarden.zone.datagrams import Datagrams
from certwarden.zone.propagation import (
    DnsPropagation,
    Look,
    _Poll,
    objection_to,
    step_after,
    voters,
)
from certwarden.zone.servers import Answer, NameServers, NoVote, Question, Role, Server, Shown
from tests.builders import a_txt_record
from tests.fakes_store import FakeClock
from tests.waiting import wait_until
from tests.world.authority import TestAuthority
from tests.world.dns import Answers, DnsFault, DnsServer, DohServer, Transport
from tests.world.zones import Record, Zones

CHALLENGE = "_acme-challenge.example.org"
ONE, TWO = "a" * 43, "b" * 43
BOTH = (a_txt_record(ONE), a_txt_record(TWO))
A_MINUTE = timedelta(minutes=1)


class LyingDnsServer(DnsServer):
    """Answers as a router does that catches port 53: without authority, and what it likes."""

    def reply(self, wire: bytes, transport: Transport) -> bytes | None:
        """The reply, dressed up as a resolver's."""
        true = super().reply(wire, transport)
        if true is None:
            return None
        message = dns.message.from_wire(true)
        message.flags &= ~dns.flags.AA
        message.flags |= dns.flags.RA
        return message.to_wire()


@pytest.fixture
def store() -> Zones:
    store = Zones()
    store.add_zone("example.org")
    return store


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def publish(store: Zones, *values: str) -> None:
    """What `create` has done: DNS shows it after the store's delay."""
    zone = store.zone_named("example.org")
    with store.change(zone.id) as records:
        for value in values:
            made = a_record(zone.id, value)
            records[made.id] = made


def a_record(zone_id: str, value: str) -> Record:
    return Record(zone_id, "TXT", CHALLENGE, f'"{value}"', ttl=60)


def looking_at(
    *servers: DnsServer,
    timeout: timedelta = A_MINUTE,
    settle: timedelta = timedelta(0),
    clock: Clock | None = None,
) -> DnsPropagation:
    """One that asks these servers only."""
    return DnsPropagation(
        clock=clock or SystemClock(),
        timeout=timeout,
        settle=settle,
        nameservers=[Address(server.host, server.port) for server in servers],
    )


# ── configured servers ────────────────────────────────────────────────────────────────────────────


def test_visible_at_once(store: Zones, stack: ExitStack) -> None:
    """What is there already is seen by two looks, without a pause between them."""
    servers = [stack.enter_context(DnsServer(store)) for _ in range(2)]
    publish(store, ONE, TWO)
    clock = FakeClock()
    assert looking_at(*servers, clock=clock).wait(BOTH) == Look(agreed=True)
    assert [len(server.queries) for server in servers] == [2, 2]
    assert clock.sleeps == [0.0]  # to settle


def test_nobody_is_asked_before_the_record_is_there(store: Zones, stack: ExitStack) -> None:
    """Making the object asks nobody: a server that is asked too early remembers the answer."""
    server = stack.enter_context(DnsServer(store))
    watcher = looking_at(server)
    assert server.queries == []
    publish(store, ONE, TWO)
    watcher.wait(BOTH)
    assert {(query.name, query.type) for query in server.queries} == {(CHALLENGE, "TXT")}
    assert all(query.answers for query in server.queries)


def test_waits_for_a_delay(store: Zones, stack: ExitStack) -> None:
    """What becomes visible later is seen soon after."""
    server = stack.enter_context(DnsServer(store))
    store.propagation_delay = 1.0
    publish(store, ONE, TWO)
    begun = time.monotonic()
    assert looking_at(server).wait(BOTH).agreed
    assert 0.9 < time.monotonic() - begun < 3.0


def test_waits_for_all_values(store: Zones, stack: ExitStack) -> None:
    """One of two values is not enough, and the sentence says who shows how many."""
    server = stack.enter_context(DnsServer(store))
    publish(store, ONE)
    look = looking_at(server, timeout=timedelta(0)).wait(BOTH)
    assert look == Look(
        agreed=False,
        detail=f"after 0 s {CHALLENGE} is not to be seen everywhere: "
        f"{server.address} shows 1 of 2 values",
    )


def test_one_stale_server_is_waited_for(store: Zones, stack: ExitStack) -> None:
    """All must agree: a server that lags behind is named."""
    good, stale = (stack.enter_context(DnsServer(store)) for _ in range(2))
    stale.inject(DnsFault("stale"))
    publish(store, ONE, TWO)
    look = looking_at(good, stale, timeout=timedelta(seconds=0.3)).wait(BOTH)
    assert not look.agreed
    assert f"{stale.address} shows 0 of 2 values" in look.detail
    assert good.address not in look.detail


def test_a_wavering_server_is_not_believed() -> None:
    """A yes that is followed by a no does not count: it takes two in a row."""
    answers = iter([True, False, True, True])

    class Wavering(NameServers):
        def authoritative(self, record_name: str, zone_name: str) -> tuple[Server, ...]:  # noqa: ARG002 - none
            return ()

        def ask(self, question: Question) -> Answer:  # noqa: ARG002 - there is one
            return Shown(frozenset({ONE, TWO} if next(answers) else ()))

    watcher = DnsPropagation(clock=FakeClock(), timeout=A_MINUTE, settle=timedelta(0))
    watcher._servers = Wavering(FakeClock(), ["https://doh.example/dns-query"], None)
    assert watcher.wait(BOTH).agreed
    assert next(answers, None) is None


@pytest.mark.parametrize("kind", ["servfail", "refused", "drop", "garbage"])
def test_a_server_out_of_order_does_not_hold_up(store: Zones, stack: ExitStack, kind: str) -> None:
    """Who cannot answer has no vote while others have one, and is not waited for to the end."""
    good, bad = (stack.enter_context(DnsServer(store)) for _ in range(2))
    bad.inject(DnsFault(kind))
    publish(store, ONE, TWO)
    begun = time.monotonic()
    assert looking_at(good, bad).wait(BOTH).agreed
    assert time.monotonic() - begun < 5


def test_lost_packets(store: Zones, stack: ExitStack) -> None:
    """A datagram that is lost is sent again, within the same question."""
    server = stack.enter_context(DnsServer(store))
    server.inject(DnsFault("drop", times=1))
    publish(store, ONE, TWO)
    asked = Server(Role.CONFIGURED, "server", server.host, server.port)
    answer = NameServers(FakeClock(), (), None).ask(Question(asked, CHALLENGE))
    assert answer == Shown(frozenset({ONE, TWO}))


def test_who_was_mute_is_not_waited_for_again(
    store: Zones, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look waits for those who may answer, and takes what the others say when they say it."""
    good, mute = (stack.enter_context(DnsServer(store)) for _ in range(2))
    mute.inject(DnsFault("drop"))
    publish(store, ONE)
    asked = [
        Server(Role.CONFIGURED, server.address, server.host, server.port) for server in (good, mute)
    ]
    poll = _Poll(NameServers(FakeClock(), (), None), [Question(s, CHALLENGE) for s in asked])
    stack.callback(poll.close)
    monkeypatch.setattr(propagation, "PATIENCE", 60.0)
    assert isinstance(poll.look()[CHALLENGE][asked[1]], NoVote)
    begun = time.monotonic()
    for _ in range(10):
        seen = poll.look()[CHALLENGE]
    assert time.monotonic() - begun < 30
    assert seen == {asked[0]: Shown(frozenset({ONE})), asked[1]: NoVote("does not answer")}
    assert len(good.queries) == 11
    mute.clear_faults()
    wait_until(lambda: poll.look()[CHALLENGE][asked[1]] == Shown(frozenset({ONE})))


def test_a_slow_resolver_keeps_no_other_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait for an answer of one resolver, the other one is asked."""
    good, slow = (Server(Role.PUBLIC, name, f"https://{name}.example") for name in ("good", "slow"))
    answers_at_last = threading.Event()

    class Scripted(NameServers):
        def ask(self, question: Question) -> Answer:
            if question.server == slow:
                answers_at_last.wait(60)
                return NoVote("does not answer")
            return Shown(frozenset({ONE}))

    monkeypatch.setattr(propagation, "PATIENCE", 0.2)
    servers = Scripted(FakeClock(), (), None)
    polls = [_Poll(servers, [Question(s, f"{n}.test") for s in (slow, good)]) for n in range(9)]
    for number, poll in enumerate(polls):
        assert poll.look()[f"{number}.test"] == {
            slow: NoVote("has not answered yet"),
            good: Shown(frozenset({ONE})),
        }
    answers_at_last.set()
    for poll in polls:
        poll.close()
    servers.close()


def test_many_wait_side_by_side(store: Zones, stack: ExitStack) -> None:
    """Fifty threads wait with one instance: no thread more, and hardly longer than one alone."""
    server = stack.enter_context(DnsServer(store))
    watcher = looking_at(server)
    store.propagation_delay = 1.0
    zone = store.zone_named("example.org")
    records = [a_txt_record(ONE, domain=f"h{number}.example.org") for number in range(50)]
    with store.change(zone.id) as held:
        for record in records:
            made = Record(zone.id, "TXT", record.place.record_name, f'"{ONE}"', ttl=60)
            held[made.id] = made
    before, most = threading.active_count(), 0
    with ThreadPoolExecutor(len(records)) as pool:
        looks = [pool.submit(watcher.wait, [record]) for record in records]
        while not all(look.done() for look in looks):
            most = max(most, threading.active_count())
            time.sleep(0.02)
    assert all(look.result().agreed for look in looks)
    assert most <= before + len(records)


def test_the_zones_servers_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who serves a zone is found out once for all that wait for records in it."""
    lookups = Counter[str]()

    def look(name: str, kind: str) -> tuple[str, ...]:
        lookups[f"{kind} {name}"] += 1
        return {"NS": ("ns.example.net.",), "A": ("192.0.2.1",)}.get(kind, ())

    monkeypatch.setattr("certwarden.zone.servers._system_lookup", look)
    servers = NameServers(FakeClock(), (), None)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(servers.authoritative, CHALLENGE, "example.org") for _ in range(20)]
    label = "ns.example.net (192.0.2.1)"
    assert {each.result() for each in asked} == {(Server(Role.AUTHORITATIVE, label, "192.0.2.1"),)}
    assert set(lookups.values()) == {1}


@pytest.mark.parametrize("role", list(Role))
def test_only_resolvers_are_asked_to_resolve(store: Zones, stack: ExitStack, role: Role) -> None:
    """The zone's own servers are asked what they hold, without recursion; with EDNS, 1232 bytes."""
    seen: list[dns.message.Message] = []

    class Recording(Answers):
        def reply(self, wire: bytes, transport: Transport) -> bytes | None:
            seen.append(dns.message.from_wire(wire))
            return super().reply(wire, transport)

    class RecordingDns(Recording, DnsServer): ...

    class RecordingDoh(Recording, DohServer): ...

    own = stack.enter_context(RecordingDns(store))
    doh = stack.enter_context(RecordingDoh(store))
    where = doh.url if role is Role.PUBLIC else own.host
    servers = NameServers(FakeClock(), (), None)
    stack.callback(servers.close)
    question = Question(Server(role, "server", where, own.port), CHALLENGE)
    if role is Role.PUBLIC:
        servers.ask(question)
    else:
        watcher = Datagrams()
        stack.callback(watcher.close)
        assert watcher.ask(question) is None
        assert question in watcher.answers([question], 30)
    (query,) = seen
    assert bool(query.flags & dns.flags.RD) is (role is not Role.AUTHORITATIVE)
    assert (query.edns, query.payload) == (0, 1232)


def test_truncated_answers(store: Zones, stack: ExitStack) -> None:
    """A truncated answer is fetched by TCP."""
    server = stack.enter_context(DnsServer(store))
    server.inject(DnsFault("truncate"))
    publish(store, ONE, TWO)
    assert looking_at(server).wait(BOTH).agreed
    assert {query.transport for query in server.queries} == {"udp", "tcp"}


def test_more_than_a_datagram_holds(store: Zones, stack: ExitStack) -> None:
    """Fifty values at one name are seen, too."""
    server = stack.enter_context(DnsServer(store))
    values = [f"{number:043}" for number in range(50)]
    publish(store, *values)
    assert looking_at(server).wait([a_txt_record(value) for value in values]).agreed


@pytest.mark.parametrize(
    ("kind", "seconds", "words"),
    [
        ("servfail", 0.2, "answers SERVFAIL"),
        ("drop", 2.5, "does not answer"),
        ("nxdomain", 0.2, "shows 0 of 2 values"),
        ("empty", 0.2, "shows 0 of 2 values"),
    ],
)
def test_nobody_shows_it(
    store: Zones, stack: ExitStack, kind: str, seconds: float, words: str
) -> None:
    """After the timeout it goes ahead and says who did not show what."""
    server = stack.enter_context(DnsServer(store))
    server.inject(DnsFault(kind))
    publish(store, ONE, TWO)
    look = looking_at(server, timeout=timedelta(seconds=seconds)).wait(BOTH)
    assert not look.agreed
    assert f"{server.address} {words}" in look.detail


def test_a_lying_server_counts_if_it_was_configured(store: Zones, stack: ExitStack) -> None:
    """A resolver that was named by the user need not be authoritative."""
    server = stack.enter_context(LyingDnsServer(store))
    publish(store, ONE, TWO)
    assert looking_at(server).wait(BOTH).agreed


def test_several_names(store: Zones, stack: ExitStack) -> None:
    """Every name is looked for, and only the one that lacks is complained of."""
    server = stack.enter_context(DnsServer(store))
    publish(store, ONE)
    other = a_txt_record(ONE, domain="a.example.org")
    look = looking_at(server, timeout=timedelta(0)).wait([a_txt_record(ONE), other])
    assert not look.agreed
    assert "_acme-challenge.a.example.org" in look.detail
    assert f" {CHALLENGE} " not in look.detail


def test_where_the_record_is(store: Zones, stack: ExitStack) -> None:
    """With delegation the record's own name is asked for, not the challenge's."""
    server = stack.enter_context(DnsServer(store))
    publish(store, ONE)
    record = a_txt_record(ONE, domain="elsewhere.test")
    delegated = replace(record, place=replace(record.place, record_name=CHALLENGE))
    assert looking_at(server).wait([delegated]).agreed
    assert {query.name for query in server.queries} == {CHALLENGE}


def test_settles_after_agreement_only(store: Zones, stack: ExitStack) -> None:
    """The CA looks from several continents: a pause after agreement; none after giving up."""
    server = stack.enter_context(DnsServer(store))
    settle = timedelta(seconds=5)
    clock = FakeClock()
    looking_at(server, clock=clock, settle=settle, timeout=timedelta(0)).wait(BOTH)
    assert clock.sleeps == []
    publish(store, ONE, TWO)
    looking_at(server, clock=clock, settle=settle).wait(BOTH)
    assert clock.sleeps == [5.0]


def test_a_signal_ends_it(store: Zones, stack: ExitStack) -> None:
    """What a signal raises goes through: only mishaps in asking are swallowed."""
    server = stack.enter_context(DnsServer(store))

    class Interrupted(FakeClock):
        def sleep(self, seconds: float) -> None:  # noqa: ARG002 - it does not come to that
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looking_at(server, clock=Interrupted()).wait(BOTH)


@pytest.mark.parametrize("host", ["192.0.2.999", "no such name", "", "a..b"])
def test_never_raises(host: str) -> None:
    """An address that cannot be one is advice that could not be had, no error."""
    watcher = DnsPropagation(
        clock=FakeClock(),
        timeout=timedelta(0),
        settle=timedelta(0),
        nameservers=[Address(host, 53)],
    )
    look = watcher.wait(BOTH)
    assert not look.agreed
    assert look.detail


# ── the zone's own servers, and DNS over HTTPS beside them ────────────────────────────────────────


@pytest.fixture
def own(store: Zones, stack: ExitStack) -> DnsServer:
    """The zone's own server."""
    return stack.enter_context(DnsServer(store))


@pytest.fixture
def doh(store: Zones, stack: ExitStack) -> DohServer:
    """A public resolver."""
    return stack.enter_context(DohServer(store))


Watch = Callable[..., DnsPropagation]


@pytest.fixture
def watch(doh: DohServer, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Looks as without `nameservers`; the zone's servers are these, as port 53 is not ours here."""

    def build(*servers: DnsServer, timeout: timedelta = A_MINUTE) -> DnsPropagation:
        found = tuple(
            Server(Role.AUTHORITATIVE, server.address, server.host, server.port)
            for server in servers
        )
        monkeypatch.setattr(NameServers, "authoritative", lambda *_: found)
        return DnsPropagation(
            clock=SystemClock(), timeout=timeout, settle=timedelta(0), doh=[doh.url]
        )

    return build


def test_public_resolvers_are_spared(
    store: Zones, own: DnsServer, doh: DohServer, watch: Watch
) -> None:
    """While the zone's own servers can be asked, no resolver is made to remember an early no."""
    store.propagation_delay = 0.5
    publish(store, ONE, TWO)
    assert watch(own).wait(BOTH).agreed
    assert doh.queries == []


def test_an_authoritative_yes_wins(
    store: Zones, own: DnsServer, doh: DohServer, watch: Watch
) -> None:
    """A resolver that remembers an early no does not matter."""
    doh.inject(DnsFault("stale"))
    publish(store, ONE, TWO)
    assert watch(own).wait(BOTH).agreed


@pytest.mark.parametrize("kind", ["drop", "servfail", "refused", None])
def test_public_resolvers_step_in(
    store: Zones, own: DnsServer, doh: DohServer, watch: Watch, kind: str | None
) -> None:
    """Where the zone's own servers cannot be asked, or are not known, the public ones decide."""
    if kind:
        own.inject(DnsFault(kind))
    store.propagation_delay = 0.3
    publish(store, ONE, TWO)
    assert watch(*([own] if kind else [])).wait(BOTH).agreed
    assert doh.queries


def test_port_53_lies(store: Zones, stack: ExitStack, doh: DohServer, watch: Watch) -> None:
    """Answers without authority in the servers' stead are not believed, whatever they say."""
    liar = stack.enter_context(LyingDnsServer(store))
    liar.inject(DnsFault("stale"))
    publish(store, ONE, TWO)
    assert watch(liar).wait(BOTH).agreed
    assert doh.queries

    liar.clear_faults()
    doh.inject(DnsFault("nxdomain"))
    look = watch(liar, timeout=timedelta(seconds=0.3)).wait(BOTH)
    assert not look.agreed
    assert "shows 0 of 2 values" in look.detail


def test_all_public_resolvers_must_agree(
    store: Zones, stack: ExitStack, doh: DohServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two public resolvers is not enough, unless the other one is out of order."""
    second = stack.enter_context(DohServer(store))

    def look(timeout: float) -> Look:
        watcher = DnsPropagation(
            clock=SystemClock(),
            timeout=timedelta(seconds=timeout),
            settle=timedelta(0),
            doh=[doh.url, second.url],
        )
        monkeypatch.setattr(NameServers, "authoritative", lambda *_: ())
        return watcher.wait(BOTH)

    second.inject(DnsFault("stale"))
    publish(store, ONE, TWO)
    assert not look(0.3).agreed
    second.clear_faults()
    second.inject(DnsFault("servfail"))
    assert look(30).agreed


@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_verified(
    store: Zones, stack: ExitStack, tmp_path: Path, *, trusted: bool
) -> None:
    """A resolver over HTTPS is believed only if its certificate is good."""
    authority = TestAuthority(tmp_path)
    doh = stack.enter_context(DohServer(store, context=authority.server_context("doh")))
    publish(store, ONE, TWO)
    servers = NameServers(FakeClock(), [doh.url], authority.bundle if trusted else None)
    stack.callback(servers.close)
    answer = servers.ask(Question(servers.public()[0], CHALLENGE))
    if trusted:
        assert answer == Shown(frozenset({ONE, TWO}))
    else:
        assert isinstance(answer, NoVote)
        assert doh.queries == []


def test_plain_http_beyond_loopback_is_not_asked() -> None:
    """A resolver whose answers anybody could forge has no vote."""
    servers = NameServers(FakeClock(), ["http://192.0.2.1/dns-query"], None)
    answer = servers.ask(Question(servers.public()[0], CHALLENGE))
    assert answer == NoVote("cannot be asked (not an https address)")


# ── the decision ──────────────────────────────────────────────────────────────────────────────────

_OWN = Server(Role.AUTHORITATIVE, "own", "192.0.2.1")
_OTHER = Server(Role.AUTHORITATIVE, "other", "192.0.2.2")
_PUBLIC = Server(Role.PUBLIC, "public", "https://dns.example/dns-query")
_YES, _NO, _MUTE = Shown(frozenset({ONE})), Shown(frozenset()), NoVote("does not answer")


@pytest.mark.parametrize(
    ("answers", "agreed"),
    [
        ({_OWN: _YES, _OTHER: _YES, _PUBLIC: _YES}, True),
        ({_OWN: _YES, _OTHER: _YES, _PUBLIC: _NO}, True),
        ({_OWN: _YES, _OTHER: _NO, _PUBLIC: _YES}, False),
        ({_OWN: _YES, _OTHER: _MUTE, _PUBLIC: _NO}, True),
        ({_OWN: _MUTE, _OTHER: _MUTE, _PUBLIC: _YES}, True),
        ({_OWN: _MUTE, _PUBLIC: _NO}, False),
        ({_OWN: _MUTE, _PUBLIC: _MUTE}, False),
        ({}, False),
    ],
)
def test_the_decision(answers: dict[Server, Answer], *, agreed: bool) -> None:
    """The zone's own servers decide where they can be asked, else the public ones, all of them."""
    assert (objection_to(CHALLENGE, frozenset({ONE}), answers) == "") is agreed


def test_a_sentence_of_bearable_length() -> None:
    """Many servers that lack the record are counted, not listed."""
    many = {Server(Role.CONFIGURED, f"s{n}", f"192.0.2.{n}"): _NO for n in range(12)}
    assert objection_to(CHALLENGE, frozenset({ONE}), many).endswith("and 9 more")
    assert len(voters(many)) == 12


def test_steps_grow_with_what_has_passed() -> None:
    """A pause is never more than a tenth of the delay before it, nor above two seconds."""
    assert step_after(0) == 0.1
    assert step_after(5) < 0.5
    assert step_after(3600) == 2
