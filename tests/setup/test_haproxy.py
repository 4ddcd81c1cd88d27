"""The snippet for HAProxy, in a real HAProxy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certwarden.setup.haproxy import haproxy_snippet
from tests.setup import proxies
from tests.setup.published import Published
from tests.world.backend import Backend
from tests.world.haproxy import Haproxy
from tests.world.service import ReloadFailed

pytestmark = pytest.mark.world
Start = Callable[..., tuple[Published, Haproxy]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a HAProxy with the snippet for what is published, and something behind it."""
    with ExitStack() as stack:

        def run(*, client_auth: bool = True, hard_stop: str = "10s") -> tuple[Published, Haproxy]:
            published = Published(tmp_path, "haproxy", client_auth=client_auth)
            behind = stack.enter_context(Backend())
            text = haproxy_snippet(published.certificate, published.target)
            haproxy = Haproxy(
                tmp_path / "haproxy",
                text.replace("hard-stop-after 10s", f"hard-stop-after {hard_stop}"),
                port=published.port,
                backend_port=behind.port,
            )
            assert haproxy.check() == ""
            return published, stack.enter_context(haproxy)

        yield run


def test_the_program_behind_learns_who_it_is(start: Start) -> None:
    """By the headers that uibuilder reads; forged ones do not arrive."""
    published, _ = start()
    proxies.check_identity(published)


def test_a_crafted_subject_is_nobody(start: Start) -> None:
    """Separators, line ends and second names in a certificate's subject make no other client."""
    published, _ = start()
    proxies.check_crafted_subjects(published)


def test_nobody_else_gets_in(start: Start) -> None:
    """Without a certificate, and with one of another CA."""
    published, _ = start()
    proxies.check_nobody_else(published)


def test_a_revoked_client_is_out(start: Start) -> None:
    """After a reload, in a full handshake and with a saved session, in TLS 1.2 and 1.3."""
    published, haproxy = start()
    proxies.check_revocation(published, haproxy)


def test_an_open_websocket_of_a_revoked_client_ends(start: Start) -> None:
    """By hard-stop-after."""
    published, haproxy = start(hard_stop="1s")
    proxies.check_websockets(published, haproxy)


def test_lists_out_of_time_let_nobody_in(start: Start) -> None:
    """Expired, or from the future."""
    published, haproxy = start()
    proxies.check_lists_out_of_time(published, haproxy)


def test_an_unfit_list_fails_the_reload(start: Start) -> None:
    """The workers go on with the list that they had."""
    published, haproxy = start()
    proxies.check_unfit_list(published, haproxy, ReloadFailed)


def test_without_client_auth_nobody_has_a_name(start: Start) -> None:
    """No certificate is asked for, so no header may say who somebody is."""
    published, _ = start(client_auth=False)
    proxies.check_without_client_auth(published)
    assert "crl-file" not in haproxy_snippet(published.certificate, published.target)


def test_two_targets_in_one_haproxy(start: Start, tmp_path: Path) -> None:
    """Their snippets do not get in each other's way."""
    published, haproxy = start()
    first = haproxy_snippet(published.certificate, published.target)
    other = Published(tmp_path / "other", "haproxy")
    second = haproxy_snippet(other.certificate, other.target).replace("-front", "-other")
    haproxy.write(first + second)
    assert haproxy.check() == ""
