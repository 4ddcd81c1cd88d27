"""CloudflareZone against the strict emulator: what it asks, what it does, what it leaves."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import httpx
import pytest

from certwarden.errors import ZoneError
from certwarden.model import Place, Secret, TokenHealth, TxtRecord
from certwarden.zone import client
from certwarden.zone.cloudflare import CloudflareZone
from certwarden.zone.refusals import TokenError
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


def test_one_listing_for_all_names(cloudflare: Cloudflare) -> None:
    """The zones of a token that sees few are listed once, however deep and many the names are."""
    zone = cloudflare.zone()
    names = [f"_acme-challenge.{host}.a.b.c.example.org" for host in "xyz"]
    assert {place.zone_name for place in zone.locate(names)} == {"example.org"}
    assert [r.query for r in cloudflare.emulator.requests if r.operation == "zones.list"] == [
        "per_page=50"
    ]


@pytest.fixture
def many_zones(cloudflare: Cloudflare) -> Cloudflare:
    """A token that sees more zones than Cloudflare lists at once."""
    for number in range(60):
        cloudflare.store.add_zone(f"z{number}.example")
    return cloudflare


def test_walks_up_the_labels(many_zones: Cloudflare) -> None:
    """Among many zones it is looked for from the whole name upwards; what was learnt is kept."""
    zone = many_zones.zone()
    (place,) = zone.locate(["_acme-challenge.a.b.c.z59.example"])
    assert place.zone_name == "z59.example"
    queries = [r.query for r in many_zones.emulator.requests if r.operation == "zones.list"]
    assert [query.partition("&")[0] for query in queries] == [
        "per_page=50",
        "name=a.b.c.z59.example",
        "name=b.c.z59.example",
        "name=c.z59.example",
        "name=z59.example",
    ]
    many_zones.emulator.forget_requests()
    zone.locate(["_acme-challenge.d.b.c.z59.example"])
    assert many_zones.emulator.calls("zones.list") == 1


def test_the_walk_ends_at_two_labels(many_zones: Cloudflare) -> None:
    """Nobody is asked for a top-level domain; that no zone is seen says what to do."""
    with pytest.raises(ZoneError) as caught:
        many_zones.zone().locate(["_acme-challenge.a.elsewhere.test"])
    assert caught.value.permanent
    assert "a.elsewhere.test" in caught.value.what
    assert "zone_ids" in caught.value.hint
    assert many_zones.emulator.calls("zones.list") == 3


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
    other = cloudflare.store.add_zone("example.net")
    token = cloudflare.emulator.add_token(zones=[cloudflare.store.zone_named("example.org")])
    zone = cloudflare.zone(token)
    made = zone.create(wanted_by(zone))
    theirs = Place("x.example.net", "x.example.net", other.id, other.name)
    with pytest.raises(ZoneError):
        zone.remove([TxtRecord(theirs, ONE, COMMENT, "f" * 32), *made])
    assert cloudflare.txt() == []


# ── zones that are gone ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("has_ids", [True, False])
def test_a_zone_that_was_deleted(cloudflare: Cloudflare, *, has_ids: bool) -> None:
    """Its records went with it, so they count as removed; those of other zones are removed."""
    gone = cloudflare.store.add_zone("example.net")
    zone = cloudflare.zone()
    made = zone.create([*wanted_by(zone, "_acme-challenge.example.net"), *wanted_by(zone)])
    cloudflare.store.remove_zone(gone.id)
    zone.remove(made if has_ids else [replace(record, record_id="") for record in made])
    assert cloudflare.txt() == []


@pytest.mark.parametrize("permissions", [(DNS_READ,), (ZONE_READ,)])
def test_a_zone_that_the_token_lost(cloudflare: Cloudflare, permissions: tuple[str, ...]) -> None:
    """Where the token may no longer write or look, the records are still there: an error."""
    zone = cloudflare.zone()
    made = zone.create(wanted_by(zone))
    for token in (
        cloudflare.emulator.add_token(*permissions),
        cloudflare.emulator.add_token(zones=[cloudflare.store.add_zone("other.test")]),
    ):
        with pytest.raises(ZoneError) as caught:
            cloudflare.zone(token).remove(made)
        assert (caught.value.code, caught.value.permanent) == (10000, True)


@pytest.mark.parametrize("where", ["/dns_records", "/zones/[^/]+", "/zones"])
def test_a_route_that_is_gone(cloudflare: Cloudflare, where: str) -> None:
    """That the API is not there, in whole or in part, does not mean that a zone was deleted."""
    zone = cloudflare.zone()
    made = zone.create(wanted_by(zone))
    cloudflare.emulator.inject(Fault("not_found_7003", path=where, times=99))
    with pytest.raises(ZoneError) as caught:
        zone.remove(made)
    assert caught.value.code == 7003


def test_leftovers_of_many_orders_are_one_listing(cloudflare: Cloudflare) -> None:
    """What a crash left of fifty orders is found by one look, and others' records stay."""
    cloudflare.store.add_zone("big.example", record_quota=1000)
    zone = cloudflare.zone()
    (place,) = zone.locate(["_acme-challenge.big.example"])
    comments = [f"certwarden 0a1b2c3d {number:012x}" for number in range(50)]
    wanted = [TxtRecord(place, f"{n:043}", comment) for n, comment in enumerate(comments)]
    zone.create(wanted)
    other = "certwarden 0a1b2c3d ffffffffffff"
    theirs = zone.create([TxtRecord(place, "z" * 43, other)])
    cloudflare.emulator.forget_requests()
    zone.remove(wanted)
    assert [record.id for record in cloudflare.txt()] == [theirs[0].record_id]
    assert cloudflare.asked() == ["records.list", "records.batch"]


# ── is the token good ─────────────────────────────────────────────────────────────────────────────

A_YEAR_2050 = datetime(2050, 6, 1, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["user", "account"])
@pytest.mark.parametrize(
    ("expires_on", "expires_at"),
    [
        (None, None),
        ("2050-06-01T23:59:59Z", A_YEAR_2050),
        ("2050-06-02T00:59:59.000+01:00", A_YEAR_2050),
        ("9999-12-31T23:59:59-12:00", None),
        ("some day", None),
    ],
)
def test_a_good_token(
    cloudflare: Cloudflare,
    kind: Literal["user", "account"],
    expires_on: str | None,
    expires_at: datetime | None,
) -> None:
    """A user's and an account's token are good until the day they name, if it can be read."""
    token = cloudflare.emulator.add_token(kind=kind, expires_on=expires_on)
    assert cloudflare.zone(token).verify() == TokenHealth(expires_at)
    wanted = ["tokens.verify"] if kind == "user" else ["zones.list", "account_tokens.verify"]
    assert cloudflare.asked() == wanted


def test_an_old_token_of_an_account(cloudflare: Cloudflare) -> None:
    """One without a prefix is tried as a user's first; Cloudflare calls that one invalid."""
    token = cloudflare.emulator.add_token(
        kind="account", secret="a" * 40, expires_on="2050-06-01T23:59:59Z"
    )
    assert cloudflare.zone(token).verify() == TokenHealth(A_YEAR_2050)
    assert cloudflare.asked() == ["tokens.verify", "zones.list", "account_tokens.verify"]


def test_a_token_that_cannot_be_verified(cloudflare: Cloudflare) -> None:
    """An account's token that sees no zone, or may not ask, works as far as can be told."""
    blind = cloudflare.emulator.add_token(DNS_EDIT, kind="account")
    assert cloudflare.zone(blind).verify() == TokenHealth(None)
    for kind in ("auth_10000", "not_found_7003"):
        cloudflare.emulator.inject(Fault(kind, operation="account_tokens.verify"))
        token = cloudflare.emulator.add_token(kind="account")
        assert cloudflare.zone(token).verify() == TokenHealth(None)


def test_verification_is_not_to_be_had(cloudflare: Cloudflare) -> None:
    """Where nobody verifies, a token that may list zones is good."""
    for operation in ("tokens.verify", "account_tokens.verify"):
        cloudflare.emulator.inject(Fault("not_found_7003", operation=operation))
    assert cloudflare.zone().verify() == TokenHealth(None)


@pytest.mark.parametrize("kind", ["user", "account"])
@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"status": "disabled"}, "disabled|revoked"),
        ({"status": "expired", "expires_on": "2020-01-02T03:04:05Z"}, "expired"),
        ({"not_before": "2050-06-01T00:00:00Z"}, "not valid before 2050-06-01 00:00 UTC|revoked"),
        ({"addresses": ["192.0.2.0/24"]}, r"127\.0\.0\.1"),
    ],
)
def test_a_token_that_is_no_good(
    cloudflare: Cloudflare, kind: str, traits: dict[str, Any], words: str
) -> None:
    """Disabled, expired, not valid yet or for elsewhere: a permanent error, with what to do."""
    token = cloudflare.emulator.add_token(kind=kind, **traits)  # type: ignore[arg-type]
    with pytest.raises(TokenError, match=words) as caught:
        cloudflare.zone(token).verify()
    assert caught.value.permanent
    assert caught.value.hint
    assert token.secret not in caught.value.what + caught.value.hint


def test_a_start_date_is_held_against_cloudflares_clock(cloudflare: Cloudflare) -> None:
    """Where our clock is years behind, a token that is valid already is good."""
    cloudflare.clock.instant = datetime(1970, 1, 1, tzinfo=UTC)
    token = cloudflare.emulator.add_token(not_before="2020-01-01T00:00:00Z")
    assert cloudflare.zone(token).verify() == TokenHealth(None)


@pytest.mark.parametrize("secret", ["cfut_" + "x" * 48, "cfat_" + "x" * 48, "x" * 40])
def test_a_token_that_nobody_knows(cloudflare: Cloudflare, secret: str) -> None:
    """A token that was revoked or never was is told as that."""
    zone = CloudflareZone(
        Secret(secret.encode()),
        base_url=cloudflare.emulator.base_url,
        zone_ids={},
        clock=cloudflare.clock,
    )
    with pytest.raises(TokenError, match="revoked") as caught:
        zone.verify()
    assert caught.value.permanent


@pytest.mark.parametrize("operation", ["tokens.verify", "zones.list", "account_tokens.verify"])
@pytest.mark.parametrize("kind", ["drop_before", "server_error", "truncated_json", "wrong_result"])
def test_a_reply_that_is_lost_says_nothing_of_the_token(
    cloudflare: Cloudflare, kind: str, operation: str
) -> None:
    """What cannot be reached is asked again, and in the end an error that is not permanent."""
    token = cloudflare.emulator.add_token(
        kind="user" if operation == "tokens.verify" else "account",
        expires_on="2050-06-01T23:59:59Z",
    )
    cloudflare.emulator.inject(Fault(kind, operation=operation))
    assert cloudflare.zone(token).verify() == TokenHealth(A_YEAR_2050)
    cloudflare.emulator.inject(Fault(kind, operation=operation, times=99))
    with pytest.raises(ZoneError) as caught:
        cloudflare.zone(token).verify()
    assert not caught.value.permanent


# ── several threads ───────────────────────────────────────────────────────────────────────────────


def test_a_rate_limit_stops_all_threads(cloudflare: Cloudflare) -> None:
    """While Cloudflare has asked us to wait nobody asks it anything, and all are told how long."""
    zone = cloudflare.zone()
    wanted = wanted_by(zone)
    cloudflare.emulator.inject(Fault("rate_limited", times=99, retry_after=300))
    cloudflare.emulator.forget_requests()
    with ThreadPoolExecutor(64) as pool:
        asked = [pool.submit(zone.create, wanted) for _ in range(64)]
    for each in asked:
        error = each.exception()
        assert isinstance(error, ZoneError)
        assert error.retry_after == timedelta(seconds=300)
        assert not error.permanent
    assert cloudflare.emulator.calls() <= client.MOST_AT_ONCE
    assert cloudflare.clock.sleeps == []


def test_threads_look_for_different_zones_side_by_side(many_zones: Cloudflare) -> None:
    """A zone that is slow to be found holds up those who need it, once, and nobody else."""
    zone = many_zones.zone()
    zone.locate(["_acme-challenge.z58.example"])
    many_zones.emulator.forget_requests()
    slowness = many_zones.emulator.inject(Fault("slow", operation="zones.list", seconds=3.0))
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(zone.locate, ["_acme-challenge.z59.example"])]
        wait_until(lambda: slowness.fired)
        slow += [pool.submit(zone.locate, ["_acme-challenge.z59.example"]) for _ in range(2)]
        assert zone.locate(["_acme-challenge.z57.example"])[0].zone_name == "z57.example"
        assert not any(each.done() for each in slow)
    assert {each.result()[0].zone_name for each in slow} == {"z59.example"}
    assert many_zones.emulator.calls("zones.list") == 2


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
