"""A real Node-RED, and clients that notice when it drops anything.

Owns starting and ending Node-RED with given settings, keeping requests going against it, and
holding a websocket of its editor open. What the settings say is the caller's business.
"""

import asyncio
import hashlib
import http.client
import os
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.world import tools
from tests.world.process import Child, DidNotStart, free_port

_START_TIMEOUT = 60.0
Result = TypeVar("Result")

# No flows, no telemetry, nothing asked of the network; `%s` is where HTTPS would be said.
SETTINGS = """module.exports = {
    flowFile: "flows.json",
    credentialSecret: false,
    telemetry: { enabled: false, updateNotification: false },
    editorTheme: { tours: false, palette: { catalogues: [] } },
    logging: { console: { level: "info", metrics: false, audit: false } },
    %s
};
"""


def settings(https: str = "") -> str:
    """The text of a settings.js; `https` is JavaScript such as `https: { key: …, cert: … },`."""
    return SETTINGS % https


class NodeRed:
    """A running Node-RED; a context manager that starts and ends it."""

    def __init__(
        self,
        directory: Path,
        settings_text: str,
        *,
        version: str = "4.1",
        node: Path | int = 20,
        port: int = 0,
        https: bool = True,
        red: Path | None = None,
    ) -> None:
        """Keep user directory, settings.js and log in `directory`.

        `node` is a program, or a major version for `tools.node`; `https` says what the settings
        make it speak.
        """
        self.user_directory = directory
        self.settings = directory / "settings.js"
        self.log = directory / "node-red.log"
        self.scheme = "https" if https else "http"
        self.port = port
        self._fixed_port = port
        self._settings_text = settings_text
        self._node = tools.node(node) if isinstance(node, int) else node
        self._red = red or tools.node_red(version)
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it and return once it accepts connections."""
        self.user_directory.mkdir(parents=True, exist_ok=True)
        self.settings.write_text(self._settings_text)
        for attempt in range(3):
            self.port = self._fixed_port or free_port()
            try:
                self._start()
            except DidNotStart as error:
                # A free port may be taken between choosing and binding it.
                if self._fixed_port or attempt == 2 or "port in use" not in str(error):
                    raise
            else:
                break
        return self

    def _start(self) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NODE_", "NODE-", "npm_", "PORT"))
        }
        environment["HOME"] = str(self.user_directory)
        command: list[str | Path] = [self._node, self._red, "--port", str(self.port)]
        self._child = Child(
            [*command, "--userDir", self.user_directory, "--settings", self.settings],
            log=self.log,
            environment=environment,
            directory=self.user_directory,
        )
        self._child.wait_until(self._accepts, timeout=_START_TIMEOUT)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        except OSError:
            return False
        return True

    @property
    def _running(self) -> Child:
        if self._child is None:
            message = "Node-RED is not running"
            raise RuntimeError(message)
        return self._child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    @property
    def address(self) -> str:
        """For `probe`: address and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its editor."""
        return f"{self.scheme}://{self.address}/"

    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        return self._child is not None and self._child.alive()

    def log_text(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        self._running.signal(number)

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.stop(gently=True, timeout=3)
            self._child = None

    def restart(self) -> None:
        """End it and start it again on the same port, with the settings.js as it now is."""
        self.stop()
        self._settings_text = self.settings.read_text()
        self._fixed_port = self.port
        self.start()


def _context(ca_bundle: Path | None) -> ssl.SSLContext:
    if ca_bundle is not None:
        return ssl.create_default_context(cafile=str(ca_bundle))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Load:
    """Keeps requests going from threads while it is open, and counts what fails.

    Half of the threads hold their connection (keep-alive), half make a fresh one for each request.
    """

    def __init__(
        self,
        port: int,
        *,
        server_name: str = "localhost",
        ca_bundle: Path | None = None,
        path: str = "/",
        kept: int = 2,
        fresh: int = 2,
        pause: float = 0.005,
    ) -> None:
        self._port = port
        self._server_name = server_name
        self._path = path
        self._tls = _context(ca_bundle)
        self._pause = pause
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._succeeded = 0
        self._failures: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in [self._keep_one] * kept + [self._make_each] * fresh
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def succeeded(self) -> int:
        """How many requests got their answer."""
        with self._changed:
            return self._succeeded

    @property
    def failures(self) -> dict[str, int]:
        """What went wrong, and how often; empty is what is hoped for."""
        with self._changed:
            return dict(self._failures)

    @property
    def served(self) -> list[str]:
        """SHA-256 fingerprints of the certificates met, in the order they were first met."""
        with self._changed:
            return list(self._served)

    def wait_for(self, more: int, timeout: float = 30.0) -> bool:
        """Return once `more` requests were answered from now on; False if they do not come."""
        with self._changed:
            goal = self._succeeded + more
            return self._changed.wait_for(lambda: self._succeeded >= goal, timeout)

    def wait_for_certificate(self, fingerprint: str, timeout: float = 30.0) -> bool:
        """Return once this certificate was met; False if it is not."""
        with self._changed:
            return self._changed.wait_for(lambda: fingerprint in self._served, timeout)

    def _connect(self) -> http.client.HTTPConnection:
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            secured = self._tls.wrap_socket(plain, server_hostname=self._server_name)
        except BaseException:
            plain.close()
            raise
        connection.sock = secured
        certificate = secured.getpeercert(binary_form=True) or b""
        fingerprint = hashlib.sha256(certificate).hexdigest()
        with self._changed:
            self._served[fingerprint] = self._served.get(fingerprint, 0) + 1
            self._changed.notify_all()
        return connection

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", self._path, headers={"Host": self._server_name})
        reply = connection.getresponse()
        reply.read()
        with self._changed:
            if reply.status < 500:
                self._succeeded += 1
            else:
                self._failures[f"status {reply.status}"] += 1
            self._changed.notify_all()

    def _note(self, error: Exception) -> None:
        with self._changed:
            self._failures[f"{type(error).__name__}: {error}"] += 1
            self._changed.notify_all()

    def _make_each(self) -> None:
        while not self._stop.wait(self._pause):
            connection = None
            try:
                connection = self._connect()
                self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self._note(error)
            finally:
                if connection is not None:
                    connection.close()

    def _keep_one(self) -> None:
        connection = None
        while not self._stop.wait(self._pause):
            try:
                connection = connection or self._connect()
                self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self._note(error)
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()


class OpenWebsocket:
    """Holds the editor's websocket open, as a browser does that is left on a dashboard.

    It lives in an event loop on a thread of its own. The threaded client of the library reads and
    writes one TLS connection from two threads, which Python up to 3.12 does not guard: now and then
    a request was never sent, and its answer awaited in vain.
    """

    def __init__(
        self,
        port: int,
        *,
        path: str = "/comms",
        server_name: str = "localhost",
        ca_bundle: Path | None = None,
        client_certificate: tuple[Path, Path] | None = None,
    ) -> None:
        context = _context(ca_bundle)
        if client_certificate is not None:
            context.load_cert_chain(*client_certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: ClientConnection | None = None
        try:
            self._connection = self._run(
                _connect(f"wss://127.0.0.1:{port}{path}", context, server_name)
            )
        except BaseException:
            self.close()
            raise

    def is_open(self, timeout: float = 5.0) -> bool:
        """Whether the other end still answers on this very connection."""
        assert self._connection is not None
        try:
            self._run(_answered(self._connection, timeout))
        except (WebSocketException, OSError):
            return False
        return True

    def wait_until_closed(self, timeout: float = 30.0) -> bool:
        """Whether the other end closes the connection within this time."""
        assert self._connection is not None
        try:
            self._run(asyncio.wait_for(self._connection.wait_closed(), timeout))
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._run(self._connection.close())
            self._connection = None
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Coroutine[None, None, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _connect(url: str, context: ssl.SSLContext, server_name: str) -> ClientConnection:
    return await connect(
        url,
        ssl=context,
        server_hostname=server_name,
        proxy=None,
        # No limit of unread messages: nobody reads, and pongs must not wait behind them.
        max_queue=None,
        open_timeout=30,
    )


async def _answered(connection: ClientConnection, timeout: float) -> None:  # noqa: ASYNC109 - seconds
    await asyncio.wait_for(await connection.ping(), timeout)
