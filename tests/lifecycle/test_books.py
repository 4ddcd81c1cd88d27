"""Entries that a pass can do without: told once, and no reason to end it."""

from typing import NoReturn

import pytest

from certwarden.errors import Busy, Error, IssuerError, StoreError
from certwarden.lifecycle.books import Books
from certwarden.ports import Level
from tests.fakes_store import RecordingReporter

FULL = StoreError("the disk is full", "free some space")


def failing(error: Error) -> NoReturn:
    raise error


def test_what_works_leaves_no_trace() -> None:
    """It is written and read as if nobody stood between."""
    reporter, written = RecordingReporter(), list[int]()
    books = Books(reporter)
    assert books.write(lambda: written.append(1))
    assert books.read(lambda: written, []) == [1]
    assert books.trouble is None
    assert reporter.told == []


@pytest.mark.parametrize("error", [FULL, Busy("somebody sets the database aside")])
def test_what_fails_is_told_once_and_remembered(error: Error) -> None:
    """A full disk is one line in the log of a pass, however many entries there are."""
    reporter = RecordingReporter()
    books = Books(reporter)
    for _ in range(3):
        assert not books.write(lambda: failing(error))
        assert books.read(lambda: failing(error), "otherwise") == "otherwise"
    assert books.trouble is error
    assert reporter.texts(Level.ERROR) == [error.what]
    assert not books.write(lambda: failing(StoreError("it is read-only")))
    assert books.trouble is error
    assert len(reporter.told) == 2


def test_what_others_met_is_remembered() -> None:
    """They have told it; only what is about our own records counts."""
    reporter = RecordingReporter()
    books = Books(reporter)
    books.met(None)
    books.met(IssuerError("refused"))
    assert books.trouble is None
    books.met(FULL)
    books.met(StoreError("it is read-only"))
    assert books.trouble is FULL
    assert reporter.told == []


def test_other_errors_are_passed_on() -> None:
    """They are not about our own records."""
    with pytest.raises(IssuerError):
        Books(RecordingReporter()).write(lambda: failing(IssuerError("refused")))
