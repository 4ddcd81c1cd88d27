"""config.example.toml is the real thing: it loads as it is, and so does each alternative in it."""

import grp
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from certwarden.config import effective, load
from certwarden.config.table import KEYS

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
LINES = EXAMPLE.read_text().splitlines()

_KEY = re.compile(r"#?([a-z_]+) = ")
_HEADER = re.compile(r"\[")


@dataclass(frozen=True)
class Alternative:
    """Neighbouring lines `#key = …`, which mean something together."""

    first: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.lines)

    def taken(self) -> str:
        """The example with this alternative taken, and the line gone that it replaces."""
        lines = list(LINES)
        last = self.first + len(self.lines)
        lines[self.first : last] = self.lines
        if not _HEADER.match(self.lines[0]):
            keys = {_key(line) for line in self.lines}
            for number in _section(self.first):
                if number not in range(self.first, last) and _key(lines[number]) in keys:
                    lines[number] = ""
        return "\n".join(lines)


def _key(line: str) -> str | None:
    match = _KEY.match(line)
    return match[1] if match and not line.startswith("#") else None


def _section(number: int) -> range:
    """The lines of the section that a line stands in."""
    headers = [each for each, line in enumerate(LINES) if _HEADER.match(line)]
    first = max((each for each in headers if each < number), default=0)
    return range(first, min((each for each in headers if each > number), default=len(LINES)))


def _alternatives() -> Iterator[Alternative]:
    block: list[str] = []
    for number, line in enumerate([*LINES, ""]):
        if re.match(r"#[a-z\[]", line):
            block.append(line.removeprefix("#"))
        elif block:
            yield Alternative(number - len(block), tuple(block))
            block = []


ALTERNATIVES = tuple(_alternatives())


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the example takes for granted: secrets, a CA's certificate, a group."""
    for name, secret in {
        "cloudflare.token": "c2VjcmV0\n",
        "eab.key": "c2VjcmV0\n",
        "notify.urls": "# at night\nmailto://me:c2VjcmV0@example.org\n",
        "heartbeat.url": "https://hc.example.org/c2VjcmV0\n",
        "backup.passphrase": "c2VjcmV0 c2VjcmV0\n",
    }.items():
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o400)
    (tmp_path / "acme-ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    ours = grp.getgrgid(os.getgid())
    monkeypatch.setattr(grp, "getgrnam", {"tls-nodered": ours}.__getitem__)
    return {"CREDENTIALS_DIRECTORY": str(tmp_path), "STATE_DIRECTORY": str(tmp_path / "state")}


def _written(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_loads_as_it_is(tmp_path: Path, environ: dict[str, str]) -> None:
    """A newcomer starts from a configuration without a mistake."""
    config = load(_written(tmp_path, EXAMPLE.read_text()), environ)
    assert [certificate.name for certificate in config.certificates] == ["home"]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("alternative", ALTERNATIVES, ids=str)
def test_each_alternative_loads(
    alternative: Alternative, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Whichever alternative is taken by itself, the configuration is right."""
    assert load(_written(tmp_path, alternative.taken()), environ).certificates


def test_every_key_is_shown_and_no_other() -> None:
    """The example and the loader know the same keys; a fallback takes those of the first CA."""
    shown: set[str] = set()
    for text in ["\n".join(LINES), *(alternative.taken() for alternative in ALTERNATIVES)]:
        shown |= set(_key_paths(tomllib.loads(text)))
    shown = {path.replace("acme.fallback.", "acme.") for path in shown}
    known = {f"{table}.{key}".lstrip(".") for table, keys in KEYS.items() for key in keys}
    assert shown == {path.replace("acme.fallback.", "acme.") for path in known}
    assert KEYS["acme"] == (*KEYS["acme.fallback"], "fallback")
    assert KEYS["acme.eab"] == KEYS["acme.fallback.eab"]


def test_every_key_is_explained() -> None:
    """Above each key that stands there for the first time there is a line of prose."""
    unexplained = [
        line
        for number, line in enumerate(LINES)
        if _KEY.match(line)
        and not any(LINES[above].startswith("# ") for above in _paragraph_before(number))
        and sum(_same_key(line, other) for other in LINES[:number]) == 0
    ]
    assert unexplained == []


def test_commented_defaults_are_the_defaults(tmp_path: Path, environ: dict[str, str]) -> None:
    """Where the example shows a default as an alternative, taking it changes nothing."""
    before = effective(load(_written(tmp_path, "\n".join(LINES)), environ))
    for key in ("staging_directory", "limits", "base_url", "doh", "mode", "probe_timeout"):
        (alternative,) = (each for each in ALTERNATIVES if each.lines[0].startswith(f"{key} = "))
        assert effective(load(_written(tmp_path, alternative.taken()), environ)) == before


def _same_key(line: str, other: str) -> bool:
    ours, theirs = _KEY.match(line), _KEY.match(other)
    return bool(ours and theirs and ours[1] == theirs[1])


def _paragraph_before(number: int) -> Iterator[int]:
    while number > 0 and LINES[number - 1]:
        number -= 1
        yield number


def _key_paths(table: dict[str, object], path: str = "") -> Iterator[str]:
    """Every key in the document by its path, without indices; `zone_ids` has no keys of ours."""
    for key, value in table.items():
        whole = f"{path}.{key}".lstrip(".")
        yield whole
        below = value if isinstance(value, list) else [value]
        for each in below:
            if isinstance(each, dict) and key != "zone_ids":
                yield from _key_paths(each, whole)
