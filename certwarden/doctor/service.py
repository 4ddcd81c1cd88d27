"""The service: is it there, does it run and keep running, and does it work?

Owns the judgement of what systemd tells of the units, and of the traces that passes leave.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from certwarden.doctor.finding import Finding, error, minute, ok, skipped, warning
from certwarden.doctor.patient import Look, Patient
from certwarden.errors import StoreError
from certwarden.targets.units import Properties, is_booted, show

SERVICE, TIMER, PASS = "certwarden.service", "certwarden-renew.timer", "certwarden-renew.service"
NO_SYSTEMD = "there is no systemd here"

RESTARTS = 3  # within
RECENT = timedelta(hours=1)
# A pass looks at the token once a day, whatever else there is to do.
DAILY = timedelta(days=1)
MARGIN = timedelta(hours=4)
_EVENTS = 50  # of the history, to see since when there have been passes

_PROPERTIES = (
    *("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "ExecMainStatus"),
    *("NRestarts", "ActiveEnterTimestampMonotonic", "StatusText", "NeedDaemonReload"),
)
_ENABLED = frozenset({"enabled", "static", "alias", "generated"})


# ── does it run ───────────────────────────────────────────────────────────────────────────────────


def look_at_service(patient: Patient) -> Iterator[Finding]:
    """One of both, the daemon or the timer, must be enabled and at work."""
    holder = daemon_at_work(patient.config.state_directory)
    if not is_booted():
        if holder:
            yield ok("", f"the daemon is at work ({holder})")
        else:
            yield skipped("", f"{NO_SYSTEMD}, and no daemon at work: something must run passes")
        return
    units = show((SERVICE, TIMER, PASS), _PROPERTIES)
    try:
        traces = _traces(patient)
    except StoreError:  # told by the check of the passes
        traces = []
    lately = last_of_many(traces, patient.now, patient.config.daemon.check_every)
    yield from judge_units(units, holder, timedelta(seconds=time.monotonic()), lately)


def judge_units(
    units: Mapping[str, Properties],
    holder: str,
    monotonic: timedelta,
    lately: datetime | None = None,
) -> Iterator[Finding]:
    """`holder` is the daemon that has the state directory, or ""; `monotonic` is now.

    `lately` is when the last pass was, where passes seem to be made by somebody else.
    """
    service, timer = units.get(SERVICE, {}), units.get(TIMER, {})
    running = [name for name in (SERVICE, TIMER) if _is_active(units.get(name, {}))]
    needed = {PASS} if TIMER in running else set()
    if not running and not holder:
        needed = {SERVICE, TIMER, PASS}
    unusable = [
        name
        for name, unit in units.items()
        if _is_unusable(unit) and (name in needed or not _is_masked(unit))
    ]
    for name in unusable:
        yield error(
            name,
            f"systemd cannot use it ({units[name]['LoadState']})",
            f"see `systemctl status {name}`; `sudo certwarden setup` installs it again",
        )
    wanted = [name for name in (SERVICE, TIMER) if _is_enabled(units.get(name, {}))]
    if len(wanted) > 1:
        yield warning(
            "",
            f"{SERVICE} and {TIMER} are both enabled, and each stops the other when it starts",
            f"`sudo systemctl disable --now {TIMER}`",
        )
    if not unusable and not wanted and not running:
        yield _judge_absence(holder, lately, is_installed=is_there(service) or is_there(timer))
        return
    for name in dict.fromkeys((*wanted, *running)):
        if name not in unusable and (name in running or not running):
            yield from _judge_state(name, units[name], monotonic, is_enabled=name in wanted)
    if TIMER in running:
        yield from _judge_last_pass(units.get(PASS, {}))


def _judge_absence(holder: str, lately: datetime | None, *, is_installed: bool) -> Finding:
    if holder:
        return ok("", f"the daemon is at work, though not as {SERVICE} ({holder})")
    if is_installed:
        what = f"nothing renews certificates: neither {SERVICE} nor {TIMER} is enabled"
        return error("", what, f"`sudo systemctl enable --now {SERVICE}`")
    if lately is not None:
        return skipped(
            "",
            f"certwarden is not installed as a service; somebody has made a pass on "
            f"{minute(lately)}",
            "where that was no program, such as cron: `sudo certwarden setup`",
        )
    return warning(
        "",
        "nothing renews certificates by itself: certwarden is not installed as a service",
        "`sudo certwarden setup`",
    )


def _judge_state(
    name: str, unit: Properties, monotonic: timedelta, *, is_enabled: bool
) -> Iterator[Finding]:
    """A unit that is wanted or runs."""
    log = f"see `sudo journalctl -u {name} -n 50`"
    again = f"`sudo systemctl reset-failed {name} && sudo systemctl restart {name}`"
    state, restarts = unit.get("ActiveState", ""), number(unit.get("NRestarts", ""))
    if state == "failed":
        how = _ended(unit)
        yield error(name, f"it has failed: {how}", f"{log}, put that right, then {again}")
    elif state == "activating" and unit.get("SubState", "").startswith("auto-restart"):
        what = f"it fails again and again ({restarts} restarts): {_ended(unit)}"
        yield error(name, what, f"{log}, put that right, then {again}")
    elif state == "activating":
        yield ok(name, "it is being started")
    elif not _is_active(unit):
        yield error(name, "it is enabled, but does not run", f"`sudo systemctl start {name}`")
    elif not is_enabled:
        yield warning(
            name,
            "it runs, but will not after the next start of the machine",
            f"`sudo systemctl enable {name}`",
        )
    elif restarts >= RESTARTS and monotonic - since(unit) < RECENT:
        minutes = (monotonic - since(unit)) // timedelta(minutes=1)
        what = f"it was restarted {restarts} times, the last time {minutes} minutes ago"
        yield warning(name, what, log)
    else:
        said = unit.get("StatusText", "")
        yield ok(name, "it is enabled and at work" + (f": {said}" if said else ""))
    if unit.get("NeedDaemonReload") == "yes":
        yield warning(
            name,
            "its files were changed, and systemd still goes by the old ones",
            f"`sudo systemctl daemon-reload && sudo systemctl restart {name}`",
        )


def _judge_last_pass(unit: Properties) -> Iterator[Finding]:
    """Of the timer's unit, which is at rest most of the time."""
    if unit.get("ActiveState") == "failed" or unit.get("Result", "success") != "success":
        what = f"the timer's last pass has failed: {_ended(unit)}"
        yield error(PASS, what, f"see `certwarden status`, and `sudo journalctl -u {PASS} -n 50`")


def _ended(unit: Properties) -> str:
    """How its program ended, in words."""
    result, status = unit.get("Result", ""), unit.get("ExecMainStatus", "")
    words = {
        "start-limit-hit": "too many failures within the hour, so that systemd has given it up",
        "watchdog": "it hung, and systemd's watchdog ended it",
        "oom-kill": "the machine ran out of memory",
        "timeout": "it took too long",
        "resources": "systemd could not prepare its start",
    }
    if result in words:
        return words[result]
    if result == "exit-code":
        statuses = {
            "2": "the configuration is wrong (`sudo certwarden config check`)",
            "203": "its program cannot be started",
            "216": "one of its groups does not exist",
            "217": "its user does not exist",
            "226": "one of the paths that it is to use is not there",
            "243": "one of its credentials is not there",
        }
        return statuses.get(status, f"exit status {status}")
    return f"result {result or 'unknown'}"


def daemon_at_work(state_directory: Path) -> str:
    """Who holds the daemon's lock, in its own words; "" where nobody does, or none can be told."""
    try:
        descriptor = os.open(state_directory / "locks" / "daemon", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        # Let go of at once: a daemon that starts this moment tries it more than once.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 60, 0).decode("ascii", "replace").partition(",")[0] or "a lock"
    else:
        return ""
    finally:
        os.close(descriptor)


# ── does it work ──────────────────────────────────────────────────────────────────────────────────


def look_at_passes(patient: Patient) -> Iterator[Finding]:
    """When a pass last left a trace."""
    started = _started(show((SERVICE, TIMER), _PROPERTIES)) if is_booted() else None
    check_every = patient.config.daemon.check_every
    yield judge_passes(_traces(patient), patient.now, check_every, started)


def _traces(patient: Patient) -> list[datetime]:
    """When something was written down that passes write down."""
    world = patient.warden
    token, events = world.watch.token_check(), world.history.events(None, _EVENTS)
    traces = [each.at for each in events]
    traces += [each.at for each in world.watch.setbacks()]
    return traces if token is None else [*traces, token.at]


def judge_passes(
    traces: Iterable[datetime],
    now: datetime,
    check_every: timedelta,
    started: timedelta | None,
) -> Finding:
    """Whether there was a pass lately; `started` is for how long the service has been at work."""
    last = max(traces, default=None)
    patience = DAILY + check_every + MARGIN
    if started is not None and started < check_every + MARGIN:
        return ok("", "the service was started lately")
    if last is None:
        return skipped("", "there was no pass yet", "`sudo certwarden renew`")
    if now - last <= patience:
        return ok("", f"there was a pass lately: its last trace is of {minute(last)}")
    return warning(
        "",
        f"there was no pass for {(now - last) // DAILY} days: its last trace is of {minute(last)}",
        f"`sudo certwarden renew`, and see `systemctl status {SERVICE} {TIMER}`",
    )


def last_of_many(
    traces: Sequence[datetime], now: datetime, check_every: timedelta
) -> datetime | None:
    """The last pass, where it is recent and not one of the first day, which a person makes."""
    if not traces or now - min(traces) < 2 * DAILY:
        return None
    last = max(traces)
    return last if now - last <= DAILY + check_every + MARGIN else None


def _started(units: Mapping[str, Properties]) -> timedelta | None:
    """For how long the unit that is active has been so."""
    monotonic = timedelta(seconds=time.monotonic())
    active = [monotonic - since(unit) for unit in units.values() if _is_active(unit)]
    return min(active, default=None)


# ── properties ────────────────────────────────────────────────────────────────────────────────────


def is_there(unit: Properties) -> bool:
    return unit.get("LoadState", "not-found") != "not-found"


def _is_unusable(unit: Properties) -> bool:
    return unit.get("LoadState") in ("masked", "bad-setting", "error")


def _is_masked(unit: Properties) -> bool:
    """Shut away, as a person does with what is not to run."""
    return unit.get("LoadState") == "masked"


def _is_enabled(unit: Properties) -> bool:
    return unit.get("UnitFileState") in _ENABLED


def _is_active(unit: Properties) -> bool:
    return unit.get("ActiveState") in ("active", "reloading", "refreshing")


def since(unit: Properties) -> timedelta:
    """When it became active, by the monotonic clock."""
    return timedelta(microseconds=number(unit.get("ActiveEnterTimestampMonotonic", "")))


def number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


CHECKS: dict[str, Look] = {"service": look_at_service, "passes": look_at_passes}
