"""Facts for the pure functions: plausible values without keys, quick enough for many thousands."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from certwarden.errors import Error
from certwarden.model import (
    Attempt,
    AttemptOutcome,
    Cause,
    Certificate,
    Draft,
    KeyType,
    Observed,
    ObservedTarget,
    Pair,
    RenewalInfo,
    RenewalWindow,
    Secret,
    Spent,
    Stored,
)
from tests.builders import DIRECTORY, DOMAINS, NOW, a_certificate_spec, an_attempt

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
NETWORK = Error("the CA could not be reached", "check the network")


def a_leaf(
    lifetime: timedelta = 90 * DAY, *, start: datetime = NOW, fingerprint: str = "ab" * 32
) -> Certificate:
    return Certificate(DOMAINS, "0a", fingerprint, "Plausible E7", start, start + lifetime)


def a_version(
    lifetime: timedelta = 90 * DAY,
    *,
    start: datetime = NOW,
    obtained_at: datetime | None = None,
    fingerprint: str = "ab" * 32,
    directory_url: str = DIRECTORY,
) -> Stored:
    """A version in the store, obtained when its life began unless said otherwise."""
    leaf = a_leaf(lifetime, start=start, fingerprint=fingerprint)
    return Stored(
        name="home",
        version=1,
        pair=Pair(Secret(b""), (b"",), leaf),
        domains=DOMAINS,
        key_type=KeyType.ECDSA_P256,
        profile=None,
        directory_url=directory_url,
        obtained_at=start if obtained_at is None else obtained_at,
    )


def found(
    stored: Stored | None,
    *targets: ObservedTarget,
    failures: Sequence[Attempt] = (),
    window: RenewalWindow | None = None,
    spent: Spent | None = None,
    draft: Draft | None = None,
    setup: str = "",
    fallback_urls: Sequence[str] = (),
) -> Observed:
    """A certificate as found, wanted as it is stored; failures newest first."""
    spec = a_certificate_spec(
        targets=[target.spec for target in targets], fallback_urls=fallback_urls
    )
    info = None
    if stored is not None and window is not None:
        fingerprint = stored.certificate.fingerprint
        info = RenewalInfo(fingerprint, window, stored.obtained_at, stored.obtained_at + 6 * HOUR)
    books: Mapping[str, Spent] = {DIRECTORY: spent} if spent is not None else {}
    return Observed(
        spec,
        stored,
        draft,
        targets,
        tuple(failures),
        info=info,
        spent=books,
        setup=setup,
    )


def failed(
    *begun_at: datetime,
    error: Error = NETWORK,
    cause: Cause | None = None,
    directory_url: str = DIRECTORY,
    setup: str = "",
) -> list[Attempt]:
    """Attempts that failed a second after they began, newest first, whatever the order given."""
    return [
        an_attempt(
            number=number,
            begun_at=instant,
            error=error,
            cause=cause,
            directory_url=directory_url,
            setup=setup,
        )
        for number, instant in reversed(list(enumerate(sorted(begun_at), 1)))
    ]


def cut_short(number: int, begun_at: datetime) -> Attempt:
    """An attempt that a kill ended."""
    return an_attempt(number=number, begun_at=begun_at, outcome=AttemptOutcome.BEGUN)
