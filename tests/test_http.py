"""The rules about URLs and header fields that all conversations share."""

from datetime import UTC, datetime, timedelta

import pytest

from certwarden.http import MAX_RETRY_AFTER, is_secured, read_retry_after

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "url",
    [
        "https://ca.example/directory",
        "HTTPS://ca.example",
        "http://127.0.0.1:14000/dir",
        "http://127.8.9.1/",
        "http://[::1]:8080/",
        "http://localhost/",
        "http://LOCALHOST/",
    ],
)
def test_https_and_loopback_are_secured(url: str) -> None:
    """Plain http will do where it stays on this machine."""
    assert is_secured(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example/",
        "http://127.0.0.1.ca.example/",
        "http://localhost.ca.example/",
        "http://192.0.2.1/",
        "http://[2001:db8::1]/",
        "http://0.0.0.0/",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1:80",
        "//ca.example",
        "",
        "http:",
        "https://",
        "https://:443/",
        "http://::1",
        "https://[",
        "https://[::1",
        "https://[nonsense]/",
    ],
)
def test_nothing_else_is_secured(url: str) -> None:
    """Another scheme, another machine in the clear, or no host at all: nothing is said there."""
    assert not is_secured(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1@ca.example/",
        "http://ca.example@127.0.0.1/",
        "http://ca.example\\@127.0.0.1/",  # urllib3 goes to ca.example, urlsplit reads 127.0.0.1
        "https://user:password@ca.example/",
        "https://@ca.example/",
    ],
)
def test_user_information_is_never_secured(url: str) -> None:
    """Where libraries may differ about the host, nobody is taken for this machine."""
    assert not is_secured(url)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("0", 0), ("7", 7), (" 60 ", 60), ("007", 7), ("86400", 86400)],
)
def test_seconds(asked: str, seconds: int) -> None:
    """A number is seconds."""
    assert read_retry_after({"Retry-After": asked}, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("date", "asked", "seconds"),
    [
        ("Wed, 01 Jan 2020 00:00:00 GMT", "Wed, 01 Jan 2020 00:01:30 GMT", 90),
        ("Tue, 01 Jan 2069 00:00:00 GMT", "Tue, 01 Jan 2069 01:00:00 GMT", 3600),
        ("Wed, 01 Jan 2020 00:01:30 GMT", "Wed, 01 Jan 2020 00:00:00 GMT", 0),
        ("nonsense", "Sun, 22 Nov 2026 12:02:00 GMT", 120),
        ("", "Sun, 22 Nov 2026 12:02:00 GMT", 120),
    ],
)
def test_a_date_is_measured_against_the_replys_own(date: str, asked: str, seconds: int) -> None:
    """However wrong our clock is, the wait is what was meant; it is only for want of a Date."""
    wait = read_retry_after({"Date": date, "Retry-After": asked}, NOW)
    assert wait == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "asked",
    [
        "Sun, 22 Nov 2026 12:00:09 GMT",
        "Sunday, 22-Nov-26 12:00:09 GMT",
        "Sun Nov 22 12:00:09 2026",
        "Sun, 22 Nov 2026 12:00:09 -0000",
        "Sun, 22 Nov 2026 14:00:09 +0200",
    ],
)
def test_every_form_of_a_date_is_read(asked: str) -> None:
    """The obsolete forms count too, and a date that names no zone is UTC."""
    assert read_retry_after({"Retry-After": asked}, NOW) == timedelta(seconds=9)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "soon",
        "-5",
        "1.5",
        "²",
        "٣",
        "7 s",
        "Sun, 22 Nov 99999 12:00:09 GMT",
        f"Sun, 22 Nov 2026 12:00:09 +{'9' * 20}",
        f"Sun, {'9' * 50} Nov 2026 12:00:09 GMT",
    ],
)
def test_nonsense_asks_for_nothing(asked: str) -> None:
    """What nobody can read is as good as absent, and raises nothing."""
    assert read_retry_after({"Retry-After": asked}, NOW) is None


@pytest.mark.parametrize("asked", ["2592001", "9" * 400, "Tue, 01 Jan 2999 00:00:00 GMT"])
def test_for_ever_is_capped(asked: str) -> None:
    """No server puts us to sleep until somebody looks."""
    assert read_retry_after({"Retry-After": asked}, NOW) == MAX_RETRY_AFTER


def test_no_header_asks_for_nothing() -> None:
    """Most replies say nothing of waiting."""
    assert read_retry_after({}, NOW) is None
