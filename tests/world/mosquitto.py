"""A real mosquitto, and as much of MQTT as it takes to be let in.

Owns the configuration round what is pasted into it, how Debian's unit reloads it, and the first
packets of MQTT 3.1.1.
"""

import os
import re
import secrets
import signal
from collections.abc import Sequence
from typing import ClassVar, Self

from tests.world.clients import Visitor
from tests.world.service import IS_ROOT, Service

_CONFIG = """\
{user}
log_dest stderr
log_type all
persistence false
{text}
"""
# MQTT 3.1.1 section 3.1: a clean session, kept alive for a minute; the client's id comes last.
_CONNECT = b"\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08"
_PINGREQ, _PINGRESP = b"\xc0\x00", b"\xd0\x00"


class Mosquitto(Service):
    """mosquitto with `text` in its configuration."""

    name: ClassVar[str] = "mosquitto"

    def _whole(self, text: str) -> str:
        text = re.sub(r"(?m)^listener (\d+)$", r"listener \1 127.0.0.1", text)
        return _CONFIG.format(user="user root" if IS_ROOT else "", text=text)

    def _command(self) -> Sequence[str]:
        return (str(self._program), "-c", str(self.config))

    def _is_ready(self, said: str) -> bool:
        # It listens before it knows any signal, and would die of the first.
        return re.search(r"mosquitto version \S+ running", said) is not None

    def check(self) -> str:
        """Nothing: it cannot say anything of a configuration but by starting with it."""
        return ""

    def reload(self) -> None:
        """SIGHUP; whatever it thinks of the new files, the reload has then succeeded."""
        os.kill(self.pid, signal.SIGHUP)


class MqttConnection:
    """A client's connection to a broker, from its CONNECT on."""

    def __init__(self, visitor: Visitor) -> None:
        """Raises OSError where there was no TLS, or no answer by it."""
        self._secured = visitor.connect()
        try:
            # An id of its own: who comes with another's takes its place.
            self._secured.sendall(_CONNECT + secrets.token_hex(4).encode())
            reply = self._secured.recv(4)
        except BaseException:
            self._secured.close()
            raise
        # Section 3.2: CONNACK, two bytes that follow, flags, and the return code.
        self.return_code = reply[3] if reply[:2] == b"\x20\x02" and len(reply) == 4 else None
        self.was_resumed = bool(self._secured.session_reused)
        visitor.keep_session(self._secured)

    def is_open(self) -> bool:
        """Whether the broker still answers on it."""
        try:
            self._secured.sendall(_PINGREQ)
            return self._secured.recv(2) == _PINGRESP
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._secured.close()


def is_let_in(visitor: Visitor) -> bool:
    """Whether the broker answers CONNECT with any CONNACK."""
    try:
        with MqttConnection(visitor) as connection:
            return connection.return_code is not None
    except OSError:
        return False
