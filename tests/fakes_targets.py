"""A target without disk, systemd or network: a shelf, the program that reads it, and a look at it.

The three belong together: `FakeReloader` is the program, it takes up what stands on the `FakeShelf`
when it is reloaded, and `FakeProbe` sees what it serves. `tests/contract/test_targets.py` holds the
fakes to the same promises as the real neighbours.

    shelf = FakeShelf()
    program = FakeReloader(shelf)
    probe = FakeProbe(program)
"""

from dataclasses import dataclass

from certwarden.errors import MaterialError, TargetError
from certwarden.model import (
    ClientTrust,
    Installed,
    NoHandshake,
    Pair,
    Seen,
    Served,
    Unreachable,
)
from certwarden.pki.certificate import is_placeholder
from certwarden.pki.crl import read_crl


@dataclass(frozen=True)
class FakeGeneration:
    """What `publish` was given, under its number."""

    number: int
    pair: Pair
    is_placeholder: bool
    trust: ClientTrust | None = None


class FakeShelf:
    """Generations in memory. `standing` is the pair found at the fixed paths before the first.

    `client_auth` says whether the target asks its clients for certificates.
    """

    def __init__(self, standing: Pair | None = None, *, client_auth: bool = False) -> None:
        self.standing = standing
        self.client_auth = client_auth
        self.generations: list[FakeGeneration] = []  # all that were ever published, oldest first
        self.good: FakeGeneration | None = None
        self.is_broken = False  # somebody overwrote one of the files: repaired by the next publish
        self.is_littered = False  # a writer was killed
        self.publish_error: TargetError | None = None  # raised by `publish`, which changes nothing

    @property
    def current(self) -> FakeGeneration | None:
        """The generation that the program would read now."""
        return self.generations[-1] if self.generations and not self.is_broken else None

    def installed(self) -> Installed | None:
        current = self.current
        return _as_installed(current) if current else None

    def publish(self, pair: Pair, trust: ClientTrust | None = None) -> Installed:
        if self.publish_error:
            raise self.publish_error
        judged_by = self._trust(trust) if self.client_auth else None
        number = len(self.generations) + 1
        generation = FakeGeneration(number, pair, is_placeholder(pair), judged_by)
        self.generations.append(generation)
        self.is_broken = False
        return _as_installed(generation)

    def _trust(self, given: ClientTrust | None) -> ClientTrust:
        if given is None:
            if self.current is None or self.current.trust is None:
                raise TargetError("there is no revocation list yet")
            return self.current.trust
        earlier = [each.trust for each in self.generations if each.trust]
        if any(_is_newer(each, given) for each in earlier):
            raise TargetError("the list is older than one that was published before")
        return given

    def is_untidy(self) -> bool:
        return self.is_littered

    def tidy(self) -> None:
        self.is_littered = False

    def confirm(self, number: int) -> None:
        if not 1 <= number <= len(self.generations):
            raise TargetError(f"there is no generation {number:04d}")
        generation = self.generations[number - 1]
        if not generation.is_placeholder:
            self.good = generation

    def last_good(self) -> Pair | None:
        return self.good.pair if self.good else self.standing


class FakeReloader:
    """The target's program. It serves what it has loaded for as long as it is `running`.

    `is_unit` says whether there is a unit to ask. `is_deaf` keeps the old pair through a reload;
    `dies_of` are fingerprints that the program cannot start with; `reload_error` is raised by
    `reload`, which then changes nothing.
    """

    def __init__(self, shelf: FakeShelf, *, is_unit: bool = True, is_running: bool = True) -> None:
        self.shelf = shelf
        self.is_unit = is_unit
        self.is_running = is_running
        self.is_deaf = False
        self.dies_of: set[str] = set()
        self.reload_error: TargetError | None = None
        self.says = ""
        self.reloads = 0
        self.loaded: Pair | None = None
        self.judges_by: ClientTrust | None = None  # whom it lets in, once it was reloaded

    def is_active(self) -> bool | None:
        return self.is_running if self.is_unit else None

    def reload(self) -> None:
        self.reloads += 1
        if self.reload_error:
            raise self.reload_error
        current = self.shelf.current
        if self.is_deaf or current is None:
            return
        self.loaded, self.judges_by = current.pair, current.trust
        self.is_running = current.pair.certificate.fingerprint not in self.dies_of

    def complaint(self) -> str:
        return self.says


class FakeProbe:
    """Sees what the program serves; `overrides` are answered first, one for each look."""

    def __init__(self, program: FakeReloader) -> None:
        self.program = program
        self.overrides: list[Seen] = []
        self.looks = 0

    def look(self) -> Seen:
        self.looks += 1
        if self.overrides:
            return self.overrides.pop(0)
        if not self.program.is_running:
            return Unreachable("nobody answers")
        if self.program.loaded is None:
            return NoHandshake("there is no certificate")
        return Served(self.program.loaded.certificate)


def _is_newer(earlier: ClientTrust, given: ClientTrust) -> bool:
    """Another CA's numbers say nothing; an extended root is the same CA."""
    if earlier.root_pem != given.root_pem:
        try:
            read_crl(earlier.crl.pem, given.root_pem)
        except MaterialError:
            return False
    return earlier.crl.number > given.crl.number


def _as_installed(generation: FakeGeneration) -> Installed:
    return Installed(
        generation.number,
        generation.pair.certificate,
        is_placeholder=generation.is_placeholder,
        trust=generation.trust,
    )
