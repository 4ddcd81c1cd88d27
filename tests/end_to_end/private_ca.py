"""A house with a private CA, and all that its CA has ever left behind.

Owns the configuration, and reading the register, the lists and the files for people as anybody
might find them: with SQLite and cryptography, not by our own store. What must never be, it notes by
itself.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from certwarden.files import TEMPORARY_PREFIX
from certwarden.model import Crl
from certwarden.pki.certificate import even_hex
from certwarden.pki.crl import read_crl
from tests.world import World
from tests.world.house import House
from tests.world.turnstile import Turnstile

DOOR = "door"
PASSWORD_FILE, PASSWORDS = "password", "passwords"

_AUTHORITY = """
  [[certificate.target]]
  name = "{door}"
  kind = "files"
  client_auth = true
  probe = "{address}"
  probe_timeout = "10s"

[clock]
trust = "always"

[authority]
name = "Home client CA"
passphrase_file = "ca.passphrase"
"""


def a_house(world: World, place: Path, door: Turnstile) -> House:
    """A house with one certificate, a CA to be made, and a desk; it has the door from now on."""
    house = House(world, place, targets=_AUTHORITY.format(door=DOOR, address=door.address))
    door.live = live(house)
    desk(house).mkdir()
    return house


def desk(house: House) -> Path:
    """Where commands are told to put what is for people."""
    return house.directory / "desk"


def live(house: House) -> Path:
    """The door's directory."""
    return house.state / "live" / DOOR


@dataclass(frozen=True)
class Entry:
    """A certificate in the register."""

    name: str
    is_probe: bool
    is_signed: bool
    revoked_at: str | None
    supersede_at: str | None
    pem: bytes | None


@dataclass(frozen=True)
class Sight:
    """What stands there at an instant; certificates by serial, files by name with their serial."""

    has_root: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    last_number: int = 0
    published: Crl | None = None
    installed: tuple[Crl, ...] = ()  # by the numbers of their generations
    files: dict[str, str] = field(default_factory=dict)
    litter: tuple[str, ...] = ()

    def of(self, name: str) -> dict[str, Entry]:
        """The client's certificates."""
        return {serial: each for serial, each in self.entries.items() if each.name == name}

    def valid(self, name: str) -> set[str]:
        """The serials of those that let it in."""
        return {
            serial
            for serial, each in self.of(name).items()
            if each.is_signed and each.revoked_at is None
        }

    @property
    def revoked(self) -> set[str]:
        """The serials that are revoked in the register; none of a test's is ever past its end."""
        return {serial for serial, each in self.entries.items() if each.revoked_at}


class Evidence:
    """Looks again and again, and notes in `wrong` what must not be seen, or not any more."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._certificates: dict[str, str] = {}  # fingerprints by serial
        self._lists: dict[int, bytes] = {}
        self._last = Sight(has_root=False)
        self.wrong: list[str] = []

    def check(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - an assertion that goes on
        """Notes the sentence unless it holds."""
        if not holds:
            self.wrong.append(sentence)

    def look(self) -> Sight:
        """What stands there now, from a copy, so that looking changes nothing."""
        with tempfile.TemporaryDirectory() as name:
            state = Path(name) / "state"
            if self._house.state.exists():
                shutil.copytree(self._house.state, state, symlinks=True)
            sight = self._read(state)
        self._judge(sight)
        self._last = sight
        return sight

    def judge_settled(self, sight: Sight) -> None:
        """What must hold once a pass has gone to its end."""
        published = sight.published.serials if sight.published else frozenset()
        installed = sight.installed[-1].serials if sight.installed else frozenset()
        self.check(sight.revoked <= published, "a revocation is not in the published list")
        self.check(sight.revoked <= installed, "a revocation is not in the installed list")
        # Where no CA has come about, the next `ca init` clears away what was to be one.
        self.check(not (sight.has_root and sight.litter), f"litter is left: {sight.litter}")

    # ── reading ───────────────────────────────────────────────────────────────────────────────────

    def _read(self, state: Path) -> Sight:
        litter = tuple(
            str(path.relative_to(state))
            for path in state.rglob("*")
            if path.name.startswith(TEMPORARY_PREFIX)
        )
        authority = state / "authority"
        files = dict(self._files())
        if not (authority / "root.pem").exists():
            self.check(not (authority / "crl.pem").exists(), "there is a list without its CA")
            return Sight(has_root=False, files=files, litter=litter)
        root_pem = (authority / "root.pem").read_bytes()
        entries = _register(state / "certwarden.db")
        for serial, entry in entries.items():
            if entry.pem is not None:
                self._found("the register", entry.pem, serial)
        if (probe := authority / "probe.pem").exists():
            serial = self._found("probe.pem", probe.read_bytes())
            known = entries.get(serial)
            self.check(known is not None and known.revoked_at is not None, "the probe is not out")
        path = authority / "crl.pem"
        published = self._list(path, root_pem) if path.exists() else None
        generations = sorted((state / "live" / DOOR / "generations").glob("0*/client-crl.pem"))
        installed = tuple(self._list(path, root_pem) for path in generations)
        number = last_number(state / "certwarden.db")
        return Sight(
            has_root=True,
            entries=entries,
            last_number=number,
            published=published,
            installed=installed,
            files=files,
            litter=litter,
        )

    def _list(self, path: Path, root_pem: bytes) -> Crl:
        crl = read_crl(path.read_bytes(), root_pem)
        known = self._lists.setdefault(crl.number, crl.pem)
        self.check(known == crl.pem, f"number {crl.number} was given to two lists")
        return crl

    def _files(self) -> Iterator[tuple[str, str]]:
        """The files for people, each with the serial of the certificate in it."""
        place = desk(self._house)
        for path in sorted(place.rglob("*")):
            name = str(path.relative_to(place))
            if path.is_dir() or name in (PASSWORD_FILE, PASSWORDS):
                self.check(path.is_dir() or path.stat().st_size > 0, f"{name} is empty")
                continue
            try:
                yield name, self._found(name, _opened(path, _password(place, path)))
            except (ValueError, TypeError, KeyError, OSError) as error:
                self.wrong.append(f"{name} is no whole file: {error}")

    def _found(self, where: str, pem: bytes, expected: str | None = None) -> str:
        """Notes a certificate that was found; its serial."""
        certificate = x509.load_pem_x509_certificate(pem)
        serial = even_hex(certificate.serial_number)
        fingerprint = certificate.fingerprint(SHA256()).hex()
        known = self._certificates.setdefault(serial, fingerprint)
        self.check(known == fingerprint, f"serial {serial} was given twice, as seen in {where}")
        self.check(expected in (None, serial), f"{where} has {serial} under {expected}")
        return serial

    # ── judging ───────────────────────────────────────────────────────────────────────────────────

    def _judge(self, sight: Sight) -> None:
        before = self._last
        numbers = [crl.number for crl in sight.installed]
        self.check(numbers == sorted(numbers), f"generations with older lists: {numbers}")
        published = sight.published.number if sight.published else 0
        self.check(max([0, *numbers]) <= published <= sight.last_number, "a number is ahead")
        for name, number, least in (
            ("register", sight.last_number, before.last_number),
            ("published list", published, before.published.number if before.published else 0),
            ("installed list", max([0, *numbers]), max([0, *(c.number for c in before.installed)])),
        ):
            self.check(number >= least, f"the number of the {name} fell from {least} to {number}")
        self.check(sight.has_root or not before.has_root, "the CA is gone")
        for crl in (sight.published, *sight.installed[-1:]):
            strangers = set(crl.serials) - sight.revoked if crl else set()
            self.check(not strangers, f"in a list, and not revoked in the register: {strangers}")
        for serial, entry in before.entries.items():
            now = sight.entries.get(serial)
            self.check(now is not None, f"{entry.name} {serial} is gone from the register")
            if now is not None and entry.revoked_at is not None:
                self.check(now.revoked_at == entry.revoked_at, f"{serial} is not revoked any more")
        for name, serial in before.files.items():
            self.check(sight.files.get(name) == serial, f"{name} is gone, or another one")
        for name, serial in sight.files.items():
            known = sight.entries.get(serial)
            is_signed = known is not None and known.is_signed and known.pem is not None
            self.check(is_signed, f"{name} has {serial}, which the register does not know")


def last_number(database: Path) -> int:
    """The number of the list that was signed last."""
    with closing(sqlite3.connect(database)) as connection:
        (number,) = connection.execute("SELECT last_number FROM authority_book").fetchone()
    return int(number)


def _register(database: Path) -> dict[str, Entry]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT serial, name, purpose = 'probe', is_signed, revoked_at, supersede_at, pem"
            " FROM client_certificates ORDER BY id"
        ).fetchall()
    return {
        serial: Entry(name, bool(is_probe), bool(is_signed), revoked_at, supersede_at, pem)
        for serial, name, is_probe, is_signed, revoked_at, supersede_at, pem in rows
    }


def _password(place: Path, path: Path) -> bytes:
    if path.parent == place:
        return (place / PASSWORD_FILE).read_bytes().rstrip(b"\n")
    lines = (place / PASSWORDS).read_bytes().splitlines()
    return dict(line.split(b"\t") for line in lines)[path.stem.encode()]


def _opened(path: Path, password: bytes) -> bytes:
    """The certificate in a file, in PEM; its key opens under the password and belongs to it."""
    data = path.read_bytes()
    key: object
    certificate: x509.Certificate | None
    if path.suffix == ".p12":
        key, certificate, _ = load_key_and_certificates(data, password)
    else:
        key, certificate = (
            load_pem_private_key(data, password),
            x509.load_pem_x509_certificate(data),
        )
    if certificate is None or not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("key or certificate is missing")
    if key.public_key() != certificate.public_key():
        raise ValueError("its key is another one's")
    return certificate.public_bytes(Encoding.PEM)
