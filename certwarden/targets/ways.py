"""The ways to a target: by its probe's address, by this machine's own, and by those of its name.

Owns which addresses this machine has in the house, and looking along many ways at once. What a look
is, is `probe`'s business; what it means that two ways end at different leaves is for others.
"""

import ipaddress
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from certwarden.frozen import frozen
from certwarden.model import Address, Seen
from certwarden.targets.probe import TlsProbe

SECONDS = 3.0
MOST_WAYS = 64

_IPV4_ROUTES = Path("/proc/net/fib_trie")
_IPV6_ADDRESSES = Path("/proc/net/if_inet6")
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")
_GLOBAL_SCOPE = "00"


@frozen
class Way:
    """An address, and the name that is asked for there (SNI)."""

    address: Address
    server_name: str


def own_addresses() -> tuple[str, ...]:
    """The addresses of this machine that others in the house can reach: no loopback, no link-local.

    By what the kernel tells in /proc; none where it tells nothing. IPv4 first.
    """
    found = [*_own_ipv4(_read(_IPV4_ROUTES)), *_own_ipv6(_read(_IPV6_ADDRESSES))]
    return tuple(dict.fromkeys(found))


def look_along(ways: Iterable[Way]) -> dict[Way, Seen]:
    """What is served at the end of each; takes little longer than one look."""
    wanted = tuple(dict.fromkeys(ways))[:MOST_WAYS]
    if not wanted:
        return {}
    with ThreadPoolExecutor(len(wanted), thread_name_prefix="way") as pool:
        looks = pool.map(lambda way: TlsProbe(way.address, way.server_name, SECONDS).look(), wanted)
        return dict(zip(wanted, looks, strict=True))


def _own_ipv4(text: str) -> list[str]:
    found = (ipaddress.IPv4Address(each) for each in _LOCAL.findall(text))
    return [str(each) for each in found if not each.is_loopback and not each.is_link_local]


def _own_ipv6(text: str) -> list[str]:
    """Of lines `address index prefix scope flags name`, all in hex (proc(5))."""
    lines = (line.split() for line in text.splitlines())
    found = (
        ipaddress.IPv6Address(int(fields[0], 16))
        for fields in lines
        if len(fields) >= 4 and fields[3] == _GLOBAL_SCOPE
    )
    return [str(each) for each in found if not each.is_loopback and not each.is_link_local]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
