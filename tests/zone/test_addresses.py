"""A host's addresses as each side tells them, and that none of them can hold up the others."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from certwarden.clock import SystemClock
from certwarden.model import Address
from certwarden.zone import addresses
from certwarden.zone.addresses import (
    Addresses,
    Family,
    HostAddresses,
    Mute,
    Resolution,
    by_system,
)
from tests.world.dns import DnsFault, DnsServer, DohServer
from tests.world.zones import Zones


class Sides:
    """A zone behind a name server and DNS over HTTPS."""

    def __init__(self, stack: ExitStack) -> None:
        self.zones = Zones()
        self.zones.add_zone("example.org")
        self.dns = stack.enter_context(DnsServer(self.zones))
        self.doh = stack.enter_context(DohServer(self.zones))

    def look(self, host: str, *, by_name_server: bool = True) -> dict[Family, Resolution]:
        named = [Address(self.dns.host, self.dns.port)] if by_name_server else []
        looks = HostAddresses(clock=SystemClock(), nameservers=named, doh=[self.doh.url])
        return {each.family: each for each in looks.look([host])}


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    """Nothing is known to this machine's own resolver, and at once."""

    def nothing(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with ExitStack() as stack:
        made = Sides(stack)
        lookup = socket.getaddrinfo

        def getaddrinfo(host: str, *arguments: object, **named: object) -> list[object]:
            if "example" in host:
                return nothing()
            return lookup(host, *arguments, **named)  # type: ignore[return-value,arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield made


def test_families_are_told_apart(sides: Sides) -> None:
    """Each is a question of its own, also at the end of an alias within the zone."""
    sides.zones.add("A", "home.example.org", "192.168.1.10")
    sides.zones.add("AAAA", "home.example.org", "2001:db8::1")
    sides.zones.add("A", "four.example.org", "203.0.113.5")
    sides.zones.add("CNAME", "alias.example.org", "home.example.org")
    found = sides.look("home.example.org")
    assert found[Family.A].world == Addresses(("192.168.1.10",))
    assert found[Family.AAAA].world == Addresses(("2001:db8::1",))
    assert found[Family.A].system == Addresses(())
    assert sides.look("four.example.org")[Family.AAAA].world == Addresses(())
    assert sides.look("alias.example.org")[Family.A].world == Addresses(("192.168.1.10",))
    assert sides.look("none.example.org")[Family.A].world == Addresses(())


def test_the_public_resolvers_stand_in_for_a_zone_that_cannot_be_asked(sides: Sides) -> None:
    """Where nobody knows the zone's own servers, or they are silent."""
    sides.zones.add("A", "home.example.org", "203.0.113.5")
    found = sides.look("home.example.org", by_name_server=False)[Family.A]
    assert isinstance(found.zone, Mute)
    assert found.public == found.world == Addresses(("203.0.113.5",))


def test_a_side_that_fails_says_why(sides: Sides) -> None:
    """And is not taken for one that knows no address."""
    sides.dns.inject(DnsFault("servfail"))
    assert sides.look("home.example.org")[Family.A].zone == Mute("answers SERVFAIL")


def test_a_silent_resolver_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """getaddrinfo knows no time limit; a look does."""
    monkeypatch.setattr(addresses, "SECONDS_HERE", 0.2)

    def hang(*_: object) -> list[object]:
        time.sleep(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    begun = time.monotonic()
    looks = HostAddresses(clock=SystemClock())
    assert looks.look_here([f"{each}.example.org" for each in "abcdefghijklmnop"])
    assert time.monotonic() - begun < 3


def test_our_own_limit_is_told_from_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a resolver that fails, somebody says so; our own limit is nobody's word."""

    def fail(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    told = by_system("home.example.org", Family.A)
    assert told == Mute("cannot be asked (Temporary failure in name resolution)")
    monkeypatch.setattr(addresses, "SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(1))
    looks = HostAddresses(clock=SystemClock(), nameservers=[Address("127.0.0.1", 9)])
    found, _ = looks.look(["home.example.org"])
    assert found.system == Mute("does not answer", is_late=True)


def test_what_the_system_says() -> None:
    """Its hosts file counts; a name that is none is a side that cannot tell."""
    assert by_system("localhost", Family.A) == Addresses(("127.0.0.1",))
    assert isinstance(by_system("x" * 300, Family.A), Mute)
