"""From config.toml to the Config: one function per section, and what sections must be together.

Every mistake in the file is found in one go. What a value may look like is in `syntax`, which keys
there are in `table`, and what is looked at on disk in `source`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from certwarden.config import syntax
from certwarden.config.source import (
    Surroundings,
    decoded,
    is_within,
    one_line,
    one_url,
    parsed_document,
    read_document,
    urls,
)
from certwarden.config.syntax import UnfitError, shown
from certwarden.config.table import Table, note_repeats
from certwarden.config.targets import note_misplaced, read_target
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
)
from certwarden.errors import ConfigError, Mistake
from certwarden.model import AuthoritySpec, CertificateSpec, KeyType

STATE_DIRECTORY = Path("/var/lib/certwarden")
SYSTEM_DIRECTORIES = frozenset(
    Path("/", *parts)
    for parts in (
        *((), ("bin",), ("boot",), ("dev",), ("etc",), ("home",), ("lib",), ("opt",), ("root",)),
        *(("run",), ("srv",), ("tmp",), ("usr",), ("var",), ("var", "lib")),
    )
)
DIRECTORIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
LIMITS = {"letsencrypt": True, "none": False}
CLOUDFLARE_API = "https://api.cloudflare.com/client/v4"
DOH = ("https://cloudflare-dns.com/dns-query", "https://dns.google/dns-query")
PROPAGATION_TIMEOUT = timedelta(minutes=2)
SETTLE = timedelta(seconds=5)
CHECK_EVERY = timedelta(hours=6)
MAX_DOMAINS = 100
PASSPHRASE_FILE = "secrets/ca.passphrase"  # noqa: S105 - the name of a file
# A ladder of lists has a rung each third of crl_days, and nothing is signed more often than daily.
CRL_DAYS = (3, 365)
CLIENT_DAYS = (1, 3650)


def load(path: Path, environ: Mapping[str, str], text: bytes | None = None) -> Config:
    """The configuration in the file; raises ConfigError with every mistake in it.

    Of the environment, $STATE_DIRECTORY and $CREDENTIALS_DIRECTORY count, as systemd sets them.
    Secret files are looked at, and nothing of them is kept. Writes nothing. `text`, if given, is
    what the file is taken to say: the daemon has all its passes use what was found in order once.
    """
    return _config(path, read_document(path, text), Surroundings.of(path, environ), environ)


def load_draft(path: Path, text: bytes) -> Config:
    """What the configuration would be if the file said this, which need not be there yet.

    Nor need the groups and the files of secrets and CAs; whether they are is not looked at. Raises
    ConfigError with every other mistake.
    """
    document = parsed_document(path, lambda: decoded(text))
    return _config(path, document, replace(Surroundings.of(path, {}), is_draft=True), {})


def _config(
    path: Path,
    document: Mapping[str, object],
    surroundings: Surroundings,
    environ: Mapping[str, str],
) -> Config:
    mistakes: list[Mistake] = []
    root = Table("", document, mistakes)
    state_directory = _state_directory(root, surroundings, environ)
    acme = _acme(root.table("acme"), surroundings)
    config = Config(
        source=path,
        state_directory=state_directory,
        acme=acme,
        cloudflare=_cloudflare(root.table("cloudflare"), surroundings),
        dns=_dns(root.table("dns")),
        daemon=_daemon(root.table("daemon")),
        clock=_clock(root.table("clock")),
        notify=_notify(root.table("notify"), surroundings),
        metrics=MetricsConfig(root.table("metrics").read("file", surroundings.path, None)),
        authority=_authority(root, state_directory, surroundings),
        backup=_backup(root, state_directory, surroundings),
        certificates=_certificates(root, acme, state_directory, surroundings),
    )
    if mistakes:
        raise ConfigError(str(path), mistakes)
    return config


def load_notify(path: Path, environ: Mapping[str, str]) -> NotifyConfig:
    """Only how a person is reached, whatever else is wrong with the configuration.

    For telling just that; raises ConfigError where even this cannot be read.
    """
    mistakes: list[Mistake] = []
    document = read_document(path)
    table = Table("", {"notify": document.get("notify", {})}, mistakes).table("notify")
    notify = _notify(table, Surroundings.of(path, environ))
    if mistakes:
        raise ConfigError(str(path), mistakes)
    return notify


def _state_directory(root: Table, surroundings: Surroundings, environ: Mapping[str, str]) -> Path:
    key = "state_directory"
    directory = root.read(key, surroundings.path, STATE_DIRECTORY)
    if first := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        directory = Path(first)
        if not directory.is_absolute():
            root.note(key, f"$STATE_DIRECTORY must be an absolute path, not {shown(first)}")
    if directory in SYSTEM_DIRECTORIES:
        root.note(key, f"must not be {directory}, for certwarden sets its mode")
    return directory


# ── the sections ──────────────────────────────────────────────────────────────────────────────────


def _acme(table: Table, surroundings: Surroundings) -> AcmeConfig:
    directory = table.read("directory", _directory, DIRECTORIES["letsencrypt"])
    first = _public_ca(table, directory, surroundings)
    tables = table.tables("fallback")
    fallbacks = []
    for each in tables:
        directory = each.require("directory", _directory, "", '"https://ca.example.org/directory"')
        fallbacks.append(_public_ca(each, directory, surroundings))
    places = {first.directory_url: table.path_of("directory")}
    for each, fallback in zip(tables, fallbacks, strict=True):
        _note_no_fallback(each, fallback, first, places)
    return replace(first, fallbacks=tuple(fallbacks))


def _note_no_fallback(
    table: Table, fallback: AcmeConfig, first: AcmeConfig, places: dict[str, str]
) -> None:
    """Notes a fallback that is none: a CA that is there already, or for rehearsals only."""
    if not table.is_sound("directory"):
        return
    place = table.path_of("directory")
    earlier = places.setdefault(fallback.directory_url, place)
    if earlier != place:
        table.note("directory", f"is the same as {earlier}; they must differ")
    elif fallback.directory_url == first.staging_directory_url:
        table.note("directory", "is the staging directory, whose certificates nobody trusts")


def _public_ca(table: Table, directory: str, surroundings: Surroundings) -> AcmeConfig:
    is_letsencrypt = directory == DIRECTORIES["letsencrypt"]
    return AcmeConfig(
        directory_url=directory,
        staging_directory_url=table.read(
            "staging_directory",
            _staging_directory,
            DIRECTORIES["letsencrypt-staging"] if is_letsencrypt else None,
        ),
        terms_of_service_agreed=table.require(
            "terms_of_service_agreed", _agreement, stand_in=False, example="true"
        ),
        profile=table.read("profile", syntax.profile, None),
        ca_bundle=table.read("ca_bundle", surroundings.ca_bundle, None),
        contact=table.read_each("contact", syntax.contact),
        external_account=_external_account(table, surroundings) if "eab" in table else None,
        limits=table.read("limits", syntax.choice(LIMITS), is_letsencrypt),
    )


def _directory(value: object) -> str:
    word = syntax.text(value)
    if "://" in word:
        return syntax.url(word)
    if word in DIRECTORIES:
        return DIRECTORIES[word]
    raise UnfitError(
        f"must be {', '.join(DIRECTORIES)} or an https:// URL, not {shown(word)}"
        f"{syntax.suggestion(word, DIRECTORIES)}"
    )


def _staging_directory(value: object) -> str:
    found = _directory(value)
    if found == DIRECTORIES["letsencrypt"]:
        raise UnfitError(f"{shown(value)} is for real certificates; write letsencrypt-staging")
    return found


def _agreement(value: object) -> bool:
    if not syntax.boolean(value):
        raise UnfitError("must be true, for without it the CA gives nothing; read its terms first")
    return True


def _external_account(table: Table, surroundings: Surroundings) -> ExternalAccount:
    eab = table.table("eab")
    hmac_key = surroundings.secret_file("the HMAC key")
    return ExternalAccount(
        kid=eab.require("kid", syntax.text, "", '"the key identifier"'),
        hmac_key_file=eab.require("hmac_key_file", hmac_key, Path(), '"secrets/eab.key"'),
    )


def _cloudflare(table: Table, surroundings: Surroundings) -> CloudflareConfig:
    token = surroundings.secret_file("the API token")
    return CloudflareConfig(
        api_token_file=table.require(
            "api_token_file", token, Path(), '"/etc/certwarden/secrets/cloudflare.token"'
        ),
        zone_ids=table.read_pairs("zone_ids", syntax.unstarred_domain, syntax.zone_id),
        base_url=table.read("base_url", syntax.url, CLOUDFLARE_API),
    )


def _dns(table: Table) -> DnsConfig:
    timeout = syntax.duration(timedelta(0), timedelta(hours=1))
    settle = syntax.duration(timedelta(0), timedelta(minutes=10))
    return DnsConfig(
        nameservers=table.read_each("nameservers", syntax.nameserver),
        doh=table.read_each("doh", syntax.url) if "doh" in table else DOH,
        propagation_timeout=table.read("propagation_timeout", timeout, PROPAGATION_TIMEOUT),
        settle=table.read("settle", settle, SETTLE),
    )


def _daemon(table: Table) -> DaemonConfig:
    check_every = syntax.duration(timedelta(hours=1), timedelta(hours=24))
    return DaemonConfig(
        check_every=table.read("check_every", check_every, CHECK_EVERY),
        maintenance_window=table.read("maintenance_window", syntax.maintenance_window, None),
    )


def _clock(table: Table) -> ClockConfig:
    trusts = {each.value: each for each in ClockTrust}
    return ClockConfig(table.read("trust", syntax.choice(trusts), ClockTrust.AUTO))


def _notify(table: Table, surroundings: Surroundings) -> NotifyConfig:
    messages = surroundings.secret_file("Apprise's URLs", urls)
    heartbeat = surroundings.secret_file("the heartbeat's URL", one_url)
    return NotifyConfig(
        urls_file=table.read("urls_file", messages, None),
        heartbeat_url_file=table.read("heartbeat_url_file", heartbeat, None),
    )


def _authority(
    root: Table, state_directory: Path, surroundings: Surroundings
) -> AuthoritySpec | None:
    if "authority" not in root:
        return None
    table = root.table("authority")
    passphrase = surroundings.secret_file("the passphrase", one_line, may_be_absent=True)
    spec = AuthoritySpec(
        name=table.require("name", syntax.authority_name, "", '"Home client CA"'),
        passphrase_file=table.read_or("passphrase_file", passphrase, PASSPHRASE_FILE, Path()),
        client_lifetime=table.read(
            "client_days", syntax.days(*CLIENT_DAYS), AuthoritySpec.client_lifetime
        ),
        crl_lifetime=table.read("crl_days", syntax.days(*CRL_DAYS), AuthoritySpec.crl_lifetime),
        invite_listen=table.read("invite_listen", syntax.ip_address, None),
    )
    if is_within(spec.passphrase_file, state_directory):
        table.note(
            "passphrase_file",
            f"{spec.passphrase_file} must not lie in {state_directory}, beside the key that it "
            "protects: a copy of that directory would be all that a thief needs",
        )
    return spec


def _backup(root: Table, state_directory: Path, surroundings: Surroundings) -> BackupConfig | None:
    if "backup" not in root:
        return None
    table = root.table("backup")
    passphrase = surroundings.secret_file("the passphrase", one_line)
    directory = table.require("directory", surroundings.path, Path(), '"/mnt/backup"')
    if table.is_sound("directory") and is_within(directory, state_directory):
        table.note(
            "directory",
            f"{directory} must not lie in {state_directory}: what is lost together is no backup",
        )
    return BackupConfig(
        directory=directory,
        passphrase_file=table.require(
            "passphrase_file", passphrase, Path(), '"/etc/certwarden/secrets/backup.passphrase"'
        ),
    )


def _certificates(
    root: Table, acme: AcmeConfig, state_directory: Path, surroundings: Surroundings
) -> tuple[CertificateSpec, ...]:
    tables = root.tables("certificate")
    if not tables and root.is_sound("certificate"):
        root.note("certificate", "is missing; begin one by [[certificate]]")
    directories = (acme.directory_url, *(each.directory_url for each in acme.fallbacks))
    is_strict = any(each in DIRECTORIES.values() for each in directories)
    specs, placed = [], []
    for table in tables:
        name = table.require("name", syntax.name, "", '"home"')
        domains = _domains(table, is_strict=is_strict)
        known_domains = domains if table.is_sound("domains") else ()
        targets = []
        for target_table in table.tables("target"):
            target = read_target(target_table, name, known_domains, state_directory, surroundings)
            if target.client_auth and "authority" not in root:
                target_table.note(
                    "client_auth",
                    "needs the private CA whose clients are let in; begin it by [authority]",
                )
            targets.append(target)
            placed.append((target_table, target))
        key_types = {each.value: each for each in KeyType}
        specs.append(
            CertificateSpec(
                name=name,
                domains=domains,
                key_type=table.read("key_type", syntax.choice(key_types), KeyType.ECDSA_P256),
                profile=acme.profile,
                directory_url=acme.directory_url,
                targets=tuple(targets),
                fallback_urls=directories[1:],
            )
        )
    note_repeats((table, "name", spec.name) for table, spec in zip(tables, specs, strict=True))
    note_repeats(
        (table, "domains", frozenset(spec.domains))
        for table, spec in zip(tables, specs, strict=True)
    )
    note_repeats((table, "name", target.name) for table, target in placed)
    note_misplaced(placed, state_directory)
    return tuple(specs)


def _domains(table: Table, *, is_strict: bool) -> tuple[str, ...]:
    """The names; Let's Encrypt (`is_strict`) takes none beside a wildcard that covers it."""
    if "domains" not in table:
        table.note("domains", 'is missing; write `domains = ["example.org", "*.example.org"]`')
    domains = table.read_each("domains", syntax.domain)
    if not domains and table.is_sound("domains"):
        table.note("domains", "names no domain")
    if len(domains) > MAX_DOMAINS:
        table.note("domains", f"names {len(domains)} domains; {MAX_DOMAINS} are the most")
    for index, domain in enumerate(domains if is_strict else ()):
        wildcard = f"*.{domain.partition('.')[2]}"
        if not domain.startswith("*.") and wildcard in domains:
            fault = f"{domain} is covered by {wildcard}: Let's Encrypt refuses both, leave it out"
            table.note("domains", fault, index)
    return domains
