"""`certwarden notify`: does a message arrive, and what systemd calls when a unit has failed."""

import os
import re
from argparse import Namespace

from certwarden.cli.arguments import config_file
from certwarden.cli.commands import DONE, FAILED, open_warden, read_config
from certwarden.cli.shapes import show_line
from certwarden.config import load_notify
from certwarden.errors import ConfigError, UsageError, clean
from certwarden.ports import Level

# systemd.unit(5): the characters of a name, and the types that can fail.
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,200}\.(service|socket|timer|path|mount|target)")

TEST = """\
This is what `certwarden notify test` sends. Messages arrive.
To do: nothing. A real message says here what is to be done.
"""


def test(arguments: Namespace) -> int:
    """A message to everywhere that messages go to; the heartbeat stays silent."""
    config = read_config(arguments)
    with open_warden(arguments, config, is_read_only=True) as warden:
        messenger = warden.messenger()
        if messenger is None or config.notify.urls_file is None:
            raise UsageError(
                "the configuration names nowhere that messages are to be sent to",
                "set `urls_file` in [notify]",
            )
        messenger.send("a test", TEST)
    show_line("sent")
    return DONE


def unit_failed(arguments: Namespace) -> int:
    """What OnFailure= calls; a unit that fails again and again is told of once a day."""
    from certwarden.lifecycle.announce import announce_unit_failure

    unit = arguments.unit
    if not _UNIT.fullmatch(unit):
        raise UsageError(
            f"`{clean(unit, 100)}` is not the name of a systemd unit",
            "name one such as certwarden.service",
        )
    try:
        config = read_config(arguments)
    except ConfigError as mistaken:
        _tell_of_configuration(arguments, unit, mistaken)
        raise
    with open_warden(arguments, config) as warden:
        messenger = warden.messenger()
        if messenger is None or config.notify.urls_file is None:
            what = f"{unit} has failed, and nobody is told: there is no urls_file in [notify]"
            warden.reporter.event(Level.WARNING, "notify", what)
            return DONE
        error = announce_unit_failure(warden, messenger, unit, warden.clock.now())
        if error is not None:
            warden.reporter.event(Level.ERROR, "notify", error.what, error.hint)
    return FAILED if error else DONE


def _tell_of_configuration(arguments: Namespace, unit: str, error: ConfigError) -> None:
    """The commonest reason for a unit to fail for good is the configuration itself."""
    from certwarden.wiring import messenger

    notify = load_notify(config_file(arguments), os.environ)
    post = messenger(notify)
    if post is not None and notify.urls_file is not None:
        text = (
            f"The unit {unit} has failed: {error.what}.\n"
            f"To do: {error.hint}; then `systemctl start {unit}`."
        )
        post.send(f"the unit {unit} has failed", text)
