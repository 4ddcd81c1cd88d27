"""Talks with the person at the terminal itself (/dev/tty), wherever stdin and stdout lead.

What is asked and shown here are passphrases and passwords: nothing of them is echoed, and nothing
gets into a pipe or a log. Owns no rule of what a passphrase protects; keeps nothing.
"""

import contextlib
import errno
import getpass
import os
import shlex
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from certwarden.errors import UsageError, clean, visible
from certwarden.model import Secret

TERMINAL = "/dev/tty"
MIN_PASSPHRASE = 12
MIN_DIFFERENT = 6
MAX_PASSWORD = 1024  # bytes
_TRIES = 3
_DARK_ON_LIGHT, _PLAIN = "\x1b[30;107m", "\x1b[0m"  # ECMA-48, section 8.3.117
_OPEN_TO_ALL = stat.S_IROTH | stat.S_IWOTH


def has_terminal() -> bool:
    """Whether there is somebody to talk with: the process has a terminal that can be opened."""
    try:
        os.close(_opened())
    except OSError:
        return False
    return True


def ask_passphrase(prompt: str) -> Secret:
    """What the person types after the prompt ("Passphrase of the CA"), unseen; never empty.

    UTF-8 in normal form C, so that it is the same from every keyboard. Raises UsageError where
    there is no terminal or nothing is typed.
    """
    typed = _ask(prompt)
    if not typed.reveal():
        raise UsageError("nothing was typed", "run the command again")
    return typed


def ask_new_passphrase(prompt: str) -> Secret:
    """A passphrase that the person chooses, typed twice; there are three tries to get it right.

    At least 12 characters, 6 of them different. Raises UsageError as `ask_passphrase` does.
    """
    for _ in range(_TRIES):
        typed = ask_passphrase(f"{prompt} (at least {MIN_PASSPHRASE} characters)")
        if fault := weakness(typed):
            _say(fault)
        elif _ask("The same again") != typed:
            _say("These were two different ones.")
        else:
            return typed
    raise UsageError("no passphrase was chosen", "run the command again")


def weakness(passphrase: Secret) -> str:
    """Why the passphrase is too weak to keep a key from whoever has a copy of it, or nothing."""
    text = passphrase.reveal().decode("utf-8", "replace")
    if len(text) < MIN_PASSPHRASE:
        return f"It must have at least {MIN_PASSPHRASE} characters; five random words are good."
    if len(set(text)) < MIN_DIFFERENT:
        return f"At least {MIN_DIFFERENT} of its characters must be different."
    return ""


def ask(question: str, default: str = "") -> str:
    """What the person types after the question, without the space around it, or the default.

    Raises UsageError where there is no terminal, or nothing more will be typed (Ctrl-D).
    """
    shown = f" [{clean(default)}]" if default else ""
    try:
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "r+b", buffering=0) as terminal:
            terminal.write(f"{clean(question)}{shown}: ".encode())
            line = _line(terminal)
    except OSError:
        raise UsageError("there is no terminal to ask on", "run it in a terminal") from None
    if not line.endswith(b"\n"):
        _say("")  # the question's line is not at its end
        raise UsageError("nothing was typed", "run the command again")
    return unicodedata.normalize("NFC", line.decode("utf-8", "replace")).strip() or default


def confirm(question: str, *, default: bool) -> bool:
    """Whether the person says yes; asked again until it is yes or no."""
    while True:
        answer = ask(f"{question} ({'Y/n' if default else 'y/N'})").lower()
        if answer in ("", "y", "yes", "n", "no"):
            return answer.startswith("y") if answer else default
        _say("Type y or n.")


def say(text: str) -> None:
    """Shows the text on the terminal, which obeys nothing in it; raises UsageError without one."""
    _say(text)


def show_drawing(rows: Sequence[str]) -> bool:
    """Shows the rows, dark on light whatever its colours are; False where they are too many for it.

    Of a terminal that does not tell its size it is taken that they fit. Raises UsageError where
    there is none.
    """
    try:
        with os.fdopen(_opened(), "w", encoding="utf-8", errors="replace") as terminal:
            size = os.get_terminal_size(terminal.fileno())
            is_narrow = 0 < size.columns < max(map(len, rows))
            if is_narrow or 0 < size.lines <= len(rows):  # the cursor has a line, too
                return False
            terminal.writelines(f"{_DARK_ON_LIGHT}{row}{_PLAIN}\n" for row in rows)
    except OSError:
        raise _no_terminal() from None
    return True


def show_once(label: str, secret: Secret) -> None:
    """Shows the secret on the terminal, and nowhere else; raises UsageError where there is none."""
    _say(f"{clean(label)}: {secret.reveal().decode('utf-8', 'replace')}")


def read_password_file(path: Path) -> Secret:
    """The password in the first line of the file, without the line's end.

    Raises UsageError where the file is absent, not a regular one, open to everybody, or its first
    line empty or longer than 1024 bytes.
    """
    where = clean(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            line = file.readline(MAX_PASSWORD + 2).rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(
            f"the password file {where} cannot be read: {error.strerror}",
            "see `--password-file` in the help of the command",
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"the password file {where} is not a regular file")
    if found.st_mode & _OPEN_TO_ALL:
        mode = stat.S_IMODE(found.st_mode)
        raise UsageError(
            f"the password file {where} is open to everybody (mode {mode:04o})",
            f"run `chmod o= {shlex.quote(where)}`, and choose another password if others may have "
            "seen it",
        )
    if not line:
        raise UsageError(
            f"the password file {where} has nothing in its first line",
            "write the password there; where the file is missing, some commands make one",
        )
    if len(line) > MAX_PASSWORD:
        raise UsageError(
            f"the first line of the password file {where} has more than {MAX_PASSWORD} bytes",
            "is it the right file?",
        )
    return _normal(line)


def _ask(prompt: str) -> Secret:
    if not has_terminal():
        raise UsageError(
            "there is no terminal to ask for a passphrase",
            "run it in a terminal, or name a file by --password-file where the command takes one",
        )
    try:
        typed = getpass.getpass(f"{clean(prompt)}: ")
    except EOFError:
        _say("")  # the prompt's line is not at its end
        return Secret(b"")
    return _normal(typed.encode("utf-8", "surrogateescape"))


def _line(terminal: BinaryIO) -> bytes:
    """A line as it is typed; the terminal hands over whole ones."""
    line = b""
    while not line.endswith(b"\n") and (piece := terminal.read(MAX_PASSWORD)):
        line += piece
    return line


def _say(text: str) -> None:
    try:
        with os.fdopen(_opened(), "w", encoding="utf-8", errors="replace") as terminal:
            terminal.write(f"{visible(text)}\n")
    except OSError:
        raise _no_terminal() from None


def _no_terminal() -> UsageError:
    return UsageError("there is no terminal to show it on", "run the command in a terminal")


def _opened() -> int:
    descriptor = os.open(TERMINAL, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    if not os.isatty(descriptor):  # where there is no such device, anything may be in its place
        os.close(descriptor)
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY), TERMINAL)
    return descriptor


def _normal(secret: bytes) -> Secret:
    """What is text in form C; what is not, as it is."""
    with contextlib.suppress(UnicodeDecodeError):
        return Secret(unicodedata.normalize("NFC", secret.decode()).encode())
    return Secret(secret)
