"""The front: what the button of the page brings, what is refused, and that nothing else acts."""

import plistlib
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.enrolment.est import PREFIX
from certwarden.enrolment.exchange import Reply, Request
from certwarden.enrolment.front import Doors, Front
from certwarden.enrolment.page import CONTENT_SECURITY_POLICY, render_page, render_problem
from certwarden.enrolment.texts import Problem
from certwarden.errors import Busy, ClockError, Error, LockedError, MaterialError, StoreError
from certwarden.lifecycle.invite import (
    InvitationRequest,
    invite,
    redeem,
    redeem_by_certificate,
)
from certwarden.lifecycle.issue import IssuedClient
from certwarden.model import Admission, ClientCertificate, Enrolment, KeyType, Secret
from certwarden.pki.bundles import BundleFormat
from certwarden.pki.keys import build_csr, generate_key
from certwarden.pki.protection import generate_password
from tests.enrolment.doors import TOKEN, FakeDoors
from tests.lifecycle.client_house import ClientHouse

PASSWORD = generate_password().reveal().decode()
AUTHORITY = "Home client CA"
FORM = {"token": TOKEN, "password": PASSWORD, "format": "p12", "language": "en"}
OWN_PAGE = {
    "content-type": "application/x-www-form-urlencoded",
    "host": "home.example.org:8443",
    "origin": "null",
    "sec-fetch-site": "same-origin",
}


@pytest.fixture
def house() -> FakeDoors:
    return FakeDoors()


def answer(
    house: FakeDoors,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Reply:
    front = Front(house.as_doors(), authority_name=AUTHORITY, root_pem=house.ca.root_pem)
    return front.answer(Request(method, path, headers or {}, body))


def press(
    house: FakeDoors, form: Mapping[str, str] = FORM, headers: Mapping[str, str] = OWN_PAGE
) -> Reply:
    """The button of the page, with that in its form."""
    return answer(house, "POST", "/redeem", headers, urlencode(form).encode())


# ── the page ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_at_the_page_changes_nothing(house: FakeDoors, method: str) -> None:
    """Messengers fetch a link for its preview."""
    bot = {"user-agent": "Preview/1.0", "accept-language": "de-CH, en;q=0.5"}
    reply = answer(house, method, "/", bot)
    assert (reply.status, reply.content_type) == (200, "text/html; charset=utf-8")
    assert reply.body == render_page("de", "Preview/1.0", AUTHORITY)
    assert reply.headers == {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    assert not reply.is_refusal
    assert press(house).status == 200


class _Form(HTMLParser):
    """Where a page's form goes, and what it sends."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.target: tuple[str | None, str | None] = None, None
        self.names: list[str | None] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.target = given.get("method"), given.get("action")
        if tag in {"input", "select", "button", "textarea"} and "name" in given:
            self.names.append(given["name"])


def test_the_pages_form_is_the_one_that_is_taken(house: FakeDoors) -> None:
    """Every field once, and no other, to the path that takes it."""
    form = _Form(answer(house, "GET", "/").body)
    assert form.target == ("post", "/redeem")
    assert sorted(form.names, key=str) == sorted(FORM)


# ── the file ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "content_type", "file"),
    [
        ("p12", "application/x-pkcs12", "alice.phone.p12"),
        ("p12-legacy", "application/x-pkcs12", "alice.phone.p12"),
        ("mobileconfig", "application/x-apple-aspen-config", "alice.phone.mobileconfig"),
        ("pem", "application/x-pem-file", "alice.phone.pem"),
    ],
)
def test_the_reply_is_the_file(house: FakeDoors, form: str, content_type: str, file: str) -> None:
    """In the form that was chosen, under the client's name, and a download, so the page stays."""
    reply = press(house, FORM | {"format": form})
    assert (reply.status, reply.content_type) == (200, content_type)
    assert reply.headers == {"Content-Disposition": f'attachment; filename="{file}"'}
    assert opened(BundleFormat(form), reply.body) == house.issued[0].pem
    assert len(house.issued) == 1


def opened(form: BundleFormat, bundle: bytes) -> bytes:
    """The certificate, whose key the password of the page gives."""
    if form is BundleFormat.PEM:
        certificate = x509.load_pem_x509_certificate(bundle)
        key = load_pem_private_key(bundle, PASSWORD.encode())
        assert key.public_key() == certificate.public_key()
        return certificate.public_bytes(Encoding.PEM)
    if form is BundleFormat.MOBILECONFIG:
        (payload,) = plistlib.loads(bundle)["PayloadContent"]
        bundle = payload["PayloadContent"]
    found = load_pkcs12(bundle, PASSWORD.encode())
    assert found.key is not None
    assert found.cert is not None
    assert found.key.public_key() == found.cert.certificate.public_key()
    return found.cert.certificate.public_bytes(Encoding.PEM)


def test_openssl_opens_the_file(house: FakeDoors, tmp_path: Path) -> None:
    """With the password of the page, and with no other."""
    (tmp_path / "a.p12").write_bytes(press(house).body)
    for password, status in ((PASSWORD, 0), (generate_password().reveal().decode(), 1)):
        (tmp_path / "password").write_text(password)
        command = ("openssl", "pkcs12", "-in", "a.p12", "-noout", "-passin", "file:password")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == status


def test_lists_show_the_authoritys_name(house: FakeDoors) -> None:
    """As they do for a bundle from the command line."""
    found = load_pkcs12(press(house).body, PASSWORD.encode())
    assert found.cert is not None
    assert found.cert.friendly_name == b"alice.phone (Home client CA)"


# ── who gets none ─────────────────────────────────────────────────────────────────────────────────


def test_twice_is_once(house: FakeDoors) -> None:
    """The second press gets the sentence that a wrong link gets, and at the same time."""
    assert press(house).status == 200
    assert press(house) == press(house, FORM | {"token": "aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa"})
    assert len(house.issued) == 1


@pytest.mark.parametrize(
    "token",
    [
        "",
        "short",
        TOKEN[:-1],
        TOKEN.upper(),
        TOKEN + "\n",
        TOKEN.replace("-", ""),
        "ä" * 35,
        "\0",
        "x" * 9000,
    ],
)
@pytest.mark.parametrize("language", ["en", "de"])
def test_a_malformed_token_is_as_wrong_as_any(house: FakeDoors, token: str, language: str) -> None:
    """Byte for byte the same reply, in the language of the page, and in the same time."""
    reply = press(house, FORM | {"token": token, "language": language})
    wrong = {"token": "aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa", "language": language}
    assert reply == press(house, FORM | wrong)
    assert (reply.status, reply.is_refusal) == (403, True)
    assert reply.body == render_problem(language, Problem.INVITATION)
    assert house.issued == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"&",
        b"token",
        b"token=%s" % TOKEN.encode(),
        urlencode(FORM | {"password": "hunter2"}).encode(),
        urlencode(FORM | {"password": ""}).encode(),
        urlencode(FORM | {"format": "jks"}).encode(),
        urlencode(FORM | {"more": "1"}).encode(),
        urlencode({name: value for name, value in FORM.items() if name != "language"}).encode(),
        urlencode([*FORM.items(), ("token", TOKEN)]).encode(),
        urlencode([*FORM.items(), ("password", PASSWORD)]).encode(),
        urlencode(FORM).encode() + b"&",
        urlencode(FORM).replace("p12", "%ff").encode(),
        urlencode(FORM | {"token": "x"}).encode() + b"%ED%A0%80",
        urlencode(FORM).encode() + b"\xff",
        urlencode(FORM).replace("&", ";").encode(),
        urlencode(FORM).encode("utf-16"),
        b"a=1&" * 8000,
    ],
)
def test_what_our_page_would_not_send_costs_no_invitation(house: FakeDoors, body: bytes) -> None:
    """A weak password least of all: the file may lie about for years."""
    reply = answer(house, "POST", "/redeem", OWN_PAGE, body)
    assert (reply.status, reply.is_refusal) == (400, True)
    assert reply.body == render_problem("en", Problem.MALFORMED)
    assert house.issued == []
    assert press(house).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "https://home.example.org"},
        {"origin": "http://home.example.org:8443"},
        {"origin": ""},
    ],
)
def test_a_foreign_pages_form_is_refused(house: FakeDoors, headers: dict[str, str]) -> None:
    """As far as browsers tell, and in a form that none can be made to send unasked."""
    reply = press(house, headers=OWN_PAGE | headers)
    assert (reply.status, reply.is_refusal) == (400, True)
    assert house.issued == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "Application/x-www-form-urlencoded; charset=UTF-8"},
        {"origin": "https://HOME.example.org:8443"},
        {"origin": "https://home.example.org", "host": "home.example.org"},
        {"sec-fetch-site": "none"},
    ],
)
def test_our_own_pages_form_is_taken(house: FakeDoors, headers: dict[str, str]) -> None:
    """Whether the browser tells where it comes from, or, being old, does not."""
    assert press(house, headers=OWN_PAGE | headers).status == 200


def test_an_old_browser_tells_nothing(house: FakeDoors) -> None:
    """Neither Origin nor Sec-Fetch-Site; the token in the form is what counts."""
    assert press(house, headers={"content-type": OWN_PAGE["content-type"]}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("POST", "/", 405, "GET, HEAD"),
        ("GET", "/redeem", 405, "POST"),
        ("OPTIONS", "/redeem", 405, "POST"),
        ("GET", "/favicon.ico", 404, None),
        ("GET", "/redeem/", 404, None),
        ("POST", "//redeem", 404, None),
        ("OPTIONS", "*", 404, None),
        ("GET", "", 404, None),
        ("GET", "/.well-known/est", 404, None),
        ("BREW", f"{PREFIX}cacerts", 405, "GET, HEAD"),
    ],
)
def test_a_path_has_its_method(
    house: FakeDoors, method: str, path: str, status: int, allowed: str | None
) -> None:
    """Nothing else is there, and none of it does anything."""
    reply = answer(house, method, path, OWN_PAGE, urlencode(FORM).encode())
    assert (reply.status, reply.headers.get("Allow")) == (status, allowed)
    assert house.issued == []


# ── what is not the visitor's fault ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "status", "problem"),
    [
        (Busy("another command"), 503, Problem.BUSY),
        (LockedError("the passphrase"), 503, Problem.LOCKED),
        (ClockError("the clock"), 503, Problem.CLOCK),
        (StoreError("/var/lib/certwarden"), 500, Problem.INTERNAL),
        (MaterialError("the root"), 500, Problem.INTERNAL),
    ],
)
def test_our_own_trouble_is_told_and_reported(
    house: FakeDoors, error: Error, status: int, problem: Problem
) -> None:
    """The visitor hears whether to try again, whoever runs it what it was."""
    house.trouble = error
    reply = press(house, headers=OWN_PAGE | {"accept-language": "de"})
    assert (reply.status, reply.is_refusal) == (status, False)
    assert reply.body == render_problem("de", problem)
    assert ("Retry-After" in reply.headers) is (status == 503)
    csr = build_csr(generate_key(KeyType.ECDSA_P256), ["a.example"])
    machine = {"content-type": "application/pkcs10", "authorization": "Basic OmE="}
    reply = answer(house, "POST", f"{PREFIX}simpleenroll", machine, csr)
    assert (reply.status, reply.content_type) == (status, "text/plain; charset=utf-8")
    assert house.reported == [error, error]


def test_nothing_secret_can_be_seen(house: FakeDoors) -> None:
    """What is printed by accident shows neither token nor password nor key."""
    request = Request("POST", "/redeem", OWN_PAGE, urlencode(FORM).encode())
    front = Front(house.as_doors(), authority_name=AUTHORITY, root_pem=house.ca.root_pem)
    reply = front.answer(request)
    shown = f"{request} {reply} {vars(front)} {house.issued} {reply.headers}"
    assert TOKEN not in shown
    assert PASSWORD not in shown
    key_pem = house.issued[0].key_pem
    assert key_pem is not None
    assert key_pem.reveal().decode() not in shown


# ── anything at all ───────────────────────────────────────────────────────────────────────────────

PATHS = st.sampled_from(
    [
        "/",
        "/redeem",
        *(
            PREFIX + path
            for path in ("cacerts", "csrattrs", "simpleenroll", "simplereenroll", "fullcmc")
        ),
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from([*OWN_PAGE, "authorization", "accept-language", "user-agent"]),
    st.sampled_from(["Basic Og==", "application/pkcs10", *OWN_PAGE.values()])
    | st.text(st.characters(max_codepoint=255)),
)
FIELDS = st.dictionaries(
    st.sampled_from([*FORM, "x"]), st.sampled_from([*list(FORM.values())[1:], ""]) | st.text()
)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["GET", "HEAD", "POST"]) | st.text(),
    PATHS | st.text(),
    HEADERS,
    st.binary() | FIELDS.map(lambda fields: urlencode(fields, errors="replace").encode()),
    st.none() | st.just("0c"),
)


@settings(deadline=None, max_examples=400)
@given(REQUESTS)
def test_no_request_does_harm(request: Request) -> None:
    """Whatever comes, there is a reply, which is not that we failed; without a token, no more."""
    house = FakeDoors()
    front = Front(house.as_doors(), authority_name=AUTHORITY, root_pem=house.ca.root_pem)
    reply = front.answer(request)
    assert 200 <= reply.status < 500
    assert house.issued == []
    assert house.reported == []


# ── before the real book ──────────────────────────────────────────────────────────────────────────


def front_of(house: ClientHouse) -> Front:
    world = house.world
    doors = Doors(
        lambda token, csr: redeem(world, token, csr=csr),
        lambda serial, csr: redeem_by_certificate(world, serial, csr),
    )
    return Front(doors, authority_name=house.root.name, root_pem=house.root.pem)


def invited(house: ClientHouse, enrolment: Enrolment = Enrolment.PAGE) -> str:
    """The token of a new invitation for alice."""
    _, token = invite(house.world, InvitationRequest("alice", enrolment=enrolment))
    return token.reveal().decode()


def test_the_button_opens_the_door() -> None:
    """What the page brings is let in, is in the book, and was to be had once."""
    house = ClientHouse()
    front = front_of(house)
    body = urlencode(FORM | {"token": invited(house), "format": "pem"}).encode()
    request = Request("POST", "/redeem", OWN_PAGE, body)
    bundle = front.answer(request).body
    key = load_pem_private_key(bundle, PASSWORD.encode())
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (entry,) = house.world.register.named("alice")
    client = IssuedClient(entry, bundle.partition(b"-----BEGIN ENC")[0], Secret(key_pem))
    assert house.admission(client) is Admission.LET_IN
    assert house.world.register.pem(entry.serial) == client.pem
    assert front.answer(request).status == 403
    assert len(house.world.register.named("alice")) == 1


def test_a_program_enrols_and_renews() -> None:
    """By a token first, then by its certificate, as often as it is invited."""
    house = ClientHouse()
    front = front_of(house)
    key_pem = generate_key(KeyType.ECDSA_P256)
    csr = build_csr(key_pem, ["alice.example"])
    credentials = b64encode(f"alice:{invited(house, Enrolment.EST)}".encode()).decode()
    headers = {"content-type": "application/pkcs10", "authorization": f"Basic {credentials}"}
    enrol = Request("POST", f"{PREFIX}simpleenroll", headers, csr)
    first = front.answer(enrol)
    assert (first.status, front.answer(enrol).status) == (200, 401)
    (entry,) = house.world.register.named("alice")
    assert house.admission(received(first, entry, key_pem)) is Admission.LET_IN

    renewal = Request("POST", f"{PREFIX}simplereenroll", headers, csr, entry.serial)
    assert front.answer(renewal).status == 403
    invited(house, Enrolment.EST)
    second = front.answer(renewal)
    assert (second.status, front.answer(renewal).status) == (200, 403)
    newest = house.world.register.named("alice")[0]
    assert newest.serial != entry.serial
    for reply, certificate in ((first, entry), (second, newest)):
        assert house.admission(received(reply, certificate, key_pem)) is Admission.LET_IN


def received(reply: Reply, entry: ClientCertificate, key_pem: Secret) -> IssuedClient:
    """The certificate in a reply, with the key that the client has made."""
    (certificate,) = load_der_pkcs7_certificates(b64decode(reply.body))
    return IssuedClient(entry, certificate.public_bytes(Encoding.PEM), key_pem)


def test_a_locked_authority_burns_nothing() -> None:
    """The same link does once somebody has unlocked it."""
    house = ClientHouse(is_locked=True)
    front = front_of(house)
    body = urlencode(FORM | {"token": invited(house)}).encode()
    request = Request("POST", "/redeem", OWN_PAGE, body)
    assert front.answer(request).status == 503
    house.world.key = house.key
    assert front.answer(request).status == 200
