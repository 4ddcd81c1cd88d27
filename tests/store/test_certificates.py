"""Versions and drafts on disk: their form, and what becomes of them when they are damaged."""

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certwarden import files
from certwarden.errors import StoreError
from certwarden.model import Chains, KeyType, Stored
from certwarden.pki.certificate import read_chain
from certwarden.ports import Level
from certwarden.store.certificates import VERSIONS_KEPT, CertificateStore
from tests import crash
from tests.builders import (
    DIRECTORY,
    NOW,
    a_draft,
    a_key,
    a_self_signed_pem,
    an_alternate_issuer,
    chains_for,
)
from tests.fakes_store import RecordingReporter


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> CertificateStore:
    return CertificateStore(state)


def commit(store: CertificateStore, *, days: float = 90) -> Stored:
    """Goes the whole way: draft, order, version."""
    draft = a_draft()
    store.save_draft(draft)
    return store.commit(draft, chains_for(draft, days=days), NOW)


def home(state: Path) -> Path:
    return state / "certificates" / "home"


# ── form ──────────────────────────────────────────────────────────────────────────────────────────


def test_files_of_a_version(store: CertificateStore, state: Path) -> None:
    """A version holds what the design says, and `current` leads to it by a relative link."""
    draft = a_draft(profile="tlsserver", account_url="https://acme.example/account/1")
    stored = store.commit(draft, chains_for(draft), NOW)
    version = home(state) / "versions" / "0001"
    assert _names(version) == {
        "privkey.pem",
        "cert.pem",
        "chain.pem",
        "fullchain.pem",
        "metadata.json",
    }
    assert str((home(state) / "current").readlink()) == "versions/0001"
    leaf, intermediate = stored.pair.chain_pem
    assert (version / "privkey.pem").read_bytes() == draft.key_pem.reveal()
    assert (version / "cert.pem").read_bytes() == leaf
    assert (version / "chain.pem").read_bytes() == intermediate
    assert (version / "fullchain.pem").read_bytes() == leaf + intermediate
    assert json.loads((version / "metadata.json").read_bytes()) == {
        "domains": ["example.org", "*.example.org"],
        "key_type": "ecdsa-p256",
        "profile": "tlsserver",
        "directory_url": DIRECTORY,
        "account_url": "https://acme.example/account/1",
        "obtained_at": "2026-11-22T12:00:00Z",
        "serial": stored.certificate.serial,
        "fingerprint_sha256": stored.certificate.fingerprint,
        "not_before": "2026-11-22T12:00:00Z",
        "not_after": "2027-02-20T12:00:00Z",
    }


@pytest.mark.parametrize("is_draft", [False, True])
def test_documents_of_the_first_release(
    store: CertificateStore, state: Path, *, is_draft: bool
) -> None:
    """A version or a draft that does not name its account is read all the same."""
    draft = a_draft(account_url="https://acme.example/account/1")
    store.save_draft(draft)
    document = home(state) / "draft" / "order.json"
    if not is_draft:
        store.commit(draft, chains_for(draft), NOW)
        document = home(state) / "versions" / "0001" / "metadata.json"
    fields = json.loads(document.read_bytes())
    del fields["account_url"]
    document.write_text(json.dumps(fields))
    found = store.load_draft("home") if is_draft else store.load("home")
    assert found is not None
    assert found.account_url == ""


def test_modes(store: CertificateStore, state: Path) -> None:
    """STATE can be passed through; everything below it is ours alone, whatever the umask."""
    before = os.umask(0)
    try:
        commit(store)
        store.save_draft(a_draft())
    finally:
        os.umask(before)
    assert _mode(state) == 0o711
    for entry in state.rglob("*"):
        if not entry.is_symlink():
            assert _mode(entry) == (0o700 if entry.is_dir() else 0o600), entry


def test_state_may_be_a_link(tmp_path: Path) -> None:
    """The state directory may be moved to a larger disk and linked to."""
    (tmp_path / "large").mkdir()
    (tmp_path / "state").symlink_to("large")
    store = CertificateStore(tmp_path / "state")
    stored = commit(store)
    assert store.load("home") == stored
    assert (tmp_path / "state").is_symlink()


def test_five_versions_are_kept(store: CertificateStore, state: Path) -> None:
    """The last five versions are kept, and their numbers go on growing."""
    numbers = [commit(store).version for _ in range(VERSIONS_KEPT + 2)]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]
    assert _names(home(state) / "versions") == {"0003", "0004", "0005", "0006", "0007"}
    assert store.load_version("home", 2) is None


def test_what_is_not_pem_is_left_out(store: CertificateStore, state: Path) -> None:
    """A chain is serialised afresh: what a stranger wrote around it does not reach our files."""
    draft = a_draft()
    chain = chains_for(draft).default
    store.commit(draft, Chains(b"\x1b[31mhello\n" + chain.replace(b"\n", b"\r\n")), NOW)
    assert (home(state) / "current" / "fullchain.pem").read_bytes() == chain


def test_alternates_for_the_same_leaf_are_kept(store: CertificateStore, state: Path) -> None:
    """Of the alternate chains those are kept that lead to the same leaf and are whole."""
    draft = a_draft()
    default = chains_for(draft).default
    leaf = read_chain(default)[0]
    other_root = leaf + _pem(an_alternate_issuer().intermediate)
    other_leaf = chains_for(draft, days=30).default
    wrong_key = chains_for(a_draft()).default
    garbage = b"<html>"
    store.commit(draft, Chains(default, (garbage, other_root, other_leaf, wrong_key)), NOW)
    version = home(state) / "current"
    assert {name for name in _names(version) if "alternate" in name} == {"alternate-1.pem"}
    assert (version / "alternate-1.pem").read_bytes() == other_root


def test_chain_of_one(store: CertificateStore) -> None:
    """A leaf without intermediates can be stored, and read again."""
    draft = a_draft()
    stored = store.commit(draft, Chains(a_self_signed_pem(draft.key_pem)), NOW)
    assert len(stored.pair.chain_pem) == 1
    assert store.load("home") == stored


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_every_key_type(store: CertificateStore, key_type: KeyType) -> None:
    """Keys of other types are stored and read again, too."""
    draft = a_draft(key_type=key_type)
    stored = store.commit(draft, chains_for(draft), NOW)
    assert store.load("home") == stored
    assert stored.key_type is key_type


def test_expired_is_not_damaged(store: CertificateStore) -> None:
    """An expired certificate is loaded like any other: it may still be the best there is."""
    draft = a_draft()
    issued = NOW - timedelta(days=100)
    stored = store.commit(draft, chains_for(draft, now=issued), issued)
    assert stored.certificate.not_after < NOW
    assert store.load("home") == stored


def test_reading_writes_nothing(state: Path) -> None:
    """Who only reads leaves no trace, not even the state directory."""
    store = CertificateStore(state)
    assert store.load("home") is None
    assert store.load_draft("home") is None
    assert store.load_version("home", 1) is None
    assert store.free_bytes() > 0
    store.discard_draft("home")
    assert not state.exists()


@pytest.mark.parametrize("name", ["..", "../home", "", "a/b", ".hidden", "Home", "x" * 64])
def test_no_name_leads_elsewhere(store: CertificateStore, name: str) -> None:
    """A name that could lead out of the store is refused."""
    with pytest.raises(StoreError, match="not a certificate's name"):
        store.load(name)
    with pytest.raises(StoreError, match="not a certificate's name"):
        store.save_draft(a_draft(name))


# ── damage ────────────────────────────────────────────────────────────────────────────────────────

Damage = Callable[[Path], None]


def _swap_key(version: Path) -> None:
    (version / "privkey.pem").write_bytes(a_key().reveal())


def _swap_certificate(version: Path) -> None:
    (version / "cert.pem").write_bytes((version / "chain.pem").read_bytes())


def _swap_chain(version: Path) -> None:
    (version / "chain.pem").write_bytes((version / "cert.pem").read_bytes())


def _other_names(version: Path) -> None:
    metadata = json.loads((version / "metadata.json").read_bytes())
    metadata["domains"] = ["example.net"]
    (version / "metadata.json").write_text(json.dumps(metadata))


def _other_dates(version: Path) -> None:
    metadata = json.loads((version / "metadata.json").read_bytes())
    metadata["not_after"] = "2036-01-01T00:00:00Z"
    (version / "metadata.json").write_text(json.dumps(metadata))


def _write(name: str, data: bytes) -> Damage:
    def damage(version: Path) -> None:
        (version / name).write_bytes(data)

    return damage


def _remove(name: str) -> Damage:
    return lambda version: (version / name).unlink()


def _replace_by_directory(version: Path) -> None:
    (version / "privkey.pem").unlink()
    (version / "privkey.pem").mkdir()


def _replace_by_loop(version: Path) -> None:
    (version / "privkey.pem").unlink()
    (version / "privkey.pem").symlink_to("privkey.pem")


def _replace_whole(version: Path) -> None:
    shutil.rmtree(version)
    version.write_bytes(b"")


GARBAGE = bytes(range(256))
DAMAGES: dict[str, Damage] = {
    "swapped key": _swap_key,
    "swapped certificate": _swap_certificate,
    "swapped chain": _swap_chain,
    "other names": _other_names,
    "other dates": _other_dates,
    "garbled key": _write("privkey.pem", GARBAGE),
    "garbled chain": _write("fullchain.pem", GARBAGE),
    "garbled metadata": _write("metadata.json", GARBAGE),
    "empty key": _write("privkey.pem", b""),
    "empty chain": _write("fullchain.pem", b""),
    "empty metadata": _write("metadata.json", b""),
    "no key": _remove("privkey.pem"),
    "no certificate": _remove("cert.pem"),
    "no metadata": _remove("metadata.json"),
    "too long": _write("fullchain.pem", bytes(2**20)),
    "directory": _replace_by_directory,
    "loop": _replace_by_loop,
    "no directory": _replace_whole,
    "list": _write("metadata.json", b"[]"),
    "numbers": _write("metadata.json", b'{"domains": 1, "key_type": 2}'),
    "abyss": _write("metadata.json", b"[" * 100_000),
    "unknown key type": _write("metadata.json", b'{"domains": [], "key_type": "dsa"}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_falls_back(damage: Damage, state: Path) -> None:
    """A damaged version is passed over for the newest whole one; a person hears of it once."""
    reporter = RecordingReporter()
    store = CertificateStore(state, reporter=reporter)
    good = commit(store)
    commit(store)
    damage(home(state) / "versions" / "0002")
    assert store.load("home") == good
    assert store.load("home") == good
    (told,) = reporter.told
    assert (told.level, told.subject) == (Level.WARNING, "home")
    assert told.text.startswith("version 2 is passed over")
    assert str((home(state) / "current").readlink()) == "versions/0001"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_of_all_is_healed(damage: Damage, state: Path) -> None:
    """Where no version is whole there is none, and the next one gets a number never used."""
    store = CertificateStore(state)
    commit(store)
    damage(home(state) / "versions" / "0001")
    assert store.load("home") is None
    assert store.load_version("home", 1) is None
    stored = commit(store)
    assert stored.version == 2
    assert store.load("home") == stored


def _dangling(current: Path) -> None:
    current.unlink()
    current.symlink_to("versions/0099")


def _absent(current: Path) -> None:
    current.unlink()


def _stale(current: Path) -> None:
    current.unlink()
    current.symlink_to("versions/0001")


def _elsewhere(current: Path) -> None:
    current.unlink()
    current.symlink_to("/etc")


def _copied(current: Path) -> None:
    version = current.resolve()
    current.unlink()
    shutil.copytree(version, current)


def _a_file(current: Path) -> None:
    current.unlink()
    current.write_bytes(b"versions/0002")


STRAYS = (_dangling, _absent, _stale, _elsewhere, _copied, _a_file)


@pytest.mark.parametrize("stray", STRAYS)
def test_current_is_mended(stray: Damage, store: CertificateStore, state: Path) -> None:
    """Whatever became of `current`: the newest version is loaded, and it leads there again."""
    commit(store)
    newest = commit(store)
    stray(home(state) / "current")
    assert store.load("home") == newest
    assert str((home(state) / "current").readlink()) == "versions/0002"


@pytest.mark.parametrize("stray", STRAYS)
def test_current_is_left_alone_by_readers(stray: Damage, state: Path) -> None:
    """A command that changes nothing loads all the same, and leaves `current` as it is."""
    store = CertificateStore(state)
    commit(store)
    newest = commit(store)
    stray(home(state) / "current")
    before = _snapshot(state)
    assert CertificateStore(state, read_only=True).load("home") == newest
    assert _snapshot(state) == before


def test_current_is_not_mended_under_a_writer(store: CertificateStore, state: Path) -> None:
    """While somebody is writing, a reader does not turn `current` round under its hands."""
    commit(store)
    newest = commit(store)
    _stale(home(state) / "current")
    writer = os.open(home(state), os.O_RDONLY)
    try:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert store.load("home") == newest
        assert str((home(state) / "current").readlink()) == "versions/0001"
    finally:
        os.close(writer)


@pytest.mark.parametrize("gone", ["versions", "current", "highest"])
def test_numbers_are_never_used_twice(gone: str, store: CertificateStore, state: Path) -> None:
    """A number stays used also when the version, the link or the mark was removed by hand."""
    for _ in range(3):
        commit(store)
    if gone == "versions":
        shutil.rmtree(home(state) / "versions")
    else:
        (home(state) / gone).unlink()
    assert commit(store).version == 4


@pytest.mark.parametrize("mark", [b"", b"\xff\xfe", b"-5", b"9" * 100, b"nothing"])
def test_garbled_mark(mark: bytes, store: CertificateStore, state: Path) -> None:
    """A garbled mark neither stops the store nor leads its numbers astray."""
    commit(store)
    (home(state) / "highest").write_bytes(mark)
    assert commit(store).version == 2


def test_unreadable_is_an_error(
    store: CertificateStore, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we may not read is an error that says so, never a reason to order again."""
    commit(store)
    real = os.open

    def barred(path: Path, *arguments: int, **options: int) -> int:
        if str(path).endswith("privkey.pem"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", barred)
    for load in (store.load, store.load_draft):
        with pytest.raises(StoreError, match="Permission denied") as caught:
            load("home")
        assert "owns the state directory" in caught.value.hint
    assert state.is_dir()


def test_unreadable_directory_is_an_error(state: Path) -> None:
    """The same for the directory of all versions, seen by a user who has no right to it."""
    commit(CertificateStore(state))

    def as_nobody() -> None:
        os.setresuid(65534, 65534, 65534)
        with pytest.raises(StoreError, match="Permission denied"):
            CertificateStore(state).load("home")

    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    assert crash.in_child(as_nobody) == 0


def test_failing_storage_is_an_error_only_without_an_alternative(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that the disk cannot read is passed over; if it was the only one, that is said."""
    store = CertificateStore(state)
    good = commit(store)
    commit(store)
    broken = {"0002"}
    real = os.open

    def fail(path: Path, *arguments: int, **options: int) -> int:
        if broken & set(Path(path).parts):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", fail)
    assert store.load("home") == good
    broken.add("0001")
    with pytest.raises(StoreError, match="Input/output error") as caught:
        store.load("home")
    assert "replace the card" in caught.value.hint


# ── drafts ────────────────────────────────────────────────────────────────────────────────────────


def test_draft_on_disk(store: CertificateStore, state: Path) -> None:
    """A draft is its key and its order, as the design says."""
    draft = a_draft(order_url="https://acme.example/order/1")
    store.save_draft(draft)
    directory = home(state) / "draft"
    assert _names(directory) == {"privkey.pem", "order.json"}
    assert (directory / "privkey.pem").read_bytes() == draft.key_pem.reveal()
    assert json.loads((directory / "order.json").read_bytes())["order_url"] == draft.order_url
    assert b"PRIVATE" not in (directory / "order.json").read_bytes()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"domains": "x"}', "\x00", '"' * 300_000])
def test_garbled_draft_is_none(text: str, store: CertificateStore, state: Path) -> None:
    """A draft that cannot be read is none, and is replaced like any other."""
    store.save_draft(a_draft())
    (home(state) / "draft" / "order.json").write_text(text)
    assert store.load_draft("home") is None
    draft = a_draft()
    store.save_draft(draft)
    assert store.load_draft("home") == draft


def test_draft_with_a_garbled_key_is_none(store: CertificateStore, state: Path) -> None:
    """An order whose key is lost is of no use."""
    store.save_draft(a_draft())
    (home(state) / "draft" / "privkey.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    assert store.load_draft("home") is None


def test_tidying_that_fails_fails_nothing(
    store: CertificateStore, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is stored and current counts as obtained, tidied up after or not."""
    for _ in range(VERSIONS_KEPT):
        commit(store)

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    draft = a_draft()
    store.save_draft(draft)
    with monkeypatch.context() as patch:
        patch.setattr(files, "remove_tree", fail)
        stored = store.commit(draft, chains_for(draft), NOW)
    assert store.load("home") == stored
    assert (home(state) / "draft").is_dir()
    assert store.load_draft("home") is None
    commit(store)
    assert len(_names(home(state) / "versions")) == VERSIONS_KEPT
    assert not (home(state) / "draft").exists()


# ── small things ──────────────────────────────────────────────────────────────────────────────────


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _snapshot(directory: Path) -> dict[Path, tuple[int, int]]:
    """What would show any write below the directory."""
    return {
        entry: (entry.lstat().st_ino, entry.lstat().st_mtime_ns) for entry in directory.rglob("*")
    }
