"""A house whose programs ask for client certificates, and the people who come to their doors.

Owns the programs, set up by what `certwarden snippet` prints, and what counts as being let in. What
is asked of them is the tests' business.
"""

import http.client
import json
import os
import sqlite3
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certwarden.model import Secret
from certwarden.pki.crl import build_crl, read_crl, read_entries
from certwarden.pki.keys import PrivateKey
from certwarden.pki.protection import decrypt_key
from tests.waiting import wait_until
from tests.world import World
from tests.world.authority import key_pem
from tests.world.backend import Backend
from tests.world.clients import Client, ClientAuthority, Visitor
from tests.world.haproxy import Haproxy
from tests.world.house import House, Run
from tests.world.mosquitto import Mosquitto, is_let_in
from tests.world.nginx import Nginx
from tests.world.nodered import NodeRed, OpenWebsocket, settings
from tests.world.process import free_port
from tests.world.service import Service
from tests.world.units import Units

DOMAIN = "example.org"
AUTHORITY_NAME = "Home client CA"
SHUTDOWN_SECONDS = 3  # for what the snippets recommend ten: how long a reload spares websockets
_NODE = {"4.1": 20, "5.0": 22}
_TARGET = """
  [[certificate.target]]
  name = "{name}"
  kind = "{kind}"
  client_auth = true
  reload = {reload}
  probe = "127.0.0.1:{port}"
  probe_timeout = "{timeout}"
"""
_AUTHORITY = f"""
[authority]
name = "{AUTHORITY_NAME}"
passphrase_file = "ca.passphrase"
"""
# As a person has it whose Node-RED is restarted: everything is read once.
_READ_ONCE = """\
https: (() => {{
    const read = (name) => require("fs").readFileSync(`{current}/${{name}}.pem`);
    return {{
        key: read("privkey"), cert: read("fullchain"),
        ca: read("client-ca"), crl: read("client-crl"),
        requestCert: true, rejectUnauthorized: true,
    }};
}})(),"""


@dataclass(frozen=True)
class Model:
    """A way of having a program: its kind, and how it takes up a list (by itself: no `verb`)."""

    name: str
    kind: str
    verb: str | None
    version: str = ""

    @property
    def reload(self) -> str:
        """For config.toml."""
        if self.verb is None:
            return "{ hot = true }"
        return f'{{ unit = "{self.name}.service", verb = "{self.verb}" }}'


MODELS = {
    model.name: model
    for model in (
        Model("node-red-4-hot", "node-red", None, "4.1"),
        Model("node-red-5-hot", "node-red", None, "5.0"),
        Model("node-red-4-restart", "node-red", "restart", "4.1"),
        Model("node-red-5-restart", "node-red", "restart", "5.0"),
        Model("nginx", "nginx", "reload"),
        Model("haproxy", "haproxy", "reload"),
        Model("mosquitto", "mosquitto", "reload"),
    )
}


@dataclass(frozen=True)
class Door:
    """A target's program, and how to come in."""

    model: Model
    program: Service | NodeRed
    live: Path
    port: int
    server_ca: Path

    def visitor(
        self,
        client: Client | None = None,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        resumes: bool = False,
    ) -> Visitor:
        """Somebody with this certificate, or without any."""
        return Visitor(
            self.port,
            ca_bundle=self.server_ca,
            server_name=DOMAIN,
            client=client,
            version=version,
            resumes=resumes,
        )

    def lets_in(self, visitor: Visitor) -> bool:
        """Whether the visitor gets to what is behind the door."""
        if self.model.kind == "mosquitto":
            return is_let_in(visitor)
        try:
            status = visitor.get().status
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 or self.model.kind == "node-red"  # where it may just be starting

    def websocket(self, client: Client) -> OpenWebsocket:
        """The editor's, or what stands behind a proxy for it."""
        return OpenWebsocket(
            self.port, server_name=DOMAIN, ca_bundle=self.server_ca, client_certificate=client.pair
        )

    def take_up(self) -> None:
        """As a person makes the program take up what is installed; raises RuntimeError."""
        if isinstance(self.program, Service):
            self.program.reload()
        elif self.model.verb is not None:
            self.program.restart()

    @property
    def installed(self) -> Path:
        """The installed list."""
        return self.live / "current" / "client-crl.pem"


@dataclass(frozen=True)
class Guarded:
    """The house, its doors by the targets' names, and the people by theirs."""

    house: House
    doors: Mapping[str, Door]
    foreign: ClientAuthority
    people: dict[str, Client] = field(default_factory=dict)

    def run(self, *arguments: str) -> Run:
        """Runs a command."""
        return self.house.run(*arguments)

    def issue(self, *names: str) -> None:
        """Certificates for these, by the command."""
        house = self.house
        roster, passwords = house.directory / "roster", house.directory / "passwords"
        desk = house.directory / "desk"
        desk.mkdir(exist_ok=True)
        roster.write_text("".join(f"{name}\n" for name in names))
        options = ("--format", "pem", "--password-file", str(passwords), "--out", str(desk))
        run = house.run("client", "issue", "--from", str(roster), *options)
        assert run.code == 0, run.err
        for line in passwords.read_text().splitlines():
            name, password = line.split("\t")
            path = desk / f"{name}.pem"
            key = load_pem_private_key(path.read_bytes(), password.encode())
            plain = path.with_suffix(".key")
            plain.touch(mode=0o600)
            plain.write_bytes(key_pem(key))  # type: ignore[arg-type]  # of a client: P-256
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            self.people[name] = Client(path, plain, certificate.serial_number)
        passwords.unlink()

    @property
    def authority(self) -> Path:
        """Where the CA is kept."""
        return self.house.state / "authority"

    def signing_key(self) -> PrivateKey:
        """The CA's, for lists that certwarden would never sign."""
        passphrase = Secret((self.house.directory / "ca.passphrase").read_bytes().strip())
        return decrypt_key(Secret((self.authority / "root.key").read_bytes()), passphrase)

    def resigned(self, at: datetime) -> bytes:
        """The published list as if it had been signed at that instant, which nobody ever would."""
        root_pem = (self.authority / "root.pem").read_bytes()
        published = (self.authority / "crl.pem").read_bytes()
        crl = build_crl(
            root_pem,
            self.signing_key(),
            number=read_crl(published, root_pem).number,
            at=at,
            lifetime=timedelta(days=30),
            entries=read_entries(published),
        )
        return crl.pem

    def each(self, act: Callable[[Door], object]) -> None:
        """Does it at all doors side by side."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(act, self.doors.values()))

    def has_complained(self, name: str) -> bool:
        """Whether certwarden's module in Node-RED says that it cannot use what is installed."""
        (report,) = (self.doors[name].live / "loaded").glob("*.json")
        return bool(json.loads(report.read_text())["error"])

    def let_time_pass(self) -> None:
        """As if two days had gone by since the targets were looked at, and nothing need rest."""
        at = (datetime.now(UTC) - timedelta(days=2)).isoformat()
        with closing(sqlite3.connect(self.house.state / "certwarden.db")) as connection, connection:
            connection.execute("UPDATE proofs SET at = ?", (at,))
            connection.execute("DELETE FROM setbacks")

    def proofs(self) -> dict[str, str]:
        """What `ca show` says of each target."""
        shown = self.run("ca", "show", "--json").json()
        return {each["name"]: each["outcome"] for each in shown["targets"]}


@contextmanager
def guarded(
    world: World, directory: Path, names: Sequence[str], *, timeout: str = "30s"
) -> Iterator[Guarded]:
    """A house with these of the MODELS, all of them running, and alice who may come in."""
    server_ca = directory / "server-ca.pem"
    directory.mkdir(parents=True, exist_ok=True)
    server_ca.write_bytes(world.pebble.root())
    ports = {name: free_port() for name in names}
    targets = "".join(
        _TARGET.format(
            name=name,
            kind=MODELS[name].kind,
            reload=MODELS[name].reload,
            port=ports[name],
            timeout=timeout,
        )
        for name in names
    )
    with ExitStack() as stack:
        units = stack.enter_context(Units(directory))
        behind = stack.enter_context(Backend())
        house = House(
            world,
            directory,
            targets=targets + _AUTHORITY,
            environment={"PATH": f"{units.bin}{os.pathsep}{os.environ['PATH']}"},
        )
        doors = {
            name: Door(
                MODELS[name],
                _program(house, MODELS[name], ports[name], behind),
                house.state / "live" / name,
                ports[name],
                server_ca,
            )
            for name in names
        }
        for door in doors.values():
            if door.model.verb is not None:
                units.add(f"{door.model.name}.service", door.program)
        for arguments in (("ca", "init"), ("renew",)):
            run = house.run(*arguments)
            assert run.code == 0, run.err
        for door in doors.values():
            stack.callback(door.program.stop)
        with ThreadPoolExecutor() as pool:
            list(pool.map(_start, doors.values()))
        found = Guarded(house, doors, ClientAuthority(directory / "foreign", _root_name(house)))
        found.issue("alice")
        yield found


def _start(door: Door) -> None:
    program = door.program.start()
    if isinstance(program, NodeRed):  # it listens before it knows of any websocket
        wait_until(lambda: "Started flows" in program.log_text(), door.model.name, timeout=60)


def _root_name(house: House) -> str:
    """The CA's name: what is foreign goes by the same."""
    root = x509.load_pem_x509_certificate((house.state / "authority" / "root.pem").read_bytes())
    return str(root.subject.rfc4514_string().removeprefix("CN="))


def _program(house: House, model: Model, port: int, behind: Backend) -> Service | NodeRed:
    """The program with what is printed for it, not started."""
    directory = house.directory / model.name
    if model.kind == "node-red":
        current = house.state / "live" / model.name / "current"
        text = _READ_ONCE.format(current=current) if model.verb else snippet(house, model)
        return NodeRed(
            directory, settings(text), version=model.version, node=_NODE[model.version], port=port
        )
    text = snippet(house, model)
    if model.kind == "mosquitto":
        return Mosquitto(directory, text, port=port)
    if model.kind == "haproxy":
        text = text.replace("hard-stop-after 10s", f"hard-stop-after {SHUTDOWN_SECONDS}s")
        return Haproxy(directory, text, port=port, backend_port=behind.port)
    main = f"worker_shutdown_timeout {SHUTDOWN_SECONDS}s;"
    return Nginx(directory, text, port=port, backend_port=behind.port, main=main)


def snippet(house: House, model: Model) -> str:
    """What certwarden prints for it."""
    run = house.run("snippet", model.kind, model.name)
    assert run.code == 0, run.err
    return run.out
