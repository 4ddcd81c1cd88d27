"""A Debian with systemd as its first process, booted for a test and gone with it.

Owns booting, running commands inside, and ending. It has no network but its own loopback, and
whatever is written in it is gone afterwards. What it is made of is `debian`'s business, what is
installed in it the caller's.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.world.debian import PREFIX, Debian
from tests.world.process import Child, DidNotStart

_BOOT_TIMEOUT = 60.0
_NUMBERS = itertools.count(1)
# A control group of its own, or two containers would share theirs, and end each other's services.
_APART = """
for place in /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -e $place/cgroup.procs ] && mkdir -p "$place/$0"; then
        echo $$ >"$place/$0/cgroup.procs"
        break
    fi
done
exec "$@"
"""
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_PAGER": "cat",
}


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Container:
    """The booted machine; a context manager.

    `binds` are directories and files of ours that it reads; `overlays` are directories of ours that
    it also writes in, with nothing of that reaching us; in `shares` it reaches us. All by the path
    where it finds them.
    """

    def __init__(
        self,
        debian: Debian,
        directory: Path,
        binds: Mapping[str, Path],
        overlays: Mapping[str, Path] | None = None,
        shares: Mapping[str, Path] | None = None,
    ) -> None:
        self.log = directory / "container.log"
        self._debian = debian
        self._binds = dict(binds)
        self._overlays = dict(overlays or {})
        self._shares = dict(shares or {})
        self._name = f"certwarden-{os.getpid()}-{next(_NUMBERS)}"
        self._child: Child | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        overlays = [f"--overlay={ours}::{inside}" for inside, ours in self._overlays.items()]
        binds = [f"--bind-ro={ours}:{inside}" for inside, ours in self._binds.items()]
        shares = [f"--bind={ours}:{inside}" for inside, ours in self._shares.items()]
        machine = (f"--machine={self._name}", "--console=pipe", "--boot")
        command = self._debian.command(*overlays, *binds, *shares, *machine)
        self._child = Child(["sh", "-c", _APART, self._name, *command], log=self.log)
        try:
            self._child.wait_until(self._has_booted, timeout=_BOOT_TIMEOUT)
        except DidNotStart:
            self._child.stop()
            self._leave_no_control_group()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.stop(gently=True, timeout=20)
            self._child = None
            self._leave_no_control_group()

    def _leave_no_control_group(self) -> None:
        for place in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            group = Path(place, self._name)
            # The deepest first; what is not empty yet is left to whoever cleans up the machine.
            for below in sorted(group.rglob("*/"), reverse=True):
                with contextlib.suppress(OSError):
                    below.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()

    def _has_booted(self) -> bool:
        """Whether the first process is there, and has started what is to be started."""
        if not self._leader:
            self._leader = self._find_leader()
            return False
        state = self.run("systemctl", "is-system-running").out.strip()
        return state in ("running", "degraded")

    def _find_leader(self) -> int:
        """The container's first process as we see it, or 0: nspawn's child with our name for it."""
        assert self._child is not None
        pid = self._child.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in children:
                found = Path("/proc", child)
                is_inside = (found / "ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
                if is_inside and (found / "comm").read_text() == "systemd\n":
                    return int(child)
        except OSError:
            pass  # it is on its way
        return 0

    def path(self, inside: str) -> Path:
        """A path of the container's as we reach it; links are ours to beware of."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def run(
        self, *argv: str | Path, user: str | None = None, text: str = "", timeout: float = 120
    ) -> Done:
        """Runs a command inside, as root or as this user with its groups, and waits for its end."""
        done = subprocess.run(
            self.command(*argv, user=user),
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=ENVIRONMENT,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def command(self, *argv: str | Path, user: str | None = None) -> list[str]:
        """What runs it from outside, for somebody else to start, with ENVIRONMENT alone.

        The user's group has the same name, or stands behind it, as in `nobody:nogroup`.
        """
        name, _, group = (user or "").partition(":")
        identity = (f"--reuid={name}", f"--regid={group or name}", "--init-groups")
        become = ("setpriv", *identity, "--") if user else ()
        program = shutil.which("nsenter") or "nsenter"
        enter = (program, f"--target={self._leader}", "--mount", "--pid", "--net", "--ipc")
        return [str(part) for part in (*enter, "--uts", "--cgroup", "--", *become, *argv)]

    def must(
        self, *argv: str | Path, user: str | None = None, text: str = "", timeout: float = 120
    ) -> str:
        """Runs a command that has to succeed; returns what it printed."""
        done = self.run(*argv, user=user, text=text, timeout=timeout)
        if done.code:
            words = " ".join(str(part) for part in argv)
            message = f"`{words}` ended with {done.code}: {(done.err + done.out)[-2000:]}"
            raise AssertionError(message)
        return done.out

    def write(self, inside: str, text: str, *, mode: str = "0644", owner: str = "root") -> None:
        """Writes a file, whole, and the directories that lead to it."""
        user, _, group = owner.partition(":")
        install = ("install", "-D", "-m", mode, "-o", user, "-g", group or user)
        self.must(*install, "/dev/stdin", inside, text=text)

    def wait_for(
        self, what: Callable[[], bool], *, seconds: float = 30, journal_of: str = "certwarden*"
    ) -> None:
        """Waits until it is so; else fails with what the journal has of these units."""
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s:\n{self.journal(journal_of)}")
            time.sleep(0.1)

    # ── units ─────────────────────────────────────────────────────────────────────────────────────

    def systemctl(self, *arguments: str) -> str:
        """Asks systemd for what has to succeed."""
        done = self.run("systemctl", *arguments)
        if done.code:
            units = " ".join(each for each in arguments if "." in each)
            words = " ".join(arguments)
            raise AssertionError(f"systemctl {words}: {done.err}\n{self.journal(units)}")
        return done.out

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.must("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def journal(self, units: str) -> str:
        """The end of what the journal has of these units, by name or pattern."""
        selected = [f"--unit={unit}" for unit in units.split()]
        lines = ("--no-pager", "--output=short-monotonic", "--lines=80")
        return self.run("journalctl", *lines, *selected).out

    def kill(self, unit: str, number: signal.Signals) -> None:
        """Sends a signal to a service's main process alone."""
        self.must("systemctl", "kill", "--kill-whom=main", f"--signal={number.name}", unit)
