"""The nouns of the house: frozen values that every room understands.

Owns no behaviour beyond what follows from the values themselves: no files, no network, no clock.
Instants are aware datetimes in UTC; durations are `timedelta`; hex is lower case, of even length.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path

from certwarden.errors import Error
from certwarden.frozen import frozen


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
    CLIENT_CA = "client-ca.pem"  # whose client certificates are let in
    CLIENT_CRL = "client-crl.pem"  # the current list of each of these CAs
    REVOKED = "revoked.json"  # the same for programs that cannot read a list


CLIENT_AUTH_FILES = frozenset(
    (GenerationFile.CLIENT_CA, GenerationFile.CLIENT_CRL, GenerationFile.REVOKED)
)


class Protocol(StrEnum):
    """What a program speaks once the TLS handshake is over."""

    HTTP = "http"
    MQTT = "mqtt"


@frozen
class TargetKind:
    """What a kind of program reads, how it can be made to take up new files, and how it refuses.

    Of `files`, those of CLIENT_AUTH_FILES are there only where the target asks its clients for
    certificates. `refuses_by_status` says that a refused client may be told so by 400 or 403.
    """

    name: str
    files: tuple[GenerationFile, ...]
    can_reload_hot: bool = False
    protocol: Protocol = Protocol.HTTP
    refuses_by_status: bool = False


_KEY_AND_CHAIN = (GenerationFile.PRIVKEY, GenerationFile.FULLCHAIN)
_CA_AND_CRL = (GenerationFile.CLIENT_CA, GenerationFile.CLIENT_CRL)

TARGET_KINDS = {
    kind.name: kind
    for kind in (
        TargetKind(
            "node-red",
            (*_KEY_AND_CHAIN, *_CA_AND_CRL, GenerationFile.REVOKED),
            can_reload_hot=True,
        ),
        TargetKind("nginx", (*_KEY_AND_CHAIN, *_CA_AND_CRL), refuses_by_status=True),
        TargetKind("mosquitto", (*_KEY_AND_CHAIN, *_CA_AND_CRL), protocol=Protocol.MQTT),
        TargetKind("haproxy", (GenerationFile.COMBINED, *_CA_AND_CRL), refuses_by_status=True),
        TargetKind("files", tuple(GenerationFile)),
    )
}


class UnitVerb(StrEnum):
    """What systemd is asked to do with a unit."""

    RESTART = "restart"
    RELOAD = "reload"


@frozen
class HotReload:
    """The program takes up a new generation by itself: certwarden's module inside it polls."""


@frozen
class UnitReload:
    """systemd is asked to restart or reload exactly this unit."""

    unit: str
    verb: UnitVerb


@frozen
class CommandReload:
    """A command of the user's, run without a shell; exit status 0 means that it worked."""

    argv: tuple[str, ...]


Reload = HotReload | UnitReload | CommandReload | None


@frozen
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


@frozen
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
    client_auth: bool = False  # only clients with a certificate of our CA get in

    @property
    def files(self) -> tuple[GenerationFile, ...]:
        """What a generation of it holds."""
        return tuple(
            file for file in self.kind.files if self.client_auth or file not in CLIENT_AUTH_FILES
        )


@frozen
class CertificateSpec:
    """A server certificate, as configured."""

    name: str
    domains: tuple[str, ...]
    key_type: KeyType
    profile: str | None
    directory_url: str  # of the CA that it is to come from
    targets: tuple[TargetSpec, ...]
    fallback_urls: tuple[str, ...] = ()  # directories of the CAs for when that one has long failed


@frozen
class AuthoritySpec:
    """The private CA, as configured."""

    name: str
    passphrase_file: Path
    client_lifetime: timedelta = timedelta(days=825)
    crl_lifetime: timedelta = timedelta(days=30)
    invite_listen: Address | None = None  # where the service hands out what it invites to


@frozen
class MaintenanceWindow:
    """When programs may be restarted, in local time; it crosses midnight where `end` is earlier."""

    start: time
    end: time


@frozen
class Policy:
    """What of the configuration decides about the steps of a pass."""

    limited: frozenset[str] = frozenset()  # directories whose limits are counted
    # By directory: where a try proves itself from the second failure on.
    staging_urls: Mapping[str, str] = field(default_factory=dict)
    maintenance: MaintenanceWindow | None = None
    zone: tzinfo | None = None  # of the window; None is the machine's own
    fallback_profiles: Mapping[str, str | None] = field(default_factory=dict)  # by directory


# ── what exists ───────────────────────────────────────────────────────────────────────────────────


@frozen
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


def covers(names: Sequence[str], host: str) -> bool:
    """Whether a certificate for these names is one for the host (RFC 9525 section 6.3)."""
    wanted = host.lower().rstrip(".")
    _, _, parent = wanted.partition(".")
    known = {name.lower() for name in names}
    return wanted in known or (bool(parent) and f"*.{parent}" in known)


@frozen
class Pair:
    """A private key and its chain, leaf first, checked to belong together (PEM, re-serialised)."""

    key_pem: Secret
    chain_pem: tuple[bytes, ...]  # one certificate each, leaf first
    certificate: Certificate

    @property
    def fullchain_pem(self) -> bytes:
        """The whole chain in one piece, leaf first."""
        return b"".join(self.chain_pem)


@frozen
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
    account_url: str = ""  # of the ACME account that ordered it; "" where it was not written down

    @property
    def certificate(self) -> Certificate:
        """The version's leaf."""
        return self.pair.certificate


@frozen
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
    account_url: str = ""  # "" until the account is known


@frozen
class RenewalWindow:
    """When the CA suggests to renew (RFC 9773 section 4.2); `end` is after `start`."""

    start: datetime
    end: datetime
    explanation_url: str = ""


@frozen
class RenewalAnswer:
    """What a CA says about a certificate's renewal; `window` is None where it offers no ARI."""

    window: RenewalWindow | None
    retry_after: timedelta  # until it is worth asking again


@frozen
class RenewalInfo:
    """The CA's last answer about a stored certificate, kept until it is worth asking again."""

    fingerprint: str
    window: RenewalWindow | None
    asked_at: datetime
    ask_again_at: datetime


@frozen
class Chains:
    """What the CA let us download: PEM chains, leaf first; the default one and its alternates."""

    default: bytes
    alternates: tuple[bytes, ...] = ()


class RevocationReason(StrEnum):
    """RFC 5280 section 5.3.1: those that a subscriber may give a CA, and one that only a CA may."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"  # of client certificates only


@frozen
class PendingRevocation:
    """A stored version that a person wants revoked; it stands until it is replaced and revoked."""

    certificate: str
    version: int
    fingerprint: str
    reason: RevocationReason
    requested_at: datetime
    is_revoked: bool = False  # at the CA already, and still to be replaced


@frozen
class Account:
    """An ACME account: its private key (PKCS#8 PEM) and, once the server has told it, its URL."""

    directory_url: str
    key_pem: Secret
    url: str = ""


# ── the private CA ────────────────────────────────────────────────────────────────────────────────


@frozen
class Root:
    """The private CA's own certificate, as read."""

    pem: bytes
    name: str  # its common name
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime


@frozen
class Revoked:
    """An entry of a revocation list (RFC 5280 section 5.3)."""

    serial: str
    at: datetime
    reason: RevocationReason


@frozen
class Crl:
    """A revocation list as read (RFC 5280 section 5); `serials` are those of all its entries."""

    pem: bytes = field(repr=False)
    number: int
    this_update: datetime
    next_update: datetime
    serials: frozenset[str] = field(repr=False)

    def is_current_at(self, instant: datetime) -> bool:
        """Whether the instant lies within thisUpdate and nextUpdate: else nobody is let in."""
        return self.this_update <= instant < self.next_update


@frozen
class ClientTrust:
    """What a target judges its clients by: the CA, and its list."""

    root_pem: bytes
    crl: Crl


class ClientPurpose(StrEnum):
    """Whom a client certificate is for."""

    CLIENT = "client"
    PROBE = "probe"  # ourselves, to see who is let in and who is refused


@frozen
class ClientCertificate:
    """A certificate as the register has it; client keys are never kept.

    `supersede_at`: when it is to be revoked, because another has taken its place. Of one that was
    only taken over from a revocation list, nothing but its serial is known.
    """

    serial: str
    name: str
    email: str | None
    not_before: datetime | None
    not_after: datetime | None
    purpose: ClientPurpose = ClientPurpose.CLIENT
    is_signed: bool = True  # written down before it was; False where that was cut short
    revoked_at: datetime | None = None
    reason: RevocationReason | None = None
    supersede_at: datetime | None = None
    seen_at: datetime | None = None  # last, by a target that can tell

    def is_valid_at(self, instant: datetime) -> bool:
        """Whether it lets its client in."""
        is_within = (
            self.not_before is not None
            and self.not_after is not None
            and self.not_before <= instant <= self.not_after
        )
        return is_within and self.is_signed and self.revoked_at is None


class Enrolment(StrEnum):
    """How a client comes by the certificate that it is invited to."""

    PAGE = "page"  # a person, in the browser of the device: the key is made here
    EST = "est"  # a program that has made its own key (RFC 7030)


@frozen
class Invitation:
    """A client certificate that is there for the asking, once, by whoever has the token.

    Of the token, only `id` and a digest of its secret part are kept. `tries_left` is how many
    wrong secrets it will still bear, `serial` that of the certificate that it was redeemed for.
    `enrolment` is the way that is expected, and once it was redeemed the one that was gone.
    """

    id: str
    digest: str  # SHA-256 over the secret part, in hex
    name: str
    email: str | None
    lifetime: timedelta | None  # of the certificate; None is the configured one
    enrolment: Enrolment
    made_at: datetime
    ends_at: datetime
    tries_left: int
    redeemed_at: datetime | None = None
    serial: str | None = None
    withdrawn_at: datetime | None = None

    def is_open_at(self, instant: datetime) -> bool:
        """Whether it can be redeemed."""
        is_used = self.redeemed_at is not None or self.withdrawn_at is not None
        return not is_used and self.tries_left > 0 and self.made_at <= instant < self.ends_at


@frozen
class Rung:
    """A list of the ladder: signed beforehand, to be published from `at` on."""

    number: int
    at: datetime
    next_update: datetime


@frozen
class Booked:
    """A row of the register: a certificate, and its PEM where it is there."""

    certificate: ClientCertificate
    pem: bytes | None = field(default=None, repr=False)


@frozen
class Backup:
    """What a backup holds: no server's key, and no token of a DNS provider.

    `key_pem` is encrypted under `passphrase`, which is there unless the CA is locked. `crl_pem` is
    the list that was published then.
    """

    made_at: datetime
    root_pem: bytes
    key_pem: Secret
    is_locked: bool
    passphrase: Secret | None
    crl_pem: bytes | None
    probe: Pair | None
    booked: tuple[Booked, ...] = field(repr=False)
    last_number: int
    accounts: tuple[Account, ...]
    config_text: bytes = field(repr=False)


@frozen
class KeptBackup:
    """A backup where they are kept, as its label has it; `mark` tells two contents apart."""

    name: str
    made_at: datetime
    mark: str


@frozen
class Predecessor:
    """The files of a CA that was made by other means (easy-rsa, `openssl ca`), as they were found.

    `key_pem` may be encrypted; `index` is OpenSSL's index.txt, `crl_number` its crlnumber.
    """

    root_pem: bytes
    key_pem: Secret
    index: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    crl_pem: bytes | None = None
    crl_number: bytes = b""


class Admission(StrEnum):
    """What a target did with a client."""

    LET_IN = "let-in"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@frozen
class Answer:
    """What came of a visit as a client, and how that was told."""

    admission: Admission
    what: str


class ProofOutcome(StrEnum):
    """Whether a target is known to let in who may, and to refuse who may not."""

    PROVEN = "proven"
    REFUTED = "refuted"  # a revoked client was let in, or a good one was refused
    UNKNOWN = "unknown"


@frozen
class Proof:
    """What was last found out about a target that asks its clients for certificates.

    `crl_number` is that of the list that it was made with; `since` and `failures` are of the row
    of proofs that came to nothing, this one included. `is_resumable`: a revoked client got in by
    a session from before.
    """

    target: str
    crl_number: int
    at: datetime
    outcome: ProofOutcome
    what: str = ""
    hint: str = ""
    since: datetime | None = None
    failures: int = 0
    is_resumable: bool = False


@frozen
class ObservedAuthority:
    """The private CA as found.

    `crl` is the list that is published. `last_number` is that of the last list that was signed,
    `unlisted` are the serials that are revoked in the register, but not in the published list.
    """

    spec: AuthoritySpec
    root: Root | None
    crl: Crl | None = None
    is_locked: bool = False
    clients: tuple[ClientCertificate, ...] = ()
    probe: Certificate | None = None  # the revoked one that is kept
    ladder: tuple[Rung, ...] = ()
    last_number: int = 0
    unlisted: frozenset[str] = frozenset()
    proofs: Mapping[str, Proof] = field(default_factory=dict)  # by target
    backed_up_at: datetime | None = None
    trouble: Error | None = None  # why it could not be read, if it could not


# ── DNS ───────────────────────────────────────────────────────────────────────────────────────────


@frozen
class Place:
    """Where a TXT record for a challenge name has to be written, after following delegation."""

    challenge_name: str  # _acme-challenge.example.org
    record_name: str  # the same, or the end of its CNAME chain
    zone_id: str
    zone_name: str  # "" where the zone was given by its id and its name is not known


@frozen
class TxtRecord:
    """A TXT record of ours, wanted or made; `record_id` is "" until the provider has named it."""

    place: Place
    value: str
    comment: str
    record_id: str = ""


# ── ACME ──────────────────────────────────────────────────────────────────────────────────────────


@frozen
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


@frozen
class Order:
    """An order at the CA; `challenges` are those of authorizations that are not valid yet.

    `reused` are the URLs of authorizations that were valid already when the order was opened.
    """

    url: str
    status: OrderStatus
    challenges: tuple[Challenge, ...] = ()
    reused: tuple[str, ...] = ()


# ── what was seen ─────────────────────────────────────────────────────────────────────────────────


@frozen
class Served:
    """A TLS handshake took place, and this is the leaf it showed."""

    certificate: Certificate


@frozen
class Unreachable:
    """Nobody answers at the probe's address."""

    what: str


@frozen
class NoHandshake:
    """Somebody answers at the probe's address, but no TLS handshake comes about."""

    what: str


Seen = Served | Unreachable | NoHandshake


@frozen
class Installed:
    """What a target's `current` generation holds."""

    number: int
    certificate: Certificate
    is_placeholder: bool = False
    trust: ClientTrust | None = None  # where the target asks its clients for certificates


class DeployOutcome(StrEnum):
    """How a deploy ended; `begun` means that it was cut short."""

    BEGUN = "begun"
    IN_USE = "in-use"
    INSTALLED = "installed"  # there is no probe to look through
    UNREACHABLE = "unreachable"  # nobody answered, before or after: kept, and tried again
    FAILED = "failed"


@frozen
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
    ended_at: datetime | None = None
    crl_number: int | None = None  # of the list that was put in place with it


class AttemptOutcome(StrEnum):
    """How an attempt to obtain a certificate ended; `begun` means that it was cut short."""

    BEGUN = "begun"
    OBTAINED = "obtained"
    FAILED = "failed"


class Cause(StrEnum):
    """What a permanent error comes from, and what is looked at again until it is gone."""

    TOKEN = "token"  # noqa: S105 - the name of a cause
    CAA = "caa"
    IDENTIFIER = "identifier"
    CONFIGURATION = "configuration"


@frozen
class Attempt:
    """One attempt to obtain a certificate, as the ledger has it.

    `setup` is a digest of the configuration and the secrets that it was made with. Of a permanent
    error, `evidence` is what its cause looked like, and `looked_at` when that was last looked at.
    """

    id: int
    certificate: str
    directory_url: str
    domains: tuple[str, ...]
    begun_at: datetime
    outcome: AttemptOutcome
    ended_at: datetime | None = None
    what: str = ""
    hint: str = ""
    cause: Cause | None = None  # None where trying again may help
    retry_after: timedelta | None = None
    setup: str = ""
    evidence: str = ""
    looked_at: datetime | None = None


@frozen
class Spent:
    """What of a directory's limits has been spent for one certificate, by our own count."""

    failed_authorizations: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    issuances: tuple[datetime, ...] = ()  # of exactly this set of names


@frozen
class Event:
    """A line of the history: what happened, to which certificate or target, and how it ended."""

    at: datetime
    kind: str  # obtained | obtain-failed | deployed | deploy-failed | rolled-back | revoked | …
    certificate: str | None
    target: str | None
    text: str


@frozen
class ObservedTarget:
    """A target as found: what is installed, what is served, and how the last deploy ended."""

    spec: TargetSpec
    installed: Installed | None
    seen: Seen | None  # None where it was not probed
    last_deploy: DeployRecord | None
    trouble: Error | None = None  # why what is installed could not be read, if it could not
    repeats: tuple[DeployRecord, ...] = ()  # of the last fingerprint, in a row, newest first


@frozen
class Observed:
    """A certificate as found: what is wanted, stored, under way, in use, and what failed last."""

    spec: CertificateSpec
    stored: Stored | None
    draft: Draft | None
    targets: tuple[ObservedTarget, ...]
    failures: tuple[Attempt, ...] = ()  # unsuccessful ones since the last success, newest first
    revocations: tuple[PendingRevocation, ...] = ()
    trouble: Error | None = None  # why what is stored could not be read, if it could not
    info: RenewalInfo | None = None
    trust: ClientTrust | None = None  # what its targets are to judge their clients by
    spent: Mapping[str, Spent] = field(default_factory=dict)  # by directory, where limits count
    setup: str = ""  # the digest that an attempt would be made with now


class Trust(StrEnum):
    """Whether the wall clock may be acted on."""

    TRUSTED = "trusted"
    CONTRADICTED = "contradicted"  # by a Date, the floor, or the state of synchronisation
    UNKNOWN = "unknown"  # nobody can tell


@frozen
class TimeEvidence:
    """What is known about the wall clock; None where there is nobody to tell."""

    synchronised: bool | None  # by timesyncd's file or timedated
    floor: datetime  # it cannot be earlier than this
    offset: timedelta | None = None  # a server's Date minus our clock


@frozen
class TokenHealth:
    """An API token that works; `expires_at` where it has an end."""

    expires_at: datetime | None


@frozen
class TokenCheck:
    """The last look at the API token; `what` and `hint` say what is wrong, if something is."""

    at: datetime
    setup: str  # a digest of the token that was looked at
    expires_at: datetime | None = None
    what: str = ""
    hint: str = ""


@frozen
class Setback:
    """Something beside orders and deploys that failed, once or several times in a row.

    `setup` is what it was tried with: with something else it need not wait until `again_at`.
    """

    key: str
    setup: str
    since: datetime  # the first failure
    at: datetime  # the last one
    again_at: datetime
    failures: int
    what: str
    hint: str = ""
    is_permanent: bool = False


@frozen
class Told:
    """A matter that a person was told of.

    `text` is "" once it was told that it has been put right: it is remembered for a day after, so
    that a person hears nothing twice a day.
    """

    key: str
    since: datetime
    told_at: datetime
    text: str


# ── what is to be done ────────────────────────────────────────────────────────────────────────────


class StepKind(StrEnum):
    """The verbs of a pass."""

    SWEEP = "sweep"
    OBTAIN = "obtain"
    DEPLOY = "deploy"
    SIGN_CRL = "sign-crl"


@frozen
class Step:
    """One thing to do, why, and since when it is due."""

    kind: StepKind
    certificate: str | None
    target: str | None
    reason: str
    at: datetime


class Job(StrEnum):
    """What a pass can be called for; it does all that is due, whatever it was called for."""

    RECONCILE = "reconcile"
    RENEWAL_INFO = "renewal-info"
    TOKEN = "token"  # noqa: S105 - the name of a job
    CRL = "crl"
    INVITATIONS = "invitations"


@frozen
class Call:
    """When a pass is wanted again, and what for."""

    job: Job
    at: datetime
    why: str


class RenewalReason(StrEnum):
    """Why a certificate is renewed at its time."""

    ARI = "ari"
    LIFETIME = "lifetime"
    MISSING = "missing"
    DOMAINS_CHANGED = "domains-changed"
    RETRY = "retry"


@frozen
class Renewal:
    """When a certificate is due, and why then; `text` is the reason as a sentence."""

    at: datetime
    reason: RenewalReason
    text: str
