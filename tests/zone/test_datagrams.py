"""Datagrams: many questions at once, and which datagram answers which of them."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import dns.message
import pytest

from certwarden.zone.datagrams import Datagrams
from certwarden.zone.servers import NoVote, Question, Role, Server, Shown
from tests.world.dns import DnsFault, DnsServer
from tests.world.zones import Zones

VALUE = "a" * 43


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def datagrams(stack: ExitStack) -> Datagrams:
    made = Datagrams()
    stack.callback(made.close)
    return made


@pytest.fixture
def server(stack: ExitStack) -> DnsServer:
    store = Zones()
    store.add_zone("example.org")
    for number in range(50):
        store.add("TXT", f"h{number}.example.org", f'"{VALUE}{number}"')
    return stack.enter_context(DnsServer(store))


def question(server: DnsServer, number: int = 0) -> Question:
    """The one about the TXT record of this number."""
    asked = Server(Role.CONFIGURED, server.address, server.host, server.port)
    return Question(asked, f"h{number}.example.org")


Answering = Callable[[bytes], list[bytes]]


@contextmanager
def answering(answers: Answering) -> Iterator[Server]:
    """A server that sends for each query the datagrams that `answers` makes of it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    wire, client = bound.recvfrom(4096)
                except OSError:
                    return
                if not client:
                    return
                for each in answers(wire):
                    bound.sendto(each, client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield Server(Role.CONFIGURED, "made up", "127.0.0.1", bound.getsockname()[1])
        finally:
            try:
                bound.shutdown(socket.SHUT_RDWR)
            except OSError:  # which wakes it all the same
                pass
            thread.join(5)


def _truth(wire: bytes) -> bytes:
    query = dns.message.from_wire(wire)
    reply = dns.message.make_response(query)
    name = query.question[0].name
    reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", f'"{VALUE}"'))
    return reply.to_wire()


def test_all_at_once(datagrams: Datagrams, server: DnsServer) -> None:
    """Fifty questions are asked before the first answer is read, and each gets its own."""
    asked = [question(server, number) for number in range(50)]
    assert [datagrams.ask(each) for each in asked] == [None] * 50
    assert datagrams.answers(asked, 30) == {
        each: Shown(frozenset({f"{VALUE}{number}"})) for number, each in enumerate(asked)
    }


def test_no_two_questions_under_way_have_the_same_id(
    datagrams: Datagrams, server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fifty, two would in one case of fifty; the first of them would never be answered."""
    drawn = iter([7, 7, 8])
    monkeypatch.setattr(secrets, "randbits", lambda _: next(drawn))
    asked = [question(server, number) for number in range(2)]
    for each in asked:
        datagrams.ask(each)
    assert set(datagrams.answers(asked, 30)) == set(asked)


def test_again_and_again(datagrams: Datagrams, server: DnsServer) -> None:
    """The same question is asked anew each time, under another id, and a change is seen."""
    asked = question(server)
    for _ in range(3):
        datagrams.ask(asked)
        assert datagrams.answers([asked], 30) == {asked: Shown(frozenset({f"{VALUE}0"}))}
    for record in server.store.records():
        server.store.remove(record)
    datagrams.ask(asked)
    assert datagrams.answers([asked], 30) == {asked: Shown(frozenset())}


def test_a_lost_datagram_is_sent_again(datagrams: Datagrams, server: DnsServer) -> None:
    """One that is lost is nothing unusual."""
    server.inject(DnsFault("drop", times=1))
    asked = question(server)
    datagrams.ask(asked)
    assert datagrams.answers([asked], 30) == {asked: Shown(frozenset({f"{VALUE}0"}))}
    assert len(server.queries) == 2


def test_who_never_answers(datagrams: Datagrams, server: DnsServer) -> None:
    """After two tries it is told; who is not waited for holds nobody up."""
    server.inject(DnsFault("drop", name="h0"))
    mute, other = question(server), question(server, 1)
    datagrams.ask(mute)
    datagrams.ask(other)
    begun = time.monotonic()
    assert set(datagrams.answers([other], 60)) == {other}
    assert datagrams.answers([mute], 60) == {mute: NoVote("does not answer")}
    assert time.monotonic() - begun < 30
    assert len(server.queries) == 3


def test_the_wait_has_an_end(datagrams: Datagrams, server: DnsServer) -> None:
    """Where nothing comes within the time given, nothing is what there is; it may come later."""
    server.inject(DnsFault("drop", times=1))
    asked = question(server)
    datagrams.ask(asked)
    assert datagrams.answers([asked], 0.01) == {}
    assert datagrams.answers([asked], 30) == {asked: Shown(frozenset({f"{VALUE}0"}))}


def test_what_does_not_fit(datagrams: Datagrams, server: DnsServer) -> None:
    """A truncated answer says that it has to be fetched by TCP."""
    server.inject(DnsFault("truncate"))
    asked = question(server)
    datagrams.ask(asked)
    assert datagrams.answers([asked], 30) == {asked: None}


def _other_id(wire: bytes) -> bytes:
    return bytes([wire[0] ^ 1]) + _truth(wire)[1:]


def _other_question(wire: bytes) -> bytes:
    return _truth(wire).replace(b"example", b"exbmple")


@pytest.mark.parametrize(
    "forged",
    [lambda _: b"", lambda wire: wire[:2] + b"\xff" * 9, _other_id, _other_question],
    ids=["empty", "garbage", "another id", "another question"],
)
def test_rubbish_is_passed_over(datagrams: Datagrams, forged: Callable[[bytes], bytes]) -> None:
    """What is no answer to our question does not end the waiting for the true one."""
    with answering(lambda wire: [forged(wire), _truth(wire)]) as made_up:
        asked = Question(made_up, "x.example.org")
        datagrams.ask(asked)
        assert datagrams.answers([asked], 30) == {asked: Shown(frozenset({VALUE}))}


def test_from_elsewhere(datagrams: Datagrams, server: DnsServer) -> None:
    """An answer from another address than the one that was asked is not believed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:

        def pass_on(wire: bytes) -> list[bytes]:
            (client,) = (each.getsockname() for each in datagrams._sockets.values())
            stranger.sendto(_truth(wire), ("127.0.0.1", client[1]))
            return []

        with answering(pass_on) as made_up:
            asked = Question(made_up, "x.example.org")
            datagrams.ask(asked)
            assert datagrams.answers([asked], 60) == {asked: NoVote("does not answer")}
    assert server.queries == []


@pytest.mark.parametrize("where", ["192.0.2.999", "no such name", ""])
def test_no_address(datagrams: Datagrams, where: str) -> None:
    """What is no address cannot be asked, and says so at once."""
    refused = datagrams.ask(Question(Server(Role.CONFIGURED, "x", where), "example.org"))
    assert refused is not None
    assert "cannot be asked" in refused.why


def test_nothing_is_left_open(server: DnsServer) -> None:
    """Closing it closes its sockets, and forgets what is under way."""
    datagrams = Datagrams()
    datagrams.ask(question(server))
    (opened,) = datagrams._sockets.values()
    datagrams.close()
    assert opened.fileno() == -1
    assert datagrams.answers([], 0) == {}
