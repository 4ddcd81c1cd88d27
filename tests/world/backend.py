"""What stands behind a proxy in place of Node-RED: it shows what reached it.

Answers every request with the headers that it came with, as a JSON object of lower-case names, and
echoes on every websocket. Which of them a real uibuilder believes is not its business.
"""

import json
import threading
from typing import Self

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve


class Backend:
    """A plain HTTP server on loopback; there while the context is open."""

    def __init__(self) -> None:
        self._server: Server = serve(
            self._echo, "127.0.0.1", 0, process_request=self._answer, compression=None
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.socket.getsockname()[1])

    @staticmethod
    def _answer(_: ServerConnection, request: Request) -> Response | None:
        if "upgrade" in request.headers.get("Connection", "").lower():
            return None
        received = {name.lower(): value for name, value in request.headers.raw_items()}
        body = json.dumps(received).encode()
        headers = Headers(
            {"Content-Type": "application/json", "Content-Length": str(len(body))},
        )
        headers["Connection"] = "close"
        return Response(200, "OK", headers, body)

    @staticmethod
    def _echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
