"""The conversation with Cloudflare's v4 API: one request, what came of it, and when to try again.

Owns what leaves this machine (address, token, headers), how much is waited for and read, and the
envelope around every reply. Knows nothing of records; what a refusal means stands in `refusals`.

Of the `cloudflare` library only the low-level request methods are used: its tree of types would
double the time that it takes to load.
"""

import json
import logging
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import Any, Literal
from urllib.parse import urlsplit

import cloudflare
import httpx

from certwarden import __version__
from certwarden.errors import ZoneError, clean
from certwarden.http import is_secured, read_retry_after
from certwarden.model import Secret
from certwarden.ports import Clock
from certwarden.zone.refusals import RefusedError, TokenError, explain

BASE_URL = "https://api.cloudflare.com/client/v4"
TIMEOUT = httpx.Timeout(15.0, connect=10.0)
PATIENCE = timedelta(seconds=45)  # after so long, one piece of work is not tried again
TRIES = 4
MOST_AT_ONCE = 8  # requests
MOST_BYTES = 8 * 1024 * 1024  # of one reply; a page of a thousand records has about one tenth
MOST_SECONDS = 30.0  # for the body of one reply
MOST_PAGES = 20
PAGE_SIZE = 1000
_FIRST_WAIT = 0.5

# CLOUDFLARE_LOG makes the library log whole requests; nothing in our environment decides that.
for _name in ("cloudflare", "httpx"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class ReplyLostError(Exception):
    """No reply, or none that can be understood: the request may have been carried out or not."""

    def __init__(self, what: str, retry_after: timedelta | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class Patience:
    """How often and how long one piece of work is tried again."""

    def __init__(self, clock: Clock, doing: str, most: timedelta = PATIENCE) -> None:
        self._clock = clock
        self._doing = doing
        self._most = most
        self._tries = 1
        self._begun = clock.monotonic()

    def after(self, error: RefusedError | ReplyLostError) -> None:
        """Waits until it may be tried again; raises ZoneError where it may not."""
        if isinstance(error, RefusedError) and not (
            error.rate_limited or error.already_exists or error.does_not_exist
        ):
            raise explain(error, self._doing) from None
        wait = self._wait_after(error)
        spent = self._clock.monotonic() - self._begun
        if self._tries >= TRIES or spent + wait > self._most.total_seconds():
            raise self._give_up(error) from None
        self._tries += 1
        self._clock.sleep(wait)

    def _wait_after(self, error: RefusedError | ReplyLostError) -> float:
        if error.retry_after is not None:
            return error.retry_after.total_seconds()
        if isinstance(error, RefusedError) and not error.rate_limited:
            return 0.0  # the records are not as we thought: look, and go on at once
        spread = random.uniform(0.5, 1.5)  # noqa: S311 - spreads retries, guards nothing
        return float(_FIRST_WAIT * 2 ** (self._tries - 1) * spread)

    def _give_up(self, error: RefusedError | ReplyLostError) -> ZoneError:
        if isinstance(error, RefusedError):
            return explain(error, self._doing)
        return ZoneError(
            f"could not {self._doing} at Cloudflare: {error}",
            "it is tried again later; if it stays so, look at the connection to the internet and "
            "at Cloudflare's status page",
            retry_after=error.retry_after,
        )


@dataclass(frozen=True)
class Page:
    """The `result` of a reply, how many pages of it there are, and when it was sent.

    That is by Cloudflare's own clock, or by ours where it does not tell.
    """

    result: Any
    pages: int
    sent_at: datetime


def _patiently(ask: Callable[[], Page], patience: Patience) -> Page:
    while True:
        try:
            return ask()
        except (RefusedError, ReplyLostError) as error:
            patience.after(error)


class CloudflareClient:
    """Speaks for one token; safe to be used by several threads at once.

    A token or a `base_url` that must not be used is told at the first request, by ZoneError. No
    more than MOST_AT_ONCE requests are under way, and none while Cloudflare has asked us to wait.
    What is only read is tried again for `patience`.
    """

    def __init__(
        self,
        token: Secret,
        *,
        base_url: str | None,
        clock: Clock,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._token = token
        self._patience = patience
        self._base_url = base_url or BASE_URL
        self._clock = clock
        self._slots = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._closed_until = clock.monotonic()

    @property
    def is_account_owned(self) -> bool:
        """Whether the token says of itself that it belongs to an account, not to a user."""
        return _checked_token(self._token).startswith("cfat_")

    def one(self, path: str, doing: str) -> Page:
        """A single thing; tries again. Raises ZoneError."""
        return _patiently(lambda: self._describe_once(path), self._new_patience(doing))

    def some(
        self, path: str, query: Mapping[str, str], doing: str
    ) -> tuple[Mapping[str, Any], ...]:
        """The first page of a listing; tries again. Raises ZoneError."""
        patience = self._new_patience(doing)
        return tuple(_patiently(lambda: self._list_once(path, query), patience).result)

    def everything(
        self, path: str, query: Mapping[str, str], doing: str
    ) -> tuple[Mapping[str, Any], ...]:
        """Everything that a listing holds, of all pages; tries again. Raises ZoneError."""
        patience = self._new_patience(doing)
        items: list[Mapping[str, Any]] = []
        for number in range(1, MOST_PAGES + 1):
            part = {**query, "page": str(number)}
            page = _patiently(partial(self._list_once, path, part), patience)
            items += page.result
            if number >= page.pages:
                return tuple(items)
        raise ZoneError(
            f"Cloudflare lists more than {len(items)} records: could not {doing}",
            "delete records that are not needed any more",
        )

    def _describe_once(self, path: str) -> Page:
        page = self._request("get", path)
        if not isinstance(page.result, dict):
            raise ReplyLostError("the reply does not describe anything")
        return page

    def _list_once(self, path: str, query: Mapping[str, str]) -> Page:
        page = self._request("get", path, query=query)
        if not isinstance(page.result, list) or not all(map(_has_id, page.result)):
            raise ReplyLostError("the reply is not a list of things with ids")
        return page

    def _new_patience(self, doing: str) -> Patience:
        return Patience(self._clock, doing, self._patience)

    def batch(self, zone_id: str, part: str, changes: Sequence[Mapping[str, Any]]) -> Any:
        """One batch, which is one transaction, tried once; `part` is "posts" or "deletes".

        Returns the records that it made or removed. Raises RefusedError, ReplyLostError, ZoneError.
        """
        path = f"/zones/{zone_id}/dns_records/batch"
        result = self._request("post", path, body={part: changes}).result
        done = result.get(part) if isinstance(result, dict) else None
        if not isinstance(done, list) or not all(map(_has_id, done)):
            raise ReplyLostError("the reply does not tell what was changed")
        return done

    def _request(
        self,
        method: Literal["get", "post"],
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Page:
        with self._slots:
            self._check_open()
            try:
                if method == "get":
                    response = self._api.get(
                        path, cast_to=httpx.Response, options={"params": dict(query or {})}
                    )
                else:
                    response = self._api.post(path, cast_to=httpx.Response, body=body)
            except cloudflare.APIStatusError as error:
                response = error.response
            except cloudflare.APIConnectionError as error:
                raise ReplyLostError(self._clean(_reason(error))) from None
            self._note_limits(response)
        return self._open(response)

    def _check_open(self) -> None:
        """Raises RefusedError while we were asked to wait: every request would prolong that."""
        wait = self._closed_until - self._clock.monotonic()
        if wait > 0:
            raise RefusedError(429, (), timedelta(seconds=wait))

    def _note_limits(self, response: httpx.Response) -> None:
        """Closes the door for all threads when one was sent away, or got the last that was left.

        Whoever goes over the limit is shut out for five minutes, the dashboard included.
        """
        wait = self._retry_after(response) if response.status_code == 429 else None
        if response.status_code < 400:
            spent = re.findall(r"\br=0;\s*t=(\d{1,5})\b", response.headers.get("Ratelimit", ""))
            wait = timedelta(seconds=max(map(int, spent))) if spent else None
        if wait:
            until = self._clock.monotonic() + wait.total_seconds()
            self._closed_until = max(self._closed_until, until)

    def _open(self, response: httpx.Response) -> Page:
        """The envelope around every reply."""
        status = response.status_code
        try:
            envelope = json.loads(response.content)
        except (ValueError, RecursionError):
            envelope = None
        wait = self._retry_after(response)
        if not isinstance(envelope, dict):
            if status == 429:
                raise RefusedError(status, (), wait)
            raise ReplyLostError(
                f"{self._host} answered with status {status} and something that is not JSON", wait
            )
        if status < 300 and envelope.get("success") is True:
            return Page(
                envelope.get("result"),
                _total_pages(envelope.get("result_info")),
                _date(response) or self._clock.now(),
            )
        errors = tuple((code, self._clean(text)) for code, text in _errors(envelope.get("errors")))
        refused = RefusedError(status, errors, wait)
        if not 400 <= status < 500 or status in (408, 409):
            raise ReplyLostError(f"{self._host} failed with status {refused}", wait)
        raise refused

    def _retry_after(self, response: httpx.Response) -> timedelta | None:
        """The wait that a reply asks for: Retry-After in either form, else `Ratelimit: …;t=30`."""
        if response.status_code != 429 and response.status_code < 500:
            return None  # there `Ratelimit` only tells how much is left
        asked = read_retry_after(response.headers, self._clock.now())
        if asked is not None:
            return asked
        found = re.search(r"\bt=(\d{1,5})\b", response.headers.get("Ratelimit", ""))
        if found and response.status_code == 429:
            return timedelta(seconds=int(found[1]))
        return None

    @cached_property
    def _host(self) -> str:
        return clean(urlsplit(self._base_url).hostname or "", 100)

    def _clean(self, text: str) -> str:
        """Foreign text for an error; a server that quotes the token back does not get it there."""
        return clean(text.replace(_checked_token(self._token), "***"), 200)

    @cached_property
    def _api(self) -> cloudflare.Cloudflare:
        token = _checked_token(self._token)
        _check_base_url(self._base_url)
        # Plain HTTP is loopback, where neither a proxy nor a trust store has a say.
        is_tls = urlsplit(self._base_url).scheme == "https"
        http = httpx.Client(
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=is_tls,
            verify=is_tls,
            event_hooks={"response": [_read_within_bounds]},
        )
        weakref.finalize(self, http.close)
        return _Api(api_token=token, base_url=self._base_url, max_retries=0, http_client=http)


class _Api(cloudflare.Cloudflare):
    """The library's client, sending exactly these headers.

    It would mix CLOUDFLARE_EMAIL, _API_KEY and _CUSTOM_HEADERS of the environment into them, leave
    the token out because of those, and tell what machine this is.
    """

    @property
    def default_headers(self) -> dict[str, str | cloudflare.Omit]:
        return {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"certwarden/{__version__}",
            "Authorization": f"Bearer {self.api_token}",
        }


class _BoundedStream(httpx.SyncByteStream):
    """A reply's bytes; too many of them end it."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        read, deadline = 0, time.monotonic() + MOST_SECONDS
        for chunk in self._stream:
            read += len(chunk)
            if read > MOST_BYTES or time.monotonic() > deadline:
                raise httpx.RemoteProtocolError("the reply does not end")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _read_within_bounds(response: httpx.Response) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        # Compressed although we did not ask for it: a few bytes could become gigabytes.
        raise httpx.DecodingError("the reply is compressed, which was not asked for")
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _BoundedStream(response.stream)


def _checked_token(token: Secret) -> str:
    try:
        text = token.reveal().decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if text.startswith("cfk_") or re.fullmatch(r"[0-9a-f]{37}", text):
        raise TokenError(
            "the Cloudflare token is a Global API Key, which opens the whole account",
            "make an API token instead, under My Profile > API Tokens > Create Token, with "
            "Zone / DNS / Edit and Zone / Zone / Read for this zone only",
            permanent=True,
        )
    if not re.fullmatch(r"[!-~]+", text):
        raise TokenError(
            "the Cloudflare token is empty or holds characters that no token has",
            "write the token alone to [cloudflare] api_token_file, on one line and without quotes",
            permanent=True,
        )
    return text


def _check_base_url(url: str) -> None:
    """Raises ZoneError unless the token is safe on the way there."""
    if not is_secured(url):
        raise ZoneError(
            f"the token is not sent to {clean(url, 100)}: that is not an https address",
            "correct [cloudflare] base_url, or leave it out",
            permanent=True,
        )


def _reason(error: BaseException) -> str:
    """What the system said at the bottom of it, without its number; else what is on top."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    shown = error.__cause__ or error
    return str(shown) or type(shown).__name__


def _has_id(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str)


def _date(response: httpx.Response) -> datetime | None:
    try:
        date = parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _total_pages(info: Any) -> int:
    pages = info.get("total_pages") if isinstance(info, dict) else None
    return pages if isinstance(pages, int) else 1


def _errors(errors: Any) -> Iterator[tuple[int, str]]:
    """Codes and messages, with those of the `error_chain` that explains each."""
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict):
            if isinstance(code := error.get("code"), int):
                yield code, str(error.get("message", ""))
            yield from _errors(error.get("error_chain"))
