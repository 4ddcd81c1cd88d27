"""How each client is told to do the same job in the same world.

Owns command lines, configuration and homes; measures nothing. Everyone has the same CA and the same
emulated Cloudflare, and the options that spare waiting, save certbot's default 10 s for
propagation: it has no check that could stand in for them.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.door import Door
from bench.findings import CERTBOT, CERTWARDEN, UACME
from bench.measure import Command
from bench.programs import Program
from tests.world import World
from tests.world.house import House

ZONE = "example.org"

_HOOK = Path(__file__).with_name("uacme-hook.sh")
_PROPAGATION = "--dns-cloudflare-propagation-seconds"
AT_ONCE = f"{_PROPAGATION}=0"  # for certbot, where nothing is measured
_SYSTEM_CAS = Path("/etc/ssl/certs/ca-certificates.crt")  # the only ones that uacme trusts


def domains(number: int = 0) -> tuple[str, str]:
    """What the certificate of this number is for: a name and its wildcard."""
    apex = f"h{number}.{ZONE}" if number else ZONE
    return apex, f"*.{apex}"


class Client(Protocol):
    """Somebody who can obtain a first certificate, for `domains()`."""

    @property
    def name(self) -> str:
        """What it is called."""

    def first(self, world: World, home: Path) -> Command:
        """Obtains it where there is nothing yet, no account either; `home` is an empty folder."""

    def chain(self, home: Path) -> Path:
        """The chain that is there afterwards."""


@dataclass(frozen=True)
class Certwarden:
    """Ours, with the configuration of the end-to-end tests."""

    program: Program
    name: str = CERTWARDEN

    def command(self, *arguments: str) -> Command:
        """A command without a configuration."""
        return Command([self.program.path, *arguments])

    def first(self, world: World, home: Path) -> Command:
        """Obtains and stores; there is no target."""
        return self._renew(House(world, home, domains=domains()))

    def chain(self, home: Path) -> Path:
        """In the store."""
        return home / "state" / "certificates" / "home" / "current" / "fullchain.pem"

    def renew(self, world: World, home: Path, count: int, door: Door) -> Command:
        """A pass over `count` certificates, each put to use at the door."""
        return self._renew(self._house(world, home, count, door))

    def renew_all(self, world: World, home: Path, count: int, door: Door) -> Command:
        """The same where all are due."""
        return self._renew(self._house(world, home, count, door), "--force")

    def daemon(self, world: World, home: Path, door: Door) -> Command:
        """The daemon, with one certificate."""
        return self.command("--config", str(self._house(world, home, 1, door).config), "run")

    def chains(self, home: Path, count: int) -> list[Path]:
        """The chains that a pass stores, by the numbers of their certificates."""
        store = home / "state" / "certificates"
        return [store / _name(number) / "current" / "fullchain.pem" for number in range(count)]

    def _house(self, world: World, home: Path, count: int, door: Door) -> House:
        sections = []
        for number in range(count):
            name = _name(number)
            if number:  # the house writes the first one
                sections.append(
                    f'[[certificate]]\nname = "{name}"\ndomains = {json.dumps(domains(number))}'
                )
            sections.append(
                f'[[certificate.target]]\nname = "{name}"\nkind = "files"\nprobe = "{door.address}"'
            )
            door.put_up(domains(number)[0], home / "state" / "live" / name)
        return House(world, home, "\n".join(sections), domains())

    def _renew(self, house: House, *options: str) -> Command:
        return self.command("--config", str(house.config), "renew", *options)


def _name(number: int) -> str:
    return f"home{number}" if number else "home"


@dataclass(frozen=True)
class Certbot:
    """With its plug-in for Cloudflare, whose library is told where the emulator is."""

    program: Program
    name: str = CERTBOT

    def command(self, *arguments: str) -> Command:
        """A command that needs neither CA nor Cloudflare."""
        return Command([self.program.path, *arguments])

    def first(self, world: World, home: Path) -> Command:
        """Obtains it by the plug-in."""
        return self.obtain(world, home, 0)

    def obtain(self, world: World, home: Path, number: int, *more: str) -> Command:
        """Obtains the certificate of this number; `more` are further options."""
        token = home / "cloudflare.ini"
        token.touch(mode=0o600)
        token.write_text(f"dns_cloudflare_api_token = {world.token.secret}\n")
        options = ["--non-interactive", "--agree-tos", "--register-unsafely-without-email"]
        options += ["--server", world.directory_url, "--cert-name", _line(number)]
        options += ["--dns-cloudflare", "--dns-cloudflare-credentials", str(token)]
        options += [part for domain in domains(number) for part in ("--domain", domain)]
        return self._in(world, home, "certonly", *options, *more)

    def chain(self, home: Path) -> Path:
        """In its live directory."""
        return self.chains(home, 1)[0]

    def chains(self, home: Path, count: int) -> list[Path]:
        """The same of so many certificates, by their numbers."""
        live = home / "config" / "live"
        return [live / _line(number) / "fullchain.pem" for number in range(count)]

    def copies(self, home: Path, count: int) -> None:
        """Makes the one certificate in `home` into `count`, each with a renewal of its own."""
        config = home / "config"
        renewal = (config / "renewal" / "first.conf").read_text()
        for number in range(1, count):
            copy = f"copy{number}"
            shutil.copytree(config / "archive" / "first", config / "archive" / copy)
            (config / "live" / copy).mkdir()
            for link in (config / "live" / "first").glob("*.pem"):
                target = Path("..", "..", "archive", copy, link.readlink().name)
                (config / "live" / copy / link.name).symlink_to(target)
            text = renewal
            for part in ("live", "archive"):
                text = text.replace(f"{config}/{part}/first", f"{config}/{part}/{copy}")
            (config / "renewal" / f"{copy}.conf").write_text(text)

    def renew(self, world: World, home: Path, *more: str) -> Command:
        """A pass over all that `home` holds, without the random sleep of a run by cron."""
        return self._in(world, home, "renew", "--no-random-sleep-on-renew", *more)

    def renew_all(self, world: World, home: Path) -> Command:
        """The same where all are due; it waits for propagation as it does by default."""
        return self.renew(world, home, "--force-renewal", f"{_PROPAGATION}=10")

    def _in(self, world: World, home: Path, *arguments: str) -> Command:
        places = [f"--{part}-dir={home / part}" for part in ("config", "work", "logs")]
        environment = {
            "CLOUDFLARE_BASE_URL": world.api_base_url,
            "REQUESTS_CA_BUNDLE": str(world.ca_bundle),
        }
        return Command([self.program.path, *arguments, *places], environment)


def _line(number: int) -> str:
    """What certbot calls the lineage of the certificate of this number."""
    return f"line{number}" if number else "first"


@dataclass(frozen=True)
class Uacme:
    """With a hook of ours; it trusts the system's CAs alone, so it gets a system of its own."""

    program: Program
    name: str = UACME

    def first(self, world: World, home: Path) -> Command:
        """Makes the account, then obtains it: two commands of uacme's."""
        uacme = f'"$0" --acme-url {world.directory_url} --confdir {home}/uacme --type EC'
        both = f'{uacme} --yes new && exec {uacme} --hook "$1" issue "$2" "$3"'
        arguments = ["/bin/sh", "-c", both, str(self.program.path), str(_HOOK), *domains()]
        environment = {"API_URL": world.api_base_url, "API_TOKEN": world.token.secret}
        mounted = f'mount --bind {world.ca_bundle} {_SYSTEM_CAS.resolve()} && exec "$@"'
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        inside = ["unshare", *user, "--mount", "sh", "-c", mounted, "sh"]
        return Command(arguments, environment, inside)

    def chain(self, home: Path) -> Path:
        """Under the first domain's name."""
        return home / "uacme" / ZONE / "cert.pem"
