"""Reaching a person, through Apprise, and a watchdog far away by a heartbeat.

Owns what leaves this machine and that its addresses, which are secrets, show up nowhere: a sentence
names a service by its line and its scheme. What is said, and when, is decided elsewhere. Apprise
takes 35 MB and a noticeable time to load, so it is loaded when the first message is sent.
"""

import logging
import os
import re
import warnings
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from certwarden import __version__
from certwarden.errors import NotifyError, clean
from certwarden.http import is_secured
from certwarden.model import Secret

if TYPE_CHECKING:
    from apprise import Apprise
    from requests import PreparedRequest

HEARTBEAT_SECONDS = 10
MAX_TITLE = 150
MAX_LINE = 700
MAX_TEXT = 3000  # what most services take in one piece
_SCHEME = re.compile(r"[a-zA-Z0-9+.-]{1,20}(?=://)")

# They name whole addresses, tokens and all.
for _name in ("apprise", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class AppriseMessenger:
    """Reaches a person wherever they asked for it (port Messenger).

    `urls` holds Apprise URLs, one a line; empty lines and those that begin with # do not count.
    """

    def __init__(self, urls: Secret | None, heartbeat_url: Secret | None) -> None:
        self._urls = urls
        self._heartbeat_url = heartbeat_url

    def __repr__(self) -> str:
        return "AppriseMessenger(***)"

    @property
    def has_readers(self) -> bool:
        """Whether there is any address to send to."""
        return bool(_addresses(self._urls))

    def send(self, title: str, text: str) -> None:
        """Sends plain text to every address; raises NotifyError if one of them does not take it.

        Its `is_partial` says that another has taken it. This machine's name is put before the
        title; without any address nothing is sent.
        """
        title = clean(f"certwarden on {os.uname().nodename}: {title}", MAX_TITLE)
        body = _plain(text)
        addresses = _addresses(self._urls)
        failures = [
            failure
            for number, url in addresses
            if (failure := _deliver(url, number, title, body)) is not None
        ]
        if failures:
            failures[0].is_partial = len(failures) < len(addresses)
            raise failures[0]

    def heartbeat(self) -> None:
        """Calls the heartbeat's URL, if there is one; raises NotifyError unless it is taken."""
        if self._heartbeat_url is None:
            return
        url = self._heartbeat_url.reveal().decode("utf-8", "replace").strip()
        if not is_secured(url):
            raise NotifyError(
                "the address of the heartbeat is not one of https, or of http on this machine",
                "correct the file that notify.heartbeat_url_file names",
                permanent=True,
            )
        status = _get(url)
        if not 200 <= status < 300:
            raise NotifyError(
                f"the heartbeat was not taken: the server answered with status {status}",
                "check the address in the file that notify.heartbeat_url_file names",
            )


def _addresses(urls: Secret | None) -> list[tuple[int, str]]:
    """The addresses with their line numbers."""
    text = urls.reveal().decode("utf-8", "replace") if urls is not None else ""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _deliver(url: str, number: int, title: str, body: str) -> NotifyError | None:
    """Delivers one message to one address."""
    scheme = _SCHEME.match(url)
    which = f"line {number} of notify.urls_file" + (f" ({scheme[0]}://…)" if scheme else "")
    with warnings.catch_warnings():
        # A hundred services' modules are loaded; what they make use of is not ours to mend.
        warnings.simplefilter("ignore")
        service = _service(url)
        if service is None:
            return NotifyError(
                f"{which} is no address that Apprise understands",
                "compare it with the list of services in Apprise's documentation",
                permanent=True,
            )
        is_taken = service.notify(body=body, title=title, body_format="text")
    if is_taken:
        return None
    return NotifyError(
        f"{which} did not take the message",
        "check the address and its credentials, and that the service can be reached",
    )


def _service(url: str) -> "Apprise | None":
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(
        app_id="certwarden",
        app_desc="certwarden",
        async_mode=False,  # one after the other, in this thread
    )
    service = Apprise(asset=asset)
    return service if service.add(url) else None


def _get(url: str) -> int:
    """The status that the URL answers with; what comes after it is not waited for."""
    import requests

    with requests.Session() as session:
        # Plain HTTP is for loopback, where a proxy of the environment has no business.
        session.trust_env = urlsplit(url).scheme == "https"
        try:
            with session.get(
                url,
                headers={"User-Agent": f"certwarden/{__version__}"},
                timeout=HEARTBEAT_SECONDS,
                allow_redirects=False,
                stream=True,
                auth=_no_credentials,
            ) as reply:
                return reply.status_code
        except requests.exceptions.Timeout:
            why = f"no answer within {HEARTBEAT_SECONDS} s"
        except requests.exceptions.SSLError:
            why = "no TLS connection to its server that can be trusted"
        except (OSError, ValueError):  # requests' own exceptions, whose text holds the address
            why = "its server cannot be reached"
    raise NotifyError(
        f"the heartbeat was not taken: {why}",
        "check this machine's connection to the internet; the next good pass tries again",
    )


def _no_credentials(request: "PreparedRequest") -> "PreparedRequest":
    """Keeps requests from sending what ~/.netrc may hold."""
    return request


def _plain(text: str) -> str:
    """The text with each line made safe and the whole of it capped."""
    body = "\n".join(clean(line, MAX_LINE) for line in text.splitlines())
    return body if len(body) <= MAX_TEXT else f"{body[: MAX_TEXT - 1]}…"
