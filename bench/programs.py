"""Gets the programs that are measured into the project's own folder, at fixed versions.

Python's go into virtual environments of their own, installed and compiled as a user has them;
Debian's packages are unpacked, not installed.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.world.installed import build_wheel
from tests.world.tools import Missing, folder

CERTBOT = "5.8.0"

_PROJECT = Path(__file__).resolve().parents[1]
_STAMP = "stamp"


@dataclass(frozen=True)
class Program:
    """Where it lies and what it calls itself."""

    path: Path
    version: str


def certwarden() -> Program:
    """The certwarden of this checkout, installed anew with the locked requirements."""
    locked = _PROJECT / "requirements.txt"
    place = _environment("bench-certwarden", ["--require-hashes", "-r", str(locked)], locked)
    with tempfile.TemporaryDirectory(prefix="bench-build-") as name:
        wheel = build_wheel(Path(name) / "built")
        _pip(place, ["--no-deps", "--force-reinstall", str(wheel)])
    path = place / "bin" / "certwarden"
    return Program(path, _run([path, "--version"]).split()[-1])


def certbot() -> Program:
    """certbot with its plug-in for Cloudflare, from PyPI."""
    wanted = [f"certbot=={CERTBOT}", f"certbot-dns-cloudflare=={CERTBOT}"]
    place = _environment("bench-certbot", wanted)
    path = place / "bin" / "certbot"
    return Program(path, _run([path, "--version"]).split()[-1])


def uacme() -> Program:
    """uacme, from this machine's Debian; raises Missing where it can't be had or can't run."""
    for needed in ("curl", "unshare", "mount"):
        if shutil.which(needed) is None:
            raise Missing(f"its hook and its trust need {needed}")
    program = _debian_program("uacme")
    # Its libraries come with other packages, and may not be here.
    linked = _run(["ldd", program.path])
    absent = [line.split()[0] for line in linked.splitlines() if line.endswith("not found")]
    if absent:
        raise Missing(f"it needs {', '.join(absent)}")
    return program


def pebble() -> Program:
    """Pebble, from this machine's Debian: the one that runs with every client measured."""
    return _debian_program("pebble")


def openssl() -> Program:
    """OpenSSL's program, as this machine has it; raises Missing where it has none."""
    found = shutil.which("openssl")
    if found is None:
        raise Missing("there is no openssl on this machine")
    return Program(Path(found), _run([found, "version"]).split()[1])


def _environment(name: str, requirements: Sequence[str], *files: Path) -> Path:
    """A virtual environment that holds these requirements; made anew when they change."""
    place = folder() / name
    stamp = hashlib.sha256(
        "\n".join([platform.python_version(), *requirements]).encode()
        + b"".join(file.read_bytes() for file in files)
    ).hexdigest()
    if _read(place / _STAMP) != stamp:
        print(f"bench: making {name}", file=sys.stderr, flush=True)
        venv.create(place, clear=True, with_pip=True, symlinks=True)
        _pip(place, requirements)
        (place / _STAMP).write_text(stamp)
    return place


def _pip(place: Path, requirements: Sequence[str]) -> None:
    # Compiled at once, as pip does for users; some shells tell Python to write no bytecode.
    options = ["--quiet", "--disable-pip-version-check", "--compile"]
    _run([place / "bin" / "python", "-m", "pip", "install", *options, *requirements])


def _debian_program(package: str) -> Program:
    """The package's program, downloaded by apt from the release's own suite and unpacked."""
    place = folder() / f"bench-{package}"
    program = place / "usr" / "bin" / package
    if version := _read(place / _STAMP):
        return Program(program, version)
    print(f"bench: fetching {package}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-apt-") as name:
        download = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
        try:
            _run(download, cwd=Path(name))
        except Missing:
            # A fresh machine has no lists yet; only root may get them.
            with contextlib.suppress(Missing):
                _run(["apt-get", "-q", "update"])
            _run(download, cwd=Path(name))
        (file,) = Path(name).glob("*.deb")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        _run(["dpkg", "-x", file, place])
        version = _run(["dpkg-deb", "-f", file, "Version"]).strip()
        (place / _STAMP).write_text(version)
    return Program(program, version)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _run(command: Sequence[str | Path], *, cwd: Path | None = None) -> str:
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise Missing(f"{Path(command[0]).name} can't be run: {error.strerror}") from None
    if done.returncode:
        said = " / ".join(line for line in done.stdout.splitlines()[-3:] if line.strip())
        raise Missing(f"{Path(command[0]).name} failed ({done.returncode}): {said}")
    return done.stdout
