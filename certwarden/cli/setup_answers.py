"""The answers of `setup` that nobody need be asked for: from options, a configuration, a backup.

What is on the machine decides what is meant by them. Asks nothing, and changes nothing.
"""

import pwd
from argparse import Namespace
from dataclasses import dataclass, field, replace
from pathlib import Path

from certwarden.cli import terminal
from certwarden.config import Config, read_secret, syntax
from certwarden.config.sections import DIRECTORIES
from certwarden.config.source import MAX_BUNDLE_BYTES
from certwarden.config.syntax import UnfitError
from certwarden.errors import Error, UsageError, clean
from certwarden.files import read_file
from certwarden.model import Address, Secret, TargetSpec
from certwarden.pki.backup import read_backup
from certwarden.pki.sealing import MAX_SEALED_BYTES
from certwarden.setup import outline
from certwarden.setup.answers import (
    LOOPBACK,
    PORT,
    Answers,
    FirstClient,
    Place,
    backup_place,
    missing,
)
from certwarden.setup.configuration import House
from certwarden.setup.find import Machine, NodeRed
from certwarden.setup.restoration import drafted
from certwarden.setup.trial import Trial
from certwarden.targets.foreign import owner_of
from certwarden.targets.node_red.settings import inspect

_MOST_PORT = 65535
_DIGITS = 5
_ANYWHERE = frozenset({"", "0.0.0.0", "::", "localhost"})  # noqa: S104 - what settings.js may say


@dataclass(frozen=True)
class Backup:
    """A backup that the CA is brought back from; `text` is the configuration in it."""

    file: Path
    passphrase: Secret
    text: bytes = field(repr=False)
    root: bytes = field(repr=False)  # the CA's certificate, in PEM

    def config(self, house: House) -> Config:
        """The configuration as it would be here; raises UsageError for one that would not do."""
        return drafted(self.text, house, "the configuration in the backup")


def answers_of(
    arguments: Namespace, machine: Machine, house: House, *, is_configured: bool
) -> Answers:
    """What the command line says; files that it names are read.

    `is_configured`: there is a configuration, which says the rest.
    """
    answers = Answers(
        domains=tuple(dict.fromkeys(arguments.domain or ())),
        is_agreed=arguments.accept_terms,
        directory=arguments.directory,
        staging_directory=arguments.staging_directory,
        ca_bundle=(
            _readable(arguments.ca_bundle, MAX_BUNDLE_BYTES) if arguments.ca_bundle else None
        ),
        api_url=arguments.api_url,
        nameservers=tuple(arguments.nameserver or ()),
        place=Place(arguments.target) if arguments.target else None,
        port=arguments.port or PORT,
        group=arguments.group,
        key_path=arguments.key,
        certificate_path=arguments.certificate,
        client_auth=arguments.client_auth,
        backup_directory=(
            backup_place(arguments.backup_directory) if arguments.backup_directory else None
        ),
        token=_secret(arguments.token_file),
        backup_passphrase=_backup_passphrase(arguments, house),
        notify_urls=_secret(arguments.notify_urls_file),
        client=_client(arguments),
        recovery_code_file=arguments.recovery_code_file,
        is_editing=not arguments.no_settings,
        is_service=not arguments.no_service,
        has_token=house.token.exists(),
    )
    if answers.place in (None, Place.NODE_RED):
        node_red = _chosen(arguments, machine, is_configured=is_configured)
        if node_red is not None:
            return replace(answers, place=Place.NODE_RED, node_red=node_red)
    return answers


def with_node(machine: Machine, node: Path | None) -> Machine:
    """The machine with the Node.js that was named, if one was, for whichever Node-RED is meant."""
    if node is None:
        return machine
    return replace(machine, node_reds=tuple(replace(each, node=node) for each in machine.node_reds))


def with_port(answers: Answers, *, is_said: bool) -> Answers:
    """Where Node-RED listens: as was said, else as its unit or its settings.js has it."""
    node_red = answers.node_red
    if node_red is None or is_said:
        return answers
    if node_red.port:
        return replace(answers, port=_port(str(node_red.port), answers.port))
    try:
        found = inspect(node_red.settings, node=node_red.node, user=node_red.user)
    except Error:
        return answers
    return replace(
        answers,
        host=_host(found.ui_host or "", answers.port),
        port=_port(found.ui_port or "", answers.port),
    )


def _host(told: str, port: int) -> str:
    """Where it can be reached that listens at what somebody else has told."""
    try:
        return LOOPBACK if told in _ANYWHERE else syntax.address(str(Address(told, port))).host
    except UnfitError:
        return LOOPBACK


def _port(told: str, otherwise: int) -> int:
    """The port that somebody else has told, where it can be one."""
    is_port = told.isdecimal() and len(told) <= _DIGITS and 0 < int(told) <= _MOST_PORT
    return int(told) if is_port else otherwise


def is_open(node_red: NodeRed | None) -> bool:
    """Whether it is certain that everybody who reaches Node-RED's editor may change its flows."""
    if node_red is None:
        return False
    try:
        found = inspect(node_red.settings, node=node_red.node, user=node_red.user)
    except Error:
        return False
    return found.error is None and not found.is_editor_protected


def _chosen(arguments: Namespace, machine: Machine, *, is_configured: bool) -> NodeRed | None:
    """The Node-RED that is named; or the only one there is, unless a configuration names one."""
    found: NodeRed | None = None
    if arguments.node_red_unit:
        found = machine.unit(arguments.node_red_unit)
        if found is None:
            known = ", ".join(each.unit for each in machine.node_reds) or "none"
            raise UsageError(
                f"{clean(arguments.node_red_unit)} is no unit that starts Node-RED",
                f"those that do: {known}",
            )
    elif arguments.settings:
        settings = arguments.settings.absolute()
        found = machine.node_red(settings) or NodeRed(settings, _owner(settings))
    elif arguments.unattended and not is_configured and len(machine.node_reds) == 1:
        found = machine.node_reds[0]
    if found is None:
        return None
    if arguments.settings:
        found = replace(found, settings=arguments.settings.absolute())
    return replace(found, node=arguments.node) if arguments.node else found


def known(answers: Answers, config: Config, machine: Machine) -> Answers:
    """The answers that an existing configuration gives."""
    target = _with_settings(config)
    node_red = answers.node_red
    if target is not None and target.settings and node_red is None:
        settings = target.settings
        node_red = machine.node_red(settings) or NodeRed(settings, _owner(settings))
    return _known(answers, config, target, node_red)


def _with_settings(config: Config) -> TargetSpec | None:
    return next((each for each in outline.targets(config) if each.settings), None)


def _known(
    answers: Answers, config: Config, target: TargetSpec | None, node_red: NodeRed | None
) -> Answers:
    return replace(
        answers,
        domains=tuple(name for each in config.certificates for name in each.domains),
        is_agreed=True,
        api_url=config.cloudflare.base_url,
        directory=_name_of(config.acme.directory_url),
        place=Place.NODE_RED if target else Place.NONE,
        port=target.probe.port if target and target.probe else PORT,
        client_auth=config.authority is not None and bool(target and target.client_auth),
        node_red=node_red if target else None,
        has_token=config.cloudflare.api_token_file.exists(),
    )


def opened(arguments: Namespace) -> Backup:
    """The backup to restore, with its passphrase; raises Error where that is not the right one."""
    file: Path = arguments.restore.absolute()
    sealed = _readable(file, MAX_SEALED_BYTES)
    given = arguments.backup_passphrase_file
    if given is None and arguments.unattended:
        raise UsageError(
            "the backup's passphrase is not given", "add --backup-passphrase-file FILE"
        )
    passphrase = (
        read_secret(given) if given else terminal.ask_passphrase("Passphrase of the backup")
    )
    found = read_backup(sealed, passphrase)
    return Backup(file, passphrase, found.config_text, found.root_pem)


def restored(answers: Answers, backup: Backup, config: Config, machine: Machine) -> Answers:
    """The answers that a backup's configuration gives.

    Of a Node-RED that is not found on this machine nothing is said: it may be anybody's settings.js
    that is named there, and it would be run.
    """
    target = _with_settings(config)
    node_red = answers.node_red
    if node_red is None and target is not None and target.settings:
        node_red = machine.node_red(target.settings)
    if node_red is None:
        target = None
    return replace(
        _known(answers, config, target, node_red),
        backup_passphrase=backup.passphrase,
        needs_urls=config.notify.urls_file is not None,
    )


def trial_of(answers: Answers, config: Config | None) -> Trial:
    return Trial(
        answers.domains, answers.api_url, config.cloudflare.zone_ids if config is not None else {}
    )


def refuse_incomplete(answers: Answers, *, is_configured: bool, is_founding: bool) -> None:
    lacking = missing(answers, is_configured=is_configured, is_founding=is_founding)
    if lacking:
        raise UsageError(
            f"{len(lacking)} answers are missing: {'; '.join(lacking)}"
            if len(lacking) > 1
            else f"an answer is missing: {lacking[0]}",
            "nothing was changed; see `certwarden setup --help`",
        )


def _client(arguments: Namespace) -> FirstClient | None:
    if arguments.client is None:
        return None
    return FirstClient(
        arguments.client,
        arguments.client_format,
        arguments.client_out,
        arguments.client_password_file,
    )


def _backup_passphrase(arguments: Namespace, house: House) -> Secret | None:
    """What backups are encrypted under from now on; what only opens the one to restore is not."""
    if arguments.restore and house.backup_passphrase.exists():
        return None
    return _secret(arguments.backup_passphrase_file)


def _secret(path: Path | None) -> Secret | None:
    return None if path is None else read_secret(path)


def _readable(path: Path, limit: int) -> bytes:
    try:
        return read_file(path, limit)
    except OSError as error:
        raise UsageError(
            f"{clean(str(path))} cannot be read: {error.strerror}", "see `certwarden setup --help`"
        ) from None


def _name_of(directory: str) -> str:
    """What a directory is called in a configuration."""
    return next((name for name, url in DIRECTORIES.items() if url == directory), directory)


def _owner(settings: Path) -> str:
    """Whoever could have written it, as nobody can make it look otherwise by a link."""
    try:
        return pwd.getpwuid(owner_of(settings).uid).pw_name
    except (OSError, KeyError):
        raise UsageError(
            f"{clean(str(settings))} is not there, or its owner has no name",
            "name the settings.js that Node-RED reads",
        ) from None


def spec_of(settings: Path, config: Config) -> TargetSpec:
    """The target of this settings.js; raises UsageError where the configuration has none."""
    for target in outline.targets(config):
        if target.settings == settings:
            return target
    raise UsageError(
        f"no target in the configuration has the settings {clean(str(settings))}",
        "give one of them that `settings`, or leave --settings and --node-red-unit out",
    )
