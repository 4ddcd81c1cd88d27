"""A list of names that a person wrote: `client issue --from`. Bytes in, names out."""

from certwarden.errors import ConfigError, Mistake, UsageError, clean
from certwarden.pki.authority import check_identity

MAX_BYTES = 1 << 20
MAX_NAMES = 10_000
_MAX_SHOWN = 80


def read_roster(data: bytes, source: str) -> tuple[str, ...]:
    """The names in their order, one a line; blank lines, and after a # all, are passed over.

    Raises ConfigError with every bad line at once, and UsageError where there is no name at all.
    """
    lines = data.decode("utf-8-sig", "replace").splitlines()
    first: dict[str, int] = {}
    mistakes = []
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        message = _message(name, first)
        if message:
            mistakes.append(Mistake(f"line {number}", message))
        else:
            first[name] = number
    if mistakes:
        raise ConfigError(source, mistakes, "correct them; nothing was issued")
    if not first:
        raise UsageError(f"{source} names nobody", "write one name a line")
    if len(first) > MAX_NAMES:
        raise UsageError(
            f"{source} has {len(first)} names, and {MAX_NAMES} are the most", "make two lists of it"
        )
    return tuple(first)


def _message(name: str, first: dict[str, int]) -> str:
    """What is wrong with a line; "" if nothing is."""
    if name in first:
        return f"`{name}` stands in line {first[name]} already"
    try:
        check_identity(name, None)
    except UsageError as error:
        return clean(error.what, 4 * _MAX_SHOWN)
    return ""
