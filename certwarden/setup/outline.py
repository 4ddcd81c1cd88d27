"""What set-up changes on the machine, as a list: from the answers, or from a configuration.

Pure: the same list is shown to the person, compared with what is there, and carried out. What the
certificates themselves need (`steps`) is no part of it.
"""

from collections.abc import Iterable
from dataclasses import field
from importlib import resources
from pathlib import Path

from certwarden.config import Config
from certwarden.frozen import frozen
from certwarden.model import TargetSpec
from certwarden.setup.answers import Answers
from certwarden.setup.configuration import House, configuration
from certwarden.setup.find import NodeRed
from certwarden.setup.polkit import RULE_PATH, asks_systemd, is_inviting, polkit_rule
from certwarden.setup.service import (
    DROP_IN_PATHS,
    RECEIVER,
    SOCKET_DROP_IN_PATH,
    USER,
    service_drop_in,
    socket_drop_in,
)
from certwarden.targets.door import SOCKET

SYSUSERS = Path("/etc/sysusers.d/certwarden.conf")
TMPFILES = Path("/etc/tmpfiles.d/certwarden.conf")
UNITS_DIRECTORY = Path("/etc/systemd/system")
SERVICE = "certwarden.service"
TIMER = "certwarden-renew.timer"
UNITS = (
    *(SERVICE, "certwarden-renew.service", TIMER, "certwarden-failed@.service"),
    *(SOCKET, RECEIVER),
)
SOCKET_DROP_IN = Path(SOCKET_DROP_IN_PATH)
DROP_INS = (*map(Path, DROP_IN_PATHS), SOCKET_DROP_IN)
RULE = Path(RULE_PATH)

_PROGRAM = "/opt/certwarden/bin/certwarden"  # as the units come
_FITTING = "its groups and paths"
_PUBLIC, _SECRET = 0o644, 0o640


@frozen
class WriteFile:
    """A file that shall hold exactly this; `group` "" is root's."""

    path: Path
    data: bytes = field(repr=False)  # it may be a secret
    mode: int = _PUBLIC
    group: str = ""


@frozen
class MakeDirectory:
    """A directory that shall be there, of this owner (and its group)."""

    path: Path
    mode: int
    owner: str


@frozen
class Command:
    """A program that makes what a file says come true; it may be run again and again."""

    argv: tuple[str, ...]


@frozen
class Change:
    """One thing that will be otherwise; `what` is how it is told, "" where it goes without."""

    what: str
    act: WriteFile | MakeDirectory | Command

    @property
    def place(self) -> str:
        """Where it happens."""
        return " ".join(self.act.argv) if isinstance(self.act, Command) else str(self.act.path)


def users(groups: Iterable[str], readers: Iterable[tuple[str, str]]) -> list[Change]:
    """certwarden's own user and directories; the groups of keys, with certwarden in each.

    `readers` are the users that are to be in a group, with that group.
    """
    named = sorted(set(groups))
    lines = [f"g {group} -" for group in named]
    members = [(USER, group) for group in named] + sorted(set(readers))
    lines += [f"m {user} {group}" for user, group in members]
    text = shipped("certwarden.sysusers.conf")
    if lines:
        text += "\n# Who may read the keys that are put to use.\n" + "".join(
            f"{line}\n" for line in lines
        )
    who = f"the user {USER}"
    if named:
        who += f"; group {', '.join(named)}: {', '.join(sorted({user for user, _ in members}))}"
    directories = "/etc/certwarden, and /var/lib/certwarden for keys"
    return [
        Change(who, WriteFile(SYSUSERS, text.encode())),
        Change("", Command(("systemd-sysusers", str(SYSUSERS)))),
        Change(directories, WriteFile(TMPFILES, shipped("certwarden.tmpfiles.conf").encode())),
        Change("", Command(("systemd-tmpfiles", "--create", str(TMPFILES)))),
    ]


def first_configuration(answers: Answers, house: House) -> list[Change]:
    """The configuration with what it names; `answers` are complete."""
    return [
        *secrets(answers, house),
        Change("the configuration", _kept(house.config_file, configuration(answers, house))),
    ]


def secrets(answers: Answers, house: House) -> list[Change]:
    """The files that are named in the configuration, as far as something was answered for them."""
    changes = [
        Change("for secrets: root's, readable to certwarden", _directory(house.secrets)),
    ]
    named = (
        ("Cloudflare's API token", house.token, answers.token),
        ("by which you are told what goes wrong", house.notify_urls, answers.notify_urls),
        ("what backups are encrypted under", house.backup_passphrase, answers.backup_passphrase),
    )
    for what, path, secret in named:
        if secret is not None:
            data = secret.reveal() + b"\n"
            changes.append(Change(what, WriteFile(path, data, _SECRET, USER)))
    if answers.ca_bundle is not None:
        bundle = WriteFile(house.ca_bundle, answers.ca_bundle)
        changes.append(Change("whom to trust as the CA", bundle))
    if answers.backup_directory:
        where = MakeDirectory(answers.backup_directory, 0o700, USER)
        changes.append(Change("for backups, certwarden's alone", where))
    return changes


def restored_configuration(text: bytes, house: House) -> Change:
    """The configuration of a backup."""
    what = "the configuration, as it was in the backup"
    return Change(what, WriteFile(house.config_file, text, _SECRET, USER))


def units(program: Path) -> list[Change]:
    """The units, which run this program."""
    told = {
        SERVICE: "the service",
        TIMER: "the other way, a pass twice a day; stays off",
        "certwarden-renew.service": "a single pass",
        "certwarden-failed@.service": "tells you that one of them has failed",
        SOCKET: "where invited clients come in; off unless somebody is",
        RECEIVER: "hands out their certificates",
    }
    return [
        Change(
            told[name],
            WriteFile(
                UNITS_DIRECTORY / name, shipped(name).replace(_PROGRAM, str(program)).encode()
            ),
        )
        for name in UNITS
    ]


def fittings(config: Config) -> list[Change]:
    """What fits the units to the configuration, and lets certwarden restart what it names."""
    drop_in = service_drop_in(config).encode()
    changes = [Change(_FITTING, WriteFile(Path(path), drop_in)) for path in DROP_IN_PATHS]
    if is_inviting(config):
        listen = WriteFile(SOCKET_DROP_IN, socket_drop_in(config).encode())
        changes.append(Change("where invited clients come in", listen))
    if asks_systemd(config):
        rule = WriteFile(RULE, polkit_rule(config).encode())
        changes.append(Change("what certwarden may ask of systemd", rule))
    changes.append(Change("", Command(("systemctl", "daemon-reload"))))
    return changes


def readers(node_red: NodeRed | None, config: Config) -> list[tuple[str, str]]:
    """Who is to be in which group for Node-RED to read its own key; root reads it anyway."""
    if node_red is None or node_red.user == "root":
        return []
    own = (target for target in targets(config) if target.settings == node_red.settings)
    return [(node_red.user, target.group) for target in own if target.group]


def targets(config: Config) -> list[TargetSpec]:
    """All targets of the configuration."""
    return [target for each in config.certificates for target in each.targets]


def shipped(name: str) -> str:
    """A file that comes with certwarden."""
    found = resources.files("certwarden.setup") / "units" / name
    return found.read_text(encoding="utf-8")


def _kept(path: Path, text: str) -> WriteFile:
    return WriteFile(path, text.encode(), _SECRET, USER)


def _directory(path: Path) -> MakeDirectory:
    return MakeDirectory(path, 0o750, f"root:{USER}")
