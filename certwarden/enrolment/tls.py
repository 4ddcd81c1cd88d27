"""How the listener shows that it is the house: by a server certificate of the store.

Phones trust that at once, as it comes from a public CA. Clients are asked for certificates of the
private CA only while an EST invitation is open: others would be bothered with a choice that leads
nowhere. Owns the contexts, and when they are made anew.
"""

import contextlib
import ssl
from collections.abc import Sequence

from certwarden.errors import Error, MaterialError, StoreError
from certwarden.files import in_memory
from certwarden.lifecycle.authority import client_trust
from certwarden.lifecycle.links import certificate_for
from certwarden.model import CertificateSpec, ClientTrust, Enrolment, Pair, Stored
from certwarden.ports import Neighbours

LOOK_INTERVAL = 1.0  # seconds, for whether clients are to be asked
READ_INTERVAL = 60.0  # seconds, for a renewed certificate or a newer list


def servable(world: Neighbours, specs: Sequence[CertificateSpec]) -> dict[str, Stored]:
    """The stored server certificates that are valid now, by their names in the configuration."""
    now = world.clock.now()
    stored = {spec.name: world.certificates.load(spec.name) for spec in specs}
    return {
        name: each for name, each in stored.items() if each and each.certificate.is_valid_at(now)
    }


class Contexts:
    """What a connection is to be received with; called for each, in one thread.

    Each gets a context of its own. In a shared one OpenSSL keeps the sessions of TLS 1.2, 20,000 of
    them, and takes them up again without a look at the list; Python cannot keep it from that.

    What cannot be read later on leaves in force what was read last. Made raises StoreError where
    nothing stored is for the host, MaterialError where it cannot be used.
    """

    def __init__(self, world: Neighbours, specs: Sequence[CertificateSpec], host: str) -> None:
        self._world = world
        self._specs = specs
        self._host = host
        self._is_asking = self._is_to_ask()
        self._made_of = self._read()
        build_context(*self._made_of)  # what OpenSSL will not have is refused now
        self._read_at = world.clock.monotonic()
        self._looked_at = self._read_at - LOOK_INTERVAL  # the first may be invited only now

    def __call__(self) -> ssl.SSLContext:
        """The context that is right now."""
        now = self._world.clock.monotonic()
        if now - self._looked_at >= LOOK_INTERVAL:
            self._looked_at = now
            with contextlib.suppress(Error):
                self._look(now)
        return build_context(*self._made_of)

    def _look(self, now: float) -> None:
        is_to_ask = self._is_to_ask()
        if is_to_ask == self._is_asking and now - self._read_at < READ_INTERVAL:
            return
        self._is_asking, self._read_at = is_to_ask, now
        made_of = self._read()
        if made_of != self._made_of:
            build_context(*made_of)
            self._made_of = made_of

    def _is_to_ask(self) -> bool:
        open_ones = self._world.invitations.open(self._world.clock.now())
        return any(each.enrolment is Enrolment.EST for each in open_ones)

    def _read(self) -> tuple[Pair, ClientTrust | None]:
        stored = certificate_for(self._host, servable(self._world, self._specs))
        if stored is None:
            raise StoreError(
                f"there is no stored certificate that is valid for {self._host}",
                "see `certwarden status`",
            )
        trust = client_trust(self._world, self._world.clock.now()) if self._is_asking else None
        return stored.pair, trust


def build_context(pair: Pair, trust: ClientTrust | None) -> ssl.SSLContext:
    """Serves by the pair; with `trust`, clients are asked for a certificate, and may have none.

    It gives no tickets, so that in TLS 1.3 there is no resumption. Raises MaterialError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    try:
        with in_memory("certwarden-server", pair.key_pem.reveal() + pair.fullchain_pem) as path:
            context.load_cert_chain(path)
        if trust is not None:
            with in_memory("certwarden-clients", trust.root_pem + trust.crl.pem) as path:
                context.load_verify_locations(path)
            context.verify_mode = ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise MaterialError(f"the server certificate cannot be used: {why}") from None
    return context
