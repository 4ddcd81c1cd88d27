"""One value of the configuration: from what TOML says to what it means, or why it will not do.

Every function here takes a raw TOML value and returns what it means, or raises UnfitError with the
rest of a sentence that begins with the key's path. Types are exact: `true` is not 1. Knows neither
keys nor files.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import time, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from certwarden.errors import clean
from certwarden.http import is_secured
from certwarden.model import Address, MaintenanceWindow

T = TypeVar("T")
Syntax = Callable[[object], T]

MAX_TEXT = 4096
MAX_SHOWN = 80
# RFC 1035 allows 253 characters; dns-01 puts "_acme-challenge." before the name (RFC 8555, 8.4).
MAX_DOMAIN = 253 - len("_acme-challenge.")
MAX_LABEL = 63
# Bytes: RFC 5280 appendix A.1 allows 64, and the CA puts a year and four digits behind it.
MAX_AUTHORITY_NAME = 64 - len(" 2026 0000")
DNS_PORT = 53
KEY_MODES = {f"{mode:04o}": mode for mode in (0o400, 0o440, 0o600, 0o640)}

_DURATION_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_TIME = "((?:[01][0-9]|2[0-3]):[0-5][0-9])"
_WINDOW = re.compile(f"{_TIME}-{_TIME}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_ADDRESS = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([0-9]{1,5})")
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@-]{0,246}\.service")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")  # as systemd-sysusers makes them
_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ZONE_ID = re.compile(r"[0-9a-f]{32}")
_CONTACT = re.compile(r"mailto:[^\s@,?:]+@[^\s@,?:]+\.[^\s@,?:]+")


class UnfitError(Exception):
    """A value that will not do; its text is the rest of a sentence about the key."""


def shown(value: object) -> str:
    """A value as a person may read it in a message: short, clean, as it looks in TOML."""
    if isinstance(value, str):
        return f'"{clean(value, MAX_SHOWN)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number of many digits"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    return clean(str(value), MAX_SHOWN)


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` for a word that looks like a known one, else nothing."""
    import difflib  # only a mistake pays for it

    alike = difflib.get_close_matches(word.lower()[:MAX_SHOWN], list(known), n=1)
    return f"; did you mean `{alike[0]}`?" if alike else ""


# ── plain values ──────────────────────────────────────────────────────────────────────────────────


def boolean(value: object) -> bool:
    """True or false, without quotes."""
    if not isinstance(value, bool):
        raise UnfitError(f"must be true or false, without quotes, not {shown(value)}")
    return value


def text(value: object) -> str:
    """A string of one line that is not empty."""
    if not isinstance(value, str):
        raise UnfitError(f"must be a string in quotes, not {shown(value)}")
    if not value.strip():
        raise UnfitError("is empty")
    if len(value) > MAX_TEXT:
        raise UnfitError(f"is longer than {MAX_TEXT} characters")
    if not value.isprintable():
        raise UnfitError(f"{shown(value)} has a line break or an invisible character in it")
    return value


def argument(value: object) -> str:
    """One word of a command line; it may be anything that a process can be given."""
    if not isinstance(value, str):
        raise UnfitError(f"must be a string in quotes, not {shown(value)}")
    if "\0" in value:
        raise UnfitError(f"{shown(value)} has a NUL character in it")
    return value


def choice(meanings: Mapping[str, T]) -> Syntax[T]:
    """One of the words that have a meaning."""

    def parse(value: object) -> T:
        word = text(value)
        if word not in meanings:
            raise UnfitError(
                f"must be {alternatives(meanings)}, not {shown(word)}{suggestion(word, meanings)}"
            )
        return meanings[word]

    return parse


def alternatives(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def duration(least: timedelta, most: timedelta) -> Syntax[timedelta]:
    """A duration such as "90s", within bounds."""

    def parse(value: object) -> timedelta:
        if not isinstance(value, str):
            example = f'"{value}s"' if type(value) is int and 0 <= value < 10**9 else '"90s"'
            raise UnfitError(f"must be a duration in quotes such as {example}, not {shown(value)}")
        match = _DURATION.fullmatch(value)
        if not match:
            raise UnfitError(f'{shown(value)} is not a duration; write "90s", "2m", "6h" or "1d"')
        length = int(match[1]) * _DURATION_UNITS[match[2]]
        if not least <= length <= most:
            raise UnfitError(
                f"{shown(value)} is out of bounds; "
                f"it must lie within {duration_text(least)} and {duration_text(most)}"
            )
        return length

    return parse


def days(least: int, most: int) -> Syntax[timedelta]:
    """A number of days, within bounds."""

    def parse(value: object) -> timedelta:
        if type(value) is not int:
            raise UnfitError(f"must be a number of days, without quotes, not {shown(value)}")
        if not least <= value <= most:
            raise UnfitError(
                f"{shown(value)} is out of bounds; it must lie within {least} and {most} days"
            )
        return timedelta(days=value)

    return parse


def duration_text(length: timedelta) -> str:
    """A duration as the configuration writes it, in the largest unit that fits."""
    for unit, size in _DURATION_UNITS.items():
        if length and length % size == timedelta(0):
            return f"{length // size}{unit}"
    return "0s"


def maintenance_window(value: object) -> MaintenanceWindow:
    """Two times of day such as "03:00-05:00"; the second may be of the next day."""
    word = text(value)
    match = _WINDOW.fullmatch(word)
    if not match:
        raise UnfitError(
            f'{shown(word)} is not a time of day and another, such as "03:00-05:00" or '
            '"23:30-04:00"'
        )
    window = MaintenanceWindow(time.fromisoformat(match[1]), time.fromisoformat(match[2]))
    if window.start == window.end:
        raise UnfitError(f"{shown(word)} ends when it begins; for the whole day leave it out")
    return window


def maintenance_window_text(window: MaintenanceWindow) -> str:
    """A maintenance window as the configuration writes it."""
    return f"{window.start:%H:%M}-{window.end:%H:%M}"


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


def name(value: object) -> str:
    """The name of a certificate or a target; it becomes a directory's name."""
    word = text(value)
    if not _NAME.fullmatch(word):
        raise UnfitError(
            f"{shown(word)} is not a name: up to 63 of a-z, 0-9, `.`, `_` and `-`, "
            "beginning with a letter or digit"
        )
    return word


def authority_name(value: object) -> str:
    """What the private CA is called in its certificates."""
    word = text(value)
    if word != word.strip():
        raise UnfitError(f"{shown(word)} begins or ends with a space")
    if len(word.encode()) > MAX_AUTHORITY_NAME:
        raise UnfitError(
            f"{shown(word)} is too long; it may have {MAX_AUTHORITY_NAME} characters, and fewer "
            "where some are beyond ASCII"
        )
    return word


def domain(value: object) -> str:
    """A DNS name that a certificate can be for, lower case, in A-labels (RFC 5890).

    A star stands for the whole first label or not at all.
    """
    written = text(value).lower()
    star = "*." if written.startswith("*.") else ""
    base = written.removeprefix(star)
    if not base.isascii():
        base = _a_labels(base, shown(value))
    fault = _domain_fault(base)
    if fault:
        raise UnfitError(f"{shown(value)} {fault}")
    return star + base


def unstarred_domain(value: object) -> str:
    """A DNS name without a star."""
    found = domain(value)
    if found.startswith("*"):
        raise UnfitError(f"{shown(value)} must not have a star")
    return found


def _a_labels(base: str, as_written: str) -> str:
    import idna  # its tables are large, and hardly anybody needs them

    try:
        return idna.encode(base, uts46=True).decode("ascii")
    except UnicodeError:
        raise UnfitError(
            f"{as_written} is not a valid international name; write its xn-- form"
        ) from None


def _domain_fault(base: str) -> str:
    """What is wrong with a DNS name, or nothing; of several faults the one that explains most."""
    labels = base.split(".")
    odd = next((label for label in labels if not _LABEL.fullmatch(label)), "")
    faults = (
        ("/" in base, "is a URL; write the host's name alone"),
        ("*" in base, "has a star where none can be: it stands for the whole first label"),
        (_is_ip(base) or labels[-1].isdigit(), "is an IP address; dns-01 proves names only"),
        (base.endswith("."), "ends in a dot; leave it out"),
        ("" in labels, "has an empty label: two dots in a row, or one at the beginning"),
        (len(labels) < 2, "has one label only; a public name has two, as in example.org"),
        (max(map(len, labels)) > MAX_LABEL, f"has a label of more than {MAX_LABEL} characters"),
        (len(base) > MAX_DOMAIN, f"has more than {MAX_DOMAIN} characters (and _acme-challenge.)"),
        (odd, f"is no host's name: `{odd}` may have a-z, 0-9 and hyphens inside only"),
    )
    return next((fault for holds, fault in faults if holds), "")


def unit(value: object) -> str:
    """The name of a systemd service."""
    word = text(value)
    if not word.endswith(".service"):
        example = word if _UNIT.fullmatch(f"{word}.service") else "nodered"
        raise UnfitError(
            f'{shown(word)} is no service; write its whole name, as "{example}.service"'
        )
    if not _UNIT.fullmatch(word) or "@." in word:
        raise UnfitError(f"{shown(word)} is not the name of a systemd service")
    return word


def group(value: object) -> str:
    """The name of a group, whether there is such a one or not."""
    return _matching(value, _GROUP, "is not the name of a group such as tls-nodered")


def profile(value: object) -> str:
    """The name of a certificate profile of the CA's (ACME profiles extension)."""
    return _matching(value, _PROFILE, "is not the name of a profile such as tlsserver")


def zone_id(value: object) -> str:
    """Cloudflare's identifier of a zone."""
    return _matching(value, _ZONE_ID, "is not a zone's id: 32 digits of 0-9 and a-f")


def contact(value: object) -> str:
    """A contact of an ACME account (RFC 8555 section 7.3): one e-mail address."""
    word = text(value)
    if "@" in word and not word.startswith("mailto:"):
        raise UnfitError(f'{shown(word)} lacks its scheme; write "mailto:{clean(word, MAX_SHOWN)}"')
    return _matching(value, _CONTACT, 'is not a contact such as "mailto:you@example.org"')


def mode(value: object) -> int:
    """The mode of key files: nothing for others, no writing for the group, nothing executable."""
    if not isinstance(value, str):
        raise UnfitError(f'must be a mode in quotes such as "0640", not {shown(value)}')
    found = KEY_MODES.get(value.zfill(4))
    if found is None:
        raise UnfitError(f"{shown(value)} must be {alternatives(KEY_MODES)}, for it is a key's")
    return found


def _matching(value: object, pattern: re.Pattern[str], fault: str) -> str:
    word = text(value)
    if not pattern.fullmatch(word):
        raise UnfitError(f"{shown(word)} {fault}")
    return word


# ── places in a network ───────────────────────────────────────────────────────────────────────────


def address(value: object) -> Address:
    """`host:port` or `[v6]:port`, to connect to."""
    word = text(value)
    match = _ADDRESS.fullmatch(word)
    if not match:
        raise UnfitError(
            f'{shown(word)} is not an address with a port, such as "127.0.0.1:1880" or "[::1]:1880"'
        )
    six, host, port = match[1], match[2], int(match[3])
    if not 1 <= port <= 65535:
        raise UnfitError(f"{shown(word)} has a port that is not within 1 and 65535")
    if six is not None:
        if not _is_ip(six):
            raise UnfitError(f"{shown(word)} has no IPv6 address between its brackets")
        return Address(six, port)
    if not host:
        raise UnfitError(f'{shown(word)} has no host; write "127.0.0.1:{port}"')
    # A name that ends in a number is an IPv4 address that went wrong (RFC 3696 section 2).
    if not _HOST.fullmatch(host) or (host.rpartition(".")[2].isdigit() and not _is_ip(host)):
        raise UnfitError(f"{shown(word)} has no valid host before its port")
    return Address(host, port)


def nameserver(value: object) -> Address:
    """The IP address of a DNS server, with a port or for port 53."""
    word = text(value)
    if _is_ip(word):
        return Address(word, DNS_PORT)
    return ip_address(word)


def ip_address(value: object) -> Address:
    """An IP address with a port, as to listen at; 0.0.0.0 and [::] are any of this machine."""
    word = text(value)
    found = address(word)
    if not _is_ip(found.host):
        raise UnfitError(
            f"{shown(word)} must be an IP address: a name would have to be looked up first"
        )
    return found


def url(value: object) -> str:
    """An https URL; plain http is for this machine itself only."""
    word = text(value)
    if "@" in word.partition("://")[2].partition("/")[0]:
        raise UnfitError("must not have a user or a password in it")
    try:
        parts = urlsplit(word)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    known_host = _HOST.fullmatch(host) or _is_ip(host)
    if not known_host or port == 0 or parts.fragment or not re.fullmatch(r"[!-~]+", word):
        raise UnfitError(f"{shown(word)} is not a URL such as https://ca.example.org/directory")
    if is_secured(word):
        return word
    raise UnfitError(
        f"{shown(word)} must begin with https://; plain http is for this machine itself only"
    )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
