"""The snippet for nginx, in a real nginx."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certwarden.setup.nginx import nginx_snippet
from tests.setup import proxies
from tests.setup.published import Published
from tests.world.backend import Backend
from tests.world.nginx import Nginx
from tests.world.service import ReloadFailed

pytestmark = pytest.mark.world
Start = Callable[..., tuple[Published, Nginx]]
TIMEOUT = "worker_shutdown_timeout 1s;"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an nginx with the snippet for what is published, and something behind it."""
    with ExitStack() as stack:

        def run(*, client_auth: bool = True, main: str = TIMEOUT) -> tuple[Published, Nginx]:
            published = Published(tmp_path, "nginx", client_auth=client_auth)
            behind = stack.enter_context(Backend())
            text = nginx_snippet(published.certificate, published.target)
            nginx = Nginx(
                tmp_path / "nginx",
                text,
                port=published.port,
                backend_port=behind.port,
                main=main,
            )
            assert nginx.check() == ""
            return published, stack.enter_context(nginx)

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
    """Without a certificate, and with one of another CA: the page that says so."""
    published, _ = start()
    proxies.check_nobody_else(published)
    refused = published.visitor().get()
    assert (refused.status, refused.body) == (403, "No valid client certificate: NONE\n")


def test_a_revoked_client_is_out(start: Start) -> None:
    """After a reload, in a full handshake and with a saved session, in TLS 1.2 and 1.3."""
    published, nginx = start()
    proxies.check_revocation(published, nginx)
    refused = published.visitor(published.bob).get()
    assert refused.body == "No valid client certificate: FAILED:certificate revoked\n"


@pytest.mark.parametrize("version", proxies.VERSIONS)
def test_a_session_cache_would_let_it_in(start: Start, version: ssl.TLSVersion) -> None:
    """What the lines about sessions are there for, and that the tests above would see it."""
    published, nginx = start()
    text = nginx_snippet(published.certificate, published.target)
    nginx.write(text.replace("ssl_session_cache   off;", "ssl_session_cache shared:any:1m;"))
    assert proxies.is_revoked_session_let_in(published, nginx, version)


def test_a_neighbours_session_cache_would_let_it_in(start: Start) -> None:
    """At the same port; as the snippet says, and no less."""
    published, nginx = start()
    text = nginx_snippet(published.certificate, published.target)
    neighbour = f"""
        server {{
            listen {published.port} ssl default_server;
            server_name neighbour;
            ssl_certificate {published.current}/fullchain.pem;
            ssl_certificate_key {published.current}/privkey.pem;
            ssl_protocols TLSv1.2 TLSv1.3;
            ssl_session_cache shared:any:1m;
            ssl_session_tickets off;
        }}
    """
    nginx.write(neighbour + text)
    version = ssl.TLSVersion.TLSv1_3
    assert proxies.is_revoked_session_let_in(published, nginx, version)
    nginx.write(neighbour.replace("shared:any:1m", "off") + text)
    assert not proxies.is_revoked_session_let_in(published, nginx, version)
    assert "# turn ssl_session_cache and ssl_session_tickets off there as well." in text


def test_an_open_websocket_of_a_revoked_client_ends(start: Start) -> None:
    """By worker_shutdown_timeout, as the snippet says where it belongs."""
    published, nginx = start()
    proxies.check_websockets(published, nginx)
    text = nginx_snippet(published.certificate, published.target)
    assert "#   worker_shutdown_timeout 10s;" in text


def test_lists_out_of_time_let_nobody_in(start: Start) -> None:
    """Expired, or from the future."""
    published, nginx = start()
    proxies.check_lists_out_of_time(published, nginx)


def test_an_unfit_list_fails_the_reload(start: Start) -> None:
    """The workers go on with the list that they had."""
    published, nginx = start()
    proxies.check_unfit_list(published, nginx, ReloadFailed)


def test_without_client_auth_nobody_has_a_name(start: Start) -> None:
    """No certificate is asked for, so no header may say who somebody is."""
    published, _ = start(client_auth=False, main="")
    proxies.check_without_client_auth(published)
    assert "ssl_crl" not in nginx_snippet(published.certificate, published.target)


def test_two_targets_in_one_nginx(start: Start, tmp_path: Path) -> None:
    """Their snippets do not get in each other's way."""
    published, nginx = start()
    first = nginx_snippet(published.certificate, published.target)
    other = Published(tmp_path / "other", "nginx")
    nginx.write(first + nginx_snippet(other.certificate, other.target))
    assert nginx.check() == ""
