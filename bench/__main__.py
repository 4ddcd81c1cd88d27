"""`python -m bench`: measures, prints the tables, and writes docs/benchmarks.md where told to."""

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.findings import Findings
from bench.measure import Failed
from bench.report import figures, markdown
from bench.work import Bench
from tests.world.tools import Missing

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

What certwarden takes for its jobs, beside other clients on the same machine in the same run: one
Pebble (calm: no nonce refused, no sleep before validation), one emulated Cloudflare with its DNS,
all on loopback, everyone in turn. Whole processes are measured from outside: wall clock, processor
time with all children, and the largest process's peak of resident memory. Every certificate is
checked, and no TXT record may be left. A number is the median of the runs, with the least and the
most in brackets; a ratio is of two medians, and it is what the target speaks of. Seconds differ
from machine to machine and with what else it does, the ratios less.

- certwarden runs with `settle = "0s"`, because the one DNS server is asked directly. In a pass with
  nothing due it looks by a TLS handshake at what each target serves; no other client does that.
- With many certificates due, each of ours is also installed at a target of its own and then seen to
  be served there. certbot, which takes ten minutes for fifty, renews five; its time is multiplied.
- certbot runs with its defaults: it waits 10 s for propagation and asks no DNS server.
- uacme is written in C. Its hook, a few lines of shell and curl, asks no DNS server either and
  waits for nothing.
- Everything from PyPI lies in a virtual environment of its own, compiled.

- The daemon has one certificate and nothing to do. What it writes is counted by the kernel, with
  what its passes write: once for its start and a first pass, which stand for each of the four
  passes of a day, and for half a minute of idleness, which stands for all the time between them.

- Client certificates in bulk stand beside a loop over `openssl req` and `openssl ca`. Each client's
  key is encrypted, there as here; ours has a password of its own for each, and all of it is on the
  storage before that is said.
- A revocation list is signed by `client revoke`, the whole command. What it takes where ten clients
  are revoked already is taken off, so that what is left is the list's: read, signed, and published.
- The pass with a private CA has a hundred clients, and one target that lets nobody else in.

Anew: `script/bench` prints all of this, `script/bench --write` writes it here as well. It takes
about nine minutes and changes nothing outside this folder.
"""


def main() -> int:
    """Returns 1 if something could not be measured; a target that is missed is only told."""
    arguments = _arguments()
    parts = arguments.parts or list(PARTS)
    try:
        bench = Bench(arguments.repeat)
        for part in parts:
            PARTS[part](bench)
    except (Failed, Missing) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    tables = markdown(bench.found)
    print(tables)
    missed = [figure.what for figure in figures(bench.found) if not figure.is_met]
    print(f"bench: targets missed: {'; '.join(missed) or 'none'}", file=sys.stderr)
    if arguments.write:
        _PAGE.write_text(f"{_INTRODUCTION}\n{_surroundings(bench.found)}\n\n{tables}")
    return 0


PARTS = {
    "start": Bench.start_up,
    "first": Bench.first,
    "many": Bench.many,
    "idle": Bench.nothing_due,
    "daemon": Bench.daemon,
    "authority": Bench.authority,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description="Measures certwarden beside certbot, uacme and openssl, in about nine minutes.",
        allow_abbrev=False,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only: {', '.join(PARTS)}")
    parser.add_argument(
        "--repeat", type=int, default=5, metavar="N", help="runs of each job (default: 5)"
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: {', '.join(PARTS)}")
    if arguments.repeat < 1:
        parser.error("--repeat must be at least 1")
    if arguments.write and arguments.parts:
        parser.error("--write needs all parts")
    return arguments


def _surroundings(found: Findings) -> str:
    """The day, the machine and the versions, in one paragraph."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found.versions.items()))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({_processor()}), "
        f"{memory:.0f} GiB of memory, Python {platform.python_version()};\n{versions}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
