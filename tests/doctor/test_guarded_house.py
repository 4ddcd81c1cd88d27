"""The doctor in a house of real programs: nothing to say while all is well, and what is broken."""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from certwarden.doctor import authority, clients, node_red, targets
from certwarden.doctor.finding import Result
from certwarden.model import Address
from certwarden.pki.certificate import read_chain
from certwarden.targets.visits import speaks_plain_http
from tests.doctor.looking import look, rewritten, wrong
from tests.end_to_end.guarded import Guarded, guarded
from tests.world import World
from tests.world.service import Service

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("doctor-guarded")]
NAMES = ["node-red-4-hot", "nginx", "haproxy", "mosquitto"]
_REQUIRED = "ssl_verify_client      on;"
ALL = {**targets.CHECKS, **node_red.CHECKS, **clients.CHECKS, **authority.CHECKS}


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Four programs in one house, with a backup of its CA."""
    with World() as world, guarded(world, tmp_path_factory.mktemp("row"), NAMES) as row:
        path = os.environ["PATH"]
        os.environ["PATH"] = row.house.environment["PATH"]
        password = row.house.directory / "backup-password"
        password.touch(mode=0o600)
        password.write_text("correct horse battery staple")
        file = row.house.directory / "ca.backup"
        run = row.run("ca", "backup", str(file), "--password-file", str(password))
        assert run.code == 0, run.err
        assert row.run("deploy").code == 0
        yield row
        os.environ["PATH"] = path


def test_a_healthy_house_gives_no_alarm(row: Guarded) -> None:
    """Every check has something to say, and nothing to complain of."""
    findings = look(row.house, ALL)
    assert wrong(findings) == set(), findings
    assert {each.check for each in findings} >= set(ALL) - {"node-red-settings"}
    seen = {each.check for each in findings if each.result is Result.OK}
    assert seen >= set(ALL) - {"node-red-settings"}


# ── faults, one at a time ─────────────────────────────────────────────────────────────────────────


@contextmanager
def reconfigured(row: Guarded, name: str, old: str, new: str) -> Iterator[None]:
    """The program started again with something else in its configuration."""
    service = row.doors[name].program
    assert isinstance(service, Service)
    text = service.config.read_text()
    assert old in text, text
    with rewritten(service.config, text.replace(old, new)):
        service.restart()
        yield
    service.restart()


def test_a_broker_that_reads_no_list_lets_revoked_clients_in(row: Guarded) -> None:
    """mosquitto without `crlfile` says nothing about it."""
    with reconfigured(row, "mosquitto", "crlfile", "# crlfile"):
        assert wrong(look(row.house, clients.CHECKS)) == {
            ("client-refusal", "mosquitto", Result.ERROR)
        }


def test_a_proxy_that_only_offers_to_look_at_certificates_is_open(row: Guarded) -> None:
    """`ssl_verify_client optional` lets in whoever shows none."""
    with reconfigured(row, "nginx", _REQUIRED, "ssl_verify_client optional;"):
        findings = look(row.house, clients.CHECKS)
    assert wrong(findings) == {("client-refusal", "nginx", Result.ERROR)}
    assert any("no certificate gets in" in each.what for each in findings)


def test_a_websocket_beside_the_guarded_pages_is_open(row: Guarded) -> None:
    """Pages are refused, and whoever asks for the editor's websocket gets it."""
    optional = (
        'ssl_verify_client optional; set $open ""; '
        "if ($uri != /comms) { set $open $ssl_client_verify; } if ($open = NONE) { return 403; }"
    )
    with reconfigured(row, "nginx", _REQUIRED, optional):
        findings = look(row.house, clients.CHECKS)
    assert wrong(findings) == {("client-refusal", "nginx", Result.ERROR)}
    (found,) = [each for each in findings if each.needs_attention]
    assert "no certificate gets in by a websocket" in found.what


def test_a_proxy_configured_as_files_is_told_to_be_one(row: Guarded) -> None:
    """Its 400 is a refusal only where it is known for one."""
    config = row.house.config.read_text()
    with rewritten(row.house.config, config.replace('kind = "nginx"', 'kind = "files"')):
        findings = look(row.house, clients.CHECKS)
    (found,) = [
        each for each in findings if each.check == "client-refusal" and each.needs_attention
    ]
    assert 'kind = "nginx"' in found.remedy


def test_a_leaf_without_its_chain_is_told(row: Guarded, tmp_path: Path) -> None:
    """cert.pem in place of fullchain.pem."""
    directory = row.doors["nginx"].live / "current"
    leaf = tmp_path / "cert.pem"
    leaf.write_bytes(read_chain((directory / "fullchain.pem").read_bytes())[0])
    with reconfigured(row, "nginx", f"{directory}/fullchain.pem", str(leaf)):
        assert wrong(look(row.house, targets.CHECKS)) == {("target-chain", "nginx", Result.ERROR)}


def test_a_stopped_program_is_told_by_its_unit_and_by_its_silence(row: Guarded) -> None:
    """And by nothing else: what cannot be asked is no fault of its own."""
    program = row.doors["haproxy"].program
    program.stop()
    try:
        findings = look(row.house, ALL)
    finally:
        program.start()
    assert wrong(findings) == {
        ("target-served", "haproxy", Result.ERROR),
        ("target-unit", "haproxy", Result.WARNING),
    }


def test_a_file_of_a_generation_that_was_touched_is_told_and_put_right(row: Guarded) -> None:
    """By its name, with what is wrong with it; the remedy is one."""
    (row.doors["mosquitto"].live / "current" / "privkey.pem").chmod(0o644)
    findings = look(row.house, targets.CHECKS)
    assert wrong(findings) == {("target-files", "mosquitto", Result.ERROR)}
    (found,) = [each for each in findings if each.needs_attention]
    assert "privkey.pem has the mode 0644" in found.what
    assert found.remedy == "sudo certwarden deploy home"
    run = row.run("deploy", "home")
    assert run.code == 0, run.err
    assert wrong(look(row.house, ALL)) == set()


def test_what_the_module_has_loaded_is_told(row: Guarded) -> None:
    """An older generation, and a module that is not there at all."""
    (report,) = (row.doors["node-red-4-hot"].live / "loaded").glob("*.json")
    text = report.read_text()
    older = json.dumps({**json.loads(text), "generation": "0099"})
    for broken, words in ((older, "generation 0099"), ("", "not loaded")):
        with rewritten(report, broken):
            findings = look(row.house, node_red.CHECKS)
        assert wrong(findings) == {("node-red-module", "node-red-4-hot", Result.ERROR)}
        assert any(words in each.what for each in findings)


def test_proofs_that_age_or_were_refuted_are_told(row: Guarded) -> None:
    """They stand for the good clients, whom the doctor cannot send."""
    old = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    faults = {
        "nginx": ("is_resumable = 1", Result.ERROR),
        "haproxy": ("outcome = 'refuted'", Result.ERROR),
        "mosquitto": (f"at = '{old}'", Result.WARNING),
    }
    database = row.house.state / "certwarden.db"
    with rewritten(database, database.read_bytes()):
        with closing(sqlite3.connect(database)) as connection, connection:
            for target, (change, _) in faults.items():
                connection.execute(
                    f"UPDATE proofs SET {change} WHERE target = ?", (target,)
                )  # our own words
        findings = look(row.house, clients.CHECKS)
    assert wrong(findings) == {
        ("client-admission", target, result) for target, (_, result) in faults.items()
    }


def test_a_ca_that_has_lost_its_passphrase_or_its_list_is_told(row: Guarded) -> None:
    """Each with the way back; the targets keep what they have."""
    name = "Home client CA"
    with rewritten(row.house.directory / "ca.passphrase", "something else"):
        findings = look(row.house, authority.CHECKS)
    assert wrong(findings) == {("client-authority", name, Result.ERROR)}
    aged = row.resigned(datetime.now(UTC) - timedelta(days=20))
    with rewritten(row.authority / "crl.pem", aged):
        findings = look(row.house, authority.CHECKS)
    assert ("revocation-list", name, Result.WARNING) in wrong(findings)


def test_clients_since_the_last_backup_are_told(row: Guarded) -> None:
    """Whoever has a backup from before them has none of them."""
    database = row.house.state / "certwarden.db"
    with rewritten(database, database.read_bytes()):
        row.issue("dora")
        findings = look(row.house, authority.CHECKS)
    assert wrong(findings) == {("client-backup", "Home client CA", Result.WARNING)}


def test_a_node_red_beside_its_proxy_is_told(row: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers plain HTTP to everybody in the house; to this machine alone it may."""
    for host, expected in (
        ("0.0.0.0", {("around-proxy", name, Result.WARNING) for name in ("nginx", "haproxy")}),
        ("127.0.0.1", set()),
    ):
        with ThreadingHTTPServer((host, 0), BaseHTTPRequestHandler) as server:
            monkeypatch.setattr(clients, "NODE_RED_PORT", server.server_port)
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                findings = look(row.house, {"around-proxy": clients.around_proxies})
            finally:
                server.shutdown()
                thread.join()
        assert wrong(findings) == expected


@pytest.mark.parametrize("name", ["node-red-4-hot", "nginx", "haproxy"])
def test_a_door_for_tls_is_no_way_around_itself(row: Guarded, name: str) -> None:
    """nginx answers a plain request there, by a 400 that is not encrypted."""
    assert not speaks_plain_http(Address("127.0.0.1", row.doors[name].port))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as Node-RED's user")
def test_settings_js_is_run_as_its_owner_and_advised_on(row: Guarded, tmp_path: Path) -> None:
    """As root's own it would not be run at all: that is skipped, with the way to look at it."""
    file = tmp_path / "settings.js"
    file.write_text("module.exports = { uiPort: 1880 };\n")
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    kind = 'kind = "node-red"'
    config = row.house.config.read_text().replace(kind, f'{kind}\nsettings = "{file}"')
    with rewritten(row.house.config, config):
        (skipped,) = look(row.house, {"node-red-settings": node_red.settings})
        os.chown(file, 65534, 65534)
        findings = look(row.house, {"node-red-settings": node_red.settings})
    assert skipped.result is Result.SKIPPED
    assert "sudo -u USER certwarden" in skipped.remedy
    assert wrong(findings) == {("node-red-settings", str(file), Result.ERROR)}
    assert any("plain HTTP" in each.what for each in findings)
