"""Strangers' texts made safe, and what every error of ours carries."""

import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.errors import (
    Busy,
    ConfigError,
    Error,
    IssuerError,
    Mistake,
    UsageError,
    ZoneError,
    as_error,
    clean,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("Zürich, 東京 — ok 🎉", "Zürich, 東京 — ok 🎉"),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07", "]0;title"),
        ("bell\a null\0 del\x7f c1\x9b", "bell null del c1"),
        ("left\u202eto right", "leftto right"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("lines\u2028apart\u2029", "lines apart"),
        ("half\ud800pair", "halfpair"),
        ("  spaces   within  ", "spaces within"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    """What could move a cursor, hide itself or make a second line is gone; the rest stays."""
    assert clean(text) == shown


def test_clean_is_capped() -> None:
    """A long text is cut, visibly, and one of the exact length is not."""
    assert clean("x" * 500) == "x" * 500
    assert clean("x" * 501) == "x" * 499 + "…"
    assert clean("x" * 10, limit=5) == "xxxx…"
    assert len(clean("\x00" * 10**6 + "x")) <= 500


@given(st.text(max_size=300))
def test_clean_is_one_printable_line(text: str) -> None:
    """Whatever comes in, one line without control characters comes out, for good."""
    line = clean(text)
    assert line == clean(line)
    assert len(line.splitlines()) <= 1
    assert not [each for each in line if unicodedata.category(each)[0] == "C"]
    line.encode()


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (Error("x"), 1),
        (Busy("x"), 1),
        (IssuerError("x"), 1),
        (UsageError("x"), 2),
        (ConfigError("config.toml", []), 2),
    ],
)
def test_exit_codes(error: Error, exit_code: int) -> None:
    """What a person has typed or configured wrongly exits 2, all else 1."""
    assert error.exit_code == exit_code


def test_errors_carry_what_to_do() -> None:
    """An error has a sentence and a hint, and the other side's code and wait, if any."""
    wait = timedelta(seconds=5)
    issuer = IssuerError("no", "look", problem="rateLimited", status=429, retry_after=wait)
    assert (str(issuer), issuer.what, issuer.hint) == ("no", "no", "look")
    assert (issuer.problem, issuer.status, issuer.retry_after) == ("rateLimited", 429, wait)
    assert ZoneError("no", code=10000, permanent=True).code == 10000


@pytest.mark.parametrize(("count", "words"), [(1, "1 mistake"), (2, "2 mistakes")])
def test_config_error_counts(count: int, words: str) -> None:
    """A wrong configuration is one error with all of its mistakes."""
    error = ConfigError("config.toml", [Mistake("acme", "is missing")] * count)
    assert str(error) == f"config.toml has {words}"
    assert len(error.mistakes) == count
    assert error.permanent


def test_what_nobody_foresaw_is_a_sentence_without_its_text() -> None:
    """Its kind and place, never what it quotes; an Error is left as it is."""
    with pytest.raises(ValueError, match="cfut_secret") as caught:
        int("cfut_secret")
    error = as_error(caught.value)
    assert error.what.startswith("unforeseen: ValueError in test_errors.py, line ")
    assert "secret" not in error.what + error.hint
    assert "report" in error.hint
    assert as_error(error) is error
