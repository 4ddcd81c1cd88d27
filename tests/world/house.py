"""A house in the world: a configuration, a state directory, and the `certwarden` living there.

Owns writing config.toml for a World and running the command as a person would, in a process of its
own. Used by the end-to-end tests and by the demo.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.world import World

TARGET = """
  [[certificate.target]]
  name = "node-red"
  kind = "node-red"
  reload = {{ hot = true }}
  probe = "127.0.0.1:{port}"
  probe_timeout = "{timeout}"
"""


@dataclass(frozen=True)
class Run:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass
class House:
    """A configuration for `world` in `directory`; `targets` is TOML below the one certificate."""

    world: World
    directory: Path
    targets: str = ""
    domains: Sequence[str] = ("example.org", "*.example.org")
    extra_acme: str = ""
    extra_certificate: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_config()

    @property
    def config(self) -> Path:
        """config.toml."""
        return self.directory / "config.toml"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    @property
    def stored(self) -> Path:
        """The one certificate's directory in the store."""
        return self.state / "certificates" / "home"

    @property
    def live(self) -> Path:
        """The Node-RED target's directory."""
        return self.state / "live" / "node-red"

    @property
    def command(self) -> list[str]:
        """The command line of `certwarden` here, as far as it is the same for all commands."""
        return [sys.executable, "-I", "-m", "certwarden", "--config", str(self.config)]

    def write_config(self) -> None:
        """(Re)writes config.toml from the fields."""
        world = self.world
        self.config.touch(mode=0o600)
        self.config.write_text(
            f"""\
state_directory = "{self.state}"

[acme]
directory = "{world.directory_url}"
staging_directory = "{world.directory_url}"
terms_of_service_agreed = true
ca_bundle = "{world.ca_bundle}"
{self.extra_acme}

[cloudflare]
api_token_file = "{world.token_file}"
base_url = "{world.api_base_url}"

[dns]
nameservers = ["{world.nameserver}"]
propagation_timeout = "20s"
settle = "0s"

[[certificate]]
name = "home"
domains = {json.dumps(list(self.domains))}
{self.extra_certificate}
{self.targets}
"""
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts a command and does not wait for it."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLOUDFLARE_", "CERTWARDEN_", "STATE_DIRECTORY", "CREDENTIALS"))
        }
        return subprocess.Popen(
            [*self.command, *arguments],
            env={**environment, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, timeout: float = 120) -> Run:
        """Runs a command to its end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return Run(process.returncode, out, err)
