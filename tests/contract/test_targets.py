"""What the lifecycle may rely on at a target: kept by the fakes and the real neighbours alike."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from certwarden.errors import TargetError
from certwarden.model import (
    Address,
    CommandReload,
    KeyType,
    NoHandshake,
    Pair,
    Served,
    TargetSpec,
    Unreachable,
)
from certwarden.pki.certificate import build_placeholder
from certwarden.ports import Probe, Reloader, Shelf
from certwarden.targets.probe import TlsProbe
from certwarden.targets.reload import reloader_for
from certwarden.targets.shelf import GenerationShelf
from tests.builders import NOW, a_pair, a_target_spec
from tests.fakes_targets import FakeProbe, FakeReloader, FakeShelf
from tests.targets.servers import a_closed_port, serving, tls
from tests.targets.trust import SmallAuthority
from tests.world.server import context_for


class Target(Protocol):
    """A shelf, the program that reads it, a look at it; and what may befall them."""

    @property
    def shelf(self) -> Shelf: ...
    @property
    def reloader(self) -> Reloader: ...
    @property
    def probe(self) -> Probe: ...

    def start(self) -> None: ...
    def damage(self) -> None: ...
    def refuse_reloads(self) -> None: ...


class FakeTarget:
    """All in memory. `standing` stood at the fixed paths before."""

    def __init__(self, standing: Pair) -> None:
        self.shelf = FakeShelf(standing)
        self.reloader = FakeReloader(self.shelf, is_unit=False, is_running=False)
        self.probe = FakeProbe(self.reloader)

    def start(self) -> None:
        self.reloader.is_running = True

    def damage(self) -> None:
        self.shelf.is_broken = True

    def refuse_reloads(self) -> None:
        self.reloader.reload_error = TargetError("no")


class RealTarget:
    """Files, a command, and a TLS server that reads the files when the command has run."""

    def __init__(self, directory: Path, standing: Pair, stack: ExitStack) -> None:
        self._flag = directory / "reload-wanted"
        self._stack = stack
        self._key, self._certificate = directory / "key.pem", directory / "cert.pem"
        self._key.write_bytes(standing.key_pem.reveal())
        self._certificate.write_bytes(standing.fullchain_pem)
        self._spec = a_target_spec(
            kind="files",
            directory=directory / "live" / "web",
            key_path=self._key,
            certificate_path=self._certificate,
            reload=CommandReload(("touch", str(self._flag))),
        )
        self.shelf = GenerationShelf(self._spec)
        self.reloader: Reloader = reloader_for(self._spec)
        self._address: Address = a_closed_port()
        self.probe = TlsProbe(self._address, "example.org", timeout=10)

    def start(self) -> None:
        server = _Server(self._spec, self._flag)
        self._address = self._stack.enter_context(serving(server.handle))
        self.probe = TlsProbe(self._address, "example.org", timeout=10)

    def damage(self) -> None:
        self._key.unlink()
        self._key.write_bytes(b"somebody wrote over it")

    def refuse_reloads(self) -> None:
        self.reloader = reloader_for(
            a_target_spec(directory=self._spec.directory, reload=CommandReload(("false",)))
        )


class _Server:
    """Loads its files anew when the flag has been set, as a reload command would have it do."""

    def __init__(self, spec: TargetSpec, flag: Path) -> None:
        self._spec, self._flag = spec, flag
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._lock = threading.Lock()

    def handle(self, connection: socket.socket) -> None:
        with self._lock:
            if self._flag.exists():
                self._flag.unlink()
                assert self._spec.certificate_path
                assert self._spec.key_path
                self._context = context_for(self._spec.certificate_path, self._spec.key_path)
            context = self._context
        tls(context)(connection)


STANDING = a_pair(domains=["old.example.org"])


@pytest.fixture(params=["fake", "real"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A target with a pair of its own at fixed paths, whose program does not run yet."""
    with ExitStack() as stack:
        if request.param == "fake":
            yield FakeTarget(STANDING)
        else:
            yield RealTarget(tmp_path, STANDING, stack)


def test_nothing_is_installed_before_the_first_publication(target: Target) -> None:
    """Files that somebody else put there are not ours, however well they match."""
    assert target.shelf.installed() is None


def test_what_was_published_is_installed(target: Target) -> None:
    """`installed` says the same as `publish` returned."""
    pair = a_pair()

    published = target.shelf.publish(pair)

    assert published.certificate == pair.certificate
    assert not published.is_placeholder
    assert target.shelf.installed() == published


def test_numbers_grow(target: Target) -> None:
    """A pair that is put back is a new generation too."""
    pair = a_pair()

    numbers = [target.shelf.publish(each).number for each in (pair, a_pair(), pair)]

    assert numbers == sorted(set(numbers))


def test_a_placeholder_is_known_as_one(target: Target) -> None:
    """It is installed like any other pair, and never mistaken for a certificate."""
    placeholder = build_placeholder(["example.org"], KeyType.ECDSA_P256, NOW)

    target.shelf.publish(placeholder)

    installed = target.shelf.installed()
    assert installed is not None
    assert installed.is_placeholder


def test_damage_is_noticed_and_repaired(target: Target) -> None:
    """Files that no longer belong together are not installed, until they are published again."""
    pair = a_pair()
    target.shelf.publish(pair)

    target.damage()

    assert target.shelf.installed() is None
    assert target.shelf.publish(pair) == target.shelf.installed()


def test_the_last_good_pair_is_the_one_that_stood_there_before(target: Target) -> None:
    """Until something of ours was seen in use, there is only that to go back to."""
    assert target.shelf.last_good() == STANDING

    target.shelf.publish(a_pair())

    assert target.shelf.last_good() == STANDING


def test_the_last_good_pair_is_the_confirmed_one(target: Target) -> None:
    """Later publications do not change it, however many there are."""
    good = a_pair()
    target.shelf.confirm(target.shelf.publish(good).number)

    for _ in range(4):
        target.shelf.publish(a_pair())

    assert target.shelf.last_good() == good


def test_a_placeholder_is_never_the_last_good_pair(target: Target) -> None:
    """Going back to it would be no better than going nowhere."""
    placeholder = build_placeholder(["example.org"], KeyType.ECDSA_P256, NOW)

    target.shelf.confirm(target.shelf.publish(placeholder).number)

    assert target.shelf.last_good() == STANDING


def test_a_generation_that_never_was_cannot_be_confirmed(target: Target) -> None:
    """The mistake is told, and nothing changes."""
    with pytest.raises(TargetError):
        target.shelf.confirm(7)

    assert target.shelf.last_good() == STANDING


# ── targets that ask their clients for certificates ───────────────────────────────────────────────


AUTHORITY = SmallAuthority()


@pytest.fixture(params=["fake", "real"])
def strict_shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    """The shelf of such a target, with nothing on it."""
    if request.param == "fake":
        return FakeShelf(client_auth=True)
    spec = a_target_spec(kind="files", directory=tmp_path / "live" / "web")
    return GenerationShelf(replace(spec, client_auth=True))


def test_a_list_is_installed_with_the_pair(strict_shelf: Shelf) -> None:
    """`installed` and `publish` say which."""
    trust = AUTHORITY.trust(3)

    published = strict_shelf.publish(a_pair(), trust)

    assert published.trust == trust
    assert strict_shelf.installed() == published


def test_a_new_pair_keeps_the_installed_list(strict_shelf: Shelf) -> None:
    """Where none is given, what is there stays."""
    trust = AUTHORITY.trust(3)
    strict_shelf.publish(a_pair(), trust)

    assert strict_shelf.publish(a_pair()).trust == trust


def test_nothing_is_published_without_a_list(strict_shelf: Shelf) -> None:
    """Nobody is let in by mistake before there is a CA."""
    with pytest.raises(TargetError):
        strict_shelf.publish(a_pair())

    assert strict_shelf.installed() is None


def test_an_older_list_is_refused(strict_shelf: Shelf) -> None:
    """What is installed stays; the same number once more is in order."""
    before = strict_shelf.publish(a_pair(), AUTHORITY.trust(3))

    with pytest.raises(TargetError):
        strict_shelf.publish(a_pair(), AUTHORITY.trust(2))

    assert strict_shelf.installed() == before
    assert strict_shelf.publish(a_pair(), AUTHORITY.trust(3)).number > before.number


def test_an_extended_root_is_the_same_authority(strict_shelf: Shelf) -> None:
    """Its numbers go on, and so does the list that the old root has signed."""
    authority = SmallAuthority()
    strict_shelf.publish(a_pair(), authority.trust(3))
    authority.extend()

    with pytest.raises(TargetError):
        strict_shelf.publish(a_pair(), authority.trust(2))

    extended = authority.trust(3)
    assert strict_shelf.publish(a_pair(), extended).trust == extended


def test_another_authority_counts_for_itself(strict_shelf: Shelf) -> None:
    """Numbers of two CAs have nothing to do with each other."""
    strict_shelf.publish(a_pair(), AUTHORITY.trust(3))
    other = SmallAuthority().trust(1)

    assert strict_shelf.publish(a_pair(), other).trust == other


def test_a_target_that_asks_nobody_has_no_list(target: Target) -> None:
    """Given one, it ignores it."""
    assert target.shelf.publish(a_pair(), AUTHORITY.trust(3)).trust is None


# ── the program and the look at it ────────────────────────────────────────────────────────────────


def test_nobody_is_seen_where_nothing_runs(target: Target) -> None:
    """An absent program is told from one that does not serve."""
    assert isinstance(target.probe.look(), Unreachable)


def test_a_program_without_a_certificate_does_not_shake_hands(target: Target) -> None:
    """Somebody is there, but that is all."""
    target.start()

    assert isinstance(target.probe.look(), NoHandshake)


def test_a_reload_is_what_puts_a_pair_to_use(target: Target) -> None:
    """Published is not served: only after the reload does the probe see the new leaf."""
    first, second = a_pair(), a_pair()
    target.start()
    target.shelf.publish(first)
    target.reloader.reload()
    assert target.probe.look() == Served(first.certificate)

    target.shelf.publish(second)
    assert target.probe.look() == Served(first.certificate)

    target.reloader.reload()

    assert target.probe.look() == Served(second.certificate)


def test_a_reload_that_fails_raises(target: Target) -> None:
    """By TargetError, and what was served stays."""
    pair = a_pair()
    target.start()
    target.shelf.publish(pair)
    target.reloader.reload()
    target.refuse_reloads()

    with pytest.raises(TargetError):
        target.reloader.reload()

    assert target.probe.look() == Served(pair.certificate)


def test_without_a_unit_nobody_knows_whether_it_runs(target: Target) -> None:
    """None is neither yes nor no; and there is nothing to complain about."""
    assert target.reloader.is_active() is None
    assert target.reloader.complaint() == ""
