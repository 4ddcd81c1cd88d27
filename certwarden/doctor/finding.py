"""What a check has to say about one subject."""

from enum import StrEnum

from certwarden.frozen import frozen


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
