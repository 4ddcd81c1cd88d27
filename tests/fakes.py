"""The world of the lifecycle without disk, network or systemd: `Neighbours` made of fakes.

Each fake stands in a module of its own beside this one and is held to the real neighbour's
promises by the contract tests.
"""

from certwarden.errors import Error
from certwarden.model import CertificateSpec, Pair, RevocationReason, TargetSpec
from certwarden.ports import Issuer, Probe, Propagation, Reloader, Shelf, Zone
from tests.fakes_store import FakeCertificates, FakeClock, FakeLedger, FakeLocks, RecordingReporter
from tests.fakes_targets import FakeProbe, FakeReloader, FakeShelf


class FakeRevoker:
    """Remembers what it revoked; `failure` is raised instead while it is set."""

    def __init__(self) -> None:
        self.revoked: list[tuple[str, RevocationReason]] = []
        self.failure: Error | None = None

    def revoke(self, directory_url: str, pair: Pair, reason: RevocationReason) -> None:  # noqa: ARG002  the port's
        if self.failure:
            raise self.failure
        self.revoked.append((pair.certificate.fingerprint, reason))


class FakeTarget:
    """A target's shelf, the program that reads it, and the look at it."""

    def __init__(self, spec: TargetSpec, *, is_unit: bool = False) -> None:
        self.spec = spec
        self.shelf = FakeShelf()
        self.program = FakeReloader(self.shelf, is_unit=is_unit)
        self.probe = FakeProbe(self.program)


class FakeWorld:
    """`ports.Neighbours`; a test reaches every fake as an attribute."""

    def __init__(
        self,
        *specs: CertificateSpec,
        issuer: Issuer | None = None,
        staging: Issuer | None = None,
        zone: Zone | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.reporter = RecordingReporter()
        self.certificates = FakeCertificates()
        self.ledger = FakeLedger()
        self.attempts = self.journal = self.revocations = self.ledger
        self.deploys = self.history = self.ledger
        self.locks = FakeLocks()
        self.revokers = FakeRevoker()
        self.targets = {t.name: FakeTarget(t) for spec in specs for t in spec.targets}
        self._issuer, self._staging, self._zone = issuer, staging, zone
        self._propagation = propagation

    def issuer(self) -> Issuer:
        assert self._issuer is not None, "this pass was not to speak to the CA"
        return self._issuer

    def staging_issuer(self) -> Issuer | None:
        return self._staging

    def revoker(self) -> FakeRevoker:
        return self.revokers

    def zone(self) -> Zone:
        assert self._zone is not None, "this pass was not to speak to the DNS provider"
        return self._zone

    def propagation(self) -> Propagation:
        assert self._propagation is not None
        return self._propagation

    def shelf(self, target: str) -> Shelf:
        return self.targets[target].shelf

    def reloader(self, target: str) -> Reloader:
        return self.targets[target].program

    def probe(self, target: str) -> Probe | None:
        fake = self.targets[target]
        return fake.probe if fake.spec.probe else None
