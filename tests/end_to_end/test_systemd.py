"""The units on a real systemd, booted in a container: certwarden as a service, with Node-RED."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from certwarden.pki.protection import generate_password
from tests.world.container import Container
from tests.world.debian import PREFIX
from tests.world.installed import (
    CERTWARDEN,
    CONFIG,
    STATE,
    TOKEN,
    Installed,
    build_wheel,
    installed,
)
from tests.world.process import DidNotStart
from tests.world.tools import Missing

DAEMON, PASS, TIMER = "certwarden.service", "certwarden-renew.service", "certwarden-renew.timer"
DOOR, RECEPTION = "certwarden-invite.socket", "certwarden-invite.service"
TELLER = "certwarden-failed@{}.service"
NODE_RED, OTHER = "nodered.service", "systemd-journald.service"
REFUSED = 4  # systemctl(1)
AUTHORITY = """
[authority]
name = "Home"
passphrase_file = "/etc/certwarden/secrets/ca.passphrase"
"""
GUARDED = "guarded.service"
GUARDED_TARGET = f"""
  [[certificate.target]]
  name = "guarded"
  kind = "files"
  client_auth = true
  reload = {{ unit = "{GUARDED}", verb = "restart" }}
  probe = "127.0.0.1:8443"
"""
GUARD = f"""
import http.server, ssl
live = "{STATE}/live/guarded/current"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{{live}}/fullchain.pem", f"{{live}}/privkey.pem")
context.load_verify_locations(f"{{live}}/client-ca.pem")
context.load_verify_locations(f"{{live}}/client-crl.pem")
context.verify_mode = ssl.CERT_REQUIRED
context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), http.server.BaseHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
INVITING = f'{AUTHORITY}invite_listen = "127.0.0.1:8444"\n'
# Who has got the link: trusts the house's public CA alone, and gets a file once.
VISITOR = """
import http.client, json, socket, ssl, sys, urllib.parse
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
asked = json.loads(sys.argv[1])
context = ssl.create_default_context(cafile=asked["root"])
raw = socket.create_connection(("127.0.0.1", asked["port"]), timeout=30)
there = http.client.HTTPSConnection(asked["host"], asked["port"])
there.sock = context.wrap_socket(raw, server_hostname=asked["host"])
form = {"format": "p12", "language": "en"} | {name: asked[name] for name in ("token", "password")}
headers = {"Content-Type": "application/x-www-form-urlencoded"}
there.request("POST", "/redeem", urllib.parse.urlencode(form), headers)
reply = there.getresponse()
body = reply.read()
name = load_pkcs12(body, asked["password"].encode()).cert if reply.status == 200 else None
print(reply.status, name and name.certificate.subject.rfc4514_string())
"""
# The daemon's unit as it is, but in a hurry.
HURRY = "[Service]\nRestartSec=1s\nTimeoutStopSec=10s\n"
BOTH = f"[Unit]\nWants={DAEMON} {TIMER}\nAfter={DAEMON} {TIMER}\n"

pytestmark = pytest.mark.xdist_group("systemd")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """certwarden installed on a machine of its own, with a placeholder in use at Node-RED."""
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(installed(tmp_path_factory.mktemp("systemd")))
        except (Missing, DidNotStart) as why:
            pytest.skip(f"no container with systemd can be booted here: {why}")
        yield machine


@pytest.fixture(autouse=True)
def at_rest(machine: Installed) -> Iterator[None]:
    """Each test begins with the configuration and the units as installed, and none of them runs."""
    yield
    machine.container.systemctl("stop", DAEMON, TIMER, PASS, DOOR, RECEPTION)
    machine.container.run("systemctl", "reset-failed")
    machine.container.must("sh", "-c", "rm -f /etc/systemd/system/*.d/90-test.conf")
    machine.container.systemctl("daemon-reload")
    machine.write_token(machine.world["token"])
    machine.write_config()


def is_in_use(machine: Installed) -> bool:
    """Whether what is stored is what Node-RED serves."""
    return bool(machine.stored()) and machine.stored() == machine.served()


def start_daemon(machine: Installed) -> int:
    """Starts it, in a hurry; returns its process id."""
    machine.drop_in(DAEMON, HURRY)
    machine.container.systemctl("daemon-reload")
    machine.container.systemctl("start", DAEMON)
    return main_pid(machine.container, DAEMON)


def await_rest(machine: Installed) -> None:
    """Waits until the daemon's pass is over and everything is as it should be."""
    container = machine.container
    container.wait_for(
        lambda: container.show(DAEMON, "StatusText").startswith("next is") and is_in_use(machine),
        seconds=90,
    )


def found_authority(machine: Installed) -> None:
    """Makes the private CA, unless an earlier test has."""
    if machine.container.run(CERTWARDEN, "ca", "export").code:
        machine.container.must(CERTWARDEN, "ca", "init")


def knock(machine: Installed) -> None:
    """A connection to the door, without a word."""
    code = 'import socket; socket.create_connection(("127.0.0.1", 8444), timeout=5).close()'
    machine.container.must(f"{PREFIX}/bin/python", "-c", code)


def main_pid(container: Container, unit: str) -> int:
    return int(container.show(unit, "MainPID"))


# ── what systemd makes of the units ───────────────────────────────────────────────────────────────


def test_systemd_accepts_the_units_as_installed(machine: Installed) -> None:
    """Every line of them, of the drop-ins and of what they call; and they are shut in."""
    units = (DAEMON, PASS, TIMER, DOOR, RECEPTION, TELLER.format(DAEMON))
    paths = [f"/etc/systemd/system/{unit}" for unit in units]
    machine.container.must(
        "systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *paths
    )
    for unit in units:
        if unit.endswith(".service"):
            machine.container.must("systemd-analyze", "security", "--threshold=15", unit)


def test_directories_are_as_the_design_has_them(machine: Installed) -> None:
    """sysusers.d and tmpfiles.d make the user, and the places with their owners and modes."""
    shown = machine.container.must(
        "stat", "--format=%n %U:%G %a", "/etc/certwarden", "/etc/certwarden/secrets", STATE
    )
    assert shown.splitlines() == [
        "/etc/certwarden root:certwarden 750",
        "/etc/certwarden/secrets root:certwarden 750",
        f"{STATE} certwarden:certwarden 711",
    ]
    assert machine.container.must("getent", "passwd", "certwarden").strip().endswith("nologin")


# ── the one-shot pass ─────────────────────────────────────────────────────────────────────────────


def test_a_pass_obtains_and_puts_to_use(machine: Installed) -> None:
    """As its own user, shut in: obtained, Node-RED restarted through polkit, proven to be served;
    copied into a home that is closed to it but for that one directory.
    """
    before = main_pid(machine.container, NODE_RED)
    machine.container.systemctl("start", PASS)
    assert is_in_use(machine)
    assert machine.copied() == machine.stored()
    assert main_pid(machine.container, NODE_RED) not in (0, before)
    assert machine.txt_records() == []
    orders = machine.orders()
    machine.container.systemctl("start", PASS)
    assert machine.orders() == orders


def test_keys_are_for_their_readers_alone(machine: Installed) -> None:
    """Node-RED's user reads its key by the group; nobody else reads any, nor looks around."""
    container = machine.container
    container.systemctl("start", PASS)
    key = f"{STATE}/live/node-red/current/privkey.pem"
    assert "PRIVATE KEY" in container.must("cat", key, user="pi")
    assert "Permission denied" in container.run("cat", key, user="nobody:nogroup").err
    assert container.run("ls", STATE, user="pi").code != 0
    open_keys = container.must("find", STATE, "-name", "privkey.pem", "-perm", "/007")
    assert open_keys == ""
    assert container.must("find", STATE, "!", "-user", "certwarden") == ""


def test_nothing_but_the_configured_restart_is_allowed(machine: Installed) -> None:
    """polkit lets certwarden's user restart that unit; no other verb, no other unit, nothing."""
    container = machine.container

    def ask(*words: str) -> int:
        command = ("systemctl", "--no-ask-password", *words)
        return container.run(*command, user="certwarden").code

    assert ask("restart", NODE_RED) == 0
    before = main_pid(container, NODE_RED)
    for verb in ("stop", "start", "reload", "try-restart", "kill"):
        assert ask(verb, NODE_RED) != 0, verb
    for words in (
        ("restart", OTHER),
        ("restart", "polkit.service"),
        ("enable", NODE_RED),
        ("mask", NODE_RED),
        ("set-property", NODE_RED, "CPUWeight=1"),
        ("daemon-reload",),
        ("reboot",),
    ):
        assert ask(*words) != 0, words
    assert ask("stop", NODE_RED) == REFUSED
    run = ("systemd-run", "--no-ask-password", "--wait", "true")
    assert container.run(*run, user="certwarden").code != 0
    assert main_pid(container, NODE_RED) == before
    assert container.run("systemctl", "--no-ask-password", "restart", NODE_RED, user="pi").code != 0


def test_a_credential_of_systemds_goes_before_the_file(machine: Installed) -> None:
    """With LoadCredential= the token's file may be root's alone."""
    container = machine.container
    container.must("chown", "root:root", TOKEN)
    container.must("chmod", "0600", TOKEN)
    machine.drop_in(PASS, f"[Service]\nLoadCredential=cloudflare.token:{TOKEN}\n")
    container.systemctl("daemon-reload")
    machine.forget_certificate()
    container.systemctl("start", PASS)
    assert is_in_use(machine)


def test_the_daemon_tends_the_private_ca(machine: Installed) -> None:
    """Shut in as it is, it signs lists, puts them in place through polkit, and visits as a client:
    with a key that touches no disk. A revocation is proven by the command, too.
    """
    container = machine.container

    def shown() -> dict[str, Any]:
        said = container.run(CERTWARDEN, "ca", "show", "--json").out
        document: dict[str, Any] = json.loads(said)
        return document

    container.write("/opt/guard.py", GUARD)
    unit = f"[Service]\nExecStart={PREFIX}/bin/python /opt/guard.py\nRestart=on-failure\n"
    container.write(f"/etc/systemd/system/{GUARDED}", unit)
    machine.write_config(AUTHORITY, targets=GUARDED_TARGET)
    machine.install_what_is_rendered()
    found_authority(machine)
    founded = shown()["crl"]["number"]
    kept = "/etc/certwarden/secrets/ca.passphrase"
    passphrase = container.must("stat", "--format=%U:%G %a", kept)
    assert passphrase.strip() == "root:certwarden 640"
    container.systemctl("start", PASS)  # a certificate, and the list beside it
    container.systemctl("start", GUARDED)
    start_daemon(machine)
    container.wait_for(
        lambda: [each["outcome"] for each in shown()["targets"]] == ["proven"],
        seconds=30,
        journal_of=DAEMON,
    )
    assert shown()["crl"]["number"] > founded  # the daemon's start has signed one
    issue = ("client", "issue", "alice", "--out", "/root/alice.p12", "--password-file", "/root/pw")
    container.must(CERTWARDEN, *issue)
    assert container.must("stat", "--format=%U %a", "/root/alice.p12").strip() == "root 600"
    number = shown()["crl"]["number"]
    assert "alice" in container.must(CERTWARDEN, "client", "revoke", "alice")
    assert shown()["crl"]["number"] > number
    container.systemctl("stop", GUARDED)


def test_a_client_near_its_end_is_invited_and_comes(machine: Installed) -> None:
    """A message has the link, and systemd listens from then on, and never otherwise. Who opens it
    is handed the next certificate by the service, once; the link is in no journal and no file.
    """
    container = machine.container
    machine.write_config(INVITING)
    machine.install_what_is_rendered()
    found_authority(machine)
    container.systemctl("start", PASS)  # a certificate to listen with
    listening = ("ss", "--listening", "--tcp", "--numeric", "--no-header", "sport = :8444")
    assert container.must(*listening) == ""
    issue = ("client", "issue", "pad", "--days", "1", "--out", "/root/pad.p12")
    container.must(CERTWARDEN, *issue, "--password-file", "/root/pad.pw")
    container.systemctl("start", PASS)
    assert container.must(*listening) != ""
    assert container.show(RECEPTION, "ActiveState") == "inactive"
    (message,) = [each["message"] for each in machine.messages() if "of pad ends" in str(each)]
    link = re.search(r"https://(example\.org):8444/#(\S+)", message)
    assert link is not None
    container.must("install", "-m", "0644", machine.world["site_root"], "/root/site-root.pem")
    password = generate_password().reveal().decode()
    asked = {"host": link[1], "port": 8444, "token": link[2], "password": password}
    asked["root"] = "/root/site-root.pem"
    visit = (f"{PREFIX}/bin/python", "-c", VISITOR, json.dumps(asked))
    knock(machine)
    container.wait_for(lambda: container.show(RECEPTION, "ActiveState") == "active")
    container.systemctl("stop", RECEPTION)  # as when the machine goes down
    assert container.show(RECEPTION, "Result") == "success"
    assert container.must(*listening) != ""
    assert container.must(*visit).split() == ["200", "CN=pad"]
    container.wait_for(lambda: container.must(*listening) == "")
    container.wait_for(lambda: container.show(RECEPTION, "ActiveState") == "inactive")
    assert container.show(RECEPTION, "Result") == "success"
    assert container.show(DOOR, "ActiveState") == "inactive"
    told = json.loads(container.must(CERTWARDEN, "client", "show", "pad", "--json"))
    assert len(told["certificates"]) == 2
    _, _, secret = link[2].partition("-")
    assert secret not in container.must("journalctl", "--no-pager")
    assert container.run("grep", "--recursive", "--quiet", secret, STATE, "/etc/certwarden").code


def test_the_door_is_all_that_a_pass_may_open(machine: Installed) -> None:
    """polkit lets certwarden's user start and stop that socket; not the service, no other verb."""
    container = machine.container
    machine.write_config(INVITING)
    machine.install_what_is_rendered()

    def ask(*words: str) -> int:
        command = ("systemctl", "--no-ask-password", *words)
        return container.run(*command, user="certwarden").code

    assert ask("start", DOOR) == 0
    assert container.show(DOOR, "Listen") == "127.0.0.1:8444 (Stream)"
    for words in (("restart", DOOR), ("start", RECEPTION), ("enable", DOOR), ("start", OTHER)):
        assert ask(*words) != 0, words
    assert ask("stop", DOOR) == 0


def test_who_knocks_uninvited_finds_the_door_shut(machine: Installed) -> None:
    """The service looks into the book, has systemd stop listening, and ends."""
    container = machine.container
    machine.write_config(INVITING)
    machine.install_what_is_rendered()
    found_authority(machine)
    container.systemctl("start", DOOR)
    knock(machine)
    container.wait_for(lambda: container.show(DOOR, "ActiveState") == "inactive")
    container.wait_for(lambda: container.show(RECEPTION, "ActiveState") == "inactive")
    assert container.show(RECEPTION, "Result") == "success"


def test_a_failed_pass_is_told(machine: Installed) -> None:
    """A person hears which unit it was, by the configured way; no secret is in the journal."""
    container = machine.container
    # A name that Pebble has no authorization for yet, or it might do without a record.
    machine.write_config(domains=("failing.example.org",))
    machine.write_token("cfut_thisIsNotTheTokenThatItWasABCDEFGHIJKLM")
    assert container.run("systemctl", "start", PASS).code != 0
    container.wait_for(lambda: any(PASS in str(each) for each in machine.messages()))
    container.wait_for(lambda: container.show(TELLER.format(PASS), "ActiveState") == "inactive")
    assert "cfut_" not in container.journal("certwarden*")


def test_the_timer_makes_up_for_an_off_time(machine: Installed) -> None:
    """Persistent: what was missed while the machine was off is done when it is on again (within
    the unit's random delay, which the test takes away).
    """
    container = machine.container
    stamp = f"/var/lib/systemd/timers/stamp-{TIMER}"
    container.must("mkdir", "-p", "/var/lib/systemd/timers")
    container.must("touch", "--date=3 days ago", stamp)
    machine.drop_in(TIMER, "[Timer]\nRandomizedDelaySec=0\n")
    container.systemctl("daemon-reload")
    before = container.show(PASS, "ExecMainStartTimestampMonotonic")
    container.systemctl("start", TIMER)
    container.wait_for(lambda: container.show(PASS, "ExecMainStartTimestampMonotonic") != before)
    container.wait_for(lambda: container.show(PASS, "ActiveState") == "inactive")
    assert container.show(PASS, "Result") == "success"


# ── the daemon ────────────────────────────────────────────────────────────────────────────────────


def test_the_daemon_is_ready_and_keeps_everything_in_order(machine: Installed) -> None:
    """`systemctl start` returns when it is ready; then it obtains and puts to use by itself."""
    container = machine.container
    machine.forget_certificate()
    old = machine.served()
    assert start_daemon(machine) > 0
    assert container.show(DAEMON, "ActiveState") == "active"
    await_rest(machine)
    assert machine.served() != old
    assert machine.txt_records() == []


def test_the_daemon_ends_in_time(machine: Installed) -> None:
    """SIGTERM in the middle of a pass: it ends in time, and that is no failure."""
    container = machine.container
    machine.forget_certificate()
    start_daemon(machine)
    container.wait_for(lambda: "at work" in container.show(DAEMON, "StatusText"))
    container.systemctl("stop", DAEMON)
    assert container.show(DAEMON, "Result") == "success"
    assert container.show(DAEMON, "ExecMainStatus") == "0"


def test_daemon_and_timer_take_turns(machine: Installed) -> None:
    """Whichever is started stops the other, so that they are not both at work by accident."""
    container = machine.container
    container.systemctl("start", TIMER)
    start_daemon(machine)
    assert container.run("systemctl", "is-active", TIMER).code != 0
    container.systemctl("start", TIMER)
    container.wait_for(lambda: container.show(DAEMON, "ActiveState") == "inactive")
    assert container.show(TIMER, "ActiveState") == "active"


def test_of_two_ways_enabled_one_is_taken(machine: Installed) -> None:
    """Both wanted in one go, as at boot by a person who has enabled both: one of them runs."""
    container = machine.container
    container.write("/run/systemd/system/both.target", BOTH)
    container.systemctl("daemon-reload")
    container.systemctl("start", "both.target")
    active = [unit for unit in (DAEMON, TIMER) if container.show(unit, "ActiveState") == "active"]
    assert len(active) == 1
    container.systemctl("stop", "both.target")


def test_reload_takes_a_good_configuration_over(machine: Installed) -> None:
    """Without a restart: another name in it is obtained and served."""
    container = machine.container
    pid = start_daemon(machine)
    await_rest(machine)
    before = machine.served()
    machine.write_config(domains=("example.org", "*.example.org"))
    container.systemctl("reload", DAEMON)
    container.wait_for(lambda: machine.served() not in ("", before), seconds=60)
    assert main_pid(container, DAEMON) == pid


def test_reload_keeps_the_old_configuration_where_the_new_one_is_wrong(machine: Installed) -> None:
    """It says what is wrong, goes on with the old one, and takes the mended one over."""
    container = machine.container
    pid = start_daemon(machine)
    container.write(CONFIG, "nonsense = true\n", mode="0640", owner="root:certwarden")
    container.systemctl("reload", DAEMON)
    container.wait_for(lambda: "nonsense" in container.journal(DAEMON))
    assert main_pid(container, DAEMON) == pid
    assert container.show(DAEMON, "ActiveState") == "active"
    machine.write_config()
    container.systemctl("reload", DAEMON)
    assert main_pid(container, DAEMON) == pid


def test_a_killed_daemon_comes_back(machine: Installed) -> None:
    """kill -9: systemd starts it again, and nothing is ordered twice."""
    container = machine.container
    pid = start_daemon(machine)
    await_rest(machine)
    orders = machine.orders()
    container.kill(DAEMON, signal.SIGKILL)
    container.wait_for(lambda: main_pid(container, DAEMON) not in (0, pid))
    container.wait_for(lambda: container.show(DAEMON, "ActiveState") == "active")
    await_rest(machine)
    assert container.show(DAEMON, "NRestarts") == "1"
    assert machine.orders() == orders


def test_a_hung_daemon_is_replaced(machine: Installed) -> None:
    """One that feeds the watchdog no more is ended by systemd, and started again."""
    container = machine.container
    machine.drop_in(DAEMON, f"{HURRY}WatchdogSec=4s\n", name="91-test")
    pid = start_daemon(machine)
    await_rest(machine)
    assert main_pid(container, DAEMON) == pid
    container.kill(DAEMON, signal.SIGSTOP)
    container.wait_for(lambda: main_pid(container, DAEMON) not in (0, pid), seconds=60)
    container.wait_for(lambda: container.show(DAEMON, "ActiveState") == "active")
    assert "watchdog" in container.journal(DAEMON).lower()
    container.must("rm", f"/etc/systemd/system/{DAEMON}.d/91-test.conf")


def test_a_wrong_configuration_is_not_tried_again(machine: Installed) -> None:
    """The daemon does not start, systemd leaves it at that and calls the one that tells."""
    container = machine.container
    teller = TELLER.format(DAEMON)
    machine.write_config("[nonsense]\n")
    assert container.run("systemctl", "start", DAEMON).code != 0
    assert container.show(DAEMON, "ActiveState") == "failed"
    assert container.show(DAEMON, "NRestarts") == "0"
    assert container.show(DAEMON, "ExecMainStatus") == "2"
    container.wait_for(lambda: container.show(teller, "ExecMainStartTimestampMonotonic") != "0")


def test_an_upgrade_while_it_runs(machine: Installed) -> None:
    """The old daemon goes on while its files are replaced; after a restart it is the new one, with
    the same state, and nothing is ordered.
    """
    container = machine.container
    pid = start_daemon(machine)
    await_rest(machine)
    served, orders = machine.served(), machine.orders()
    version = container.must(CERTWARDEN, "--version").split()[-1]
    machine.install(build_wheel(machine.wheels / "next", f"{version}.post1"))
    assert main_pid(container, DAEMON) == pid
    container.systemctl("reload", DAEMON)
    container.systemctl("restart", DAEMON)
    await_rest(machine)
    assert container.must(CERTWARDEN, "--version").split()[-1] == f"{version}.post1"
    assert container.show(DAEMON, "NRestarts") == "0"
    assert (machine.served(), machine.orders()) == (served, orders)
