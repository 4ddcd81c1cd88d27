"""What a container is made of: Debian with systemd, the program that boots it, and a virtual
environment at /opt/certwarden with certwarden's requirements, but not yet certwarden itself.

Owns making them, once, below `tools.folder()`. The release is this machine's own, so that what runs
here runs there. The network is needed for the making only. Booting is `container`'s business.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.world import tools
from tests.world.tools import Missing

PROJECT = Path(__file__).resolve().parents[2]
PREFIX = Path("/opt/certwarden")

_REQUIREMENTS = PROJECT / "requirements.txt"
# procps has /bin/kill, which units use to reload; the rest is what a Raspberry Pi OS Lite has too.
_PACKAGES = ("systemd", "systemd-sysv", "dbus", "polkitd", "python3-venv", "procps")


@dataclass(frozen=True, slots=True)
class Debian:
    """A root file system, the virtual environment that belongs at PREFIX, and systemd-nspawn."""

    root: Path
    environment: Path
    nspawn: Path

    @classmethod
    def prepared(cls) -> Self:
        """All of it, made if need be, in about a minute; raises Missing where that cannot be."""
        if why := why_no_container():
            raise Missing(why)
        release = tools.codename()
        home = tools.folder() / f"debian-{release}"
        nspawn = tools.folder() / f"nspawn-{release}" / "usr" / "bin" / "systemd-nspawn"
        tools._once(nspawn.parents[2].name, nspawn, _fetch_nspawn)
        made = cls(home / "root", tools.folder() / f"opt-{release}" / "certwarden", nspawn)
        tools._once(home.name, made.root / "usr" / "lib" / "systemd" / "systemd", _fetch_root)
        # Its name says what it was made from: other requirements make another one in its place.
        digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:16]
        stamp = made.environment.parent / f"requirements-{digest}"
        tools._once(stamp.parent.name, stamp, lambda into: made._install(into, stamp.name))
        return made

    def command(self, *options: str) -> list[str | Path]:
        """systemd-nspawn on the root, which stays as it is; without network."""
        return [
            "env",
            # One hierarchy of control groups, whatever this machine has.
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
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

    def _install(self, into: Path, stamp: str) -> None:
        """Make the virtual environment by the container's own Python, from wheels, offline."""
        wheels, environment = into / "wheels", into / PREFIX.name
        environment.mkdir()
        _download(wheels, self._python_version())
        script = (
            f"python3 -m venv {PREFIX} && {PREFIX}/bin/pip install --quiet --no-index "
            "--disable-pip-version-check --root-user-action=ignore "
            "--find-links=/wheels --require-hashes --requirement=/wheels/requirements.txt"
        )
        binds = (f"--bind={environment}:{PREFIX}", f"--bind-ro={wheels}:/wheels")
        tools._run(
            [*self.command(*binds, "--pipe", "--machine=certwarden-install"), "sh", "-ec", script],
            cwd=into,
        )
        shutil.rmtree(wheels)
        (into / stamp).touch()

    def _python_version(self) -> str:
        """The version of the root's Python, as in 3.11."""
        return (self.root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")


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


def _fetch_root(into: Path) -> None:
    # The tree has programs with set-user-id bits: nobody else's way leads through here.
    into.chmod(0o700)
    scratch = into / "scratch"
    scratch.mkdir()
    release = tools.codename()
    tools._unpack(("mmdebstrap",), scratch, release)
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
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--require-hashes", "--only-binary=:all:", f"--python-version={python_version}"]
    into.mkdir()
    shutil.copy(_REQUIREMENTS, into / "requirements.txt")
    tools._run([*pip, *options, "--dest", into, "--requirement", _REQUIREMENTS], cwd=into)
