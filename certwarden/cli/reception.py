"""`certwarden client receive`: what systemd calls when somebody comes with an invitation."""

import os
import socket
from argparse import Namespace
from typing import TYPE_CHECKING

from certwarden.cli.authority import open_authority
from certwarden.cli.commands import DONE, read_config
from certwarden.config import Config
from certwarden.enrolment.activation import handed_over
from certwarden.enrolment.reception import Reception
from certwarden.enrolment.tls import servable
from certwarden.errors import StoreError, UsageError
from certwarden.lifecycle.door import shut_behind_last
from certwarden.lifecycle.links import link_hosts

if TYPE_CHECKING:
    from certwarden.wiring import Warden

IDLE = 60.0  # seconds without a visitor, after which systemd listens alone again


def receive(arguments: Namespace) -> int:
    """Hands out certificates at systemd's socket while somebody is invited, and shuts it then."""
    config = read_config(arguments)
    with open_authority(arguments, config) as (warden, _):
        door = warden.door()
        if door is None:
            raise UsageError(
                "the configuration does not say where the service is to hand out certificates",
                "set `invite_listen` in [authority]",
            )
        # Let go of before the door is set: nobody can listen there while we do.
        with handed_over(os.environ, os.getpid()) as listening:
            before = _invited(warden)
            if before:
                _receive(warden, config, listening)
        after = {each.id for each in shut_behind_last(warden, door)}
        if after != before:
            warden.call_daemon()  # for another certificate, or to open to who was invited just now
    return DONE


def _receive(warden: "Warden", config: Config, listening: socket.socket) -> None:
    hosts = link_hosts(config.certificates, servable(warden, config.certificates))
    if not hosts:
        raise StoreError(
            "no valid server certificate in the store is for the name in the links",
            "see `certwarden status`",
        )
    reception = Reception(warden, config.certificates, hosts[0])
    reception.receive(listening, lambda: not _invited(warden), idle=IDLE)


def _invited(warden: "Warden") -> set[str]:
    """The open invitations."""
    return {each.id for each in warden.invitations.open(warden.clock.now())}
