"""A house in which anything may be made to ail, for a while, and the doctor's look at it.

Owns the house: real programs, with a stand-in for what is this machine's own (its resolver, its
addresses, its systemd), and one way each of making files, rows, records and settings wrong. Which
faults there are is the business of `ailments`.
"""

import contextlib
import io
import json
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ParamSpec, TypeVar

import pytest

from certwarden.cli import main
from certwarden.config import load
from certwarden.doctor import clients, fittings, hairpin, host_names, service
from certwarden.model import Secret, Seen, Served, Unreachable
from certwarden.pki import protection
from certwarden.pki.certificate import read_chain
from certwarden.pki.keys import PrivateKey
from certwarden.setup.polkit import polkit_rule
from certwarden.setup.service import service_drop_in
from certwarden.store.ledger import Ledger
from certwarden.targets import readers
from certwarden.targets.ways import Way, look_along
from certwarden.zone import addresses
from certwarden.zone.addresses import Addresses, Family
from tests.builders import a_pair
from tests.doctor.looking import rewritten
from tests.end_to_end.guarded import DOMAIN, Guarded, guarded
from tests.targets.servers import serving
from tests.world import World
from tests.world.cloudflare import Fault
from tests.world.dns import DnsFault
from tests.world.house import Run
from tests.world.service import Service
from tests.world.zones import Zone

ZONES = [DOMAIN, "example.net"]
NAMES = ["node-red-4-hot", "nginx"]
CHALLENGE = f"_acme-challenge.{DOMAIN}"
SERVICE, TIMER, PASS = service.SERVICE, service.TIMER, service.PASS
USER = "daemon"  # whom the service runs as, and whose the state is: it is on every machine
UPTIME = timedelta(days=30)
_PROGRAM = Path("/bin/true")

_BACKUP = """
[backup]
directory = "{directory}/safe"
passphrase_file = "{directory}/backup.passphrase"
"""


@dataclass
class Machine:
    """What is this machine's own, as the checks are told of it."""

    led_to: dict[Family, tuple[str, ...]]
    own: tuple[str, ...]
    units: dict[str, dict[str, str]]
    rule: Path
    is_nginx_alive: Callable[[], bool]
    beyond: Seen = field(default_factory=lambda: Unreachable("nobody answers"))

    def resolve(self, host: str, family: Family) -> Addresses:
        """By this machine's resolver."""
        return Addresses(self.led_to.get(family, ()) if host == DOMAIN else ())

    def look_along(self, ways: Iterable[Way]) -> dict[Way, Seen]:
        """What is not this machine is `beyond`."""
        asked: dict[bool, list[Way]] = {is_loopback: [] for is_loopback in (True, False)}
        for way in ways:
            asked[way.address.is_loopback].append(way)
        return {**look_along(asked[True]), **dict.fromkeys(asked[False], self.beyond)}

    def show(self, units: Sequence[str], properties: Sequence[str]) -> dict[str, dict[str, str]]:
        """As systemd tells it."""
        found = {unit: self.units.get(unit, {"LoadState": "not-found"}) for unit in units}
        if "nginx.service" in found:
            state = "active" if self.is_nginx_alive() else "inactive"
            found["nginx.service"] = {"LoadState": "loaded", "ActiveState": state}
        return {
            unit: {"Id": unit, **{name: each[name] for name in properties if name in each}}
            for unit, each in found.items()
        }


P = ParamSpec("P")
T = TypeVar("T")


def lasting(make: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """A context manager whose second half runs whatever happens meanwhile: one house is for all."""

    @contextmanager
    def while_it_lasts(*args: P.args, **named: P.kwargs) -> Iterator[T]:
        steps = make(*args, **named)
        try:
            yield next(steps)
        finally:
            next(steps, None)

    return while_it_lasts


@dataclass
class Ailing:
    """The house, and how things in it are made wrong: each way lasts as long as its context."""

    row: Guarded
    machine: Machine

    # ── looking ───────────────────────────────────────────────────────────────────────────────────

    def look(self, *options: str) -> Run:
        """`certwarden doctor`, in this process."""
        out, err = io.StringIO(), io.StringIO()
        words = ["--config", str(self.config), "doctor", *options]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as end:
                code = int(str(end.code))
        return Run(code, out.getvalue(), err.getvalue())

    # ── places ────────────────────────────────────────────────────────────────────────────────────

    @property
    def world(self) -> World:
        return self.row.house.world

    @property
    def directory(self) -> Path:
        return self.row.house.directory

    @property
    def config(self) -> Path:
        return self.row.house.config

    @property
    def state(self) -> Path:
        return self.row.house.state

    @property
    def zone_id(self) -> str:
        return self.world.zones[DOMAIN].id

    @property
    def another_zone(self) -> Zone:
        """One in which nothing of ours is."""
        return self.world.zones["example.net"]

    @property
    def places(self) -> dict[str, object]:
        """For the subjects of findings."""
        return {
            "config": self.config,
            "directory": self.directory,
            "state": self.state,
            "token": self.world.token_file,
            "acme": self.world.directory_url,
        }

    def current(self, target: str) -> Path:
        """The generation that is in use there."""
        return self.row.doors[target].live / "current"

    def report(self) -> Path:
        """What the module in Node-RED says of itself."""
        (found,) = (self.row.doors["node-red-4-hot"].live / "loaded").glob("*.json")
        return found

    def account_key(self) -> Path:
        """The ACME account's."""
        return next(self.state.glob("accounts/*/account.key"))

    # ── files ─────────────────────────────────────────────────────────────────────────────────────

    @lasting
    def away(self, path: Path) -> Iterator[None]:
        """It is not there."""
        kept = path.rename(path.with_name(f"{path.name}.away"))
        yield
        kept.rename(path)

    @lasting
    def moded(self, path: Path, mode: int) -> Iterator[None]:
        before = path.stat().st_mode
        path.chmod(mode)
        yield
        path.chmod(before)

    @lasting
    def copied_into(self, path: Path, directory: Path) -> Iterator[None]:
        """It is a link to what lies in the directory."""
        inside = directory / path.name
        shutil.copy2(path, inside)
        with self.away(path):
            path.symlink_to(inside)
            yield
            path.unlink()
        inside.unlink()

    def reported(self, **fields: object) -> contextlib.AbstractContextManager[None]:
        """The module in Node-RED says something else."""
        file = self.report()
        return rewritten(file, json.dumps({**json.loads(file.read_text()), **fields}))

    def key_swapped(self, target: str) -> contextlib.AbstractContextManager[None]:
        """The key is that of another certificate."""
        return rewritten(
            self.current(target) / "privkey.pem", self.row.people["alice"].key.read_bytes()
        )

    def passphrase(self, text: str) -> contextlib.AbstractContextManager[None]:
        """Another one in the CA's file."""
        return rewritten(self.directory / "ca.passphrase", text)

    def rule(self, text: str) -> contextlib.AbstractContextManager[None]:
        """Another one for polkit."""
        return rewritten(self.machine.rule, text)

    def damaged_root(self) -> contextlib.AbstractContextManager[None]:
        root = self.row.authority / "root.pem"
        return rewritten(root, root.read_bytes()[:200])

    def aged_list(self, *, days: float) -> contextlib.AbstractContextManager[None]:
        """The published list is as old as that."""
        aged = self.row.resigned(datetime.now(UTC) - timedelta(days=days))
        return rewritten(self.row.authority / "crl.pem", aged)

    @lasting
    def without_backup(self) -> Iterator[None]:
        """Nobody makes any."""
        with (
            self.configured(_BACKUP.format(directory=self.directory), ""),
            self.told("UPDATE authority_book SET backed_up_at = NULL"),
        ):
            yield

    # ── the configuration ─────────────────────────────────────────────────────────────────────────

    def configured(self, old: str, new: str) -> contextlib.AbstractContextManager[None]:
        """The one in place of the other."""
        text = self.config.read_text()
        assert old in text, old
        return rewritten(self.config, text.replace(old, new))

    def set(self, section: str, line: str) -> contextlib.AbstractContextManager[None]:
        """A line more, at the beginning of a section or of a target."""
        return self.configured(f"{section}\n", f"{section}\n{line}\n")

    # ── the database ──────────────────────────────────────────────────────────────────────────────

    @lasting
    def told(self, statement: str, **values: object) -> Iterator[None]:
        """Rows as this leaves them."""
        with self._database() as path:
            with closing(sqlite3.connect(path)) as connection, connection:
                assert connection.execute(statement, values).rowcount != 0, statement
            yield

    @lasting
    def written(self, write: Callable[[Ledger], object]) -> Iterator[None]:
        """As certwarden itself would write it."""
        with self._database() as path:
            ledger = Ledger(path)
            write(ledger)
            ledger.close()
            yield

    @lasting
    def traces_old(self, *, days: float) -> Iterator[None]:
        """Nothing has been written for so long."""
        at = {"at": (datetime.now(UTC) - timedelta(days=days)).isoformat()}
        with (
            self.told("UPDATE events SET at = :at", **at),
            self.told("UPDATE token_check SET at = :at", **at),
        ):
            yield

    @lasting
    def damaged(self) -> Iterator[None]:
        """What nobody has written stands in the middle of it."""
        with self._database() as path:
            content = path.read_bytes()
            path.write_bytes(content[:4096] + b"\xa5" * 2000 + content[6096:])
            yield

    @lasting
    def _database(self) -> Iterator[Path]:
        path = self.state / "certwarden.db"
        with rewritten(path, path.read_bytes()):
            yield path

    # ── Cloudflare and DNS ────────────────────────────────────────────────────────────────────────

    def token(self, secret: str) -> contextlib.AbstractContextManager[None]:
        """Another one in the file."""
        return rewritten(self.world.token_file, f"{secret}\n")

    @lasting
    def recorded(
        self, kind: str, name: str, *contents: str, proxied: bool = False
    ) -> Iterator[None]:
        """Records that somebody has made."""
        store = self.world.store
        made = [store.add(kind, name, content, proxied=proxied) for content in contents]
        yield
        for record in made:
            store.remove(record)

    @lasting
    def zone(self, *, status: str = "active", delegated_to: Sequence[str] = ()) -> Iterator[None]:
        """Its status, and whom the world asks."""
        self.world.store.change_zone(self.zone_id, status=status, delegated_to=delegated_to)
        yield
        self.world.store.change_zone(self.zone_id)

    @lasting
    def resolved_by(self, fault: DnsFault) -> Iterator[None]:
        """A name server with this fault; but one at a time."""
        self.world.dns.inject(fault)
        yield
        self.world.dns.clear_faults()

    @lasting
    def address(self, *public: str, here: Sequence[str] = ()) -> Iterator[None]:
        """What the zone says of the house's name, and what this machine's resolver does."""
        store, machine = self.world.store, self.machine
        (before,) = [
            each for each in store.records() if each.name == DOMAIN and each.type in ("A", "AAAA")
        ]
        store.remove(before)
        led_to, machine.led_to = machine.led_to, by_family(here)
        with contextlib.ExitStack() as stack:
            for each in public:
                stack.enter_context(self.recorded("AAAA" if ":" in each else "A", DOMAIN, each))
            yield
        machine.led_to = led_to
        store.add("A", DOMAIN, before.content)

    @property
    def name_servers(self) -> Sequence[str]:
        """Cloudflare's, for the zone."""
        return self.world.zones[DOMAIN].name_servers

    @lasting
    def api_down(self) -> Iterator[None]:
        self.world.emulator.inject(Fault("server_error", times=1000))
        yield
        self.world.emulator.clear_faults()

    # ── programs ──────────────────────────────────────────────────────────────────────────────────

    @lasting
    def nginx(self, old: str, new: str) -> Iterator[None]:
        """nginx with something else in its configuration."""
        program = self.row.doors["nginx"].program
        assert isinstance(program, Service)
        text = program.config.read_text()
        assert old in text, text
        with rewritten(program.config, text.replace(old, new)):
            program.restart()  # what is reloaded answers a while as it did before
            yield
        program.restart()

    @lasting
    def leaf_alone(self) -> Iterator[None]:
        """nginx is given cert.pem in place of fullchain.pem."""
        chain = self.current("nginx") / "fullchain.pem"
        leaf = self.directory / "cert.pem"
        leaf.write_bytes(read_chain(chain.read_bytes())[0])
        with self.nginx(str(chain), str(leaf)):
            yield

    @lasting
    def without_nginx(self) -> Iterator[None]:
        """Only Node-RED is a target."""
        text = self.config.read_text()
        begin = text.rindex("[[certificate.target]]", 0, text.index('name = "nginx"'))
        end = text.index("[authority]")
        with rewritten(self.config, text[:begin] + text[end:]):
            yield

    @lasting
    def stopped(self, target: str) -> Iterator[None]:
        program = self.row.doors[target].program
        program.stop()
        yield
        program.start()

    @lasting
    def probed_at_plain_http(self) -> Iterator[None]:
        """Where nginx is looked for, something else answers."""
        probe = f'probe = "127.0.0.1:{self.row.doors["nginx"].port}"'
        with serving(_answer_plainly) as there, self.configured(probe, f'probe = "{there}"'):
            yield

    @lasting
    def node_red_at_1880(self) -> Iterator[None]:
        """It answers everybody in the house, without TLS."""
        with ThreadingHTTPServer(("0.0.0.0", 0), _Quiet) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(clients, "NODE_RED_PORT", server.server_port)
                yield
            server.shutdown()
            thread.join()

    # ── this machine ──────────────────────────────────────────────────────────────────────────────

    @lasting
    def unit(self, name: str, **properties: str) -> Iterator[None]:
        """systemd tells something else of it."""
        before = self.machine.units[name]
        self.machine.units[name] = {**before, **properties}
        yield
        self.machine.units[name] = before

    @lasting
    def unit_gone(self, *names: str) -> Iterator[None]:
        """They are not installed."""
        before = dict(self.machine.units)
        for name in names:
            self.machine.units.pop(name, None)
        yield
        self.machine.units.update(before)

    @lasting
    def routers_page(self) -> Iterator[None]:
        """The router answers itself where the name leads to."""
        before, self.machine.beyond = (
            self.machine.beyond,
            Served(a_pair(["router.box"]).certificate),
        )
        with self.address("203.0.113.5", here=["203.0.113.5"]):
            yield
        self.machine.beyond = before

    @lasting
    def reached_at(self, *own: str) -> Iterator[None]:
        """The addresses of this machine in the house."""
        before, self.machine.own = self.machine.own, own
        yield
        self.machine.own = before


def _remembering(
    decrypt: Callable[[Secret, Secret], PrivateKey],
) -> Callable[[Secret, Secret], PrivateKey]:
    """The same key is opened by the same passphrase once: that is made to take its time."""
    known: dict[tuple[bytes, bytes], PrivateKey] = {}

    def open_key(key_pem: Secret, passphrase: Secret) -> PrivateKey:
        place = (key_pem.reveal(), passphrase.reveal())
        if place not in known:
            known[place] = decrypt(key_pem, passphrase)
        return known[place]

    return open_key


def _answer_plainly(connection: socket.socket) -> None:
    """As Node.js does to what is no HTTP."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        """Says nothing to the terminal."""


def by_family(led_to: Sequence[str]) -> dict[Family, tuple[str, ...]]:
    """Addresses as a resolver tells them."""
    return {
        Family.A: tuple(each for each in led_to if ":" not in each),
        Family.AAAA: tuple(each for each in led_to if ":" in each),
    }


@contextmanager
def ailing(world: World, directory: Path) -> Iterator[Ailing]:
    """A house with Node-RED, nginx, a private CA, a client and a backup; all of it is well."""
    for record in world.store.records():
        world.store.remove(record)
    world.store.add("A", DOMAIN, "127.0.0.1")
    (directory / "safe").mkdir(parents=True, mode=0o700)
    password = directory / "backup.passphrase"
    password.touch(mode=0o600)
    password.write_text("correct horse battery staple")
    with guarded(world, directory, NAMES) as row, pytest.MonkeyPatch.context() as patch:
        row.house.targets += _BACKUP.format(directory=directory)
        row.house.write_config()
        patch.setenv("PATH", row.house.environment["PATH"])
        for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "CERTWARDEN_CONFIG", "SUDO_UID"):
            patch.delenv(name, raising=False)
        for words in (("deploy",), ("renew",)):
            run = row.run(*words)
            assert run.code == 0, run.err
        yield Ailing(row, _machine(row, patch))


def _machine(row: Guarded, patch: pytest.MonkeyPatch) -> Machine:
    """A machine on which certwarden is a service, in place of this one."""
    directory = row.house.directory
    config = load(row.house.config, {})
    rule, bus = directory / "49-certwarden.rules", directory / "polkit.service"
    rule.write_text(polkit_rule(config))
    bus.touch()
    drop_in = directory / "50-configuration.conf"
    drop_in.write_text(service_drop_in(config))
    at_work = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
        "Result": "success",
        "NRestarts": "0",
        "NeedDaemonReload": "no",
        "ActiveEnterTimestampMonotonic": "1",
        "User": USER,
        "ExecStart": f"{{ path={_PROGRAM} ; argv[]={_PROGRAM} ; ignore_errors=no ; }}",
        "Environment": f"CERTWARDEN_CONFIG={row.house.config}",
        "DropInPaths": str(drop_in),
        "MainPID": str(os.getpid()),
    }
    idle = {**at_work, "ActiveState": "inactive", "UnitFileState": "disabled", "MainPID": "0"}
    machine = Machine(
        by_family(["127.0.0.1"]),
        ("127.0.0.1",),
        {SERVICE: at_work, TIMER: idle, PASS: {**idle, "UnitFileState": "static"}},
        rule,
        row.doors["nginx"].program.alive,
    )
    patch.setattr(addresses, "by_system", machine.resolve)
    for module in (host_names, hairpin):
        patch.setattr(module, "own_addresses", lambda: machine.own)
    patch.setattr(hairpin, "look_along", machine.look_along)
    for each in (service, fittings, readers):
        patch.setattr(each, "show", machine.show)
    for each in (service, fittings):
        patch.setattr(each, "is_booted", lambda: True)
    patch.setattr(protection, "decrypt_key", _remembering(protection.decrypt_key))
    patch.setattr(service, "time", SimpleNamespace(monotonic=UPTIME.total_seconds))
    patch.setattr(fittings, "RULE_PATH", str(rule))
    patch.setattr(fittings, "POLKIT_ON_BUS", bus)
    patch.setattr(fittings, "_owner", lambda _state: USER)
    return machine
