"""Where signals and the scheduler's thread leave word for the main thread: a pipe to select on."""

import os
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Self

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WORD = b"\0"  # no signal has this number


class Mailbox:
    """A context manager; within it SIGTERM, SIGINT and SIGHUP do nothing but arrive here."""

    def __enter__(self) -> Self:
        self.descriptor, self._post = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = signal.set_wakeup_fd(self._post, warn_on_full_buffer=False)
        self._handlers = [(number, signal.signal(number, _arrive)) for number in _NUMBERS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers:
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._post)
        os.close(self.descriptor)

    def wake(self) -> None:
        """Makes the descriptor readable; from any thread."""
        try:
            os.write(self._post, _WORD)
        except BlockingIOError:
            pass  # it is readable already

    def signals(self) -> Sequence[int]:
        """The numbers of the signals since the last call, each once."""
        try:
            words = os.read(self.descriptor, 4096)
        except BlockingIOError:
            return []
        return sorted(set(words) - set(_WORD))


def _arrive(_number: int, _frame: FrameType | None) -> None:
    """Python has left the number in the pipe already."""
