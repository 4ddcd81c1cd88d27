"""Links for clients near their end: in the message that is sent, and nowhere else."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certwarden.errors import InvitationError, NotifyError, StoreError
from certwarden.lifecycle.announce import announce
from certwarden.lifecycle.authority import observe_authority
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.invite import InvitationRequest, invite, redeem
from certwarden.lifecycle.issue import ClientRequest, issue
from certwarden.lifecycle.judge import ClockJudge
from certwarden.model import Address, Enrolment, Observed, Secret
from certwarden.notify import MAX_TEXT
from certwarden.ports import Level
from tests.builders import a_certificate_spec, a_stored
from tests.fakes_watch import FakeMessenger
from tests.lifecycle.client_house import ClientHouse
from tests.lifecycle.facts import DAY, HOUR
from tests.lifecycle.machine import Machine
from tests.pki.test_csr import a_csr

LINK = re.compile(r"https://example\.org:8443/#([a-z2-7]{8}-[a-z2-7]{26})")
UNREACHABLE = NotifyError("nobody took it")


class InvitingHouse(ClientHouse):
    """A house that is configured to invite; alice's certificate ends in 40 days."""

    def __init__(self, *clients: str, is_listening: bool = True, is_locked: bool = False) -> None:
        super().__init__(is_locked=is_locked)
        assert self.world.authority_spec is not None
        listen = Address("192.0.2.10", 8443) if is_listening else None
        self.world.authority_spec = replace(self.world.authority_spec, invite_listen=listen)
        self.world.key = self.key
        for name in clients or ("alice",):
            issue(self.world, [ClientRequest(name, lifetime=40 * DAY)])
        self.world.key = None if is_locked else self.key

    def notices(self) -> list[str]:
        """The texts of the messages about clients near their end."""
        return [text for _, text in self.messenger.sent if "lient certificate" in text]

    def tokens(self) -> list[Secret]:
        """Those that were sent, oldest first."""
        return [Secret(each.encode()) for text in self.notices() for each in LINK.findall(text)]

    def daily(self, days: int) -> None:
        """A pass each day."""
        for _ in range(days):
            self.after(DAY).run()


def test_a_notice_carries_a_link_that_is_good() -> None:
    """Whoever gets the message opens it on the device; the client has its next certificate."""
    house = InvitingHouse()
    house.after(11 * DAY).run()
    (token,) = house.tokens()
    issued = redeem(house.world, token)
    assert issued.certificate.name == "alice"
    (notice,) = house.notices()
    assert "For alice, to be opened on that device until 2026-12-10" in notice
    assert "certwarden client invite alice" in notice


def test_a_link_is_sent_once_at_each_stage_and_none_after_the_last() -> None:
    """At 30, 14, 7 and 1 days; each takes the place of the one before."""
    house = InvitingHouse()
    house.daily(45)
    assert len(house.notices()) == len(house.tokens()) == 4
    for late in house.tokens()[:-1]:
        with pytest.raises(InvitationError):
            redeem(house.world, late)
    assert redeem(house.world, house.tokens()[-1]).certificate.name == "alice"


def test_a_redeemed_link_ends_the_notices() -> None:
    """The next certificate lasts for years: nobody has to hear of the old one's end."""
    house = InvitingHouse()
    house.daily(11)
    (token,) = house.tokens()
    redeem(house.world, token)
    house.daily(30)
    assert len(house.notices()) == 1


@pytest.mark.parametrize("is_locked", [True, False])
def test_a_locked_ca_and_a_house_that_does_not_listen_send_the_command(
    is_locked: bool,  # noqa: FBT001 - a row
) -> None:
    """What nobody could sign, or nobody could fetch, is not promised."""
    house = InvitingHouse(is_listening=is_locked, is_locked=is_locked)
    house.after(11 * DAY).run()
    (notice,) = house.notices()
    assert "certwarden client invite alice" in notice
    assert house.tokens() == []
    assert house.world.invitations.of("alice") == ()


def test_without_anybody_to_read_it_no_link_is_made() -> None:
    """A heartbeat alone reaches no person."""
    house = InvitingHouse()
    house.messenger.has_readers = False
    house.after(11 * DAY).run()
    assert house.world.invitations.of("alice") == ()


def test_what_was_not_sent_is_withdrawn_and_made_again() -> None:
    """A link that nobody has got is good for nobody; the next pass makes another."""
    house = InvitingHouse()
    house.messenger.failure = UNREACHABLE
    house.after(11 * DAY).run()
    (withdrawn,) = house.world.invitations.of("alice")
    assert withdrawn.withdrawn_at is not None
    house.messenger.failure = None
    house.after(HOUR).run()
    assert len(house.tokens()) == 1
    assert redeem(house.world, house.tokens()[0]).certificate.name == "alice"


def test_what_somebody_has_got_stays_good() -> None:
    """One of two addresses took the message."""
    house = InvitingHouse()
    house.messenger.failure = NotifyError("line 2 did not take it", is_partial=True)
    house.after(11 * DAY).run()
    (token,) = house.tokens()
    assert redeem(house.world, token).certificate.name == "alice"


def test_clients_that_end_together_have_a_link_each() -> None:
    """Five of them, as many as the notice names; the others are a reason to look."""
    house = InvitingHouse(*(f"phone-{number}" for number in range(7)))
    house.after(11 * DAY).run()
    (notice,) = house.notices()
    assert len(house.tokens()) == 5
    assert notice.index("https://") < notice.index("7 client certificates end")
    names = {redeem(house.world, token).certificate.name for token in house.tokens()}
    assert names == {f"phone-{number}" for number in range(5)}


def test_a_message_has_no_more_links_than_fit() -> None:
    """Many clients of long names on many days: each link that was made arrives whole."""
    house = InvitingHouse("nobody-else")
    for number in range(20):
        issue(house.world, [ClientRequest(f"{number:02}{'x' * 61}", lifetime=(20 + number) * DAY)])
    house.after(11 * DAY).run()
    arrived = "\n".join(text[:MAX_TEXT] for text in house.notices())
    assert len(LINK.findall(arrived)) == len(house.world.invitations.open(house.now)) == 10


def test_a_machine_is_invited_as_it_was_before() -> None:
    """What was fetched by EST is renewed by EST, and may be so by the certificate that ends."""
    house = InvitingHouse("nobody-else")
    request = InvitationRequest("pump", lifetime=35 * DAY, enrolment=Enrolment.EST)
    _, token = invite(house.world, request)
    redeem(house.world, token, csr=a_csr().public_bytes(Encoding.PEM))
    house.after(6 * DAY).run()
    (waiting,) = house.world.invitations.open(house.now)
    assert (waiting.name, waiting.enrolment) == ("pump", Enrolment.EST)
    (notice,) = house.notices()
    place = re.search(r"https://example\.org:8443/\.well-known/est\n.* password: (\S+)", notice)
    assert place is not None
    request_again = a_csr().public_bytes(Encoding.PEM)
    assert redeem(house.world, Secret(place[1].encode()), csr=request_again).key_pem is None


def test_whom_a_person_has_just_invited_keeps_that_link() -> None:
    """The code on the terminal is being scanned; the next notice carries a link again."""
    house = InvitingHouse()
    house.after(11 * DAY)
    _, shown = invite(house.world, InvitationRequest("alice"))
    house.run()
    assert (len(house.notices()), house.tokens()) == (1, [])
    assert redeem(house.world, shown).certificate.name == "alice"


def test_a_link_that_was_made_and_not_sent_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill before the message went out leaves an invitation behind that nobody has."""
    house = InvitingHouse()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(house.messenger, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            house.after(11 * DAY).run()
    (left,) = house.world.invitations.open(house.now)
    house.after(HOUR).run()
    assert left.id not in {each.id for each in house.world.invitations.open(house.now)}
    assert redeem(house.world, house.tokens()[0]).certificate.name == "alice"


def test_a_book_that_takes_no_entry_leaves_the_link_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the notice still goes out, and why there is no link is told."""
    house = InvitingHouse()

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(house.world.invitations, "add", full)
    house.after(11 * DAY).run()
    assert len(house.notices()) == 1
    assert house.tokens() == []
    assert any("no invitation could be made for alice" in each for each in house.warnings)


def test_names_with_a_star_alone_make_no_link() -> None:
    """There is no host to put into it; a person is told what to configure."""
    house = InvitingHouse()
    wild = replace(house.spec, domains=("*.example.org",), targets=())
    seen = Observed(wild, a_stored(obtained_at=house.now), None, ())
    books = Books(house.world.reporter)
    judge = ClockJudge(house.world, books)
    house.after(11 * DAY)
    now, authority = house.now, observe_authority(house.world)
    announce(house.world, books, judge, [seen], now, is_good=True, authority=authority)
    assert house.tokens() == []
    assert any("has a star" in each for each in house.warnings)


def test_the_link_is_nowhere_but_in_the_message(tmp_path: Path) -> None:
    """Not in any file of the state, the database above all, nor in what is logged or remembered."""
    messenger = FakeMessenger()
    machine = Machine(tmp_path / "machine", a_certificate_spec())
    machine._messenger = messenger
    machine.found()
    assert machine.authority_spec is not None
    machine.authority_spec = replace(
        machine.authority_spec, invite_listen=Address("192.0.2.10", 8443)
    )
    machine.watch = machine.real_ledger.watch  # type: ignore[assignment]  # on the disk
    machine.history = machine.real_ledger  # type: ignore[assignment]  # the same
    issue(machine, [ClientRequest("alice", lifetime=20 * DAY)])
    books = Books(machine.reporter)
    seen = Observed(a_certificate_spec(), a_stored(), None, ())
    authority = observe_authority(machine)
    now = machine.clock.now() + timedelta(minutes=1)
    announce(
        machine, books, ClockJudge(machine, books), [seen], now, is_good=True, authority=authority
    )
    (token,) = LINK.findall(messenger.sent[0][1])
    machine.real_ledger.close()
    _, _, secret = token.partition("-")
    files = [path for path in machine.directory.rglob("*") if path.is_file()]
    assert any(path.name == "certwarden.db" for path in files)
    for path in files:
        assert secret.encode() not in path.read_bytes(), path
    logged = [str(each) for level in Level for each in machine.reporter.texts(level)]
    assert secret not in " ".join(logged)
