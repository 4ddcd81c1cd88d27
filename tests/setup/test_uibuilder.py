"""The snippet for uibuilder, in a real uibuilder inside a real Node-RED."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certwarden.setup.uibuilder import uibuilder_snippet
from tests.setup.published import Published
from tests.waiting import wait_until
from tests.world import tools
from tests.world.nodered import NodeRed, settings

# Its server is made when the first of its nodes is.
FLOW = [
    {"id": "tab", "type": "tab", "label": "test"},
    {"id": "app", "type": "uibuilder", "z": "tab", "url": "app", "wires": [[], []]},
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(published: Published, directory: Path, stack: ExitStack) -> NodeRed:
    directory.mkdir()
    (directory / "node_modules").symlink_to(tools.palette())
    (directory / "flows.json").write_text(json.dumps(FLOW))
    text = uibuilder_snippet(published.certificate, published.target)
    text = text.replace("port: 3001,", f"port: {published.port}, telemetryEnabled: false,")
    text = text.replace("clientAuth: true }", "clientAuth: true, pollSeconds: 0.2 }")
    return stack.enter_context(NodeRed(directory, settings(text), https=False))


@pytest.mark.world
def test_its_own_server_asks_for_certificates(tmp_path: Path, stack: ExitStack) -> None:
    """Node-RED's is plain here; uibuilder's has the target's certificate, its CA and its list."""
    published = Published(tmp_path / "world", "node-red")
    start(published, tmp_path / "user", stack)
    alice = published.visitor(published.alice)
    wait_until(lambda: not alice.is_refused(), "uibuilder's server")
    assert published.visitor().is_refused()
    assert published.visitor(published.foreign.issue("alice")).is_refused()

    bob = published.visitor(published.bob)
    assert not bob.is_refused()
    published.revoke(published.bob)
    wait_until(bob.is_refused, "the refusal of bob")
    assert not alice.is_refused()


def test_without_client_auth_none_is_asked_for(tmp_path: Path) -> None:
    """Only the certificate is the target's."""
    published = Published(tmp_path, "node-red", client_auth=False)
    text = uibuilder_snippet(published.certificate, published.target)
    assert f'({{ live: "{tmp_path}/live" }}),' in text
    assert "identity.js" not in text
