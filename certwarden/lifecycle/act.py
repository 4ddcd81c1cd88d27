"""The acting part of a pass: certificates are worked on side by side, and put to use.

Only certificates whose targets share a program wait for each other, before it is reloaded once.
Everything is looked at again under its lock, for somebody else may have done it meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from certwarden.errors import Error, TargetError
from certwarden.lifecycle.causes import still_there
from certwarden.lifecycle.deploy import Deployed, deploy
from certwarden.lifecycle.observe import observe, observe_target
from certwarden.lifecycle.obtain import Desk, obtain
from certwarden.lifecycle.plan import deploy_reason, deploy_steps
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import Try, last_failure, next_try
from certwarden.lifecycle.revoke import finish_revocations
from certwarden.lifecycle.side_by_side import (
    OrderTurn,
    SharedReloader,
    SharedService,
    side_by_side,
)
from certwarden.model import (
    Attempt,
    CertificateSpec,
    CommandReload,
    DeployOutcome,
    Observed,
    Served,
    Stored,
    TargetSpec,
    UnitReload,
    Unreachable,
)
from certwarden.pki.certificate import build_placeholder
from certwarden.ports import Level, Neighbours, Reloader


@dataclass(frozen=True)
class CertificateResult:
    """What a pass did for one certificate."""

    name: str
    stored: Stored | None
    is_new: bool = False
    error: Error | None = None
    litter: Error | None = None  # why TXT records of its order are left, if they are
    deployed: tuple[Deployed, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing failed; a target where nobody answers is no failure."""
        has_failed = any(each.outcome is DeployOutcome.FAILED for each in self.deployed)
        return self.error is None and self.litter is None and not has_failed


@dataclass(frozen=True)
class Orders:
    """What the certificates of a pass are to be obtained by.

    `due` are the names that a plan said to obtain, `force` those to be renewed although not due,
    and `named` those that no back-off holds up. `refusal`, where there is one, is why none of them
    is: the clock is not to be trusted.
    """

    due: frozenset[str] = frozenset()
    force: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    refusal: Error | None = None


@dataclass(frozen=True)
class _Job:
    """A deploy to be made."""

    certificate: str
    stored: Stored
    target: TargetSpec


@dataclass(frozen=True)
class Actor:
    """Carries out what a pass needs; never raises Error."""

    world: Neighbours
    orders: Orders
    now: datetime
    is_deploying: bool = True
    _desk: Desk = field(init=False)
    _turn: OrderTurn = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_desk", Desk(self.world))
        object.__setattr__(self, "_turn", OrderTurn(self.world.locks))

    def act(self, observed: Sequence[Observed]) -> tuple[CertificateResult, ...]:
        """Whatever each certificate needs; the results in the order of what was observed."""
        tasks = [partial(self._act_on, cluster) for cluster in _clusters(observed)]
        done = side_by_side(tasks, self.world.clock)
        results = {result.name: result for results in done for result in results}
        return tuple(results[seen.spec.name] for seen in observed)

    def _act_on(self, cluster: Sequence[Observed]) -> list[CertificateResult]:
        clock = self.world.clock
        results = side_by_side([partial(self._obtain, seen) for seen in cluster], clock)
        if not self.is_deploying:
            return results
        jobs: dict[object, list[_Job]] = {}
        waiting = set()
        for seen, result in zip(cluster, results, strict=True):
            for job, at in self._jobs(seen, result):
                if at > self.now:
                    waiting.add(job.certificate)
                else:
                    jobs.setdefault(_service(job.target), []).append(job)
        tasks = [partial(self._deploy_together, group) for group in jobs.values()]
        done = [each for group in side_by_side(tasks, clock) for each in group]
        for place, result in enumerate(results):
            deployed = tuple(each for name, each in done if name == result.name)
            error = result.error
            if result.stored is not None and result.name not in waiting:
                error = finish_revocations(self.world, result.stored, deployed, self.now) or error
            results[place] = replace(result, deployed=deployed, error=error)
        return results

    # ── obtaining ─────────────────────────────────────────────────────────────────────────────────

    def _obtain(self, seen: Observed) -> CertificateResult:
        name = seen.spec.name
        error = seen.trouble
        if error is None and name in self.orders.due:
            if self.orders.refusal is None:
                return self._obtain_if_due(seen)
            # Told once for all of them, by whoever judged the clock.
            return CertificateResult(name, seen.stored, error=self.orders.refusal)
        if error is None:
            error = _standing_error(seen, self.now)
        if error is not None:
            self.world.reporter.event(Level.ERROR, name, error.what, error.hint)
        return CertificateResult(name, seen.stored, error=error)

    def _obtain_if_due(self, seen: Observed) -> CertificateResult:
        """Obtains under the lock on orders, after looking again whether nobody else has."""
        world, name = self.world, seen.spec.name
        stored = seen.stored
        try:
            with self._turn.hold():
                now = world.clock.now()  # the wait for the lock may have been long
                (again,) = observe(world, (seen.spec,), is_probing=False)
                if again.trouble is not None:
                    raise again.trouble
                stored = again.stored
                wanted = self._wanted(seen, again, now)
                if wanted is None:
                    return CertificateResult(name, stored)
                if wanted.look_at and (error := self._look(again, wanted.look_at, now)):
                    raise error
                obtained = obtain(self._desk, again, wanted, now)
        except Error as error:
            world.reporter.event(Level.ERROR, name, error.what, error.hint)
            return CertificateResult(name, stored, error=error)
        return CertificateResult(name, obtained.stored, is_new=True, litter=obtained.litter)

    def _wanted(self, seen: Observed, again: Observed, now: datetime) -> Try | None:
        """The try that is to be made, or None where another has been quicker."""
        name = seen.spec.name
        is_forced = name in self.orders.force and _version(again) == _version(seen)
        if renewal(again, now).at > now and not is_forced:
            return None
        is_named = name in self.orders.named
        wanted = next_try(again, self.world.policy, now, is_named=is_named or is_forced)
        return wanted if wanted.at <= now else None

    def _look(self, seen: Observed, failure: Attempt, now: datetime) -> Error | None:
        """The cause of the failure, if it is still there."""
        error = still_there(self.world, seen.spec, failure)
        if error is not None:
            self.world.attempts.note_look(failure.id, now)
        return error

    # ── putting to use ────────────────────────────────────────────────────────────────────────────

    def _jobs(self, seen: Observed, result: CertificateResult) -> Iterator[tuple[_Job, datetime]]:
        """Which deploys the certificate needs, and when they may be made."""
        if result.stored is None or seen.trouble is not None:
            return
        current = replace(seen, stored=result.stored)
        name = seen.spec.name
        is_named = name in self.orders.named
        targets = {target.spec.name: target for target in seen.targets}
        for step in deploy_steps(current, self.now, self.world.policy, is_named=is_named):
            target = targets.pop(step.target or "")
            yield _Job(name, result.stored, target.spec), step.at
        for target in targets.values():
            if isinstance(target.seen, Unreachable):
                self.world.reporter.event(Level.WARNING, target.spec.name, target.seen.what)

    def _deploy_together(self, jobs: Sequence[_Job]) -> list[tuple[str, Deployed]]:
        """Deploys to targets of one program, which is reloaded once for all of them."""
        service = SharedService(len(jobs)) if len(jobs) > 1 else None
        tasks = [partial(self._deploy, job, service) for job in jobs]
        done = side_by_side(tasks, self.world.clock, len(jobs))  # for each waits for all others
        return [
            (job.certificate, result)
            for job, result in zip(jobs, done, strict=True)
            if result is not None
        ]

    def _deploy(self, job: _Job, service: SharedService | None) -> Deployed | None:
        put = partial(self._deploy_if_needed, job, service)
        try:
            return locked(self.world, job.target, put)
        finally:
            if service is not None:
                service.leave()

    def _deploy_if_needed(
        self, job: _Job, service: SharedService | None, target: TargetSpec
    ) -> Deployed | None:
        """Looks again, now that nobody else is at it; None where it has been done meanwhile."""
        world = self.world
        now = world.clock.now()
        stored = world.certificates.load(job.stored.name) or job.stored
        if deploy_reason(stored, observe_target(world, target), now) is None:
            return None
        reloader: Reloader = world.reloader(target.name)
        if service is not None:
            reloader = SharedReloader(reloader, service)
        return deploy(world, target, stored.pair, now, reloader)


def locked(
    world: Neighbours, target: TargetSpec, put: Callable[[TargetSpec], Deployed | None]
) -> Deployed | None:
    """What `put` did under the target's lock; an error on the way is a failed deploy."""
    try:
        with world.locks.target(target.name):
            return put(target)
    except Error as error:
        world.reporter.event(Level.ERROR, target.name, error.what, error.hint)
        return Deployed(target.name, DeployOutcome.FAILED, error)


def deploy_again(
    world: Neighbours, specs: Sequence[CertificateSpec]
) -> tuple[CertificateResult, ...]:
    """Installs, reloads and verifies at every target, needed or not.

    Before the first certificate a placeholder is published, so that programs can start; that is
    never a success, and it never takes the place of a valid certificate that is being served.
    """
    results = []
    for spec in specs:
        try:
            stored = world.certificates.load(spec.name)
        except Error as error:
            world.reporter.event(Level.ERROR, spec.name, error.what, error.hint)
            results.append(CertificateResult(spec.name, None, error=error))
            continue
        put = partial(_deploy_stored_or_placeholder, world, spec)
        done = [locked(world, target, put) for target in spec.targets]
        deployed = tuple(each for each in done if each is not None)
        results.append(CertificateResult(spec.name, stored, deployed=deployed))
    return tuple(results)


def _deploy_stored_or_placeholder(
    world: Neighbours, spec: CertificateSpec, target: TargetSpec
) -> Deployed:
    now = world.clock.now()
    reloader = world.reloader(target.name)
    stored = world.certificates.load(spec.name)
    if stored is not None:
        return deploy(world, target, stored.pair, now, reloader)
    seen = observe_target(world, target).seen
    if isinstance(seen, Served) and seen.certificate.is_valid_at(now):
        what = f"there is no certificate yet for {spec.name}, so what {target.name} serves stays"
    else:
        pair = build_placeholder(spec.domains, spec.key_type, now)
        result = deploy(world, target, pair, now, reloader)
        if result.outcome is DeployOutcome.FAILED:
            return result
        what = f"{target.name} has only a placeholder until there is a certificate for {spec.name}"
    error = TargetError(what, f"run `certwarden renew {spec.name}`")
    world.reporter.event(Level.WARNING, target.name, error.what, error.hint)
    return Deployed(target.name, DeployOutcome.FAILED, error)


def _clusters(observed: Sequence[Observed]) -> list[list[Observed]]:
    """Certificates in groups: those of a group have, one with the next, a program in common."""
    groups: list[tuple[set[object], list[Observed]]] = []
    for seen in observed:
        services = {_service(target.spec) for target in seen.targets}
        members = [seen]
        for group in [group for group in groups if group[0] & services]:
            groups.remove(group)
            services |= group[0]
            members = [*group[1], *members]
        groups.append((services, members))
    return [members for _, members in groups]


def _service(target: TargetSpec) -> object:
    """What is reloaded for the target: the same for all targets of one program."""
    if isinstance(target.reload, UnitReload | CommandReload):
        return target.reload
    return target.name


def _standing_error(seen: Observed, now: datetime) -> Error | None:
    """The permanent error that still keeps a certificate from being obtained, if there is one."""
    last = last_failure(seen)
    if last is None or last.cause is None or renewal(seen, now).at > now:
        return None
    return Error(last.what, last.hint, permanent=True)


def _version(seen: Observed) -> int:
    return seen.stored.version if seen.stored else 0
