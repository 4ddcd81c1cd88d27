"""What a run of the bench has found, as plain values, and the names of its jobs."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

CERTWARDEN, CERTBOT, UACME = "certwarden", "certbot", "uacme"

DELAY = 5.0
MANY = 50

# The jobs, by the names that the tables give them.
FIRST = "first certificate (account, name and wildcard)"
FIRST_DELAYED = f"first certificate, records visible after {DELAY:.0f} s"
NOTHING_DUE = "renew, nothing due, 1 certificate"
NOTHING_DUE_MANY = f"renew, nothing due, {MANY} certificates"
VERSION, HELP, COMPLETION = "--version", "--help", "completion bash"


@dataclass(frozen=True)
class Sample:
    """What one run took: seconds of wall clock and of processor, and MB at its peak."""

    wall: float
    cpu: float
    peak: float


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
    """Every sample by job and client, calls to Cloudflare by client, versions, who is left out."""

    samples: dict[tuple[str, str], tuple[Sample, ...]] = field(default_factory=dict)
    calls: dict[str, tuple[int, ...]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, job: str, client: str, sample: Sample) -> None:
        """Keeps a sample."""
        self.samples[job, client] = (*self.samples.get((job, client), ()), sample)

    def add_calls(self, client: str, calls: int) -> None:
        """Keeps how many calls to Cloudflare one certificate took."""
        self.calls[client] = (*self.calls.get(client, ()), calls)

    def spread(self, job: str, client: str, of: Callable[[Sample], float]) -> Spread | None:
        """One kind of value of all samples, if there are any."""
        samples = self.samples.get((job, client))
        return Spread(tuple(map(of, samples))) if samples else None
