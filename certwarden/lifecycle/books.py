"""The entries of a pass that may fail: a full disk must not keep it from what matters more.

What has to be written down before it is done does not belong here: there a failure has to stop it.
"""

from collections.abc import Callable
from typing import TypeVar

from certwarden.errors import Busy, Error, StoreError
from certwarden.model import Event
from certwarden.ports import Level, Neighbours, Reporter

SUBJECT = "records"

_Entry = TypeVar("_Entry")
_Other = TypeVar("_Other")


class Books:
    """Reads and writes of one pass that it can do without; each kind of failure is told once.

    `trouble` is the first failure, if there was one.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.trouble: Error | None = None
        self._reporter = reporter
        self._told: set[str] = set()

    def write(self, entry: Callable[[], None]) -> bool:
        """Whether it could be written."""
        try:
            entry()
        except (StoreError, Busy) as error:
            self._tell(error)
            return False
        return True

    def read(self, entry: Callable[[], _Entry], otherwise: _Other) -> _Entry | _Other:
        """What was read, or what is taken for it where it cannot be."""
        try:
            return entry()
        except (StoreError, Busy) as error:
            self._tell(error)
            return otherwise

    def met(self, error: Error | None) -> None:
        """Something that was not written by us came to nothing, and was told: by what, if so."""
        if isinstance(error, StoreError):
            self.trouble = self.trouble or error

    def _tell(self, error: Error) -> None:
        self.trouble = self.trouble or error
        if error.what not in self._told:
            self._told.add(error.what)
            self._reporter.event(Level.ERROR, SUBJECT, error.what, error.hint)


def record(world: Neighbours, event: Event) -> None:
    """A line of the history; that it cannot be written changes nothing about what happened."""
    try:
        world.history.record(event)
    except Error as failure:
        subject = event.target or event.certificate or SUBJECT
        world.reporter.event(Level.ERROR, subject, failure.what, failure.hint)
