"""A daemon kept busy by short certificates, disturbed at random, and watched all the while.

Owns the house, the disturbances and the watching; `bench.soak` and an end-to-end test say for how
long.
What is disturbed, when and for how long comes from a seed alone. What must hold at every instant is
looked at from outside, on the files that the programs of the house would read, and in Pebble's log.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from bench.door import Door
from certwarden.errors import MaterialError
from certwarden.model import Certificate, Secret
from certwarden.pki.certificate import read_pair
from tests.world import World
from tests.world.cloudflare import Fault
from tests.world.dns import DnsFault
from tests.world.faultproxy import AcmeFault
from tests.world.house import House
from tests.world.pebble import PebbleOptions
from tests.world.process import Child
from tests.world.tools import Missing
from tests.world.wallshift import WallShift

LOOK_EVERY = 0.2
EXCUSED_AFTER = 30.0  # seconds after the CA can be reached again, or the clock is right again
STOP_WITHIN = 5.0
MEMORY_LIMIT = 28.0  # MB
_UNTIL_READY = 60.0
# Nobody strikes while less than this share of a lifetime is left: half of it is there for a failure
# and a second try, which comes ten seconds later at the earliest, but not for a series of failures.
_FAIR = 0.4
_GROWN_UP = 30.0  # seconds after its start, when the daemon has all the threads that it needs
_FOR_EVER = 10**9
_DISK = 6 * 1024 * 1024

_CERTIFICATE = """
[[certificate]]
name = "{name}"
domains = ["{name}.example.org"]
"""
_TARGET = """
  [[certificate.target]]
  name = "{name}"
  kind = "files"
  probe = "{address}"
"""
_REST = """
[clock]
trust = "auto"

[daemon]
check_every = "1h"
"""


@dataclass(frozen=True)
class Plan:
    """What to run: for so many seconds at least, and so many renewals; then it is left in peace.

    `limit` is when it ends at the latest, in seconds.
    """

    seed: int
    seconds: float
    renewals: int
    limit: float
    certificates: int = 10
    lifetime: int = 60


@dataclass
class Figures:
    """What came of it; `violations` is empty if all held that must."""

    seed: int
    seconds: float = 0.0
    renewals: int = 0
    orders: int = 0
    issued: int = 0
    invalid: int = 0
    lost: int = 0
    looks: int = 0
    worst_remaining: float = float("inf")
    disturbances: Counter[str] = field(default_factory=Counter)
    memory: tuple[float, float] = (0.0, 0.0)
    threads: tuple[int, int] = (0, 0)
    descriptors: tuple[int, int] = (0, 0)
    left_out: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Each figure by its name."""
        yield "seed", str(self.seed)
        yield "duration", f"{self.seconds:.0f} s"
        yield "renewals", str(self.renewals)
        for kind, times in sorted(self.disturbances.items()):
            yield kind, str(times)
        yield "looks at all targets", str(self.looks)
        yield "shortest lifetime left, outages of the CA aside", f"{self.worst_remaining:.0f} s"
        yield "orders", f"{self.orders}: {self.issued} issued, {self.invalid} failed validation"
        yield "orders taken by the CA that nobody heard of", str(self.lost)
        yield "daemon's memory, early and late", "{:.1f} MB, {:.1f} MB".format(*self.memory)
        yield "daemon's threads, early and late", "{}, {}".format(*self.threads)
        yield "daemon's descriptors, early and late", "{}, {}".format(*self.descriptors)
        yield "left out", "; ".join(self.left_out) or "nothing"
        yield "violations", str(len(self.violations))


# ── watching ──────────────────────────────────────────────────────────────────────────────────────


class Excuses:
    """When nobody could have renewed: the CA was not to be reached, or the clock was wrong."""

    def __init__(self) -> None:
        self._until = 0.0
        self._is_open = False

    def begin(self) -> None:
        """From now on."""
        self._is_open = True

    def end(self) -> None:
        """Until now, and a little longer."""
        self._is_open, self._until = False, time.monotonic() + EXCUSED_AFTER

    def hold(self) -> bool:
        """Whether one counts now."""
        return self._is_open or time.monotonic() < self._until


class Observer:
    """Looks at every `current` a few times a second; what is there must be whole and valid."""

    def __init__(
        self, links: Mapping[str, Path], excuses: Excuses, violated: Callable[[str], object]
    ) -> None:
        self.looks = 0
        self.worst_remaining = float("inf")
        self.serials: dict[str, list[int]] = {name: [] for name in links}
        self._links = links
        self._excuses = excuses
        self._violated = violated
        self._seen: dict[str, tuple[Path, Certificate]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def count(self) -> int:
        """How many certificates have been seen at the targets."""
        return sum(map(len, self.serials.values()))

    def remaining(self) -> float:
        """Seconds until the first of the certificates there ends; 0 where one is missing."""
        now = datetime.now(UTC)
        ends = [certificate.not_after for _, certificate in list(self._seen.values())]
        if len(ends) < len(self._links):
            return 0.0
        return (min(ends) - now).total_seconds()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            for name, link in self._links.items():
                self._look(name, link)
            self.looks += 1

    def _look(self, name: str, link: Path) -> None:
        before = self._seen.get(name)
        generation = _generation(link)
        if generation is None:
            if before is not None:
                self._violated(f"{name}: there is no `current` any more")
            return
        if before is None or before[0] != generation:
            certificate = self._read(name, link, generation)
            if certificate is None:
                return
            self._seen[name] = (generation, certificate)
            serial = int(certificate.serial, 16)
            if serial not in self.serials[name]:
                self.serials[name].append(serial)
        _, certificate = self._seen[name]
        left = (certificate.not_after - datetime.now(UTC)).total_seconds()
        if self._excuses.hold():
            return
        self.worst_remaining = min(self.worst_remaining, left)
        if left < 0:
            self._violated(f"{name}: the certificate {certificate.serial} has expired")

    def _read(self, name: str, link: Path, generation: Path) -> Certificate | None:
        try:
            key = Secret((generation / "privkey.pem").read_bytes())
            return read_pair(key, (generation / "fullchain.pem").read_bytes()).certificate
        except (OSError, MaterialError) as error:
            # An old generation may go while it is read; the current one may not.
            if _generation(link) == generation:
                self._violated(f"{name}: {generation.name} is no matching pair: {error}")
            return None


def _generation(link: Path) -> Path | None:
    try:
        return link.parent / link.readlink()
    except OSError:
        return None


# ── the daemon ────────────────────────────────────────────────────────────────────────────────────


class Timeline:
    """What happens, and what the daemon says, in one file with the time of each line."""

    def __init__(self, directory: Path, tell: Callable[[str], object]) -> None:
        self.daemon_log = directory / "daemon.log"
        self._path = directory / "timeline.log"
        self._tell = tell
        self._read = 0

    def note(self, text: str) -> None:
        """Something has happened."""
        self.follow()
        self._write(f"-- {text}")
        self._tell(text)

    def follow(self) -> None:
        """Takes over what the daemon has said since the last time."""
        if not self.daemon_log.exists():
            return
        with self.daemon_log.open("rb") as log:
            log.seek(self._read)
            whole, end, _ = log.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        for line in whole.decode(errors="replace").splitlines():
            self._write(line)

    def _write(self, line: str) -> None:
        with self._path.open("a") as timeline:
            timeline.write(f"{datetime.now(UTC):%H:%M:%S} {line}\n")


class Service:
    """The daemon as systemd would keep it: started again whenever it has ended."""

    def __init__(self, house: House, log: Path, environment: Mapping[str, str]) -> None:
        program = [sys.executable, "-I", "-m", "certwarden"]
        self._command = [*program, "--config", str(house.config), "run"]
        self._log = log
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLOUDFLARE_", "CERTWARDEN_", "STATE_DIRECTORY", "NOTIFY_"))
        } | dict(environment)
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The running one."""
        assert self._child is not None
        return self._child

    def start(self) -> None:
        """Start it."""
        self._child = Child(self._command, log=self._log, environment=self._environment)
        self._started_at = time.monotonic()

    def age(self) -> float:
        """For how many seconds this one has been running."""
        return time.monotonic() - self._started_at

    def kill(self) -> None:
        """End it at once, and whatever it has started."""
        self.child.stop()

    def workers(self) -> list[int]:
        """The passes that it has under way."""
        return [process for process in self.children() if b"\0renew\0" in _command_line(process)]

    def children(self) -> list[int]:
        """Every process that it has started and that still runs."""
        return [
            int(entry.parent.name)
            for entry in Path("/proc").glob("[0-9]*/stat")
            if _parent(entry) == self.child.pid
        ]

    def measure(self) -> tuple[float, int, int]:
        """Its resident memory in MB, threads and descriptors, at a moment when it has no child."""
        deadline = time.monotonic() + _UNTIL_READY
        while self.children() and time.monotonic() < deadline:
            time.sleep(0.05)
        process = Path("/proc") / str(self.child.pid)
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines() if line
        )
        resident = int(status["VmRSS"].split()[0]) * 1024 / 1e6
        return resident, int(status["Threads"]), len(list((process / "fd").iterdir()))

    def stop(self) -> str | None:
        """Ask it to end; what was wrong with how it did."""
        began = time.monotonic()
        os.kill(self.child.pid, signal.SIGTERM)
        code = self.child.wait(3 * STOP_WITHIN)
        took = time.monotonic() - began
        self.child.stop()
        if code != 0:
            return f"SIGTERM ended the daemon with {code}"
        return None if took <= STOP_WITHIN else f"the daemon took {took:.1f} s to end"


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


# ── disturbing ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Outage:
    """Something that goes away for a while: from `begin` to `end`, so many seconds at most."""

    begin: Callable[[], object]
    end: Callable[[], object]
    longest: float
    is_excuse: bool = False


class Soak:
    """One run. `run` returns the figures; `tell` is told what happens."""

    def __init__(self, plan: Plan, directory: Path, tell: Callable[[str], object]) -> None:
        self._plan = plan
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._timeline = Timeline(directory, tell)
        self._random = random.Random(plan.seed)
        self._excuses = Excuses()
        self._names = ["home", *(f"room{number}" for number in range(1, plan.certificates))]
        self._told: set[str] = set()
        self.figures = Figures(plan.seed)

    def run(self) -> Figures:
        """Runs it all; what did not hold stands in the figures' violations."""
        began = time.monotonic()
        with ExitStack() as stack:
            options = PebbleOptions(
                profiles={"default": self._plan.lifetime}, retry_after_authz=0, retry_after_order=0
            )
            self._world = stack.enter_context(World(proxy=True, pebble=options))
            self._world.emulator.rate_limit = (self._world.emulator.rate_limit[0] * 10, 300.0)
            self._door = stack.enter_context(Door(self._world.authority))
            self._place = self._directory / "house"
            self._place.mkdir()
            is_small = stack.enter_context(self._small_disk())
            shift = self._clock()
            self._house = self._build()
            self._service = Service(
                self._house, self._timeline.daemon_log, shift.env if shift else {}
            )
            self._outages = self._possible(is_small=is_small, shift=shift)
            links = {name: self._house.state / "live" / name / "current" for name in self._names}
            self._observer = stack.enter_context(Observer(links, self._excuses, self._violated))
            self._service.start()
            stack.callback(self._service.kill)
            self._wait_for_all("the first certificates")
            self._disturb(began)
            self._end()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    def _build(self) -> House:
        def target(name: str) -> str:
            return _TARGET.format(name=name, address=self._door.address)

        first, *others = self._names
        blocks = [target(first)]
        blocks += [_CERTIFICATE.format(name=name) + target(name) for name in others]
        house = House(
            self._world,
            self._place,
            targets="".join([*blocks, _REST]),
            domains=(f"{first}.example.org",),
        )
        for name in self._names:
            self._door.put_up(f"{name}.example.org", house.state / "live" / name)
        return house

    @contextmanager
    def _small_disk(self) -> Iterator[bool]:
        """Puts the house on a disk that can be filled, where that is permitted."""
        options = f"size={_DISK},mode=0755"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self.figures.left_out.append("a full disk: only root may mount one")
            yield False
            return
        try:
            yield True
        finally:
            subprocess.run(["umount", "-l", self._place], check=False, capture_output=True)

    def _clock(self) -> WallShift | None:
        try:
            return WallShift(self._directory)
        except Missing as missing:
            self.figures.left_out.append(f"jumps of the clock: {missing}")
            return None

    def _possible(self, *, is_small: bool, shift: WallShift | None) -> dict[str, Outage]:
        world = self._world
        assert world.proxy is not None
        proxy, emulator, dns = world.proxy, world.emulator, world.dns

        def refuse() -> None:
            proxy.clear_faults()
            proxy.inject(AcmeFault("html_503", times=_FOR_EVER))

        def accept() -> None:
            proxy.clear_faults()
            # Pebble suggests to renew within a day of two thirds of the lifetime, which for these
            # certificates is any time at all; without ARI half of the lifetime decides.
            without = {"renewalInfo": None}
            proxy.inject(AcmeFault("change", "directory", times=_FOR_EVER, document=without))

        def cloudflare(kind: str) -> Outage:
            fault = Fault(kind, times=_FOR_EVER)
            return Outage(lambda: emulator.inject(fault), emulator.clear_faults, 5)

        def silent(kind: str) -> Outage:
            return Outage(lambda: dns.inject(DnsFault(kind)), dns.clear_faults, 5)

        accept()
        long = self._plan.lifetime / 5  # seconds: it may cost a certificate, but not the afternoon
        outages = {
            "the CA hangs": Outage(world.pebble.pause, world.pebble.resume, long, is_excuse=True),
            "the CA refuses": Outage(refuse, accept, long, is_excuse=True),
            "Cloudflare fails": cloudflare("server_error"),
            "Cloudflare applies, and drops the line": cloudflare("drop_after"),
            "Cloudflare applies, and times out": cloudflare("timeout_after"),
            "DNS fails": silent("servfail"),
            "DNS is silent": silent("drop"),
        }
        if is_small:
            filler = self._place / "filler"
            outages["the disk is full"] = Outage(
                lambda: _fill(filler), lambda: filler.unlink(missing_ok=True), 5
            )
        if shift is not None:
            for word, seconds in (("ahead", 86_400), ("behind", -86_400)):
                outages[f"the clock is a day {word}"] = Outage(
                    lambda seconds=seconds: shift.shift(seconds),  # type: ignore[misc]
                    lambda: shift.shift(0),
                    long,
                    is_excuse=True,
                )
        return outages

    def _disturb(self, began: float) -> None:
        """One thing after the other, until there was enough of it.

        In the first part the daemon itself is killed as well; then it is the same one until the
        end, so that what it gains by and by is to be seen.
        """
        kinds: list[str] = []
        early: tuple[float, int, int] | None = None
        while not self._is_enough(began):
            is_late = self._progress(began) > 0.4
            if is_late and early is None and self._service.age() > _GROWN_UP:
                early = self._service.measure()
            kinds = kinds or list(self._outages)
            kind = kinds.pop(self._random.randrange(len(kinds)))  # each in its turn
            if self._outages[kind].is_excuse or self._is_fair():
                self._outage(kind)
            # So much peace that whoever failed can have succeeded since.
            self._kill_for_a_while(self._random.uniform(14, 20), is_late=is_late)
        self._early = early or self._service.measure()

    def _is_fair(self) -> bool:
        return self._observer.remaining() > _FAIR * self._plan.lifetime

    def _outage(self, kind: str) -> None:
        outage = self._outages[kind]
        self.figures.disturbances[kind] += 1
        seconds = self._random.uniform(1, outage.longest)
        self._timeline.note(f"{kind} for {seconds:.1f} s")
        if outage.is_excuse:
            self._excuses.begin()
        outage.begin()
        try:
            self._sleep(seconds)
        finally:
            outage.end()
            self._timeline.note("and back")
            if outage.is_excuse:
                self._excuses.end()

    def _kill_for_a_while(self, seconds: float, *, is_late: bool) -> None:
        end = time.monotonic() + seconds
        kinds = ["kill -9 of a worker", "SIGTERM to a worker", "SIGHUP to the daemon"]
        if not is_late:
            kinds += ["kill -9 of the daemon", "SIGTERM to the daemon"]
        kind = self._random.choice(kinds)
        delay = self._random.uniform(0, 1)
        while not self._service.workers():
            if time.monotonic() > end:
                return
            time.sleep(0.02)
        self._sleep(delay)
        if self._is_fair():
            self._timeline.note(kind)
            self.figures.disturbances[kind] += 1
            self._strike(kind)
        self._sleep(max(0.0, end - time.monotonic()))

    def _strike(self, kind: str) -> None:
        service = self._service
        if kind.endswith("a worker"):
            number = signal.SIGKILL if "-9" in kind else signal.SIGTERM
            for process in service.workers():
                try:
                    os.kill(process, number)
                except ProcessLookupError:
                    pass  # it was quicker
        elif kind.startswith("SIGHUP"):
            os.kill(service.child.pid, signal.SIGHUP)
        else:
            if "-9" in kind:
                os.kill(service.child.pid, signal.SIGKILL)
                service.child.wait(10)
                service.child.stop()
            elif wrong := service.stop():
                self._violated(wrong)
            service.start()

    def _sleep(self, seconds: float) -> None:
        """Waits, and sees to it that the daemon has not ended by itself."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
            self._timeline.follow()
            if not self._service.child.alive():
                self._violated("the daemon has ended by itself")
                self._service.start()

    def _progress(self, began: float) -> float:
        plan = self._plan
        return min((time.monotonic() - began) / plan.seconds, self._renewals() / plan.renewals)

    def _is_enough(self, began: float) -> bool:
        if time.monotonic() - began > self._plan.limit:
            self._violated(f"only {self._renewals()} renewals by the end")
            return True
        return self._progress(began) >= 1

    def _renewals(self) -> int:
        return self._observer.count() - len(self._names)

    def _wait_for_all(self, what: str) -> None:
        deadline = time.monotonic() + _UNTIL_READY
        while self._observer.remaining() <= self._plan.lifetime / 4:
            if time.monotonic() > deadline:
                self._violated(f"{what} did not come in time")
                return
            self._sleep(0.1)

    def _end(self) -> None:
        """In peace everything comes right by itself; then it is judged."""
        self._wait_for_all("valid certificates at the end")
        late = self._service.measure()
        figures = self.figures
        figures.memory = (self._early[0], late[0])
        figures.threads = (self._early[1], late[1])
        figures.descriptors = (self._early[2], late[2])
        if late[0] > MEMORY_LIMIT:
            self._violated(f"the daemon takes {late[0]:.1f} MB")
        if late[1] > self._early[1]:
            self._violated(f"threads grew from {self._early[1]} to {late[1]}")
        if late[2] > self._early[2]:
            self._violated(f"descriptors grew from {self._early[2]} to {late[2]}")
        if wrong := self._service.stop():
            self._violated(wrong)
        figures.renewals, figures.looks = self._renewals(), self._observer.looks
        figures.worst_remaining = self._observer.worst_remaining
        last = self._house.run("renew")
        if last.code:
            self._violated(f"the last pass ended with {last.code}: {last.err}")
        time.sleep(2 * LOOK_EVERY)  # the observer's last look
        if left := self._world.txt_records():
            self._violated(f"TXT records are left: {left}")
        self._timeline.follow()
        if "Traceback" in (log := self._timeline.daemon_log.read_text()):
            self._violated("there is a traceback in the log")
        if "unforeseen" in log:
            self._violated("there is an unforeseen error in the log")
        self._judge_orders()

    def _judge_orders(self) -> None:
        """Every order came to a certificate that was put to use, failed, or was never heard of."""
        log = self._world.pebble.log_text()
        placed = set(re.findall(r'Added order "(\S+)" to the db', log))
        invalid = set(re.findall(r"order (\S+) set INVALID", log))
        issued = {
            order: int(serial, 16)
            for serial, order in re.findall(r"Issued certificate serial (\w+) for order (\S+)", log)
        }
        assert self._world.proxy is not None
        heard_of = {
            request.path.rpartition("/")[2]
            for request in self._world.proxy.requests
            if request.resource in {"order", "finalize"}
        }
        lost = placed - heard_of
        figures = self.figures
        figures.orders, figures.issued = len(placed), len(issued)
        figures.invalid, figures.lost = len(invalid), len(lost)
        if unfinished := placed - invalid - set(issued) - lost:
            self._violated(f"{len(unfinished)} orders were given up: {sorted(unfinished)}")
        if len(lost) > sum(figures.disturbances.values()):
            self._violated(f"{len(lost)} orders were forgotten, more than there were disturbances")
        seen = {serial for serials in self._observer.serials.values() for serial in serials}
        if unused := set(issued.values()) - seen:
            self._violated(
                f"{len(unused)} certificates were never put to use: "
                f"{sorted(f'{serial:x}' for serial in unused)}"
            )

    def _violated(self, sentence: str) -> None:
        if sentence not in self._told:  # the observer says it five times a second
            self._told.add(sentence)
            self._timeline.note(f"VIOLATION: {sentence}")
            self.figures.violations.append(f"{datetime.now(UTC):%H:%M:%S} {sentence}")


def _fill(filler: Path) -> None:
    """Takes all the room that there is on the file's disk."""
    with filler.open("wb", buffering=0) as file:
        piece = b"\0" * 4096
        try:
            while True:
                file.write(piece)
        except OSError:
            pass  # it is full
