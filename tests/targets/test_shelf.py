"""Generations: whole at every instant, readable to whom they should be, and to nobody else."""

import grp
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.model import Pair, Secret, TargetSpec
from certwarden.pki.certificate import read_pair
from certwarden.targets.shelf import GenerationShelf
from tests import crash
from tests.builders import a_pair, a_target_spec

FILES = {"privkey.pem", "fullchain.pem", "cert.pem", "chain.pem", "combined.pem"}


@pytest.fixture
def spec(tmp_path: Path) -> TargetSpec:
    return a_target_spec(directory=tmp_path / "live" / "node-red")


def current_pair(directory: Path) -> Pair:
    """What a program finds that reads through `current`; raises where it does not match."""
    now = (directory / "current").resolve(strict=True)
    key, chain = (now / "privkey.pem").read_bytes(), (now / "fullchain.pem").read_bytes()
    return read_pair(Secret(key), chain)


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill leaves what the kernel has, synced or not: the disk need not be waited for."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_generation_holds_only_what_its_kind_reads(tmp_path: Path) -> None:
    """A key lies in no more files than somebody needs."""
    for kind, expected in (("node-red", {"privkey.pem", "fullchain.pem"}), ("files", FILES)):
        directory = tmp_path / kind
        GenerationShelf(a_target_spec(kind=kind, directory=directory)).publish(a_pair())

        assert {path.name for path in (directory / "current").iterdir()} == expected


def test_every_file_holds_what_its_name_says(tmp_path: Path) -> None:
    """The combined file is the full chain, then the key: what HAProxy reads."""
    pair = a_pair()
    directory = tmp_path / "web"
    GenerationShelf(a_target_spec(kind="files", directory=directory)).publish(pair)

    leaf, rest, key = pair.chain_pem[0], b"".join(pair.chain_pem[1:]), pair.key_pem.reveal()
    found = {path.name: path.read_bytes() for path in (directory / "current").iterdir()}
    assert found == {
        "privkey.pem": key,
        "cert.pem": leaf,
        "chain.pem": rest,
        "fullchain.pem": leaf + rest,
        "combined.pem": leaf + rest + key,
    }


def test_current_is_a_relative_link(spec: TargetSpec) -> None:
    """The directory may be mounted elsewhere, in a container say, and still be whole."""
    GenerationShelf(spec).publish(a_pair())

    assert (spec.directory / "current").readlink() == Path("generations/0001")


def test_two_generations_and_the_last_good_one_are_kept(spec: TargetSpec) -> None:
    """Whoever reads the one before is not disturbed, and there is something to go back to."""
    shelf = GenerationShelf(spec)
    shelf.confirm(shelf.publish(a_pair()).number)

    for _ in range(4):
        shelf.publish(a_pair())

    names = sorted(path.name for path in (spec.directory / "generations").iterdir())
    assert names == ["0001", "0004", "0005"]


def test_a_number_is_never_used_twice(spec: TargetSpec) -> None:
    """Not even that of a generation that somebody has removed while it was current."""
    shelf = GenerationShelf(spec)
    shelf.publish(a_pair())
    newest = shelf.publish(a_pair()).number
    (spec.directory / "generations" / f"{newest:04d}").rename(spec.directory / "elsewhere")

    assert shelf.publish(a_pair()).number == newest + 1


def test_numbers_outgrow_their_four_digits(spec: TargetSpec) -> None:
    """9999 comes before 10000, as numbers do and names do not."""
    shelf = GenerationShelf(spec)
    shelf.publish(a_pair())
    generations = spec.directory / "generations"
    (generations / "0001").rename(generations / "9999")

    assert shelf.publish(a_pair()).number == 10_000
    assert shelf.publish(a_pair()).number == 10_001
    assert sorted(path.name for path in generations.iterdir()) == ["10000", "10001"]


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, mask: int) -> None:
    """Started by whatever, the key is readable to its group and to nobody else."""
    directory = tmp_path / "state" / "live" / "web"
    spec = replace(a_target_spec(kind="files", directory=directory), mode=0o640)
    with umask(mask):
        GenerationShelf(spec).publish(a_pair())

    now = (directory / "current").resolve()
    assert {path.name: oct(mode_of(path)) for path in now.iterdir()} == {
        "privkey.pem": "0o640",
        "combined.pem": "0o640",
        "fullchain.pem": "0o644",
        "cert.pem": "0o644",
        "chain.pem": "0o644",
    }
    assert mode_of(now) == mode_of(directory) == mode_of(now.parent) == 0o750
    assert mode_of(directory.parent) == 0o711


def test_the_directory_for_reports_is_writable_to_the_group(spec: TargetSpec) -> None:
    """Node-RED's module says there what it has loaded; other kinds have no such module."""
    GenerationShelf(spec).publish(a_pair())
    other = replace(a_target_spec(kind="files"), directory=spec.directory.with_name("web"))
    GenerationShelf(other).publish(a_pair())

    assert mode_of(spec.directory / "loaded") == 0o770
    assert not (other.directory / "loaded").exists()


def test_nobody_else_gets_at_a_key(spec: TargetSpec) -> None:
    """Walked from the top, after publishing, confirming and putting back."""
    shelf = GenerationShelf(spec)
    with umask(0):
        shelf.confirm(shelf.publish(a_pair()).number)
        shelf.publish(a_pair())

    for path in spec.directory.rglob("*"):
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
            assert not mode_of(path) & 0o007


def another_group() -> grp.struct_group:
    """A group that is not our first one; the test is skipped where we may not use any."""
    groups = grp.getgrall() if os.geteuid() == 0 else [grp.getgrgid(g) for g in os.getgroups()]
    for group in groups:
        if group.gr_gid != os.getegid():
            return group
    pytest.skip("this user is in one group only")


def test_the_group_is_given_everything_it_needs(spec: TargetSpec) -> None:
    """It can get to the files and read them, and write its reports."""
    group = another_group()
    GenerationShelf(replace(spec, group=group.gr_name)).publish(a_pair())

    for path in (
        spec.directory,
        *spec.directory.glob("generations/**/*"),
        spec.directory / "loaded",
    ):
        assert path.stat().st_gid == group.gr_gid


def test_another_group_in_the_configuration_is_a_reason_to_publish(spec: TargetSpec) -> None:
    """Files that the reader cannot read are not installed."""
    pair = a_pair()
    GenerationShelf(spec).publish(pair)
    shelf = GenerationShelf(replace(spec, group=another_group().gr_name))
    assert shelf.installed() is None

    shelf.publish(pair)

    assert shelf.installed() is not None


def test_another_mode_in_the_configuration_is_a_reason_to_publish(spec: TargetSpec) -> None:
    """It takes effect without waiting for the next certificate."""
    GenerationShelf(spec).publish(a_pair())

    assert GenerationShelf(replace(spec, mode=0o600)).installed() is None


def test_a_group_that_does_not_exist_is_told_with_a_remedy(spec: TargetSpec) -> None:
    """The sentence names it, and nothing is made."""
    shelf = GenerationShelf(replace(spec, group="tls-nobody-has-it"))

    with pytest.raises(TargetError, match="no group tls-nobody-has-it") as caught:
        shelf.publish(a_pair())

    assert "groupadd" in caught.value.hint
    assert not spec.directory.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda now: (now / "privkey.pem").write_bytes(a_pair().key_pem.reveal()),
        lambda now: (now / "privkey.pem").write_bytes(b""),
        lambda now: (now / "fullchain.pem").unlink(),
        lambda now: (now / "fullchain.pem").write_bytes(b"x" * 1_000_000),
        lambda now: (now / "combined.pem").write_bytes(b"of another pair"),
        lambda now: (now / "privkey.pem").chmod(0o644),
        lambda now: (now.parent.parent / "current").unlink(),
    ],
)
def test_what_is_not_whole_is_not_installed(tmp_path: Path, damage: object) -> None:
    """Whatever befell the files: the answer is None, and the next publication mends it."""
    spec = a_target_spec(kind="files", directory=tmp_path / "web")
    shelf, pair = GenerationShelf(spec), a_pair()
    shelf.publish(pair)
    assert callable(damage)

    damage((spec.directory / "current").resolve())

    assert shelf.installed() is None
    shelf.publish(pair)
    assert shelf.installed() is not None


@pytest.mark.parametrize("destination", ["../../../etc", "/etc", "generations/../x", "generations"])
def test_a_link_that_leads_elsewhere_is_not_ours(spec: TargetSpec, destination: str) -> None:
    """`current` is believed only where it leads to a generation."""
    GenerationShelf(spec).publish(a_pair())
    (spec.directory / "current").unlink()
    (spec.directory / "current").symlink_to(destination)

    assert GenerationShelf(spec).installed() is None


def test_a_directory_of_somebody_else_is_refused(spec: TargetSpec) -> None:
    """Its owner could put links in our way, and read every key."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    spec.directory.mkdir(parents=True)
    os.chown(spec.directory, 4711, 4711)

    with pytest.raises(TargetError, match="belongs to user 4711"):
        GenerationShelf(spec).publish(a_pair())


def test_a_link_in_place_of_the_generations_is_not_followed(
    spec: TargetSpec, tmp_path: Path
) -> None:
    """No key is written where such a link leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    spec.directory.mkdir(parents=True)
    (spec.directory / "generations").symlink_to(elsewhere)

    with pytest.raises(TargetError):
        GenerationShelf(spec).publish(a_pair())

    assert not list(elsewhere.iterdir())


def test_a_shelf_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """By a TargetError that names the directory, not by an OSError."""
    (tmp_path / "live").write_bytes(b"a file is in the way")

    with pytest.raises(TargetError, match="live/node-red"):
        GenerationShelf(a_target_spec(directory=tmp_path / "live" / "node-red")).publish(a_pair())


@pytest.mark.usefixtures("no_fsync")
def test_a_kill_at_any_step_leaves_a_matching_pair(tmp_path: Path) -> None:
    """Invariant 1: `current` leads to the old pair or to the new one, and the next run goes on."""
    old, new = a_pair(), a_pair()
    places: dict[int, TargetSpec] = {}

    def begin(step: int) -> crash.Work:
        places[step] = a_target_spec(kind="files", directory=tmp_path / str(step) / "web")
        shelf = GenerationShelf(places[step])
        shelf.confirm(shelf.publish(old).number)
        return lambda: shelf.publish(new)

    for step in crash.killed_at_each_step(begin):
        spec = places[step]
        assert current_pair(spec.directory) in (old, new)
        shelf = GenerationShelf(spec)
        assert shelf.installed() is not None
        assert shelf.last_good() == old
        number = shelf.publish(new).number
        assert shelf.installed() is not None
        assert number >= 2
        assert not list(spec.directory.rglob(".tmp-*"))


@pytest.mark.usefixtures("no_fsync")
def test_a_kill_at_any_step_of_the_first_publication_leaves_nothing_or_all(tmp_path: Path) -> None:
    """Before the first generation is whole, there is no `current` at all."""
    pair = a_pair()

    def begin(step: int) -> crash.Work:
        shelf = GenerationShelf(a_target_spec(directory=tmp_path / str(step) / "node-red"))
        return lambda: shelf.publish(pair)

    for step in crash.killed_at_each_step(begin):
        directory = tmp_path / str(step) / "node-red"
        if (directory / "current").exists():
            assert current_pair(directory) == pair
        GenerationShelf(a_target_spec(directory=directory)).publish(pair)
        assert current_pair(directory) == pair


@pytest.mark.usefixtures("no_fsync")
def test_a_kill_while_confirming_leaves_a_last_good_pair(tmp_path: Path) -> None:
    """It is the one before, or the new one."""
    old, new = a_pair(), a_pair()
    shelves: dict[int, GenerationShelf] = {}

    def begin(step: int) -> crash.Work:
        shelf = GenerationShelf(a_target_spec(directory=tmp_path / str(step) / "node-red"))
        shelf.confirm(shelf.publish(old).number)
        number = shelf.publish(new).number
        shelves[step] = shelf
        return lambda: shelf.confirm(number)

    for step in crash.killed_at_each_step(begin):
        assert shelves[step].last_good() in (old, new)


@pytest.mark.parametrize(("number", "for_good"), crash.FAILURES)
@pytest.mark.usefixtures("no_fsync")
def test_an_error_at_any_step_changes_nothing_or_all(
    tmp_path: Path, number: int, *, for_good: bool
) -> None:
    """A full or broken disk is told by a TargetError, and what is current stays a pair."""
    old, new = a_pair(), a_pair()
    directory = tmp_path / "0"

    def begin(step: int) -> crash.Work:
        nonlocal directory
        directory = tmp_path / str(step)
        shelf = GenerationShelf(a_target_spec(directory=directory))
        shelf.publish(old)
        return lambda: shelf.publish(new)

    for _step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        assert raised is None or isinstance(raised, TargetError)
        assert current_pair(directory) in (old, new)


def test_confirming_again_writes_nothing(spec: TargetSpec) -> None:
    """A pass that finds all well leaves the disk alone."""
    shelf = GenerationShelf(spec)
    number = shelf.publish(a_pair()).number
    shelf.confirm(number)
    before = (spec.directory / "good").lstat().st_ino

    shelf.confirm(number)

    assert (spec.directory / "good").lstat().st_ino == before


def test_a_directory_that_others_use_is_left_alone(tmp_path: Path) -> None:
    """A mistyped `directory` changes no mode and puts nothing there."""
    others = tmp_path / "etc"
    others.mkdir(mode=0o755)
    (others / "passwd").write_text("root")
    others.chmod(0o755)
    shelf = GenerationShelf(a_target_spec(directory=others))
    with pytest.raises(TargetError, match="other things"):
        shelf.publish(a_pair())
    assert stat.S_IMODE(others.stat().st_mode) == 0o755
    assert {each.name for each in others.iterdir()} == {"passwd"}
