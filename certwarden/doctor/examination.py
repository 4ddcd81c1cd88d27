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
from certwarden.doctor.finding import Finding, as_typed, error
from certwarden.doctor.in_time import HANGS, in_time
from certwarden.doctor.patient import Look, Patient
from certwarden.errors import ConfigError, Error
from certwarden.lifecycle.side_by_side import side_by_side

SECONDS = 12.0  # for a whole check, whose single looks have shorter limits of their own

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
    unobserved = [] if patient.trouble is None else [_unobserved(patient.trouble)]
    return (*unobserved, *(finding for findings in found for finding in findings))


def misconfigured(mistakes: ConfigError) -> tuple[Finding, ...]:
    """What there is to say where the configuration cannot be read: each mistake in it."""
    found = []
    for mistake in mistakes.mistakes:
        what, _, todo = mistake.message.partition("; ")  # where it says what to do, it does so last
        what = f"{mistake.path}: {what}" if mistake.path else what
        todo = todo or "correct it, then look again with `sudo certwarden config check`"
        found.append(replace(error(mistakes.source, what, todo), check="configuration"))
    return tuple(found)


def _unobserved(trouble: Error) -> Finding:
    what = f"what is stored, installed and served could not be looked at: {trouble.what}"
    return replace(error("", what, trouble.hint), check="target-files")


def _carry_out(check: str, look: Look, patient: Patient) -> list[Finding]:
    """What it finds until it is through, fails, or its time is over: what hangs is left behind."""
    found: list[Finding] = []

    def carry_out() -> None:
        for finding in look(patient):
            found.append(finding)  # noqa: PERF402 - kept if the next fails

    cause = in_time(carry_out, SECONDS, HANGS)
    findings = list(found)
    if cause is not None:
        what = f"this could not be looked at: {cause.what}"
        findings.append(error("", what, cause.hint))
    return [replace(each, check=check, remedy=as_typed(each.remedy)) for each in findings]
