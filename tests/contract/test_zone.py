"""What the port `Zone` promises, held against Cloudflare's adapter, alone and behind the one that
batches, and against its fake.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from certwarden.errors import ZoneError
from certwarden.model import Place, Secret, TokenHealth, TxtRecord
from certwarden.ports import Zone
from certwarden.zone.batching import BatchingZone
from certwarden.zone.cloudflare import CloudflareZone
from tests.fakes_store import FakeClock
from tests.fakes_zone import FakeZone, Held
from tests.world.cloudflare import CloudflareEmulator, Fault
from tests.world.zones import Zones

CHALLENGE = "_acme-challenge.example.org"
COMMENT = "certwarden 0a1b2c3d order-1"
ONE, TWO = "a" * 43, "b" * 43
EXPIRES_AT = datetime(2050, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Provider:
    """A zone adapter and a look behind it."""

    zone: Zone
    held: Callable[[], list[Held]]
    put: Callable[[str, str, str], object]  # name, value, comment
    alias: Callable[[str, str], object]
    lose_reply_of: Callable[[str], object]
    expire: Callable[[], object]  # the token
    drop_zone: Callable[[str], object]

    def wanted(self, comment: str = COMMENT) -> tuple[TxtRecord, TxtRecord]:
        """Both records of a certificate with apex and wildcard."""
        (place,) = self.zone.locate([CHALLENGE])
        return TxtRecord(place, ONE, comment), TxtRecord(place, TWO, comment)


def _fake() -> Provider:
    zone = FakeZone(("example.org", "example.net"))
    zone.health = TokenHealth(EXPIRES_AT)
    return Provider(
        zone,
        held=lambda: list(zone.records.values()),
        put=zone.put,
        alias=zone.aliases.__setitem__,
        lose_reply_of=lambda operation: zone.fail(operation, applied=True),  # type: ignore[arg-type]
        expire=lambda: zone.fail("verify", ZoneError("the token expired", permanent=True)),
        drop_zone=zone.drop_zone,
    )


def _real(stack: ExitStack, *, is_batching: bool) -> Provider:
    store = Zones()
    store.add_zone("example.org")
    store.add_zone("example.net")
    emulator = stack.enter_context(CloudflareEmulator(store))
    stack.callback(lambda: _insist_on_none(emulator.errors))
    token = emulator.add_token(expires_on=f"{EXPIRES_AT:%Y-%m-%dT%H:%M:%SZ}")
    secret = Secret(token.secret.encode())
    zone = CloudflareZone(secret, base_url=emulator.base_url, zone_ids={}, clock=FakeClock())

    def lose(operation: str) -> None:
        assert operation in ("create", "remove")
        emulator.inject(Fault("drop_after", operation="records.batch", times=1))

    return Provider(
        BatchingZone(zone) if is_batching else zone,
        held=lambda: [
            Held(record.name, record.bare_content, record.comment or "")
            for record in store.records()
            if record.type == "TXT"
        ],
        put=lambda name, value, comment: store.add("TXT", name, f'"{value}"', comment=comment),
        alias=lambda name, target: store.add("CNAME", name, target),
        lose_reply_of=lose,
        expire=lambda: emulator.change_token(token, status="expired"),
        drop_zone=lambda name: store.remove_zone(store.zone_named(name).id),
    )


def _insist_on_none(errors: list[BaseException]) -> None:
    assert errors == []


@pytest.fixture(params=["fake", "real", "batching"])
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    with ExitStack() as stack:
        if request.param == "fake":
            yield _fake()
        else:
            yield _real(stack, is_batching=request.param == "batching")


def test_verify(provider: Provider) -> None:
    """A good token has its end told; one that is good no more is a permanent error."""
    assert provider.zone.verify() == TokenHealth(EXPIRES_AT)
    provider.expire()
    with pytest.raises(ZoneError) as caught:
        provider.zone.verify()
    assert caught.value.permanent


def test_locates_in_order(provider: Provider) -> None:
    """Places come in the order of the names, each with the zone that holds it."""
    places = provider.zone.locate([CHALLENGE, "_acme-challenge.a.example.net", CHALLENGE])
    assert [(place.challenge_name, place.zone_name) for place in places] == [
        (CHALLENGE, "example.org"),
        ("_acme-challenge.a.example.net", "example.net"),
        (CHALLENGE, "example.org"),
    ]


def test_locates_through_a_delegation(provider: Provider) -> None:
    """A CNAME at the challenge name leads to where the record must be written."""
    provider.alias(CHALLENGE, "home.example.net")
    (place,) = provider.zone.locate([CHALLENGE])
    assert (place.challenge_name, place.record_name, place.zone_name) == (
        CHALLENGE,
        "home.example.net",
        "example.net",
    )


def test_no_zone(provider: Provider) -> None:
    """A name in no zone of ours is a permanent error."""
    with pytest.raises(ZoneError) as caught:
        provider.zone.locate(["_acme-challenge.elsewhere.test"])
    assert caught.value.permanent


def test_create_and_remove(provider: Provider) -> None:
    """Records come back in their order with ids, and are gone after removal."""
    made = provider.zone.create(provider.wanted())
    assert [record.value for record in made] == [ONE, TWO]
    assert all(record.record_id for record in made)
    assert sorted(held.value for held in provider.held()) == [ONE, TWO]
    provider.zone.remove(made)
    assert provider.held() == []


def test_create_again(provider: Provider) -> None:
    """What exists already with our comment counts as created, under the same id."""
    wanted = provider.wanted()
    first = provider.zone.create(wanted[:1])
    again = provider.zone.create(wanted)
    assert again[0] == first[0]
    assert len(provider.held()) == 2


def test_someone_elses_twin(provider: Provider) -> None:
    """An identical record under another comment serves, and is never removed."""
    provider.put(CHALLENGE, ONE, "somebody else")
    made = provider.zone.create(provider.wanted())
    assert [bool(record.record_id) for record in made] == [False, True]
    provider.zone.remove(made)
    assert provider.held() == [Held(CHALLENGE, ONE, "somebody else")]


def test_remove_twice(provider: Provider) -> None:
    """A record that is gone already counts as removed."""
    made = provider.zone.create(provider.wanted())
    provider.zone.remove(made[:1])
    provider.zone.remove(made)
    provider.zone.remove(made)
    assert provider.held() == []


def test_remove_without_ids(provider: Provider) -> None:
    """Records whose ids were never learnt are found by exactly their comment and value."""
    wanted = provider.wanted()
    provider.zone.create(wanted)
    other = provider.wanted("certwarden 0a1b2c3d order-10")
    provider.zone.create([replace(record, value=record.value.upper()) for record in other])
    provider.zone.remove(wanted)
    assert {held.comment for held in provider.held()} == {"certwarden 0a1b2c3d order-10"}


@pytest.mark.parametrize("operation", ["create", "remove"])
def test_lost_reply(provider: Provider, operation: str) -> None:
    """A reply that is lost after the change leaves nothing behind, whether it is told or not."""
    wanted = provider.wanted()
    records: tuple[TxtRecord, ...] = wanted
    if operation == "remove":
        records = provider.zone.create(wanted)
    provider.lose_reply_of(operation)
    with suppress(ZoneError):
        if operation == "create":
            records = provider.zone.create(wanted)
        else:
            provider.zone.remove(records)
    provider.zone.remove(records)
    assert provider.held() == []


def test_nothing_to_do(provider: Provider) -> None:
    """No names and no records are no work."""
    assert provider.zone.locate([]) == ()
    assert provider.zone.create([]) == ()
    provider.zone.remove([])


def test_a_place_from_an_earlier_run(provider: Provider) -> None:
    """Leftovers are removed by their journalled place, without being located again."""
    place, *_ = (record.place for record in provider.zone.create(provider.wanted()))
    remembered = Place(place.challenge_name, place.record_name, place.zone_id, "")
    provider.zone.remove([TxtRecord(remembered, value, COMMENT) for value in (ONE, TWO)])
    assert provider.held() == []


def test_a_zone_that_was_deleted(provider: Provider) -> None:
    """The records of a zone that is no longer there count as removed."""
    made = provider.zone.create(provider.wanted())
    provider.drop_zone("example.org")
    provider.zone.remove(made)
    provider.zone.remove(_without_ids(made))


def _without_ids(records: tuple[TxtRecord, ...]) -> list[TxtRecord]:
    return [replace(record, record_id="") for record in records]


def test_threads(provider: Provider) -> None:
    """Twenty orders at the same time each get their own records, and leave none."""

    def obtain(number: int) -> None:
        name = f"_acme-challenge.h{number}.example.org"
        (place,) = provider.zone.locate([name])
        made = provider.zone.create([TxtRecord(place, v, f"order {number}") for v in (ONE, TWO)])
        assert [record.place.challenge_name for record in made] == [name, name]
        assert all(record.record_id for record in made)
        provider.zone.remove(made)

    with ThreadPoolExecutor(20) as pool:
        assert [each.exception() for each in [pool.submit(obtain, n) for n in range(20)]] == [
            None
        ] * 20
    assert provider.held() == []
