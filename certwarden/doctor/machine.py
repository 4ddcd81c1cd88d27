"""The machine itself: room on its file systems, and the programs that certwarden is made of.

Owns the table of Python's ends of life. Who may write where is not its business.
"""

import importlib.metadata
import os
import platform
import re
import shlex
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import certwarden
from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Look, Patient
from certwarden.errors import Error, StoreError, clean
from certwarden.store.inspection import check_database
from certwarden.wiring import DATABASE

SECONDS = 1.5  # for each file system
MIB = 1024 * 1024
FULL = 5 * MIB  # less is not enough for a certificate, the database and its journal
SCARCE = 50 * MIB
SMALL_PART = 4  # of a small file system that part is enough
SCARCE_SHARE = 0.02  # of large file systems, up to
SCARCE_AT_MOST = 500 * MIB
INODES_FULL, INODES_SCARCE = 50, 1000

_LINKLESS = frozenset({"exfat", "fat", "msdos", "umsdos", "vfat"})
_MOUNTS = Path("/proc/self/mountinfo")

# https://devguide.python.org/versions/
PYTHON_ENDS = {
    (3, 11): date(2027, 10, 31),
    (3, 12): date(2028, 10, 31),
    (3, 13): date(2029, 10, 31),
}
# Distributions that mend the Python that they bring for as long as they are supported themselves.
_SYSTEM, _MENDING = "/usr", frozenset({"debian", "ubuntu", "raspbian"})
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)")
_BOUND = re.compile(r"(>=|<)\s*([0-9.]+)")


# ── file systems ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Place:
    """A directory that is written in; `needs_links`: generations are made current there."""

    what: str
    path: Path
    needs_links: bool = True


@dataclass(frozen=True)
class Room:
    """What there is of a file system: bytes and inodes; `inodes` is 0 where they are not counted.

    `device` tells file systems apart, `kind` is its type, "" where that cannot be told.
    """

    device: int
    size: int
    free: int
    inodes: int
    free_inodes: int
    is_read_only: bool
    kind: str = ""


def disk(patient: Patient) -> Iterator[Finding]:
    """Each file system that is written to, once."""
    told: set[int] = set()
    for place in _places(patient):
        room = look_at_place(place)
        if isinstance(room, Room):
            if room.device not in told:
                told.add(room.device)
                yield judge_room(place, room)
            if place.needs_links and room.kind in _LINKLESS:
                yield error(
                    place.what,
                    f"{place.path} is on a file system of type {room.kind}, which has neither "
                    "links nor modes",
                    "move it to one that has them (ext4, for example)",
                )
        else:
            yield room


def _places(patient: Patient) -> tuple[Place, ...]:
    config = patient.config
    state = config.state_directory
    places = [Place("state_directory", state)]
    places += [
        Place(target.name, target.directory)
        for _, target in patient.targets
        if not target.directory.is_relative_to(state)
    ]
    if config.backup is not None:
        places.append(Place("backup", config.backup.directory, needs_links=False))
    return tuple(places)


def judge_room(place: Place, room: Room) -> Finding:
    """The finding of one file system."""
    where = f"the file system of {place.path}"
    left = f"{room.free / MIB:.0f} MiB of {room.size / MIB:.0f} MiB"
    path = shlex.quote(str(place.path))
    remedy = f"free some space: `sudo du -xh {path} | sort -h | tail`, and `df -h {path}`"
    if room.is_read_only:
        return error(
            place.what,
            f"{where} is mounted read-only",
            "see `dmesg | tail`: a failing card turns read-only by itself; save what can be read, "
            "and replace it",
        )
    if room.free < FULL:
        return error(place.what, f"{where} is full: {left} are left", remedy)
    if room.inodes and room.free_inodes < INODES_FULL:
        return error(place.what, f"{where} has room for {room.free_inodes} more files only", remedy)
    scarce = min(SCARCE, room.size / SMALL_PART)
    if room.free < max(scarce, min(SCARCE_SHARE * room.size, SCARCE_AT_MOST)):
        return warning(place.what, f"{where} is almost full: {left} are left", remedy)
    if room.inodes and room.free_inodes < INODES_SCARCE:
        return warning(
            place.what, f"{where} has room for {room.free_inodes} more files only", remedy
        )
    return ok(place.what, f"{where} has {left} left")


def look_at_place(place: Place) -> Room | Finding:
    """A file system of the network may hang for ever."""
    looked = in_time(lambda: _room(place, mounts(_MOUNTS.read_text(errors="replace"))), SECONDS)
    if isinstance(looked, Error):
        what = f"the file system of {place.path} cannot be looked at: {looked.what}"
        return error(place.what, what, "see that it is mounted, and its server or disk at work")
    return looked


def _room(place: Place, kinds: Mapping[int, str]) -> Room | Finding:
    path = place.path
    try:
        while not path.exists() and place.needs_links:  # it is made when it is needed
            path = path.parent
        found, device = os.statvfs(path), path.stat().st_dev
    except FileNotFoundError:
        return error(
            place.what,
            f"there is no {place.path}: it may be a disk that is not mounted",
            "mount it, or make the directory, writable for certwarden",
        )
    except PermissionError:
        return skipped(place.what, f"{place.path} may not be looked at", "run it with sudo")
    except OSError as failure:
        why = failure.strerror or type(failure).__name__
        return error(place.what, f"{place.path} cannot be looked at: {why}", "see `dmesg | tail`")
    return Room(
        device=device,
        size=found.f_blocks * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        free_inodes=found.f_favail,
        is_read_only=bool(found.f_flag & os.ST_RDONLY),
        kind=kinds.get(device, ""),
    )


def mounts(mountinfo: str) -> dict[int, str]:
    """The type of each mounted file system by its device (proc(5), /proc/PID/mountinfo)."""
    kinds: dict[int, str] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.partition(" ")[0]
        if len(fields) > 4 and kind:
            major, _, minor = fields[2].partition(":")
            kinds[os.makedev(int(major), int(minor))] = kind
    return kinds


# ── programs ──────────────────────────────────────────────────────────────────────────────────────


def version(patient: Patient) -> Iterator[Finding]:
    """certwarden, what it stands on, and whether it can read its own database."""
    yield judge_python(sys.version_info[:2], patient.now, distribution_of(sys.base_prefix))
    yield ok(
        "certwarden",
        f"certwarden {certwarden.__version__}, Python {'.'.join(map(str, sys.version_info[:3]))}, "
        f"{ssl.OPENSSL_VERSION}",
    )
    yield from _libraries()
    yield from _database(patient)


def _database(patient: Patient) -> Iterator[Finding]:
    """Whether it is sound, and of a version that we can read."""
    try:
        is_seen = check_database(patient.config.state_directory / DATABASE)
        patient.warden.watch.floor()
    except StoreError as failure:
        yield error("database", failure.what, failure.hint)
    else:
        if is_seen:
            yield ok("database", "it is sound")


def judge_python(python: tuple[int, int], now: datetime, distribution: str = "") -> Finding:
    """Whether somebody still mends that Python: its makers, or the distribution that it is of."""
    name = f"Python {python[0]}.{python[1]}"
    end = PYTHON_ENDS.get(python)
    if end is None or now.date() <= end:
        until = f" until {end}" if end else ""
        return ok("python", f"{name} is looked after by its makers{until}")
    if distribution:
        return ok("python", f"{name} is that of {distribution}, whose updates mend it")
    return warning(
        "python",
        f"{name} has had no security fixes from its makers since {end}",
        "upgrade the system, and install certwarden again under its newer Python",
    )


def distribution_of(prefix: str, release: Mapping[str, str] | None = None) -> str:
    """The distribution that an interpreter with this prefix is part of; "" where it is of none.

    `release` is os-release(5), read where it is not given.
    """
    if prefix != _SYSTEM:
        return ""
    try:
        told = platform.freedesktop_os_release() if release is None else release
    except OSError:
        return ""
    families = {told.get("ID", ""), *told.get("ID_LIKE", "").split()}
    is_known = bool(families & _MENDING)
    return clean(told.get("PRETTY_NAME", "Debian"), 80) if is_known else ""


def _libraries() -> Iterator[Finding]:
    try:
        distribution = importlib.metadata.distribution("certwarden")
    except importlib.metadata.PackageNotFoundError:
        yield skipped("libraries", "certwarden is run from its source, not from an installation")
        return
    if distribution.version != certwarden.__version__:
        yield error(
            "certwarden",
            f"an upgrade was cut short: the files are those of {certwarden.__version__}, the "
            f"installation says {distribution.version}",
            "install certwarden again",
        )
    required = distribution.requires or []
    yield from judge_libraries(required, {name: _installed(name) for name in names(required)})


def names(required: Iterable[str]) -> tuple[str, ...]:
    """The names of what must be there, those for developers left out."""
    return tuple(name for name, _, _ in map(_parts, _needed(required)))


def judge_libraries(
    required: Iterable[str], installed: Mapping[str, str | None]
) -> Iterator[Finding]:
    """Whether each requirement (PEP 508; `>=` and `<` only) is there in a version that fits."""
    wrong = 0
    for requirement in _needed(required):
        name, wanted, is_conditional = _parts(requirement)
        found = installed.get(name)
        if found is None and is_conditional:
            continue
        if found is None or not _fits(found, wanted):
            wrong += 1
            what = f"its version {found} does not fit" if found else "it is not there"
            yield error(
                "libraries",
                f"certwarden needs the library {name} ({wanted or 'any version'}), but {what}",
                "install certwarden again, in an environment of its own",
            )
    if not wrong:
        yield ok("libraries", "all libraries are there, in versions that fit")


def _needed(required: Iterable[str]) -> Iterator[str]:
    return (each for each in required if "extra ==" not in each)


def _parts(requirement: str) -> tuple[str, str, bool]:
    """Name, versions, and whether it is needed on some machines only."""
    match = _REQUIREMENT.match(requirement)
    name, wanted = match.groups() if match else (requirement, "")
    return name, wanted.strip(), ";" in requirement


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(found: str, wanted: str) -> bool:
    have = _numbers(found)
    return all(
        have >= _numbers(bound) if operator == ">=" else have < _numbers(bound)
        for operator, bound in _BOUND.findall(wanted)
    )


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version, to be compared (PEP 440): what follows it is left out."""
    match = re.match(r"[0-9]+(\.[0-9]+)*", text)
    release = [int(each) for each in match.group().split(".")] if match else [0]
    while release and release[-1] == 0:
        release.pop()
    return tuple(release)


CHECKS: dict[str, Look] = {"disk": disk, "version": version}
