"""What the doctor finds in a house, by single checks; and files with a mistake in them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from certwarden.config import load
from certwarden.doctor.examination import examine
from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.patient import Look, admit
from certwarden.wiring import Warden
from tests.fakes_store import RecordingReporter
from tests.world.house import House


def look(house: House, checks: Mapping[str, Look]) -> tuple[Finding, ...]:
    """As `certwarden doctor` looks, in this process."""
    config = load(house.config, os.environ)
    warden = Warden(config, RecordingReporter(), purpose="doctor", is_read_only=True)
    try:
        return examine(admit(config, warden), checks)
    finally:
        warden.close()


def wrong(findings: tuple[Finding, ...]) -> set[tuple[str, str, Result]]:
    """What needs attention: check, subject, and how grave it is."""
    return {(each.check, each.subject, each.result) for each in findings if each.needs_attention}


@contextmanager
def rewritten(path: Path, text: str | bytes) -> Iterator[None]:
    """The file with this in it, until it is as it was."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)
