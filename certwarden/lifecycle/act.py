"""The acting part of a pass: certificates are worked on side by side, and put to use.

Only certificates whose targets share a program wait for each other, before it is reloaded once.
Everything is looked at again under its lock, for somebody else may have done it meanwhile.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial

from certwarden.errors import ClockError, Error, TargetError
from certwarden.lifecycle.causes import still_there
from certwarden.lifecycle.deploy import Deployed, deploy
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.observe import observe, observe_target, trust_for
from certwarden.lifecycle.obtain import Desk, Obtained, obtain
from certwarden.lifecycle.plan import deploy_reason, deploy_steps
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import Try, last_failure, look_in_vain, next_try
from certwarden.lifecycle.revoke import finish_revocations
from certwarden.lifecycle.rollout import Job, roll_out, service_of, told
from certwarden.lifecycle.side_by_side import OrderTurn, side_by_side
from certwarden.model import (
    Attempt,
    CertificateSpec,
    DeployOutcome,
    Observed,
    Served,
    Stored,
    TargetSpec,
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
class Actor:
    """Carries out what a pass needs.

    Never raises Error; what was not foreseen becomes an error of the certificate that it befell.
    """

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
        results = side_by_side([partial(self._obtain, seen) for seen in cluster], self.world.clock)
        if not self.is_deploying:
            return results
        jobs: list[Job] = []
        waiting = set()
        for place, seen in enumerate(cluster):
            try:
                for job, at in self._jobs(seen, results[place]):
                    if at > self.now:
                        waiting.add(seen.spec.name)
                    else:
                        jobs.append(job)
            except Exception as exception:  # noqa: BLE001 - its neighbours' deploys go on
                waiting.add(seen.spec.name)
                error = told(self.world, seen.spec.name, exception)
                results[place] = replace(results[place], error=error)
        done = roll_out(self.world, jobs)
        for place, (seen, result) in enumerate(zip(cluster, results, strict=True)):
            deployed = _deployed(seen.spec, done)
            failure = result.error
            if result.stored is not None and result.name not in waiting:
                failure = self._finish_revocations(result.stored, deployed) or failure
            results[place] = replace(result, deployed=deployed, error=failure)
        return results

    def _finish_revocations(self, stored: Stored, deployed: Sequence[Deployed]) -> Error | None:
        try:
            return finish_revocations(
                self.world,
                stored,
                deployed,
                self.now,
                is_clock_trusted=self.orders.refusal is None,
                is_named=stored.name in self.orders.named,
            )
        except Exception as exception:  # noqa: BLE001 - the next pass finishes them
            return told(self.world, stored.name, exception)

    # ── obtaining ─────────────────────────────────────────────────────────────────────────────────

    def _obtain(self, seen: Observed) -> CertificateResult:
        name = seen.spec.name
        try:
            is_due = seen.trouble is None and name in self.orders.due
            if is_due and self.orders.refusal is None:
                return self._obtain_if_due(seen)
            if is_due:
                # Told once for all of them, by whoever judged the clock.
                return CertificateResult(name, seen.stored, error=self.orders.refusal)
            error = seen.trouble or self._held(seen) or _standing_error(seen, self.now)
            if error is not None:
                self.world.reporter.event(Level.ERROR, name, error.what, error.hint)
        except Exception as exception:  # noqa: BLE001 - its neighbours are obtained all the same
            error = told(self.world, name, exception)
        return CertificateResult(name, seen.stored, error=error)

    def _obtain_if_due(self, seen: Observed) -> CertificateResult:
        """Obtains under the lock on orders, after looking again whether nobody else has."""
        world, name = self.world, seen.spec.name
        stored = seen.stored
        try:
            with self._turn.hold():
                now = world.clock.now()  # the wait for the lock may have been long
                (again,) = observe(world, (seen.spec,), is_probing=False)
                stored = again.stored or stored
                obtained = self._obtain_unless_done(seen, again, now)
        except Exception as exception:  # noqa: BLE001 - what was found is put to use all the same
            return CertificateResult(name, stored, error=told(world, name, exception))
        if obtained is None:
            return CertificateResult(name, stored)
        return CertificateResult(name, obtained.stored, is_new=True, litter=obtained.litter)

    def _obtain_unless_done(
        self, seen: Observed, again: Observed, now: datetime
    ) -> Obtained | None:
        """Obtains, or not: None where another has been quicker; raises Error."""
        if again.trouble is not None:
            raise again.trouble
        wanted = self._wanted(seen, again, now)
        if wanted is None:
            return None
        if wanted.look_at and (error := self._look(again, wanted.look_at, now)):
            raise error
        return obtain(self._desk, again, wanted, now)

    def _held(self, seen: Observed) -> Error | None:
        """Why what a person has asked for by name is not even tried: neither may wait for that."""
        name = seen.spec.name
        if name not in self.orders.named:
            return None
        if renewal(seen, self.now).at > self.now and name not in self.orders.force:
            return None
        following = next_try(seen, self.world.policy, self.now, is_named=True)
        if following.at <= self.now:
            return None
        what = f"it is not tried before {following.at:%Y-%m-%d %H:%M:%S} UTC: {following.text}"
        return Error(what, "run it again then; the CA counts every try")

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
            # A look that told nothing, for want of an answer, is not the day's look.
            at = now if error.permanent else look_in_vain(seen, now)
            self.world.attempts.note_look(failure.id, at)
        return error

    # ── putting to use ────────────────────────────────────────────────────────────────────────────

    def _jobs(self, seen: Observed, result: CertificateResult) -> Iterator[tuple[Job, datetime]]:
        """Which deploys the certificate needs, and when they may be made."""
        if result.stored is None or seen.trouble is not None:
            return
        current = replace(seen, stored=result.stored)
        name = seen.spec.name
        is_named = name in self.orders.named
        targets = {target.spec.name: target for target in seen.targets}
        for step in deploy_steps(current, self.now, self.world.policy, is_named=is_named):
            target = targets.pop(step.target or "")
            put = partial(self.deploy_if_needed, result.stored, target.spec)
            yield Job(target.spec, put), step.at
        for target in targets.values():
            if isinstance(target.seen, Unreachable):
                self.world.reporter.event(Level.WARNING, target.spec.name, target.seen.what)

    def deploy_if_needed(
        self, stored: Stored, target: TargetSpec, reloader: Reloader, *, is_needed: bool = False
    ) -> Deployed | None:
        """Looks again, now that nobody else is at it; None where it is not needed.

        `is_needed`: whoever calls has seen for himself that it is.
        """
        world = self.world
        now = world.clock.now()
        stored = world.certificates.load(stored.name) or stored
        trust = trust_for(world, [target], now)
        seen = observe_target(world, target)
        if not is_needed and deploy_reason(stored, seen, now, trust) is None:
            return None
        return deploy(world, target, stored.pair, now, reloader, trust=trust)


def put_lists_in_place(
    world: Neighbours,
    specs: Sequence[CertificateSpec],
    *,
    told_again: Collection[str] | None = None,
) -> tuple[Deployed, ...]:
    """Puts the published list in place where clients are asked for certificates; no Error raised.

    What a target lacks beside that is put there by the way; one without a certificate waits for it.
    With `told_again` it is about these targets alone, whose programs are told whatever is in place.
    """
    now = world.clock.now()
    actor = Actor(world, Orders(), now)
    is_needed = told_again is not None
    jobs = []
    for spec in specs:
        try:
            stored = world.certificates.load(spec.name)
        except Exception as exception:  # noqa: BLE001 - the others' lists are put in place
            told(world, spec.name, exception)
            continue
        jobs += [
            Job(target, partial(actor.deploy_if_needed, stored, target, is_needed=is_needed))
            for target in spec.targets
            if target.client_auth
            and stored is not None
            and (told_again is None or target.name in told_again)
        ]
    return tuple(roll_out(world, jobs).values())


def deploy_again(
    world: Neighbours, specs: Sequence[CertificateSpec]
) -> tuple[CertificateResult, ...]:
    """Installs, reloads and verifies at every target, needed or not; never raises Error.

    Before the first certificate a placeholder is published, so that programs can start; that is
    never a success, and it never takes the place of a valid certificate that is being served. With
    a clock that is not trusted none is signed.
    """
    results = []
    jobs: list[Job] = []
    refusal = cache(partial(ClockJudge(world).refusal, world.clock.now()))
    _tell_of_no_list(world, [target for spec in specs for target in spec.targets])
    for spec in specs:
        try:
            stored = world.certificates.load(spec.name)
        except Exception as exception:  # noqa: BLE001 - the others are deployed all the same
            error = told(world, spec.name, exception)
            results.append(CertificateResult(spec.name, None, error=error))
            continue
        results.append(CertificateResult(spec.name, stored))
        refused = refusal() if stored is None else None
        jobs += [
            Job(target, partial(_deploy_stored_or_placeholder, world, spec, target, refused))
            for target in spec.targets
        ]
    done = roll_out(world, jobs)
    return tuple(
        replace(result, deployed=_deployed(spec, done))
        for spec, result in zip(specs, results, strict=True)
    )


def _tell_of_no_list(world: Neighbours, targets: Sequence[TargetSpec]) -> None:
    """That what is installed stays, where there is no sound list to be put in place."""
    names = [target.name for target in targets if target.client_auth]
    if names and trust_for(world, targets, world.clock.now()) is None:
        text = f"there is no revocation list that is good now, so {', '.join(names)} keep theirs"
        world.reporter.event(Level.WARNING, "client CA", text, "see `certwarden ca show`")


def _deploy_stored_or_placeholder(
    world: Neighbours,
    spec: CertificateSpec,
    target: TargetSpec,
    refused: ClockError | None,
    reloader: Reloader,
) -> Deployed:
    now = world.clock.now()
    stored = world.certificates.load(spec.name)
    trust = trust_for(world, [target], now)
    if stored is not None:
        return deploy(world, target, stored.pair, now, reloader, trust=trust)
    seen = observe_target(world, target).seen
    if isinstance(seen, Served) and seen.certificate.is_valid_at(now):
        what = f"there is no certificate yet for {spec.name}, so what {target.name} serves stays"
    elif refused is not None:
        return Deployed(target.name, DeployOutcome.FAILED, refused)
    else:
        pair = build_placeholder(spec.domains, spec.key_type, now)
        result = deploy(world, target, pair, now, reloader, trust=trust)
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
        services = {service_of(target.spec) for target in seen.targets}
        members = [seen]
        for group in [group for group in groups if group[0] & services]:
            groups.remove(group)
            services |= group[0]
            members = [*group[1], *members]
        groups.append((services, members))
    return [members for _, members in groups]


def _deployed(spec: CertificateSpec, done: Mapping[str, Deployed]) -> tuple[Deployed, ...]:
    return tuple(done[target.name] for target in spec.targets if target.name in done)


def _standing_error(seen: Observed, now: datetime) -> Error | None:
    """The permanent error that still keeps a certificate from being obtained, if there is one."""
    last = last_failure(seen)
    if last is None or last.cause is None or renewal(seen, now).at > now:
        return None
    return Error(last.what, last.hint, permanent=True)


def _version(seen: Observed) -> int:
    return seen.stored.version if seen.stored else 0
