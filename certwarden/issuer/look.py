"""What CAs say of themselves in their directories (RFC 8555 section 7.1.1), for who looks only."""

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from certwarden.issuer.once import Once
from certwarden.issuer.resources import Directory, check_url, read_directory
from certwarden.issuer.transport import Transport, read_json
from certwarden.ports import Clock


class Directories:
    """Directories by their URLs; each is asked for once, however many threads want to know it.

    `ca_bundles`: whom to trust for a directory's own TLS, by URL.
    """

    def __init__(self, *, clock: Clock, ca_bundles: Mapping[str, Path]) -> None:
        self._clock = clock
        self._ca_bundles = ca_bundles
        self._lock = threading.Lock()
        self._looks: dict[str, Once[Directory]] = {}

    def look(self, url: str) -> Directory:
        """The directory; raises IssuerError where there is none to be had."""
        with self._lock:
            look = self._looks.setdefault(url, Once(partial(self._ask, url)))
        return look.get()

    def _ask(self, url: str) -> Directory:
        name = urlsplit(check_url(url)).netloc.rpartition("@")[2]
        transport = Transport(name, clock=self._clock, ca_bundle=self._ca_bundles.get(url))
        try:
            reply = transport.send("GET", url, headers={"Accept": "application/json"})
            objection = transport.objection(reply)
            if objection is not None:
                raise objection
            return read_directory(name, read_json(reply))
        finally:
            transport.close()
