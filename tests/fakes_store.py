"""In-memory stand-ins for clock, reporter and store; `tests/contract/` runs them beside the real.

Each shows what it holds as plain attributes, so that a test can arrange and look at it directly.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certwarden.errors import Busy, Error
from certwarden.model import (
    Account,
    Attempt,
    AttemptOutcome,
    Chains,
    DeployOutcome,
    DeployRecord,
    Draft,
    Event,
    PendingRevocation,
    Stored,
    TxtRecord,
)
from certwarden.pki.certificate import check_ordered, read_pair
from certwarden.ports import Level
from tests.builders import NOW


class FakeClock:
    """A clock that stands still until somebody sleeps by it or calls `advance`."""

    def __init__(self, instant: datetime = NOW) -> None:
        self.instant = instant
        self.elapsed = 1000.0
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.advance(timedelta(seconds=max(0.0, seconds)))

    def advance(self, duration: timedelta) -> None:
        """Lets time go by on both clocks."""
        self.instant += duration
        self.elapsed += duration.total_seconds()


@dataclass(frozen=True)
class Told:
    """An event as the reporter was told it."""

    level: Level
    subject: str
    text: str
    hint: str = ""


class RecordingReporter:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, str]] = []
        self.told: list[Told] = []

    def phase(self, subject: str, phase: str) -> None:
        self.phases.append((subject, phase))

    def event(self, level: Level, subject: str, text: str, hint: str = "") -> None:
        self.told.append(Told(level, subject, text, hint))

    def texts(self, level: Level | None = None) -> list[str]:
        """The events' texts, of one level or all."""
        return [each.text for each in self.told if level in {None, each.level}]


class FakeCertificates:
    """Versions and drafts in memory. Set `failure` to make every call raise it."""

    def __init__(self, *stored: Stored) -> None:
        self.versions: dict[str, list[Stored]] = {}
        self.drafts: dict[str, Draft] = {}
        self.saved_drafts: list[Draft] = []  # every one ever saved, in order
        self.free = 10 * 1024**3
        self.failure: Error | None = None
        for each in stored:
            self.versions.setdefault(each.name, []).append(each)

    def load(self, name: str) -> Stored | None:
        self._fail()
        versions = self.versions.get(name)
        return versions[-1] if versions else None

    def load_version(self, name: str, version: int) -> Stored | None:
        self._fail()
        return next((each for each in self.versions.get(name, []) if each.version == version), None)

    def load_draft(self, name: str) -> Draft | None:
        self._fail()
        draft, stored = self.drafts.get(name), self.load(name)
        is_used = draft and stored and draft.key_pem == stored.pair.key_pem
        return None if is_used else draft

    def save_draft(self, draft: Draft) -> None:
        self._fail()
        self.drafts[draft.name] = draft
        self.saved_drafts.append(draft)

    def discard_draft(self, name: str) -> None:
        self._fail()
        self.drafts.pop(name, None)

    def commit(self, draft: Draft, chains: Chains, now: datetime) -> Stored:
        self._fail()
        pair = read_pair(draft.key_pem, chains.default)
        check_ordered(pair, draft.domains, now)
        versions = self.versions.setdefault(draft.name, [])
        stored = Stored(
            name=draft.name,
            version=versions[-1].version + 1 if versions else 1,
            pair=pair,
            domains=draft.domains,
            key_type=draft.key_type,
            profile=draft.profile,
            directory_url=draft.directory_url,
            obtained_at=now,
        )
        versions.append(stored)
        self.drafts.pop(draft.name, None)
        return stored

    def free_bytes(self) -> int:
        self._fail()
        return self.free

    def _fail(self) -> None:
        if self.failure:
            raise self.failure


class FakeAccounts:
    """ACME accounts in memory, by directory."""

    def __init__(self) -> None:
        self.by_directory: dict[str, Account] = {}
        self.saved: list[Account] = []  # every one ever saved, in order

    def load(self, directory_url: str) -> Account | None:
        return self.by_directory.get(directory_url)

    def save(self, account: Account) -> None:
        self.by_directory[account.directory_url] = account
        self.saved.append(account)


class FakeLedger:
    """Attempts, TxtJournal, Revocations, Deploys and History in memory."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.deploys: list[DeployRecord] = []
        self.journal: list[TxtRecord] = []
        self.revocations: dict[tuple[str, str], PendingRevocation] = {}
        self.history: list[Event] = []

    def begin_attempt(
        self, certificate: str, directory_url: str, domains: Sequence[str], at: datetime
    ) -> int:
        number = len(self.attempts) + 1
        self.attempts.append(
            Attempt(number, certificate, directory_url, tuple(domains), at, AttemptOutcome.BEGUN)
        )
        return number

    def end_attempt(self, attempt: int, at: datetime, error: Error | None) -> None:
        begun = self.attempts[attempt - 1]
        self.attempts[attempt - 1] = (
            replace(begun, outcome=AttemptOutcome.OBTAINED, ended_at=at)
            if error is None
            else replace(
                begun,
                outcome=AttemptOutcome.FAILED,
                ended_at=at,
                what=error.what,
                hint=error.hint,
                permanent=error.permanent,
                retry_after=error.retry_after,
            )
        )

    def failures(self, certificate: str) -> tuple[Attempt, ...]:
        failures: list[Attempt] = []
        for attempt in reversed(self.attempts):
            if attempt.certificate != certificate:
                continue
            if attempt.outcome is AttemptOutcome.OBTAINED:
                break
            if attempt.outcome is AttemptOutcome.FAILED:
                failures.append(attempt)
        return tuple(failures)

    def instance(self) -> str:
        return "0a1b2c3d"

    def intend(self, records: Sequence[TxtRecord], at: datetime) -> None:  # noqa: ARG002  the port's
        for record in records:
            self.journal = [each for each in self.journal if not _same(each, record)]
            self.journal.append(record)

    def removed(self, records: Sequence[TxtRecord]) -> None:
        self.journal = [
            each for each in self.journal if not any(_same(each, record) for record in records)
        ]

    def leftovers(self) -> tuple[TxtRecord, ...]:
        return tuple(self.journal)

    def request_revocation(self, revocation: PendingRevocation) -> None:
        key = (revocation.certificate, revocation.fingerprint)
        first = self.revocations.get(key, revocation)
        self.revocations[key] = replace(
            revocation,
            requested_at=first.requested_at,
            is_revoked=first.is_revoked or revocation.is_revoked,
        )

    def pending_revocations(self, certificate: str) -> tuple[PendingRevocation, ...]:
        return tuple(r for r in self.revocations.values() if r.certificate == certificate)

    def settle_revocation(self, revocation: PendingRevocation) -> None:
        self.revocations.pop((revocation.certificate, revocation.fingerprint), None)

    def begin_deploy(
        self,
        target: str,
        fingerprint: str,
        at: datetime,
        *,
        was_active: bool | None,
        served_before: str | None,
    ) -> int:
        number = len(self.deploys) + 1
        self.deploys.append(
            DeployRecord(
                number, target, fingerprint, at, was_active, served_before, DeployOutcome.BEGUN
            )
        )
        return number

    def end_deploy(
        self,
        deploy: int,
        outcome: DeployOutcome,
        at: datetime,  # noqa: ARG002  the port's; the record shows only the beginning
        error: Error | None,
    ) -> None:
        self.deploys[deploy - 1] = replace(
            self.deploys[deploy - 1],
            outcome=outcome,
            what=error.what if error else "",
            hint=error.hint if error else "",
        )

    def last_deploy(self, target: str) -> DeployRecord | None:
        return next((each for each in reversed(self.deploys) if each.target == target), None)

    def record(self, event: Event) -> None:
        self.history.append(event)

    def events(self, name: str | None, limit: int) -> tuple[Event, ...]:
        wanted = [
            event
            for event in reversed(self.history)
            if name is None or name in {event.certificate, event.target}
        ]
        return tuple(wanted[:limit])


class FakeLocks:
    """Remembers who was locked when; names in `busy` are held by somebody else."""

    def __init__(self, *busy: str) -> None:
        self.busy = set(busy)
        self.held: set[str] = set()
        self.taken: list[str] = []  # every one ever taken, in order

    @contextmanager
    def orders(self) -> Iterator[None]:
        with self._hold("orders"):
            yield

    @contextmanager
    def target(self, name: str) -> Iterator[None]:
        with self._hold(f"target-{name}"):
            yield

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        if name in self.busy:
            raise Busy(f"{name} is held by process 1, renew", "try again when it has finished")
        if name in self.held:
            raise AssertionError(f"{name} is locked twice: for real this would wait for itself")
        self.held.add(name)
        self.taken.append(name)
        try:
            yield
        finally:
            self.held.discard(name)


def _same(one: TxtRecord, other: TxtRecord) -> bool:
    """Whether they are the same record, with or without the provider's id."""
    return (one.place.record_name, one.value, one.comment) == (
        other.place.record_name,
        other.value,
        other.comment,
    )
