"""Room on file systems, and what certwarden is made of."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.machine import (
    MIB,
    Place,
    Room,
    distribution_of,
    judge_libraries,
    judge_python,
    judge_room,
    look_at_place,
    mounts,
    names,
)

PLACE = Place("state_directory", Path("/var/lib/certwarden"))


def a_room(
    *,
    size: int = 32_000,
    free: int = 16_000,
    inodes: int = 2_000_000,
    free_inodes: int = 1_000_000,
    is_read_only: bool = False,
) -> Room:
    return Room(1, size * MIB, free * MIB, inodes, free_inodes, is_read_only)


@pytest.mark.parametrize(
    ("room", "result"),
    [
        (a_room(), Result.OK),
        (a_room(size=1_000_000, free=600), Result.OK),
        (a_room(size=1_000_000, free=400), Result.WARNING),
        (a_room(size=400, free=60), Result.OK),
        (a_room(size=400, free=40), Result.WARNING),
        (a_room(size=60, free=40), Result.OK),
        (a_room(size=60, free=14), Result.WARNING),
        (a_room(free=4), Result.ERROR),
        (a_room(inodes=0, free_inodes=0), Result.OK),
        (a_room(free_inodes=900), Result.WARNING),
        (a_room(free_inodes=10), Result.ERROR),
        (a_room(is_read_only=True), Result.ERROR),
    ],
)
def test_room_on_a_file_system(room: Room, result: Result) -> None:
    """Little room is told before there is none; a large disk is not nearly full at two per cent."""
    finding = judge_room(PLACE, room)
    assert finding.result is result
    assert bool(finding.remedy) is finding.needs_attention


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 1 MiB and few inodes."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=40", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this system lets root mount nothing")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_file_system_is_seen_as_it_is(small_disk: Path) -> None:
    """Also below a directory that is not there yet; read-only is told first."""
    room = look_at_place(Place("target", small_disk / "live" / "node-red"))
    assert isinstance(room, Room)
    assert (room.size, room.inodes, room.kind) == (MIB, 40, "tmpfs")
    assert judge_room(PLACE, room).result is Result.ERROR
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    room = look_at_place(Place("target", small_disk))
    assert isinstance(room, Room)
    assert "read-only" in judge_room(PLACE, room).what


def test_a_backup_directory_must_be_there(tmp_path: Path) -> None:
    """It may be a disk that is not mounted: the directory above it says nothing about it."""
    finding = look_at_place(Place("backup", tmp_path / "stick", needs_links=False))
    assert isinstance(finding, Finding)
    assert finding.result is Result.ERROR


def test_types_of_file_systems_are_read() -> None:
    """By device, whatever optional fields a line has."""
    text = (
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n"
        "37 35 8:17 / /mnt/stick rw - vfat /dev/sdb1 rw\n"
        "torn"
    )
    assert mounts(text) == {os.makedev(98, 0): "ext3", os.makedev(8, 17): "vfat"}


@pytest.mark.parametrize(
    ("python", "year", "result"),
    [
        ((3, 11), 2026, Result.OK),
        ((3, 11), 2028, Result.WARNING),
        ((3, 13), 2028, Result.OK),
        ((3, 13), 2030, Result.WARNING),
    ],
)
def test_a_python_that_nobody_mends_is_told(
    python: tuple[int, int], year: int, result: Result
) -> None:
    """By the day, not before its end."""
    assert judge_python(python, datetime(year, 1, 1, tzinfo=UTC)).result is result


REQUIRED = (
    "acme<6,>=5.9",
    "dnspython>=2.7,<3",
    "tree-sitter<1,>=0.25; platform_machine == 'x86_64'",
    'pytest>=9; extra == "dev"',
)


def test_what_is_required_is_named() -> None:
    """Without what developers need."""
    assert names(REQUIRED) == ("acme", "dnspython", "tree-sitter")


@pytest.mark.parametrize(
    ("installed", "wrong"),
    [
        ({"acme": "5.9.0", "dnspython": "2.9.2"}, []),
        ({"acme": "5.10.0rc1", "dnspython": "2.9.2", "tree-sitter": "0.25.1"}, []),
        ({"acme": "6.0.0", "dnspython": "2.9.2"}, ["acme"]),
        ({"acme": "5.8.9", "dnspython": None}, ["acme", "dnspython"]),
        ({"acme": "5.9", "dnspython": "2.7", "tree-sitter": "0.24"}, ["tree-sitter"]),
    ],
)
def test_libraries_that_do_not_fit_are_named(
    installed: dict[str, str | None], wrong: list[str]
) -> None:
    """Missing or of another version; what is for other machines may be missing."""
    findings = list(judge_libraries(REQUIRED, installed))
    troubles = [each.what for each in findings if each.result is Result.ERROR]
    assert len(troubles) == len(wrong)
    assert all(name in what for name, what in zip(wrong, troubles, strict=True))


def test_a_distribution_mends_the_python_that_it_brings() -> None:
    """Debian 12 does so for longer than its makers do."""
    late = datetime(2027, 12, 1, tzinfo=UTC)
    bookworm = {"ID": "raspbian", "ID_LIKE": "debian", "PRETTY_NAME": "Raspbian GNU/Linux 12"}
    assert distribution_of("/usr", bookworm) == "Raspbian GNU/Linux 12"
    assert distribution_of("/opt/python3.11", bookworm) == ""
    assert distribution_of("/usr", {"ID": "alpine"}) == ""
    assert judge_python((3, 11), late, "Raspbian GNU/Linux 12").result is Result.OK
    assert judge_python((3, 11), late).result is Result.WARNING
