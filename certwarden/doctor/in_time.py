"""A look that may hang, given so long and no longer.

Name lookups of the system and servers that send nothing cannot be called off, so the work is done
in a thread that nobody waits for once its time is over.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import TypeVar

from certwarden.errors import Error, as_error

SECONDS = 4.5  # a person waits for the answer

_T = TypeVar("_T")


HANGS = (
    "see whether a disk hangs, or the server of a file system: `df -h` stops at it, and `dmesg | "
    "tail` names it"
)
_NO_ANSWER = "check this machine's connection to the internet and its DNS resolver"


def in_time(
    work: Callable[[], _T], seconds: float | None = None, hint: str = _NO_ANSWER
) -> _T | Error:
    """What the work returns, or the Error that it raised or, with the hint, that it takes too long.

    It must have nothing to clean up: it may go on after this has returned.
    """
    outcome: Future[_T | Error] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as failure:  # noqa: BLE001 - told to whoever waits, if anybody still does
            outcome.set_result(as_error(failure))

    threading.Thread(target=run, daemon=True, name="look").start()
    limit = SECONDS if seconds is None else seconds
    wait_for([outcome], limit)
    if outcome.done():
        return outcome.result()
    return Error(f"there was no answer within {limit:g} s", hint)
