"""The composition root: a Config becomes a warden whose neighbours are made when first needed.

The only file that names concrete neighbours. It decides nothing; a pass with nothing to do loads
neither the ACME library nor the DNS provider's, which is why imports stand inside the functions.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from certwarden.clock import AlwaysTrusted, SystemClock, SystemTimeSources
from certwarden.config import AcmeConfig, Config, NotifyConfig, effective, read_secret
from certwarden.errors import LockedError
from certwarden.model import AuthoritySpec, Policy, Protocol, Secret, TargetSpec
from certwarden.ports import (
    Accounts,
    Belongings,
    CaaRecords,
    ClientProbe,
    Door,
    Issuer,
    Messenger,
    Metrics,
    Probe,
    Propagation,
    Reloader,
    RenewalInfos,
    Reporter,
    Revoker,
    Safe,
    Shelf,
    TimeSources,
    Zone,
)
from certwarden.store.authority import AuthorityStore
from certwarden.store.certificates import CertificateStore
from certwarden.store.ledger import Ledger
from certwarden.store.locks import FileLocks
from certwarden.store.state import call_daemon

if TYPE_CHECKING:
    from certwarden.issuer.issuer import AcmeIssuer
    from certwarden.issuer.look import Directories
    from certwarden.pki.keys import PrivateKey
    from certwarden.zone.addresses import HostAddresses
    from certwarden.zone.caa import DnsCaaRecords
    from certwarden.zone.resolving import DnsSurvey
    from certwarden.zone.survey import CloudflareSurvey

DATABASE = "certwarden.db"
CAA_SECONDS = 4.0


def messenger(notify: NotifyConfig) -> Messenger | None:
    """Messages and the heartbeat, where they are configured."""
    if notify.urls_file is None and notify.heartbeat_url_file is None:
        return None
    from certwarden.notify import AppriseMessenger

    return AppriseMessenger(
        read_secret(notify.urls_file) if notify.urls_file else None,
        read_secret(notify.heartbeat_url_file) if notify.heartbeat_url_file else None,
    )


class Warden:
    """The real neighbours of the lifecycle (ports.Neighbours), for one command.

    `purpose` is what other commands are told if they have to wait for this one. A read-only warden
    writes nothing, so that looking at an empty machine leaves it empty. `handed_over` are secrets
    whose files are closed to us, and which the service has from systemd.
    """

    def __init__(
        self,
        config: Config,
        reporter: Reporter,
        *,
        purpose: str,
        is_read_only: bool = False,
        handed_over: Mapping[Path, Secret] = MappingProxyType({}),
    ) -> None:
        self._config = config
        self.handed_over = handed_over
        self._targets = {
            target.name: target for spec in config.certificates for target in spec.targets
        }
        state = config.state_directory
        ledger = Ledger(state / DATABASE, reporter=reporter, read_only=is_read_only)
        self.clock = SystemClock()
        self.reporter = reporter
        self.certificates = CertificateStore(state, reporter=reporter, read_only=is_read_only)
        self.attempts = self.journal = self.revocations = self.deploys = self.history = ledger
        self.limits, self.suggestions, self.watch = ledger.limits, ledger.suggestions, ledger.watch
        self.register, self.invitations = ledger.register, ledger.invitations
        self.proofs = ledger.proofs
        self.archive = ledger.archive
        self.authority = AuthorityStore(state, reporter=reporter)
        self.locks = FileLocks(state, reporter, purpose, sleep=self.clock.sleep)
        self._ledger = ledger
        self._issuers: dict[str, AcmeIssuer] = {}
        self._passphrase: Secret | None = None
        self._lock = threading.RLock()  # several orders ask for the same neighbour at once

    def close(self) -> None:
        """Lets go of what is open."""
        for issuer in self._issuers.values():
            issuer.close()
        if "_dns_survey" in self.__dict__:
            self._dns_survey.close()
        self._ledger.close()

    # ── what decides ──────────────────────────────────────────────────────────────────────────────

    @cached_property
    def policy(self) -> Policy:
        """What of the configuration decides about the steps of a pass."""
        acme = self._config.acme
        return Policy(
            limited=frozenset(each.directory_url for each in self._acmes if each.limits),
            staging_urls={
                each.directory_url: each.staging_directory_url
                for each in self._acmes
                if each.staging_directory_url is not None
            },
            maintenance=self._config.daemon.maintenance_window,
            fallback_profiles={each.directory_url: each.profile for each in acme.fallbacks},
        )

    @cached_property
    def time_sources(self) -> TimeSources:
        """Who can tell whether the clock is right; nobody is asked where it is always trusted."""
        if self._config.clock.trust == "always":
            return AlwaysTrusted()
        acme = self._config.acme
        urls = ((acme.directory_url, acme.ca_bundle), (self._config.cloudflare.base_url, None))
        return SystemTimeSources(self.clock, urls)

    def setup(self, certificate: str | None) -> str:
        """A digest of what of ours an attempt depends on; of the API token alone without a name."""
        digest = hashlib.sha256(self._token.reveal())
        if certificate is not None:
            spec = next(each for each in self._config.certificates if each.name == certificate)
            digest.update(self._shared_setup)
            digest.update(json.dumps([spec.domains, spec.key_type, spec.profile]).encode())
            for key in self._external_keys:
                digest.update(key.reveal())
        return digest.hexdigest()

    # ── whom a person is reached by ───────────────────────────────────────────────────────────────

    def messenger(self) -> Messenger | None:
        """Messages and the heartbeat, where they are configured."""
        return messenger(self._config.notify)

    def metrics(self) -> Metrics | None:
        """The file for a monitoring system, where it is configured."""
        if self._config.metrics.file is None:
            return None
        from certwarden.metrics import MetricsFile

        return MetricsFile(self._config.metrics.file)

    def door(self) -> Door | None:
        """Where the service hands out certificates, if that is configured."""
        authority = self._config.authority
        if authority is None or authority.invite_listen is None:
            return None
        from certwarden.targets.door import SocketDoor

        return SocketDoor()

    # ── the CA and the DNS provider: heavy, so made only where an order is placed ─────────────────

    def issuer(self, directory_url: str) -> Issuer:
        """The conversation with a configured directory."""
        with self._lock:
            if directory_url not in self._issuers:
                self._issuers[directory_url] = self._make_issuer(directory_url)
            return self._issuers[directory_url]

    def staging_issuer(self, directory_url: str) -> Issuer | None:
        """The same with that directory's staging directory, where there is one."""
        url = self.policy.staging_urls.get(directory_url)
        return None if url is None else self.issuer(url)

    def renewal_infos(self) -> RenewalInfos:
        """The CAs' own word on when to renew."""
        with self._lock:
            return self._renewal_infos

    def caa_records(self) -> CaaRecords:
        """CAA records as the world sees them."""
        with self._lock:
            return self._caa_records

    def revoker(self) -> Revoker:
        """Revocation, at whichever directory a certificate came from."""
        from certwarden.issuer.revoker import AcmeRevoker

        return AcmeRevoker(accounts=self._accounts, clock=self.clock, ca_bundles=self._bundles)

    def zone(self) -> Zone:
        """TXT records at Cloudflare, with the token as it was when the pass began."""
        with self._lock:
            return self._zone

    def propagation(self) -> Propagation:
        """The look whether records are to be seen."""
        with self._lock:
            return self._propagation

    # ── what doctor looks by ──────────────────────────────────────────────────────────────────────

    def zone_survey(self) -> "CloudflareSurvey":
        """What Cloudflare's API tells of token and zones."""
        with self._lock:
            return self._zone_survey

    def dns_survey(self) -> "DnsSurvey":
        """How resolvers and the zones' own servers answer."""
        with self._lock:
            return self._dns_survey

    def caa_survey(self) -> "DnsCaaRecords":
        """CAA records, for somebody who waits for the answer."""
        from certwarden.zone.caa import DnsCaaRecords

        dns = self._config.dns
        return DnsCaaRecords(
            clock=self.clock, nameservers=dns.nameservers, doh=dns.doh, seconds=CAA_SECONDS
        )

    def directories(self) -> "Directories":
        """What the configured CAs say of themselves."""
        with self._lock:
            return self._directories

    def account_url(self, directory_url: str) -> str:
        """The account at a directory as we know it; "" where there is none yet."""
        account = self._accounts.load(directory_url)
        return account.url if account is not None else ""

    def host_addresses(self) -> "HostAddresses":
        """Where hosts' names lead, as this machine and as the world is told."""
        from certwarden.zone.addresses import HostAddresses

        dns = self._config.dns
        return HostAddresses(clock=self.clock, nameservers=dns.nameservers, doh=dns.doh)

    # ── the private CA ────────────────────────────────────────────────────────────────────────────

    @property
    def authority_spec(self) -> AuthoritySpec | None:
        """What is configured of it."""
        return self._config.authority

    @cached_property
    def belongings(self) -> Belongings:
        """What of this machine goes into a backup beside the CA."""
        from certwarden.store.backup import StateBelongings

        config = self._config
        return StateBelongings(
            config.state_directory,
            config_file=config.source,
            passphrase_file=config.authority.passphrase_file if config.authority else None,
            target_directories=[target.directory for target in self._targets.values()],
        )

    def call_daemon(self) -> None:
        """Has the daemon make a pass in a while, for what this command may leave undone."""
        call_daemon(self._config.state_directory)

    def safe(self) -> Safe | None:
        """Where backups are kept by themselves, if that is configured."""
        backup = self._config.backup
        if backup is None:
            return None
        from certwarden.store.backup import BackupDirectory

        return BackupDirectory(backup.directory, backup.passphrase_file)

    def unlock(self, passphrase: Secret) -> None:
        """Has the CA's key opened with this passphrase, and not with the one that is kept."""
        self._passphrase = passphrase
        self.__dict__.pop("_signing_key", None)

    def signing_key(self) -> "PrivateKey":
        """The CA's key; raises LockedError where its passphrase is not to be had."""
        with self._lock:
            return self._signing_key

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

    def client_probe(self, target: str) -> ClientProbe | None:
        """Who visits the target as a client, where it is configured."""
        from certwarden.targets.client_probe import TlsClientProbe

        spec: TargetSpec = self._targets[target]
        return TlsClientProbe(spec.probe, spec.probe_name, spec.kind) if spec.probe else None

    def sightings(self, target: str) -> Mapping[str, datetime] | None:
        """Whom certwarden's module in the target's program has let in, and when last."""
        from certwarden.targets.node_red.reports import LOADED, read_sightings

        return read_sightings(self._targets[target].directory / LOADED)

    def websocket_probe(self, target: str) -> ClientProbe | None:
        """Who asks the target for the websocket of Node-RED's editor, where it speaks HTTP."""
        from certwarden.targets.client_probe import TlsClientProbe

        spec: TargetSpec = self._targets[target]
        if spec.probe is None or spec.kind.protocol is not Protocol.HTTP:
            return None
        return TlsClientProbe(spec.probe, spec.probe_name, spec.kind, websocket="/comms")

    # ── made once ─────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _accounts(self) -> Accounts:
        from certwarden.store.accounts import AccountStore

        return AccountStore(self._config.state_directory)

    @cached_property
    def _signing_key(self) -> "PrivateKey":
        from certwarden.pki.protection import decrypt_key

        passphrase = self._passphrase
        if passphrase is None:
            passphrase = self._kept_passphrase()
        return decrypt_key(self.authority.key(), passphrase)

    def _kept_passphrase(self) -> Secret:
        if self.authority.is_locked():
            raise LockedError(
                "the private CA is locked: its key needs your passphrase",
                "run the command on a terminal, where it can ask for it",
            )
        assert self._config.authority is not None  # noqa: S101 - whoever signs has looked
        file = self._config.authority.passphrase_file
        if not file.exists():
            raise LockedError(
                f"the passphrase of the private CA is gone: there is no {file}",
                "write the recovery code that `ca init` has shown into that file",
            )
        return self._secret(file)

    def _secret(self, path: Path) -> Secret:
        return self.handed_over.get(path) or read_secret(path)

    @cached_property
    def _acmes(self) -> tuple[AcmeConfig, ...]:
        """The first CA, then those for when it has long failed."""
        return (self._config.acme, *self._config.acme.fallbacks)

    @cached_property
    def _shared_setup(self) -> bytes:
        """What all certificates depend on."""
        values = effective(self._config)
        shared = [values["acme"], values["cloudflare"], values["dns"]]
        return json.dumps(shared, sort_keys=True).encode()

    @cached_property
    def _external_keys(self) -> tuple[Secret, ...]:
        """The HMAC keys that registering an account takes."""
        return tuple(
            self._secret(each.external_account.hmac_key_file)
            for each in self._acmes
            if each.external_account is not None
        )

    @cached_property
    def _bundles(self) -> dict[str, Path]:
        """Whom to trust for a directory's own TLS, where that is not up to the system."""
        return {
            url: acme.ca_bundle
            for acme in self._acmes
            for url in (acme.directory_url, acme.staging_directory_url)
            if url is not None and acme.ca_bundle is not None
        }

    @cached_property
    def _token(self) -> Secret:
        return self._secret(self._config.cloudflare.api_token_file)

    @cached_property
    def _renewal_infos(self) -> RenewalInfos:
        from certwarden.issuer.renewal_info import AcmeRenewalInfos

        return AcmeRenewalInfos(clock=self.clock, ca_bundles=self._bundles)

    @cached_property
    def _caa_records(self) -> CaaRecords:
        from certwarden.zone.caa import DnsCaaRecords

        dns = self._config.dns
        return DnsCaaRecords(clock=self.clock, nameservers=dns.nameservers, doh=dns.doh)

    @cached_property
    def _zone(self) -> Zone:
        from certwarden.zone.batching import BatchingZone
        from certwarden.zone.cloudflare import CloudflareZone

        cloudflare = self._config.cloudflare
        return BatchingZone(
            CloudflareZone(
                self._token,
                base_url=cloudflare.base_url,
                zone_ids=cloudflare.zone_ids,
                clock=self.clock,
            )
        )

    @cached_property
    def _zone_survey(self) -> "CloudflareSurvey":
        from certwarden.zone.survey import CloudflareSurvey

        cloudflare = self._config.cloudflare
        return CloudflareSurvey(
            self._token,
            base_url=cloudflare.base_url,
            zone_ids=cloudflare.zone_ids,
            clock=self.clock,
        )

    @cached_property
    def _dns_survey(self) -> "DnsSurvey":
        from certwarden.zone.resolving import DnsSurvey

        dns = self._config.dns
        return DnsSurvey(clock=self.clock, nameservers=dns.nameservers, doh=dns.doh)

    @cached_property
    def _directories(self) -> "Directories":
        from certwarden.issuer.look import Directories

        return Directories(clock=self.clock, ca_bundles=self._bundles)

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

    def _make_issuer(self, directory_url: str) -> "AcmeIssuer":
        from certwarden.issuer.account import ExternalAccount
        from certwarden.issuer.issuer import AcmeIssuer

        acme = next(
            each
            for each in self._acmes
            if directory_url in (each.directory_url, each.staging_directory_url)
        )
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
