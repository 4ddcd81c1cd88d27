"""What systemd tells of the units, and the traces of passes."""

import fcntl
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.service import (
    PASS,
    SERVICE,
    TIMER,
    daemon_at_work,
    judge_passes,
    judge_units,
    last_of_many,
)
from certwarden.errors import TargetError
from certwarden.targets import units
from tests.builders import NOW

UPTIME = timedelta(days=30)
ABSENT = {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
AT_WORK = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "Result": "success",
    "NRestarts": "0",
    "ActiveEnterTimestampMonotonic": "5000000",
    "NeedDaemonReload": "no",
}
DISABLED = {**AT_WORK, "ActiveState": "inactive", "UnitFileState": "disabled"}
FAILED = {**AT_WORK, "ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "1"}


def judged(
    service: dict[str, str],
    timer: dict[str, str],
    last_pass: dict[str, str],
    holder: str = "",
    lately: datetime | None = None,
) -> list[Finding]:
    units = {SERVICE: service, TIMER: timer, PASS: last_pass}
    return list(judge_units(units, holder, UPTIME, lately))


@pytest.mark.parametrize(
    ("service", "timer"),
    [
        (AT_WORK, DISABLED),
        (AT_WORK, ABSENT),
        (DISABLED, AT_WORK),
        (AT_WORK | {"ActiveState": "activating", "SubState": "start"}, DISABLED),
        (AT_WORK, {"LoadState": "masked"}),
        ({"LoadState": "masked"}, AT_WORK),
    ],
)
def test_one_of_both_is_enough(service: dict[str, str], timer: dict[str, str]) -> None:
    """The daemon or the timer, whatever the other is."""
    assert [each.result for each in judged(service, timer, DISABLED)] == [Result.OK]


def restarting(**properties: str) -> dict[str, str]:
    return {**AT_WORK, **properties}


@pytest.mark.parametrize(
    ("service", "result", "words"),
    [
        (FAILED, Result.ERROR, "exit status 1"),
        (FAILED | {"ExecMainStatus": "2"}, Result.ERROR, "config check"),
        (FAILED | {"ExecMainStatus": "203"}, Result.ERROR, "cannot be started"),
        (FAILED | {"Result": "start-limit-hit"}, Result.ERROR, "too many failures"),
        (FAILED | {"Result": "oom-kill"}, Result.ERROR, "memory"),
        (AT_WORK | {"ActiveState": "inactive"}, Result.ERROR, "does not run"),
        (
            restarting(ActiveState="activating", SubState="auto-restart", NRestarts="4"),
            Result.ERROR,
            "again and again",
        ),
        (
            restarting(ActiveState="activating", SubState="auto-restart-queued", NRestarts="4"),
            Result.ERROR,
            "again and again",
        ),
        (AT_WORK | {"UnitFileState": "disabled"}, Result.WARNING, "next start"),
        (AT_WORK | {"NeedDaemonReload": "yes"}, Result.WARNING, "changed"),
        (DISABLED, Result.ERROR, "neither"),
        (ABSENT, Result.WARNING, "not installed"),
        ({"LoadState": "masked"}, Result.ERROR, "masked"),
    ],
)
def test_each_trouble_of_a_unit_is_told_once(
    service: dict[str, str], result: Result, words: str
) -> None:
    """What is wrong, in words, and what to type."""
    (finding,) = [each for each in judged(service, ABSENT, ABSENT) if each.result is not Result.OK]
    assert finding.result is result
    assert words in finding.what
    assert "`" in finding.remedy


def test_what_is_needed_and_masked_is_told() -> None:
    """The timer starts nothing then; beside a daemon in a container it is nobody's."""
    masked = {"LoadState": "masked"}
    assert [(each.subject, each.result) for each in judged(ABSENT, AT_WORK, masked)] == [
        (PASS, Result.ERROR),
        (TIMER, Result.OK),
    ]
    assert [each.result for each in judged(masked, masked, ABSENT, "process 7")] == [Result.OK]


def test_where_somebody_else_makes_passes_nothing_is_amiss() -> None:
    """Such as cron; on the first day it may have been a person."""
    hour = timedelta(hours=1)
    traces = [NOW - 80 * hour, NOW - 3 * hour]
    lately = last_of_many(traces, NOW, 6 * hour)
    (finding,) = judged(ABSENT, ABSENT, ABSENT, lately=lately)
    assert finding.result is Result.SKIPPED
    assert "cron" in finding.remedy
    assert last_of_many(traces[1:], NOW, 6 * hour) is None
    assert last_of_many([NOW - 80 * hour, NOW - 60 * hour], NOW, 6 * hour) is None
    (finding,) = judged(DISABLED, ABSENT, ABSENT, lately=lately)
    assert finding.result is Result.ERROR


def test_restarts_are_of_interest_for_a_while() -> None:
    """Three of them and the last one just now; next month nobody cares."""
    just_now = str((UPTIME - timedelta(minutes=5)) // timedelta(microseconds=1))
    troubled = restarting(NRestarts="3", ActiveEnterTimestampMonotonic=just_now)
    (finding,) = judged(troubled, ABSENT, ABSENT)
    assert finding.result is Result.WARNING
    assert judged(restarting(NRestarts="3"), ABSENT, ABSENT)[0].result is Result.OK


def test_both_at_once_is_one_too_many() -> None:
    """Each would stop the other at the next start."""
    found = judged(AT_WORK, AT_WORK | {"ActiveState": "inactive"}, DISABLED)
    assert [each.result for each in found] == [Result.WARNING, Result.OK]


def test_the_timers_last_pass_counts() -> None:
    """The timer itself never fails."""
    found = judged(DISABLED, AT_WORK, FAILED)
    assert [(each.subject, each.result) for each in found] == [
        (TIMER, Result.OK),
        (PASS, Result.ERROR),
    ]


def test_a_daemon_that_is_no_unit_is_a_daemon() -> None:
    """A container's, or one that a person has started."""
    assert [each.result for each in judged(ABSENT, ABSENT, ABSENT, "process 7")] == [Result.OK]


def test_who_holds_the_daemons_lock_is_seen(tmp_path: Path) -> None:
    """By the lock, not by the text that a dead one has left."""
    assert daemon_at_work(tmp_path) == ""
    (tmp_path / "locks").mkdir()
    lock = tmp_path / "locks" / "daemon"
    lock.write_text("process 17, certwarden run")
    assert daemon_at_work(tmp_path) == ""
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert daemon_at_work(tmp_path) == "process 17"


@pytest.mark.parametrize(
    ("hours_ago", "started", "result"),
    [
        ([2], None, Result.OK),
        ([60, 2], timedelta(days=9), Result.OK),
        ([33], timedelta(days=9), Result.OK),
        ([60], timedelta(days=9), Result.WARNING),
        ([60], None, Result.WARNING),
        ([60], timedelta(hours=1), Result.OK),
        ([-500], None, Result.OK),
        ([], timedelta(days=9), Result.SKIPPED),
    ],
)
def test_passes_leave_a_trace_a_day(
    hours_ago: list[float], started: timedelta | None, result: Result
) -> None:
    """Older traces than of a day and a pass are told, but not of a machine that was just on."""
    traces = [NOW - timedelta(hours=each) for each in hours_ago]
    assert judge_passes(traces, NOW, timedelta(hours=6), started).result is result


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A systemctl that says this, or fails."""

    def say(script: str) -> None:
        command = tmp_path / "systemctl"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return say


def test_units_are_asked_for_in_one_go(systemctl: Callable[[str], None]) -> None:
    """Each block is one unit's; values may hold equals signs."""
    systemctl("printf 'Id=a.service\\nUser=x\\nEnvironment=A=1\\n\\nId=b.timer\\nUser=\\n'")
    found = units.show(("a.service", "b.timer"), ("User", "Environment"))
    assert found["a.service"]["Environment"] == "A=1"
    assert found["b.timer"]["User"] == ""


def test_a_systemd_that_does_not_answer_is_an_error(systemctl: Callable[[str], None]) -> None:
    """With the words that it has for it."""
    systemctl("echo 'Failed to connect to bus: Host is down' >&2; exit 1")
    with pytest.raises(TargetError, match="Host is down"):
        units.show(("a.service",), ("User",))
