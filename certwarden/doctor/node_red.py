"""What Node-RED has loaded, and what its settings.js says."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.targets import pairs, unit_facts
from certwarden.errors import TargetError
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.lifecycle.status import TargetState, target_state
from certwarden.model import HotReload, ObservedTarget, TargetSpec, UnitReload

if TYPE_CHECKING:
    from certwarden.doctor.patient import Patient
    from certwarden.ports import Clock
    from certwarden.targets.node_red.advice import Advice
    from certwarden.targets.node_red.reports import Report
    from certwarden.targets.readers import UnitFacts

_NOTICED_WITHIN, _LOOK_AGAIN = 6.0, 0.5  # seconds; the module looks every 5
_NOT_RUNNING = (TargetState.UNREACHABLE, TargetState.PLACEHOLDER)


# ── the module ────────────────────────────────────────────────────────────────────────────────────


def modules(patient: "Patient") -> Iterator[Finding]:
    """Whether certwarden's module in Node-RED has loaded what is current."""
    clock = patient.warden.clock
    found = [
        (target, target_state(seen, target) not in _NOT_RUNNING)
        for seen, target in pairs(patient)
        if isinstance(target.spec.reload, HotReload)
    ]
    looks = [partial(_reports, target, clock, is_running=runs) for target, runs in found]
    for (target, runs), reports in zip(found, side_by_side(looks, clock), strict=True):
        if target.installed is not None:
            yield from judge_module(target, reports, is_running=runs)


def _reports(target: ObservedTarget, clock: "Clock", *, is_running: bool) -> "tuple[Report, ...]":
    """What is loaded; one that was published just now is given the time to be noticed."""
    from certwarden.targets.node_red.reports import LOADED, read_reports

    spec, current = target.spec, target.installed.number if target.installed else 0
    deadline = clock.monotonic() + _NOTICED_WITHIN
    while True:
        reports = read_reports(spec.directory / LOADED)
        is_behind = any(each.generation < f"{current:04d}" for each in reports)
        if not is_running or not is_behind or clock.monotonic() >= deadline:
            return reports
        clock.sleep(_LOOK_AGAIN)


def judge_module(
    target: ObservedTarget, reports: "Sequence[Report]", *, is_running: bool
) -> Iterator[Finding]:
    """What the modules say of themselves is advice: a flow could write it as well."""
    spec, name, installed = target.spec, target.spec.name, target.installed
    if not is_running:
        yield skipped(name, "nobody answers there, so that nothing is loaded")
        return
    if not reports or installed is None:
        yield error(
            name,
            "certwarden's module is not loaded in Node-RED: new certificates are not taken up",
            f"`certwarden nodered apply{'' if spec.settings else ' SETTINGS.JS'}` puts its line "
            "into settings.js; restart Node-RED once afterwards; or name its unit in `reload`",
        )
        return
    current = f"{installed.number:04d}"
    number = installed.trust.crl.number if installed.trust else None
    found = [each for report in reports for each in _faults(spec, report, current, number)]
    if len(reports) > 1:
        pids = ", ".join(str(each.pid) for each in reports)
        what = f"{len(reports)} processes have loaded it: {pids}"
        found.append(warning(name, what, "see which is Node-RED, and stop the other"))
    yield from found or [ok(name, f"generation {current} is loaded in process {reports[0].pid}")]


def _faults(
    spec: TargetSpec, report: "Report", current: str, crl_number: int | None
) -> Iterator[Finding]:
    who = f"process {report.pid}"
    restart = "see Node-RED's log; then restart it"
    if report.error:
        what = f"certwarden's module in {who} cannot use what is installed: {report.error}"
        yield error(spec.name, what, f"sudo certwarden deploy {spec.certificate}")
    elif report.servers < 1:
        what = f"certwarden's module in {who} has found no server that uses its options"
        yield warning(
            spec.name, what, "hand what the module returns to `https` as it is, and restart it"
        )
    elif report.generation != current:
        loaded = report.generation or "none"
        what = f"{who} has loaded generation {loaded}, and {current} is current"
        yield error(spec.name, what, restart)
    elif spec.client_auth and report.client_auth is False:
        what = f"certwarden's module in {who} asks nobody for a certificate"
        todo = "write `clientAuth: true` in settings.js, and restart Node-RED"
        yield error(spec.name, what, todo)
    elif spec.client_auth and crl_number is not None and report.crl_number != crl_number:
        what = f"{who} has loaded list {report.crl_number}, and {crl_number} is current"
        yield error(spec.name, what, restart)


# ── settings.js ───────────────────────────────────────────────────────────────────────────────────


def settings(patient: "Patient") -> Iterator[Finding]:
    """What is to be said of settings.js, which is run as its owner to find out."""
    specs = [target.spec for _, target in pairs(patient) if target.spec.settings is not None]
    told = unit_facts(patient) if specs else {}
    units = {} if isinstance(told, TargetError) else told
    looks = [partial(_advice, spec, units) for spec in specs]
    for spec, found in zip(specs, side_by_side(looks, patient.warden.clock), strict=True):
        if isinstance(found, TargetError):
            yield skipped(str(spec.settings), found.what, found.hint)
        else:
            yield from judge_advice(spec, found)


def judge_advice(spec: TargetSpec, found: "Sequence[Advice]") -> Iterator[Finding]:
    """What is grave is an error."""
    file = str(spec.settings)
    for each in found:
        yield (error if each.is_grave else warning)(file, each.what, each.remedy)
    if not found:
        yield ok(file, f"it is as it should be for {spec.name}")


def _advice(
    spec: TargetSpec, units: "Mapping[str, UnitFacts]"
) -> "tuple[Advice, ...] | TargetError":
    """What there is to say, or why settings.js cannot be run by us."""
    from certwarden.targets.node_red.advice import advice
    from certwarden.targets.node_red.settings import inspect

    assert spec.settings is not None  # noqa: S101  # whoever calls has looked
    unit = units.get(spec.reload.unit) if isinstance(spec.reload, UnitReload) else None
    try:
        return advice(inspect(spec.settings, user=(unit and unit.user) or None), spec)
    except TargetError as failure:
        return failure


CHECKS = {
    "node-red-module": modules,
    "node-red-settings": settings,
}
