"""The world as a program of its own, for where the tests' process is not: in a container.

`python -m tests.world.alone DIRECTORY [ADDRESS]` starts Pebble, Cloudflare and DNS, and a place to
send messages to; writes where each is into DIRECTORY/world.json, and serves until it is ended. With
an address of this machine, DNS is also served there on port 53. It needs no library but
cryptography and dnspython.
"""

import json
import signal
import sys
from pathlib import Path

from tests.world import World
from tests.world.server import Handler, LoopbackServer
from tests.world.zones import NAME_SERVERS


class _Mailbox(Handler):
    """Keeps each message that is posted, a line of JSON each."""

    log: Path

    def respond(self, body: bytes) -> None:
        with self.log.open("ab") as stream:
            stream.write(json.dumps(json.loads(body)).encode() + b"\n")
        self.send(200, b"")


def main(directory: Path, address: str = "") -> None:
    """Starts everything in the directory, and serves until SIGTERM."""
    # Blocked before any thread is started, so that only the wait below sees it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    directory.mkdir(exist_ok=True)
    _Mailbox.log = directory / "messages"
    _Mailbox.log.touch()
    servers = {NAME_SERVERS[0]: address} if address else {}
    with (
        World(directory=directory, name_server_addresses=servers) as world,
        LoopbackServer(_Mailbox) as mailbox,
    ):
        site_root = directory / "site-root.pem"
        site_root.write_bytes(world.pebble.root())
        document = {
            "directory_url": world.directory_url,
            "ca_bundle": str(world.ca_bundle),
            "site_root": str(site_root),
            "api_base_url": world.api_base_url,
            "nameserver": world.nameserver,
            "token": world.token.secret,
            "zone_id": world.zones["example.org"].id,
            "pebble_log": str(world.pebble.log),
            "mailbox": f"json://127.0.0.1:{mailbox.port}",
            "messages": str(_Mailbox.log),
        }
        unfinished = directory / "world.json.new"
        unfinished.write_text(json.dumps(document))
        unfinished.rename(directory / "world.json")
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
