"""Run as root: work is done as the state's owner, links are made as their directory's."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_node_red import fixed_target
from tests.world.house import TARGET, House
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


def test_the_doctor_as_root_looks_as_the_owner_and_leaves_no_trace(
    shared: House, tmp_path: Path
) -> None:
    """By sudo nothing is hidden from it, not even what only root may read; nothing is changed."""
    shared.targets = TARGET.format(port=free_port(), timeout="1s")
    shared.write_config()
    shared.run("renew")
    settings = tmp_path / "settings.js"
    settings.write_text("module.exports = {};")
    settings.chmod(0o600)
    os.chown(settings, READER.pw_uid, READER.pw_gid)
    kind = 'kind = "node-red"'
    shared.config.write_text(
        shared.config.read_text().replace(kind, f'{kind}\n  settings = "{settings}"')
    )
    before = traces(shared.state)
    run = shared.run("doctor", "--json")
    found = {(each["check"], each["subject"]): each for each in run.json()}
    assert run.err == ""
    assert found["state", str(shared.state)]["result"] == "ok"
    reader = found["target-reader", "node-red"]  # whom it has let try: he is in no group of ours
    assert f"{READER.pw_name}, as whom its program runs, may not read" in reader["what"]
    assert "run it with sudo" not in run.out
    assert traces(shared.state) == before


def test_the_doctor_tells_another_user_to_use_sudo(shared: House) -> None:
    """In a sentence, whether the configuration or only the state is closed to him."""
    shared.run("renew")
    for mode in (0o600, 0o644):
        shared.config.chmod(mode)
        told = as_user(READER, shared, "doctor")
        assert told.returncode == 3
        assert "→ run the command with sudo" in told.stdout
        assert told.stderr == ""


def traces(state: Path) -> dict[Path, tuple[int, int, int]]:
    """What would tell that somebody had been there."""
    found = {path: path.lstat() for path in [state, *state.rglob("*")]}
    return {path: (each.st_uid, each.st_mode, each.st_mtime_ns) for path, each in found.items()}


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


# ── the private CA: what `sudo` writes for the person, and what for certwarden ────────────────────


@pytest.fixture
def called(shared: House, tmp_path: Path) -> House:
    """The house with a private CA, and a person who calls sudo."""
    shared.extra_acme = '[authority]\nname = "Home"'
    shared.write_config()
    shared.environment = {"SUDO_UID": str(READER.pw_uid), "SUDO_GID": str(READER.pw_gid)}
    (tmp_path / "secrets").mkdir(mode=0o755)
    (tmp_path / "desk").mkdir(mode=0o700)
    os.chown(tmp_path / "desk", READER.pw_uid, READER.pw_gid)
    return shared


def about(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


def test_the_passphrase_is_roots_and_readable_to_certwarden(called: House, tmp_path: Path) -> None:
    """`ca init` by sudo: the daemon can read the passphrase, and not change it; the CA is its."""
    run = called.run("ca", "init")
    assert run.code == 0, run.err
    assert about(tmp_path / "secrets" / "ca.passphrase") == (0, KEEPER.pw_gid, 0o640)
    assert owners(called.state) == {KEEPER.pw_uid}
    run = called.run("ca", "init")
    assert run.code == 2
    assert about(tmp_path / "secrets" / "ca.passphrase") == (0, KEEPER.pw_gid, 0o640)


def test_a_passphrase_that_protects_nothing_is_taken_away(called: House, tmp_path: Path) -> None:
    """Where `ca init` fails, there is no passphrase file that looks as if there were a CA."""
    called.state.chmod(0o500)
    (called.state / "authority").touch()
    assert called.run("ca", "init").code == 1
    assert list((tmp_path / "secrets").iterdir()) == []


def test_what_is_issued_belongs_to_whoever_called_sudo(called: House, tmp_path: Path) -> None:
    """Bundle and password are that person's alone, wherever they are; the register is not."""
    assert called.run("ca", "init").code == 0
    for place in (tmp_path / "desk", tmp_path / "secrets"):
        out, password = place / "alice.p12", place / "alice.password"
        words = ("alice", "--out", str(out), "--password-file", str(password))
        run = called.run("client", "issue", *words)
        assert run.code == (0 if place.name == "desk" else 2), run.err
        if run.code == 0:
            assert about(out) == about(password) == (READER.pw_uid, READER.pw_gid, 0o600)
        else:  # she has one already: nothing is left of the second
            assert not out.exists()
            assert not password.exists()
    assert owners(called.state) == {KEEPER.pw_uid}


def test_a_hostile_link_at_an_output_is_refused(called: House, tmp_path: Path) -> None:
    """A link where a bundle is to go leads root nowhere, and nothing is issued."""
    assert called.run("ca", "init").code == 0
    (tmp_path / "desk" / "alice.p12").symlink_to(tmp_path / "precious")
    words = ("--out", str(tmp_path / "desk" / "alice.p12"), "--password-file")
    run = called.run("client", "issue", "alice", *words, str(tmp_path / "desk" / "password"))
    assert run.code == 2
    assert "exists already" in run.err
    assert not (tmp_path / "precious").exists()
    assert not (tmp_path / "desk" / "password").exists()
    assert called.run("client", "list", "--json").json() == []


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
