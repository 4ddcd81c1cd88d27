"""What is on this machine that could use a certificate: Node-RED above all.

Looks only, and runs nothing but systemctl and docker to be told. What is proposed for what was
found is the caller's business. What others have written (unit files, environments, the answers of
docker) is taken for text, never carried out.
"""

import contextlib
import json
import os
import pwd
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from certwarden.errors import clean
from certwarden.files import read_file
from certwarden.frozen import frozen
from certwarden.setup.system import has_program, run_program
from certwarden.targets.process import Limits

Ask = Callable[..., str]  # a command's output; "" where it failed, or there is no such command
HomeOf = Callable[[str], Path | None]

_LIMITS = Limits(seconds=20, output=4 * 1024 * 1024)
_ENVIRONMENT_LIMIT = 64 * 1024
_PROPERTIES = "Id,User,ExecStart,WorkingDirectory,Environment,EnvironmentFiles,MainPID,ActiveState"
_ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
_PROGRAMS = frozenset({"node-red", "node-red-pi"})
_SCRIPT = "red.js"
_DIGITS = 5  # of a port
_REPLACED = " (deleted)"  # what proc_pid_exe(5) adds where the program is not that file any more
_OPTIONS = {
    "-s": "settings",
    "--settings": "settings",
    "-u": "directory",
    "--userDir": "directory",
    "-p": "port",
    "--port": "port",
}


@frozen
class NodeRed:
    """A Node-RED as it is started; `unit` is "" where no unit of systemd's starts it.

    `port` is what its command line says, if it does; `node` is the program that runs it.
    """

    settings: Path
    user: str
    unit: str = ""
    is_active: bool = False
    port: int | None = None
    node: Path | None = None

    @property
    def name(self) -> str:
        """How a person knows it."""
        return self.unit or f"Node-RED of {self.user}"


@frozen
class Container:
    """A running container with Node-RED; `data` is where this machine keeps its /data, if so."""

    name: str
    image: str
    data: Path | None = None


@frozen
class Machine:
    """What was found. `home_assistant` is the directory where its add-ons look for certificates."""

    node_reds: tuple[NodeRed, ...] = ()
    containers: tuple[Container, ...] = ()
    home_assistant: Path | None = None

    def node_red(self, settings: Path) -> NodeRed | None:
        """The Node-RED that reads this settings.js."""
        return next((each for each in self.node_reds if each.settings == settings), None)

    def unit(self, name: str) -> NodeRed | None:
        """The Node-RED that this unit starts; `.service` may be left out."""
        wanted = name if name.endswith(".service") else f"{name}.service"
        return next((each for each in self.node_reds if each.unit == wanted), None)


def find(environ: Mapping[str, str], *, root: Path = Path("/")) -> Machine:
    """Looks around; takes a few seconds where many services are there."""
    return Machine(
        node_reds=find_node_reds(ask, environ),
        containers=find_containers(ask),
        home_assistant=find_home_assistant(root),
    )


def ask(*argv: str) -> str:
    """What the command prints; "" where there is no such command, or where it fails."""
    if not has_program(argv[0]):
        return ""
    try:
        finished = run_program(argv, _LIMITS)
    except OSError:
        return ""
    return finished.output.decode("utf-8", "replace") if finished.status == 0 else ""


def home_of(user: str) -> Path | None:
    """The user's home, where there is such a user."""
    try:
        return Path(pwd.getpwnam(user).pw_dir)
    except KeyError:
        return None


# ── systemd ───────────────────────────────────────────────────────────────────────────────────────


def find_node_reds(
    ask: Ask, environ: Mapping[str, str], home_of: HomeOf = home_of
) -> tuple[NodeRed, ...]:
    """Those that units start, whether they run or not; else the one of the caller of sudo."""
    units = sorted(_units(ask))
    told = ask("systemctl", "show", "--no-pager", f"--property={_PROPERTIES}", *units)
    found: dict[str, NodeRed] = {}
    for block in (told if units else "").split("\n\n"):
        node_red = read_unit(_values(block), home_of)
        if node_red is not None:
            found.setdefault(node_red.unit, node_red)  # a unit is shown again by each of its names
    if found:
        return tuple(found.values())
    return tuple(_of_caller(environ, home_of))


def read_unit(values: Mapping[str, str], home_of: HomeOf) -> NodeRed | None:
    """What `systemctl show` says of a unit, where it starts Node-RED."""
    line = _ARGV.search(values.get("ExecStart", ""))
    if line is None:
        return None
    user = values.get("User") or "root"
    environment = _environment(values)
    words = list(_expanded(line[1].split(), environment))
    start = next((index for index, word in enumerate(words) if _is_node_red(word)), None)
    home = home_of(user)
    if start is None or home is None:
        return None
    options = _options(words[start + 1 :])
    base = Path(values.get("WorkingDirectory", "").lstrip("!-~") or "/")
    return NodeRed(
        settings=_settings(options, environment, home, base),
        user=user,
        unit=values.get("Id", ""),
        is_active=values.get("ActiveState") == "active",
        port=_port(options.get("port", "")),
        node=_node(words[:start], values.get("MainPID", "")),
    )


def _units(ask: Ask) -> set[str]:
    """All services that can be started or were."""
    listed = ("--type=service", "--all", "--plain", "--no-legend", "--no-pager")
    lines = ask("systemctl", "list-unit-files", *listed)
    lines += ask("systemctl", "list-units", *listed)
    names = {line.split()[0] for line in lines.splitlines() if line.split()}
    return {name for name in names if name.endswith(".service") and "@." not in name}


def _values(block: str) -> dict[str, str]:
    """The lines of a block; what is said several times is kept as lines."""
    values: dict[str, str] = {}
    for line in block.splitlines():
        name, mark, value = line.partition("=")
        if mark:
            values[name] = f"{values[name]}\n{value}" if name in values else value
    return values


def _environment(values: Mapping[str, str]) -> dict[str, str]:
    """The variables that a command line may name."""
    words = _words(values.get("Environment", ""))
    for line in values.get("EnvironmentFiles", "").splitlines():
        path = line.partition(" (")[0].strip()
        with contextlib.suppress(OSError):
            text = read_file(Path(path), _ENVIRONMENT_LIMIT).decode("utf-8", "replace")
            for entry in text.splitlines():
                if not entry.lstrip().startswith(("#", ";")):
                    words += _words(entry)
    pairs = (word.partition("=") for word in words)
    return {name: value for name, mark, value in pairs if mark}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation that does not end
        return text.split()


def _expanded(words: Iterable[str], environment: Mapping[str, str]) -> Iterator[str]:
    """The words as systemd hands them over: a variable that stands alone becomes several words."""
    for word in words:
        if word.startswith("$") and not word.startswith("${"):
            yield from environment.get(word[1:], "").split()
        else:
            yield _VARIABLE.sub(lambda match: environment.get(match[1], ""), word)


def _is_node_red(word: str) -> bool:
    name = Path(word).name
    return name in _PROGRAMS or name == _SCRIPT


def _options(words: list[str]) -> dict[str, str]:
    """What the command line says of settings, directory and port."""
    found: dict[str, str] = {}
    for index, word in enumerate(words):
        name, mark, value = word.partition("=")
        if option := _OPTIONS.get(name):
            rest = words[index + 1 : index + 2]
            found[option] = value if mark else "".join(rest)
    return found


def _port(told: str) -> int | None:
    return int(told) if told.isdecimal() and len(told) <= _DIGITS else None


def _settings(
    options: Mapping[str, str], environment: Mapping[str, str], home: Path, base: Path
) -> Path:
    """Where Node-RED looks for its settings.js, in its own order."""
    if given := options.get("settings"):
        return base / given
    if directory := options.get("directory"):
        return base / directory / "settings.js"
    if directory := environment.get("NODE_RED_HOME"):
        return base / directory / "settings.js"
    return home / ".node-red" / "settings.js"


def _node(before: list[str], main_pid: str) -> Path | None:
    """The node that runs it: as it runs now, else as the command line says."""
    if main_pid.isdecimal() and main_pid != "0":
        with contextlib.suppress(OSError):
            running = Path(f"/proc/{main_pid}/exe").readlink()
            program = running.with_name(running.name.removesuffix(_REPLACED))
            if program.name.startswith("node") and program.is_file():
                return program
    named = (Path(word) for word in before if Path(word).name in {"node", "nodejs"})
    return next((path for path in named if path.is_absolute()), None)


def _of_caller(environ: Mapping[str, str], home_of: HomeOf) -> Iterator[NodeRed]:
    user = environ.get("SUDO_USER", "")
    home = home_of(user) if user else None
    if home is not None:
        settings = home / ".node-red" / "settings.js"
        if os.path.lexists(settings):
            yield NodeRed(settings, user)


# ── elsewhere ─────────────────────────────────────────────────────────────────────────────────────


def find_containers(ask: Ask) -> tuple[Container, ...]:
    """The containers that Docker runs with an image of Node-RED's."""
    names = ask("docker", "ps", "--quiet", "--no-trunc").split()
    if not names:
        return ()
    try:
        described = json.loads(ask("docker", "inspect", *names))
    except (ValueError, RecursionError):
        return ()
    found = (_container(each) for each in _list(described) if isinstance(each, dict))
    return tuple(each for each in found if each is not None)


def _container(described: Mapping[str, Any]) -> Container | None:
    config = described.get("Config")
    image = clean(str(config.get("Image", ""))) if isinstance(config, dict) else ""
    if "node-red" not in image:
        return None
    mounts = (each for each in _list(described.get("Mounts")) if isinstance(each, dict))
    sources = (each.get("Source") for each in mounts if each.get("Destination") == "/data")
    data = next((each for each in sources if isinstance(each, str) and each), None)
    name = clean(str(described.get("Name", ""))).lstrip("/")
    return Container(name, image, Path(data) if data else None)


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def find_home_assistant(root: Path) -> Path | None:
    """Where Home Assistant's add-ons look for certificates: in an add-on, or on its host."""
    if (root / "ssl").is_dir() and (root / "addon_configs").is_dir():
        return Path("/ssl")
    if (root / "usr/share/hassio/ssl").is_dir():
        return Path("/usr/share/hassio/ssl")
    return None
