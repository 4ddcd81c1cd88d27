"""Looks at what a target shows to strangers beside its leaf: its chain, and doors around it.

Verifies nothing, and says nothing that a stranger could not say.
"""

import contextlib
import ipaddress
import re
import ssl
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from certwarden.errors import TargetError
from certwarden.model import Address
from certwarden.targets.connection import Channel, build_context, connect

_ENCODING_DER = 2  # of Python's own _ssl: its public name came with Python 3.13
_LISTENING = "0A"  # proc_pid_net(5)
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_HEAD_BYTES = 8192
_HEAD_END = b"\r\n\r\n"
_ANSWER = re.compile(rb"HTTP/[0-9.]+ [0-9]{3}")
# 400 is what a port for TLS answers to a plain request: that of nginx, Apache, or a program in Go.
_ASKS_FOR_TLS = re.compile(
    rb"HTTP/\S+ (?:400|3[0-9]{2}\b.*^location:\s*https:)", re.DOTALL | re.IGNORECASE | re.MULTILINE
)


def served_chain(address: Address, server_name: str, timeout: float = 3.0) -> tuple[bytes, ...]:
    """The certificates that are shown in a handshake, in DER, the leaf first; () if none are."""
    deadline = time.monotonic() + timeout
    try:
        with connect(address, deadline) as connection:
            return _chain(Channel(connection, deadline), server_name)
    except (TargetError, OSError, ValueError, TypeError):
        return ()


def _chain(channel: Channel, server_name: str) -> tuple[bytes, ...]:
    tls = channel.wrap(build_context(), server_name)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            if shown := _shown(tls):
                return shown
            channel.send()
            channel.receive()
        else:
            return _shown(tls)


def _shown(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """Python 3.13 has this in public, 3.11 not yet."""
    chain = cast("Any", tls)._sslobj.get_unverified_chain()  # noqa: SLF001  # see the docstring
    return tuple(each.public_bytes(_ENCODING_DER) for each in chain or ())


@dataclass(frozen=True)
class Listener:
    """A socket of this machine that is open to others; `reached` is how we get to it ourselves."""

    bound: Address
    reached: Address


def exposed(ports: Collection[int]) -> tuple[Listener, ...]:
    """Where somebody listens at one of these ports, and not for this machine alone."""
    found: dict[Address, Listener] = {}
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for bound in _listening(lines):
            if bound.port in ports and not bound.is_loopback:
                found[bound] = Listener(bound, _reached(bound))
    return tuple(found.values())


def speaks_plain_http(address: Address, timeout: float = 2.0) -> bool:
    """Whether an HTTP request is answered there without TLS.

    Not where it is called a bad one, or sent to HTTPS: so does a proxy that listens there itself.
    """
    head = _head_of_answer(address, time.monotonic() + timeout)
    return bool(_ANSWER.match(head)) and not _ASKS_FOR_TLS.match(head)


def _head_of_answer(address: Address, deadline: float) -> bytes:
    """What is heard of it by then."""
    head = b""
    with contextlib.suppress(TargetError, OSError), connect(address, deadline) as connection:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        connection.sendall(_REQUEST)
        while _HEAD_END not in head and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            piece = connection.recv(_HEAD_BYTES)
            if not piece or len(head) > _HEAD_BYTES:
                break
            head += piece
    return head.partition(_HEAD_END)[0]


def _listening(lines: Collection[str]) -> Iterator[Address]:
    for line in lines:
        _, local, _, state, *_ = line.split()
        if state == _LISTENING:
            host, port = local.split(":")
            yield Address(_host(bytes.fromhex(host)), int(port, 16))


def _host(raw: bytes) -> str:
    """The table has the address as words of 32 bits, in the machine's order of bytes."""
    words = (int.from_bytes(raw[i : i + 4], "big") for i in range(0, len(raw), 4))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _reached(bound: Address) -> Address:
    if bound.host == "::":
        return Address("::1", bound.port)
    return Address("127.0.0.1", bound.port) if bound.host == "0.0.0.0" else bound  # noqa: S104  # it is told, not bound
