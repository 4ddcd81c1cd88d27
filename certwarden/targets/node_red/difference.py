"""What a change of settings.js looks like to a person: certwarden's lines, and nobody's secrets.

The file is full of what must not be seen over a shoulder, in a log or in a forum. So of its other
lines only what they are called is shown, as far as that can be told from a single line; which of
its values are secret is never guessed. Pure.
"""

import difflib
import re

from certwarden.errors import visible

_AROUND = 1  # lines of context
_LONGEST = 300  # characters of a line that are looked at
_OURS = re.compile(
    r"(?:https|httpNodeMiddleware): "
    r'require\("[^"\n]{0,300}certwarden/targets/node_red/(?:hot|identity)\.js"\)'
    r'(?:\(\{ live: "[^"\n]{0,300}"(?:, clientAuth: true)? \}\))?'
)
_NAME = re.compile(r"""\s*(?:module\.exports\s*=|(['"]?)[A-Za-z_$][\w$]{0,39}\1\s*:)""")
_ONLY_BRACKETS = re.compile(r"[\s{}()\[\],;]*")


def difference(name: str, before: bytes, after: bytes) -> str:
    """As `diff -u` has it, fit for a terminal, and "" where there is none; `name` is the file's."""
    old, new = (source.decode("utf-8", "replace").split("\n") for source in (before, after))
    lines = difflib.unified_diff(old, new, name, f"{name} (proposed)", "", "", _AROUND, "")
    return "\n".join(
        each if number < 2 or each.startswith("@") else each[0] + _shown(each[1:])
        for number, each in enumerate(lines)
    )


def _shown(line: str) -> str:
    shown, end = "", 0
    for ours in _OURS.finditer(line):
        shown += _masked(line[end : ours.start()]) + visible(ours[0])
        end = ours.end()
    return shown + _masked(line[end:])


def _masked(text: str) -> str:
    """What it is called, and the brackets where there is nothing else; the rest is `…`."""
    text = visible(text[:_LONGEST].rstrip("\r"))
    if _ONLY_BRACKETS.fullmatch(text):
        return text
    name = _NAME.match(text)
    if name is None:
        indentation = text[: len(text) - len(text.lstrip())]
        return f"{indentation}…"
    rest = text[name.end() :]
    return name[0] + (rest if _ONLY_BRACKETS.fullmatch(rest) else " …")
