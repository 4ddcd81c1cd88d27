"""Permanent errors: what their cause looked like, and whether it is still there (invariant 4).

A look costs the CA nothing: the API token is verified, CAA records are read from DNS. Where there
is nothing cheaper to look at than a try itself, the try is made.
"""

from certwarden.errors import Error, IssuerError, ZoneError
from certwarden.model import Attempt, Cause, CertificateSpec
from certwarden.ports import Neighbours


def evidence_of(world: Neighbours, cause: Cause | None, spec: CertificateSpec) -> str:
    """What the cause looks like now, to be compared with what it looks like later."""
    return world.caa_records().look(spec.domains) if cause is Cause.CAA else ""


def still_there(world: Neighbours, spec: CertificateSpec, failure: Attempt) -> Error | None:
    """Looks at the cause of the failure again: the error that still stands, or None."""
    if failure.cause is Cause.TOKEN:
        try:
            zone = world.zone()
            zone.verify()
            zone.locate([f"_acme-challenge.{name}" for name in _base_names(spec)])
        except ZoneError as error:
            return error
    if failure.cause is Cause.CAA and world.caa_records().look(spec.domains) == failure.evidence:
        return IssuerError(failure.what, failure.hint, problem="caa", permanent=True)
    return None


def _base_names(spec: CertificateSpec) -> list[str]:
    return list(dict.fromkeys(domain.removeprefix("*.") for domain in spec.domains))
