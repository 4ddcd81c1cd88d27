"""Pebble, a real ACME server for tests, started as this world needs it.

Owns its configuration, its process and its ports. What it cannot do (limits, refusals, outages
without forgetting) is the fault proxy's business.
"""

import json
import os
import re
import signal
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.world.authority import TestAuthority
from tests.world.process import Child, DidNotStart, free_port

DAY = 24 * 3600
DEFAULT_PROFILES = {"default": 90 * DAY}
# Several profiles make Pebble take one at random for an order that names none.
MORE_PROFILES = {"tlsserver": 45 * DAY, "shortlived": 6 * DAY}

_START_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class PebbleOptions:
    """How Pebble behaves. None leaves a knob at Pebble's own default.

    profiles: name to seconds of validity. nonce_reject and authz_reuse: percent of cases. va_sleep:
    validations wait a random time of up to so many seconds. eab: key id to base64url HMAC key.
    """

    profiles: Mapping[str, int] | None = None
    nonce_reject: int | None = 10
    authz_reuse: int | None = None
    va_sleep: int | None = None
    strict: bool = False
    retry_after_authz: int = 1
    retry_after_order: int = 1
    eab: Mapping[str, str] | None = None
    eab_required: bool = False
    alternate_roots: int = 0
    chain_length: int = 1
    key_algorithm: str = "ecdsa"
    blocked_domains: tuple[str, ...] = ()

    def configuration(self) -> dict[str, Any]:
        """The part of Pebble's configuration that does not depend on where it runs."""
        profiles = DEFAULT_PROFILES if self.profiles is None else self.profiles
        document: dict[str, Any] = {
            # Nothing listens there: http-01 and tls-alpn-01 are to fail.
            "httpPort": 1,
            "tlsPort": 1,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self.eab_required,
            "domainBlocklist": list(self.blocked_domains),
            "retryAfter": {"authz": self.retry_after_authz, "order": self.retry_after_order},
            "keyAlgorithm": self.key_algorithm,
            "profiles": {
                name: {"description": name, "validityPeriod": seconds}
                for name, seconds in profiles.items()
            },
            # Before 2.6 Pebble knows no profiles, only this.
            "certificateValidityPeriod": next(iter(profiles.values())),
        }
        if self.eab:
            document["externalAccountMACKeys"] = dict(self.eab)
        return document

    def environment(self) -> dict[str, str]:
        """The environment of the process: this machine's, without proxies, with Pebble's knobs."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PEBBLE_")
        }
        knobs = {
            "PEBBLE_WFE_NONCEREJECT": self.nonce_reject,
            "PEBBLE_AUTHZREUSE": self.authz_reuse,
            "PEBBLE_VA_SLEEPTIME": self.va_sleep,
            "PEBBLE_ALTERNATE_ROOTS": self.alternate_roots or None,
            "PEBBLE_CHAIN_LENGTH": self.chain_length,
            "PEBBLE_VA_NOSLEEP": None if self.va_sleep else 1,
        }
        return environment | {name: str(v) for name, v in knobs.items() if v is not None}


class Pebble:
    """A running Pebble; it forgets everything when it stops: an outage is `pause` and `resume`."""

    def __init__(
        self,
        program: Path,
        directory: Path,
        *,
        authority: TestAuthority,
        dns_server: str,
        options: PebbleOptions | None = None,
    ) -> None:
        self.options = options or PebbleOptions()
        self.log = directory / "pebble.log"
        self.ca_bundle = authority.bundle
        self._program = program
        self._directory = directory
        self._context = authority.client_context()
        self._certificate, self._key = authority.issue("pebble")
        self._dns_server = dns_server
        self._child: Child | None = None
        self.port = 0
        self.management_port = 0

    @property
    def origin(self) -> str:
        """Where the API is, without a path."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def directory_url(self) -> str:
        """The ACME directory."""
        return f"{self.origin}/dir"

    @property
    def management_url(self) -> str:
        """Pebble's own interface: roots, intermediates, certificate status."""
        return f"https://127.0.0.1:{self.management_port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running.pid

    @property
    def _running(self) -> Child:
        if self._child is None:
            message = "Pebble is not running"
            raise RuntimeError(message)
        return self._child

    def __enter__(self) -> Self:
        # A free port may be taken between choosing and binding it.
        for attempt in range(3):
            try:
                self._start()
            except DidNotStart as error:
                if attempt == 2 or "address already in use" not in str(error):
                    raise
            else:
                break
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.port, self.management_port = free_port(), free_port()
        configuration = self._directory / "pebble.json"
        place = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": str(self._certificate),
            "privateKey": str(self._key),
        }
        configuration.write_text(json.dumps({"pebble": place | self.options.configuration()}))
        command: list[str | Path] = [
            self._program,
            "-config",
            configuration,
            "-dnsserver",
            self._dns_server,
        ]
        if self.options.strict:
            command.append("-strict")
        self._child = Child(
            command,
            log=self.log,
            environment=self.options.environment(),
            directory=self._directory,
        )
        self._child.wait_until(self._answers, timeout=_START_TIMEOUT)

    def _answers(self) -> bool:
        try:
            self._get(self.directory_url)
            self._get(f"{self.management_url}/roots/0")
        except OSError:
            return False
        return True

    def _get(self, url: str) -> bytes:
        # A handler list of our own, so that no proxy of the environment is asked.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        with opener.open(url, timeout=10) as reply:
            return bytes(reply.read())

    def root(self, number: int = 0) -> bytes:
        """The root that signs certificates, in PEM; the alternates are 1 and up."""
        return self._get(f"{self.management_url}/roots/{number}")

    def intermediate(self, number: int = 0) -> bytes:
        """The intermediate that signs certificates, in PEM."""
        return self._get(f"{self.management_url}/intermediates/{number}")

    def certificate_status(self, serial: int | str) -> dict[str, Any]:
        """What Pebble knows of a certificate: `Status` (`Valid`, `Revoked`), `Reason`, and more."""
        text = f"{serial:x}" if isinstance(serial, int) else serial.lower()
        found: dict[str, Any] = json.loads(
            self._get(f"{self.management_url}/cert-status-by-serial/{text}")
        )
        return found

    def profiles(self) -> list[str]:
        """The profiles that its directory offers."""
        meta = json.loads(self._get(self.directory_url)).get("meta", {})
        return sorted(meta.get("profiles", {}))

    def orders(self) -> int:
        """How many orders it has taken, by its log."""
        return len(re.findall(r"Added order", self.log_text()))

    def log_text(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    def client_context(self) -> ssl.SSLContext:
        """A TLS context that trusts its API."""
        return self._context

    def pause(self) -> None:
        """Let it hang: connections open, answers do not come, nothing is forgotten."""
        self._running.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._running.resume()

    def stop(self) -> None:
        """End it, and all that it knows."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)
            self._child.stop()
            self._child = None
