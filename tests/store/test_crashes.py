"""The store killed, or failed by its disk, at each file-system step in turn.

What must hold afterwards, and after a restart: `current` leads to a matching pair, no certificate
is lost, an order on its way is taken up again, no number is used twice, and no litter stays.
"""

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from certwarden import files
from certwarden.errors import StoreError
from certwarden.model import Account, Draft, Secret, Stored
from certwarden.pki.certificate import read_pair
from certwarden.store.accounts import AccountStore
from certwarden.store.certificates import VERSIONS_KEPT, CertificateStore
from tests import crash
from tests.builders import DIRECTORY, NOW, a_draft, an_account, chains_for

ORDER_URL = "https://acme.example/order/1"


class Scene:
    """A store with some versions and perhaps a draft, copied afresh for each run of the work."""

    def __init__(self, place: Path, *, versions: int, draft: Draft | None) -> None:
        self._place = place
        store = CertificateStore(place / "origin")
        self.old: Stored | None = None
        for _ in range(versions):
            self.old = commit(store, a_draft())
        if draft is not None:
            store.save_draft(draft)

    def copy(self, step: int) -> CertificateStore:
        if (self._place / "origin").exists():
            # Links are copies enough: nothing in a store is ever written in place.
            shutil.copytree(
                self._place / "origin", self.state(step), symlinks=True, copy_function=os.link
            )
        return CertificateStore(self.state(step))

    def state(self, step: int) -> Path:
        return self._place / str(step)

    def home(self, step: int) -> Path:
        return self.state(step) / "certificates" / "home"


def commit(store: CertificateStore, draft: Draft) -> Stored:
    return store.commit(draft, chains_for(draft), NOW)


def judge_current(scene: Scene, step: int) -> None:
    """As somebody's own script sees it, before a restart has mended anything."""
    current = scene.home(step) / "current"
    if scene.old or current.is_symlink():
        key = Secret((current / "privkey.pem").read_bytes())
        read_pair(key, (current / "fullchain.pem").read_bytes())


def judge_restart(scene: Scene, step: int, draft: Draft) -> None:
    """As the next pass finds it, which goes on where the one before stopped."""
    store = CertificateStore(scene.state(step))
    loaded, on_its_way = store.load("home"), store.load_draft("home")
    numbers = {int(each.name) for each in scene.home(step).glob("versions/0*")}
    if loaded is not None and loaded != scene.old:
        assert loaded.pair.key_pem == draft.key_pem
        assert on_its_way is None
    else:
        assert loaded == scene.old
        again = commit(store, on_its_way or draft)
        assert store.load("home") == again
        assert again.version not in numbers
        assert again.version > max(numbers, default=0)
    judge_tidy(scene, step)


def judge_tidy(scene: Scene, step: int) -> None:
    """After the next write there is no litter, nor more versions than are kept."""
    store = CertificateStore(scene.state(step))
    newest = commit(store, a_draft())
    assert store.load("home") == newest
    assert store.load_draft("home") is None
    assert not [
        entry
        for entry in scene.state(step).rglob("*")
        if entry.name.startswith(files.TEMPORARY_PREFIX)
    ]
    versions = scene.home(step) / "versions"
    assert len(list(versions.iterdir())) <= VERSIONS_KEPT
    assert newest.version == max(int(entry.name) for entry in versions.iterdir())


DRAFT = a_draft(order_url=ORDER_URL)
FAILURES = pytest.mark.parametrize(("number", "for_good"), crash.FAILURES)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here: a kill leaves the page cache whole, so no disk is waited for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize("versions", [0, VERSIONS_KEPT])
def test_commit_killed_at_each_step(versions: int, tmp_path: Path) -> None:
    """A commit that is killed has either happened or not; its certificate is not lost."""
    scene = Scene(tmp_path, versions=versions, draft=DRAFT)

    def begin(step: int) -> crash.Work:
        return partial(commit, scene.copy(step), DRAFT)

    for step in crash.killed_at_each_step(begin):
        judge_current(scene, step)
        before = CertificateStore(scene.state(step), read_only=True).load_draft("home")
        stored = CertificateStore(scene.state(step), read_only=True).load("home")
        # The order can be taken up, or what came of it is there.
        assert before == DRAFT or (stored is not None and stored.pair.key_pem == DRAFT.key_pem)
        judge_restart(scene, step, DRAFT)


@FAILURES
def test_commit_failing_at_each_step(number: int, *, for_good: bool, tmp_path: Path) -> None:
    """A commit that the disk fails says so and what to do, unless all but the tidying is done."""
    scene = Scene(tmp_path, versions=VERSIONS_KEPT, draft=DRAFT)

    def begin(step: int) -> crash.Work:
        return partial(commit, scene.copy(step), DRAFT)

    for step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        judge_current(scene, step)
        loaded = CertificateStore(scene.state(step), read_only=True).load("home")
        assert loaded is not None
        if raised is None:
            assert loaded.pair.key_pem == DRAFT.key_pem
        else:
            assert isinstance(raised, StoreError)
            assert raised.hint
            assert loaded == scene.old or loaded.pair.key_pem == DRAFT.key_pem
        judge_restart(scene, step, DRAFT)


@pytest.mark.parametrize(
    "before",
    [None, a_draft(), replace(DRAFT, order_url="")],
    ids=["none", "another", "the-same-without-its-order"],
)
def test_save_draft_killed_at_each_step(before: Draft | None, tmp_path: Path) -> None:
    """A draft's key is never gone for a moment once its order may have been placed."""
    scene = Scene(tmp_path, versions=1, draft=before)

    def begin(step: int) -> crash.Work:
        return partial(scene.copy(step).save_draft, DRAFT)

    for step in crash.killed_at_each_step(begin):
        store = CertificateStore(scene.state(step))
        found = store.load_draft("home")
        if before is not None and before.key_pem == DRAFT.key_pem:
            assert found in {before, DRAFT}
        else:
            assert found in {None, before, DRAFT}
        assert store.load("home") == scene.old
        store.save_draft(DRAFT)
        assert store.load_draft("home") == DRAFT
        judge_tidy(scene, step)


@FAILURES
def test_save_draft_failing_at_each_step(number: int, *, for_good: bool, tmp_path: Path) -> None:
    """A draft that cannot be saved is an error, so that nothing is ordered; the next try works."""
    before = replace(DRAFT, order_url="")
    scene = Scene(tmp_path, versions=1, draft=before)

    def begin(step: int) -> crash.Work:
        return partial(scene.copy(step).save_draft, DRAFT)

    for step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        store = CertificateStore(scene.state(step))
        assert isinstance(raised, StoreError) or store.load_draft("home") == DRAFT
        assert store.load_draft("home") in {before, DRAFT}
        store.save_draft(DRAFT)
        assert store.load_draft("home") == DRAFT
        judge_tidy(scene, step)


def test_discard_draft_killed_at_each_step(tmp_path: Path) -> None:
    """A draft that is being forgotten is there or not, never half of it."""
    scene = Scene(tmp_path, versions=1, draft=DRAFT)

    def begin(step: int) -> crash.Work:
        return partial(scene.copy(step).discard_draft, "home")

    for step in crash.killed_at_each_step(begin):
        store = CertificateStore(scene.state(step))
        assert store.load_draft("home") in {None, DRAFT}
        store.discard_draft("home")
        assert store.load_draft("home") is None
        judge_tidy(scene, step)


# ── accounts ──────────────────────────────────────────────────────────────────────────────────────

NEW = an_account(url="https://acme.example/account/2")
KNOWN = {
    "none": None,
    "key-only": an_account(),
    "its-key": Account(DIRECTORY, NEW.key_pem),
    "another": an_account(url="https://acme.example/account/1"),
}


@pytest.mark.parametrize("before", KNOWN.values(), ids=KNOWN.keys())
def test_save_account_killed_at_each_step(before: Account | None, tmp_path: Path) -> None:
    """An account is never seen with the URL of another key, and a known key is never lost."""

    def begin(step: int) -> crash.Work:
        store = AccountStore(tmp_path / str(step))
        if before is not None:
            store.save(before)
        return partial(store.save, NEW)

    without_url = Account(DIRECTORY, NEW.key_pem)
    for step in crash.killed_at_each_step(begin):
        store = AccountStore(tmp_path / str(step))
        assert store.load(DIRECTORY) in {before, without_url, NEW}
        store.save(NEW)
        assert store.load(DIRECTORY) == NEW
        assert not list((tmp_path / str(step)).rglob(f"{files.TEMPORARY_PREFIX}*"))


@FAILURES
def test_save_account_failing_at_each_step(number: int, *, for_good: bool, tmp_path: Path) -> None:
    """An account that cannot be saved is an error that says what to do; the old one stays whole."""
    before = KNOWN["another"]

    def begin(step: int) -> crash.Work:
        store = AccountStore(tmp_path / str(step))
        assert before is not None
        store.save(before)
        return partial(store.save, NEW)

    without_url = Account(DIRECTORY, NEW.key_pem)
    for step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        assert isinstance(raised, StoreError)
        assert raised.hint
        assert AccountStore(tmp_path / str(step)).load(DIRECTORY) in {before, without_url, NEW}
