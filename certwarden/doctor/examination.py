"""All the checks, and how they are carried out: side by side, each unable to spoil the others."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from certwarden.doctor import (
    authority,
    caa,
    clients,
    clock,
    configuration,
    directory,
    fittings,
    hairpin,
    host_names,
    machine,
    node_red,
    resolution,
    service,
    targets,
    token,
    zone,
)
from certwarden.doctor.finding import Finding, error
from certwarden.doctor.patient import Look, Patient
from certwarden.errors import ConfigError, as_error
from certwarden.lifecycle.side_by_side import side_by_side

_MODULES = (
    *(configuration, machine, clock),
    *(token, zone, caa, resolution, directory),
    *(targets, node_red, clients, authority),
    *(host_names, hairpin, service, fittings),
)


def checks() -> Mapping[str, Look]:
    """Every check by its id, in the order in which a person reads them."""
    return {check: look for module in _MODULES for check, look in module.CHECKS.items()}


def examine(patient: Patient, chosen: Mapping[str, Look] | None = None) -> tuple[Finding, ...]:
    """Every finding of the checks (of all, unless some are chosen), in their order.

    A check that fails is a finding itself: nothing is raised.
    """
    looks = [
        partial(_carry_out, check, look, patient)
        for check, look in (checks() if chosen is None else chosen).items()
    ]
    found = side_by_side(looks, patient.warden.clock)
    return tuple(finding for findings in found for finding in findings)


def misconfigured(mistakes: ConfigError) -> tuple[Finding, ...]:
    """What there is to say where the configuration cannot be read: each mistake in it."""
    return tuple(
        replace(
            error(
                mistakes.source,
                f"{mistake.path}: {mistake.message}" if mistake.path else mistake.message,
                "correct it, then look again with `certwarden config check`",
            ),
            check="configuration",
        )
        for mistake in mistakes.mistakes
    )


def _carry_out(check: str, look: Look, patient: Patient) -> list[Finding]:
    findings: list[Finding] = []
    try:
        for finding in look(patient):
            findings.append(replace(finding, check=check))  # noqa: PERF401 - kept if the next fails
    except Exception as failure:  # noqa: BLE001 - one check must not take the others with it
        cause = as_error(failure)
        what = f"this could not be looked at: {cause.what}"
        findings.append(replace(error("", what, cause.hint), check=check))
    return findings
