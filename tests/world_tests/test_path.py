"""The whole path on real parts: order, records, validation, download."""

from collections.abc import Iterator

import pytest
from acme import messages
from cryptography import x509

from tests.world import World
from tests.world.pebble import PebbleOptions
from tests.world.process import Child
from tests.world_tests.client import account_client, cloudflare_client, obtain

pytestmark = pytest.mark.world

# The acme library repeats a refused nonce only once, so these runs refuse none.
CALM = PebbleOptions(nonce_reject=0)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(pebble=CALM, proxy=True) as made:
        yield made
        assert not made.emulator.errors
        assert made.proxy is not None
        assert not made.proxy.errors


def test_a_certificate_comes_through_everything(world: World) -> None:
    """The acme library gets a wildcard certificate through proxy, Pebble, DNS and emulator."""
    obtained = obtain(world)

    leaf, *issuers = x509.load_pem_x509_certificates(obtained.chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"example.org", "*.example.org"} == set(names.get_values_for_type(x509.DNSName))
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days in (89, 90)
    root = x509.load_pem_x509_certificate(world.pebble.root())
    assert root.subject == issuers[-1].issuer
    assert world.pebble.certificate_status(leaf.serial_number)["Status"] == "Valid"
    assert world.txt_records() == []


def test_every_resource_leads_through_the_proxy(world: World) -> None:
    """No URL of the ACME server by-passes the proxy, or a fault could be by-passed too."""
    assert world.proxy is not None
    world.proxy.forget_requests()
    obtain(world)
    seen = {request.resource for request in world.proxy.requests}
    assert {"directory", "newNonce", "newAccount", "newOrder", "authz"} <= seen
    assert {"challenge", "finalize", "order", "cert"} <= seen
    assert all(request.status < 400 for request in world.proxy.requests)


def test_pebble_asks_our_dns_only_after_the_records_exist(world: World) -> None:
    """The log of queries can prove that nobody asked too early: each query found both values."""
    world.dns.forget_queries()
    obtain(world)
    asked = [query for query in world.dns.queries if query.type == "TXT"]
    assert asked
    assert all(len(query.answers) == 2 for query in asked)


def test_an_issuance_needs_two_calls_of_the_api(world: World) -> None:
    """The count of calls is what the figures of the design are measured by."""
    world.emulator.forget_requests()
    obtain(world)
    calls = [request.operation for request in world.emulator.requests]
    assert calls == ["records.batch", "records.batch"]


def test_propagation_is_waited_for() -> None:
    """With a delay DNS shows the records later than the API; the certificate comes all the same."""
    with World(pebble=CALM, propagation_delay=0.3) as world:
        obtained = obtain(world)
        first = world.emulator.requests[0].at
        asked = [query.at for query in world.dns.queries if query.type == "TXT"]
        assert min(asked) - first >= 0.25
        assert "BEGIN CERTIFICATE" in obtained.chain


def test_the_library_of_cloudflare_is_understood(world: World) -> None:
    """Listing, creating, changing and deleting work as the official client does them."""
    zone = world.zones["example.org"]
    with cloudflare_client(world) as api:
        assert api.user.tokens.verify().status == "active"  # type: ignore[union-attr, unused-ignore]
        assert [zone.id] == [found.id for found in api.zones.list(name="example.org")]
        made = api.dns.records.create(
            zone_id=zone.id, type="TXT", name="x", content='"one"', ttl=60, comment="mine 1"
        )
        assert made is not None
        found = api.dns.records.list(zone_id=zone.id, comment={"startswith": "mine"})
        assert [made.id] == [record.id for record in found.result]
        found = api.dns.records.list(
            zone_id=zone.id, type="TXT", name={"exact": "x.example.org"}, content={"contains": "on"}
        )
        assert [made.id] == [record.id for record in found.result]
        api.dns.records.edit(
            made.id, zone_id=zone.id, type="TXT", name="x", content='"two"', ttl=60
        )
        assert world.store.txt("x.example.org") == ["two"]
        api.dns.records.delete(made.id, zone_id=zone.id)
    assert world.txt_records() == []


def test_profiles_and_account_binding_can_be_asked_for() -> None:
    """A world may offer short profiles and insist on external accounts."""
    options = PebbleOptions(
        profiles={"default": 90 * 86400, "shortlived": 6 * 86400},
        eab={"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"},
        eab_required=True,
        nonce_reject=0,
        strict=True,
        alternate_roots=1,
        chain_length=2,
    )
    with World(pebble=options) as world:
        assert world.pebble.profiles() == ["default", "shortlived"]
        assert world.pebble.root(0) != world.pebble.root(1)
        with pytest.raises(messages.Error) as refused:
            account_client(world.directory_url, world.ca_bundle)
        assert refused.value.code == "externalAccountRequired"


def test_pebble_ends_with_its_world() -> None:
    """No process is left behind."""
    with World(pebble=CALM) as world:
        child = world.pebble._child
        assert isinstance(child, Child)
        assert child.alive()
    assert not child.alive()


def test_a_paused_pebble_forgets_nothing(world: World) -> None:
    """An outage without loss: what was issued before is known after."""
    obtained = obtain(world)
    serial = x509.load_pem_x509_certificate(obtained.chain.encode()).serial_number
    world.pebble.pause()
    world.pebble.resume()
    assert world.pebble.certificate_status(serial)["Status"] == "Valid"
