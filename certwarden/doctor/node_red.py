"""What Node-RED has loaded, and what its settings.js says."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.targets import pairs
from certwarden.errors import TargetError
from certwarden.lifecycle.status import TargetState, target_state
from certwarden.model import HotReload, ObservedTarget, TargetSpec, UnitReload

if TYPE_CHECKING:
    from certwarden.doctor.patient import Patient
    from certwarden.ports import Clock
    from certwarden.targets.node_red.advice import Advice
    from certwarden.targets.node_red.reports import Report

_NOTICED_WITHIN, _LOOK_AGAIN = 6.0, 0.5  # seconds; the module looks every 5
_NOT_RUNNING = (TargetState.UNREACHABLE, TargetState.PLACEHOLDER)


# ── the module ────────────────────────────────────────────────────────────────────────────────────


def modules(patient: "Patient") -> Iterator[Finding]:
    """Whether certwarden's module in Node-RED has loaded what is current."""
    for seen, target in pairs(patient):
        if isinstance(target.spec.reload, HotReload) and target.installed is not None:
            reports = _reports(target.spec, target.installed.number, patient.warden.clock)
            state = target_state(seen, target)
            yield from judge_module(target, reports, is_running=state not in _NOT_RUNNING)


def _reports(spec: TargetSpec, current: int, clock: "Clock") -> "tuple[Report, ...]":
    """What is loaded; one that was published just now is given the time to be noticed."""
    from certwarden.targets.node_red.reports import LOADED, read_reports

    deadline = clock.monotonic() + _NOTICED_WITHIN
    while True:
        reports = read_reports(spec.directory / LOADED)
        is_behind = any(each.generation < f"{current:04d}" for each in reports if each.is_alive)
        if not is_behind or clock.monotonic() >= deadline:
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
            f"put the lines of `certwarden snippet node-red {name}` into settings.js and restart "
            "Node-RED; or name its unit in `reload`",
        )
        return
    living = [each for each in reports if each.is_alive]
    current = f"{installed.number:04d}"
    number = installed.trust.crl.number if installed.trust else None
    found = [
        each for report in living or reports for each in _faults(spec, report, current, number)
    ]
    if len(living) > 1:
        pids = ", ".join(str(each.pid) for each in living)
        what = f"{len(living)} processes have loaded it: {pids}"
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
    for _, target in pairs(patient):
        if target.spec.settings is not None:
            try:
                found = _advice(target.spec)
            except TargetError as failure:
                yield skipped(str(target.spec.settings), failure.what, failure.hint)
                continue
            yield from judge_advice(target.spec, found)


def judge_advice(spec: TargetSpec, found: "Sequence[Advice]") -> Iterator[Finding]:
    """What is grave is an error."""
    file = str(spec.settings)
    for each in found:
        yield (error if each.is_grave else warning)(file, each.what, each.remedy)
    if not found:
        yield ok(file, f"it is as it should be for {spec.name}")


def _advice(spec: TargetSpec) -> "tuple[Advice, ...]":
    """Raises TargetError where settings.js cannot be run by us."""
    from certwarden.targets.node_red.advice import advice
    from certwarden.targets.node_red.settings import inspect

    assert spec.settings is not None  # noqa: S101  # whoever calls has looked
    return advice(inspect(spec.settings, user=_user(spec)), spec)


def _user(spec: TargetSpec) -> str | None:
    """Whom systemd starts Node-RED as; None where it does not say."""
    from certwarden.targets.readers import ask_unit

    if not isinstance(spec.reload, UnitReload):
        return None
    try:
        return ask_unit(spec.reload.unit).user or None
    except TargetError:
        return None


CHECKS = {
    "node-red-module": modules,
    "node-red-settings": settings,
}
