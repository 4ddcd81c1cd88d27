"""One pass: observe, plan, act. Level-triggered: a pass after a kill just finds what is left to do.

Stored, installed and served are three states, each put right on its own; one certificate that
fails never holds up another.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from certwarden.errors import Busy, Error, TargetError
from certwarden.lifecycle.deploy import Deployed, deploy
from certwarden.lifecycle.observe import observe, observe_target
from certwarden.lifecycle.obtain import obtain, sweep
from certwarden.lifecycle.plan import deploy_reason, plan, renewal
from certwarden.lifecycle.revoke import finish_revocations
from certwarden.model import (
    CertificateSpec,
    DeployOutcome,
    Observed,
    Served,
    StepKind,
    Stored,
    TargetSpec,
    Unreachable,
)
from certwarden.pki.certificate import build_placeholder
from certwarden.ports import Level, Neighbours

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CertificateResult:
    """What a pass did for one certificate."""

    name: str
    stored: Stored | None
    is_new: bool = False
    error: Error | None = None
    litter: Error | None = None  # why TXT records of its order are left, if they are
    deployed: tuple[Deployed, ...] = ()


@dataclass(frozen=True)
class PassResult:
    """What a pass did; `sweep_error` where TXT records of an earlier one had to stay behind."""

    certificates: tuple[CertificateResult, ...]
    swept: int = 0
    sweep_error: Error | None = None

    @property
    def is_good(self) -> bool:
        """Whether nothing failed; a target where nobody answers is no failure."""
        return (
            self.sweep_error is None
            and all(each.error is None and each.litter is None for each in self.certificates)
            and not any(
                deployed.outcome is DeployOutcome.FAILED
                for each in self.certificates
                for deployed in each.deployed
            )
        )


def reconcile(
    world: Neighbours,
    specs: Sequence[CertificateSpec],
    now: datetime,
    *,
    force: Collection[str] = (),
    is_deploying: bool = True,
) -> PassResult:
    """One pass over the certificates: whatever is due at `now` is done, and told."""
    observed = observe(world, specs, is_probing=is_deploying)
    steps = plan(observed, len(world.journal.leftovers()), now, force)
    swept, sweep_error = 0, None
    if any(step.kind is StepKind.SWEEP for step in steps):
        swept, sweep_error = _sweep(world)
    due = {step.certificate for step in steps if step.kind is StepKind.OBTAIN}
    results = tuple(
        _act(world, seen, now, force, is_due=seen.spec.name in due, is_deploying=is_deploying)
        for seen in observed
    )
    return PassResult(results, swept, sweep_error)


def deploy_again(world: Neighbours, specs: Sequence[CertificateSpec]) -> PassResult:
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
        deployed = tuple(_locked(world, target, put) for target in spec.targets)
        results.append(CertificateResult(spec.name, stored, deployed=deployed))
    return PassResult(tuple(results))


def _act(
    world: Neighbours,
    seen: Observed,
    now: datetime,
    force: Collection[str],
    *,
    is_due: bool,
    is_deploying: bool,
) -> CertificateResult:
    """Whatever one certificate needs."""
    name = seen.spec.name
    if seen.trouble is not None:
        world.reporter.event(Level.ERROR, name, seen.trouble.what, seen.trouble.hint)
        return CertificateResult(name, None, error=seen.trouble)
    result = CertificateResult(name, seen.stored)
    if is_due:
        result = _obtain_if_due(world, seen, force)
    if result.stored is not None and is_deploying:
        deployed = _deploy_where_needed(world, seen, result.stored, now)
        error = finish_revocations(world, result.stored, deployed, now) or result.error
        result = replace(result, deployed=deployed, error=error)
    return result


def _sweep(world: Neighbours) -> tuple[int, Error | None]:
    try:
        with world.locks.orders():
            swept = sweep(world)
    except Busy:
        return 0, None  # whoever holds it may be at the very order whose records these are
    except Error as error:
        text = f"TXT records of an earlier pass could not be removed: {error.what}"
        world.reporter.event(Level.ERROR, "clean-up", text, error.hint)
        return 0, error
    if swept:
        plural = "s" if swept != 1 else ""
        text = f"{swept} TXT record{plural} of an earlier pass removed"
        world.reporter.event(Level.INFO, "clean-up", text)
    return swept, None


def _obtain_if_due(world: Neighbours, seen: Observed, force: Collection[str]) -> CertificateResult:
    """Obtains under the lock on orders, after looking again whether nobody else has meanwhile."""
    name = seen.spec.name
    stored = seen.stored
    try:
        with world.locks.orders():
            now = world.clock.now()  # the wait for the lock may have been long
            (again,) = observe(world, (seen.spec,), is_probing=False)
            if again.trouble is not None:
                raise again.trouble
            stored = again.stored
            is_due = renewal(again, now).at <= now
            if not is_due and (_version(again) != _version(seen) or name not in force):
                return CertificateResult(name, stored)
            obtained = obtain(world, seen.spec, now)
    except Error as error:
        world.reporter.event(Level.ERROR, name, error.what, error.hint)
        return CertificateResult(name, stored, error=error)
    return CertificateResult(name, obtained.stored, is_new=True, litter=obtained.litter)


def _version(seen: Observed) -> int:
    return seen.stored.version if seen.stored else 0


def _deploy_where_needed(
    world: Neighbours, seen: Observed, stored: Stored, now: datetime
) -> tuple[Deployed, ...]:
    put = partial(_deploy_if_needed, world, stored)
    deployed = []
    for target in seen.targets:
        if deploy_reason(stored, target, now) is not None:
            if (result := _locked(world, target.spec, put)) is not None:
                deployed.append(result)
        elif isinstance(target.seen, Unreachable):
            world.reporter.event(Level.WARNING, target.spec.name, target.seen.what)
    return tuple(deployed)


def _locked(
    world: Neighbours, target: TargetSpec, put: Callable[[TargetSpec], _Result]
) -> _Result | Deployed:
    """What `put` did under the target's lock; an error on the way is a failed deploy."""
    try:
        with world.locks.target(target.name):
            return put(target)
    except Error as error:
        world.reporter.event(Level.ERROR, target.name, error.what, error.hint)
        return Deployed(target.name, DeployOutcome.FAILED, error)


def _deploy_if_needed(world: Neighbours, stored: Stored, target: TargetSpec) -> Deployed | None:
    """Looks again, now that nobody else is at it; None where it has been done meanwhile."""
    now = world.clock.now()
    stored = world.certificates.load(stored.name) or stored
    if deploy_reason(stored, observe_target(world, target), now) is None:
        return None
    return deploy(world, target, stored.pair, now)


def _deploy_stored_or_placeholder(
    world: Neighbours, spec: CertificateSpec, target: TargetSpec
) -> Deployed:
    now = world.clock.now()
    stored = world.certificates.load(spec.name)
    if stored is not None:
        return deploy(world, target, stored.pair, now)
    seen = observe_target(world, target).seen
    if isinstance(seen, Served) and seen.certificate.is_valid_at(now):
        what = f"there is no certificate yet for {spec.name}, so what {target.name} serves stays"
    else:
        pair = build_placeholder(spec.domains, spec.key_type, now)
        result = deploy(world, target, pair, now)
        if result.outcome is DeployOutcome.FAILED:
            return result
        what = f"{target.name} has only a placeholder until there is a certificate for {spec.name}"
    error = TargetError(what, f"run `certwarden renew {spec.name}`")
    world.reporter.event(Level.WARNING, target.name, error.what, error.hint)
    return Deployed(target.name, DeployOutcome.FAILED, error)
