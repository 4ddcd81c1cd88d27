"""A threaded HTTP or HTTPS server on loopback that can be stopped, paused and asked for its errors.

Owns sockets, threads and TLS. What is answered is the business of those who build on it: the
Cloudflare emulator, DNS over HTTPS, and the fault proxy.
"""

import contextlib
import http.server
import socket
import socketserver
import ssl
import struct
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

# Far above anything a client of ours sends; a body beyond it is a fault of the client.
BODY_LIMIT = 8 * 1024 * 1024


def context_for(chain: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS with a certificate, its chain and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


class LoopbackServer(http.server.ThreadingHTTPServer):
    """Serves on loopback from a thread of its own, from `start` to `stop`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        handler: type["Handler"],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self._context = context
        self._running = threading.Event()
        self._running.set()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__((address, port), handler)
        self._thread = threading.Thread(
            target=self.serve_forever,
            kwargs={"poll_interval": 0.02},
            name=f"{type(self).__name__}:{self.port}",
            daemon=True,
        )

    def server_bind(self) -> None:
        """Bind without the look-up of the machine's name, which may hang where DNS is away."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def origin(self) -> str:
        """Scheme, address and port, as a URL begins."""
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://{self.server_name}:{self.port}"

    def start(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and close every connection."""
        self.stopping.set()
        self._running.set()
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pause(self) -> None:
        """Take no connection and answer nothing, as a machine that hangs, until `resume`."""
        self._running.clear()

    def resume(self) -> None:
        """Carry on after `pause`; what came meanwhile is answered now."""
        self._running.set()

    def wait_while_paused(self) -> None:
        """Return once the server is not paused."""
        self._running.wait()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, once not paused."""
        self.wait_while_paused()
        connection, client = super().get_request()
        self._track(connection)
        return connection, client

    def _track(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handle one connection, in its own thread; the TLS handshake belongs to it."""
        if self._context is None:
            super().finish_request(request, client_address)
            return
        self._forget(request)
        with self._context.wrap_socket(request, server_side=True) as secured:
            self._track(secured)
            try:
                super().finish_request(secured, client_address)
            finally:
                self._forget(secured)
                with contextlib.suppress(OSError):
                    secured.shutdown(socket.SHUT_WR)

    def _forget(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(connection)

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        self._forget(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Keep what went wrong in `errors`; a connection that ends is nothing wrong."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.errors.append(error)


class Handler(http.server.BaseHTTPRequestHandler, ABC):
    """Reads whole requests and hands each to `respond`, whatever its method."""

    protocol_version = "HTTP/1.1"
    server_version = "world"
    sys_version = ""
    # One write for head and body: two would wait for each other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    server: LoopbackServer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing on stderr: each server keeps a log of its own."""

    def _handle(self) -> None:
        self.server.wait_while_paused()
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            self.close_connection = True
            self.send(413, b"", {"Connection": "close"})
            return
        self.respond(self.rfile.read(int(length)))

    @abstractmethod
    def respond(self, body: bytes) -> None:
        """Answer the request."""

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole reply."""
        self.send_head(status, {**(headers or {}), "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send status line and headers; a `Date` among them replaces the true one."""
        self.send_response_only(status)
        names = {name.lower() for name in headers}
        if "date" not in names:
            self.send_header("Date", self.date_time_string())
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def stream(self, status: int, headers: Mapping[str, str], chunks: Iterable[bytes]) -> None:
        """Send a chunked reply, for as long as there are chunks and someone reads them."""
        self.close_connection = True
        self.send_head(status, {**headers, "Transfer-Encoding": "chunked", "Connection": "close"})
        for chunk in chunks:
            if self.server.stopping.is_set():
                return
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def hang_up(self, *, reset: bool = False) -> None:
        """End the connection with nothing more said; `reset` does it the hard way."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            if reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
