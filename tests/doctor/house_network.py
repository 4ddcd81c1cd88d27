"""The scenes of `test_house_network`, in a process with its own network and mounts.

Run as `unshare --net --mount python -m tests.doctor.house_network`; prints each one's findings as
JSON. In there port 53 is ours, /etc/resolv.conf names a dnsmasq of ours, and this machine has an
address in the house.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from certwarden.clock import SystemClock
from certwarden.config import Config
from certwarden.doctor.finding import Finding
from certwarden.doctor.hairpin import hairpin
from certwarden.doctor.host_names import look_at_names
from certwarden.doctor.patient import Patient
from certwarden.model import Address, Observed, ObservedTarget, TargetSpec
from certwarden.targets.probe import TlsProbe
from certwarden.wiring import Warden
from certwarden.zone.addresses import HostAddresses
from tests.builders import NOW, a_certificate_spec, a_pair, a_stored, a_target_spec
from tests.targets.servers import server_context, serving, tls
from tests.world import tools
from tests.world.dns import DnsServer
from tests.world.process import Child
from tests.world.zones import Zones

HOST = "example.org"
AT_HOME, AT_HOME_V6 = "192.168.77.10", "fd77::10"
OUTSIDE, OUTSIDE_V6 = "203.0.113.5", "2001:db8:5::5"
RESOLVER, UPSTREAM = "192.0.2.53", "192.0.2.54"
PORT = 18443
OVERRIDE = f"host-record={HOST},{AT_HOME}"


def make_network() -> None:
    """Addresses on the loopback of this namespace, and its own resolv.conf."""
    _run("ip", "link", "set", "lo", "up")
    for address in (AT_HOME, RESOLVER, UPSTREAM):
        _run("ip", "address", "add", f"{address}/32", "dev", "lo")
    _run("ip", "address", "add", f"{AT_HOME_V6}/128", "dev", "lo", "nodad")
    _run("ip", "route", "add", "unreachable", "default")
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as file:
        file.write(f"nameserver {RESOLVER}\n")
    Path(file.name).chmod(0o644)
    _run("mount", "--bind", file.name, "/etc/resolv.conf")
    Path(file.name).unlink()


def _for_now(stack: ExitStack, kind: str, *what: str) -> None:
    """There until the scene ends."""
    _run("ip", kind, "add", *what)
    stack.callback(_run, "ip", kind, "delete", *what)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


class Scene:
    """A zone with these addresses of the host, a target, and the house's resolver before both."""

    def __init__(
        self,
        stack: ExitStack,
        *addresses: str,
        dnsmasq: Iterable[str] = (),
        listen: str = "0.0.0.0",
    ) -> None:
        self._stack = stack
        self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        zones = Zones()
        zones.add_zone(HOST)
        for address in addresses:
            zones.add("AAAA" if ":" in address else "A", HOST, address)
        stack.enter_context(DnsServer(zones, address=UPSTREAM, port=53))
        self._start_dnsmasq(dnsmasq)
        self._stored = a_stored(domains=(HOST,))
        self.serve(listen, PORT)

    def serve(self, host: str, port: int, *names: str) -> None:
        """A TLS server there: the target, or a stranger with a certificate for these names."""
        pair = a_pair(names) if names else self._stored.pair
        handle = tls(server_context(pair, self._directory))
        self._stack.enter_context(serving(handle, host, port))

    def findings(self, *others: TargetSpec) -> list[Finding]:
        """What the two checks say."""
        probe = Address("127.0.0.1", PORT)
        target = replace(a_target_spec("front"), probe=probe, probe_name=HOST)
        spec = a_certificate_spec(domains=(HOST,), targets=(target, *others))
        looks = HostAddresses(clock=SystemClock(), nameservers=[Address(UPSTREAM, 53)])
        seen = TlsProbe(probe, HOST).look()
        targets = (ObservedTarget(target, None, seen, None),)
        patient = Patient(
            config=cast("Config", SimpleNamespace(certificates=(spec,))),
            warden=cast("Warden", SimpleNamespace(host_addresses=lambda: looks)),
            now=NOW,
            observed=(Observed(spec, self._stored, None, targets),),
            authority=None,
        )
        return [*look_at_names(patient), *hairpin(patient)]

    def _start_dnsmasq(self, lines: Iterable[str]) -> None:
        config = self._directory / "dnsmasq.conf"
        own = ("keep-in-foreground", "log-facility=-", "no-resolv", "no-hosts", "bind-interfaces")
        where = (f"listen-address={RESOLVER}", "except-interface=none", f"server={UPSTREAM}")
        config.write_text("\n".join((*own, *where, "user=", *lines)) + "\n")
        command: list[str | Path] = [tools.program("dnsmasq"), "-C", config, "--pid-file="]
        child = self._stack.enter_context(Child(command, log=self._directory / "dnsmasq.log"))
        child.wait_until(_resolver_answers, timeout=20)


def _resolver_answers() -> bool:
    import dns.exception
    import dns.message
    import dns.query

    try:
        dns.query.udp(dns.message.make_query(HOST, "SOA"), RESOLVER, timeout=1)
    except (OSError, dns.exception.DNSException):
        return False
    return True


def healthy(stack: ExitStack) -> list[Finding]:
    """Outside the name leads to the router, at home straight to the machine, by both families."""
    override = f"host-record={HOST},{AT_HOME},{AT_HOME_V6}"
    scene = Scene(stack, OUTSIDE, OUTSIDE_V6, dnsmasq=[override, "stop-dns-rebind"])
    scene.serve("::", PORT)
    return scene.findings()


def public_address_at_home(stack: ExitStack) -> list[Finding]:
    """The public record has the address at home, and the resolver makes an exception."""
    rebind = ["stop-dns-rebind", f"rebind-domain-ok=/{HOST}/"]
    return Scene(stack, AT_HOME, dnsmasq=rebind).findings()


def hairpin_works(stack: ExitStack) -> list[Finding]:
    """The router turns its own outside address back into the house."""
    _for_now(stack, "address", f"{OUTSIDE}/32", "dev", "lo")
    return Scene(stack, OUTSIDE).findings()


def rebind_protection(stack: ExitStack) -> list[Finding]:
    """The public record has the address at home, and the resolver drops it."""
    return Scene(stack, AT_HOME, dnsmasq=["stop-dns-rebind"]).findings()


def no_hairpin(stack: ExitStack) -> list[Finding]:
    """Nobody answers at the outside address from in here."""
    return Scene(stack, OUTSIDE).findings()


def routers_page(stack: ExitStack) -> list[Finding]:
    """The router answers at its outside address itself."""
    _for_now(stack, "route", "local", "203.0.113.0/24", "dev", "lo")  # and it is none of ours
    scene = Scene(stack, OUTSIDE, listen=AT_HOME)
    scene.serve("127.0.0.1", PORT)
    scene.serve(OUTSIDE, 443, "router.box")
    return scene.findings()


def forgotten_ipv6(stack: ExitStack) -> list[Finding]:
    """Only the IPv4 address is overridden at home."""
    return Scene(stack, OUTSIDE, OUTSIDE_V6, dnsmasq=[OVERRIDE]).findings()


def loopback_only(stack: ExitStack) -> list[Finding]:
    """Node-RED's uiHost is 127.0.0.1, and there is no proxy."""
    return Scene(stack, AT_HOME, listen="127.0.0.1").findings()


def behind_proxy(stack: ExitStack) -> list[Finding]:
    """Node-RED's uiHost is 127.0.0.1, and nginx stands in front."""
    scene = Scene(stack, AT_HOME, listen="127.0.0.1")
    scene.serve(AT_HOME, 443)
    return scene.findings(replace(a_target_spec("nginx", kind="nginx"), probe_name=HOST))


def unknown_everywhere(stack: ExitStack) -> list[Finding]:
    """There is no address record; people use hosts files."""
    return Scene(stack).findings()


SCENES: dict[str, Callable[[ExitStack], list[Finding]]] = {
    scene.__name__: scene
    for scene in (
        *(healthy, public_address_at_home, hairpin_works, rebind_protection, no_hairpin),
        *(routers_page, forgotten_ipv6, loopback_only, behind_proxy, unknown_everywhere),
    )
}

if __name__ == "__main__":
    make_network()
    played = {}
    for name, play in SCENES.items():
        with ExitStack() as house:
            found = play(house)
        played[name] = [(each.result.value, each.subject, each.what, each.remedy) for each in found]
    print(json.dumps(played))
