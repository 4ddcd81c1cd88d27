"""The state directory itself: its modes, and what a failing disk means in a sentence.

Of what is kept in it, it knows the names only, to tell a state directory from any other.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certwarden import files
from certwarden.errors import StoreError

STATE_MODE = 0o711  # the programs that read `live` must pass through
PRIVATE_MODE = 0o700
CALL = "call"  # in the locks' directory: touched to have the daemon make a pass soon
ENTRIES = {"accounts", "authority", "certificates", "certwarden.db", "live", "locks"}

_LOST_AND_FOUND = "lost+found"  # in the root of a file system that is otherwise empty
_FULL = "free some space on its file system"
_NOT_OURS = "run certwarden as the user that owns the state directory"
_HINTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: "make its file system writable; a failing card turns read-only by itself",
    errno.EIO: "the storage fails: save what can be read, and replace the card or disk",
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.ENOTDIR: "something else stands in its place: move it away",
    errno.ELOOP: "something else stands in its place: move it away",
}


def private_directory(state_directory: Path, *parts: str) -> Path:
    """Makes sure that STATE (0711) and the directories below it (0700) are there; the last one.

    STATE itself may be a symbolic link: to a larger disk, for example. A directory that is there
    already must be empty or have an entry of ours, or its mode would be changed for a slip of the
    pen: StoreError. Also raises OSError.
    """
    directory = state_directory.resolve()
    _check_is_ours(directory)
    files.make_directory(directory, STATE_MODE)
    for part in parts:
        directory /= part
        files.make_directory(directory, PRIVATE_MODE)
    return directory


def call_daemon(state_directory: Path) -> None:
    """Asks the daemon, if one is at work, to look after what a command may leave undone.

    It waits a little, so that a command that goes well has nothing left by then. Raises StoreError.
    """
    with explained("the daemon cannot be called"):
        (private_directory(state_directory, "locks") / CALL).touch(mode=0o600)


def _check_is_ours(directory: Path) -> None:
    try:
        names = {entry.name for entry in directory.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise StoreError(
            f"the state directory {directory} is not a directory",
            "move away what is there, or correct `state_directory`",
        ) from None
    if names - {_LOST_AND_FOUND} and not names & ENTRIES:
        raise StoreError(
            f"the state directory {directory} holds other things than certwarden's",
            "let `state_directory` be a new or an empty directory; if this one is meant, make the "
            "directory `live` in it",
        )


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns an OSError of the block into a StoreError whose sentence begins with `what`."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        reason = error.strerror or type(error).__name__
        hint = _HINTS.get(error.errno or 0, "")
        raise StoreError(f"{what}: {reason}{where}", hint) from error
