"""The private CA's book: nothing in it is lost or taken back, and the numbers of lists rise."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.errors import MaterialError, StoreError
from certwarden.model import ClientPurpose, Crl, DeployOutcome, RevocationReason, Revoked, Rung
from certwarden.store.database import Database
from certwarden.store.ledger import Ledger
from certwarden.store.register import Register
from certwarden.store.schema import MIGRATIONS
from tests import crash
from tests.builders import NOW
from tests.builders_authority import (
    CRL_LIFETIME,
    a_client_certificate,
    a_private_authority,
    a_revocation,
)
from tests.fakes_authority import a_register

DAY = timedelta(days=1)
UNSPECIFIED = RevocationReason.UNSPECIFIED


@pytest.fixture
def register() -> Register:
    return a_register()


class Signer:
    """Makes lists without signing them, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, datetime, list[str]]] = []

    def __call__(self, number: int, at: datetime, entries: Sequence[Revoked]) -> Crl:
        serials = [entry.serial for entry in entries]
        self.asked.append((number, at, serials))
        pem = f"list {number}".encode()
        return Crl(pem, number, at, at + CRL_LIFETIME, frozenset(serials))


def sign(register: Register, now: datetime = NOW) -> Crl:
    (crl,) = register.sign_lists([now], now, Signer())
    return crl


def fill(register: Register, *serials: str, not_after: datetime = NOW + 99 * DAY) -> None:
    register.add([a_client_certificate(serial, not_after=not_after) for serial in serials])


# ── certificates ──────────────────────────────────────────────────────────────────────────────────


def test_a_certificate_is_known_before_it_is_signed(register: Register) -> None:
    """What was written down is found as it was given, unsigned until the signature is there."""
    given = a_client_certificate("0a", "alice", email="alice@example.org")
    register.add([given])
    assert register.find("0a") == given
    assert not given.is_signed
    assert register.pem("0a") is None
    register.signed({"0a": b"PEM"})
    found = register.find("0a")
    assert found is not None
    assert found.is_signed
    assert register.pem("0a") == b"PEM"


def test_nothing_counts_as_signed_by_being_added(register: Register) -> None:
    """Whoever adds cannot say that it is signed: only a signature that was handed in does."""
    register.add([a_client_certificate("0a", is_signed=True)])
    assert [each.is_signed for each in register.clients()] == [False]


@pytest.mark.parametrize("serials", [("0b", "0a"), ("0b", "0b")])
def test_a_known_serial_is_refused(register: Register, serials: tuple[str, ...]) -> None:
    """No serial is used twice, and of a batch that holds one nothing is written."""
    fill(register, "0a")
    with pytest.raises(StoreError):
        register.add([a_client_certificate(serial, "bob") for serial in serials])
    assert register.named("bob") == ()


def test_the_refusal_of_a_serial_names_it(register: Register) -> None:
    """A person is told which serial it is."""
    fill(register, "0a")
    with pytest.raises(StoreError, match="serial 0a already") as refused:
        fill(register, "0a")
    assert refused.value.hint
    assert len(register.clients()) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda register: register.signed({"0a": b"PEM", "ff": b"PEM"}),
        lambda register: register.revoke(["0a", "ff"], UNSPECIFIED, NOW),
        lambda register: register.supersede(["0a", "ff"], NOW),
    ],
    ids=["signed", "revoke", "supersede"],
)
def test_an_unknown_serial_is_refused(
    register: Register, write: Callable[[Register], None]
) -> None:
    """Nobody is told that something was done to a certificate that is not there."""
    fill(register, "0a")
    before = register.find("0a")
    with pytest.raises(StoreError, match="no certificate of the serial ff"):
        write(register)
    assert register.find("0a") == before
    assert register.pem("0a") is None


def test_clients_stand_in_order(register: Register) -> None:
    """By name, each one's as they were added; ours for probing are not among them."""
    register.add([a_client_certificate("0c", "bob"), a_client_certificate("0b", "alice")])
    register.add([a_client_certificate("0a", "bob")])
    register.add([a_client_certificate("0d", "alice", purpose=ClientPurpose.PROBE)])
    assert [each.serial for each in register.clients()] == ["0b", "0c", "0a"]
    assert [each.serial for each in register.named("bob")] == ["0a", "0c"]
    assert [each.serial for each in register.named("alice")] == ["0b"]
    probe = register.find("0d")
    assert probe is not None
    assert probe.purpose is ClientPurpose.PROBE
    assert register.find("0e") is None
    assert register.pem("0e") is None


def test_when_a_client_was_last_seen(register: Register) -> None:
    """The last sight of each client counts, in whatever order they come."""
    fill(register, "0a", "0b")
    register.add([a_client_certificate("0c", purpose=ClientPurpose.PROBE)])
    register.saw({"0a": NOW, "0c": NOW, "ff": NOW})
    register.saw({"0a": NOW - DAY, "0b": NOW})
    register.saw({"0b": NOW + timedelta(microseconds=1)})
    found = [register.find(serial) for serial in ("0a", "0b", "0c")]
    seen = [each.seen_at for each in found if each is not None]
    assert seen == [NOW, NOW + timedelta(microseconds=1), None]


def test_since_when_clients_are_watched(register: Register) -> None:
    """The last word counts; that they are not watched any more is one, too."""
    assert register.watched_since() is None
    for since in (NOW, NOW - DAY, None):
        register.set_watched_since(since)
        assert register.watched_since() == since


def test_probes_that_ended_are_forgotten(register: Register) -> None:
    """Only those that were never revoked, and no client ever."""
    probe, client = ClientPurpose.PROBE, ClientPurpose.CLIENT
    register.add(
        [
            a_client_certificate("0a", purpose=probe, not_after=NOW - DAY),
            a_client_certificate("0b", purpose=probe, not_after=NOW),
            a_client_certificate("0c", purpose=probe, not_after=NOW - DAY),
            a_client_certificate("0d", purpose=client, not_after=NOW - DAY),
        ]
    )
    register.revoke(["0c"], UNSPECIFIED, NOW)
    register.forget_probes(NOW)
    assert [serial for serial in ("0a", "0b", "0c", "0d") if register.find(serial)] == [
        "0b",
        "0c",
        "0d",
    ]


# ── revocations ───────────────────────────────────────────────────────────────────────────────────


def test_what_is_revoked_stays_as_it_is(register: Register) -> None:
    """A second revocation changes neither instant nor reason of the first."""
    fill(register, "0a", "0b")
    register.revoke(["0a"], RevocationReason.KEY_COMPROMISE, NOW)
    register.revoke(["0a", "0b"], RevocationReason.SUPERSEDED, NOW + DAY)
    assert [(each.serial, each.revoked_at, each.reason) for each in register.clients()] == [
        ("0a", NOW, RevocationReason.KEY_COMPROMISE),
        ("0b", NOW + DAY, RevocationReason.SUPERSEDED),
    ]


def test_one_that_was_never_signed_can_be_revoked(register: Register) -> None:
    """Its signature may have got out before the process was killed: the list has it."""
    fill(register, "0a")
    register.revoke(["0a"], UNSPECIFIED, NOW)
    assert sign(register).serials == {"0a"}


def test_superseded_at_the_earlier_instant(register: Register) -> None:
    """A renewal after a renewal does not give the first certificate more time."""
    fill(register, "0a", "0b")
    register.supersede(["0a"], NOW + DAY)
    register.supersede(["0a", "0b"], NOW + 2 * DAY)
    register.supersede(["0b"], NOW)
    assert [each.supersede_at for each in register.clients()] == [NOW + DAY, NOW]


def test_a_list_is_taken_over(register: Register) -> None:
    """Unknown serials become clients of whom nothing else is known; no revocation is taken back."""
    fill(register, "0a", "0b", "0c")
    register.revoke(["0b"], RevocationReason.KEY_COMPROMISE, NOW)
    found = [
        a_revocation("ff", NOW - DAY, RevocationReason.SUPERSEDED),
        a_revocation("0b", NOW - DAY),
        a_revocation("0a", NOW - DAY),
        a_revocation("ee"),
        a_revocation("ff"),
    ]
    assert register.take_over(found, 7) == ("ff", "ee")
    assert register.take_over(found, 7) == ()
    assert register.last_number() == 7
    stranger = register.find("ff")
    assert stranger is not None
    assert (stranger.name, stranger.email, stranger.not_before, stranger.not_after) == (
        "",
        None,
        None,
        None,
    )
    assert (stranger.purpose, stranger.is_signed) == (ClientPurpose.CLIENT, True)
    assert (stranger.revoked_at, stranger.reason) == (NOW - DAY, RevocationReason.SUPERSEDED)
    revoked = {each.serial: each.revoked_at for each in register.clients()}
    assert revoked == {"0a": NOW - DAY, "0b": NOW, "0c": None, "ff": NOW - DAY, "ee": NOW}


def test_the_number_never_falls(register: Register) -> None:
    """A list that was found raises it, an older one does not lower it."""
    assert register.last_number() == 0
    register.take_over([], 1000)
    register.take_over([], 5)
    assert register.last_number() == 1000
    assert sign(register).number == 1001


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────


def test_lists_have_the_next_numbers(register: Register) -> None:
    """One for each date, with the same entries in a settled order: revoked first, first."""
    fill(register, "0a", "0b", "0c", "0d")
    register.revoke(["0c"], UNSPECIFIED, NOW)
    register.revoke(["0d", "0a"], UNSPECIFIED, NOW + DAY)
    signer = Signer()
    dates = [NOW, NOW + 10 * DAY]
    first, second = register.sign_lists(dates, NOW, signer)
    assert signer.asked == [(1, dates[0], ["0c", "0a", "0d"]), (2, dates[1], ["0c", "0a", "0d"])]
    assert (first.number, second.number, register.last_number()) == (1, 2, 2)
    assert sign(register).number == 3


def test_entries_are_whole(register: Register) -> None:
    """Whoever signs gets each entry's instant and reason as they were written down."""
    fill(register, "0a")
    register.revoke(["0a"], RevocationReason.PRIVILEGE_WITHDRAWN, NOW + timedelta(microseconds=1))
    seen: list[Revoked] = []

    def look(number: int, at: datetime, entries: Sequence[Revoked]) -> Crl:
        seen.extend(entries)
        return Signer()(number, at, entries)

    register.sign_lists([NOW], NOW, look)
    instant, reason = NOW + timedelta(microseconds=1), RevocationReason.PRIVILEGE_WITHDRAWN
    assert seen == [a_revocation("0a", instant, reason)]


def test_a_signature_that_fails_has_not_happened(register: Register) -> None:
    """Neither its number nor its ladder is written down, and the old ladder stays."""
    register.sign_lists([NOW, NOW + DAY], NOW, Signer())
    ladder = register.ladder()
    signer = Signer()

    def fail(number: int, at: datetime, entries: Sequence[Revoked]) -> Crl:
        if number > 3:
            raise MaterialError("the key is gone")
        return signer(number, at, entries)

    with pytest.raises(MaterialError):
        register.sign_lists([NOW, NOW + DAY, NOW + 2 * DAY], NOW, fail)
    assert signer.asked
    assert register.last_number() == 2
    assert register.ladder() == ladder
    assert register.rung(2) == b"list 2"


def test_without_a_date_nothing_is_signed(register: Register) -> None:
    """The ladder stays, and no list counts as signed."""
    register.sign_lists([NOW, NOW + DAY], NOW, Signer())
    assert register.sign_lists([], NOW, Signer()) == ()
    assert len(register.ladder()) == 2
    assert register.last_number() == 2


def test_the_superseded_are_known_by_their_time(register: Register) -> None:
    """Those whose time is over and who are not revoked yet, and no others."""
    fill(register, "0a", "0b", "0c")
    register.supersede(["0a", "0b"], NOW + DAY)
    register.revoke(["0b"], UNSPECIFIED, NOW)
    assert register.superseded(NOW + DAY - timedelta(microseconds=1)) == ()
    assert register.superseded(NOW + DAY) == ("0a",)


def test_the_ladder(register: Register) -> None:
    """The lists wait until they are stepped upon or until there are new ones; the first one, too:
    a kill may come between its signature and its publication.
    """
    dates = [NOW + place * 10 * DAY for place in range(4)]
    register.sign_lists(dates, NOW, Signer())
    assert register.ladder() == tuple(
        Rung(number, at, at + CRL_LIFETIME) for number, at in enumerate(dates, start=1)
    )
    assert register.rung(3) == b"list 3"
    register.step_up(3)
    assert [rung.number for rung in register.ladder()] == [4]
    with pytest.raises(StoreError, match="no list number 3") as refused:
        register.rung(3)
    assert "ca unlock" in refused.value.hint
    register.sign_lists(dates[:2], NOW, Signer())
    assert [rung.number for rung in register.ladder()] == [5, 6]
    sign(register)
    assert register.ladder() == ()


def test_an_expired_entry_goes_one_list_later(register: Register) -> None:
    """RFC 5280 section 3.3: it is in one list that was signed after its certificate's end."""
    fill(register, "0a", not_after=NOW + DAY)
    fill(register, "0b", not_after=NOW + 99 * DAY)
    register.revoke(["0a", "0b"], UNSPECIFIED, NOW)
    assert sign(register, NOW).serials == {"0a", "0b"}
    assert sign(register, NOW + DAY).serials == {"0a", "0b"}  # at its very end it may be used
    assert sign(register, NOW + 2 * DAY).serials == {"0a", "0b"}
    assert sign(register, NOW + 3 * DAY).serials == {"0b"}
    found = register.find("0a")
    assert found is not None
    assert found.revoked_at == NOW


def test_one_revoked_after_its_end_is_listed_once(register: Register) -> None:
    """It was in no list before: the one that was signed after its end does not count."""
    fill(register, "0a", not_after=NOW)
    sign(register, NOW + DAY)
    register.revoke(["0a"], UNSPECIFIED, NOW - DAY)
    assert register.unlisted(None) == {"0a"}
    assert sign(register, NOW + 2 * DAY).serials == {"0a"}
    assert sign(register, NOW + 3 * DAY).serials == frozenset()


def test_taken_over_entries_stay(register: Register) -> None:
    """Nobody knows when their certificates end."""
    register.take_over([a_revocation("ff")], 1)
    for year in range(4):
        assert sign(register, NOW + year * 365 * DAY).serials == {"ff"}


def test_a_list_of_the_future_drops_nothing(register: Register) -> None:
    """What a wrong clock signed counts as signed now: who is not at his end stays listed."""
    fill(register, "0a", not_after=NOW + 99 * DAY)
    register.revoke(["0a"], UNSPECIFIED, NOW)
    assert sign(register, NOW + 5000 * DAY).serials == {"0a"}
    assert sign(register, NOW + DAY).serials == {"0a"}


def test_a_register_from_before_drops_nothing_at_once(register: Register) -> None:
    """After numbers were jumped over nobody knows what the lists held: entries are listed again."""
    fill(register, "0a", not_after=NOW)
    register.revoke(["0a"], UNSPECIFIED, NOW - DAY)
    sign(register, NOW + DAY)
    register.take_over([], 1000)
    assert sign(register, NOW + 2 * DAY).serials == {"0a"}
    assert sign(register, NOW + 3 * DAY).serials == frozenset()


def test_unlisted(register: Register) -> None:
    """What the next list will hold and this one does not; without a list, all of it."""
    assert register.unlisted(None) == frozenset()
    fill(register, "0a", "0b", "0c")
    register.revoke(["0a"], UNSPECIFIED, NOW)
    crl = sign(register)
    assert register.unlisted(crl) == frozenset()
    register.revoke(["0b"], UNSPECIFIED, NOW)
    assert register.unlisted(crl) == {"0b"}
    assert register.unlisted(None) == {"0a", "0b"}


def test_what_is_unlisted_comes_to_an_end(register: Register) -> None:
    """Every list that is signed leaves nothing unlisted: no list is signed in vain for ever."""
    register.take_over([a_revocation("ff")], 3)
    for day in range(0, 40, 3):
        fill(register, f"{day:02x}", not_after=NOW + (day % 7) * DAY)
        register.revoke([f"{day:02x}"], UNSPECIFIED, NOW + day * DAY)
        if day % 4 == 0:
            register.take_over([], 100 * day)
        assert register.unlisted(sign(register, NOW + day * DAY)) == frozenset()


@settings(max_examples=50)
@given(st.data())
def test_whatever_happens_nobody_slips_out_of_the_list(data: st.DataObject) -> None:
    """Who is revoked and not at his end is in every list, and in one more; numbers only rise."""
    register, now, number = a_register(), NOW, 0
    ends: dict[str, datetime | None] = {}
    farewells: set[str] = set()  # those that were in a list that was signed after their end
    for step in range(data.draw(st.integers(1, 12))):
        now += data.draw(st.integers(0, 5)) * DAY
        serial = f"{step:02x}"
        match data.draw(st.sampled_from(["revoke", "take over", "jump", "sign"])):
            case "revoke":
                end = now + data.draw(st.integers(-3, 9)) * DAY
                ends[serial] = end
                fill(register, serial, not_after=end)
                register.revoke([serial], UNSPECIFIED, now)
            case "take over":
                ends[serial] = None
                register.take_over([a_revocation(serial, now)], number)
            case "jump":
                number += 10
                register.take_over([], number)
        gone = {each for each, end in ends.items() if end and end < now}
        if data.draw(st.booleans()):
            wrong = sign(register, now + 9999 * DAY)  # by a wrong clock
            number = wrong.number
            farewells |= gone & wrong.serials
        crl = sign(register, now)
        assert crl.number > number
        number = crl.number
        assert {each for each, end in ends.items() if end is None or end >= now} <= crl.serials
        assert ends.keys() - crl.serials <= farewells
        assert register.unlisted(crl) == frozenset()
        farewells |= gone


def test_backups(register: Register) -> None:
    """When the last one was made; None before the first."""
    assert register.backed_up_at() is None
    register.set_backed_up_at(NOW)
    register.set_backed_up_at(NOW + DAY)
    assert register.backed_up_at() == NOW + DAY


# ── on disk ───────────────────────────────────────────────────────────────────────────────────────


def test_killed_while_signing(tmp_path: Path) -> None:
    """A process that dies before the last signature leaves number and ladder as they were."""
    path = tmp_path / "certwarden.db"
    ledger = Ledger(path)
    fill(ledger.register, "0a")
    ledger.register.sign_lists([NOW, NOW + DAY], NOW, Signer())
    ledger.close()

    def die(number: int, at: datetime, entries: Sequence[Revoked]) -> Crl:
        if number == 4:
            os._exit(1)
        return Signer()(number, at, entries)

    def work() -> None:
        mine = Ledger(path).register
        mine.revoke(["0a"], UNSPECIFIED, NOW)
        mine.sign_lists([NOW, NOW + DAY, NOW + 2 * DAY], NOW, die)

    assert crash.in_child(work) == 1
    register = Ledger(path).register
    assert register.last_number() == 2
    assert [rung.number for rung in register.ladder()] == [1, 2]
    assert register.unlisted(None) == {"0a"}


def test_a_database_from_before_the_register(tmp_path: Path) -> None:
    """Its deploys stay, without a list; a copy of it is kept, and the register begins empty."""
    path = tmp_path / "certwarden.db"
    database = Database(path, MIGRATIONS[:3], create=True)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO deploys (target, fingerprint, begun_at, outcome) VALUES (?, ?, ?, ?)",
            ("node-red", "ab", NOW.isoformat(), DeployOutcome.IN_USE),
        )
    database.close()
    ledger = Ledger(path)
    record = ledger.last_deploy("node-red")
    assert record is not None
    assert (record.fingerprint, record.crl_number) == ("ab", None)
    assert ledger.register.clients() == ()
    assert ledger.register.last_number() == 0
    ledger.close()
    assert path.with_name(f"certwarden.db.before-{len(MIGRATIONS)}").exists()


def test_one_commit_for_a_batch(tmp_path: Path) -> None:
    """A thousand certificates cost the card one transaction, and so do their signatures."""
    ledger = Ledger(tmp_path / "certwarden.db")
    statements: list[str] = []
    with ledger.register._database.reading() as connection:
        connection.set_trace_callback(statements.append)
    serials = [f"{number:04x}" for number in range(1000)]
    fill(ledger.register, *serials)
    ledger.register.signed(dict.fromkeys(serials, b"PEM"))
    assert statements.count("COMMIT") == 2
    assert sum(statement.startswith("SELECT") for statement in statements) < 10
    ledger.close()


def test_damaged_rows_are_a_sentence(tmp_path: Path) -> None:
    """A value that is not ours is an error that names the file; nothing is signed without it."""
    path = tmp_path / "certwarden.db"
    ledger = Ledger(path)
    fill(ledger.register, "0a")
    ledger.register.revoke(["0a"], UNSPECIFIED, NOW)
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE client_certificates SET reason = 'mood'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=str(path)):
        sign(ledger.register)
    assert ledger.register.last_number() == 0
    ledger.close()


# ── many ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_next_list_is_found_by_the_index_alone() -> None:
    """However many certificates there are, signing reads the revoked ones only."""
    register = a_register()
    plans: list[str] = []
    statements: list[str] = []
    with register._database.reading() as connection:
        connection.set_trace_callback(statements.append)
        register.unlisted(None)
        sign(register)
        connection.set_trace_callback(None)
        for statement in statements:
            if statement.startswith("SELECT serial"):
                rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}")
                plans += [row["detail"] for row in rows]
    assert len(plans) == 2
    assert all("COVERING INDEX revocations_of_clients" in plan for plan in plans), plans


def test_signed_from_the_book_by_the_real_signer() -> None:
    """What comes out is a list of this CA's with number, dates and entries of the book."""
    register, authority = a_register(), a_private_authority()
    register.add([a_client_certificate("0a"), a_client_certificate("0b")])
    register.revoke(["0b"], RevocationReason.KEY_COMPROMISE, NOW)
    first, rung = register.sign_lists([NOW, NOW + DAY], NOW, authority.sign_list)
    assert first.number == 1
    assert first.serials == {"0b"}
    assert register.rung(2) == rung.pem
    assert register.ladder()[1:] == (Rung(2, NOW + DAY, NOW + DAY + CRL_LIFETIME),)


@pytest.mark.parametrize("count", [1, 500])
def test_signing_takes_as_many_queries_for_many(count: int) -> None:
    """However many entries there are, they are read by one query."""
    register = a_register()
    serials = [f"{number:04x}" for number in range(count)]
    fill(register, *serials)
    register.revoke(serials, UNSPECIFIED, NOW)
    statements: list[str] = []
    with register._database.reading() as connection:
        connection.set_trace_callback(statements.append)
    assert sign(register).serials == frozenset(serials)
    assert len(statements) < 10
