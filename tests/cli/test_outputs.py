"""Output files: never in anybody's place, whole once they are there, gone if the command fails."""

import contextlib
import ctypes
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certwarden.cli import porter
from certwarden.cli.outputs import Outputs
from certwarden.cli.privilege import group_of_owner, settle
from certwarden.errors import Error, UsageError
from tests.crash import in_child
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
NOBODY, OTHER = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
KILLED = 77
PR_SET_CHILD_SUBREAPER = 36
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def nobody_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests themselves may be run with sudo."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv("SUDO_GID", raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "place"
    directory.mkdir()
    return directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ── what becomes of a file ────────────────────────────────────────────────────────────────────────


def test_a_kept_file_is_whole_and_its_owners_alone(place: Path) -> None:
    """From the reservation on it is there, closed to others whatever the umask; then it stays."""
    before = os.umask(0)
    try:
        with Outputs() as outputs:
            output = outputs.reserve(place / "alice.p12")
            assert mode_of(place / "alice.p12") == 0o600
            assert output.path == place / "alice.p12"
            output.write(b"bundle")
            outputs.keep()
    finally:
        os.umask(before)
    assert (place / "alice.p12").read_bytes() == b"bundle"
    assert mode_of(place / "alice.p12") == 0o600


def test_a_file_that_is_not_kept_is_gone(place: Path) -> None:
    """A command that fails leaves nothing that looks like a result, written or not."""
    with Outputs() as outputs:
        outputs.reserve(place / "a").write(b"half of it")
        outputs.reserve(place / "b")
    assert names(place) == []


def test_an_unwritten_file_is_not_kept(place: Path) -> None:
    """Of what was reserved in vain no empty file stays."""
    with Outputs() as outputs:
        outputs.reserve(place / "a").write(b"a")
        outputs.reserve(place / "b")
        outputs.keep()
    assert names(place) == ["a"]


def test_what_was_kept_survives_what_fails_later(place: Path) -> None:
    """A command may keep one file before it goes on, and reserve more."""
    with Outputs() as outputs:
        outputs.reserve(place / "a").write(b"a")
        outputs.keep()
        outputs.reserve(place / "b").write(b"b")
    assert names(place) == ["a"]


def test_a_file_is_written_anew_not_after(place: Path) -> None:
    """Whoever writes twice gets the second."""
    with Outputs() as outputs:
        output = outputs.reserve(place / "a")
        output.write(b"a long one")
        output.write(b"short")
        outputs.keep()
    assert (place / "a").read_bytes() == b"short"


def test_nothing_is_left_of_the_porter(place: Path) -> None:
    """No process and no file descriptor, be it kept or not."""
    before = names(Path("/proc/self/fd"))
    for is_kept in (True, False):
        with Outputs() as outputs:
            outputs.reserve(place / f"{is_kept}").write(b"x")
            if is_kept:
                outputs.keep()
    with pytest.raises(UsageError), Outputs() as outputs:
        outputs.reserve(place / "True")
    assert names(Path("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# ── what is in the way ────────────────────────────────────────────────────────────────────────────


def in_the_way(place: Path) -> Iterator[Path]:
    (place / "file").write_bytes(b"precious")
    (place / "directory").mkdir()
    (place / "link").symlink_to(place / "elsewhere")
    (place / "linked").symlink_to(place / "file")
    for name in ("file", "directory", "link", "linked"):
        yield place / name


def test_nothing_is_overwritten(place: Path) -> None:
    """Neither a file nor what a link leads to, be that there or not; the sentence says so."""
    for path in in_the_way(place):
        with pytest.raises(UsageError, match=f"{path} exists already"), Outputs() as outputs:
            outputs.reserve(path)
    assert names(place) == ["directory", "file", "link", "linked"]
    assert (place / "file").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("absent/alice.p12", "there is no directory .*/absent"),
        ("file/alice.p12", "file is no directory"),
        ("..", "names no file"),
        ("x" * 300, "cannot be made: File name too long"),
    ],
)
def test_a_path_that_will_not_do(place: Path, path: str, words: str) -> None:
    """A sentence each, and exit 2: nothing has been issued yet."""
    (place / "file").touch()
    with pytest.raises(UsageError, match=words), Outputs() as outputs:
        outputs.reserve(place / path)
    assert names(place) == ["file"]


def test_a_foreign_file_in_its_place_is_left_alone(place: Path) -> None:
    """Whoever puts another file there meanwhile keeps it, and the command fails."""
    with Outputs() as outputs:
        early, late = outputs.reserve(place / "early"), outputs.reserve(place / "late")
        late.write(b"ours")
        for name in ("early", "late"):
            (place / "other").write_bytes(b"theirs")
            (place / "other").rename(place / name)
        with pytest.raises(Error, match="early could not be written: File exists"):
            early.write(b"ours")
        with pytest.raises(Error, match="early could not be written: File exists"):
            outputs.keep()
    assert (place / "early").read_bytes() == (place / "late").read_bytes() == b"theirs"


def test_a_porter_that_was_killed_is_missed(place: Path) -> None:
    """Without it nothing can be promised: a sentence, not a success."""
    with Outputs() as outputs:
        output = outputs.reserve(place / "a")
        kill_children()
        with pytest.raises(Error, match="a could not be written"):
            output.write(b"x")
        with pytest.raises(Error, match="could not be written"):
            outputs.keep()


def kill_children() -> None:
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            os.kill(int(child), signal.SIGKILL)


# ── many at once ──────────────────────────────────────────────────────────────────────────────────


def test_many_files(place: Path) -> None:
    """More than a process may have open; their directory is made for them, and closed to others."""
    many = [f"client-{number}.p12" for number in range(1500)]
    with Outputs() as outputs:
        reserved = outputs.reserve_all(place / "new", many)
        assert len(names(place / "new")) == 1500
        for name, output in reserved.items():
            output.write(name.encode())
        outputs.keep()
    assert mode_of(place / "new") == 0o700
    assert all((place / "new" / name).read_text() == name for name in many)


def test_one_in_the_way_spoils_it_all(place: Path) -> None:
    """It is found before anything is issued, and what was there before stays alone."""
    (place / "b").write_bytes(b"precious")
    with pytest.raises(UsageError, match="place/b exists already"), Outputs() as outputs:
        outputs.reserve_all(place, ["a", "b", "c"])
    assert names(place) == ["b"]


def test_a_directory_that_was_made_in_vain_is_removed(place: Path) -> None:
    """But not one that was there before, nor one that somebody else has used meanwhile."""
    with Outputs() as outputs:
        outputs.reserve_all(place / "new", ["a", "b"])["a"].write(b"x")
    with Outputs() as outputs:
        outputs.reserve_all(place, ["a", "b"])
    assert names(place) == []
    with Outputs() as outputs:
        outputs.reserve_all(place / "new", ["a"])
        (place / "new" / "theirs").touch()
    assert names(place / "new") == ["theirs"]


def test_a_link_in_the_place_of_a_made_directory_is_not_given_away(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write beside it could have root change another directory's owner and mode."""
    (place / "theirs").mkdir(mode=0o755)
    (place / "theirs").chmod(0o755)
    monkeypatch.setattr(Path, "mkdir", lambda path, **_: path.symlink_to(place / "theirs"))
    with pytest.raises(UsageError), Outputs() as outputs:
        outputs.reserve_all(place / "new", ["a"])
    assert mode_of(place / "theirs") == 0o755
    assert names(place / "theirs") == []


def test_a_file_may_go_beside_the_many(place: Path) -> None:
    """As their passwords do, into the directory that is only now made: it goes first again."""
    with Outputs() as outputs:
        outputs.reserve_all(place / "new", ["a", "b"])
        outputs.reserve(place / "new" / "passwords").write(b"x")
    assert names(place) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_a_name_leads_nowhere_else(place: Path, name: str) -> None:
    """What is made from a client's name is a name in that directory, or nothing."""
    with pytest.raises(UsageError, match="names no file"), Outputs() as outputs:
        outputs.reserve_all(place, ["a", name])
    assert names(place) == []


# ── killed ────────────────────────────────────────────────────────────────────────────────────────


def work(place: Path) -> None:
    with Outputs() as outputs:
        alone = outputs.reserve(place / "alone")
        many = outputs.reserve_all(place / "many", ["a", "b"])
        for each in (alone, *many.values()):
            each.write(b"whole")
        outputs.keep()


def killed_before_step(step: int, place: Path) -> None:
    """The work, by a process that is gone before its n-th word to its porters or to a file."""
    seen = 0
    us = os.getpid()

    def stepped(call: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal seen
        if os.getpid() == us:
            seen += 1
            if seen == step:
                os.kill(us, signal.SIGKILL)
        return call(*arguments)

    for owner, name in ((os, "write"), (os, "fsync"), (os, "waitpid"), (socket, "recv_fds")):
        setattr(owner, name, partial(stepped, getattr(owner, name)))
    work(place)


def with_all_descendants(work: Callable[[], None]) -> None:
    """The work in a child, until nothing that it has started is left; exits as the child did."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    status = 0
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, how = os.wait()
            status = how if ended == child else status
    os._exit(KILLED if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status))


def test_whenever_it_is_killed_no_half_of_a_file_stays(tmp_path: Path) -> None:
    """Kill -9 at each step: afterwards each file is whole or gone, and no empty one stays."""
    for step in range(1, 100):
        place = tmp_path / str(step)
        place.mkdir()
        code = in_child(partial(with_all_descendants, partial(killed_before_step, step, place)))
        files = [path for path in place.rglob("*") if path.is_file()]
        assert all(path.read_bytes() == b"whole" for path in files), step
        assert not (place / "many").is_dir() or names(place / "many") == ["a", "b"], step
        if code == 0:
            break
        assert code == KILLED
    assert step > 10
    assert names(place) == ["alone", "many"]
    assert names(tmp_path / "5") == []


SCRIPT = f"""\
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from certwarden.cli.outputs import Outputs
with Outputs() as outputs:
    outputs.reserve(Path(sys.argv[1])).write(b"half of it")
    print("reserved", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_the_porter_outlives_a_signal_to_all(place: Path, number: signal.Signals) -> None:
    """What a terminal sends goes to the whole group; the porter is not in it, and tidies up."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", SCRIPT, place / "a"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reserved\n"
        os.killpg(process.pid, number)
        assert process.stdout.read() == b""  # nor does it keep anybody waiting
    wait_until(lambda: names(place) == [], "tidiness")


# ── who owns them ─────────────────────────────────────────────────────────────────────────────────


@as_root
def test_files_are_of_whoever_called_sudo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is a directory that is made for them; nobody else may read them."""
    monkeypatch.setenv("SUDO_UID", str(NOBODY.pw_uid))
    monkeypatch.setenv("SUDO_GID", str(NOBODY.pw_gid))
    with Outputs() as outputs:
        outputs.reserve(place / "a").write(b"a")
        outputs.reserve_all(place / "new", ["b"])["b"].write(b"b")
        outputs.keep()
    for path in (place / "a", place / "new", place / "new" / "b"):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
        assert found.st_mode & 0o077 == 0


@as_root
@pytest.mark.parametrize("said", ["", "-1", "x", "4294967295", "99999999999", "٣"])
def test_what_sudo_cannot_have_said_is_not_believed(
    place: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Without a user that makes sense a file is root's."""
    monkeypatch.setenv("SUDO_UID", said)
    monkeypatch.setenv("SUDO_GID", "0")
    with Outputs() as outputs:
        outputs.reserve(place / "a").write(b"a")
        outputs.keep()
    assert (place / "a").stat().st_uid == 0


@as_root
@pytest.mark.parametrize("is_kept", [True, False])
def test_rights_may_be_dropped_in_between(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool
) -> None:
    """A directory of root's, a file of the caller's, and a writer who may open neither by name."""
    place.chmod(0o700)
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, OTHER.pw_uid, OTHER.pw_gid)
    monkeypatch.setenv("SUDO_UID", str(NOBODY.pw_uid))
    monkeypatch.setenv("SUDO_GID", str(NOBODY.pw_gid))

    def drop_and_write() -> None:
        with Outputs() as outputs:
            output = outputs.reserve(place / "a")
            many = outputs.reserve_all(place / "many", ["b", "c"])
            settle(state)
            assert os.getresuid() == (OTHER.pw_uid,) * 3
            for each in (output, *many.values()):
                each.write(b"whole")
            if is_kept:
                outputs.keep()

    assert in_child(drop_and_write) == 0
    if not is_kept:
        assert names(place) == []
        return
    for path in (place / "a", place / "many" / "b", place / "many" / "c"):
        assert path.read_bytes() == b"whole"
        assert (path.stat().st_uid, mode_of(path)) == (NOBODY.pw_uid, 0o600)


@as_root
def test_a_secret_is_roots_and_readable_to_the_states_owner(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever called sudo gets no part of it; the daemon's group may read it."""
    monkeypatch.setenv("SUDO_UID", str(OTHER.pw_uid))
    monkeypatch.setenv("SUDO_GID", str(OTHER.pw_gid))
    state = tmp_path / "state"
    assert group_of_owner(state) is None
    state.mkdir()
    os.chown(state, NOBODY.pw_uid, 0)
    with Outputs() as outputs:
        outputs.reserve_secret(place / "ca.passphrase", group_of_owner(state)).write(b"secret")
        outputs.reserve_secret(place / "of-nobody", None).write(b"secret")
        outputs.keep()
    found = (place / "ca.passphrase").stat()
    assert (found.st_uid, found.st_gid) == (0, NOBODY.pw_gid)
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert mode_of(place / "of-nobody") == 0o600


@as_root
def test_without_rights_there_is_a_sentence(place: Path) -> None:
    """Somebody without sudo is told where they may not write, and that sudo would help."""

    def try_as_nobody() -> None:
        os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)
        with pytest.raises(UsageError, match="you may not write to") as refused:
            Outputs().reserve(place / "a")
        assert "sudo" in refused.value.hint

    for each in (place, *place.parents):
        if not each.stat().st_mode & 0o001:
            each.chmod(each.stat().st_mode | 0o011)
    assert in_child(try_as_nobody) == 0


def test_a_file_system_without_modes_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a stick that shows every file to everybody nothing secret is put."""
    fchmod = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda descriptor, _mode: fchmod(descriptor, 0o640))
    with pytest.raises(UsageError, match="could not be closed to others"), Outputs() as outputs:
        outputs.reserve(place / "a")
    assert names(place) == []


def test_a_full_disk_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be made durable is no success: a sentence, and nothing stays."""

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(porter, "_sync_file_system", fail)
    with Outputs() as outputs:
        for output in outputs.reserve_all(place, ["a", "b"]).values():
            output.write(b"x")
        with pytest.raises(Error, match="place could not be written: No space"):
            outputs.keep()
    assert names(place) == []
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Error, match="a could not be written: No space"), Outputs() as outputs:
        outputs.reserve(place / "a").write(b"x")
    assert names(place) == []
