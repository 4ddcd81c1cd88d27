"""Work in other people's directories is done by a child, which is that person and nobody else."""

import errno
import grp
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.targets import foreign
from certwarden.targets.process import Identity

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")

DAEMON = Identity(1, 1)
STRANGERS = 12345  # a group that nobody knows


def test_the_child_is_that_user_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the user's own groups and those that are given, and no way back to root."""
    monkeypatch.setattr(os, "getgrouplist", lambda _name, gid: [gid, 4711])

    def tell() -> bytes:
        return repr((os.getresuid(), os.getresgid(), sorted(os.getgroups()))).encode()

    told = foreign.run_as(DAEMON, [4712], tell)

    assert told.decode() == repr(((1, 1, 1), (1, 1, 1), [1, 4711, 4712]))


def test_what_the_child_finds_comes_back_whole() -> None:
    """More than a pipe holds at once, and nothing where it finds nothing."""
    found = bytes(range(256)) * 1024

    assert foreign.run_as(DAEMON, [], lambda: found) == found
    assert foreign.run_as(DAEMON, [], lambda: None) == b""


def test_a_child_that_finds_too_much_is_told() -> None:
    """Nothing is cut off in silence."""
    with pytest.raises(TargetError, match="too much"):
        foreign.run_as(DAEMON, [], lambda: b"x" * 1_000_000)


def test_what_the_child_raises_is_raised(tmp_path: Path) -> None:
    """With errno and file, or sentence and hint; what is unforeseen is told by its name alone."""
    tmp_path.chmod(0o700)

    def refuse() -> None:
        raise TargetError("no", "do this")

    def stumble() -> None:
        raise ValueError("a secret")

    with pytest.raises(PermissionError) as denied:
        foreign.run_as(DAEMON, [], (tmp_path / "key.pem").read_bytes)
    with pytest.raises(TargetError, match=r"^no$") as refused:
        foreign.run_as(DAEMON, [], refuse)
    with pytest.raises(TargetError, match=r"unforeseen: ValueError$"):
        foreign.run_as(DAEMON, [], stumble)

    assert denied.value.errno == errno.EACCES
    assert denied.value.filename == str(tmp_path / "key.pem")
    assert refused.value.hint == "do this"


def test_a_child_that_is_killed_is_told() -> None:
    """By the user that it was."""
    with pytest.raises(TargetError, match="user 1 was killed"):
        foreign.run_as(DAEMON, [], lambda: os.kill(os.getpid(), 9))


def test_a_child_that_is_held_up_is_not_waited_for() -> None:
    """Its user can stop it with a signal, before it has said anything or after."""
    reader, writer = os.pipe()

    def stop() -> None:
        os.write(writer, str(os.getpid()).encode())
        os.kill(os.getpid(), signal.SIGSTOP)

    with closing(os.fdopen(reader, "rb", buffering=0)) as told, closing(os.fdopen(writer, "wb")):
        with pytest.raises(TargetError, match="user 1 has to do took more than 0 s"):
            foreign.run_as(DAEMON, [], stop, seconds=0.3)
        assert not Path("/proc", told.read(16).decode()).exists()


def test_who_kept_root_can_end_it_too() -> None:
    """A child is no longer ours to signal once it is somebody else."""

    def try_it() -> bytes:
        os.setresuid(STRANGERS, STRANGERS, 0)
        try:
            foreign.run_as(DAEMON, [], lambda: os.kill(os.getpid(), signal.SIGSTOP), seconds=0.3)
        except TargetError as error:
            return error.what.encode()
        return b"no"

    def as_root() -> bytes:
        return foreign.run_as(Identity(0, 0), [], try_it)

    assert b"was stopped" in as_root()


# ── whose a path is ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A file of root's in a directory of root's to which a group may write."""
    directory = tmp_path / "shared"
    directory.mkdir()
    os.chown(directory, 0, STRANGERS)
    directory.chmod(0o2775)
    (directory / "file").touch()
    return directory / "file"


def test_a_group_that_may_write_is_a_stranger(shared: Path) -> None:
    """Each member could put a link there, which root would follow; in its own sticky place not."""
    with pytest.raises(TargetError, match="group 12345 may write") as caught:
        foreign.owner_of(shared)
    assert "namei -l" in caught.value.hint

    assert foreign.owner_of(shared.parent).uid == 0  # what is in it is another question
    shared.parent.chmod(0o3775)
    assert foreign.owner_of(shared).uid == 0
    shared.parent.chmod(0o2755)
    assert foreign.owner_of(shared).uid == 0


def test_a_group_without_strangers_may_write(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without members, such as Debian's staff, or of nobody but the owner of what follows."""
    os.chown(shared, 1, 1)

    def group_of(*members: str) -> None:
        entry = grp.struct_group(("strangers", "x", STRANGERS, list(members)))
        monkeypatch.setattr(grp, "getgrgid", lambda _gid: entry)

    group_of()
    assert foreign.owner_of(shared).uid == 1
    group_of("root", "daemon")
    assert foreign.owner_of(shared).uid == 1
    group_of("daemon", "nobody")
    with pytest.raises(TargetError, match="may write"):
        foreign.owner_of(shared)
