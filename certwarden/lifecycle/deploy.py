"""The shared tail of every way: install, reload, verify by a handshake, record; or roll back.

Holds the rules of invariant 5. A deploy is written down before anything is touched, with what is
needed to judge it after a kill: whether the unit ran, and whether a valid leaf was being served.
"""

from dataclasses import dataclass
from datetime import datetime

from certwarden.errors import Error, TargetError, as_error
from certwarden.lifecycle.books import record
from certwarden.model import (
    ClientTrust,
    DeployOutcome,
    Event,
    Installed,
    Pair,
    Seen,
    Served,
    TargetSpec,
    UnitReload,
    Unreachable,
)
from certwarden.pki.certificate import is_placeholder
from certwarden.ports import Level, Neighbours, Probe, Reloader, Shelf

LOOK_INTERVALS = (0.02, 0.05, 0.1, 0.2)  # seconds between looks; the last one is repeated
LAST_INTERVAL = 0.5


@dataclass(frozen=True)
class Deployed:
    """How a deploy to one target ended; `error` says what is wrong, where something is.

    `crl_number` is that of the list that was put in place, where one was and nothing else.
    """

    target: str
    outcome: DeployOutcome
    error: Error | None = None
    crl_number: int | None = None


def deploy(
    world: Neighbours,
    spec: TargetSpec,
    pair: Pair,
    now: datetime,
    reloader: Reloader,
    *,
    trust: ClientTrust | None = None,
) -> Deployed:
    """Puts the pair to use at the target, or its last good one back; the caller holds its lock.

    `trust` is what it is to judge its clients by, where it asks them for certificates; None leaves
    what is installed. Never raises Error: how it ended is what it returns, and stands in the
    ledger.
    """
    reporter = world.reporter
    reporter.phase(spec.name, "installing")
    work = _Work(world, spec, trust if spec.client_auth else None, now, reloader)
    wanted = pair.certificate.fingerprint
    try:
        before = work.before()
        deploy_id = world.deploys.begin_deploy(
            spec.name,
            wanted,
            now,
            was_active=before.was_active or before.is_left_down,
            served_before=before.served,
            crl_number=work.crl_number(),
        )
    except Exception as exception:  # noqa: BLE001 - what was not foreseen is told, too
        result = Deployed(spec.name, DeployOutcome.FAILED, as_error(exception))
        _tell(world, spec, result, pair)
        return result
    try:
        result = work.put_to_use(pair, before)
    except Exception as exception:  # noqa: BLE001 - it is written down, so that it is backed off
        result = Deployed(spec.name, DeployOutcome.FAILED, as_error(exception))
    _tell(world, spec, result, pair)
    try:
        world.deploys.end_deploy(deploy_id, result.outcome, world.clock.now(), result.error)
    except Error as error:  # it was done all the same; the next pass looks at it again
        reporter.event(Level.ERROR, spec.name, error.what, error.hint)
    return result


@dataclass(frozen=True)
class _Before:
    """How the target was found, by this deploy or by one that was cut short before it."""

    was_active: bool | None
    served: str | None  # fingerprint of the valid leaf
    is_reachable: bool
    is_left_down: bool  # the unit has been down since a deploy of ours failed


class _Work:
    """One deploy to one target."""

    def __init__(
        self,
        world: Neighbours,
        spec: TargetSpec,
        trust: ClientTrust | None,
        now: datetime,
        reloader: Reloader,
    ) -> None:
        self._world = world
        self._spec = spec
        self._trust = trust
        self._now = now
        self._shelf: Shelf = world.shelf(spec.name)
        self._reloader = reloader
        self._probe: Probe | None = world.probe(spec.name)

    def before(self) -> _Before:
        seen = self._probe.look() if self._probe else None
        was_active = self._reloader.is_active()
        served = None
        if isinstance(seen, Served) and seen.certificate.is_valid_at(self._now):
            served = seen.certificate.fingerprint
        last = self._world.deploys.last_deploy(self._spec.name)
        is_left_down = False
        if last is not None and last.outcome is DeployOutcome.BEGUN:
            # A kill in the midst of a restart must not be taken for a person's stopping the unit.
            was_active = last.was_active or was_active
            served = served or last.served_before
        elif last is not None and last.outcome is DeployOutcome.FAILED and was_active is False:
            # A person may have stopped it since; it is not started, but it is not forgotten.
            is_left_down = bool(last.was_active)
        is_reachable = served is not None or not isinstance(seen, Unreachable)
        return _Before(was_active, served, is_reachable, is_left_down)

    def crl_number(self) -> int | None:
        """Of the list that will be in place."""
        if not self._spec.client_auth or self._trust is not None:
            return self._trust.crl.number if self._trust else None
        installed = self._shelf.installed()
        return installed.trust.crl.number if installed and installed.trust else None

    def put_to_use(self, pair: Pair, before: _Before) -> Deployed:
        installed = self._shelf.installed()
        wanted = pair.certificate.fingerprint
        if installed is not None and installed.certificate.fingerprint == before.served:
            self._shelf.confirm(installed.number)  # seen in use, whoever had it taken up
        has_leaf = installed is not None and installed.certificate.fingerprint == wanted
        if installed is None or not has_leaf or self._has_newer_list(installed):
            installed = self._shelf.publish(pair, self._trust)
        failure = self._take_up(wanted, before)
        if failure is None:
            self._shelf.confirm(installed.number)
            outcome = DeployOutcome.IN_USE if self._probe else DeployOutcome.INSTALLED
            number = self._trust.crl.number if self._trust and has_leaf else None
            return Deployed(self._spec.name, outcome, crl_number=number)
        if failure.is_absence and before.is_left_down:
            error = TargetError(
                f"{failure.error.what}; its unit has been down since an earlier deploy failed",
                f"see why by `systemctl status {self._unit()}`, and start it",
            )
            return Deployed(self._spec.name, DeployOutcome.FAILED, error)
        if failure.is_absence and not before.is_reachable:
            return Deployed(self._spec.name, DeployOutcome.UNREACHABLE, failure.error)
        if before.served is not None or self._probe is None:
            failure = self._roll_back(failure, wanted, before)
        return Deployed(self._spec.name, DeployOutcome.FAILED, failure.error)

    def _has_newer_list(self, installed: Installed) -> bool:
        """Whether what is to be put in place is newer than what the clients are judged by."""
        if self._trust is None:
            return False
        before = installed.trust
        return (
            before is None
            or before.crl.number < self._trust.crl.number
            or before.root_pem != self._trust.root_pem
        )

    def _take_up(self, fingerprint: str, before: _Before) -> "_Failure | None":
        """Has the program take up what is current and waits for the leaf; None when it is seen."""
        is_reloading = before.was_active is not False
        if is_reloading:
            self._world.reporter.phase(self._spec.name, "reloading")
            try:
                self._reloader.reload()
            except TargetError as error:
                return _Failure(error)
        if self._probe is None:
            return None
        self._world.reporter.phase(self._spec.name, "verifying")
        is_starting = is_reloading and isinstance(self._spec.reload, UnitReload)
        seen = self._await_leaf(fingerprint, is_patient=before.is_reachable or is_starting)
        if isinstance(seen, Served) and seen.certificate.fingerprint == fingerprint:
            return None
        return _Failure(self._explain(seen), is_absence=isinstance(seen, Unreachable))

    def _await_leaf(self, fingerprint: str, *, is_patient: bool) -> Seen:
        """Looks until the leaf is served or the probe's timeout is over; returns the last look.

        Without patience (nobody answered before, and nobody was started) one look at an absent
        program is enough.
        """
        assert self._probe is not None  # noqa: S101 - for the type checker; callers have checked
        clock = self._world.clock
        deadline = clock.monotonic() + self._spec.probe_timeout.total_seconds()
        intervals = iter(LOOK_INTERVALS)
        while True:
            seen = self._probe.look()
            if isinstance(seen, Served) and seen.certificate.fingerprint == fingerprint:
                return seen
            is_hopeless = isinstance(seen, Unreachable) and not is_patient
            if is_hopeless or clock.monotonic() >= deadline:
                return seen
            clock.sleep(next(intervals, LAST_INTERVAL))

    def _explain(self, seen: Seen) -> TargetError:
        spec = self._spec
        match seen:
            case Served(certificate):
                what = (
                    f"{spec.probe} serves another certificate (serial {certificate.serial}) "
                    "than the one installed"
                )
                hint = "see that the program reads the installed files and was reloaded"
            case Unreachable(detail):
                what = detail
                hint = "start the program, or correct `probe` in the configuration"
            case other:
                what = other.what
                hint = "see the program's own log"
        if complaint := self._reloader.complaint():
            what += f"; the program says: {complaint}"
        return TargetError(what, hint)

    def _roll_back(self, failure: "_Failure", wanted: str, before: _Before) -> "_Failure":
        """Puts the last good pair back in use; the error then says how that went."""
        good = self._shelf.last_good()
        if good is None or good.certificate.fingerprint == wanted:
            return failure.adding("there is no earlier good certificate to go back to")
        if not good.certificate.is_valid_at(self._now):
            return failure.adding("the last good certificate has expired, so the new one stays")
        if self._is_revoked(good):
            return failure.adding("the last good certificate is revoked, so the new one stays")
        self._world.reporter.phase(self._spec.name, "rolling back")
        try:
            installed = self._shelf.publish(good, self._trust)
        except TargetError as error:
            return failure.adding(f"putting the last good certificate back failed: {error.what}")
        again = self._take_up(good.certificate.fingerprint, before)
        if again is not None and not self._is_serving(good):
            return failure.adding(
                f"putting the last good certificate back failed: {again.error.what}"
            )
        self._shelf.confirm(installed.number)
        text = "the last good certificate is back in use"
        event = Event(
            self._world.clock.now(), "rolled-back", self._spec.certificate, self._spec.name, text
        )
        record(self._world, event)
        return failure.adding(text)

    def _unit(self) -> str:
        reload = self._spec.reload
        return reload.unit if isinstance(reload, UnitReload) else self._spec.name

    def _is_serving(self, pair: Pair) -> bool:
        seen = self._probe.look() if self._probe else None
        return isinstance(seen, Served) and seen.certificate == pair.certificate

    def _is_revoked(self, pair: Pair) -> bool:
        pending = self._world.revocations.pending_revocations(self._spec.certificate)
        fingerprint = pair.certificate.fingerprint
        return any(each.is_revoked and each.fingerprint == fingerprint for each in pending)


@dataclass(frozen=True)
class _Failure:
    """Why a certificate was not taken up; `is_absence` when nobody was there to do it."""

    error: TargetError
    is_absence: bool = False

    def adding(self, text: str) -> "_Failure":
        return _Failure(TargetError(f"{self.error.what}; {text}", self.error.hint))


def _tell(world: Neighbours, spec: TargetSpec, result: Deployed, pair: Pair) -> None:
    """One event and one line of history at the end of each deploy."""
    what = f"serial {pair.certificate.serial}"
    error = result.error
    if result.outcome is not DeployOutcome.FAILED and is_placeholder(pair):
        level, kind, text = Level.INFO, "placeholder", "a placeholder is installed"
    elif result.crl_number is not None:
        level, kind = Level.INFO, "list-deployed"
        text = f"revocation list {result.crl_number} is in place"
    elif result.outcome is DeployOutcome.IN_USE:
        level, kind, text = Level.INFO, "deployed", f"{what} is in use"
    elif result.outcome is DeployOutcome.INSTALLED:
        level, kind, text = Level.INFO, "deployed", f"{what} is installed, not probed"
    elif result.outcome is DeployOutcome.UNREACHABLE and error:
        level, kind, text = Level.WARNING, "deployed", f"{what} is installed, but {error.what}"
    else:
        level, kind, text = Level.ERROR, "deploy-failed", error.what if error else what
    world.reporter.event(level, spec.name, text, error.hint if error else "")
    record(world, Event(world.clock.now(), kind, spec.certificate, spec.name, text))
