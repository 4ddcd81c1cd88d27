"""Frozen values: what `dataclass(frozen=True)` makes, made in a third of the time.

A dataclass has the compiler write six methods for each kind of value, and a pass meets seventy
kinds: a quarter of all that a pass with nothing due took. Here it writes one, the constructor; the
other methods are the same for all kinds. Checkers, `replace`, `fields` and `match` see dataclasses.
"""

from dataclasses import FrozenInstanceError, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

_Made = TypeVar("_Made")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_Made]) -> type[_Made]:
    """Makes the class one of frozen values, equal if all their fields are.

    Methods that it has of its own stay; a class that says what is equal must say the hash as well.
    """
    own = vars(cls).keys()
    made = dataclass(repr=False, eq=False)(cls)
    for method in (__setattr__, __delattr__, __eq__, __hash__, __repr__):
        if method.__name__ not in own:
            setattr(made, method.__name__, method)
    return made


def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807 - as a method it is one
    # The constructor sets each field for the first time.
    if name in self.__dict__ or name not in self.__dataclass_fields__:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def __delattr__(_self: object, name: str) -> None:  # noqa: N807 - as a method it is one
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def __eq__(self: object, other: object) -> bool:  # noqa: N807 - as a method it is one
    if type(other) is not type(self):
        return NotImplemented
    return _values(self) == _values(other)


def __hash__(self: object) -> int:  # noqa: N807 - as a method it is one
    return hash(_values(self))


def __repr__(self: Any) -> str:  # noqa: N807 - as a method it is one
    shown = ", ".join(
        f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr
    )
    return f"{type(self).__qualname__}({shown})"


def _values(made: Any) -> tuple[object, ...]:
    return tuple([getattr(made, name) for name in made.__dataclass_fields__])
