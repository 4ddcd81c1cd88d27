"""`certwarden setup` on a bare Debian with a stock Node-RED, by somebody who follows docs/.

Two machines live side by side, as most of the time is waiting: at the one a person sits, who reads
docs/first-ten-minutes.md from its beginning to its end; at the other a script does without.
"""

import itertools
import json
import plistlib
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from tests import guide
from tests.person import Person
from tests.world.bare import CERTWARDEN, SETTINGS, TOKEN, VENV, BareHouse
from tests.world.container import ENVIRONMENT
from tests.world.process import DidNotStart
from tests.world.tools import Missing

pytestmark = pytest.mark.xdist_group("systemd")

Install = Callable[[str], Path]
Story = Callable[[BareHouse], None]

SERVICE, NODE_RED = "certwarden.service", "nodered.service"
STATE, CONFIG = "/var/lib/certwarden", "/etc/certwarden/config.toml"
PASSPHRASE = "five random words are good"
HOME, STICK = "/home/pi", "/mnt/usb"
CONSENT = "Go on"
# A Node-RED that does not start with certwarden's line in its settings.js.
STUBBORN = f"[Service]\nExecStartPre=/bin/sh -c '! grep -q certwarden {SETTINGS}'\n"
STUBBORN_FILE = f"/etc/systemd/system/{NODE_RED}.d/90-test.conf"
# Whatever is newer than a file, but for what belongs to the machine itself.
NEWER = (
    "find /etc /home /mnt /opt /root /usr /var/lib -newer /run/marker"
    " -not -path '*/.sudo_as*' -not -type d"
)
VISIT = """
import http.client, ssl, sys
host, port, root, *pair = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
if pair:
    context.load_cert_chain(*pair)
visit = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
visit.request("GET", "/")
print(visit.getresponse().status)
"""
RECORD = """
import sys, urllib.request
url, token, record = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(url, record.encode(), headers), timeout=10)
"""


@pytest.fixture(scope="module")
def stories(
    installed_by_pipx: Install, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Story, Future[None]]]:
    """Both, under way."""
    machines: dict[Story, tuple[str, str]] = {
        a_script: ("bookworm", "4.1"),
        a_person: ("trixie", "5.0"),
    }
    directories = {story: tmp_path_factory.mktemp(story.__name__) for story in machines}

    def told(story: Story) -> None:
        release, node_red = machines[story]
        installed = installed_by_pipx(release)
        house = BareHouse(directories[story], release, node_red=node_red, installed=installed)
        with ExitStack() as stack:
            try:
                stack.enter_context(house)
            except (Missing, DidNotStart) as why:
                pytest.skip(f"no container with systemd can be booted here: {why}")
            story(house)

    with ThreadPoolExecutor(len(machines)) as pool:
        yield {story: pool.submit(told, story) for story in machines}


def test_person(stories: Mapping[Story, Future[None]]) -> None:
    """Whoever follows docs/ from the first page gets to a certificate that is served and a client
    that is let in, without guessing, and out again.
    """
    stories[a_person].result()


def test_unattended(stories: Mapping[Story, Future[None]]) -> None:
    """One command ends with HTTPS and a service; a failure is undone, and the next run goes on; a
    new card gets the CA back from the backup.
    """
    stories[a_script].result()


# ── the person ────────────────────────────────────────────────────────────────────────────────────


def a_person(house: BareHouse) -> None:
    """From "The program" to "Taking it out again"; each command, question and answer is docs'."""
    container = house.container
    container.must("mkdir", STICK)
    original = container.must("cat", SETTINGS)
    apt, _, version, _ = guide.commands("2. The program")  # pipx and uv are those of test_install
    container.must("dpkg-query", "--show", apt.removeprefix("sudo apt install "))
    assert container.must(*version.split(), user="pi").startswith("certwarden ")
    leaves_at_each_question(house)

    with sits_down(house, *guide.commands("3. Set it up"), *of_this_world(house)) as person:
        answers_all(person, house)
        code, _, _ = person.leaves()
    print(person.screen)
    assert code == 0, person.screen
    for secret in (house.world["token"], PASSPHRASE, house.world["mailbox"]):
        assert secret not in person.screen
    assert "recovery code: " in person.screen
    alice = imported(house, "alice-phone.p12", person.screen)

    # The padlock: the name is made at Cloudflare, as it is said; who has no certificate is refused.
    host, port = guide.address("4. The padlock").removeprefix("https://").split(":")
    url = f"{house.world['api_base_url']}/zones/{house.world['zone_id']}/dns_records"
    where = container.must("getent", "hosts", "example.org").split()[0]
    record = json.dumps({"type": "A", "name": host, "content": where, "ttl": 60, "proxied": False})
    container.must("python3", "-c", RECORD, url, house.world["token"], record)

    def is_let_in(*pair: str) -> bool:
        visit = (host, port, house.world["site_root"], *pair)
        return container.run("python3", "-c", VISIT, *visit).out == "200\n"

    assert is_let_in(*alice)
    assert not is_let_in()

    # More devices, and one that is lost.
    bob, carol, revoke = guide.commands("5. The phone")
    for command, file in ((bob, "bob-laptop.p12"), (carol, "carol-ipad.mobileconfig")):
        assert is_let_in(*imported(house, file, done_by(house, command)))
    done_by(house, revoke)
    assert not is_let_in(*alice)
    assert is_let_in("/root/bob-laptop.pem", "/root/bob-laptop.key")

    for command in guide.commands("What runs now"):
        container.must(*command.split(), user="pi")

    # And out again.
    remove, purge, uninstall = guide.commands("Taking it out again")
    said = done_by(house, remove)
    assert uninstall in said
    container.wait_for(house.answers_by_http, journal_of=NODE_RED)
    assert container.must("cat", SETTINGS) == original
    assert container.path(f"{STATE}/certwarden.db").exists()
    done_by(house, purge)
    container.must("sh", "-c", uninstall)
    for path in (CERTWARDEN, VENV, STATE, "/etc/certwarden"):
        assert not container.path(path).exists()


def leaves_at_each_question(house: BareHouse) -> None:
    """Ctrl-C at every one; nothing was changed by then."""
    container = house.container
    container.must("sudo", "true", user="pi")  # sudo's own first time
    container.must("touch", "/run/marker")
    setup = (*guide.commands("3. Set it up"), *of_this_world(house))

    def leaves_at(count: int) -> str:
        with sits_down(house, *setup) as person:
            question = answers_all(person, house, most=count)
            person.leaves_by_ctrl_c()
        return question

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(leaves_at, range(len(guide.answers("3. Set it up")))))
    assert container.must("sh", "-c", NEWER) == ""
    assert "certwarden" not in container.must("getent", "passwd")


def answers_all(person: Person, house: BareHouse, *, most: int | None = None) -> str:
    """Answers so many questions as the table says, or all of them, each of which has to be asked;
    returns the next one.
    """
    said = guide.answers("3. Set it up")
    own = {
        "API token": deque([house.world["token"]]),
        "Directory on the other disk": deque([STICK]),
        "Passphrase of the backups": deque([PASSPHRASE]),
        "The same again": deque([PASSPHRASE]),
        "URL": deque([house.world["mailbox"], ""]),
    }
    if most is None:
        own["API token"].appendleft("this is not a token")  # and it is asked again
    asked = set()
    for _ in itertools.repeat(None) if most is None else range(most):
        words = person.is_asked()
        question = next((each for each in said if re.match(rf"{each}(?= [(\[]|$)", words)), "")
        assert question, f"{words!r} is not in the table"
        asked.add(question)
        person.answers(own[question].popleft() if question in own else said[question])
        if question == CONSENT:
            assert asked == set(said)
            return ""
    return person.is_asked()


def sits_down(house: BareHouse, command: str, *options: str) -> Person:
    """pi at a terminal, at home, who types the command."""
    script = f"cd; exec {command} {shlex.join(options)} >/dev/tty 2>&1"
    command_line = house.container.command("sh", "-c", script, user="pi")
    return Person(command_line, {**ENVIRONMENT, "HOME": HOME, "TERM": "xterm"})


def done_by(house: BareHouse, command: str) -> str:
    """What a command shows that asks no more than whether it is meant."""
    with sits_down(house, command) as person:
        if "--remove" in command:
            assert person.is_asked().startswith(CONSENT)
            person.answers("y")
        if "--purge" in command:
            assert "`purge`" in person.is_asked()
            person.answers("purge")
        code, _, _ = person.leaves()
    assert code == 0, person.screen
    return person.screen


def of_this_world(house: BareHouse) -> list[str]:
    """What has to be said here in addition, as Let's Encrypt and Cloudflare are others."""
    everybodys = ("--domain", "--token-file", "--accept-terms")
    return [each for each in house.flags() if not each.startswith(everybodys)]


def imported(house: BareHouse, file: str, screen: str) -> tuple[str, str]:
    """The device has it: the file that pi can read, opened by the password that was shown."""
    container = house.container
    name, _, form = file.partition(".")
    inside = f"{HOME}/{file}"
    assert container.must("stat", "--format=%U %a", inside) == "pi 600\n"
    data = container.path(inside).read_bytes()
    if form == "mobileconfig":
        data = plistlib.loads(data)["PayloadContent"][0]["PayloadContent"]
    (password,) = re.findall(rf"password of {file}: (\S+)", screen)
    key, certificate, _ = load_key_and_certificates(data, password.encode())
    assert key is not None
    assert certificate is not None
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    container.write(f"/root/{name}.pem", certificate.public_bytes(Encoding.PEM).decode())
    container.write(f"/root/{name}.key", pem, mode="0600")
    return f"/root/{name}.pem", f"/root/{name}.key"


# ── the script ────────────────────────────────────────────────────────────────────────────────────


def a_script(house: BareHouse) -> None:
    """What is missing, what fails, what is done already; removed, and brought back to life."""
    container = house.container
    setup = (CERTWARDEN, "setup", "--unattended")
    container.must("mkdir", STICK)
    container.write(f"{HOME}/backup.passphrase", PASSPHRASE + "\n", mode="0600", owner="pi")
    container.must("install", "-m0600", "-opi", TOKEN, f"{HOME}/token.txt")

    # What is not said is named, all at once; nothing is changed.
    done = container.run(*setup)
    assert done.code == 2
    for option in ("--domain", "--token-file", "--accept-terms"):
        assert option in done.err
    assert not container.path("/etc/certwarden").exists()

    # Node-RED does not come back with the line: as it was before.
    (command,) = guide.commands("Without questions")
    documented = ("sh", "-c", f"cd; {command} {shlex.join(of_this_world(house))}")
    original = container.must("cat", SETTINGS)
    container.write(STUBBORN_FILE, STUBBORN)
    container.systemctl("daemon-reload")
    done = container.run(*("env", f"HOME={HOME}"), *documented, user="pi")
    assert (done.code, "as it was before" in done.err) == (1, True), done
    assert container.must("stat", "--format=%U %a", f"{HOME}/recovery.txt") == "pi 600\n"
    assert container.must("cat", SETTINGS) == original
    container.wait_for(house.answers_by_http, journal_of=NODE_RED)

    # Without that, it goes on from there: no second certificate is ordered.
    container.must("rm", STUBBORN_FILE)
    container.systemctl("daemon-reload")
    orders = container.path(house.world["pebble_log"]).read_text().count("Added order")
    done = container.run(*("env", f"HOME={HOME}"), *documented, user="pi")
    assert done.code == 0, done.out + done.err
    assert container.path(house.world["pebble_log"]).read_text().count("Added order") == orders
    assert "PRIVATE" not in done.out + done.err
    assert house.world["token"] not in done.out + done.err
    assert container.must("stat", "--format=%U %a", f"{HOME}/alice-phone.p12") == "pi 600\n"
    assert house.served() == container.must(*leaf()).strip()
    assert container.must("systemctl", "is-enabled", SERVICE).strip() == "enabled"
    assert container.show(SERVICE, "ActiveState") == "active"
    container.must("test", "!", "-r", "/etc/certwarden/secrets/cloudflare.token", user="pi")

    # Another run finds nothing to do, and restarts nothing.
    pid = container.show(NODE_RED, "MainPID")
    done = container.run(*setup)
    assert (done.code, "No file has to change." in done.out) == (0, True), done
    assert container.show(NODE_RED, "MainPID") == pid

    comes_back_to_life(house, original)


def comes_back_to_life(house: BareHouse, original: str) -> None:
    """The card is lost; what is left is a backup. Of what was there before, nothing is."""
    container = house.container
    setup = (CERTWARDEN, "setup", "--unattended")
    container.must("sed", "-i", 's/^\\[dns\\]/&\\nsettle = "0s"/', CONFIG)  # for it takes time
    lent = f"--password-file={HOME}/backup.passphrase"
    container.must(CERTWARDEN, "ca", "backup", "/root/house.backup", lent)
    shown = container.must(*setup, "--remove", "--purge")
    assert f"The user certwarden stays: {STICK}/certwarden is left" in shown
    assert container.must("cat", SETTINGS) == original
    left = container.must("find", "/etc", STATE.rpartition("/")[0], "-name", "*certwarden*")
    assert left == ""
    given = (f"--token-file={TOKEN}", f"--backup-passphrase-file={HOME}/backup.passphrase")
    said = [each for each in house.flags() if each.startswith(("--ca-bundle", "--api-url"))]
    done = container.run(*setup, "--restore=/root/house.backup", *given, *said)
    assert done.code == 0, done.out + done.err
    clients = json.loads(container.must(CERTWARDEN, "client", "list", "--json"))
    assert [each["name"] for each in clients] == ["alice-phone"]
    assert house.served() == container.must(*leaf()).strip()

    # Where nothing is left that is the user's, it goes as well.
    container.must("rm", "-r", STICK)
    container.must(*setup, "--remove", "--purge")
    assert container.run("id", "certwarden").code != 0


def leaf() -> tuple[str, str]:
    """The command that prints the leaf which is stored."""
    return ("cat", f"{STATE}/certificates/home/current/cert.pem")
