"""`python -m bench.soak`: the daemon with short certificates under random faults, for an hour.

Prints what it does as it goes, then the figures as a table; ends with 1 if anything did not hold.
"""

import argparse
import secrets
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.endurance import Figures, Plan, Soak
from tests.world.tools import Missing


def main() -> int:
    """Returns 1 if an invariant was violated, or nothing could be run."""
    arguments = _arguments()
    plan = Plan(
        seed=secrets.randbelow(10**6) if arguments.seed is None else arguments.seed,
        seconds=arguments.minutes * 60,
        renewals=arguments.renewals,
        limit=arguments.minutes * 60 + max(600.0, arguments.renewals * arguments.lifetime / 4),
        certificates=arguments.certificates,
        lifetime=arguments.lifetime,
    )
    _tell(f"seed {plan.seed}")
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        directory = arguments.keep or Path(name)
        try:
            figures = Soak(plan, directory, _tell).run()
        except Missing as missing:
            _tell(str(missing))
            return 1
    print(_table(figures))
    for violation in figures.violations:
        print(f"violated: {violation}")
    return 1 if figures.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description="Runs the daemon with short certificates under random faults, and watches it.",
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, default=65, help="at least (default: 65)")
    parser.add_argument("--renewals", type=int, default=100, help="at least (default: 100)")
    parser.add_argument("--seed", type=int, help="repeat the disturbances of another run")
    parser.add_argument("--certificates", type=int, default=10, help="default: 10")
    parser.add_argument("--lifetime", type=int, default=60, metavar="SECONDS", help="default: 60")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="keep the logs here")
    return parser.parse_args()


def _table(figures: Figures) -> str:
    rows = [("what", "figure"), ("---", "---"), *figures.rows()]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


def _tell(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
