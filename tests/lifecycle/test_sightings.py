"""Which client certificates are in use: what targets tell, what of it is written down, and when."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certwarden.errors import StoreError
from certwarden.lifecycle.sightings import can_tell, news, watch
from certwarden.lifecycle.status import ClientUsage, client_usage
from certwarden.model import ClientCertificate, HotReload, TargetSpec, UnitReload, UnitVerb
from tests.builders import NOW, a_target_spec
from tests.lifecycle.client_facts import a_client
from tests.lifecycle.client_house import ClientHouse, a_client_target
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND

UNIT = UnitReload("node-red.service", UnitVerb.RESTART)
HOT = a_client_target("node-red", HotReload())
MUTE = a_client_target("nginx", UNIT)


def a_used_client(
    *, seen_at: datetime | None = None, issued_at: datetime = NOW, until: datetime = NOW + 800 * DAY
) -> ClientCertificate:
    return ClientCertificate("0c", "alice", None, issued_at - HOUR, until, seen_at=seen_at)


# ── in a pass ─────────────────────────────────────────────────────────────────────────────────────


def seen_at(house: ClientHouse, name: str = "alice") -> datetime | None:
    (certificate,) = house.world.register.named(name)
    return certificate.seen_at


def test_a_pass_writes_down_who_was_seen() -> None:
    """The client that the target has let in, and nobody else."""
    house = ClientHouse()
    alice, _ = house.client(), house.client("bob")
    at = house.now - MINUTE
    house.target.sightings = {alice.certificate.serial: at, "0badc0de": at}
    assert house.run().is_good
    assert (seen_at(house), seen_at(house, "bob")) == (at, None)


def test_our_own_visits_are_nobodys() -> None:
    """A probe is no client: it is not written down when it was let in."""
    house = ClientHouse()
    probe = house.world.authority.probe()
    assert probe is not None
    house.target.sightings = {probe.certificate.serial: house.now}
    assert house.run().is_good
    found = house.world.register.find(probe.certificate.serial)
    assert found is not None
    assert found.seen_at is None


def test_a_pass_about_one_certificate_looks_at_nobody() -> None:
    """It would not know of all the targets."""
    house = ClientHouse()
    alice = house.client()
    house.target.sightings = {alice.certificate.serial: house.now}
    house.run(is_whole=False)
    assert (seen_at(house), house.world.register.watched_since()) == (None, None)


def test_whoever_is_at_the_register_is_not_waited_for() -> None:
    """The next pass does it; nothing has gone wrong."""
    house = ClientHouse()
    alice = house.client()
    house.target.sightings = {alice.certificate.serial: house.now}
    house.world.locks.busy.add("authority")
    assert house.run().is_good
    assert seen_at(house) is None
    house.world.locks.busy.clear()
    assert house.run().is_good
    assert seen_at(house) is not None


@pytest.mark.parametrize("step", ["lock", "read", "write"])
def test_a_full_disk_is_told_and_stops_nothing(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it fails: the pass ends, and says so once."""
    house = ClientHouse()
    alice = house.client()
    house.target.sightings = {alice.certificate.serial: house.now}

    def fail(*_: object) -> None:
        raise StoreError("the disk is full", "make room")

    if step == "lock":
        monkeypatch.setattr(house.world.locks, "try_authority", fail)
    else:
        entry = "watched_since" if step == "read" else "saw"
        monkeypatch.setattr(house.world.register, entry, fail)
    assert house.run().store_error is not None
    assert house.errors == ["the disk is full"]


def test_a_wrong_clock_dates_nobody() -> None:
    """What was seen by it would stand in the book for ever, as an instant never moves back."""
    house = ClientHouse()
    alice = house.client()
    house.target.sightings = {alice.certificate.serial: house.now}
    house.world.time_sources.state = False
    house.run()
    assert (seen_at(house), house.world.register.watched_since()) == (None, None)


def test_the_watch_begins_with_the_first_report_and_ends_with_a_target_that_cannot_tell() -> None:
    """Of all that there are; it goes on while Node-RED is merely down."""
    house = ClientHouse("node-red", "nginx")
    watched = house.world.register.watched_since
    one, other = house.world.targets.values()
    one.sightings = {}
    house.run()
    assert watched() is None
    other.sightings = {}
    since = house.after(HOUR).now
    house.run()
    assert watched() == since
    one.sightings = other.sightings = None
    house.after(HOUR).run()
    assert watched() == since
    house.specs = [replace(house.spec, targets=(HOT, MUTE))]
    house.run()
    assert watched() is None


# ── what is news ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "told", "expected"),
    [
        (None, [NOW - DAY], NOW - DAY),
        (None, [NOW - DAY, NOW - HOUR], NOW - HOUR),
        (None, [NOW - HOUR, NOW - DAY], NOW - HOUR),
        (None, [NOW + 300 * DAY], NOW),
        (None, [NOW + DAY, NOW - DAY], NOW),
        (NOW - DAY, [NOW - DAY], None),
        (NOW - DAY, [NOW - DAY + HOUR], None),
        (NOW - DAY, [NOW - DAY + HOUR + SECOND], NOW - DAY + HOUR + SECOND),
        (NOW - DAY, [NOW - 2 * DAY], None),
        (NOW - DAY, [], None),
    ],
)
def test_what_is_worth_writing_down(
    before: datetime | None, told: list[datetime], expected: datetime | None
) -> None:
    """The latest of what is told, no later than now, and only if it is later by over an hour."""
    known = [a_used_client(seen_at=before)]
    found = news(known, [{"0c": each} for each in told], NOW)
    assert found == ({} if expected is None else {"0c": expected})


@pytest.mark.parametrize(
    ("target", "expected"),
    [(HOT, True), (MUTE, False), (a_target_spec("node-red", reload=HotReload()), False)],
)
def test_who_can_tell(target: TargetSpec, expected: bool) -> None:  # noqa: FBT001 - a parameter
    """certwarden's own module, where it asks clients for certificates."""
    assert can_tell(target) is expected


@pytest.mark.parametrize(
    ("before", "guarded", "is_complete", "expected"),
    [
        (None, [HOT], True, NOW),
        (None, [HOT], False, None),
        (NOW - DAY, [HOT], True, NOW - DAY),
        (NOW - DAY, [HOT], False, NOW - DAY),
        (NOW - DAY, [HOT, MUTE], True, None),
        (NOW - DAY, [], True, None),
        (NOW + DAY, [HOT], True, NOW),
        (NOW + DAY, [HOT], False, None),
    ],
)
def test_since_when_nobody_comes_in_unseen(
    *, before: datetime | None, guarded: list[TargetSpec], is_complete: bool, expected: datetime
) -> None:
    """Since all have told; not any more where one cannot; a beginning to come was a wrong clock."""
    assert watch(before, guarded, NOW, is_complete=is_complete) == expected


# ── what is odd ───────────────────────────────────────────────────────────────────────────────────


def usage(client: ClientCertificate, after: timedelta, since: datetime | None) -> str | None:
    return client_usage(client, NOW + after, since)


@pytest.mark.parametrize("since", [NOW, NOW - DAY])
def test_a_certificate_that_was_not_used_within_a_week_is_told(since: datetime) -> None:
    """Not before; and once it was seen, never again."""
    unused = a_used_client()
    assert usage(unused, 7 * DAY, since) is None
    assert usage(unused, 7 * DAY + SECOND, since) is ClientUsage.NEVER_USED
    assert usage(unused, 300 * DAY, since) is ClientUsage.NEVER_USED
    assert usage(a_used_client(seen_at=NOW), 8 * DAY, since) is None


def test_what_was_issued_before_the_watch_is_not_called_unused() -> None:
    """Whoever used it then was not seen: it is not seen for as long as the watch lasts."""
    old = a_used_client(issued_at=NOW - 100 * DAY)
    assert usage(old, 8 * DAY, NOW) is None
    assert usage(old, 90 * DAY, NOW) is None
    assert usage(old, 91 * DAY, NOW) is ClientUsage.NOT_SEEN


@pytest.mark.parametrize("since", [NOW - DAY, NOW])
def test_who_was_not_seen_for_long_is_told(since: datetime) -> None:
    """After ninety days, counted from when the watch began if that is later."""
    seen = a_used_client(seen_at=NOW, issued_at=NOW - 300 * DAY)
    assert usage(seen, 90 * DAY, since) is None
    assert usage(seen, 90 * DAY + SECOND, since) is ClientUsage.NOT_SEEN
    assert usage(seen, 91 * DAY, NOW + 50 * DAY) is None


def test_nothing_is_odd_where_nobody_can_tell_or_it_is_over() -> None:
    """Without a watch nobody knows; of revoked and expired ones nobody cares."""
    assert usage(a_used_client(), 300 * DAY, None) is None
    assert usage(a_used_client(until=NOW + DAY), 300 * DAY, NOW) is None
    assert client_usage(a_client(revoked_at=NOW), NOW + 300 * DAY, NOW - DAY) is None
