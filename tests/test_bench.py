"""The bench: what it measures, and what its tables say, from canned numbers."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import idle
from bench.findings import (
    CERTBOT,
    CERTWARDEN,
    CLIENTS_ISSUED,
    ENTRIES,
    FEW,
    FIRST,
    FIRST_DELAYED,
    MANY_DUE,
    MANY_DUE_DELAYED,
    MOST_ENTRIES,
    NOTHING_DUE,
    NOTHING_DUE_CA,
    ONE_DUE,
    OPENSSL,
    SAMPLED_DUE,
    UACME,
    Findings,
    Idleness,
    Sample,
    revocation,
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
    found.add_calls(FIRST, CERTWARDEN, 4)
    return found


def test_a_figure_is_the_ratio_of_medians_beside_its_target() -> None:
    """Each figure is judged by medians, and a target that is missed is shown as missed."""
    lines = markdown(_findings()).splitlines()
    first = "| 0.80 s (0.70 to 1.10) | certbot 13.5 s | 0.0593 | ≤ 0.1 | yes |"
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


def test_certbots_few_are_counted_up_to_our_many() -> None:
    """Five of certbot's stand for fifty, and the table says so; ours are measured in full."""
    found = Findings()
    found.add(MANY_DUE, CERTWARDEN, Sample(8.0, 6.0, 80.0))
    found.add(MANY_DUE_DELAYED, CERTWARDEN, Sample(15.0, 6.0, 80.0))
    found.add(ONE_DUE, CERTWARDEN, Sample(0.8, 0.7, 70.2))
    found.add(SAMPLED_DUE, CERTBOT, Sample(62.0, 9.0, 80.0))
    shown = markdown(found)
    beside = "certbot renew, 5 certificates due, times 10 620 s"
    assert f"| {MANY_DUE}: time | 8 s | {beside} | 0.0129 | ≤ 0.0133 | yes |" in shown
    assert f"| {MANY_DUE_DELAYED}: time | 15 s | {beside} | 0.0242 | ≤ 0.0222 | **no** |" in shown
    assert "| memory for each further certificate due | 0.20 MB |  |  | ≤ 0.5 MB | yes |" in shown


def test_a_list_costs_what_a_revocation_takes_beyond_one_in_a_short_list() -> None:
    """Time and memory of the command itself are taken off."""
    found = Findings()
    found.add(CLIENTS_ISSUED, CERTWARDEN, Sample(2.5, 2.4, 60.0))
    found.add(CLIENTS_ISSUED, OPENSSL, Sample(24.0, 23.0, 8.0))
    found.add(revocation(FEW), CERTWARDEN, Sample(0.4, 0.4, 45.0))
    found.add(revocation(ENTRIES), CERTWARDEN, Sample(1.0, 1.0, 55.0))
    found.add(revocation(MOST_ENTRIES), CERTWARDEN, Sample(8.9, 8.8, 245.0))
    lines = markdown(found).splitlines()
    assert f"| {CLIENTS_ISSUED}: time | 2.50 s | openssl 24 s | 0.10 | ≤ 0.1 | **no** |" in lines
    entries = "revocation list, 10,000 entries"
    assert f"| {entries}: time | 0.60 s |  |  | ≤ 0.8 s | yes |" in lines
    entries = "revocation list, 100,000 entries"
    assert f"| {entries}: time | 8.50 s |  |  | ≤ 8 s | **no** |" in lines
    assert f"| {entries}: memory for each | 2 kB |  |  | ≤ 2 kB | yes |" in lines


def test_a_pass_with_a_private_ca_stands_beside_the_same_of_certbots() -> None:
    """certbot has no such thing, so its pass with nothing due is the like of it."""
    found = _findings()
    found.add(NOTHING_DUE_CA, CERTWARDEN, Sample(0.32, 0.3, 45.0))
    beside = f"certbot {NOTHING_DUE} 0.80 s"
    assert f"| {NOTHING_DUE_CA}: time | 0.32 s | {beside} | 0.40 | ≤ 0.35 | **no** |" in markdown(
        found
    )


def test_a_day_of_the_daemons_is_its_passes_and_the_hours_between() -> None:
    """What is written at its start counts for each pass, and idleness for the whole day."""
    found = Findings(idleness=[Idleness(24.5, 100_000, 10_000)])
    lines = markdown(found).splitlines()
    assert "| idle daemon: memory | 24.5 MB |  |  | ≤ 28 MB | yes |" in lines
    assert "| idle daemon: written in a day | 0.64 MB |  |  | ≤ 1 MB | yes |" in lines


def test_a_daemon_is_watched_after_its_first_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its children wrote counts as its own, and it is ended in the end."""
    monkeypatch.setattr(idle, "IDLE_SECONDS", 0.1)
    child = f"dd if=/dev/zero of={tmp_path}/data bs=4096 count=25 conv=fsync 2>/dev/null; sleep 0.3"
    seen = idle.watch(Command(["/bin/sh", "-c", f"sh -c '{child}'; exec sleep 600"]), tmp_path)
    assert seen.written_at_first in (0, *range(100_000, 200_000))  # 0 where /tmp is no storage
    assert seen.written_per_hour == 0
    assert 0 < seen.resident < 10


def test_a_daemon_that_ends_by_itself_is_no_measurement(tmp_path: Path) -> None:
    """The bench says how it ended, instead of waiting for it."""
    with pytest.raises(Failed, match="the daemon ended with 2"):
        idle.watch(Command(["/bin/sh", "-c", "exit 2"]), tmp_path)


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
    assert "start, first, many, idle, daemon, authority" in shown.stdout
