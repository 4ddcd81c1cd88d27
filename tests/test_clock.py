"""Who can tell the time is asked in order, and what they say is understood; also beyond 2038."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests

import certwarden
from certwarden import BUILD_DATE, clock
from certwarden.clock import AlwaysTrusted, SystemTimeSources
from tests.builders import NOW
from tests.fakes_store import FakeClock
from tests.world.authority import TestAuthority
from tests.world.server import Handler, LoopbackServer, context_for

CHANGELOG = Path(certwarden.__file__).parent.parent / "CHANGELOG.md"


class TellingServer(LoopbackServer):
    """Answers everything with these header fields, and takes note of what it was asked."""

    __test__ = False

    def __init__(self, headers: Mapping[str, str], **kwargs: object) -> None:
        self.headers = headers
        self.asked: list[str] = []
        super().__init__(_Telling, **kwargs)  # type: ignore[arg-type]  # passed on as they are


class _Telling(Handler):
    server: TellingServer

    def respond(self, body: bytes) -> None:  # noqa: ARG002  the port's
        self.server.asked.append(f"{self.command} {self.path}")
        self.send(404, b"", self.server.headers)


def _date(instant: datetime) -> dict[str, str]:
    return {"Date": format_datetime(instant, usegmt=True)}


@pytest.fixture
def server() -> Iterator[TellingServer]:
    """A server whose Date is an hour after NOW."""
    with TellingServer(_date(NOW + timedelta(hours=1))) as telling:
        yield telling


# ── a server's Date ───────────────────────────────────────────────────────────────────────────────


def test_offset_is_the_servers_date_minus_ours(server: TellingServer) -> None:
    """The offset says how far our clock is behind; only the origin is asked, for the head."""
    sources = SystemTimeSources(FakeClock(), [(f"{server.origin}/directory", None)])
    assert sources.offset() == timedelta(hours=1)
    assert server.asked == ["HEAD /"]


def test_a_server_is_asked_once(server: TellingServer) -> None:
    """What it said counts on by the monotonic clock, so that a jump of ours shows."""
    ours = FakeClock()
    sources = SystemTimeSources(ours, [(server.origin, None)])
    sources.offset()
    ours.advance(timedelta(minutes=10))
    assert sources.offset() == timedelta(hours=1)
    ours.instant += timedelta(hours=2)  # somebody set it
    assert sources.offset() == -timedelta(hours=1)
    assert len(server.asked) == 1


def test_a_date_beyond_2038_is_understood() -> None:
    """No time_t of 32 bits is involved."""
    later = datetime(2106, 3, 1, tzinfo=UTC)
    with TellingServer(_date(later)) as server:
        sources = SystemTimeSources(FakeClock(later), [(server.origin, None)])
        assert sources.offset() == timedelta()


def test_a_cached_reply_is_as_old_as_it_says() -> None:
    """A cache on the way hands out an old Date, with its Age."""
    headers = _date(NOW - timedelta(hours=3)) | {"Age": "10800"}
    with TellingServer(headers) as server:
        assert SystemTimeSources(FakeClock(), [(server.origin, None)]).offset() == timedelta()


def test_the_server_that_agrees_best_counts(server: TellingServer) -> None:
    """One server whose own clock is wrong does not outvote another that agrees with us."""
    with TellingServer(_date(NOW - timedelta(minutes=3))) as agreeing:
        urls = [(server.origin, None), (agreeing.origin, None)]
        assert SystemTimeSources(FakeClock(), urls).offset() == timedelta(minutes=-3)


def test_who_agrees_is_enough(server: TellingServer) -> None:
    """After a server that agrees no other one is asked."""
    with TellingServer(_date(NOW)) as agreeing:
        urls = [(agreeing.origin, None), (server.origin, None)]
        assert SystemTimeSources(FakeClock(), urls).offset() == timedelta()
    assert server.asked == []


@pytest.mark.parametrize(
    "headers",
    [{"Date": "yesterday"}, {"Date": ""}, {"Date": "Sun, 99 Nov 2026 12:00:00 GMT"}],
)
def test_an_unreadable_date_is_none(headers: dict[str, str]) -> None:
    """Nonsense tells nothing, and raises nothing."""
    with TellingServer(headers) as server:
        assert SystemTimeSources(FakeClock(), [(server.origin, None)]).offset() is None


def test_a_server_that_is_away_tells_nothing(server: TellingServer) -> None:
    """Offline nobody can tell, which is no error."""
    server.stop()
    sources = SystemTimeSources(FakeClock(), [(server.origin, None)])
    assert sources.offset() is None
    assert sources.offset() is None


@pytest.mark.parametrize("url", ["http://ca.example/directory", "ftp://127.0.0.1/", "nonsense"])
def test_only_secured_addresses_are_asked(url: str) -> None:
    """What anybody on the way could forge is not asked for."""
    assert SystemTimeSources(FakeClock(), [(url, None)]).offset() is None


def test_a_certificate_outside_its_dates_still_tells(tmp_path: Path) -> None:
    """To a clock that is wrong every certificate may look expired; the Date under it says so."""
    authority = TestAuthority(tmp_path)
    context = context_for(*authority.issue("expired", days=-1))
    with TellingServer(_date(NOW), context=context) as server:
        with pytest.raises(requests.exceptions.SSLError, match="expired"):
            requests.get(server.origin, verify=str(authority.bundle), timeout=5)
        sources = SystemTimeSources(FakeClock(), [(server.origin, authority.bundle)])
        assert sources.offset() == timedelta()


@pytest.mark.parametrize("names", [["127.0.0.1"], ["other.example"]])
def test_a_certificate_of_strangers_tells_nothing(tmp_path: Path, names: list[str]) -> None:
    """Chain and host name are verified as ever."""
    (tmp_path / "trusted").mkdir()
    authority, trusted = TestAuthority(tmp_path), TestAuthority(tmp_path / "trusted")
    is_stranger = names == ["127.0.0.1"]
    context = authority.server_context("server", names)
    bundle = trusted.bundle if is_stranger else authority.bundle
    with TellingServer(_date(NOW), context=context) as server:
        assert SystemTimeSources(FakeClock(), [(server.origin, bundle)]).offset() is None


def test_a_bundle_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    """A missing file is the ACME conversation's to complain about."""
    context = TestAuthority(tmp_path).server_context("server")
    with TellingServer(_date(NOW), context=context) as server:
        sources = SystemTimeSources(FakeClock(), [(server.origin, tmp_path / "absent.pem")])
        assert sources.offset() is None


# ── the time service ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where timedatectl is looked for; timesyncd has left no file."""
    monkeypatch.setattr(clock, "SYNCHRONISED", tmp_path / "synchronized")
    monkeypatch.setattr(clock, "_ENVIRONMENT", {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    return tmp_path


def _timedatectl(programs: Path, script: str) -> None:
    program = programs / "timedatectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_timesyncd_has_the_first_word(programs: Path) -> None:
    """Where its file is, nobody else is asked."""
    _timedatectl(programs, "echo NTP=yes; echo NTPSynchronized=no")
    (programs / "synchronized").touch()
    assert SystemTimeSources(FakeClock()).synchronised() is True


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo NTP=yes; echo NTPSynchronized=yes", True),
        ("echo NTP=no; echo NTPSynchronized=yes", True),
        ("echo NTP=yes; echo NTPSynchronized=no", False),
        ("echo NTP=no; echo NTPSynchronized=no", None),
        ("echo NTPSynchronized=no", None),
        ("echo what", None),
        ("printf 'NTP=yes\\377\\nNTPSynchronized=no'", None),
        ("echo NTP=yes; echo NTPSynchronized=no; exit 1", None),
        ("kill -9 $$", None),
    ],
)
def test_what_timedated_says(programs: Path, script: str, expected: bool | None) -> None:  # noqa: FBT001  a column
    """That it is not synchronised says something only where a time service is at it."""
    _timedatectl(programs, script)
    assert SystemTimeSources(FakeClock()).synchronised() is expected


def test_without_timedatectl_nobody_can_tell(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without systemd has no state of synchronisation."""
    monkeypatch.setattr(clock, "_ENVIRONMENT", {"PATH": str(programs)})
    assert SystemTimeSources(FakeClock()).synchronised() is None


def test_a_timedatectl_that_hangs_is_ended(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus that does not answer does not hold up the pass."""
    monkeypatch.setattr(clock, "TIMEDATECTL_SECONDS", 0.2)
    _timedatectl(programs, "exec sleep 60")
    assert SystemTimeSources(FakeClock()).synchronised() is None


def test_always_trusted_asks_nobody() -> None:
    """`trust = "always"` is the word of whoever runs the machine."""
    sources = AlwaysTrusted()
    assert sources.synchronised() is True
    assert sources.offset() is None


# ── the build date ────────────────────────────────────────────────────────────────────────────────


def test_the_build_date_is_raised_with_each_release() -> None:
    """It is not earlier than the newest release in the changelog."""
    heading = re.compile(r"^## \[[^]]+\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)
    releases = heading.findall(CHANGELOG.read_text())
    assert max(releases, default="") <= BUILD_DATE
    build_date = SystemTimeSources(FakeClock()).build_date()
    assert build_date == AlwaysTrusted().build_date()
    assert f"{build_date:%Y-%m-%d}" == BUILD_DATE
