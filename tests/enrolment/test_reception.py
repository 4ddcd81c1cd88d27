"""The parts put together: what a visitor gets from a house, by a real connection."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest

from certwarden.enrolment.place import open_door
from certwarden.enrolment.reception import Reception
from certwarden.errors import StoreError, UsageError
from certwarden.lifecycle.invite import InvitationRequest, invite
from certwarden.model import Address
from certwarden.ports import Level
from tests.enrolment.premises import HOST, SPEC, a_house
from tests.fakes import FakeWorld


@contextmanager
def received(world: FakeWorld) -> Iterator[tuple[str, int]]:
    """The address at which people are received meanwhile."""
    reception = Reception(world, [SPEC], HOST)
    with open_door(Address("127.0.0.1", 0), is_fixed=True) as door:
        is_over = threading.Event()
        thread = threading.Thread(target=reception.receive, args=(door, is_over.is_set))
        thread.start()
        try:
            yield door.getsockname()
        finally:
            is_over.set()
            thread.join()


def redeem(address: tuple[str, int], token: str) -> tuple[int, bytes]:
    """What the page's button brings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    form = {"token": token, "password": "abcdef-ghjkmn-pqrstu", "format": "p12", "language": "en"}
    with context.wrap_socket(socket.create_connection(address, 20)) as secured:
        connection = http.client.HTTPConnection(HOST)
        connection.sock = secured
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/redeem", urlencode(form), headers)
        reply = connection.getresponse()
        return reply.status, reply.read()


def test_a_token_is_redeemed_in_the_book_of_the_house() -> None:
    """The certificate that goes out is in the register, and the token is burnt."""
    world = a_house()
    invitation, token = invite(world, InvitationRequest("alice"))
    with received(world) as address:
        status, body = redeem(address, token.reveal().decode())
        assert (status, body[:1]) == (200, b"0")
    found = world.invitations.find(invitation.id)
    assert found is not None
    assert [each.serial for each in world.register.named("alice")] == [found.serial]


def test_what_is_not_the_visitors_fault_is_told_to_the_house() -> None:
    """A CA that cannot sign: the visitor may come again, and a person hears of it."""
    world = a_house()
    world.key = None
    _, token = invite(world, InvitationRequest("alice"))
    with received(world) as address:
        assert redeem(address, token.reveal().decode())[0] == 503
    assert world.reporter.texts(Level.ERROR) == ["the private CA is locked"]
    assert token.reveal().decode() not in str(world.reporter.told)


def test_what_cannot_work_is_refused_before_anybody_is_invited() -> None:
    """No CA, or no certificate for the name: nothing has been opened by then."""
    world = a_house()
    with pytest.raises(StoreError, match=r"valid for pi\.example\.net"):
        Reception(world, [SPEC], "pi.example.net")
    world.authority.root_pem = None
    with pytest.raises(UsageError, match="no private CA yet"):
        Reception(world, [SPEC], HOST)
