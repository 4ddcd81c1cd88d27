"""The port `Propagation`: whether the world can see TXT records yet.

Owns whom to ask, how often, and when their answers amount to agreement. The answer is advice: a
home network often sees less of DNS than the CA does. Messages are the business of `servers`.
"""

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certwarden.errors import clean
from certwarden.model import Address, TxtRecord
from certwarden.ports import Clock
from certwarden.zone.datagrams import Datagrams
from certwarden.zone.names import normalised
from certwarden.zone.servers import Answer, NameServers, NoVote, Question, Role, Server, Shown

DEFAULT_DOH = ("https://cloudflare-dns.com/dns-query", "https://dns.google/dns-query")
SHORTEST_STEP = 0.1
LONGEST_STEP = 2.0
PATIENCE = 1.5  # seconds that a look waits for those who may still answer
MOST_NAMED = 3  # servers in one sentence


@dataclass(frozen=True)
class Look:
    """What the looking came to; `detail` is a sentence where there was no agreement."""

    agreed: bool
    detail: str = ""


class DnsPropagation:
    """Looks until all agree or `timeout` is over; safe for many threads that wait side by side.

    With `nameservers` only those are asked. Without, it is the authoritative servers of the zone
    that holds the record, and the resolvers at the `doh` URLs where none of those can be asked or
    something on the way answers in their stead. `settle` is waited after agreement only.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        timeout: timedelta,
        settle: timedelta,
        nameservers: Sequence[Address] = (),
        doh: Sequence[str] = DEFAULT_DOH,
        ca_bundle: Path | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._settle = settle
        self._nameservers = tuple(nameservers)
        self._servers = NameServers(clock, () if nameservers else doh, ca_bundle)
        self._lock = threading.Lock()
        self._waiting = 0

    def wait(self, records: Sequence[TxtRecord]) -> Look:
        """Waits until all servers show all values of the records, which exist already."""
        try:
            with self._servers_in_use():
                look = self._wait(records)
        except Exception as error:  # noqa: BLE001 - advice must never be what stops a renewal
            return Look(agreed=False, detail=f"DNS cannot be asked: {clean(str(error), 200)}")
        if look.agreed:
            self._clock.sleep(self._settle.total_seconds())
        return look

    @contextmanager
    def _servers_in_use(self) -> Iterator[None]:
        """The last one to go closes the connections that all have used."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self._servers.close()

    def _wait(self, records: Sequence[TxtRecord]) -> Look:
        wanted: dict[str, frozenset[str]] = {}
        for record in records:
            name = normalised(record.place.record_name)
            wanted[name] = wanted.get(name, frozenset()) | {record.value}
        started = self._clock.monotonic()
        poll = _Poll(self._servers, self._first_questions(records))
        try:
            agreed_before = False
            while True:
                missing = self._look(poll, wanted)
                elapsed = self._clock.monotonic() - started
                if not missing and agreed_before:
                    return Look(agreed=True)
                agreed_before = not missing
                if not missing:
                    continue  # twice in a row, at once
                if elapsed >= self._timeout.total_seconds():
                    return Look(agreed=False, detail=f"after {elapsed:.0f} s {missing}")
                self._clock.sleep(step_after(elapsed))
        finally:
            poll.close()

    def _look(self, poll: "_Poll", wanted: Mapping[str, frozenset[str]]) -> str:
        """One look at everything; "" if all is to be seen, else what is missing, as a sentence."""
        answers = poll.look()
        # Not before there is need: a resolver that is asked too early remembers that for long.
        mute = [name for name in wanted if not voters(answers[name])]
        if mute and poll.add(Question(s, name) for name in mute for s in self._servers.public()):
            answers = poll.look()
        return "; ".join(
            objection
            for name, values in wanted.items()
            if (objection := objection_to(name, values, answers[name]))
        )

    def _first_questions(self, records: Sequence[TxtRecord]) -> list[Question]:
        questions: dict[Question, None] = {}
        configured = configured_servers(self._nameservers)
        for record in records:
            name = normalised(record.place.record_name)
            servers = (
                configured
                if self._nameservers
                else self._servers.authoritative(name, record.place.zone_name)
            )
            questions |= dict.fromkeys(Question(server, name) for server in servers)
        return list(questions)


class _Poll:
    """Asks every question again at each look, all side by side, and keeps the last answers.

    A look waits for those who answered before or were never asked, and for nobody else: one
    address that swallows packets costs `PATIENCE` once.
    """

    def __init__(self, servers: NameServers, questions: Iterable[Question]) -> None:
        self._servers = servers
        self._datagrams = Datagrams()
        self._answers: dict[Question, Answer | None] = {}
        self._asked: dict[Question, Future[Answer] | None] = {}  # None: by a datagram
        self.add(questions)

    def close(self) -> None:
        """Who has not answered by now is not waited for."""
        self._datagrams.close()
        for future in self._futures():
            future.cancel()

    def add(self, questions: Iterable[Question]) -> bool:
        """Asks these as well from the next look on; whether there was a new one among them."""
        new = [question for question in questions if question not in self._answers]
        self._answers |= dict.fromkeys(new)
        return bool(new)

    def look(self) -> defaultdict[str, dict[Server, Answer]]:
        """Asks, and returns the last answer of each by name and server."""
        hopeful = set()
        for question, last in self._answers.items():
            if question not in self._asked:
                self._ask(question)
                if not isinstance(last, NoVote):
                    hopeful.add(question)
        self._collect(hopeful)
        answers: defaultdict[str, dict[Server, Answer]] = defaultdict(dict)
        for question, answer in self._answers.items():
            answers[question.name][question.server] = answer or NoVote("has not answered yet")
        return answers

    def _ask(self, question: Question) -> None:
        if question.server.role is Role.PUBLIC:
            self._asked[question] = self._servers.ask_aside(question)
        elif refused := self._datagrams.ask(question):
            self._answers[question] = refused
        else:
            self._asked[question] = None

    def _collect(self, hopeful: set[Question]) -> None:
        """Takes the answers that are there, after waiting for these."""
        until = time.monotonic() + PATIENCE
        by_datagram = [q for q in hopeful if q in self._asked and self._asked[q] is None]
        for question, answer in self._datagrams.answers(by_datagram, PATIENCE).items():
            if answer is None:
                self._asked[question] = self._servers.ask_aside(question)
            else:
                self._answers[question] = answer
                del self._asked[question]
        futures = [future for q in hopeful if (future := self._asked.get(q))]
        wait_for(futures, timeout=max(0.0, until - time.monotonic()))
        for question, asked in list(self._asked.items()):
            if asked and asked.done():
                self._answers[question] = asked.result()
                del self._asked[question]

    def _futures(self) -> Iterator[Future[Answer]]:
        return filter(None, self._asked.values())


def step_after(elapsed: float) -> float:
    """How long to wait for the next look, in seconds: a twelfth of what has passed, within bounds.

    So what becomes visible is seen soon after, whether that takes one second or a minute.
    """
    return min(LONGEST_STEP, max(SHORTEST_STEP, elapsed / 12))


def voters(answers: Mapping[Server, Answer]) -> dict[Server, Shown]:
    """Whose answers count: the zone's own or the configured servers', else the public ones'."""
    shown = {server: answer for server, answer in answers.items() if isinstance(answer, Shown)}
    own = {server: answer for server, answer in shown.items() if server.role is not Role.PUBLIC}
    return own or shown


def objection_to(name: str, wanted: frozenset[str], answers: Mapping[Server, Answer]) -> str:
    """Who does not show all the wanted values, as a sentence; "" if those who count agree."""
    counted = voters(answers)
    lacking = [
        f"{server.label} shows {len(wanted & shown.values)} of {len(wanted)} values"
        for server, shown in counted.items()
        if not wanted <= shown.values
    ]
    if counted and not lacking:
        return ""
    silent = [
        f"{server.label} {answer.why}"
        for server, answer in answers.items()
        if isinstance(answer, NoVote)
    ]
    complaints = lacking or silent or ["no name server of its zone is known"]
    more = len(complaints) - MOST_NAMED
    listed = ", ".join(complaints[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{name} is not to be seen everywhere: {listed}"


def configured_servers(addresses: Iterable[Address]) -> tuple[Server, ...]:
    """The servers that the user has named; each by all of its addresses where it has a name."""
    return tuple(server for address in addresses for server in _servers_at(address))


def _servers_at(address: Address) -> Iterator[Server]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        found = []
    for host in dict.fromkeys(str(entry[4][0]) for entry in found) or (address.host,):
        yield Server(Role.CONFIGURED, str(address), host, address.port)
