"""The TLS end of one connection: what the other side says in clear, and what it is told.

It works the engine of `ssl` over memory and knows no HTTP. asyncio's own TLS streams would keep
256 KiB for each connection, and would close without waiting until a reply has arrived.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from certwarden.pki.certificate import even_hex

RECORD = 16 * 1024  # bytes; what TLS puts into one record at the most (RFC 8446 section 5.1)
LEFTOVERS = 4 * 1024 * 1024  # bytes that are read and thrown away, so that our last words arrive

T = TypeVar("T")


class Channel:
    """A server's side of TLS on a non-blocking socket, which remains the caller's to close.

    `most` is how many bytes of ciphertext the other side may send before our reply. Everything
    raises OSError where the connection, or TLS on it, has failed. Deadlines are the caller's.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, *, most: int) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._left = most
        self._arriving, self._departing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arriving, self._departing, server_side=True)

    async def shake_hands(self) -> None:
        """Agrees on keys, and looks at the client's certificate where the context asks for one."""
        await self._work(self._tls.do_handshake)

    def client_serial(self) -> str | None:
        """That of the certificate which the client has shown, and the context's CAs vouch for."""
        certificate = self._tls.getpeercert()
        if not certificate:
            return None
        return even_hex(int(str(certificate["serialNumber"]), 16))

    async def receive(self) -> bytes:
        """Some bytes, as soon as there are any; none when the other side has ended."""
        try:
            return await self._work(lambda: self._tls.read(RECORD))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def send(self, data: bytes) -> None:
        """Returns when the kernel has all of it."""
        rest = memoryview(data)
        while rest:
            written = await self._work(lambda: self._tls.write(rest))  # noqa: B023 - called at once
            rest = rest[written:]

    async def end(self) -> None:
        """Says good-bye, or why TLS failed, and waits until the other side has hung up.

        A socket that is closed with something unread in it is reset, and a reset takes what is
        still under way to the other side with it.
        """
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the other side's good-bye is not here yet, or there was no handshake
        await self._flush()
        self._socket.shutdown(socket.SHUT_WR)
        unwanted = bytearray(RECORD)
        left = LEFTOVERS
        while left > 0 and (count := await self._loop.sock_recv_into(self._socket, unwanted)):
            left -= count

    async def _work(self, act: Callable[[], T]) -> T:
        """Has the engine do something, and lends it the network for as long as that takes."""
        while True:
            try:
                result = act()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                await self._flush()
                return result

    async def _fill(self) -> None:
        data = await self._loop.sock_recv(self._socket, RECORD)
        self._left -= len(data)
        if self._left < 0:
            raise ConnectionAbortedError("the other side has sent more than anybody needs to")
        if data:
            self._arriving.write(data)
        else:
            self._arriving.write_eof()

    async def _flush(self) -> None:
        if self._departing.pending:
            await self._loop.sock_sendall(self._socket, self._departing.read())
