"""The canary on the fake zone and on Cloudflare's adapter: nothing of it is ever left."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

from certwarden.errors import ZoneError
from certwarden.lifecycle.canary import COMMENT, VALUE, try_token
from certwarden.model import Secret
from certwarden.ports import Zone
from certwarden.zone.cloudflare import CloudflareZone
from tests.fakes_store import FakeClock
from tests.fakes_zone import FakeZone
from tests.world.cloudflare import DNS_READ, ZONE_READ, CloudflareEmulator, Fault
from tests.world.zones import Zones

CHALLENGE = "_acme-challenge.example.org"
DOMAINS = ("example.org", "*.example.org", "*.a.example.net")


@dataclass
class Provider:
    """A zone adapter; who may only read; and a look behind both."""

    zone: Zone
    names: Callable[[], list[str]]
    put: Callable[[str, str, str], object]
    lose: Callable[[str], object]
    made: Callable[[], int]


def _fake() -> Provider:
    zone = FakeZone(("example.org", "example.net"))
    return Provider(
        zone,
        names=lambda: [held.name for held in zone.records.values()],
        put=zone.put,
        lose=lambda operation: zone.fail(operation, applied=True),  # type: ignore[arg-type]
        made=lambda: zone.calls_of("create"),
    )


def _real(stack: ExitStack) -> Provider:
    store = Zones()
    store.add_zone("example.org")
    store.add_zone("example.net")
    emulator = stack.enter_context(CloudflareEmulator(store))
    secret = Secret(emulator.add_token().secret.encode())
    zone = CloudflareZone(secret, base_url=emulator.base_url, zone_ids={}, clock=FakeClock())
    return Provider(
        zone,
        names=lambda: [record.name for record in store.records()],
        put=lambda name, value, comment: store.add("TXT", name, f'"{value}"', comment=comment),
        lose=lambda operation: emulator.inject(
            Fault("drop_after", operation="records.batch", skip=int(operation == "remove"))
        ),
        made=lambda: emulator.calls("records.batch"),
    )


@pytest.fixture(params=["fake", "real"])
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    with ExitStack() as stack:
        yield _fake() if request.param == "fake" else _real(stack)


def test_it_is_gone(provider: Provider) -> None:
    """Records are really made, once for each place, and none is left."""
    try_token(provider.zone, DOMAINS)
    assert provider.made() > 0
    assert provider.names() == []


def test_a_killed_one(provider: Provider) -> None:
    """What a killed try left is found and removed by the next; a stranger's twin stays."""
    provider.put(CHALLENGE, VALUE, COMMENT)
    try_token(provider.zone, DOMAINS)
    assert provider.names() == []
    provider.put(CHALLENGE, VALUE, "somebody else")
    try_token(provider.zone, DOMAINS)
    assert provider.names() == [CHALLENGE]


@pytest.mark.parametrize("operation", ["create", "remove"])
def test_lost_replies(provider: Provider, operation: str) -> None:
    """A reply that is lost leaves nothing behind either."""
    provider.lose(operation)
    with suppress(ZoneError):
        try_token(provider.zone, DOMAINS)
    assert provider.names() == []


def test_no_zone(provider: Provider) -> None:
    """A domain in no zone of ours is told before anything is made."""
    with pytest.raises(ZoneError) as caught:
        try_token(provider.zone, ["example.org", "elsewhere.test"])
    assert caught.value.permanent
    assert provider.made() == 0


def test_the_first_error_is_told() -> None:
    """What kept the record from being made is raised, not what its removal met."""
    zone = FakeZone()
    zone.fail("create", ZoneError("it may not create"))
    zone.fail("remove", ZoneError("it may not remove"))
    with pytest.raises(ZoneError, match="it may not create"):
        try_token(zone, ["example.org"])


def test_read_only() -> None:
    """A token that may only read is told with the permissions to tick."""
    store = Zones()
    store.add_zone("example.org")
    with CloudflareEmulator(store) as emulator:
        secret = Secret(emulator.add_token(ZONE_READ, DNS_READ).secret.encode())
        zone = CloudflareZone(secret, base_url=emulator.base_url, zone_ids={}, clock=FakeClock())
        with pytest.raises(ZoneError) as caught:
            try_token(zone, ["example.org"])
    assert caught.value.permanent
    assert "Zone / DNS / Edit" in caught.value.hint
