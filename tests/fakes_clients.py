"""Visits to a fake target as a client: who is let in, and who is refused.

`tests/contract/test_client_probe.py` holds it to the same promises as the real one.
"""

from collections.abc import Callable
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from certwarden.model import Admission, Answer, ClientTrust, Pair
from tests.fakes_targets import FakeReloader


class FakeClientProbe:
    """Visits the program, which judges by the list that it has loaded; without one, all get in.

    `now` is the program's clock: without it, nothing ever expires. `keeps_sessions` is how nginx is
    with a shared session cache: whoever was let in once gets in again with that session.
    `overrides` are answered first, one for each visit.
    """

    def __init__(self, program: FakeReloader, now: Callable[[], datetime] | None = None) -> None:
        self.program = program
        self.keeps_sessions = False
        self.overrides: list[Answer] = []
        self.visits: list[Pair | None] = []  # by whom, oldest first
        self._now = now

    def visit(self, client: Pair | None) -> "FakeVisit":
        self.visits.append(client)
        return FakeVisit(self, client)

    def receive(self, client: Pair | None) -> Answer:
        """What befalls a client who comes without a session."""
        if self.overrides:
            return self.overrides.pop(0)
        if not self.program.is_running:
            return Answer(Admission.UNKNOWN, "nobody answers")
        if self.program.loaded is None:
            return Answer(Admission.UNKNOWN, "does not come to a handshake")
        objection = self._objection(client, self.program.judges_by)
        if objection:
            return Answer(Admission.REFUSED, f"refused it in the handshake (alert: {objection})")
        return Answer(Admission.LET_IN, "let it in (HTTP 200)")

    def _objection(self, client: Pair | None, trust: ClientTrust | None) -> str:
        if trust is None:
            return ""
        if client is None:
            return "certificate required"
        leaf = x509.load_pem_x509_certificate(client.chain_pem[0])
        try:
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(trust.root_pem))
        except (ValueError, TypeError, InvalidSignature):
            return "unknown ca"
        if client.certificate.serial in trust.crl.serials:
            return "certificate revoked"
        if self._now is None:
            return ""
        now, its = self._now(), client.certificate
        is_valid = its.not_before <= now <= its.not_after and trust.crl.is_current_at(now)
        return "" if is_valid else "certificate expired"


class FakeVisit:
    """One client's visit."""

    def __init__(self, probe: FakeClientProbe, client: Pair | None) -> None:
        self._probe = probe
        self._client = client
        self.answer = probe.receive(client)

    def again(self) -> Answer:
        was_let_in = self.answer.admission is Admission.LET_IN
        if was_let_in and self._probe.keeps_sessions and self._probe.program.is_running:
            return Answer(Admission.LET_IN, "let it in (HTTP 200), in a resumed session")
        return self._probe.receive(self._client)
