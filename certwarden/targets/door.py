"""The door where the service hands out certificates: a socket unit of systemd's, on or off.

systemd listens, and starts the service when somebody comes; a polkit rule must allow its start and
its stop. When the door is to stand open is the lifecycle's to say.
"""

from certwarden.errors import TargetError
from certwarden.targets.reload import QUESTION_LIMITS, have_systemd
from certwarden.targets.units import is_booted, show

SOCKET = "certwarden-invite.socket"

_INSTALL = "install it and its drop-in: `sudo certwarden setup`"


class SocketDoor:
    """The socket unit (port Door)."""

    def is_open(self) -> bool:
        """Whether systemd listens; it does not where there is no systemd, or no such unit."""
        if not is_booted():
            return False
        told = next(iter(show((SOCKET,), ("ActiveState",), QUESTION_LIMITS).values()), {})
        return told.get("ActiveState") == "active"

    def open(self) -> None:
        """Raises TargetError where systemd cannot listen there, or may not."""
        self._have("start")

    def shut(self) -> None:
        """What has been accepted goes on."""
        self._have("stop")

    def _have(self, verb: str) -> None:
        if not is_booted():
            raise TargetError(
                "there is no systemd here to listen for certwarden",
                "leave `authority.invite_listen` out of the configuration",
            )
        have_systemd(verb, SOCKET, hint_not_loaded=_INSTALL)
