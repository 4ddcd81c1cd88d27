"""Where the names that people type lead: as this machine is told, and as the world is.

Owns the judgement of the difference: split DNS that is meant, rebind protection, an IPv6 address
that an override has forgotten. Who is asked, and how, is `zone.addresses`' business.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.patient import Look, Patient
from certwarden.model import CertificateSpec, TargetSpec
from certwarden.targets.ways import own_addresses
from certwarden.zone.addresses import Addresses, Family, Mute, Resolution

WILDCARD = "*."

_SIXTY_FOUR = 64  # bits of a house's IPv6 network
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: a provider's, or Tailscale's
# What resolvers with rebind protection drop; not documentation's networks, which are private too.
_DROPPED = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
)


def look_at_names(patient: Patient) -> Iterator[Finding]:
    """Every name that a target is looked for by, as this machine and as the world are told."""
    ours = own_addresses()
    wanted = hosts(patient.targets, patient.config.certificates)
    seen = patient.warden.host_addresses().look(wanted)
    for host in wanted:
        yield from judge_host(host, {each.family: each for each in seen if each.host == host}, ours)


def hosts(
    targets: Iterable[tuple[CertificateSpec, TargetSpec]], certificates: Iterable[CertificateSpec]
) -> tuple[str, ...]:
    """The names that people type: of the targets' probes, and each certificate's first."""
    named = [host_of(certificate, target) for certificate, target in targets]
    named += [first_name(certificate) for certificate in certificates]
    return tuple(dict.fromkeys(host for host in named if host))


def host_of(certificate: CertificateSpec, target: TargetSpec) -> str:
    """The name that a target is looked for by; "" where only its address is known."""
    return target.probe_name or first_name(certificate)


def first_name(certificate: CertificateSpec) -> str:
    """The first domain without a star; "" where there is none."""
    unstarred = (each for each in certificate.domains if not each.startswith(WILDCARD))
    return next(unstarred, "")


def judge_host(
    host: str, resolutions: Mapping[Family, Resolution], ours: Sequence[str]
) -> Iterator[Finding]:
    """The findings of one host; `ours` are this machine's addresses in the house."""
    seen = tuple(resolutions.values())
    if all(_found(each.system) == () and not _found(each.world) for each in seen):
        unheard = any(_found(each.world) is None for each in seen)
        yield skipped(
            host,
            "no address of it is known here"
            + (", and nobody outside could be asked" if unheard else " or outside")
            + ": whoever opens it needs an address record in its zone, or a line in the hosts file "
            "of each device",
        )
        return
    is_known_here = any(_found(each.system) for each in seen)
    is_denied_here = any(_found(each.system) == () for each in seen)
    for each in seen:
        if isinstance(each.system, Mute):
            yield _judge_mute(each, each.system, is_denied_here=is_denied_here)
        else:
            yield from _judge_family(each, each.system, ours, is_known_here=is_known_here)
    yield from _judge_forgotten(host, resolutions, ours)


def _judge_family(
    seen: Resolution, system: Addresses, ours: Sequence[str], *, is_known_here: bool
) -> Iterator[Finding]:
    """One family; `is_known_here`: this machine is told an address of the host, of either."""
    world = _found(seen.world)
    if world is None:
        yield _judge_alone(seen, system.found)
    elif system.found:
        yield _judge_known(seen, system.found, world, ours)
    elif world and is_known_here:
        yield ok(seen.host, f"{seen.family} is left out here; the other family leads the way")
    elif world:
        yield _judge_missing(seen, world)


def _judge_mute(seen: Resolution, system: Mute, *, is_denied_here: bool) -> Finding:
    """`is_denied_here`: it says that there is none of the other family, and so is not away.

    A resolver that checks signatures fails where it has dropped addresses: unbound does.
    """
    world = _found(seen.world)
    is_heard = is_denied_here and not system.is_late
    if is_heard and world and all(_is_dropped(each) for each in world):
        return _rebind(seen, world, f"fails for it ({system.why})")
    return skipped(seen.host, f"{seen.family}: this machine's resolver {system.why}")


def _judge_alone(seen: Resolution, here: tuple[str, ...]) -> Finding:
    """Only this machine's resolver could be asked."""
    leads = f"leads to {_listed(here)}" if here else "leads nowhere"
    zone, public = (told.why if isinstance(told, Mute) else "" for told in (seen.zone, seen.public))
    return skipped(
        seen.host,
        f"{seen.family} {leads} here, and outside could not be looked at: the zone's servers: "
        f"{zone}; DNS over HTTPS: {public}",
    )


def _judge_known(
    seen: Resolution, here: tuple[str, ...], world: tuple[str, ...], ours: Sequence[str]
) -> Finding:
    """Here, too, addresses are told."""
    leads = f"{seen.family} leads to {_listed(here)}"
    if set(here) & set(world):
        return ok(seen.host, f"{leads}, here as outside")
    outside = f"to {_listed(world)} outside" if world else "nowhere outside"
    if not world or all(is_at_home(each, ours) for each in here):
        return ok(seen.host, f"{leads} here, {outside}")
    return warning(
        seen.host,
        f"{leads} here, but its zone says {_listed(world)}",
        "if the record was changed, wait until its TTL is over; else look who answers for it here: "
        f"`getent ahosts {seen.host}`, /etc/hosts, and the router's DNS",
    )


def _judge_missing(seen: Resolution, world: tuple[str, ...]) -> Finding:
    """The zone has an address, and this machine's resolver says that there is none."""
    if all(_is_dropped(each) for each in world):
        return _rebind(seen, world, "drops that answer")
    return warning(
        seen.host,
        f"this machine's resolver knows no {seen.family}, but its zone says {_listed(world)}",
        "if the record is new, wait until the resolver has forgotten that there was none; else "
        f"look who answers for it here: `getent ahosts {seen.host}`, and the router's DNS",
    )


def _rebind(seen: Resolution, world: tuple[str, ...], does_what: str) -> Finding:
    return error(
        seen.host,
        f"{seen.family} leads to {_listed(world)} at home, but this machine's resolver "
        f"{does_what}: it protects against DNS rebinding",
        f"make an exception for {seen.host} there: dnsmasq and Pi-hole, in /etc/dnsmasq.d: "
        f"`rebind-domain-ok=/{seen.host}/`; OpenWrt: Network, DHCP and DNS, Domain whitelist; "
        "Fritz!Box: Heimnetz, Netzwerk, Netzwerkeinstellungen, DNS-Rebind-Schutz; unbound: "
        f'`private-domain: "{seen.host}"`',
    )


def _judge_forgotten(
    host: str, resolutions: Mapping[Family, Resolution], ours: Sequence[str]
) -> Iterator[Finding]:
    """An override at home of the IPv4 address, while the IPv6 address still leads elsewhere."""
    here = {family: _found(each.system) or () for family, each in resolutions.items()}
    overridden = here.get(Family.A, ())
    elsewhere = [each for each in here.get(Family.AAAA, ()) if not is_at_home(each, ours)]
    if overridden and elsewhere and all(is_at_home(each, ours) for each in overridden):
        yield warning(
            host,
            f"A leads home to {_listed(overridden)}, but AAAA elsewhere, to {_listed(elsewhere)}: "
            "most programs try IPv6 first",
            "give the name its IPv6 address at home as well, or have the resolver leave IPv6 out "
            "for it (dnsmasq 2.87: `filter-AAAA`)",
        )


# ── addresses ─────────────────────────────────────────────────────────────────────────────────────


def is_at_home(address: str, ours: Sequence[str]) -> bool:
    """Whether it is one of the house: private, or of this machine or its IPv6 network."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if _is_dropped(address) or found in _SHARED or str(found) in ours:
        return True
    networks = (
        ipaddress.ip_network(f"{each}/{_SIXTY_FOUR}", strict=False) for each in ours if ":" in each
    )
    return any(found in network for network in networks)


def _is_dropped(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    return any(found in network for network in _DROPPED)


def _found(told: Addresses | Mute) -> tuple[str, ...] | None:
    return told.found if isinstance(told, Addresses) else None


def _listed(addresses: Iterable[str]) -> str:
    return ", ".join(addresses)


CHECKS: dict[str, Look] = {"name-resolution": look_at_names}
