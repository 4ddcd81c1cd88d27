"""docs/first-ten-minutes.md as somebody reads it who does what it says, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "first-ten-minutes.md"
ENTER = "Enter"

_ROW = re.compile(r"^\| (\*\*.+?) \| (.+) \|$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def part(heading: str) -> str:
    """What stands below the heading."""
    (found,) = (each for each in PAGE.read_text().split("\n## ") if each.startswith(f"{heading}\n"))
    return found


def commands(heading: str) -> list[str]:
    """The commands below the heading, in their order; one may have several lines."""
    blocks = [text for language, text in _BLOCK.findall(part(heading)) if language == "sh"]
    return [line for text in blocks for line in text.replace("\\\n", "").splitlines()]


def address(heading: str) -> str:
    """The URL that is to be opened."""
    found = dict(_BLOCK.findall(part(heading)))
    return str(found["text"]).strip()


def answers(heading: str) -> dict[str, str]:
    """What to say, by question: what is to be typed, "" for Enter, or the cell's own words."""
    return dict(_answers(heading))


def _answers(heading: str) -> Iterator[tuple[str, str]]:
    for questions, cell in _ROW.findall(part(heading)):
        typed = re.match(r"`([^`]+)`", cell)
        for question in re.findall(r"\*\*(.+?)\*\*", questions):
            yield question, typed[1] if typed else "" if cell.startswith(ENTER) else cell
