"""`certwarden setup --remove`: everything that set-up has put into the machine is taken out."""

import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from certwarden.cli import terminal
from certwarden.cli.arguments import config_file
from certwarden.cli.commands import DONE, FAILED
from certwarden.cli.shapes import show_line
from certwarden.config import MAX_CONFIG_BYTES, Config, load
from certwarden.errors import ConfigError, Error, TargetError
from certwarden.files import read_file
from certwarden.model import Address
from certwarden.setup import account
from certwarden.setup import remove as removal
from certwarden.setup.find import NodeRed, find
from certwarden.setup.install import Ground
from certwarden.setup.outline import targets
from certwarden.setup.program import UNINSTALL
from certwarden.setup.service import STATE_DIRECTORY, USER, written
from certwarden.setup.steps import await_port, restart
from certwarden.setup.unfinished import noted, resumed
from certwarden.targets.node_red.apply import Proposal, has_our_lines, propose_removal, put

Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Line:
    """A settings.js that has certwarden's line, or may have it; `refusal` says why somebody has to
    see to it by hand.
    """

    settings: Path
    node_red: NodeRed | None
    proposal: Proposal | None
    refusal: str = ""
    address: Address | None = None


@dataclass(frozen=True)
class _Found:
    """What set-up has put there; `kept` cannot be made again, and goes only if that is asked for.

    `written` is where certwarden's user may have left something; None: nobody knows.
    """

    lines: list[_Line]
    files: list[Path]
    groups: list[str]
    kept: list[Path]
    written: list[Path] | None
    has_user: bool

    @property
    def refused(self) -> list[Path]:
        """Each settings.js that a person has to see to."""
        return [line.settings for line in self.lines if line.proposal is None]


def remove(arguments: Namespace) -> int:
    """Shows what is taken out, asks, and takes it out."""
    tell: Tell = show_line if arguments.unattended else terminal.say
    ground = Ground()
    found = _found(config_file(arguments).absolute(), ground)
    if not (found.files or found.lines or (arguments.purge and (found.kept or found.has_user))):
        tell("There is nothing of certwarden's set-up on this machine.")
        return DONE
    is_purging = arguments.purge and not found.refused
    if is_purging:
        removal.refuse_links(ground, found.kept)
    _show(tell, found, is_purging=is_purging)
    if arguments.purge and not is_purging:
        tell("Nothing is removed for good while a line may be there that reads a key.\n")
    if not arguments.unattended and not _is_agreed(found.kept if is_purging else []):
        tell("Nothing was changed.")
        return DONE
    for line in found.lines:
        _take_line_out(line, ground, tell)
    removal.stop(ground)
    removal.take_out(ground, found.files)
    if is_purging:
        _purge(found, ground, tell)
    else:
        tell("certwarden is taken out.")
        if found.kept:
            tell(f"Kept, with the CA and all certificates: {', '.join(map(str, found.kept))}")
    if found.refused:
        where = ", ".join(map(str, found.refused))
        tell(f"See to {where} by hand, as said above, and run this again.")
        return FAILED
    tell(f"The program itself is still there; where pipx has installed it: {UNINSTALL}")
    return DONE


def _found(configuration: Path, ground: Ground) -> _Found:
    config = _existing(configuration)
    state = config.state_directory if config else _state(configuration)
    return _Found(
        lines=_lines(config, ground),
        files=removal.files(ground),
        groups=removal.groups(ground),
        kept=[path for path in removal.holdings(state, configuration) if ground.has(path)],
        written=[config.state_directory, *written(config, targets(config))] if config else None,
        has_user=account.user() is not None and not account.fault_of_account(),
    )


def _existing(configuration: Path) -> Config | None:
    """The configuration, where there is one that can be read: a wrong one does not hold us up."""
    if not os.path.lexists(configuration):
        return None
    try:
        return load(configuration, {})
    except ConfigError:
        return None


def _state(configuration: Path) -> Path | None:
    """Where the state is by a configuration that is wrong otherwise, or not there any more."""
    try:
        return removal.state_of(read_file(configuration, MAX_CONFIG_BYTES))
    except FileNotFoundError:
        return STATE_DIRECTORY
    except OSError:
        return None


def _lines(config: Config | None, ground: Ground) -> list[_Line]:
    """Each settings.js that has our line."""
    machine = resumed(find(os.environ), noted(ground))
    addresses = {each.settings: each.probe for each in (targets(config) if config else ())}
    named = [settings for settings in addresses if settings is not None]
    known = named + [each.settings for each in machine.node_reds]
    lines = []
    for settings in dict.fromkeys(known):
        if not os.path.exists(settings):  # noqa: PTH110 - Path.exists raises where nobody can tell
            continue
        node_red = machine.node_red(settings)
        node, user = (node_red.node, node_red.user) if node_red else (None, None)
        try:
            proposal = propose_removal(settings, node=node, user=user)
        except Error as error:
            if refusal := _refusal(settings, node, user, error):
                lines.append(_Line(settings, node_red, None, refusal))
        else:
            if proposal.diff:
                address = addresses.get(settings)
                lines.append(_Line(settings, node_red, proposal, address=address))
    return lines


def _refusal(settings: Path, node: Path | None, user: str | None, error: Error) -> str:
    """Why a person has to see to the file that could not be changed; "" where there is no need."""
    try:
        if not has_our_lines(settings, node=node, user=user):
            return ""
    except TargetError as fault:
        return f"it could not be looked at: {fault.what}"
    return f"certwarden's line stays: {error.what}; {error.hint}"


def _show(tell: Tell, found: _Found, *, is_purging: bool) -> None:
    tell("What is taken out of this machine:")
    for line in found.lines:
        if line.proposal is None:
            tell(f"  {line.settings}: {line.refusal}")
        else:
            tell(f"  certwarden's line in {line.settings}, after a backup:")
            tell(line.proposal.diff.rstrip())
            if line.node_red and line.node_red.is_active:
                tell(f"  and {line.node_red.name} is restarted once, without HTTPS")
    for path in found.files:
        tell(f"  {path}")
    for path in found.kept:
        whole = ", with all that is in it" if path.is_dir() else ""
        tell(f"  {path}{whole}" if is_purging else f"  (kept: {path})")
    tell("")
    if is_purging:
        for group in found.groups:
            tell(f"  the group {group}")
        if found.has_user:
            tell(f"  the user {USER}, unless something is left that belongs to it")
        tell("")


def _purge(found: _Found, ground: Ground, tell: Tell) -> None:
    removal.purge(ground, found.kept, found.groups)
    tell(f"certwarden is taken out{_with(found.kept)}.")
    if fault := removal.dismiss(ground, found.written):
        tell(f"The user {USER} stays: {fault}.")


def _with(removed: list[Path]) -> str:
    return f", and gone with all that was in it: {', '.join(map(str, removed))}" if removed else ""


def _is_agreed(doomed: list[Path]) -> bool:
    if not terminal.confirm("Go on", default=False):
        return False
    if not doomed:
        return True
    terminal.say("The private CA cannot be made again: every device would need a new certificate.")
    return terminal.ask("Type `purge` to remove it for good") == "purge"


def _take_line_out(line: _Line, ground: Ground, tell: Tell) -> None:
    if line.proposal is None:
        return
    backup = put(line.proposal)
    tell(f"{line.settings} is without certwarden's line; as it was before: {backup}")
    if line.node_red is None or not line.node_red.unit:
        tell("Restart Node-RED by hand, once.")
    elif line.node_red.is_active:
        restart(ground, line.node_red.unit)
        address = line.address
        is_back = address is None or await_port(address)
        state = "and is back" if is_back else "and has not come back yet: see its journal"
        tell(f"{line.node_red.unit} is restarted, {state}.")
