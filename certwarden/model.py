"""The nouns of the house: frozen values that every room understands.

Owns no behaviour beyond what follows from the values themselves: no files, no network, no clock.
Instants are aware datetimes in UTC; durations are `timedelta`; hex is lower case, of even length.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from certwarden.errors import Error


class Secret:
    """Bytes that must not be seen: `repr` and `str` are `***`; `reveal()` is easy to find."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves; only for the call that needs them."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


# ── what is configured ────────────────────────────────────────────────────────────────────────────


class KeyType(StrEnum):
    """The key of a server certificate, by its name in the configuration."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"


class GenerationFile(StrEnum):
    """A file of a generation, and what a reader finds in it."""

    PRIVKEY = "privkey.pem"
    FULLCHAIN = "fullchain.pem"
    CERT = "cert.pem"
    CHAIN = "chain.pem"
    COMBINED = "combined.pem"  # the full chain, then the key: what HAProxy reads


@dataclass(frozen=True)
class TargetKind:
    """What a kind of program reads, and how it can be made to take up new files."""

    name: str
    files: tuple[GenerationFile, ...]
    can_reload_hot: bool


TARGET_KINDS = {
    kind.name: kind
    for kind in (
        TargetKind(
            "node-red", (GenerationFile.PRIVKEY, GenerationFile.FULLCHAIN), can_reload_hot=True
        ),
        TargetKind("files", tuple(GenerationFile), can_reload_hot=False),
    )
}


class UnitVerb(StrEnum):
    """What systemd is asked to do with a unit."""

    RESTART = "restart"
    RELOAD = "reload"


@dataclass(frozen=True)
class HotReload:
    """The program takes up a new generation by itself: certwarden's module inside it polls."""


@dataclass(frozen=True)
class UnitReload:
    """systemd is asked to restart or reload exactly this unit."""

    unit: str
    verb: UnitVerb


@dataclass(frozen=True)
class CommandReload:
    """A command of the user's, run without a shell; exit status 0 means that it worked."""

    argv: tuple[str, ...]


Reload = HotReload | UnitReload | CommandReload | None


@dataclass(frozen=True)
class Address:
    """A host (name or literal, IPv6 without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether a connection to it stays on this machine, told from the literal alone."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class TargetSpec:
    """A place where a certificate is put to use, as configured."""

    name: str
    certificate: str
    kind: TargetKind
    directory: Path
    key_path: Path | None = None
    certificate_path: Path | None = None
    copy: bool = False
    group: str | None = None
    mode: int = 0o640  # of key and combined files; the others are 0644
    reload: Reload = None
    probe: Address | None = None
    probe_name: str = ""
    probe_timeout: timedelta = timedelta(seconds=15)
    settings: Path | None = None


@dataclass(frozen=True)
class CertificateSpec:
    """A server certificate, as configured."""

    name: str
    domains: tuple[str, ...]
    key_type: KeyType
    profile: str | None
    directory_url: str  # of the CA that it is to come from
    targets: tuple[TargetSpec, ...]


# ── what exists ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Certificate:
    """A leaf certificate as read (RFC 5280)."""

    names: tuple[str, ...]  # subjectAltName dNSNames, in the certificate's order
    serial: str
    fingerprint: str  # SHA-256 over the DER
    issuer: str  # the issuer's common name, else its whole name
    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        """notAfter - notBefore."""
        return self.not_after - self.not_before

    def is_valid_at(self, instant: datetime) -> bool:
        """Whether the instant lies within notBefore and notAfter, both included."""
        return self.not_before <= instant <= self.not_after


@dataclass(frozen=True)
class Pair:
    """A private key and its chain, leaf first, checked to belong together (PEM, re-serialised)."""

    key_pem: Secret
    chain_pem: tuple[bytes, ...]  # one certificate each, leaf first
    certificate: Certificate

    @property
    def fullchain_pem(self) -> bytes:
        """The whole chain in one piece, leaf first."""
        return b"".join(self.chain_pem)


@dataclass(frozen=True)
class Stored:
    """A version in the store: the newest that is whole."""

    name: str
    version: int
    pair: Pair
    domains: tuple[str, ...]  # as they were ordered
    key_type: KeyType
    profile: str | None
    directory_url: str
    obtained_at: datetime

    @property
    def certificate(self) -> Certificate:
        """The version's leaf."""
        return self.pair.certificate


@dataclass(frozen=True)
class Draft:
    """An order on its way: saved before the CA is asked to finalize, so that none is lost.

    `order_url` is "" until the CA has named one.
    """

    name: str
    domains: tuple[str, ...]
    key_type: KeyType
    profile: str | None
    directory_url: str
    key_pem: Secret
    order_url: str
    created_at: datetime


@dataclass(frozen=True)
class Chains:
    """What the CA let us download: PEM chains, leaf first; the default one and its alternates."""

    default: bytes
    alternates: tuple[bytes, ...] = ()


class RevocationReason(StrEnum):
    """RFC 5280 section 5.3.1: those that a subscriber may give a public CA."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"


@dataclass(frozen=True)
class PendingRevocation:
    """A stored version that a person wants revoked; it stands until it is replaced and revoked."""

    certificate: str
    version: int
    fingerprint: str
    reason: RevocationReason
    requested_at: datetime
    is_revoked: bool = False  # at the CA already, and still to be replaced


@dataclass(frozen=True)
class Account:
    """An ACME account: its private key (PKCS#8 PEM) and, once the server has told it, its URL."""

    directory_url: str
    key_pem: Secret
    url: str = ""


# ── DNS ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Place:
    """Where a TXT record for a challenge name has to be written, after following delegation."""

    challenge_name: str  # _acme-challenge.example.org
    record_name: str  # the same, or the end of its CNAME chain
    zone_id: str
    zone_name: str  # "" where the zone was given by its id and its name is not known


@dataclass(frozen=True)
class TxtRecord:
    """A TXT record of ours, wanted or made; `record_id` is "" until the provider has named it."""

    place: Place
    value: str
    comment: str
    record_id: str = ""


# ── ACME ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Challenge:
    """A dns-01 challenge that waits for an answer (RFC 8555 section 8.4)."""

    identifier: str  # without a star
    url: str
    authorization_url: str
    record_name: str  # _acme-challenge.IDENTIFIER
    record_value: str  # base64url(SHA-256(key authorization))


class OrderStatus(StrEnum):
    """RFC 8555 section 7.1.6."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True)
class Order:
    """An order at the CA; `challenges` are those of authorizations that are not valid yet."""

    url: str
    status: OrderStatus
    challenges: tuple[Challenge, ...] = ()


# ── what was seen ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Served:
    """A TLS handshake took place, and this is the leaf it showed."""

    certificate: Certificate


@dataclass(frozen=True)
class Unreachable:
    """Nobody answers at the probe's address."""

    what: str


@dataclass(frozen=True)
class NoHandshake:
    """Somebody answers at the probe's address, but no TLS handshake comes about."""

    what: str


Seen = Served | Unreachable | NoHandshake


@dataclass(frozen=True)
class Installed:
    """What a target's `current` generation holds."""

    number: int
    certificate: Certificate
    is_placeholder: bool = False


class DeployOutcome(StrEnum):
    """How a deploy ended; `begun` means that it was cut short."""

    BEGUN = "begun"
    IN_USE = "in-use"
    INSTALLED = "installed"  # there is no probe to look through
    UNREACHABLE = "unreachable"  # nobody answered, before or after: kept, and tried again
    FAILED = "failed"


@dataclass(frozen=True)
class DeployRecord:
    """One deploy as the ledger has it: written down when it began, completed when it ended."""

    id: int
    target: str
    fingerprint: str
    begun_at: datetime
    was_active: bool | None  # was the target's unit active before? None where there is no unit
    served_before: str | None  # fingerprint of the valid leaf that it served before, if it did
    outcome: DeployOutcome
    what: str = ""
    hint: str = ""


class AttemptOutcome(StrEnum):
    """How an attempt to obtain a certificate ended; `begun` means that it was cut short."""

    BEGUN = "begun"
    OBTAINED = "obtained"
    FAILED = "failed"


@dataclass(frozen=True)
class Attempt:
    """One attempt to obtain a certificate, as the ledger has it."""

    id: int
    certificate: str
    directory_url: str
    domains: tuple[str, ...]
    begun_at: datetime
    outcome: AttemptOutcome
    ended_at: datetime | None = None
    what: str = ""
    hint: str = ""
    permanent: bool = False
    retry_after: timedelta | None = None


@dataclass(frozen=True)
class Event:
    """A line of the history: what happened, to which certificate or target, and how it ended."""

    at: datetime
    kind: str  # obtained | obtain-failed | deployed | deploy-failed | rolled-back | revoked | …
    certificate: str | None
    target: str | None
    text: str


@dataclass(frozen=True)
class ObservedTarget:
    """A target as found: what is installed, what is served, and how the last deploy ended."""

    spec: TargetSpec
    installed: Installed | None
    seen: Seen | None  # None where it was not probed
    last_deploy: DeployRecord | None
    trouble: Error | None = None  # why what is installed could not be read, if it could not


@dataclass(frozen=True)
class Observed:
    """A certificate as found: what is wanted, stored, under way, in use, and what failed last."""

    spec: CertificateSpec
    stored: Stored | None
    draft: Draft | None
    targets: tuple[ObservedTarget, ...]
    failures: tuple[Attempt, ...] = ()  # since the last success, newest first
    revocations: tuple[PendingRevocation, ...] = ()
    trouble: Error | None = None  # why what is stored could not be read, if it could not


# ── what is to be done ────────────────────────────────────────────────────────────────────────────


class StepKind(StrEnum):
    """The verbs of a pass."""

    SWEEP = "sweep"
    OBTAIN = "obtain"
    DEPLOY = "deploy"


@dataclass(frozen=True)
class Step:
    """One thing to do, why, and since when it is due."""

    kind: StepKind
    certificate: str | None
    target: str | None
    reason: str
    at: datetime


class RenewalReason(StrEnum):
    """Why a certificate is renewed at its time."""

    LIFETIME = "lifetime"
    MISSING = "missing"
    DOMAINS_CHANGED = "domains-changed"
    RETRY = "retry"


@dataclass(frozen=True)
class Renewal:
    """When a certificate is due, and why then; `text` is the reason as a sentence."""

    at: datetime
    reason: RenewalReason
    text: str
