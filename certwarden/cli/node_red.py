"""`nodered`: what settings.js says, and certwarden's line in it."""

from argparse import Namespace

from certwarden.cli import render
from certwarden.cli.commands import DONE, FAILED, configured_targets, read_config
from certwarden.errors import UsageError


def inspect(arguments: Namespace) -> int:
    """What settings.js says about TLS now."""
    from certwarden.targets.node_red.settings import client_auth_contradiction
    from certwarden.targets.node_red.settings import inspect as look_into

    settings, target = arguments.settings, None
    if settings is None:
        targets = [
            target for target in configured_targets(read_config(arguments)) if target.settings
        ]
        if len(targets) != 1:
            raise UsageError(
                f"{len(targets)} targets in the configuration name a settings.js",
                "say which file is meant: certwarden nodered inspect SETTINGS",
            )
        target = targets[0]
        settings = target.settings
    inspection = look_into(settings, node=arguments.node)
    contradiction = client_auth_contradiction(inspection, target) if target else ""
    render.show_inspection(inspection, contradiction, is_json=arguments.json)
    return FAILED if inspection.error else DONE
