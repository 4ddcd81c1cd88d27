"""Whether a target is reached from inside the house: on this machine, at its address, by its name.

Owns the comparison of these ways by the leaf that is served at the end of each. A router that
cannot turn its own outside address back inwards (hairpin NAT) answers with nothing, or with a page
and a certificate of its own.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from certwarden.doctor.finding import Finding, ok, skipped, warning
from certwarden.doctor.host_names import host_of, is_at_home
from certwarden.doctor.patient import Look, Patient
from certwarden.errors import clean
from certwarden.model import Address, Observed, Seen, Served, TargetSpec, covers
from certwarden.targets.ways import Way, look_along, own_addresses

HTTPS = 443  # what people type; a router hands it on to whatever port the target listens at
MOST_NAMED = 4

_PROXIES = frozenset({"nginx", "haproxy"})
# Whoever asks for a proxied record is led to Cloudflare: https://www.cloudflare.com/ips/
_CLOUDFLARE = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "104.16.0.0/13", "104.24.0.0/14"),
        *("108.162.192.0/18", "131.0.72.0/22", "141.101.64.0/18", "162.158.0.0/15"),
        *("172.64.0.0/13", "173.245.48.0/20", "188.114.96.0/20", "190.93.240.0/20"),
        *("197.234.240.0/22", "198.41.128.0/17"),
        *("2400:cb00::/32", "2405:8100::/32", "2405:b500::/32", "2606:4700::/32", "2803:f800::/32"),
        *("2a06:98c0::/29", "2c0f:f248::/32"),
    )
)


@dataclass(frozen=True)
class Paths:
    """One target along all its ways; `own` are by this machine's addresses, `named` by its name's.

    `leaves` are the fingerprints of all that the house serves. `has_proxy`: another target of the
    house may hand requests on to this one.
    """

    target: TargetSpec
    host: str
    leaves: frozenset[str]
    own: Mapping[Address, Seen]
    named: Mapping[Address, Seen]
    has_proxy: bool

    def is_right(self, seen: Seen) -> bool:
        """Whether the way ends in the house."""
        return isinstance(seen, Served) and seen.certificate.fingerprint in self.leaves


def hairpin(patient: Patient) -> Iterator[Finding]:
    """Every target that is looked at: what is served there must be at the end of all its ways."""
    looked: list[tuple[TargetSpec, Address, str]] = []
    for observed in patient.observed:
        for target in observed.targets:
            spec = target.spec
            if spec.probe is not None and isinstance(target.seen, Served):
                looked.append((spec, spec.probe, host_of(observed.spec, spec)))
            elif spec.probe is not None:
                yield skipped(spec.name, f"nothing is served at {spec.probe} to compare with")
    own = own_addresses()
    named = patient.warden.host_addresses().look_here([host for _, _, host in looked if host])
    ways = {
        spec.name: (_own_ways(own, probe, host), _named_ways(named.get(host, ()), probe, host))
        for spec, probe, host in looked
    }
    seen = look_along(way for pair in ways.values() for group in pair for way in group)
    kinds = {spec.kind.name for _, spec in patient.targets}
    for spec, _, host in looked:
        by_own, by_name = ways[spec.name]
        paths = Paths(
            spec,
            host,
            _leaves(patient.observed),
            {way.address: seen[way] for way in by_own if way in seen},
            {way.address: seen[way] for way in by_name if way in seen},
            spec.kind.name not in _PROXIES and bool(_PROXIES & kinds),
        )
        yield from judge_paths(paths, own)


def _own_ways(own: Iterable[str], probe: Address, host: str) -> list[Way]:
    return [Way(Address(each, probe.port), host) for each in own]


def _named_ways(named: Iterable[str], probe: Address, host: str) -> list[Way]:
    """By the name's addresses, at the probe's port and where browsers look of themselves."""
    return [
        Way(Address(each, port), host)
        for each in named
        if not ipaddress.ip_address(each.partition("%")[0]).is_loopback
        for port in dict.fromkeys((probe.port, HTTPS))
    ]


def _leaves(observed: Iterable[Observed]) -> frozenset[str]:
    """All that is stored, and all that is served at a probe."""
    stored = (each.stored.certificate.fingerprint for each in observed if each.stored)
    served = (
        target.seen.certificate.fingerprint
        for each in observed
        for target in each.targets
        if isinstance(target.seen, Served)
    )
    return frozenset((*stored, *served))


def judge_paths(paths: Paths, ours: Sequence[str]) -> Iterator[Finding]:
    """The findings of one target; `ours` are this machine's addresses in the house."""
    yield from _judge_own(paths)
    yield from _judge_named(paths, ours)


def _judge_own(paths: Paths) -> Iterator[Finding]:
    """By this machine's own addresses, which the rest of the house uses."""
    name, probe = paths.target.name, paths.target.probe
    reached = [way for way, seen in paths.own.items() if paths.is_right(seen)]
    strange = [way for way, seen in paths.own.items() if _is_served(seen) and way not in reached]
    if reached:
        yield ok(name, f"it is reached in the house at {_listed(reached)}")
    elif strange:
        yield warning(
            name,
            f"at {_listed(strange)} another certificate is served than at {probe}",
            "look which program listens there (`sudo ss -ltnp`), and let it be the target",
        )
    elif not paths.own or probe is None or not probe.is_loopback:
        yield skipped(name, "this machine has no other address to look at it by")
    elif paths.has_proxy or any(paths.is_right(seen) for seen in paths.named.values()):
        yield ok(name, "it is reached by way of the proxy only, as it should be")
    else:
        yield warning(
            name,
            f"only this machine can reach it: it is served at {probe}, and nobody answers at "
            f"{_listed(paths.own)}",
            "let the program listen at all addresses (Node-RED: take `uiHost` out of settings.js), "
            "or put a proxy in front of it",
        )


def _judge_named(paths: Paths, ours: Sequence[str]) -> Iterator[Finding]:
    """By the addresses that its name leads to."""
    name, host = paths.target.name, paths.host
    by_address: dict[str, list[Seen]] = {}
    for way, seen in paths.named.items():
        by_address.setdefault(way.host, []).append(seen)
    if not by_address:
        yield skipped(name, f"{host or 'its name'} leads to no address to look at it by")
    for address, looks in by_address.items():
        if any(paths.is_right(seen) for seen in looks):
            yield ok(name, f"{host} leads to it at {address}")
        elif _is_cloudflare(address):
            yield skipped(name, f"{host} leads to Cloudflare's proxy at {address}")
        elif ":" in address and not any(map(_is_global_ipv6, ours)):
            yield skipped(
                name, f"{host} leads to {address}, and this machine has no IPv6 to try it"
            )
        elif address in ours and not any(map(_is_served, looks)):
            continue  # looked at as this machine's own already
        else:
            yield _judge_stray(paths, address, looks, ours)


def _judge_stray(paths: Paths, address: str, looks: Sequence[Seen], ours: Sequence[str]) -> Finding:
    """The name leads to an address where something else is served, or nothing."""
    name, host = paths.target.name, paths.host
    strange = [seen.certificate for seen in looks if isinstance(seen, Served)]
    if any(covers(certificate.names, host) for certificate in strange):
        return skipped(
            name,
            f"{host} leads to another server, at {address}, with a certificate of its own for it",
        )
    if is_at_home(address, ours):
        what = f"{host} leads to {address}, where this is not served"
        remedy = f"correct the address record of {host}, or the resolver's entry for it"
        return warning(name, what, remedy)
    todo = (
        "let the resolver at home lead the name straight to this machine (`certwarden snippet "
        f"dnsmasq {name}`), or give the public record its address at home"
    )
    if strange:
        shown = ", ".join(strange[0].names) or strange[0].issuer
        what = (
            f"{host} leads to {address}, and from in here the certificate of {clean(shown, 80)} is "
            "served there: that is usually the router's own page"
        )
        return warning(name, what, todo)
    # Which port the router hands on is not known: silence at those that are tried proves nothing.
    if ":" in address:
        what = (
            f"{host} leads to {address}, where nobody answers from in here: its AAAA record is "
            "that of another machine, a firewall closes the port, or it is another port"
        )
    else:
        what = (
            f"{host} leads to {address}, where nobody answers from in here: the router does not "
            "turn its own outside address back into the house (hairpin NAT), or it hands on "
            "another port"
        )
    return skipped(name, what, todo)


def _is_served(seen: Seen) -> bool:
    return isinstance(seen, Served)


def _is_cloudflare(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    return any(found in network for network in _CLOUDFLARE)


def _is_global_ipv6(address: str) -> bool:
    return ":" in address and ipaddress.ip_address(address).is_global


def _listed(addresses: Iterable[Address]) -> str:
    shown = [str(each) for each in addresses]
    rest = len(shown) - MOST_NAMED
    return ", ".join(shown[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


CHECKS: dict[str, Look] = {"hairpin": hairpin}
