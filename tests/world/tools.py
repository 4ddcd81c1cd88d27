"""Fetches the programs that the world is made of into a folder of the project's.

Owns versions, where each thing lies, and that a fetch is whole or not there. Installs nothing into
the system: Debian's packages are unpacked, npm's go into folders of their own. Where they come from
is what this machine's apt and npm are set up for; no address stands here.
"""

import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import ZipFile

# What is fetched, in one table. Pebble is whatever the first of the suites holds.
PEBBLE_SUITES = ("forky", "sid")
NODE = {18: "18.20.8", 20: "20.20.2", 22: "22.23.3"}
NODE_RED = {"4.1": "4.1.15", "5.0": "5.0.7"}
# The last of each that people may still have a settings.js from.
SETTINGS = ("2.0.6", "2.1.6", "2.2.3", "3.0.2", "3.1.15", "4.0.9", "4.1.15", "5.0.7")
# What people have in their Node-RED, and what our identity.js speaks to.
PALETTE = {"node-red-contrib-uibuilder": "7.7.4", "@flowfuse/node-red-dashboard": "1.31.0"}
AXE = "4.14.1"  # what looks at a page as those do who cannot see it
PKILINT = "0.13.3"
UV = "0.13.9"
# Of this machine's release: the package of each program, and where in it the program lies.
PROGRAMS = {
    "nginx": ("nginx", "usr/sbin/nginx"),
    "haproxy": ("haproxy", "usr/sbin/haproxy"),
    "mosquitto": ("mosquitto", "usr/sbin/mosquitto"),
    "mosquitto_pub": ("mosquitto-clients", "usr/bin/mosquitto_pub"),
    "mosquitto_sub": ("mosquitto-clients", "usr/bin/mosquitto_sub"),
    "dnsmasq": ("dnsmasq-base", "usr/sbin/dnsmasq"),
    "certtool": ("gnutls-bin", "usr/bin/certtool"),
    "certutil": ("libnss3-tools", "usr/bin/certutil"),
    "pk12util": ("libnss3-tools", "usr/bin/pk12util"),
    "easyrsa": ("easy-rsa", "usr/share/easy-rsa/easyrsa"),
    "openssl": ("openssl", "usr/bin/openssl"),
    "chromium": ("chromium", "usr/lib/chromium/chromium"),
    "zbarimg": ("zbar-tools", "usr/bin/zbarimg"),
}

_AT_A_TIME = 4  # as much waiting for others as work of our own
_SYSTEM = ("/usr/sbin", "/sbin")  # not in everybody's PATH
_PROJECT = Path(__file__).resolve().parents[2]
_NODE_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
_SUITE_ALIASES = frozenset({"stable", "oldstable", "testing", "unstable", "sid"})


class Missing(RuntimeError):
    """Something is needed that may not be installed from here; the message says how to get it."""


def folder() -> Path:
    """Where everything is kept: `$CERTWARDEN_WORLD`, else `.world` in the project."""
    chosen = os.environ.get("CERTWARDEN_WORLD")
    return Path(chosen).resolve() if chosen else _PROJECT / ".world"


def pebble() -> Path:
    """The Pebble program, from Debian's newer suites if they run here, else from this machine's."""
    program = folder() / "pebble" / "usr" / "bin" / "pebble"
    _once("pebble", program, _fetch_pebble)
    return program


def node(major: int) -> Path:
    """A Node.js program of this major version: the system's if it matches, else npm's."""
    system = shutil.which("node")
    if system and _output([system, "--version"]).startswith(f"v{major}."):
        return Path(system)
    if major not in NODE:
        message = f"Node.js {major} is not installed here: install it as `node`."
        raise Missing(message)
    machine = _NODE_MACHINES.get(platform.machine())
    if machine is None or sys.maxsize < 2**32:
        message = (
            f"npm has no Node.js {major} for this kind of machine ({platform.machine()}): "
            f"install one as `node`, for example by `sudo apt install nodejs`."
        )
        raise Missing(message)
    package = f"node-linux-{machine}"
    name = f"node-{NODE[major]}"
    program = folder() / name / "node_modules" / package / "bin" / "node"
    _once(name, program, lambda into: _npm(into, f"{package}@{NODE[major]}"))
    return program


def node_red(version: str) -> Path:
    """The `red.js` of this Node-RED version (`4.1` or `5.0`)."""
    exact = NODE_RED[version]
    name = f"node-red-{exact}"
    program = folder() / name / "node_modules" / "node-red" / "red.js"
    _once(name, program, lambda into: _npm(into, f"node-red@{exact}"))
    return program


def node_red_settings() -> dict[str, Path]:
    """The settings.js that each minor version of Node-RED since 2.0 begins with."""
    name = f"settings-{SETTINGS[-1]}"
    files = {version: folder() / name / f"settings-{version}.js" for version in SETTINGS}
    _once(name, files[SETTINGS[-1]], _fetch_settings)
    return files


def palette() -> Path:
    """The `node_modules` with uibuilder and Dashboard 2, for a Node-RED's user directory."""
    packages = [f"{package}@{version}" for package, version in PALETTE.items()]
    name = "palette-" + "-".join(PALETTE.values())
    modules = folder() / name / "node_modules"
    proof = modules / list(PALETTE)[-1] / "package.json"
    _once(name, proof, lambda into: _npm(into, *packages))
    return modules


def axe() -> Path:
    """The script of axe-core, which is run in a page and says what is wrong with it."""
    name = f"axe-core-{AXE}"
    script = folder() / name / "node_modules" / "axe-core" / "axe.min.js"
    _once(name, script, lambda into: _npm(into, f"axe-core@{AXE}"))
    return script


def program(name: str) -> Path:
    """One of PROGRAMS: the system's if it is installed, else unpacked with what it needs of others.

    Unpacked, because to install a server is to have it started. What is returned can be run as it
    is; it becomes the program, so its process id is the program's.
    """
    package, path = PROGRAMS[name]
    system = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM)))
    if system:
        return Path(system)
    if Path("/", path).exists():
        return Path("/", path)
    if shutil.which("apt-get") is None:
        message = f"{name} is not installed here, and there is no apt to get it with: install it."
        raise Missing(message)
    home = folder() / f"{package}-{codename()}"
    start = home / "start" / name
    _once(home.name, start, lambda into: _fetch_program(package, into))
    return start


def lint() -> Path:
    """The folder with pkilint's programs, in a virtual environment of their own."""
    name = f"pkilint-{PKILINT}-python{sys.version_info.major}.{sys.version_info.minor}"
    programs = folder() / name / "bin"
    _once(name, programs / "lint_crl", lambda into: _fetch_lint(into, folder() / name))
    return programs


def uv() -> Path:
    """The uv program, which needs nothing of the machine that it runs on."""
    name = f"uv-{UV}"
    program = folder() / name / f"uv-{UV}.data" / "scripts" / "uv"
    _once(name, program, _fetch_uv)
    return program


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _output(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _need(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        message = f"The system package {package} is missing: run `sudo apt install {package}`."
        raise Missing(message)
    return found


# ── whole or not at all ───────────────────────────────────────────────────────────────────────────


def _once(name: str, proof: Path, fetch: Callable[[Path], None]) -> None:
    """Make `folder()/name` by `fetch` into a directory beside it, unless `proof` is there."""
    if proof.exists():
        return
    with _locked(name):
        # Another process may have fetched it while this one waited.
        if proof.exists():
            return
        _say(f"fetching {name}")
        target = folder() / name
        scratch = Path(tempfile.mkdtemp(prefix=_scratch(name), dir=folder()))
        try:
            made = scratch / name
            made.mkdir()
            fetch(made)
            if not (made / proof.relative_to(target)).exists():
                message = f"{name} was fetched but holds no {proof.relative_to(target)}."
                raise Missing(message)
            if target.exists():
                target.rename(scratch / "old")
            made.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Nobody else fetches this while the context is open; other things they may."""
    locks = folder() / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # What an interrupted fetch has left behind.
        for left in folder().glob(f"{_scratch(name)}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _scratch(name: str) -> str:
    return f".{name}~"


def _run(command: Sequence[str | Path], *, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        said = " / ".join(lines[-3:])
        message = f"{Path(command[0]).name} failed ({done.returncode}): {said}"
        raise Missing(message)


# ── npm ───────────────────────────────────────────────────────────────────────────────────────────


def _npm(into: Path, *packages: str) -> None:
    npm = _need("npm", "npm")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([npm, "install", *options, "--prefix", into, *packages], cwd=into)


def _fetch_settings(into: Path) -> None:
    packages = [f"node-red@{version}" for version in SETTINGS]
    _run([_need("npm", "npm"), "pack", "--silent", *packages], cwd=into)
    for version in SETTINGS:
        package = into / f"node-red-{version}.tgz"
        with tarfile.open(package) as archive:
            found = archive.extractfile("package/settings.js")
            assert found is not None
            (into / f"settings-{version}.js").write_bytes(found.read())
        package.unlink()


# ── PyPI ──────────────────────────────────────────────────────────────────────────────────────────


def _fetch_lint(into: Path, home: Path) -> None:
    venv.create(into, with_pip=True, symlinks=True)
    options = ["--quiet", "--disable-pip-version-check"]
    python = into / "bin" / "python"
    _run([python, "-m", "pip", "install", *options, f"pkilint=={PKILINT}"], cwd=into)
    # They say where their Python is, and it will be elsewhere.
    for program in into.glob("bin/lint_*"):
        program.write_text(program.read_text().replace(str(into), str(home)))


def _fetch_uv(into: Path) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    _run([sys.executable, "-m", "pip", "download", *options, f"uv=={UV}"], cwd=into)
    (wheel,) = into.glob("uv-*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(into)
    wheel.unlink()
    (into / f"uv-{UV}.data" / "scripts" / "uv").chmod(0o755)


# ── Debian ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Source:
    """One archive of this machine's apt sources that holds its release's main section."""

    uri: str
    suite: str
    options: tuple[tuple[str, str], ...] = ()

    def stanza(self, suite: str) -> str:
        """The source for another suite of the same archive, in deb822 form."""
        fields = [("Types", "deb"), ("URIs", self.uri), ("Suites", suite), ("Components", "main")]
        return "".join(f"{name}: {value}\n" for name, value in [*fields, *self.options])


def _fetch_pebble(into: Path) -> None:
    failures = []
    for suite in (*PEBBLE_SUITES, codename()):
        try:
            _unpack(("pebble",), into, suite)
            _try_pebble(into)
        except Missing as failure:
            failures.append(f"{suite}: {failure}")
        else:
            return
    message = "Pebble could not be had from Debian: " + "; ".join(failures)
    raise Missing(message)


def _try_pebble(into: Path) -> None:
    program = into / "usr" / "bin" / "pebble"
    # The newer suite's libc may be too new for this machine.
    if "-dnsserver" not in _output([program, "-help"]):
        shutil.rmtree(into / "usr")
        message = "its Pebble does not run here"
        raise Missing(message)


_LIBRARIES = ("lib/*-linux-*", "usr/lib/*-linux-*", "usr/lib/*-linux-*/*")
# `exec`, so that signals and process ids are the program's own.
_START = """\
#!/bin/sh
home=$(dirname "$(dirname "$(readlink -f "$0")")")
export LD_LIBRARY_PATH="{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export FONTCONFIG_FILE="$home/start/fonts.conf"
exec "$home/{program}" "$@"
"""

_FONTS = """\
<?xml version="1.0"?>
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir prefix="relative">../usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


def _fetch_program(package: str, into: Path) -> None:
    """A package of this release with those that it depends on and that are not installed here."""
    _unpack((package,), into, codename(), installed=Path("/var/lib/dpkg/status"))
    for path in into.rglob("*"):
        # In a folder like this one nobody looks for a program that runs as root for everybody.
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000:
            path.chmod(path.stat().st_mode & 0o777)
    places = (place for pattern in _LIBRARIES for place in sorted(into.glob(pattern)))
    held = (place.relative_to(into) for place in places if any(place.glob("*.so*")))
    libraries = ":".join(f"$home/{place}" for place in held)
    (into / "start").mkdir()
    (into / "start" / "fonts.conf").write_text(_FONTS)
    for name, (of, program_path) in PROGRAMS.items():
        if of == package:
            start = into / "start" / name
            start.write_text(_START.format(libraries=libraries, program=program_path))
            start.chmod(0o755)


def _unpack(
    packages: Sequence[str], into: Path, suite: str, *, installed: Path | None = None
) -> None:
    """Download packages of a suite with an apt state of our own, and unpack them.

    With `installed`, a status file of dpkg's, also what they depend on and what it does not have.
    """
    for program, package in (("apt-get", "apt"), ("dpkg", "dpkg")):
        _need(program, package)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=into.parent) as name:
        state = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "sources"):
            (state / part).mkdir(parents=True)
        if installed is None:
            (state / "status").touch()
        else:
            shutil.copyfile(installed, state / "status")
        write_sources(state / "sources" / "world.sources", suite)
        options = {
            "Dir::State": state,
            "Dir::State::lists": state / "lists",
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": state / "sources",
            "Acquire::Languages": "none",
            # Root's apt would download as a user that may not write here.
            "APT::Sandbox::User": "root",
        }
        apt: list[str | Path] = ["apt-get", "-q", "-y"]
        for option, value in options.items():
            apt += ["-o", f"{option}={value}"]
        # An archive without this suite fails the update; another may have it all the same.
        with contextlib.suppress(Missing):
            _run([*apt, "update"], cwd=state)
        if installed is None:
            _run([*apt, "download", *packages], cwd=state)
        else:
            only = ("install", "--download-only", "--no-install-recommends")
            _run([*apt, *only, *packages], cwd=state)
        for package_file in sorted(state.rglob("*.deb")):
            _run(["dpkg", "-x", package_file, into], cwd=state)


def write_sources(path: Path, suite: str) -> None:
    """Write this machine's archives of Debian into a deb822 file, for another suite of theirs."""
    sources = apt_sources(Path("/etc/apt"), codename())
    if not sources:
        message = "apt has no source with this release's main section: add one and try again."
        raise Missing(message)
    path.write_text("\n".join(source.stanza(suite) for source in sources))


def codename() -> str:
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=\"?([a-z]+)", release, re.MULTILINE)
    return found.group(1) if found else "stable"


def apt_sources(directory: Path, codename: str) -> list[_Source]:
    """The archives in an apt directory that serve this release's main section, each once."""
    found: dict[str, _Source] = {}
    one_line = [directory / "sources.list", *sorted(directory.glob("sources.list.d/*.list"))]
    for path in one_line:
        if path.is_file():
            for line in path.read_text(errors="replace").splitlines():
                for source in _from_line(line):
                    found.setdefault(source.uri, source)
    for path in sorted(directory.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n[ \t]*\n", path.read_text(errors="replace")):
            for source in _from_stanza(stanza):
                found.setdefault(source.uri, source)
    suites = _SUITE_ALIASES | {codename}
    return [source for source in found.values() if source.suite in suites]


def _from_line(line: str) -> Iterator[_Source]:
    """Sources in the one-line style: `deb [signed-by=…] URI SUITE COMPONENT…`."""
    found = re.fullmatch(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.strip())
    if found is None or "main" not in found.group(4).split():
        return
    options = dict(part.split("=", 1) for part in (found.group(1) or "").split() if "=" in part)
    names = {"signed-by": "Signed-By", "trusted": "Trusted"}
    kept = tuple((names[name], value) for name, value in options.items() if name in names)
    yield _Source(found.group(2), found.group(3), kept)


def _from_stanza(stanza: str) -> Iterator[_Source]:
    """Sources in deb822 style; a field may go on in the lines that follow."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[name] = fields.get(name, "") + "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = value.strip()
    if (
        "deb" not in fields.get("types", "").split()
        or "main" not in fields.get("components", "").split()
        or fields.get("enabled", "yes").lower() in ("no", "false")
    ):
        return
    names = {"signed-by": "Signed-By", "trusted": "Trusted"}
    kept = tuple((names[name], value) for name, value in fields.items() if name in names)
    for uri in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            # Updates and security belong to the release; a newer suite has neither.
            if "-" not in suite and "/" not in suite:
                yield _Source(uri, suite, kept)


def main() -> None:
    """Fetch everything, several things at a time, so that no test has to wait for it."""
    # It stands on this module, so it cannot be imported above.
    from tests.world import debian

    with ThreadPoolExecutor(_AT_A_TIME) as several:
        # What takes longest begins first.
        containers: list[Callable[[], object]] = [
            partial(debian.everything, release) for release in debian.RELEASES
        ]
        jobs: list[Callable[[], object]] = [
            *(partial(program, name) for name in PROGRAMS),
            palette,
            axe,
            pebble,
            *(partial(node_red, version) for version in NODE_RED),
            *(partial(node, major) for major in NODE),
            lint,
            uv,
        ]
        wished = [several.submit(job) for job in containers]
        needed = [several.submit(job) for job in jobs]
    try:
        for each in needed:
            each.result()
    except Missing as missing:
        sys.exit(str(missing))
    try:
        for each in wished:
            each.result()
    except Missing as missing:
        _say(f"no container can be made, and its tests will be skipped: {missing}")


if __name__ == "__main__":
    # Run as a program this module has another name, and what others import is the one that counts.
    from tests.world import tools  # noqa: PLW0406  see above

    tools.main()
