"""The composition root: a Config becomes a warden whose neighbours are made when first needed.

The only file that names concrete neighbours. It decides nothing; a pass with nothing to do loads
neither the ACME library nor the DNS provider's, which is why imports stand inside the functions.
"""

from functools import cached_property
from typing import TYPE_CHECKING

from certwarden.clock import SystemClock
from certwarden.config import Config, read_secret
from certwarden.model import TargetSpec
from certwarden.ports import (
    Accounts,
    Issuer,
    Probe,
    Propagation,
    Reloader,
    Reporter,
    Revoker,
    Shelf,
    Zone,
)
from certwarden.store.certificates import CertificateStore
from certwarden.store.ledger import Ledger
from certwarden.store.locks import FileLocks

if TYPE_CHECKING:
    from certwarden.issuer.issuer import AcmeIssuer

DATABASE = "certwarden.db"


class Warden:
    """The real neighbours of the lifecycle (ports.Neighbours), for one command.

    `purpose` is what other commands are told if they have to wait for this one. A read-only warden
    writes nothing, so that looking at an empty machine leaves it empty.
    """

    def __init__(
        self, config: Config, reporter: Reporter, *, purpose: str, is_read_only: bool = False
    ) -> None:
        self._config = config
        self._targets = {
            target.name: target for spec in config.certificates for target in spec.targets
        }
        state = config.state_directory
        ledger = Ledger(state / DATABASE, reporter=reporter, read_only=is_read_only)
        self.clock = SystemClock()
        self.reporter = reporter
        self.certificates = CertificateStore(state, reporter=reporter, read_only=is_read_only)
        self.attempts = self.journal = self.revocations = self.deploys = self.history = ledger
        self.locks = FileLocks(state, reporter, purpose)
        self._ledger = ledger
        self._issuers: dict[str, AcmeIssuer] = {}

    def close(self) -> None:
        """Lets go of what is open."""
        for issuer in self._issuers.values():
            issuer.close()
        self._ledger.close()

    # ── the CA and the DNS provider: heavy, so made only where an order is placed ─────────────────

    def issuer(self) -> Issuer:
        """The conversation with the configured directory."""
        return self._issuer(self._config.acme.directory_url)

    def staging_issuer(self) -> Issuer | None:
        """The same with the staging directory, where there is one."""
        url = self._config.acme.staging_directory_url
        return None if url is None else self._issuer(url)

    def revoker(self) -> Revoker:
        """Revocation, at whichever directory a certificate came from."""
        from certwarden.issuer.revoker import AcmeRevoker

        acme = self._config.acme
        urls = [url for url in (acme.directory_url, acme.staging_directory_url) if url]
        bundles = dict.fromkeys(urls, acme.ca_bundle) if acme.ca_bundle else {}
        return AcmeRevoker(accounts=self._accounts, clock=self.clock, ca_bundles=bundles)

    def zone(self) -> Zone:
        """TXT records at Cloudflare, with the token as it is now."""
        return self._zone

    def propagation(self) -> Propagation:
        """The look whether records are to be seen."""
        return self._propagation

    # ── targets ───────────────────────────────────────────────────────────────────────────────────

    def shelf(self, target: str) -> Shelf:
        """The target's generations."""
        from certwarden.targets.shelf import GenerationShelf

        return GenerationShelf(self._targets[target])

    def reloader(self, target: str) -> Reloader:
        """What makes the target's program take up its files."""
        from certwarden.targets.reload import reloader_for

        return reloader_for(self._targets[target])

    def probe(self, target: str) -> Probe | None:
        """The look at what the target serves, where it is configured."""
        from certwarden.targets.probe import TlsProbe

        spec: TargetSpec = self._targets[target]
        return TlsProbe(spec.probe, spec.probe_name) if spec.probe else None

    # ── made once ─────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _accounts(self) -> Accounts:
        from certwarden.store.accounts import AccountStore

        return AccountStore(self._config.state_directory)

    @cached_property
    def _zone(self) -> Zone:
        from certwarden.zone.cloudflare import CloudflareZone

        cloudflare = self._config.cloudflare
        return CloudflareZone(
            read_secret(cloudflare.api_token_file),
            base_url=cloudflare.base_url,
            zone_ids=cloudflare.zone_ids,
            clock=self.clock,
        )

    @cached_property
    def _propagation(self) -> Propagation:
        from certwarden.zone.propagation import DnsPropagation

        dns = self._config.dns
        return DnsPropagation(
            clock=self.clock,
            timeout=dns.propagation_timeout,
            settle=dns.settle,
            nameservers=dns.nameservers,
            doh=dns.doh,
        )

    def _issuer(self, directory_url: str) -> Issuer:
        if directory_url not in self._issuers:
            self._issuers[directory_url] = self._make_issuer(directory_url)
        return self._issuers[directory_url]

    def _make_issuer(self, directory_url: str) -> "AcmeIssuer":
        from certwarden.issuer.account import ExternalAccount
        from certwarden.issuer.issuer import AcmeIssuer

        acme = self._config.acme
        external = acme.external_account
        return AcmeIssuer(
            directory_url,
            accounts=self._accounts,
            clock=self.clock,
            terms_of_service_agreed=acme.terms_of_service_agreed,
            contact=acme.contact,
            external_account=(
                ExternalAccount(external.kid, read_secret(external.hmac_key_file))
                if external
                else None
            ),
            ca_bundle=acme.ca_bundle,
        )
