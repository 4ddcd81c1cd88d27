"""What is printed steers no terminal, wherever its words come from."""

import json

import pytest

from certwarden.cli import _complain
from certwarden.cli.screen import Screen
from certwarden.cli.shapes import show_json, show_line
from certwarden.errors import visible

EVIL = "/home/pi/\x1b]0;owned\x07\x1b[8m\x9b2J\u202esettings\ud800.js\r"
SEEN = "/home/pi/?]0;owned??[8m?2J?settings?.js "


def test_a_line_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be seen is a question mark; lines and tabs stay, and so does every script."""
    show_line(f"ä\t█ 名 …\n{EVIL}")

    assert capsys.readouterr().out == f"ä\t█ 名 …\n{SEEN}\n"
    assert visible("plain") == "plain"


def test_json_says_the_same_by_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get what it is, terminals nothing to obey."""
    show_json({EVIL: [EVIL, "ä", "\U000e0041", "\xa0"]})

    text = capsys.readouterr().out
    assert visible(text) == text
    assert json.loads(text) == {EVIL: [EVIL, "ä", "\U000e0041", "\xa0"]}
    assert '"ä"' in text


def test_an_error_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Its sentence and its hint."""
    _complain(EVIL, EVIL)

    assert capsys.readouterr().err == f"certwarden: {SEEN}\ncertwarden: hint: {SEEN}\n"


def test_colours_are_ours_alone() -> None:
    """A sentence in a coloured table has none of its own."""
    (line,) = Screen().wrapped("  ●", f"a {EVIL}b", 4)

    assert line.isprintable()
