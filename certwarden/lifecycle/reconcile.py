"""One pass: observe, plan, act. Level-triggered: a pass after a kill just finds what is left to do.

Stored, installed and served are three states, each put right on its own. At the end of a pass a
person is told of what needs one, and the pass says when it wants to be called again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certwarden.errors import Busy, ClockError, Error, ZoneError
from certwarden.lifecycle.act import Actor, CertificateResult, Orders
from certwarden.lifecycle.announce import announce
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.metrics import render_metrics
from certwarden.lifecycle.observe import observe
from certwarden.lifecycle.obtain import sweep
from certwarden.lifecycle.plan import agenda, next_calls, plan
from certwarden.lifecycle.questions import ask_about_renewal, check_token, note_working_token
from certwarden.lifecycle.trust import Verdict
from certwarden.model import Call, CertificateSpec, Job, Observed, StepKind
from certwarden.ports import Level, Neighbours

CLOCK_WAIT = timedelta(minutes=10)  # until a server's Date is asked for again


@dataclass(frozen=True)
class Wish:
    """What a pass is asked for beyond what is due.

    `force`: certificates to renew whether or not they are due; `named`: those that a person has
    named, which no back-off holds up. `is_whole`: it is about all certificates, so that at its end
    a person is told of what needs one.
    """

    force: Collection[str] = ()
    named: Collection[str] = ()
    is_deploying: bool = True
    is_whole: bool = True


EVERYTHING = Wish()


@dataclass(frozen=True)
class PassResult:
    """What a pass did, and when it wants to be called again.

    `sweep_error` says why TXT records of an earlier pass had to stay behind, `token_error` what is
    wrong with the API token.
    """

    certificates: tuple[CertificateResult, ...]
    swept: int = 0
    sweep_error: Error | None = None
    token_error: Error | None = None
    verdict: Verdict | None = None
    calls: tuple[Call, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        is_clean = self.sweep_error is None and self.token_error is None
        return is_clean and all(each.is_good for each in self.certificates)


def reconcile(
    world: Neighbours, specs: Sequence[CertificateSpec], wish: Wish = EVERYTHING
) -> PassResult:
    """One pass over the certificates: whatever is due is done, and told."""
    now = world.clock.now()
    judge = ClockJudge(world)
    _tidy(world, specs)
    observed = observe(world, specs, is_probing=wish.is_deploying)
    observed = ask_about_renewal(world, observed, now)
    leftovers = len(world.journal.leftovers())
    steps = plan(observed, leftovers, now, world.policy, force=wish.force, named=wish.named)
    due = frozenset(
        step.certificate for step in steps if step.kind is StepKind.OBTAIN and step.certificate
    )
    verdict = judge.assess(now, needs_date=bool(due))
    judge.settle(verdict)
    refusal = None if verdict.is_trusted else ClockError(verdict.what, verdict.hint)
    swept, sweep_error = _sweep(world) if leftovers else (0, None)
    orders = Orders(due, frozenset(wish.force), frozenset({*wish.named, *wish.force}), refusal)
    results = Actor(world, orders, now, is_deploying=wish.is_deploying).act(observed)
    if any(each.is_new for each in results):
        judge.signed(world.clock.now())
        note_working_token(world, now)
    # An order shows by itself what the token can do.
    is_shown = any(each.is_new or isinstance(each.error, ZoneError) for each in results)
    token_error = None
    if wish.is_whole and not is_shown:
        token_error = check_token(world, now)
    result = PassResult(results, swept, sweep_error, token_error, verdict)
    return _conclude(world, judge, wish, _observe_again(world, observed, results, wish), result)


def _tidy(world: Neighbours, specs: Sequence[CertificateSpec]) -> None:
    """Removes files that a killed pass left half written: there may be a key among them."""
    for spec in specs:
        try:
            world.certificates.tidy(spec.name)
            for target in spec.targets:
                shelf = world.shelf(target.name)
                if shelf.is_untidy():
                    with world.locks.target(target.name):
                        shelf.tidy()
        except Error as error:
            world.reporter.event(Level.WARNING, spec.name, error.what, error.hint)


def _sweep(world: Neighbours) -> tuple[int, Error | None]:
    try:
        with world.locks.orders():
            swept = sweep(world)
    except Busy:
        return 0, None  # whoever holds it may be at the very order whose records these are
    except Error as error:
        text = f"TXT records of an earlier pass could not be removed: {error.what}"
        world.reporter.event(Level.ERROR, "clean-up", text, error.hint)
        return 0, error
    if swept:
        plural = "s" if swept != 1 else ""
        text = f"{swept} TXT record{plural} of an earlier pass removed"
        world.reporter.event(Level.INFO, "clean-up", text)
    return swept, None


def _observe_again(
    world: Neighbours,
    observed: Sequence[Observed],
    results: Sequence[CertificateResult],
    wish: Wish,
) -> tuple[Observed, ...]:
    """The facts after the pass: those of certificates that it touched are looked at anew."""
    touched = [
        seen.spec
        for seen, result in zip(observed, results, strict=True)
        if result.is_new or result.error or result.deployed
    ]
    if not touched:
        return tuple(observed)
    now = world.clock.now()
    again = ask_about_renewal(world, observe(world, touched, is_probing=wish.is_deploying), now)
    anew = {seen.spec.name: seen for seen in again}
    return tuple(anew.get(seen.spec.name, seen) for seen in observed)


def _conclude(
    world: Neighbours,
    judge: ClockJudge,
    wish: Wish,
    observed: Sequence[Observed],
    result: PassResult,
) -> PassResult:
    """Tells a person and the metrics; then says when the next pass is wanted."""
    now = world.clock.now()
    is_good = result.is_good
    check = world.watch.token_check()
    if wish.is_whole and wish.is_deploying:
        announce(world, judge, observed, now, is_good=is_good)
        if (metrics := world.metrics()) is not None:
            verdict = judge.assess(now, needs_date=False)
            try:
                metrics.write(render_metrics(observed, verdict, check, now, is_good=is_good))
            except Error as error:
                world.reporter.event(Level.WARNING, "metrics", error.what, error.hint)
    steps = agenda(observed, len(world.journal.leftovers()), now, world.policy)
    calls = next_calls(steps, observed, check, world.setup(None), now)
    if result.verdict is not None and not result.verdict.is_trusted and result.verdict.is_asked:
        calls = tuple(_once_trusted(call, now) for call in calls)
    return replace(result, calls=calls)


def _once_trusted(call: Call, now: datetime) -> Call:
    """What is due has to wait for the clock; a Date that confirms it is asked for again."""
    if call.job is not Job.RECONCILE or call.at > now + CLOCK_WAIT:
        return call
    return Call(call.job, now + CLOCK_WAIT, "the clock is looked at again")
