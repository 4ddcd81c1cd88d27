"""What settings.js says is found out within limits, and believed no further than it can be."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certwarden.errors import TargetError
from certwarden.targets import foreign
from certwarden.targets.node_red import settings as module
from certwarden.targets.node_red.settings import (
    Inspection,
    client_auth_contradiction,
    inspect,
    read_inspection,
    snippet,
)
from certwarden.targets.process import Identity, Limits
from certwarden.targets.shelf import GenerationShelf
from tests.builders import a_pair, a_target_spec
from tests.targets.trust import SmallAuthority

NOBODY = 65534
SETTINGS = Path("/somewhere/settings.js")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of Node-RED's user: of nobody, where root runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
        for parent in (tmp_path, *tmp_path.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o011)
    return home


def a_settings_file(home: Path, program: str) -> Path:
    path = home / "settings.js"
    path.write_text(program)
    return path


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A place for a script in node's stead."""
    path = tmp_path / "node"
    tmp_path.chmod(0o755)
    return path


def fake_node(node: Path, script: str) -> Path:
    node.write_text(f"#!/bin/sh\n{script}\n")
    node.chmod(0o755)
    return node


# ── with a real node ──────────────────────────────────────────────────────────────────────────────


@needs_node
def test_https_is_reported_with_its_files(home: Path) -> None:
    """Where key and certificate were read from, and which leaf would be served."""
    pair = a_pair()
    (home / "k.pem").write_bytes(pair.key_pem.reveal())
    (home / "c.pem").write_bytes(pair.fullchain_pem)
    program = f"""const fs = require("fs"); module.exports = {{ uiPort: 1880, https: {{
        key: fs.readFileSync("{home}/k.pem"), cert: fs.readFileSync("{home}/c.pem") }} }};"""

    found = inspect(a_settings_file(home, program))

    assert found.error is None
    assert found.ui_port == "1880"
    https = found.https
    assert https is not None
    assert (https.kind, https.is_usable, https.certwarden) == ("object", True, None)
    assert [file.path for file in https.key_files] == [str(home / "k.pem")]
    assert [file.path for file in https.certificate_files] == [str(home / "c.pem")]
    assert https.leaf is not None
    assert https.leaf.fingerprint == pair.certificate.fingerprint


@needs_node
@pytest.mark.parametrize("client_auth", [False, True])
def test_the_snippet_is_recognised(home: Path, *, client_auth: bool) -> None:
    """What `snippet` prints works when pasted, and shows as certwarden's."""
    live = home / 'live "quoted" directory'
    spec = replace(a_target_spec(directory=live), client_auth=client_auth)
    GenerationShelf(spec).publish(a_pair(), SmallAuthority().trust())
    for path in (live, *live.rglob("*")):
        os.chown(path, home.stat().st_uid, home.stat().st_gid, follow_symlinks=False)

    found = inspect(a_settings_file(home, f"module.exports = {{\n{snippet(spec)}}};"))

    assert found.error is None
    assert found.https is not None
    assert found.https.certwarden is not None
    assert found.https.certwarden.live == str(live)
    assert found.https.certwarden.client_auth is client_auth
    assert found.https.is_usable
    assert client_auth_contradiction(found, spec) == ""


@needs_node
@pytest.mark.parametrize("program", ["module.exports = {", "throw new Error('no')", ""])
def test_a_broken_settings_file_is_an_answer(home: Path, program: str) -> None:
    """The mistake is named; it is not ours."""
    found = inspect(a_settings_file(home, program))

    assert found.https is None or found.https.kind == "absent"
    assert found.error is not None or program == ""


@needs_node
def test_an_absent_settings_file_is_told(home: Path) -> None:
    """Nothing is run."""
    try:
        found = inspect(home / "settings.js")
    except TargetError as error:
        assert "settings.js" in error.what  # noqa: PT017  one of two ways
    else:
        assert found.error is not None


@needs_node
def test_nothing_secret_reaches_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program sees a few harmless variables, and the home of its user."""
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "not-for-you")
    seen = home / "seen"
    program = f"""require("fs").writeFileSync("{seen}", JSON.stringify(process.env));
        module.exports = {{}};"""

    inspect(a_settings_file(home, program))

    assert "not-for-you" not in seen.read_text()
    assert "HOME" in json.loads(seen.read_text())


@needs_node
@needs_root
def test_root_runs_it_as_its_owner(home: Path) -> None:
    """Of whomever the way to it belongs; nothing of root's remains."""
    seen = home / "seen"
    program = f"""require("fs").writeFileSync("{seen}", JSON.stringify(
        [process.getuid(), process.geteuid(), process.getgid(), process.getgroups()]));
        module.exports = {{}};"""

    inspect(a_settings_file(home, program))

    uid, euid, gid, groups = json.loads(seen.read_text())
    assert (uid, euid, gid) == (NOBODY, NOBODY, NOBODY)
    assert set(groups) <= {NOBODY}


@needs_root
def test_roots_own_settings_are_refused(tmp_path: Path) -> None:
    """A program is not run as root; the right command is told."""
    settings = tmp_path / "settings.js"
    settings.write_text("module.exports = {}")

    with pytest.raises(TargetError, match="not run as root") as caught:
        inspect(settings)

    assert f"sudo -u USER certwarden nodered inspect {settings}" in caught.value.hint


@needs_root
def test_another_users_program_is_not_run_with_our_rights(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is not root runs his own settings.js, and what another has written not at all."""
    settings = home / "settings.js"
    settings.write_text("module.exports = {};")
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(foreign, "is_root", lambda: False)
    monkeypatch.setattr(foreign, "owner_of", lambda _: Identity(4321, 4321))
    with pytest.raises(TargetError, match="belongs to another user") as caught:
        inspect(settings)
    assert "sudo certwarden" in caught.value.hint


def test_a_link_does_not_choose_the_user(home: Path, tmp_path: Path) -> None:
    """Somebody's link to another's program would run that as the other: it runs as the linker."""
    other = tmp_path / "other"
    other.mkdir()
    program = a_settings_file(other, "module.exports = {}")
    os.chown(other, 4711, 4711)
    (home / "settings.js").symlink_to(program)

    found = module._identity_for(home / "settings.js")
    assert found is not None
    assert (found.uid, found.gid) == (NOBODY, NOBODY)


# ── with something else in its place ──────────────────────────────────────────────────────────────


def test_a_program_without_end_is_killed(
    home: Path, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inspection has limits of its own; should they fail, there are ours."""
    monkeypatch.setattr(module, "INSPECTION_LIMITS", Limits(seconds=0.3, output=1000))

    with pytest.raises(TargetError, match="did not come to an end"):
        inspect(a_settings_file(home, ""), node=fake_node(node, "sleep 1000"))


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "echo '[]'",
        "echo 'no JSON'",
        "head -c 5000000 /dev/zero",
        "yes '[' | tr -d '\\n' | head -c 60000",
    ],
)
def test_what_is_no_answer_is_told(home: Path, node: Path, script: str) -> None:
    """Neither its length nor its depth does any harm."""
    with pytest.raises(TargetError, match="came to nothing"):
        inspect(a_settings_file(home, ""), node=fake_node(node, script))


def test_an_absent_node_is_told(home: Path) -> None:
    """By the name that was given."""
    with pytest.raises(TargetError, match="/nonexistent/node"):
        inspect(a_settings_file(home, ""), node=Path("/nonexistent/node"))


# ── the answer ────────────────────────────────────────────────────────────────────────────────────

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    float("nan"),
    float("inf"),
    "\x1b]0;owned\x07 \u202e",
    "x" * 100_000,
    [],
    [[[]]],
    [{"path": 1}, {"path": "\x1b[2J"}] * 1000,
    {},
    {"files": {"path": "x"}},
    {"live": [], "names": "x", "key": 1},
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_values_of_the_wrong_kind_are_left_out(hostile: object) -> None:
    """At every place of the answer: nothing raises, and nothing gets at a terminal."""
    inner = dict.fromkeys(("files", "live", "error", "names", "not_after", "path"), hostile)
    https = dict.fromkeys(("kind", "error", "usable", "unusable_because", "request_cert"), hostile)
    for name in ("items", "certwarden", "leaf"):
        for value in (hostile, inner, {"key": inner, "cert": hostile}):
            found = read_inspection(SETTINGS, {"https": {**https, name: value}})
            assert_clean(found)
    names = ("error", "node", "https", "https_refresh_interval", "ui_host", "ui_port", "uibuilder")
    assert_clean(read_inspection(SETTINGS, dict.fromkeys((*names, "blocked"), hostile)))


def assert_clean(found: Inspection) -> None:
    assert repr(found).isprintable()
    assert "\\x1b" not in repr(found)
    assert len(repr(found)) < 60_000


def test_the_uibuilder_trap_is_reported() -> None:
    """A function for `https` leaves uibuilder's own server without a certificate, silently."""
    answer = {"https": {"kind": "function"}, "uibuilder": {"without_certificate": True}}

    assert read_inspection(SETTINGS, answer).uibuilder_without_certificate


@pytest.mark.parametrize(
    ("https", "client_auth", "said"),
    [
        ({"kind": "absent"}, True, ""),
        ({"kind": "object", "request_cert": True}, True, ""),
        ({"kind": "object", "request_cert": True}, False, ""),
        ({"kind": "object"}, True, "asks nobody for a certificate"),
        ({"kind": "object", "certwarden": {"client_auth": False}}, True, "asks nobody"),
        ({"kind": "object", "certwarden": {"client_auth": False}}, False, ""),
        ({"kind": "object", "certwarden": {"client_auth": True}}, False, "nobody gets in"),
    ],
)
def test_settings_and_configuration_must_agree_on_client_certificates(
    https: dict[str, Any], *, client_auth: bool, said: str
) -> None:
    """Else everybody gets in, or nobody; what is somebody's own is left to him."""
    spec = replace(a_target_spec(), client_auth=client_auth)

    found = client_auth_contradiction(read_inspection(SETTINGS, {"https": https}), spec)

    assert found == "" if not said else said in found


# ── the line ──────────────────────────────────────────────────────────────────────────────────────


def test_the_snippet_names_the_packaged_module() -> None:
    """The file is there, and the line says where; odd characters are escaped."""
    text = snippet(a_target_spec(directory=Path('/var/lib/a "b"\u2028')))

    line = text.splitlines()[-1]
    path = line.partition('require("')[2].partition('"')[0]
    assert Path(path).is_file()
    assert line.endswith('({ live: "/var/lib/a \\"b\\"\\u2028" }),')


def test_the_snippet_asks_for_client_certificates(home: Path) -> None:
    """Where the target does: then flows are told whose they are, and nothing else changes."""
    spec = replace(a_target_spec(directory=home), client_auth=True)

    lines = snippet(spec).splitlines()

    code = [line for line in lines if not line.startswith("//")]
    assert code[0].endswith(f'({{ live: "{home}", clientAuth: true }}),')
    assert [line.partition(":")[0] for line in code] == ["https", "httpNodeMiddleware"]
    for line in lines:
        for path in line.split('"')[1::2]:
            assert Path(path).exists()
