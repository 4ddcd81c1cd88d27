"""A house whose DNS provider and name servers are the world's, for checks that look for real.

Owns writing its configuration and opening its warden; there is no CA but where a test brings one.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from certwarden.config import load
from certwarden.doctor.patient import Patient, admit
from certwarden.wiring import Warden
from tests.fakes_store import RecordingReporter
from tests.world.cloudflare import CloudflareEmulator
from tests.world.dns import DnsServer, DohServer
from tests.world.zones import Zones

NOBODY = "http://127.0.0.1:9/directory"


@dataclass
class Premises:
    """The servers, and the house in `directory`; what is set here goes into its configuration."""

    directory: Path
    store: Zones
    cloudflare: CloudflareEmulator
    dns: DnsServer
    doh: DohServer
    domains: Sequence[str] = ("example.org", "*.example.org")
    secret: str = ""
    acme_directory: str = NOBODY
    acme: str = ""
    cloudflare_settings: str = ""
    asks: str = "nameservers"
    more: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """config.toml."""
        return self.directory / "config.toml"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    @property
    def token_file(self) -> Path:
        """The API token's."""
        return self.directory / "cloudflare.token"

    def write(self) -> None:
        """(Re)writes configuration and token from the fields; a token is made where none is set."""
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.secret or self.cloudflare.add_token().secret)
        asked = {"nameservers": self.dns.address, "doh": self.doh.url}[self.asks]
        self.config.touch(mode=0o600)
        self.config.write_text(
            f"""\
state_directory = "{self.state}"
[acme]
directory = "{self.acme_directory}"
terms_of_service_agreed = true
{self.acme}
[cloudflare]
api_token_file = "{self.token_file}"
base_url = "{self.cloudflare.base_url}"
{self.cloudflare_settings}
[dns]
{self.asks} = ["{asked}"]
{self.more}
[[certificate]]
name = "home"
domains = {json.dumps(list(self.domains))}
"""
        )

    @contextmanager
    def patient(self) -> Iterator[Patient]:
        """As `doctor` finds the house."""
        self.write()
        config = load(self.config, self.environment)
        warden = Warden(config, RecordingReporter(), purpose="doctor", is_read_only=True)
        try:
            yield admit(config, warden)
        finally:
            warden.close()


@contextmanager
def premises(directory: Path) -> Iterator[Premises]:
    """A house in a zone that is in order; no server may have made a mistake of its own."""
    store = Zones()
    store.add_zone("example.org")
    store.add("A", "example.org", "192.0.2.1")
    with CloudflareEmulator(store) as emulator, DnsServer(store) as dns, DohServer(store) as doh:
        yield Premises(directory, store, emulator, dns, doh)
        assert (emulator.errors, dns.errors, doh.errors) == ([], [], [])
