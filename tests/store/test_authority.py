"""The private CA's files: whole or not at all, ours alone, and each damage in a sentence."""

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from certwarden import files
from certwarden.errors import StoreError, UsageError
from certwarden.model import Secret
from certwarden.pki.authority import extend_root, read_root
from certwarden.ports import Level
from certwarden.store.authority import AuthorityStore
from tests import crash
from tests.builders import NOW
from tests.builders_authority import a_private_authority
from tests.fakes_store import RecordingReporter

KEY = Secret(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII\n-----END ENCRYPTED PRIVATE KEY-----\n")
CA = a_private_authority()
OTHER = a_private_authority("Other client CA")
OLD, NEW = CA.crl(1, "0a"), CA.crl(2, "0a", "0b")
PROBE, OTHER_PROBE = CA.client("0a"), CA.client("0b")
FAILURES = pytest.mark.parametrize(("number", "for_good"), crash.FAILURES)


def founded(state: Path) -> AuthorityStore:
    """An authority with list and probe."""
    store = AuthorityStore(state)
    store.create(CA.root_pem, KEY, is_locked=True)
    store.publish(OLD)
    store.save_probe(PROBE)
    return store


def home(state: Path) -> Path:
    return state / "authority"


def test_files(tmp_path: Path) -> None:
    """They are where the design says, and nobody else may read any of them."""
    founded(tmp_path / "state")
    directory = home(tmp_path / "state")
    names = {"root.key", "root.pem", "crl.pem", "probe.pem", "authority.json"}
    assert {entry.name for entry in directory.iterdir()} == names
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in directory.iterdir()} == {0o600}


# ── damage ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content", "ask"),
    [
        ("root.pem", b"garbage", AuthorityStore.root),
        ("root.pem", b"garbage", AuthorityStore.crl),
        ("root.pem", None, AuthorityStore.root),
        ("root.key", None, AuthorityStore.key),
        ("authority.json", b"{", AuthorityStore.is_locked),
        ("authority.json", b'{"is_locked": "yes"}', AuthorityStore.is_locked),
    ],
)
def test_what_cannot_be_healed_is_a_sentence(
    name: str, content: bytes | None, ask: Callable[[AuthorityStore], object], tmp_path: Path
) -> None:
    """Where root or key are damaged or gone a person is told which, and that a backup helps."""
    store = founded(tmp_path)
    if content is None:
        (home(tmp_path) / name).unlink()
    else:
        (home(tmp_path) / name).write_bytes(content)
    with pytest.raises(StoreError, match=name) as caught:
        ask(store)
    assert "ca restore" in caught.value.hint


def test_a_lost_root_is_not_founded_anew(tmp_path: Path) -> None:
    """Where a list shows that there was a CA its key is not overwritten."""
    store = founded(tmp_path)
    (home(tmp_path) / "root.pem").unlink()
    with pytest.raises(UsageError, match="there is a private CA already"):
        store.create(OTHER.root_pem, Secret(b"other"), is_locked=False)
    assert store.key() == KEY


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", OLD.pem[:-60], OTHER.crl(9).pem],
    ids=["empty", "garbage", "half", "foreign"],
)
def test_a_damaged_list_counts_as_none(content: bytes, tmp_path: Path) -> None:
    """It is told once and healed by the next list, whatever the number of a foreign one."""
    founded(tmp_path)
    (home(tmp_path) / "crl.pem").write_bytes(content)
    reporter = RecordingReporter()
    store = AuthorityStore(tmp_path, reporter=reporter)
    assert store.crl() is None
    assert store.crl() is None
    (told,) = reporter.texts(Level.WARNING)
    assert "crl.pem is passed over" in told
    store.publish(NEW)
    assert store.crl() == NEW


def test_a_damaged_probe_counts_as_none(tmp_path: Path) -> None:
    """Another one is made in its place; half of a key is never shown to anybody."""
    founded(tmp_path)
    path = home(tmp_path) / "probe.pem"
    whole = path.read_bytes()
    reporter = RecordingReporter()
    store = AuthorityStore(tmp_path, reporter=reporter)
    for damaged in (b"", whole[:100], whole[300:], OTHER_PROBE.key_pem.reveal() + whole[240:]):
        path.write_bytes(damaged)
        assert store.probe() is None
    assert len(reporter.told) == 1
    store.save_probe(OTHER_PROBE)
    assert store.probe() == OTHER_PROBE


def test_what_may_not_be_read_is_no_absence(tmp_path: Path) -> None:
    """A directory in a file's place is an error: it must not look as if nothing was there."""
    store = founded(tmp_path)
    for name, ask in (("crl.pem", store.crl), ("probe.pem", store.probe), ("root.key", store.key)):
        (home(tmp_path) / name).unlink()
        (home(tmp_path) / name).mkdir()
        with pytest.raises(StoreError, match=f"{name} cannot be read"):
            ask()


def test_no_key_is_in_a_sentence(tmp_path: Path) -> None:
    """Whatever is wrong with the probe's file, its key is not told."""
    founded(tmp_path)
    path = home(tmp_path) / "probe.pem"
    secret = PROBE.key_pem.reveal().split(b"\n")[1].decode()
    path.write_bytes(path.read_bytes()[:150])
    reporter = RecordingReporter()
    assert AuthorityStore(tmp_path, reporter=reporter).probe() is None
    assert secret[:20] not in repr(reporter.told)


# ── killed, and failed by the disk ────────────────────────────────────────────────────────────────


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here: a kill leaves the page cache whole, so no disk is waited for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def is_tidy(state: Path) -> bool:
    return not list(state.rglob(f"{files.TEMPORARY_PREFIX}*"))


@pytest.mark.usefixtures("quick_disk")
def test_create_killed_at_each_step(tmp_path: Path) -> None:
    """There is either a whole authority or none, and then the next creation succeeds."""

    def begin(step: int) -> crash.Work:
        store = AuthorityStore(tmp_path / f"{step}")
        return partial(store.create, CA.root_pem, KEY, is_locked=True)

    outcomes = set()
    for step in crash.killed_at_each_step(begin):
        state = tmp_path / f"{step}"
        store = AuthorityStore(state)
        root = store.root()
        outcomes.add(root is None)
        if root is None:
            store.create(OTHER.root_pem, Secret(b"other"), is_locked=False)
            assert store.root() == read_root(OTHER.root_pem)
            assert (store.key(), store.is_locked()) == (Secret(b"other"), False)
            assert is_tidy(state)
        else:
            assert root == read_root(CA.root_pem)
            assert (store.key(), store.is_locked()) == (KEY, True)
    assert True in outcomes


@pytest.mark.usefixtures("quick_disk")
def test_writes_killed_at_each_step(tmp_path: Path) -> None:
    """Root, list and probe are the old or the new one at every instant, and no litter stays."""
    extended = extend_root(CA.root_pem, CA.key, NOW)

    def work(store: AuthorityStore) -> None:
        store.publish(NEW)
        store.save_probe(OTHER_PROBE)
        store.replace_root(extended)

    def begin(step: int) -> crash.Work:
        return partial(work, founded(tmp_path / f"{step}"))

    for step in crash.killed_at_each_step(begin):
        store = AuthorityStore(tmp_path / f"{step}")
        assert store.crl() in {OLD, NEW}
        assert store.probe() in {PROBE, OTHER_PROBE}
        assert store.root() in {read_root(CA.root_pem), read_root(extended)}
        assert store.key() == KEY
        store.publish(NEW)
        assert store.crl() == NEW
        assert is_tidy(tmp_path / f"{step}")


@FAILURES
@pytest.mark.usefixtures("quick_disk")
def test_create_failing_at_each_step(number: int, *, for_good: bool, tmp_path: Path) -> None:
    """A creation that the disk fails says so and what to do; the next one is not in its way."""

    def begin(step: int) -> crash.Work:
        store = AuthorityStore(tmp_path / f"{step}")
        return partial(store.create, CA.root_pem, KEY, is_locked=True)

    for step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        store = AuthorityStore(tmp_path / f"{step}")
        assert isinstance(raised, StoreError) or store.root() is not None
        if isinstance(raised, StoreError):
            assert raised.hint
        if store.root() is None:
            store.create(CA.root_pem, KEY, is_locked=True)
        assert (store.key(), store.is_locked()) == (KEY, True)


@FAILURES
@pytest.mark.usefixtures("quick_disk")
def test_publish_failing_at_each_step(number: int, *, for_good: bool, tmp_path: Path) -> None:
    """A list that cannot be published is an error; the old one stays whole."""

    def begin(step: int) -> crash.Work:
        return partial(founded(tmp_path / f"{step}").publish, NEW)

    for step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        store = AuthorityStore(tmp_path / f"{step}")
        assert isinstance(raised, StoreError)
        assert raised.hint
        assert store.crl() in {OLD, NEW}
