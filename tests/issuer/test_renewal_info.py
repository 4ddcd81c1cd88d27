"""What a CA says about when to renew: a real one, and one that says odd things."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.renewal_info import (
    LONGEST_WAIT,
    SHORTEST_WAIT,
    USUAL_WAIT,
    WAIT_AFTER_PASSING_ERROR,
    AcmeRenewalInfos,
    read_renewal_window,
)
from certwarden.issuer.transport import MAX_REPLY_BYTES
from certwarden.model import RenewalAnswer, RenewalWindow
from certwarden.pki.certificate import renewal_certificate_id
from tests.fakes_store import FakeClock
from tests.issuer.conversation import Household
from tests.issuer.test_revoker import revoke
from tests.world.faultproxy import AcmeFault, FaultProxy
from tests.world.process import free_port
from tests.world.server import Handler, LoopbackServer

START, END = "2026-12-01T10:00:00Z", "2026-12-03T10:00:00Z"
WINDOW = {"suggestedWindow": {"start": START, "end": END}}
ID = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@dataclass
class Script:
    """What the server answers about a certificate, and what it was asked."""

    origin: str
    status: int = 200
    body: bytes = json.dumps(WINDOW).encode()
    headers: dict[str, str] = field(default_factory=dict)
    directory: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def directory_url(self) -> str:
        return f"{self.origin}/dir"


class Scripted(LoopbackServer):
    script: Script


class ScriptedHandler(Handler):
    server: Scripted

    def respond(self, body: bytes) -> None:
        del body
        script = self.server.script
        script.asked.append(f"{self.command} {self.path}")
        if self.path == "/dir":
            self.send(200, json.dumps(script.directory).encode())
        else:
            self.send(script.status, script.body, script.headers)


@pytest.fixture
def script() -> Iterator[Script]:
    with Scripted(ScriptedHandler) as server:
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "renewalInfo")
        directory = {name: f"{server.origin}/{name}" for name in names}
        server.script = Script(server.origin, directory=directory)
        yield server.script


@pytest.fixture
def infos() -> Iterator[AcmeRenewalInfos]:
    infos = AcmeRenewalInfos(clock=FakeClock())
    yield infos
    infos.close()


@pytest.fixture
def ask(infos: AcmeRenewalInfos, script: Script) -> Callable[[], RenewalAnswer]:
    return lambda: infos.ask(script.directory_url, ID)


Ask = Callable[[], RenewalAnswer]


@pytest.mark.world
class TestPebble:
    """The real thing."""

    def ask(self, user: Household, leaf_pem: bytes) -> RenewalAnswer:
        certificate_id = renewal_certificate_id(leaf_pem)
        assert certificate_id is not None
        url = user.world.directory_url
        infos = AcmeRenewalInfos(clock=user.clock, ca_bundles={url: user.world.ca_bundle})
        try:
            return infos.ask(url, certificate_id)
        finally:
            infos.close()

    def test_window_of_a_certificate(self, user: Household) -> None:
        """It lies in the certificate's life, and is worth asking for again in six hours."""
        pair = user.obtain()
        answer = self.ask(user, pair.chain_pem[0])
        assert answer.window is not None
        certificate = pair.certificate
        assert certificate.not_before <= answer.window.start < answer.window.end
        assert answer.window.end <= certificate.not_after
        assert answer.retry_after == timedelta(hours=6)

    def test_revoked_certificate_is_due_now(self, user: Household) -> None:
        """The window of one that was revoked is in the past."""
        pair = user.obtain()
        revoke(user, pair)
        window = self.ask(user, pair.chain_pem[0]).window
        assert window is not None
        assert window.end <= user.clock.now()

    def test_certificate_of_somebody_else_is_an_error(
        self, user: Household, proxy: FaultProxy
    ) -> None:
        """A CA that does not know the certificate is asked again when it is usual."""
        url = user.world.directory_url
        infos = AcmeRenewalInfos(clock=user.clock, ca_bundles={url: user.world.ca_bundle})
        with pytest.raises(IssuerError) as caught:
            infos.ask(url, ID)
        assert caught.value.retry_after == USUAL_WAIT
        assert proxy.calls("renewalInfo") == 1
        infos.close()

    def test_explanation_is_passed_on(self, user: Household, proxy: FaultProxy) -> None:
        """Where the CA says why, a person can read it."""
        url = "https://ca.example/incident"
        proxy.inject(AcmeFault("change", "renewalInfo", document={"explanationURL": url}))
        window = self.ask(user, user.obtain().chain_pem[0]).window
        assert window is not None
        assert window.explanation_url == url


def test_answer_as_it_came(ask: Ask, script: Script) -> None:
    """Window and wait are the server's; the certificate is named behind its URL."""
    script.headers = {"Retry-After": "7200"}
    assert ask() == RenewalAnswer(
        RenewalWindow(datetime(2026, 12, 1, 10, tzinfo=UTC), datetime(2026, 12, 3, 10, tzinfo=UTC)),
        timedelta(hours=2),
    )
    assert script.asked == ["GET /dir", f"GET /renewalInfo/{ID}"]


def test_directory_is_asked_for_once(ask: Ask, script: Script) -> None:
    """Fifty certificates cost fifty requests and one."""
    for _ in range(3):
        ask()
    assert script.asked.count("GET /dir") == 1


def test_url_that_ends_in_a_slash_gets_no_second_one(ask: Ask, script: Script) -> None:
    """Some servers offer it like that."""
    script.directory["renewalInfo"] += "/"
    ask()
    assert script.asked[-1] == f"GET /renewalInfo/{ID}"


def test_server_without_ari_says_so_for_a_day(ask: Ask, script: Script) -> None:
    """That is an answer, no error."""
    del script.directory["renewalInfo"]
    assert ask() == RenewalAnswer(None, timedelta(days=1))
    assert script.asked == ["GET /dir"]


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", SHORTEST_WAIT),
        ("59", SHORTEST_WAIT),
        ("3600", timedelta(hours=1)),
        ("864000", LONGEST_WAIT),
        ("", USUAL_WAIT),
        ("soon", USUAL_WAIT),
    ],
)
def test_wait_is_kept_within_bounds(ask: Ask, script: Script, header: str, wait: timedelta) -> None:
    """Never more often than once a minute, never less than daily, else every six hours."""
    script.headers = {"Retry-After": header} if header else {}
    assert ask().retry_after == wait


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [
        (503, "120", timedelta(minutes=2)),
        (503, "", WAIT_AFTER_PASSING_ERROR),
        (503, "1", SHORTEST_WAIT),
        (429, "9999999", LONGEST_WAIT),
        (404, "", USUAL_WAIT),
        (301, "", USUAL_WAIT),
    ],
)
def test_every_error_says_when_to_ask_again(
    ask: Ask, script: Script, status: int, header: str, wait: timedelta
) -> None:
    """What may pass sooner than what will not; at once is never tried again, for it is advice."""
    script.status = status
    script.headers = {"Retry-After": header} if header else {}
    with pytest.raises(IssuerError) as caught:
        ask()
    assert caught.value.status == status
    assert caught.value.retry_after == wait
    assert len(script.asked) == 2


def test_server_that_is_away_is_tried_once(infos: AcmeRenewalInfos) -> None:
    """Fifty certificates do not wait for fifty timeouts."""
    url = f"http://127.0.0.1:{free_port()}/dir"
    errors = []
    for _ in range(2):
        with pytest.raises(IssuerError, match="cannot be reached") as caught:
            infos.ask(url, ID)
        errors.append(caught.value)
    assert errors[0] is errors[1]
    assert errors[0].retry_after == WAIT_AFTER_PASSING_ERROR


def test_plain_http_to_elsewhere_is_refused(
    infos: AcmeRenewalInfos, ask: Ask, script: Script
) -> None:
    """Nobody on the way says when to renew: neither directory nor answer is asked for in clear."""
    with pytest.raises(IssuerError, match="is not where a CA can be talked to"):
        infos.ask("http://ca.example/dir", ID)
    script.directory["renewalInfo"] = "http://ca.example/ari"
    with pytest.raises(IssuerError, match="is not where a CA can be talked to"):
        ask()


def test_reply_without_bounds_is_cut_off(ask: Ask, script: Script) -> None:
    """A server cannot fill our memory."""
    script.body = b"x" * (MAX_REPLY_BYTES + 1)
    with pytest.raises(IssuerError, match="more than"):
        ask()


@pytest.mark.parametrize(
    "window",
    [
        None,
        [],
        {},
        {"start": START},
        {"start": START, "end": 5},
        {"start": START, "end": START},
        {"start": END, "end": START},
        {"start": "2026-12-01T10:00:00", "end": END},
        {"start": "2026-12-01", "end": END},
        {"start": "yesterday", "end": END},
        {"start": START, "end": "9999-12-31T23:59:59-14:00"},
        {"start": "\x1b[2J", "end": END},
    ],
)
def test_window_that_makes_no_sense_is_an_error(window: object) -> None:
    """Nobody renews by a window that is none; what came is told without its control characters."""
    with pytest.raises(IssuerError, match="makes no sense") as caught:
        read_renewal_window("ca.example", {"suggestedWindow": window})
    assert "\x1b" not in caught.value.what


@pytest.mark.parametrize("document", [None, 5, [], "text", {"suggestedWindow": 1}])
def test_answer_of_another_shape_is_an_error(document: object) -> None:
    """Whatever JSON comes, there is a sentence."""
    with pytest.raises(IssuerError, match="makes no sense"):
        read_renewal_window("ca.example", document)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-12-01T10:00:00Z", datetime(2026, 12, 1, 10, tzinfo=UTC)),
        ("2026-12-01T10:00:00.123456789Z", datetime(2026, 12, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-12-01T11:30:00+01:30", datetime(2026, 12, 1, 10, tzinfo=UTC)),
        ("2040-01-19T03:14:08Z", datetime(2040, 1, 19, 3, 14, 8, tzinfo=UTC)),
        ("2106-02-07T06:28:16Z", datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC)),
    ],
)
def test_instants_are_read_as_rfc_3339_writes_them(text: str, instant: datetime) -> None:
    """In UTC, with fractions and offsets, and beyond 2038."""
    window = {"start": text, "end": "2999-01-01T00:00:00Z"}
    start = read_renewal_window("ca.example", {"suggestedWindow": window}).start
    assert (start, start.tzinfo) == (instant, UTC)


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example/why",
        "javascript:alert(1)",
        "https://ca.example/\x1b[2J",
        "https://ca.example/a b",
        "https://ca.example@evil.example/",
        "https://" + "x" * 3000,
        5,
        None,
    ],
)
def test_explanation_that_cannot_be_shown_is_left_out(url: object) -> None:
    """A link that a person is shown is https, clean, and says where it leads."""
    assert not read_renewal_window("ca", WINDOW | {"explanationURL": url}).explanation_url


def test_acme_library_is_not_loaded() -> None:
    """A pass with nothing to order stays light."""
    program = (
        "import sys, certwarden.issuer.renewal_info\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('acme', 'josepy', 'OpenSSL')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
