"""A document as TOML text; Python's own library only reads TOML."""

import json
from collections.abc import Mapping
from datetime import date, datetime, time


def toml_text(document: Mapping[str, object]) -> str:
    """The document, a line for each key of the top and all else inline; Nones are left out."""
    return "".join(
        f"{_string(key)} = {_value(value)}\n"
        for key, value in document.items()
        if value is not None
    )


def _value(value: object) -> str:  # noqa: PLR0911  # one for each of TOML's types
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int() if value > 0:
            return hex(value)  # which has no limit of digits, as decimal has
        case int() | float():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(_value(each) for each in value)}]"
        case Mapping():
            pairs = (f"{_string(k)} = {_value(v)}" for k, v in value.items() if v is not None)
            return f"{{ {', '.join(pairs)} }}"
        case _:
            raise TypeError(type(value))


def _string(value: str) -> str:
    # JSON's escapes are TOML's, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
