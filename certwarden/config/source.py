"""What the configuration is made of on disk: config.toml itself, secrets, a bundle of CAs.

Every file is opened once, must be a regular one, is capped, and is judged by what was opened
rather than by its name. Writes nothing, and keeps no secret.
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from certwarden.config.syntax import Syntax, UnfitError, shown, text, url
from certwarden.errors import ConfigError, Mistake, clean
from certwarden.frozen import frozen
from certwarden.model import Secret

MAX_CONFIG_BYTES = 1024 * 1024
MAX_SECRET_BYTES = 64 * 1024
MAX_BUNDLE_BYTES = 4 * 1024 * 1024

_ONE_WORD = re.compile(rb"[!-~]+")
_APPRISE_URL = re.compile(rb"[A-Za-z0-9+.-]+://[^\x00-\x1f\x7f]+")
_PEM_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
# What a token or an HMAC key looks like when it stands where its file's name should be.
_LIKE_A_SECRET = re.compile(r"[A-Za-z0-9_+=-]{30,}")


def read_document(path: Path, text: bytes | None = None) -> dict[str, object]:
    """The TOML document in the file; raises ConfigError with one mistake if there is none.

    `text` is what was in the file when somebody read it before us; the file's rights count still.
    """
    return parsed_document(path, lambda: _document_text(path, text))


def parsed_document(path: Path, read: Callable[[], str]) -> dict[str, object]:
    """The TOML document in what is read; raises ConfigError with one mistake if there is none."""
    try:
        return tomllib.loads(read())
    except UnfitError as unfit:
        mistake = str(unfit)
    except tomllib.TOMLDecodeError as error:
        mistake = f"is not valid TOML: {clean(str(error))}"
    except (RecursionError, ValueError):
        mistake = "is not valid TOML: it is nested too deeply, or a number in it is too long"
    raise ConfigError(str(path), [Mistake("", mistake)])


def read_secret(path: Path) -> Secret:
    """The secret in the file, without the white space around it.

    Raises ConfigError if the file is absent, empty, not a regular file, too large, or open to
    everybody. Its owner and group are not looked at: systemd's credentials may be root's.
    """
    try:
        return _secret(path)
    except UnfitError as unfit:
        raise ConfigError(str(path), [Mistake("", str(unfit))]) from None


def exists(path: Path) -> bool:
    """Whether a file is to be seen there; not so where its directory is closed to us."""
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises for a closed directory


def is_absent(path: Path) -> bool:
    """Whether there is certainly nothing there, not even a link that leads nowhere."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def is_within(path: Path, directory: Path) -> bool:
    """Whether the path lies below the directory, by their names: links are not followed."""
    return plain(directory) in plain(path).parents


def plain(path: Path) -> Path:
    """The path without `..`, for comparing; links are not followed."""
    return Path(os.path.normpath(path))


@frozen
class Surroundings:
    """Where the configuration's paths begin, and where systemd keeps credentials, if it does.

    Of a draft (`is_draft`) neither the files of secrets and CAs nor the groups need be there yet.
    """

    base: Path
    credentials: Path | None
    is_draft: bool = False

    @classmethod
    def of(cls, source: Path, environ: Mapping[str, str]) -> "Surroundings":
        """Those of a configuration file, in an environment."""
        credentials = environ.get("CREDENTIALS_DIRECTORY")
        return cls(source.absolute().parent, Path(credentials) if credentials else None)

    def path(self, value: object) -> Path:
        """A path; a relative one begins at the configuration file's directory."""
        written = text(value)
        if written.startswith("~"):
            raise UnfitError(f"{shown(written)} must not begin with `~`; write the whole path")
        return self.base / written

    def program(self, written: str) -> str:
        """A command's program; a relative path begins there too, a mere name is left alone."""
        return str(self.base / written) if "/" in written else written

    def ca_bundle(self, value: object) -> Path:
        """The path of a file that holds a certificate in PEM."""
        path = self.path(value)
        if self.is_draft:
            return path
        try:
            data, _ = _read(path, MAX_BUNDLE_BYTES, "does not exist")
        except UnfitError as unfit:
            raise UnfitError(f"{path} {unfit}") from None
        if not has_certificate(data):
            raise UnfitError(f"{path} has no certificate in PEM in it")
        return path

    def secret_file(
        self,
        meaning: str,
        shape: Callable[[bytes], str] | None = None,
        *,
        may_be_absent: bool = False,
    ) -> Syntax[Path]:
        """The path of a file that holds a secret; `meaning` says which.

        `shape` says how the secret must stand there, or "" where it does; without it the secret is
        one word. One that `may_be_absent` will be made by a command. A systemd credential of the
        same file name is preferred. Nothing of the secret, also of one that was written where its
        file's name should be, is ever in a message.
        """

        def parse(value: object) -> Path:
            if isinstance(value, str) and self._looks_like_a_secret(value):
                raise UnfitError(
                    f"must be the path of a file, but what stands there looks like {meaning}; "
                    "write that into a file of mode 0600 and name the file here"
                )
            path = self._credential(self.path(value))
            if self.is_draft or (may_be_absent and is_absent(path)):
                return path
            try:
                secret = _secret(path)
            except UnfitError as unfit:
                raise UnfitError(f"{path} {unfit}") from None
            if fault := (shape or one_word)(secret.reveal()):
                raise UnfitError(f"{path} must hold {meaning} {fault}")
            return path

        return parse

    def _credential(self, path: Path) -> Path:
        if self.credentials and exists(self.credentials / path.name):
            return self.credentials / path.name
        return path

    def _looks_like_a_secret(self, written: str) -> bool:
        if "://" in written:
            return True
        if written.isprintable() and not _LIKE_A_SECRET.fullmatch(written):
            return False
        return not written.isprintable() or not exists(self._credential(self.base / written))


def has_certificate(data: bytes) -> bool:
    """Whether a bundle of CAs looks like one."""
    return _PEM_CERTIFICATE in data


def one_word(secret: bytes) -> str:
    """How a token or a key must stand in its file, if it does not."""
    return "" if _ONE_WORD.fullmatch(secret) else "alone, without a name, on one line"


def one_line(secret: bytes) -> str:
    """How a passphrase must stand in its file, if it does not."""
    is_line = len(secret.splitlines()) == 1 and b"\0" not in secret
    return "" if is_line else "alone, on one line"


def one_url(secret: bytes) -> str:
    """How a URL that is called must stand in its file, if it does not."""
    try:
        url(secret.decode("ascii", "replace"))
    except UnfitError:
        return "alone, on one line: https:// and so on (plain http is for this machine itself only)"
    return ""


def urls(secret: bytes) -> str:
    """How URLs must stand in their file, if they do not; lines that begin with `#` are remarks."""
    lines = [line.strip() for line in secret.split(b"\n")]
    told = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith(b"#")]
    if not told:
        return "one a line; there are only remarks"
    odd = next((number for number, line in told if not _APPRISE_URL.fullmatch(line)), 0)
    return f"one a line, each with its scheme and `://`; line {odd} has none" if odd else ""


def _document_text(path: Path, text: bytes | None) -> str:
    absent = "does not exist; see config.example.toml"
    data, found = _read(path, MAX_CONFIG_BYTES, absent, text)
    # Debian gives each user a group of the same number, which nobody else is in.
    private_group = found.st_gid in {0, found.st_uid}
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not private_group):
        raise UnfitError(
            f"may be written by others (mode {_mode(found)}), who could have certwarden run what "
            f"they like; run `chmod go-w {path}`"
        )
    return decoded(data)


def decoded(data: bytes) -> str:
    """The text of a configuration; raises UnfitError where it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")  # some editors put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnfitError(f"is not UTF-8 text (at line {line}); save it as UTF-8") from None


def _secret(path: Path) -> Secret:
    absent = f"does not exist; write the secret into it and run `chmod 0600 {path}`"
    data, found = _read(path, MAX_SECRET_BYTES, absent)
    if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UnfitError(f"is open to everybody (mode {_mode(found)}); run `chmod o= {path}`")
    if not data.strip():
        raise UnfitError("is empty; write the secret into it")
    return Secret(data.strip())


def _read(
    path: Path, limit: int, absent: str, known: bytes | None = None
) -> tuple[bytes, os.stat_result]:
    """The file's bytes and status; raises UnfitError with `absent`, or why it cannot be read.

    Where the bytes are known already the file is looked at, but need not be readable to us.
    """
    how = os.O_RDONLY if known is None else os.O_PATH
    try:
        # O_NONBLOCK: a named pipe must not hold us up before it can be refused.
        descriptor = os.open(path, how | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UnfitError("is not a regular file")
            data = file.read(limit + 1) if known is None else known
    except FileNotFoundError:
        raise UnfitError(absent) from None
    except IsADirectoryError:
        raise UnfitError("is a directory; name a file in it") from None
    except PermissionError:
        raise UnfitError("may not be read by this user; run the command with sudo") from None
    except OSError as error:
        raise UnfitError(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(data) > limit:
        raise UnfitError(f"is larger than {limit // 1024} KiB, which cannot be right")
    return data, found


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"
