"""A real Node-RED starts, serves, is watched, and ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.authority import TestAuthority
from tests.world.nodered import Load, NodeRed, OpenWebsocket, settings

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=[("4.1", 18), ("5.0", 22)], ids=["4.1", "5.0"])
def node_red(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: TestAuthority,
) -> Iterator[NodeRed]:
    certificate, key = authority.issue("node-red")
    read = 'require("fs").readFileSync'
    text = settings(f'https: {{ key: {read}("{key}"), cert: {read}("{certificate}") }},')
    version, node = request.param
    with NodeRed(tmp_path_factory.mktemp("red"), text, version=version, node=node) as running:
        yield running
        assert running.alive()


def test_load_is_served_and_counted(node_red: NodeRed, authority: TestAuthority) -> None:
    """Kept and fresh connections get their answers, from the certificate that the settings name."""
    with Load(node_red.port, ca_bundle=authority.bundle) as load:
        assert load.wait_for(20)
    assert load.failures == {}
    assert len(load.served) == 1


def test_a_websocket_stays_open(node_red: NodeRed) -> None:
    """And answers, as long as nobody closes it."""
    with OpenWebsocket(node_red.port) as websocket:
        assert websocket.is_open()
        assert not websocket.wait_until_closed(0.05)


def test_failures_are_noticed(node_red: NodeRed, tmp_path: Path) -> None:
    """A load that trusts somebody else fails and says why."""
    stranger = TestAuthority(tmp_path)
    with Load(node_red.port, ca_bundle=stranger.bundle, kept=1, fresh=0) as load:
        assert not load.wait_for(1, timeout=0.2)
    assert any("CERTIFICATE_VERIFY_FAILED" in failure for failure in load.failures)


def test_a_restart_is_noticed(node_red: NodeRed) -> None:
    """The process is another, the websocket is cut, the port is the same."""
    before, port = node_red.pid, node_red.port
    with OpenWebsocket(port) as websocket:
        node_red.restart()
        assert websocket.wait_until_closed()
        assert not websocket.is_open()
    assert (before != node_red.pid, port) == (True, node_red.port)
