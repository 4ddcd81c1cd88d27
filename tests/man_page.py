"""Builds the man page from the command tree and its examples: docs/man/certwarden.1.

`script/man` runs this; the page is the same on every day and at every width of terminal.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from unittest import mock

from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped] # has no types

from certwarden import __version__
from certwarden.cli.arguments import DEFAULT_CONFIG, EXIT_CODES, parser
from certwarden.cli.examples import EXAMPLES

PAGE = Path(__file__).parent.parent / "docs" / "man" / "certwarden.1"
NAME = "TLS certificates for a house: obtained, installed, and proven to be in use"
ENVIRONMENT = (
    ("CERTWARDEN_CONFIG", "the configuration, where --config names none"),
    ("STATE_DIRECTORY", "the first entry wins over state_directory; systemd sets it"),
    ("CREDENTIALS_DIRECTORY", "where systemd puts credentials"),
    ("NO_COLOR", "no colours"),
    ("XDG_STATE_HOME", "where a bug is written down; else where temporary files go"),
)
FILES = (
    (DEFAULT_CONFIG, "the configuration"),
    ("/var/lib/certwarden", "certificates, the private CA, the database"),
)


def main() -> int:
    """Writes the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(build())
    return 0


def build() -> str:
    """The page as it is to be."""
    top = parser()
    top.epilog = None
    data = {
        "project_name": "certwarden",
        "version": __version__,
        "manual_title": "certwarden",
        "description": NAME,
        "date": " ",
    }
    codes = [line.split(maxsplit=1) for line in EXIT_CODES.splitlines()[1:]]
    sections = {
        "exit status": _terms(codes),
        "environment": _terms(ENVIRONMENT),
        "files": _terms(FILES),
        "examples": _examples(),
    }
    found = [{"heading": name, "content": content} for name, content in sections.items()]
    setattr(top, "_manpage", found)  # noqa: B010 - where argparse-manpage looks for sections
    with mock.patch.dict(os.environ, COLUMNS="80"):
        return str(Manpage(top, data))


def _terms(pairs: Iterable[Sequence[str]]) -> str:
    return "\n".join(f".TP\n.B {_escaped(term)}\n{_escaped(text)}" for term, text in pairs)


def _examples() -> str:
    """Those of the commands, not of their groups, which only repeat them."""
    lines = dict.fromkeys(line for each in EXAMPLES.values() for line in each)
    return "\n".join([".nf", *map(_escaped, lines), ".fi"])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


if __name__ == "__main__":
    sys.exit(main())
