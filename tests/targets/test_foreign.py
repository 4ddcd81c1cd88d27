"""Work in other people's directories is done by a child, which is that person and nobody else."""

import errno
import os
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.targets import foreign
from certwarden.targets.process import Identity

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")

DAEMON = Identity(1, 1)


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
