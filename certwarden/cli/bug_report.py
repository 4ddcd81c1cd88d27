"""What is left of a mistake of ours: a file that a person can send, and nothing secret in it.

No local variables, no values from the command line; of texts only what can hardly be a secret.
"""

import hashlib
import os
import platform
import re
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from certwarden import __version__

_MAX_CHAIN = 8
_MAX_REPORT = 64 * 1024
_MASK = "***"
_SECRETS = (
    re.compile(r"-----BEGIN[^-]*-----.*?(?:-----END[^-]*-----|\Z)", re.DOTALL),
    re.compile(r"\bcf[a-z]{1,3}_\S+"),  # Cloudflare's tokens
    re.compile(r"(?<=://)[^/@\s]+@"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+\S+"),
    re.compile(r"(?i)(?:password|passphrase|token|secret)\s*[=:]\s*\S+"),
    re.compile(r"\b(?=[\w+/-]*\d)[\w+-]{20,}={0,2}"),
    re.compile(r"(?<![\w/.-])[A-Za-z0-9+/_-]{32,}={0,2}"),
)
_QUOTED = re.compile(r"(b?)(['\"])((?:\\.|(?!\2)[^\\])*)\2", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.]{0,40}")  # in a program, as KeyError and others quote it


def write_bug_report(mistake: BaseException, argv: Sequence[str]) -> Path | None:
    """Writes it down (0600) and returns where; the same mistake is written down once.

    In $XDG_STATE_HOME, else where temporary files go; None where neither takes it.
    """
    text = bug_report(mistake, argv)
    name = f"certwarden-bug-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    for directory in (state, Path(tempfile.gettempdir())):
        if directory.is_absolute() and (path := _written(directory, name, text)) is not None:
            return path
    return None


def bug_report(mistake: BaseException, argv: Sequence[str]) -> str:
    """The text: which program, which command, and where it went wrong."""
    lines = [
        f"certwarden {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: certwarden {' '.join(_command_words(argv))}",
        "",
    ]
    for each in reversed(list(_chain(mistake))):
        lines += [_masked_frame(line) for line in traceback.format_tb(each.__traceback__)]
        lines += [f"{type(each).__module__}.{type(each).__qualname__}: {_masked(str(each))}", ""]
    return "\n".join(lines)[:_MAX_REPORT]


def cause_lines(error: BaseException) -> Iterator[str]:
    """What an error came from, for `--verbose`: classes and places, and nobody's words."""
    for each in list(_chain(error)):
        frames = traceback.extract_tb(each.__traceback__)
        where = f" in {_short(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""
        yield f"{type(each).__qualname__}{where}"


def _chain(mistake: BaseException) -> Iterator[BaseException]:
    """It, and what it came from, also where it was raised `from None`."""
    seen: list[BaseException] = []
    each: BaseException | None = mistake
    while each is not None and each not in seen and len(seen) < _MAX_CHAIN:
        seen.append(each)
        yield each
        each = each.__cause__ or each.__context__


def _command_words(argv: Sequence[str]) -> Iterator[str]:
    from certwarden.cli.arguments import command_names

    known = command_names()
    for word in argv:
        if word.startswith("--"):
            yield word.partition("=")[0] if word.partition("=")[0].isprintable() else _MASK
        else:
            yield word if word in known else "…"


def _masked(text: str) -> str:
    for secret in _SECRETS:
        text = secret.sub(_MASK, text)
    text = _QUOTED.sub(_quoted, text)
    return "".join(character if character.isprintable() else " " for character in text)[:2000]


def _quoted(found: re.Match[str]) -> str:
    """A name in quotes stays; whatever else was worth quoting may be a secret."""
    is_name = not found[1] and _NAME.fullmatch(found[3])
    return found[0] if is_name else f"'{_MASK}'"


def _masked_frame(text: str) -> str:
    """A frame has our own code, in which no secret stands; but whose home it is in stays here."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return text.rstrip("\n").replace(home, "~") if len(home) > 1 else text.rstrip("\n")


def _short(filename: str) -> str:
    return "/".join(Path(filename).parts[-2:])


def _written(directory: Path, name: str, text: str) -> Path | None:
    path = directory / name
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - of a descriptor
            file.write(text)
    except FileExistsError:
        return path if _is_ours(path) else None
    except OSError:
        return None
    return path


def _is_ours(path: Path) -> bool:
    """Whether the same mistake was written down there before, by ourselves."""
    try:
        return not path.is_symlink() and path.stat().st_uid == os.geteuid()
    except OSError:
        return False
