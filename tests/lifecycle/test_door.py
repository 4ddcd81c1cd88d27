"""The door of the service: open while somebody is invited, and shut else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certwarden.errors import TargetError
from certwarden.lifecycle.door import set_door
from certwarden.lifecycle.invite import InvitationRequest, invite, redeem, withdraw_invitation
from certwarden.model import Address, Call, Job, Secret
from tests.fakes_watch import FakeDoor
from tests.lifecycle.client_house import ClientHouse
from tests.lifecycle.facts import DAY, HOUR, MINUTE

REFUSED = TargetError("certwarden may not start certwarden-invite.socket", "allow it by a rule")


@pytest.fixture
def house() -> ClientHouse:
    """A house whose service hands out certificates."""
    house = ClientHouse()
    assert house.world.authority_spec is not None
    listen = Address("192.0.2.10", 8443)
    house.world.authority_spec = replace(house.world.authority_spec, invite_listen=listen)
    return house


def _invite(house: ClientHouse, open_for: timedelta = DAY) -> Secret:
    return invite(house.world, InvitationRequest("alice", open_for=open_for))[1]


def _calls(calls: tuple[Call, ...]) -> list[Call]:
    return [call for call in calls if call.job is Job.INVITATIONS]


def test_nothing_is_asked_for_where_nobody_is_invited(house: ClientHouse) -> None:
    """Pass after pass, systemd is left alone, and none is wanted for the door's sake."""
    result = house.run()
    assert house.world.doors.moves == 0
    assert _calls(result.calls) == []


def test_it_opens_for_an_invitation_and_shuts_behind_the_last(house: ClientHouse) -> None:
    """By the next whole pass; once, whoever looks how often."""
    token = _invite(house)
    for _ in range(2):
        house.run()
    assert (house.world.doors.stands_open, house.world.doors.moves) == (True, 1)
    redeem(house.world, token)
    house.run()
    assert not house.world.doors.stands_open


def test_a_pass_is_wanted_when_the_invitation_ends(house: ClientHouse) -> None:
    """So that the door is not open for hours after the last is over."""
    _invite(house)
    (call,) = _calls(house.run().calls)
    assert call.at == house.now + DAY
    assert _calls(house.at(call.at).run().calls) == []
    assert not house.world.doors.stands_open


def test_a_pass_over_some_certificates_leaves_it_alone(house: ClientHouse) -> None:
    """What a person has asked for one certificate is about that."""
    _invite(house)
    house.run(named=["home"], is_whole=False)
    assert not house.world.doors.stands_open


def test_a_house_that_does_not_listen_has_none() -> None:
    """An invitation of the command's own opens nothing."""
    house = ClientHouse()
    _invite(house)
    assert _calls(house.run().calls) == []
    assert not house.world.doors.stands_open


def test_a_locked_ca_has_its_door_shut() -> None:
    """The command that has asked for the passphrase listens by itself; the service cannot sign."""
    house = ClientHouse(is_locked=True)
    assert house.world.authority_spec is not None
    listen = Address("192.0.2.10", 8443)
    house.world.authority_spec = replace(house.world.authority_spec, invite_listen=listen)
    _invite(house)
    assert _calls(house.run().calls) == []
    assert not house.world.doors.stands_open


def test_a_door_that_does_not_open_is_told_from_the_second_time_on(house: ClientHouse) -> None:
    """The pass is good all the same, tries again, and tells once it is put right."""
    _invite(house)
    house.world.doors.failure = REFUSED
    result = house.run()
    assert result.is_good
    assert any("invitations cannot be redeemed" in each for each in house.warnings)
    (call,) = _calls(result.calls)
    assert call.at == house.now + 10 * MINUTE
    house.at(call.at).run()
    house.after(HOUR).run()
    (told,) = [text for title, text in house.messenger.sent if "redeemed" in title]
    assert REFUSED.hint in told
    house.world.doors.failure = None
    house.after(HOUR).run()
    assert house.world.doors.stands_open
    house.after(HOUR).run()
    assert "No longer so: invitations cannot be redeemed" in house.messenger.sent[-1][1]


def test_an_invitation_of_this_very_moment_finds_it_open(house: ClientHouse) -> None:
    """Whoever shuts it looks once more: a pass may have made one meanwhile, and found it open."""
    token = _invite(house)
    invitation = house.world.invitations.of("alice")[0]
    withdraw_invitation(house.world, invitation.id)

    class Slow(FakeDoor):
        def shut(self) -> None:
            super().shut()
            _invite(house)

    door = Slow()
    door.stands_open = True
    (waiting,) = set_door(house.world, door)
    assert waiting.name == "alice"
    assert door.stands_open
    assert token is not None
