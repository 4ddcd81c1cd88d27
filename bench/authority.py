"""A house with a private CA, for the bench: founded, with clients, and with a book that is full.

Owns command lines and the filling of the register; measures nothing.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.clients import Certwarden
from bench.measure import Command
from certwarden.model import ClientCertificate, RevocationReason
from certwarden.pki.authority import new_serial
from certwarden.store.ledger import Ledger
from tests.world import World
from tests.world.house import House
from tests.world.turnstile import Turnstile

_SECTION = """
[authority]
name = "Home client CA"
passphrase_file = "ca.passphrase"
"""
# As where the system says so itself: else the CA's Date is asked for before anything is signed.
_CLOCK = """
[clock]
trust = "always"
"""
_TARGET = """
  [[certificate.target]]
  name = "gate"
  kind = "files"
  probe = "{address}"
  client_auth = true
"""


class Authority:
    """Commands of ours in one home; with a `gate`, that lets in only this CA's clients."""

    def __init__(
        self, ours: Certwarden, world: World, home: Path, gate: Turnstile | None = None
    ) -> None:
        self._ours = ours
        # At the gate it is compared with a pass that has to find out about the clock itself.
        rest = _TARGET.format(address=gate.address) if gate else _CLOCK
        house = House(world, home, rest + _SECTION)
        self._config, self._state = house.config, house.state
        self._home = home
        if gate is not None:
            gate.live = house.state / "live" / "gate"

    def found(self) -> Command:
        """Makes the CA."""
        return self._command("ca", "init")

    def renew(self) -> Command:
        """A pass."""
        return self._command("renew")

    def issue(self, count: int) -> Command:
        """So many client certificates, called client0 and so on, each with its own password."""
        names = self._home / "names"
        names.write_text("".join(f"client{number}\n" for number in range(count)))
        options = ["--from", names, "--out", self._home / "out", "--format", "pem"]
        options += ["--password-file", self._home / "passwords"]
        return self._command("client", "issue", *map(str, options))

    def issued(self) -> list[Path]:
        """The files that are there."""
        return sorted((self._home / "out").glob("*.pem"))

    def revoke(self, number: int) -> Command:
        """Revokes the client of that number; a list is signed and published."""
        return self._command("client", "revoke", f"client{number}")

    def fill(self, revoked: int) -> None:
        """Writes so many revoked certificates into the book."""
        now = datetime.now(UTC)
        begin, end = now - timedelta(days=1), now + timedelta(days=800)
        serials = [new_serial() for _ in range(revoked)]
        ledger = Ledger(self._state / "certwarden.db")
        ledger.register.add(
            [
                ClientCertificate(serial, f"former{number}", None, begin, end)
                for number, serial in enumerate(serials)
            ]
        )
        ledger.register.revoke(serials, RevocationReason.SUPERSEDED, now)
        ledger.close()

    def _command(self, *arguments: str) -> Command:
        return self._ours.command("--config", str(self._config), *arguments)
