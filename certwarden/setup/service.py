"""The drop-ins that fit certwarden's units to the configuration.

They are about groups, paths outside STATE, and where invitations are redeemed. Owns their texts.
The units themselves are files in `systemd/`, the same for everybody, and shut certwarden in; this
opens what the targets need, and no more.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from certwarden.config import Config
from certwarden.errors import UsageError
from certwarden.model import CommandReload, TargetSpec
from certwarden.targets.door import SOCKET

USER = "certwarden"
STATE_DIRECTORY = Path("/var/lib/certwarden")  # what the units make and open by themselves
RECEIVER = "certwarden-invite.service"
UNITS = (
    "certwarden.service",
    "certwarden-renew.service",
    "certwarden-failed@.service",
    RECEIVER,
)
DROP_IN_PATHS = tuple(f"/etc/systemd/system/{unit}.d/50-configuration.conf" for unit in UNITS)
SOCKET_DROP_IN_PATH = f"/etc/systemd/system/{SOCKET}.d/50-configuration.conf"

# What ProtectHome= hides, with all that is below.
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-@+")

_HEAD = """\
# What the configuration needs beyond certwarden's own units. Made from it by `certwarden snippet
# systemd`; belongs in
{paths}
# A path that is missing when the service starts stays closed to it.

[Service]
"""
_SOCKET = """\
# Where certwarden-invite.socket listens. Made from the configuration by `certwarden snippet
# systemd-socket`; belongs in
#   {path}

[Socket]
ListenStream=
ListenStream={listen}
"""


def service_drop_in(config: Config) -> str:
    """The text of the drop-in, the same for each of `DROP_IN_PATHS`.

    Groups are those of the targets. Writable are the directories of the fixed paths, of backups and
    of the metrics file, and what is kept elsewhere than in STATE; of homes, only these are there at
    all, and the files of secrets and reload commands, to read.
    """
    targets = [target for each in config.certificates for target in each.targets]
    outside = _outermost(written(config, targets))
    read = [Path(each.reload.argv[0]) for each in targets if isinstance(each.reload, CommandReload)]
    read += inputs(config)
    lines = []
    if groups := sorted({target.group for target in targets if target.group}):
        lines.append(f"SupplementaryGroups={' '.join(map(_word, groups))}")
    if config.state_directory != STATE_DIRECTORY:
        lines += ["# The state is kept elsewhere.", "StateDirectory="]
    lines += [f"ReadWritePaths={_optional(path)}" for path in outside if not _is_home(path)]
    homes = [f"BindPaths={_optional(path)}" for path in outside if _is_home(path)]
    homes += [f"BindReadOnlyPaths={_optional(path)}" for path in _outermost(read) if _is_home(path)]
    if homes:
        lines += ["# An empty /home, with nothing in it but this:", "ProtectHome=tmpfs", *homes]
    paths = "\n".join(f"#   {path}" for path in DROP_IN_PATHS)
    return _HEAD.format(paths=paths) + "".join(f"{line}\n" for line in lines)


def socket_drop_in(config: Config) -> str:
    """The text of the drop-in for `SOCKET_DROP_IN_PATH`, which puts the unit's own address aside.

    Raises UsageError where the service invites nobody.
    """
    listen = config.authority.invite_listen if config.authority else None
    if listen is None:
        raise UsageError(
            "the configuration does not say where the service is to hand out certificates",
            "set `invite_listen` in [authority]",
        )
    return _SOCKET.format(path=SOCKET_DROP_IN_PATH, listen=listen)


def written(config: Config, targets: Iterable[TargetSpec]) -> list[Path]:
    """The directories that a pass writes in and that the units do not open by themselves."""
    files = [path for each in targets for path in (each.key_path, each.certificate_path)]
    directories = [each.directory for each in targets]
    directories += [path.parent for path in (*files, config.metrics.file) if path]
    if config.backup:
        directories.append(config.backup.directory)
    if config.state_directory != STATE_DIRECTORY:
        return [config.state_directory, *directories]
    return [path for path in directories if not path.is_relative_to(STATE_DIRECTORY)]


def inputs(config: Config) -> list[Path]:
    """The files of secrets, and of the CA that vouches for the directory, which passes read."""
    files = [config.cloudflare.api_token_file]
    files += [path for path in (config.notify.urls_file, config.notify.heartbeat_url_file) if path]
    for acme in (config.acme, *config.acme.fallbacks):
        if acme.ca_bundle:
            files.append(acme.ca_bundle)
        if acme.external_account:
            files.append(acme.external_account.hmac_key_file)
    if config.authority:
        files.append(config.authority.passphrase_file)
    if config.backup:
        files.append(config.backup.passphrase_file)
    return files


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without those that lie below another of them."""
    known = {Path(os.path.normpath(path)) for path in paths}
    return sorted(path for path in known if not known & set(path.parents))


def _is_home(path: Path) -> bool:
    return any(path.is_relative_to(home) for home in _HOMES)


def _optional(path: Path) -> str:
    """The path as a word that systemd passes over where there is no such path."""
    return _word(f"-{path}")


def _word(text: str) -> str:
    """One word of a unit file's list (systemd.syntax(7)): quoted where need be, no specifiers."""
    text = text.replace("%", "%%")
    if set(text) <= _PLAIN | {"%"}:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
