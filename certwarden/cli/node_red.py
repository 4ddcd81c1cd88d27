"""`nodered`: what settings.js says, and certwarden's line in it.

Root stays root here: settings.js is run and written by its owner, in children of ours.
"""

from argparse import Namespace
from pathlib import Path

from certwarden.cli import render_node_red as render
from certwarden.cli.commands import DONE, FAILED, configured_targets, read_config
from certwarden.cli.shapes import show_line
from certwarden.cli.terminal import confirm, has_terminal
from certwarden.errors import UsageError, clean
from certwarden.model import TargetSpec, UnitReload


def inspect(arguments: Namespace) -> int:
    """What settings.js says about TLS now."""
    from certwarden.targets.node_red.advice import advice
    from certwarden.targets.node_red.settings import client_auth_contradiction
    from certwarden.targets.node_red.settings import inspect as look_into

    settings, target = arguments.settings, None
    if settings is None:
        targets = [target for target in _targets(arguments) if target.settings]
        if len(targets) != 1:
            raise UsageError(
                f"{len(targets)} targets in the configuration name a settings.js",
                "say which file is meant: certwarden nodered inspect SETTINGS",
            )
        target = targets[0]
        settings = target.settings
    inspection = look_into(settings, node=arguments.node, user=arguments.user)
    contradiction = client_auth_contradiction(inspection, target) if target else ""
    advised = advice(inspection, target)
    render.show_inspection(inspection, advised, contradiction, is_json=arguments.json)
    return FAILED if inspection.error else DONE


def apply(arguments: Namespace) -> int:
    """certwarden's line into settings.js, once it is seen to work and agreed to."""
    from certwarden.targets.node_red.apply import propose, put

    settings, target = _meant(arguments)
    proposal = propose(
        settings,
        target,
        node=arguments.node,
        user=arguments.user,
        is_named=arguments.settings is not None,
    )
    render.show_proposal(proposal)
    if not proposal.diff:
        return DONE
    if not arguments.yes and not _is_agreed(settings):
        show_line("nothing was changed")
        return FAILED
    backup = put(proposal)
    show_line(f"{settings} was changed; as it was before it is {backup}")
    show_line(f"restart Node-RED once: {_restart(target)}")
    return DONE


def _is_agreed(settings: Path) -> bool:
    if not has_terminal():
        raise UsageError(
            "there is no terminal to ask on, and nothing was changed",
            "run it in a terminal, or with --yes",
        )
    return confirm(f"Put this into {clean(str(settings))}?", default=False)


def _meant(arguments: Namespace) -> tuple[Path, TargetSpec]:
    """The settings.js to change, and the target whose certificate it is to serve."""
    targets = [target for target in _targets(arguments) if target.kind.name == "node-red"]
    named: Path | None = arguments.settings
    if named is None:
        targets = [target for target in targets if target.settings]
    else:
        named = named.absolute()
        targets = [target for target in targets if target.settings == named] or [
            target for target in targets if target.settings is None
        ]
    settings = named or (targets[0].settings if targets else None)
    if len(targets) != 1 or settings is None:
        raise UsageError(
            f"{len(targets)} targets of kind node-red in the configuration could be meant",
            "give each its `settings`, and say which: certwarden nodered apply SETTINGS",
        )
    return settings, targets[0]


def _targets(arguments: Namespace) -> list[TargetSpec]:
    return list(configured_targets(read_config(arguments)))


def _restart(target: TargetSpec) -> str:
    if isinstance(target.reload, UnitReload):
        return f"sudo systemctl restart {target.reload.unit}"
    return "sudo systemctl restart nodered, node-red-restart, or docker restart its container"
