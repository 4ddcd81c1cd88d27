"""What a check has to say about one subject."""

import re
from datetime import datetime
from enum import StrEnum

from certwarden.frozen import frozen

_COMMAND = re.compile(
    r"(?<!sudo )(?<!sudo -u USER )\bcertwarden (?=(?:"
    r"ca|client|config|deploy|history|nodered|notify|plan|renew|revoke|setup|snippet|status)\b)"
)


class Result(StrEnum):
    """How it is with the subject."""

    OK = "ok"
    WARNING = "warning"  # works today, and will not always, or not for everybody
    ERROR = "error"
    SKIPPED = "skipped"  # could not be looked at, or there is nothing to look at


@frozen
class Finding:
    """One sentence about one subject, and what to do where something is wrong.

    `subject` is a certificate, target, domain, file or unit; "" is the house as a whole. `check`
    is filled in by the examination.
    """

    result: Result
    subject: str
    what: str
    remedy: str = ""
    check: str = ""

    @property
    def needs_attention(self) -> bool:
        """Whether a person has something to do."""
        return self.result in (Result.WARNING, Result.ERROR)


def ok(subject: str, what: str) -> Finding:
    """The subject is in order, and how that was seen."""
    return Finding(Result.OK, subject, what)


def warning(subject: str, what: str, remedy: str) -> Finding:
    """It works, and needs a person before it no longer does."""
    return Finding(Result.WARNING, subject, what, remedy)


def error(subject: str, what: str, remedy: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding(Result.ERROR, subject, what, remedy)


def skipped(subject: str, why: str, remedy: str = "") -> Finding:
    """It could not be looked at, and why; `remedy` is how it could be."""
    return Finding(Result.SKIPPED, subject, why, remedy)


def day(instant: datetime) -> str:
    """The day as sentences name it."""
    return f"{instant:%Y-%m-%d}"


def minute(instant: datetime) -> str:
    """The instant as sentences name it, to the minute."""
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def as_typed(remedy: str) -> str:
    """The remedy with `sudo` before each of our commands, wherever the sentence comes from.

    What certwarden keeps is its own user's, and the token is closed to people: without it the next
    answer would be to use it.
    """
    return _COMMAND.sub("sudo certwarden ", remedy)
