"""BatchingZone: what is asked for at the same time shares calls, and never another's failure."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from certwarden.errors import ZoneError
from certwarden.model import Place, Secret, TokenHealth, TxtRecord
from certwarden.zone.batching import BatchingZone, _Joined
from certwarden.zone.cloudflare import CloudflareZone
from certwarden.zone.refusals import TokenError
from tests.builders import NOW, a_txt_record
from tests.fakes_store import FakeClock
from tests.fakes_zone import FakeZone
from tests.waiting import wait_until
from tests.world.cloudflare import CloudflareEmulator, Fault
from tests.world.zones import Zones

MANY = 50
ONE = "a" * 43


class GatedZone(FakeZone):
    """Calls go through while `gate` is open; `sizes` are how much each was asked for.

    A call with a record that is `guilty` raises `error`, and one whose record is to `hang` waits.
    """

    def __init__(self, zones: Sequence[str] = ("example.org",)) -> None:
        super().__init__(zones)
        self.gate = threading.Event()
        self.gate.set()
        self.under_way = 0
        self.sizes: list[int] = []
        self.guilty: Callable[[TxtRecord], bool] = lambda _: False
        self.hang: Callable[[TxtRecord], object] = lambda _: None
        self.error: BaseException = ZoneError("another record is in the way", permanent=True)

    def locate(self, challenge_names: Sequence[str]) -> tuple[Place, ...]:
        """Where each record belongs."""
        self._pass(challenge_names)
        return super().locate(challenge_names)

    def create(self, records: Sequence[TxtRecord]) -> tuple[TxtRecord, ...]:
        """All or none of them."""
        self._pass(records)
        return super().create(records)

    def remove(self, records: Sequence[TxtRecord]) -> None:
        """All or none of them."""
        self._pass(records)
        super().remove(records)

    def _pass(self, items: Sequence[str | TxtRecord]) -> None:
        with self._lock:
            self.sizes.append(len(items))
            self.under_way += 1
        try:
            assert self.gate.wait(30)
            for item in items:
                if isinstance(item, TxtRecord):
                    self.hang(item)
                    if self.guilty(item):
                        raise self.error
        finally:
            with self._lock:
                self.under_way -= 1


@pytest.fixture
def inner() -> GatedZone:
    return GatedZone(("example.org", "example.net"))


@pytest.fixture
def zone(inner: GatedZone) -> BatchingZone:
    return BatchingZone(inner)


def order(number: int, domain: str = "example.org") -> list[TxtRecord]:
    """The two records of an order."""
    name = f"h{number}.{domain}"
    records = [a_txt_record(v * 43, domain=name, comment=f"order {number}") for v in "ab"]
    return [
        TxtRecord(
            Place(r.place.challenge_name, r.place.record_name, domain, domain), r.value, r.comment
        )
        for r in records
    ]


def crowd(
    inner: GatedZone,
    joined: Callable[[], _Joined[Any, Any]],
    first: Callable[[], object],
    others: Sequence[Callable[[], object]],
) -> list[Future[Any]]:
    """Calls `others` while the call of `first` is under way; returns when all have come to an end.

    `joined` is the queue in which those others wait.
    """
    with ThreadPoolExecutor(MANY) as pool:
        inner.gate.clear()
        futures = [pool.submit(first)]
        wait_until(lambda: inner.under_way == 1)
        futures += [pool.submit(other) for other in others]
        wait_until(lambda: len(joined().queue) == len(others))
        inner.gate.set()
    return futures


# ── sharing ───────────────────────────────────────────────────────────────────────────────────────


def test_alone(zone: BatchingZone, inner: GatedZone) -> None:
    """A single order gets what the zone behind gives, by one call each, at once."""
    (place,) = zone.locate(["_acme-challenge.h0.example.org"])
    made = zone.create([TxtRecord(place, ONE, "order 0")])
    assert made[0].record_id
    zone.remove(made)
    assert (inner.calls, inner.records) == (["locate", "create", "remove"], {})


def test_nothing_to_do(zone: BatchingZone, inner: GatedZone) -> None:
    """No names and no records are no call."""
    assert (zone.locate([]), zone.create([])) == ((), ())
    zone.remove([])
    assert inner.calls == []


def test_the_token_is_looked_at_behind(zone: BatchingZone, inner: GatedZone) -> None:
    """Verifying goes straight through."""
    inner.health = TokenHealth(NOW)
    assert zone.verify() == TokenHealth(NOW)


def test_many_locate(zone: BatchingZone, inner: GatedZone) -> None:
    """Who comes while a call is under way shares the next one, and gets the places it asked for."""
    names = [f"_acme-challenge.h{number}.example.org" for number in range(MANY)]
    located = crowd(
        inner,
        lambda: zone._locating,
        lambda: zone.locate(names[:1]),
        [partial(zone.locate, [name, names[0]]) for name in names[1:]],
    )
    assert [[place.challenge_name for place in each.result()] for each in located] == [
        names[:1],
        *([name, names[0]] for name in names[1:]),
    ]
    assert inner.sizes == [1, 2 * (MANY - 1)]


def test_many_create_and_remove(zone: BatchingZone, inner: GatedZone) -> None:
    """Records come back to who asked for them, with their own ids, and go in few calls as well."""
    orders = [order(number) for number in range(MANY)]
    made = crowd(
        inner,
        lambda: zone._creating["example.org"],
        lambda: zone.create(orders[0]),
        [partial(zone.create, each) for each in orders[1:]],
    )
    for wanted, future in zip(orders, made, strict=True):
        got = future.result()
        assert [replace(record, record_id="") for record in got] == wanted
        assert [inner.records[record.record_id].value for record in got] == [
            record.value for record in wanted
        ]
    crowd(
        inner,
        lambda: zone._removing["example.org"],
        lambda: zone.remove(made[0].result()),
        [partial(zone.remove, each.result()) for each in made[1:]],
    )
    assert inner.records == {}
    assert inner.sizes == [2, 2 * (MANY - 1)] * 2


def test_another_zone_is_not_waited_for(zone: BatchingZone, inner: GatedZone) -> None:
    """A zone whose calls hang holds up only those who need that zone."""
    hangs = threading.Event()
    inner.hang = lambda record: record.place.zone_id == "example.org" and not hangs.wait(30)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(zone.create, order(0))
        wait_until(lambda: inner.under_way)
        assert all(record.record_id for record in zone.create(order(1, "example.net")))
        assert not slow.done()
        hangs.set()
    assert len(inner.records) == 4


def test_an_order_over_two_zones(zone: BatchingZone, inner: GatedZone) -> None:
    """Its records come back in their order, and a zone that fails does not save the other one."""
    (one, two), (three, four) = order(1), order(1, "example.net")
    made = zone.create([one, three, two, four])
    assert [replace(record, record_id="") for record in made] == [one, three, two, four]
    inner.guilty = lambda record: record.place.zone_id == "example.org"
    with pytest.raises(ZoneError, match="in the way"):
        zone.remove(made)
    assert {held.name for held in inner.records.values()} == {"_acme-challenge.h1.example.org"}


# ── not sharing ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("operation", ["create", "remove"])
@pytest.mark.parametrize("error", [ZoneError("in the way", permanent=True), ValueError("a bug")])
def test_only_the_guilty_fails(
    zone: BatchingZone, inner: GatedZone, operation: str, error: Exception
) -> None:
    """When a shared call fails each member asks again for itself, so that only its cause fails."""
    orders = [order(number) for number in range(12)]
    calls = [partial(getattr(zone, operation), each) for each in orders]
    queues: Mapping[str, Any] = {"create": zone._creating, "remove": zone._removing}
    inner.guilty, inner.error = lambda record: record.comment == "order 7", error
    done = crowd(inner, lambda: queues[operation]["example.org"], calls[0], calls[1:])
    failed = [number for number, each in enumerate(done) if each.exception()]
    assert failed == [7]
    assert done[7].exception() is error
    assert sorted(inner.sizes) == [2] * 12 + [22]


def test_only_the_guilty_is_not_located(zone: BatchingZone, inner: GatedZone) -> None:
    """A name in nobody's zone is the trouble of the one who asked for it."""
    names = ["_acme-challenge.example.org"] * 3 + ["_acme-challenge.elsewhere.test"]
    calls = [partial(zone.locate, [name]) for name in names]
    done = crowd(inner, lambda: zone._locating, calls[0], calls[1:])
    assert [each.exception() is None for each in done] == [True, True, True, False]


@pytest.mark.parametrize(
    "error",
    [
        TokenError("the token was revoked", code=9109, permanent=True),
        ZoneError("Cloudflare limits", code=971, retry_after=timedelta(minutes=5)),
    ],
)
def test_what_concerns_all_is_shared(
    zone: BatchingZone, inner: GatedZone, error: ZoneError
) -> None:
    """A dead token and a rate limit are not tried out again by each: that helps nobody."""
    inner.guilty, inner.error = lambda record: record.comment != "order 0", error
    calls = [partial(zone.create, order(number)) for number in range(12)]
    done = crowd(inner, lambda: zone._creating["example.org"], calls[0], calls[1:])
    assert inner.sizes == [2, 22]
    told = [each.exception() for each in done[1:]]
    assert {type(each) for each in told} == {type(error)}
    assert {each.__dict__["what"] for each in told if each} == {error.what}
    assert len(set(map(id, told))) == 11


def test_a_signal_in_who_calls(zone: BatchingZone, inner: GatedZone) -> None:
    """Whoever shares a call that a signal ends goes on alone; nobody waits for ever."""
    inner.guilty, inner.error = lambda record: record.comment == "order 1", KeyboardInterrupt()
    calls = [partial(zone.create, order(number)) for number in range(6)]
    done = crowd(inner, lambda: zone._creating["example.org"], calls[0], calls[1:])
    interrupted = [n for n, each in enumerate(done) if isinstance(each.exception(), BaseException)]
    # Who called for all gets the signal; the one that it came from gets it again, alone.
    assert {1} <= set(interrupted)
    assert len(interrupted) <= 2
    inner.guilty = lambda _: False
    assert zone.create(order(9))[0].record_id


def test_a_signal_in_who_waits(
    zone: BatchingZone, inner: GatedZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread waits for is not carried out after a signal has ended its waiting."""
    joined: _Joined[Any, Any] = zone._locating

    def interrupted(_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(joined.changed, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        zone.locate(["_acme-challenge.example.org"])
    monkeypatch.undo()
    assert joined.queue == []
    assert zone.locate(["_acme-challenge.example.net"])[0].zone_name == "example.net"
    assert inner.sizes == [1]


# ── at Cloudflare ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def emulator() -> Iterator[CloudflareEmulator]:
    store = Zones()
    store.add_zone("example.org")
    with CloudflareEmulator(store) as emulator:
        yield emulator
        assert emulator.errors == []


def _obtain(zone: BatchingZone, number: int, everybody: threading.Barrier) -> None:
    everybody.wait(30)
    (place,) = zone.locate([f"_acme-challenge.h{number}.example.org"])
    records = zone.create([TxtRecord(place, v * 43, f"certwarden x {number}") for v in "ab"])
    everybody.wait(30)
    zone.remove(records)


def test_a_handful_of_calls_for_many(emulator: CloudflareEmulator) -> None:
    """Fifty certificates in one zone cost about as many calls as three one by one."""
    token = Secret(emulator.add_token().secret.encode())
    behind = CloudflareZone(token, base_url=emulator.base_url, zone_ids={}, clock=FakeClock())
    zone = BatchingZone(behind)
    emulator.inject(Fault("slow", times=10**6, seconds=0.1))  # as far away as Cloudflare is
    everybody = threading.Barrier(MANY)
    with ThreadPoolExecutor(MANY) as pool:
        done = [pool.submit(_obtain, zone, number, everybody) for number in range(MANY)]
    assert [each.exception() for each in done] == [None] * MANY
    assert emulator.store.records() == []
    assert emulator.calls("zones.list") == 1
    assert emulator.calls() <= 16


def test_a_full_zone_takes_what_it_can(emulator: CloudflareEmulator) -> None:
    """Where only some orders have room those get it; a batch for all would have been refused."""
    small = emulator.store.add_zone("full.example", record_quota=20)
    behind = CloudflareZone(
        Secret(emulator.add_token().secret.encode()),
        base_url=emulator.base_url,
        zone_ids={},
        clock=FakeClock(),
    )
    zone = BatchingZone(behind)
    emulator.inject(Fault("slow", times=1, seconds=0.3, operation="records.batch"))
    places = behind.locate([f"_acme-challenge.h{n}.full.example" for n in range(MANY)])
    with ThreadPoolExecutor(MANY) as pool:
        orders = [[TxtRecord(place, v * 43, "x") for v in "ab"] for place in places]
        done = [pool.submit(zone.create, each) for each in orders]
    assert sum(each.exception() is None for each in done) == 10
    assert len(emulator.store.records(small.id)) == 20
