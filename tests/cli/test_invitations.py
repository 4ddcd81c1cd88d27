"""`certwarden client invite`: what is refused before, what is shown, and how it ends.

Who comes while it serves is a function here; tests/end_to_end/test_invite.py has browsers.
"""

import json
import re
import signal
import socket
import sqlite3
import termios
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from certwarden.enrolment.reception import Reception
from certwarden.errors import InvitationError
from certwarden.model import Enrolment, Invitation, Secret
from certwarden.ports import Neighbours
from certwarden.store.certificates import CertificateStore
from certwarden.zone.addresses import HostAddresses
from tests.builders import a_draft, chains_for
from tests.cli.conftest import CONFIG, PASSPHRASE, Machine, Run, Snapshot

Visitor: TypeAlias = Callable[[Reception, Callable[[], bool]], None]
HERE = "--listen=127.0.0.1:0"
LINK = re.compile(r"https://([a-z.]+):(\d+)/#([a-z2-7]{8}-[a-z2-7]{26})")


class Reach:
    """What is served: every `receive` calls `visitor`, who finds a listening socket."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.visitor: Visitor = lambda _reception, _is_over: None
        self.listened: list[tuple[str, int]] = []
        reach = self

        def receive(
            reception: Reception,
            door: socket.socket,
            is_over: Callable[[], bool],
            *,
            idle: float | None = None,
        ) -> None:
            assert idle is None
            address = door.getsockname()[:2]
            socket.create_connection(address).close()
            reach.listened.append(address)
            assert not is_over()
            reach.visitor(reception, is_over)

        monkeypatch.setattr(Reception, "receive", receive)


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> Reach:
    """Nobody comes unless the test says who; every name leads nowhere."""
    monkeypatch.setattr(HostAddresses, "look_here", lambda _, hosts: dict.fromkeys(hosts, ()))
    return Reach(monkeypatch)


def world_of(reception: Reception) -> Neighbours:
    return reception._world


def store(machine: Machine, days_ago: float = 0) -> None:
    """A server certificate for 90 days, obtained then."""
    then = datetime.now(UTC) - timedelta(days=days_ago)
    draft = a_draft()
    CertificateStore(machine.state).commit(draft, chains_for(draft, now=then), then)


@pytest.fixture
def inviting(machine: Machine, reach: Reach) -> Machine:  # noqa: ARG001 - nobody is really served
    """A machine with a CA and a server certificate, at which somebody may sit down."""
    store(machine)
    return machine


def redeeming(token: Callable[[], str]) -> Visitor:
    """Somebody who comes with the token and gets a certificate."""

    def visit(reception: Reception, is_over: Callable[[], bool]) -> None:
        reception._redeem(Secret(token().encode()), None)
        assert is_over()

    return visit


def invite(machine: Machine, *options: str, name: str = "alice") -> Run:
    return machine.run("client", "invite", name, *options)


def given_out(machine: Machine) -> list[str]:
    return [each["serial"] for each in machine.must("client", "list", "--json").json]


# ── what is shown, and how it ends ────────────────────────────────────────────────────────────────


def test_the_link_is_on_the_terminal_only(inviting: Machine, reach: Reach) -> None:
    """With a code; stdout and stderr say where it listens and what was issued, and no token."""
    terminal = inviting.sit_down()
    screen = ""

    def token() -> str:
        nonlocal screen
        screen = terminal.seen()
        link = LINK.search(screen)
        assert link is not None, screen
        assert (link[1], int(link[2])) == ("example.org", reach.listened[-1][1])
        return link[3]

    reach.visitor = redeeming(token)
    run = invite(inviting, HERE)
    (serial,) = given_out(inviting)
    assert run.code == 0, run.err
    assert run.out.startswith(f"alice: issued, serial {serial}, until ")
    assert "█▀▀▀▀▀█" in screen
    assert "listening at 127.0.0.1:" in run.err
    assert LINK.search(run.out + run.err) is None
    assert LINK.search(screen + terminal.seen()) is not None


def test_a_terminal_that_is_too_small_shows_the_link_alone(inviting: Machine) -> None:
    """Half a code is of no use; it is said that there would be one."""
    terminal = inviting.sit_down()
    with open(terminal.path, "rb", buffering=0) as line:  # noqa: PTH123 - it is no file
        termios.tcsetwinsize(line.fileno(), (24, 40))
    invite(inviting, HERE)
    screen = terminal.seen()
    assert LINK.search(screen)
    assert "too small for the code" in screen
    assert "█" not in screen


def test_another_program_gets_the_link_in_json(inviting: Machine) -> None:
    """One line, before anybody is served; nobody sits there, and what came of it is on stderr."""
    run = invite(inviting, HERE, "--json", "--for", "2h")
    told = run.json
    assert set(told) == {"name", "url", "ends_at", "listen"}
    assert run.out.count("\n") == 1
    link = LINK.fullmatch(told["url"])
    assert link is not None
    assert told["listen"] == f"127.0.0.1:{link[2]}"
    ends = datetime.fromisoformat(told["ends_at"]) - datetime.now(UTC)
    assert timedelta(minutes=118) < ends <= timedelta(hours=2)


def test_the_one_before_stays_good(inviting: Machine, reach: Reach) -> None:
    """Two weeks, as with `client renew`; that is said."""
    inviting.must("client", "issue", "alice", "--password-file", "pw")
    terminal = inviting.sit_down()
    reach.visitor = redeeming(lambda: LINK.findall(terminal.seen())[0][2])
    run = invite(inviting, HERE)
    assert run.out.endswith("; the one before stays good for 14 days\n")
    assert len(given_out(inviting)) == 2


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("UPDATE invitations SET ends_at = made_at", "was used by nobody in time"),
        ("UPDATE invitations SET tries_left = 0", "was tried too often"),
        ("UPDATE invitations SET withdrawn_at = made_at", "was withdrawn"),
        ("DELETE FROM invitations", "was used by nobody"),
    ],
)
def test_without_a_certificate_it_fails(
    inviting: Machine, reach: Reach, ending: str, said: str
) -> None:
    """Exit 1, with a sentence on why; it can be made again."""

    def visit(_reception: Reception, is_over: Callable[[], bool]) -> None:
        with closing(sqlite3.connect(inviting.state / "certwarden.db")) as database, database:
            database.execute(ending)
        assert is_over()

    reach.visitor = visit
    inviting.sit_down()
    run = invite(inviting, HERE)
    assert (run.code, run.out) == (1, "")
    assert f"the invitation of alice {said}" in run.err
    assert "certwarden client invite alice" in run.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_withdraws_it(inviting: Machine, reach: Reach, number: signal.Signals) -> None:
    """Exit 130; the link is of no use from then on."""
    terminal = inviting.sit_down()
    found: list[Enrolment] = []

    def visit(reception: Reception, _is_over: Callable[[], bool]) -> None:
        world = world_of(reception)
        found.extend(each.enrolment for each in world.invitations.open(world.clock.now()))
        signal.raise_signal(number)

    reach.visitor = visit
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    run = invite(inviting, HERE)
    for each, handler in before.items():
        signal.signal(each, handler)
    assert run.code == 130
    assert found == [Enrolment.PAGE]
    assert "the link is of no use any more" in run.err
    token = LINK.findall(terminal.seen())[0][2]
    assert refused(inviting, reach, token)


def test_what_was_issued_before_an_interrupt_is_told(inviting: Machine, reach: Reach) -> None:
    """Somebody has it: whoever sits there must know."""
    terminal = inviting.sit_down()
    redeem = redeeming(lambda: LINK.findall(terminal.seen())[0][2])

    def visit(reception: Reception, is_over: Callable[[], bool]) -> None:
        redeem(reception, is_over)
        raise KeyboardInterrupt

    reach.visitor = visit
    run = invite(inviting, HERE)
    assert run.code == 130
    assert run.out.startswith("alice: issued, serial ")
    assert len(given_out(inviting)) == 1


def refused(machine: Machine, reach: Reach, token: str) -> bool:
    """Whether that token is refused at another invitation's door."""
    seen: list[bool] = []

    def visit(reception: Reception, _is_over: Callable[[], bool]) -> None:
        with pytest.raises(InvitationError):
            reception._redeem(Secret(token.encode()), None)
        seen.append(True)

    reach.visitor = visit
    assert invite(machine, HERE, "--json", name="bob").code == 1
    return seen == [True]


def test_a_failure_withdraws_it(inviting: Machine, reach: Reach) -> None:
    """Whatever it is that ends the serving."""

    def visit(_reception: Reception, _is_over: Callable[[], bool]) -> None:
        raise OSError(24, "Too many open files")

    reach.visitor = visit
    terminal = inviting.sit_down()
    assert invite(inviting, HERE).code == 1
    assert refused(inviting, reach, LINK.findall(terminal.seen())[0][2])


def test_a_certificate_that_got_lost_is_revoked_before(inviting: Machine, reach: Reach) -> None:
    """Fetched by an invitation within a day and never seen: it ends when the next is made."""
    terminal = inviting.sit_down()
    reach.visitor = redeeming(lambda: LINK.findall(terminal.seen())[0][2])
    assert invite(inviting, HERE).code == 0
    (lost,) = given_out(inviting)
    run = invite(inviting, HERE)
    assert run.code == 0, run.err
    assert f"serial {lost} was issued lately, and never used" in run.err
    assert f"serial {lost} is revoked" in run.out
    assert "stays good" not in run.out
    states = {each["serial"]: each for each in inviting.must("client", "list", "--json").json}
    assert states[lost]["reason"] == "superseded"


def test_what_is_asked_for_stands_in_the_invitation(inviting: Machine, reach: Reach) -> None:
    """Address and days are the certificate's; the time is the invitation's own."""
    found: list[Invitation] = []

    def visit(reception: Reception, _is_over: Callable[[], bool]) -> None:
        world = world_of(reception)
        found.extend(world.invitations.open(world.clock.now()))

    reach.visitor = visit
    options = ("--email", "alice@example.org", "--days", "30", "--for", "3d", "--est")
    invite(inviting, HERE, "--json", *options)
    (invitation,) = found
    assert invitation.email == "alice@example.org"
    assert invitation.lifetime == timedelta(days=30)
    assert invitation.ends_at - invitation.made_at == timedelta(days=3)
    assert invitation.enrolment is Enrolment.EST


def test_a_program_is_told_its_password(inviting: Machine) -> None:
    """By --est there is nothing to scan, but a server and a password."""
    terminal = inviting.sit_down()
    invite(inviting, HERE, "--est")
    screen = terminal.seen()
    assert re.search(r"https://example\.org:\d+/\.well-known/est\r?\n", screen)
    assert re.search(r"password: [a-z2-7]{8}-[a-z2-7]{26}\r?\n", screen)
    assert "█" not in screen


# ── what is refused before anything is written ────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--for", "59s"], "--for"),
        (["--for", "31d"], "--for"),
        (["--for", "soon"], "--for"),
        (["--listen", "8443"], "--listen"),
        (["--listen", "pi.example.org:8443"], "--listen"),
        (["--listen", "192.0.2.1:0", "--json"], "nobody can listen at 192.0.2.1:0"),
        (["--host", "pi.example.net"], "there are those for *.example.org, example.org"),
        (["--host", "a b.example.org"], "--host"),
        (["--host", "*.example.org"], "must not have a star"),
        (["--email", "nobody"], "nobody"),
        ([], "no terminal to show the link on"),
    ],
)
def test_what_will_not_do_is_refused_at_once(
    inviting: Machine, snapshot: Snapshot, options: list[str], said: str
) -> None:
    """Exit 2 with a sentence; nothing is written, and nobody is invited."""
    before = snapshot()
    run = invite(inviting, *options)
    assert (run.code, run.out) == (2, "")
    assert said in run.err
    assert "hint: " in run.err
    assert snapshot() == before


@pytest.mark.parametrize("days_ago", [None, 91])
def test_without_a_certificate_to_serve_by_nobody_is_invited(
    machine: Machine, reach: Reach, snapshot: Snapshot, days_ago: float | None
) -> None:
    """None yet, or none that is valid any more: exit 2."""
    machine.sit_down()
    if days_ago is not None:
        store(machine, days_ago)
    before = snapshot()
    run = invite(machine, HERE)
    assert run.code == 2
    assert "certwarden renew" in run.err
    assert (snapshot(), reach.listened) == (before, [])


def test_a_name_that_cannot_be_is_refused_before_the_configuration_is_read(bare: Machine) -> None:
    """As with `client issue`."""
    bare.config.unlink()
    run = invite(bare, name="../alice")
    assert run.code == 2
    assert "config" not in run.err


def test_without_a_ca_it_is_said(bare: Machine) -> None:
    """Exit 2, with how to make one."""
    run = invite(bare)
    assert run.code == 2
    assert "certwarden ca init" in run.err


def test_a_locked_ca_is_unlocked_first(locked: Machine, reach: Reach) -> None:
    """A slip of the finger ends it before anybody is invited; the right one serves."""
    store(locked)
    locked.sit_down("a slip of the finger")
    assert invite(locked, HERE).code == 1
    assert reach.listened == []
    terminal = locked.sit_down(PASSPHRASE)
    reach.visitor = redeeming(lambda: LINK.findall(terminal.seen())[0][2])
    assert invite(locked, HERE).code == 0
    assert len(given_out(locked)) == 1


# ── where ─────────────────────────────────────────────────────────────────────────────────────────


def led(monkeypatch: pytest.MonkeyPatch, **addresses: str) -> None:
    """What names lead to, in place of what this machine's resolver would say."""
    told = {name.replace("_", "."): (address,) for name, address in addresses.items()}
    monkeypatch.setattr(
        HostAddresses, "look_here", lambda _, hosts: {each: told.get(each, ()) for each in hosts}
    )
    monkeypatch.setattr("certwarden.cli.invitations.own_addresses", lambda: ("127.0.0.2",))


def test_the_name_that_leads_here_is_in_the_link(
    inviting: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before others; it listens at that address of ours, at its own port, and warns of nothing."""
    text = CONFIG.replace('"*.example.org"', '"*.example.org", "pi.example.org"')
    inviting.write("config.toml", text)
    led(monkeypatch, example_org="192.0.2.9", pi_example_org="127.0.0.2")
    run = invite(inviting, "--json")
    assert run.json["url"].startswith("https://pi.example.org:")
    assert run.json["listen"].startswith("127.0.0.2:")
    assert "leads" not in run.err


def test_the_configured_address_is_listened_at(
    inviting: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the service; any free port where the service is at it just now."""
    led(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = f'passphrase_file = "ca.passphrase"\ninvite_listen = "127.0.0.1:{port}"'
        text = CONFIG.replace('passphrase_file = "ca.passphrase"', listen)
        inviting.write("config.toml", text)
        other = invite(inviting, "--json").json["listen"]
    assert other != f"127.0.0.1:{port}"
    assert invite(inviting, "--json").json["listen"] == f"127.0.0.1:{port}"


def test_a_name_that_leads_elsewhere_is_warned_of(
    inviting: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be right where the devices are; a public address is warned of as well."""
    led(monkeypatch, pi_example_org="192.0.2.9")
    monkeypatch.setattr("certwarden.cli.invitations.own_addresses", lambda: ("9.9.9.9",))
    run = invite(inviting, "--json", "--host", "PI.example.org", "--listen", "0.0.0.0:0")
    assert run.json["url"].startswith("https://pi.example.org:")
    assert "pi.example.org leads to 192.0.2.9, and not to this machine" in run.err
    assert "all the world can come there" in run.err


def test_nobody_knows_the_token_by_the_books(inviting: Machine, snapshot: Snapshot) -> None:
    """Neither part of it is in any file of the state."""
    link = LINK.fullmatch(json.loads(invite(inviting, HERE, "--json").out)["url"])
    assert link is not None
    secret = link[3].partition("-")[2].encode()
    assert not [path for path, data in snapshot().items() if secret in data]
    assert Path(inviting.state / "certwarden.db") in snapshot()
