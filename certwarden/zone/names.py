"""Domain names as text: in one form, and up the tree. Touches nothing."""

from collections.abc import Iterator

CHALLENGE_LABEL = "_acme-challenge."  # RFC 8555 section 8.4


def normalised(name: str) -> str:
    """The name in lower case, without the root's dot."""
    return name.strip().lower().rstrip(".")


def ancestors(name: str) -> Iterator[str]:
    """The names that may be the zone of a challenge's record, longest first, never a single label.

    The label `_acme-challenge` is left out at once: hardly ever is it a zone of its own.
    """
    name = normalised(name).removeprefix(CHALLENGE_LABEL)
    while "." in name:
        yield name
        name = name.partition(".")[2]
