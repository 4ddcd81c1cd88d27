"""What a configuration asks of a machine that may have nothing of it yet.

Groups and secrets that a configuration names have to be there before it can be read from its file;
so it is read as a draft first. Owns the judgement of one that comes out of a backup: whoever made
that file must gain nothing by root's installing it. Changes nothing.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from certwarden.config import Config, load_draft
from certwarden.config.sections import CLOUDFLARE_API
from certwarden.config.source import is_within
from certwarden.errors import ConfigError, TargetError, UsageError, clean, visible
from certwarden.model import CommandReload, TargetSpec, UnitReload
from certwarden.setup.configuration import House
from certwarden.setup.outline import targets
from certwarden.setup.service import STATE_DIRECTORY, USER, inputs
from certwarden.targets.process import Identity

_BY_HAND = "write the configuration yourself, then restore"

GidOf = Callable[[str], int | None]
OwnerOf = Callable[[Path], Identity]


def drafted(text: bytes, house: House, where: str) -> Config:
    """What the text says, wherever it is from; raises UsageError with all that is wrong in it."""
    try:
        return load_draft(house.config_file, text)
    except ConfigError as error:
        mistakes = "; ".join(
            f"{each.path}: {each.message}" if each.path else each.message for each in error.mistakes
        )
        hint = "see `certwarden setup --help`, or write the configuration yourself"
        raise UsageError(f"{where}: {mistakes}", hint) from None


def house_of(config: Config, house: House) -> House:
    """Where this configuration has its secrets; what it does not say stays."""
    return replace(
        house,
        token=config.cloudflare.api_token_file,
        notify_urls=config.notify.urls_file or house.notify_urls,
        ca_passphrase=(
            config.authority.passphrase_file if config.authority else house.ca_passphrase
        ),
        backup_passphrase=(
            config.backup.passphrase_file if config.backup else house.backup_passphrase
        ),
        ca_bundle=config.acme.ca_bundle or house.ca_bundle,
    )


def refuse_unsafe(
    config: Config,
    house: House,
    *,
    api_url: str | None,
    gid_of: GidOf,
    ours: frozenset[str],
    owner_of: OwnerOf,
) -> None:
    """Raises UsageError where a backup's configuration would have root do what was not agreed to.

    `api_url` is what the person has said for Cloudflare's address; `gid_of` knows the groups that
    there are, and `ours` are those among them that set-up has made; `owner_of` says whose a
    directory is, and raises OSError or TargetError where that cannot be told.
    """
    faults = chain(
        _faulty_places(config, house),
        _faulty_fixed_paths(config, owner_of),
        _faulty_groups(config, gid_of, ours),
        _faulty_address(config, api_url),
    )
    for what, hint in faults:
        raise UsageError(f"the configuration in the backup {what}", hint)


def powers(config: Config) -> Iterator[str]:
    """What a configuration has certwarden write for others, run or restart, a sentence each."""
    for target in targets(config):
        for path in _fixed_paths(target):
            yield f"{USER} will write {_whole(str(path))}, for {target.name}"
        if isinstance(target.reload, CommandReload):
            yield f"{USER} will run, for {target.name}: {_words(target.reload)}"
        elif isinstance(target.reload, UnitReload):
            yield f"{USER} will {target.reload.verb} {target.reload.unit}, for {target.name}"


def _faulty_places(config: Config, house: House) -> Iterator[tuple[str, str]]:
    if config.state_directory != STATE_DIRECTORY:
        where = clean(str(config.state_directory))
        yield f"keeps the state in {where}, not in {STATE_DIRECTORY}", _BY_HAND
    directory = house.config_file.parent
    for path in inputs(config):
        if path == house.config_file or not is_within(path, directory):
            yield f"has a secret in {clean(str(path))}, which is not in {directory}", _BY_HAND


def _faulty_fixed_paths(config: Config, owner_of: OwnerOf) -> Iterator[tuple[str, str]]:
    """Those where root would write as itself: a file of root's there is a program's order."""
    for path in (path for target in targets(config) for path in _fixed_paths(target)):
        if _is_roots(path.parent, owner_of):
            yield (
                f"has {clean(str(path))} written, in a directory that is root's or missing",
                f"if that is right, {_BY_HAND}",
            )


def _is_roots(directory: Path, owner_of: OwnerOf) -> bool:
    try:
        return owner_of(directory).uid == 0
    except (OSError, TargetError):  # and so it may still become root's
        return True


def _faulty_groups(
    config: Config, gid_of: GidOf, ours: frozenset[str]
) -> Iterator[tuple[str, str]]:
    for group in groups(config):
        if gid_of(group) is not None and group not in ours:
            yield (
                f"puts {USER} into {group}, a group that is there already",
                f"if that is right, {_BY_HAND}",
            )


def _faulty_address(config: Config, api_url: str | None) -> Iterator[tuple[str, str]]:
    told = config.cloudflare.base_url
    if told != (api_url or CLOUDFLARE_API):
        yield (
            f"has the API token sent to {clean(told)}",
            f"if that is right, add --api-url {clean(told)}",
        )


def groups(config: Config) -> list[str]:
    """The groups that keys are given to."""
    found = (target.group for target in targets(config))
    return sorted({group for group in found if group})


def _fixed_paths(target: TargetSpec) -> list[Path]:
    return [path for path in (target.key_path, target.certificate_path) if path]


def _words(reload: CommandReload) -> str:
    return shlex.join(map(_whole, reload.argv))


def _whole(text: str) -> str:
    """All of it on one line: what was cut off could be what matters."""
    return visible(text).replace("\n", "?")
