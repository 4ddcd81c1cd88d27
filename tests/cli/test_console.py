"""What a person sees while work is going on: progress on a terminal, a line an event elsewhere."""

import io
import os
import pty
import select

import pytest

from certwarden.cli.console import Console
from certwarden.ports import Level


def test_without_a_terminal_an_event_is_a_line() -> None:
    """Phases stay silent; warnings and errors say that they are; a hint follows in brackets."""
    stream = io.StringIO()
    console = Console(stream)
    console.phase("home", "ordering")
    console.event(Level.INFO, "home", "certificate obtained")
    console.event(Level.WARNING, "node-red", "nobody answers", "start it")
    assert stream.getvalue().splitlines() == [
        "home: certificate obtained",
        "node-red: warning: nobody answers (start it)",
    ]


def test_verbose_tells_phases_and_quiet_only_what_is_wrong() -> None:
    """The two options do what their help says."""
    loud, quiet = io.StringIO(), io.StringIO()
    for console in (Console(loud, is_verbose=True), Console(quiet, is_quiet=True)):
        console.phase("home", "ordering")
        console.event(Level.INFO, "home", "obtained")
        console.event(Level.ERROR, "home", "refused")
    assert loud.getvalue().splitlines() == [
        "home: ordering",
        "home: obtained",
        "home: error: refused",
    ]
    assert quiet.getvalue().splitlines() == ["home: error: refused"]


def test_a_terminal_shows_one_line_per_subject_and_cleans_up() -> None:
    """Phases are rewritten in place; what is left at the end are the events."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream:
        console = Console(stream)
        console.phase("home", "ordering")
        console.phase("home", "validating")
        console.phase("barn", "ordering")
        console.event(Level.INFO, "home", "certificate obtained")
        console.close()
        assert screen(leader) == ["home: certificate obtained"]
    os.close(leader)


def test_what_happens_steers_no_terminal() -> None:
    """Nor the terminal of whoever reads the log."""
    stream = io.StringIO()
    console = Console(stream)
    console.event(Level.ERROR, "home", "refused\x1b[2J", "\x9b2J")

    assert stream.getvalue() == "home: error: refused?[2J (?2J)\n"


def test_the_journal_gets_priorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under systemd each line bears its level, so that `journalctl -p warning` finds it."""
    reader, writer = os.pipe()
    found = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    with os.fdopen(writer, "w") as stream:
        Console(stream).event(Level.ERROR, "home", "refused")
    with os.fdopen(reader) as text:
        assert text.read() == "<3>home: error: refused\n"


def test_a_listener_who_has_gone_stops_no_work() -> None:
    """A closed stderr is no reason to fail a renewal."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    Console(stream).event(Level.INFO, "home", "obtained")
    try:
        stream.close()
    except BrokenPipeError:
        pass


def screen(terminal: int) -> list[str]:
    """The lines that are to be seen after all that was written, by a very small terminal."""
    data = b""
    while select.select([terminal], [], [], 0.2)[0]:
        data += os.read(terminal, 4096)
    lines, row = [""], 0
    for part in data.decode().replace("\r\n", "\n").replace("\x1b[1A\r\x1b[K", "\0"):
        if part == "\0":
            row -= 1
            lines[row] = ""
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] += part
    return [line for line in lines if line]
