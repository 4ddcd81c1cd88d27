"""Many questions to name servers under way at the same time over UDP, without a thread for each.

Owns sockets, retransmission, and which datagram answers which question (RFC 5452 section 9.1).
What an answer means is decided in `servers`.
"""

import contextlib
import secrets
import select
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.inet
import dns.message

from certwarden.errors import clean
from certwarden.zone.servers import TRIES, Answer, NoVote, Question, query_for, read

_Peer = tuple[bytes, int, int]  # packed address, port, and the message's id


@dataclass
class _Asked:
    """A question under way: where it went, and until when each of its tries is waited for."""

    question: Question
    query: dns.message.Message
    wire: bytes
    destination: tuple[object, ...]
    family: int
    deadlines: list[float]


class Datagrams:
    """The questions of one thread; `close` forgets them. Time is the machine's, as for any I/O."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._poller = select.poll()
        self._asked: dict[_Peer, _Asked] = {}
        self._messages: dict[Question, tuple[dns.message.Message, bytes]] = {}
        self._heard: dict[Question, tuple[bytes, Answer | None]] = {}

    def close(self) -> None:
        """Closes the sockets."""
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()
        self._asked.clear()

    def ask(self, question: Question) -> NoVote | None:
        """Sends the question; says at once where it cannot be sent."""
        server = question.server
        try:
            family = dns.inet.af_for_address(server.where)
            destination = dns.inet.low_level_address_tuple((server.where, server.port), family)
            peer = _packed(family, server.where, server.port)
            query, wire = self._message(question, peer)
            asked = _Asked(question, query, wire, destination, family, list(_deadlines()))
            self._send(asked)
        except (OSError, dns.exception.DNSException, ValueError) as error:
            return NoVote(f"cannot be asked ({clean(str(error), 80) or type(error).__name__})")
        self._asked[*peer, query.id] = asked
        return None

    def answers(self, awaited: Iterable[Question], seconds: float) -> dict[Question, Answer | None]:
        """What has come; waits for these questions, but not longer than that.

        None is an answer that did not fit into a datagram and has to be fetched by TCP.
        """
        missing, until = set(awaited), time.monotonic() + seconds
        come: dict[Question, Answer | None] = {}
        while True:
            come |= self._overdue()
            missing -= come.keys()
            now = time.monotonic()
            next_deadline = min((a.deadlines[0] for a in self._asked.values()), default=until)
            wait = max(0.0, min(until, next_deadline) - now) if missing else 0.0
            if self._poller.poll(wait * 1000):
                for family, readable in self._sockets.items():
                    come |= self._received(family, readable)
            missing -= come.keys()
            if not missing or now >= until:
                return come

    def _message(
        self, question: Question, peer: tuple[bytes, int]
    ) -> tuple[dns.message.Message, bytes]:
        """The same each time but for its id, and made once: it is sent again and again.

        No two questions that a server still has to answer have the same id.
        """
        if question not in self._messages:
            query = query_for(question.server, question.name, "TXT")
            self._messages[question] = query, query.to_wire()[2:]
        query, rest = self._messages[question]
        query.id = secrets.randbits(16)
        while (*peer, query.id) in self._asked:
            query.id = secrets.randbits(16)
        return query, query.id.to_bytes(2, "big") + rest

    def _send(self, asked: _Asked) -> None:
        if asked.family not in self._sockets:
            made = socket.socket(asked.family, socket.SOCK_DGRAM)
            made.settimeout(0)
            self._poller.register(made, select.POLLIN)
            self._sockets[asked.family] = made
        with contextlib.suppress(BlockingIOError):  # as good as lost: it is sent again
            self._sockets[asked.family].sendto(asked.wire, asked.destination)

    def _overdue(self) -> dict[Question, Answer]:
        """Sends again what was not answered in time, and gives up what was sent often enough."""
        given_up: dict[Question, Answer] = {}
        now = time.monotonic()
        for peer, asked in list(self._asked.items()):
            if asked.deadlines[0] > now:
                continue
            asked.deadlines.pop(0)
            try:
                if asked.deadlines:
                    self._send(asked)
                    continue
                given_up[asked.question] = NoVote("does not answer")
            except OSError as error:
                given_up[asked.question] = NoVote(f"cannot be asked ({clean(str(error), 80)})")
            del self._asked[peer]
        return given_up

    def _received(self, family: int, readable: socket.socket) -> dict[Question, Answer | None]:
        """Everything that a socket holds; what answers no question of ours is passed over."""
        come: dict[Question, Answer | None] = {}
        while True:
            try:
                wire, sender = readable.recvfrom(65535)
            except OSError:  # mostly that there is nothing more
                return come
            peer = (*_packed(family, sender[0], sender[1]), int.from_bytes(wire[:2], "big"))
            if asked := self._asked.get(peer):
                with contextlib.suppress(dns.exception.DNSException, ValueError):
                    come[asked.question] = self._answer(asked, wire)
                    del self._asked[peer]

    def _answer(self, asked: _Asked, wire: bytes) -> Answer | None:
        """What the datagram says; most often the very same as the one before."""
        before = self._heard.get(asked.question)
        if before is not None and before[0] == wire[2:]:
            return before[1]
        reply = dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=False)
        if not asked.query.is_response(reply):
            raise ValueError("the answer to another question")
        is_cut = bool(reply.flags & dns.flags.TC)
        answer = None if is_cut else read(reply, asked.question.server)
        self._heard[asked.question] = (wire[2:], answer)
        return answer


def _deadlines() -> Iterator[float]:
    deadline = time.monotonic()
    for seconds in TRIES:
        deadline += seconds
        yield deadline


def _packed(family: int, host: str, port: int) -> tuple[bytes, int]:
    return dns.inet.inet_pton(family, host.partition("%")[0]), port
