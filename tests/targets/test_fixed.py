"""Fixed paths: links or copies that lead to what is current, in directories of other people."""

import errno
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from certwarden import files
from certwarden.errors import MaterialError, TargetError
from certwarden.model import Pair, Secret, TargetSpec
from certwarden.pki.certificate import read_pair
from certwarden.targets.shelf import GenerationShelf
from tests import crash
from tests.builders import a_pair, a_target_spec

NOBODY = 65534
PI = 1  # daemon: a user that every system has, as owner of a home
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
needs_a_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


@dataclass(frozen=True)
class House:
    """A Node-RED's own directory with a key and certificate, and the target that is to fill it."""

    home: Path
    spec: TargetSpec

    @property
    def key(self) -> Path:
        return self.home / "privkey.pem"

    @property
    def certificate(self) -> Path:
        return self.home / "cert.pem"

    @property
    def shelf(self) -> GenerationShelf:
        return GenerationShelf(self.spec)

    def put(self, pair: Pair) -> None:
        self.key.write_bytes(pair.key_pem.reveal())
        self.certificate.write_bytes(pair.fullchain_pem)

    def pair(self) -> Pair:
        """What Node-RED would read now; raises where the two do not belong together."""
        return read_pair(Secret(self.key.read_bytes()), self.certificate.read_bytes())


def a_house(place: Path, *, copy: bool = False) -> House:
    home = place / "home"
    home.mkdir(parents=True)
    spec = a_target_spec(
        directory=place / "state" / "live" / "node-red",
        key_path=home / "privkey.pem",
        certificate_path=home / "cert.pem",
        copy=copy,
    )
    return House(home, spec)


@pytest.fixture(params=["links", "copies"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    return a_house(tmp_path, copy=request.param == "copies")


@pytest.fixture
def linked(tmp_path: Path) -> House:
    return a_house(tmp_path)


@pytest.fixture
def copied(tmp_path: Path) -> House:
    return a_house(tmp_path, copy=True)


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill leaves what the kernel has, synced or not: the disk need not be waited for."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-certwarden")


def test_what_is_published_is_found_at_the_fixed_paths(house: House) -> None:
    """Where something stood before and where nothing did; `certificate` gets the full chain."""
    for pair in (a_pair(), a_pair()):
        house.shelf.publish(pair)

        assert house.pair() == pair


def test_links_go_through_current(linked: House) -> None:
    """So that both change with it, at once, without being touched again."""
    linked.shelf.publish(a_pair())

    current = linked.spec.directory / "current"
    assert linked.key.readlink() == current / "privkey.pem"
    assert linked.certificate.readlink() == current / "fullchain.pem"


def test_copies_are_plain_files(copied: House) -> None:
    """Where the reader cannot follow links."""
    copied.shelf.publish(a_pair())

    assert stat.S_ISREG(copied.key.lstat().st_mode)
    assert stat.S_ISREG(copied.certificate.lstat().st_mode)


def test_what_stood_there_is_kept(house: House) -> None:
    """With its content and mode, once and for all: later publications do not write over it."""
    before = a_pair()
    house.put(before)
    house.key.chmod(0o600)
    house.certificate.chmod(0o604)

    for _ in range(3):
        house.shelf.publish(a_pair())

    assert backup_of(house.key).read_bytes() == before.key_pem.reveal()
    assert backup_of(house.certificate).read_bytes() == before.fullchain_pem
    assert (mode_of(backup_of(house.key)), mode_of(backup_of(house.certificate))) == (0o600, 0o604)


def test_what_somebody_puts_there_later_is_kept_as_well(house: House) -> None:
    """Under a number of its own; what stood there first stays what it was."""
    first, second = a_pair(), a_pair()
    house.put(first)
    house.shelf.publish(a_pair())
    house.key.unlink()
    house.certificate.unlink()
    house.put(second)

    for _ in range(3):
        house.shelf.publish(a_pair())

    assert backup_of(house.key).read_bytes() == first.key_pem.reveal()
    again = house.key.with_name(f"{backup_of(house.key).name}-2")
    assert again.read_bytes() == second.key_pem.reveal()
    assert not again.with_name(f"{backup_of(house.key).name}-3").exists()


def test_a_backup_that_is_there_is_never_overwritten(house: House) -> None:
    """It is the only thing that says how things were before certwarden came."""
    house.put(a_pair())
    backup_of(house.key).write_bytes(b"precious")

    house.shelf.publish(a_pair())

    assert backup_of(house.key).read_bytes() == b"precious"


def test_copies_of_ours_are_no_reason_for_a_backup(copied: House) -> None:
    """Where nothing stood before, nothing is kept."""
    for _ in range(4):
        copied.shelf.publish(a_pair())

    assert sorted(path.name for path in copied.home.iterdir()) == ["cert.pem", "privkey.pem"]


def test_a_link_that_stood_there_is_kept_as_a_link(house: House, tmp_path: Path) -> None:
    """It is neither followed nor written through: what it leads to belongs to another program."""
    elsewhere = tmp_path / "letsencrypt.pem"
    elsewhere.write_bytes(b"another program's")
    house.key.symlink_to(elsewhere)

    house.shelf.publish(a_pair())

    assert elsewhere.read_bytes() == b"another program's"
    assert backup_of(house.key).readlink() == elsewhere


def test_the_pair_that_stood_there_is_the_last_good_one(house: House) -> None:
    """Read from the backups once they are made, until a generation has been confirmed."""
    before = a_pair()
    house.put(before)
    assert house.shelf.last_good() == before

    published = house.shelf.publish(a_pair())
    assert house.shelf.last_good() == before

    house.shelf.confirm(published.number)
    assert house.shelf.last_good() != before


def test_the_pair_that_links_replace_is_the_last_good_generation(linked: House) -> None:
    """It can be gone back to even where what was kept of it cannot be read, or is older."""
    before = a_pair()
    linked.put(before)
    backup_of(linked.key).write_bytes(b"of an earlier life")

    linked.shelf.publish(a_pair())

    assert linked.shelf.last_good() == before


def test_a_pair_of_ours_that_links_replace_is_not_good_for_that(linked: House) -> None:
    """It was published, and nobody has seen it in use."""
    before = a_pair()
    linked.put(before)
    copied = House(linked.home, replace(linked.spec, copy=True))
    copied.shelf.publish(a_pair())

    linked.shelf.publish(a_pair())

    assert linked.shelf.last_good() == before


@pytest.mark.usefixtures("no_fsync")
def test_a_kill_at_any_step_from_copies_to_links_never_parts_them(tmp_path: Path) -> None:
    """Copies of ours are a pair like any other while links take their place."""
    old, new = a_pair(), a_pair()
    houses: dict[int, House] = {}

    def begin(step: int) -> crash.Work:
        copied = a_house(tmp_path / str(step), copy=True)
        copied.shelf.publish(old)
        house = houses[step] = House(copied.home, replace(copied.spec, copy=False))
        return lambda: house.shelf.publish(new)

    for step in crash.killed_at_each_step(begin):
        assert houses[step].pair() in (old, new)


def test_there_is_no_last_good_pair_where_the_old_one_does_not_match(house: House) -> None:
    """A key that does not belong to the certificate is nothing to go back to."""
    house.put(a_pair())
    house.key.write_bytes(a_pair().key_pem.reveal())

    house.shelf.publish(a_pair())

    assert house.shelf.last_good() is None


@pytest.mark.parametrize("name", ["privkey.pem", "cert.pem"])
def test_an_overwritten_file_is_noticed_and_repaired(house: House, name: str) -> None:
    """A mismatched pair at the fixed paths is not installed; publishing puts it right."""
    pair = a_pair()
    house.shelf.publish(pair)
    (house.home / name).unlink()
    (house.home / name).write_bytes(a_pair().key_pem.reveal())
    with pytest.raises(MaterialError):
        house.pair()
    assert house.shelf.installed() is None

    house.shelf.publish(pair)

    assert house.pair() == pair
    assert house.shelf.installed() is not None


def test_a_removed_file_is_noticed(house: House) -> None:
    """Whoever starts the program now would find nothing."""
    house.shelf.publish(a_pair())
    house.certificate.unlink()

    assert house.shelf.installed() is None


def test_publishing_again_leaves_the_links_alone(linked: House) -> None:
    """They are made once, so that a directory which is closed to us later does not matter."""
    linked.shelf.publish(a_pair())
    before = linked.key.lstat().st_ino

    linked.shelf.publish(a_pair())

    assert linked.key.lstat().st_ino == before


def test_from_links_to_copies_and_back(linked: House) -> None:
    """The configuration may be changed at any time."""
    pair = a_pair()
    linked.shelf.publish(pair)
    copied = House(linked.home, replace(linked.spec, copy=True))
    assert copied.shelf.installed() is None

    copied.shelf.publish(pair)
    assert stat.S_ISREG(linked.key.lstat().st_mode)

    linked.shelf.publish(pair)
    assert linked.key.is_symlink()
    assert linked.shelf.installed() is not None
    assert sorted(path.name for path in linked.home.iterdir()) == ["cert.pem", "privkey.pem"]


def test_paths_that_lie_in_current_already_need_nothing(tmp_path: Path) -> None:
    """Whoever names certwarden's own files gets no link from a file to itself."""
    directory = tmp_path / "web"
    spec = a_target_spec(
        directory=directory,
        key_path=directory / "current" / "privkey.pem",
        certificate_path=directory / "current" / "fullchain.pem",
    )

    GenerationShelf(spec).publish(a_pair())

    assert GenerationShelf(spec).installed() is not None
    assert not (directory / "current" / "privkey.pem").is_symlink()


def test_a_copied_key_is_closed_to_others(copied: House) -> None:
    """Even where the one that stood there was open to everybody."""
    copied.put(a_pair())
    copied.key.chmod(0o644)

    copied.shelf.publish(a_pair())

    assert mode_of(copied.key) == 0o640


def test_copies_keep_the_mode_of_what_stood_there(copied: House) -> None:
    """Its reader could read it so far, and nobody else shall."""
    copied.put(a_pair())
    copied.key.chmod(0o400)
    copied.certificate.chmod(0o640)

    copied.shelf.publish(a_pair())

    assert (mode_of(copied.key), mode_of(copied.certificate)) == (0o400, 0o640)


@needs_root
def test_a_strangers_file_does_not_get_him_the_key(copied: House) -> None:
    """In a directory that a group may write to, whoever puts a file there is not given the key."""
    copied.home.chmod(0o2775)
    os.chown(copied.home, 0, 4712)
    copied.put(a_pair())
    os.chown(copied.key, 4711, 4712)

    copied.shelf.publish(a_pair())

    found = copied.key.stat()
    assert found.st_uid == 0
    assert not found.st_mode & 0o077


@needs_root
def test_copies_keep_the_owner_of_what_stood_there(copied: House) -> None:
    """A program that reads its key as its owner still can."""
    copied.put(a_pair())
    for path in (copied.key, copied.certificate):
        os.chown(path, 4711, 4712)

    copied.shelf.publish(a_pair())

    for path in (copied.key, copied.certificate):
        assert (path.stat().st_uid, path.stat().st_gid) == (4711, 4712)


@pytest.mark.usefixtures("no_fsync")
def test_a_kill_at_any_step_never_parts_the_links(tmp_path: Path) -> None:
    """Not even while they take the place of files: they show the old pair until both are there."""
    old, new = a_pair(), a_pair()
    houses: dict[int, House] = {}

    def begin(step: int) -> crash.Work:
        house = houses[step] = a_house(tmp_path / str(step))
        house.put(old)
        return lambda: house.shelf.publish(new)

    for step in crash.killed_at_each_step(begin):
        house = houses[step]
        assert house.pair() in (old, new)
        house.shelf.publish(new)
        assert house.pair() == new
        assert backup_of(house.key).read_bytes() == old.key_pem.reveal()
        assert not list(house.home.glob(".tmp-*"))


@pytest.mark.usefixtures("no_fsync")
def test_a_kill_at_any_step_of_a_copy_is_repaired(tmp_path: Path) -> None:
    """Two files cannot change at once: that they are parted is noticed, and publishing mends it."""
    first, old, new = a_pair(), a_pair(), a_pair()
    houses: dict[int, House] = {}

    def begin(step: int) -> crash.Work:
        house = houses[step] = a_house(tmp_path / str(step), copy=True)
        house.put(first)
        house.shelf.publish(old)
        return lambda: house.shelf.publish(new)

    parted = 0
    for step in crash.killed_at_each_step(begin):
        house = houses[step]
        try:
            house.pair()
        except MaterialError:
            parted += 1
            assert house.shelf.installed() is None
        house.shelf.publish(new)
        assert house.pair() == new
        assert house.shelf.installed() is not None
        assert backup_of(house.key).read_bytes() == first.key_pem.reveal()
        assert not list(house.home.glob(".tmp-*"))
    assert parted, "the dangerous moment was never met"


@pytest.mark.parametrize(("number", "for_good"), crash.FAILURES)
@pytest.mark.usefixtures("no_fsync")
def test_an_error_at_any_step_never_parts_the_pair(
    house: House, number: int, *, for_good: bool
) -> None:
    """A full disk is met before the first file is put in place; only EIO between two renames is
    not, and is repaired.
    """
    old, new = a_pair(), a_pair()
    houses: dict[int, House] = {}
    place = house.home.parent

    def begin(step: int) -> crash.Work:
        house_now = houses[step] = a_house(place / str(step), copy=house.spec.copy)
        house_now.put(old)
        return lambda: house_now.shelf.publish(new)

    for step, raised in crash.failed_at_each_step(begin, number, for_good=for_good):
        assert raised is None or isinstance(raised, TargetError)
        try:
            houses[step].pair()
        except MaterialError:
            assert house.spec.copy
            houses[step].shelf.publish(new)
        assert houses[step].pair() in (old, new)


@needs_root
def test_root_writes_as_the_owner_of_the_directory(house: House) -> None:
    """What root puts into somebody's home belongs to that person, links and copies alike."""
    os.chown(house.home, NOBODY, NOBODY)
    make_reachable(house.home)

    house.shelf.publish(a_pair())

    for path in (house.key, house.certificate):
        assert path.lstat().st_uid == NOBODY


@needs_root
def test_root_knows_our_copies_in_a_home_whose_owner_cannot_read_the_generations(
    copied: House,
) -> None:
    """They are no reason for a backup there either."""
    os.chown(copied.home, NOBODY, NOBODY)
    make_reachable(copied.home)

    for _ in range(3):
        copied.shelf.publish(a_pair())

    assert sorted(path.name for path in copied.home.iterdir()) == ["cert.pem", "privkey.pem"]


@needs_root
def test_root_is_not_led_away_by_the_owner_of_a_directory(house: House, tmp_path: Path) -> None:
    """A link in somebody's home to a directory of root's: nothing is written there."""
    roots = tmp_path / "etc"
    roots.mkdir()
    (roots / "privkey.pem").write_bytes(b"root's own")
    os.chown(house.home, NOBODY, NOBODY)
    make_reachable(house.home)
    certs = house.home / "certs"
    certs.symlink_to(roots)
    os.lchown(certs, NOBODY, NOBODY)
    spec = replace(
        house.spec, key_path=certs / "privkey.pem", certificate_path=certs / "fullchain.pem"
    )

    with pytest.raises(TargetError):
        GenerationShelf(spec).publish(a_pair())

    assert [path.name for path in roots.iterdir()] == ["privkey.pem"]
    assert (roots / "privkey.pem").read_bytes() == b"root's own"


@needs_root
def test_an_old_pair_is_not_read_through_a_strangers_link(linked: House, tmp_path: Path) -> None:
    """Else the owner of a directory could have certwarden hand over a key of another target."""
    secret = a_pair()
    vault = tmp_path / "vault"
    vault.mkdir(mode=0o700)
    (vault / "key").write_bytes(secret.key_pem.reveal())
    (vault / "chain").write_bytes(secret.fullchain_pem)
    linked.key.symlink_to(vault / "key")
    linked.certificate.symlink_to(vault / "chain")

    assert linked.shelf.last_good() is None
    linked.shelf.publish(a_pair())

    assert linked.shelf.last_good() is None
    published = [path.read_bytes() for path in linked.spec.directory.rglob("privkey.pem")]
    assert secret.key_pem.reveal() not in published


def test_a_directory_that_anybody_may_write_to_is_refused(house: House) -> None:
    """Whoever may write there could put a key of his own in place."""
    house.home.chmod(0o777)

    with pytest.raises(TargetError, match="anybody may write"):
        house.shelf.publish(a_pair())

    assert not house.key.exists()


def test_a_directory_in_place_of_a_file_is_told(house: House) -> None:
    """And left alone."""
    house.key.mkdir()

    with pytest.raises(TargetError, match=r"privkey\.pem"):
        house.shelf.publish(a_pair())

    assert house.key.is_dir()


def test_a_missing_directory_is_told(house: House) -> None:
    """It is not made: a typing error would make one nobody reads."""
    spec = replace(house.spec, key_path=house.home / "crets" / "key.pem")

    with pytest.raises(TargetError, match="crets"):
        GenerationShelf(spec).publish(a_pair())


def test_a_pipe_in_place_of_a_file_does_not_stop_us(house: House) -> None:
    """Opening one waits for a writer that never comes."""
    os.mkfifo(house.key)
    house.certificate.write_bytes(b"")

    assert house.shelf.last_good() is None


def make_reachable(path: Path) -> None:
    """Lets everybody pass through the test's own directories, so that a dropped child can."""
    for parent in path.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(parent.stat().st_mode | 0o011)
    for parent in path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)


def as_nobody(house: House, work: crash.Work, saved: int = NOBODY) -> int:
    """Does the work as a user who owns the shelf, but not the fixed paths' directory."""
    make_reachable(house.home)
    state = house.spec.directory.parent.parent
    state.mkdir(exist_ok=True)
    for path in (state, *state.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def drop_and_work() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, saved)
        work()

    return crash.in_child(drop_and_work)


def last_good_is(house: House, pair: Pair) -> None:
    assert house.shelf.last_good() == pair


@needs_root
def test_where_we_may_not_write_the_command_is_told(house: House) -> None:
    """Exactly what to type; and what could be published is."""
    house.home.chmod(0o755)
    house.put(a_pair())

    def work() -> None:
        with pytest.raises(TargetError) as caught:
            house.shelf.publish(a_pair())
        assert caught.value.hint == "run `sudo certwarden deploy home`"
        assert (house.spec.directory / "current" / "privkey.pem").exists()
        assert house.shelf.installed() is None

    assert as_nobody(house, work) == 0


@needs_root
def test_once_root_has_made_the_links_they_need_no_right_to_write(linked: House) -> None:
    """Nor to look (systemd's ProtectHome=): what root has placed is on record."""
    old, new = a_pair(), a_pair()

    def publish_in_vain() -> None:
        with pytest.raises(TargetError):
            linked.shelf.publish(old)

    assert as_nobody(linked, publish_in_vain) == 0
    assert as_nobody(linked, lambda: linked.shelf.publish(old), saved=0) == 0
    assert linked.pair() == old
    for mode in (0o755, 0o000):
        linked.home.chmod(mode)

        def work() -> None:
            assert linked.shelf.installed() is not None
            linked.shelf.publish(new)
            assert linked.shelf.installed() is not None

        assert as_nobody(linked, work) == 0
    assert linked.pair() == new


@needs_root
@pytest.mark.parametrize("owner", [0, 4711])
def test_a_command_run_by_sudo_makes_them_in_one_go(house: House, owner: int) -> None:
    """It has become the owner of the state, and kept root for its children alone."""
    house.put(a_pair())
    os.chown(house.home, owner, owner)
    house.home.chmod(0o700)

    def work() -> None:
        assert os.getuid() == os.geteuid() == NOBODY
        house.shelf.publish(a_pair())
        assert house.shelf.installed() is not None

    assert as_nobody(house, work, saved=0) == 0
    for path in (house.key, house.certificate):
        assert path.lstat().st_uid == owner
    house.pair()


@pytest.fixture
def pis(linked: House) -> House:
    """A house whose owner lets nobody in, with the pair that Node-RED serves."""
    linked.put(a_pair())
    linked.key.chmod(0o600)
    for path in (linked.key, linked.certificate, linked.home):
        os.chown(path, PI, PI)
    linked.home.chmod(0o700)
    return linked


@needs_root
def test_a_command_run_by_sudo_can_go_back_to_what_it_could_not_read(pis: House) -> None:
    """The old pair is read as its owner; and whoever comes later finds it without root."""
    before = pis.pair()

    def work() -> None:
        assert pis.shelf.last_good() == before
        pis.shelf.publish(a_pair())
        assert pis.shelf.last_good() == before

    assert as_nobody(pis, work, saved=0) == 0
    assert as_nobody(pis, lambda: last_good_is(pis, before)) == 0


@needs_root
def test_a_copying_command_run_by_sudo_can_go_back_too(pis: House) -> None:
    """There the old pair is read from what was kept beside the copies."""
    before, copied = pis.pair(), House(pis.home, replace(pis.spec, copy=True))

    def work() -> None:
        copied.shelf.publish(a_pair())
        last_good_is(copied, before)

    assert as_nobody(copied, work, saved=0) == 0


@needs_root
def test_a_command_run_by_sudo_never_parts_the_pair(
    pis: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it ends between the two links: they show the old pair until both are there."""
    before, switch_link = pis.pair(), files.switch_link

    def stop_at_the_second(link: Path, destination: str) -> None:
        if link.name == pis.certificate.name:
            raise OSError(errno.EIO, "stopped")
        switch_link(link, destination)

    def work() -> None:
        with pytest.raises(TargetError, match="stopped"):
            pis.shelf.publish(a_pair())

    with monkeypatch.context() as patch:
        patch.setattr(files, "switch_link", stop_at_the_second)
        for _ in range(2):
            assert as_nobody(pis, work, saved=0) == 0
            assert pis.key.is_symlink()
            assert pis.pair() == before

    new = a_pair()
    assert as_nobody(pis, lambda: pis.shelf.publish(new), saved=0) == 0
    assert pis.pair() == new
    assert as_nobody(pis, lambda: last_good_is(pis, before)) == 0


@needs_root
def test_a_command_run_by_sudo_sees_links_that_were_replaced(pis: House) -> None:
    """It looks for itself, where others must rely on what is on record."""
    assert as_nobody(pis, lambda: pis.shelf.publish(a_pair()), saved=0) == 0
    pis.key.unlink()
    pis.key.write_bytes(b"the owner's")

    def look() -> None:
        assert pis.shelf.installed() is None

    assert as_nobody(pis, look, saved=0) == 0


@needs_root
def test_a_command_run_by_sudo_gets_into_directories_of_root(tmp_path: Path) -> None:
    """Node-RED may run as root, from /root."""
    before, new = a_pair(), a_pair()
    house = a_house(tmp_path / "root" / "of" / "it")
    house = House(house.home, replace(house.spec, directory=tmp_path / "state" / "live" / "it"))
    house.put(before)
    house.key.chmod(0o600)

    def look() -> None:
        with pytest.raises(PermissionError):
            house.home.stat()

    def publish() -> None:
        house.shelf.publish(new)
        last_good_is(house, before)

    tmp_path.chmod(0o711)
    (tmp_path / "root").chmod(0o700)
    assert as_nobody(house, look) == 0
    assert as_nobody(house, publish, saved=0) == 0
    assert house.pair() == new


@needs_root
def test_where_we_may_not_look_nothing_is_taken_for_granted(linked: House) -> None:
    """Without root's record, `sudo certwarden deploy` is asked for."""
    linked.home.chmod(0o000)

    def work() -> None:
        with pytest.raises(TargetError) as caught:
            linked.shelf.publish(a_pair())
        assert "sudo certwarden deploy home" in caught.value.hint
        assert linked.shelf.installed() is None

    assert as_nobody(linked, work) == 0


@needs_a_user
def test_a_closed_directory_is_told_with_the_command(house: House) -> None:
    """The same for whoever runs the tests, without changing users."""
    house.home.chmod(0o500)
    try:
        with pytest.raises(TargetError) as caught:
            house.shelf.publish(a_pair())
    finally:
        house.home.chmod(0o700)
    assert caught.value.hint == "run `sudo certwarden deploy home`"
