"""What is said to systemd (sd_notify): ready, reloading, stopping, still healthy, what comes next.

A datagram each, by the standard library. Says nothing where nobody listens, and never raises.
"""

import socket
from collections.abc import Mapping

_OURS = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})


class Systemd:
    """The service manager that started process `pid` with this environment, if one did."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        self.watchdog = _watchdog(environ, pid)
        """Within how many seconds it wants to hear that we are healthy, or None."""

    def notify(self, *lines: str) -> None:
        """Sends assignments such as READY=1 (sd_notify(3)) as one message."""
        if not self._address:
            return
        # "@" stands for the NUL with which an abstract socket's address begins.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, address)
        except (OSError, ValueError):
            pass  # a full queue or a manager that has gone; the next message may arrive

    def status(self, sentence: str) -> None:
        """What `systemctl status` shows; sent when it changes."""
        if sentence != self._status:
            self._status = sentence
            self.notify(f"STATUS={sentence}")


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is between systemd and us."""
    return {name: value for name, value in environ.items() if name not in _OURS}


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    usec, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    if whose != str(pid) or not (usec.isascii() and usec.isdigit()) or int(usec) == 0:
        return None
    return int(usec) / 1e6 / 2
