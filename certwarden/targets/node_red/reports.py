"""What the hot-reload modules in running Node-REDs say about themselves: `loaded/PID.json`.

Node-RED's user writes these files, and so does every flow in it: they are advice for a person's
eyes, never proof, and are read as if an enemy had written them.
"""

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from certwarden.errors import clean

LOADED = "loaded"
MAX_REPORT_BYTES = 32 * 1024
MAX_REPORTS = 16
_MAX_ENTRIES = 1000
_NAME = re.compile(r"(?P<pid>[1-9][0-9]{0,9})\.json(\.tmp)?", re.ASCII)
_SERIAL = re.compile(r"(?!00)([0-9A-F]{2}){1,20}", re.ASCII)  # as Node writes them
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True)
class Report:
    """What the module in one process says that it has loaded; `error`: why not the newest.

    `client_auth` and `crl_number`: whether it asks clients for certificates, and by which list it
    judges them; None where it does not say. `clients`: the certificates that it has let in, by
    serial, and when last, be that in the future; None where it cannot tell.
    """

    pid: int
    generation: str  # "" before the first
    servers: int
    error: str
    client_auth: bool | None = None
    crl_number: int | None = None
    clients: Mapping[str, datetime] | None = None


def read_reports(directory: Path) -> tuple[Report, ...]:
    """The reports of living processes, the newest first; unreadable ones are left out.

    Where none seems to live, the newest alone: a process in a container counts its own numbers,
    and those from before its last start are over.
    """
    entries = [entry for entry in _entries(directory) if entry.name.endswith(".json")]
    living = [entry for entry in entries if _is_alive(entry)]
    newest = sorted(living or entries, key=_age)[:MAX_REPORTS]
    reports = tuple(report for entry in newest if (report := _read(entry)) is not None)
    return reports if living else reports[:1]


def read_sightings(directory: Path) -> Mapping[str, datetime] | None:
    """What the reports that count say of clients, the latest instant of each; None where none does.

    Serials as in `model`.
    """
    told = [each.clients for each in read_reports(directory) if each.clients is not None]
    if not told:
        return None
    latest: dict[str, datetime] = {}
    for serial, at in (sighting for clients in told for sighting in clients.items()):
        latest[serial] = max(at, latest.get(serial, at))
    return latest


def forget_the_dead(directory: Path) -> None:
    """Removes the reports of processes that are no more; a module in a container writes anew."""
    for entry in _entries(directory):
        if not _is_alive(entry):
            with contextlib.suppress(OSError):
                Path(entry.path).unlink()


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False):
                if _NAME.fullmatch(entry.name):
                    yield entry
    except OSError:
        return


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return -entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def _pid(entry: os.DirEntry[str]) -> int:
    return int(entry.name.partition(".")[0])


def _is_alive(entry: os.DirEntry[str]) -> bool:
    """Whether there is such a process, and it is of the user who wrote the report.

    Another user's has been given the number since. Times are not compared: a machine without a
    clock of its own writes reports before it knows the time.
    """
    pid = _pid(entry)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    try:
        return Path(f"/proc/{pid}").stat().st_uid == entry.stat(follow_symlinks=False).st_uid
    except OSError:  # other users' processes may be hidden from us (proc(5), hidepid)
        return True


def _read(entry: os.DirEntry[str]) -> Report | None:
    try:
        found = json.loads(_read_regular(entry.path))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return Report(
        pid=_pid(entry),
        generation=_text(found.get("generation"), 20),
        servers=found["servers"] if type(found.get("servers")) is int else 0,
        error=_text(found.get("error"), 300),
        client_auth=found["client_auth"] if type(found.get("client_auth")) is bool else None,
        crl_number=found["crl_number"] if type(found.get("crl_number")) is int else None,
        clients=_clients(found.get("clients")),
    )


def _clients(value: object) -> Mapping[str, datetime] | None:
    if not isinstance(value, dict):
        return None
    return {
        serial.lower(): instant
        for serial, text in value.items()
        if _SERIAL.fullmatch(serial) and (instant := _instant(text)) is not None
    }


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _read_regular(path: str) -> bytes:
    """The file's bytes, if it is a file: never through a link, never waiting for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_REPORT_BYTES:
            raise ValueError("not a report")
        return os.read(descriptor, MAX_REPORT_BYTES)
    finally:
        os.close(descriptor)


def _text(value: object, limit: int) -> str:
    return clean(value, limit) if isinstance(value, str) else ""
