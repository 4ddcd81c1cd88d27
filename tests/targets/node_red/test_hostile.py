"""A settings.js that means harm does none, and gets a sentence."""

import os
import shutil
from pathlib import Path

import pytest

from certwarden.errors import Error, TargetError
from certwarden.model import TargetSpec
from certwarden.targets.node_red.apply import propose
from certwarden.targets.node_red.settings import inspect
from tests.targets.node_red.conftest import Settings

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="everybody may read what is his own")
END = "\nmodule.exports = { uiPort: 1880 };\n"

# Each refused, by one of these sentences.
HOSTILE = {
    "exits": ("process.exit(0);", "process.exit is blocked"),
    "really exits": ("process.reallyExit(0);", "process.reallyExit is blocked"),
    "ends otherwise": (
        "process.binding('process_methods').reallyExit(0);",
        "ended the inspection early|process_methods|No such binding",
    ),
    "eats all memory": (
        "const all = []; for (;;) all.push(Buffer.alloc(1 << 28));",
        "allocation failed|ended the inspection early",
    ),
    "answers itself": (
        "require('fs').writeSync(3, JSON.stringify({ https: { kind: 'absent' } }));",
        "ended the inspection early",
    ),
    "answers at length": ("require('fs').writeSync(3, 'x'.repeat(1 << 20));", "64 KiB|early"),
    "forks": ("require('child_process').fork('/bin/true');", "child_process.fork is blocked"),
    "spawns": (
        "new (require('child_process').ChildProcess)().spawn({});",
        "ChildProcess.spawn is blocked",
    ),
    "kills": ("process.kill(process.ppid, 'SIGSTOP');", "process.kill is blocked"),
    "throws itself": ("throw { get message() { for (const x of [1]) throw x; } };", "could not be"),
}


@pytest.mark.parametrize(("program", "why"), HOSTILE.values(), ids=HOSTILE)
def test_what_means_harm_is_not_changed(
    settings: Settings, spec: TargetSpec, program: str, why: str
) -> None:
    """There is a sentence, and the file is as it was."""
    file = settings((program + END).encode())

    with pytest.raises(TargetError, match=why) as caught:
        propose(file, spec)

    assert caught.value.what.isprintable()
    assert sorted(path.name for path in file.parent.iterdir()) == ["live", "settings.js"]
    assert file.read_text() == program + END


def test_an_endless_loop_has_an_end(settings: Settings) -> None:
    """Within the time limit."""
    assert "did not come to an end" in (inspect(settings(b"for (;;);")).error or "")


LIARS = {
    "JSON": 'JSON.stringify = () => \'{"https": {"kind": "absent"}}\'; JSON.parse = () => ({});',
    "stdout": "process.stdout.write = () => true; process.send = () => true; console.log('{}');",
    "toJSON": "Object.prototype.toJSON = function () { return 'a lie'; };",
    "symbols": "Symbol.for = () => Symbol('another'); Array.isArray = () => true;",
    "strings": "String.prototype.replace = () => '\\u001b[2J'; Object.keys = () => ['a', 'b'];",
    "files": "const fs = require('fs'); fs.existsSync = () => false; fs.writeSync = () => 0;",
}


@pytest.mark.parametrize("program", LIARS.values(), ids=LIARS)
def test_lies_are_told_to_nobody_else(settings: Settings, spec: TargetSpec, program: str) -> None:
    """What it tells of itself may be wrong, which is its owner's loss: no more than that."""
    file = settings((program + END).encode())

    try:
        proposal = propose(file, spec)
    except Error as error:
        assert error.what.isprintable()  # noqa: PT017  one of two ways
    else:
        assert proposal.text.endswith(b"uiPort: 1880 };\n")
        assert all(line.isprintable() for line in proposal.diff.split("\n"))


def test_a_forged_mark_is_only_its_owners_loss(settings: Settings, spec: TargetSpec) -> None:
    """Who says that our line is there gets none; that it cannot serve is told all the same."""
    file = settings(
        f"module.exports = {{ https: {{ [Symbol.for('certwarden')]: {{ live: '{spec.directory}', "
        f"clientAuth: false, error: null }} }} }};".encode()
    )

    assert propose(file, spec).diff == ""
    https = inspect(file).https
    assert https is not None
    assert not https.is_usable


@needs_root
def test_it_reads_nothing_that_its_owner_may_not(settings: Settings, home: Path) -> None:
    """Root's inspection has nothing of root's rights, not even in a group."""
    file = settings(
        b"const fs = require('fs'); const told = {};\n"
        b"for (const file of ['/etc/shadow', '/proc/1/environ', `/proc/${process.ppid}/mem`])\n"
        b"  try { fs.readFileSync(file); told[file] = 1; } catch (e) { told[file] = e.code; }\n"
        b"for (const set of ['setuid', 'seteuid', 'setgid'])\n"
        b"  try { process[set](0); told[set] = 1; } catch (e) { told[set] = e.code; }\n"
        b"fs.writeFileSync(__dirname + '/told', Object.values(told).join(' '));\n"
        b"module.exports = {};\n"
    )

    inspect(file)

    told = (home / "told").read_text().split()
    assert "1" not in told
    assert set(told[3:]) == {"EPERM"}


def test_megabytes_and_sockets_are_nothing(settings: Settings) -> None:
    """What it prints goes nowhere, what it opens is told."""
    file = settings(
        b"for (let i = 0; i < 64; i++) { const x = 'x'.repeat(1 << 18); console.log(x);\n"
        b"  console.error(x); require('fs').writeSync(1, x); }\n"
        b"require('net').connect(1880, '127.0.0.1').on('error', () => {});\n"
        b"require('http').createServer().listen(0);\n"
        b"require('dgram').createSocket('udp4').bind(0);\n"
        b"module.exports = { uiPort: 7 };\n"
    )

    found = inspect(file)

    assert (found.error, found.ui_port) == (None, "7")
    assert {"net.Socket.connect", "net.Server.listen", "dgram.Socket.bind"} <= set(found.blocked)
