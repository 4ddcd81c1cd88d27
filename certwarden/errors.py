"""The error tree: what happened, and what to do about it.

    Error                  one sentence (`what`), one piece of advice (`hint`)
    ├── UsageError         the command line asks for something that is not there; exit 2
    ├── ConfigError        config.toml: every mistake at once, by key path; exit 2
    ├── Busy               another certwarden holds the lock and did not let go in time; exit 1
    ├── MaterialError      a key or certificate is unreadable, or they do not belong together
    │   └── NotNowError    … or its dates do not include this instant
    ├── StoreError         our own files: unreadable, inconsistent, or not to be written
    ├── IssuerError        the conversation with the public CA (RFC 8555)
    ├── ZoneError          the conversation with the DNS provider
    ├── InvitationError    a token that no certificate is to be had for, or not any more
    ├── LockedError        the private CA's key needs a passphrase that is not to be had here
    ├── TargetError        a target's files, its reload or its handshake
    ├── ClockError         the wall clock is not to be trusted, so that nothing is signed
    └── NotifyError        a person could not be reached

Only `cli` turns an error into text and an exit code. No error ever carries a key, a token or a
passphrase; text that comes from a stranger is cleaned by `clean` before it becomes part of one.
"""

import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

MAX_FOREIGN_TEXT = 500


def clean(text: str, limit: int = MAX_FOREIGN_TEXT) -> str:
    """A stranger's text made safe for a terminal or a log: one line, no control characters, capped.

    Bidirectional and zero-width format characters go as well: they can make a line lie.
    """
    kept = text[: limit * 4]
    if not (kept.isascii() and kept.isprintable()):
        kept = "".join(
            " " if character.isspace() else character
            for character in kept
            if character.isspace() or unicodedata.category(character)[0] != "C"
        )
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def visible(text: str) -> str:
    """A text of lines as a terminal may have it: whatever steers one, or cannot be seen, is a ?.

    For the places where text leaves us; what comes from a stranger is to be `clean` long before.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else " " if each.isspace() else "?"
        for each in text
    )


class Error(Exception):
    """Something that a person must know.

    `what` says in one sentence what is wrong and where; `hint` says in one sentence what to do, or
    is empty. `permanent` says that trying again cannot help until something of ours was changed.
    `retry_after` is how long the other side asked us to wait, if it did.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        permanent: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.permanent = permanent
        self.retry_after = retry_after


def as_error(exception: Exception) -> Error:
    """The exception itself, if it is an Error; else one that says what kind it is and where from.

    Not its text, which may quote anything.
    """
    if isinstance(exception, Error):
        return exception
    import traceback

    frame = traceback.extract_tb(exception.__traceback__)[-1]
    where = f"{type(exception).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    return Error(f"unforeseen: {where}", "please report this sentence; nothing was lost")


class UsageError(Error):
    """The command line names something that does not exist or cannot be."""

    exit_code = 2


class Mistake(NamedTuple):  # no dataclass: loading those makes `--help` half as slow again
    """One mistake in the configuration: the key's path (`certificate[0].name`) and a sentence."""

    path: str
    message: str


class ConfigError(Error):
    """The configuration, or a list that a person wrote, cannot be used; carries every mistake."""

    exit_code = 2

    def __init__(
        self,
        source: str,
        mistakes: Sequence[Mistake],
        hint: str = "correct them and run `certwarden config check`",
    ) -> None:
        count = len(mistakes)
        what = f"{source} has {count} mistake{'s' if count != 1 else ''}"
        if count == 1 and not mistakes[0].path:  # of the file as a whole, such as a secret
            what = f"{source} {mistakes[0].message}"
        super().__init__(what, hint, permanent=True)
        self.source = source
        self.mistakes = tuple(mistakes)


class Busy(Error):
    """Another process holds a lock that this one needs."""


class MaterialError(Error):
    """A key or a certificate cannot be read, is not what was asked for, or does not match."""


class NotNowError(MaterialError):
    """A certificate is in order, but its dates do not include this instant."""


class StoreError(Error):
    """Our own files cannot be read, do not belong together, or cannot be written."""


ORDER_GONE = "orderGone"  # ours, beside RFC 8555's types: the order cannot be picked up any more


class IssuerError(Error):
    """The certification authority refused, failed, or could not be reached.

    `problem` is the problem document's type without its urn prefix (RFC 8555 section 6.7), or ""
    where there was none. `status` is the HTTP status, or None where no reply came. `failed_names`
    are the identifiers whose authorization failed, where that is why.
    """

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        problem: str = "",
        status: int | None = None,
        failed_names: tuple[str, ...] = (),
        permanent: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(what, hint, permanent=permanent, retry_after=retry_after)
        self.problem = problem
        self.status = status
        self.failed_names = failed_names


class ZoneError(Error):
    """The DNS provider refused, failed, or could not be reached; `code` is its own error code."""

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        code: int | None = None,
        permanent: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(what, hint, permanent=permanent, retry_after=retry_after)
        self.code = code


class InvitationError(Error):
    """What was shown is no open invitation: wrong, late, used, or withdrawn. Which, it never says.

    Whoever guesses must not learn from it.
    """


class LockedError(Error):
    """The private CA's key needs a passphrase, and there is none, or not the right one."""


class TargetError(Error):
    """A target's files could not be put in place, or its program did not take them up."""


class ClockError(Error):
    """The wall clock is not to be trusted."""


class NotifyError(Error):
    """A message or the heartbeat did not reach where it was to go.

    `is_partial` says that a message reached somebody all the same.
    """

    def __init__(
        self, what: str, hint: str = "", *, is_partial: bool = False, permanent: bool = False
    ) -> None:
        super().__init__(what, hint, permanent=permanent)
        self.is_partial = is_partial
