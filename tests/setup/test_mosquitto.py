"""The snippet for mosquitto, in a real mosquitto."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from certwarden.setup.mosquitto import mosquitto_snippet
from tests.setup.proxies import VERSIONS
from tests.setup.published import Published
from tests.waiting import wait_until
from tests.world.clients import Client
from tests.world.mosquitto import Mosquitto, MqttConnection, is_let_in

pytestmark = pytest.mark.world
Start = Callable[..., tuple[Published, Mosquitto]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a mosquitto with the snippet for what is published, and with more lines."""
    with ExitStack() as stack:

        def run(*, client_auth: bool = True, more: str = "") -> tuple[Published, Mosquitto]:
            published = Published(tmp_path, "mosquitto", client_auth=client_auth)
            text = mosquitto_snippet(published.certificate, published.target) + more
            mosquitto = Mosquitto(tmp_path / "mosquitto", text, port=published.port)
            return published, stack.enter_context(mosquitto)

        yield run


def refused(published: Published, client: Client) -> None:
    wait_until(lambda: not is_let_in(published.visitor(client)), "the refusal")


def test_the_certificate_is_the_user_name(start: Start) -> None:
    """With a certificate nobody needs a password; an acl_file can go by the name."""
    published, mosquitto = start()
    with MqttConnection(published.visitor(published.alice)) as connection:
        assert connection.return_code == 0
    wait_until(lambda: "u'alice'" in mosquitto.log_text(), "the line in the log")


def test_nobody_else_gets_in(start: Start) -> None:
    """Without a certificate, and with one of another CA."""
    published, _ = start()
    assert not is_let_in(published.visitor())
    assert not is_let_in(published.visitor(published.foreign.issue("alice")))


def test_a_revoked_client_is_out(start: Start) -> None:
    """After a reload, in a full handshake and with a saved session, in TLS 1.2 and 1.3."""
    published, mosquitto = start()
    for version in VERSIONS:
        bob = published.visitor(published.bob, version=version, resumes=True)
        wait_until(partial(is_let_in, bob), "the admission of bob")
        published.revoke(published.bob)
        mosquitto.reload()
        refused(published, published.bob)
        assert not is_let_in(bob), f"a session was resumed by {version.name}"
        assert is_let_in(published.visitor(published.alice, version=version))
        published.revoke()
        mosquitto.reload()


def test_an_open_connection_stays_until_a_restart(start: Start) -> None:
    """As the snippet says."""
    published, mosquitto = start()
    with MqttConnection(published.visitor(published.bob)) as connection:
        published.revoke(published.bob)
        mosquitto.reload()
        refused(published, published.bob)
        assert connection.is_open()
        mosquitto.restart()
        assert not connection.is_open()
    assert is_let_in(published.visitor(published.alice))
    text = mosquitto_snippet(published.certificate, published.target)
    assert 'With verb = "restart" they are cut at once' in text


def test_an_expired_list_lets_nobody_in(start: Start) -> None:
    """mosquitto looks at its dates."""
    published, mosquitto = start()
    for start_at in (timedelta(days=-60), timedelta(days=2)):
        instant = datetime.now(UTC) + start_at
        published.publish_list(published.clients.crl(this_update=instant))
        mosquitto.reload()
        refused(published, published.alice)
        published.revoke()
        mosquitto.reload()
        wait_until(lambda: is_let_in(published.visitor(published.alice)), "the good list")


def test_an_unfit_list_opens_the_door(start: Start) -> None:
    """Why certwarden looks at a list before it has it loaded: mosquitto then goes on without."""
    published, mosquitto = start()
    assert is_let_in(published.visitor(published.bob))
    published.revoke(published.bob)
    mosquitto.reload()
    refused(published, published.bob)
    published.publish_list(b"")
    mosquitto.reload()
    wait_until(lambda: is_let_in(published.visitor(published.bob)), "the admission of bob")
    text = mosquitto_snippet(published.certificate, published.target)
    assert "certwarden looks at it first" in text


def test_without_client_auth_access_is_left_alone(start: Start) -> None:
    """The listener is there, and lets in whom the rest of the configuration lets in."""
    published, _ = start(client_auth=False)
    with MqttConnection(published.visitor()) as connection:
        assert connection.return_code == 5  # not authorized
    text = mosquitto_snippet(published.certificate, published.target)
    assert "crlfile" not in text


def test_anybody_where_the_configuration_says_so(start: Start) -> None:
    """The commented line does what is said of it."""
    published, _ = start(client_auth=False, more="allow_anonymous true\n")
    assert is_let_in(published.visitor())
