"""A real Chromium without a screen: what its person imports and sees, by its DevTools protocol.

Owns its home with the store of certificates (NSS), the policy that its machine has for it, and one
page. Whose certificates those are, and where it goes, is the caller's business. Every name leads
to loopback.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from tests.waiting import wait_until
from tests.world import tools
from tests.world.process import Child
from tests.world.tools import Missing

_START_TIMEOUT = 60.0
_PATIENCE = 60.0
_GONE = "Inspected target navigated or closed"
_DESKTOP = 768  # narrower screens are phones'
_OPTIONS = (
    "--headless",
    # Its own namespaces would be inside ours, where not every machine allows them.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--host-resolver-rules=MAP * 127.0.0.1",
    "--remote-debugging-port=0",
    "--window-size=1200,800",
)
# Chromium reads its policies in /etc only. There it finds them, and nobody else does.
_WITH_POLICY = 'mount -t overlay overlay -o "lowerdir=$1:/etc" /etc && shift && exec "$@"'


class Chromium:
    """A browser; what it shall trust and hold is put there before it is started."""

    def __init__(self, home: Path, policy: Mapping[str, Any] | None = None) -> None:
        """Keep everything in `home`; raises Missing where this machine can have no such browser."""
        self.home = home
        self._store = home / ".pki" / "nssdb"
        self._etc = home / "etc"
        managed = self._etc / "chromium" / "policies" / "managed"
        for each in (self._store, managed):
            each.mkdir(parents=True)
        (managed / "certwarden.json").write_text(json.dumps(policy or {}))
        self._program = tools.program("chromium")
        self._namespace = _namespace(self._etc)
        self._certificates("certutil", "-N", "--empty-password")
        self._open = ExitStack()
        self._connection: ClientConnection
        self._session = ""
        self._calls = 0
        self._events: list[dict[str, Any]] = []

    def trust(self, pem: bytes) -> None:
        """Have it take this root for a CA of servers."""
        path = self.home / "trusted.pem"
        path.write_bytes(pem)
        self._certificates("certutil", "-A", "-n", "trusted", "-t", "C,,", "-i", path)

    def import_p12(self, path: Path, password_file: Path) -> None:
        """Have it hold a client certificate with its key."""
        self._certificates("pk12util", "-i", path, "-w", password_file)

    def _certificates(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [tools.program(program), *arguments, "-d", f"sql:{self._store}"],
            check=True,
            capture_output=True,
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _start(self, stack: ExitStack) -> None:
        profile = self.home / "profile"
        told = profile / "DevToolsActivePort"
        child = Child(
            [*self._namespace, self._program, *_OPTIONS, f"--user-data-dir={profile}"],
            log=self.home / "chromium.log",
            environment={**_without_places(os.environ), "HOME": str(self.home)},
        )
        stack.callback(child.stop)
        child.wait_until(
            lambda: told.exists() and told.read_text().count("\n") == 1, timeout=_START_TIMEOUT
        )
        port, path = told.read_text().splitlines()
        self._connection = stack.enter_context(
            # It is killed in the end, and need not say good-bye: unread events keep it from that.
            connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None, close_timeout=0.1)
        )
        page = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    # ── what its person does and sees ─────────────────────────────────────────────────────────────

    def visit(self, url: str) -> str:
        """Go there, and wait until all is loaded; what went wrong, such as net::ERR_FAILED."""
        self._events.clear()
        error = str(self._call("Page.navigate", url=url).get("errorText", ""))
        deadline = time.monotonic() + _PATIENCE
        while not error and not self._seen("Page.loadEventFired"):
            self._receive(deadline)
        return error

    def resize(self, width: int, height: int) -> None:
        """Look at pages by a screen of that size, in CSS pixels; a narrow one is a phone's."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < _DESKTOP,
        )

    def pretend(self, user_agent: str, touch_points: int = 0) -> None:
        """Be another browser from the next visit on, by what it says of itself."""
        self._call("Emulation.setUserAgentOverride", userAgent=user_agent)
        self._call(
            "Emulation.setTouchEmulationEnabled",
            enabled=touch_points > 0,
            maxTouchPoints=max(touch_points, 1),
        )

    def keep_downloads(self, directory: Path) -> None:
        """Save what is downloaded there, under the names that the server gives it."""
        self._call(
            "Page.setDownloadBehavior", behavior="allow", downloadPath=str(directory.resolve())
        )

    def requests(self) -> list[str]:
        """The URLs that the page has asked for."""
        self.evaluate("0")  # takes in what has happened by now
        return [each["request"]["url"] for each in self._seen("Network.requestWillBeSent")]

    def failed_requests(self) -> list[str]:
        """What did not come: the status and URL of an answer, or why there was none."""
        self.evaluate("0")
        answers = [each["response"] for each in self._seen("Network.responseReceived")]
        refused = [f"{each['status']} {each['url']}" for each in answers if each["status"] >= 400]
        return refused + [each["errorText"] for each in self._seen("Network.loadingFailed")]

    def prefer(self, scheme: str) -> None:
        """Be set to `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def complaints(self) -> list[str]:
        """What was said on the console, by the page or about it, since the visit began."""
        self.evaluate("0")
        told = [each["entry"]["text"] for each in self._seen("Log.entryAdded")]
        said = self._seen("Runtime.exceptionThrown") + self._seen("Runtime.consoleAPICalled")
        return told + [str(each) for each in said]

    def evaluate(self, expression: str) -> Any:
        """What a JavaScript expression is in the page; None where it cannot be told."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def tap(self, name: str) -> None:
        """Tap the element with that id, as a person does: only they may copy, for example."""
        self._call(
            "Runtime.evaluate",
            expression=f"document.getElementById({name!r}).click()",
            userGesture=True,
        )

    def wait_for(self, expression: str) -> None:
        """Return once the expression is true in the page."""
        wait_until(lambda: self._is_true(expression), expression, timeout=_PATIENCE)

    def websockets(self) -> dict[str, int]:
        """The status that each websocket of the page was opened with, by its URL."""
        urls = {each["requestId"]: each["url"] for each in self._seen("Network.webSocketCreated")}
        answers = self._seen("Network.webSocketHandshakeResponseReceived")
        return {urls[each["requestId"]]: each["response"]["status"] for each in answers}

    def has_lost_websocket(self) -> bool:
        """Whether one of them was closed again."""
        self.evaluate("0")  # takes in what has happened by now
        return bool(self._seen("Network.webSocketClosed"))

    def screenshot(self, path: Path) -> None:
        """What the page looks like, as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _is_true(self, expression: str) -> bool:
        try:
            return self.evaluate(expression) is True
        except RuntimeError as error:  # another page has come while this one was asked
            if _GONE not in str(error):
                raise
            return False

    def _seen(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self._events if event["method"] == method]

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        deadline = time.monotonic() + _PATIENCE
        while (received := self._receive(deadline)).get("id") != self._calls:
            pass
        if "error" in received:
            what = f"{method}: {received['error']['message']}"
            raise RuntimeError(what)
        result: dict[str, Any] = received["result"]
        return result

    def _receive(self, deadline: float) -> dict[str, Any]:
        received: dict[str, Any] = json.loads(self._connection.recv(deadline - time.monotonic()))
        if "method" in received:
            self._events.append(received)
        return received


def _without_places(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what leads to somebody's own desktop."""
    names = ("XDG_", "DBUS_", "DISPLAY", "WAYLAND_")
    return {name: value for name, value in environment.items() if not name.startswith(names)}


def _namespace(etc: Path) -> list[str | Path]:
    """What runs a program so that it sees `etc` on top of /etc; raises Missing if nothing does."""
    unshare = shutil.which("unshare")
    if unshare is None:
        message = "The system package util-linux is missing, which has unshare."
        raise Missing(message)
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command: list[str | Path] = [unshare, *user, "--mount", "sh", "-c", _WITH_POLICY, "sh", etc]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        message = f"This machine lets nobody put a policy over /etc: {tried.stderr.strip()}"
        raise Missing(message)
    return command
