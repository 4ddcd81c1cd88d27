"""No secret leaks (invariant 8): those of the private CA and of its clients, over a whole run."""

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from tests.end_to_end.private_ca import a_house, desk
from tests.person import Person
from tests.waiting import wait_until
from tests.world import World
from tests.world.house import House
from tests.world.postbox import TOKEN, Postbox
from tests.world.turnstile import Turnstile

_NOTIFY = """
[notify]
urls_file = "notify.urls"

[metrics]
file = "metrics.prom"
"""
_PEM = re.compile(rb"-----BEGIN [^-]+-----([^-]*)-----END")
_SECRET_FILES = ("ca.passphrase", "notify.urls")
_OWN = 0o077  # what no file of the state may let others do
_TYPED = "five random words are good"
_MISTYPED = "five random words are bad"


@dataclass
class Visible:
    """All that anybody could have seen during a run, by where it was."""

    found: dict[str, bytes] = field(default_factory=dict)

    def add(self, where: str, data: bytes) -> None:
        """Notes what was to be seen, and what stands in PEM in it."""
        decoded = [base64.b64decode(body) for body in _PEM.findall(data)]
        self.found[f"{len(self.found)} {where}"] = b"\n".join([data, *decoded])

    def leaks(self, secrets: dict[str, bytes]) -> list[str]:
        """Which secret is to be seen where."""
        return [
            f"{name} in {where}"
            for where, data in self.found.items()
            for name, secret in secrets.items()
            if secret in data or secret.hex().encode() in data.lower()
        ]


@dataclass
class Scene:
    """A house in which commands are run and everything that they show is kept."""

    house: House
    visible: Visible = field(default_factory=Visible)
    secrets: dict[str, bytes] = field(default_factory=dict)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Runs a command, verbosely; what it printed."""
        run = self.house.run("--verbose", *arguments)
        self.visible.add(" ".join(arguments), f"{run.out}{run.err}".encode())
        assert run.code == code, run.err
        return run.out

    def types(self, *arguments: str, typed: dict[str, str] | None = None, code: int = 0) -> str:
        """The same with a person at the terminal, who types after words; what the screen showed."""
        with Person([*self.house.command, *arguments]) as person:
            for after, line in (typed or {}).items():
                person.types(line, after=after)
            ended, out, err = person.leaves()
        self.visible.add(" ".join(arguments), f"{out}{err}".encode())
        assert ended == code, err
        return person.screen

    def run_daemon(self) -> None:
        """Lets the daemon make its first pass; a pass ends by writing the metrics."""
        metrics = self.house.directory / "metrics.prom"
        before = metrics.read_bytes()
        daemon = self.house.start("--verbose", "run")
        try:
            wait_until(lambda: metrics.read_bytes() != before, "a pass of the daemon")
        finally:
            daemon.terminate()
            out, err = daemon.communicate(timeout=60)
        self.visible.add("run", f"{out}{err}".encode())

    def look_at_files(self) -> None:
        """Takes in every file, but for those whose purpose it is to hold a secret."""
        for path in sorted(self.house.directory.rglob("*")):
            name = path.relative_to(self.house.directory)
            is_secret = path.suffix == ".password" or name.name in _SECRET_FILES
            if path.is_file() and not path.is_symlink() and not is_secret:
                self.visible.add(str(name), path.read_bytes())
                is_of_state = name.parts[0] in ("state", "desk") and name.parts[1] != "live"
                assert not (is_of_state and path.stat().st_mode & _OWN), name

    def learn_key(self, name: str, bundle: Path, password: bytes) -> None:
        """The key in a client's file is a secret, and so is the file's password."""
        data = bundle.read_bytes()
        if bundle.suffix == ".pem":
            key: object = load_pem_private_key(data, password)
        else:
            key = load_key_and_certificates(data, password)[0]
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.secrets |= {f"{name}'s key": scalar(key), f"{name}'s password": password}

    def learn_root_key(self, passphrase: bytes) -> None:
        """The CA's own key is one, and its passphrase."""
        pem = (self.house.state / "authority" / "root.key").read_bytes()
        key = load_pem_private_key(pem, passphrase)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.secrets |= {"the CA's key": scalar(key), "the CA's passphrase": passphrase}


def scalar(key: ec.EllipticCurvePrivateKey) -> bytes:
    """What every encoding of the key has in it."""
    return key.private_numbers().private_value.to_bytes(32)


@contextmanager
def watching_processes(visible: Visible) -> Iterator[None]:
    """Looks at the list of processes again and again, as anybody may."""
    seen: set[bytes] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        visible.add("the list of processes", b"\n".join(seen))


@pytest.fixture
def scene(world: World, tmp_path: Path) -> Iterator[Scene]:
    """A house with a CA to be made, whose messages arrive somewhere."""
    with Turnstile() as door, Postbox() as postbox:
        house = a_house(world, tmp_path / "house", door)
        house.targets += _NOTIFY
        house.write_config()
        urls = house.directory / "notify.urls"
        urls.touch(mode=0o600)
        urls.write_bytes(postbox.url.reveal())
        scene = Scene(house)
        scene.secrets["Cloudflare's token"] = world.token_file.read_bytes().strip()
        scene.secrets["the token of messages"] = TOKEN.encode()
        with watching_processes(scene.visible):
            yield scene
        for message in postbox.messages:
            scene.visible.add("a message", repr(message).encode())
        assert scene.visible.leaks(scene.secrets) == []


def test_no_secret_of_the_ca_is_to_be_seen(scene: Scene) -> None:
    """Keys, passphrase and passwords: in no output, no process list, no file, whatever fails."""
    house, place = scene.house, desk(scene.house)
    passphrase = house.directory / "ca.passphrase"
    scene.run("ca", "init")
    scene.run("renew")
    for form in ("p12", "p12-legacy", "mobileconfig", "pem"):
        file, password = place / f"{form}.{form[:3]}", place / f"{form}.password"
        to = (f"--out={file}", f"--password-file={password}")
        scene.run("client", "issue", f"with-{form}", f"--format={form}", *to)
        if form != "mobileconfig":
            scene.learn_key(form, file, password.read_bytes().strip())
    issue_many(scene, place)
    to = (f"--out={place / 'again.p12'}", f"--password-file={place / 'again.password'}")
    scene.run("client", "issue", "with-p12", *to, code=2)
    scene.run("client", "renew", "with-p12", "--replace", *to)
    scene.learn_key("again", place / "again.p12", (place / "again.password").read_bytes().strip())
    scene.run_daemon()
    scene.run("client", "revoke", "with-pem")
    scene.look_at_files()
    scene.learn_root_key(passphrase.read_bytes().strip())
    scene.run("ca", "renew-root")
    scene.run("ca", "backup", str(place / "backup"), f"--password-file={place / 'p12.password'}")
    for command in (
        ["ca", "show"],
        ["ca", "show", "--json"],
        ["ca", "crl"],
        ["ca", "export"],
        ["client", "list"],
        ["client", "list", "--json"],
        ["client", "show", "with-p12"],
        ["client", "export", "with-p12"],
        ["config", "show"],
        ["history", "--json"],
        ["notify", "test"],
        ["plan", "--json"],
        ["status", "--json"],
    ):
        scene.run(*command)
    scene.look_at_files()

    # From here on its key cannot be had, and much is said about that.
    passphrase.write_text(f"{_MISTYPED}\n")
    scene.secrets["the wrong passphrase"] = _MISTYPED.encode()
    scene.run("client", "revoke", "with-p12", code=1)
    scene.run("renew", code=1)
    (house.state / "authority" / "root.key").write_text(f"{_TYPED}\n")
    scene.secrets["what stands in a file of the CA"] = _TYPED.encode()
    scene.run("client", "revoke", "with-p12", code=1)
    scene.run("ca", "show")


def issue_many(scene: Scene, place: Path) -> None:
    """Two clients at once, whose passwords are in one file."""
    names, passwords = place / "names", place / "many.password"
    names.touch(mode=0o600)
    names.write_text("alice\nbob\n")
    to = (f"--out={place / 'many'}", f"--password-file={passwords}")
    scene.run("client", "issue", f"--from={names}", *to)
    for line in passwords.read_bytes().splitlines():
        name, _, password = line.decode().partition("\t")
        scene.learn_key(name, place / "many" / f"{name}.p12", password.encode())


def test_what_a_person_types_is_not_to_be_seen(scene: Scene) -> None:
    """A locked CA's passphrase is nowhere; a password that was shown is on the screen only."""
    scene.secrets |= {"the slip": _MISTYPED.encode()}
    again = {"characters)": _TYPED, "again": _TYPED}
    screens = [scene.types("ca", "init", "--locked", typed=again)]
    scene.learn_root_key(_TYPED.encode())
    scene.run("renew")
    file = desk(scene.house) / "alice.p12"
    issue = ("client", "issue", "alice", f"--out={file}")
    screens.append(scene.types(*issue, typed={"private CA": _MISTYPED}, code=1))
    shown = scene.types(*issue, typed={"private CA": _TYPED})
    found = re.search(r"password of .*: (\S+)", shown)
    assert found, shown
    scene.learn_key("alice", file, found[1].encode())
    screens.append(shown.replace(found[1], ""))
    screens.append(scene.types("ca", "unlock", typed={"private CA": _MISTYPED}, code=1))
    screens.append(scene.types("client", "revoke", "alice", typed={"private CA": _TYPED}))
    screens.append(scene.types("ca", "unlock", typed={"private CA": _TYPED}))
    scene.run_daemon()
    scene.run("ca", "show", "--json")
    scene.look_at_files()
    for screen in screens:
        scene.visible.add("a screen", screen.encode())
