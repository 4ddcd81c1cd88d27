"""Into the phone: from the code on a terminal to a browser that is let in, and nobody else.

Everything is real: the public CA, the command, the connection, the browser, Node-RED. Only the
phone's own certificate store is NSS's, as Chromium on this machine has no other.
"""

import json
import plistlib
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPException
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from certwarden.config import load
from certwarden.lifecycle.invite import InvitationRequest, invite
from certwarden.setup.chrome import auto_select_policy
from certwarden.wiring import Warden
from tests.end_to_end.invited import PASSWORD, Guest, Invited
from tests.end_to_end.private_ca import a_house
from tests.end_to_end.test_browser import DOMAINS, EDITOR, a_chromium, a_node_red, must
from tests.end_to_end.test_ca_secrets import Visible, scalar, watching_processes
from tests.enrolment.agents import ANDROID, IPHONE
from tests.fakes_store import RecordingReporter
from tests.person import Person
from tests.waiting import wait_until
from tests.world import World, tools
from tests.world.chromium import Chromium
from tests.world.clients import Client, Visitor
from tests.world.house import House
from tests.world.qr import read_code
from tests.world.turnstile import Turnstile

CODE = re.compile(r"\x1b\[30;107m([ ▀▄█]+)\x1b\[0m\r?\n")
LINK = re.compile(r"https://[a-z.]+:\d+/#[a-z2-7]{8}-[a-z2-7]{26}")
LAST_ROW = re.compile(r"[▀▄█][^\n]*\n(?:\x1b\[30;107m +\x1b\[0m\r?\n){2}\Z")
FILE = "application/x-pkcs12"


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What a test opens is closed with it."""
    with ExitStack() as stack:
        yield stack


# ── a person, a phone, Node-RED ───────────────────────────────────────────────────────────────────


def test_a_phone_gets_in_by_one_scan(house: House, opened: ExitStack, tmp_path: Path) -> None:
    """Code, page, button, file, password, store, editor; and an iPhone gets a profile."""
    node_red = a_node_red(house, opened, tmp_path / "node-red")
    authority = json.loads(must(house, "ca", "show", "--json"))["name"]
    policy = auto_select_policy(authority, "alice-phone", DOMAINS)
    phone = a_chromium(house, opened, tmp_path / "home", [], policy)
    phone.resize(360, 740)
    phone.keep_downloads(tmp_path)

    with scanned(house, "alice-phone", tmp_path) as url:
        phone.pretend(ANDROID, touch_points=5)
        bundle, password = fetched(phone, url, tmp_path / "alice-phone.p12")
    opens_by_openssl(bundle, password)
    password_file = tmp_path / "password"
    password_file.write_text(f"{password}\n")
    phone.import_p12(bundle, password_file)
    place = f"red.home.example.org:{node_red.port}"
    assert phone.visit(f"https://example.org:{node_red.port}/who") == ""
    assert phone.evaluate("document.body.innerText") == "alice-phone"
    assert phone.visit(f"https://{place}/") == ""
    phone.wait_for(EDITOR)
    assert phone.websockets() == {f"wss://{place}/comms": 101}

    with scanned(house, "alice-iphone", tmp_path) as url:
        phone.pretend(IPHONE, touch_points=5)
        profile, password = fetched(phone, url, tmp_path / "alice-iphone.mobileconfig")
    (payload,) = plistlib.loads(profile.read_bytes())["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.pkcs12"
    assert "Password" not in payload
    inside = tmp_path / "inside.p12"
    inside.write_bytes(payload["PayloadContent"])
    opens_by_openssl(inside, password)


@contextmanager
def scanned(house: House, name: str, place: Path) -> Iterator[str]:
    """What the code says that a person's terminal shows, while it is good; then it is used."""
    arguments = ("client", "invite", name, "--listen=127.0.0.1:0")
    with Person([*house.command, *arguments]) as person:
        person.sees(LAST_ROW)
        url = read_code(CODE.findall(person.screen), place)
        assert LINK.findall(person.screen) == [url]
        yield url
        code, out, err = person.leaves()
    assert code == 0, err
    assert out.startswith(f"{name}: issued, serial ")


def fetched(phone: Chromium, url: str, file: Path) -> tuple[Path, str]:
    """The file that the page's button brings, and the password that it shows."""
    assert phone.visit(url) == ""
    phone.evaluate("document.getElementById('get').click()")
    wait_until(file.exists, file.name)
    password = str(phone.evaluate("document.getElementById('password').textContent"))
    assert re.fullmatch(r"[a-z]{6}-[a-z]{6}-[a-z]{6}", password)
    assert phone.complaints() == []
    return file, password


def opens_by_openssl(bundle: Path, password: str) -> None:
    subprocess.run(
        [tools.program("openssl"), "pkcs12", "-in", bundle, "-noout", "-passin", "stdin"],
        input=password,
        text=True,
        check=True,
        capture_output=True,
    )


# ── one certificate, or none ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Home:
    """A house with a CA, in use at a door; every test invites names of its own."""

    house: House
    door: Turnstile

    def listed(self, name: str) -> list[dict[str, Any]]:
        """What is known of the client's certificates."""
        run = self.house.run("client", "list", "--json")
        return [each for each in run.json() if each["name"] == name]

    def lets_in(self, file: bytes, place: Path) -> bool:
        """Whether the door lets in who has what is in the bundle."""
        key, certificate, _ = load_key_and_certificates(file, PASSWORD.encode())
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert certificate is not None
        client = Client(place / "client.pem", place / "client.key", certificate.serial_number)
        client.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        client.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        root = place / "root.pem"
        root.write_bytes(self.house.world.pebble.root())
        visitor = Visitor(self.door.port, ca_bundle=root, server_name="example.org", client=client)
        return not visitor.is_refused()


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with Turnstile() as door:
        house = a_house(world, tmp_path_factory.mktemp("home") / "house", door)
        must(house, "ca", "init")
        must(house, "renew")
        yield Home(house, door)


def test_a_preview_changes_nothing(home: Home) -> None:
    """Bots look at the link in every way but the button's; then it is as good as before, once."""
    with Invited(home.house, "bob") as door, Invited(home.house, "alice") as invited:
        guest = invited.guest
        looks = [guest.ask(method, "/") for method in ("GET", "GET", "HEAD")]
        assert [each.status for each in looks] == [200, 200, 200]
        assert guest.ask("GET", "/redeem").status == 405
        assert guest.ask("GET", f"/?token={guest.token}").status == 200
        assert guest.ask("POST", "/").status == 405
        assert guest.ask("GET", "/favicon.ico").status == 404
        assert home.listed("alice") == []

        reply = Guest(door.guest.url, guest.trusted).redeem(guest.token)
        assert (reply.status, reply.headers["Content-Type"]) == (200, FILE)
        assert reply.headers["Content-Disposition"] == 'attachment; filename="alice.p12"'
        assert scalar(key_in(reply.body))
        code, err = invited.ends()
        assert code == 0, err
        again = door.guest.redeem(guest.token)
        assert (again.status, again.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
        assert PASSWORD.encode() not in again.body
        assert len(home.listed("alice")) == 1
        assert home.listed("bob") == []


def test_two_phones_at_once_get_one_certificate(home: Home) -> None:
    """Four connections, one token, at one instant: one file, and three times the same sentence."""
    with Invited(home.house, "carol") as invited:
        start = Barrier(4)

        def come() -> int:
            start.wait(30)
            return invited.guest.redeem().status

        with ThreadPoolExecutor(4) as pool:
            statuses = [each.result() for each in [pool.submit(come) for _ in range(4)]]
        assert sorted(statuses) == [200, 403, 403, 403]
        assert invited.ends()[0] == 0
    assert len(home.listed("carol")) == 1


def test_a_thousand_guesses_lead_nowhere(home: Home) -> None:
    """From four addresses; each is soon not heard any more, and the right one still works."""
    with Invited(home.house, "dave") as invited:
        guest = invited.guest
        digits = str.maketrans("0189", "abcd")  # base32 has none of these
        guesses = [f"{number:08d}".translate(digits) for number in range(250)]
        sources = [f"127.0.0.{number}" for number in (2, 3, 4, 5)]

        def guess(source: str, token: str) -> int:
            try:
                return Guest(guest.url, guest.trusted, source).redeem(token).status
            except (OSError, HTTPException):
                return 0  # too many connections from there at once

        def guess_all(source: str) -> set[int]:
            with ThreadPoolExecutor(4) as pool:
                tokens = [f"{each}-{'a' * 26}" for each in guesses]
                return set(pool.map(partial(guess, source), tokens))

        with ThreadPoolExecutor(len(sources)) as pool:
            statuses = set[int]().union(*pool.map(guess_all, sources))
        # 503: more wait than are let wait, where the machine has other things to do.
        assert {403, 429} <= statuses <= {0, 403, 429, 503}
        assert home.listed("dave") == []
        assert guest.redeem().status == 200


def test_five_wrong_secrets_end_it(home: Home) -> None:
    """Whoever knows its first part may spoil it, and gets nothing; then the command ends."""
    with Invited(home.house, "eve") as invited:
        guest = invited.guest
        known, _, _ = guest.token.partition("-")
        neighbours = [replace(guest, source=f"127.0.0.{number}") for number in range(2, 7)]
        with ThreadPoolExecutor(5) as pool:
            replies = list(pool.map(lambda each: each.redeem(f"{known}-{'a' * 26}"), neighbours))
        assert {each.status for each in replies} == {403}
        assert len({each.body for each in replies}) == 1
        code, err = invited.ends()
    assert code == 1
    assert "tried too often with a wrong link" in err
    assert home.listed("eve") == []


def test_who_is_late_is_told_the_same(home: Home) -> None:
    """A token past its end, at a door that is open for another client."""
    with warden_of(home.house) as warden, Invited(home.house, "frank") as door:
        request = InvitationRequest("grace", open_for=timedelta(milliseconds=1))
        invitation, token = invite(warden, request)
        wait_until(lambda: datetime.now(UTC) > invitation.ends_at)
        wrong = door.guest.redeem(f"aaaaaaaa-{'a' * 26}")
        late = door.guest.redeem(token.reveal().decode())
        assert (late.status, late.body) == (403, wrong.body)
    assert home.listed("grace") == []


@contextmanager
def warden_of(house: House) -> Iterator[Warden]:
    """Another process' view of the same house."""
    config = load(house.config, {})
    warden = Warden(config, RecordingReporter(), purpose="test")
    try:
        yield warden
    finally:
        warden.close()


def test_a_download_that_failed_is_revoked_by_the_next(home: Home, tmp_path: Path) -> None:
    """Cut off before the file was there, or never used: in the end only the last one gets in."""
    with Invited(home.house, "heidi") as invited:
        invited.guest.redeems_and_is_gone()
        assert invited.ends()[0] == 0
    first, second = fetched_again(home), fetched_again(home)
    assert not home.lets_in(first, tmp_path)
    assert home.lets_in(second, tmp_path)
    reasons = sorted(str(each["reason"]) for each in home.listed("heidi"))
    assert reasons == ["None", "superseded", "superseded"]


def fetched_again(home: Home) -> bytes:
    """What another invitation brings; the certificate before it is told to be lost."""
    (lost,) = (each["serial"] for each in home.listed("heidi") if each["state"] == "valid")
    with Invited(home.house, "heidi") as invited:
        reply = invited.guest.redeem()
        code, err = invited.ends()
    assert (code, reply.status) == (0, 200), err
    assert f"serial {lost} was issued lately" in err
    return reply.body


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────


def test_no_secret_is_to_be_seen(home: Home) -> None:
    """Token, password and key: in no output, process list, file or database, whatever was asked."""
    house, visible, secrets = home.house, Visible(), dict[str, bytes]()
    with watching_processes(visible):
        for form in ("p12", "pem"):
            with Invited(house, f"with-{form}") as invited:
                guest = invited.guest
                guest.redeem(f"{guest.token[:9]}{'a' * 26}")
                guest.ask("POST", "/redeem", guest.token.encode())
                guest.ask("GET", f"/{guest.token}?{guest.token}")
                body = guest.redeem(form=form).body
                code, err = invited.ends()
            visible.add(form, err.encode())
            assert code == 0, err
            secrets[f"the token for {form}"] = guest.token.partition("-")[2].encode()
            secrets[f"the key for {form}"] = scalar(key_in(body))
        with Invited(house, "withdrawn") as invited:
            secrets["an unused token"] = invited.guest.token.partition("-")[2].encode()
            invited.process.terminate()
            code, err = invited.ends()
        visible.add("withdrawn", err.encode())
        assert code == 130
        assert invited.guest.token[:8] not in err
    secrets["the password"] = PASSWORD.encode()
    for command in (["history", "--json"], ["client", "list", "--json"], ["status", "--json"]):
        visible.add(" ".join(command), must(house, *command).encode())
    for path in house.directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            visible.add(str(path), path.read_bytes())
    assert visible.leaks(secrets) == []


def key_in(file: bytes) -> ec.EllipticCurvePrivateKey:
    """The key of a bundle, or of PEM."""
    if file.startswith(b"-----"):
        key: object = load_pem_private_key(file, PASSWORD.encode())
    else:
        key = load_key_and_certificates(file, PASSWORD.encode())[0]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
