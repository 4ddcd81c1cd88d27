"""The bench: what it measures, and what its tables say, from canned numbers."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.findings import (
    CERTBOT,
    CERTWARDEN,
    FIRST,
    FIRST_DELAYED,
    NOTHING_DUE,
    UACME,
    Findings,
    Sample,
)
from bench.measure import Command, Failed, run
from bench.report import figures, markdown

_PROJECT = Path(__file__).resolve().parents[1]


def _findings() -> Findings:
    found = Findings(left_out={UACME: "it needs libev.so.4"})
    for wall in (0.7, 0.8, 1.1):
        found.add(FIRST, CERTWARDEN, Sample(wall, 0.6, 60.0))
    found.add(FIRST, CERTBOT, Sample(13.5, 1.2, 80.0))
    found.add(FIRST_DELAYED, CERTWARDEN, Sample(6.4, 0.6, 60.0))
    found.add(NOTHING_DUE, CERTWARDEN, Sample(0.3, 0.3, 40.0))
    found.add(NOTHING_DUE, CERTBOT, Sample(0.8, 0.8, 50.0))
    found.add_calls(CERTWARDEN, 4)
    return found


def test_a_figure_is_the_ratio_of_medians_beside_its_target() -> None:
    """Each figure is judged by medians, and a target that is missed is shown as missed."""
    lines = markdown(_findings()).splitlines()
    first = "| 0.80 s (0.70 to 1.10) | certbot 13.5 s | 0.06 | ≤ 0.1 | yes |"
    memory = "| 40 MB | certbot 50 MB | 0.80 | ≤ 0.65 | **no** |"
    assert f"| {FIRST}: time {first}" in lines
    assert f"| {FIRST_DELAYED}: time | 6.40 s |  |  | ≤ 6.5 s | yes |" in lines
    assert f"| {NOTHING_DUE}: memory {memory}" in lines
    assert "| calls to Cloudflare for a certificate | 4 |  |  | ≤ 4 | yes |" in lines


def test_a_client_that_did_not_run_is_named_and_compared_with_nothing() -> None:
    """Where uacme cannot be had the tables say so, and no figure is made up."""
    found = _findings()
    assert "uacme was left out: it needs libev.so.4." in markdown(found)
    assert not [figure for figure in figures(found) if figure.other == UACME]


def test_the_peak_memory_is_the_commands_own(tmp_path: Path) -> None:
    """A child inherits its parent's peak, which here is far above that of a small program."""
    ballast = b"x" * 64_000_000  # written, so that it is resident
    sample = run(Command(["/bin/sh", "-c", "exit 0"]), tmp_path)
    assert sample.peak < len(ballast) / 2e6


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    """A run that ends badly stops the bench, with the last that the command said."""
    with pytest.raises(Failed, match="sh ended with 3: no luck"):
        run(Command(["/bin/sh", "-c", "echo no luck; exit 3"]), tmp_path)


def test_the_command_knows_its_parts() -> None:
    """`script/bench` can be loaded whole: every module, and the help that names its parts."""
    shown = subprocess.run(
        [sys.executable, "-m", "bench", "--help"],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "start, first, idle" in shown.stdout
