"""One request to Cloudflare: what leaves this machine, what is borne, and what is told of it."""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from certwarden.errors import ZoneError
from certwarden.model import Secret
from certwarden.zone import client as client_module
from certwarden.zone.client import CloudflareClient
from tests.fakes_store import FakeClock
from tests.waiting import wait_until
from tests.world.authority import TestAuthority
from tests.world.server import Handler, LoopbackServer

TOKEN = "cfut_" + "s3cret0123" * 5
EMPTY = json.dumps({"success": True, "errors": [], "messages": [], "result": []}).encode()
ENVIRONMENT = {
    "CLOUDFLARE_API_TOKEN": "cfut_" + "e" * 48,
    "CLOUDFLARE_API_KEY": "f" * 37,
    "CLOUDFLARE_EMAIL": "somebody@example.org",
    "CLOUDFLARE_API_USER_SERVICE_KEY": "v1.0-service",
    "CLOUDFLARE_BASE_URL": "http://127.0.0.1:9/elsewhere",
    "CLOUDFLARE_CUSTOM_HEADERS": "X-Mine: ümlaut\nauthorization: Bearer other\nX-Auth-Key: k",
    "CLOUDFLARE_LOG": "debug",
}


class Replies:
    """A server that answers everything with the next of `scripted`, else with an empty list."""

    def __init__(self) -> None:
        self.scripted: list[tuple[int, bytes, dict[str, str]]] = []
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        self.origin = ""

    def say(self, status: int, body: bytes | dict[str, object], **headers: str) -> None:
        """The next reply."""
        wire = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.scripted.append(
            (status, wire, {name.replace("_", "-"): text for name, text in headers.items()})
        )

    def refuse(self, status: int, code: int, message: str, **headers: str) -> None:
        """The next reply is an error of Cloudflare's."""
        errors = [{"code": code, "message": message}]
        self.say(status, {"success": False, "errors": errors, "result": None}, **headers)

    @contextmanager
    def serve(self, context: ssl.SSLContext | None = None) -> Iterator["Replies"]:
        """Serve while the context is open."""
        replies = self

        class Exchange(Handler):
            def respond(self, body: bytes) -> None:  # noqa: ARG002 - only who asks matters here
                replies.seen.append((self.path, dict(self.headers.items())))
                next_one = replies.scripted.pop(0) if replies.scripted else (200, EMPTY, {})
                self.send(*next_one)

        with LoopbackServer(Exchange, context=context) as server:
            self.origin = server.origin
            yield self


@pytest.fixture
def replies() -> Iterator[Replies]:
    with Replies().serve() as serving:
        yield serving


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(replies: Replies, clock: FakeClock) -> CloudflareClient:
    return CloudflareClient(Secret(TOKEN.encode()), base_url=f"{replies.origin}/v4", clock=clock)


def _fails(client: CloudflareClient) -> ZoneError:
    with pytest.raises(ZoneError) as caught:
        client.everything("/zones", {}, "look for the zone example.org")
    error = caught.value
    assert error.hint
    assert TOKEN not in f"{error!r} {error.what} {error.hint} {error.__cause__!r}"
    return error


# ── what leaves this machine ──────────────────────────────────────────────────────────────────────


def test_only_our_headers(
    client: CloudflareClient, replies: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is sent as Bearer and nothing of CLOUDFLARE_* is, whatever the environment says."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # Nor does a proxy get to see what goes to loopback in the clear.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    client.everything("/zones", {"name": "example.org"}, "look for the zone example.org")
    ((path, headers),) = replies.seen
    assert path == "/v4/zones?name=example.org&page=1"
    sent = {name.lower(): value for name, value in headers.items()}
    assert sent["authorization"] == f"Bearer {TOKEN}"
    assert sent["accept-encoding"] == "identity"
    assert not {name for name in sent if name.startswith(("x-auth", "x-mine"))}
    assert not {value for value in ENVIRONMENT.values() if value in str(sent)}
    assert not {"x-stainless-os", "x-stainless-arch"} & set(sent)


def test_loads_no_type_tree() -> None:
    """A call loads none of the library's resources, and CLOUDFLARE_LOG switches nothing on."""
    program = (
        "import sys\n"
        "from certwarden.errors import ZoneError\n"
        "from certwarden.model import Secret\n"
        "from certwarden.zone.client import CloudflareClient\n"
        "from tests.fakes_store import FakeClock\n"
        f"client = CloudflareClient(Secret({TOKEN.encode()!r}), base_url='http://127.0.0.1:9/v4',"
        " clock=FakeClock())\n"
        "try:\n    client.everything('/zones', {}, 'look')\nexcept ZoneError:\n    pass\n"
        "print([name for name in sys.modules if name.startswith('cloudflare.resources')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (b"cfk_" + b"a" * 40, "Global API Key"),
        (b"0123456789abcdef" * 2 + b"01234", "Global API Key"),
        (b"", "empty"),
        (b"two words", "characters"),
        ("schlüssel".encode(), "characters"),
    ],
)
def test_refuses_what_is_no_token(replies: Replies, token: bytes, words: str) -> None:
    """A Global API Key, nothing and nonsense are refused before anything is sent."""
    client = CloudflareClient(Secret(token), base_url=replies.origin, clock=FakeClock())
    error = _fails(client)
    assert words in error.what
    assert error.permanent
    assert token.decode() not in error.what or not token
    assert replies.seen == []


def test_a_line_end_is_no_part_of_the_token(replies: Replies) -> None:
    """A token file may end in a line end."""
    token = Secret(f"{TOKEN}\n".encode())
    CloudflareClient(token, base_url=replies.origin, clock=FakeClock()).everything("/zones", {}, "")
    assert replies.seen[0][1]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url",
    ["http://api.example.org/v4", "ftp://127.0.0.1", "127.0.0.1:80", "https://", "http://::1"],
)
def test_refuses_to_send_the_token_in_the_clear(url: str) -> None:
    """A base URL is https, or http on loopback."""
    error = _fails(CloudflareClient(Secret(TOKEN.encode()), base_url=url, clock=FakeClock()))
    assert error.permanent
    assert "base_url" in error.hint


def test_every_spelling_of_https_asks_for_a_certificate(tmp_path: Path) -> None:
    """A base URL in capitals is TLS as well: its server proves who it is, or gets no token."""
    replies = Replies()
    with replies.serve(TestAuthority(tmp_path).server_context("stranger")):
        url = replies.origin.replace("https", "HTTPS")
        error = _fails(CloudflareClient(Secret(TOKEN.encode()), base_url=url, clock=FakeClock()))
    assert "certificate" in error.what
    assert replies.seen == []


# ── what is borne ─────────────────────────────────────────────────────────────────────────────────


def test_reads_all_pages(client: CloudflareClient, replies: Replies) -> None:
    """A listing is read to its last page."""
    for number in (1, 2):
        info = {"page": number, "total_pages": 2}
        replies.say(200, {"success": True, "result": [{"id": str(number)}], "result_info": info})
    assert [item["id"] for item in client.everything("/zones", {}, "look")] == ["1", "2"]


def test_endless_pages_end(client: CloudflareClient, replies: Replies) -> None:
    """A listing without an end is an error, not a loop."""
    info = {"total_pages": 10**9}
    for _ in range(30):
        replies.say(200, {"success": True, "result": [], "result_info": info})
    assert "lists more than" in _fails(client).what
    assert len(replies.seen) < 30


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"[]",
        b"null",
        b'{"success": true',
        b'{"success": true, "result": {}}',
        b'{"success": true, "result": [1]}',
        b'{"success": true, "result": [{"id": 1}]}',
        b'{"success": "yes", "result": []}',
        b'{"success": false, "errors": [null, {"code": "x"}, {"error_chain": 7}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_nonsense_is_asked_again(client: CloudflareClient, replies: Replies, reply: bytes) -> None:
    """A reply that cannot be understood is never taken for an answer."""
    replies.say(200, reply)
    assert client.everything("/zones", {}, "look") == ()
    assert len(replies.seen) == 2


def test_a_compressed_reply_is_not_unpacked(client: CloudflareClient, replies: Replies) -> None:
    """Nobody gets gigabytes into memory by a few compressed bytes."""
    for _ in range(4):
        replies.say(200, EMPTY, Content_Encoding="gzip")
    assert "compressed" in _fails(client).what


def test_an_endless_reply_ends(
    client: CloudflareClient, replies: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more of a reply is read than any true one has."""
    monkeypatch.setattr(client_module, "MOST_BYTES", 1000)
    for _ in range(4):
        replies.say(200, b" " * 1001)
    assert "does not end" in _fails(client).what


def test_a_redirect_is_not_followed(client: CloudflareClient, replies: Replies) -> None:
    """The token goes nowhere else; a captive portal is told apart from Cloudflare."""
    for _ in range(4):
        replies.say(302, b"<html>log in first</html>", Location=f"{replies.origin}/login")
    assert "status 302" in _fails(client).what
    assert not [path for path, _ in replies.seen if "login" in path]


def test_nobody_there(clock: FakeClock) -> None:
    """Where nobody answers it is tried four times, with growing pauses, and then told."""
    client = CloudflareClient(Secret(TOKEN.encode()), base_url="http://127.0.0.1:9/v4", clock=clock)
    error = _fails(client)
    assert not error.permanent
    assert "look for the zone example.org" in error.what
    assert len(clock.sleeps) == 3
    assert all(0.25 <= pause <= 0.75 * 2**n for n, pause in enumerate(clock.sleeps))


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Ratelimit": '"default";r=0;t=11'}, 11),
        (
            {
                "Date": "Sun, 22 Nov 1970 12:00:00 GMT",
                "Retry-After": "Sun, 22 Nov 1970 12:00:09 GMT",
            },
            9,
        ),
    ],
)
def test_waits_as_asked(
    client: CloudflareClient,
    replies: Replies,
    clock: FakeClock,
    headers: dict[str, str],
    wait: float,
) -> None:
    """A rate limit's wait is kept: seconds, a date against the reply's own, or Ratelimit's."""
    replies.refuse(429, 971, "Please wait", **headers)
    client.everything("/zones", {}, "look")
    assert clock.sleeps == [wait]


def test_never_waits_long(client: CloudflareClient, replies: Replies, clock: FakeClock) -> None:
    """A long wait is the caller's: it is told at once how long."""
    replies.refuse(429, 971, "Please wait", Retry_After="300")
    error = _fails(client)
    assert error.retry_after == timedelta(seconds=300)
    assert "300 s" in error.what
    assert not error.permanent
    assert clock.sleeps == []


def test_many_short_waits_are_a_long_one(
    client: CloudflareClient, replies: Replies, clock: FakeClock
) -> None:
    """All waits of one piece of work together stay within three quarters of a minute."""
    for _ in range(4):
        replies.refuse(429, 971, "Please wait", Retry_After="20")
    assert _fails(client).retry_after == timedelta(seconds=20)
    assert clock.sleeps == [20, 20]


def test_503_with_its_wait(client: CloudflareClient, replies: Replies, clock: FakeClock) -> None:
    """A 503 that says when to come back is obeyed as well."""
    replies.say(503, b"<html>", Retry_After="3")
    client.everything("/zones", {}, "look")
    assert clock.sleeps == [3]


@pytest.mark.parametrize(
    ("limits", "wait"),
    [
        ('"default";r=0;t=12', 12),
        ('"default";r=0; t=12, "burst";r=7;t=30', 12),
        ('"default";r=9;t=300, "burst";r=0;t=3', 3),
        ('"default";r=1;t=300', None),
        ('"default";r=10;t=300', None),
        ("", None),
    ],
)
def test_the_last_request_is_kept_back(
    client: CloudflareClient,
    replies: Replies,
    clock: FakeClock,
    limits: str,
    wait: float | None,
) -> None:
    """When nothing is left of the allowance it waits: going over it is punished by five minutes."""
    replies.say(200, {"success": True, "result": []}, Ratelimit=limits)
    client.everything("/zones", {}, "look")
    assert clock.sleeps == []
    client.everything("/zones", {}, "look")
    assert clock.sleeps == ([wait] if wait else [])
    assert len(replies.seen) == 2


def test_few_requests_at_once(clock: FakeClock) -> None:
    """However many threads ask, no more than a few requests are under way."""
    under_way, most, go_on = Counter[str](), [0], threading.Event()

    class Exchange(Handler):
        def respond(self, body: bytes) -> None:  # noqa: ARG002 - there is none
            under_way["now"] += 1
            most[0] = max(most[0], under_way["now"])
            go_on.wait(30)
            under_way["now"] -= 1
            self.send(200, EMPTY)

    with LoopbackServer(Exchange) as server, ThreadPoolExecutor(40) as pool:
        client = CloudflareClient(Secret(TOKEN.encode()), base_url=server.origin, clock=clock)
        asked = [pool.submit(client.everything, "/zones", {}, "look") for _ in range(40)]
        wait_until(lambda: under_way["now"] == client_module.MOST_AT_ONCE)
        go_on.set()
        assert {each.result() for each in asked} == {()}
    assert most == [client_module.MOST_AT_ONCE]


# ── what is told ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "code", "message", "words", "hint"),
    [
        (403, 9109, "Invalid access token", "revoked", "make a new token"),
        (401, 1000, "Invalid API Token", "revoked", "make a new token"),
        (403, 9103, "Unknown X-Auth-Key or X-Auth-Email", "revoked", "make a new token"),
        (403, 9106, "Missing headers", "revoked", "make a new token"),
        (
            403,
            9109,
            "Cannot use the access token from location: 2001:db8::7",
            "2001:db8::7",
            "IP address filter",
        ),
        (403, 9109, "Unauthorized to access requested resource", "does not let", "DNS / Edit"),
        (403, 10000, "Authentication error", "does not let", "DNS / Edit"),
        (403, 1009, "Forbidden", "does not let", "DNS / Edit"),
        (400, 6003, "Invalid request headers", "form of one", "without quotes"),
        (400, 6111, "Invalid format", "form of one", "without quotes"),
        (404, 7003, "Could not route", "no such zone", "zone_ids"),
        (400, 81053, "A record with that host already exists", "in the way", "CNAME"),
        (400, 81045, "Record quota exceeded", "no room", "delete records"),
        (400, 1038, "not allowed", ".tk", "another top-level domain"),
        (400, 9021, "Invalid TTL", "Invalid TTL", "report"),
        (400, 1004, "DNS Validation Error", "DNS Validation Error", "report"),
    ],
)
def test_each_code_is_one_sentence(  # noqa: PLR0917 - one row of a table
    client: CloudflareClient,
    replies: Replies,
    status: int,
    code: int,
    message: str,
    words: str,
    hint: str,
) -> None:
    """Every documented code says what is wrong and what to do, and that waiting will not help."""
    replies.refuse(status, code, message)
    error = _fails(client)
    assert words in error.what
    assert hint in error.hint
    assert (error.code, error.permanent, len(replies.seen)) == (code, True, 1)


def test_the_chain_of_an_error_counts(client: CloudflareClient, replies: Replies) -> None:
    """A code that stands in the error_chain alone is understood."""
    chain = [{"code": 6111, "message": "Invalid format for Authorization header"}]
    errors = [{"code": 424242, "message": "wrapped", "error_chain": chain}]
    replies.say(400, {"success": False, "errors": errors})
    assert _fails(client).code == 6111


def test_an_unknown_code_is_quoted(client: CloudflareClient, replies: Replies) -> None:
    """What is not documented is told as it was said, cleaned, with what was being done."""
    replies.refuse(418, 4711, f"I am\x1b[31m a teapot {TOKEN} {{doing}}")
    error = _fails(client)
    assert "I am[31m a teapot *** {doing}" in error.what
    assert "look for the zone" in error.what
    assert (error.code, error.permanent) == (4711, False)
