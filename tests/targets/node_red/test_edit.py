"""certwarden's lines are put in and taken out, and every other byte stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.targets.node_red import edit
from tests.targets.node_red.shapes import IDENTITY, LINE, REFUSED, SHAPES, Shape
from tests.world import tools

AROUND = b" \t\r\n,"
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

# Runs each file, with a stand-in for certwarden's module, and tells what Node-RED would get.
EVALUATE = """
const { Module } = require('module'), load = Module._load;
Module._load = (name, ...rest) => name === process.argv[1] ? (o) => o : load(name, ...rest);
const told = process.argv.slice(2).map((file) => {
  const found = require(file);
  return [Object.keys(found), found.https?.live ?? null];
});
console.log(JSON.stringify(told));
"""


def assert_only_this(before: bytes, after: bytes, line: bytes, replaced: bytes) -> None:
    """Apart from the line, what it replaced, and commas and space around it, nothing differs."""
    head, found, tail = after.partition(line)
    assert found
    if replaced:
        assert before == head + replaced + tail
        return
    for place in range(len(before) + 1):
        added = (head[place:], tail[: len(tail) - (len(before) - place)])
        if not any(part.strip(AROUND) for part in added) and (
            before == head[:place] + tail[len(added[1]) :]
        ):
            return
    pytest.fail(f"more than a line was put in: {after!r}")


@shapes
def test_all_other_bytes_stay(shape: Shape) -> None:
    """The line is there once; what is around it is as it was."""
    after = edit.insert_line(shape.source, LINE)

    assert after.count(LINE.encode()) == 1
    assert_only_this(shape.source, after, LINE.encode(), shape.replaced)


@shapes
def test_a_second_time_nothing_changes(shape: Shape) -> None:
    """The line takes its own place."""
    once = edit.insert_line(shape.source, LINE)

    assert edit.insert_line(once, LINE) == once


@shapes
def test_what_was_put_in_is_taken_out(shape: Shape) -> None:
    """What is left is what was there, but for a comma, space, and what was replaced."""
    changed = edit.insert_line(shape.source, LINE)

    after = edit.remove_line(changed)

    assert b"certwarden" not in after
    kept = changed.replace(LINE.encode(), b"")
    assert after.translate(None, AROUND) == kept.translate(None, AROUND)
    assert edit.remove_line(after) == after


@shapes
def test_both_lines_come_and_go(shape: Shape) -> None:
    """A second property is put in and found again like the first."""
    if edit.has_property(shape.source, "httpNodeMiddleware"):
        return
    both = edit.insert_line(edit.insert_line(shape.source, LINE), IDENTITY)

    assert sorted(edit.our_lines(both)) == [IDENTITY, LINE]
    assert edit.has_property(both, "httpNodeMiddleware")
    assert b"certwarden" not in edit.remove_line(both)


@pytest.mark.parametrize("name", ["crlf", "tabs", "stock"])
def test_the_line_looks_like_its_neighbours(name: str) -> None:
    """Line ends and indentation are those of the file."""
    lines = edit.insert_line(SHAPES[name].source, LINE).splitlines(keepends=True)

    number = next(number for number, line in enumerate(lines) if LINE.encode() in line)
    line, neighbour = lines[number : number + 2]
    assert line[: line.index(b"https")] == neighbour[: neighbour.index(b"uiPort")]
    assert line.removeprefix(line.rstrip()) == neighbour.removeprefix(neighbour.rstrip())


@pytest.mark.parametrize(("source", "why"), REFUSED.values(), ids=REFUSED)
def test_in_doubt_it_is_refused(source: bytes, why: str) -> None:
    """In one sentence, and nothing is made up."""
    with pytest.raises(TargetError, match=why) as caught:
        edit.insert_line(source, LINE)

    assert caught.value.what.isprintable()


USED = [
    b'module.exports = { https: wrapped(require("/x/certwarden/targets/node_red/hot.js")({})) };',
    b'const h = require("/x/certwarden/targets/node_red/hot.js"); module.exports = { https: h() };',
    b"module.exports = { https: require(`/x/certwarden/targets/node_red/hot.js`)({}) };",
    b'module.exports = { nodesDir: "/x/certwarden/targets/node_red" };',
]


@pytest.mark.parametrize("source", USED)
def test_what_a_person_made_of_it_is_not_taken_out(source: bytes) -> None:
    """Node-RED would not start with a part of it."""
    with pytest.raises(TargetError, match=r"certwarden is used in line \d"):
        edit.remove_line(source)


@pytest.mark.parametrize("source", [b"module.exports = f();", b"no JavaScript at all {"])
def test_nothing_of_ours_is_nothing_to_take_out(source: bytes) -> None:
    """Also where it could not be changed."""
    assert edit.remove_line(source) == source


def test_without_a_parser_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are machines for which there is none."""
    monkeypatch.setitem(sys.modules, "tree_sitter", None)

    with pytest.raises(TargetError, match="no parser of JavaScript"):
        edit.insert_line(b"module.exports = {};", LINE)


def test_deep_nesting_is_no_trouble() -> None:
    """A hostile file must not exhaust the stack."""
    source = b"module.exports = { a: " + b"[" * 5000 + b"]" * 5000 + b" };"

    assert LINE.encode() in edit.insert_line(source, LINE)


@pytest.mark.world
@pytest.mark.parametrize("version", tools.SETTINGS)
def test_the_settings_that_node_red_comes_with(version: str) -> None:
    """Of each minor version: only the line is new, and can be taken out without a trace."""
    source = tools.node_red_settings()[version].read_bytes()

    after = edit.insert_line(source, LINE)

    assert_only_this(source, after, LINE.encode(), b"")
    assert f"module.exports = {{\n    {LINE},\n".encode() in after
    assert edit.remove_line(after) == source


@pytest.mark.world
@pytest.mark.parametrize("major", [18, 20, 22])
def test_node_gets_what_is_meant(tmp_path: Path, major: int) -> None:
    """Each shape, changed: `https` is certwarden's, and all else is exported as before."""
    expected = []
    sources = {name: (shape.source, shape.exports) for name, shape in SHAPES.items()}
    for version, path in tools.node_red_settings().items():
        names = subprocess.run(
            [tools.node(major), "-p", f"JSON.stringify(Object.keys(require('{path}')))"],
            capture_output=True,
            check=True,
        )
        sources[version] = (path.read_bytes(), tuple(json.loads(names.stdout)))
    files = []
    for number, (source, exports) in enumerate(sources.values()):
        files.append(tmp_path / f"{number}.js")
        files[-1].write_bytes(edit.insert_line(source, LINE))
        expected.append((set(exports) | {"https"}, "/var/lib/certwarden/live/node-red"))

    done = subprocess.run(
        [tools.node(major), "-e", EVALUATE, LINE.split('"')[1], *files],
        capture_output=True,
        check=True,
    )

    told = [(set(exports), live) for exports, live in json.loads(done.stdout)]
    assert dict(zip(sources, told, strict=True)) == dict(zip(sources, expected, strict=True))
