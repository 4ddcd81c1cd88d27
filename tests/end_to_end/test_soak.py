"""The daemon under random faults, for a few minutes; `python -m bench.soak` does it for an hour."""

import secrets
from pathlib import Path

from bench.endurance import Plan, Soak


def test_a_hundred_renewals_under_random_faults(tmp_path: Path) -> None:
    """Whatever is killed or goes away: a valid pair at every instant, one order for each need."""
    plan = Plan(
        seed=secrets.randbelow(10**6),
        seconds=120,
        renewals=100,
        limit=420,
        certificates=16,
        lifetime=48,
    )
    figures = Soak(plan, tmp_path, print).run()
    print(*map(": ".join, figures.rows()), sep="\n")
    assert figures.violations == []
