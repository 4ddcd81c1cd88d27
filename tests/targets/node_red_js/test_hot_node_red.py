"""hot.js in Node-RED itself, with the versions of Node that each Node-RED is for."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event, Thread

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.waiting import wait_until

from . import material
from .material import Live, Pair
from .programs import (
    NODE_REDS,
    POLL,
    Answer,
    ask,
    connection,
    node_red,
    plain_http,
    request,
    serves,
    tls_context,
)

every_node_red = pytest.mark.parametrize(("version", "major"), NODE_REDS)

pytestmark = pytest.mark.world


def options_for(live: Live, **more: bool) -> str:
    return json.dumps({"live": str(live.directory), "pollSeconds": POLL, **more})


def websocket(port: int, client: Path | None = None) -> ClientConnection:
    """The editor's websocket, which stays open for days in the field."""
    return connect(f"wss://localhost:{port}/comms", ssl=tls_context(client), proxy=None)


def is_open(socket: ClientConnection) -> bool:
    return socket.ping().wait(20)


def was_cut(socket: ClientConnection) -> bool:
    try:
        while True:
            socket.recv(20)
    except ConnectionClosed:
        return True


@every_node_red
def test_change_under_load(place: Path, live: Live, version: str, major: int) -> None:
    """New leaf, same process, no failed request; keep-alive connection and websocket survive."""
    first, second = material.server(), material.server()
    live.publish(live.files(first))
    with node_red(place, version, major, options_for(live)) as (program, port):
        serves(port, first)
        answers: list[Answer] = []
        enough = Event()

        def load() -> None:
            while not enough.is_set():
                answers.append(ask(port))

        with connection(port) as keep_alive, websocket(port) as comms:
            assert request(keep_alive) == 200
            worker = Thread(target=load)
            worker.start()
            try:
                live.publish(live.files(second))
                serves(port, second)
                # The load has met both certificates.
                wait_until(lambda: answers[-1].fingerprint == second.fingerprint, "the new leaf")
            finally:
                enough.set()
                worker.join()
            assert [answer for answer in answers if answer.status != 200] == []
            assert request(keep_alive) == 200
            assert is_open(comms)
        assert live.status()["pid"] == program.process.pid
        assert not program.ended()


@every_node_red
def test_bad_material_and_recovery(place: Path, live: Live, version: str, major: int) -> None:
    """A mismatched pair is not used, Node-RED stays up, and the next good one is taken up."""
    first, second = material.server(), material.server()
    live.publish(live.files(first))
    with node_red(place, version, major, options_for(live)) as (program, port):
        serves(port, first)
        live.publish({**live.files(second), "privkey.pem": first.key_pem})
        wait_until(lambda: live.status().get("error"), "the error")
        assert ask(port) == Answer(first.fingerprint, 200)
        live.publish(live.files(second))
        serves(port, second)
        assert not program.ended()


@every_node_red
def test_start_without_material(place: Path, live: Live, version: str, major: int) -> None:
    """Node-RED starts, refuses every handshake, answers no plain HTTP, and serves later."""
    with node_red(place, version, major, options_for(live)) as (program, port):
        assert not ask(port).let_in
        assert not plain_http(port).startswith(b"HTTP")
        pair = material.server()
        live.publish(live.files(pair))
        serves(port, pair)
        assert not program.ended()


@every_node_red
def test_wrong_option_does_not_stop_node_red(
    place: Path, live: Live, authority: Pair, alice: Pair, *, version: str, major: int
) -> None:
    """A misspelt clientAuth is not "no client certificates needed", nor the end of Node-RED."""
    live.publish(live.files(material.server(), authority))
    options = json.dumps({"live": str(live.directory), "clientauth": True})
    with node_red(place, version, major, options) as (program, port):
        assert not ask(port).let_in
        assert not ask(port, alice.write(place, "alice")).let_in
        assert not plain_http(port).startswith(b"HTTP")
        assert 'knows no option "clientauth"' in program.log
        assert not program.ended()


@every_node_red
def test_client_certificates(
    *,
    place: Path,
    live: Live,
    authority: Pair,
    alice: Pair,
    bob: Pair,
    stranger: Pair,
    version: str,
    major: int,
) -> None:
    """Only good clients; a revocation shuts the door and cuts the revoked one's websocket."""
    pair = material.server()
    good, other = alice.write(place, "alice"), bob.write(place, "bob")
    live.publish(live.files(pair, authority))
    options = options_for(live, clientAuth=True)
    with node_red(place, version, major, options) as (program, port):
        serves(port, pair, good)
        assert not ask(port).let_in
        assert not ask(port, stranger.write(place, "stranger")).let_in
        with websocket(port, good) as stays, websocket(port, other) as goes:
            assert is_open(stays)
            assert is_open(goes)
            live.publish(live.files(pair, authority, revoked=[bob]))
            assert was_cut(goes)
            assert is_open(stays)
        assert not ask(port, other).let_in
        assert ask(port, good).let_in
        program.wait_for("refused a client: CERT_REVOKED")
        # A broken list changes nothing: the revoked one stays out, the good one in.
        live.publish({**live.files(pair, authority), "client-crl.pem": b""})
        wait_until(lambda: live.status().get("error"), "the error")
        assert not ask(port, other).let_in
        assert ask(port, good).let_in
