"""What dnsmasq needs so that a certificate's names lead to this house from inside it, too.

Owns the text. A router that cannot turn its own outside address back inwards (hairpin NAT) answers
with nothing, or with a page and a certificate of its own.
"""

import ipaddress

from certwarden.model import CertificateSpec, TargetSpec
from certwarden.setup.target import comment

_PLACEHOLDER = "192.0.2.10"  # RFC 5737: nobody's
_WILDCARD = "*."


def dnsmasq_snippet(certificate: CertificateSpec, target: TargetSpec) -> str:
    """A file for dnsmasq.d: the certificate's names at the address where the target is probed.

    Where that is no address of the local network, a placeholder stands in its place, and says so.
    """
    address = _local_address(target)
    shown = address or _PLACEHOLDER
    records = [_record(domain, shown) for domain in certificate.domains]
    zone = certificate.domains[0].removeprefix(_WILDCARD)
    head = comment(
        (
            f"At home, {' '.join(certificate.domains)} lead straight to this machine. Made by",
            f"`certwarden snippet dnsmasq {target.name}` from its configuration; belongs in",
            f"/etc/dnsmasq.d/certwarden-{target.name}.conf. Needs dnsmasq 2.86.",
            *(
                ()
                if address
                else (f"{_PLACEHOLDER} is a placeholder for this machine's address at home.",)
            ),
        )
    )
    foot = comment(
        (
            "A name below these that is elsewhere all the same is asked for outside:",
            f"  server=/www.{zone}/#",
            "Where a name has an AAAA record outside, give its address at home as well, or let",
            "dnsmasq pass on none at all (2.87):",
            "  filter-AAAA",
            f"No local=/{zone}/: it would hide the zone's name servers from certwarden.",
            "",
            "Another way: leave these lines out, and give the public record the address at home.",
            "Where stop-dns-rebind is on, that needs:",
            f"  rebind-domain-ok=/{zone}/",
            "",
            "To apply it: dnsmasq --test && sudo systemctl restart dnsmasq",
            "Browsers with DNS over HTTPS do not ask dnsmasq.",
        )
    )
    lines = "".join(f"{record}\n" for record in records)
    return f"{head}\n{lines}\n{foot}"


def _record(domain: str, address: str) -> str:
    """A wildcard's line is about names below it only, any other's about that name only."""
    if domain.startswith(_WILDCARD):
        return f"address=/{domain}/{address}"
    return f"host-record={domain},{address}"


def _local_address(target: TargetSpec) -> str | None:
    """The address of the probe, if that is one which others in the house can reach."""
    if target.probe is None:
        return None
    try:
        address = ipaddress.ip_address(target.probe.host)
    except ValueError:
        return None
    is_reachable = not address.is_loopback and not address.is_unspecified
    return str(address) if is_reachable else None
