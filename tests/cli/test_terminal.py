"""Passphrases are asked and shown at the terminal itself, whatever stdin and stdout are."""

import os
import sys
from pathlib import Path

import pytest

from certwarden.cli.terminal import (
    MAX_PASSWORD,
    ask_passphrase,
    has_terminal,
    read_password_file,
    show_drawing,
    show_once,
    weakness,
)
from certwarden.errors import UsageError
from certwarden.model import Secret
from tests.person import Person

ROOT = Path(__file__).parents[2]
GOOD = "correct horse battery staple"


def talk(*lines: str) -> Person:
    """A program that has all of `terminal` at hand; what it prints goes into a pipe."""
    script = [
        f"import sys; sys.path.insert(0, {str(ROOT)!r})",
        "from certwarden.cli.terminal import *",
        "from certwarden.model import Secret",
        "from certwarden.errors import UsageError",
        *lines,
    ]
    return Person([sys.executable, "-I", "-c", "\n".join(script)], os.environ)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is there, even where the tests themselves are run at a terminal."""
    monkeypatch.setattr("certwarden.cli.terminal.TERMINAL", str(tmp_path / "no-tty"))


@pytest.fixture
def misled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Something else is where the terminal should be."""
    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr("certwarden.cli.terminal.TERMINAL", str(path))
    return path


def test_a_passphrase_is_asked_at_the_terminal_and_not_echoed() -> None:
    """stdin is empty and stdout is a pipe: the question and the answer are in neither."""
    with talk("assert has_terminal()", "print(ask_passphrase('Pass').reveal().hex())") as person:
        person.types(GOOD, after="Pass: ")
        code, out, err = person.leaves()
    assert (code, bytes.fromhex(out).decode(), err) == (0, GOOD, "")
    assert GOOD not in person.screen


def test_a_passphrase_is_the_same_from_every_keyboard() -> None:
    """An accent that is typed as a character of its own makes no other passphrase."""
    with talk("print(ask_passphrase('Pass').reveal().hex())") as person:
        person.types("cafe\u0301", after="Pass: ")
        _, out, _ = person.leaves()
    assert bytes.fromhex(out).decode() == "caf\u00e9"


@pytest.mark.parametrize("typed", ["", "\x04"], ids=["nothing", "end of file"])
def test_nothing_is_no_passphrase(typed: str) -> None:
    """An empty answer, or Ctrl-D, ends it with a sentence."""
    script = "try: ask_passphrase('Pass')\nexcept UsageError as e: print(e.what)"
    with talk(script) as person:
        person.types(typed, after="Pass: ")
        code, out, err = person.leaves()
    assert (code, out, err) == (0, "nothing was typed\n", "")


def test_a_new_passphrase_is_typed_twice() -> None:
    """Weak ones and slips of the finger are told, and may be put right."""
    with talk("print(ask_new_passphrase('New one').reveal().decode())") as person:
        person.types("short", after="New one (at least 12 characters): ")
        person.types(GOOD, after="New one (at least 12 characters): ")
        person.types(f"{GOOD}r", after="The same again: ")
        person.types(GOOD, after="New one (at least 12 characters): ")
        person.types(GOOD, after="The same again: ")
        code, out, _ = person.leaves()
    assert (code, out) == (0, f"{GOOD}\n")
    assert "It must have at least 12 characters" in person.screen
    assert "two different ones" in person.screen
    assert GOOD not in person.screen


def test_three_tries_are_enough() -> None:
    """Nobody is kept in a loop; the command ends with a sentence."""
    script = "try: ask_new_passphrase('New')\nexcept UsageError as e: print(e.what)"
    with talk(script) as person:
        for _ in range(3):
            person.types("abababababababab", after="New (at least 12 characters): ")
        _, out, _ = person.leaves()
    assert out == "no passphrase was chosen\n"
    assert "must be different" in person.screen


def test_what_is_said_steers_no_terminal() -> None:
    """Paths and answers of others are among it."""
    with talk(r"say('a \x1b]0;owned\x07\x1b[8mb\n\tc')") as person:
        code, _, _ = person.leaves()
    assert code == 0
    assert "a ?]0;owned??[8mb" in person.screen
    assert "\x1b" not in person.screen


def test_a_secret_is_shown_on_the_terminal_only() -> None:
    """Whoever redirects a command's output does not write its password into a file."""
    with talk("show_once('password', Secret(b'abcd-efgh'))") as person:
        code, out, err = person.leaves()
    assert (code, out, err) == (0, "", "")
    assert "password: abcd-efgh" in person.screen


@pytest.mark.parametrize(
    ("size", "fits"),
    [((0, 0), True), ((4, 5), True), ((3, 5), False), ((4, 4), False)],
    ids=["of unknown size", "just large enough", "too low", "too narrow"],
)
def test_a_drawing_is_shown_whole_or_not_at_all(size: tuple[int, int], *, fits: bool) -> None:
    """Dark on light, with the cursor's line below it: half a code is of no use."""
    script = (
        "import os, termios",
        f"termios.tcsetwinsize(os.open(TERMINAL, os.O_RDWR), {size})",
        "print(show_drawing(['█▀█▄ ', '▄ ▄  ', '     ']))",
    )
    with talk(*script) as person:
        code, out, _ = person.leaves()
    assert (code, out) == (0, f"{fits}\n")
    assert ("\x1b[30;107m█▀█▄ \x1b[0m" in person.screen) == bool(person.screen) == fits


@pytest.mark.usefixtures("alone")
def test_without_a_terminal_there_is_a_sentence() -> None:
    """Neither is a passphrase taken from stdin nor a secret printed to stdout."""
    assert not has_terminal()
    with pytest.raises(UsageError, match="no terminal to ask") as refused:
        ask_passphrase("Pass")
    assert "--password-file" in refused.value.hint
    with pytest.raises(UsageError, match="no terminal to show"):
        show_once("password", Secret(b"abcd"))
    with pytest.raises(UsageError, match="no terminal to show"):
        show_drawing(["█"])


def test_a_file_is_no_terminal(misled: Path) -> None:
    """Where /dev is incomplete, a secret must not end up in a file of that name."""
    assert not has_terminal()
    with pytest.raises(UsageError, match="no terminal to show"):
        show_once("password", Secret(b"abcd"))
    assert misled.read_bytes() == b""


@pytest.mark.parametrize(
    ("passphrase", "is_weak"),
    [("eleven char", True), ("twelve chars", False), ("aaaabbbbcccc", True), ("ä" * 12, True)],
)
def test_weakness(passphrase: str, *, is_weak: bool) -> None:
    """The rule is one of length and variety, by characters."""
    assert bool(weakness(Secret(passphrase.encode()))) is is_weak


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"one two\n", b"one two"),
        (b" one \r\nsecond line\n", b" one "),
        (b"no end", b"no end"),
        ("cafe\u0301\n".encode(), "caf\u00e9".encode()),
        (b"\xff\xfe\n", b"\xff\xfe"),
    ],
)
def test_password_file(tmp_path: Path, content: bytes, password: bytes) -> None:
    """The first line counts, blanks in it included; the line's end does not."""
    assert read_password_file(written(tmp_path, content)) == Secret(password)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"", 0o600, "nothing in its first line"),
        (b"\nsecond\n", 0o600, "nothing in its first line"),
        (b"s3cret\n", 0o644, "open to everybody"),
        (b"s3cret\n", 0o602, "open to everybody"),
        (b"x" * (MAX_PASSWORD + 1), 0o600, "more than 1024 bytes"),
    ],
)
def test_password_file_that_will_not_do(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    """Each is refused in a sentence that does not quote it."""
    with pytest.raises(UsageError, match=words) as refused:
        read_password_file(written(tmp_path, content, mode))
    assert "s3cret" not in f"{refused.value} {refused.value.hint}"


def test_password_file_that_is_none(tmp_path: Path) -> None:
    """Absent, a directory, a pipe that nobody writes: a sentence at once, no wait."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(UsageError, match=r"cannot be read|not a regular file"):
            read_password_file(path)


def written(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path
