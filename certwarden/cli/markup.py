"""HTML and SVG that nobody can write into: whatever is not Markup is a stranger's text.

Owns neither words nor looks.
"""

import html

from certwarden.errors import clean

_MAX_TEXT = 4000
_EMPTY = frozenset(("meta", "br", "hr"))


class Markup(str):
    """Text that is HTML already; only this module makes some out of what it was given."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: object) -> Markup:
    """An element; `class_` is class, `aria_label` aria-label, and None leaves an attribute out."""
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY:
        return Markup(f"<{name}{named}>")
    return Markup(f"<{name}{named}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """The children one after the other."""
    return Markup(
        "".join(child if isinstance(child, Markup) else _escaped(child) for child in children)
    )


def verbatim(text: str) -> Markup:
    """Text of our own that is HTML already, such as a style sheet."""
    return Markup(text)


def _escaped(text: str) -> str:
    return html.escape(clean(text, _MAX_TEXT))
