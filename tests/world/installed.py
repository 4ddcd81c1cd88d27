"""certwarden as a service on a machine of its own: a container with the world and Node-RED in it.

Owns installing it as docs/operations.md tells a person to, from wheels made here beforehand, and
asking what became of it. What is done with it is the tests' business.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.world import tools
from tests.world.container import Container
from tests.world.debian import PREFIX, PROJECT, Debian
from tests.world.nodered import settings
from tests.world.tools import Missing

CERTWARDEN = f"{PREFIX}/bin/certwarden"
CONFIG = "/etc/certwarden/config.toml"
TOKEN = "/etc/certwarden/secrets/cloudflare.token"
STATE = "/var/lib/certwarden"
PORT = 1880
NODE_RED = "4.1"

# What a wheel is built from.
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "certwarden", "docs/man")
_PYTHON = f"{PREFIX}/bin/python"
_WORLD = "/run/world"
_HOME = "/home/pi"
_SYSUSERS = "/usr/lib/sysusers.d/certwarden.conf"
_TMPFILES = "/usr/lib/tmpfiles.d/certwarden.conf"

# A restart by polkit, and plain copies in a home that is closed to everybody but its owner.
_TARGETS = f"""
  [[certificate.target]]
  name = "node-red"
  kind = "node-red"
  group = "tls-nodered"
  reload = {{ unit = "nodered.service", verb = "restart" }}
  probe = "127.0.0.1:{PORT}"

  [[certificate.target]]
  name = "copies"
  kind = "files"
  group = "tls-nodered"
  key = "{_HOME}/tls/server.key"
  certificate = "{_HOME}/tls/server.crt"
  copy = true
"""
_NODE_RED_UNIT = f"""\
[Unit]
Description=Node-RED
[Service]
User=pi
WorkingDirectory={_HOME}
ExecStart=/world/node /world/node-red/node_modules/node-red/red.js --port {PORT} \
--userDir {_HOME}/.node-red --settings {_HOME}/.node-red/settings.js
SyslogIdentifier=Node-RED
KillSignal=SIGINT
"""
_LEAF = """
import ssl, sys
try:
    print(ssl.get_server_certificate(("127.0.0.1", int(sys.argv[1])), timeout=5))
except OSError:
    pass
"""
_RECORDS = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]})
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


def build_wheel(into: Path, version: str = "") -> Path:
    """certwarden's wheel from this checkout, as another version where one is given."""
    source = into / "source"
    source.mkdir(parents=True)
    copy_sources(source)
    if version:
        module = source / "certwarden" / "__init__.py"
        text = re.sub(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', module.read_text())
        module.write_text(text)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    tools._run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", into, source], cwd=into)
    shutil.rmtree(source)
    (wheel,) = into.glob("certwarden-*.whl")
    return wheel


def copy_sources(into: Path) -> None:
    """What a wheel is built from, as in a fresh clone."""
    for name in _SOURCES:
        part = PROJECT / name
        if part.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(part, into / name, ignore=ignored)
        elif part.exists():
            shutil.copy(part, into)


def start_world(
    container: Container, python: str, *, libraries: str = "", address: str = ""
) -> dict[str, str]:
    """Starts the world inside, from /source and /world; what it says of itself.

    `libraries` is a directory with what the Python lacks. With an address, DNS is served there.
    """
    container.must(
        "systemd-run",
        "--quiet",
        "--unit=world",
        f"--setenv=PYTHONPATH={':'.join(filter(None, ('/source', libraries)))}",
        "--setenv=CERTWARDEN_WORLD=/world",
        *(python, "-m", "tests.world.alone", _WORLD),
        *([address] if address else []),
    )
    found = container.path(f"{_WORLD}/world.json")
    container.wait_for(found.exists, journal_of="world.service")
    world: dict[str, str] = json.loads(found.read_text())
    return world


class Installed:
    """The machine with certwarden on it. `wheels` is a directory of ours that it sees."""

    def __init__(self, container: Container, wheels: Path) -> None:
        self.container = container
        self.wheels = wheels
        self.world: dict[str, str] = {}

    # ── setting up ────────────────────────────────────────────────────────────────────────────────

    def set_up(self) -> None:
        """Everything up to a Node-RED that serves a placeholder; no unit of certwarden's runs."""
        self.world = start_world(self.container, _PYTHON)
        self.install(build_wheel(self.wheels / "first"))
        self._make_users()
        self._install_units()
        self.write_config()
        self.write_token(self.world["token"])
        self.install_what_is_rendered()
        self._set_up_node_red()

    def install(self, wheel: Path) -> None:
        """Puts a wheel where certwarden is; its requirements are there already."""
        inside = f"/wheels/{wheel.relative_to(self.wheels)}"
        quietly = ("--quiet", "--root-user-action=ignore", "--disable-pip-version-check")
        pip = (f"{PREFIX}/bin/pip", "install", *quietly, "--no-index", "--no-deps")
        self.container.must(*pip, "--force-reinstall", inside)

    def _make_users(self) -> None:
        for line in (
            f"install -D -m 0644 /systemd/certwarden.sysusers.conf {_SYSUSERS}",
            f"install -D -m 0644 /systemd/certwarden.tmpfiles.conf {_TMPFILES}",
            "systemd-sysusers",
            f"systemd-tmpfiles --create {_TMPFILES}",
            "groupadd --system tls-nodered",
            f"useradd --create-home --home-dir {_HOME} --groups tls-nodered pi",
            "usermod -aG tls-nodered certwarden",
            f"chmod 0700 {_HOME}",
            f"install -d -m 0755 -o certwarden -g tls-nodered {_HOME}/tls",
            f"install -d -o pi -g pi {_HOME}/.node-red",
        ):
            self.container.must(*line.split())

    def _install_units(self) -> None:
        for unit in sorted((PROJECT / "systemd").iterdir()):
            if unit.suffix in (".service", ".timer", ".socket"):
                self.container.write(f"/etc/systemd/system/{unit.name}", unit.read_text())
        self.container.write("/etc/systemd/system/nodered.service", _NODE_RED_UNIT)
        self.container.systemctl("daemon-reload")

    def write_config(
        self, more: str = "", *, domains: tuple[str, ...] = ("example.org",), targets: str = ""
    ) -> None:
        """The configuration; `more` are further sections, `targets` further targets."""
        world = self.world
        bundle = "/etc/certwarden/acme-ca.pem"
        self.container.must("install", "-m", "0644", world["ca_bundle"], bundle)
        urls = "/etc/certwarden/secrets/notify.urls"
        self.container.write(urls, world["mailbox"], mode="0640", owner="root:certwarden")
        text = f"""\
[acme]
directory = "{world["directory_url"]}"
terms_of_service_agreed = true
ca_bundle = "{bundle}"

[cloudflare]
api_token_file = "{TOKEN}"
base_url = "{world["api_base_url"]}"

[dns]
nameservers = ["{world["nameserver"]}"]
propagation_timeout = "20s"
settle = "0s"

[notify]
urls_file = "{urls}"
{more}
[[certificate]]
name = "home"
domains = {json.dumps(list(domains))}
{_TARGETS}
{targets}
"""
        self.container.write(CONFIG, text, mode="0640", owner="root:certwarden")

    def write_token(self, token: str) -> None:
        """Cloudflare's token, where a person would put it."""
        self.container.write(TOKEN, token, mode="0640", owner="root:certwarden")

    def install_what_is_rendered(self) -> None:
        """The rule and the drop-ins that the configuration asks for."""
        rule = self.container.must(CERTWARDEN, "snippet", "polkit")
        self.container.write("/etc/polkit-1/rules.d/50-certwarden.rules", rule)
        # It watches that directory, unless the machine's containers have used up all watches.
        self.container.run("systemctl", "try-restart", "polkit.service")
        drop_in = self.container.must(CERTWARDEN, "snippet", "systemd")
        for name in ("certwarden", "certwarden-renew", "certwarden-failed@", "certwarden-invite"):
            self.drop_in(f"{name}.service", drop_in, name="50-configuration")
        if "invite_listen" in self.container.must("cat", CONFIG):
            listen = self.container.must(CERTWARDEN, "snippet", "systemd-socket")
            self.drop_in("certwarden-invite.socket", listen, name="50-configuration")
        self.container.systemctl("daemon-reload")

    def drop_in(self, unit: str, text: str, *, name: str = "90-test") -> None:
        """A drop-in for a unit, in force after the next daemon-reload."""
        self.container.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)

    def _set_up_node_red(self) -> None:
        live = f"{STATE}/live/node-red/current"
        names = {"key": "privkey.pem", "cert": "fullchain.pem"}
        read = [
            f'{key}: require("fs").readFileSync("{live}/{name}")' for key, name in names.items()
        ]
        text = settings(f"https: {{ {', '.join(read)} }},")
        path = f"{_HOME}/.node-red/settings.js"
        self.container.write(path, text, owner="pi")
        # Before the first certificate it publishes a placeholder, which is no success.
        done = self.container.run(CERTWARDEN, "deploy")
        if done.code != 1:
            raise AssertionError(done.err)
        self.container.systemctl("start", "nodered.service")
        self.container.wait_for(lambda: self.served() != "", journal_of="nodered.service")

    # ── asking ────────────────────────────────────────────────────────────────────────────────────

    def served(self) -> str:
        """The leaf that Node-RED serves, in PEM; "" while it serves none."""
        return served_leaf(self.container, _PYTHON, PORT)

    def stored(self) -> str:
        """The leaf of the newest version in the store, in PEM; "" where there is none."""
        path = f"{STATE}/certificates/home/current/cert.pem"
        return self.container.run("cat", path).out.strip()

    def copied(self) -> str:
        """The leaf of the copy in pi's home, in PEM; "" where there is none."""
        pem = self.container.run("cat", f"{_HOME}/tls/server.crt").out
        head, mark, _ = pem.partition("-----END CERTIFICATE-----")
        return (head + mark).strip()

    def orders(self) -> int:
        """How many orders Pebble has taken."""
        return self.container.path(self.world["pebble_log"]).read_text().count("Added order")

    def txt_records(self) -> list[dict[str, Any]]:
        """The TXT records that Cloudflare holds."""
        url = f"{self.world['api_base_url']}/zones/{self.world['zone_id']}/dns_records?type=TXT"
        answer = self.container.must(_PYTHON, "-c", _RECORDS, url, self.world["token"])
        records: list[dict[str, Any]] = json.loads(answer)["result"]
        return records

    def messages(self) -> list[dict[str, Any]]:
        """What a person was told, oldest first."""
        text = self.container.path(self.world["messages"]).read_text()
        # The last line may be on its way.
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [json.loads(line) for line in whole]

    def forget_certificate(self) -> None:
        """As on a machine where none was obtained yet: the next pass has one to order."""
        self.container.must("rm", "-rf", f"{STATE}/certificates", f"{STATE}/certwarden.db")


def served_leaf(container: Container, python: str, port: int) -> str:
    """The leaf that is served in the container, in PEM; "" while none is."""
    return container.run(python, "-c", _LEAF, str(port)).out.strip()


@contextmanager
def installed(directory: Path) -> Iterator[Installed]:
    """The machine, booted and set up; raises Missing where none can be booted here."""
    debian = Debian.prepared()
    wheels = directory / "wheels"
    wheels.mkdir()
    binds = {
        "/source/tests": PROJECT / "tests",
        "/systemd": PROJECT / "systemd",
        "/wheels": wheels,
        "/world/pebble": tools.pebble().parents[2],
        "/world/node-red": tools.node_red(NODE_RED).parents[2],
        "/world/node": portable_node(),
    }
    overlays = {str(PREFIX): debian.environment()}
    with Container(debian, directory, binds, overlays) as container:
        machine = Installed(container, wheels)
        machine.set_up()
        yield machine


def portable_node() -> Path:
    """A Node.js that needs nothing of the machine but what every Debian has: npm's."""
    for major in (22, 18):
        program = tools.node(major)
        if program.is_relative_to(tools.folder()):
            return program
    message = "This needs a Node.js of npm's, for it is run inside a container."
    raise Missing(message)
