"""What belongs to the service: its files, its user and groups, and polkit's leave.

Owns the judgement of what is installed beside what the configuration needs. What should be
installed is the business of `setup.service` and `setup.polkit`.
"""

import grp
import importlib.metadata
import json
import os
import pwd
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import certwarden
from certwarden.config import Config
from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.patient import Look, Patient
from certwarden.doctor.service import NO_SYSTEMD, PASS, SERVICE, is_there, number, since
from certwarden.errors import Error, TargetError
from certwarden.files import read_file
from certwarden.setup.polkit import RULE_PATH, asks_systemd, is_inviting, polkit_rule
from certwarden.setup.service import RECEIVER, service_drop_in, socket_drop_in
from certwarden.targets.door import SOCKET
from certwarden.targets.foreign import is_root, run_as
from certwarden.targets.process import Identity
from certwarden.targets.units import Properties, is_booted, show

CONFIGURATION = Path("/etc/certwarden/config.toml")  # what the units use unless they say otherwise
POLKIT_ON_BUS = Path("/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service")
MAX_UNIT_BYTES = 256 * 1024

_PROPERTIES = (
    *("LoadState", "MainPID", "ActiveEnterTimestampMonotonic", "FragmentPath", "DropInPaths"),
    *("User", "ExecStart", "Environment"),
)
# Of a template systemd tells by an instance only.
_TEMPLATE, _TELLER = "certwarden-failed@.service", f"certwarden-failed@{SERVICE}.service"
_COMMAND = re.compile(r"path=(\S+) ; argv\[\]=(.*?) ; ignore_errors=")
_ALLOWED = re.compile(r"var allowed = (\[.*?\]);", re.DOTALL)
_SUDO = "run it with sudo"
_LISTEN = "ListenStream"
_HOME, _NO = "ProtectHome", ("no", "false", "off", "0")
# Lists of paths, and where else a path of them may be given: the last only where homes are open.
_PATHS = {
    "ReadWritePaths": ("BindPaths",),
    "BindPaths": ("ReadWritePaths",),
    "BindReadOnlyPaths": ("BindPaths",),
}


# ── is what is installed in step ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Installed:
    """A unit as it is installed: its program, and the texts of its files, drop-ins last.

    `configuration` is the file that it reads.
    """

    name: str
    program: Path | None
    configuration: Path
    texts: tuple[str, ...]


def look_at_files(patient: Patient) -> Iterator[Finding]:
    """Units and drop-ins beside what the configuration needs."""
    if not is_booted():
        yield skipped("", NO_SYSTEMD)
        return
    units = show((SERVICE, PASS, _TELLER, RECEIVER), _PROPERTIES)
    there = [
        installed_unit(_TEMPLATE if name == _TELLER else name, unit)
        for name, unit in units.items()
        if is_there(unit)
    ]
    if not there:
        yield skipped("", "certwarden is not installed as a service")
    ours = patient.config.source.resolve()
    expected = service_drop_in(patient.config)
    for unit in there:
        if unit.configuration.resolve() != ours:
            yield skipped(unit.name, f"it reads {unit.configuration}, not {ours}")
        else:
            yield judge_files(unit, expected)
    if there and is_inviting(patient.config):
        listening = [unit for unit in show((SOCKET,), _PROPERTIES).values() if is_there(unit)]
        texts = installed_unit(SOCKET, listening[0]).texts if listening else None
        yield judge_socket(texts, socket_drop_in(patient.config))
    daemon = units.get(SERVICE, {})
    if number(daemon.get("MainPID", "")):
        yield from _look_at_upgrade(installed_unit(SERVICE, daemon), daemon, patient.now)


def judge_files(unit: Installed, expected: str) -> Finding:
    """Whether the unit has all that the drop-in's text would give it."""
    program = unit.program
    if program is not None and not os.access(program, os.X_OK):
        return error(
            unit.name,
            f"its program {program} is not there, or cannot be executed",
            "install certwarden again, or `sudo certwarden setup`",
        )
    missing = lacking(settings((expected,)), settings(unit.texts))
    if not missing:
        return ok(unit.name, "its files are in step with the configuration")
    directory = f"/etc/systemd/system/{unit.name}.d"
    return error(
        unit.name,
        f"it lacks what the configuration needs: {', '.join(missing)}",
        f"`sudo certwarden setup`; or by hand `sudo mkdir -p {directory}`, `sudo certwarden "
        f"snippet systemd | sudo tee {directory}/50-configuration.conf`, then `sudo systemctl "
        f"daemon-reload && sudo systemctl restart {SERVICE}`",
    )


def judge_socket(texts: tuple[str, ...] | None, expected: str) -> Finding:
    """Whether the socket, by the texts of its files, listens where the drop-in's text says.

    None is a unit that is not there.
    """
    if texts is None:
        return error(SOCKET, "there is no such unit", "install it: `sudo certwarden setup`")
    if settings(texts).get(_LISTEN) == settings((expected,))[_LISTEN]:
        return ok(SOCKET, "it listens where the configuration says, while somebody is invited")
    directory = f"/etc/systemd/system/{SOCKET}.d"
    return error(
        SOCKET,
        "it does not listen where `authority.invite_listen` says",
        f"`sudo certwarden setup`; or by hand `sudo mkdir -p {directory}`, `sudo certwarden "
        f"snippet systemd-socket | sudo tee {directory}/50-configuration.conf`, then `sudo "
        "systemctl daemon-reload`",
    )


def settings(texts: Iterable[str]) -> dict[str, list[str]]:
    """The words of each setting, as systemd puts files together: an empty one begins afresh.

    Except for the few that hold one value only, of which the last counts. A line that ends in a
    backslash goes on in the next one (systemd.syntax(7)).
    """
    found: dict[str, list[str]] = {}
    for line in (line.strip() for text in texts for line in _joined_lines(text)):
        key, equals, value = line.partition("=")
        if not equals or line.startswith(("#", ";", "[")):
            continue
        key, words = key.strip(), _split(value)
        before = [] if not words or key == _HOME else found.get(key, [])
        found[key] = before + words
    return found


def _joined_lines(text: str) -> list[str]:
    """Remarks between the parts of a line are left out, as systemd does."""
    lines = text.splitlines()
    kept = [line for line in lines if not line.lstrip().startswith(("#", ";"))]
    return "\n".join(kept).replace("\\\n", " ").splitlines()


def lacking(needed: Mapping[str, list[str]], found: Mapping[str, list[str]]) -> list[str]:
    """The settings that are needed and not given, be it in another way."""
    is_given = partial(_is_given, found=found)
    return [f"{key}={' '.join(words)}" for key, words in needed.items() if not is_given(key, words)]


def _is_given(key: str, needed: Sequence[str], *, found: Mapping[str, list[str]]) -> bool:
    """A path is given where one above it is; homes that are not hidden need not be shown."""
    if key not in _PATHS and key != _HOME:
        return set(needed) <= set(found.get(key, ())) if needed else not found.get(key)
    hidden = (found.get(_HOME) or ["no"])[-1]
    if key == _HOME:
        return hidden in (*_NO, "read-only", "tmpfs")
    if key == "BindReadOnlyPaths" and hidden in (*_NO, "read-only"):
        return True
    others = () if key == "BindPaths" and hidden not in _NO else _PATHS[key]
    given = {_path(word) for each in (key, *others) for word in found.get(each, ())}
    return all({_path(word), *_path(word).parents} & given for word in needed)


def _path(word: str) -> Path:
    """The path that a word of a list names: `-` may stand before it, a destination after it."""
    return Path(word.lstrip("-+").partition(":")[0])


def _look_at_upgrade(unit: Installed, properties: Properties, now: datetime) -> Iterator[Finding]:
    """Whether the daemon runs what is installed: it keeps what it has loaded."""
    if unit.program is None or unit.program.resolve().parent != Path(sys.executable).parent:
        return  # another installation than ours
    at_work = timedelta(seconds=time.monotonic()) - since(properties)
    age = timedelta(seconds=now.timestamp() - _installed_at())
    yield judge_upgrade(unit.name, at_work, age)


def judge_upgrade(name: str, at_work: timedelta, age: timedelta) -> Finding:
    """`at_work` is since when the daemon runs, `age` of the files that it was made from."""
    if at_work <= age:
        return ok(name, f"it runs the version that is installed, {certwarden.__version__}")
    return warning(
        name,
        "certwarden was upgraded after it was started: it still runs the version before",
        f"`sudo systemctl restart {name}`",
    )


def _installed_at() -> float:
    """When this package was put here, as far as its files tell; seconds since the epoch."""
    marks = [Path(certwarden.__file__)]
    try:
        files = importlib.metadata.distribution("certwarden").files or []
        marks += [Path(str(each.locate())) for each in files if each.name == "RECORD"]
    except importlib.metadata.PackageNotFoundError:
        pass
    return max(mark.stat().st_mtime for mark in marks if mark.exists())


def installed_unit(name: str, unit: Properties) -> Installed:
    """The unit as systemd tells it, with the texts of its files."""
    command = _COMMAND.search(unit.get("ExecStart", ""))
    program = Path(command.group(1)) if command else None
    words = command.group(2).split() if command else []
    paths = [unit.get("FragmentPath", ""), *_split(unit.get("DropInPaths", ""))]
    environment = dict(
        each.split("=", 1) for each in _split(unit.get("Environment", "")) if "=" in each
    )
    configuration = environment.get("CERTWARDEN_CONFIG", str(CONFIGURATION))
    if "--config" in words[:-1]:
        configuration = words[words.index("--config") + 1]
    texts = tuple(_text(Path(path)) for path in paths if path)
    return Installed(name, program, Path(configuration), texts)


def _text(path: Path) -> str:
    try:
        return read_file(path, MAX_UNIT_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _split(words: str) -> list[str]:
    """systemd's list of words, which are quoted where need be."""
    try:
        return shlex.split(words)
    except ValueError:
        return words.split()


# ── may it do what it must ────────────────────────────────────────────────────────────────────────


def look_at_rights(patient: Patient) -> Iterator[Finding]:
    """Its user, the groups of the targets, and polkit's leave to restart their units."""
    config = patient.config
    service = _service()
    user = service.user if service else None
    owner = _owner(config.state_directory)
    users = frozenset(entry.pw_name for entry in pwd.getpwall())
    yield from judge_user(user, owner, users, config.state_directory)
    if owner is not None:
        groups = _groups_of(owner) | (service.groups if service else frozenset())
        wanted = [target.group for _, target in patient.targets if target.group]
        yield from judge_groups(owner, groups, wanted)
    yield from _look_at_polkit(config, user)


def judge_user(
    user: str | None, owner: str | None, users: frozenset[str], state: Path
) -> Iterator[Finding]:
    """`user` is the service's, where there is a service; `owner` that of the state directory."""
    if user is None:
        return
    if user not in users:
        yield error(
            user,
            f"there is no user {user}, as which {SERVICE} is to run",
            "`sudo systemd-sysusers` if its file is in /usr/lib/sysusers.d, else `sudo certwarden "
            "setup`",
        )
    elif owner is not None and owner != user:
        yield error(
            user,
            f"the state directory belongs to {owner}, but {SERVICE} runs as {user}",
            # No group is named: those of `live` are the targets'.
            f"`sudo systemctl stop {SERVICE}`, `sudo chown -R {user} {shlex.quote(str(state))}`, "
            f"`sudo systemctl start {SERVICE}`",
        )
    else:
        yield ok(user, f"{SERVICE} runs as {user}, which owns the state directory")


def judge_groups(owner: str, groups: frozenset[str], wanted: Iterable[str]) -> Iterator[Finding]:
    """The groups that may read the keys; `groups` are those that certwarden works with."""
    for group in dict.fromkeys(wanted):
        if group in groups or owner == "root":
            yield ok(group, f"{owner} may give files to the group")
        else:
            yield error(
                group,
                f"{owner} is not in the group {group}, and cannot give it the key of a target",
                f"`sudo usermod -aG {group} {owner}`, then `sudo systemctl restart {SERVICE}`",
            )


def _look_at_polkit(config: Config, user: str | None) -> Iterator[Finding]:
    if not asks_systemd(config):
        return
    if user is None:
        yield skipped("polkit", "certwarden is not a service here: a command restarts as who it is")
    elif user == "root":
        yield ok("polkit", f"{SERVICE} runs as root, which needs nobody's leave")
    elif not POLKIT_ON_BUS.exists():
        yield error(
            "polkit",
            "there is no polkit here, so that certwarden may not restart what is configured",
            "`sudo apt install polkitd` (Debian 11: policykit-1)",
        )
    else:
        rule = _read_as_root(Path(RULE_PATH))
        if isinstance(rule, Finding):
            yield rule
        else:
            yield judge_rule(rule, polkit_rule(config))


def judge_rule(installed: str | None, expected: str) -> Finding:
    """Whether the installed rule allows what is needed, and nothing else."""
    tee = f"`certwarden snippet polkit | sudo tee {RULE_PATH}`"
    if installed is None:
        return error("polkit", f"polkit has no rule for certwarden: there is no {RULE_PATH}", tee)
    allowed, needed = _allowed(installed), _allowed(expected)
    if missing := sorted(needed - allowed):
        return error("polkit", f"{RULE_PATH} does not allow: {', '.join(missing)}", tee)
    if surplus := sorted(allowed - needed):
        what = f"{RULE_PATH} allows more than the configuration needs: {', '.join(surplus)}"
        return warning("polkit", what, tee)
    return ok("polkit", "its rule allows what the configuration needs, and nothing else")


def _allowed(rule: str) -> frozenset[str]:
    match = _ALLOWED.search(rule)
    try:
        found = json.loads(match.group(1)) if match else []
    except ValueError:
        found = []
    return frozenset(each for each in found if isinstance(each, str))


def _read_as_root(path: Path) -> str | Finding | None:
    """What is in a file of root's; None where there is none."""

    def read() -> bytes:
        return read_file(path, MAX_UNIT_BYTES)

    try:
        data = run_as(Identity(0, 0), [], read) if is_root() else read()
    except FileNotFoundError:
        return None
    except (OSError, TargetError):
        return skipped("polkit", f"{path} may not be read by us", _SUDO)
    return (data or b"").decode("utf-8", "replace")


@dataclass(frozen=True)
class _Service:
    user: str
    groups: frozenset[str]


def _service() -> _Service | None:
    """As whom the service runs; None where there is none."""
    if not is_booted():
        return None
    try:
        units = show((SERVICE, PASS), ("LoadState", "User", "SupplementaryGroups"))
    except Error:
        return None  # told by the check of the service itself
    unit = next((each for each in units.values() if is_there(each)), None)
    if unit is None:
        return None
    groups = frozenset(unit.get("SupplementaryGroups", "").split())
    return _Service(unit.get("User") or "root", groups)


def _owner(directory: Path) -> str | None:
    try:
        uid = directory.stat().st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _groups_of(user: str) -> frozenset[str]:
    try:
        gids = os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    except KeyError:
        return frozenset()
    names = {entry.gr_gid: entry.gr_name for entry in grp.getgrall()}
    return frozenset(names[gid] for gid in gids if gid in names)


CHECKS: dict[str, Look] = {"service-files": look_at_files, "service-rights": look_at_rights}
