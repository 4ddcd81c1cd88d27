"""Generations of a target that asks its clients for certificates: the CA and its newest list."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certwarden.errors import TargetError
from certwarden.model import ClientTrust, Crl, TargetSpec
from certwarden.pki.certificate import read_pair
from certwarden.pki.crl import read_crl
from certwarden.pki.keys import serialise_key
from certwarden.targets import generation
from certwarden.targets.shelf import GenerationShelf
from tests import crash
from tests.builders import a_pair, a_self_signed_pem, a_target_spec
from tests.targets.trust import SmallAuthority

AUTHORITY = SmallAuthority()
KEY_AND_CHAIN = {"privkey.pem", "fullchain.pem"}
CA_AND_CRL = {"client-ca.pem", "client-crl.pem"}
FILES = {
    "node-red": {*KEY_AND_CHAIN, *CA_AND_CRL, "revoked.json"},
    "nginx": {*KEY_AND_CHAIN, *CA_AND_CRL},
    "mosquitto": {*KEY_AND_CHAIN, *CA_AND_CRL},
    "haproxy": {"combined.pem", *CA_AND_CRL},
    "files": {
        *KEY_AND_CHAIN, *CA_AND_CRL, "revoked.json", "cert.pem", "chain.pem", "combined.pem",
    },
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", FILES)


def a_spec(directory: Path, kind: str = "node-red") -> TargetSpec:
    return replace(a_target_spec(kind=kind, directory=directory / "live" / kind), client_auth=True)


@pytest.fixture
def spec(tmp_path: Path) -> TargetSpec:
    return a_spec(tmp_path)


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill leaves what the kernel has, synced or not: the disk need not be waited for."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def current(spec: TargetSpec) -> Path:
    return (spec.directory / "current").resolve(strict=True)


def current_number(spec: TargetSpec) -> int:
    """Of the list that a program would read now; raises where it is not whole."""
    now = current(spec)
    root = (now / "client-ca.pem").read_bytes()
    return read_crl((now / "client-crl.pem").read_bytes(), root).number


def generations(spec: TargetSpec) -> set[str]:
    return {path.name for path in (spec.directory / "generations").iterdir()}


# ── what is published ─────────────────────────────────────────────────────────────────────────────


@every_kind
def test_each_kind_gets_what_it_reads(tmp_path: Path, kind: str) -> None:
    """The CA and its list beside the pair, readable to all; revoked.json where it is read."""
    spec, pair, trust = a_spec(tmp_path, kind), a_pair(), AUTHORITY.trust(5, ["0a", "1b2c"])

    GenerationShelf(spec).publish(pair, trust)

    now = current(spec)
    assert {path.name for path in now.iterdir()} == FILES[kind]
    assert (now / "client-ca.pem").read_bytes() == trust.root_pem
    assert (now / "client-crl.pem").read_bytes() == trust.crl.pem
    for name in FILES[kind] - {"privkey.pem", "combined.pem"}:
        assert stat.S_IMODE((now / name).stat().st_mode) == 0o644
    if "revoked.json" in FILES[kind]:
        said = json.loads((now / "revoked.json").read_text())
        assert said == {"crl_number": 5, "serials": ["0A", "1B2C"]}


@every_kind
def test_what_was_published_is_found_again(tmp_path: Path, kind: str) -> None:
    """Pair and list, whichever files they lie in; and so is the last good pair."""
    shelf, pair, trust = GenerationShelf(a_spec(tmp_path, kind)), a_pair(), AUTHORITY.trust()

    published = shelf.publish(pair, trust)
    shelf.confirm(published.number)

    assert published.trust == trust
    assert shelf.installed() == published
    assert shelf.last_good() == pair


def test_a_target_that_asks_nobody_ignores_the_list(tmp_path: Path) -> None:
    """Nothing is installed that would not be used."""
    spec = replace(a_spec(tmp_path), client_auth=False)

    installed = GenerationShelf(spec).publish(a_pair(), AUTHORITY.trust())

    assert installed.trust is None
    assert {path.name for path in current(spec).iterdir()} == KEY_AND_CHAIN


def test_the_installed_list_stays_beside_a_new_pair(spec: TargetSpec) -> None:
    """A renewal while the private CA cannot be read takes nobody's access and gives none."""
    shelf, trust = GenerationShelf(spec), AUTHORITY.trust(3)
    shelf.publish(a_pair(), trust)

    assert shelf.publish(a_pair()).trust == trust
    assert current_number(spec) == 3


def test_without_any_list_nothing_is_published(spec: TargetSpec) -> None:
    """The sentence says how to come by one."""
    with pytest.raises(TargetError, match="no revocation list yet for node-red") as caught:
        GenerationShelf(spec).publish(a_pair())

    assert "certwarden ca init" in caught.value.hint
    assert not (spec.directory / "current").exists()


# ── which lists are not to be installed ───────────────────────────────────────────────────────────


def test_an_older_list_is_never_published(spec: TargetSpec) -> None:
    """Whoever was revoked since would get in again; the same list once more is in order."""
    shelf, new = GenerationShelf(spec), AUTHORITY.trust(7)
    shelf.publish(a_pair(), new)
    before = generations(spec)

    with pytest.raises(TargetError, match="number 6 is older than number 7"):
        shelf.publish(a_pair(), AUTHORITY.trust(6))

    assert generations(spec) == before
    assert current_number(spec) == 7
    shelf.publish(a_pair(), new)
    shelf.publish(a_pair(), AUTHORITY.trust(7, ["0a"]))
    assert current_number(spec) == 7


@pytest.mark.parametrize(
    "damage",
    [
        lambda spec: (spec.directory / "current").unlink(),
        lambda spec: (current(spec) / "client-crl.pem").write_bytes(b""),
    ],
    ids=["link", "list"],
)
def test_damage_does_not_let_an_older_list_in(
    spec: TargetSpec, damage: Callable[[TargetSpec], object]
) -> None:
    """What other generations hold is remembered as well."""
    shelf = GenerationShelf(spec)
    shelf.publish(a_pair(), AUTHORITY.trust(7))
    shelf.publish(a_pair(), AUTHORITY.trust(7))
    damage(spec)

    with pytest.raises(TargetError, match="older"):
        shelf.publish(a_pair(), AUTHORITY.trust(6))


def test_the_lists_of_another_authority_have_numbers_of_their_own(spec: TargetSpec) -> None:
    """Whoever made a new CA is not held up by what the old one signed."""
    shelf = GenerationShelf(spec)
    shelf.publish(a_pair(), AUTHORITY.trust(1000))

    installed = shelf.publish(a_pair(), SmallAuthority().trust(1))

    assert installed.trust is not None
    assert installed.trust.crl.number == 1


def with_list(trust: ClientTrust, pem: bytes) -> ClientTrust:
    crl = trust.crl
    return ClientTrust(
        trust.root_pem, Crl(pem, crl.number, crl.this_update, crl.next_update, crl.serials)
    )


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"\n",
        b"garbage",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        AUTHORITY.root_pem,
        SmallAuthority().trust(9).crl.pem,
    ],
    ids=["empty", "blank", "garbage", "no list", "a certificate", "foreign"],
)
def test_what_is_no_list_of_the_authority_is_never_installed(spec: TargetSpec, pem: bytes) -> None:
    """To some programs an empty list means that nobody is revoked: the old set stays."""
    shelf = GenerationShelf(spec)
    before = shelf.publish(a_pair(), AUTHORITY.trust(2))

    with pytest.raises(TargetError, match="revocation list"):
        shelf.publish(a_pair(), with_list(AUTHORITY.trust(9), pem))

    assert shelf.installed() == before


def test_what_openssl_cannot_load_never_becomes_current(spec: TargetSpec) -> None:
    """Nothing of it is left, and what is current stays."""
    shelf, pair = GenerationShelf(spec), a_pair()
    before = shelf.publish(pair, AUTHORITY.trust())

    with pytest.raises(TargetError, match=r"OpenSSL cannot load the new privkey\.pem") as caught:
        shelf.publish(replace(pair, key_pem=a_pair().key_pem), AUTHORITY.trust())

    assert "PRIVATE" not in caught.value.what
    assert generations(spec) == {"0001"}
    assert shelf.installed() == before


# ── what is installed ─────────────────────────────────────────────────────────────────────────────

OTHER = SmallAuthority()
DAMAGE: dict[str, Callable[[Path], object]] = {
    "no list": lambda now: (now / "client-crl.pem").unlink(),
    "empty list": lambda now: (now / "client-crl.pem").write_bytes(b""),
    "foreign list": lambda now: (now / "client-crl.pem").write_bytes(OTHER.trust(2).crl.pem),
    "list and more": lambda now: (now / "client-crl.pem").write_bytes(
        (now / "client-crl.pem").read_bytes() + b"\n"
    ),
    "no CA": lambda now: (now / "client-ca.pem").unlink(),
    "another CA": lambda now: (now / "client-ca.pem").write_bytes(OTHER.root_pem),
    "no serials": lambda now: (now / "revoked.json").unlink(),
    "serials of another list": lambda now: (now / "revoked.json").write_bytes(
        b'{"crl_number": 2, "serials": []}\n'
    ),
    "closed list": lambda now: (now / "client-crl.pem").chmod(0o600),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_trust_is_a_reason_to_publish(
    spec: TargetSpec, damage: Callable[[Path], object]
) -> None:
    """A program must not go on judging its clients by it."""
    shelf, trust = GenerationShelf(spec), AUTHORITY.trust(2, ["0a"])
    pair = a_pair()
    shelf.publish(pair, trust)

    damage(current(spec))

    assert shelf.installed() is None
    assert shelf.publish(pair, trust) == shelf.installed()


def test_asking_clients_from_now_on_is_a_reason_to_publish(spec: TargetSpec) -> None:
    """And what was good before is still there to go back to."""
    pair = a_pair()
    before = GenerationShelf(replace(spec, client_auth=False))
    before.confirm(before.publish(pair).number)

    shelf = GenerationShelf(spec)

    assert shelf.installed() is None
    assert shelf.last_good() == pair
    shelf.publish(pair, AUTHORITY.trust())
    assert shelf.installed() is not None


def test_a_long_list_is_examined_once(spec: TargetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass meets the same list at each target, a hundred thousand entries maybe."""
    made: list[int] = []

    def counted(crl: Crl) -> bytes:
        made.append(crl.number)
        return json.dumps({"crl_number": crl.number, "serials": ["0A"]}).encode()

    monkeypatch.setattr(generation, "revoked_json", counted)
    shelf = GenerationShelf(spec)
    shelf.publish(a_pair(), AUTHORITY.trust(2_000_001, ["0a"]))
    for _ in range(3):
        assert shelf.installed() is not None

    assert made == [2_000_001]


# ── what stood there before ───────────────────────────────────────────────────────────────────────


def test_what_stood_at_the_fixed_paths_is_taken_over_with_the_list(tmp_path: Path) -> None:
    """A key that is weak by today's rules included: it was served, and is being replaced."""
    key_pem = serialise_key(rsa.generate_private_key(public_exponent=65537, key_size=1024))
    standing = read_pair(key_pem, a_self_signed_pem(key_pem))
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    key.write_bytes(standing.key_pem.reveal())
    certificate.write_bytes(standing.fullchain_pem)
    spec = replace(a_spec(tmp_path), key_path=key, certificate_path=certificate)
    shelf, trust = GenerationShelf(spec), AUTHORITY.trust(4)

    installed = shelf.publish(a_pair(), trust)

    assert installed == shelf.installed()
    assert shelf.last_good() == standing
    taken_over = spec.directory / "generations" / "0001"
    assert (taken_over / "client-crl.pem").read_bytes() == trust.crl.pem


# ── killed ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("no_fsync")
def test_a_kill_at_any_step_leaves_a_pair_and_a_list(tmp_path: Path) -> None:
    """The old list or the new one, and never an older one afterwards."""
    pair, old, new = a_pair(), AUTHORITY.trust(1), AUTHORITY.trust(2, ["0a"])
    places: dict[int, TargetSpec] = {}

    def begin(step: int) -> crash.Work:
        places[step] = a_spec(tmp_path / str(step))
        shelf = GenerationShelf(places[step])
        shelf.publish(pair, old)
        return lambda: shelf.publish(pair, new)

    for step in crash.killed_at_each_step(begin):
        shelf = GenerationShelf(places[step])
        installed = shelf.installed()
        assert installed is not None
        assert installed.trust in (old, new)
        shelf.publish(pair, new)
        assert shelf.installed() is not None
        assert current_number(places[step]) == 2
