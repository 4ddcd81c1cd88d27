"""The book of invitations: a token is burnt with the entry of its certificate, or not at all."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from certwarden.errors import StoreError
from certwarden.model import ClientPurpose, Enrolment, Invitation, RevocationReason
from certwarden.store.database import Database
from certwarden.store.invitations import InvitationBook
from certwarden.store.ledger import Ledger
from certwarden.store.schema import MIGRATIONS
from tests import crash
from tests.builders import NOW
from tests.builders_authority import a_client_certificate
from tests.fakes_authority import the_books

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SOON = NOW + 15 * MINUTE
LATER = NOW + 14 * DAY
KILLED = 77


def an_invitation(
    invitation_id: str = "aaaaaaaa",
    name: str = "alice",
    *,
    made_at: datetime = NOW,
    ends_at: datetime = SOON,
) -> Invitation:
    """One that nobody has come for yet."""
    return Invitation(
        id=invitation_id,
        digest="5e" * 32,
        name=name,
        email=None,
        lifetime=None,
        enrolment=Enrolment.PAGE,
        made_at=made_at,
        ends_at=ends_at,
        tries_left=5,
    )


class Books:
    """The invitations and the register beside them."""

    def __init__(self) -> None:
        self.register, self.invitations = the_books()

    def redeem(self, invitation_id: str = "aaaaaaaa", serial: str = "0a") -> None:
        redeem(self.invitations, invitation_id, serial)

    def found(self, invitation_id: str = "aaaaaaaa") -> Invitation:
        found = self.invitations.find(invitation_id)
        assert found is not None
        return found


def redeem(
    invitations: InvitationBook, invitation_id: str, serial: str, now: datetime = NOW
) -> None:
    certificate, how = a_client_certificate(serial), Enrolment.EST
    invitations.redeem(invitation_id, now, certificate, b"PEM", enrolment=how, supersede_at=LATER)


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.mark.parametrize(
    "given",
    [
        an_invitation(),
        replace(
            an_invitation(),
            email="alice@example.org",
            lifetime=90 * DAY,
            enrolment=Enrolment.EST,
            tries_left=0,
        ),
        replace(an_invitation(), redeemed_at=NOW, serial="0a", withdrawn_at=NOW + MINUTE),
    ],
)
def test_what_was_written_down_is_found(books: Books, given: Invitation) -> None:
    """Every field of it; another name finds nothing."""
    books.invitations.add(given)
    assert books.invitations.find(given.id) == given
    assert books.invitations.of("alice") == (given,)
    assert books.invitations.find("bbbbbbbb") is None
    assert books.invitations.of("bob") == ()


def test_an_id_is_given_once(books: Books) -> None:
    """A second one of the same id is refused in a sentence, and withdraws nothing."""
    books.invitations.add(an_invitation())
    with pytest.raises(StoreError, match="aaaaaaaa already") as refused:
        books.invitations.add(an_invitation())
    assert refused.value.hint
    assert books.invitations.open(NOW) == (an_invitation(),)


def test_another_invitation_withdraws_those_before(books: Books) -> None:
    """Of that client alone; one that is over does not come back with a clock that is put back."""
    for invitation_id, ends_at in (("aaaaaaaa", SOON), ("bbbbbbbb", NOW - DAY)):
        books.invitations.add(an_invitation(invitation_id, ends_at=ends_at))
    books.invitations.add(an_invitation("cccccccc", "carol"))
    books.invitations.add(an_invitation("dddddddd", made_at=NOW + MINUTE))
    names = {each.id for each in books.invitations.open(NOW + MINUTE)}
    assert names == {"cccccccc", "dddddddd"}
    # The one that was over was withdrawn by the one after it, the other by the last.
    assert books.found("aaaaaaaa").withdrawn_at == NOW
    assert books.found("bbbbbbbb").withdrawn_at == NOW + MINUTE


def test_the_open_ones(books: Books) -> None:
    """Those of the hour that are neither used nor worn out; the one that ends soonest first."""
    late = an_invitation("aaaaaaaa", "a", ends_at=NOW + 2 * DAY)
    soon = an_invitation("bbbbbbbb", "b", ends_at=NOW + DAY)
    for each in (
        late,
        soon,
        an_invitation("cccccccc", "c", ends_at=NOW),
        an_invitation("dddddddd", "d", made_at=NOW + MINUTE),
        replace(an_invitation("eeeeeeee", "e"), redeemed_at=NOW, serial="0e"),
        replace(an_invitation("ffffffff", "f"), withdrawn_at=NOW),
        replace(an_invitation("gggggggg", "g"), tries_left=0),
    ):
        books.invitations.add(each)
    assert books.invitations.open(NOW) == (soon, late)


def test_a_client_s_newest_is_first(books: Books) -> None:
    """By the order in which they were made, whatever the clock showed."""
    for number, invitation_id in enumerate(("aaaaaaaa", "bbbbbbbb")):
        books.invitations.add(an_invitation(invitation_id, made_at=NOW - number * DAY))
    assert [each.id for each in books.invitations.of("alice")] == ["bbbbbbbb", "aaaaaaaa"]


def test_tries_run_out(books: Books) -> None:
    """Each takes one, none more than there were."""
    books.invitations.add(an_invitation())
    left = []
    for _ in range(7):
        books.invitations.miss("aaaaaaaa")
        left.append(books.found().tries_left)
    assert left == [4, 3, 2, 1, 0, 0, 0]
    assert books.invitations.open(NOW) == ()


def test_redeemed_with_its_certificate(books: Books) -> None:
    """Token and certificate are entered together, and the client's others are superseded."""
    books.register.add([a_client_certificate(serial) for serial in ("01", "02", "03", "04")])
    books.register.add([a_client_certificate("05", "bob")])
    books.register.add([a_client_certificate("06", purpose=ClientPurpose.PROBE)])
    books.register.signed({f"0{number}": b"PEM" for number in (1, 2, 3, 5, 6)})  # 04 was cut short
    books.register.revoke(["02"], RevocationReason.UNSPECIFIED, NOW)
    books.register.supersede(["03"], NOW + DAY)
    books.invitations.add(an_invitation())
    books.redeem()
    used = books.found()
    assert (used.redeemed_at, used.serial, used.enrolment) == (NOW, "0a", Enrolment.EST)
    entry = books.register.find("0a")
    assert entry == a_client_certificate("0a", is_signed=True)
    assert books.register.pem("0a") == b"PEM"
    ends = {f"0{n}": books.register.find(f"0{n}") for n in range(1, 7)}
    assert {serial: each.supersede_at for serial, each in ends.items() if each is not None} == {
        "01": LATER,
        "02": None,
        "03": NOW + DAY,
        "04": None,
        "05": None,
        "06": None,
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda book: book.withdraw("aaaaaaaa", NOW),
        lambda book: redeem(book, "aaaaaaaa", "0b"),
        lambda book: [book.miss("aaaaaaaa") for _ in range(5)],
        lambda book: book.forget(NOW + DAY),
    ],
    ids=["withdrawn", "redeemed", "worn out", "forgotten"],
)
def test_what_is_not_open_is_not_redeemed(
    books: Books, spoil: Callable[[InvitationBook], None]
) -> None:
    """Refused in a sentence, and nothing is written: neither a certificate nor another's end."""
    books.register.add([a_client_certificate("01")])
    books.register.signed({"01": b"PEM"})
    books.invitations.add(an_invitation())
    spoil(books.invitations)
    before = (books.register.clients(), books.invitations.of("alice"))
    with pytest.raises(StoreError, match="not open any more"):
        books.redeem()
    assert (books.register.clients(), books.invitations.of("alice")) == before


@pytest.mark.parametrize("now", [NOW - MINUTE, SOON, SOON + DAY])
def test_nor_outside_its_time(books: Books, now: datetime) -> None:
    """Its end is over at its instant; before it was made, a clock was put back."""
    books.invitations.add(an_invitation())
    with pytest.raises(StoreError):
        redeem(books.invitations, "aaaaaaaa", "0a", now)
    assert books.register.clients() == ()


def test_a_known_serial_burns_no_token(tmp_path: Path) -> None:
    """What is wrong with the entry takes the whole transaction back."""
    ledger = Ledger(tmp_path / "certwarden.db")
    ledger.register.add([a_client_certificate("0a", "bob")])
    ledger.invitations.add(an_invitation())
    with pytest.raises(StoreError):
        redeem(ledger.invitations, "aaaaaaaa", "0a")
    assert ledger.invitations.open(NOW) == (an_invitation(),)
    ledger.close()


def test_withdrawn(books: Books) -> None:
    """Once for all; one that was redeemed stays as it is, and one that is not there is passed."""
    books.invitations.add(an_invitation())
    books.invitations.withdraw("aaaaaaaa", NOW)
    books.invitations.withdraw("aaaaaaaa", NOW + DAY)
    assert books.found().withdrawn_at == NOW
    books.invitations.add(an_invitation("bbbbbbbb"))
    books.redeem("bbbbbbbb")
    books.invitations.withdraw("bbbbbbbb", NOW)
    assert books.found("bbbbbbbb").withdrawn_at is None
    books.invitations.withdraw("zzzzzzzz", NOW)


def test_all_of_them_withdrawn(books: Books) -> None:
    """Those of the future and of the past as well; one that was redeemed stays as it is."""
    books.invitations.add(an_invitation())
    books.redeem()
    books.invitations.add(
        an_invitation("bbbbbbbb", "bob", made_at=NOW + DAY, ends_at=NOW + 2 * DAY)
    )
    books.invitations.add(an_invitation("cccccccc", "carol", ends_at=NOW))
    books.invitations.withdraw_all(NOW)
    assert [books.found(8 * each).withdrawn_at for each in "abc"] == [None, NOW, NOW]


def test_those_that_nobody_came_for_are_forgotten(books: Books) -> None:
    """Which certificate came of which invitation is kept."""
    books.invitations.add(an_invitation())
    books.redeem()
    books.invitations.add(an_invitation("bbbbbbbb"))
    books.invitations.add(an_invitation("cccccccc", ends_at=SOON + DAY))
    books.invitations.forget(SOON)
    assert len(books.invitations.of("alice")) == 3
    books.invitations.forget(SOON + MINUTE)
    assert [each.id for each in books.invitations.of("alice")] == ["cccccccc", "aaaaaaaa"]


def test_killed_between_two_statements(tmp_path: Path) -> None:
    """Wherever the transaction is cut short, nothing of it is there."""
    path = tmp_path / "certwarden.db"
    ledger = Ledger(path)
    ledger.register.add([a_client_certificate("01")])
    ledger.register.signed({"01": b"PEM"})
    ledger.invitations.add(an_invitation())
    before = (ledger.register.clients(), ledger.invitations.of("alice"))
    ledger.close()

    def work(step: int) -> None:
        mine = Ledger(path)
        seen: list[str] = []

        def trace(statement: str) -> None:
            if len(seen) == step:
                os._exit(KILLED)
            seen.append(statement)

        with mine.register._database.reading() as connection:
            connection.set_trace_callback(trace)
        redeem(mine.invitations, "aaaaaaaa", "0a")

    step = 0
    while crash.in_child(partial(work, step)) == KILLED:
        step += 1
        assert (ledger.register.clients(), ledger.invitations.of("alice")) == before
        ledger.close()
    assert step > 5
    used = ledger.invitations.find("aaaaaaaa")
    assert used is not None
    assert used.serial == "0a"
    ledger.close()


def test_a_database_from_before_the_invitations(tmp_path: Path) -> None:
    """Its clients stay, and were never seen; there is nobody who was invited."""
    path = tmp_path / "certwarden.db"
    database = Database(path, MIGRATIONS[:4], create=True)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO client_certificates (serial, purpose, name, not_before, not_after,"
            " is_signed, pem) VALUES ('0a', 'client', 'alice', ?, ?, 1, ?)",
            (NOW.isoformat(), (NOW + DAY).isoformat(), b"PEM"),
        )
    database.close()
    ledger = Ledger(path)
    (alice,) = ledger.register.clients()
    assert alice == a_client_certificate(not_before=NOW, not_after=NOW + DAY, is_signed=True)
    assert alice.seen_at is None
    assert ledger.register.pem("0a") == b"PEM"
    assert ledger.invitations.open(NOW) == ()
    ledger.invitations.add(an_invitation())
    redeem(ledger.invitations, "aaaaaaaa", "0b")
    assert len(ledger.register.named("alice")) == 2
    ledger.close()
    assert path.with_name("certwarden.db.before-5").exists()


def test_damaged_rows_are_a_sentence(tmp_path: Path) -> None:
    """A value that is not ours is an error that names the file."""
    path = tmp_path / "certwarden.db"
    ledger = Ledger(path)
    ledger.invitations.add(an_invitation())
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE invitations SET enrolment = 'pigeon'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"certwarden\.db holds what is not ours"):
        ledger.invitations.find("aaaaaaaa")
    ledger.close()
