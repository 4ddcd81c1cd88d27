"""What a connection is received with: the newest certificate, and whom clients are asked for."""

import contextlib
import socket
import ssl
import threading
from datetime import timedelta

import pytest
from cryptography import x509

from certwarden.enrolment.tls import LOOK_INTERVAL, READ_INTERVAL, Contexts, build_context
from certwarden.errors import MaterialError, StoreError
from certwarden.files import in_memory
from certwarden.lifecycle.invite import InvitationRequest, invite, withdraw_invitation
from certwarden.lifecycle.issue import ClientRequest, IssuedClient, issue
from certwarden.model import Enrolment, Pair, RevocationReason
from certwarden.pki.certificate import even_hex
from tests.builders import a_pair
from tests.enrolment.premises import HOST, SPEC, a_house, publish, store
from tests.fakes import FakeWorld

EST = InvitationRequest("alice", enrolment=Enrolment.EST)


@pytest.fixture
def world() -> FakeWorld:
    return a_house()


def alice(world: FakeWorld) -> IssuedClient:
    (issued,) = issue(world, [ClientRequest("alice")])
    return issued


def served(world: FakeWorld) -> str:
    newest = world.certificates.load("home")
    assert newest is not None
    return newest.certificate.serial


def meet(
    context: ssl.SSLContext,
    client: IssuedClient | None = None,
    most: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> tuple[str, str | None]:
    """A whole handshake, and a word: the serials of the server, and of the client as known to it.

    Raises OSError where the client is not let in.
    """
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname, caller.verify_mode = False, ssl.CERT_NONE
    caller.maximum_version = most
    if client is not None and client.key_pem is not None:
        with in_memory("client", client.key_pem.reveal() + client.pem) as path:
            caller.load_cert_chain(path)
    ours, theirs = socket.socketpair()
    known: list[str | None] = []

    def serve() -> None:
        try:
            with ours, context.wrap_socket(ours, server_side=True) as secured:
                shown = secured.getpeercert()
                known.append(str(shown["serialNumber"]).lower() if shown else None)
                secured.sendall(b"x")
        except OSError:
            pass  # the client is told by an alert

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with theirs, caller.wrap_socket(theirs) as secured:
            secured.settimeout(10)
            assert secured.recv(1) == b"x"
            leaf = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    finally:
        thread.join()
    return even_hex(leaf.serial_number), known[0]


def test_it_shows_the_stored_certificate(world: FakeWorld) -> None:
    """And asks nobody for one of theirs: a phone would only wonder."""
    context = Contexts(world, [SPEC], HOST)()
    assert context.verify_mode is ssl.CERT_NONE
    assert meet(context, alice(world)) == (served(world), None)


def test_what_is_older_than_tls_1_2_is_refused(world: FakeWorld) -> None:
    """Also where OpenSSL's own configuration would allow it."""
    context = Contexts(world, [SPEC], HOST)()
    with (
        pytest.warns(DeprecationWarning, match="TLSv1_1"),
        pytest.raises(OSError, match=r"(?i)version|protocol"),
    ):
        meet(context, most=ssl.TLSVersion.TLSv1_1)
    assert meet(context, most=ssl.TLSVersion.TLSv1_2)


def test_a_renewed_certificate_is_shown_after_a_while(world: FakeWorld) -> None:
    """The store is read once a minute."""
    contexts = Contexts(world, [SPEC], HOST)
    before = served(world)
    world.clock.advance(timedelta(seconds=READ_INTERVAL))
    assert meet(contexts())[0] == before
    newer = store(world)
    world.clock.advance(timedelta(seconds=READ_INTERVAL / 2))
    assert meet(contexts())[0] == before
    world.clock.advance(timedelta(seconds=READ_INTERVAL / 2))
    assert meet(contexts())[0] == newer.certificate.serial


def test_what_cannot_be_read_later_on_changes_nothing(world: FakeWorld) -> None:
    """Whoever comes is received by what was read before."""
    contexts = Contexts(world, [SPEC], HOST)
    before = served(world)
    world.certificates.failure = StoreError("it cannot be read")
    world.clock.advance(timedelta(seconds=READ_INTERVAL))
    assert meet(contexts())[0] == before


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_taken_up_again(world: FakeWorld, most: ssl.TLSVersion) -> None:
    """Who was let in once is looked at anew, and nothing is kept of who came and went."""
    invite(world, EST)
    contexts = Contexts(world, [SPEC], HOST)
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname, caller.verify_mode = False, ssl.CERT_NONE
    caller.maximum_version = most
    session = None
    for _ in range(2):
        arriving, departing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = caller.wrap_bio(arriving, departing, session=session)
        server = contexts().wrap_bio(departing, arriving, server_side=True)
        for side in (client, server, client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        with contextlib.suppress(ssl.SSLWantReadError):
            server.unwrap()
        with contextlib.suppress(ssl.SSLZeroReturnError):
            client.read()
        assert client.session_reused is False
        session = client.session


def test_without_a_valid_certificate_for_the_host_there_is_none(world: FakeWorld) -> None:
    """It is refused when it is made, before anybody is invited."""
    with pytest.raises(StoreError, match=r"valid for pi\.example\.net"):
        Contexts(world, [SPEC], "pi.example.net")
    world.certificates.versions.clear()
    store(world, days=1)
    world.clock.advance(timedelta(days=2))
    with pytest.raises(StoreError, match="valid for"):
        Contexts(world, [SPEC], HOST)


def test_a_pair_that_openssl_will_not_have_is_an_error(world: FakeWorld) -> None:
    """And names no file: there is none."""
    other = a_pair()
    broken = Pair(other.key_pem, store(world).chain_pem, other.certificate)
    with pytest.raises(MaterialError, match="cannot be used") as caught:
        build_context(broken, None)
    assert "/proc" not in caught.value.what


def test_clients_are_asked_while_an_est_invitation_is_open(world: FakeWorld) -> None:
    """The certificate of one who has it is known; who has none comes in as well."""
    client = alice(world)
    contexts = Contexts(world, [SPEC], HOST)
    invitation, _ = invite(world, EST)
    world.clock.advance(timedelta(seconds=LOOK_INTERVAL))
    context = contexts()
    assert meet(context, client) == (served(world), client.certificate.serial)
    assert meet(context) == (served(world), None)
    withdraw_invitation(world, invitation.id)
    world.clock.advance(timedelta(seconds=LOOK_INTERVAL))
    assert meet(contexts(), client) == (served(world), None)


def test_a_revoked_client_is_not_let_in(world: FakeWorld) -> None:
    """The handshake fails by our list, which is the newest of the last minute."""
    client = alice(world)
    invite(world, EST)
    contexts = Contexts(world, [SPEC], HOST)
    world.register.revoke(
        [client.certificate.serial], RevocationReason.UNSPECIFIED, world.clock.now()
    )
    publish(world)
    world.clock.advance(timedelta(seconds=READ_INTERVAL))
    with pytest.raises(OSError, match=r"(?i)revoked"):
        meet(contexts(), client)


def test_nobody_is_asked_where_there_is_no_list(world: FakeWorld) -> None:
    """What cannot be judged is not asked for; who has a token needs none."""
    world.authority.published.clear()
    invite(world, EST)
    assert Contexts(world, [SPEC], HOST)().verify_mode is ssl.CERT_NONE
