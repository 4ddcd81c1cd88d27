"""The scenarios of `test_port_53`, each in a process of its own with its own network and mounts.

Run as `unshare --net --mount python -m tests.zone.port_53 SCENARIO`; prints what came of it as
JSON. In there port 53 is ours, and /etc/resolv.conf names a resolver of ours.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from certwarden.clock import SystemClock
from certwarden.doctor.resolution import judge_port_53
from certwarden.model import TxtRecord
from certwarden.zone.propagation import DnsPropagation
from certwarden.zone.resolving import DnsSurvey
from tests.builders import a_txt_record
from tests.world.dns import DnsFault, DnsServer, DohServer
from tests.world.zones import NAME_SERVERS, Record, Zones
from tests.zone.test_propagation import CHALLENGE, ONE, TWO, LyingDnsServer

RESOLVER = "192.0.2.53"
SERVERS = ("192.0.2.1", "192.0.2.2", "2001:db8::1")
NOBODY = "2001:db8:dead::1"


def make_network() -> None:
    """Addresses for the servers on the loopback of this namespace, and its own resolv.conf."""
    _run("ip", "link", "set", "lo", "up")
    for address in (RESOLVER, *SERVERS):
        length = "/128" if ":" in address else "/32"
        _run("ip", "address", "add", address + length, "dev", "lo", "nodad")
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as file:
        file.write(f"nameserver {RESOLVER}\n")
    Path(file.name).chmod(0o644)
    _run("mount", "--bind", file.name, "/etc/resolv.conf")
    Path(file.name).unlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


class Scene:
    """A zone, its servers on port 53, a resolver, and DNS over HTTPS."""

    def __init__(self, stack: ExitStack, kind: type[DnsServer] = DnsServer) -> None:
        self.store = Zones()
        self.zone = self.store.add_zone("example.org")
        self.store.add_zone("world.test", hidden=True)
        first, second = NAME_SERVERS
        self.store.add("A", first, SERVERS[0])
        self.store.add("A", second, SERVERS[1])
        self.store.add("AAAA", second, SERVERS[2])
        self.own = [stack.enter_context(kind(self.store, address=a, port=53)) for a in SERVERS]
        self.resolver = stack.enter_context(DnsServer(self.store, address=RESOLVER, port=53))
        self.doh = stack.enter_context(DohServer(self.store))
        self.records = (a_txt_record(ONE), a_txt_record(TWO))

    def publish(self) -> None:
        """What `create` does."""
        with self.store.change(self.zone.id) as records:
            for wanted in self.records:
                made = Record(self.zone.id, "TXT", CHALLENGE, f'"{wanted.value}"', ttl=60)
                records[made.id] = made

    def look(self, *records: TxtRecord, timeout: float = 30) -> dict[str, object]:
        """What `DnsPropagation` says, and who was asked for the records."""
        propagation = DnsPropagation(
            clock=SystemClock(),
            timeout=timedelta(seconds=timeout),
            settle=timedelta(0),
            doh=[self.doh.url],
        )
        begun = time.monotonic()
        look = propagation.wait(records or self.records)
        seconds = time.monotonic() - begun
        return {
            "agreed": look.agreed,
            "detail": look.detail,
            "seconds": seconds,
            "asked": [_asked(server) for server in self.own],
            "resolver_asked": _asked(self.resolver),
            "doh_asked": _asked(self.doh),
        }


def _asked(server: DnsServer | DohServer) -> int:
    return sum(query.name == CHALLENGE for query in server.queries)


def honest(stack: ExitStack) -> dict[str, object]:
    """All is as it should be, after a short delay."""
    scene = Scene(stack)
    scene.store.propagation_delay = 0.3
    scene.publish()
    return scene.look()


def unnamed_zone(stack: ExitStack) -> dict[str, object]:
    """The zone was given by its id: its name is found by going up."""
    scene = Scene(stack)
    scene.publish()
    records = [
        replace(record, place=replace(record.place, zone_name="")) for record in scene.records
    ]
    return scene.look(*records)


def stale(stack: ExitStack) -> dict[str, object]:
    """One of the servers, at its IPv6 address, lags behind."""
    scene = Scene(stack)
    scene.own[2].inject(DnsFault("stale"))
    scene.publish()
    return scene.look(timeout=0.5)


def unreachable(stack: ExitStack) -> dict[str, object]:
    """A server has an IPv6 address to which there is no way."""
    scene = Scene(stack)
    scene.store.add("AAAA", NAME_SERVERS[0], NOBODY)
    scene.publish()
    return scene.look()


def swallowed(stack: ExitStack) -> dict[str, object]:
    """One address swallows whatever is sent to it."""
    scene = Scene(stack)
    scene.own[0].inject(DnsFault("drop"))
    scene.publish()
    return scene.look()


def lying(stack: ExitStack) -> dict[str, object]:
    """Port 53 is intercepted, and remembers that there was nothing."""
    scene = Scene(stack, LyingDnsServer)
    for server in scene.own:
        server.inject(DnsFault("stale", type="TXT"))
    scene.publish()
    return scene.look()


def no_resolver(stack: ExitStack) -> dict[str, object]:
    """The local resolver refuses everything; who serves the zone is learnt over HTTPS."""
    scene = Scene(stack)
    scene.resolver.inject(DnsFault("refused"))
    scene.publish()
    return scene.look()


def surveyed(stack: ExitStack) -> dict[str, object]:
    """The zone's own servers answer, but for one that is silent."""
    scene = Scene(stack)
    scene.own[2].inject(DnsFault("drop"))
    return _survey(scene)


def surveyed_lame(stack: ExitStack) -> dict[str, object]:
    """One of the servers was never told of the zone."""
    scene = Scene(stack)
    scene.own[1].inject(DnsFault("refused"))
    return _survey(scene)


def surveyed_lying(stack: ExitStack) -> dict[str, object]:
    """Port 53 is intercepted."""
    scene = Scene(stack)
    for server in scene.own:
        server.inject(DnsFault("intercepted"))
    return _survey(scene)


def _survey(scene: Scene) -> dict[str, object]:
    survey = DnsSurvey(clock=SystemClock(), nameservers=(), doh=[scene.doh.url])
    begun = time.monotonic()
    finding = judge_port_53("example.org", survey.own_servers("example.org"))
    survey.close()
    return {
        "result": finding.result,
        "what": finding.what,
        "seconds": time.monotonic() - begun,
        "asked": [_asked(server) for server in scene.own],
    }


SCENARIOS: dict[str, Callable[[ExitStack], dict[str, object]]] = {
    scenario.__name__: scenario
    for scenario in (
        *(honest, unnamed_zone, stale, unreachable, swallowed, lying, no_resolver),
        *(surveyed, surveyed_lame, surveyed_lying),
    )
}

if __name__ == "__main__":
    make_network()
    with ExitStack() as world:
        print(json.dumps(SCENARIOS[sys.argv[1]](world)))
