"""`certwarden setup` on a bare Debian with a stock Node-RED: unattended, as a talk, and back."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.person import Person
from tests.world.bare import CERTWARDEN, SETTINGS, TOKEN, BareHouse
from tests.world.container import ENVIRONMENT
from tests.world.process import DidNotStart
from tests.world.tools import Missing

pytestmark = pytest.mark.xdist_group("systemd")

Install = Callable[[str], Path]
Answer = tuple[str, str]  # the last words of a question, and what is typed

SERVICE, NODE_RED = "certwarden.service", "nodered.service"
PASSPHRASE = "five random words are good"
# A Node-RED that does not start with certwarden's line in its settings.js.
STUBBORN = f"[Service]\nExecStartPre=/bin/sh -c '! grep -q certwarden {SETTINGS}'\n"
STUBBORN_FILE = f"/etc/systemd/system/{NODE_RED}.d/90-test.conf"
# Whatever is newer than a file, but for what belongs to the machine itself.
NEWER = "find /etc /home /opt /root /usr /var/lib -newer {} -not -path '*/.sudo_as*' -not -type d"


@pytest.fixture(scope="module")
def boot(
    installed_by_pipx: Install, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], BareHouse]]:
    """Boots a bare machine of a release with a Node-RED, and certwarden installed by pipx."""
    with ExitStack() as stack:

        def booted(release: str, node_red: str) -> BareHouse:
            directory = tmp_path_factory.mktemp("setup")
            house = BareHouse(
                directory, release, node_red=node_red, installed=installed_by_pipx(release)
            )
            try:
                return stack.enter_context(house)
            except (Missing, DidNotStart) as why:
                pytest.skip(f"no container with systemd can be booted here: {why}")

        yield booted


def test_unattended(boot: Callable[[str, str], BareHouse]) -> None:
    """One command ends with HTTPS and a service; a failure is undone, and the next run goes on."""
    house = boot("bookworm", "4.1")
    container = house.container
    setup = (CERTWARDEN, "setup", "--unattended")
    clients = ("--client-auth", "--recovery-code-file=/root/code")
    backups = ("--backup-directory=/mnt/usb", "--backup-passphrase-file=/root/passphrase")
    container.must("mkdir", "/mnt/usb")
    container.write("/root/passphrase", PASSPHRASE + "\n", mode="0600")

    # What is not said is named, all at once; nothing is changed.
    done = container.run(*setup)
    assert done.code == 2
    for option in ("--domain", "--token-file", "--accept-terms"):
        assert option in done.err
    assert not container.path("/etc/certwarden").exists()

    # Node-RED does not come back with the line: as it was before.
    original = container.must("cat", SETTINGS)
    container.write(STUBBORN_FILE, STUBBORN)
    container.systemctl("daemon-reload")
    done = container.run(*setup, *house.flags(), *clients, *backups)
    assert (done.code, "as it was before" in done.err) == (1, True), done
    assert container.must("stat", "--format=%U %a", "/root/code") == "root 600\n"
    assert container.must("cat", SETTINGS) == original
    container.wait_for(house.answers_by_http, journal_of=NODE_RED)

    # Without that, it goes on from there: no second certificate is ordered.
    container.must("rm", STUBBORN_FILE)
    container.systemctl("daemon-reload")
    orders = container.path(house.world["pebble_log"]).read_text().count("Added order")
    done = container.run(*setup, *house.flags())
    assert done.code == 0, done.out + done.err
    assert container.path(house.world["pebble_log"]).read_text().count("Added order") == orders
    assert "PRIVATE" not in done.out + done.err
    assert house.world["token"] not in done.out + done.err
    assert house.served() == container.must(*leaf()).strip()
    assert container.must("systemctl", "is-enabled", SERVICE).strip() == "enabled"
    assert container.show(SERVICE, "ActiveState") == "active"
    doctor = container.run(CERTWARDEN, "doctor")
    assert doctor.code == 0, doctor.out
    container.must("test", "!", "-r", TOKEN, user="pi")

    # A third run finds nothing to do, and restarts nothing.
    pid = container.show(NODE_RED, "MainPID")
    done = container.run(*setup)
    assert (done.code, "No file has to change." in done.out) == (0, True), done
    assert container.show(NODE_RED, "MainPID") == pid

    # And back: the machine as it was, but for what cannot be made again.
    container.must(*setup, "--remove")
    container.wait_for(house.answers_by_http, journal_of=NODE_RED)
    assert container.must("cat", SETTINGS) == original
    left = container.must("find", "/etc", "-path", "/etc/certwarden", "-prune", "-o", "-print")
    assert "certwarden" not in left.replace("/etc/certwarden", "")
    assert container.path("/var/lib/certwarden/certwarden.db").exists()
    container.must(*setup, "--remove", "--purge")
    assert not container.path("/var/lib/certwarden").exists()
    assert not container.path("/etc/certwarden").exists()
    assert container.run("id", "certwarden").code != 0


def test_conversation(boot: Callable[[str, str], BareHouse]) -> None:
    """A person types the answers; whoever leaves at a question has changed nothing; a new card
    gets the CA back from the backup.
    """
    house = boot("trixie", "5.0")
    container = house.container
    container.must("mkdir", "/mnt/usb")
    answers = conversation(house)
    container.must("sudo", "true", user="pi")  # sudo's own first time
    container.must("touch", "/run/marker")

    for count, (asked, _) in enumerate(answers):
        if count and asked == answers[count - 1][0]:
            continue  # the same once more
        with a_person(house) as person:
            for question, answer in answers[:count]:
                person.types(answer, after=question)
            person.leaves_by_ctrl_c(after=asked)
    assert container.must("sh", "-c", NEWER.format("/run/marker")) == ""
    assert "certwarden" not in container.must("getent", "passwd")

    with a_person(house) as person:
        for question, answer in answers:
            person.types(answer, after=question)
        code, _, _ = person.leaves()
    print(person.screen)
    assert code == 0, person.screen
    assert house.world["token"] not in person.screen
    assert PASSPHRASE not in person.screen
    assert "recovery code: " in person.screen
    clients = json.loads(container.must(CERTWARDEN, "client", "list", "--json"))
    assert [(each["name"], each["state"]) for each in clients] == [("anna-phone", "valid")]
    assert container.must("stat", "--format=%U %a", "/home/pi/anna-phone.p12") == "pi 600\n"

    # The card is lost; what is left is the backup.
    container.must(CERTWARDEN, "renew")  # a pass keeps a backup of what was changed
    newest = "cp $(ls -t /mnt/usb/certwarden/*.backup | head -1) /root/last.backup"
    container.must("sh", "-c", newest)
    container.write("/root/passphrase", PASSPHRASE + "\n", mode="0600")
    container.write("/root/urls", house.world["mailbox"] + "\n", mode="0600")
    container.must(CERTWARDEN, "setup", "--unattended", "--remove", "--purge")
    options = ("--restore=/root/last.backup", "--backup-passphrase-file=/root/passphrase")
    said = [each for each in house.flags() if each.startswith(("--token-file", "--ca-bundle"))]
    done = container.run(
        CERTWARDEN, "setup", "--unattended", "--notify-urls-file=/root/urls", *options, *said
    )
    assert done.code == 0, done.out + done.err
    clients = json.loads(container.must(CERTWARDEN, "client", "list", "--json"))
    assert [each["name"] for each in clients] == ["anna-phone"]
    assert house.served() == container.must(*leaf()).strip()


def leaf() -> tuple[str, str]:
    """The command that prints the leaf which is stored."""
    return ("cat", "/var/lib/certwarden/certificates/home/current/cert.pem")


def a_person(house: BareHouse) -> "Person":
    """pi at a terminal, who has typed `sudo certwarden setup`."""
    mine = ("--domain", "--token-file", "--accept-terms")
    said = " ".join(each for each in house.flags() if not each.startswith(mine))
    script = f"cd; exec sudo certwarden setup {said} >/dev/tty 2>&1"
    command = house.container.command("sh", "-c", script, user="pi")
    return Person(command, {**ENVIRONMENT, "HOME": "/home/pi", "TERM": "xterm"})


def conversation(house: BareHouse) -> Sequence[Answer]:
    """Every question, and what the person says."""
    return (
        ("Domain: ", "example.org"),
        ("*.example.org]: ", ""),
        ("Do you agree to them (y/N): ", "y"),
        ("API token (not shown): ", "this is not a token"),
        ("API token (not shown): ", house.world["token"]),
        ("Shall it serve the certificate (Y/n): ", ""),
        ("Let in only devices with a certificate (y/N): ", "y"),
        ("Name of the device: ", "anna-phone"),
        ("Which [computer]: ", "android"),
        ("(empty: none): ", "/mnt/usb"),
        ("(at least 12 characters): ", PASSPHRASE),
        ("The same again: ", PASSPHRASE),
        ("empty: no more): ", house.world["mailbox"]),
        ("empty: no more): ", ""),
        ("Go on (y/N): ", "y"),
    )
