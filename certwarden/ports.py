"""What the lifecycle needs of the world: small Protocols, each with its MUSTs.

The consumer owns the port. `wiring` hands in the real neighbours, tests hand in the fakes of
`tests/fakes.py`, and the contract tests run on both.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from certwarden.errors import Error
from certwarden.model import (
    Account,
    Answer,
    Attempt,
    AuthoritySpec,
    Booked,
    Cause,
    Chains,
    ClientCertificate,
    ClientTrust,
    Crl,
    DeployOutcome,
    DeployRecord,
    Draft,
    Enrolment,
    Event,
    Installed,
    Invitation,
    KeptBackup,
    Order,
    Pair,
    PendingRevocation,
    Place,
    Policy,
    Proof,
    RenewalAnswer,
    RenewalInfo,
    RevocationReason,
    Revoked,
    Root,
    Rung,
    Secret,
    Seen,
    Setback,
    Spent,
    Stored,
    TokenCheck,
    TokenHealth,
    Told,
    TxtRecord,
)

if TYPE_CHECKING:
    from certwarden.pki.keys import PrivateKey  # the daemon imports this module, and stays small


class Clock(Protocol):
    """Now and waiting. A signal that raises MUST be able to end `sleep`."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...

    def interrupt(self) -> None:
        """Ends every wait of every thread, now and from now on, by KeyboardInterrupt."""


class Level(StrEnum):
    """How loudly an event is told."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Reporter(Protocol):
    """Tells a person what is going on. It MUST NOT raise, and never receives a secret."""

    def phase(self, subject: str, phase: str) -> None:
        """`subject` (a certificate or target) has entered a phase of its work."""

    def event(self, level: Level, subject: str, text: str, hint: str = "") -> None:
        """Something happened that is worth a line in a log."""


# ── the CA ────────────────────────────────────────────────────────────────────────────────────────


class Issuer(Protocol):
    """The conversation about one order (RFC 8555 section 7.4). All methods raise IssuerError.

    Every wait obeys the server's Retry-After and runs on the monotonic clock. MUST be safe for
    threads: several orders are under way at the same time.
    """

    @property
    def directory_url(self) -> str: ...

    def account_url(self) -> str:
        """The account that orders; registers one where there is none."""

    def place(
        self, domains: Sequence[str], profile: str | None, replaces: str | None = None
    ) -> str:
        """Places an order and returns its URL, which MUST be saved before anything else.

        `replaces` is the id of the certificate that it is to replace (RFC 9773 section 5). It MUST
        be left out where the server has no ARI, and once more without it if the server objects.
        """

    def deactivate(self, order: Order) -> None:
        """Gives up the order's reused authorizations (RFC 8555 section 7.5.2)."""

    def open(self, domains: Sequence[str], order_url: str) -> Order:
        """The order as it stands, just placed or by an earlier run.

        One that the server no longer knows, that has become invalid or is for other names MUST be
        told by an IssuerError whose `problem` is "orderGone"; nothing is ordered in its place.
        The challenges of authorizations that are already valid MUST be left out; those are its
        `reused`.
        """

    def validate(self, order: Order) -> Order:
        """Answers all challenges and waits until the order is ready, or further.

        An authorization that ends in any other state than valid MUST be an error.
        """

    def finalize(self, order: Order, csr_pem: bytes) -> Chains:
        """Finalizes a ready order, waits and downloads; picks up a processing or valid one."""


class Revoker(Protocol):
    """Revocation at the CA (RFC 8555 section 7.6)."""

    def revoke(self, directory_url: str, pair: Pair, reason: RevocationReason) -> None:
        """Revokes the leaf. Already revoked MUST count as success."""


class RenewalInfos(Protocol):
    """The CA's own word on when to renew (RFC 9773). MUST NOT load the ACME library."""

    def ask(self, directory_url: str, certificate_id: str) -> RenewalAnswer:
        """Asks the directory's server; raises IssuerError."""


class Accounts(Protocol):
    """Where ACME accounts are kept, one per directory. Saving MUST be durable when it returns."""

    def load(self, directory_url: str) -> Account | None: ...
    def save(self, account: Account) -> None: ...


# ── DNS ───────────────────────────────────────────────────────────────────────────────────────────


class Zone(Protocol):
    """TXT records at the DNS provider. All methods raise ZoneError; MUST be safe for threads.

    What several threads ask for at the same time SHOULD share calls, and MUST NOT share failures.
    """

    def verify(self) -> TokenHealth:
        """Looks whether the API token is good; one that is not is a permanent ZoneError."""

    def locate(self, challenge_names: Sequence[str]) -> tuple[Place, ...]:
        """Where a record for each name must be written, in their order; follows CNAMEs.

        It MUST NOT query the challenge name's TXT in DNS: a negative answer would be remembered.
        """

    def create(self, records: Sequence[TxtRecord]) -> tuple[TxtRecord, ...]:
        """Creates the records, one batch per zone, and returns them with their ids.

        A record that exists already with our comment counts as created. After an error it is not
        known what exists: the caller MUST call `remove` with the same records.
        """

    def remove(self, records: Sequence[TxtRecord]) -> None:
        """Removes the records: by id where known, else whatever bears exactly their comment.

        A record that is gone already MUST count as removed; others' records MUST NOT be touched.
        """


class CaaRecords(Protocol):
    """CAA records (RFC 8659) as the world sees them."""

    def look(self, domains: Sequence[str]) -> str:
        """Those that bind an issuance for the names, as text in a settled order.

        "" where there are none; a name that could not be looked up MUST be told as that. MUST NOT
        raise.
        """

    def binds_account(self, domains: Sequence[str]) -> bool:
        """Whether one of them carries `accounturi` (RFC 8657): then no other account may order.

        False where that cannot be told. MUST NOT raise.
        """


class Visibility(Protocol):
    """What a look at the propagation of records came to."""

    @property
    def agreed(self) -> bool: ...
    @property
    def detail(self) -> str: ...


class Propagation(Protocol):
    """Whether TXT records are to be seen yet; its answer is advice, so it MUST NOT raise."""

    def wait(self, records: Sequence[TxtRecord]) -> Visibility:
        """Waits until all servers show all values, or the timeout is over; then settles."""


# ── what we keep ──────────────────────────────────────────────────────────────────────────────────


class Certificates(Protocol):
    """Versions on disk. All methods raise StoreError; writing is whole or not at all."""

    def load(self, name: str) -> Stored | None:
        """The newest whole version, checked; None before the first."""

    def load_draft(self, name: str) -> Draft | None:
        """The order on its way; one whose key is stored already MUST be left out."""

    def save_draft(self, draft: Draft) -> None:
        """MUST be durable when it returns."""

    def discard_draft(self, name: str) -> None: ...

    def load_version(self, name: str, version: int) -> Stored | None:
        """That version, checked; None if it is no longer kept."""

    def commit(self, draft: Draft, chains: Chains, now: datetime) -> Stored:
        """Checks the chain against key, names and dates, stores it as a version, switches to it.

        Also forgets the draft. Raises MaterialError if the chain is not what was ordered.
        """

    def tidy(self, name: str) -> None:
        """Removes what a killed writer left half done; MUST cost next to nothing otherwise."""

    def free_bytes(self) -> int:
        """How much room the store has, in bytes."""


class Attempts(Protocol):
    """Attempts to obtain certificates; each is written down before it starts."""

    def begin_attempt(
        self,
        certificate: str,
        directory_url: str,
        domains: Sequence[str],
        at: datetime,
        setup: str = "",
    ) -> int: ...

    def end_attempt(
        self,
        attempt: int,
        at: datetime,
        error: Error | None,
        cause: Cause | None = None,
        evidence: str = "",
    ) -> None: ...

    def note_look(self, attempt: int, at: datetime) -> None:
        """The cause of its error was looked at again, and is still there."""

    def failures(self, certificate: str) -> tuple[Attempt, ...]:
        """Attempts since the last success, newest first: failed ones, and those cut short.

        A success is an attempt that obtained.
        """

    def move_attempt(self, attempt: int, directory_url: str) -> None:
        """The attempt goes on at this directory: to the staging directory for proof, and back."""


class Limits(Protocol):
    """Our own count of what a CA's limits count; written down before it is spent."""

    def authorizing(
        self, directory_url: str, order_url: str, names: Sequence[str], at: datetime
    ) -> None:
        """The challenges for these names are about to be answered: each counts as failed.

        A name that has two challenges is named, and counts, twice.
        """

    def authorized(self, order_url: str, failed: Sequence[str]) -> None:
        """How that ended: the names that did not fail are given back."""

    def issuing(
        self, directory_url: str, order_url: str, domains: Sequence[str], at: datetime
    ) -> None:
        """The order is about to be finalized; the same order counts once."""

    def spent(self, directory_url: str, domains: Sequence[str]) -> Spent:
        """What has been spent for exactly these names, newest first."""


class Suggestions(Protocol):
    """What CAs said about renewals, kept across runs."""

    def renewal_info(self, fingerprint: str) -> RenewalInfo | None: ...
    def save_renewal_info(self, info: RenewalInfo) -> None: ...


class Watch(Protocol):
    """What is known about the clock, the API token and setbacks, and what a person was told."""

    def floor(self) -> datetime | None:
        """The last instant that was certainly not in the future."""

    def set_floor(self, at: datetime) -> None: ...
    def token_check(self) -> TokenCheck | None: ...
    def save_token_check(self, check: TokenCheck) -> None: ...
    def told(self) -> tuple[Told, ...]: ...
    def tell(self, matter: Told) -> None: ...
    def forget(self, key: str) -> None: ...

    def marked_at(self) -> datetime | None:
        """When the mark was set last, to the second; None where there is none."""

    def mark(self, at: datetime) -> None:
        """Sets the mark, which MUST need no room on the disk: it is for when that is full."""

    def setbacks(self) -> tuple[Setback, ...]:
        """All that stand, those saved first first."""

    def save_setback(self, setback: Setback) -> None:
        """In place of the one of the same key."""

    def clear_setback(self, key: str) -> None:
        """It went well, or is of no interest any more."""


class TxtJournal(Protocol):
    """Which TXT records of ours may exist: written down before they are made (invariant 3)."""

    def instance(self) -> str:
        """The random id of this installation, the same for ever."""

    def intend(self, records: Sequence[TxtRecord], at: datetime) -> None: ...

    def removed(self, records: Sequence[TxtRecord]) -> None: ...

    def leftovers(self) -> tuple[TxtRecord, ...]:
        """Everything that was intended and not yet removed."""


class Revocations(Protocol):
    """Revocations that a person has asked for; written down before anything is replaced."""

    def request_revocation(self, revocation: PendingRevocation) -> None:
        """MUST be durable when it returns; replaces an earlier request for the same leaf."""

    def pending_revocations(self, certificate: str) -> tuple[PendingRevocation, ...]:
        """Those that are not settled, oldest first."""

    def settle_revocation(self, revocation: PendingRevocation) -> None:
        """Nothing is left to be done for it."""


class Deploys(Protocol):
    """Deploys; each is written down before anything is touched (invariant 5)."""

    def begin_deploy(
        self,
        target: str,
        fingerprint: str,
        at: datetime,
        *,
        was_active: bool | None,
        served_before: str | None,
        crl_number: int | None = None,
    ) -> int: ...

    def end_deploy(
        self, deploy: int, outcome: DeployOutcome, at: datetime, error: Error | None
    ) -> None: ...

    def last_deploy(self, target: str) -> DeployRecord | None: ...

    def repeated_deploys(self, target: str) -> tuple[DeployRecord, ...]:
        """Deploys of the last leaf and list in a row that failed or succeeded, newest first.

        Those that were cut short, or met nobody, neither count nor end the row.
        """


class Register(Protocol):
    """The book of the private CA: what it has signed, and what it has revoked.

    All methods raise StoreError; writing is durable when they return. Whoever writes holds the
    lock on the authority.
    """

    def add(self, certificates: Sequence[ClientCertificate]) -> None:
        """Writes them down before they are signed, all or none; a known serial is refused."""

    def signed(self, certificates: Mapping[str, bytes]) -> None:
        """These are signed: PEM by serial."""

    def clients(self) -> tuple[ClientCertificate, ...]:
        """All that are for clients, taken-over ones included; by name, then oldest first."""

    def named(self, name: str) -> tuple[ClientCertificate, ...]:
        """Those of a client, newest first."""

    def find(self, serial: str) -> ClientCertificate | None:
        """The one of that serial, whatever it is for."""

    def pem(self, serial: str) -> bytes | None:
        """The certificate itself, if it was signed here."""

    def revoke(self, serials: Sequence[str], reason: RevocationReason, at: datetime) -> None:
        """What is revoked already MUST stay as it is."""

    def supersede(self, serials: Sequence[str], at: datetime) -> None:
        """They are to be revoked at that instant, or earlier if that was said before."""

    def superseded(self, now: datetime) -> tuple[str, ...]:
        """The serials of those whose time with their successors is over, and not revoked yet."""

    def unlisted(self, crl: Crl | None) -> frozenset[str]:
        """Serials that are revoked, may still be used, and are not in the list."""

    def sign_lists(
        self,
        dates: Sequence[datetime],
        now: datetime,
        sign: Callable[[int, datetime, Sequence[Revoked]], Crl],
    ) -> tuple[Crl, ...]:
        """Lists with the next numbers, one for each date; several of them become the ladder.

        The first one, too: its publication may be cut short. Number, entries and signature are
        of one transaction. `sign` gets number, date and entries in a settled order. Entries of
        certificates that have expired are left out once they were in a list that was signed after
        their end.
        """

    def last_number(self) -> int:
        """Of the last list that was signed; 0 before the first."""

    def ladder(self) -> tuple[Rung, ...]:
        """The lists that were signed beforehand and are not published yet, soonest first."""

    def rung(self, number: int) -> bytes:
        """That list in PEM."""

    def step_up(self, number: int) -> None:
        """The rungs up to this number are of no use any more."""

    def take_over(self, entries: Sequence[Revoked], last_number: int) -> tuple[str, ...]:
        """Revocations and number of a list that was found; the serials that were not known.

        No revocation is ever taken back, and the number never falls.
        """

    def forget_probes(self, before: datetime) -> None:
        """Probes that were never revoked and ended before that instant are of no interest."""

    def saw(self, serials: Mapping[str, datetime]) -> None:
        """Clients' certificates that a target has seen in use, and when last.

        An instant never moves back; serials that are not a client's are passed over.
        """

    def watched_since(self) -> datetime | None:
        """Since when every target can tell whom it lets in; None where one of them cannot."""

    def set_watched_since(self, at: datetime | None) -> None: ...
    def backed_up_at(self) -> datetime | None: ...
    def set_backed_up_at(self, at: datetime) -> None: ...


class Invitations(Protocol):
    """The CA's book of invitations, beside the register and in the same database.

    All methods raise StoreError; writing is durable when they return. Whoever writes holds the
    lock on the authority.
    """

    def add(self, invitation: Invitation) -> None:
        """Writes it down; open ones of the same client are withdrawn by it."""

    def find(self, invitation_id: str) -> Invitation | None:
        """The one that a token names, open or not."""

    def open(self, now: datetime) -> tuple[Invitation, ...]:
        """Those that can be redeemed, the one that ends soonest first."""

    def of(self, name: str) -> tuple[Invitation, ...]:
        """All of a client, newest first."""

    def miss(self, invitation_id: str) -> None:
        """One try less."""

    def redeem(
        self,
        invitation_id: str,
        now: datetime,
        certificate: ClientCertificate,
        pem: bytes,
        *,
        enrolment: Enrolment,
        supersede_at: datetime,
    ) -> None:
        """Burns the token and enters the signed certificate, in one transaction.

        `enrolment` is how it was really redeemed, whatever was expected. The client's other valid
        certificates are to be revoked at `supersede_at`, or earlier if that was said before. MUST
        refuse, by StoreError, one that is not open at `now`.
        """

    def withdraw(self, invitation_id: str, at: datetime) -> None:
        """It cannot be redeemed any more; one that was redeemed stays as it is."""

    def withdraw_all(self, at: datetime) -> None:
        """None can be redeemed any more, whatever a clock says of their time."""

    def forget(self, before: datetime) -> None:
        """Those that ended before that instant and were never redeemed are of no interest."""


class Authority(Protocol):
    """The private CA on disk: its certificate, its encrypted key, its published list.

    All methods raise StoreError; writing is whole or not at all, under the lock on the authority.
    """

    def root(self) -> Root | None:
        """None before `create`."""

    def key(self) -> Secret:
        """The private key: encrypted PKCS#8 PEM."""

    def is_locked(self) -> bool:
        """Whether the passphrase is a person's, and not kept on this machine."""

    def create(self, root_pem: bytes, key_pem: Secret, *, is_locked: bool) -> None:
        """MUST refuse to take the place of another, by UsageError; MaterialError for no root."""

    def replace_root(self, root_pem: bytes) -> None:
        """The same key under a new certificate."""

    def crl(self) -> Crl | None:
        """The published list, its signature checked; None where there is none of this CA's."""

    def publish(self, crl: Crl) -> None: ...

    def probe(self) -> Pair | None:
        """The revoked probe that is kept."""

    def save_probe(self, probe: Pair) -> None: ...


class Archive(Protocol):
    """The register as data: for backups, and from other books. All methods raise StoreError."""

    def rows(self) -> tuple[Booked, ...]:
        """Every row with its certificate, probes and taken-over ones included; oldest first."""

    def put_back(self, rows: Sequence[Booked]) -> None:
        """Adds them all, or none; the caller holds the lock on the authority.

        A row that is there already is filled in where nothing but its serial was known, and else
        stays as it is; but what either says is revoked is revoked.
        """


class Belongings(Protocol):
    """What else of this machine belongs into a backup, or tells of a CA that was here before.

    All methods raise StoreError.
    """

    def accounts(self) -> tuple[Account, ...]:
        """Those at public CAs."""

    def put_account(self, account: Account) -> None:
        """MUST NOT take the place of another; the caller holds the lock on orders."""

    def configuration(self) -> bytes:
        """The text of config.toml."""

    def passphrase(self) -> Secret | None:
        """The private CA's, where it is kept on this machine."""

    def lists(self) -> tuple[bytes, ...]:
        """Each revocation list that is installed at a target, in PEM, whosesoever it is."""


class Safe(Protocol):
    """Where backups are kept by themselves. All methods raise StoreError."""

    def passphrase(self) -> Secret:
        """What they are sealed under."""

    def kept(self) -> tuple[KeptBackup, ...]:
        """Those that are there; what cannot be read as one is none."""

    def keep(self, name: str, sealed: bytes) -> None:
        """Whole, and on the disk, or not at all."""

    def discard(self, name: str) -> None: ...


class Proofs(Protocol):
    """What was last found out about the targets that ask their clients for certificates."""

    def proofs(self) -> tuple[Proof, ...]:
        """The last one of each target."""

    def save_proof(self, proof: Proof) -> None: ...

    def forget_proof(self, target: str) -> None:
        """It asks its clients for nothing any more."""


class History(Protocol):
    """What happened, for people."""

    def record(self, event: Event) -> None: ...

    def events(self, name: str | None, limit: int) -> tuple[Event, ...]:
        """Newest first; of a certificate or target, or of all."""


# ── targets ───────────────────────────────────────────────────────────────────────────────────────


class Shelf(Protocol):
    """A target's generations on disk (design, section 4). All methods raise TargetError.

    At every instant `current` MUST lead to a matching pair, whatever kills the process.
    """

    def installed(self) -> Installed | None:
        """What is current and whole, at the fixed paths too; None where nothing usable is there."""

    def publish(self, pair: Pair, trust: ClientTrust | None = None) -> Installed:
        """Makes the pair the current generation, and the fixed paths lead to it.

        `trust` is for a target that asks its clients for certificates; without it, what is
        installed there stays beside the new pair, and where there is none it is a TargetError. So
        is a list that is older than the installed one: no generation MUST ever carry that. What
        OpenSSL cannot load MUST NOT become current.
        """

    def is_untidy(self) -> bool:
        """Whether a killed writer has left something half done."""

    def tidy(self) -> None:
        """Removes that; the caller holds the target's lock."""

    def confirm(self, number: int) -> None:
        """The generation was seen in use: it is now the last good one; a placeholder never is."""

    def last_good(self) -> Pair | None:
        """The last good generation's pair, else the one that stood at the fixed paths before."""


class Reloader(Protocol):
    """Makes the target's program take up its files. Raises TargetError."""

    def is_active(self) -> bool | None:
        """Whether the unit runs; None where there is none to ask."""

    def reload(self) -> None: ...

    def complaint(self) -> str:
        """What the program itself says about why it did not take the files up, or ""."""


class Probe(Protocol):
    """One look at what a target serves; MUST NOT raise and takes a few seconds at most."""

    def look(self) -> Seen: ...


class Visit(Protocol):
    """A visit to a target as a client: a full handshake and a request."""

    @property
    def answer(self) -> Answer: ...

    def again(self) -> Answer:
        """The same once more, with the TLS session that the first visit was given; MUST NOT raise.

        Where there was none, or the server does not want it, that is a full handshake.
        """


class ClientProbe(Protocol):
    """Visits a target with a client certificate; takes a few seconds at most."""

    def visit(self, client: Pair | None) -> Visit:
        """MUST NOT raise; None has no certificate to show. The key MUST NOT be written to disk.

        Refused is a handshake error, or an alert or end of stream once a request was sent; where
        the kind of program says it by status, 400 and 403. Let in is an application byte. Anything
        else is unknown.
        """


class Locks(Protocol):
    """One at a time, across processes. Raises Busy after 60 s, naming who holds it.

    Those that only try raise it at once.
    """

    def orders(self) -> AbstractContextManager[None]: ...
    def try_orders(self) -> AbstractContextManager[None]: ...
    def authority(self) -> AbstractContextManager[None]:
        """The private CA: its register, its key, and its list."""

    def try_authority(self) -> AbstractContextManager[None]: ...
    def target(self, name: str) -> AbstractContextManager[None]: ...
    def try_target(self, name: str) -> AbstractContextManager[None]: ...


class TimeSources(Protocol):
    """Who can tell whether the wall clock is right. MUST NOT raise."""

    def synchronised(self) -> bool | None:
        """Whether the machine's time service says so; None where there is none to ask."""

    def build_date(self) -> datetime: ...

    def offset(self) -> timedelta | None:
        """A server's Date minus our clock at that moment; None where none is to be had."""


class Messenger(Protocol):
    """Reaches a person."""

    @property
    def has_readers(self) -> bool:
        """Whether there is anybody to send to, beside the heartbeat's watchdog."""

    def send(self, title: str, text: str) -> None:
        """Sends it everywhere it is configured to; raises NotifyError."""

    def heartbeat(self) -> None:
        """Says that a pass was good; raises NotifyError."""


class Door(Protocol):
    """Where the service hands out certificates: who comes while it is open is received.

    All methods raise TargetError.
    """

    def is_open(self) -> bool: ...
    def open(self) -> None: ...
    def shut(self) -> None: ...


class Metrics(Protocol):
    """Where a monitoring system reads how things are."""

    def write(self, text: str) -> None:
        """Replaces what was there before, whole or not at all; raises StoreError."""


class Neighbours(Protocol):
    """The world as wired: real by default, fakes in tests; what is not used is not loaded."""

    @property
    def clock(self) -> Clock: ...
    @property
    def reporter(self) -> Reporter: ...
    @property
    def certificates(self) -> Certificates: ...
    @property
    def attempts(self) -> Attempts: ...
    @property
    def journal(self) -> TxtJournal: ...
    @property
    def revocations(self) -> Revocations: ...
    @property
    def deploys(self) -> Deploys: ...
    @property
    def history(self) -> History: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def suggestions(self) -> Suggestions: ...
    @property
    def watch(self) -> Watch: ...
    @property
    def register(self) -> Register: ...
    @property
    def invitations(self) -> Invitations: ...
    @property
    def authority(self) -> Authority: ...
    @property
    def proofs(self) -> Proofs: ...
    @property
    def archive(self) -> Archive: ...
    @property
    def belongings(self) -> Belongings: ...
    @property
    def authority_spec(self) -> AuthoritySpec | None: ...
    @property
    def time_sources(self) -> TimeSources: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def locks(self) -> Locks: ...
    def setup(self, certificate: str | None) -> str:
        """A digest of what of ours an attempt depends on: configuration and secrets.

        Of the API token alone, where no certificate is named.
        """

    def issuer(self, directory_url: str) -> Issuer: ...
    def renewal_infos(self) -> RenewalInfos: ...
    def caa_records(self) -> CaaRecords: ...
    def messenger(self) -> Messenger | None: ...
    def metrics(self) -> Metrics | None: ...
    def door(self) -> Door | None:
        """None where the service hands out nothing."""

    def staging_issuer(self, directory_url: str) -> Issuer | None:
        """Where a try at the directory can prove itself first, if there is such a place."""

    def revoker(self) -> Revoker: ...
    def signing_key(self) -> "PrivateKey":
        """The private CA's key; raises LockedError where there is no passphrase to be had."""

    def zone(self) -> Zone: ...
    def propagation(self) -> Propagation: ...
    def shelf(self, target: str) -> Shelf: ...
    def reloader(self, target: str) -> Reloader: ...
    def probe(self, target: str) -> Probe | None: ...
    def client_probe(self, target: str) -> ClientProbe | None: ...
    def sightings(self, target: str) -> Mapping[str, datetime] | None:
        """The certificates that the target says it has let in, by serial, and when last.

        None where nothing there can tell, for now. Advice, which may be wrong or forged; an instant
        may be in the future.
        """

    def call_daemon(self) -> None:
        """Has it make a pass in a while, for what this command may leave undone; StoreError."""

    def safe(self) -> Safe | None:
        """None where no backups are kept by themselves."""
