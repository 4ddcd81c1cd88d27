"""The CA's own word on when to renew a certificate (ACME Renewal Information, RFC 9773).

Plain GETs without an account, so that a pass with nothing to order loads no ACME library. It asks
and reads; when it is worth asking, and what follows from the answer, is the lifecycle's.
"""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from certwarden.errors import IssuerError, clean
from certwarden.issuer.problems import link
from certwarden.issuer.resources import check_url, read_directory
from certwarden.issuer.transport import NotReached, Transport, read_json
from certwarden.model import RenewalAnswer, RenewalWindow
from certwarden.ports import Clock

SHORTEST_WAIT = timedelta(minutes=1)  # RFC 9773 section 4.3.2, as is the longest
LONGEST_WAIT = timedelta(days=1)
USUAL_WAIT = timedelta(hours=6)  # where the server names none, after an error too (4.3.3)
WAIT_AFTER_PASSING_ERROR = timedelta(minutes=10)


class AcmeRenewalInfos:
    """The port RenewalInfos. `ca_bundles`: whom to trust for a directory's own TLS, by URL.

    For one pass: a directory is asked for once, and a server that cannot be reached is not tried
    again for the next certificate.
    """

    def __init__(self, *, clock: Clock, ca_bundles: Mapping[str, Path] | None = None) -> None:
        self._clock = clock
        self._ca_bundles = ca_bundles or {}
        self._lock = threading.Lock()
        self._servers: dict[str, _Server] = {}

    def ask(self, directory_url: str, certificate_id: str) -> RenewalAnswer:
        """What the server says of the certificate; see `pki.certificate.renewal_certificate_id`.

        Raises IssuerError, always with `retry_after`: how long it is not worth asking again.
        """
        try:
            with self._lock:
                if directory_url not in self._servers:
                    bundle = self._ca_bundles.get(directory_url)
                    self._servers[directory_url] = _Server(
                        directory_url, clock=self._clock, ca_bundle=bundle
                    )
            return self._servers[directory_url].ask(certificate_id)
        except IssuerError as error:
            is_passing = isinstance(error, NotReached) or (error.status or 0) >= 500
            usual = WAIT_AFTER_PASSING_ERROR if is_passing else USUAL_WAIT
            error.retry_after = _clamped(error.retry_after or usual)
            raise

    def close(self) -> None:
        """Ends the connections."""
        for server in self._servers.values():
            server.close()


class _Server:
    """One CA; asked about one certificate at a time."""

    def __init__(self, directory_url: str, *, clock: Clock, ca_bundle: Path | None) -> None:
        self._directory_url = check_url(directory_url)
        name = urlsplit(directory_url).netloc.rpartition("@")[2]
        self._transport = Transport(name, clock=clock, ca_bundle=ca_bundle)
        self._lock = threading.Lock()
        self._renewal_info: str | None = None
        self._not_reached: IssuerError | None = None

    def close(self) -> None:
        self._transport.close()

    def ask(self, certificate_id: str) -> RenewalAnswer:
        with self._lock:
            if self._not_reached is not None:
                raise self._not_reached
            try:
                return self._ask(certificate_id)
            except NotReached as error:
                self._not_reached = error
                raise

    def _ask(self, certificate_id: str) -> RenewalAnswer:
        if self._renewal_info is None:
            document, _ = self._get(self._directory_url)
            self._renewal_info = read_directory(self._transport.server, document).renewal_info
        if not self._renewal_info:
            return RenewalAnswer(None, LONGEST_WAIT)
        document, wait = self._get(f"{self._renewal_info.rstrip('/')}/{certificate_id}")
        window = read_renewal_window(self._transport.server, document)
        return RenewalAnswer(window, _clamped(USUAL_WAIT if wait is None else wait))

    def _get(self, url: str) -> tuple[object, timedelta | None]:
        reply = self._transport.send("GET", url, headers={"Accept": "application/json"})
        objection = self._transport.objection(reply)
        if objection is not None:
            raise objection
        return read_json(reply), self._transport.retry_after(reply)


def read_renewal_window(server: str, document: object) -> RenewalWindow:
    """The suggested window (RFC 9773 section 4.2) out of parsed JSON; raises IssuerError."""
    fields = document if isinstance(document, Mapping) else {}
    window = fields.get("suggestedWindow")
    window = window if isinstance(window, Mapping) else {}
    start, end = (_instant(server, window.get(key), key) for key in ("start", "end"))
    if end <= start:
        raise _senseless(server, f"its window ends at {end:%Y-%m-%d %H:%M} UTC, before it begins")
    explanation = fields.get("explanationURL")
    return RenewalWindow(start, end, link(explanation) if isinstance(explanation, str) else "")


def _instant(server: str, text: object, key: str) -> datetime:
    """An instant as RFC 3339 writes it, in UTC; nowhere by way of seconds since 1970."""
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _senseless(server, f"its window's {key} is {clean(str(text), 40)}")


def _senseless(server: str, why: str) -> IssuerError:
    return IssuerError(
        f"{server} sent renewal information that makes no sense: {why}",
        "until it does, certificates are renewed by their lifetime",
    )


def _clamped(wait: timedelta) -> timedelta:
    return min(max(wait, SHORTEST_WAIT), LONGEST_WAIT)
