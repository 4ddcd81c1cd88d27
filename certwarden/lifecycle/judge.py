"""Gathers what is known about the wall clock, no more than is needed, and has it judged."""

from datetime import datetime
from functools import partial

from certwarden.errors import ClockError
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.trust import Verdict, judge, raise_floor
from certwarden.model import TimeEvidence
from certwarden.ports import Level, Neighbours

SUBJECT = "clock"


class ClockJudge:
    """The clock's judge for one pass: the time service is asked once, a server once at most.

    A floor that cannot be read or written down is told, and keeps nobody from judging.
    """

    def __init__(self, world: Neighbours, books: Books | None = None) -> None:
        self._world = world
        self._books = books or Books(world.reporter)
        self._synchronised: bool | None = None
        self._is_asked = False
        self._is_needed = False

    @property
    def is_needed(self) -> bool:
        """Whether anything in this pass depended on the clock's being right."""
        return self._is_needed

    def assess(self, now: datetime, *, needs_date: bool) -> Verdict:
        """The verdict on the clock; changes nothing.

        `needs_date` says that an order, a signature or an alarm depends on it: a server is asked
        for its Date then, if nobody else can tell.
        """
        sources = self._world.time_sources
        if not self._is_asked:
            self._synchronised = sources.synchronised()
            self._is_asked = True
        self._is_needed = self._is_needed or needs_date
        asks = self._is_needed and self._synchronised is None
        known = self._books.read(self._world.watch.floor, None)
        floor = max(sources.build_date(), known or sources.build_date())
        evidence = TimeEvidence(self._synchronised, floor, sources.offset() if asks else None)
        return judge(now, evidence, is_asked=asks)

    def settle(self, verdict: Verdict) -> None:
        """Says what there is to say of the clock, and lowers the floor where it is wrong."""
        if verdict.what:
            self._world.reporter.event(Level.WARNING, SUBJECT, verdict.what, verdict.hint)
        if verdict.new_floor is not None:
            self._books.write(partial(self._world.watch.set_floor, verdict.new_floor))

    def refusal(self, now: datetime) -> ClockError | None:
        """Why nothing may be ordered or signed at `now`, if so; which is told."""
        verdict = self.assess(now, needs_date=True)
        self.settle(verdict)
        return None if verdict.is_trusted else ClockError(verdict.what, verdict.hint)

    def signed(self, now: datetime) -> None:
        """Something was signed at `now`, by us or for us: from here on it cannot be earlier.

        Has no effect unless the clock is trusted.
        """
        verdict = self.assess(now, needs_date=True)
        floor = raise_floor(now, self._books.read(self._world.watch.floor, None), verdict)
        if floor is not None:
            self._books.write(partial(self._world.watch.set_floor, floor))
