"""The drawings beside the steps: lines only, in the colours of the page. They say nothing new.

Each is a symbol that the page holds once and shows where it is wanted.
"""

from collections.abc import Mapping

_GEAR = (
    '<circle class="hot" cx="24" cy="21" r="4"/><path class="hot" d="M24 13v3.5M24 25.5V29'
    "M16 21h3.5M28.5 21H32M18.4 15.4l2.4 2.4M27.2 24.2l2.4 2.4"
    'M29.6 15.4l-2.4 2.4M20.8 24.2l-2.4 2.4"/>'
)
_LINES: Mapping[str, str] = {
    "key": (
        '<circle cx="16" cy="24" r="8.5"/><path d="M24.5 24H43M36 24v7M43 24v5"/>'
        '<circle class="dot" cx="14" cy="24" r="2"/>'
    ),
    "file": (
        '<path d="M13 5h15l9 9v29H13zM28 5v9h9"/><path class="hot" d="M25 20v14M19 28.5l6 6 6-6"/>'
    ),
    "settings": (
        '<rect x="12" y="4" width="24" height="40" rx="5"/><path d="M21 39.5h6"/>' + _GEAR
    ),
    "computer": (
        '<rect x="4" y="7" width="40" height="28" rx="4"/><path d="M17 42h14M24 35v7"/>' + _GEAR
    ),
    "profile": (
        '<rect x="5" y="10" width="38" height="28" rx="4"/><circle cx="15" cy="20" r="3.5"/>'
        '<path d="M9.5 30c.8-3.6 2.6-5 5.5-5s4.7 1.4 5.5 5M26 18h11"/>'
        '<path class="hot" d="M26 27.5l3.5 3.5 7.5-7.5"/>'
    ),
    "lock": (
        '<rect x="9" y="20" width="30" height="23" rx="4"/><path d="M16 20v-6a8 8 0 0 1 16 0v6"/>'
        '<path class="dots" d="M17 31.5h.01M24 31.5h.01M31 31.5h.01"/>'
    ),
    "list": (
        '<rect x="6" y="6" width="36" height="36" rx="4"/><path d="M13 14h14M13 34h14"/>'
        '<path class="hot" d="M13 24h20M28 19l5.5 5-5.5 5"/>'
    ),
    "page": (
        '<rect x="5" y="8" width="38" height="32" rx="4"/><path d="M5 17h38M10.5 12.5h.01'
        'M15.5 12.5h.01"/><path class="hot" d="M17 28.5l5 5 9-9.5"/>'
    ),
}
NAMES = frozenset(_LINES)

# `hidden` would keep some browsers from showing what is in it.
SYMBOLS = (
    '<svg class="apart" width="0" height="0" aria-hidden="true" focusable="false">'
    + "".join(
        f'<symbol id="draw-{name}" viewBox="0 0 48 48">{lines}</symbol>'
        for name, lines in _LINES.items()
    )
    + "</svg>"
)


def show(name: str) -> str:
    """The drawing as SVG; whoever cannot see it misses nothing."""
    return f'<svg aria-hidden="true" focusable="false"><use href="#draw-{name}"/></svg>'
