"""What all conversations over HTTP have in common: where they may go, and when to come back.

Owns rules about URLs and header fields, as pure functions. No connection, no waiting, and no
sentence for a person: what to say of an unfit URL or a long wait is up to whoever asks.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from certwarden.model import Address

MAX_RETRY_AFTER = timedelta(days=30)


def is_secured(url: str) -> bool:
    """Whether nobody on the way reads or forges what is said there: https, or http on loopback.

    User information makes it false, for it can hide where a URL leads (RFC 9110 section 4.2.4).
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and Address(host, 0).is_loopback)


def read_retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that a reply asks for by Retry-After: seconds or a date (RFC 9110 section 10.2.3).

    A date is measured against the reply's own Date, so that our clock does not matter; against
    `now` where it has none. Never negative, at most MAX_RETRY_AFTER; None where nothing readable
    is asked for. `headers` are those of an HTTP library, which ignore case.
    """
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return min(timedelta(seconds=int(asked[:9])), MAX_RETRY_AFTER)
    until = _http_date(asked)
    if until is None:
        return None
    since = _http_date(headers.get("Date", "")) or now
    return min(max(until - since, timedelta()), MAX_RETRY_AFTER)


def read_date(headers: Mapping[str, str]) -> datetime | None:
    """The server's instant when it let the reply go: Date, and Age where a cache had kept it.

    RFC 9110 section 6.6.1, RFC 9111 section 5.1. None where there is no readable Date.
    """
    date = _http_date(headers.get("Date", ""))
    age = headers.get("Age", "").strip()
    if date is None or not (age.isascii() and age.isdigit()):
        return date
    return date + min(timedelta(seconds=int(age[:9])), datetime.max.replace(tzinfo=UTC) - date)


def _http_date(text: str) -> datetime | None:
    """An HTTP-date, obsolete forms included; one that names no zone is UTC (section 5.6.7)."""
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter by an offset or a day of many digits
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
