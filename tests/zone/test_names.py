"""Domain names as text."""

import pytest

from certwarden.zone.names import ancestors, normalised


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_acme-challenge.example.org", ["example.org"]),
        ("_acme-challenge.a.b.example.org", ["a.b.example.org", "b.example.org", "example.org"]),
        ("_ACME-Challenge.Example.ORG.", ["example.org"]),
        ("home.example.net", ["home.example.net", "example.net"]),
        ("_acme-challenge.org", []),
        ("", []),
    ],
)
def test_ancestors(name: str, expected: list[str]) -> None:
    """The walk goes from the name without its challenge label to two labels, and no further."""
    assert list(ancestors(name)) == expected


def test_normalised() -> None:
    """Case and the root's dot make no difference."""
    assert normalised(" Home.Example.ORG. ") == "home.example.org"
