"""Run as root: work is done as the state's owner, links are made as their directory's."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_node_red import fixed_target
from tests.world.house import House
from tests.world.process import free_port

KEEPER, READER = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")


def can_become_others() -> bool:
    """Whether this interpreter can still be read once root has been given up."""
    if os.geteuid() != 0:
        return False
    try:
        probe = subprocess.run(
            [sys.executable, "-c", "import cryptography, certwarden"],
            user=KEEPER.pw_uid,
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return probe.returncode == 0


pytestmark = pytest.mark.skipif(
    not can_become_others(), reason="needs root, and an interpreter that all users can read"
)


@pytest.fixture
def shared(house: House, tmp_path: Path) -> Iterator[House]:
    """A house whose state belongs to one user, and whose program's files to another."""
    for each in (tmp_path, *tmp_path.parents, house.world.directory):
        mode = each.stat().st_mode
        if not mode & 0o001:
            each.chmod(mode | 0o011)  # for good: tests beside this one may need the way too
    house.state.mkdir(mode=0o711)
    os.chown(house.state, KEEPER.pw_uid, KEEPER.pw_gid)
    os.chown(house.world.token_file, 0, KEEPER.pw_gid)
    house.world.token_file.chmod(0o640)
    yield house
    house.world.token_file.chmod(0o600)


def owners(state: Path) -> set[int]:
    return {path.lstat().st_uid for path in [state, *state.rglob("*")]}


def test_renew_as_root_leaves_nothing_of_roots(shared: House) -> None:
    """Everything in the state directory belongs to its owner afterwards."""
    run = shared.run("renew")
    assert run.code == 0, run.err
    assert owners(shared.state) == {KEEPER.pw_uid}
    assert shared.run("renew", "--force").code == 0
    assert owners(shared.state) == {KEEPER.pw_uid}


def test_another_user_is_told_to_use_sudo(shared: House) -> None:
    """Somebody who is neither root nor the owner gets one sentence, and nothing is changed."""
    shared.run("renew")
    shared.config.chmod(0o644)
    run = as_user(READER, shared, "status")
    assert run.returncode == 2
    assert "sudo" in run.stderr


def test_deploy_as_root_makes_links_as_their_directorys_owner(
    shared: House, tmp_path: Path
) -> None:
    """`renew` may not write there and names the command that makes the links."""
    fixed = tmp_path / "node-red"
    fixed.mkdir(mode=0o755)
    os.chown(fixed, READER.pw_uid, READER.pw_gid)
    shared.targets = fixed_target(fixed, free_port(), "/bin/true")
    shared.write_config()
    run = shared.run("renew")
    assert run.code == 1
    assert "sudo certwarden deploy" in run.err
    run = shared.run("deploy")
    assert run.code == 0, run.err
    for name in ("key.pem", "cert.pem"):
        assert (fixed / name).is_symlink()
        assert (fixed / name).lstat().st_uid == READER.pw_uid
    assert (fixed / "cert.pem").resolve().is_relative_to(shared.live)
    assert owners(shared.state) == {KEEPER.pw_uid}
    assert shared.run("renew", "--force").code == 0


def test_a_hostile_link_is_not_followed_by_root(shared: House, tmp_path: Path) -> None:
    """A directory whose owner has planted a link cannot lead root elsewhere."""
    fixed, victim = tmp_path / "node-red", tmp_path / "victim"
    fixed.mkdir(mode=0o755)
    victim.mkdir(mode=0o755)
    (victim / "key.pem").write_text("precious")
    (fixed / "certs").symlink_to(victim)
    os.chown(fixed, READER.pw_uid, READER.pw_gid)
    os.lchown(fixed / "certs", READER.pw_uid, READER.pw_gid)
    shared.targets = fixed_target(fixed / "certs", free_port(), "/bin/true")
    shared.write_config()
    assert shared.run("renew").code == 1
    assert shared.run("deploy").code == 1
    assert (victim / "key.pem").read_text() == "precious"
    assert not (victim / "key.pem").is_symlink()


def as_user(
    user: pwd.struct_passwd, house: House, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-m", "certwarden", "--config", house.config, *arguments],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
