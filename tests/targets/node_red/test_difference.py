"""A change of settings.js is shown without what must not be seen."""

import pytest

from certwarden.targets.node_red import edit
from certwarden.targets.node_red.difference import difference
from tests.targets.node_red.shapes import IDENTITY, LINE, SHAPES, Shape

SECRET = "hush"


def shown(before: str, after: str) -> list[str]:
    """Without the three lines that come before the first change."""
    return difference("/s.js", before.encode(), after.encode()).split("\n")[3:]


def test_our_lines_are_shown_whole_with_their_place() -> None:
    """Between the names of their neighbours."""
    before = "// a\nmodule.exports = {\n    uiPort: 1880,\n};\n"
    text = difference("/s.js", before.encode(), edit.insert_line(before.encode(), LINE))

    assert text.split("\n") == [
        "--- /s.js",
        "+++ /s.js (proposed)",
        "@@ -2,2 +2,3 @@",
        " module.exports = {",
        f"+    {LINE},",
        "     uiPort: …",
    ]


def test_no_change_is_nothing() -> None:
    """So that it can be asked for."""
    assert difference("/s.js", b"a\n", b"a\n") == ""


HIDDEN = {
    "after its name": f"  credentialSecret: '{SECRET}',",
    "in quotes": f"  'some-thing': '{SECRET}',",
    "on the next line": f"    '{SECRET}',",
    "after an escaped quote": f"  pass: 'ab\\'{SECRET}',",
    "with a colon": f"  '{SECRET}: {SECRET}',",
    "by a name that nobody thought of": f"  x: {{ y: '{SECRET}' }},",
    "in a comment": f"  // the old one was {SECRET}",
    "in a template": f"  {SECRET}`,",
    "in PEM": f"MIIE{SECRET}",
    "after brackets": f"  }}, {{ pass: '{SECRET}' }}],",
}


@pytest.mark.parametrize("line", HIDDEN.values(), ids=HIDDEN)
def test_what_others_wrote_is_not_shown(line: str) -> None:
    """Neither where it stays nor where it goes; wherever in the line it stands."""
    kept = "\n".join(shown(f"{{\n{line}\n}}", f"{{\n    {LINE},\n{line}\n}}"))
    gone = "\n".join(shown(f"{{\n{line}\n}}", f"{{\n    {LINE},\n}}"))
    one = "\n".join(shown(f"{{{line}}}", f"{{ {LINE}, {line}}}"))

    for text in (kept, gone, one):
        assert LINE in text
        assert SECRET not in text


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_both_our_lines_are_seen(shape: Shape) -> None:
    """Whatever they are put into."""
    after = edit.insert_line(edit.insert_line(shape.source, LINE), IDENTITY)

    text = difference("/s.js", shape.source, after)

    assert LINE in text
    assert IDENTITY in text


@pytest.mark.parametrize("line", ["key" * 60_000, "a " * 90_000, "https: require(" * 13_000])
def test_a_long_line_takes_no_time(line: str) -> None:
    """Nobody keeps root busy with a line of his."""
    text = "\n".join(shown(f"{{\n{line}\n}}", f"{{\n    {LINE},\n{line}\n}}"))

    assert len(text) < 1000


def test_nothing_in_it_steers_a_terminal() -> None:
    """Not even in a name, or in a line that looks like ours."""
    line = LINE.replace("/live/", "/\x1b[2J\u202e/")
    text = "\n".join(shown("", f"{line}\n\x1b[8m: \x9b\nab\x00c: 1\r"))

    assert all(each.isprintable() for each in text.split("\n"))
