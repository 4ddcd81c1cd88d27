"""The house that the lifecycle's tests live in: all fakes in reach, and certificates wanted.

house = House(a_certificate_spec(), staging=True)
house.issuer.fail("place", IssuerError("refused"))
assert not house.run().is_good
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Self

from certwarden.lifecycle.observe import observe
from certwarden.lifecycle.obtain import Desk, Obtained, obtain
from certwarden.lifecycle.reconcile import PassResult, Wish, reconcile
from certwarden.lifecycle.retry import Try
from certwarden.model import (
    Attempt,
    CertificateSpec,
    MaintenanceWindow,
    Observed,
    Policy,
    Stored,
    TokenCheck,
)
from certwarden.ports import Level
from tests.builders import DIRECTORY, a_certificate_spec
from tests.fakes import FakeWorld
from tests.fakes_issuer import FakeIssuer
from tests.fakes_store import FakeClock
from tests.fakes_watch import FakeMessenger
from tests.fakes_zone import FakeCaaRecords, FakePropagation, FakeZone

STAGING = "https://staging.example/directory"
FALLBACK = "https://fallback.example/directory"


class House:
    """A world with all fakes in reach. Time goes by as `after` says, or while somebody waits.

    `limits` has the CA's limits counted, `staging` has tries prove themselves. A fallback CA is
    there for the specs that name it.
    """

    def __init__(
        self,
        *specs: CertificateSpec,
        limits: bool = False,
        staging: bool = False,
        window: MaintenanceWindow | None = None,
        lifetime: timedelta = timedelta(days=90),
    ) -> None:
        self.specs = list(specs) or [a_certificate_spec()]
        clock = FakeClock()
        self.issuer = FakeIssuer(clock, lifetime=lifetime)
        self.staging = FakeIssuer(clock, STAGING, lifetime=lifetime)
        self.fallback = FakeIssuer(clock, FALLBACK, lifetime=lifetime)
        self.zone, self.propagation, self.caa = FakeZone(), FakePropagation(), FakeCaaRecords()
        self.messenger = FakeMessenger()
        self.world = FakeWorld(
            *self.specs,
            issuer=self.issuer,
            staging=self.staging if staging else None,
            fallbacks=[self.fallback],
            zone=self.zone,
            propagation=self.propagation,
            caa=self.caa,
            messenger=self.messenger,
            policy=Policy(
                limited=frozenset({DIRECTORY}) if limits else frozenset(),
                staging_urls={DIRECTORY: STAGING} if staging else {},
                maintenance=window,
            ),
        )
        for issuer in (self.issuer, self.staging, self.fallback):
            issuer.clock = self.world.clock
        # The token was looked at just now, so that a pass asks the provider for orders only.
        self.world.watch.check = TokenCheck(self.now, "")

    @property
    def spec(self) -> CertificateSpec:
        """The first certificate, which most tests are about."""
        return self.specs[0]

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    def after(self, duration: timedelta) -> Self:
        """The same, later."""
        self.world.clock.advance(duration)
        return self

    def at(self, instant: datetime) -> Self:
        """The same, at that instant."""
        return self.after(instant - self.now)

    def run(
        self,
        *,
        force: Collection[str] = (),
        named: Collection[str] = (),
        is_deploying: bool = True,
        is_whole: bool = True,
    ) -> PassResult:
        """A pass over all certificates."""
        wish = Wish(force, named, is_deploying=is_deploying, is_whole=is_whole)
        return reconcile(self.world, self.specs, wish)

    def seen(self, spec: CertificateSpec | None = None) -> Observed:
        """What is found for a certificate."""
        (seen,) = observe(self.world, [spec or self.spec])
        return seen

    def obtain(
        self,
        *,
        spec: CertificateSpec | None = None,
        directory_url: str = DIRECTORY,
        is_proving: bool = False,
    ) -> Obtained:
        """One attempt at the certificate, whatever a plan says."""
        wanted = Try(self.now, directory_url, is_proving=is_proving)
        return obtain(Desk(self.world), self.seen(spec), wanted, self.now)

    def put(self, stored: Stored, *, is_used: bool = True) -> Stored:
        """The version is stored already and, unless said otherwise, in use at all targets."""
        self.world.certificates.versions.setdefault(stored.name, []).append(stored)
        for spec in self.specs:
            for each in spec.targets if is_used and spec.name == stored.name else ():
                target = self.world.targets[each.name]
                target.shelf.confirm(target.shelf.publish(stored.pair).number)
                target.program.loaded = stored.pair
        return stored

    def stored(self, name: str = "home") -> Stored:
        stored = self.world.certificates.load(name)
        assert stored is not None
        return stored

    @property
    def attempts(self) -> Sequence[Attempt]:
        return self.world.ledger.attempts

    @property
    def errors(self) -> list[str]:
        return self.world.reporter.texts(Level.ERROR)

    @property
    def warnings(self) -> list[str]:
        return self.world.reporter.texts(Level.WARNING)

    def has_no_litter(self) -> bool:
        return not self.zone.records and not self.world.ledger.leftovers()
