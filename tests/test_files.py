"""Whole or not at all: files, directories, links and locks, at every step and under every error."""

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from certwarden import files
from certwarden.errors import Busy
from certwarden.files import Content
from tests import crash

Writer = Callable[[Path], None]

NEW = b"new" * 1000


def write_file(place: Path) -> None:
    files.write_file(place / "file", Content(NEW, 0o640))


def write_directory(place: Path) -> None:
    contents = {"one": Content(b"1"), "two": Content(b"2", 0o644)}
    files.write_directory(place / "directory", contents, 0o750, None)


def switch_link(place: Path) -> None:
    files.switch_link(place / "link", "new")


def remove_tree(place: Path) -> None:
    files.remove_tree(place / "tree")


def make_directory(place: Path) -> None:
    files.make_directory(place / "made" / "deeper", 0o750)


WRITERS = (write_file, write_directory, switch_link, remove_tree, make_directory)


def prepare(place: Path) -> Path:
    """A directory with an older state of everything that the writers write."""
    place.mkdir()
    (place / "file").write_bytes(b"old")
    (place / "link").symlink_to("old")
    (place / "tree").mkdir()
    (place / "tree" / "leaf").write_bytes(b"leaf")
    return place


def is_whole(place: Path) -> bool:
    """Whether each thing is either as it was or as it was meant to be."""
    directory, tree = place / "directory", place / "tree"
    return (
        (place / "file").read_bytes() in {b"old", NEW}
        and str((place / "link").readlink()) in {"old", "new"}
        and (not directory.exists() or (_names(directory) == {"one", "two"}))
        and (not tree.exists() or (tree / "leaf").read_bytes() == b"leaf")
    )


def is_done(place: Path, writer: Writer) -> bool:
    """Whether the writer's work is there."""
    if writer is write_file:
        return (place / "file").read_bytes() == NEW
    if writer is write_directory:
        return (place / "directory").exists()
    if writer is switch_link:
        return str((place / "link").readlink()) == "new"
    if writer is remove_tree:
        return not (place / "tree").exists()
    return (place / "made" / "deeper").exists() and _mode(place / "made" / "deeper") == 0o750


def heal(place: Path, writer: Writer) -> None:
    """What the next run of a caller does: sweeps, and does again what is not done."""
    files.sweep_temporaries(place)
    if not is_done(place, writer):
        writer(place)


@pytest.mark.parametrize("writer", WRITERS)
def test_killed_at_each_step(writer: Writer, tmp_path: Path) -> None:
    """Whatever step a writer is killed at: old or new, never torn, and the next run heals it."""

    def begin(step: int) -> crash.Work:
        return partial(writer, prepare(tmp_path / str(step)))

    for step in crash.killed_at_each_step(begin):
        place = tmp_path / str(step)
        assert is_whole(place)
        heal(place, writer)
        assert is_whole(place)
        assert is_done(place, writer)
        assert not _temporaries(place)


@pytest.mark.parametrize(("number", "for_good"), crash.FAILURES)
@pytest.mark.parametrize("writer", WRITERS)
def test_failing_at_each_step(
    writer: Writer, number: int, *, for_good: bool, tmp_path: Path
) -> None:
    """Whatever step fails: an OSError, old or new, never torn, and the next run heals it."""

    def begin(step: int) -> crash.Work:
        return partial(writer, prepare(tmp_path / str(step)))

    for step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        place = tmp_path / str(step)
        assert isinstance(raised, OSError)
        assert raised.errno == number
        assert is_whole(place)
        heal(place, writer)
        assert is_done(place, writer)
        assert not _temporaries(place)


@pytest.mark.parametrize("writer", [write_file, write_directory, switch_link, remove_tree])
def test_leftover_of_the_same_process_id(writer: Writer, tmp_path: Path) -> None:
    """What a killed process with our id has left behind is in nobody's way: ids come again."""
    place = prepare(tmp_path / "place")
    for name in ("file", "directory", "link", "tree"):
        leftover = place / f"{files.TEMPORARY_PREFIX}{name}-{os.getpid()}"
        leftover.mkdir()
        (leftover / "half").write_bytes(b"")
    writer(place)
    assert is_done(place, writer)


def test_mode_is_never_wider_on_the_way(tmp_path: Path) -> None:
    """A file is private until it has its content and its group, whatever the umask."""
    seen: list[int] = []
    before = os.umask(0)
    try:
        with pytest.MonkeyPatch.context() as patch:
            real = os.fchmod

            def look(descriptor: int, mode: int) -> None:
                seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
                real(descriptor, mode)

            patch.setattr(os, "fchmod", look)
            files.write_file(tmp_path / "file", Content(b"secret", 0o644))
            files.write_directory(tmp_path / "directory", {"key": Content(b"")}, 0o755, None)
            files.make_directory(tmp_path / "made", 0o711)
    finally:
        os.umask(before)
    assert set(seen) <= {0o600, 0o700}
    assert _mode(tmp_path / "file") == 0o644
    assert _mode(tmp_path / "directory") == 0o755
    assert _mode(tmp_path / "directory" / "key") == 0o600
    assert _mode(tmp_path / "made") == 0o711


def test_group_is_given(tmp_path: Path) -> None:
    """A group that we are in can be given to files and directories."""
    gid = next((each for each in os.getgroups() if each != os.getegid()), os.getegid())
    files.write_file(tmp_path / "file", Content(b"", 0o640, gid))
    files.write_directory(tmp_path / "directory", {}, 0o750, gid)
    files.make_directory(tmp_path / "made", 0o750, gid)
    assert {(tmp_path / name).stat().st_gid for name in ("file", "directory", "made")} == {gid}


def test_write_file_replaces_a_link_itself(tmp_path: Path) -> None:
    """A link in the file's place is replaced; what it leads to is not touched."""
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "file").symlink_to("other")
    files.write_file(tmp_path / "file", Content(b"new"))
    assert (tmp_path / "other").read_bytes() == b"other"
    assert not (tmp_path / "file").is_symlink()


def test_write_directory_replaces_nothing(tmp_path: Path) -> None:
    """A directory that is there already stays as it is, even an empty one or a dead link."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "dead").symlink_to("nowhere")
    for name in ("empty", "dead"):
        with pytest.raises(FileExistsError):
            files.write_directory(tmp_path / name, {"one": Content(b"1")}, 0o700, None)
    assert _names(tmp_path) == {"empty", "dead"}
    assert _names(tmp_path / "empty") == set()


def test_make_directory_corrects_the_mode(tmp_path: Path) -> None:
    """A directory of another mode gets the right one; parents are made for passing through."""
    files.make_directory(tmp_path / "a" / "b", 0o700)
    files.make_directory(tmp_path / "a" / "b", 0o750)
    assert (_mode(tmp_path / "a"), _mode(tmp_path / "a" / "b")) == (0o711, 0o750)


def test_make_directory_follows_no_link(tmp_path: Path) -> None:
    """Somebody's link in place of a directory of ours is refused, and its end left alone."""
    (tmp_path / "theirs").mkdir(mode=0o755)
    (tmp_path / "ours").symlink_to("theirs")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        files.make_directory(tmp_path / "ours", 0o700)
    assert _mode(tmp_path / "theirs") == 0o755


def test_read_file_has_a_limit(tmp_path: Path) -> None:
    """As many bytes as allowed are read; one more is an error."""
    (tmp_path / "file").write_bytes(b"12345")
    assert files.read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes") as caught:
        files.read_file(tmp_path / "file", 4)
    assert caught.value.errno == errno.EFBIG


def test_read_file_waits_for_nobody(tmp_path: Path) -> None:
    """A pipe, a directory or a device in a file's place is an error at once."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            files.read_file(path, 10)
    with pytest.raises(FileNotFoundError):
        files.read_file(tmp_path / "absent", 10)


def test_reading_leaks_no_descriptor(tmp_path: Path) -> None:
    """Errors leave no file open."""
    (tmp_path / "file").write_bytes(b"12345")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(OSError, match=r"more than|regular"):
            files.read_file(path, 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_sweep_touches_only_temporaries(tmp_path: Path) -> None:
    """Sweeping removes what writers left, whatever it is, and nothing else; follows no link."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "leaf").write_bytes(b"")
    (tmp_path / ".tmp-link").symlink_to("kept")
    (tmp_path / ".tmp-file").write_bytes(b"")
    (tmp_path / ".tmp-directory").mkdir()
    (tmp_path / ".tmp-directory" / "leaf").write_bytes(b"")
    files.sweep_temporaries(tmp_path)
    files.sweep_temporaries(tmp_path / "absent")
    assert _names(tmp_path) == {"kept"}
    assert _names(kept) == {"leaf"}


# ── locks ─────────────────────────────────────────────────────────────────────────────────────────


def test_lock_names_its_holder(tmp_path: Path) -> None:
    """Who waits is told once who holds the lock and for what, and is Busy in the end."""
    told: list[str] = []
    path = tmp_path / "orders"
    with (
        files.lock(path, "renew\x1b[31m home", 0),
        pytest.raises(Busy, match=f"process {os.getpid()}, renew"),
        files.lock(path, "second", 0.3, told.append),
    ):
        pass
    (holder,) = told
    assert holder == f"process {os.getpid()}, renew[31m home"
    assert _mode(path) == 0o600


def test_lock_is_got_when_it_is_let_go(tmp_path: Path) -> None:
    """Who waits goes on as soon as the holder is done."""
    path = tmp_path / "orders"
    waiting = threading.Event()

    def hold(held: threading.Event) -> None:
        with files.lock(path, "first", 0):
            held.set()
            waiting.wait(10)

    held = threading.Event()
    holder = threading.Thread(target=hold, args=(held,))
    holder.start()
    assert held.wait(10)
    with files.lock(path, "second", 10, lambda _: waiting.set()):
        assert path.read_text().endswith("second")
    holder.join(10)


def test_the_wait_for_a_lock_can_be_ended(tmp_path: Path) -> None:
    """A signal reaches the main thread only; a thread that waits hears of it by its clock."""

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "orders"
    with (
        files.lock(path, "first", 0),
        pytest.raises(KeyboardInterrupt),
        files.lock(path, "second", 600, sleep=interrupted),
    ):
        pass
    with files.lock(path, "third", 0):
        pass


def test_lock_dies_with_its_holder(tmp_path: Path) -> None:
    """A holder that is killed does not keep anybody out."""
    path = tmp_path / "orders"
    script = (
        "import sys, pathlib; from certwarden import files\n"
        "with files.lock(pathlib.Path(sys.argv[1]), 'doomed', 0):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy), files.lock(path, "us", 0):
            pass
        holder.kill()
        holder.wait(10)
        with files.lock(path, "us", 0):
            pass


def test_lock_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is held also where its note for others does not fit on the disk."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with (
        files.lock(tmp_path / "orders", "first", 0),
        pytest.raises(Busy, match="held by somebody"),
        files.lock(tmp_path / "orders", "second", 0),
    ):
        pass


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


def _temporaries(directory: Path) -> list[Path]:
    return [
        entry for entry in directory.rglob("*") if entry.name.startswith(files.TEMPORARY_PREFIX)
    ]


def test_what_is_in_memory_has_a_path_for_a_while() -> None:
    """For whoever reads by a path only; it leads to no disk, and nowhere afterwards."""
    with files.in_memory("a-key", b"secret") as path:
        assert Path(path).read_bytes() == b"secret"
        assert os.readlink(path) == "/memfd:a-key (deleted)"  # noqa: PTH115 - it is no path at all
    assert not os.path.lexists(path)
