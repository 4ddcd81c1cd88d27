"""The QR code as characters: it is read by a program that was made for it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.enrolment.qr import QUIET_ZONE, draw
from certwarden.model import Secret
from tests.world.qr import read_code
from tests.world.tools import Missing

URL = "https://red.home.example.org:8443/#abcdefgh-abcdefghijklmnopqrstuvwxyz"


@pytest.mark.world
@pytest.mark.parametrize("url", [URL, f"https://{'a' * 60}.{'b' * 60}.example.org/#{URL[-35:]}"])
def test_the_code_says_what_it_was_drawn_of(url: str, tmp_path: Path) -> None:
    """Byte by byte, also where the name is as long as names hardly are."""
    try:
        assert read_code(draw(Secret(url.encode())), tmp_path) == url
    except Missing as missing:
        pytest.skip(str(missing))


def test_an_ordinary_link_fits_a_terminal_of_24_lines() -> None:
    """It leaves room for the link itself, and for the cursor."""
    rows = draw(Secret(URL.encode()))
    assert (len(rows), len(rows[0])) == (21, 41)


@given(length=st.integers(1, 300))
@settings(max_examples=20, deadline=None)
def test_the_quiet_zone_is_all_around(length: int) -> None:
    """Rows are of one width, of half blocks only, and nothing is dark near the border."""
    rows = draw(Secret(b"x" * length))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert set("".join(rows)) == set(" ▀▄█")
    above, below = QUIET_ZONE // 2, (QUIET_ZONE - 1) // 2
    assert not "".join([*rows[:above], *rows[-below:]]).strip()
    assert all(not (row[:QUIET_ZONE] + row[-QUIET_ZONE:]).strip() for row in rows)
