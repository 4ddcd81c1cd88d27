"""EST: what a program has to send, and what openssl makes of what it gets."""

import subprocess
from base64 import b64decode, b64encode, encodebytes
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from certwarden.enrolment.est import PREFIX, Est, failure
from certwarden.enrolment.exchange import Reply, Request
from certwarden.errors import (
    Busy,
    ClockError,
    Error,
    LockedError,
    MaterialError,
    StoreError,
)
from tests.enrolment.doors import SHOWN, TOKEN, FakeDoors

KEY = ec.generate_private_key(ec.SECP256R1())


def signed_by(key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


CSR = signed_by(KEY)
BASE64 = encodebytes(CSR)
PEM = x509.load_der_x509_csr(CSR).public_bytes(Encoding.PEM)


@pytest.fixture
def house() -> FakeDoors:
    return FakeDoors()


def ask(
    house: FakeDoors,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    serial: str | None = None,
) -> Reply:
    est = Est(house.redeem, house.reenrol, root_pem=house.ca.root_pem)
    return est.answer(Request(method, PREFIX + path, headers or {}, body, serial))


def enrol(
    house: FakeDoors,
    body: bytes = BASE64,
    token: str = TOKEN,
    media_type: str = "application/pkcs10",
) -> Reply:
    headers = {"content-type": media_type, "authorization": basic(f"alice:{token}")}
    return ask(house, "POST", "simpleenroll", body, headers)


def renew(house: FakeDoors, serial: str | None = SHOWN, body: bytes = BASE64) -> Reply:
    headers = {"content-type": "application/pkcs10"}
    return ask(house, "POST", "simplereenroll", body, headers, serial=serial)


def basic(text: str) -> str:
    return f"Basic {b64encode(text.encode()).decode()}"


def openssl(cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["openssl", *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    return done.stdout


# ── what is given ─────────────────────────────────────────────────────────────────────────────────


def test_openssl_reads_and_verifies_what_is_given(house: FakeDoors, tmp_path: Path) -> None:
    """The root from one path vouches for the certificate from the other, and that for the key."""
    root, leaf = ask(house, "GET", "cacerts"), enrol(house)
    assert (root.status, root.content_type) == (200, "application/pkcs7-mime")
    assert (leaf.status, leaf.content_type) == (
        200,
        "application/pkcs7-mime; smime-type=certs-only",
    )
    for name, reply in (("root", root), ("leaf", leaf)):
        assert max(map(len, reply.body.splitlines())) <= 76, "openssl reads no longer lines"
        (tmp_path / f"{name}.b64").write_bytes(reply.body)
        openssl(tmp_path, "base64", "-d", "-in", f"{name}.b64", "-out", f"{name}.p7")
        pkcs7 = ("pkcs7", "-inform", "DER", "-in", f"{name}.p7", "-print_certs")
        openssl(tmp_path, *pkcs7, "-out", f"{name}.pem")
    assert (tmp_path / "leaf.pem").read_text().count("BEGIN") == 1
    verify = ("verify", "-purpose", "sslclient", "-CAfile", "root.pem", "leaf.pem")
    # The CA of the tests does not live in the present.
    assert openssl(tmp_path, *verify[:1], "-no_check_time", *verify[1:]) == "leaf.pem: OK\n"
    public = KEY.public_key()
    assert x509.load_pem_x509_certificate(house.issued[0].pem).public_key() == public
    (given,) = load_der_pkcs7_certificates(b64decode(leaf.body))
    assert given.public_key() == public


def test_older_clients_are_told_the_encoding(house: FakeDoors) -> None:
    """RFC 8951 has done away with the header, but some of those in the field insist on it."""
    for reply in (ask(house, "GET", "cacerts"), enrol(house), renew(house)):
        assert reply.headers == {"Content-Transfer-Encoding": "base64"}


def test_there_are_no_wishes_about_requests(house: FakeDoors) -> None:
    """The profile decides what is in a certificate (RFC 7030 section 4.5.2)."""
    reply = ask(house, "GET", "csrattrs")
    assert (reply.status, reply.body, reply.content_type) == (204, b"", "")


@pytest.mark.parametrize(
    "body",
    [
        BASE64,
        BASE64.replace(b"\n", b"\r\n"),
        b64encode(CSR),
        b"\n \t" + BASE64 + b"\r\n\r\n",
        PEM,
        PEM.replace(b"\n", b"\r\n"),
        b"Certificate Request:\n    Data:\n" + PEM,
    ],
)
def test_a_request_may_be_broken_into_lines_as_it_likes(house: FakeDoors, body: bytes) -> None:
    """RFC 8951 section 3.2.1; and the PEM that openssl writes does as well."""
    assert enrol(house, body).status == 200
    assert renew(house, body=body).status == 200


@pytest.mark.parametrize(
    "media_type", ["application/pkcs10", "Application/PKCS10; charset=us-ascii"]
)
def test_the_media_type_may_have_parameters(house: FakeDoors, media_type: str) -> None:
    """RFC 9110 section 8.3.1."""
    assert enrol(house, media_type=media_type).status == 200


# ── who gets nothing ──────────────────────────────────────────────────────────────────────────────


def test_who_shows_nothing_is_told_how(house: FakeDoors) -> None:
    """Some programs send credentials only when asked to (RFC 7030 section 3.2.3)."""
    reply = ask(
        house, "POST", "simpleenroll", BASE64, {"content-type": "application/pkcs10"}, serial=SHOWN
    )
    assert reply.status == 401
    assert reply.headers == {
        "WWW-Authenticate": 'Basic realm="certwarden invitation", charset="UTF-8"'
    }
    assert not reply.is_refusal
    assert house.issued == []


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic äöü",
        basic("alice"),
        basic("alice:"),
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        basic(f"alice:{TOKEN} "),
        basic(f"alice:{TOKEN[:-1]}"),
        basic(f"alice:{TOKEN[:-1]}a"),
        f"Bearer {TOKEN}",
        "Digest username=alice",
    ],
)
def test_wrong_credentials_are_all_alike(house: FakeDoors, credentials: str) -> None:
    """Byte for byte, whether it was no token, or one that might have been; and in the same time."""
    headers = {"content-type": "application/pkcs10", "authorization": credentials}
    reply = ask(house, "POST", "simpleenroll", BASE64, headers)
    assert reply == enrol(house, token="aaaaaaaa-aaaaaaaaaaaaaaaaaaaaaaaaaa")
    assert (reply.status, reply.is_refusal) == (401, True)
    assert house.issued == []
    assert enrol(house).status == 200


@pytest.mark.parametrize("user", ["", "alice", "bob", "ä"])
def test_the_users_name_is_not_looked_at(house: FakeDoors, user: str) -> None:
    """The token says who it is."""
    headers = {"content-type": "application/pkcs10", "authorization": basic(f"{user}:{TOKEN}")}
    assert ask(house, "POST", "simpleenroll", BASE64, headers).status == 200


def test_a_token_is_good_once(house: FakeDoors) -> None:
    """The second time it is as wrong as any other."""
    assert enrol(house).status == 200
    assert enrol(house).status == 401
    assert len(house.issued) == 1


@pytest.mark.parametrize("serial", [None, "0c"])
def test_only_a_certificate_that_was_shown_is_renewed(house: FakeDoors, serial: str | None) -> None:
    """One that is verified, and whose client is invited; a token does not do."""
    reply = renew(house, serial)
    assert (reply.status, reply.is_refusal) == (403, serial is not None)
    assert reply.body.count(b"\n") == 1
    assert house.issued == []


def test_a_renewal_is_good_once(house: FakeDoors) -> None:
    """Each certificate uses up an invitation."""
    assert renew(house).status == 200
    assert renew(house).status == 403


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", b"not a readable PKCS#10"),
        (b"!!!!", b"not a PKCS#10 in base64"),
        (CSR, b"not a PKCS#10 in base64"),
        (b64encode(b"garbage"), b"not a readable PKCS#10"),
        (b64encode(CSR[:-9] + bytes(9)), b"not signed by"),
        (b64encode(bytes(17_000)), b"longer than"),
        (b64encode(signed_by(ec.generate_private_key(ec.SECP521R1()))), b"secp521r1"),
        (b"-----BEGIN CERTIFICATE REQUEST-----", b"not a readable PKCS#10"),
    ],
)
def test_a_bad_request_costs_no_invitation(house: FakeDoors, body: bytes, sentence: bytes) -> None:
    """It is told in a sentence what is wrong with it, before the token is looked at."""
    for reply in (enrol(house, body), enrol(house, body, token="wrong"), renew(house, body=body)):
        assert (reply.status, reply.content_type) == (400, "text/plain; charset=utf-8")
        assert sentence in reply.body
        assert reply.body.count(b"\n") == 1
    assert house.issued == []
    assert enrol(house).status == renew(house).status == 200


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_what_a_foreign_page_can_send_is_not_taken(house: FakeDoors, media_type: str) -> None:
    """Else it could use up the invitation of a browser that has a certificate."""
    headers = {"content-type": media_type}
    assert ask(house, "POST", "simplereenroll", BASE64, headers, serial=SHOWN).status == 415
    assert enrol(house, media_type=media_type).status == 415
    assert house.issued == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "cacerts", "GET, HEAD"),
        ("PUT", "csrattrs", "GET, HEAD"),
        ("GET", "simpleenroll", "POST"),
        ("HEAD", "simplereenroll", "POST"),
    ],
)
def test_a_path_has_its_method(house: FakeDoors, method: str, path: str, allowed: str) -> None:
    """What is fetched by accident changes nothing."""
    reply = ask(house, method, path, BASE64, {"authorization": basic(f":{TOKEN}")}, serial=SHOWN)
    assert (reply.status, reply.headers) == (405, {"Allow": allowed})
    assert house.issued == []


@pytest.mark.parametrize(
    "path", ["", "serverkeygen", "fullcmc", "label/simpleenroll", "simpleenroll/", "CACERTS"]
)
def test_nothing_else_is_there(house: FakeDoors, path: str) -> None:
    """What of RFC 7030 is left out is not found."""
    assert ask(house, "POST", path).status == ask(house, "GET", path).status == 404


# ── what is not the client's fault ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (Busy("client revoke alice"), 503, "busy"),
        (LockedError("s3cret"), 503, "locked"),
        (ClockError("s3cret"), 503, "clock"),
        (StoreError("/var/lib/s3cret"), 500, "wrong"),
        (MaterialError("s3cret"), 500, "wrong"),
        (Error("s3cret"), 500, "wrong"),
    ],
)
def test_what_is_wrong_with_us_is_told_without_its_details(
    house: FakeDoors, error: Error, status: int, sentence: str
) -> None:
    """Whether it is worth another try is; paths and purposes are not."""
    house.trouble = error
    with pytest.raises(type(error)):
        enrol(house)
    reply = failure(error)
    assert reply.status == status
    assert ("Retry-After" in reply.headers) is (status == 503)
    assert sentence in reply.body.decode()
    assert error.what not in reply.body.decode()
    assert not reply.is_refusal


def test_why_there_is_none_is_never_told(house: FakeDoors) -> None:
    """Wrong, late and used are one sentence, which is ours and not the book's."""
    for reply in (enrol(house, token="wrong"), renew(house, "0c")):
        assert b"not valid" not in reply.body
        assert reply.is_refusal
