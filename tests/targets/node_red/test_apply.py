"""A settings.js is changed only as it was shown and tried out, and only by its owner."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.model import TargetSpec
from certwarden.targets.node_red import apply as module
from certwarden.targets.node_red import edit
from certwarden.targets.node_red.apply import has_our_lines, propose, propose_removal, put
from certwarden.targets.node_red.settings import https_line, identity_line, inspect
from tests.targets.node_red.conftest import NOBODY, Settings
from tests.targets.node_red.shapes import OVERRULED, REFUSED

STOCK = b"module.exports = {\n    uiPort: 1880,\n};\n"
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")


def held(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


# ── what is proposed ──────────────────────────────────────────────────────────────────────────────


def test_the_line_is_proposed_shown_and_put_there(settings: Settings, spec: TargetSpec) -> None:
    """Until it is put there nothing changes; afterwards there is a backup, and owner and mode."""
    file = settings(STOCK)
    before = file.stat()

    proposal = propose(file, spec)

    assert held(file.parent) == {"settings.js": STOCK}
    assert f"+    {https_line(spec)}," in proposal.diff
    assert proposal.remarks == ()
    backup = put(proposal)
    assert file.read_bytes() == edit.insert_line(STOCK, https_line(spec))
    assert backup.read_bytes() == STOCK
    assert re.fullmatch(r"settings\.js\.certwarden-\d{8}T\d{6}", backup.name)
    assert backup.stat().st_mode & 0o7777 == 0o600
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    found = inspect(file).https
    assert found is not None
    assert found.is_usable


def test_a_second_time_there_is_nothing_to_do(settings: Settings, spec: TargetSpec) -> None:
    """Nor where a person gave our module options of their own."""
    own = https_line(spec).replace(" }", ", pollSeconds: 3 }")
    file = settings(f"const s = [{{ {own} }}];\nmodule.exports = s[0];".encode())

    assert propose(file, spec).diff == ""


def test_flows_are_told_who_it_was(settings: Settings, guarded_spec: TargetSpec) -> None:
    """Where clients have certificates, there are two lines, and one does not move the other."""
    proposal = propose(settings(STOCK), guarded_spec)

    assert edit.our_lines(proposal.text) == (identity_line(), https_line(guarded_spec))
    assert proposal.remarks == ()


def test_another_middleware_is_left_alone(settings: Settings, guarded_spec: TargetSpec) -> None:
    """And that is said."""
    own = b"httpNodeMiddleware: (a, b, next) => next(),"
    proposal = propose(settings(STOCK.replace(b"uiPort", own + b" uiPort")), guarded_spec)

    assert own in proposal.text
    assert identity_line().encode() not in proposal.text
    assert "httpNodeMiddleware is there already" in proposal.remarks[0]


def test_a_middleware_from_elsewhere_is_left_alone(
    settings: Settings, guarded_spec: TargetSpec
) -> None:
    """Ours would win over one that a spread brings."""
    source = b"const b = { httpNodeMiddleware() {} };\nmodule.exports = { ...b };\n"
    proposal = propose(settings(source), guarded_spec)

    assert https_line(guarded_spec).encode() in proposal.text
    assert identity_line().encode() not in proposal.text
    assert proposal.remarks


def test_it_is_loaded_as_node_would(settings: Settings, spec: TargetSpec) -> None:
    """Where a package.json makes a module of it, Node-RED would not get what is exported."""
    file = settings(STOCK)
    (file.parent / "package.json").write_text('{"type": "module"}')

    with pytest.raises(TargetError, match="could not be run"):
        propose(file, spec)


def test_what_was_somebody_elses_is_replaced(settings: Settings, spec: TargetSpec) -> None:
    """An `https` that keeps Node-RED from starting is no obstacle; no secret is shown."""
    source = (
        b"const fs = require('fs');\nmodule.exports = {\n  credentialSecret: 'hush-1',\n"
        b"  https: {\n"
        b"    key: fs.readFileSync('/no/such/key.pem'),\n    pem: `-----BEGIN PRIVATE KEY-----\n"
        b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n`,\n"
        b'    passphrase: "hush-2",\n  },\n'
        b"  x: '$2b$08$zZWtXTja0fB1pzD4sHCMyOCMYz2Z6dNbM6tl8sJogENOMcxWV9DN.',\n};\n"
    )

    proposal = propose(settings(source), spec)

    assert b"hush-1" in proposal.text
    assert b"hush-2" not in proposal.text
    for secret in ("hush", "$2b$", "MIIE"):
        assert secret not in proposal.diff
        assert secret not in repr(proposal)
    assert "-    passphrase: …\n" in proposal.diff


def test_its_own_directory_is_where_it_is_tried(settings: Settings, spec: TargetSpec) -> None:
    """Relative names lead where they will lead, it has its own name, and nothing is left."""
    file = settings(
        b"const path = require('path');\n"
        b"if (path.basename(__filename) !== 'settings.js') throw new Error('who am I?');\n"
        b"module.exports = { ...require('./base'), uiPort: 1 };\n"
    )
    (file.parent / "base.js").write_text("module.exports = { https: { key: 1 } };")

    proposal = propose(file, spec)

    assert https_line(spec).encode() in proposal.text
    assert sorted(held(file.parent)) == ["base.js", "settings.js"]


@pytest.mark.parametrize("source", OVERRULED.values(), ids=OVERRULED)
def test_a_line_without_effect_is_refused(
    settings: Settings, spec: TargetSpec, source: bytes
) -> None:
    """What no parser sees is seen when it is run; then it is for a person to paste."""
    file = settings(source)

    with pytest.raises(TargetError, match="something else in it decides about `https`") as caught:
        propose(file, spec)

    assert https_line(spec) in caught.value.hint
    assert file.read_bytes() == source


@pytest.mark.parametrize("name", ["syntax error", "function call", "module"])
def test_what_is_refused_can_be_pasted(settings: Settings, spec: TargetSpec, name: str) -> None:
    """The hint has the lines."""
    source, why = REFUSED[name]

    with pytest.raises(TargetError, match=why) as caught:
        propose(settings(source), spec)

    assert https_line(spec) in caught.value.hint


def test_nothing_to_serve_is_no_improvement(settings: Settings, spec: TargetSpec) -> None:
    """Without a certificate, Node-RED would refuse everybody."""
    nothing_there = replace(spec, directory=spec.directory.with_name("empty"))

    with pytest.raises(TargetError, match="would have nothing to serve") as caught:
        propose(settings(STOCK), nothing_there)

    assert "certwarden deploy" in caught.value.hint
    assert propose(settings(STOCK), nothing_there, is_published=False).diff  # it will be


def test_more_than_https_must_not_change(settings: Settings, spec: TargetSpec) -> None:
    """A program that does something else once the line is there is not for us to change."""
    source = (
        b"const own = require('fs').readFileSync(0).toString();\n"
        b"const s = { uiPort: 1880 };\nif (s.https) s.uiPort = 1;\nmodule.exports = s;\n"
    )

    with pytest.raises(TargetError, match="more than `https` would be another"):
        propose(settings(source), spec)


DOCTOR = """
import os, sys
from pathlib import Path
from certwarden.targets.node_red.settings import inspect
os.setresuid(12345, 12345, 0)
print(inspect(Path(sys.argv[1])).ui_port)
"""


@needs_root
def test_who_kept_root_can_look(settings: Settings) -> None:
    """Such as the doctor: it is run as its owner all the same."""
    file = settings(b"if (process.getuid() !== 65534) throw 1;\n" + STOCK)

    done = subprocess.run(
        [sys.executable, "-c", DOCTOR, file], capture_output=True, text=True, check=True
    )

    assert done.stdout == "1880\n"


# ── what is put there ─────────────────────────────────────────────────────────────────────────────


def test_a_change_meanwhile_is_not_overwritten(settings: Settings, spec: TargetSpec) -> None:
    """What was agreed to is another file by now."""
    proposal = propose(settings(STOCK), spec)
    file = settings(STOCK + b"// mine\n")

    with pytest.raises(TargetError, match="changed meanwhile"):
        put(proposal)

    assert held(file.parent) == {"settings.js": STOCK + b"// mine\n"}


def test_no_backup_is_overwritten(
    settings: Settings, spec: TargetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one of the same second."""
    monkeypatch.setattr(module, "timedelta", lambda **_: module._EPOCH - module._EPOCH)
    proposal = propose(settings(STOCK), spec)

    backups = []
    for _ in range(3):
        backups.append(put(proposal))
        settings(STOCK)

    assert [path.name.rpartition("certwarden-")[2] for path in backups] == [
        "19700101T000000",
        "19700101T000000-2",
        "19700101T000000-3",
    ]


def test_a_link_stays(settings: Settings, spec: TargetSpec) -> None:
    """The file that it leads to is what is changed, and the backup is beside that."""
    file = settings(STOCK)
    real = file.parent / "config"
    real.mkdir()
    file.rename(real / "real.js")
    file.symlink_to("config/real.js")
    for path in (real, file):
        os.chown(path, file.parent.stat().st_uid, -1, follow_symlinks=False)

    backup = put(propose(file, spec))

    assert file.is_symlink()
    assert https_line(spec).encode() in (real / "real.js").read_bytes()
    assert backup.parent == real


def test_a_file_of_several_names_keeps_them(settings: Settings, spec: TargetSpec) -> None:
    """It is written in place."""
    file = settings(STOCK)
    other = file.with_name("other.js")
    other.hardlink_to(file)

    put(propose(file, spec))

    assert file.samefile(other)
    assert https_line(spec).encode() in file.read_bytes()


@needs_root
def test_a_group_that_is_not_the_owners_stays(settings: Settings, spec: TargetSpec) -> None:
    """A new file could not be given it, so the old one is written."""
    file = settings(STOCK)
    os.chown(file, NOBODY, 12345)
    number = file.stat().st_ino

    put(propose(file, spec))

    assert (file.stat().st_ino, file.stat().st_gid) == (number, 12345)
    assert https_line(spec).encode() in file.read_bytes()


def test_read_only_is_respected(settings: Settings, spec: TargetSpec) -> None:
    """A sentence, and nothing has changed."""
    file = settings(STOCK)
    file.chmod(0o440)

    with pytest.raises(TargetError, match="is read-only"):
        put(propose(file, spec))

    assert held(file.parent) == {"settings.js": STOCK}


def test_without_a_place_for_the_backup_nothing_is_done(
    settings: Settings, spec: TargetSpec
) -> None:
    """A directory in which its owner may make no files."""
    file = settings(STOCK)
    file.parent.chmod(0o555)
    if os.geteuid() == 0:
        os.chown(file.parent, 0, 0)

    with pytest.raises(TargetError, match=r"cannot be changed: Permission denied"):
        put(propose(file, spec))

    file.parent.chmod(0o755)
    assert held(file.parent) == {"settings.js": STOCK}


MOUNTED = """
import sys
from pathlib import Path
from certwarden.model import TargetSpec
from certwarden.targets.node_red.apply import propose, put
from tests.builders import a_target_spec
file = Path(sys.argv[1])
print(put(propose(file, a_target_spec(directory=file.with_name("live")))))
"""


@needs_root
def test_a_file_that_is_mounted_by_itself(settings: Settings, spec: TargetSpec) -> None:
    """As in a container: it has no other name, so it is written in place."""
    file = settings(b"// mounted over\n")
    mounted = spec.directory.with_name("host-settings.js")
    mounted.write_bytes(STOCK)
    os.chown(mounted, NOBODY, NOBODY)
    mount = f'mount --bind "{mounted}" "{file}" || exit 77; exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", MOUNTED]

    done = subprocess.run([*command, file], capture_output=True, text=True, check=False)

    if done.returncode in (1, 77) and "Operation not permitted" in done.stderr:
        pytest.skip("nothing can be mounted here")
    assert done.returncode == 0, done.stderr
    assert https_line(spec).encode() in mounted.read_bytes()
    assert Path(done.stdout.strip()).read_bytes() == STOCK
    assert file.read_bytes() == b"// mounted over\n"


@needs_root
def test_roots_settings_are_run_as_the_user_that_is_named(
    settings: Settings, spec: TargetSpec
) -> None:
    """Root writes what is root's, and runs none of it."""
    file = settings(b"if (process.getuid() === 0) throw new Error('root!');\n" + STOCK)
    for path in (file, file.parent):
        os.chown(path, 0, 0)
    file.chmod(0o644)

    with pytest.raises(TargetError, match="not run as root"):
        propose(file, spec)
    put(propose(file, spec, user="nobody", is_named=True))

    assert https_line(spec).encode() in file.read_bytes()
    assert (file.stat().st_uid, file.stat().st_mode & 0o7777) == (0, 0o644)


@needs_root
@pytest.mark.parametrize("is_named", [False, True])
def test_root_changes_no_file_that_only_another_has_named(
    settings: Settings, spec: TargetSpec, *, is_named: bool
) -> None:
    """Node-RED's user says which file it reads, and that may be root's, or a third one's."""
    file = settings(STOCK)
    file.chmod(0o644)
    owner, whose = (1, "to user 1") if is_named else (0, "to root, and the command line")
    for path in (file, file.parent):
        os.chown(path, owner, owner)

    with pytest.raises(TargetError, match=f"runs as nobody, but it belongs {whose}") as caught:
        propose(file, spec, user="nobody", is_named=is_named)
    with pytest.raises(TargetError, match="runs as nobody, but it belongs"):
        propose_removal(file, user="nobody", is_named=is_named)

    assert https_line(spec) in caught.value.hint
    assert held(file.parent) == {"settings.js": STOCK}


@needs_root
def test_another_owner_since_is_another_file(settings: Settings, spec: TargetSpec) -> None:
    """What was agreed to was to be written by somebody else."""
    proposal = propose(settings(STOCK), spec)
    for path in (proposal.settings, proposal.settings.parent):
        os.chown(path, 0, 0)

    with pytest.raises(TargetError, match="changed meanwhile"):
        put(proposal)

    assert held(proposal.settings.parent) == {"settings.js": STOCK}


@pytest.mark.parametrize("names", [1, 2])
def test_a_link_that_comes_in_between_is_not_followed(
    settings: Settings, spec: TargetSpec, monkeypatch: pytest.MonkeyPatch, names: int
) -> None:
    """What is written is what was looked at, or nothing."""
    file = settings(STOCK)
    if names > 1:
        file.with_name("other.js").hardlink_to(file)
    victim = file.with_name("victim")
    victim.write_bytes(b"victim")
    os.chown(victim, file.parent.stat().st_uid, -1)
    proposal = propose(file, spec)
    back_up = module._back_up

    def swap(path: Path, original: bytes) -> Path:
        backup = back_up(path, original)
        path.unlink()
        path.symlink_to("victim")
        return backup

    monkeypatch.setattr(module, "_back_up", swap)
    with pytest.raises(TargetError, match="changed meanwhile"):
        put(proposal)

    assert victim.read_bytes() == b"victim"
    assert file.is_symlink()


def test_a_path_is_told_in_one_line(settings: Settings, spec: TargetSpec) -> None:
    """Its owner chooses the name that a link leads to."""
    file = settings(STOCK)
    file.chmod(0o440)
    file.rename(file.with_name("real\x1b[2J\n.js"))
    file.symlink_to("real\x1b[2J\n.js")
    os.chown(file, file.parent.stat().st_uid, -1, follow_symlinks=False)

    with pytest.raises(TargetError, match="is read-only") as caught:
        put(propose(file, spec))

    assert caught.value.what.isprintable()


def test_too_many_lines_are_refused(settings: Settings, spec: TargetSpec) -> None:
    """Whoever wrote them would keep us busy with them."""
    file = settings(STOCK + b"\n" * 5000)

    with pytest.raises(TargetError, match="more than 5000 lines") as caught:
        propose(file, spec)

    assert https_line(spec) in caught.value.hint


@needs_root
@pytest.mark.parametrize(("user", "why"), [("root", "runs as root"), ("no-one", "is no user")])
def test_not_every_user_will_do(settings: Settings, spec: TargetSpec, user: str, why: str) -> None:
    """Root is nobody to try programs as."""
    with pytest.raises(TargetError, match=why):
        propose(settings(STOCK), spec, user=user)


@needs_root
def test_a_link_to_what_is_not_the_owners_is_not_written(
    settings: Settings, spec: TargetSpec, tmp_path: Path
) -> None:
    """Whoever owns the directory cannot have root write elsewhere."""
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    target = tmp_path / "important.js"
    target.write_bytes(STOCK)
    target.chmod(0o644)
    file = settings(b"")
    file.unlink()
    file.symlink_to(target)
    os.chown(file, NOBODY, NOBODY, follow_symlinks=False)

    with pytest.raises(TargetError):
        put(propose(file, spec))

    assert target.read_bytes() == STOCK


# ── and taken out ─────────────────────────────────────────────────────────────────────────────────

BEFORE = {
    "stock": STOCK,
    "with https": b"module.exports = {\n  uiPort: 1, https: { key: 1 }, // mine\n};\n",
    "spread": b"const b = { https: { key: 2 } };\nmodule.exports = { ...b };\n",
}


@pytest.mark.parametrize("source", BEFORE.values(), ids=BEFORE)
def test_the_backup_comes_back(settings: Settings, guarded_spec: TargetSpec, source: bytes) -> None:
    """What certwarden's lines were put into is put back, whatever they replaced."""
    file = settings(source)
    put(propose(file, guarded_spec))

    removal = propose_removal(file)

    assert removal.text == source
    put(removal)
    assert file.read_bytes() == source
    assert propose_removal(file).diff == ""


def test_what_was_changed_since_stays(settings: Settings, spec: TargetSpec) -> None:
    """Then only our line is taken out."""
    file = settings(STOCK)
    put(propose(file, spec))
    settings(file.read_bytes().replace(b"1880", b"1881"))

    assert propose_removal(file).text == STOCK.replace(b"1880", b"1881")


def test_whether_it_is_ours_at_all(settings: Settings, spec: TargetSpec) -> None:
    """Also where no line could be put in or taken out, and where another file has the line."""
    line = https_line(spec)
    file = settings(f"module.exports = {{ {line} }};".encode())
    theirs = file.rename(file.with_name("real.js"))
    wrapped = line.replace("https: ", "https: (each => each)(")
    for source in (STOCK, STOCK + b"\n" * 6000, *(REFUSED[each][0] for each in ("new", "JSON"))):
        assert not has_our_lines(settings(source))
    for text in (f"module.exports = {{ {line} }};", f"module.exports = {{ {wrapped}) }};"):
        assert has_our_lines(settings(text.encode()))
    assert has_our_lines(settings(b"module.exports = require('./real');"))
    theirs.unlink()
    with pytest.raises(TargetError, match="cannot be read"):
        has_our_lines(theirs)


def test_what_would_remain_is_refused(settings: Settings, spec: TargetSpec) -> None:
    """A wrapped line is a person's own."""
    own = https_line(spec).replace("https: ", "https: (each => each)(")
    file = settings(f"module.exports = {{ {own}) }};".encode())

    with pytest.raises(TargetError, match="in another way than ours") as caught:
        propose_removal(file)

    assert "by hand" in caught.value.hint
