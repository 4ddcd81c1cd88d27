"""One pass: observe, plan, act. Level-triggered: a pass after a kill just finds what is left to do.

Stored, installed and served are three states, each put right on its own; one certificate that
fails never holds up another.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from certwarden.errors import Error, TargetError
from certwarden.lifecycle.deploy import Deployed, deploy
from certwarden.lifecycle.observe import observe, observe_target
from certwarden.lifecycle.obtain import obtain, sweep
from certwarden.lifecycle.plan import deploy_reason, plan, renewal
from certwarden.lifecycle.revoke import finish_revocation
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


@dataclass(frozen=True)
class CertificateResult:
    """What a pass did for one certificate."""

    name: str
    stored: Stored | None
    is_new: bool = False
    error: Error | None = None
    deployed: tuple[Deployed, ...] = ()


@dataclass(frozen=True)
class PassResult:
    """What a pass did; `sweep_error` where TXT records of ours had to stay behind."""

    certificates: tuple[CertificateResult, ...]
    swept: int = 0
    sweep_error: Error | None = None
    leftovers: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nothing failed; a target where nobody answers is no failure."""
        return (
            self.sweep_error is None
            and not self.leftovers
            and all(each.error is None for each in self.certificates)
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
    results = []
    for seen in observed:
        stored, is_new, error = seen.stored, False, None
        if seen.spec.name in due:
            stored, is_new, error = _obtain_if_due(world, seen, now, force)
        deployed: tuple[Deployed, ...] = ()
        if stored is not None and is_deploying:
            deployed = _deploy_where_needed(world, seen, stored, now)
            error = finish_revocation(world, stored, deployed) or error
        results.append(CertificateResult(seen.spec.name, stored, is_new, error, deployed))
    is_ordering = bool(due)
    leftovers = len(world.journal.leftovers()) if is_ordering and sweep_error is None else 0
    return PassResult(tuple(results), swept, sweep_error, leftovers)


def deploy_again(world: Neighbours, specs: Sequence[CertificateSpec], now: datetime) -> PassResult:
    """Installs, reloads and verifies at every target, needed or not.

    Before the first certificate a placeholder is published, so that programs can start; that is
    never a success, and it never takes the place of a valid certificate that is being served.
    """
    results = []
    for spec in specs:
        stored = world.certificates.load(spec.name)
        deployed = []
        for target in spec.targets:
            with world.locks.target(target.name):
                if stored is not None:
                    deployed.append(deploy(world, target, stored.pair, now))
                else:
                    deployed.append(_deploy_placeholder(world, spec, target, now))
        results.append(CertificateResult(spec.name, stored, deployed=tuple(deployed)))
    return PassResult(tuple(results))


def _sweep(world: Neighbours) -> tuple[int, Error | None]:
    try:
        with world.locks.orders():
            swept = sweep(world)
    except Error as error:
        text = f"TXT records of an earlier pass could not be removed: {error.what}"
        world.reporter.event(Level.ERROR, "clean-up", text, error.hint)
        return 0, error
    if swept:
        plural = "s" if swept != 1 else ""
        text = f"{swept} TXT record{plural} of an earlier pass removed"
        world.reporter.event(Level.INFO, "clean-up", text)
    return swept, None


def _obtain_if_due(
    world: Neighbours, seen: Observed, now: datetime, force: Collection[str]
) -> tuple[Stored | None, bool, Error | None]:
    """Obtains under the lock on orders, after looking again whether nobody else has meanwhile."""
    name = seen.spec.name
    try:
        with world.locks.orders():
            (again,) = observe(world, (seen.spec,), is_probing=False)
            is_replaced = _version(again) != _version(seen)
            if is_replaced and renewal(again, now).at > now:
                return again.stored, False, None
            if name in force or renewal(again, now).at <= now:
                return obtain(world, seen.spec, now), True, None
            return again.stored, False, None
    except Error as error:
        world.reporter.event(Level.ERROR, name, error.what, error.hint)
        return seen.stored, False, error


def _version(seen: Observed) -> int:
    return seen.stored.version if seen.stored else 0


def _deploy_where_needed(
    world: Neighbours, seen: Observed, stored: Stored, now: datetime
) -> tuple[Deployed, ...]:
    deployed = []
    for target in seen.targets:
        name = target.spec.name
        if deploy_reason(stored, target, now) is None:
            if isinstance(target.seen, Unreachable):
                world.reporter.event(Level.WARNING, name, target.seen.what)
            continue
        try:
            with world.locks.target(name):
                if deploy_reason(stored, observe_target(world, target.spec), now) is not None:
                    deployed.append(deploy(world, target.spec, stored.pair, now))
        except Error as error:
            world.reporter.event(Level.ERROR, name, error.what, error.hint)
            deployed.append(Deployed(name, DeployOutcome.FAILED, error))
    return tuple(deployed)


def _deploy_placeholder(
    world: Neighbours, spec: CertificateSpec, target: TargetSpec, now: datetime
) -> Deployed:
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
