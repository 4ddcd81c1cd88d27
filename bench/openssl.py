"""A private CA kept with OpenSSL's own program, and a loop: what there is without certwarden."""

from dataclasses import dataclass
from pathlib import Path

from bench.findings import OPENSSL
from bench.measure import Command
from bench.programs import Program

_CONFIG = Path(__file__).with_name("openssl.cnf")
_LOOP = Path(__file__).with_name("openssl-clients.sh")


@dataclass(frozen=True)
class Openssl:
    """`openssl req` and `openssl ca`, in a home of their own."""

    program: Program
    name: str = OPENSSL

    def found(self, home: Path) -> Command:
        """Makes the CA's directory: root, key, and an empty index."""
        for name in ("newcerts", "out"):
            (home / name).mkdir()
        (home / "index.txt").touch()
        (home / "password").write_text("correct horse battery\n")
        request = ["req", "-config", str(_CONFIG), "-x509", "-new", "-nodes", "-days", "3652"]
        request += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        request += ["-subj", "/CN=Home client CA", "-keyout", "root.key", "-out", "root.pem"]
        return _at(home, str(self.program.path), *request)

    def issue(self, home: Path, count: int) -> Command:
        """Keys, requests and certificates, one after the other."""
        return _at(home, "/bin/sh", str(_LOOP), str(self.program.path), str(_CONFIG), str(count))

    def issued(self, home: Path) -> list[Path]:
        """The certificates that are there."""
        return sorted((home / "out").glob("*.crt"))


def _at(home: Path, *command: str) -> Command:
    """The command in that directory, where `openssl ca` looks for what its configuration names."""
    return Command(["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(home), *command])
