"""hot.js in Node-RED itself, with what the shelf publishes: pair, CA and list of the private CA."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certwarden.model import ClientTrust, Pair, TargetSpec
from certwarden.targets.shelf import GenerationShelf
from tests.builders import a_pair, a_target_spec
from tests.targets.trust import SmallAuthority
from tests.waiting import wait_until
from tests.world.nodered import OpenWebsocket

from .programs import NODE_REDS, POLL, Answer, ask, node_red, request, tls_context

pytestmark = pytest.mark.world
every_node_red = pytest.mark.parametrize(("version", "major"), NODE_REDS)
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class House:
    """A target of the shelf's, a CA, and clients with their certificates in files."""

    def __init__(self, place: Path) -> None:
        now = datetime.now(UTC)
        self.authority = SmallAuthority(now=now)
        self.pair = a_pair(now=now.replace(microsecond=0))
        directory = place / "live" / "node-red"
        self.spec: TargetSpec = replace(a_target_spec(directory=directory), client_auth=True)
        self.shelf = GenerationShelf(self.spec)
        self._place = place

    def publish(self, trust: ClientTrust) -> None:
        """As a deploy does."""
        self.shelf.publish(self.pair, trust)

    def client(self, name: str, authority: SmallAuthority | None = None) -> Client:
        return Client(self._place / f"{name}.pem", (authority or self.authority).client(name))

    def reported(self) -> dict[str, object]:
        """What the module says about itself; empty before it has."""
        files = list((self.spec.directory / "loaded").glob("*.json"))
        return json.loads(files[0].read_text()) if files else {}


class Client:
    def __init__(self, file: Path, pair: Pair) -> None:
        self.serial = pair.certificate.serial
        self.file = file
        file.write_bytes(pair.fullchain_pem + pair.key_pem.reveal())


@pytest.fixture
def house(place: Path) -> House:
    return House(place)


@contextmanager
def serving(house: House, place: Path, version: str, major: int) -> Iterator[int]:
    asked = {"live": str(house.spec.directory), "clientAuth": True, "pollSeconds": POLL}
    with node_red(place, version, major, json.dumps(asked)) as (_, port):
        yield port


class Visitor:
    """A client that keeps its TLS session, and may say no server name."""

    def __init__(self, client: Client, version: ssl.TLSVersion) -> None:
        self._context = tls_context(client.file)
        self._context.minimum_version = self._context.maximum_version = version
        self._session: ssl.SSLSession | None = None

    def is_let_in(self, port: int, name: str | None = None) -> bool:
        """Whether a request is answered after a full handshake."""
        return self._visit(port, name, None) is not None

    def is_let_in_again(self, port: int) -> bool:
        """The same with the session of the last visit, if the server takes that up."""
        return self._visit(port, None, self._session) is not None

    def resumes(self, port: int) -> bool:
        """Whether it does take it up, and answers."""
        return self._visit(port, None, self._session) is True

    def _visit(self, port: int, name: str | None, session: ssl.SSLSession | None) -> bool | None:
        """None where no request is answered, else whether it was in the session from before."""
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
                self._context.wrap_socket(plain, server_hostname=name, session=session) as secure,
            ):
                if request(secure) is None:
                    return None
                self._session = secure.session  # in TLS 1.3 it comes after the handshake
                return bool(secure.session_reused)
        except TimeoutError:
            raise
        except OSError:
            return None


@every_node_red
def test_a_revocation_is_published_and_the_revoked_one_is_out(
    *, place: Path, house: House, version: str, major: int
) -> None:
    """Door, open websocket and saved session are shut to it alone, with and without a name."""
    good, revoked = house.client("good"), house.client("revoked")
    foreign = house.client("foreign", SmallAuthority(now=datetime.now(UTC)))
    house.publish(house.authority.trust(1))
    fingerprint = house.pair.certificate.fingerprint
    with serving(house, place, version, major) as port:
        wait_until(lambda: ask(port, good.file) == Answer(fingerprint, 200), "the good one")
        assert not ask(port).let_in
        assert not ask(port, foreign.file).let_in
        visitors = [Visitor(revoked, each) for each in VERSIONS]
        for visitor in visitors:
            assert visitor.is_let_in(port)
            assert visitor.resumes(port)

        both = (good.file, good.file), (revoked.file, revoked.file)
        with (
            OpenWebsocket(port, client_certificate=both[0]) as stays,
            OpenWebsocket(port, client_certificate=both[1]) as goes,
        ):
            house.publish(house.authority.trust(2, [revoked.serial]))
            assert goes.wait_until_closed()
            assert stays.is_open()

            wait_until(lambda: house.reported().get("crl_number") == 2, "the new list")
            assert not ask(port, revoked.file).let_in
            for visitor in visitors:
                for name in (None, "example.org"):
                    assert not visitor.is_let_in(port, name)
                assert not visitor.is_let_in_again(port)
            assert ask(port, good.file) == Answer(fingerprint, 200)
            assert stays.is_open()
