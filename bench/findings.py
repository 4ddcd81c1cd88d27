"""What a run of the bench has found, as plain values, and the names of its jobs."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

CERTWARDEN, CERTBOT, UACME, OPENSSL = "certwarden", "certbot", "uacme", "openssl"

DELAY = 5.0
MANY = 50
SAMPLED = 5  # of those, for a client that is too slow to wait for

CLIENTS = 1000  # to be issued in bulk
FEW, ENTRIES, MOST_ENTRIES = 10, 10_000, 100_000  # of a revocation list

HOURS_BETWEEN_PASSES = 6  # of the daemon's, as it is configured without a word

# The jobs, by the names that the tables give them.
FIRST = "first certificate (account, name and wildcard)"
FIRST_DELAYED = f"first certificate, records visible after {DELAY:.0f} s"
ONE_DUE = "renew, 1 certificate due"
SAMPLED_DUE = f"renew, {SAMPLED} certificates due"
MANY_DUE = f"renew, {MANY} certificates due"
MANY_DUE_DELAYED = f"renew, {MANY} certificates due, records visible after {DELAY:.0f} s"
NOTHING_DUE = "renew, nothing due, 1 certificate"
NOTHING_DUE_MANY = f"renew, nothing due, {MANY} certificates"
NOTHING_DUE_CA = f"{NOTHING_DUE}, private CA"
CLIENTS_ISSUED = f"{CLIENTS:,} client certificates, key and certificate in PEM"
VERSION, HELP, COMPLETION = "--version", "--help", "completion bash"


def revocation(entries: int) -> str:
    """The job of revoking one client more, where so many are revoked already."""
    return f"client revoke, {entries:,} in the list"


@dataclass(frozen=True)
class Sample:
    """What one run took: seconds of wall clock and of processor, and MB at its peak."""

    wall: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Idleness:
    """What a daemon takes that has nothing to do.

    Resident memory in MB; bytes written for its start and a first pass, and then per idle hour.
    """

    resident: float
    written_at_first: float
    written_per_hour: float

    @property
    def written_per_day(self) -> float:
        """MB, of the passes of a day and of the hours between them; a start counts as a pass."""
        passes = 24 / HOURS_BETWEEN_PASSES
        return (passes * self.written_at_first + 24 * self.written_per_hour) / 1e6


@dataclass(frozen=True)
class Spread:
    """Several measured values of one kind."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest."""
        return max(self.values)


@dataclass
class Findings:
    """Every sample, and its calls to Cloudflare, by job and client; versions; who is left out."""

    samples: dict[tuple[str, str], tuple[Sample, ...]] = field(default_factory=dict)
    calls: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    idleness: list[Idleness] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, job: str, client: str, sample: Sample) -> None:
        """Keeps a sample."""
        self.samples[job, client] = (*self.samples.get((job, client), ()), sample)

    def add_calls(self, job: str, client: str, calls: int) -> None:
        """Keeps how many calls to Cloudflare a run took."""
        self.calls[job, client] = (*self.calls.get((job, client), ()), calls)

    def spread(self, job: str, client: str, of: Callable[[Sample], float]) -> Spread | None:
        """One kind of value of all samples, if there are any."""
        samples = self.samples.get((job, client))
        return Spread(tuple(map(of, samples))) if samples else None
