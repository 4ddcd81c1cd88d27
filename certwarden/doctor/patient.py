"""The house as the checks find it: the configuration, its warden, and what was observed once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from certwarden.config import Config
from certwarden.doctor.finding import Finding
from certwarden.doctor.in_time import HANGS, in_time
from certwarden.errors import Error
from certwarden.lifecycle.authority import observe_authority
from certwarden.lifecycle.observe import observe
from certwarden.model import CertificateSpec, Observed, ObservedAuthority, TargetSpec
from certwarden.wiring import Warden

SECONDS = 15.0  # for what `status` looks at, where a probe takes three


@dataclass(frozen=True)
class Patient:
    """What all checks look at; `warden` is read-only, `now` the one instant that all judge by.

    `trouble` is why nothing was observed, where that is so.
    """

    config: Config
    warden: Warden
    now: datetime
    observed: tuple[Observed, ...]
    authority: ObservedAuthority | None
    trouble: Error | None = None

    @property
    def targets(self) -> tuple[tuple[CertificateSpec, TargetSpec], ...]:
        """Every target with the certificate that it is to serve."""
        return tuple(
            (certificate, target)
            for certificate in self.config.certificates
            for target in certificate.targets
        )

    @property
    def domains(self) -> tuple[str, ...]:
        """Every configured name, stars included, once."""
        named = (domain for each in self.config.certificates for domain in each.domains)
        return tuple(dict.fromkeys(named))


Look = Callable[[Patient], Iterable[Finding]]
"""A check: what it finds of the patient."""


def admit(config: Config, warden: Warden) -> Patient:
    """Looks at what is stored, installed and served, as `status` does."""

    def look() -> tuple[tuple[Observed, ...], ObservedAuthority | None]:
        return observe(warden, config.certificates), observe_authority(warden)

    now = warden.clock.now()
    seen = in_time(look, SECONDS, HANGS)
    if isinstance(seen, Error):
        return Patient(config, warden, now, (), None, trouble=seen)
    return Patient(config, warden, now, *seen)
