"""Who is seen in use: a real client at a real Node-RED, and what the command tells of it."""

import http.client
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.guarded import Door, guarded
from tests.waiting import wait_until
from tests.world import World
from tests.world.clients import Client

pytestmark = pytest.mark.xdist_group("client-auth")
NAME = "node-red-5-hot"


def told(door: Door) -> dict[str, str]:
    """What the module in Node-RED has written down."""
    reports = [*(door.live / "loaded").glob("*.json")]
    found: dict[str, str] = json.loads(reports[0].read_text())["clients"] if reports else {}
    return found


def visit(door: Door, client: Client) -> None:
    """Whatever Node-RED answers: the handshake is what counts."""
    with suppress(http.client.HTTPException):
        door.visitor(client).get()


def test_whoever_came_in_was_seen_and_nobody_else(world: World, tmp_path: Path) -> None:
    """A visit, a pass, `client list`: alice was here just now, and bob, who did not come, not."""
    with guarded(world, tmp_path, [NAME]) as row:
        row.issue("bob")
        door = row.doors[NAME]
        began = datetime.now(UTC).replace(microsecond=0)
        visit(door, row.people["alice"])
        wait_until(lambda: told(door), "the report of Node-RED's module")
        assert row.run("renew").code == 0
        alice, bob = row.run("client", "list", "--json").json()
        seen = datetime.fromisoformat(alice["seen_at"])
        assert timedelta() <= seen - began < timedelta(minutes=2)
        assert (bob["seen_at"], alice["usage"], bob["usage"]) == (None, None, None)
        assert "last seen" in row.run("client", "show", "alice").out
