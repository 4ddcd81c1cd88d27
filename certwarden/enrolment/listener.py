"""The door: who is let in to ask, how many at once, how long for, and when it is shut.

What is asked and answered is not its business: it has one function to call. Everybody who can
reach the port can talk to it, so whatever one of them does is bounded in time, bytes and number.
"""

import asyncio
import ipaddress
import queue
import signal
import socket
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from certwarden.enrolment.channel import Channel
from certwarden.enrolment.exchange import Answer, Reply, Request
from certwarden.enrolment.wire import RefusedRequest, Wire, sentence
from certwarden.errors import as_error

_NO_ROOM = 1.0  # seconds, until somebody is accepted again when descriptors have run out
_SOURCES = 1024  # of whom refusals are remembered

_SLOW = sentence(408, "this request took too long")
_TOO_MANY = sentence(429, "too many refusals; wait a minute", **{"Retry-After": "60"})
_FAILED = sentence(500, "something went wrong here")
_BUSY = sentence(503, "too many are asking at once; try again", **{"Retry-After": "5"})


@dataclass(frozen=True)
class Limits:
    """What one connection, one source and all together may take; in seconds, bytes and pieces."""

    connections: int = 32
    connections_of_source: int = 4
    connections_of_network: int = 16  # where one visitor may have many addresses
    handshake: float = 10
    head: float = 10
    head_size: int = 16 * 1024
    request: float = 30  # head and body
    received: int = 256 * 1024  # ciphertext; a body alone is at most exchange.MAX_BODY
    reply: float = 60
    farewell: float = 2  # after the reply, until the other side has hung up
    connection: float = 150  # all of it, with waiting and answering
    waiting: int = 8  # requests that wait for the one that is being answered
    refusal: float = 1  # after which a refusal is sent
    refusals: int = 30  # of one source within `memory`; then it is not listened to
    memory: float = 60
    question: float = 1  # between two questions whether it is over
    ending: float = 10  # for an answer under way, when all else has been cut


def listen(
    door: socket.socket,
    contexts: Callable[[], ssl.SSLContext],
    answer: Answer,
    *,
    is_over: Callable[[], bool],
    limits: Limits = Limits(),
    idle: float | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Serves HTTPS on a listening socket until `is_over`, or until nobody came for `idle` seconds.

    Then it accepts nobody any more, finishes what has begun, and returns; the socket remains open.
    An exception that ends it, KeyboardInterrupt above all, cuts all connections and goes on to the
    caller; an answer under way is waited for in any case.

    `contexts` is asked for each connection, `is_over` each second and after each answer, and both
    in this thread. `answer` is called in another one, always the same, one request at a time, and
    never while `is_over` is. What it raises is a reply of status 500, and a line for `report`,
    which is called in this thread and gets nothing that a stranger has said.
    """
    desk = _Desk(answer)
    try:
        with _Signals() as signals, asyncio.Runner() as runner:
            house = _House(door, contexts, desk, limits, report)
            runner.run(signals.heed(house.receive_until(is_over, idle)))
    finally:
        desk.close(limits.ending)


def source_of(address: str) -> tuple[str, str]:
    """Whom an address is counted for: itself, and in IPv6 the /64 that it is of.

    One visitor can have all addresses of a /64, so there has to be a limit for that; but a whole
    house shares one, so it is a wider one.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return source_of(str(found.ipv4_mapped))
        return str(found), str(ipaddress.IPv6Network((int(found), 64), strict=False))
    return str(found), ""


def _take_one(counted: Counter[str], key: str) -> None:
    counted[key] -= 1
    if counted[key] <= 0:
        del counted[key]


class _Signals:
    """What a signal's handler has to say waits until the loop has ended; the signal ends it.

    A handler that raises in the midst of the loop, as ours do, can cost a task its turn, which is
    then waited for without end. asyncio sees to that for SIGINT alone.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._noted: int | None = None
        self._stop: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._noted is not None:
            self._handlers[self._noted](self._noted, None)

    async def heed(self, work: Coroutine[None, None, None]) -> None:
        """Does the work, which a signal cancels."""
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
        if self._noted is not None:
            self._stop()
        try:
            await task
        finally:
            self._stop = None

    def _note(self, number: int, _: FrameType | None) -> None:
        self._noted = number
        if self._stop is not None:
            self._stop()


class _Desk:
    """Where requests are answered: one after the other, in a thread of its own.

    The thread keeps nobody from leaving: Python does not wait for it at its end.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._requests: queue.SimpleQueue[tuple[Request, Future[Reply | Exception]] | None] = (
            queue.SimpleQueue()
        )
        self._is_taken = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self._thread.start()

    def is_full(self, most: int) -> bool:
        """Whether so many wait already."""
        return self._requests.qsize() >= most

    async def answer(self, request: Request) -> Reply | Exception:
        """The reply, or what was raised; whoever is cancelled while he waits is never answered."""
        future: Future[Reply | Exception] = Future()
        self._requests.put((request, future))
        return await asyncio.wrap_future(future)

    def ask_aside(self, question: Callable[[], bool]) -> bool:
        """The answer to a question that is put only between two requests; no is there always."""
        if not self._is_taken.acquire(blocking=False):
            return False
        try:
            return question()
        finally:
            self._is_taken.release()

    def close(self, patience: float) -> None:
        """After what is being answered now, which is waited for so many seconds."""
        self._requests.put(None)
        self._thread.join(patience)

    def _work(self) -> None:
        while (entry := self._requests.get()) is not None:
            request, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            with self._is_taken:
                outcome = self._outcome(request)
            future.set_result(outcome)

    def _outcome(self, request: Request) -> Reply | Exception:
        try:
            return self._answer(request)
        except Exception as mistake:  # noqa: BLE001 - one request must not end it for all
            return mistake


class _Refusals:
    """When each source was last refused something; of the oldest sources nothing is known."""

    def __init__(self, most: int, memory: float) -> None:
        self._most = most
        self._memory = memory
        self._times: dict[str, deque[float]] = {}

    def note(self, source: str, now: float) -> None:
        times = self._times.pop(source, None) or deque(maxlen=self._most)
        times.append(now)
        self._times[source] = times  # at the end, as the newest
        if len(self._times) > _SOURCES:
            del self._times[next(iter(self._times))]

    def are_too_many(self, source: str, now: float) -> bool:
        times = self._times.get(source)
        return times is not None and len(times) >= self._most and now - times[0] < self._memory


@dataclass
class _Visit:
    """A connection that was accepted."""

    connection: socket.socket
    source: str
    network: str
    is_heard: bool = False  # it has said something behind the handshake


class _House:
    """All connections that there are, and what they share."""

    def __init__(
        self,
        door: socket.socket,
        contexts: Callable[[], ssl.SSLContext],
        desk: _Desk,
        limits: Limits,
        report: Callable[[str], None],
    ) -> None:
        self._door = door
        self._contexts = contexts
        self._desk = desk
        self._limits = limits
        self._report = report
        self._visits: dict[asyncio.Task[None], _Visit] = {}
        self._sources = Counter[str]()
        self._networks = Counter[str]()
        self._refusals = _Refusals(limits.refusals, limits.memory)

    async def receive_until(self, is_over: Callable[[], bool], idle: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda *_: None)  # it would print
        self._has_answered = asyncio.Event()
        self._last_visit = self._loop.time()
        self._door.settimeout(0)
        accepting = self._loop.create_task(self._accept())
        try:
            while not (self._desk.ask_aside(is_over) or self._is_idle(idle)):
                self._has_answered.clear()
                try:
                    async with asyncio.timeout(self._limits.question):
                        await self._has_answered.wait()
                except TimeoutError:
                    pass
        finally:
            accepting.cancel()
        for task, visit in self._visits.items():
            if not visit.is_heard:  # browsers open connections that they may want one day
                task.cancel()
        await asyncio.gather(accepting, *self._visits, return_exceptions=True)

    def _is_idle(self, idle: float | None) -> bool:
        is_alone = idle is not None and not self._visits
        return is_alone and self._loop.time() - self._last_visit >= (idle or 0)

    async def _accept(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._door)
            except OSError:  # the visitor has gone again, or we are out of descriptors
                await asyncio.sleep(_NO_ROOM)
                continue
            self._last_visit = self._loop.time()
            visit = _Visit(connection, *source_of(address[0]))
            if self._is_full(visit):
                connection.close()
            else:
                self._admit(visit)
            await asyncio.sleep(0)  # whoever comes without end must not keep us from the others

    def _is_full(self, visit: _Visit) -> bool:
        limits = self._limits
        return (
            len(self._visits) >= limits.connections
            or self._sources[visit.source] >= limits.connections_of_source
            or self._networks[visit.network] >= limits.connections_of_network
        )

    def _admit(self, visit: _Visit) -> None:
        visit.connection.settimeout(0)
        visit.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._receive(visit))
        self._visits[task] = visit
        self._sources[visit.source] += 1
        if visit.network:
            self._networks[visit.network] += 1
        task.add_done_callback(self._dismiss)

    def _dismiss(self, task: asyncio.Task[None]) -> None:
        visit = self._visits.pop(task)
        visit.connection.close()  # also of a task that was cancelled before it began
        _take_one(self._sources, visit.source)
        _take_one(self._networks, visit.network)
        self._last_visit = self._loop.time()

    async def _receive(self, visit: _Visit) -> None:
        try:
            async with asyncio.timeout(self._limits.connection):
                await self._converse(visit)
        except OSError:
            pass  # gone, out of time (which is an OSError too), or no TLS
        except Exception as mistake:  # noqa: BLE001 - one visitor must not end it for all
            self._report(as_error(mistake).what)

    async def _converse(self, visit: _Visit) -> None:
        limits = self._limits
        channel = Channel(visit.connection, self._contexts(), most=limits.received)
        try:
            async with asyncio.timeout(limits.handshake):
                await channel.shake_hands()
            wire = Wire(limits.head_size, channel.client_serial())
            reply = await self._reply(visit, channel, wire)
            if reply is None:
                return
            async with asyncio.timeout(limits.reply):
                await channel.send(wire.send(reply))
        except ssl.SSLError:
            pass  # they are told by the alert that `end` sends
        async with asyncio.timeout(limits.farewell):
            await channel.end()

    async def _reply(self, visit: _Visit, channel: Channel, wire: Wire) -> Reply | None:
        """What is to be sent; None where there is nobody to send it to."""
        if self._refusals.are_too_many(visit.source, self._loop.time()):
            return _TOO_MANY
        try:
            request = await self._request(visit, channel, wire)
        except RefusedRequest as refused:
            return refused.reply
        except TimeoutError:
            return _SLOW if visit.is_heard else None
        if request is None:
            return None
        came = self._loop.time()
        reply = await self._answer(request)
        if reply.is_refusal:
            self._refusals.note(visit.source, came)
            await asyncio.sleep(came + self._limits.refusal - self._loop.time())
        return reply

    async def _request(self, visit: _Visit, channel: Channel, wire: Wire) -> Request | None:
        """The one request, or None where the other side ends before it has."""
        start = self._loop.time()
        async with asyncio.timeout_at(start + self._limits.head) as deadline:
            while data := await channel.receive():
                visit.is_heard = True
                request = wire.receive(data)
                if request is not None:
                    return request
                if wire.has_head:
                    deadline.reschedule(start + self._limits.request)
                if wire.is_waiting:
                    await channel.send(wire.go_on())
        return None

    async def _answer(self, request: Request) -> Reply:
        if self._desk.is_full(self._limits.waiting):
            return _BUSY
        outcome = await self._desk.answer(request)
        self._has_answered.set()
        if isinstance(outcome, Exception):
            self._report(as_error(outcome).what)
            return _FAILED
        return outcome
