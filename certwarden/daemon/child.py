"""A child process that is never waited for: its output is read when there is some.

It has a deadline on the monotonic clock, a cap on its output, a session of its own, and dies with
us. Whoever owns it selects on its two descriptors. Judges neither its status nor its output.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

_CHUNK = 64 * 1024
_PIPE = 1024 * 1024  # the most that a pipe can hold
_AGAIN = 1.0  # seconds from one SIGKILL to the next
_DEAF = 30.0  # seconds after SIGKILL by which everything is gone that can go


class Limits(NamedTuple):
    """Seconds until it is asked to end, seconds from then until it is killed, bytes of output."""

    seconds: float
    grace: float
    output: int


class Ended(NamedTuple):
    """How it ended: `status` is its exit status, or negative the signal's number."""

    status: int
    output: bytes
    is_cut: bool
    is_late: bool

    def how(self) -> str:
        """The end of a sentence about it."""
        if self.is_late:
            return "took too long and was ended"
        if self.status < 0:
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"ended with exit status {self.status}"


class Child:
    """A running program. Raises OSError where it cannot be started; `now` is always monotonic."""

    def __init__(
        self,
        argv: Sequence[str],
        limits: Limits,
        now: float,
        *,
        environment: Mapping[str, str],
        descriptors: Collection[int] = (),
        is_quiet: bool = False,
    ) -> None:
        # Whoever kills us leaves no orphan behind that works for ever. A preexec_fn could ask for
        # the same, but is unsafe beside the scheduler's threads; not every container has setpriv.
        guard = shutil.which("setpriv")
        self._process = subprocess.Popen(
            [*([guard, "--pdeathsig", "TERM", "--"] if guard else []), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if is_quiet else None,
            start_new_session=True,
            env=environment,
            pass_fds=tuple(descriptors),
        )
        assert self._process.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
        self.output = self._process.stdout.fileno()
        os.set_blocking(self.output, False)
        try:
            self.end = os.pidfd_open(self._process.pid)
        except OSError:
            with self._process:
                self._process.kill()
            raise
        self.due = now + limits.seconds
        """When it is to be looked at again."""
        self._limits = limits
        self._kept = bytearray()
        self._killed_at: float | None = None
        self._is_cut = self._is_late = self._is_asked = self._is_over = False

    def read(self) -> bool:
        """Takes in what there is to read now; False where nothing will come any more."""
        return not self._is_over and self._take() != b""

    def look(self, now: float) -> None:
        """Does what its time demands: asks it to end, kills it."""
        if now < self.due:
            return
        if self._is_asked:
            self._killed_at = now if self._killed_at is None else self._killed_at
            self._kill_group()
            self.due = now + _AGAIN
        else:
            self._is_late = True
            self.stop(now, self._limits.grace)

    def stop(self, now: float, grace: float) -> None:
        """Asks it to end, once; `look` kills it after so many seconds."""
        if not self._is_asked:
            self._is_asked = True
            self._process.send_signal(signal.SIGTERM)
            self.due = now + grace
        self.due = min(self.due, now + grace)

    def kill(self) -> None:
        """Without a word."""
        self._kill_group()

    def is_unstoppable(self, now: float) -> bool:
        """Whether it has outlived its killing, as one does that hangs in a broken disk."""
        return self._killed_at is not None and now - self._killed_at > _DEAF

    def reap(self) -> Ended:
        """What became of it; to be called once, when `end` is readable."""
        self._kill_group()  # what it left behind; its number is nobody else's until `wait`
        for _ in range(_PIPE // _CHUNK):  # a stranger may still hold the pipe open, and write
            if not self._take():
                break
        status = self._process.wait()
        self._is_over = True
        assert self._process.stdout is not None  # noqa: S101  # see above
        self._process.stdout.close()
        os.close(self.end)
        return Ended(status, bytes(self._kept), self._is_cut, self._is_late)

    def _take(self) -> bytes | None:
        """Some of the output: b"" at its end, None where there is none now."""
        try:
            piece = os.read(self.output, _CHUNK)
        except BlockingIOError:
            return None
        room = self._limits.output - len(self._kept)
        self._is_cut = self._is_cut or len(piece) > room
        self._kept += piece[:room]
        return piece

    def _kill_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # gone, or the session is not there yet: it is looked after again
