"""What the doctor finds in a house, by single checks."""

import os
from collections.abc import Mapping

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
