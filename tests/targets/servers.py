"""Small real servers on loopback ports, well-behaved and otherwise, each in threads of its own."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from certwarden.model import Address, Pair
from tests.world.process import free_port

Handler = Callable[[socket.socket], None]


@contextmanager
def serving(handle: Handler, host: str = "127.0.0.1", port: int = 0) -> Iterator[Address]:
    """A server that hands each connection to `handle`; yields its address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        connections: list[socket.socket] = []

        def converse(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                handle(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    threading.Thread(target=converse, args=[connection], daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield Address(host, listener.getsockname()[1])
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def a_closed_port() -> Address:
    """An address at which nobody listens."""
    return Address("127.0.0.1", free_port())


def write_pair(pair: Pair, directory: Path) -> tuple[Path, Path]:
    """The pair's chain and key as files of their own."""
    chain, key = directory / "served-chain.pem", directory / "served-key.pem"
    chain.write_bytes(pair.fullchain_pem)
    key.write_bytes(pair.key_pem.reveal())
    return chain, key


def server_context(
    pair: Pair, directory: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """What serves the pair, in exactly this version of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # before a key that it forbids is loaded
    context.load_cert_chain(*write_pair(pair, directory))
    context.minimum_version = context.maximum_version = version
    return context


def tls(context: ssl.SSLContext) -> Handler:
    """Shakes hands and waits for the other side to close."""

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(1)

    return handle
