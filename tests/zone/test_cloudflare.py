"""CloudflareZone against the strict emulator: what it asks, what it does, what it leaves."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
import pytest

from certwarden.errors import ZoneError
from certwarden.model import Place, Secret, TxtRecord
from certwarden.zone import client
from certwarden.zone.cloudflare import CloudflareZone
from tests.fakes_store import FakeClock
from tests.waiting import wait_until
from tests.world.cloudflare import (
    DNS_EDIT,
    DNS_READ,
    FAULT_KINDS,
    ZONE_READ,
    CloudflareEmulator,
    Fault,
    Token,
)
from tests.world.zones import Record, Zones

CHALLENGE = "_acme-challenge.example.org"
COMMENT = "certwarden 0a1b2c3d order-1"
ONE, TWO = "a" * 43, "b" * 43

# The change is not made, and no trying again will help.
PERMANENT = {"auth_10000", "token_9109", "ip_9109", "not_found_7003"}


@dataclass
class Cloudflare:
    """The emulator with its store, and adapters that speak to it."""

    emulator: CloudflareEmulator
    store: Zones
    clock: FakeClock = field(default_factory=FakeClock)

    def zone(self, token: Token | None = None, **zone_ids: str) -> CloudflareZone:
        """An adapter with a token that may do everything, or with this one."""
        token = token or self.emulator.add_token()
        return CloudflareZone(
            Secret(token.secret.encode()),
            base_url=self.emulator.base_url,
            zone_ids={name.replace("_", "."): zone_id for name, zone_id in zone_ids.items()},
            clock=self.clock,
        )

    def txt(self) -> list[Record]:
        """Every TXT record that is there."""
        return [record for record in self.store.records() if record.type == "TXT"]

    def asked(self) -> list[str | None]:
        """The operations that were asked for, in order."""
        return [request.operation for request in self.emulator.requests]


@pytest.fixture
def cloudflare() -> Iterator[Cloudflare]:
    store = Zones()
    store.add_zone("example.org")
    with CloudflareEmulator(store) as emulator:
        yield Cloudflare(emulator, store)
        assert emulator.errors == []


def wanted_by(
    zone: CloudflareZone, name: str = CHALLENGE, comment: str = COMMENT
) -> tuple[TxtRecord, ...]:
    """What a certificate for apex and wildcard needs."""
    (place,) = zone.locate([name])
    return TxtRecord(place, ONE, comment), TxtRecord(place, TWO, comment)


# ── the whole way ─────────────────────────────────────────────────────────────────────────────────


def test_four_calls(cloudflare: Cloudflare) -> None:
    """Apex and wildcard cost four calls: zone, delegation, one batch to create, one to delete."""
    zone = cloudflare.zone()
    zone.remove(zone.create(wanted_by(zone)))
    assert cloudflare.asked() == ["zones.list", "records.list", "records.batch", "records.batch"]
    assert cloudflare.clock.sleeps == []


def test_the_second_certificate_in_a_zone_costs_three(cloudflare: Cloudflare) -> None:
    """A zone that was found is not looked for again."""
    zone = cloudflare.zone()
    zone.locate([CHALLENGE])
    cloudflare.emulator.forget_requests()
    zone.remove(zone.create(wanted_by(zone)))
    assert len(cloudflare.asked()) == 3


def test_many_names_are_located_by_one_listing(cloudflare: Cloudflare) -> None:
    """Whether names are delegated is one call for a zone, however many names there are."""
    names = [f"_acme-challenge.h{number}.example.org" for number in range(20)]
    places = cloudflare.zone(example_org=cloudflare.store.zones()[0].id).locate(names)
    assert [place.record_name for place in places] == names
    assert cloudflare.asked() == ["records.list"]


def test_the_record_as_it_is_sent(cloudflare: Cloudflare) -> None:
    """TTL 60, quoted, with our comment: no warning on the dashboard, and known as ours."""
    zone = cloudflare.zone()
    zone.create(wanted_by(zone))
    assert {(r.name, r.content, r.ttl, r.comment) for r in cloudflare.txt()} == {
        (CHALLENGE, f'"{ONE}"', 60, COMMENT),
        (CHALLENGE, f'"{TWO}"', 60, COMMENT),
    }


def test_several_zones(cloudflare: Cloudflare) -> None:
    """One batch for each zone, and ids in the order of the records."""
    cloudflare.store.add_zone("example.net")
    zone = cloudflare.zone()
    org, net = zone.locate([CHALLENGE, "_acme-challenge.example.net"])
    records = [TxtRecord(org, ONE, COMMENT), TxtRecord(net, ONE, COMMENT)]
    records.append(TxtRecord(org, TWO, COMMENT))
    cloudflare.emulator.forget_requests()
    made = zone.create(records)
    by_id = {record.id: (record.name, record.bare_content) for record in cloudflare.txt()}
    assert [by_id[record.record_id] for record in made] == [
        (record.place.record_name, record.value) for record in records
    ]
    zone.remove(made)
    assert cloudflare.asked() == ["records.batch"] * 4
    assert cloudflare.txt() == []


def test_the_same_record_twice(cloudflare: Cloudflare) -> None:
    """Two orders that need the very same value share one record, which the first one owns."""
    zone = cloudflare.zone()
    first, _ = wanted_by(zone)
    second, _ = wanted_by(zone, comment="certwarden 0a1b2c3d order-2")
    made = zone.create([first, first, second])
    assert made[0].record_id == made[1].record_id == cloudflare.txt()[0].id
    assert made[2].record_id == ""


def test_more_than_a_batch_takes(cloudflare: Cloudflare) -> None:
    """More than two hundred records go and come in several batches."""
    cloudflare.store.add_zone("big.example", record_quota=1000)
    zone = cloudflare.zone()
    (place,) = zone.locate(["_acme-challenge.big.example"])
    made = zone.create([TxtRecord(place, f"{n:043}", COMMENT) for n in range(450)])
    assert len({record.record_id for record in made}) == 450
    zone.remove(made)
    assert cloudflare.txt() == []
    assert cloudflare.asked().count("records.batch") == 6


# ── where a record belongs ────────────────────────────────────────────────────────────────────────


def test_walks_up_the_labels(cloudflare: Cloudflare) -> None:
    """The zone is looked for from the whole name upwards, and what was learnt is kept."""
    zone = cloudflare.zone()
    (place,) = zone.locate(["_acme-challenge.a.b.c.example.org"])
    assert place.zone_name == "example.org"
    queries = [r.query for r in cloudflare.emulator.requests if r.operation == "zones.list"]
    assert [query.partition("&")[0] for query in queries] == [
        "name=a.b.c.example.org",
        "name=b.c.example.org",
        "name=c.example.org",
        "name=example.org",
    ]
    cloudflare.emulator.forget_requests()
    zone.locate(["_acme-challenge.d.b.c.example.org"])
    assert cloudflare.emulator.calls("zones.list") == 1


def test_the_walk_ends_at_two_labels(cloudflare: Cloudflare) -> None:
    """Nobody is asked for a top-level domain; that no zone is seen says what to do."""
    with pytest.raises(ZoneError) as caught:
        cloudflare.zone().locate(["_acme-challenge.a.elsewhere.test"])
    assert caught.value.permanent
    assert "a.elsewhere.test" in caught.value.what
    assert "zone_ids" in caught.value.hint
    assert cloudflare.emulator.calls("zones.list") == 2


def test_the_closest_zone_wins(cloudflare: Cloudflare) -> None:
    """A sub-zone of its own holds the names below it."""
    cloudflare.store.add_zone("home.example.org")
    places = cloudflare.zone().locate(["_acme-challenge.home.example.org", CHALLENGE])
    assert [place.zone_name for place in places] == ["home.example.org", "example.org"]


def test_zone_ids_need_no_zone_read(cloudflare: Cloudflare) -> None:
    """A zone given by its id is used without being looked for; the longest name counts."""
    inner = cloudflare.store.add_zone("home.example.org")
    outer = cloudflare.store.zone_named("example.org")
    token = cloudflare.emulator.add_token(DNS_EDIT, zones=[inner, outer])
    zone = cloudflare.zone(token, example_org=outer.id, home_example_org=inner.id)
    places = zone.locate(["_acme-challenge.pi.home.example.org", CHALLENGE])
    assert [(place.zone_id, place.zone_name) for place in places] == [
        (inner.id, ""),
        (outer.id, ""),
    ]
    records = [TxtRecord(place, ONE, COMMENT) for place in places]
    zone.remove(zone.create(records))
    assert cloudflare.emulator.calls("zones.list") == 0
    assert cloudflare.txt() == []


def test_a_wrong_zone_id(cloudflare: Cloudflare) -> None:
    """A zone id that nobody knows is a mistake in the configuration, whatever it contains."""
    for wrong in ("0" * 32, "../../user/tokens", "zone?x=1#y"):
        with pytest.raises(ZoneError) as caught:
            cloudflare.zone(example_org=wrong).locate([CHALLENGE])
        assert caught.value.permanent
        assert "zone_ids" in caught.value.hint
    assert {request.operation for request in cloudflare.emulator.requests} <= {"records.list", None}


@pytest.mark.parametrize("status", ["pending", "moved"])
def test_a_zone_that_is_not_active(cloudflare: Cloudflare, status: str) -> None:
    """Records in a zone that the world does not ask Cloudflare about are useless: told at once."""
    cloudflare.store.change_zone(cloudflare.store.zones()[0].id, status=status)
    with pytest.raises(ZoneError) as caught:
        cloudflare.zone().locate([CHALLENGE])
    assert caught.value.permanent
    assert status in caught.value.what
    assert "name servers" in caught.value.hint


def test_the_active_one_of_two(cloudflare: Cloudflare) -> None:
    """A domain that was moved between accounts is there twice; the active zone counts."""
    active = cloudflare.store.zones()[0]
    cloudflare.store.add_zone("example.org", status="moved")
    assert cloudflare.zone().locate([CHALLENGE])[0].zone_id == active.id


# ── delegation ────────────────────────────────────────────────────────────────────────────────────


def test_delegation_to_another_zone(cloudflare: Cloudflare) -> None:
    """The TXT record is written where the CNAME at the challenge name points."""
    cloudflare.store.add_zone("acme.test")
    cloudflare.store.add("CNAME", CHALLENGE, "Home.Acme.test.")
    zone = cloudflare.zone()
    (place,) = zone.locate([CHALLENGE])
    assert (place.challenge_name, place.record_name, place.zone_name) == (
        CHALLENGE,
        "home.acme.test",
        "acme.test",
    )
    made = zone.create(wanted_by(zone))
    assert {record.name for record in cloudflare.txt()} == {"home.acme.test"}
    zone.remove(made)
    assert cloudflare.txt() == []


def test_a_wildcard_is_no_delegation(cloudflare: Cloudflare) -> None:
    """A wildcard CNAME answers in DNS for the challenge name too, but does not delegate it."""
    cloudflare.store.add("CNAME", "*.example.org", "example.org")
    assert cloudflare.zone().locate([CHALLENGE])[0].record_name == CHALLENGE


def test_other_records_at_the_name_do_not_delegate(cloudflare: Cloudflare) -> None:
    """Old TXT records at the challenge name are not followed anywhere."""
    cloudflare.store.add("TXT", CHALLENGE, '"elsewhere.test"')
    cloudflare.store.add("CNAME", f"x.{CHALLENGE}", "elsewhere.test")
    assert cloudflare.zone().locate([CHALLENGE])[0].record_name == CHALLENGE


def test_a_chain_is_followed(cloudflare: Cloudflare) -> None:
    """Eight CNAMEs are followed, a ninth is not."""
    names = [CHALLENGE, *(f"n{number}.example.org" for number in range(1, 10))]
    for name, target in pairwise(names[:9]):
        cloudflare.store.add("CNAME", name, target)
    assert cloudflare.zone().locate([CHALLENGE])[0].record_name == names[8]
    cloudflare.store.add("CNAME", names[8], names[9])
    with pytest.raises(ZoneError, match="over 8 CNAMEs") as caught:
        cloudflare.zone().locate([CHALLENGE])
    assert caught.value.permanent


def test_a_loop_is_found(cloudflare: Cloudflare) -> None:
    """CNAMEs that lead back to themselves are an error, not a hang."""
    cloudflare.store.add("CNAME", CHALLENGE, "a.example.org")
    cloudflare.store.add("CNAME", "a.example.org", CHALLENGE)
    with pytest.raises(ZoneError, match="lead back"):
        cloudflare.zone().locate([CHALLENGE])


def test_delegation_out_of_sight(cloudflare: Cloudflare) -> None:
    """A target in a zone that the token cannot see names the CNAME and what the token lacks."""
    cloudflare.store.add("CNAME", CHALLENGE, "home.acme-dns.test")
    with pytest.raises(ZoneError) as caught:
        cloudflare.zone().locate([CHALLENGE])
    assert caught.value.permanent
    assert f"{CHALLENGE} is delegated by CNAME to home.acme-dns.test" in caught.value.what


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_that_may_only_read(cloudflare: Cloudflare) -> None:
    """A read-only token is told as such when the first record is to be made."""
    zone = cloudflare.zone(cloudflare.emulator.add_token(ZONE_READ, DNS_READ))
    records = wanted_by(zone)
    with pytest.raises(ZoneError) as caught:
        zone.create(records)
    assert (caught.value.code, caught.value.permanent) == (10000, True)
    assert "create TXT records in example.org" in caught.value.what
    assert "Read is not enough" in caught.value.hint


def test_a_token_without_zone_read(cloudflare: Cloudflare) -> None:
    """Without Zone:Read a zone looks as if it were not there, and the sentence says so."""
    zone = cloudflare.zone(cloudflare.emulator.add_token(DNS_EDIT))
    with pytest.raises(ZoneError, match="sees no zone") as caught:
        zone.locate([CHALLENGE])
    assert "Zone / Zone / Read" in caught.value.hint


@pytest.mark.parametrize("status", ["disabled", "expired"])
def test_a_dead_token(cloudflare: Cloudflare, status: str) -> None:
    """A token that died since is told as dead, at each step, without being shown."""
    token = cloudflare.emulator.add_token()
    zone = cloudflare.zone(token)
    records = zone.create(wanted_by(zone))
    cloudflare.emulator.change_token(token, status=status)  # type: ignore[arg-type]
    steps: list[Callable[[], object]] = [
        lambda: cloudflare.zone(token).locate([CHALLENGE]),
        lambda: zone.create(records),
        lambda: zone.remove(records),
    ]
    for step in steps:
        with pytest.raises(ZoneError, match="revoked, has expired") as caught:
            step()
        assert caught.value.permanent
        assert token.secret not in caught.value.what + caught.value.hint


def test_a_token_for_another_address(cloudflare: Cloudflare) -> None:
    """A token that is bound to another address is told with the address that was refused."""
    token = cloudflare.emulator.add_token(addresses=["192.0.2.0/24"])
    with pytest.raises(ZoneError, match=r"127\.0\.0\.1") as caught:
        cloudflare.zone(token).locate([CHALLENGE])
    assert caught.value.permanent


# ── other people's records ────────────────────────────────────────────────────────────────────────


def test_others_are_untouched(cloudflare: Cloudflare) -> None:
    """Nothing but what bears exactly our comment is removed, however much alike it is."""
    others = [
        cloudflare.store.add("TXT", CHALLENGE, '"someone else\'s"'),
        cloudflare.store.add("TXT", CHALLENGE, f'"{ONE[::-1]}c"', comment=f"{COMMENT}0"),
        cloudflare.store.add("TXT", "mail.example.org", f'"{ONE}"', comment=COMMENT.upper()),
        cloudflare.store.add("TXT", "mail.example.org", f'"{TWO}"', comment=COMMENT),
        cloudflare.store.add("TXT", CHALLENGE, '"a person wrote this"', comment=COMMENT),
        cloudflare.store.add("A", CHALLENGE, "192.0.2.1", comment=COMMENT),
    ]
    zone = cloudflare.zone()
    wanted = wanted_by(zone)
    zone.create(wanted)
    zone.remove(wanted)
    assert {record.id for record in cloudflare.store.records()} == {other.id for other in others}


def test_without_a_comment_nothing_is_guessed(cloudflare: Cloudflare) -> None:
    """A record without id and comment cannot be told from anybody else's, so it stays."""
    zone = cloudflare.zone()
    (record, _) = wanted_by(zone, comment="")
    cloudflare.store.add("TXT", CHALLENGE, f'"{ONE}"')
    cloudflare.emulator.forget_requests()
    zone.remove([record])
    assert len(cloudflare.txt()) == 1
    assert cloudflare.asked() == []


@pytest.mark.parametrize("comment", ["somebody", COMMENT.upper(), None])
@pytest.mark.parametrize("content", [f'"{ONE}"', ONE])
def test_a_twin_of_someone_else(cloudflare: Cloudflare, content: str, comment: str | None) -> None:
    """An identical record of someone else's, quoted or not, is used and left alone."""
    theirs = cloudflare.store.add("TXT", CHALLENGE, content, comment=comment)
    zone = cloudflare.zone()
    made = zone.create(wanted_by(zone))
    assert [bool(record.record_id) for record in made] == [False, True]
    zone.remove(made)
    zone.remove(made[:1])
    assert [record.id for record in cloudflare.txt()] == [theirs.id]


def test_a_zone_that_fails_does_not_keep_others_from_being_cleaned(cloudflare: Cloudflare) -> None:
    """Clean-up goes on with the next zone, and tells of the failure at the end."""
    zone = cloudflare.zone()
    made = zone.create(wanted_by(zone))
    gone = TxtRecord(Place("x.test", "x.test", "0" * 32, "x.test"), ONE, COMMENT, "f" * 32)
    with pytest.raises(ZoneError):
        zone.remove([gone, *made])
    assert cloudflare.txt() == []


# ── faults ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("times", [1, 99])
@pytest.mark.parametrize("step", ["find zone", "read delegation", "create", "remove", "sweep"])
@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_every_fault_at_every_step(
    cloudflare: Cloudflare, kind: str, step: str, times: int
) -> None:
    """Each ends in success or in a clear error, and `remove` leaves nothing behind afterwards.

    One that passes and does not speak of the token or the zone is not even noticed.
    """
    theirs = cloudflare.store.add("TXT", CHALLENGE, '"someone else\'s"')
    operation = {
        "find zone": "zones.list",
        "read delegation": "records.list",
        "sweep": "records.list",
    }.get(step, "records.batch")
    fault = Fault(kind, operation=operation, times=times, seconds=0.05)
    zone = cloudflare.zone()
    wanted: tuple[TxtRecord, ...] = ()
    error: ZoneError | None = None

    if step in ("find zone", "read delegation"):
        cloudflare.emulator.inject(fault)
    try:
        wanted = wanted_by(zone)
        if step == "create":
            cloudflare.emulator.inject(fault)
        made = zone.create(wanted)
        if step in ("remove", "sweep"):
            cloudflare.emulator.inject(fault)
        zone.remove(wanted if step == "sweep" else made)
    except ZoneError as caught:
        error = caught

    if times == 1 and kind not in PERMANENT:
        assert error is None
    if error is None:
        assert [record.id for record in cloudflare.txt()] == [theirs.id]
    else:
        assert error.what
        assert error.hint
        assert error.permanent == (kind in PERMANENT)
    cloudflare.emulator.clear_faults()
    zone.remove(wanted)
    assert [record.id for record in cloudflare.txt()] == [theirs.id]
    assert sum(cloudflare.clock.sleeps) <= 30


@pytest.mark.parametrize(
    "kind", ["drop_after", "timeout_after", "reset_mid_body", "truncated_json"]
)
def test_what_was_made_unseen_is_adopted(cloudflare: Cloudflare, kind: str) -> None:
    """After a lost reply the records are taken as they are: the ids are right, nothing is twice."""
    cloudflare.emulator.inject(Fault(kind, operation="records.batch"))
    zone = cloudflare.zone()
    made = zone.create(wanted_by(zone))
    assert {record.record_id for record in made} == {record.id for record in cloudflare.txt()}
    assert cloudflare.asked().count("records.batch") == 1


def test_a_reply_that_comes_too_late(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that is carried out after we gave up waiting for it leaves nothing behind either."""
    monkeypatch.setattr(client, "TIMEOUT", httpx.Timeout(0.2))
    zone = cloudflare.zone()
    wanted = wanted_by(zone)
    cloudflare.emulator.inject(Fault("slow", operation="records.batch", seconds=0.5))
    made = zone.create(wanted)
    wait_until(lambda: any(request.fault for request in cloudflare.emulator.requests))
    zone.remove(made)
    assert cloudflare.txt() == []


def test_half_of_it_is_there(cloudflare: Cloudflare) -> None:
    """Where one of two records exists already, with our comment, only the other one is made."""
    zone = cloudflare.zone()
    wanted = wanted_by(zone)
    (first,) = zone.create(wanted[:1])
    made = zone.create(wanted)
    assert made[0] == first
    assert {record.record_id for record in made} == {record.id for record in cloudflare.txt()}


def test_half_of_it_is_gone(cloudflare: Cloudflare) -> None:
    """One missing record makes a whole batch fail; the other one goes nevertheless."""
    zone = cloudflare.zone()
    made = zone.create(wanted_by(zone))
    cloudflare.store.remove(cloudflare.txt()[0])
    zone.remove(made)
    assert cloudflare.txt() == []
    assert cloudflare.clock.sleeps in ([], [0.0])


def test_nothing_to_remove_is_one_look(cloudflare: Cloudflare) -> None:
    """Leftovers that are not there cost one listing and no deletion."""
    zone = cloudflare.zone()
    wanted = wanted_by(zone)
    cloudflare.emulator.forget_requests()
    zone.remove(wanted)
    assert cloudflare.asked() == ["records.list"]


def test_the_real_rate_limit(cloudflare: Cloudflare) -> None:
    """Five minutes of being blocked are not waited for here: the caller is told how long."""
    cloudflare.emulator.rate_limit = (3, 300.0)
    zone = cloudflare.zone()
    made = zone.create(wanted_by(zone))
    with pytest.raises(ZoneError, match=r"wait 30[01] s") as caught:
        zone.remove(made)
    assert caught.value.retry_after is not None
    assert not caught.value.permanent
    assert cloudflare.clock.sleeps == []
    cloudflare.emulator.rate_limit = (1200, 0.0)


def test_a_full_zone(cloudflare: Cloudflare) -> None:
    """A zone at its quota is told as such, and none of the two records is made."""
    cloudflare.store.add_zone("full.example", record_quota=1)
    zone = cloudflare.zone()
    wanted = wanted_by(zone, "_acme-challenge.full.example")
    with pytest.raises(ZoneError, match="no room") as caught:
        zone.create(wanted)
    assert caught.value.permanent
    with suppress(ZoneError):
        zone.remove(wanted)
    assert cloudflare.txt() == []
