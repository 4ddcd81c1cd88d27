"""Gathers the facts that a plan is made from: configured, stored, installed, served, failed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from certwarden.errors import Error, TargetError
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import CertificateSpec, Observed, ObservedTarget, Seen, TargetSpec
from certwarden.ports import Neighbours


def observe(
    world: Neighbours, specs: Sequence[CertificateSpec], *, is_probing: bool = True
) -> tuple[Observed, ...]:
    """What is found for each certificate; targets are looked at side by side, or not at all."""
    seen = _look_everywhere(world, specs) if is_probing else {}
    return tuple(_observe_certificate(world, spec, seen) for spec in specs)


def observe_target(world: Neighbours, spec: TargetSpec) -> ObservedTarget:
    """What is found at one target, now."""
    probe = world.probe(spec.name)
    return _observe(world, spec, {spec.name: probe.look()} if probe else {})


def _observe_certificate(
    world: Neighbours, spec: CertificateSpec, looks: Mapping[str, Seen]
) -> Observed:
    """One certificate; that it cannot be read is a fact about it, and none about the others."""
    targets = tuple(_observe(world, target, looks) for target in spec.targets)
    seen = Observed(
        spec,
        None,
        None,
        targets,
        world.attempts.failures(spec.name),
        world.revocations.pending_revocations(spec.name),
        spent={
            directory: world.limits.spent(directory, spec.domains)
            for directory in (spec.directory_url, *spec.fallback_urls)
            if directory in world.policy.limited
        },
        setup=world.setup(spec.name),
    )
    try:
        stored = world.certificates.load(spec.name)
        draft = world.certificates.load_draft(spec.name)
    except Error as error:
        return replace(seen, trouble=error)
    info = None
    if stored is not None:
        info = world.suggestions.renewal_info(stored.certificate.fingerprint)
    return replace(seen, stored=stored, draft=draft, info=info)


def _observe(world: Neighbours, spec: TargetSpec, seen: Mapping[str, Seen]) -> ObservedTarget:
    installed, trouble = None, None
    try:
        installed = world.shelf(spec.name).installed()
    except TargetError as error:  # the deploy that this asks for meets the same, and says so
        trouble = error
    last_deploy = world.deploys.last_deploy(spec.name)
    failures = world.deploys.deploy_failures(spec.name)
    return ObservedTarget(spec, installed, seen.get(spec.name), last_deploy, trouble, failures)


def _look_everywhere(world: Neighbours, specs: Sequence[CertificateSpec]) -> dict[str, Seen]:
    probes = {
        target.name: probe
        for spec in specs
        for target in spec.targets
        if (probe := world.probe(target.name)) is not None
    }
    looks = side_by_side([probe.look for probe in probes.values()], world.clock, len(probes))
    return dict(zip(probes, looks, strict=True))
