"""The fault proxy passes everything through, and spoils what it is told to."""

import json
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tests.world.authority import TestAuthority
from tests.world.faultproxy import (
    PROBLEMS,
    AcmeFault,
    FaultProxy,
    Problem,
    classify,
    http_date,
    problem,
    subproblem,
)
from tests.world.server import Handler, LoopbackServer

ORDER = {"status": "valid", "finalize": "https://x/finalize-order/1", "certificate": "https://x/1"}


class Upstream(Handler):
    """Stands for Pebble where a test needs to say what it replies."""

    replies: dict[str, bytes]

    def respond(self, body: bytes) -> None:
        del body
        if self.path == "/nonce-plz":
            self.send(200, b"", {"Replay-Nonce": "fresh"})
            return
        self.send(
            200,
            self.replies.get(self.path, b"{}"),
            {"Replay-Nonce": "theirs", "Retry-After": "3", "X-Host": self.headers["Host"]},
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def chain(authority: TestAuthority) -> bytes:
    certificate, _ = authority.issue("leaf", ["example.org", "*.example.org"])
    return certificate.read_bytes() + authority.bundle.read_bytes()


@pytest.fixture
def proxy(authority: TestAuthority, chain: bytes) -> Iterator[FaultProxy]:
    Upstream.replies = {"/my-order/1": json.dumps(ORDER).encode(), "/certZ/1": chain}
    context = authority.server_context("upstream")
    with (
        LoopbackServer(Upstream, context=context) as upstream,
        FaultProxy(upstream.origin, authority=authority) as proxy,
    ):
        yield proxy
        assert proxy.errors == []


@pytest.fixture
def ask(proxy: FaultProxy, authority: TestAuthority) -> Callable[..., requests.Response]:
    def send(path: str, method: str = "POST", **more: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, proxy.origin + path, verify=str(authority.bundle), timeout=10, **more
            )

    return send


Ask = Callable[..., requests.Response]


def test_paths_are_known_by_what_they_are_for() -> None:
    """Faults are aimed at resources, whatever Pebble calls them."""
    for path, resource in (
        ("/dir", "directory"),
        ("/nonce-plz", "newNonce"),
        ("/order-plz", "newOrder"),
        ("/my-order/x", "order"),
        ("/finalize-order/x", "finalize"),
        ("/authZ/x", "authz"),
        ("/chalZ/x", "challenge"),
        ("/certZ/x", "cert"),
        ("/certZ/x/alternate/1", "cert"),
        ("/revoke-cert", "revoke"),
        ("/draft-ietf-acme-ari-03/renewalInfo/x", "renewalInfo"),
        ("/elsewhere", None),
    ):
        assert resource == classify(path)


def test_what_is_not_spoilt_passes_as_it_is(proxy: FaultProxy, ask: Ask) -> None:
    """Host, headers and body arrive; the log says what was asked."""
    reply = ask("/my-order/1", data=b"{}")
    assert reply.json() == ORDER
    assert proxy.origin.removeprefix("https://") == reply.headers["X-Host"]
    (request,) = proxy.requests
    assert (request.resource, request.status, request.forwarded) == ("order", 200, True)
    assert proxy.calls("order") == 1


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_a_problem_document(proxy: FaultProxy, ask: Ask, name: str) -> None:
    """Status, type, content type and a fresh nonce; Pebble never hears of the request."""
    proxy.inject(problem(name, "newOrder"))
    reply = ask("/order-plz")
    document = reply.json()
    assert PROBLEMS[name].status == reply.status_code == document["status"]
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert "urn:ietf:params:acme:error:" + PROBLEMS[name].type == document["type"]
    assert reply.headers["Replay-Nonce"] == "fresh"
    assert not proxy.requests[0].forwarded
    assert ask("/order-plz").status_code == 200


def test_a_wait_is_said_in_seconds_or_as_a_date(proxy: FaultProxy, ask: Ask) -> None:
    """RFC 9110 allows both."""
    proxy.inject(problem("rateLimited", "newOrder", retry_after="120"))
    assert ask("/order-plz").headers["Retry-After"] == "120"
    proxy.inject(problem("rateLimited", "newOrder", retry_after=http_date(120)))
    assert parsedate_to_datetime(ask("/order-plz").headers["Retry-After"]).tzinfo is not None


def test_a_problem_may_speak_of_single_names(proxy: FaultProxy, ask: Ask) -> None:
    """Subproblems carry their identifier."""
    custom = Problem(403, "caa", "no", (subproblem("a.example.org", "caa", "not here"),))
    proxy.inject(AcmeFault("problem", "finalize", problem=custom))
    (sub,) = ask("/finalize-order/1").json()["subproblems"]
    assert sub["identifier"] == {"type": "dns", "value": "a.example.org"}


def test_the_load_balancer_speaks_html(proxy: FaultProxy, ask: Ask) -> None:
    """503 without JSON: instead of the request, or after it was carried out."""
    proxy.inject(AcmeFault("html_503", headers={"Retry-After": "7"}))
    reply = ask("/order-plz")
    assert (
        reply.status_code,
        reply.headers["Content-Type"],
        reply.headers["Retry-After"],
    ) == (503, "text/html", "7")
    proxy.inject(AcmeFault("html_503_after"))
    assert ask("/order-plz").status_code == 503
    assert [request.forwarded for request in proxy.requests] == [False, True]


@pytest.mark.parametrize(("kind", "forwarded"), [("drop_before", False), ("drop_after", True)])
def test_the_connection_breaks(proxy: FaultProxy, ask: Ask, kind: str, *, forwarded: bool) -> None:
    """Before Pebble heard of it, or after."""
    proxy.inject(AcmeFault(kind))
    with pytest.raises(requests.ConnectionError):
        ask("/order-plz")
    (request,) = proxy.requests
    assert (0, forwarded) == (request.status, request.forwarded)


def test_garbage_is_no_json(proxy: FaultProxy, ask: Ask) -> None:
    """A good status and a body that cannot be read."""
    proxy.inject(AcmeFault("garbage", "order"))
    reply = ask("/my-order/1")
    assert reply.ok
    with pytest.raises(ValueError, match="Unterminated"):
        reply.json()


def test_a_huge_body_has_no_end(proxy: FaultProxy, authority: TestAuthority) -> None:
    """Who reads without limit reads a gigabyte."""
    proxy.inject(AcmeFault("huge"))
    context = authority.client_context()
    with urllib.request.urlopen(proxy.directory_url, context=context, timeout=10) as reply:
        assert reply.headers.get("Content-Length") is None
        assert len(reply.read(1_000_000)) == 1_000_000


def test_a_reply_may_be_anything(proxy: FaultProxy, ask: Ask) -> None:
    """For what no other kind says, such as a window of renewal."""
    proxy.inject(AcmeFault("reply", "renewalInfo", status=418, body=b'"tea"', headers={"X-A": "b"}))
    reply = ask("/draft-ietf-acme-ari-03/renewalInfo/x", "GET")
    assert (reply.status_code, reply.json(), reply.headers["X-A"]) == (418, "tea", "b")


def test_headers_are_rewritten(proxy: FaultProxy, ask: Ask) -> None:
    """Retry-After replaced or removed, Date set elsewhere."""
    proxy.inject(AcmeFault("headers", headers={"retry-after": "99", "Replay-Nonce": ""}))
    reply = ask("/my-order/1")
    assert reply.headers["Retry-After"] == "99"
    assert "Replay-Nonce" not in reply.headers
    true = parsedate_to_datetime(ask("/my-order/1").headers["Date"])
    proxy.inject(AcmeFault("date", seconds=-86400 * 365))
    false = parsedate_to_datetime(ask("/my-order/1").headers["Date"])
    assert 364 <= (true - false).days <= 366


def test_an_order_hangs_for_some_looks(proxy: FaultProxy, ask: Ask) -> None:
    """Processing, without a certificate, as often as told; then valid."""
    proxy.inject(AcmeFault("processing", "order", times=2))
    looks = [ask("/my-order/1").json() for _ in range(3)]
    assert [look["status"] for look in looks] == ["processing", "processing", "valid"]
    assert ["certificate" in look for look in looks] == [False, False, True]


def test_a_document_is_changed(proxy: FaultProxy, ask: Ask) -> None:
    """Single keys of a reply are replaced or removed."""
    proxy.inject(AcmeFault("change", "order", document={"status": "invalid", "certificate": None}))
    document = ask("/my-order/1").json()
    assert (document["status"], "certificate" in document) == ("invalid", False)


def test_a_download_is_wrong(proxy: FaultProxy, ask: Ask, chain: bytes) -> None:
    """Chain cut, PEM cut, another key, other names."""
    leaf, issuer = x509.load_pem_x509_certificates(chain)

    def download(kind: str) -> list[x509.Certificate]:
        proxy.inject(AcmeFault(kind, "cert"))
        return x509.load_pem_x509_certificates(ask("/certZ/1").content)

    assert [leaf] == download("truncated_chain")
    forged, *rest = download("wrong_key")
    assert [issuer] == rest
    assert forged.public_key() != leaf.public_key()
    assert _names(forged) == _names(leaf)
    with pytest.raises(InvalidSignature):
        forged.verify_directly_issued_by(issuer)
    forged = download("wrong_names")[0]
    assert forged.public_key() == leaf.public_key()
    assert _names(forged) == ["somebody-else.example.net"]
    with pytest.raises(ValueError, match="PEM"):
        download("truncated_pem")
    assert chain == ask("/certZ/1").content


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def test_faults_choose_their_requests(proxy: FaultProxy, ask: Ask) -> None:
    """By resource, method and number."""
    proxy.inject(AcmeFault("html_503", "order", method="POST", times=1, skip=1))
    asked = [("/my-order/1", "GET"), ("/order-plz", "POST"), *[("/my-order/1", "POST")] * 3]
    assert [ask(*each).status_code for each in asked] == [200, 200, 200, 503, 200]
    proxy.inject(AcmeFault("slow", seconds=0.01))
    assert ask("/dir", "GET").status_code == 200


def test_what_was_signed_is_remembered(proxy: FaultProxy, ask: Ask) -> None:
    """A test may look at what a request said; what is no JWS says nothing."""
    ask("/order-plz", data=b'{"payload": "eyJyZXBsYWNlcyI6ICJhLmIifQ", "protected": ""}')
    ask("/order-plz", data=b"nonsense")
    assert [request.payload for request in proxy.requests[-2:]] == [{"replaces": "a.b"}, {}]


def test_a_paused_proxy_answers_after_it_resumes(proxy: FaultProxy, ask: Ask) -> None:
    """Nothing is accepted meanwhile and nothing is lost."""
    proxy.pause()
    with pytest.raises(requests.RequestException), requests.Session() as session:
        session.get(proxy.directory_url, timeout=0.1)
    assert proxy.calls() == 0
    proxy.resume()
    assert ask("/dir", "GET").status_code == 200


def test_its_certificate_is_the_worlds(proxy: FaultProxy, tmp_path: Path) -> None:
    """Who trusts another authority does not come in."""
    stranger = TestAuthority(tmp_path)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        urllib.request.urlopen(proxy.directory_url, context=stranger.client_context(), timeout=5)
    assert isinstance(caught.value.__cause__ or caught.value.args[0], ssl.SSLError)


def test_mistakes_in_a_fault_are_found() -> None:
    """A misspelt kind or resource does not go unnoticed."""
    with pytest.raises(ValueError, match="nonsense"):
        AcmeFault("nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        AcmeFault("slow", "nonsense")
    with pytest.raises(ValueError, match="belongs"):
        AcmeFault("problem")
