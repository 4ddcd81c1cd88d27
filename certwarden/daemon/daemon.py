"""The main loop: signals, ticks, children. One thread decides everything, and it never blocks.

It learns what it needs from `config show`, run as a child, and keeps the text of the configuration
that was accepted: every pass is given that very text, whatever becomes of the file meanwhile.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from signal import SIGHUP

from certwarden import files
from certwarden.daemon import answers
from certwarden.daemon.answers import RECONCILE, Answer, Appointment, Settings
from certwarden.daemon.calls import Calls
from certwarden.daemon.child import Ended, Limits
from certwarden.daemon.children import Children, Role, in_memory
from certwarden.daemon.clocks import Clocks, Jumps, Synchronisation, SystemClocks
from certwarden.daemon.jobs import Jobs
from certwarden.daemon.mailbox import Mailbox
from certwarden.daemon.systemd import Systemd, for_children
from certwarden.errors import Busy
from certwarden.ports import Level, Reporter
from certwarden.store.state import explained, private_directory

SYNCHRONISED = Path("/run/systemd/timesync/synchronized")  # made by systemd-timesyncd
MAX_CONFIG_BYTES = 1024 * 1024
MAX_OUTPUT_BYTES = 4 * 1024 * 1024
DONE, FAILED, MISUSED = 0, 1, 2

_QUESTION = ("show", "-p", "NTPSynchronized", "-p", "NTP")
_QUESTION_LIMITS = Limits(10, 1, 4096)
_LOCK_PATIENCE = 0.2  # seconds; enough to read who holds it


@dataclass(frozen=True)
class Pace:
    """How often it looks up, and how long it is patient; all in seconds."""

    tick: float = 5
    called: float = 60  # from a command's call to the pass: most leave nothing to be done
    soonest: float = 10  # from one pass to the next that it asked for
    back_off: float = 10  # after the first of several failures
    until_late: float = 30 * 60  # a pass
    until_killed: float = 60  # one that is late and was asked to end
    until_stopped: float = 4  # one that is at work when we are to end
    until_dead: float = 60  # the scheduler, where a job that is due does not fire
    check: float = 90
    between_questions: float = 30  # to timedatectl, while the clock is not trusted


class Daemon:
    """`certwarden run`: `run` once, in the main thread.

    `program` is the command line of certwarden, global options included; `settle` makes us the
    owner of the state directory; `synchronised` is the file that is there once the clock is so.
    """

    def __init__(
        self,
        source: Path,
        reporter: Reporter,
        *,
        program: Sequence[str],
        settle: Callable[[Path], None],
        environ: Mapping[str, str],
        clocks: Clocks | None = None,
        pace: Pace | None = None,
        synchronised: Path = SYNCHRONISED,
    ) -> None:
        self._source = source
        self._reporter = reporter
        self._program = program
        self._settle = settle
        self._clocks = clocks or SystemClocks()
        self._pace = pace or Pace()
        self._synchronised = synchronised

        self._systemd = Systemd(environ, os.getpid())
        self._children = Children(for_children(environ))
        self._mailbox = Mailbox()
        self._jobs = Jobs(self._mailbox.wake, self._pace.until_dead)
        self._jumps = Jumps(self._clocks)
        self._synchronisation = Synchronisation()
        self._held = ExitStack()  # let go of at the end

        self._exit_code: int | None = None  # not None: we are ending
        self._settings: Settings | None = None  # None: not read yet
        self._text: int | None = None  # a descriptor of the text that they were read from
        self._is_refused = False  # what is in the file now is wrong
        self._is_check_due = True
        self._is_pass_due = False
        self._failures = 0  # passes in a row
        self._is_starting = True  # until a pass has answered
        self._calls: Calls | None = None
        self._called_at: float | None = None  # when the pass is due that a command has asked for
        self._outlook = ""
        self._is_healthy = True
        self._next_tick = self._next_question = self._clocks.monotonic()
        self._next_feeding = self._next_tick

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or at once where the configuration is wrong; the exit code.

        Raises Busy where another daemon has the state directory, StoreError where the lock cannot
        be made, and what `settle` raises.
        """
        with self._mailbox, self._held, self._children:
            self._held.callback(self._jobs.stop)
            self._children.listen(self._mailbox.descriptor, self._hear)
            while self._exit_code is None or self._children:
                if self._exit_code is None:
                    self._begin_what_is_due()
                    self._show()
                self._children.wait(self._next_tick, self._clocks.monotonic())
                now = self._clocks.monotonic()
                self._children.look(now)
                if now >= self._next_tick:
                    self._tick(now)
        return self._exit_code

    # ── what happens ──────────────────────────────────────────────────────────────────────────────

    def _begin_what_is_due(self) -> None:
        if self._is_check_due and Role.CHECK not in self._children:
            self._is_check_due = False
            self._check()
        if self._settings and self._is_pass_due and Role.PASS not in self._children:
            self._is_pass_due = False
            self._pass(self._settings)

    def _hear(self) -> None:
        """Signals, and jobs that have come due."""
        for number in self._mailbox.signals():
            if number == SIGHUP:
                self._is_check_due = True
            else:
                self._stop(DONE)
        if self._jobs.fired() and Role.PASS not in self._children:
            self._is_pass_due = True  # else the pass itself says whether there is still need

    def _stop(self, code: int) -> None:
        if self._exit_code is None:
            self._exit_code = code
            self._systemd.notify("STOPPING=1", "STATUS=ending")
            self._children.stop(self._clocks.monotonic(), self._pace.until_stopped)

    def _tick(self, now: float) -> None:
        self._next_tick = now + min(self._pace.tick, self._systemd.watchdog or self._pace.tick)
        if self._exit_code is not None or self._settings is None:
            return
        self._look_at_clock()
        self._look_at_calls(now)
        if self._synchronisation.is_awaited:
            self._look_at_synchronisation(now)
        if self._jobs.is_empty() and Role.PASS not in self._children:
            self._is_pass_due = True  # whatever became of the job: never be without a next time
        self._judge_health(now)
        if self._is_healthy and self._systemd.watchdog and self._next_tick >= self._next_feeding:
            self._next_feeding = now + self._systemd.watchdog
            self._systemd.notify("WATCHDOG=1")

    def _look_at_clock(self) -> None:
        """Whatever was planned by a clock that has been set since is planned anew."""
        if jump := self._jumps.look():
            where = "forward" if jump > 0 else "back"
            self._tell(Level.WARNING, f"the clock was set {where} by {abs(jump):.0f} s")
            self._is_pass_due = True

    def _look_at_calls(self, now: float) -> None:
        if self._calls is not None and self._calls.is_called():
            self._called_at = now + self._pace.called
        if self._called_at is not None and now >= self._called_at:
            self._called_at = None
            self._is_pass_due = True

    def _judge_health(self, now: float) -> None:
        is_firing = self._jobs.is_healthy(self._clocks.now(), now)
        was_healthy = self._is_healthy
        self._is_healthy = is_firing and not self._children.are_unstoppable(now)
        if was_healthy and not self._is_healthy:
            what = "a child cannot be killed" if is_firing else "the scheduler fires no more"
            self._tell(Level.ERROR, what, "restart certwarden; systemd's watchdog does it")

    def _look_at_synchronisation(self, now: float) -> None:
        if self._synchronised.exists():
            self._saw_synchronisation(is_so=True)
        elif now >= self._next_question and Role.QUESTION not in self._children:
            self._next_question = now + self._pace.between_questions
            if program := shutil.which("timedatectl"):
                self._start(Role.QUESTION, [program, *_QUESTION], _QUESTION_LIMITS, self._told_time)

    def _told_time(self, ended: Ended) -> None:
        if ended.status == 0:
            self._saw_synchronisation(is_so=b"NTPSynchronized=yes" in ended.output.split())

    def _saw_synchronisation(self, *, is_so: bool) -> None:
        if self._synchronisation.seen(is_so=is_so):
            self._tell(Level.INFO, "the clock is synchronised now")
            self._is_pass_due = True

    # ── the configuration ─────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        """Has what is in the file now looked at; `_checked` goes on."""
        if self._settings:
            usec = int(self._clocks.monotonic() * 1e6)
            self._systemd.notify("RELOADING=1", f"MONOTONIC_USEC={usec}")
        try:
            text = in_memory(files.read_file(self._source, MAX_CONFIG_BYTES))
        except OSError:
            text = None  # the child finds the same, and has a sentence for it
        limits = Limits(self._pace.check, self._pace.until_killed, MAX_OUTPUT_BYTES)
        command = self._command(text, "config", "show", "--json")
        if not self._start(Role.CHECK, command, limits, partial(self._checked, text), text):
            self._refuse(text, FAILED)

    def _checked(self, text: int | None, ended: Ended) -> None:
        if self._exit_code is not None:  # we have ended it ourselves
            self._drop(text)
            return
        if ended.status == MISUSED:
            self._refuse(text, MISUSED)  # the child has said what is wrong
            return
        try:
            settings = answers.read_settings(ended.output)
        except ValueError:
            settings = None
        if ended.status or settings is None or text is None:
            how = ended.how() if ended.status or ended.is_late else "could not be understood"
            self._tell(Level.ERROR, f"a look at {self._source} {how}")
            self._refuse(text, FAILED)
        elif self._settings is None:
            self._begin(settings, text)
        elif settings.state_directory != self._settings.state_directory:
            what = f"`state_directory` is {settings.state_directory} now"
            self._tell(Level.ERROR, what, "restart certwarden for that")
            self._refuse(text, MISUSED)
        else:
            self._accept(settings, text)
            self._tell(Level.INFO, "the new configuration is in force")
            self._systemd.notify("READY=1")

    def _begin(self, settings: Settings, text: int) -> None:
        self._settle(settings.state_directory)
        self._take_lock(settings.state_directory)
        self._calls = Calls(settings.state_directory)
        self._jobs.start()
        self._accept(settings, text)
        self._tell(Level.INFO, f"at work for {settings.state_directory}")
        self._systemd.notify("READY=1")

    def _accept(self, settings: Settings, text: int) -> None:
        self._drop(self._text)
        self._settings, self._text = settings, text
        self._is_refused = False
        self._is_pass_due = True

    def _refuse(self, text: int | None, code: int) -> None:
        self._drop(text)
        if self._settings is None:
            self._stop(code)
            return
        self._is_refused = True
        what = f"{self._source} was not taken over: the configuration before it stays in force"
        self._tell(Level.ERROR, what, "correct it and reload again")
        self._systemd.notify("READY=1")

    def _drop(self, text: int | None) -> None:
        if text is not None:
            os.close(text)

    def _take_lock(self, state_directory: Path) -> None:
        holders: list[str] = []
        try:
            with explained("the daemon's lock cannot be taken"):
                path = private_directory(state_directory, "locks") / "daemon"
                lock = files.lock(path, "certwarden run", _LOCK_PATIENCE, holders.append)
                self._held.enter_context(lock)
        except Busy:
            raise Busy(
                f"a daemon is at work for {state_directory} already: {holders[0]}",
                "one is enough; `certwarden renew` does a pass beside it",
            ) from None

    # ── the pass ──────────────────────────────────────────────────────────────────────────────────

    def _pass(self, settings: Settings) -> None:
        latest = self._clocks.now() + settings.check_every
        self._outlook = f"a pass is at work; the next one at the latest at {_shown(latest)}"
        limits = Limits(self._pace.until_late, self._pace.until_killed, MAX_OUTPUT_BYTES)
        starting = ["--at-start"] if self._is_starting else []
        command = self._command(self._text, "renew", "--json", *starting)
        if not self._start(Role.PASS, command, limits, self._passed, self._text):
            self._plan_after_failure(settings)

    def _passed(self, ended: Ended) -> None:
        if self._exit_code is not None or self._settings is None:
            return
        try:
            answer = answers.read_answer(ended.output)
        except ValueError:
            answer = None
        if ended.is_late or ended.status not in {DONE, FAILED} or ended.is_cut or answer is None:
            is_garbled = not ended.is_late and ended.status in {DONE, FAILED}
            how = "ended without an answer that can be read" if is_garbled else ended.how()
            self._tell(Level.ERROR, f"the pass {how}", "the lines above may say why")
            self._plan_after_failure(self._settings)
        else:
            self._plan(answer, self._settings)

    def _plan(self, answer: Answer, settings: Settings) -> None:
        self._is_starting = False
        self._failures = 0
        self._synchronisation.answered(
            is_trusted=answer.is_trusted, is_synchronised=answer.is_synchronised
        )
        soonest = timedelta(seconds=self._pace.soonest)
        self._arm(answers.agenda(answer, self._clocks.now(), settings.check_every, soonest))

    def _plan_after_failure(self, settings: Settings) -> None:
        self._failures += 1
        first = timedelta(seconds=self._pace.back_off)
        at = self._clocks.now() + answers.back_off(self._failures, first, settings.check_every)
        self._arm({RECONCILE: Appointment(RECONCILE, at, "the last pass failed")})

    def _arm(self, agenda: Mapping[str, Appointment]) -> None:
        # What is armed by a clock that is wrong for less than a tick would else stay armed by it.
        self._look_at_clock()
        self._jobs.arm({job: each.at for job, each in agenda.items()})
        first = min(agenda.values(), key=lambda each: each.at)
        why = f": {first.why}" if first.why else ""
        self._outlook = f"next is {first.job} at {_shown(first.at)}{why}"

    # ── small things ──────────────────────────────────────────────────────────────────────────────

    def _start(
        self,
        role: Role,
        argv: Sequence[str],
        limits: Limits,
        then: Callable[[Ended], None],
        descriptor: int | None = None,
    ) -> bool:
        """Whether it could be started; if not, that is told."""
        try:
            now = self._clocks.monotonic()
            self._children.start(role, argv, limits, now, then=then, descriptor=descriptor)
        except OSError as error:
            self._tell(Level.ERROR, f"{role.value} could not be begun: {error.strerror}")
            return False
        return True

    def _command(self, text: int | None, *words: str) -> list[str]:
        handed_down = [] if text is None else ["--config-text-fd", str(text)]
        return [*self._program, "--config", str(self._source), *handed_down, *words]

    def _tell(self, level: Level, what: str, hint: str = "") -> None:
        self._reporter.event(level, "daemon", what, hint)

    def _show(self) -> None:
        parts = [self._outlook or "reading the configuration"]
        if self._synchronisation.is_awaited:
            parts.append("the clock is not trusted yet")
        if self._is_refused:
            parts.append(f"{self._source} is wrong, the configuration before it is in force")
        self._systemd.status("; ".join(parts))


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
