"""The answers of `setup` that nobody need be asked for: from options, a configuration, a backup.

What is on the machine decides what is meant by them. Asks nothing, and changes nothing.
"""

from argparse import Namespace
from dataclasses import dataclass, field, replace
from pathlib import Path

from certwarden.cli import terminal
from certwarden.config import Config, read_secret
from certwarden.config.sections import DIRECTORIES
from certwarden.errors import Error, UsageError, clean
from certwarden.files import read_file
from certwarden.model import TARGET_KINDS, Address, HotReload, Secret, TargetSpec
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
from certwarden.setup.configuration import CERTIFICATE, TARGET, House
from certwarden.setup.find import Machine, NodeRed
from certwarden.setup.restoration import outlined
from certwarden.setup.service import STATE_DIRECTORY
from certwarden.setup.trial import Trial
from certwarden.targets.node_red.settings import inspect

_ANYWHERE = frozenset({"", "0.0.0.0", "::", "localhost"})  # noqa: S104 - what settings.js may say


@dataclass(frozen=True)
class Backup:
    """A backup that the CA is brought back from; `text` is the configuration in it."""

    file: Path
    passphrase: Secret
    text: bytes = field(repr=False)


def answers_of(arguments: Namespace, machine: Machine, house: House) -> Answers:
    """What the command line says; files that it names are read."""
    answers = Answers(
        domains=tuple(dict.fromkeys(arguments.domain or ())),
        is_agreed=arguments.accept_terms,
        directory=arguments.directory,
        staging_directory=arguments.staging_directory,
        ca_bundle=arguments.ca_bundle,
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
        backup_passphrase=_secret(arguments.backup_passphrase_file),
        notify_urls=_secret(arguments.notify_urls_file),
        client=_client(arguments),
        recovery_code_file=arguments.recovery_code_file,
        is_editing=not arguments.no_settings,
        is_service=not arguments.no_service,
        has_token=house.token.exists(),
    )
    if answers.ca_bundle:
        _readable(answers.ca_bundle)
    if answers.place in (None, Place.NODE_RED):
        node_red = _chosen(arguments, machine)
        if node_red is not None:
            return replace(answers, place=Place.NODE_RED, node_red=node_red)
    return answers


def with_port(answers: Answers, *, is_said: bool) -> Answers:
    """Where Node-RED listens: as was said, else as its unit or its settings.js has it."""
    node_red = answers.node_red
    if node_red is None or is_said:
        return answers
    if node_red.port:
        return replace(answers, port=node_red.port)
    try:
        found = inspect(node_red.settings, node=node_red.node, user=node_red.user)
    except Error:
        return answers
    host, port = found.ui_host or "", found.ui_port or ""
    return replace(
        answers,
        host=LOOPBACK if host in _ANYWHERE else host,
        port=int(port) if port.isdecimal() else answers.port,
    )


def is_open(node_red: NodeRed | None) -> bool:
    """Whether it is certain that everybody who reaches Node-RED's editor may change its flows."""
    if node_red is None:
        return False
    try:
        found = inspect(node_red.settings, node=node_red.node, user=node_red.user)
    except Error:
        return False
    return found.error is None and not found.is_editor_protected


def _chosen(arguments: Namespace, machine: Machine) -> NodeRed | None:
    """The Node-RED that is named, or the only one there is."""
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
    elif arguments.unattended and len(machine.node_reds) == 1:
        found = machine.node_reds[0]
    if found is None:
        return None
    if arguments.settings:
        found = replace(found, settings=arguments.settings.absolute())
    return replace(found, node=arguments.node) if arguments.node else found


def known(answers: Answers, config: Config, machine: Machine) -> Answers:
    """The answers that an existing configuration gives."""
    target = next((each for each in outline.targets(config) if each.settings), None)
    node_red = answers.node_red
    if target is not None and target.settings and node_red is None:
        settings = target.settings
        node_red = machine.node_red(settings) or NodeRed(settings, _owner(settings))
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
    sealed = _readable(file)
    given = arguments.backup_passphrase_file
    if given is None and arguments.unattended:
        raise UsageError(
            "the backup's passphrase is not given", "add --backup-passphrase-file FILE"
        )
    passphrase = (
        read_secret(given) if given else terminal.ask_passphrase("Passphrase of the backup")
    )
    return Backup(file, passphrase, read_backup(sealed, passphrase).config_text)


def restored(answers: Answers, backup: Backup, machine: Machine) -> Answers:
    """The answers that a backup's configuration gives."""
    found = outlined(backup.text)
    node_red = answers.node_red
    if node_red is None and found.settings is not None:
        node_red = machine.node_red(found.settings)
    return replace(
        answers,
        domains=found.domains,
        is_agreed=True,
        api_url=answers.api_url or found.api_url,
        place=Place.NODE_RED if node_red else Place.NONE,
        port=found.port or PORT,
        client_auth=found.is_asking_clients and node_red is not None,
        backup_passphrase=backup.passphrase,
        node_red=node_red,
        needs_urls=found.needs_urls,
        directory=found.directory,
    )


def trial_of(answers: Answers, config: Config | None) -> Trial:
    return Trial(
        answers.domains, answers.api_url, config.cloudflare.zone_ids if config is not None else {}
    )


def refuse_incomplete(answers: Answers, *, is_configured: bool, is_founded: bool) -> None:
    lacking = missing(answers, is_configured=is_configured, is_founded=is_founded)
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


def _secret(path: Path | None) -> Secret | None:
    return None if path is None else read_secret(path)


def _readable(path: Path) -> bytes:
    try:
        return read_file(path, MAX_SEALED_BYTES)
    except OSError as error:
        raise UsageError(
            f"{clean(str(path))} cannot be read: {error.strerror}", "see `certwarden setup --help`"
        ) from None


def _name_of(directory: str) -> str:
    """What a directory is called in a configuration."""
    return next((name for name, url in DIRECTORIES.items() if url == directory), directory)


def _owner(settings: Path) -> str:
    try:
        return settings.owner()
    except (OSError, KeyError):
        raise UsageError(
            f"{clean(str(settings))} is not there, or its owner has no name",
            "name the settings.js that Node-RED reads",
        ) from None


def groups_of(answers: Answers, config: Config | None, backup: Backup | None) -> list[str]:
    """The groups that keys are given to."""
    if config is None and backup is not None:
        return list(outlined(backup.text).groups)
    if config is not None:
        return sorted({each.group for each in outline.targets(config) if each.group})
    is_copying = answers.key_path is not None
    return [] if answers.place in (None, Place.NONE) or is_copying else [answers.group]


def spec_of(answers: Answers, config: Config | None) -> TargetSpec:
    """The target as the configuration has it, or will have it."""
    if config is not None and answers.node_red:
        settings = answers.node_red.settings
        return next(each for each in outline.targets(config) if each.settings == settings)
    return TargetSpec(
        name=TARGET,
        certificate=CERTIFICATE,
        kind=TARGET_KINDS[TARGET],
        directory=STATE_DIRECTORY / "live" / TARGET,
        group=answers.group,
        reload=HotReload(),
        probe=Address(answers.host, answers.port),
        probe_name=next((name for name in answers.domains if not name.startswith("*.")), ""),
        settings=answers.node_red.settings if answers.node_red else None,
        client_auth=answers.needs_client_auth,
    )
