"""What a container is made of: a release of Debian with systemd, and the program that boots it. To
be put into it: wheels of all that certwarden needs, and a virtual environment made of them.

Owns making them, once, below `tools.folder()`. The network is needed for the making only. Booting
is `container`'s business.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import ZipFile

from tests.world import tools
from tests.world.tools import Missing

PROJECT = Path(__file__).resolve().parents[2]
PREFIX = Path("/opt/certwarden")
RELEASES = ("bookworm", "trixie")  # Debian 12 and 13

_REQUIREMENTS = PROJECT / "requirements.txt"
# procps has /bin/kill, which units use to reload; the rest is what a Raspberry Pi OS Lite has too,
# and what a person installs to install certwarden with.
_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "polkitd", "python3-venv", "procps", "iproute2", "sudo",
    "pipx",
)  # fmt: skip
# What pipx wants the newest of, whatever it installs.
_PIPX_NEEDS = ("pip==26.3", "setuptools==84.2.1", "wheel==0.48.0")
_WORLD_NEEDS = ("cffi", "cryptography", "dnspython", "pycparser")


@dataclass(frozen=True, slots=True)
class Debian:
    """A root file system of a release, and systemd-nspawn."""

    release: str
    root: Path
    nspawn: Path

    @classmethod
    def prepared(cls, release: str = "") -> Self:
        """Both of them, made if need be, in about a minute; raises Missing where that cannot be.

        Without a release it is this machine's own, so that what runs here runs there.
        """
        if why := why_no_container():
            raise Missing(why)
        release = release or tools.codename()
        # Its name says what it was made from: other packages make another one.
        home = tools.folder() / f"debian-{release}-{_digest(' '.join(_PACKAGES).encode())}"
        nspawn = tools.folder() / f"nspawn-{tools.codename()}" / "usr" / "bin" / "systemd-nspawn"
        tools._once(nspawn.parents[2].name, nspawn, _fetch_nspawn)
        made = cls(release, home / "root", nspawn)
        proof = made.root / "usr" / "lib" / "systemd" / "systemd"
        tools._once(home.name, proof, lambda into: _fetch_root(into, release))
        return made

    def wheels(self) -> Path:
        """A directory with the wheels of the locked requirements for the root's Python, and with
        what pipx wants beside them; below it, `world` is what the world needs, unpacked. Raises
        Missing.
        """
        needs = " ".join((*_PIPX_NEEDS, *_WORLD_NEEDS))
        digest = _digest(_REQUIREMENTS.read_bytes(), needs.encode())
        home = tools.folder() / f"wheels-{self.release}-{digest}"
        stamp = home / "requirements.txt"
        tools._once(home.name, stamp, lambda into: _download(into, self.python_version()))
        return home

    def environment(self) -> Path:
        """What belongs at PREFIX: a virtual environment with the locked requirements, but not yet
        certwarden itself; raises Missing.
        """
        # Other requirements make another one in its place.
        stamp = f"requirements-{_digest(_REQUIREMENTS.read_bytes())}"
        home = tools.folder() / f"opt-{self.release}"
        wheels = self.wheels()
        tools._once(home.name, home / stamp, lambda into: self._install(into, wheels, stamp))
        return home / PREFIX.name

    def python_version(self) -> str:
        """The version of the root's Python, as in 3.11."""
        return (self.root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")

    def command(self, *options: str) -> list[str | Path]:
        """systemd-nspawn on the root, which stays as it is; without network."""
        return [
            "env",
            # One hierarchy of control groups, whatever this machine has.
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
            # Several may be made of one root at a time: none of them writes to it.
            "SYSTEMD_NSPAWN_LOCK=0",
            f"LD_LIBRARY_PATH={self._libraries()}",
            self.nspawn,
            "--quiet",
            f"--directory={self.root}",
            "--volatile=overlay",
            "--register=no",
            "--keep-unit",
            "--private-network",
            *options,
        ]

    def _libraries(self) -> Path:
        (found,) = self.nspawn.parents[2].glob("usr/lib/*/systemd")
        return found

    def _install(self, into: Path, wheels: Path, stamp: str) -> None:
        """Make the virtual environment by the container's own Python, from wheels, offline."""
        environment = into / PREFIX.name
        environment.mkdir()
        script = (
            f"python3 -m venv {PREFIX} && {PREFIX}/bin/pip install --quiet --no-index "
            "--disable-pip-version-check --root-user-action=ignore "
            "--find-links=/wheels --require-hashes --requirement=/wheels/requirements.txt"
        )
        binds = (f"--bind={environment}:{PREFIX}", f"--bind-ro={wheels}:/wheels")
        machine = f"--machine=certwarden-install-{os.getpid()}"
        tools._run([*self.command(*binds, "--pipe", machine), "sh", "-ec", script], cwd=into)
        (into / stamp).touch()


def everything(release: str) -> None:
    """Makes all that a container of this release may need; raises Missing."""
    debian = Debian.prepared(release)
    debian.wheels()
    if release == tools.codename():
        debian.environment()


def why_no_container() -> str:
    """Why no container can be booted on this machine, in a sentence; "" where nothing is known."""
    if os.geteuid() != 0:
        return "Only root can boot a container: run the tests as root."
    for program, package in (("apt-get", "apt"), ("unshare", "util-linux"), ("perl", "perl")):
        if shutil.which(program) is None:
            return f"A container needs the system package {package}."
    unshare = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "true"]
    tried = subprocess.run(unshare, capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"This machine lets nobody make namespaces: {tried.stderr.strip()}."
    if not Path("/sys/fs/cgroup").is_dir():
        return "This machine has no control groups, which systemd needs."
    return ""


def _fetch_nspawn(into: Path) -> None:
    # Installing it would have apt replace the machine's own systemd by another build of it.
    tools._unpack(("systemd-container", "libsystemd-shared"), into, tools.codename())


def _fetch_root(into: Path, release: str) -> None:
    # The tree has programs with set-user-id bits: nobody else's way leads through here.
    into.chmod(0o700)
    scratch = into / "scratch"
    scratch.mkdir()
    tools._unpack(("mmdebstrap",), scratch, tools.codename())
    tools.write_sources(scratch / "debian.sources", release)
    tools._run(
        [
            "perl",
            scratch / "usr" / "bin" / "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            "--format=directory",
            f"--include={','.join(_PACKAGES)}",
            '--aptopt=APT::Sandbox::User "root"',
            release,
            into / "root",
            scratch / "debian.sources",
        ],
        cwd=scratch,
    )
    shutil.rmtree(scratch)


def _download(into: Path, python_version: str) -> None:
    """The wheels of the locked requirements, for the container's Python on this kind of machine."""

    def download(*what: str | Path) -> None:
        options = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:")
        target = (f"--python-version={python_version}", "--dest", into)
        pip = (sys.executable, "-m", "pip", "download", *options, *target)
        tools._run([*pip, *what], cwd=into)

    download("--no-deps", *_PIPX_NEEDS)
    download("--require-hashes", "--requirement", _REQUIREMENTS)
    for name in _WORLD_NEEDS:
        (wheel,) = into.glob(f"{name}-*.whl")
        with ZipFile(wheel) as archive:
            archive.extractall(into / "world")
    shutil.copy(_REQUIREMENTS, into)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
