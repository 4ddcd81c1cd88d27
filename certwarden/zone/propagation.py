"""The port `Propagation`: whether the world can see TXT records yet.

Owns whom to ask, how often, and when their answers amount to agreement. The answer is advice: a
home network often sees less of DNS than the CA does. Messages are the business of `servers`.
"""

import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certwarden.errors import clean
from certwarden.model import Address, TxtRecord
from certwarden.ports import Clock
from certwarden.zone.names import normalised
from certwarden.zone.servers import Answer, NameServers, NoVote, Role, Server, Shown

DEFAULT_DOH = ("https://cloudflare-dns.com/dns-query", "https://dns.google/dns-query")
SHORTEST_STEP = 0.1
LONGEST_STEP = 2.0
PATIENCE = 1.5  # seconds that a look waits for those who may still answer
MOST_THREADS = 32
MOST_NAMED = 3  # servers in one sentence


@dataclass(frozen=True)
class Look:
    """What the looking came to; `detail` is a sentence where there was no agreement."""

    agreed: bool
    detail: str = ""


@dataclass(frozen=True)
class _Question:
    server: Server
    name: str


class DnsPropagation:
    """Looks until all agree or `timeout` is over.

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

    def wait(self, records: Sequence[TxtRecord]) -> Look:
        """Waits until all servers show all values of the records, which exist already."""
        try:
            look = self._wait(records)
        except Exception as error:  # noqa: BLE001 - advice must never be what stops a renewal
            return Look(agreed=False, detail=f"DNS cannot be asked: {clean(str(error), 200)}")
        finally:
            self._servers.close()
        if look.agreed:
            self._clock.sleep(self._settle.total_seconds())
        return look

    def _wait(self, records: Sequence[TxtRecord]) -> Look:
        wanted: dict[str, frozenset[str]] = {}
        for record in records:
            name = normalised(record.place.record_name)
            wanted[name] = wanted.get(name, frozenset()) | {record.value}
        started = self._clock.monotonic()
        pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="dns")
        try:
            poll = _Poll(self._servers, pool, self._first_questions(records))
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
            # Who has not answered by now is not waited for.
            pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, poll: "_Poll", wanted: Mapping[str, frozenset[str]]) -> str:
        """One look at everything; "" if all is to be seen, else what is missing, as a sentence."""
        answers = poll.look()
        # Not before there is need: a resolver that is asked too early remembers that for long.
        mute = [name for name in wanted if not voters(answers[name])]
        if mute and poll.add(_Question(s, name) for name in mute for s in self._servers.public()):
            answers = poll.look()
        return "; ".join(
            objection
            for name, values in wanted.items()
            if (objection := objection_to(name, values, answers[name]))
        )

    def _first_questions(self, records: Sequence[TxtRecord]) -> list[_Question]:
        questions: dict[_Question, None] = {}
        configured = [server for address in self._nameservers for server in _resolve(address)]
        for record in records:
            name = normalised(record.place.record_name)
            servers = (
                configured
                if self._nameservers
                else self._servers.authoritative(name, record.place.zone_name)
            )
            questions |= dict.fromkeys(_Question(server, name) for server in servers)
        return list(questions)


class _Poll:
    """Asks every question again at each look, all side by side, and keeps the last answers.

    A look waits for those who answered before or were never asked, and for nobody else: one
    address that swallows packets costs `PATIENCE` once.
    """

    def __init__(
        self, servers: NameServers, pool: ThreadPoolExecutor, questions: Iterable[_Question]
    ) -> None:
        self._servers = servers
        self._pool = pool
        self._answers: dict[_Question, Answer | None] = {}
        self._asked: dict[_Question, Future[Answer]] = {}
        self.add(questions)

    def add(self, questions: Iterable[_Question]) -> bool:
        """Asks these as well from the next look on; whether there was a new one among them."""
        new = [question for question in questions if question not in self._answers]
        self._answers |= dict.fromkeys(new)
        return bool(new)

    def look(self) -> defaultdict[str, dict[Server, Answer]]:
        """Asks, and returns the last answer of each by name and server."""
        hopeful = []
        for question, last in self._answers.items():
            if question not in self._asked:
                future = self._pool.submit(self._servers.ask, question.server, question.name)
                self._asked[question] = future
                if not isinstance(last, NoVote):
                    hopeful.append(future)
        wait_for(hopeful, timeout=PATIENCE)
        for question, future in list(self._asked.items()):
            if future.done():
                self._answers[question] = future.result()
                del self._asked[question]
        answers: defaultdict[str, dict[Server, Answer]] = defaultdict(dict)
        for question, answer in self._answers.items():
            answers[question.name][question.server] = answer or NoVote("has not answered yet")
        return answers


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


def _resolve(address: Address) -> list[Server]:
    """A configured server; by each of its addresses where it is given by its name."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except OSError:
        found = []
    hosts = dict.fromkeys(str(entry[4][0]) for entry in found) or {address.host: None}
    return [Server(Role.CONFIGURED, str(address), host, address.port) for host in hosts]
