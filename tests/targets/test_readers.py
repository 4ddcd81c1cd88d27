"""Who reads a target's files, and whether he may."""

import os
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.targets.readers import (
    Reader,
    ask_units,
    can_read,
    may_read,
    members,
    reader_of_owner,
    reader_of_process,
    reader_of_user,
)

NOBODY = 65534
STRANGER = Reader("stranger", 4242, 4242, frozenset({4242}))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >"$0.asked"
cat <<END
Id=nodered.service
User=pi
Group=
SupplementaryGroups=tls-red video
LoadState=loaded
ActiveState=active
CanReload=no
MainPID=4711
END
"""


@pytest.fixture
def open_way(tmp_path: Path) -> Path:
    """A directory that everybody may enter, as are those on the way to it."""
    for each in (tmp_path, *tmp_path.parents[:-1]):
        if each.stat().st_uid == os.geteuid():
            each.chmod(each.stat().st_mode | 0o011)
    return tmp_path


def test_modes_let_in_owner_group_and_others_in_this_order(open_way: Path) -> None:
    """The owner's right counts for the owner, even where others have more."""
    file = open_way / "key.pem"
    file.touch()
    me = Reader("me", file.stat().st_uid or 1, 1, frozenset({1}))
    member = Reader("member", 4242, 4242, frozenset({file.stat().st_gid}))
    for mode, expected in ((0o640, [True, False]), (0o600, [False, False]), (0o604, [False, True])):
        file.chmod(mode)
        assert [may_read(file, member), may_read(file, STRANGER)] == expected
    if file.stat().st_uid:
        file.chmod(0o044)
        assert may_read(file, me) is False


def test_the_way_counts_as_much_as_the_file_and_links_are_followed(open_way: Path) -> None:
    """A readable file behind a closed door is not readable, by whatever name."""
    room = open_way / "room"
    room.mkdir()
    file, link = room / "key.pem", open_way / "link"
    file.touch(mode=0o644)
    link.symlink_to(file)
    assert may_read(link, STRANGER) is True
    room.chmod(0o700)
    assert may_read(link, STRANGER) is False
    assert may_read(link, Reader("root", 0, 0, frozenset())) is True
    assert may_read(open_way / "nothing", STRANGER) is False


@needs_root
def test_root_lets_a_child_try(open_way: Path) -> None:
    """The child is that user in everything, and says what it could open."""
    key, public = open_way / "key.pem", open_way / "cert.pem"
    key.touch(mode=0o600)
    public.touch(mode=0o644)
    nobody = reader_of_user(str(NOBODY))
    assert nobody is not None
    assert can_read([key, public], nobody) == [False, True]


@needs_root
def test_a_process_from_before_its_group_is_not_tried(open_way: Path) -> None:
    """A child would be in the group, and would show nothing of the process."""
    nobody = reader_of_user(str(NOBODY))
    assert nobody is not None
    before = Reader(nobody.name, nobody.uid, nobody.gid, frozenset())
    assert can_read([open_way], before) is None


def test_a_process_tells_who_it_is() -> None:
    """With the groups that it has now."""
    me = reader_of_process(os.getpid())
    assert me is not None
    assert (me.uid, me.gid) == (os.geteuid(), os.getegid())
    assert me.groups == {*os.getgroups(), os.getegid()}
    assert reader_of_process(2**22 + 1) is None


def test_users_are_known_by_name_and_number(tmp_path: Path) -> None:
    """As systemd has them; who is not known is nobody's guess."""
    root = reader_of_user("root")
    assert root is not None
    assert root == reader_of_user("0")
    assert reader_of_user("no-such-user") is None
    assert reader_of_user("root", "no-such-group") is None
    owner = reader_of_owner(tmp_path)
    assert owner is not None
    assert "root" in members("root")
    assert members("no-such-group") == frozenset()


def test_a_unit_tells_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one question."""
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    facts = ask_units(["nodered.service"])["nodered.service"]
    assert (facts.load, facts.active, facts.can_reload) == ("loaded", "active", False)
    assert (facts.user, facts.group, facts.main_pid) == ("pi", "", 4711)
    assert facts.supplementary_groups == ("tls-red", "video")
    asked = (tmp_path / "systemctl.asked").read_text()
    assert asked.startswith("show ")
    assert asked.rstrip().endswith("-- nodered.service")


def test_without_systemd_there_is_nobody_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is said; so is a systemctl that fails, or says nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="no systemctl"):
        ask_units(["x.service"])
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\necho not booted\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(TargetError, match="not booted"):
        ask_units(["x.service"])
    program.write_text("#!/bin/sh\n")
    with pytest.raises(TargetError, match="does not tell about"):
        ask_units(["x.service"])


def test_all_units_are_asked_for_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemd that hangs costs one time limit, not one for each; an alias is told by its name."""
    told = "Id=%s.service\nNames=%s.service%s\nLoadState=loaded\n\n"
    blocks = told % ("mariadb", "mariadb", " mysql.service") + told % ("nginx", "nginx", "")
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\necho asked >>$0.asked\ncat <<END\n{blocks}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    facts = ask_units(["mysql.service", "nginx.service"])
    assert {name: each.load for name, each in facts.items()} == {
        "mysql.service": "loaded",
        "nginx.service": "loaded",
    }
    assert (tmp_path / "systemctl.asked").read_text() == "asked\n"
    assert ask_units([]) == {}
