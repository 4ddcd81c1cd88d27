"""config.toml as frozen values; every mistake in it is reported at once, by its key path.

`load` reads the file (`load_notify` one section of it, `load_draft` one that is yet to be),
`read_secret` a secret that it names, `effective` shows what is in force. Owns no defaults but those
of the configuration, acts on nothing and keeps no secret.
"""

from certwarden.config.sections import load, load_draft, load_notify
from certwarden.config.source import MAX_CONFIG_BYTES, read_secret
from certwarden.config.values import (
    AcmeConfig,
    BackupConfig,
    ClockConfig,
    ClockTrust,
    CloudflareConfig,
    Config,
    DaemonConfig,
    DnsConfig,
    ExternalAccount,
    MetricsConfig,
    NotifyConfig,
    effective,
)

__all__ = [
    "MAX_CONFIG_BYTES",
    "AcmeConfig",
    "BackupConfig",
    "ClockConfig",
    "ClockTrust",
    "CloudflareConfig",
    "Config",
    "DaemonConfig",
    "DnsConfig",
    "ExternalAccount",
    "MetricsConfig",
    "NotifyConfig",
    "effective",
    "load",
    "load_draft",
    "load_notify",
    "read_secret",
]
