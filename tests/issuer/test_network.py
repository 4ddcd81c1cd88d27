"""One request with its nonce, its retries and its limits, against a server that misbehaves."""

import base64
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from urllib3.util.ssl_ import create_urllib3_context

from certwarden import __version__
from certwarden.errors import IssuerError
from certwarden.issuer import network, transport
from certwarden.issuer.client import Client
from certwarden.issuer.problems import URN
from tests.builders import a_key
from tests.fakes_store import FakeClock
from tests.world.authority import TestAuthority
from tests.world.process import free_port
from tests.world.server import Handler, LoopbackServer


@dataclass
class Script:
    """What the server answers: a list of replies, then a success; and what it was asked."""

    replies: list[tuple[int, bytes, dict[str, str]] | None] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    nonces_used: list[str] = field(default_factory=list)
    user_agents: set[str | None] = field(default_factory=set)
    credentials: set[str | None] = field(default_factory=set)
    nonces_made: int = 0
    origin: str = ""
    delay: float = 0.0
    at_once: int = 0
    most_at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def nonce(self) -> str:
        with self._lock:
            self.nonces_made += 1
            return f"nonce{self.nonces_made:07}"

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1


class Scripted(LoopbackServer):
    script: Script


class ScriptedHandler(Handler):
    server: Scripted

    def respond(self, body: bytes) -> None:
        script = self.server.script
        script.asked.append((self.command, self.path))
        script.user_agents.add(self.headers.get("User-Agent"))
        script.credentials.add(self.headers.get("Authorization"))
        nonce = {"Replay-Nonce": script.nonce()}
        if self.path == "/dir":
            names = ("newNonce", "newAccount", "newOrder", "revokeCert")
            document = {name: f"{self.server.origin}/{name}" for name in names}
            self.send(200, json.dumps(document).encode())
        elif self.command == "HEAD":
            self.send(200, b"", nonce)
        else:
            script.nonces_used.append(_nonce_of(body))
            with script.counted():
                self.server.stopping.wait(script.delay)
            reply = script.replies.pop(0) if script.replies else (200, b"{}", {})
            if reply is None:
                self.hang_up()
            else:
                status, content, headers = reply
                self.send(status, content, nonce | headers)


def _nonce_of(body: bytes) -> str:
    protected = json.loads(body)["protected"]
    return str(json.loads(base64.urlsafe_b64decode(protected + "=="))["nonce"])


def refused(kind: str, status: int = 400, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    document = json.dumps({"type": URN + kind, "detail": "as scripted"}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, document, {"Content-Type": "application/problem+json", **named}


@pytest.fixture
def script() -> Iterator[Script]:
    with Scripted(ScriptedHandler) as server:
        server.script = Script(origin=server.origin)
        yield server.script


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(script: Script, clock: FakeClock) -> Iterator[Client]:
    client = Client(f"{script.origin}/dir", clock=clock, ca_bundle=None)
    client.sign_as(a_key(), "http://127.0.0.1/account")
    yield client
    client.close()


@pytest.fixture
def ask(client: Client, script: Script) -> Callable[[], object]:
    """A signed request."""
    return lambda: client.answer(f"{script.origin}/challenge")


def test_every_request_names_certwarden(ask: Callable[[], object], script: Script) -> None:
    """RFC 8555 section 6.1 wants a User-Agent of our own."""
    ask()
    assert script.user_agents == {f"certwarden/{__version__}"}


def test_nothing_of_the_environment_comes_between(
    ask: Callable[[], object], script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what a netrc file holds is sent, nor does a proxy see what is for loopback."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    ask()
    assert script.credentials == {None}


def test_nonces_come_from_the_replies(ask: Callable[[], object], script: Script) -> None:
    """One newNonce for a whole conversation, and no nonce twice."""
    for _ in range(4):
        ask()
    assert [path for _, path in script.asked].count("/newNonce") == 1
    assert [path for _, path in script.asked].count("/dir") == 1
    assert len(set(script.nonces_used)) == 4


def test_five_refused_nonces_are_survived(
    ask: Callable[[], object], script: Script, clock: FakeClock
) -> None:
    """badNonce is tried again at once, each time with the nonce of the refusal."""
    script.replies = [refused("badNonce")] * 5
    ask()
    assert len(set(script.nonces_used)) == 6
    assert [path for _, path in script.asked].count("/newNonce") == 1
    assert clock.sleeps == []


def test_stale_stock_of_nonces_costs_one_try(
    client: Client, script: Script, clock: FakeClock
) -> None:
    """A refused request goes on with the nonce of its refusal, not with another old one."""
    with ThreadPoolExecutor(8) as threads:  # so that several are in stock
        list(threads.map(client.answer, [f"{script.origin}/challenge"] * 8))
    script.nonces_used.clear()
    script.replies = [refused("badNonce")]
    client.answer(f"{script.origin}/challenge")
    assert int(script.nonces_used[1].removeprefix("nonce")) == script.nonces_made - 1
    assert clock.sleeps == []


def test_old_nonces_are_not_used(
    ask: Callable[[], object], script: Script, clock: FakeClock
) -> None:
    """What lay about for longer than a CA may remember is not tried first."""
    ask()
    clock.advance(timedelta(seconds=network.NONCE_LIFETIME + 1))
    ask()
    assert [path for _, path in script.asked].count("/newNonce") == 2


def test_requests_at_once_are_bounded(client: Client, script: Script) -> None:
    """However many orders are under way, a CA sees a modest number of requests, none of a waiting
    one's nonces, and each nonce once.
    """
    script.delay = 0.02
    count = 4 * transport.MAX_AT_ONCE
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(client.answer, [f"{script.origin}/challenge"] * count))
    assert 1 < script.most_at_once <= transport.MAX_AT_ONCE
    assert len(set(script.nonces_used)) == len(script.nonces_used) == count
    paths = [path for _, path in script.asked]
    assert paths.count("/newNonce") <= transport.MAX_AT_ONCE
    assert paths.count("/dir") == 1


def test_sixth_refused_nonce_is_an_error(ask: Callable[[], object], script: Script) -> None:
    """Somewhere it ends."""
    script.replies = [refused("badNonce")] * 6
    with pytest.raises(IssuerError) as caught:
        ask()
    assert caught.value.problem == "badNonce"


@pytest.mark.parametrize("reply", [None, refused("serverInternal", 500), (502, b"<html>", {})])
def test_three_passing_faults_are_survived(
    ask: Callable[[], object],
    script: Script,
    clock: FakeClock,
    reply: tuple[int, bytes, dict[str, str]] | None,
) -> None:
    """A dropped connection and a 5xx are tried again thrice, later each time, with new nonces."""
    script.replies = [reply] * 3
    ask()
    assert len(set(script.nonces_used)) == 4
    assert [path for _, path in script.asked].count("/newNonce") == 4
    assert [0.25 <= clock.sleeps[0] <= 0.75, 0.5 <= clock.sleeps[1] <= 1.5] == [True, True]
    assert 1.0 <= clock.sleeps[2] <= 3.0


@pytest.mark.parametrize(("reply", "status"), [(None, None), (refused("serverInternal", 503), 503)])
def test_fourth_passing_fault_is_an_error(
    ask: Callable[[], object],
    script: Script,
    reply: tuple[int, bytes, dict[str, str]] | None,
    status: int | None,
) -> None:
    """What does not pass is told, with its status."""
    script.replies = [reply] * 4
    with pytest.raises(IssuerError) as caught:
        ask()
    assert caught.value.status == status
    assert not caught.value.permanent


def test_refusal_is_not_tried_again(ask: Callable[[], object], script: Script) -> None:
    """A server that has understood and refused is not asked again."""
    script.replies = [refused("rateLimited", 429, Retry_After="60")]
    with pytest.raises(IssuerError) as caught:
        ask()
    assert caught.value.retry_after == timedelta(seconds=60)
    assert caught.value.status == 429
    assert len(script.nonces_used) == 1


def test_short_retry_after_of_a_503_is_obeyed(
    ask: Callable[[], object], script: Script, clock: FakeClock
) -> None:
    """A busy server that says when to come back is not asked before."""
    script.replies = [refused("serverInternal", 503, Retry_After="7")]
    ask()
    assert clock.sleeps == [7.0]


def test_long_retry_after_of_a_503_is_left_to_the_next_pass(
    ask: Callable[[], object], script: Script, clock: FakeClock
) -> None:
    """Nobody sits through an hour."""
    script.replies = [refused("serverInternal", 503, Retry_After="3600")]
    with pytest.raises(IssuerError) as caught:
        ask()
    assert caught.value.retry_after == timedelta(hours=1)
    assert clock.sleeps == []


def test_conflict_keeps_its_type(ask: Callable[[], object], script: Script) -> None:
    """A 409 is told by its problem, which the library would lose."""
    script.replies = [refused("alreadyReplaced", 409)]
    with pytest.raises(IssuerError) as caught:
        ask()
    assert (caught.value.problem, caught.value.status) == ("alreadyReplaced", 409)


def test_reply_without_bounds_is_cut_off(ask: Callable[[], object], script: Script) -> None:
    """A server cannot fill our memory."""
    script.replies = [(200, b"x" * (transport.MAX_REPLY_BYTES + 1), {})]
    with pytest.raises(IssuerError, match="more than"):
        ask()


def test_reply_that_trickles_is_cut_off(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server cannot hold us for ever by a byte at a time."""
    monkeypatch.setattr(transport, "REPLY_TIMEOUT", -1.0)
    with pytest.raises(IssuerError, match="for one reply"):
        client.answer(f"{script.origin}/challenge")


def test_redirect_is_not_followed(ask: Callable[[], object], script: Script) -> None:
    """A signed request goes where it was signed for; a directory that moved is told."""
    script.replies = [(301, b"", {"Location": "http://elsewhere.example/"})]
    with pytest.raises(IssuerError) as caught:
        ask()
    assert caught.value.permanent
    assert len(script.nonces_used) == 1


def test_missing_and_unreadable_nonces_are_told(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that gives no usable nonce gets a sentence."""
    monkeypatch.setattr(script, "nonce", lambda: "x")
    with pytest.raises(IssuerError, match="sent no nonce"):
        client.answer(f"{script.origin}/challenge")


def test_signed_requests_are_never_logged(
    ask: Callable[[], object], script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even at DEBUG, where the library would log them whole."""
    with caplog.at_level(logging.DEBUG):
        ask()
    assert "protected" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("acme")]
    assert script.nonces_used[0] not in caplog.text


def test_nobody_there_is_a_sentence(clock: FakeClock) -> None:
    """A refused connection is told by the system's own words, after three more tries."""
    client = Client(f"http://127.0.0.1:{free_port()}/dir", clock=clock, ca_bundle=None)
    with pytest.raises(IssuerError, match="cannot be reached: Connection refused"):
        _ = client.directory
    assert len(clock.sleeps) == network.MAX_RETRIES
    client.close()


def test_unknown_host_is_a_sentence(clock: FakeClock) -> None:
    """A name that is not in DNS is told, without the library's names for it."""
    client = Client("https://ca.invalid/dir", clock=clock, ca_bundle=None)
    with pytest.raises(IssuerError, match=r"ca\.invalid cannot be reached") as caught:
        _ = client.directory
    assert "HTTPSConnection" not in caught.value.what
    client.close()


class TestTrust:
    """Whom the directory's own TLS must convince."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[Scripted]:
        authority = TestAuthority(tmp_path)
        with Scripted(ScriptedHandler, context=authority.server_context("server")) as server:
            server.script = Script(origin=server.origin)
            yield server

    def directory(self, server: Scripted, ca_bundle: Path | None, clock: FakeClock) -> None:
        client = Client(f"{server.origin}/dir", clock=clock, ca_bundle=ca_bundle)
        try:
            _ = client.directory
        finally:
            client.close()

    def test_configured_bundle_is_trusted(
        self, server: Scripted, tmp_path: Path, clock: FakeClock
    ) -> None:
        """With its root in ca_bundle the server is talked to."""
        self.directory(server, tmp_path / "world-root.pem", clock)

    def test_unknown_authority_is_told_and_not_tried_again(
        self, server: Scripted, clock: FakeClock
    ) -> None:
        """A certificate that is not trusted does not become so by asking again."""
        with pytest.raises(IssuerError, match="is not to be trusted") as caught:
            self.directory(server, None, clock)
        assert "ca_bundle" in caught.value.hint
        assert clock.sleeps == []

    def test_authorities_are_read_once(
        self,
        server: Scripted,
        tmp_path: Path,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Not for each connection: that takes longer than all the rest on a small machine."""
        made: list[object] = []

        def create() -> object:
            made.append(create_urllib3_context())
            return made[-1]

        monkeypatch.setattr(transport, "create_urllib3_context", create)
        client = Client(f"{server.origin}/dir", clock=clock, ca_bundle=tmp_path / "world-root.pem")
        client.sign_as(a_key(), "http://127.0.0.1/account")
        server.script.delay = 0.02
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(client.answer, [f"{server.origin}/challenge"] * 8))
        client.close()
        assert server.script.most_at_once > 1
        assert len(made) == 1

    def test_environment_does_not_override_the_bundle(
        self, server: Scripted, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE say nothing where ca_bundle is configured."""
        other = tmp_path / "other"
        other.mkdir()
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setitem(os.environ, name, str(tmp_path / "world-root.pem"))
        with pytest.raises(IssuerError, match="is not to be trusted"):
            self.directory(server, TestAuthority(other).bundle, clock)

    @pytest.mark.parametrize("content", [None, b"", b"no certificate"])
    def test_unusable_bundle_is_told(
        self, server: Scripted, tmp_path: Path, clock: FakeClock, content: bytes | None
    ) -> None:
        """A bundle that is absent or holds no certificate is the user's to correct."""
        bundle = tmp_path / "bundle.pem"
        if content is not None:
            bundle.write_bytes(content)
        with pytest.raises(IssuerError) as caught:
            self.directory(server, bundle, clock)
        assert "ca_bundle" in caught.value.hint
        assert clock.sleeps == []
