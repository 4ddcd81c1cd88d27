"""The listening socket that systemd hands over to the service (sd_listen_fds(3)).

Takes it, and judges whether it is one; where it listens is the socket unit's business.
"""

import os
import socket
from collections.abc import Mapping

from certwarden.errors import UsageError

FIRST = 3  # SD_LISTEN_FDS_START


def handed_over(environ: Mapping[str, str], pid: int, first: int = FIRST) -> socket.socket:
    """The one socket that is meant for process `pid`; the caller closes it.

    Raises UsageError where there is none, or what is there does not listen.
    """
    is_ours = environ.get("LISTEN_PID") == str(pid) and environ.get("LISTEN_FDS") == "1"
    if not is_ours:
        raise _refusal()
    try:
        os.set_inheritable(first, False)  # noqa: FBT003 - its only way to be called
        door = socket.socket(fileno=first)
    except OSError:
        raise _refusal() from None
    if not door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        door.close()
        raise _refusal()
    return door


def _refusal() -> UsageError:
    return UsageError(
        "nobody has handed over a socket to listen at",
        "this is for systemd to start; for a person it is `certwarden client invite NAME`",
    )
