"""What both nginx and HAProxy have to do with their snippets, as checks that each is put to."""

import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from certwarden.setup.identity import ADDRESS_HEADERS, FORGEABLE, SERIAL, USER, VERIFY
from tests.setup.published import Published
from tests.waiting import wait_until
from tests.world.clients import Visitor
from tests.world.nodered import OpenWebsocket
from tests.world.service import Service

FORGED = dict.fromkeys((*FORGEABLE, USER, USER.lower(), VERIFY, SERIAL, *ADDRESS_HEADERS), "admin")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def wait_until_refused(visitor: Visitor) -> None:
    """Until the visitor is refused, and by everybody who takes connections."""
    _wait_until_lasting(visitor.is_refused, "the refusal")


def wait_until_let_in(visitor: Visitor) -> None:
    """Until the visitor is let in, and by everybody who takes connections."""
    _wait_until_lasting(lambda: not visitor.is_refused(), "the admission")


def _wait_until_lasting(look: Callable[[], bool], what: str) -> None:
    """The workers from before a reload take connections beside the new ones for some 100 ms."""
    since: list[float] = []

    def lasts() -> bool:
        if not look():
            since.clear()
            return False
        since.append(time.monotonic())
        return since[-1] - since[0] > 0.5

    wait_until(lasts, what)


def check_identity(published: Published) -> None:
    """The program behind learns the client's name and serial, and nothing that the client says."""
    reply = published.visitor(published.alice).get(headers=FORGED)
    assert reply.status == 200
    assert reply.headers["x-forwarded-user"] == "alice"
    serial = f"{published.alice.serial:X}"
    assert reply.headers["x-client-serial"].lstrip("0") == serial
    assert reply.headers["x-client-verify"] == "SUCCESS"
    assert reply.headers["x-forwarded-for"] == reply.headers["x-real-ip"] == "127.0.0.1"
    assert reply.headers["x-forwarded-proto"] == "https"
    assert "admin" not in reply.body


def check_crafted_subjects(published: Published) -> None:
    """Whoever's subject is more than a plain common name gets in without a name, not by another."""
    subjects: dict[str, list[tuple[Any, str]]] = {
        "comma": [(NameOID.ORGANIZATION_NAME, "x,CN=admin"), (NameOID.COMMON_NAME, "mallory")],
        "slash": [(NameOID.ORGANIZATION_NAME, "x/CN=admin"), (NameOID.COMMON_NAME, "mallory")],
        "two": [(NameOID.COMMON_NAME, "admin"), (NameOID.COMMON_NAME, "mallory")],
        "within": [(NameOID.COMMON_NAME, "admin,CN=mallory")],
        "line": [(NameOID.COMMON_NAME, "admin\n")],
        "header": [(NameOID.COMMON_NAME, "mallory\r\nX-User-Role: admin")],
        "after": [(NameOID.COMMON_NAME, "admin"), (NameOID.ORGANIZATION_NAME, "x")],
    }
    for label, parts in subjects.items():
        subject = x509.Name([x509.NameAttribute(of, value) for of, value in parts])
        client = published.clients.issue(label, subject=subject)
        reply = published.visitor(client).get()
        assert reply.status == 200, label
        assert "x-forwarded-user" not in reply.headers, label
        assert "x-user-role" not in reply.headers, label


def check_nobody_else(published: Published) -> None:
    """No certificate, and one of another CA by the same name: refused."""
    assert published.visitor(published.alice).get().status == 200
    assert published.visitor().is_refused()
    assert published.visitor(published.foreign.issue("alice")).is_refused()


def check_revocation(published: Published, service: Service) -> None:
    """From a reload on a revoked client is out, by a session from before too; others stay in."""
    for version in VERSIONS:
        assert not is_revoked_session_let_in(published, service, version), version.name
        assert published.visitor(published.alice, version=version).get().status == 200


def is_revoked_session_let_in(
    published: Published, service: Service, version: ssl.TLSVersion
) -> bool:
    """Whether bob still gets in by a TLS session of before, once revoked and refused without it."""
    published.revoke()
    service.reload()
    bob = published.visitor(published.bob, version=version)
    wait_until_let_in(bob)
    before = published.visitor(published.bob, version=version, resumes=True)
    assert before.get().status == 200
    published.revoke(published.bob)
    service.reload()
    wait_until_refused(bob)
    return not before.is_refused()


def check_websockets(published: Published, service: Service) -> None:
    """A websocket opens; that of a revoked client is gone soon after the reload."""
    websocket = OpenWebsocket(
        published.port,
        ca_bundle=published.servers.bundle,
        client_certificate=published.bob.pair,
    )
    with websocket:
        assert websocket.is_open()
        published.revoke(published.bob)
        service.reload()
        assert websocket.wait_until_closed(30)
    wait_until_refused(published.visitor(published.bob))
    assert published.visitor(published.alice).get().status == 200


def check_lists_out_of_time(published: Published, service: Service) -> None:
    """An expired list and one from the future let nobody in."""
    now = datetime.now(UTC)
    for start in (now - timedelta(days=60), now + timedelta(days=2)):
        published.publish_list(published.clients.crl(this_update=start))
        service.reload()
        wait_until_refused(published.visitor(published.alice))
        assert published.visitor(published.bob).is_refused()
        published.revoke()
        service.reload()
        wait_until_let_in(published.visitor(published.alice))


def check_unfit_list(published: Published, service: Service, error: type[Exception]) -> None:
    """A reload with an empty list or with rubbish fails, and nothing changes."""
    published.revoke(published.bob)
    service.reload()
    wait_until_refused(published.visitor(published.bob))
    for pem in (b"", b"rubbish"):
        published.publish_list(pem)
        try:
            service.reload()
        except error:
            pass
        else:
            raise AssertionError("the reload took a list that is none")
        assert published.visitor(published.bob).is_refused()
        assert published.visitor(published.alice).get().status == 200


def check_without_client_auth(published: Published) -> None:
    """Everybody gets in, and nobody by a name."""
    reply = published.visitor().get(headers=FORGED)
    assert reply.status == 200
    assert "admin" not in reply.body
    assert "x-forwarded-user" not in reply.headers
    assert "ssl_client" not in reply.body
