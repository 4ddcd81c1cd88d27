"""What is wrong with a generation is said part by part."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.model import TargetSpec
from certwarden.targets.shelf import GenerationShelf
from certwarden.targets.soundness import faults
from tests.builders import a_pair, a_target_spec
from tests.targets.trust import SmallAuthority


@pytest.fixture
def spec(tmp_path: Path) -> TargetSpec:
    """A published target that asks for client certificates, with links at fixed paths."""
    places = tmp_path / "etc"
    places.mkdir()
    spec = a_target_spec(
        directory=tmp_path / "live" / "node-red",
        key_path=places / "key.pem",
        certificate_path=places / "cert.pem",
    )
    spec = replace(spec, client_auth=True)
    GenerationShelf(spec).publish(a_pair(), SmallAuthority().trust())
    return spec


def test_a_whole_generation_has_no_faults(spec: TargetSpec) -> None:
    """As the shelf finds it."""
    assert faults(spec) == ()
    assert GenerationShelf(spec).installed() is not None


def replace_key(live: Path) -> None:
    (live / "current" / "privkey.pem").write_bytes(a_pair().key_pem.reveal())


def replace_link(live: Path) -> None:
    (live / "current").unlink()
    (live / "current").symlink_to("/tmp")


def replace_fixed(live: Path) -> None:
    path = live.parent.parent / "etc" / "key.pem"
    path.unlink()
    path.write_text("another")


def replace_list(live: Path) -> None:
    other = SmallAuthority("Another").trust().crl.pem
    (live / "current" / "client-crl.pem").write_bytes(other)


def add_authority(live: Path) -> None:
    file = live / "current" / "client-ca.pem"
    file.write_bytes(file.read_bytes() + SmallAuthority("Another").root_pem)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no link": (lambda live: (live / "current").unlink(), "nothing is published"),
    "link elsewhere": (replace_link, "which is no generation"),
    "link to nothing": (
        lambda live: (live / "current").resolve().rename(live / "away"),
        "which is not there",
    ),
    "missing": (lambda live: (live / "current" / "fullchain.pem").unlink(), "lacks fullchain.pem"),
    "mode": (lambda live: (live / "current" / "privkey.pem").chmod(0o604), "has the mode 0604"),
    "key": (replace_key, "the private key does not belong to the certificate"),
    "revoked.json": (
        lambda live: (live / "current" / "revoked.json").write_text("{}"),
        "revoked.json is not in step",
    ),
    "list": (replace_list, "another CA's"),
    "two CAs": (
        add_authority,
        "not one readable, self-signed root",
    ),
    "fixed path": (replace_fixed, "key.pem does not lead through `current`"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_said_and_is_one_to_the_shelf_too(spec: TargetSpec, name: str) -> None:
    """One sentence, which names the file."""
    plant, words = FAULTS[name]
    plant(spec.directory)
    (said,) = faults(spec)
    assert words in said
    assert GenerationShelf(spec).installed() is None


def test_a_copy_that_differs_is_told(spec: TargetSpec, tmp_path: Path) -> None:
    """Where links cannot be followed, the copies are to be equal."""
    copied = replace(spec, copy=True, directory=tmp_path / "live" / "copied")
    GenerationShelf(copied).publish(a_pair(), SmallAuthority().trust())
    assert faults(copied) == ()
    assert copied.certificate_path is not None
    copied.certificate_path.write_text("another")
    (said,) = faults(copied)
    assert "cert.pem is not a copy of what is published" in said


def test_a_group_that_is_not_there_is_told(spec: TargetSpec) -> None:
    """It is a sentence, and no traceback."""
    (said,) = faults(replace(spec, group="no-such-group"))
    assert "there is no group no-such-group" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_what_cannot_be_looked_at_is_told(spec: TargetSpec) -> None:
    """By its directory."""
    spec.directory.chmod(0)
    (said,) = faults(spec)
    spec.directory.chmod(0o755)
    assert "cannot be looked at" in said
