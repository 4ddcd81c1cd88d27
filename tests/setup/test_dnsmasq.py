"""The snippet for dnsmasq, in a real dnsmasq."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from certwarden.model import Address
from certwarden.setup.dnsmasq import dnsmasq_snippet
from tests.builders import a_certificate_spec, a_target_spec
from tests.world import tools
from tests.world.dns import DnsServer
from tests.world.process import Child, free_port
from tests.world.zones import Zones

AT_HOME = "192.168.1.10"
Ask = Callable[[str, str], list[str]]


def rendered(*domains: str, host: str = AT_HOME) -> str:
    target = replace(a_target_spec("front", kind="nginx"), probe=Address(host, 443))
    return dnsmasq_snippet(a_certificate_spec(domains=domains), target)


def uncommented(text: str, directive: str) -> str:
    """The text with the suggested line taken up."""
    assert f"#   {directive}" in text
    return text.replace(f"#   {directive}", directive)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Ask]]:
    """Starts a dnsmasq with this text, before a zone whose addresses are outside."""
    zones = Zones()
    zones.add_zone("example.org")
    for name in ("example.org", "www.example.org", "mail.example.org"):
        zones.add("A", name, "203.0.113.5")
    zones.add("A", "public.example.org", AT_HOME)
    zones.add("TXT", "_acme-challenge.example.org", "token")
    with ExitStack() as stack:
        upstream = stack.enter_context(DnsServer(zones))

        def run(text: str) -> Ask:
            port = free_port()
            path = tmp_path / "dnsmasq.conf"
            host, _, number = upstream.address.rpartition(":")
            lines = [
                "keep-in-foreground",
                "log-facility=-",
                "no-resolv",
                "no-hosts",
                "bind-interfaces",
                "listen-address=127.0.0.1",
                "user=",
                f"port={port}",
                f"server={host}#{number}",
            ]
            path.write_text("\n".join(lines) + "\n" + text)
            command: list[str | Path] = [tools.program("dnsmasq"), "-C", path, "--pid-file="]
            child = stack.enter_context(Child(command, log=tmp_path / "dnsmasq.log"))

            def ask(name: str, kind: str) -> list[str]:
                query = dns.message.make_query(name, kind)
                reply = dns.query.udp(query, "127.0.0.1", port=port, timeout=2)
                return [record.to_text() for rrset in reply.answer for record in rrset]

            def answers() -> bool:
                try:
                    ask("example.org", "SOA")
                except (OSError, dns.exception.DNSException):
                    return False
                return True

            child.wait_until(answers, timeout=20)
            return ask

        yield run


@pytest.mark.world
def test_names_lead_to_the_house(start: Callable[[str], Ask]) -> None:
    """The certificate's names do, and what certwarden asks for still comes from outside."""
    ask = start(rendered("example.org", "*.example.org"))
    assert ask("example.org", "A") == [AT_HOME]
    assert ask("mail.example.org", "A") == [AT_HOME]
    assert ask("_acme-challenge.example.org", "TXT") == ['"token"']
    assert ask("example.org", "NS") != []


@pytest.mark.world
def test_only_its_own_names(start: Callable[[str], Ask]) -> None:
    """A certificate without a wildcard is about its names and no others."""
    ask = start(rendered("example.org"))
    assert ask("example.org", "A") == [AT_HOME]
    assert ask("mail.example.org", "A") == ["203.0.113.5"]


@pytest.mark.world
def test_what_is_elsewhere_can_be_left_out(start: Callable[[str], Ask]) -> None:
    """The suggested line does what is said of it."""
    text = uncommented(rendered("example.org", "*.example.org"), "server=/www.example.org/#")
    ask = start(text)
    assert ask("www.example.org", "A") == ["203.0.113.5"]
    assert ask("mail.example.org", "A") == [AT_HOME]


@pytest.mark.world
def test_a_public_record_with_an_address_at_home(start: Callable[[str], Ask]) -> None:
    """The protection against rebinding drops it, but for the suggested line."""
    assert start("stop-dns-rebind\n")("public.example.org", "A") == []
    text = uncommented(rendered("example.org"), "rebind-domain-ok=/example.org/")
    ask = start("stop-dns-rebind\n" + text)
    assert ask("public.example.org", "A") == [AT_HOME]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "node-red.lan"])
def test_an_address_that_nobody_knows_is_marked(host: str) -> None:
    """A probe at loopback says nothing of the address at home."""
    text = rendered("example.org", host=host)
    assert "192.0.2.10 is a placeholder" in text
    assert "host-record=example.org,192.0.2.10\n" in text
    assert "placeholder" not in rendered("example.org")
