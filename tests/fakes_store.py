"""In-memory stand-ins for clock, reporter and store; `tests/contract/` runs them beside the real.

Each shows what it holds as plain attributes, so that a test can arrange and look at it directly.
They are safe for threads, as orders run side by side.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile

from certwarden import model
from certwarden.errors import Busy, Error
from certwarden.model import (
    Account,
    Attempt,
    AttemptOutcome,
    Cause,
    Chains,
    DeployOutcome,
    DeployRecord,
    Draft,
    Event,
    PendingRevocation,
    RenewalInfo,
    Setback,
    Spent,
    Stored,
    TokenCheck,
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
        self.is_interrupted = False
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        if self.is_interrupted:
            raise KeyboardInterrupt
        self.sleeps.append(seconds)
        self.advance(timedelta(seconds=max(0.0, seconds)))

    def interrupt(self) -> None:
        self.is_interrupted = True

    def advance(self, duration: timedelta) -> None:
        """Lets time go by on both clocks."""
        with self._lock:
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
            account_url=draft.account_url,
        )
        versions.append(stored)
        self.drafts.pop(draft.name, None)
        return stored

    def tidy(self, name: str) -> None:  # noqa: ARG002 - the port's; nobody is killed in memory
        self._fail()

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


class FakeSpending:
    """The port Limits in memory."""

    def __init__(self) -> None:
        self.authorizations: dict[tuple[str, str], tuple[str, int, datetime]] = {}
        self.issuances: dict[str, tuple[str, frozenset[str], datetime]] = {}
        self._lock = threading.RLock()

    def authorizing(
        self, directory_url: str, order_url: str, names: Sequence[str], at: datetime
    ) -> None:
        with self._lock:
            for name, times in Counter(map(_identifier, names)).items():
                self.authorizations.pop((order_url, name), None)
                self.authorizations[order_url, name] = (directory_url, times, at)

    def authorized(self, order_url: str, failed: Sequence[str]) -> None:
        with self._lock:
            for order, name in list(self.authorizations):
                if order == order_url and name not in _identifiers(failed):
                    del self.authorizations[order, name]

    def issuing(
        self, directory_url: str, order_url: str, domains: Sequence[str], at: datetime
    ) -> None:
        with self._lock:
            self.issuances.pop(order_url, None)
            self.issuances[order_url] = (directory_url, _set_of(domains), at)

    def spent(self, directory_url: str, domains: Sequence[str]) -> Spent:
        with self._lock:
            failed: dict[str, tuple[datetime, ...]] = {}
            for (_, name), (directory, times, at) in self.authorizations.items():
                if directory == directory_url and name in _identifiers(domains):
                    failed[name] = (*[at] * times, *failed.get(name, ()))
            issuances = [
                at
                for directory, names, at in self.issuances.values()
                if (directory, names) == (directory_url, _set_of(domains))
            ]
            return Spent(failed, tuple(reversed(issuances)))


class FakeSuggestions:
    """The port Suggestions in memory."""

    def __init__(self) -> None:
        self.infos: dict[str, RenewalInfo] = {}

    def renewal_info(self, fingerprint: str) -> RenewalInfo | None:
        return self.infos.get(fingerprint)

    def save_renewal_info(self, info: RenewalInfo) -> None:
        self.infos[info.fingerprint] = info


class FakeWatch:
    """The port Watch in memory."""

    def __init__(self) -> None:
        self.clock_floor: datetime | None = None
        self.check: TokenCheck | None = None
        self.matters: dict[str, model.Told] = {}
        self.marked: datetime | None = None
        self.troubles: dict[str, Setback] = {}
        self._lock = threading.RLock()

    def floor(self) -> datetime | None:
        return self.clock_floor

    def set_floor(self, at: datetime) -> None:
        self.clock_floor = at

    def token_check(self) -> TokenCheck | None:
        return self.check

    def save_token_check(self, check: TokenCheck) -> None:
        self.check = check

    def told(self) -> tuple[model.Told, ...]:
        with self._lock:
            return tuple(self.matters.values())

    def tell(self, matter: model.Told) -> None:
        with self._lock:
            self.matters.pop(matter.key, None)
            self.matters[matter.key] = matter

    def forget(self, key: str) -> None:
        with self._lock:
            self.matters.pop(key, None)

    def marked_at(self) -> datetime | None:
        return self.marked

    def mark(self, at: datetime) -> None:
        self.marked = at.replace(microsecond=0)

    def setbacks(self) -> tuple[Setback, ...]:
        with self._lock:
            return tuple(self.troubles.values())

    def save_setback(self, setback: Setback) -> None:
        with self._lock:
            self.troubles.pop(setback.key, None)
            self.troubles[setback.key] = setback

    def clear_setback(self, key: str) -> None:
        with self._lock:
            self.troubles.pop(key, None)


class FakeLedger:
    """Attempts, TxtJournal, Revocations, Deploys and History in memory, and the books beside."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.deploys: list[DeployRecord] = []
        self.journal: list[TxtRecord] = []
        self.revocations: dict[tuple[str, str], PendingRevocation] = {}
        self.history: list[Event] = []
        self.limits = FakeSpending()
        self.suggestions = FakeSuggestions()
        self.watch = FakeWatch()
        self._lock = threading.RLock()

    def begin_attempt(
        self,
        certificate: str,
        directory_url: str,
        domains: Sequence[str],
        at: datetime,
        setup: str = "",
    ) -> int:
        with self._lock:
            number = len(self.attempts) + 1
            self.attempts.append(
                Attempt(
                    id=number,
                    certificate=certificate,
                    directory_url=directory_url,
                    domains=tuple(domains),
                    begun_at=at,
                    outcome=AttemptOutcome.BEGUN,
                    setup=setup,
                )
            )
            return number

    def move_attempt(self, attempt: int, directory_url: str) -> None:
        with self._lock:
            begun = self.attempts[attempt - 1]
            self.attempts[attempt - 1] = replace(begun, directory_url=directory_url)

    def end_attempt(
        self,
        attempt: int,
        at: datetime,
        error: Error | None,
        cause: Cause | None = None,
        evidence: str = "",
    ) -> None:
        with self._lock:
            self.attempts[attempt - 1] = replace(
                self.attempts[attempt - 1],
                outcome=AttemptOutcome.FAILED if error else AttemptOutcome.OBTAINED,
                ended_at=at,
                what=error.what if error else "",
                hint=error.hint if error else "",
                cause=cause,
                retry_after=error.retry_after if error else None,
                evidence=evidence,
                looked_at=at if cause else None,
            )

    def note_look(self, attempt: int, at: datetime) -> None:
        with self._lock:
            self.attempts[attempt - 1] = replace(self.attempts[attempt - 1], looked_at=at)

    def failures(self, certificate: str) -> tuple[Attempt, ...]:
        with self._lock:
            mine = [each for each in reversed(self.attempts) if each.certificate == certificate]
        return tuple(takewhile(lambda each: each.outcome is not AttemptOutcome.OBTAINED, mine))

    def instance(self) -> str:
        return "0a1b2c3d"

    def intend(self, records: Sequence[TxtRecord], at: datetime) -> None:  # noqa: ARG002  the port's
        with self._lock:
            for record in records:
                self.journal = [each for each in self.journal if not _same(each, record)]
                self.journal.append(record)

    def removed(self, records: Sequence[TxtRecord]) -> None:
        with self._lock:
            self.journal = [
                each for each in self.journal if not any(_same(each, record) for record in records)
            ]

    def leftovers(self) -> tuple[TxtRecord, ...]:
        return tuple(self.journal)

    def request_revocation(self, revocation: PendingRevocation) -> None:
        key = (revocation.certificate, revocation.fingerprint)
        with self._lock:
            first = self.revocations.get(key, revocation)
            self.revocations[key] = replace(
                revocation,
                requested_at=first.requested_at,
                is_revoked=first.is_revoked or revocation.is_revoked,
            )

    def pending_revocations(self, certificate: str) -> tuple[PendingRevocation, ...]:
        with self._lock:
            return tuple(r for r in self.revocations.values() if r.certificate == certificate)

    def settle_revocation(self, revocation: PendingRevocation) -> None:
        with self._lock:
            self.revocations.pop((revocation.certificate, revocation.fingerprint), None)

    def begin_deploy(
        self,
        target: str,
        fingerprint: str,
        at: datetime,
        *,
        was_active: bool | None,
        served_before: str | None,
        crl_number: int | None = None,
    ) -> int:
        with self._lock:
            number = len(self.deploys) + 1
            self.deploys.append(
                DeployRecord(
                    id=number,
                    target=target,
                    fingerprint=fingerprint,
                    begun_at=at,
                    was_active=was_active,
                    served_before=served_before,
                    outcome=DeployOutcome.BEGUN,
                    crl_number=crl_number,
                )
            )
            return number

    def end_deploy(
        self, deploy: int, outcome: DeployOutcome, at: datetime, error: Error | None
    ) -> None:
        with self._lock:
            self.deploys[deploy - 1] = replace(
                self.deploys[deploy - 1],
                outcome=outcome,
                what=error.what if error else "",
                hint=error.hint if error else "",
                ended_at=at,
            )

    def last_deploy(self, target: str) -> DeployRecord | None:
        with self._lock:
            return next((each for each in reversed(self.deploys) if each.target == target), None)

    def repeated_deploys(self, target: str) -> tuple[DeployRecord, ...]:
        with self._lock:
            mine = [each for each in reversed(self.deploys) if each.target == target]
        row = takewhile(lambda each: _leaf_and_list(each) == _leaf_and_list(mine[0]), mine)
        uncounted = {DeployOutcome.BEGUN, DeployOutcome.UNREACHABLE}
        return tuple(each for each in row if each.outcome not in uncounted)

    def record(self, event: Event) -> None:
        with self._lock:
            self.history.append(event)

    def events(self, name: str | None, limit: int) -> tuple[Event, ...]:
        with self._lock:
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
        self._lock = threading.Lock()

    @contextmanager
    def orders(self) -> Iterator[None]:
        with self._hold("orders"):
            yield

    def try_orders(self) -> AbstractContextManager[None]:
        return self._hold("orders")

    def authority(self) -> AbstractContextManager[None]:
        return self._hold("authority")

    def try_authority(self) -> AbstractContextManager[None]:
        return self._hold("authority")

    def try_target(self, name: str) -> AbstractContextManager[None]:
        return self._hold(f"target-{name}")

    @contextmanager
    def target(self, name: str) -> Iterator[None]:
        with self._hold(f"target-{name}"):
            yield

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        if name in self.busy:
            raise Busy(f"{name} is held by process 1, renew", "try again when it has finished")
        with self._lock:
            if name in self.held:
                raise AssertionError(f"{name} is locked twice: for real this would wait for itself")
            self.held.add(name)
            self.taken.append(name)
        try:
            yield
        finally:
            self.held.discard(name)


def _leaf_and_list(deploy: DeployRecord) -> tuple[str, int | None]:
    return deploy.fingerprint, deploy.crl_number


def _same(one: TxtRecord, other: TxtRecord) -> bool:
    """Whether they are the same record, with or without the provider's id."""
    return (one.place.record_name, one.value, one.comment) == (
        other.place.record_name,
        other.value,
        other.comment,
    )


def _identifier(name: str) -> str:
    return name.lower().removeprefix("*.")


def _identifiers(names: Sequence[str]) -> set[str]:
    return {name.lower().removeprefix("*.") for name in names}


def _set_of(domains: Sequence[str]) -> frozenset[str]:
    return frozenset(domain.lower() for domain in domains)
