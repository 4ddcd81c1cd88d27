"""Ten thousand requests that mean no good, and one that does, against a listener in a process."""

import contextlib
import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.enrolment.garbage import garbled
from tests.enrolment.opened import PATIENCE, Standing, get, heard, post, standing
from tests.waiting import wait_until
from tests.world.authority import TestAuthority

VISITS = 10_000
VISITORS = 4
T = TypeVar("T")

GROWTH = 20 * 1024  # KiB
# So short that nothing takes long, and so long that a request of good will gets through.
LIMITS = {"handshake": 1, "head": 1, "request": 2, "reply": 2, "farewell": 0.5, "question": 0.1}


class Watched:
    """A listener, and what is seen of its process against how it was after its first request."""

    def __init__(self, listener: Standing, trust: ssl.SSLContext) -> None:
        self.address = listener.address
        self.trust = trust
        self._process = listener.process
        self._place = Path(f"/proc/{listener.process.pid}")
        wait_until(self.serves)
        self._before = settled(self._count)
        self._memory_before = self._memory()

    def call(self, source: str) -> ssl.SSLSocket:
        return self.trust.wrap_socket(self.connect(source))

    def connect(self, source: str) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE, source_address=(source, 0))

    def serves(self) -> bool:
        """Whether a request of good will is answered, from an address that has done no harm."""
        try:
            with self.call("127.9.9.9") as line:
                line.sendall(get("/"))
                return heard(line).body == b"/"
        except OSError:
            return False

    def check(self) -> None:
        """It serves, has given everything back, and ends at once."""
        assert wait_until(self.serves)
        assert self._memory() - self._memory_before <= GROWTH
        assert wait_until(lambda: self._count() == self._before)
        output, errors = self._process.communicate(timeout=PATIENCE)
        assert output.splitlines()[-1].startswith("ended with 1 threads")
        assert "report" not in output
        assert errors == ""

    def _count(self) -> tuple[int, int]:
        """Descriptors and threads."""
        fd, task = ((self._place / name).iterdir() for name in ("fd", "task"))
        return sum(1 for _ in fd), sum(1 for _ in task)

    def _memory(self) -> int:
        status = (self._place / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


def settled(look: Callable[[], T]) -> T:
    """What is seen five times in a row."""
    seen: list[T] = []

    def is_settled() -> bool:
        seen.append(look())
        return len(seen) >= 5 and len({*map(repr, seen[-5:])}) == 1

    wait_until(is_settled)
    return seen[-1]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE  # whom they talk to is nothing that they care for
    with standing(TestAuthority(tmp_path), **LIMITS) as listener:
        yield Watched(listener, trust)


def hello() -> bytes:
    """The first that a client of TLS says."""
    said = ssl.MemoryBIO()
    context = ssl.create_default_context()
    line = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="house.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        line.do_handshake()
    return said.read()


HELLO = hello()


def noise(dice: random.Random) -> bytes:
    """What is no TLS, or begins like it."""
    match dice.randrange(4):
        case 0:
            return dice.randbytes(dice.randrange(3000))
        case 1:
            return garbled(dice)
        case 2:
            return HELLO[: dice.randrange(len(HELLO))]
        case _:
            data = bytearray(HELLO)
            for _ in range(dice.randrange(1, 5)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            return bytes(data)


def reset(line: socket.socket) -> None:
    """Has it end by a reset, without a word."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def visit(watched: Watched, seed: int) -> int:
    """Says something wrong, and leaves in some way; the status that it was told, or 0."""
    dice = random.Random(seed)
    source = f"127.0.{dice.randrange(8)}.{dice.randrange(1, 255)}"
    with contextlib.suppress(OSError):
        if dice.random() < 0.5:
            with watched.connect(source) as raw:
                raw.sendall(noise(dice))
                if dice.random() < 0.5:
                    reset(raw)
            return 0
        with watched.call(source) as line:
            data = garbled(dice)
            cut = dice.randrange(len(data) + 1)
            line.sendall(data[:cut])
            line.sendall(data[cut:])
            match dice.randrange(4):
                case 0:
                    reset(line)
                case 1:
                    line.shutdown(socket.SHUT_WR)
                case 2:
                    pass
                case _:
                    line.settimeout(0.05)
                    return int(line.recv(4096).split()[1])
    return 0


def test_ten_thousand_malformed_requests(watched: Watched) -> None:
    """TLS junk, plain HTTP, broken heads and chunks, early ends: it serves on as before."""
    with ThreadPoolExecutor(VISITORS) as visitors:
        told = Counter(visitors.map(lambda seed: visit(watched, seed), range(VISITS)))
    assert told[400] > VISITS / 20  # or nothing was tried at all
    assert not told[500]
    watched.check()


def test_thousand_connections_that_say_nothing(watched: Watched) -> None:
    """Opened from everywhere and left, with TLS or without: the last of them keeps nobody out."""
    with contextlib.ExitStack() as lines:
        for number in range(1_000):
            source = f"127.1.{number // 250}.{1 + number % 250}"
            with contextlib.suppress(OSError):
                connect = watched.call if number % 3 == 0 else watched.connect
                lines.enter_context(connect(source))
        assert wait_until(watched.serves)
    watched.check()


def test_slow_heads_from_everywhere(watched: Watched) -> None:
    """Whoever trickles a head into every place there is loses it, and nobody else does."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(watched.call(f"127.2.0.{1 + n}")) for n in range(32)]
        for line in lines:
            line.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        assert not watched.serves()

        def trickles_and_serves() -> bool:
            for line in lines:
                with contextlib.suppress(OSError):
                    line.sendall(b"y")
            return watched.serves()

        assert wait_until(trickles_and_serves)
    watched.check()


def test_slow_handshakes_from_everywhere(watched: Watched) -> None:
    """The same for a ClientHello, byte by byte."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(watched.connect(f"127.3.0.{1 + n}")) for n in range(32)]
        position = iter(range(len(HELLO)))

        def trickles_and_serves() -> bool:
            at = next(position)
            for line in lines:
                with contextlib.suppress(OSError):
                    line.sendall(HELLO[at : at + 1])
            return watched.serves()

        assert not trickles_and_serves()
        assert wait_until(trickles_and_serves)
    watched.check()


@pytest.mark.parametrize(
    "head",
    [
        post(b"").replace(b"Length: 0", b"Length: 100000000"),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5f5e100\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    ],
    ids=["length", "chunked", "head"],
)
def test_hundred_megabytes(watched: Watched, head: bytes) -> None:
    """A body or a head of that length is cut off near its beginning, from four at once."""
    piece = b"x" * 100_000

    def upload(_: int) -> int:
        sent = 0
        with contextlib.suppress(OSError), watched.call("127.4.0.1") as line:
            line.sendall(head)
            while sent < 100_000_000:
                line.sendall(piece)
                sent += len(piece)
        return sent

    with ThreadPoolExecutor(4) as visitors:
        assert max(visitors.map(upload, range(4))) < 20_000_000
    watched.check()
