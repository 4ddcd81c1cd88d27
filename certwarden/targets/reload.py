"""Makes a target's program take up its files: by itself, by systemd, by a command, or not at all.

Does not judge whether it worked: that is the probe's business. A signal is never sent from here
(Node-RED would stop at a SIGHUP).
"""

import re
from pathlib import Path
from typing import assert_never

from certwarden.errors import TargetError, clean
from certwarden.model import CommandReload, HotReload, TargetSpec, UnitReload, UnitVerb
from certwarden.ports import Reloader
from certwarden.targets.node_red.reports import LOADED, Report, read_reports
from certwarden.targets.process import Finished, Limits, run
from certwarden.targets.units import Properties, show, systemctl

COMMAND_LIMITS = Limits(seconds=60, output=16 * 1024, may_leave_children=True)
UNIT_LIMITS = Limits(seconds=90, output=16 * 1024)
QUESTION_LIMITS = Limits(seconds=10, output=4 * 1024)

_REFUSED_BY_POLKIT = 4  # systemctl(1), LSB: insufficient privilege
_NOT_LOADED = 5
_CORRECT_THE_NAME = "correct the unit's name in the target's `reload`"
_PRIVATE_KEY = re.compile(rb"-----BEGIN [^-]*PRIVATE KEY-----.*?(-----END[^-]*-----|\Z)", re.DOTALL)
_RUNNING = {"active", "activating", "reloading", "refreshing"}
_AT_REST = {"inactive", "failed", "deactivating", "maintenance"}
_UNUSABLE = {"bad-setting", "error", "masked"}


def reloader_for(spec: TargetSpec) -> Reloader:
    """The way that the target's configuration names."""
    match spec.reload:
        case HotReload():
            return HotReloader(spec.directory)
        case UnitReload(unit, verb):
            return UnitReloader(unit, verb)
        case CommandReload(argv):
            return CommandReloader(spec.name, argv)
        case None:
            return NoReloader()
        case _:
            assert_never(spec.reload)


class NoReloader:
    """The program looks at its files by itself, or a person sees to it."""

    def is_active(self) -> bool | None:
        return None

    def reload(self) -> None:
        """There is nothing to call."""

    def complaint(self) -> str:
        return ""


class HotReloader(NoReloader):
    """certwarden's module inside the program polls `directory` and takes up what is current."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def complaint(self) -> str:
        """What the modules say; sound only once they have had the time to look."""
        reports = read_reports(self._directory / LOADED)
        if not reports:
            return f"nothing in {self._directory / LOADED} (is certwarden's line in settings.js?)"
        try:
            current = (self._directory / "current").readlink().name
        except OSError:
            current = ""
        said = (_complaint_of(report, current) for report in reports)
        return next((complaint for complaint in said if complaint), "")


class UnitReloader:
    """systemd restarts or reloads the unit; a polkit rule must allow exactly that."""

    def __init__(self, unit: str, verb: UnitVerb) -> None:
        self._unit = unit
        self._verb = verb

    def is_active(self) -> bool | None:
        """Whether somebody wants it to run and it does, or is on its way there.

        Raises TargetError where there is no such unit, which is not one that a person has stopped.
        """
        found = self._show("LoadState", "ActiveState")
        state, usability = found.get("ActiveState"), found.get("LoadState")
        if usability == "not-found":
            raise TargetError(f"there is no unit {self._unit}", _CORRECT_THE_NAME)
        if usability in _UNUSABLE:
            raise TargetError(
                f"systemd cannot use the unit {self._unit} ({usability})",
                f"see `systemctl status {self._unit}`, or {_CORRECT_THE_NAME}",
            )
        if state in _RUNNING or state in _AT_REST:
            return state in _RUNNING
        said = clean(state or "", 40) or "nothing"
        raise TargetError(f"systemd does not say whether {self._unit} runs: it says {said}")

    def reload(self) -> None:
        """Raises TargetError where systemd refuses, fails, or takes longer than 90 s."""
        have_systemd(self._verb.value, self._unit, hint_not_loaded=_CORRECT_THE_NAME)

    def complaint(self) -> str:
        try:
            found = self._show("ActiveState", "Result", "ExecMainStatus")
        except TargetError as error:
            return error.what
        state, result = found.get("ActiveState", ""), found.get("Result", "")
        if state in _RUNNING and result in ("", "success"):
            return ""
        status = found.get("ExecMainStatus", "")
        return clean(f"{self._unit} is {state} (result {result}, exit status {status})")

    def _show(self, *properties: str) -> Properties:
        """What systemd says of the unit, which by an alias it tells by the unit's own name."""
        return next(iter(show((self._unit,), properties, QUESTION_LIMITS).values()), {})


class CommandReloader(NoReloader):
    """A command of the user's: no shell, 60 s, and exit status 0 means that it worked."""

    def __init__(self, target: str, argv: tuple[str, ...]) -> None:
        self._target = target
        self._argv = argv

    def reload(self) -> None:
        """Raises TargetError with what the command said where it fails."""
        what = f"the reload command of {self._target} ({clean(self._argv[0])})"
        try:
            finished = run(self._argv, COMMAND_LIMITS)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TargetError(
                f"{what} cannot be started: {clean(reason)}",
                "give its full path in the target's `reload`, and check that it is executable",
            ) from None
        hint = "run it by hand, as the user certwarden runs as, and see what it says"
        if finished.status is None:
            raise TargetError(f"{what} did not end within {COMMAND_LIMITS.seconds:.0f} s", hint)
        if finished.status != 0:
            raise TargetError(f"{what} failed: {_words(finished)}", hint)


def have_systemd(verb: str, unit: str, *, hint_not_loaded: str) -> None:
    """Has systemd restart, reload, start or stop the unit.

    Raises TargetError where it refuses, fails, or takes longer than 90 s.
    """
    finished = systemctl(UNIT_LIMITS, "--no-ask-password", verb, "--", unit)
    if finished.status == 0:
        return
    what = f"systemd could not {verb} {unit}"
    hint = f"see `systemctl status {unit}`"
    if finished.status is None:
        raise TargetError(f"{what} within {UNIT_LIMITS.seconds:.0f} s", hint)
    if finished.status == _REFUSED_BY_POLKIT:
        what = f"certwarden may not {verb} {unit}"
        hint = (
            f"allow it by a polkit rule for {unit} and the verb {verb}: "
            "docs/operations.md has one to copy"
        )
    elif finished.status == _NOT_LOADED:
        hint = hint_not_loaded
    raise TargetError(f"{what}: {_words(finished)}", hint)


def _complaint_of(report: Report, current: str) -> str:
    who = f"(process {report.pid})"
    if report.error:
        return f"{report.error} {who}"
    if report.servers < 1:
        return f"certwarden's module has found no server that uses its options {who}"
    if report.generation != current:
        return f"generation {report.generation or 'none'} is still in use, not {current} {who}"
    return ""


def _words(finished: Finished) -> str:
    """The last that it said, else how it ended."""
    output = _PRIVATE_KEY.sub(b"(a private key)", finished.output)
    said = clean(output[-400:].decode("utf-8", "replace"), 400)
    if said:
        return said
    if finished.status is None:
        return "no answer in time"
    return f"signal {-finished.status}" if finished.status < 0 else f"exit status {finished.status}"
