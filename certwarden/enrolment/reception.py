"""Receives who comes with an invitation: the listener, the page and EST before the private CA.

Owns how the parts are put together, and nothing that any of them decides. The command and the
service differ in whose the listening socket is, and in when it is over.
"""

import socket
from collections.abc import Callable, Sequence

from certwarden.enrolment.front import Doors, Front
from certwarden.enrolment.listener import listen
from certwarden.enrolment.tls import Contexts
from certwarden.errors import Error
from certwarden.lifecycle.authority import SUBJECT, required_root
from certwarden.lifecycle.invite import redeem, redeem_by_certificate
from certwarden.lifecycle.issue import IssuedClient
from certwarden.model import CertificateSpec, Secret
from certwarden.ports import Level, Neighbours


class Reception:
    """Made before anybody is invited, so that what cannot work is refused by then.

    Raises UsageError where there is no CA, StoreError and MaterialError where there is no server
    certificate for the host.
    """

    def __init__(self, world: Neighbours, specs: Sequence[CertificateSpec], host: str) -> None:
        root = required_root(world)
        doors = Doors(self._redeem, self._reenrol, self._tell)
        self._world = world
        self._front = Front(doors, authority_name=root.name, root_pem=root.pem)
        self._contexts = Contexts(world, specs, host)

    def receive(
        self, door: socket.socket, is_over: Callable[[], bool], *, idle: float | None = None
    ) -> None:
        """Serves on the listening socket until it is over, or nobody came for `idle` seconds."""
        listen(
            door,
            self._contexts,
            self._front.answer,
            is_over=is_over,
            idle=idle,
            report=lambda text: self._tell(Error(text)),
        )

    def _redeem(self, token: Secret, csr: bytes | None) -> IssuedClient:
        return redeem(self._world, token, csr=csr)

    def _reenrol(self, serial: str, csr: bytes) -> IssuedClient:
        return redeem_by_certificate(self._world, serial, csr)

    def _tell(self, error: Error) -> None:
        self._world.reporter.event(Level.ERROR, SUBJECT, error.what, error.hint)
