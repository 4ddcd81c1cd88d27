"""Frozen values behave as frozen dataclasses do."""

from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace

import pytest

from certwarden.frozen import frozen


@frozen
class _Point:
    x: int
    names: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Model:
    x: int
    names: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    notes: dict[str, int] = field(default_factory=dict)


@frozen
class _Plain:
    x: int
    y: int = 2


@frozen
class _Other:
    x: int
    y: int = 2

    def __repr__(self) -> str:
        return "other"


def test_it_is_shown_as_a_dataclass_is() -> None:
    """With its fields, but for those that are not to be shown."""
    expected = repr(_Model(1, ("a",), "s")).replace("_Model", "_Point")
    assert expected == repr(_Point(1, ("a",), "s"))
    assert repr(_Other(1)) == "other"


def test_equal_values_are_equal_and_others_are_not() -> None:
    """By their fields, and only to values of their own kind; equal ones have one hash."""
    assert _Plain(1) == _Plain(1, 2)
    assert len({_Plain(1), _Plain(1, 2), _Plain(2)}) == 2
    others: tuple[object, ...] = (_Other(1), 1)
    assert all(_Plain(1) != other for other in others)


def test_what_cannot_be_hashed_in_it_keeps_it_from_being_hashed() -> None:
    """As with a dataclass."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(_Point(1))


def test_it_does_not_change() -> None:
    """Neither what it has, nor by what it has not, nor by taking away."""
    value = _Plain(1)
    for name in ("x", "y", "z"):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 3)
    with pytest.raises(FrozenInstanceError):
        del value.x
    assert value == _Plain(1, 2)


def test_the_tools_of_dataclasses_work_on_it() -> None:
    """`replace`, `asdict` and `match` see a dataclass."""
    assert replace(_Plain(1), y=5) == _Plain(1, 5)
    assert asdict(_Plain(1)) == {"x": 1, "y": 2}
    match _Plain(7, 8):
        case _Plain(x, y):
            assert (x, y) == (7, 8)
