"""Our small JSON files: what is written is read, and anything else is a ValueError."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.store.document import Document, build_document
from tests.builders import NOW


def test_what_is_written_is_read() -> None:
    """Texts, lists, absent values and instants come back; instants in UTC, to the second."""
    odd = datetime(2046, 1, 1, 3, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    document = Document(
        build_document(
            {"a": "ü", "b": ("x", "y"), "c": None, "d": NOW, "e": odd, "f": (), "g": True}
        )
    )
    assert document.text("a") == "ü"
    assert document.texts("b") == ("x", "y")
    assert document.optional_text("c") is None
    assert document.optional_text("absent") is None
    assert document.instant("d") == NOW
    assert document.text("e") == "2046-01-01T01:00:00Z"
    assert document.texts("f") == ()
    assert document.flag("g") is True


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_no_document(data: bytes) -> None:
    """What is no JSON object is a ValueError, however deep it is."""
    with pytest.raises(ValueError, match=r"\w"):
        Document(data)


def test_wrong_kinds() -> None:
    """A field of another kind than asked for, or none, is a ValueError."""
    document = Document(b'{"a": 1, "b": ["x", 1], "c": "2026-11-22T12:00:00", "d": "soonZ"}')
    for ask, name in (
        (document.text, "a"),
        (document.text, "absent"),
        (document.optional_text, "a"),
        (document.texts, "a"),
        (document.texts, "b"),
        (document.instant, "a"),
        (document.instant, "c"),
        (document.instant, "d"),
        (document.flag, "a"),
        (document.flag, "absent"),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            ask(name)


@given(st.binary(max_size=100))
def test_garbage(data: bytes) -> None:
    """Any bytes are a document or a ValueError."""
    try:
        Document(data)
    except ValueError:
        pass
