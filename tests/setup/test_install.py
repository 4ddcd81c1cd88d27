"""Changes are made whole, once, and again without harm."""

import grp
import os
import pwd
import stat
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.setup.install import Ground, InstallError
from certwarden.setup.outline import Change, Command, MakeDirectory, WriteFile

ME = pwd.getpwuid(os.geteuid()).pw_name
MINE = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def a_file(text: str = "text\n", mode: int = 0o640) -> Change:
    return Change("a file", WriteFile(Path("/etc/deep/file"), text.encode(), mode, MINE))


def test_files_and_directories_are_made_with_mode_and_owner(ground: Ground, tmp_path: Path) -> None:
    """With the directories that lead there."""
    directory = Change("a directory", MakeDirectory(Path("/var/here"), 0o750, f"{ME}:{MINE}"))
    ground.make([a_file(), directory])
    file = tmp_path / "etc/deep/file"
    assert file.read_text() == "text\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "var/here").stat().st_mode) == 0o750


def test_what_is_there_is_left_alone(ground: Ground, tmp_path: Path) -> None:
    """The second time nothing is outstanding, and the file is the same one."""
    ground.make([a_file()])
    file = tmp_path / "etc/deep/file"
    before = file.stat().st_ino
    assert ground.outstanding([a_file()]) == []
    ground.make([a_file()])
    assert file.stat().st_ino == before


@pytest.mark.parametrize("other", [a_file("other\n"), a_file(mode=0o600)])
def test_what_is_otherwise_is_outstanding(ground: Ground, other: Change) -> None:
    """Its text, or its mode."""
    ground.make([other])
    assert ground.outstanding([a_file()]) == [a_file()]


def test_a_link_in_the_place_of_a_file_is_replaced(ground: Ground, tmp_path: Path) -> None:
    """And what it leads to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("text\n")
    (tmp_path / "etc/deep").mkdir(parents=True)
    (tmp_path / "etc/deep/file").symlink_to(victim)
    assert ground.outstanding([a_file()])
    ground.make([a_file("new\n")])
    assert victim.read_text() == "text\n"


def test_an_unknown_group_is_a_sentence(ground: Ground) -> None:
    """It says which."""
    change = Change("", WriteFile(Path("/file"), b"", group="no-such-group"))
    assert ground.outstanding([change])
    with pytest.raises(InstallError, match="no-such-group"):
        ground.make([change])


def test_a_command_that_fails_says_what_it_said(ground: Ground) -> None:
    """And one that succeeds says nothing; it is outstanding for ever, for it can be run again."""
    ground.make([Change("", Command(("true",)))])
    assert ground.outstanding([Change("", Command(("true",)))])
    with pytest.raises(InstallError, match="no way"):
        ground.command("sh", "-c", "echo no way; exit 3")
    with pytest.raises(InstallError, match="cannot be run"):
        ground.command("/no/such/program")


def test_removing_takes_files_and_empty_directories(ground: Ground, tmp_path: Path) -> None:
    """What is not there is gone; a directory with something in it is a sentence."""
    ground.make([a_file()])
    with pytest.raises(InstallError, match="/etc/deep"):
        ground.remove(Path("/etc/deep"))
    ground.remove(Path("/etc/deep/file"))
    ground.remove(Path("/etc/deep/file"))
    ground.remove(Path("/etc/deep"))
    assert not (tmp_path / "etc/deep").exists()


def test_a_directory_behind_a_strangers_link_is_not_made(ground: Ground, tmp_path: Path) -> None:
    """Whoever owns a disk could have root make and give away a directory anywhere."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a stranger's link")
    victim = tmp_path / "victim"
    victim.mkdir()
    link = tmp_path / "usb"
    link.symlink_to(victim)
    os.lchown(link, 1, 1)
    change = Change("", MakeDirectory(Path("/usb/certwarden"), 0o700, ME))
    with pytest.raises(TargetError, match="symbolic link"):
        ground.make([change])
    assert list(victim.iterdir()) == []


def test_a_directory_of_somebody_elses_is_not_taken(ground: Ground, tmp_path: Path) -> None:
    """One that is empty may be: it was made for us."""
    if os.geteuid() != 0:
        pytest.skip("only root can make somebody else's directory")
    place = tmp_path / "usb"
    place.mkdir()
    os.chown(place, 1, 1)
    (place / "theirs").touch()
    change = Change("", MakeDirectory(Path("/usb"), 0o700, ME))
    with pytest.raises(InstallError, match="somebody else's"):
        ground.make([change])
    assert place.stat().st_uid == 1
    (place / "theirs").unlink()
    ground.make([change])
    assert (place.stat().st_uid, stat.S_IMODE(place.stat().st_mode)) == (os.geteuid(), 0o700)


def test_a_file_of_somebody_elses_is_outstanding(ground: Ground, tmp_path: Path) -> None:
    """It says the same today, and what they like tomorrow."""
    if os.geteuid() != 0:
        pytest.skip("only root can make somebody else's file")
    ground.make([a_file()])
    os.chown(tmp_path / "etc/deep/file", 1, os.getegid())
    assert ground.outstanding([a_file()]) == [a_file()]
    ground.make([a_file()])
    assert (tmp_path / "etc/deep/file").stat().st_uid == os.geteuid()


def test_programs_are_the_systems_own(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PATH of the caller's leads root nowhere."""
    (tmp_path / "true").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "true").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    ground.command("true")
