"""A person's browser: a real Chromium with a client certificate at a real Node-RED's editor."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.waiting import wait_until
from tests.world.chromium import Chromium
from tests.world.house import TARGET, House
from tests.world.nodered import NodeRed, settings
from tests.world.process import free_port
from tests.world.tools import Missing

Bundle: TypeAlias = tuple[Path, Path]  # with the file of its password

CLIENT_AUTH = """
  client_auth = true

[authority]
name = "Home client CA"
passphrase_file = "ca.passphrase"

[clock]
trust = "always"
"""
# Without a star and with one: Chromium's patterns for the two differ.
DOMAINS = ("example.org", "*.home.example.org")
# GET /who answers with the name in the client's certificate, as a flow sees it.
FLOWS = """[
{"id": "tab", "type": "tab", "label": "Who is it?"},
{"id": "in", "z": "tab", "x": 150, "y": 100, "wires": [["name"]], "type": "http in",
 "url": "/who", "method": "get"},
{"id": "name", "z": "tab", "x": 350, "y": 100, "wires": [["out"]], "type": "function",
 "name": "its name", "func": "msg.payload = msg.req.certwarden.name; return msg;", "outputs": 1},
{"id": "out", "z": "tab", "x": 550, "y": 100, "wires": [], "type": "http response"}
]"""
# Its nodes are drawn, and nothing is drawn over them any more.
EDITOR = """
document.querySelectorAll("#red-ui-workspace-chart .red-ui-flow-node-group").length === 3
    && document.querySelector("#red-ui-loading-progress").offsetParent === null
"""
REFUSALS = (
    "net::ERR_BAD_SSL_CLIENT_AUTH_CERT",
    "net::ERR_CONNECTION_CLOSED",
    "net::ERR_CONNECTION_RESET",
    "net::ERR_EMPTY_RESPONSE",
    "net::ERR_SOCKET_NOT_CONNECTED",
    "net::ERR_SSL_PROTOCOL_ERROR",
)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What a test opens is closed with it."""
    with ExitStack() as stack:
        yield stack


def a_node_red(house: House, opened: ExitStack, directory: Path) -> NodeRed:
    """Serves its editor and /who, only to those who have a certificate."""
    port = free_port()
    house.domains = DOMAINS
    house.targets = TARGET.format(port=port, timeout="20s") + CLIENT_AUTH
    house.write_config()
    must(house, "ca", "init")
    printed = must(house, "snippet", "node-red").splitlines()
    lines = [line for line in printed if line.startswith(("https:", "httpNodeMiddleware:"))]
    directory.mkdir()
    (directory / "flows.json").write_text(FLOWS)
    node_red = opened.enter_context(NodeRed(directory, settings("\n    ".join(lines)), port=port))
    must(house, "renew")
    return node_red


def a_chromium(
    house: House, opened: ExitStack, home: Path, holding: Sequence[Bundle], policy: dict[str, Any]
) -> Chromium:
    """A browser that trusts the house's server, with bundles and the files of their passwords."""
    try:
        chromium = Chromium(home, policy)
    except Missing as missing:
        pytest.skip(str(missing))
    chromium.trust(house.world.pebble.root())
    for bundle, password_file in holding:
        chromium.import_p12(bundle, password_file)
    return opened.enter_context(chromium)


def must(house: House, *arguments: str) -> str:
    """What a command prints that is to succeed."""
    run = house.run(*arguments)
    assert run.code == 0, run.err
    return run.out


def issued(house: House, name: str) -> Bundle:
    """A new client certificate, and the file with its password."""
    bundle, password = house.directory / f"{name}.p12", house.directory / f"{name}.password"
    must(house, "client", "issue", name, f"--out={bundle}", f"--password-file={password}")
    return bundle, password


def test_a_browser_gets_in_until_it_is_revoked(
    house: House, opened: ExitStack, tmp_path: Path
) -> None:
    """The policy chooses between two certificates; editor and websocket work, and then nothing."""
    node_red = a_node_red(house, opened, tmp_path / "node-red")
    holding = [issued(house, name) for name in ("bob", "alice")]
    policy = house.run("client", "show", "alice", "--json").json()["chrome_policy"]
    chromium = a_chromium(house, opened, tmp_path / "home", holding, policy)
    place = f"red.home.example.org:{node_red.port}"

    assert chromium.visit(f"https://example.org:{node_red.port}/who") == ""
    assert chromium.evaluate("document.body.innerText") == "alice"
    assert chromium.visit(f"https://{place}/") == ""
    chromium.wait_for(EDITOR)
    assert chromium.websockets() == {f"wss://{place}/comms": 101}
    chromium.screenshot(tmp_path / "editor.png")
    assert not chromium.has_lost_websocket()

    must(house, "client", "revoke", "alice")
    wait_until(chromium.has_lost_websocket)
    assert chromium.visit(f"https://{place}/") in REFUSALS
    assert not chromium.evaluate(EDITOR)
    chromium.screenshot(tmp_path / "refused.png")
