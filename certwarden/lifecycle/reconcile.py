"""One pass: observe, plan, act. Level-triggered: a pass after a kill just finds what is left to do.

Stored, installed and served are three states, each put right on its own. At the end of a pass a
person is told of what needs one, and the pass says when it wants to be called again.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from certwarden.errors import Busy, ClockError, Error, ZoneError
from certwarden.lifecycle.act import Actor, CertificateResult, Orders
from certwarden.lifecycle.announce import announce
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.door import look_after_door
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.metrics import render_metrics
from certwarden.lifecycle.observe import observe
from certwarden.lifecycle.obtain import sweep
from certwarden.lifecycle.plan import agenda, next_calls, plan
from certwarden.lifecycle.questions import ask_about_renewal, check_token, note_working_token
from certwarden.lifecycle.setbacks import (
    CLEAN_UP,
    after_failure,
    clean_up_setup,
    held_until,
    setback_of,
)
from certwarden.lifecycle.trust import Verdict
from certwarden.model import Call, CertificateSpec, Job, Observed, StepKind, TxtRecord
from certwarden.ports import Level, Neighbours

CLOCK_WAIT = timedelta(minutes=10)  # until a server's Date is asked for again


@dataclass(frozen=True)
class Wish:
    """What a pass is asked for beyond what is due.

    `force`: certificates to renew whether or not they are due; `named`: those that a person has
    named, which no back-off holds up. `is_whole`: it is about all certificates, so that at its end
    a person is told of what needs one. `is_starting`: it is the first since the daemon started.
    """

    force: Collection[str] = ()
    named: Collection[str] = ()
    is_deploying: bool = True
    is_whole: bool = True
    is_starting: bool = False


EVERYTHING = Wish()


@dataclass(frozen=True)
class PassResult:
    """What a pass did, and when it wants to be called again.

    `sweep_error` says why TXT records of an earlier pass had to stay behind, `token_error` what is
    wrong with the API token, `authority_error` with the private CA or what it protects, and
    `store_error` what our own records suffer from.
    """

    certificates: tuple[CertificateResult, ...]
    swept: int = 0
    sweep_error: Error | None = None
    token_error: Error | None = None
    authority_error: Error | None = None
    store_error: Error | None = None
    verdict: Verdict | None = None
    calls: tuple[Call, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        errors = (self.sweep_error, self.token_error, self.authority_error, self.store_error)
        return not any(errors) and all(each.is_good for each in self.certificates)


def reconcile(
    world: Neighbours, specs: Sequence[CertificateSpec], wish: Wish = EVERYTHING
) -> PassResult:
    """One pass over the certificates: whatever is due is done, and told."""
    now = world.clock.now()
    books = Books(world.reporter)
    judge = ClockJudge(world, books)
    _tidy(world, specs)
    authority_error = _tend(world, books, judge, now, wish)
    observed = observe(world, specs, is_probing=wish.is_deploying)
    observed = ask_about_renewal(world, books, observed, now)
    leftovers = books.read(world.journal.leftovers, ())
    steps = plan(observed, len(leftovers), now, world.policy, force=wish.force, named=wish.named)
    due = frozenset(
        step.certificate for step in steps if step.kind is StepKind.OBTAIN and step.certificate
    )
    is_revoking = any(seen.revocations for seen in observed)  # or may it have expired?
    verdict = judge.assess(now, needs_date=bool(due) or is_revoking)
    judge.settle(verdict)
    refusal = None if verdict.is_trusted else ClockError(verdict.what, verdict.hint)
    swept, sweep_error = _sweep(world, books, leftovers, now, is_named=bool(wish.named))
    orders = Orders(due, frozenset(wish.force), frozenset({*wish.named, *wish.force}), refusal)
    results = Actor(world, orders, now, is_deploying=wish.is_deploying).act(observed)
    for seen, each in zip(observed, results, strict=True):
        if seen.trouble is None:  # else it is about that certificate, and told as such
            books.met(each.error)
            for deployed in each.deployed:
                books.met(deployed.error)
    if any(each.is_new for each in results):
        judge.signed(world.clock.now())
        note_working_token(world, books, now)
    # An order shows by itself what the token can do.
    is_shown = any(each.is_new or isinstance(each.error, ZoneError) for each in results)
    token_error = None
    if wish.is_whole and not is_shown:
        token_error = check_token(world, books, now)
    observed = _observe_again(world, books, observed, results, wish)
    if wish.is_deploying and world.authority_spec is not None:
        from certwarden.lifecycle.withdraw import forget_unguarded, prove_what_is_due  # see _tend

        if wish.is_whole:
            forget_unguarded(world, books, specs)
        fresh = {each.target for result in results for each in result.deployed}
        proof_error = prove_what_is_due(world, books, judge, observed, fresh=fresh)
        authority_error = authority_error or proof_error
    if wish.is_whole and world.authority_spec is not None:
        from certwarden.lifecycle.backup import look_after_backups  # see _tend
        from certwarden.lifecycle.sightings import note_sightings

        note_sightings(world, books, judge, specs)
        look_after_backups(world, books, judge)
    result = PassResult(
        results, swept, sweep_error, token_error, authority_error, books.trouble, verdict
    )
    return _end_pass(world, books, judge, wish, observed=observed, result=result)


def _tend(
    world: Neighbours, books: Books, judge: ClockJudge, now: datetime, wish: Wish
) -> Error | None:
    """Has the private CA's list brought up to date, where there is one; what went wrong."""
    if world.authority_spec is None:
        return None
    from certwarden.lifecycle.authority import tend  # a pass without a CA does without signing

    return tend(world, books, judge, now, is_starting=wish.is_starting)


def _tidy(world: Neighbours, specs: Sequence[CertificateSpec]) -> None:
    """Removes files that a killed pass left half written: there may be a key among them."""
    for spec in specs:
        try:
            world.certificates.tidy(spec.name)
            for target in spec.targets:
                shelf = world.shelf(target.name)
                if shelf.is_untidy():
                    # Whoever holds the lock may just be writing what looks half done.
                    with suppress(Busy), world.locks.try_target(target.name):
                        shelf.tidy()
        except Error as error:
            world.reporter.event(Level.WARNING, spec.name, error.what, error.hint)


def _sweep(
    world: Neighbours,
    books: Books,
    leftovers: Sequence[TxtRecord],
    now: datetime,
    *,
    is_named: bool,
) -> tuple[int, Error | None]:
    """How many records were removed, and why not all; what failed last rests before a new try."""
    if not leftovers:
        return 0, None
    setup = clean_up_setup(leftovers, world.setup(None))
    before = setback_of(books.read(world.watch.setbacks, ()), CLEAN_UP)
    if before is not None and not is_named and held_until(before, setup, now) > now:
        if not before.is_permanent:
            return 0, None
        standing = Error(before.what, before.hint, permanent=True)
        _tell_litter(world, standing)
        return 0, standing
    try:
        with world.locks.try_orders():
            swept, error = sweep(world)
    except Busy:
        return 0, None  # whoever holds it may be at the very order whose records these are
    except Error as failure:
        swept, error = 0, failure
    if swept:
        plural = "s" if swept != 1 else ""
        text = f"{swept} TXT record{plural} of an earlier pass removed"
        world.reporter.event(Level.INFO, CLEAN_UP, text)
    if error is not None:
        _tell_litter(world, error)
        setup = clean_up_setup(books.read(world.journal.leftovers, leftovers), world.setup(None))
        failed = after_failure(before, CLEAN_UP, setup, error, now)
        books.write(partial(world.watch.save_setback, failed))
    elif before is not None:
        books.write(partial(world.watch.clear_setback, CLEAN_UP))
    return swept, error


def _tell_litter(world: Neighbours, error: Error) -> None:
    text = f"TXT records of an earlier pass could not be removed: {error.what}"
    world.reporter.event(Level.ERROR, CLEAN_UP, text, error.hint)


def _observe_again(
    world: Neighbours,
    books: Books,
    observed: Sequence[Observed],
    results: Sequence[CertificateResult],
    wish: Wish,
) -> tuple[Observed, ...]:
    """The facts after the pass: those of certificates that it touched are looked at anew."""
    touched = [
        seen.spec
        for seen, result in zip(observed, results, strict=True)
        if result.is_new or result.error or result.deployed or seen.revocations
    ]
    if not touched:
        return tuple(observed)
    now = world.clock.now()
    again = observe(world, touched, is_probing=wish.is_deploying)
    again = ask_about_renewal(world, books, again, now)
    anew = {seen.spec.name: seen for seen in again}
    return tuple(anew.get(seen.spec.name, seen) for seen in observed)


def _end_pass(
    world: Neighbours,
    books: Books,
    judge: ClockJudge,
    wish: Wish,
    *,
    observed: Sequence[Observed],
    result: PassResult,
) -> PassResult:
    """Tells a person and the metrics; then says when the next pass is wanted."""
    now = world.clock.now()
    is_good = result.is_good
    check = books.read(world.watch.token_check, None)
    authority = None
    if world.authority_spec is not None:
        from certwarden.lifecycle.authority import observe_authority  # see _tend

        authority = observe_authority(world)
    if wish.is_whole and wish.is_deploying:
        announce(world, books, judge, observed, now, is_good=is_good, authority=authority)
        if (metrics := world.metrics()) is not None:
            verdict = judge.assess(now, needs_date=False)
            try:
                metrics.write(
                    render_metrics(
                        observed, verdict, check, now, is_good=is_good, authority=authority
                    )
                )
            except Error as error:
                world.reporter.event(Level.WARNING, "metrics", error.what, error.hint)
    door_calls: tuple[Call, ...] = ()
    if wish.is_whole and wish.is_deploying and authority is not None:
        door_calls = look_after_door(world, books, now)
    leftovers, token = books.read(world.journal.leftovers, ()), world.setup(None)
    setbacks = books.read(world.watch.setbacks, ())
    clean_up = setback_of(setbacks, CLEAN_UP)
    clean_up_at = held_until(clean_up, clean_up_setup(leftovers, token), now)
    steps = tuple(
        replace(step, at=clean_up_at) if step.kind is StepKind.SWEEP else step
        for step in agenda(observed, len(leftovers), now, world.policy)
    )
    calls = next_calls(steps, observed, check, token, now, setbacks=setbacks, authority=authority)
    calls = tuple(sorted((*calls, *door_calls), key=lambda call: call.at))
    if result.verdict is not None and not result.verdict.is_trusted and result.verdict.is_asked:
        calls = tuple(_once_trusted(call, now) for call in calls)
    return replace(result, calls=calls, store_error=books.trouble)


def _once_trusted(call: Call, now: datetime) -> Call:
    """What is due has to wait for the clock; a Date that confirms it is asked for again."""
    if call.job is not Job.RECONCILE or call.at > now + CLOCK_WAIT:
        return call
    return Call(call.job, now + CLOCK_WAIT, "the clock is looked at again")
