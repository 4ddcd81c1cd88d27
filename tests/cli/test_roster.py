"""A list of names that a person wrote: what is a name in it, and what is told about the rest."""

import pytest

from certwarden.cli.roster import MAX_NAMES, read_roster
from certwarden.errors import ConfigError, UsageError


def test_blank_lines_and_remarks_are_passed_over() -> None:
    """Whatever the editor ends its lines with, and begins its files with."""
    text = "\ufeffalice\r\n\r\n  bob  \n# carol\ndave # his phone\n"
    assert read_roster(text.encode(), "names") == ("alice", "bob", "dave")


def test_every_bad_line_is_told() -> None:
    """By its number, with the reason; a second mention by the first."""
    with pytest.raises(ConfigError) as caught:
        read_roster(b"alice\nBob\nalice\n\xff\xfe\n", "names")
    first, second, third = caught.value.mistakes
    assert (first.path, second.path, third.path) == ("line 2", "line 3", "line 4")
    assert second.message == "`alice` stands in line 1 already"
    assert caught.value.exit_code == 2


def test_a_hostile_line_is_told_in_one_line() -> None:
    """No control characters, and not without end."""
    with pytest.raises(ConfigError) as caught:
        read_roster(b"\x1b[2J" + b"a" * 100_000, "names")
    (mistake,) = caught.value.mistakes
    assert "\x1b" not in mistake.message
    assert len(mistake.message) < 1000


@pytest.mark.parametrize("data", [b"", b"\n# nobody\n"])
def test_a_list_of_nobody_is_a_mistake(data: bytes) -> None:
    """Exit 2, rather than nothing done and called a success."""
    with pytest.raises(UsageError, match="names nobody"):
        read_roster(data, "names")


def test_there_is_a_most() -> None:
    """More names than anybody means are refused, not begun."""
    names = "\n".join(f"client-{number}" for number in range(MAX_NAMES + 1))
    with pytest.raises(UsageError, match="the most"):
        read_roster(names.encode(), "names")
