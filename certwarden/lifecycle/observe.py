"""Gathers the facts that a plan is made from: configured, stored, installed, served, failed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from certwarden.errors import Error, as_error
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import (
    CertificateSpec,
    ClientTrust,
    DeployRecord,
    Observed,
    ObservedTarget,
    Seen,
    TargetSpec,
)
from certwarden.ports import Neighbours, Probe


def observe(
    world: Neighbours, specs: Sequence[CertificateSpec], *, is_probing: bool = True
) -> tuple[Observed, ...]:
    """What is found for each certificate; targets are looked at side by side, or not at all."""
    seen = _look_everywhere(world, specs) if is_probing else {}
    targets = [target for spec in specs for target in spec.targets]
    trust = trust_for(world, targets, world.clock.now())
    return tuple(replace(_observe_certificate(world, spec, seen), trust=trust) for spec in specs)


def trust_for(
    world: Neighbours, targets: Sequence[TargetSpec], now: datetime
) -> ClientTrust | None:
    """What they are to judge their clients by; None where none of them asks for certificates."""
    if not any(target.client_auth for target in targets):
        return None
    from certwarden.lifecycle.authority import client_trust  # a pass without a CA needs no lists

    return client_trust(world, now)


def observe_target(world: Neighbours, spec: TargetSpec) -> ObservedTarget:
    """What is found at one target, now."""
    probe = world.probe(spec.name)
    return _observe(world, spec, {spec.name: _look(probe)} if probe else {})


def _observe_certificate(
    world: Neighbours, spec: CertificateSpec, looks: Mapping[str, Seen | Error]
) -> Observed:
    """One certificate; that it cannot be read is a fact about it, and none about the others."""
    targets = tuple(_observe(world, target, looks) for target in spec.targets)
    seen = Observed(spec, None, None, targets)
    try:
        seen = replace(
            seen,
            failures=world.attempts.failures(spec.name),
            revocations=world.revocations.pending_revocations(spec.name),
            spent={
                directory: world.limits.spent(directory, spec.domains)
                for directory in (spec.directory_url, *spec.fallback_urls)
                if directory in world.policy.limited
            },
            setup=world.setup(spec.name),
        )
        stored = world.certificates.load(spec.name)
        draft = world.certificates.load_draft(spec.name)
        info = None
        if stored is not None:
            info = world.suggestions.renewal_info(stored.certificate.fingerprint)
    except Exception as exception:  # noqa: BLE001 - of whatever kind
        return replace(seen, trouble=as_error(exception))
    return replace(seen, stored=stored, draft=draft, info=info)


def _observe(
    world: Neighbours, spec: TargetSpec, looks: Mapping[str, Seen | Error]
) -> ObservedTarget:
    """One target; trouble with it is met again by the deploy that this asks for, which says so."""
    installed, trouble = None, None
    seen = looks.get(spec.name)
    if isinstance(seen, Error):
        seen, trouble = None, seen
    try:
        installed = world.shelf(spec.name).installed()
    except Exception as exception:  # noqa: BLE001 - a fact about this one, and none about the others
        trouble = as_error(exception)
    last_deploy: DeployRecord | None = None
    repeats: tuple[DeployRecord, ...] = ()
    try:
        last_deploy = world.deploys.last_deploy(spec.name)
        repeats = world.deploys.repeated_deploys(spec.name)
    except Exception as exception:  # noqa: BLE001 - the same
        trouble = trouble or as_error(exception)
    return ObservedTarget(spec, installed, seen, last_deploy, trouble, repeats)


def _look_everywhere(
    world: Neighbours, specs: Sequence[CertificateSpec]
) -> dict[str, Seen | Error]:
    probes = {
        target.name: probe
        for spec in specs
        for target in spec.targets
        if (probe := world.probe(target.name)) is not None
    }
    looks = side_by_side([partial(_look, probe) for probe in probes.values()], world.clock)
    return dict(zip(probes, looks, strict=True))


def _look(probe: Probe) -> Seen | Error:
    """What is seen; a look that fails although it must not is no look, and no fault of others."""
    try:
        return probe.look()
    except Exception as exception:  # noqa: BLE001 - of whatever kind
        return as_error(exception)
