"""One HEAD request whose TLS does not depend on what our clock says.

For asking a server what time it is. Chain and host name are verified as ever, only the dates are
not (X509_V_FLAG_NO_CHECK_TIME): where the clock is wrong they would refuse the very server that
could tell so. Nothing but header fields is read, and nobody is told anything.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import create_urllib3_context

from certwarden import __version__

TIMEOUT = 5.0  # for the connection, and for each silence after it
_NO_CHECK_TIME = 0x200000  # openssl/x509_vfy.h; Python has no name for it


def head(url: str, ca_bundle: Path | None) -> Mapping[str, str] | None:
    """The header fields of the reply, whatever its status; None where none came. Never raises."""
    with requests.Session() as session:
        # Plain HTTP is for loopback, where a proxy of the environment has no business.
        session.trust_env = urlsplit(url).scheme == "https"
        session.mount("https://", _TimelessAdapter())
        try:
            reply = session.head(
                url,
                headers={"User-Agent": f"certwarden/{__version__}", "Cache-Control": "no-cache"},
                verify=True if ca_bundle is None else str(ca_bundle),
                timeout=TIMEOUT,
                allow_redirects=False,
                auth=_no_credentials,
            )
        except (OSError, ValueError):  # requests' own exceptions and those for unfit URLs
            return None
        return reply.headers


class _TimelessAdapter(HTTPAdapter):
    """Verifies certificates without their dates, through a proxy as well."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=_timeless_context())

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=_timeless_context())


def _timeless_context() -> ssl.SSLContext:
    context = create_urllib3_context()
    context.verify_flags |= _NO_CHECK_TIME
    return context


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from sending what ~/.netrc may hold."""
    return request
