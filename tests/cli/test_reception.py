"""`certwarden client receive`: serves at systemd's socket while somebody is invited.

Who comes is a function here; tests/end_to_end/test_systemd.py has a real systemd, and a visitor.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from certwarden.cli import reception as module
from certwarden.config import load
from certwarden.enrolment.reception import Reception
from certwarden.errors import TargetError
from certwarden.lifecycle.invite import InvitationRequest, invite
from certwarden.model import Secret
from certwarden.store.certificates import CertificateStore
from certwarden.store.state import CALL
from certwarden.wiring import Warden
from tests.builders import a_draft, chains_for
from tests.cli.conftest import Machine
from tests.fakes_store import RecordingReporter
from tests.fakes_watch import FakeDoor

LISTEN = '[authority]\ninvite_listen = "127.0.0.1:8443"'


class Premises:
    """The machine with its door, and what is done by who comes."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.door = FakeDoor()
        self.door.stands_open = True
        self.received = 0
        self.visit: Callable[[Reception], object] = lambda _: None

    @contextmanager
    def warden(self) -> Iterator[Warden]:
        warden = Warden(load(self.machine.config, {}), RecordingReporter(), purpose="a test")
        try:
            yield warden
        finally:
            warden.close()

    def invite(self) -> Secret:
        """Alice's token."""
        with self.warden() as warden:
            return invite(warden, InvitationRequest("alice"))[1]

    @property
    def is_daemon_called(self) -> bool:
        return (self.machine.state / "locks" / CALL).exists()


@pytest.fixture
def premises(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Premises:
    """A machine whose service hands out certificates, with one to serve by and a door."""
    machine.config.write_text(machine.config.read_text().replace("[authority]", LISTEN))
    now, draft = datetime.now(UTC), a_draft()
    CertificateStore(machine.state).commit(draft, chains_for(draft, now=now), now)
    premises = Premises(machine)

    def receive(
        reception: Reception, door: socket.socket, is_over: Callable[[], bool], *, idle: float
    ) -> None:
        assert idle == module.IDLE
        assert door.fileno() >= 0
        assert not is_over()
        premises.received += 1
        premises.visit(reception)

    def listening(_environ: object, _pid: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    monkeypatch.setattr(Warden, "door", lambda _: premises.door)
    monkeypatch.setattr(Reception, "receive", receive)
    monkeypatch.setattr(module, "handed_over", listening)
    return premises


def test_behind_the_last_who_was_invited_the_door_is_shut(premises: Premises) -> None:
    """And the daemon called, as there is another certificate to look after."""
    token = premises.invite()
    premises.visit = lambda reception: reception._redeem(token, None)
    premises.machine.must("client", "receive")
    (client,) = premises.machine.must("client", "list", "--json").json
    assert client["name"] == "alice"
    assert not premises.door.stands_open
    assert premises.is_daemon_called


def test_who_is_still_invited_finds_it_open(premises: Premises) -> None:
    """Nobody came for a while: systemd listens alone again."""
    premises.invite()
    premises.machine.must("client", "receive")
    assert (premises.received, premises.door.stands_open) == (1, True)
    assert not premises.is_daemon_called


def test_who_comes_uninvited_is_not_received(premises: Premises) -> None:
    """A pass has yet to see that the last invitation is over."""
    premises.machine.must("client", "receive")
    assert (premises.received, premises.door.stands_open) == (0, False)
    assert not premises.is_daemon_called


def test_who_is_invited_while_it_shuts_has_it_opened_by_a_pass(
    premises: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd starts no socket whose service runs, and that is who shuts it."""
    shut = premises.door.shut

    def refuse() -> None:
        raise TargetError("Socket service certwarden-invite.service already active, refusing.")

    def invite_meanwhile() -> None:
        shut()
        premises.invite()

    monkeypatch.setattr(premises.door, "shut", invite_meanwhile)
    monkeypatch.setattr(premises.door, "open", refuse)
    premises.machine.must("client", "receive")
    assert premises.is_daemon_called


def test_without_a_server_certificate_nobody_is_received(premises: Premises) -> None:
    """That is a failure, which systemd has a person told of."""
    premises.invite()
    shutil.rmtree(premises.machine.state / "certificates")
    run = premises.machine.run("client", "receive")
    assert run.code == 1
    assert "no valid server certificate" in run.err
    assert premises.received == 0


def test_a_service_that_invites_nobody_refuses(machine: Machine) -> None:
    """The configuration has changed since the socket was started."""
    run = machine.run("client", "receive")
    assert run.code == 2
    assert "invite_listen" in run.err


def test_it_is_for_systemd_to_start(machine: Machine) -> None:
    """Who types it is told what to type."""
    machine.config.write_text(machine.config.read_text().replace("[authority]", LISTEN))
    run = machine.run("client", "receive")
    assert run.code == 2
    assert "`certwarden client invite NAME`" in run.err


def test_it_loads_nothing_that_it_does_not_need() -> None:
    """What it hands out is the private CA's: no public CA, no DNS provider, nobody to tell."""
    code = "import sys, certwarden.cli.reception, certwarden.wiring; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    ).stdout.split()
    absent = {"acme", "apprise", "cloudflare", "dns", "josepy", "requests", "segno"}
    assert {each.partition(".")[0] for each in loaded} & absent == set()
