"""The place where results are shown: how wide it is, which colours and characters it has.

Text is made with the characters of a good terminal; where those cannot be shown, others take their
place at the last moment. Owns no words.
"""

import os
import shutil
import textwrap
from collections.abc import Mapping
from enum import Enum
from typing import TextIO

from certwarden.errors import visible
from certwarden.frozen import frozen

UNLIMITED = 10_000  # the width of a pipe: whoever searches it wants whole sentences
_LEAST = 24
_PLAINER = str.maketrans("█░┃●—→", "#-|*->") | str.maketrans({"…": "..."})


class Colour(Enum):
    """What a word is to look like, by its meaning; the codes are ECMA-48's."""

    GOOD = "32"
    WARNING = "33"
    BAD = "1;31"
    STRONG = "1"
    FAINT = "2"


@frozen
class Screen:
    """What can be shown; `width` is in columns."""

    width: int = UNLIMITED
    is_coloured: bool = False
    is_unicode: bool = True

    def coloured(self, text: str, colour: Colour | None) -> str:
        """The text in that colour, if there are any."""
        if colour is None or not self.is_coloured or not text:
            return text
        return f"\x1b[{colour.value}m{text}\x1b[0m"

    def plain(self, text: str) -> str:
        """The text in characters that can be shown."""
        return text if self.is_unicode else text.translate(_PLAINER)

    def wrapped(self, label: str, text: str, indent: int) -> list[str]:
        """A paragraph whose first line bears the label; the others stand below its text."""
        lead = f"{label:<{indent}}"
        room = max(self.width, _LEAST)
        if len(lead) > indent:  # a long name has a line of its own
            return [lead, *self.wrapped("", text, indent)]
        return textwrap.wrap(
            visible(text),
            room,
            initial_indent=lead,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        ) or [lead.rstrip()]


def screen_of(stream: TextIO, environment: Mapping[str, str] | None = None) -> Screen:
    """What the stream can show: colours and a width only where it is a terminal.

    $NO_COLOR takes the colours away (no-color.org), and so does TERM=dumb.
    """
    variables = os.environ if environment is None else environment
    is_unicode = _can_show("█░┃●…—→", stream.encoding)
    if not stream.isatty():
        return Screen(is_unicode=is_unicode)
    is_coloured = variables.get("TERM", "dumb") != "dumb" and not variables.get("NO_COLOR")
    return Screen(shutil.get_terminal_size().columns, is_coloured, is_unicode)


def _can_show(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
