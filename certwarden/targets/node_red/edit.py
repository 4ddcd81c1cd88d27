"""certwarden's lines in a settings.js: put in and taken out, every other byte as it was.

settings.js is a program, so it is read by a real parser of JavaScript and changed only where it is
certain which object literal Node-RED gets; else it is refused. Pure: bytes in, bytes out. That the
result means what was meant is for the trial evaluation to show (see `apply`), which also sees what
no parser can: a spread, a computed name or a later statement that overrides our line.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from certwarden.errors import TargetError, clean

if TYPE_CHECKING:
    from tree_sitter import Node

_BOM = b"\xef\xbb\xbf"
_INDENTATION = b"    "
_OURS = re.compile(
    rb"require\s*\(\s*(['\"])[^'\"\r\n]*certwarden/targets/node_red/(hot|identity)\.js\1\s*\)"
)
_OUR_PACKAGE = b"certwarden/targets/node_red"
# What may stand around `module.exports = {…}` without making it depend on anything.
_AROUND = frozenset(
    {
        *("program", "expression_statement", "assignment_expression", "parenthesized_expression"),
        *("lexical_declaration", "variable_declaration", "variable_declarator"),
    }
)


def insert_line(source: bytes, line: str) -> bytes:
    """The source with the property (`https: require(…)`, without a comma) in what it exports.

    It takes the place of the one of its name, else it comes first, or after the last spread, which
    could override it. Raises TargetError where it is not certain what is exported.
    """
    source, mark = _without_mark(source)
    exported = _Exported(source)
    name = line.partition(":")[0].encode()
    found = exported.properties(name)
    if len(found) > 1:
        _refuse(f"it sets `{name.decode()}` twice (line {_row(found[1])})")
    exported.refuse_later_assignment(name)
    text = line.encode()
    if found:
        return mark + _replaced(source, found[0].start_byte, found[0].end_byte, text)
    spreads = [each for each in exported.literal.named_children if each.type == "spread_element"]
    if spreads:
        last = spreads[-1]
        separator = _line_start(source, last) if _begins_its_line(source, last) else b" "
        return mark + _replaced(source, last.end_byte, last.end_byte, b"," + separator + text)
    return mark + _inserted_first(source, exported.literal, text)


def remove_line(source: bytes) -> bytes:
    """The source without certwarden's properties; the same bytes where there are none.

    Raises TargetError where something of certwarden would remain, or it is not certain what is
    exported.
    """
    source, mark = _without_mark(source)
    if _OUR_PACKAGE not in source:
        return mark + source
    exported = _Exported(source)
    for each in reversed(exported.ours()):
        start, end = _extent(source, each)
        source = _replaced(source, start, end, b"")
    for node in _walk(_parsed(source)):
        if node.type in ("string", "template_string") and _OUR_PACKAGE in _text(node):
            _refuse(f"certwarden is used in line {_row(node)} in another way than ours")
    return mark + source


def our_lines(source: bytes) -> tuple[str, ...]:
    """certwarden's properties as they stand in what the source exports, without their commas.

    Raises TargetError where it is not certain what is exported.
    """
    source, _ = _without_mark(source)
    return tuple(_text(each).decode("utf-8", "replace") for each in _Exported(source).ours())


def has_property(source: bytes, name: str) -> bool:
    """Whether what the source exports has this property, written out.

    Raises TargetError where it is not certain what is exported.
    """
    source, _ = _without_mark(source)
    return bool(_Exported(source).properties(name.encode()))


class _Exported:
    """The object literal that module.exports is; finding it, or refusing, is all that it does."""

    def __init__(self, source: bytes) -> None:
        self._root = _parsed(source)
        self._assignments = [
            node for node in _walk(self._root) if node.type == "assignment_expression"
        ]
        self._refuse_broken()
        self.literal, self._name = self._found()

    def properties(self, name: bytes) -> list["Node"]:
        """Those of the literal that have this name, however it is written."""
        return [each for each in self.literal.named_children if _name_of(each) == name]

    def ours(self) -> list["Node"]:
        """The properties that are nothing but a call of certwarden's modules."""
        return [
            each
            for each in self.literal.named_children
            if each.type == "pair"
            and (value := each.child_by_field_name("value")) is not None
            and _is_our_call(value)
        ]

    def refuse_later_assignment(self, name: bytes) -> None:
        """What is assigned apart from the literal would win over a property in it."""
        holders = {b"exports", *([self._name] if self._name else [])}
        for each in self._assignments:
            left = _field(each, "left")
            if not _member_of(left):
                continue
            whole = _field(left, "object")
            is_held = _text(whole) in holders or _is_module_exports(whole)
            if is_held and _member_of(left) == name:
                _refuse(f"it assigns `{name.decode()}` by a statement (line {_row(each)})")

    def _refuse_broken(self) -> None:
        if self._root.has_error:
            broken = next(node for node in _walk(self._root) if node.is_error or node.is_missing)
            _refuse(f"it cannot be parsed (near line {_row(broken)})")
        for node in self._root.named_children:
            if node.type in ("export_statement", "import_statement"):
                _refuse(f"it is an ES module (line {_row(node)}), which Node-RED does not take")

    def _found(self) -> tuple["Node", bytes]:
        """The literal, and the name of the variable that it is bound to, if it is."""
        exports = [each for each in self._assignments if _is_module_exports(_field(each, "left"))]
        if not exports:
            _refuse("it does not assign module.exports")
        if len(exports) > 1:
            _refuse(f"it assigns module.exports twice (line {_row(exports[1])})")
        around = exports[0].parent
        while around is not None:
            if around.type not in _AROUND:
                _refuse(f"it assigns module.exports conditionally (line {_row(exports[0])})")
            around = around.parent
        value = _field(exports[0], "right")
        while value.type in ("assignment_expression", "parenthesized_expression"):
            value = (
                _field(value, "right")
                if value.type == "assignment_expression"
                else value.named_children[-1]
            )
        name = b""
        if value.type == "identifier":
            name = _text(value)
            value = self._bound(name)
        return self._literal(value), name

    def _literal(self, value: "Node") -> "Node":
        if value.type == "call_expression":
            function = _text(_field(value, "function")).replace(b" ", b"")
            given = [
                each for each in _field(value, "arguments").named_children if each.type != "comment"
            ]
            # The last argument of Object.assign wins over those before it.
            if function in (b"Object.assign", b"Object.freeze") and given:
                value = given[-1]
        if value.type != "object":
            _refuse(f"what it exports is not written out as {{ … }} (line {_row(value)})")
        return value

    def _bound(self, name: bytes) -> "Node":
        """What the variable is bound to, once and for all, in the outermost block."""
        bound = [
            each
            for each in _walk(self._root)
            if each.type == "variable_declarator" and _text(_field(each, "name")) == name
        ]
        again = [
            each
            for each in _walk(self._root)
            if each.type in ("assignment_expression", "augmented_assignment_expression")
            and _text(_field(each, "left")) == name
        ]
        called = clean(name.decode("utf-8", "replace"), 60)
        if len(bound) != 1 or again or not _is_outermost(bound[0]):
            _refuse(f"`{called}`, which it exports, is not bound once, at its outermost level")
        value = bound[0].child_by_field_name("value")
        if value is None:
            _refuse(f"`{called}`, which it exports, is not written out as {{ … }}")
        while value.type == "parenthesized_expression":
            value = value.named_children[-1]
        return value


def _refuse(why: str) -> NoReturn:
    raise TargetError(f"settings.js is not changed: {why}")


def _parsed(source: bytes) -> "Node":
    try:
        import tree_sitter
        import tree_sitter_javascript
    except ImportError:
        raise TargetError(
            "settings.js cannot be changed here: there is no parser of JavaScript for this machine",
        ) from None
    language = tree_sitter.Language(tree_sitter_javascript.language())
    return tree_sitter.Parser(language).parse(_as_utf8(source)).root_node


def _as_utf8(source: bytes) -> bytes:
    """As many bytes, all of them UTF-8: what is not, in comments for example, is replaced."""
    try:
        source.decode()
    except UnicodeDecodeError:
        text = source.decode("utf-8", "surrogateescape")
        return re.sub("[\udc80-\udcff]", "?", text).encode()
    return source


def _without_mark(source: bytes) -> tuple[bytes, bytes]:
    return (source[len(_BOM) :], _BOM) if source.startswith(_BOM) else (source, b"")


def _walk(root: "Node") -> Iterator["Node"]:
    """Every node, in the order of the text, however deep."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.children)


def _field(node: "Node", name: str) -> "Node":
    found = node.child_by_field_name(name)
    assert found is not None  # noqa: S101  # for the type checker: the grammar says so
    return found


def _text(node: "Node") -> bytes:
    return node.text or b""


def _row(node: "Node") -> int:
    return node.start_point.row + 1


def _name_of(node: "Node") -> bytes:
    if node.type == "shorthand_property_identifier":
        return _text(node)
    key = node.child_by_field_name("key" if node.type == "pair" else "name")
    if key is None:
        return b""
    if key.type == "computed_property_name" and len(key.named_children) == 1:
        key = key.named_children[0]
        if key.type != "string":
            return b""
    return _text(key).strip(b"'\"")


def _member_of(node: "Node") -> bytes:
    """The name after the dot, or in the brackets; nothing where the node is no such expression."""
    if node.type not in ("member_expression", "subscript_expression"):
        return b""
    key = node.child_by_field_name("property") or _field(node, "index")
    return _text(key).strip(b"'\"`")


def _is_module_exports(node: "Node") -> bool:
    return _member_of(node) == b"exports" and _text(_field(node, "object")) == b"module"


def _is_our_call(value: "Node") -> bool:
    """`require(hot.js)({…})` or `require(identity.js)`."""
    if value.type != "call_expression":
        return False
    function = _field(value, "function")
    required = function if function.type == "call_expression" else value
    return bool(_OURS.fullmatch(_text(required)))


def _is_outermost(declarator: "Node") -> bool:
    declaration = declarator.parent
    return (
        declaration is not None
        and declaration.parent is not None
        and declaration.parent.type == "program"
    )


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────


def _replaced(source: bytes, start: int, end: int, text: bytes) -> bytes:
    return source[:start] + text + source[end:]


def _inserted_first(source: bytes, literal: "Node", text: bytes) -> bytes:
    brace, *inside = literal.children
    place = brace.end_byte
    first = inside[0]
    if first.type == "comment" and first.start_point.row == brace.start_point.row:
        place = first.end_byte  # it speaks of the whole
        first = inside[1]
    is_empty = first.type == "}"
    if first.start_point.row > brace.start_point.row:
        return _replaced(source, place, place, _new_line(source, literal) + text + b",")
    comma = b"" if is_empty else b","
    is_spaced = source[place : place + 1].isspace()
    inserted = b" " + text + comma if is_spaced or is_empty else text + comma + b" "
    if is_empty and not is_spaced:
        inserted += b" "
    return _replaced(source, place, place, inserted)


def _new_line(source: bytes, literal: "Node") -> bytes:
    """A line's end and the indentation of the literal's properties."""
    for each in literal.named_children:
        if each.type != "comment" and _begins_its_line(source, each):
            return _line_start(source, each)
    return _line_start(source, literal) + _INDENTATION


def _line_start(source: bytes, node: "Node") -> bytes:
    """A line's end as they are in the source, and the indentation of the line of the node."""
    start = _start_of_line(source, node.start_byte)
    indentation = re.match(rb"[ \t]*", source[start:])
    end = b"\r\n" if b"\r\n" in source else b"\n"
    return end + (indentation[0] if indentation else b"")


def _start_of_line(source: bytes, place: int) -> int:
    return source.rfind(b"\n", 0, place) + 1


def _begins_its_line(source: bytes, node: "Node") -> bool:
    return not source[_start_of_line(source, node.start_byte) : node.start_byte].strip()


def _extent(source: bytes, node: "Node") -> tuple[int, int]:
    """What goes with the property: its comma, and its line where nothing else is on it."""
    end = node.end_byte
    following = node.next_sibling
    while following is not None and following.type == "comment":
        following = following.next_sibling
    if following is not None and following.type == ",":
        end = following.end_byte
    rest = re.compile(rb"[ \t]*(\r?\n)?").match(source, end)
    assert rest is not None  # noqa: S101  # for the type checker: it matches nothing as well
    if _begins_its_line(source, node) and rest[1]:
        return _start_of_line(source, node.start_byte), rest.end()
    return node.start_byte, end if rest[1] else rest.end()
