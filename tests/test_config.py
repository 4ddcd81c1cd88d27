"""config.toml: what is right becomes frozen values, and every mistake is told by its key path."""

import copy
import errno
import grp
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.config import Config, effective, load, read_secret
from certwarden.config.table import KEYS
from certwarden.errors import ConfigError, Mistake
from certwarden.model import (
    Address,
    CommandReload,
    HotReload,
    KeyType,
    MaintenanceWindow,
    Secret,
    UnitReload,
    UnitVerb,
)
from certwarden.pki.authority import build_root, read_root
from certwarden.pki.keys import generate_key, load_key
from tests.toml_text import toml_text

TOKEN = "cfut_0123456789abcdefghijABCDEFGHIJ0123456789"
BOT = "123456:ABCdefGHIjklMNOpqrSTUvwx"
HEARTBEAT = "https://hc.example.org/0d6f0a3e-5f0f-4a5e-9d64-1f5b2d0f2c11"
PEM = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
GROUP = grp.getgrgid(os.getgid()).gr_name

Document = dict[str, object]
Changes = Mapping[str, object]

BASE: Document = {
    "acme": {
        "directory": "https://ca.example.org/directory",
        "terms_of_service_agreed": True,
    },
    "cloudflare": {"api_token_file": "cloudflare.token"},
    "dns": {},
    "certificate": [
        {
            "name": "home",
            "domains": ["example.org", "*.example.org"],
            "target": [
                {
                    "name": "node-red",
                    "kind": "node-red",
                    "reload": {"hot": True},
                    "probe": "127.0.0.1:1880",
                }
            ],
        }
    ],
}
TARGET = "certificate[0].target[0]"
FIXED_PATHS = {f"{TARGET}.key": "/etc/x/key.pem", f"{TARGET}.certificate": "/etc/x/cert.pem"}
RESTART = {"unit": "nodered.service", "verb": "restart"}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A directory with the files that a configuration may name."""
    return furnish(tmp_path)


def furnish(directory: Path) -> Path:
    directory.chmod(0o755)
    put(directory / "cloudflare.token", f"{TOKEN}\n", 0o600)
    put(directory / "eab.key", "c2VjcmV0\n", 0o640)
    put(directory / "ca.pem", PEM, 0o644)
    put(directory / "notify.urls", f"# at night\n\ntgram://{BOT}/42\n", 0o600)
    put(directory / "heartbeat.url", f"{HEARTBEAT}\n", 0o600)
    return directory


def put(path: Path, content: str | bytes, mode: int) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def write(house: Path, document: Document) -> Path:
    return put(house / "config.toml", toml_text(document), 0o644)


def changed(changes: Changes) -> Document:
    """The base document with other values at some key paths; None takes the key away."""
    document = copy.deepcopy(BASE)
    for path, value in changes.items():
        *way, last = [
            int(word) if word.isdigit() else word for word in re.findall(r"[^.\[\]]+", path)
        ]
        place: object = document
        for step in way:
            place = place[step]  # type: ignore[index]  # the paths are the tests' own
        if value is None:
            del place[last]  # type: ignore[attr-defined]  # see above
        elif isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value  # type: ignore[index]  # see above
    return document


def loaded(house: Path, changes: Changes | None = None, **environ: str) -> Config:
    return load(write(house, changed(changes or {})), environ)


def mistakes(house: Path, changes: Changes, **environ: str) -> tuple[Mistake, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(house, changes, **environ)
    return caught.value.mistakes


def mistakes_of(path: Path, **environ: str) -> tuple[Mistake, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    return caught.value.mistakes


# ── what is right ─────────────────────────────────────────────────────────────────────────────────


def test_defaults(house: Path) -> None:
    """What is not said has the default that the design names."""
    config = loaded(house, {"dns": None, "acme.directory": None, f"{TARGET}.reload": None})
    assert config.source == house / "config.toml"
    assert config.state_directory == Path("/var/lib/certwarden")
    assert config.acme.directory_url == "https://acme-v02.api.letsencrypt.org/directory"
    assert "staging" in (config.acme.staging_directory_url or "")
    assert config.acme.contact == ()
    assert config.dns.nameservers == ()
    assert len(config.dns.doh) == 2
    assert config.dns.propagation_timeout == timedelta(minutes=2)
    assert config.dns.settle == timedelta(seconds=5)
    assert config.acme.limits
    assert config.acme.fallbacks == ()
    assert config.daemon.check_every == timedelta(hours=6)
    assert config.daemon.maintenance_window is None
    assert config.clock.trust == "auto"
    assert (config.notify.urls_file, config.notify.heartbeat_url_file) == (None, None)
    assert config.metrics.file is None
    assert (config.authority, config.backup) == (None, None)
    (certificate,) = config.certificates
    assert certificate.fallback_urls == ()
    assert certificate.key_type is KeyType.ECDSA_P256
    (target,) = certificate.targets
    assert target.directory == Path("/var/lib/certwarden/live/node-red")
    assert target.certificate == "home"
    assert target.mode == 0o640
    assert not target.client_auth
    assert target.probe == Address("127.0.0.1", 1880)
    assert target.probe_name == "example.org"


def test_only_lets_encrypt_has_a_staging_directory_by_itself(house: Path) -> None:
    """A dry run never goes to another CA's staging than the one that was named."""
    assert loaded(house).acme.staging_directory_url is None
    staging = {"acme.staging_directory": "https://ca.example.org/staging"}
    assert loaded(house, staging).acme.staging_directory_url == "https://ca.example.org/staging"


def test_limits_are_those_of_lets_encrypt(house: Path) -> None:
    """Limits are counted at Let's Encrypt, and elsewhere where somebody says so."""
    assert not loaded(house).acme.limits
    assert loaded(house, {"acme.limits": "letsencrypt"}).acme.limits
    staging = {"acme.directory": "letsencrypt-staging"}
    assert not loaded(house, staging).acme.limits
    assert not loaded(house, {"acme.directory": None, "acme.limits": "none"}).acme.limits


def test_fallbacks(house: Path) -> None:
    """Other CAs have keys and defaults of their own, and each certificate knows their order."""
    other = {
        "directory": "https://other.example/directory",
        "terms_of_service_agreed": True,
        "profile": "shortlived",
        "eab": {"kid": "kid-1", "hmac_key_file": "eab.key"},
    }
    changes = {"acme.profile": "tlsserver", "acme.contact": ["mailto:you@example.org"]}
    fallbacks = [other, {"directory": "letsencrypt", "terms_of_service_agreed": True}]
    config = loaded(house, changes | {"acme.fallback": fallbacks})
    first, second = config.acme.fallbacks
    assert (first.directory_url, first.profile) == (other["directory"], "shortlived")
    assert (first.limits, first.staging_directory_url, first.contact) == (False, None, ())
    assert first.external_account is not None
    assert (second.external_account, second.profile, second.limits) == (None, None, True)
    assert "staging" in (second.staging_directory_url or "")
    assert config.acme.profile == "tlsserver"
    (certificate,) = config.certificates
    assert certificate.fallback_urls == (first.directory_url, second.directory_url)
    assert certificate.directory_url == "https://ca.example.org/directory"


def test_the_private_ca(house: Path) -> None:
    """Its passphrase need not be there yet: `ca init` makes the file, also where none was named."""
    spec = loaded(house, {"authority": {"name": "Home client CA"}}).authority
    assert spec is not None
    assert spec.name == "Home client CA"
    assert spec.passphrase_file == house / "secrets" / "ca.passphrase"
    assert (spec.client_lifetime.days, spec.crl_lifetime.days) == (825, 30)
    assert not (house / "secrets").exists()
    said = {"passphrase_file": "ca.passphrase", "client_days": 90, "crl_days": 3}
    spec = loaded(house, {"authority": {"name": "x"} | said}).authority
    assert spec is not None
    assert spec.passphrase_file == house / "ca.passphrase"
    assert (spec.client_lifetime.days, spec.crl_lifetime.days) == (90, 3)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (None, None),
        ("192.0.2.10:8443", Address("192.0.2.10", 8443)),
        ("0.0.0.0:8443", Address("0.0.0.0", 8443)),
        ("[2001:db8::1]:443", Address("2001:db8::1", 443)),
    ],
)
def test_where_the_service_listens(house: Path, said: str | None, read: Address | None) -> None:
    """An address of this machine or all of them; nowhere unless it is said."""
    spec = loaded(house, {"authority": {"name": "x"} | ({"invite_listen": said} if said else {})})
    assert spec.authority is not None
    assert spec.authority.invite_listen == read


@pytest.mark.parametrize("name", ["x" * 54, "ä" * 27])
def test_the_longest_name_of_the_private_ca(house: Path, name: str) -> None:
    """What the configuration takes, `ca init` can put into a certificate."""
    spec = loaded(house, {"authority": {"name": name}}).authority
    assert spec is not None
    key = load_key(generate_key(KeyType.ECDSA_P256))
    root = build_root(spec.name, key, datetime(2026, 11, 22, tzinfo=UTC))
    assert read_root(root).name.startswith(name)


def test_a_passphrase_that_is_there_is_looked_at(house: Path) -> None:
    """Also where it is the default's: empty or open to everybody, it protects nothing."""
    (house / "secrets").mkdir()
    put(house / "secrets" / "ca.passphrase", "correct horse battery staple\n", 0o640)
    assert loaded(house, {"authority": {"name": "x"}}).authority is not None
    put(house / "secrets" / "ca.passphrase", "correct horse battery staple\n", 0o644)
    (mistake,) = mistakes(house, {"authority": {"name": "x"}})
    assert mistake.path == "authority.passphrase_file"
    assert "open to everybody" in mistake.message
    assert "horse" not in mistake.message
    put(house / "secrets" / "ca.passphrase", "\n", 0o600)
    (mistake,) = mistakes(house, {"authority": {"name": "x"}})
    assert "is empty" in mistake.message


@pytest.mark.parametrize("kind", ["node-red", "nginx", "mosquitto", "haproxy", "files"])
def test_client_certificates_at_each_kind(house: Path, kind: str) -> None:
    """Every kind of program may ask for them, be it by a unit's reload or by paths of its own."""
    verb = {"verb": "restart" if kind == "node-red" else "reload"}
    changes = {f"{TARGET}.kind": kind, f"{TARGET}.reload": RESTART | verb}
    paths = {} if kind == "haproxy" else FIXED_PATHS
    asked = {"authority": {"name": "x"}, f"{TARGET}.client_auth": True}
    (certificate,) = loaded(house, changes | paths | asked).certificates
    (target,) = certificate.targets
    assert (target.kind.name, target.client_auth) == (kind, True)


def test_backups(house: Path) -> None:
    """Where backups go and what they are encrypted under; the directory may be unmounted now."""
    written = {"directory": "backups", "passphrase_file": "eab.key"}
    backup = loaded(house, {"backup": written}).backup
    assert backup is not None
    assert (backup.directory, backup.passphrase_file) == (house / "backups", house / "eab.key")


@pytest.mark.parametrize(
    ("written", "start", "end"),
    [("03:00-05:00", time(3), time(5)), ("23:30-04:15", time(23, 30), time(4, 15))],
)
def test_maintenance_window(house: Path, written: str, start: time, end: time) -> None:
    """A maintenance window is two times of day, and may cross midnight."""
    config = loaded(house, {"daemon": {"maintenance_window": written}})
    assert config.daemon.maintenance_window == MaintenanceWindow(start, end)


def test_everything_said(house: Path) -> None:
    """What is said arrives, typed."""
    config = loaded(
        house,
        {
            "state_directory": "state",
            "acme.profile": "tlsserver",
            "acme.ca_bundle": "ca.pem",
            "acme.contact": ["mailto:you@example.org"],
            "acme.eab": {"kid": "kid-1", "hmac_key_file": "eab.key"},
            "cloudflare.zone_ids": {"Example.org": "0" * 32},
            "cloudflare.base_url": "http://127.0.0.1:8080/client/v4",
            "dns.nameservers": ["192.0.2.53:5353", "2001:db8::53", "[2001:db8::54]:54"],
            "dns.doh": [],
            "dns.settle": "0s",
            "daemon": {"check_every": "24h"},
            "clock": {"trust": "always"},
            "notify": {"urls_file": "notify.urls", "heartbeat_url_file": "heartbeat.url"},
            "metrics": {"file": "certwarden.prom"},
            "certificate[0].key_type": "rsa-3072",
            "certificate[0].domains": ["Bücher.example", "*.EXAMPLE.org"],
            f"{TARGET}.group": GROUP,
            f"{TARGET}.mode": "0440",
            f"{TARGET}.probe": "[::1]:1880",
            f"{TARGET}.probe_name": "www.example.org",
            f"{TARGET}.probe_timeout": "2m",
            f"{TARGET}.settings": "settings.js",
            f"{TARGET}.directory": "/srv/tls",
        },
    )
    assert config.state_directory == house / "state"
    assert config.acme.ca_bundle == house / "ca.pem"
    assert config.acme.external_account is not None
    assert config.acme.external_account.hmac_key_file == house / "eab.key"
    assert config.cloudflare.zone_ids == {"example.org": "0" * 32}
    assert config.dns.nameservers == (
        Address("192.0.2.53", 5353),
        Address("2001:db8::53", 53),
        Address("2001:db8::54", 54),
    )
    assert config.dns.doh == ()
    assert config.dns.settle == timedelta(0)
    assert config.daemon.check_every == timedelta(days=1)
    assert config.clock.trust == "always"
    assert config.notify.urls_file == house / "notify.urls"
    assert config.notify.heartbeat_url_file == house / "heartbeat.url"
    assert config.metrics.file == house / "certwarden.prom"
    (certificate,) = config.certificates
    assert certificate.profile == "tlsserver"
    assert certificate.domains == ("xn--bcher-kva.example", "*.example.org")
    (target,) = certificate.targets
    assert (target.group, target.mode) == (GROUP, 0o440)
    assert target.probe == Address("::1", 1880)
    assert target.probe_name == "www.example.org"
    assert target.settings == house / "settings.js"


@pytest.mark.parametrize(
    ("written", "read", "timeout"),
    [
        ({"hot": True}, HotReload(), 15),
        (RESTART, UnitReload("nodered.service", UnitVerb.RESTART), 60),
        ({"command": ["docker", "restart", "x"]}, CommandReload(("docker", "restart", "x")), 60),
        (
            {"command": ["sh", "-c", "a\nb", "a\nb"]},
            CommandReload(("sh", "-c", "a\nb", "a\nb")),
            60,
        ),
        (None, None, 15),
    ],
)
def test_ways_to_reload(house: Path, written: object, read: object, timeout: int) -> None:
    """Each form of `reload` is understood; the probe is patient where the program restarts."""
    (certificate,) = loaded(house, {f"{TARGET}.reload": written}).certificates
    assert certificate.targets[0].reload == read
    assert certificate.targets[0].probe_timeout == timedelta(seconds=timeout)


def test_relative_program_begins_at_the_configuration(house: Path) -> None:
    """A command's relative path does not depend on where certwarden was started."""
    config = loaded(house, {f"{TARGET}.reload": {"command": ["./reload.sh", "./x"]}})
    argv = (f"{house}/reload.sh", "./x")
    reload = config.certificates[0].targets[0].reload
    assert isinstance(reload, CommandReload)
    assert (os.path.normpath(reload.argv[0]), *reload.argv[1:]) == argv


def test_state_directory_of_systemd_wins(house: Path) -> None:
    """The first entry of $STATE_DIRECTORY goes before the file, also for the targets."""
    config = loaded(house, {"state_directory": "/x"}, STATE_DIRECTORY="/run/a:/run/b")
    assert config.state_directory == Path("/run/a")
    assert config.certificates[0].targets[0].directory == Path("/run/a/live/node-red")


def test_credential_of_systemd_is_preferred(house: Path) -> None:
    """A credential of the secret file's name is read instead, even where that file is closed."""
    credentials = house / "credentials"
    credentials.mkdir()
    put(credentials / "cloudflare.token", "other-token", 0o440)
    (house / "cloudflare.token").unlink()
    config = loaded(house, CREDENTIALS_DIRECTORY=str(credentials))
    assert config.cloudflare.api_token_file == credentials / "cloudflare.token"
    assert read_secret(config.cloudflare.api_token_file) == Secret(b"other-token")


def test_wildcards_cover_one_label(house: Path) -> None:
    """The name to probe for may be any that a wildcard stands for, one label deep."""
    changes = {"certificate[0].domains": ["*.example.org"], f"{TARGET}.probe_name": "a.example.org"}
    assert loaded(house, changes).certificates[0].targets[0].probe_name == "a.example.org"
    without_probe = {"certificate[0].domains": ["*.example.org"], f"{TARGET}.probe": None}
    assert loaded(house, without_probe).certificates[0].targets[0].probe_name == ""


def test_effective_configuration_loads_to_the_same(house: Path) -> None:
    """What `config show` prints is complete: read again, it means the same."""
    target = {"name": "b", "kind": "files", "mode": "600", "key": "k", "certificate": "c"}
    everything = {
        "acme.contact": ["mailto:you@example.org"],
        "acme.eab": {"kid": "kid-1", "hmac_key_file": "eab.key"},
        "acme.ca_bundle": "ca.pem",
        "cloudflare.zone_ids": {"example.org": "0" * 32},
        "dns.nameservers": ["[2001:db8::53]:53"],
        "dns.settle": "90s",
        "acme.limits": "letsencrypt",
        "acme.fallback": [
            {
                "directory": "letsencrypt",
                "terms_of_service_agreed": True,
                "eab": {"kid": "kid-2", "hmac_key_file": "eab.key"},
            }
        ],
        "daemon": {"check_every": "90m", "maintenance_window": "23:30-04:00"},
        "clock": {"trust": "always"},
        "notify": {"urls_file": "notify.urls", "heartbeat_url_file": "heartbeat.url"},
        "metrics": {"file": "certwarden.prom"},
        "authority": {"name": "My “CA”", "client_days": 90, "crl_days": 3}
        | {"invite_listen": "[2001:db8::1]:8443"},
        "backup": {"directory": "/mnt/backup", "passphrase_file": "eab.key"},
        f"{TARGET}.client_auth": True,
        "certificate[0].target[1]": target | {"copy": True, "reload": RESTART},
        "certificate[0].target[2]": {"name": "c", "kind": "files", "reload": {"command": ["x"]}},
    }
    for changes in ({}, everything):
        config = loaded(house, changes)
        again = load(write(house, effective(config)), {})
        assert again == config
        for secret in (TOKEN, BOT, HEARTBEAT):
            assert secret not in str(effective(config))


def test_daemon_reads_the_effective_configuration(house: Path) -> None:
    """What the daemon is told by `config show` stands where it looks for it."""
    daemon = effective(loaded(house, {"daemon": {"maintenance_window": "03:00-05:00"}}))["daemon"]
    assert daemon == {"check_every": "6h", "maintenance_window": "03:00-05:00"}


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────────

LONG_LABEL = f"{'a' * 64}.example.org"
LONG_NAME = ".".join(["a" * 60] * 4)
SECOND = "certificate[1]"
FALLBACK = "acme.fallback[0]"
PASSPHRASE = "authority.passphrase_file"
INVITE_LISTEN = "authority.invite_listen"
CA: Document = {"name": "Home client CA"}
BACKUP: Document = {"directory": "/mnt/backup", "passphrase_file": "eab.key"}
AGREED: Document = {"terms_of_service_agreed": True}
OTHER: Document = AGREED | {"directory": "https://other.example/directory"}

WRONG: list[tuple[Changes, str, str]] = [
    # keys
    ({"staet_directory": "/x"}, "staet_directory", "did you mean `state_directory`"),
    ({"acme.profil": "x"}, "acme.profil", "did you mean `profile`"),
    ({"dns.propagation_timout": "1m"}, "dns.propagation_timout", "mean `propagation_timeout`"),
    ({"acme.state_directory": "/x"}, "acme.state_directory", "the top of the file"),
    ({"certificate[0].settle": "1s"}, "certificate[0].settle", "belong here but in [dns]"),
    ({f"{TARGET}.zzz": 1}, f"{TARGET}.zzz", "is not a key in [[certificate.target]]"),
    ({"acme.a b": 1}, 'acme."a b"', "is not a key"),
    ({"cloudflare.api_token": TOKEN}, "cloudflare.api_token", "did you mean `api_token_file`"),
    # shapes
    ({"acme": 1}, "acme", "must be a table"),
    ({"acme": [{}]}, "acme", "must be a table"),
    ({"dns": "2m"}, "dns", "must be a table"),
    ({"certificate": BASE["acme"]}, "certificate", "[[certificate]]"),
    ({"certificate[0].target": {"name": "x"}}, "certificate[0].target", "[[certificate.target]]"),
    ({"certificate": None}, "certificate", "is missing"),
    ({"certificate": [1]}, "certificate[0]", "must be a table, not 1"),
    # the CA
    ({"state_directory": "~/state"}, "state_directory", "must not begin with `~`"),
    ({"state_directory": "/"}, "state_directory", "must not be /"),
    ({"state_directory": "/var/lib"}, "state_directory", "must not be /var/lib"),
    (
        {
            "acme.directory": "letsencrypt",
            "certificate[0].domains": ["*.example.org", "example.org", "www.example.org"],
        },
        "certificate[0].domains[2]",
        "is covered by *.example.org",
    ),
    ({"state_directory": "  "}, "state_directory", "is empty"),
    ({"state_directory": "a\nb"}, "state_directory", "line break"),
    ({"acme.directory": "letsencript"}, "acme.directory", "did you mean `letsencrypt`"),
    ({"acme.directory": "http://ca.example.org/"}, "acme.directory", "begin with https://"),
    ({"acme.directory": "https://u:p@ca.example.org/"}, "acme.directory", "user or a password"),
    ({"acme.directory": "https://[::1/"}, "acme.directory", "is not a URL"),
    ({"acme.directory": "https://ca.example.org:0/"}, "acme.directory", "is not a URL"),
    ({"acme.staging_directory": "letsencrypt"}, "acme.staging_directory", "letsencrypt-staging"),
    ({"acme.terms_of_service_agreed": None}, "acme.terms_of_service_agreed", "is missing"),
    ({"acme.terms_of_service_agreed": False}, "acme.terms_of_service_agreed", "must be true"),
    ({"acme.terms_of_service_agreed": 1}, "acme.terms_of_service_agreed", "true or false"),
    ({"acme.profile": "a b"}, "acme.profile", '"a b" is not the name of a profile'),
    ({"acme.ca_bundle": "absent.pem"}, "acme.ca_bundle", "does not exist"),
    ({"acme.ca_bundle": "eab.key"}, "acme.ca_bundle", "no certificate in PEM"),
    ({"acme.ca_bundle": "."}, "acme.ca_bundle", "is a directory"),
    ({"acme.contact": "mailto:a@b.org"}, "acme.contact", "must be an array"),
    ({"acme.contact": ["you@example.org"]}, "acme.contact[0]", '"mailto:you@example.org"'),
    ({"acme.contact": ["tel:1"]}, "acme.contact[0]", "is not a contact"),
    ({"acme.eab": {"kid": "a"}}, "acme.eab.hmac_key_file", "is missing"),
    ({"acme.eab": {"hmac_key_file": "eab.key"}}, "acme.eab.kid", "is missing"),
    ({"acme.eab": "c2VjcmV0"}, "acme.eab", "must be a table"),
    ({"acme.limits": True}, "acme.limits", "must be a string"),
    ({"acme.limits": "letsencript"}, "acme.limits", "did you mean `letsencrypt`"),
    # another CA
    ({"acme.fallback": {}}, "acme.fallback", "two brackets on each side: [[acme.fallback]]"),
    ({"acme.fallback": [1]}, "acme.fallback[0]", "must be a table"),
    ({"acme.fallback": [AGREED]}, f"{FALLBACK}.directory", "is missing"),
    ({"acme.fallback": [OTHER | {"directory": "x"}]}, f"{FALLBACK}.directory", "https:// URL"),
    (
        {"acme.fallback": [{"directory": "letsencrypt"}]},
        f"{FALLBACK}.terms_of_service_agreed",
        "is missing",
    ),
    ({"acme.fallback": [OTHER | {"fallback": []}]}, f"{FALLBACK}.fallback", "but in [acme]"),
    ({"acme.fallback": [OTHER | {"profil": "x"}]}, f"{FALLBACK}.profil", "mean `profile`"),
    (
        {"acme.fallback": [OTHER | {"eab": {"kid": "x"}}]},
        f"{FALLBACK}.eab.hmac_key_file",
        "missing",
    ),
    (
        {"acme.directory": None, "acme.fallback": [AGREED | {"directory": "letsencrypt"}]},
        f"{FALLBACK}.directory",
        "is the same as acme.directory; they must differ",
    ),
    (
        {"acme.fallback": [OTHER, OTHER]},
        "acme.fallback[1].directory",
        "is the same as acme.fallback[0].directory; they must differ",
    ),
    (
        {"acme.directory": None, "acme.fallback": [AGREED | {"directory": "letsencrypt-staging"}]},
        f"{FALLBACK}.directory",
        "is the staging directory",
    ),
    (
        {
            "acme.fallback": [AGREED | {"directory": "letsencrypt"}],
            "certificate[0].domains": ["*.example.org", "www.example.org"],
            f"{TARGET}.probe": None,
        },
        "certificate[0].domains[1]",
        "is covered by *.example.org",
    ),
    # Cloudflare
    ({"cloudflare": None}, "cloudflare.api_token_file", "is missing"),
    ({"cloudflare.api_token_file": "absent"}, "cloudflare.api_token_file", "does not exist"),
    ({"cloudflare.api_token_file": TOKEN}, "cloudflare.api_token_file", "looks like the API token"),
    ({"cloudflare.api_token_file": "."}, "cloudflare.api_token_file", "is a directory"),
    (
        {"cloudflare.zone_ids": {"example.org": "x"}},
        'cloudflare.zone_ids."example.org"',
        "32 digits",
    ),
    ({"cloudflare.zone_ids": {"org": "0" * 32}}, "cloudflare.zone_ids.org", "one label only"),
    ({"cloudflare.base_url": "ftp://127.0.0.1/"}, "cloudflare.base_url", "begin with https://"),
    # DNS
    ({"dns.propagation_timeout": 120}, "dns.propagation_timeout", 'such as "120s", not 120'),
    ({"dns.propagation_timeout": "2 minutes"}, "dns.propagation_timeout", "is not a duration"),
    ({"dns.propagation_timeout": "2h"}, "dns.propagation_timeout", "within 0s and 1h"),
    ({"dns.settle": "999999999d"}, "dns.settle", "within 0s and 10m"),
    ({"dns.nameservers": ["ns.example.org:53"]}, "dns.nameservers[0]", "must be an IP address"),
    ({"dns.nameservers": ["192.0.2.1", "192.0.2.1:53"]}, "dns.nameservers[1]", "already"),
    ({"dns.doh": ["dns.google"]}, "dns.doh[0]", "is not a URL"),
    ({"dns.doh": ["http://dns.google/dns-query"]}, "dns.doh[0]", "begin with https://"),
    # the daemon, the clock, messages
    ({"daemon": {"check_every": "59m"}}, "daemon.check_every", "within 1h and 1d"),
    ({"daemon": {"check_every": "25h"}}, "daemon.check_every", "within 1h and 1d"),
    ({"daemon": {"check_evry": "6h"}}, "daemon.check_evry", "did you mean `check_every`"),
    ({"daemon": {"maintenance_window": 3}}, "daemon.maintenance_window", "must be a string"),
    ({"daemon": {"maintenance_window": "3-5"}}, "daemon.maintenance_window", '"03:00-05:00"'),
    ({"daemon": {"maintenance_window": "23:00-24:00"}}, "daemon.maintenance_window", "time of day"),
    ({"daemon": {"maintenance_window": "٠٣:00-05:00"}}, "daemon.maintenance_window", "time of day"),
    (
        {"daemon": {"maintenance_window": "03:00-03:00"}},
        "daemon.maintenance_window",
        "ends when it begins",
    ),
    ({"clock": {"trust": True}}, "clock.trust", "must be a string"),
    ({"clock": {"trust": "allways"}}, "clock.trust", "did you mean `always`"),
    ({"notify": {"urls_file": "absent"}}, "notify.urls_file", "does not exist"),
    ({"notify": {"heartbeat_url_file": "."}}, "notify.heartbeat_url_file", "is a directory"),
    ({"notify": {"urls": []}}, "notify.urls", "did you mean `urls_file`"),
    ({"metrics": {"file": 1}}, "metrics.file", "must be a string"),
    ({"check_every": "6h"}, "check_every", "but in [daemon]"),
    # a certificate
    ({"certificate[0].name": None}, "certificate[0].name", "is missing"),
    ({"certificate[0].name": "Home"}, "certificate[0].name", '"Home" is not a name'),
    ({"certificate[0].name": "../x"}, "certificate[0].name", "is not a name"),
    ({"certificate[0].name": "a" * 64}, "certificate[0].name", "up to 63"),
    ({"certificate[0].key_type": "ecdsa-p265"}, "certificate[0].key_type", "mean `ecdsa-p256`"),
    (
        {SECOND: {"name": "home", "domains": ["a.org"]}},
        f"{SECOND}.name",
        "same as certificate[0].name",
    ),
    (
        {SECOND: {"name": "b", "domains": ["*.example.org", "EXAMPLE.org"]}},
        f"{SECOND}.domains",
        "the same as certificate[0].domains",
    ),
    # its domains
    ({"certificate[0].domains": None}, "certificate[0].domains", "is missing"),
    ({"certificate[0].domains": []}, "certificate[0].domains", "names no domain"),
    ({"certificate[0].domains": "example.org"}, "certificate[0].domains", "must be an array"),
    ({"certificate[0].domains[1]": 1}, "certificate[0].domains[1]", "must be a string"),
    ({"certificate[0].domains[1]": "EXAMPLE.ORG"}, "certificate[0].domains[1]", "already"),
    ({"certificate[0].domains[1]": "localhost"}, "certificate[0].domains[1]", "one label only"),
    ({"certificate[0].domains[1]": "192.0.2.1"}, "certificate[0].domains[1]", "is an IP address"),
    ({"certificate[0].domains[1]": "2001:db8::1"}, "certificate[0].domains[1]", "an IP address"),
    ({"certificate[0].domains[1]": "a.org."}, "certificate[0].domains[1]", "ends in a dot"),
    ({"certificate[0].domains[1]": "a..org"}, "certificate[0].domains[1]", "empty label"),
    ({"certificate[0].domains[1]": "a.*.org"}, "certificate[0].domains[1]", "star"),
    ({"certificate[0].domains[1]": "*a.b.org"}, "certificate[0].domains[1]", "star"),
    ({"certificate[0].domains[1]": "*.*.b.org"}, "certificate[0].domains[1]", "star"),
    ({"certificate[0].domains[1]": "*.org"}, "certificate[0].domains[1]", "one label only"),
    ({"certificate[0].domains[1]": "*"}, "certificate[0].domains[1]", "star"),
    ({"certificate[0].domains[1]": "a_b.org"}, "certificate[0].domains[1]", "`a_b`"),
    ({"certificate[0].domains[1]": "-a.org"}, "certificate[0].domains[1]", "`-a`"),
    (
        {"certificate[0].domains[1]": "https://a.org"},
        "certificate[0].domains[1]",
        "host's name alone",
    ),
    ({"certificate[0].domains[1]": LONG_LABEL}, "certificate[0].domains[1]", "63 characters"),
    ({"certificate[0].domains[1]": LONG_NAME}, "certificate[0].domains[1]", "237 characters"),
    ({"certificate[0].domains[1]": "☃︎\u0301.a"}, "certificate[0].domains[1]", "xn--"),
    (
        {"certificate[0].domains": [f"a{number}.org" for number in range(101)]},
        "certificate[0].domains",
        "names 101 domains",
    ),
    # the private CA
    ({"authority": True}, "authority", "must be a table"),
    ({"authority": {}}, "authority.name", "is missing"),
    ({"authority": {"name": "x" * 55}}, "authority.name", "may have 54 characters"),
    ({"authority": {"name": "ä" * 28}}, "authority.name", "may have 54 characters"),
    ({"authority": {"name": " x"}}, "authority.name", "begins or ends with a space"),
    ({"authority": {"name": "a\u202eb"}}, "authority.name", "invisible character"),
    ({"authority": CA | {"client_days": "90d"}}, "authority.client_days", "a number of days"),
    ({"authority": CA | {"client_days": True}}, "authority.client_days", "a number of days"),
    ({"authority": CA | {"client_days": 0}}, "authority.client_days", "within 1 and 3650"),
    ({"authority": CA | {"client_days": 3651}}, "authority.client_days", "within 1 and 3650"),
    ({"authority": CA | {"crl_days": 2}}, "authority.crl_days", "within 3 and 365"),
    ({"authority": CA | {"crl_days": 366}}, "authority.crl_days", "within 3 and 365"),
    ({"authority": CA | {"invite_listen": ":8443"}}, INVITE_LISTEN, "has no host"),
    ({"authority": CA | {"invite_listen": "192.0.2.1"}}, INVITE_LISTEN, "an address with a port"),
    ({"authority": CA | {"invite_listen": "192.0.2.1:0"}}, INVITE_LISTEN, "within 1 and 65535"),
    ({"authority": CA | {"invite_listen": "a.org:8443"}}, INVITE_LISTEN, "must be an IP address"),
    ({"authority": CA | {"passphrase_file": "."}}, PASSPHRASE, "is a directory"),
    ({"authority": CA | {"passphrase_file": "ca.pem"}}, PASSPHRASE, "is open to everybody"),
    ({"authority": CA | {"passphrase_file": "notify.urls"}}, PASSPHRASE, "alone, on one line"),
    (
        {"authority": CA | {"passphrase_file": "/var/lib/certwarden/authority/../p"}},
        PASSPHRASE,
        "must not lie in /var/lib/certwarden",
    ),
    ({f"{TARGET}.client_auth": True}, f"{TARGET}.client_auth", "begin it by [authority]"),
    ({"authority": CA, f"{TARGET}.client_auth": 1}, f"{TARGET}.client_auth", "true or false"),
    (
        {"authority": CA, f"{TARGET}.client_auth": "optional"},
        f"{TARGET}.client_auth",
        "Node-RED leaves its editor and its websockets open to everybody; put nginx in front",
    ),
    (
        FIXED_PATHS
        | {"authority": CA, f"{TARGET}.reload": RESTART}
        | {f"{TARGET}.client_auth": True, f"{TARGET}.copy": True},
        f"{TARGET}.copy",
        "only key and certificate are copied, not the CA and its revocation list",
    ),
    # backups
    ({"backup": {"directory": "/mnt/backup"}}, "backup.passphrase_file", "is missing"),
    ({"backup": {"passphrase_file": "eab.key"}}, "backup.directory", "is missing"),
    ({"backup": BACKUP | {"passphrase_file": "x"}}, "backup.passphrase_file", "does not exist"),
    (
        {"backup": BACKUP | {"directory": "/var/lib/certwarden/backup"}},
        "backup.directory",
        "what is lost together is no backup",
    ),
    # a target
    ({f"{TARGET}.name": None}, f"{TARGET}.name", "is missing"),
    ({f"{TARGET}.kind": None}, f"{TARGET}.kind", "is missing"),
    ({f"{TARGET}.kind": "nodered"}, f"{TARGET}.kind", "did you mean `node-red`"),
    ({f"{TARGET}.kind": "caddy"}, f"{TARGET}.kind", "Caddy knows no revocation lists"),
    (
        {"certificate[0].target[1]": {"name": "node-red", "kind": "files"}},
        "certificate[0].target[1].name",
        "same as certificate[0].target[0].name",
    ),
    (
        {
            "certificate[0].target[1]": {
                "name": "b",
                "kind": "files",
                "directory": "/var/lib/certwarden/live/x/../node-red",
            }
        },
        "certificate[0].target[1].directory",
        "is that of certificate[0].target[0] too",
    ),
    (
        {
            "certificate[0].target[1]": {
                "name": "b",
                "kind": "files",
                "directory": "/var/lib/certwarden/live/node-red/b",
            }
        },
        "certificate[0].target[1].directory",
        "is that of certificate[0].target[0], around it",
    ),
    ({f"{TARGET}.directory": "/var/lib/certwarden"}, f"{TARGET}.directory", "must keep clear"),
    ({f"{TARGET}.directory": "/var/lib"}, f"{TARGET}.directory", "must keep clear"),
    ({f"{TARGET}.directory": "/var/lib/certwarden/accounts"}, f"{TARGET}.directory", "keep clear"),
    ({f"{TARGET}.key": "/x", f"{TARGET}.reload": None}, f"{TARGET}.certificate", "is missing"),
    ({f"{TARGET}.certificate": "/x", f"{TARGET}.reload": None}, f"{TARGET}.key", "is missing"),
    ({f"{TARGET}.copy": True}, f"{TARGET}.copy", "key and certificate, which are missing"),
    ({f"{TARGET}.copy": "yes"}, f"{TARGET}.copy", "true or false"),
    (FIXED_PATHS, f"{TARGET}.reload", "cannot be hot with key and certificate"),
    (
        FIXED_PATHS | {f"{TARGET}.reload": RESTART, f"{TARGET}.kind": "haproxy"},
        f"{TARGET}.key",
        "let it read /var/lib/certwarden/live/node-red/current/combined.pem",
    ),
    (
        FIXED_PATHS | {f"{TARGET}.reload": RESTART, f"{TARGET}.certificate": "/etc/x/key.pem"},
        f"{TARGET}.certificate",
        f"is the same as {TARGET}.key",
    ),
    (
        FIXED_PATHS
        | {
            f"{TARGET}.reload": RESTART,
            f"{TARGET}.key": "/var/lib/certwarden/live/node-red/current/privkey.pem",
        },
        f"{TARGET}.key",
        "certwarden fills by itself",
    ),
    ({f"{TARGET}.group": "no-such-group"}, f"{TARGET}.group", "is no group on this machine"),
    ({f"{TARGET}.group": 0}, f"{TARGET}.group", "must be a string"),
    ({f"{TARGET}.mode": 640}, f"{TARGET}.mode", 'such as "0640", not 640'),
    ({f"{TARGET}.mode": "0644"}, f"{TARGET}.mode", "0400, 0440, 0600 or 0640"),
    ({f"{TARGET}.mode": "0660"}, f"{TARGET}.mode", "0400, 0440, 0600 or 0640"),
    ({f"{TARGET}.mode": "0600", f"{TARGET}.group": GROUP}, f"{TARGET}.mode", "read nothing"),
    # its reload
    ({f"{TARGET}.reload": "hot"}, f"{TARGET}.reload", "must be one of { hot = true }"),
    ({f"{TARGET}.reload": {}}, f"{TARGET}.reload", "must be one of { hot = true }"),
    ({f"{TARGET}.reload": {"hot": True, "command": ["x"]}}, f"{TARGET}.reload", "must be one of"),
    ({f"{TARGET}.reload": {"hot": False}}, f"{TARGET}.reload.hot", "must be true"),
    ({f"{TARGET}.reload": {"hott": True}}, f"{TARGET}.reload.hott", "did you mean `hot`"),
    ({f"{TARGET}.kind": "files"}, f"{TARGET}.reload.hot", 'is for kind = "node-red"'),
    ({f"{TARGET}.reload": {"unit": "nodered.service"}}, f"{TARGET}.reload.verb", "is missing"),
    ({f"{TARGET}.reload": {"verb": "restart"}}, f"{TARGET}.reload.unit", "is missing"),
    (
        {f"{TARGET}.reload": RESTART | {"verb": "restrat"}},
        f"{TARGET}.reload.verb",
        "mean `restart`",
    ),
    (
        {f"{TARGET}.reload": RESTART | {"verb": "reload"}},
        f"{TARGET}.reload.verb",
        "SIGHUP stops it",
    ),
    (
        {f"{TARGET}.reload": RESTART | {"unit": "nodered"}},
        f"{TARGET}.reload.unit",
        'as "nodered.service"',
    ),
    ({f"{TARGET}.reload": RESTART | {"unit": "a b.service"}}, f"{TARGET}.reload.unit", "systemd"),
    ({f"{TARGET}.reload": {"command": []}}, f"{TARGET}.reload.command", "names no program"),
    ({f"{TARGET}.reload": {"command": "x"}}, f"{TARGET}.reload.command", "must be an array"),
    ({f"{TARGET}.reload": {"command": ["a b"]}}, f"{TARGET}.reload.command", '["a", "b"]'),
    ({f"{TARGET}.reload": {"command": ["a", 1]}}, f"{TARGET}.reload.command[1]", "a string"),
    ({f"{TARGET}.reload": {"command": ["a", "\0"]}}, f"{TARGET}.reload.command[1]", "NUL"),
    # its probe
    ({f"{TARGET}.probe": 1880}, f"{TARGET}.probe", "must be a string"),
    ({f"{TARGET}.probe": "localhost"}, f"{TARGET}.probe", "an address with a port"),
    ({f"{TARGET}.probe": "::1:1880"}, f"{TARGET}.probe", '"[::1]:1880"'),
    ({f"{TARGET}.probe": "[nowhere]:1"}, f"{TARGET}.probe", "no IPv6 address"),
    ({f"{TARGET}.probe": ":1880"}, f"{TARGET}.probe", '"127.0.0.1:1880"'),
    ({f"{TARGET}.probe": "localhost:0"}, f"{TARGET}.probe", "within 1 and 65535"),
    ({f"{TARGET}.probe": "localhost:65536"}, f"{TARGET}.probe", "within 1 and 65535"),
    ({f"{TARGET}.probe": "192.0.2.256:1"}, f"{TARGET}.probe", "no valid host"),
    ({f"{TARGET}.probe": "a b:1"}, f"{TARGET}.probe", "no valid host"),
    ({f"{TARGET}.probe_name": "example.net"}, f"{TARGET}.probe_name", "none of the certificate's"),
    ({f"{TARGET}.probe_name": "a.b.example.org"}, f"{TARGET}.probe_name", "none of the"),
    ({f"{TARGET}.probe_name": "*.example.org"}, f"{TARGET}.probe_name", "must not have a star"),
    (
        {"certificate[0].domains": ["*.example.org"]},
        f"{TARGET}.probe_name",
        'write one name, as "www.example.org"',
    ),
    ({f"{TARGET}.probe_timeout": "0s"}, f"{TARGET}.probe_timeout", "within 1s and 10m"),
    (
        {f"{TARGET}.kind": "files", f"{TARGET}.reload": None, f"{TARGET}.settings": "/x"},
        f"{TARGET}.settings",
        'is for kind = "node-red"',
    ),
]


@pytest.mark.parametrize(
    ("changes", "path", "words"), WRONG, ids=[f"{path}: {words}" for _, path, words in WRONG]
)
def test_wrong_configuration(house: Path, changes: Changes, path: str, words: str) -> None:
    """Each kind of mistake is told once, at its own key, in words that help."""
    (mistake,) = mistakes(house, changes)
    assert mistake.path == path
    assert words in mistake.message
    assert TOKEN not in str(mistake)
    assert not (house / "state").exists()


def test_all_mistakes_at_once(house: Path) -> None:
    """Ten mistakes in the file are ten in the error, so that one correction round is enough."""
    wrong = {
        "colour": "blue",
        "acme.profile": 7,
        "acme.contact": ["you"],
        "cloudflare.api_token_file": "absent",
        "dns.settle": "5",
        "dns.doh": ["x"],
        "certificate[0].key_type": "dsa",
        "certificate[0].domains": ["example.org", "localhost"],
        f"{TARGET}.mode": "0777",
        f"{TARGET}.probe": "nowhere",
    }
    found = mistakes(house, wrong)
    assert len(found) == 10
    assert len({mistake.path for mistake in found}) == 10


def test_error_says_where_and_what_to_do(house: Path) -> None:
    """The error itself names the file and the command that checks it, and exits with 2."""
    with pytest.raises(ConfigError, match=r"config\.toml has 1 mistake$") as caught:
        loaded(house, {"acme.profile": 7})
    assert caught.value.exit_code == 2
    assert "config check" in caught.value.hint


def test_state_directory_of_systemd_must_be_absolute(house: Path) -> None:
    """A state directory that depends on where one stands is refused."""
    (mistake,) = mistakes(house, {}, STATE_DIRECTORY="state")
    assert (mistake.path, "absolute" in mistake.message) == ("state_directory", True)


# ── the file itself ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = 1\nb = \n", r"is not valid TOML: .*line 2, column 5"),
        (b"mode = 0640\n", r"is not valid TOML: .*line 1"),
        (b"a = 1\na = 2\n", r"is not valid TOML: .*line 2"),
        (b"a = 1\n# \xff\n", r"is not UTF-8 text \(at line 2\)"),
        (b"a = " + b"[" * 100_000, r"nested too deeply"),
        (b"a = " + b"9" * 5_000, r"a number in it is too long"),
        (b"#" * (1024 * 1024 + 1), r"is larger than 1024 KiB"),
    ],
)
def test_file_that_is_not_toml(house: Path, content: bytes, words: str) -> None:
    """A file that cannot be read as TOML is one mistake, with its line where there is one."""
    (mistake,) = mistakes_of(put(house / "config.toml", content, 0o644))
    assert mistake.path == ""
    assert re.search(words, mistake.message)


def test_byte_order_mark_is_forgiven(house: Path) -> None:
    """An editor's byte order mark is no mistake of its user."""
    path = put(house / "config.toml", b"\xef\xbb\xbf" + toml_text(BASE).encode(), 0o644)
    assert load(path, {}).certificates


def test_file_that_is_absent(house: Path) -> None:
    """Whoever has no configuration yet is shown the example."""
    (mistake,) = mistakes_of(house / "absent.toml")
    assert "config.example.toml" in mistake.message


def test_file_that_is_none(house: Path) -> None:
    """A directory, a named pipe or a file below a file is told, and nothing hangs."""
    (directory,) = mistakes_of(house)
    assert "is a directory" in directory.message
    os.mkfifo(house / "pipe")
    (pipe,) = mistakes_of(house / "pipe")
    assert "is not a regular file" in pipe.message
    (below,) = mistakes_of(house / "ca.pem" / "config.toml")
    assert "cannot be read" in below.message


@pytest.mark.parametrize("mode", [0o646, 0o666, 0o602])
def test_file_that_others_may_write(house: Path, mode: int) -> None:
    """Who may write the configuration may run commands as certwarden, so it must be ours alone."""
    path = write(house, BASE)
    path.chmod(mode)
    (mistake,) = mistakes_of(path)
    assert "may be written by others" in mistake.message
    assert "chmod go-w" in mistake.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another group")
def test_file_that_a_group_may_write(house: Path) -> None:
    """A group's right to write counts as others', but not that of the owner's private group."""
    path = write(house, BASE)
    path.chmod(0o664)
    os.chown(path, 1234, 1234)
    assert load(path, {}).certificates
    os.chown(path, 1234, 1235)
    (mistake,) = mistakes_of(path)
    assert "may be written by others" in mistake.message


def test_file_that_is_closed_to_us(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to read, a person is told to use sudo, for a secret as well."""
    real_open = os.open

    def closed(path: Path, flags: int) -> int:
        if path.name in shut:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", closed)
    shut = {"config.toml"}
    (mistake,) = mistakes(house, {})
    assert "with sudo" in mistake.message
    shut = {"cloudflare.token"}
    (mistake,) = mistakes(house, {})
    assert mistake.path == "cloudflare.api_token_file"
    assert "with sudo" in mistake.message


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("", 0o600, "is empty"),
        (" \n", 0o600, "is empty"),
        (TOKEN, 0o604, "is open to everybody (mode 0604)"),
        (TOKEN, 0o666, "is open to everybody (mode 0666)"),
        ("x" * (64 * 1024 + 1), 0o600, "is larger than 64 KiB"),
        (f"token = {TOKEN}", 0o600, "must hold the API token alone"),
        (f"{TOKEN}\n{TOKEN}\n", 0o600, "must hold the API token alone"),
        (b"\xff" + TOKEN.encode(), 0o600, "must hold the API token alone"),
    ],
)
def test_secret_file_that_will_not_do(
    house: Path, content: str | bytes, mode: int, words: str
) -> None:
    """A secret that is absent, shared or damaged is refused at its key, and never shown."""
    put(house / "cloudflare.token", content, mode)
    (mistake,) = mistakes(house, {})
    assert mistake.path == "cloudflare.api_token_file"
    assert words in mistake.message
    assert TOKEN not in mistake.message


@pytest.mark.parametrize(
    ("key", "content", "mode", "words"),
    [
        ("urls_file", "", 0o600, "is empty"),
        ("urls_file", f"tgram://{BOT}/42", 0o644, "is open to everybody (mode 0644)"),
        ("urls_file", "# tgram://…\n\n", 0o600, "there are only remarks"),
        ("urls_file", f"tgram://{BOT}/42\n\n{BOT}\n", 0o600, "line 3 has none"),
        ("urls_file", f"tgram://{BOT}/42\x1b[2J", 0o600, "line 1 has none"),
        ("heartbeat_url_file", "\n", 0o600, "is empty"),
        ("heartbeat_url_file", HEARTBEAT, 0o604, "is open to everybody (mode 0604)"),
        ("heartbeat_url_file", f"{HEARTBEAT}\n{HEARTBEAT}", 0o600, "alone, on one line"),
        ("heartbeat_url_file", f"url = {HEARTBEAT}", 0o600, "alone, on one line"),
        ("heartbeat_url_file", HEARTBEAT.replace("s:", ":"), 0o600, "plain http is for this"),
        ("heartbeat_url_file", b"https://hc.example.org/\xff", 0o600, "alone, on one line"),
    ],
)
def test_urls_that_will_not_do(
    house: Path, key: str, content: str | bytes, mode: int, words: str
) -> None:
    """URLs let whoever has them send messages: they are refused like secrets, and never shown."""
    put(house / "urls", content, mode)
    (mistake,) = mistakes(house, {"notify": {key: "urls"}})
    assert mistake.path == f"notify.{key}"
    assert words in mistake.message
    assert BOT not in mistake.message
    assert "0d6f0a3e" not in mistake.message


def test_heartbeat_within_the_machine(house: Path) -> None:
    """Whoever watches from the same machine may be called by plain http."""
    put(house / "heartbeat.url", "http://127.0.0.1:8000/ping/x", 0o600)
    notify = loaded(house, {"notify": {"heartbeat_url_file": "heartbeat.url"}}).notify
    assert notify.heartbeat_url_file == house / "heartbeat.url"


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640, 0o660])
def test_secret_is_read_without_its_line_end(house: Path, mode: int) -> None:
    """Any mode that keeps the world out will do; white space around it is no part of the secret."""
    path = put(house / "cloudflare.token", f"  {TOKEN}\r\n", mode)
    assert read_secret(path) == Secret(TOKEN.encode())


def test_secret_that_is_gone(house: Path) -> None:
    """Read afresh in a later pass, a secret's absence is again an error of the configuration."""
    with pytest.raises(ConfigError) as caught:
        read_secret(house / "absent")
    assert "does not exist" in caught.value.mistakes[0].message


@pytest.mark.parametrize("value", [TOKEN, f"\n{TOKEN}\n", f"{TOKEN}=="])
def test_secret_in_the_place_of_its_file(house: Path, value: str) -> None:
    """A token that was pasted into the configuration does not end up on the terminal."""
    for key in ("cloudflare.api_token_file", "acme.eab"):
        pasted: object = {"kid": "k", "hmac_key_file": value} if key == "acme.eab" else value
        (mistake,) = mistakes(house, {key: pasted})
        assert "looks like the" in mistake.message
        assert TOKEN not in mistake.message


@pytest.mark.parametrize(
    ("key", "value"), [("urls_file", f"tgram://{BOT}/42"), ("heartbeat_url_file", HEARTBEAT)]
)
def test_url_in_the_place_of_its_file(house: Path, key: str, value: str) -> None:
    """A URL that was pasted into the configuration does not end up on the terminal."""
    (mistake,) = mistakes(house, {"notify": {key: value}})
    assert "must be the path of a file" in mistake.message
    assert BOT not in mistake.message
    assert "0d6f0a3e" not in mistake.message


# ── whatever is written ───────────────────────────────────────────────────────────────────────────

KEY_PATHS = [
    f"{table}.{key}".lstrip(".")
    for table, keys in KEYS.items()
    for key in keys
    if table.partition(".")[0] != "certificate" and not table.startswith("acme.")
]
KEY_PATHS += [f"acme.fallback[0].{key}" for key in KEYS["acme.fallback"]]
KEY_PATHS += [f"certificate[0].{key}" for key in KEYS["certificate"]]
KEY_PATHS += [f"{TARGET}.{key}" for key in KEYS["certificate.target"]]
KEY_PATHS += [f"{TARGET}.reload.{key}" for key in KEYS["certificate.target.reload"]]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "2m",
        "*.example.org",
        "[::1]:1",
        "https://[",
        "/",
        "~",
        "..",
        "http://127.0.0.1/",
        "b\u00fccher.example",
        "node-red",
        "23:30-04:00",
    ]
)
SCALARS = (
    TEXTS
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def lasting_house() -> Iterator[Path]:
    """A furnished directory for all the examples of one property."""
    with tempfile.TemporaryDirectory() as directory:
        yield furnish(Path(directory))


@settings(deadline=None, database=None, max_examples=300)
@given(changes=st.dictionaries(st.sampled_from(KEY_PATHS), VALUES, min_size=1, max_size=3))
def test_no_value_is_ever_a_surprise(lasting_house: Path, changes: dict[str, object]) -> None:
    """Whatever TOML value stands at a known key, the outcome is a Config or a ConfigError."""
    tables: dict[str, object] = {"acme.fallback": [dict(OTHER)]}
    tables |= {section: {} for section in ("daemon", "clock", "notify", "metrics")}
    try:
        document = changed(tables | dict(sorted(changes.items(), reverse=True)))
    except (TypeError, KeyError, IndexError):
        return  # a table that the other path needs was replaced
    path = lasting_house / "config.toml"
    path.write_text(toml_text(document))
    path.chmod(0o644)
    found: tuple[Mistake, ...] = ()
    try:
        config = load(path, {})
    except ConfigError as error:
        found = error.mistakes
    else:
        path.write_text(toml_text(effective(config)))
        assert load(path, {}) == config
    assert all(mistake.message.isprintable() for mistake in found)


@settings(deadline=None, database=None, max_examples=200)
@given(content=st.binary(max_size=60) | TEXTS.map(str.encode))
def test_no_file_is_ever_a_surprise(lasting_house: Path, content: bytes) -> None:
    """Whatever bytes the file holds, the outcome is a ConfigError (it lacks what is required)."""
    path = put(lasting_house / "bytes.toml", content, 0o644)
    with pytest.raises(ConfigError):
        load(path, {})


def test_values_are_shown_as_written(house: Path) -> None:
    """A message shows a value in TOML's way, whatever its type."""
    values: dict[object, str] = {
        date(2026, 1, 2): "2026-01-02",
        datetime(2026, 1, 2, 3, 4, tzinfo=UTC): "2026-01-02 03:04:00+00:00",
        True: "true",
        1.5: "1.5",
        10**5000: "a number of many digits",
    }
    for value, text in values.items():
        (mistake,) = mistakes(house, {"acme.profile": value})
        assert text in mistake.message


# ── its price ─────────────────────────────────────────────────────────────────────────────────────


def test_loading_stays_light(house: Path) -> None:
    """Reading the configuration loads nothing heavy, for every command pays for it."""
    path = write(house, BASE)
    script = (
        "import sys; from pathlib import Path; from certwarden.config import load;"
        f"load(Path({str(path)!r}), {{}}); print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    modules = set(run.stdout.split())
    assert "certwarden.config" in modules
    heavy = {"cryptography", "acme", "cloudflare", "requests", "dns", "pydantic", "idna", "difflib"}
    assert not heavy & modules
