"""The plug pulled at each step: only what has reached the disk is there afterwards.

The store lies on an ext4 file system in a file, which writes back nothing by itself for five
minutes. A copy of that file, taken when the writer was killed, is what a power cut would have left;
it is mounted, its journal replayed, and judged. Needs root and loop devices.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from certwarden.model import RevocationReason, Secret
from certwarden.store.authority import AuthorityStore
from certwarden.store.certificates import CertificateStore
from certwarden.store.ledger import Ledger
from tests import crash
from tests.builders import NOW, a_draft, chains_for
from tests.builders_authority import a_client_certificate, a_private_authority

DRAFT = a_draft(order_url="https://acme.example/order/1")


class Disk:
    """A small disk, and what would be found on it if the power failed now."""

    def __init__(self, place: Path) -> None:
        self._image = place / "image"
        self.root = place / "root"
        self._copy, self._view = place / "copy", place / "view"
        self.root.mkdir()
        self._view.mkdir()
        with self._image.open("wb") as image:
            image.truncate(16 * 1024 * 1024)
        _run("mkfs.ext4", "-q", str(self._image))
        _run("mount", "-o", "loop,commit=300", str(self._image), str(self.root))

    def settle(self) -> None:
        """Writes everything back, as five quiet minutes would."""
        _run("sync", "-f", str(self.root))

    def after_power_cut(self, place: Path) -> Path:
        """A directory with what is on the disk now, memory forgotten."""
        shutil.copyfile(self._image, self._copy)
        _run("mount", "-o", "loop", str(self._copy), str(self._view))
        try:
            shutil.copytree(self._view, place, symlinks=True)
        finally:
            _run("umount", str(self._view))
        return place

    def close(self) -> None:
        _run("umount", str(self.root))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    try:
        disk = Disk(tmp_path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be made and mounted here: {error}")
    yield disk
    disk.close()


def commit(store: CertificateStore) -> None:
    store.commit(DRAFT, chains_for(DRAFT), NOW)


def test_power_cut_at_each_step_of_a_commit(disk: Disk, tmp_path: Path) -> None:
    """After a power cut a whole version is current, and the order or its certificate is there."""
    origin = CertificateStore(tmp_path / "origin")
    old = origin.commit(first := a_draft(), chains_for(first), NOW)
    origin.save_draft(DRAFT)
    state = disk.root / "state"

    def begin(_: int) -> crash.Work:
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(tmp_path / "origin", state, symlinks=True)
        disk.settle()
        return partial(commit, CertificateStore(state))

    for step in crash.killed_at_each_step(begin):
        found = disk.after_power_cut(tmp_path / f"found-{step}") / "state"
        assert (found / "certificates" / "home" / "current" / "privkey.pem").stat().st_size
        store = CertificateStore(found)
        loaded, draft = store.load("home"), store.load_draft("home")
        assert loaded is not None
        if loaded != old:
            assert loaded.pair.key_pem == DRAFT.key_pem
            assert draft is None
        else:
            assert draft == DRAFT
            assert store.commit(draft, chains_for(draft), NOW).version > old.version


def test_power_cut_after_saving(disk: Disk, tmp_path: Path) -> None:
    """What a call has returned from is on the disk: draft, order, version and `current`."""
    store = CertificateStore(disk.root / "state")
    store.save_draft(DRAFT)
    found = CertificateStore(disk.after_power_cut(tmp_path / "draft") / "state")
    assert found.load_draft("home") == DRAFT
    commit(store)
    place = disk.after_power_cut(tmp_path / "version") / "state"
    assert str((place / "certificates" / "home" / "current").readlink()) == "versions/0001"
    loaded = CertificateStore(place, read_only=True).load("home")
    assert loaded is not None
    assert loaded.pair.key_pem == DRAFT.key_pem


def test_power_cut_at_each_step_of_founding_the_authority(disk: Disk, tmp_path: Path) -> None:
    """After a power cut there is a whole authority or none, and then another can be founded."""
    root_pem, key, state = a_private_authority().root_pem, Secret(b"key"), disk.root / "state"

    def begin(_: int) -> crash.Work:
        shutil.rmtree(state, ignore_errors=True)
        disk.settle()
        return partial(AuthorityStore(state).create, root_pem, key, is_locked=True)

    for step in crash.killed_at_each_step(begin):
        found = AuthorityStore(disk.after_power_cut(tmp_path / f"found-{step}") / "state")
        if found.root() is None:
            found.create(root_pem, key, is_locked=True)
        assert (found.key(), found.is_locked()) == (key, True)


def test_power_cut_after_a_revocation(disk: Disk, tmp_path: Path) -> None:
    """What was acknowledged is on the disk: revocation, number, ladder, and the published list."""
    authority, later = a_private_authority(), NOW + timedelta(days=10)
    ledger, store = (
        Ledger(disk.root / "state" / "certwarden.db"),
        AuthorityStore(disk.root / "state"),
    )
    store.create(authority.root_pem, Secret(b"key"), is_locked=True)
    ledger.register.add([a_client_certificate("0a")])
    ledger.register.revoke(["0a"], RevocationReason.UNSPECIFIED, NOW)
    first, rung = ledger.register.sign_lists([NOW, later], NOW, authority.sign_list)
    store.publish(first)
    place = disk.after_power_cut(tmp_path / "found") / "state"
    ledger.close()
    found = Ledger(place / "certwarden.db")
    assert found.register.last_number() == 2
    assert found.register.rung(2) == rung.pem
    assert found.register.unlisted(None) == {"0a"}
    assert AuthorityStore(place).crl() == first
    found.close()


def test_this_test_can_tell(disk: Disk, tmp_path: Path) -> None:
    """What was written without a sync is not there after the power cut: the judge is not blind."""
    (disk.root / "careless").write_bytes(b"x")
    assert not (disk.after_power_cut(tmp_path / "found") / "careless").exists()
