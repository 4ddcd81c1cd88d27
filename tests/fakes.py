"""The world of the lifecycle without disk, network or systemd: `Neighbours` made of fakes.

Each fake stands in a module of its own beside this one and is held to the real neighbour's
promises by the contract tests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from certwarden.errors import Error, LockedError
from certwarden.model import (
    AuthoritySpec,
    CertificateSpec,
    Pair,
    Policy,
    RevocationReason,
    TargetSpec,
)
from certwarden.pki.keys import PrivateKey
from certwarden.ports import (
    Archive,
    Belongings,
    CaaRecords,
    ClientProbe,
    Issuer,
    Messenger,
    Metrics,
    Probe,
    Propagation,
    Reloader,
    Safe,
    Shelf,
    Zone,
)
from tests.fakes_authority import FakeAuthority, FakeBelongings, a_proof_book, the_books
from tests.fakes_clients import FakeClientProbe
from tests.fakes_issuer import FakeRenewalInfos
from tests.fakes_store import FakeCertificates, FakeClock, FakeLedger, FakeLocks, RecordingReporter
from tests.fakes_targets import FakeProbe, FakeReloader, FakeShelf
from tests.fakes_watch import FakeDoor, FakeTimeSources
from tests.fakes_zone import FakeCaaRecords


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
    """A target's shelf, the program that reads it, the look at it, and the visits to it."""

    def __init__(
        self,
        spec: TargetSpec,
        *,
        is_unit: bool = False,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.spec = spec
        self.shelf = FakeShelf(client_auth=spec.client_auth)
        self.program = FakeReloader(self.shelf, is_unit=is_unit)
        self.probe = FakeProbe(self.program)
        self.clients = FakeClientProbe(self.program, now)
        self.sightings: dict[str, datetime] | None = None


class FakeMetrics:
    """Remembers what was written last."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text


class FakeWorld:
    """`ports.Neighbours`; a test reaches every fake as an attribute.

    `fallbacks` are further CAs, which answer at their own directory URLs; `setups` what the digest
    of a certificate's configuration is, where it is not "".
    """

    archive: Archive  # only a machine with a disk has one: see lifecycle/machine.py

    def __init__(
        self,
        *specs: CertificateSpec,
        issuer: Issuer | None = None,
        staging: Issuer | None = None,
        zone: Zone | None = None,
        propagation: Propagation | None = None,
        fallbacks: Sequence[Issuer] = (),
        policy: Policy | None = None,
        caa: CaaRecords | None = None,
        messenger: Messenger | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.reporter = RecordingReporter()
        self.certificates = FakeCertificates()
        self.ledger = FakeLedger()
        self.attempts = self.journal = self.revocations = self.ledger
        self.deploys = self.history = self.ledger
        self.limits, self.suggestions = self.ledger.limits, self.ledger.suggestions
        self.watch = self.ledger.watch
        self.time_sources = FakeTimeSources()
        self.policy = policy or Policy()
        self.infos = FakeRenewalInfos()
        self.setups: dict[str | None, str] = {}
        self.metric = FakeMetrics()
        self.doors = FakeDoor()
        self.locks = FakeLocks()
        self.calls = 0  # for the daemon
        self.authority = FakeAuthority()
        self.register, self.invitations = the_books()
        self.proofs = a_proof_book()
        self.authority_spec: AuthoritySpec | None = None
        self.key: PrivateKey | None = None  # the private CA's; without it there is no passphrase
        self.revokers = FakeRevoker()
        self.targets = {
            t.name: FakeTarget(t, now=self.clock.now) for spec in specs for t in spec.targets
        }
        self.belongings: Belongings = FakeBelongings(self._lists)
        self._issuer, self._staging, self._zone = issuer, staging, zone
        self._propagation = propagation
        self._fallbacks = {each.directory_url: each for each in fallbacks}
        self._caa = caa or FakeCaaRecords()
        self._messenger = messenger

    def setup(self, certificate: str | None) -> str:
        return self.setups.get(certificate, "")

    def issuer(self, directory_url: str) -> Issuer:
        issuer = self._fallbacks.get(directory_url, self._issuer)
        assert issuer is not None, "this pass was not to speak to the CA"
        assert issuer.directory_url == directory_url
        return issuer

    def renewal_infos(self) -> FakeRenewalInfos:
        return self.infos

    def caa_records(self) -> CaaRecords:
        return self._caa

    def messenger(self) -> Messenger | None:
        return self._messenger

    def metrics(self) -> Metrics | None:
        return self.metric

    def door(self) -> FakeDoor | None:
        spec = self.authority_spec
        return self.doors if spec is not None and spec.invite_listen is not None else None

    def staging_issuer(self, directory_url: str) -> Issuer | None:  # noqa: ARG002 - there is one
        return self._staging

    def _lists(self) -> Iterator[bytes]:
        """Those that are installed at the targets."""
        for target in self.targets.values():
            current = target.shelf.current
            if current is not None and current.trust is not None:
                yield current.trust.crl.pem

    def call_daemon(self) -> None:
        self.calls += 1

    def safe(self) -> Safe | None:
        return None

    def signing_key(self) -> PrivateKey:
        if self.key is None:
            raise LockedError("the private CA is locked", "run it on a terminal")
        return self.key

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

    def client_probe(self, target: str) -> ClientProbe | None:
        fake = self.targets[target]
        return fake.clients if fake.spec.probe else None

    def sightings(self, target: str) -> Mapping[str, datetime] | None:
        return self.targets[target].sightings

    def probe(self, target: str) -> Probe | None:
        fake = self.targets[target]
        return fake.probe if fake.spec.probe else None
