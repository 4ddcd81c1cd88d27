"""identity.js: flows learn whose certificate was shown, and nothing else can tell them so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from cryptography import x509
from websockets.sync.client import ClientConnection, connect

from tests.waiting import wait_until
from tests.world import tools

from . import material
from .material import Live, Pair
from .programs import (
    HOT,
    IDENTITY,
    MODULES,
    NODE_REDS,
    POLL,
    connection,
    node,
    node_red,
    running,
    tls_context,
)

NODES = (18, 20, 22)
WHO = [
    {"id": "f", "type": "tab", "label": "who"},
    {"id": "i", "type": "http in", "z": "f", "url": "/who", "method": "get", "wires": [["w"]]},
    {
        "id": "w",
        "type": "function",
        "z": "f",
        "func": "msg.payload = { who: msg.req.certwarden ?? null }; return msg;",
        "outputs": 1,
        "wires": [["r"]],
    },
    {"id": "r", "type": "http response", "z": "f", "wires": []},
]
FORGED = {"certwarden": "mallory", "X-Forwarded-User": "mallory", "X-Client-Cn": "mallory"}


def who(port: int, client: Path | None = None, path: str = "/who") -> object:
    """What a flow, or a server, says who it is: asked with forged headers."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in FORGED.items())
    request = f"GET {path} HTTP/1.1\r\nHost: home.example.org\r\nConnection: close\r\n{headers}\r\n"
    received = b""
    with connection(port, client) as secure:
        secure.sendall(request.encode())
        while piece := secure.recv(65536):
            received += piece
    return json.loads(received.partition(b"\r\n\r\n")[2])["who"]


def as_told(pair: Pair, name: str, email: str | None = None) -> dict[str, str]:
    end = pair.certificate.not_valid_after_utc
    told = {
        "name": name,
        "serial": pair.serial.lower(),
        "notAfter": f"{end:%Y-%m-%dT%H:%M:%SZ}",
    }
    return told if email is None else {**told, "email": email}


@contextmanager
def server(place: Path, options: str, major: int) -> Iterator[int]:
    """A small https server that says who asks; `options` are those of its https, in JavaScript."""
    script = place / "who.js"
    script.write_text(
        f"""const identity = require({json.dumps(str(IDENTITY))});
        const hot = require({json.dumps(str(HOT))});
        const answer = (request, response) => identity(request, response, () =>
            response.end(JSON.stringify({{ who: request.certwarden ?? null }})));
        const server = require("https").createServer({options}, answer);
        server.listen(0, "127.0.0.1", () => console.log("port", server.address().port, "."));
        process.on("SIGINT", () => process.exit(0));"""
    )
    with running([node(major), script], place) as program:
        program.wait_for(" .")
        yield int(program.log.split("port ")[1].split()[0])


def hot_options(live: Live, *, client_auth: bool = True) -> str:
    asked = {"live": str(live.directory), "clientAuth": client_auth, "pollSeconds": POLL}
    return f"hot({json.dumps(asked)})"


@pytest.mark.parametrize("major", NODES)
def test_the_certificate_says_who_it_is(
    place: Path, live: Live, authority: Pair, major: int
) -> None:
    """Name, e-mail address, serial and end, whatever the headers claim."""
    alice = material.client("alice", authority, [x509.RFC822Name("alice@example.org")])
    bob = material.client("bob", authority, [x509.DNSName("bob.clients.home.arpa")])
    live.publish(live.files(material.server(), authority))
    with server(place, hot_options(live), major) as port:
        assert who(port, alice.write(place, "alice")) == as_told(
            alice, "alice", "alice@example.org"
        )
        assert who(port, bob.write(place, "bob")) == as_told(bob, "bob")


def test_nobody_is_named_where_nobody_was_asked(
    place: Path, live: Live, authority: Pair, alice: Pair
) -> None:
    """Without clientAuth a certificate is not verified, so it says nothing."""
    live.publish(live.files(material.server(), authority))
    with server(place, hot_options(live, client_auth=False), 20) as port:
        assert who(port, alice.write(place, "alice")) is None


def test_a_certificate_that_was_let_in_unverified_names_nobody(
    place: Path, authority: Pair, alice: Pair
) -> None:
    """A server of somebody's own may ask and not insist: only what was verified is believed."""
    pair, stranger = material.server(), material.client("alice", material.authority("Elsewhere"))
    options = json.dumps(
        {
            "key": pair.key_pem.decode(),
            "cert": pair.pem.decode(),
            "ca": authority.pem.decode(),
            "requestCert": True,
            "rejectUnauthorized": False,
        }
    )
    with server(place, options, 20) as port:
        assert who(port) is None
        assert who(port, stranger.write(place, "stranger")) is None
        assert who(port, alice.write(place, "alice")) == as_told(alice, "alice")


@pytest.mark.parametrize(
    "names",
    [
        [x509.DNSName("a, email:root@example.org, b")],
        [x509.RFC822Name("a@example.org"), x509.RFC822Name("b@example.org")],
    ],
    ids=["forged", "two"],
)
def test_an_address_that_is_not_plain_is_none(
    place: Path, live: Live, authority: Pair, *, names: list[x509.GeneralName]
) -> None:
    """No name of another kind is taken for an address, and of two nobody knows which."""
    alice = material.client("alice", authority, names)
    live.publish(live.files(material.server(), authority))
    with server(place, hot_options(live), 20) as port:
        assert who(port, alice.write(place, "alice")) == as_told(alice, "alice")


def test_a_proxy_in_front_is_not_the_client(place: Path) -> None:
    """Plain HTTP from a proxy: nothing is said, and no header is believed."""
    script = place / "plain.js"
    script.write_text(
        f"""const identity = require({json.dumps(str(IDENTITY))});
        const net = require("net");
        const say = (socket) => console.log(JSON.stringify([identity.clientOf(socket) ?? null]));
        say(undefined); say(null); say(new net.Socket());
        say({{ authorized: true, getPeerCertificate: () => ({{ subject: {{ CN: "mallory" }} }}) }});
        identity({{ headers: {{}} }}, {{}}, () => console.log("went on"));"""
    )
    done = subprocess.run([node(20), script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[null]"] * 4 + ["went on"]


@pytest.mark.world
@pytest.mark.parametrize(("version", "major"), NODE_REDS)
def test_a_flow_learns_the_name(
    *, place: Path, live: Live, authority: Pair, version: str, major: int
) -> None:
    """`msg.req.certwarden` at an http-in node of Node-RED itself."""
    alice = material.client("alice", authority, [x509.RFC822Name("alice@example.org")])
    (place / "flows.json").write_text(json.dumps(WHO))
    live.publish(live.files(material.server(), authority))
    asked = {"live": str(live.directory), "clientAuth": True, "pollSeconds": POLL}
    more = f"httpNodeMiddleware: require({json.dumps(str(IDENTITY))}),"
    with node_red(place, version, major, json.dumps(asked), more) as (program, port):
        wait_until(lambda: program.said("Started flows") or program.ended(), "the flows")
        assert who(port, alice.write(place, "alice")) == as_told(
            alice, "alice", "alice@example.org"
        )


# ── uibuilder and Dashboard 2 ─────────────────────────────────────────────────────────────────────

# What the nodes tell a flow is remembered, for an http-in node to say.
REMEMBER = "global.set('seen', [...(global.get('seen') ?? []), msg._client ?? null]);"
SEEN: list[dict[str, object]] = [
    {"id": "f", "type": "tab", "label": "seen"},
    {"id": "m", "type": "function", "z": "f", "func": REMEMBER, "outputs": 0, "wires": []},
    {"id": "i", "type": "http in", "z": "f", "url": "/seen", "method": "get", "wires": [["s"]]},
    {
        "id": "s",
        "type": "function",
        "z": "f",
        "func": "msg.payload = { who: global.get('seen') ?? [] }; return msg;",
        "outputs": 1,
        "wires": [["r"]],
    },
    {"id": "r", "type": "http response", "z": "f", "wires": []},
]
UIBUILDER: list[dict[str, object]] = [
    {
        "id": "u",
        "type": "uibuilder",
        "z": "f",
        "url": "house",
        "okToGo": True,
        "templateFolder": "blank",
        "sourceFolder": "src",
        "deployedVersion": tools.PALETTE["node-red-contrib-uibuilder"],
        "wires": [["m"], []],
    },
]
SIZES = {"pagePadding": "1px", "groupGap": "1px", "groupBorderRadius": "1px", "widgetGap": "1px"}
DASHBOARD: list[dict[str, object]] = [
    {"id": "d1", "type": "ui-base", "name": "d", "path": "/dashboard", "includeClientData": True},
    {"id": "t1", "type": "ui-theme", "name": "t", "colors": {}, "sizes": SIZES},
    {
        "id": "p1",
        "type": "ui-page",
        "name": "p",
        "ui": "d1",
        "path": "/page",
        "theme": "t1",
        "layout": "grid",
        "order": 1,
    },
    {"id": "g1", "type": "ui-group", "name": "g", "page": "p1", "width": 6, "order": 1},
    {"id": "b1", "type": "ui-button", "z": "f", "group": "g1", "label": "b", "wires": [["m"]]},
]
DASHBOARD_SOCKET = "/dashboard/socket.io"
EVERY_RED = pytest.mark.parametrize(("version", "major"), [("4.1", 20), ("5.0", 22)])


@contextmanager
def flows(
    place: Path, live: Live, nodes: list[dict[str, object]], version: str, major: int
) -> Iterator[int]:
    """A Node-RED with uibuilder and Dashboard 2, set up as the documentation says."""
    (place / "node_modules").symlink_to(tools.palette())
    (place / "package.json").write_text(json.dumps({"dependencies": tools.PALETTE}))
    (place / "flows.json").write_text(json.dumps([*SEEN, *nodes]))
    identity = json.dumps(str(IDENTITY))
    asked = {"live": str(live.directory), "clientAuth": True, "pollSeconds": POLL}
    more = f"""
        nodesDir: {json.dumps(str(MODULES))},
        uibuilder: {{ telemetryEnabled: false, hooks: require({identity}).uibuilder }},"""
    with node_red(place, version, major, json.dumps(asked), more) as (program, port):
        wait_until(lambda: program.said("Started flows") or program.ended(), "the flows")
        yield port


def socket_io(port: int, path: str, client: Path, session: str = "") -> ClientConnection:
    """A websocket of engine.io, opened with forged headers."""
    return connect(
        f"wss://localhost:{port}{path}/?EIO=4&transport=websocket{session}",
        ssl=tls_context(client),
        proxy=None,
        additional_headers=FORGED,
    )


def seen(port: int, client: Path) -> list[dict[str, object]]:
    found = who(port, client, "/seen")
    assert isinstance(found, list)
    return found


@pytest.mark.world
@EVERY_RED
def test_uibuilder_learns_the_name(
    *, place: Path, live: Live, authority: Pair, version: str, major: int
) -> None:
    """`msg._client` is by the certificate, not by what headers or the browser say."""
    alice = material.client("alice", authority, [x509.RFC822Name("alice@example.org")])
    client = alice.write(place, "alice")
    live.publish(live.files(material.server(), authority))
    with flows(place, live, UIBUILDER, version, major) as port:
        with socket_io(port, "/uibuilder/vendor/socket.io", client) as websocket:
            websocket.send('40/house,{"clientId": "c", "pageName": "index.html"}')
            message = {"payload": "hello", "_client": {"userId": "mallory"}}
            websocket.send(f'42/house,["uiBuilderClient",{json.dumps(message)}]')
            wait_until(lambda: seen(port, client), "the message")
        (told,) = seen(port, client)
    assert told["userId"] == told["name"] == "alice"
    assert told["email"] == "alice@example.org"
    assert told["provider"] == "certwarden"
    assert told["serial"] == alice.serial.lower()


@pytest.mark.world
@EVERY_RED
def test_dashboard_2_learns_the_name(
    *, place: Path, live: Live, authority: Pair, alice: Pair, version: str, major: int
) -> None:
    """`msg._client.certwarden` at a widget, by the certificate."""
    client = alice.write(place, "alice")
    live.publish(live.files(material.server(), authority))
    with flows(place, live, DASHBOARD, version, major) as port:
        # The dashboard refuses a websocket that was no plain request first.
        session = "&sid=" + json.loads(polled(port, client, "")[1:])["sid"]
        assert polled(port, client, session, "40") == "ok"
        polled(port, client, session)
        with socket_io(port, DASHBOARD_SOCKET, client, session) as websocket:
            websocket.send("2probe")
            assert websocket.recv(20) == "3probe"
            websocket.send("5")
            message = {"payload": "x", "_client": {"certwarden": {"name": "mallory"}}}
            websocket.send(f'42["widget-action","b1",{json.dumps(message)}]')
            wait_until(lambda: seen(port, client), "the message")
        (told,) = seen(port, client)
    assert told["certwarden"] == as_told(alice, "alice")


def polled(port: int, client: Path, session: str, body: str = "") -> str:
    """One plain request of engine.io's to the dashboard: a message to it, or for one from it."""
    channel = HTTPSConnection("localhost", port, timeout=20, context=tls_context(client))
    path = f"{DASHBOARD_SOCKET}/?EIO=4&transport=polling{session}"
    channel.request("POST" if body else "GET", path, body)
    answer = channel.getresponse()
    text = answer.read().decode()
    channel.close()
    assert answer.status == 200, text
    return text
