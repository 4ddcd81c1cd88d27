"""Small JSON files of ours: written for people to read, read back with suspicion.

Whatever is not as we write it is a ValueError; fields that we do not know are left alone, as a
newer certwarden may have written them.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

MAX_DOCUMENT_BYTES = 256 * 1024
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"

Field = str | bool | datetime | tuple[str, ...] | None


def build_document(fields: Mapping[str, Field]) -> bytes:
    """The fields as JSON; instants in UTC, to the second."""
    plain = {
        name: value.astimezone(UTC).strftime(_INSTANT) if isinstance(value, datetime) else value
        for name, value in fields.items()
    }
    return json.dumps(plain, indent=2, ensure_ascii=False).encode() + b"\n"


class Document:
    """A JSON object as read; each question raises ValueError if the answer is not of its kind."""

    def __init__(self, data: bytes) -> None:
        try:
            document = json.loads(data)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        match document:
            case dict():
                self._fields: dict[str, object] = document
            case _:
                raise ValueError("not a JSON object")

    def text(self, name: str) -> str:
        match self._fields.get(name):
            case str(text):
                return text
        raise ValueError(f"{name} is not a text")

    def flag(self, name: str) -> bool:
        match self._fields.get(name):
            case bool(flag):
                return flag
        raise ValueError(f"{name} is neither true nor false")

    def optional_text(self, name: str) -> str | None:
        return None if self._fields.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        match self._fields.get(name):
            case list(texts) if all(isinstance(each, str) for each in texts):
                return tuple(texts)
        raise ValueError(f"{name} is not a list of texts")

    def instant(self, name: str) -> datetime:
        text = self.text(name)
        if not text.endswith("Z"):
            raise ValueError(f"{name} is not an instant in UTC")
        return datetime.fromisoformat(text)
