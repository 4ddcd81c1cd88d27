"""A table of config.toml, read key by key; what is wrong is noted by the key's path, not raised.

`KEYS` is the one list of what may be written. A value that is absent or wrong is replaced by the
default that the caller gives, so that reading goes on and finds the other mistakes too.
"""

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from certwarden.config.syntax import Syntax, UnfitError, alternatives, shown, suggestion
from certwarden.errors import Mistake
from certwarden.frozen import frozen

T = TypeVar("T")

_PUBLIC_CA = (
    "directory",
    "staging_directory",
    "terms_of_service_agreed",
    "profile",
    "ca_bundle",
    "contact",
    "limits",
    "eab",
)

# Every key, by the path of the table that it stands in.
KEYS: Mapping[str, tuple[str, ...]] = {
    "": (
        "state_directory",
        "acme",
        "cloudflare",
        "dns",
        "daemon",
        "clock",
        "notify",
        "metrics",
        "authority",
        "backup",
        "certificate",
    ),
    "acme": (*_PUBLIC_CA, "fallback"),
    "acme.eab": ("kid", "hmac_key_file"),
    "acme.fallback": _PUBLIC_CA,
    "acme.fallback.eab": ("kid", "hmac_key_file"),
    "cloudflare": ("api_token_file", "zone_ids", "base_url"),
    "dns": ("nameservers", "doh", "propagation_timeout", "settle"),
    "daemon": ("check_every", "maintenance_window"),
    "clock": ("trust",),
    "notify": ("urls_file", "heartbeat_url_file"),
    "metrics": ("file",),
    "authority": ("name", "passphrase_file", "client_days", "crl_days", "invite_listen"),
    "backup": ("directory", "passphrase_file"),
    "certificate": ("name", "domains", "key_type", "target"),
    "certificate.target": (
        "name",
        "kind",
        "directory",
        "key",
        "certificate",
        "copy",
        "group",
        "mode",
        "client_auth",
        "reload",
        "probe",
        "probe_name",
        "probe_timeout",
        "settings",
    ),
    "certificate.target.reload": ("hot", "unit", "verb", "command"),
}

# Tables that are written as arrays, with two brackets on each side.
ARRAYS = ("acme.fallback", "certificate", "certificate.target")

_INDEX = re.compile(r"\[[0-9]+\]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


@frozen
class Table:
    """A table: its path, its raw values, and the mistakes of the whole file, which all share."""

    path: str
    values: Mapping[str, object]
    mistakes: list[Mistake]

    def __post_init__(self) -> None:
        """Notes every key that this version does not know, with what may have been meant."""
        known = KEYS.get(self._schema)
        for key in self.values:
            if known is not None and key not in known:
                self.note(key, _about_unknown(self._schema, key))

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def path_of(self, key: str, index: int | None = None) -> str:
        """The key's path in TOML's terms: `certificate[0].target[1].reload.verb`."""
        written = key if _BARE_KEY.fullmatch(key) else shown(key)
        whole = f"{self.path}.{written}" if self.path else written
        return whole if index is None else f"{whole}[{index}]"

    def note(self, key: str, message: str, index: int | None = None) -> None:
        """Notes a mistake at the key, or at one element of its array."""
        self.mistakes.append(Mistake(self.path_of(key, index), message))

    def is_sound(self, key: str) -> bool:
        """Whether no mistake was found at the key or below it, so that others may build on it."""
        path = self.path_of(key)
        return not any(
            mistake.path == path or mistake.path.startswith((f"{path}.", f"{path}["))
            for mistake in self.mistakes
        )

    def read(self, key: str, syntax: Syntax[T], default: T) -> T:
        """The key's value, or the default where it is absent or wrong."""
        return self._meaning(key, self.values[key], syntax, default) if key in self else default

    def read_or(self, key: str, syntax: Syntax[T], written: object, stand_in: T) -> T:
        """The key's value, read as if `written` stood there where it is absent."""
        return self._meaning(key, self.values.get(key, written), syntax, stand_in)

    def require(self, key: str, syntax: Syntax[T], stand_in: T, example: str) -> T:
        """The key's value; its absence is a mistake, and the message shows the example."""
        if key not in self.values:
            self.note(key, f"is missing; write for example `{key} = {example}`")
        return self.read(key, syntax, stand_in)

    def read_each(self, key: str, syntax: Syntax[T], *, distinct: bool = True) -> tuple[T, ...]:
        """The values of an array, those that are right; none where it is absent."""
        values = self.values.get(key, [])
        if not isinstance(values, list):
            self.note(key, f"must be an array in square brackets, not {shown(values)}")
            return ()
        read: list[T] = []
        for index, value in enumerate(values):
            try:
                meaning = syntax(value)
            except UnfitError as unfit:
                self.note(key, str(unfit), index)
                continue
            if distinct and meaning in read:
                self.note(key, f"{shown(value)} is in the list already", index)
            read.append(meaning)
        return tuple(read)

    def read_pairs(self, key: str, names: Syntax[str], syntax: Syntax[T]) -> dict[str, T]:
        """A table whose keys are the user's own; both sides are read."""
        pairs: dict[str, T] = {}
        table = self.table(key)
        for name, value in table.values.items():
            try:
                pairs[names(name)] = syntax(value)
            except UnfitError as unfit:
                table.note(name, str(unfit))
        return pairs

    def table(self, key: str, shape: str = "a table, with keys and values") -> "Table":
        """The table at the key; an empty one where it is absent."""
        values = self.values.get(key, {})
        if not isinstance(values, dict):
            # Not shown: what stands in a table's place may be a secret.
            self.note(key, f"must be {shape}")
            return Table(self.path_of(key), {}, [])  # what it lacks is no further mistake
        return Table(self.path_of(key), values, self.mistakes)

    def tables(self, key: str) -> "tuple[Table, ...]":
        """The tables of an array; none where it is absent."""
        values = self.values.get(key, [])
        if not isinstance(values, list):
            header = _header(_INDEX.sub("", self.path_of(key)))
            self.note(key, f"must be written with two brackets on each side: {header}")
            return ()
        tables = []
        for index, value in enumerate(values):
            if isinstance(value, dict):
                tables.append(Table(self.path_of(key, index), value, self.mistakes))
            else:
                self.note(key, f"must be a table, not {shown(value)}", index)
        return tuple(tables)

    def _meaning(self, key: str, value: object, syntax: Syntax[T], stand_in: T) -> T:
        try:
            return syntax(value)
        except UnfitError as unfit:
            self.note(key, str(unfit))
            return stand_in

    @property
    def _schema(self) -> str:
        return _INDEX.sub("", self.path)


def note_repeats(entries: Iterable[tuple[Table, str, Hashable]]) -> None:
    """Notes every sound value that stood in an earlier table under the same key."""
    first: dict[Hashable, str] = {}
    for table, key, value in entries:
        if key in table and table.is_sound(key):
            earlier = first.setdefault(value, table.path_of(key))
            if earlier != table.path_of(key):
                what = f"{shown(value)} " if isinstance(value, str) else ""
                table.note(key, f"{what}is the same as {earlier}; they must differ")


def _about_unknown(schema: str, key: str) -> str:
    if homes := [_place(table) for table, keys in KEYS.items() if key in keys]:
        return f"does not belong here but {alternatives(homes)}"
    return f"is not a key {_place(schema)}{suggestion(key, KEYS[schema])}"


def _place(schema: str) -> str:
    if not schema:
        return "at the top of the file, before the first section"
    return f"in {_header(schema)}"


def _header(schema: str) -> str:
    return f"[[{schema}]]" if schema in ARRAYS else f"[{schema}]"
