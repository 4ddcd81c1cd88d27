"""Where an invitation is served: under which name, at which address, and who can come there.

Decides by what the names lead to, which whoever calls has asked. Opens the listening socket; serves
nothing itself.
"""

import errno
import ipaddress
import socket
from collections.abc import Mapping, Sequence

from certwarden.errors import UsageError
from certwarden.model import Address

DEFAULT_PORT = 8443

_BACKLOG = 64
_UNSPECIFIED = "0.0.0.0"  # noqa: S104 - said, and warned of, where it comes to that
# Documentation's (RFC 5737, RFC 3849): nothing is sent there, only the route is looked up.
_OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_DISCARD_PORT = 9


def choose_host(
    candidates: Sequence[str], led: Mapping[str, Sequence[str]], ours: Sequence[str]
) -> str:
    """The first name that leads to this machine, else the first; `led` has each one's addresses.

    Raises UsageError where there is none.
    """
    if not candidates:
        raise UsageError(
            "it is not clear under which name this machine is to be reached",
            "name one that a stored certificate is for: --host NAME",
        )
    return next((each for each in candidates if set(led[each]) & set(ours)), candidates[0])


def astray(host: str, led: Sequence[str], ours: Sequence[str]) -> str:
    """What to warn of where the name leads elsewhere or nowhere; "" where it leads here."""
    if any(each in ours or ipaddress.ip_address(each).is_loopback for each in led):
        return ""
    where = f"leads to {led[0]}, and not to this machine" if led else "leads nowhere"
    return f"{host} {where}, as far as can be told here: devices may not find it"


def lan_address(led: Sequence[str], ours: Sequence[str]) -> str:
    """The address of ours that the name leads to, else the one that the way out begins at."""
    here = (each for each in led if each in ours)
    return next(here, "") or _source() or _UNSPECIFIED


def reach(address: str, ours: Sequence[str]) -> str:
    """What to warn of, where it is not the house that comes to this address; "" where it is."""
    here = ipaddress.ip_address(address)
    if here.is_loopback:
        return "only programs on this machine reach it there"
    reached = [ipaddress.ip_address(each) for each in ours] if here.is_unspecified else [here]
    if any(each.is_global for each in reached if here.version in (6, each.version)):
        return (
            "this address is public: while the invitation is open, all the world can come there, "
            "unless a firewall keeps it out"
        )
    return ""


def open_door(address: Address, *, is_fixed: bool) -> socket.socket:
    """A listening socket there; raises UsageError where there can be none.

    Where the port is taken, and not fixed, it is any that is free.
    """
    try:
        return _listening(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and not is_fixed:
            return _listening(Address(address.host, 0))
        advice = {
            errno.EACCES: "choose a port from 1024 on: --listen ADDRESS:PORT",
            errno.EADDRINUSE: "choose another port, or 0 for any that is free",
            errno.EADDRNOTAVAIL: "choose an address of this machine, as `ip address` shows them",
        }
        raise UsageError(
            f"nobody can listen at {address}: {error.strerror}",
            advice.get(error.errno or 0, "choose another one: --listen ADDRESS:PORT"),
        ) from None


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address.host, address.port))
        door.listen(_BACKLOG)
    except BaseException:
        door.close()
        raise
    return door


def _source() -> str:
    """The address by which this machine goes out; "" where there is no way out."""
    for family, destination in _OUTSIDE:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((destination, _DISCARD_PORT))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return ""
