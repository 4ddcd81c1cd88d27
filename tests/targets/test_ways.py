"""The ways to a target, and this machine's addresses."""

import ipaddress
import time
from pathlib import Path

from certwarden.model import Served, Unreachable
from certwarden.targets.ways import Way, _own_ipv4, _own_ipv6, look_along, own_addresses
from tests.builders import a_pair
from tests.targets.servers import a_closed_port, server_context, serving, tls

MUTE_SECONDS = 4  # longer than a look waits: each takes about 3 s
FIB_TRIE = """\
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 192.168.1.0/24 2 0 2
        |-- 192.168.1.0
           /24 link UNICAST
        |-- 192.168.1.10
           /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
        |-- 169.254.3.4
           /32 host LOCAL
"""
IF_INET6 = """\
fe80000000000000021122fffe334455 02 40 20 80     eth0
20010db8000100010000000000000010 02 40 00 00     eth0
fd000000000000000000000000000002 02 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
torn
"""


def test_addresses_that_others_can_reach() -> None:
    """No loopback, no link-local, no broadcast."""
    assert _own_ipv4(FIB_TRIE) == ["192.168.1.10"]
    assert _own_ipv6(IF_INET6) == ["2001:db8:1:1::10", "fd00::2"]


def test_this_machines_own_can_be_bound_to() -> None:
    """What the kernel tells is read rightly here, too."""
    for each in own_addresses():
        assert not ipaddress.ip_address(each).is_loopback
        with serving(lambda _: None, each):
            pass


def test_all_ways_are_walked_at_once(tmp_path: Path) -> None:
    """Each is judged by itself, and the slowest sets the time."""
    pair = a_pair()

    def mute(_: object) -> None:
        time.sleep(MUTE_SECONDS)

    with (
        serving(tls(server_context(pair, tmp_path))) as good,
        serving(mute) as one,
        serving(mute) as two,
        serving(mute) as three,
    ):
        closed = a_closed_port()
        ways = [Way(each, "example.org") for each in (good, closed, one, two, three, one, good)]
        begun = time.monotonic()
        seen = look_along(ways)
        assert time.monotonic() - begun < 2 * MUTE_SECONDS
    assert seen[ways[0]] == Served(pair.certificate)
    assert isinstance(seen[ways[1]], Unreachable)
    assert len(seen) == 5


def test_no_way_is_no_look() -> None:
    """A machine without addresses, a name that leads nowhere."""
    assert look_along([]) == {}
