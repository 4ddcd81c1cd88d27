"""The configuration as frozen values, and the same in the shape of the file.

Owns no reading and no checking. Secrets are not in here, only the paths of their files.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from certwarden.config.syntax import duration_text, maintenance_window_text
from certwarden.frozen import frozen
from certwarden.model import (
    Address,
    AuthoritySpec,
    CertificateSpec,
    CommandReload,
    HotReload,
    MaintenanceWindow,
    Reload,
    TargetSpec,
    UnitReload,
)


@frozen
class ExternalAccount:
    """An account at the CA's own site that the ACME account is bound to (RFC 8555, 7.3.4)."""

    kid: str
    hmac_key_file: Path


@frozen
class AcmeConfig:
    """A public CA; the directories are URLs.

    `limits` says whether Let's Encrypt's limits hold there; `fallbacks` are the CAs for when this
    one has long failed, in the order in which they are tried.
    """

    directory_url: str
    staging_directory_url: str | None
    terms_of_service_agreed: bool
    profile: str | None
    ca_bundle: Path | None
    contact: tuple[str, ...]
    external_account: ExternalAccount | None
    limits: bool
    fallbacks: "tuple[AcmeConfig, ...]" = ()


@frozen
class CloudflareConfig:
    """The DNS provider; `zone_ids` by the zone's name, in lower case."""

    api_token_file: Path
    zone_ids: Mapping[str, str]
    base_url: str


@frozen
class DnsConfig:
    """Whom to ask whether a TXT record is to be seen; no nameservers: the zone's own, and DoH."""

    nameservers: tuple[Address, ...]
    doh: tuple[str, ...]
    propagation_timeout: timedelta
    settle: timedelta


@frozen
class DaemonConfig:
    """How often the daemon looks by itself, and when programs may be restarted."""

    check_every: timedelta
    maintenance_window: MaintenanceWindow | None


class ClockTrust(StrEnum):
    """Whether somebody is asked if the clock is right."""

    AUTO = "auto"
    ALWAYS = "always"


@frozen
class ClockConfig:
    """What is known about the machine's clock."""

    trust: ClockTrust


@frozen
class NotifyConfig:
    """The files with the URLs by which a person is reached, and with that of the heartbeat."""

    urls_file: Path | None
    heartbeat_url_file: Path | None


@frozen
class MetricsConfig:
    """The file for a monitoring system, if there is to be one."""

    file: Path | None


@frozen
class BackupConfig:
    """Where backups are kept, and the file with the passphrase that they are encrypted under."""

    directory: Path
    passphrase_file: Path


@frozen
class Config:
    """The whole configuration; `source` is the file that it was read from."""

    source: Path
    state_directory: Path
    acme: AcmeConfig
    cloudflare: CloudflareConfig
    dns: DnsConfig
    daemon: DaemonConfig
    clock: ClockConfig
    notify: NotifyConfig
    metrics: MetricsConfig
    authority: AuthoritySpec | None
    backup: BackupConfig | None
    certificates: tuple[CertificateSpec, ...]

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """Every file that holds a secret, once; some may be absent still."""
        externals = [each.external_account for each in (self.acme, *self.acme.fallbacks)]
        found = [
            self.cloudflare.api_token_file,
            *(each.hmac_key_file for each in externals if each is not None),
            self.notify.urls_file,
            self.notify.heartbeat_url_file,
            self.authority.passphrase_file if self.authority else None,
            self.backup.passphrase_file if self.backup else None,
        ]
        return tuple(dict.fromkeys(path for path in found if path is not None))


def effective(config: Config) -> dict[str, object]:
    """Every value in force, defaults included, in the shape of the file; what is absent is None.

    Without its Nones it is a configuration that loads to the same values.
    """
    acme, cloudflare, dns = config.acme, config.cloudflare, config.dns
    window = config.daemon.maintenance_window
    return {
        "state_directory": str(config.state_directory),
        "acme": _acme(acme) | {"fallback": [_acme(fallback) for fallback in acme.fallbacks]},
        "cloudflare": {
            "api_token_file": str(cloudflare.api_token_file),
            "zone_ids": dict(cloudflare.zone_ids),
            "base_url": cloudflare.base_url,
        },
        "dns": {
            "nameservers": [str(each) for each in dns.nameservers],
            "doh": list(dns.doh),
            "propagation_timeout": duration_text(dns.propagation_timeout),
            "settle": duration_text(dns.settle),
        },
        "daemon": {
            "check_every": duration_text(config.daemon.check_every),
            "maintenance_window": window and maintenance_window_text(window),
        },
        "clock": {"trust": config.clock.trust.value},
        "notify": {
            "urls_file": _text(config.notify.urls_file),
            "heartbeat_url_file": _text(config.notify.heartbeat_url_file),
        },
        "metrics": {"file": _text(config.metrics.file)},
        "authority": config.authority and _authority(config.authority),
        "backup": config.backup
        and {
            "directory": str(config.backup.directory),
            "passphrase_file": str(config.backup.passphrase_file),
        },
        "certificate": [
            {
                "name": certificate.name,
                "domains": list(certificate.domains),
                "key_type": certificate.key_type.value,
                "target": [_target(target) for target in certificate.targets],
            }
            for certificate in config.certificates
        ],
    }


def _acme(acme: AcmeConfig) -> dict[str, object]:
    return {
        "directory": acme.directory_url,
        "staging_directory": acme.staging_directory_url,
        "terms_of_service_agreed": acme.terms_of_service_agreed,
        "profile": acme.profile,
        "ca_bundle": _text(acme.ca_bundle),
        "contact": list(acme.contact),
        "limits": "letsencrypt" if acme.limits else "none",
        "eab": acme.external_account
        and {
            "kid": acme.external_account.kid,
            "hmac_key_file": str(acme.external_account.hmac_key_file),
        },
    }


def _authority(authority: AuthoritySpec) -> dict[str, object]:
    return {
        "name": authority.name,
        "passphrase_file": str(authority.passphrase_file),
        "client_days": authority.client_lifetime.days,
        "crl_days": authority.crl_lifetime.days,
        "invite_listen": _text(authority.invite_listen),
    }


def _target(target: TargetSpec) -> dict[str, object]:
    return {
        "name": target.name,
        "kind": target.kind.name,
        "directory": str(target.directory),
        "key": _text(target.key_path),
        "certificate": _text(target.certificate_path),
        "copy": target.copy,
        "group": target.group,
        "mode": f"{target.mode:04o}",
        "client_auth": target.client_auth,
        "reload": _reload(target.reload),
        "probe": _text(target.probe),
        "probe_name": target.probe_name or None,
        "probe_timeout": duration_text(target.probe_timeout),
        "settings": _text(target.settings),
    }


def _reload(reload: Reload) -> dict[str, object] | None:
    match reload:
        case HotReload():
            return {"hot": True}
        case UnitReload(unit, verb):
            return {"unit": unit, "verb": verb.value}
        case CommandReload(argv):
            return {"command": list(argv)}
        case None:
            return None


def _text(value: Path | Address | None) -> str | None:
    return None if value is None else str(value)
