"""inspect.js: what it finds out about a settings.js, and what it lets that do (nothing)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import material
from .material import Live, Pair
from .programs import HOT, INSPECT, as_nobody, copy_modules, node

SAMPLE_HASH = "$2a$08$zZWtXTja0fB1pzD4sHCMyOCMYz2Z6dNbM6tl8sJogENOMcxWV9DN."
Inspect = Callable[..., dict[str, Any]]


@pytest.fixture
def pair(place: Path) -> Pair:
    """A certificate and its key in files that the tests' settings.js read."""
    made = material.server()
    (place / "key.pem").write_bytes(made.key_pem)
    (place / "key.pem").chmod(0o644)
    (place / "cert.pem").write_bytes(made.pem)
    return made


def run(place: Path, settings: Path, major: int = 22) -> subprocess.CompletedProcess[str]:
    modules = copy_modules(place)
    program = node(major)
    if not all(parent.stat().st_mode & 0o001 for parent in program.resolve().parents):
        program = Path(shutil.copy(program, place / "node"))  # a checkout in root's home
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [program, modules / INSPECT.name, settings],
        cwd=place,
        env={"PATH": os.environ["PATH"], "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **as_nobody(),  # type: ignore[call-overload]
    )
    return done


@pytest.fixture
def inspect(place: Path, pair: Pair) -> Inspect:
    """Writes a settings.js, inspects it, and checks what holds for every inspection."""

    def look(settings: str, *, major: int = 22, name: str = "settings.js") -> dict[str, Any]:
        (place / name).write_text(settings)
        done = run(place, place / name, major)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert len(done.stdout) <= 64 * 1024 + 1
        for secret in (SAMPLE_HASH, "open sesame", *pair.key_pem.decode().split("\n")[1:3]):
            assert secret not in done.stdout
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return look


WAYS = {
    "object": "{ key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') }",
    "strings": "{ key: fs.readFileSync('key.pem', 'utf8').trim(),"
    " cert: [String(fs.readFileSync('cert.pem'))] }",
    "function": "() => ({ key: readFileSync('key.pem'), cert: readFileSync('cert.pem') })",
    "promise": "(async () => ({ key: await promises.readFile('key.pem'),"
    " cert: readFileSync('cert.pem') }))()",
    "function-returning-promise": "async () => ({"
    " key: await util.promisify(fs.readFile)('key.pem'),"
    " cert: await new Promise((done) => fs.readFile('cert.pem', 'latin1', (e, c) => done(c))) })",
}


@pytest.mark.parametrize("major", [18, 20, 22])
@pytest.mark.parametrize(("way", "expression"), WAYS.items(), ids=WAYS)
def test_where_key_and_certificate_come_from(
    place: Path, pair: Pair, inspect: Inspect, *, way: str, expression: str, major: int
) -> None:
    """However https is given and read: which files it comes from, and that they would work."""
    found = inspect(
        "const fs = require('fs'); const { readFileSync, promises } = require('node:fs');"
        f"const util = require('util'); module.exports = {{ https: {expression} }};",
        major=major,
    )["https"]
    assert found["kind"] == ("object" if way == "strings" else way)
    assert found["error"] is None
    assert found["usable"] is True
    assert found["certwarden"] is None
    for item, name in (("key", "key.pem"), ("cert", "cert.pem")):
        (file,) = found["items"][item]["files"]
        info = (place / name).stat()
        assert file == {
            "path": str(place / name),
            "realpath": str((place / name).resolve()),
            "mode": "0644",
            "uid": info.st_uid,
            "gid": info.st_gid,
        }
    assert found["leaf"]["names"] == ["home.example.org"]
    assert found["leaf"]["fingerprint_sha256"] == pair.fingerprint
    assert found["passphrase"] is False
    assert found["request_cert"] is False


def test_files_put_together(place: Path, inspect: Inspect, authority: Pair) -> None:
    """A chain pasted together from two files is told as two files."""
    (place / "chain.pem").write_bytes(authority.pem)
    found = inspect(
        "const read = require('fs').readFileSync; module.exports = { https: { key: read('key.pem'),"
        "cert: read('cert.pem', 'utf8') + read('chain.pem', 'utf8'), ca: [read('chain.pem')],"
        "crl: '', requestCert: true, rejectUnauthorized: false, passphrase: 'open sesame' } };"
    )["https"]
    names = [Path(file["path"]).name for file in found["items"]["cert"]["files"]]
    assert names == ["cert.pem", "chain.pem"]
    assert found["items"]["cert"]["blocks"] == 2
    assert found["items"]["crl"] == {"parts": 1, "blocks": 0, "empty": True, "files": []}
    assert found["items"]["pfx"] is None
    assert (found["passphrase"], found["request_cert"]) == (True, True)
    assert found["reject_unauthorized"] is False


@pytest.mark.parametrize("client_auth", [False, True])
def test_our_own_module_is_recognised(
    live: Live, inspect: Inspect, authority: Pair, *, client_auth: bool
) -> None:
    """Settings that use hot.js are told with their live directory; looking leaves no trace."""
    pair = material.server()
    live.publish(live.files(pair, authority))
    options = json.dumps({"live": str(live.directory), "clientAuth": client_auth})
    found = inspect(
        f"module.exports = {{ https: require({json.dumps('./' + HOT.name)})({options}) }};"
    )["https"]
    assert found["kind"] == "object"
    origin = {"live": str(live.directory), "client_auth": client_auth, "error": None}
    assert found["certwarden"] == origin
    assert found["usable"] is True
    assert found["leaf"]["fingerprint_sha256"] == pair.fingerprint
    assert found["request_cert"] is client_auth
    (file,) = found["items"]["key"]["files"]
    assert file["realpath"] == str((live.directory / "generations/0001/privkey.pem").resolve())
    assert (found["items"]["crl"] is not None) is client_auth
    assert list((live.directory / "loaded").iterdir()) == []


def test_our_own_module_with_a_wrong_option(inspect: Inspect) -> None:
    """A misspelt option of hot.js is told as its error."""
    found = inspect("module.exports = { https: require('./hot.js')({ life: '/x' }) };")["https"]
    assert 'no option "life"' in found["certwarden"]["error"]
    assert found["usable"] is False


def test_the_rest_of_the_settings(inspect: Inspect) -> None:
    """Everything that doctor judges by, and no secret."""
    found = inspect(f"""module.exports = {{
        uiHost: "127.0.0.1", uiPort: process.env.PORT || 1880,
        httpAdminRoot: "/admin", httpNodeRoot: false,
        requireHttps: true, httpsRefreshInterval: 12, credentialSecret: "open sesame",
        https: () => ({{ key: 1 }}),
        adminAuth: {{ type: "credentials", default: {{ permissions: "*" }},
            users: [{{ username: "admin", password: "{SAMPLE_HASH}", permissions: "*" }}] }},
        httpNodeAuth: {{ user: "user", pass: "{SAMPLE_HASH}" }},
        httpStaticAuth: {{ user: "user", pass: "open sesame" }},
        uibuilder: {{ port: 3001, customType: "https" }},
    }};""")
    assert found["ui_host"] == "127.0.0.1"
    assert found["ui_port"] == 1880
    assert (found["http_admin_root"], found["http_node_root"]) == ("/admin", False)
    assert found["require_https"] is True
    assert found["https_refresh_interval"] == 12
    assert found["admin_auth"] == {
        "kind": "credentials",
        "users": 1,
        "default_permissions": "*",
        "everyone_may_do_everything": True,
        "sample_password": True,
    }
    assert found["http_node_auth"] == {"set": True, "sample_password": True}
    assert found["http_static_auth"] == {"set": True, "sample_password": False}
    assert found["uibuilder"]["own_server"] is True
    assert found["uibuilder"]["without_certificate"] is True
    assert found["https"]["kind"] == "function"
    assert found["https"]["usable"] is False
    assert found["disable_editor"] is False
    assert found["exports"][:3] == ["uiHost: string", "uiPort: number", "httpAdminRoot: string"]


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$", "$2x$", "$2$"])
def test_the_sample_by_another_name(inspect: Inspect, prefix: str) -> None:
    """bcrypt's versions have several names for the same hash."""
    found = inspect(
        "module.exports = { disableEditor: 1, httpStaticAuth:"
        f" {{ user: 'user', pass: '{SAMPLE_HASH.replace('$2a$', prefix)}' }} }};"
    )
    assert found["http_static_auth"]["sample_password"] is True
    assert found["disable_editor"] is True


def test_nothing_set(inspect: Inspect) -> None:
    """The default settings.js: no TLS, no login, nothing of uibuilder."""
    found = inspect("module.exports = {};")
    assert found["https"] == {"kind": "absent", "error": None, "tls": False, "certwarden": None}
    assert found["admin_auth"] == {"kind": "none"}
    assert found["uibuilder"] is None
    assert found["blocked"] == []


UNUSABLE = {
    "mismatch": ("{ key: read('other.pem'), cert: read('cert.pem') }", "mismatch"),
    "no key": ("{ cert: read('cert.pem') }", "there is no key"),
    "no certificate": ("{}", "there is no certificate"),
    "path instead of content": ("{ key: 'key.pem', cert: 'cert.pem' }", "no start line"),
    "key for certificate": ("{ key: read('key.pem'), cert: read('key.pem') }", "no start line"),
    "garbage list": ("{ key: read('key.pem'), cert: read('cert.pem'), crl: 'x' }", "CRL"),
}


@pytest.mark.parametrize(("expression", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_node_would_not_serve_with(
    place: Path, inspect: Inspect, expression: str, why: str
) -> None:
    """A pair that Node-RED would stop over (with exit 0) is told beforehand, in a sentence."""
    (place / "other.pem").write_bytes(material.server().key_pem)
    found = inspect(
        f"const read = require('fs').readFileSync; module.exports = {{ https: {expression} }};"
    )["https"]
    assert found["usable"] is False
    assert why in found["unusable_because"]


FAILING = {
    "syntax error": ("module.exports = {\n a: 1\n b: 2 };", "settings.js:3: Unexpected identifier"),
    "throws": ("throw new Error('no\\nsecond line')", "no"),
    "throws nothing": ("throw undefined", "it failed without a message"),
    "throws null-prototype": ("throw Object.create(null)", "it failed without a message"),
    "missing module": ("require('node-red-contrib-x')", "Cannot find module 'node-red-contrib-x'"),
    "missing file": ("require('fs').readFileSync('/no/such')", "ENOENT"),
    "no object": ("module.exports = 5", "settings.js exports no object"),
    "exit": ("process.exit(3)", "process.exit is blocked"),
    "key as a path": (
        "require('fs').readFileSync(require('fs').readFileSync('key.pem', 'utf8'))",
        "ENOENT",
    ),
}


@pytest.mark.parametrize(("settings", "why"), FAILING.values(), ids=FAILING)
def test_broken_settings_end_in_a_sentence(inspect: Inspect, settings: str, why: str) -> None:
    """Exit 0 and {"error": …}: one line, whatever the program does."""
    error = inspect(settings)["error"]
    assert why in error
    assert "\n" not in error


def test_missing_settings(place: Path) -> None:
    """A path with nothing there, and no path at all."""
    assert "there is no" in json.loads(run(place, place / "none.js").stdout)["error"]


def test_https_that_throws(inspect: Inspect) -> None:
    """A function that fails is told as such, and the rest is still reported."""
    found = inspect("module.exports = { uiPort: 1, https() { throw new Error('no key') } };")
    assert found["https"]["kind"] == "function"
    assert found["https"]["error"] == "no key"
    assert found["ui_port"] == 1


def test_a_promise_that_never_settles(inspect: Inspect) -> None:
    """It does not hold the inspection up."""
    settings = "module.exports = { https: new Promise(() => {}) }; setInterval(() => {})"
    assert "not settle" in inspect(settings)["https"]["error"]


def test_console_output_does_not_get_in_the_way(inspect: Inspect) -> None:
    """What settings.js prints, by whatever way, is not part of the findings."""
    found = inspect(
        "console.log('{}'); console.error('x'); process.stdout.write('{');"
        "require('fs').writeSync(1, '['); require('fs').writeSync(2, '['); module.exports = {};"
    )
    assert found["https"]["kind"] == "absent"


def test_output_is_capped_and_clean(inspect: Inspect) -> None:
    """Long or hostile text comes out short, on one line and without control characters."""
    found = inspect(
        "module.exports = { uiHost: '\\u001b[31mred\\n\\u202e' + 'x'.repeat(1e6), uiPort: {},"
        "adminAuth: { type: 'credentials', users: [],"
        " default: { permissions: Array(1e5).fill('read') } } };"
    )
    assert len(found["ui_host"]) <= 400
    assert found["ui_host"].startswith(" [31mred ")
    assert "\u202e" not in found["ui_host"]
    assert len(found["admin_auth"]["default_permissions"]) <= 50


def test_more_than_may_be_said(inspect: Inspect) -> None:
    """A settings.js that writes to our own descriptor gets no further than the cap."""
    found = inspect("require('fs').writeSync(3, '['.repeat(100000)); module.exports = {};")
    assert "error" in found


@pytest.mark.parametrize("major", [18, 20, 22])
def test_settings_cannot_reach_out(place: Path, inspect: Inspect, major: int) -> None:
    """No port, no connection, no process, no worker, no exit: each try is blocked and reported."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = inspect(
            f"""const attempt = (act) => {{ try {{ act(); }} catch {{ }} }};
            const mark = {json.dumps(str(place / "escaped"))};
            const {{ execSync, spawn }} = require('child_process');
            const {{ Worker }} = require('worker_threads');
            attempt(() => require('net').connect({port}, '127.0.0.1').on('error', () => {{}}));
            attempt(() => require('https').get('https://localhost:{port}').on('error', () => {{}}));
            attempt(() => require('http').createServer().listen({port} + 1));
            attempt(() => require('dgram').createSocket('udp4').send('x', {port}, '127.0.0.1'));
            attempt(() => execSync('touch ' + mark));
            attempt(() => spawn('touch', [mark]));
            attempt(() => require('cluster').fork());
            const write = 'require("fs").writeFileSync(' + JSON.stringify(mark) + ', "")';
            attempt(() => new Worker(write, {{ eval: true }}));
            attempt(() => process.kill(process.ppid));
            attempt(() => process.abort());
            attempt(() => process.exit());
            module.exports = {{ https: (async () => {{
                await fetch('http://127.0.0.1:{port}/').catch(() => {{}});
                return {{}};
            }})() }};""",
            major=major,
        )
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert found["https"]["error"] is None
    assert not (place / "escaped").exists()
    assert set(found["blocked"]) >= {
        "net.Server.listen",
        "net.Socket.connect",
        "https.get",
        "dgram.Socket.send",
        "child_process.execSync",
        "child_process.spawn",
        "worker_threads.Worker",
        "process.kill",
        "process.abort",
        "process.exit",
    }


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try as root")
def test_root_is_refused(place: Path) -> None:
    """Root running settings.js would hand root to whoever can write to it."""
    (place / "settings.js").write_text("require('fs').writeFileSync('ran', '')")
    for variables in ({}, {"CERTWARDEN_INSPECT_CHILD": str(os.getpid())}):
        done = subprocess.run(
            [node(22), INSPECT, place / "settings.js"],
            cwd=place,
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "not run as root" in done.stdout
        assert not (place / "ran").exists()
