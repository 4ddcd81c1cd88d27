"""A bare Raspberry Pi, as near as a container gets: Debian, a person, Node-RED, and no certwarden.

Owns booting it, the world round it, and installing certwarden in it as a person does, without a
network. What is done with it is the tests' business. It has the address of `example.org`, and asks
the world's DNS.
"""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests import guide
from tests.world import tools
from tests.world.container import Container
from tests.world.debian import PROJECT, Debian
from tests.world.installed import copy_sources, portable_node, served_leaf, start_world

_NO_NETWORK = "[global]\nno-index = true\nfind-links = /wheelhouse\n"
VENV = "/opt/pipx/venvs/certwarden"
CERTWARDEN = "/usr/local/bin/certwarden"
MANUAL = "/usr/local/share/man"
TOKEN = "/root/cloudflare.token"
CA_BUNDLE = "/etc/ssl/test-ca.pem"
SETTINGS = "/home/pi/.node-red/settings.js"
PORT = 1880

_SOURCES = "/root/certwarden"
_INSTALLED = {"/opt/pipx": "pipx", "/usr/local": "local"}
_NAME_SERVER = "127.0.0.11"
_ADDRESS = "192.0.2.1"  # the world's, of example.org
_PYTHON = "/usr/bin/python3"
_HOSTS = "127.0.0.1 localhost\n127.0.1.1 raspberrypi\n"

# As the installer for the Raspberry Pi writes it.
_UNIT = """\
[Unit]
Description=Node-RED graphical event wiring tool
Wants=network.target
Documentation=http://nodered.org/docs/hardware/raspberrypi.html

[Service]
Type=simple
User=pi
Group=pi
WorkingDirectory=/home/pi
Environment="NODE_OPTIONS=--max_old_space_size=512"
EnvironmentFile=-/home/pi/.node-red/environment
ExecStart=/usr/bin/env node-red-pi $NODE_OPTIONS $NODE_RED_OPTIONS
KillSignal=SIGINT
Restart=on-failure
RestartSec=20
SyslogIdentifier=Node-RED

[Install]
WantedBy=multi-user.target
"""


def wheelhouse(debian: Debian, wheel: Path, into: Path) -> Path:
    """A directory with certwarden's wheel, and those of all that it needs, for this release."""
    place = into / "wheelhouse"
    shutil.copytree(debian.wheels(), place, ignore=shutil.ignore_patterns("world"))
    shutil.copy(wheel, place)
    return place


def installed_by_pipx(
    release: str, wheel: Path, directory: Path, *, is_from_sources: bool = False
) -> Path:
    """A directory with what pipx makes where it installs certwarden, on a machine of this release
    with its own pipx, by the command of docs/, from wheels, in about 10 s; raises Missing where
    none can be booted.

    certwarden itself is a wheel, or has to be made one of by pipx as well.
    """
    debian = Debian.prepared(release)
    place = directory / "installed"
    shares = {inside: place / name for inside, name in _INSTALLED.items()}
    shares[_SOURCES] = directory / "sources"
    for ours in shares.values():
        ours.mkdir(parents=True)
    copy_sources(shares[_SOURCES])
    binds = {"/wheelhouse": wheelhouse(debian, wheel, directory)}
    with Container(debian, directory, binds, shares=shares) as container:
        (command,) = (each for each in guide.commands("2. The program") if "pipx install ." in each)
        if not is_from_sources:
            command = command.removesuffix(".") + f"/wheelhouse/{wheel.name}"
        pipx(container, command)
    return place


def pipx(container: Container, command: str) -> str:
    """What a command with pipx prints, in the sources, with nothing but the wheels to install."""
    container.write("/etc/pip.conf", _NO_NETWORK)
    return container.must("sh", "-c", f"cd {_SOURCES} 2>/dev/null; {command}")


class BareHouse:
    """The machine; a context manager that boots it, with Node-RED running as its installer left it.

    `installed` is what `installed_by_pipx` has made for this release: then certwarden is there.
    `node_red` is a version, or "" for none; `binds` are to be found where they say.
    """

    def __init__(
        self,
        directory: Path,
        release: str,
        *,
        node_red: str = "4.1",
        installed: Path | None = None,
        binds: Mapping[str, Path] | None = None,
    ) -> None:
        self.world: dict[str, str] = {}
        self.container: Container
        self._directory = directory
        self.release = release
        self._node_red = node_red
        self._installed = installed
        self._more = dict(binds or {})
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        debian = Debian.prepared(self.release)
        with ExitStack() as stack:
            container = Container(debian, self._directory, self._binds(debian), self._overlays())
            self.container = stack.enter_context(container)
            self._set_up()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _binds(self, debian: Debian) -> dict[str, Path]:
        binds = {
            **self._more,
            "/source/tests": PROJECT / "tests",
            "/world/pebble": tools.pebble().parents[2],
            "/world/python": debian.wheels() / "world",
            "/usr/bin/node": portable_node(),
        }
        if self._node_red:
            # `npm install --global` has it there.
            binds["/usr/lib/node_modules"] = tools.node_red(self._node_red).parents[1]
        return binds

    def _overlays(self) -> dict[str, Path]:
        if self._installed is None:
            return {}
        return {inside: self._installed / name for inside, name in _INSTALLED.items()}

    def _set_up(self) -> None:
        container = self.container
        container.must("hostname", "raspberrypi")
        container.write("/etc/hosts", _HOSTS)
        container.write("/etc/resolv.conf", f"nameserver {_NAME_SERVER}\n")
        container.must("ip", "address", "add", f"{_ADDRESS}/32", "dev", "lo")
        libraries = "/world/python"
        self.world = start_world(container, _PYTHON, libraries=libraries, address=_NAME_SERVER)
        container.must("install", "-m", "0644", self.world["ca_bundle"], CA_BUNDLE)
        container.write(TOKEN, self.world["token"] + "\n", mode="0600")
        container.must("useradd", "--create-home", "--shell=/bin/bash", "--groups=sudo", "pi")
        rule = "pi ALL=(ALL) NOPASSWD: ALL\n"
        container.write("/etc/sudoers.d/010_pi-nopasswd", rule, mode="0440")
        if self._node_red:
            self._start_node_red()

    def _start_node_red(self) -> None:
        """As its installer leaves it: enabled and running, with the settings.js that it makes."""
        container = self.container
        program = "/usr/lib/node_modules/node-red/bin/node-red-pi"
        container.must("ln", "-s", program, "/usr/bin/node-red-pi")
        container.write("/usr/lib/systemd/system/nodered.service", _UNIT)
        container.systemctl("daemon-reload")
        container.systemctl("enable", "--now", "nodered.service")
        container.wait_for(self.answers_by_http, journal_of="nodered.service")

    # ── asking ────────────────────────────────────────────────────────────────────────────────────

    def answers_by_http(self) -> bool:
        """Whether Node-RED answers, without TLS."""
        get = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{PORT}/', timeout=5)"
        return self.container.run(_PYTHON, "-c", get).code == 0

    def served(self, port: int = PORT) -> str:
        """The leaf that is served there, in PEM; "" while none is."""
        return served_leaf(self.container, _PYTHON, port)

    def flags(self) -> list[str]:
        """What `certwarden setup --unattended` is told of this world."""
        directory = self.world["directory_url"]
        return [
            "--domain=example.org",
            f"--token-file={TOKEN}",
            "--accept-terms",
            f"--directory={directory}",
            f"--staging-directory={directory}",
            f"--ca-bundle={CA_BUNDLE}",
            f"--api-url={self.world['api_base_url']}",
            f"--nameserver={self.world['nameserver']}",
        ]
