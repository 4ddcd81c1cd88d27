"""A small world for tests and the demo: an ACME server, Cloudflare, and the DNS between them.

Owns putting the parts together: what one writes the others read. Each part is in a module of its
own and can be had alone. Everything listens on loopback, nothing outlives the process.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from tests.world import tools
from tests.world.authority import TestAuthority
from tests.world.cloudflare import CloudflareEmulator, Token
from tests.world.dns import DnsServer, DohServer
from tests.world.faultproxy import FaultProxy
from tests.world.pebble import Pebble, PebbleOptions
from tests.world.zones import NAME_SERVERS, Zone, Zones

__all__ = ["World"]


class World:
    """Everything that certwarden talks to; there while the context is open.

    `directory` keeps logs and keys after the end; without one they go into a temporary directory.
    `name_server_addresses` gives the zones' own name servers (NAME_SERVERS) addresses of this
    machine and serves each there on port 53, which needs root, or a network namespace of its own.
    """

    def __init__(
        self,
        zones: Sequence[str] = ("example.org",),
        *,
        propagation_delay: float = 0.0,
        pebble: PebbleOptions | None = None,
        proxy: bool = False,
        tls_doh: bool = False,
        directory: Path | None = None,
        name_server_addresses: Mapping[str, str] | None = None,
    ) -> None:
        self.zone_names = tuple(zones)
        self.zones: dict[str, Zone] = {}
        self._delay = propagation_delay
        self._pebble_options = pebble
        self._wants_proxy = proxy
        self._tls_doh = tls_doh
        self._given_directory = directory
        self._name_server_addresses = dict(name_server_addresses or {})
        self._stack = ExitStack()

        self.directory: Path
        self.authority: TestAuthority
        self.store: Zones
        self.emulator: CloudflareEmulator
        self.token: Token
        self.token_file: Path
        self.dns: DnsServer
        self.name_servers: dict[str, DnsServer] = {}
        self.doh: DohServer
        self.pebble: Pebble
        self.proxy: FaultProxy | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._build(stack)
            # Only a world that is complete is kept; else what was started is ended here.
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self, stack: ExitStack) -> None:
        program = tools.pebble()
        if self._given_directory is None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="certwarden-world-"))
            self.directory = Path(made)
        else:
            self.directory = self._given_directory
            self.directory.mkdir(parents=True, exist_ok=True)
        self.authority = TestAuthority(self.directory)
        self.store = Zones(propagation_delay=self._delay)
        self._add_name_servers()
        for name in self.zone_names:
            self.add_zone(name)

        self.emulator = stack.enter_context(CloudflareEmulator(self.store))
        self.token = self.emulator.add_token()
        self.token_file = self.write_token(self.token)
        self.dns = stack.enter_context(DnsServer(self.store))
        for server, address in self._name_server_addresses.items():
            self.name_servers[server] = stack.enter_context(
                DnsServer(self.store, address=address, port=53)
            )
        context = self.authority.server_context("doh") if self._tls_doh else None
        self.doh = stack.enter_context(DohServer(self.store, context=context))
        self.pebble = stack.enter_context(
            Pebble(
                program,
                self.directory,
                authority=self.authority,
                dns_server=self.dns.address,
                options=self._pebble_options,
            )
        )
        if self._wants_proxy:
            self.proxy = stack.enter_context(
                FaultProxy(self.pebble.origin, authority=self.authority)
            )

    def _add_name_servers(self) -> None:
        self.store.add_zone("world.test", hidden=True)
        for server in NAME_SERVERS:
            address = self._name_server_addresses.get(server, "127.0.0.1")
            self.store.add("AAAA" if ":" in address else "A", server, address)

    def add_zone(self, name: str, *, status: str = "active", record_quota: int = 200) -> Zone:
        """One more zone at Cloudflare, with an address at its top."""
        zone = self.store.add_zone(name, status=status, record_quota=record_quota)
        self.store.add("A", name, "192.0.2.1")
        self.zones[name] = zone
        return zone

    def write_token(self, token: Token, name: str = "cloudflare.token") -> Path:
        """Write a token's secret into a file that only we can read; return its path."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(token.secret + "\n")
        return path

    def also(self, part: AbstractContextManager[object]) -> None:
        """Let a further part end with this world."""
        self._stack.enter_context(part)

    def at_end(self, act: Callable[[], object]) -> None:
        """Do something when this world ends."""
        self._stack.callback(act)

    @property
    def api_base_url(self) -> str:
        """For `[cloudflare] base_url`."""
        return self.emulator.base_url

    @property
    def directory_url(self) -> str:
        """For `[acme] directory`: through the fault proxy where there is one."""
        return self.proxy.directory_url if self.proxy else self.pebble.directory_url

    @property
    def ca_bundle(self) -> Path:
        """For `[acme] ca_bundle`; it signs all of the world's own servers."""
        return self.authority.bundle

    @property
    def nameserver(self) -> str:
        """For `[dns] nameservers`: address and port."""
        return self.dns.address

    @property
    def doh_url(self) -> str:
        """For `[dns] doh`."""
        return self.doh.url

    def txt_records(self) -> list[str]:
        """Every TXT record that the API holds, as `NAME VALUE`: what must be gone in the end."""
        return [f"{r.name} {r.bare_content}" for r in self.store.records() if r.type == "TXT"]
