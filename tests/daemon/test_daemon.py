"""The main loop: a real process, real signals, a real notify socket, stand-ins for certwarden."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certwarden.store.state import call_daemon
from tests.waiting import wait_until
from tests.world.tools import Missing
from tests.world.wallshift import WallShift

ROOT = Path(__file__).parents[2]
SOON = {"tick": 0.1, "soonest": 0.1, "back_off": 0.2}
MAX_RESIDENT_KIB = 28 * 1024


class Watched:
    """A daemon on its directory: what it was told, what its workers were given, what it says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "config.toml"
        self.pace: dict[str, float] = dict(SOON)
        self.oddities: dict[str, bool] = {}
        self.environ: dict[str, str] = {}
        self.messages: list[str] = []
        self._processes: list[subprocess.Popen[str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._socket.settimeout(0)
        self.configure()
        self.behave()

    def configure(self, text: str | None = None, **changed: object) -> None:
        settings = {"state_directory": str(self.directory / "state"), **changed}
        self.config.write_text(json.dumps(settings) if text is None else text)

    def behave(self, answer: object = None, **how: object) -> None:
        """What the workers do from now on; `output` stands in for an answer that is none."""
        new = self.directory / "behaviour.new"
        new.write_text(json.dumps({"output": json.dumps(answer or {}), **how}))
        new.replace(self.directory / "behaviour.json")

    def start(self) -> subprocess.Popen[str]:
        said = {"pace": self.pace, **self.oddities}
        (self.directory / "driver.json").write_text(json.dumps(said))
        with (self.directory / "err").open("a") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.daemon.driver", str(self.directory)],
                cwd=ROOT,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": str(self.directory / "notify"),
                    **self.environ,
                },
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        self._processes.append(process)
        return process

    def passes(self) -> list[dict[str, Any]]:
        """What each worker was given, in their order; of a line that is being written, nothing."""
        file = self.directory / "passes"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def err(self) -> str:
        return (self.directory / "err").read_text()

    def said(self, message: str) -> bool:
        """Whether systemd was sent such an assignment."""
        while True:
            try:
                self.messages += self._socket.recv(1 << 16).decode().splitlines()
            except BlockingIOError:
                return any(message in each for each in self.messages)

    def wait_for_passes(self, number: int) -> None:
        wait_until(lambda: len(self.passes()) >= number, f"pass {number}")

    def wait_for(self, message: str) -> None:
        wait_until(lambda: self.said(message), message)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._socket.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.close()


@pytest.fixture
def wallshift(tmp_path: Path) -> WallShift:
    try:
        return WallShift(tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))


def ends(process: subprocess.Popen[str], within: float = 60) -> int:
    assert process.communicate(timeout=within)[0] == ""  # nothing on stdout, ever
    return process.returncode


def call(job: str, ahead: timedelta, why: str = "") -> Mapping[str, object]:
    at = datetime.now(UTC) + ahead
    return {"next": [{"job": job, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "why": why}]}


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_it_is_ready_does_a_pass_and_ends(daemon: Watched) -> None:
    """READY once it is at work, a pass at once, the next event in its status, exit 0."""
    daemon.behave(call("renewal-info", timedelta(hours=2), "the CA wants it"))
    process = daemon.start()
    daemon.wait_for("READY=1")
    daemon.wait_for_passes(1)
    daemon.wait_for("STATUS=next is renewal-info at ")
    assert daemon.said(": the CA wants it")
    assert daemon.said("STATUS=a pass is at work; the next one at the latest at ")
    process.terminate()
    assert ends(process) == 0
    assert daemon.said("STOPPING=1")
    assert len(daemon.passes()) == 1
    assert "error" not in daemon.err()


def test_a_worker_is_not_given_systemds_socket(daemon: Watched) -> None:
    """It gets the environment, but for what is between systemd and the daemon."""
    daemon.environ = {"WATCHDOG_USEC": "60000000", "CANARY": "1"}
    daemon.start()
    daemon.wait_for_passes(1)
    given = daemon.passes()[0]["environment"]
    assert "CANARY" in given
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(given)


def test_a_pass_comes_when_it_was_asked_for(daemon: Watched) -> None:
    """Also where the instant has passed already; each pass asks anew."""
    daemon.behave(call("token", -timedelta(hours=1)))
    daemon.start()
    daemon.wait_for_passes(3)
    daemon.behave(call("token", timedelta(hours=1)))
    daemon.wait_for("STATUS=next is token")


def test_a_command_can_call_for_a_pass(daemon: Watched) -> None:
    """What a killed or unproven revocation has left open is looked after soon, not in hours."""
    daemon.pace["called"] = 0.1
    daemon.behave(call("token", timedelta(hours=1)))
    daemon.start()
    daemon.wait_for("STATUS=next is token")
    passes = len(daemon.passes())
    call_daemon(daemon.directory / "state")
    daemon.wait_for_passes(passes + 1)


def test_what_comes_due_during_a_pass_has_had_it(daemon: Watched) -> None:
    """The pass itself says what is due afterwards; another one only for what it still wants."""
    first, second = (datetime.now(UTC) + timedelta(seconds=after) for after in (3, 3.5))
    two = [{"job": "a", "at": first.isoformat()}, {"job": "b", "at": second.isoformat()}]
    daemon.behave({"next": two})
    daemon.start()
    daemon.wait_for("STATUS=next is a")
    daemon.behave(seconds=2)
    daemon.wait_for_passes(2)
    daemon.wait_for("STATUS=next is reconcile")
    time.sleep(0.5)
    assert len(daemon.passes()) == 2


def test_a_wrong_configuration_at_the_start_is_exit_2(daemon: Watched) -> None:
    """With the sentences of the program that has looked at it; no pass, no READY."""
    daemon.configure("wrong")
    assert ends(daemon.start()) == 2
    assert "config.toml: a mistake" in daemon.err()
    assert not daemon.passes()
    assert not daemon.said("READY=1")


def test_a_configuration_that_nobody_can_look_at_is_exit_1(daemon: Watched) -> None:
    """Whatever else the program answers is no configuration."""
    daemon.configure('{"state_directory": 1}')
    assert ends(daemon.start()) == 1
    assert "could not be understood" in daemon.err()


def test_it_can_be_ended_while_it_reads_the_configuration(daemon: Watched) -> None:
    """A stop during the start is no failure."""
    daemon.configure("slow")
    process = daemon.start()
    daemon.wait_for("STATUS=reading the configuration")
    wait_until(lambda: children(process.pid), "the look at it")
    process.terminate()
    assert ends(process, within=5) == 0
    assert daemon.err() == ""


def test_a_new_configuration_is_taken_over(daemon: Watched) -> None:
    """SIGHUP: RELOADING with the instant, the new text for the next pass, READY again."""
    process = daemon.start()
    daemon.wait_for("STATUS=next is")
    daemon.configure(canary=1)
    process.send_signal(signal.SIGHUP)
    daemon.wait_for_passes(2)
    assert ["canary" in each["text"] for each in daemon.passes()] == [False, True]
    daemon.wait_for("RELOADING=1")
    order = [each.partition("=")[0] for each in daemon.messages]
    assert order.index("RELOADING") < order.index("MONOTONIC_USEC")
    wait_until(lambda: daemon.said("") and daemon.messages.count("READY=1") == 2, "READY again")


def test_a_wrong_new_configuration_leaves_the_old_one_in_force(daemon: Watched) -> None:
    """It is told, in log and status; passes go on with the old text, whatever is in the file."""
    daemon.behave(call("reconcile", -timedelta(hours=1)))
    process = daemon.start()
    daemon.wait_for("STATUS=next is")
    old = daemon.config.read_text()
    daemon.configure("wrong")
    process.send_signal(signal.SIGHUP)
    daemon.wait_for("config.toml is wrong, the configuration before it is in force")
    assert daemon.messages.count("READY=1") == 2
    assert "the configuration before it stays in force" in daemon.err()
    daemon.wait_for_passes(len(daemon.passes()) + 2)
    assert all(each["text"] == old for each in daemon.passes())
    assert process.poll() is None


def test_the_state_directory_does_not_change_under_it(daemon: Watched) -> None:
    """It holds the lock of the one that it began with."""
    process = daemon.start()
    daemon.wait_for("STATUS=next is")
    daemon.configure(state_directory=str(daemon.directory / "another"))
    process.send_signal(signal.SIGHUP)
    daemon.wait_for("is wrong, the configuration before it is in force")
    assert "restart certwarden" in daemon.err()
    assert not (daemon.directory / "another").exists()


def test_a_second_daemon_exits_1_and_names_the_first(daemon: Watched) -> None:
    """One for a state directory; the first works on."""
    first = daemon.start()
    daemon.wait_for("READY=1")
    second = daemon.start()
    assert ends(second) == 1
    assert f"process {first.pid}" in daemon.err()
    assert first.poll() is None
    first.kill()
    first.wait()
    daemon.messages.clear()
    daemon.start()
    daemon.wait_for("READY=1")  # a killed one leaves no lock


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_five_seconds_with_a_deaf_worker(
    daemon: Watched, number: signal.Signals
) -> None:
    """The worker is asked, then killed; a second signal changes nothing; nobody is left behind."""
    daemon.behave(seconds=60, is_deaf=True)
    process = daemon.start()
    daemon.wait_for_passes(1)
    begun = time.monotonic()
    process.send_signal(number)
    daemon.wait_for("STOPPING=1")
    process.send_signal(signal.SIGTERM)
    assert ends(process) == 0
    assert 3 < time.monotonic() - begun < 5
    assert not is_alive(daemon.passes()[0]["pid"])


def test_it_ends_at_once_with_a_worker_that_listens(daemon: Watched) -> None:
    """SIGTERM goes on to the worker; its exit is no failure then."""
    daemon.behave(seconds=60)
    process = daemon.start()
    daemon.wait_for_passes(1)
    process.terminate()
    assert ends(process, within=3) == 0
    assert "error" not in daemon.err()


def test_a_killed_daemon_leaves_no_worker(daemon: Watched) -> None:
    """The kernel ends the worker with it."""
    daemon.behave(seconds=60)
    process = daemon.start()
    daemon.wait_for_passes(1)
    process.kill()
    wait_until(lambda: not is_alive(daemon.passes()[0]["pid"]), "the worker's end")


def test_a_hung_worker_is_ended(daemon: Watched) -> None:
    """Asked at its deadline, killed after its grace, told, and another one tried."""
    daemon.pace |= {"until_late": 1, "until_killed": 0.5}
    daemon.behave(seconds=60, is_deaf=True)
    daemon.start()
    daemon.wait_for_passes(2)
    assert "the pass took too long and was ended" in daemon.err()
    assert not is_alive(daemon.passes()[0]["pid"])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"status": 2}, "ended with exit status 2"),
        ({"signal": 9}, "was killed by SIGKILL"),
        ({"output": "what?"}, "without an answer"),
        ({"output": "", "status": 1}, "without an answer"),
        ({"output": "[" * 100_000}, "without an answer"),
    ],
)
def test_a_failed_pass_is_told_and_tried_again(
    daemon: Watched, how: dict[str, object], expected: str
) -> None:
    """After a back-off; and once it is good again the worker's own appointment counts."""
    daemon.behave(**how)
    daemon.start()
    daemon.wait_for_passes(2)
    assert expected in daemon.err()
    daemon.wait_for("the last pass failed")
    daemon.behave(call("token", timedelta(hours=1)), status=1)  # 1 is an answer, too
    daemon.wait_for("STATUS=next is token")


@pytest.mark.parametrize("days", [200, -200])
def test_a_jump_of_the_clock_runs_one_pass_within_a_tick(
    daemon: Watched, wallshift: WallShift, days: int
) -> None:
    """Forward and backward; one pass, although the jobs before it were long overdue."""
    hours = [{"job": f"job-{'x' * hour}", **soon(hour)} for hour in range(1, 7)]
    daemon.behave({"next": hours})
    daemon.environ = dict(wallshift.env)
    daemon.start()
    daemon.wait_for("STATUS=next is")
    wallshift.shift(days * 86400)
    daemon.behave()
    wait_until(lambda: len(daemon.passes()) > 1, "the pass after the jump", timeout=5)
    daemon.messages.clear()
    daemon.wait_for("STATUS=next is reconcile")
    time.sleep(1)  # a storm would come now
    assert len(daemon.passes()) == 2
    assert "the clock was set " in daemon.err()


def test_a_pass_during_which_the_clock_was_set_is_followed_by_one(
    daemon: Watched, wallshift: WallShift
) -> None:
    """Without waiting for a tick: the clock may be right again by then, and all armed by it."""
    daemon.pace["tick"] = 600
    daemon.behave(seconds=1)
    daemon.environ = dict(wallshift.env)
    daemon.start()
    daemon.wait_for_passes(1)
    wallshift.shift(86400)
    daemon.wait_for_passes(2)
    assert "the clock was set forward by" in daemon.err()


def soon(hours: float) -> Mapping[str, object]:
    return {"at": f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"}


def test_a_small_correction_of_the_clock_changes_nothing(
    daemon: Watched, wallshift: WallShift
) -> None:
    """NTP may step a little; no pass for that."""
    daemon.environ = dict(wallshift.env)
    daemon.start()
    daemon.wait_for("STATUS=next is")
    for seconds in (20, -20, 30):
        wallshift.shift(seconds)
        time.sleep(0.3)
    assert len(daemon.passes()) == 1


def test_a_job_missed_while_asleep_is_run_within_a_tick(
    daemon: Watched, wallshift: WallShift
) -> None:
    """The machine was suspended: no jump, but the job is late; it runs once."""
    daemon.oddities["is_suspended"] = True
    daemon.environ = dict(wallshift.env)
    daemon.behave(call("reconcile", timedelta(hours=2)))
    daemon.start()
    daemon.wait_for("STATUS=next is reconcile")
    wallshift.shift(8 * 3600)
    daemon.behave()
    wait_until(lambda: len(daemon.passes()) > 1, "the pass after waking", timeout=5)
    time.sleep(0.5)
    assert len(daemon.passes()) == 2
    assert "the clock was set" not in daemon.err()


@pytest.mark.parametrize("how", ["file", "timedatectl"])
def test_an_untrusted_clock_that_is_synchronised_runs_a_pass_at_once(
    daemon: Watched, how: str
) -> None:
    """By timesyncd's file or what timedated says; once, even if the worker is not content."""
    programs = daemon.directory / "bin"
    programs.mkdir()
    says = daemon.directory / "says"
    says.write_text("NTP=yes\nNTPSynchronized=no\n")
    timedatectl = programs / "timedatectl"
    timedatectl.write_text(f"#!/bin/sh\ncat '{says}'\n")
    timedatectl.chmod(0o755)
    daemon.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    daemon.pace["between_questions"] = 0.2
    daemon.behave({"clock": {"synchronised": False, "trusted": False}})
    daemon.start()
    daemon.wait_for("the clock is not trusted yet")
    if how == "file":
        (daemon.directory / "synchronized").touch()
    else:
        says.write_text("NTP=yes\nNTPSynchronized=yes\n")
    daemon.wait_for_passes(2)
    time.sleep(1)
    assert len(daemon.passes()) == 2
    assert "the clock is synchronised now" in daemon.err()


def test_the_watchdog_is_fed(daemon: Watched) -> None:
    """In time, also while a worker is at work."""
    daemon.environ = {"WATCHDOG_USEC": "1000000"}
    daemon.behave(seconds=60)
    daemon.start()
    daemon.wait_for_passes(1)
    for _ in range(4):
        daemon.messages.clear()
        wait_until(lambda: daemon.said("WATCHDOG=1"), "WATCHDOG=1", timeout=1)


def test_the_watchdog_is_not_fed_when_the_scheduler_is_dead(
    daemon: Watched, wallshift: WallShift
) -> None:
    """A job that is late for so long means that the scheduler is, and not the main loop."""
    daemon.oddities = {"is_paused": True, "is_suspended": True}
    daemon.environ = {"WATCHDOG_USEC": "1000000", **wallshift.env}
    daemon.pace["until_dead"] = 1
    daemon.behave(call("reconcile", timedelta(hours=1)))
    daemon.start()
    daemon.wait_for("WATCHDOG=1")
    wallshift.shift(7200)
    wait_until(lambda: "the scheduler fires no more" in daemon.err(), "the judgement")
    daemon.said("")
    daemon.messages.clear()
    time.sleep(2)
    assert not daemon.said("WATCHDOG=1")


def test_a_hundred_passes_leave_nothing_behind(daemon: Watched) -> None:
    """Threads, descriptors and memory are what they were after the first few."""
    daemon.pace["soonest"] = 0.02
    daemon.behave(call("reconcile", -timedelta(hours=1), "x" * 1000))
    process = daemon.start()
    daemon.wait_for_passes(10)
    before = resources(process.pid)
    for number in (40, 70, 100):
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(daemon.passes()) >= number, "passes", timeout=120)  # noqa: B023
    daemon.behave(call("reconcile", timedelta(hours=1)))
    wait_until(lambda: not children(process.pid), "the last pass")
    after = resources(process.pid)
    assert after["descriptors"] <= before["descriptors"]
    assert after["threads"] <= before["threads"]
    assert after["resident"] <= min(before["resident"] + 1024, MAX_RESIDENT_KIB)


def resources(pid: int) -> dict[str, int]:
    """Threads, descriptors (but for those of a worker at work), resident memory in KiB."""
    process = Path(f"/proc/{pid}")
    wait_until(lambda: not children(pid), "a pause between two workers")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return {
        "threads": int(status["Threads"]),
        "descriptors": len([*(process / "fd").iterdir()]),
        "resident": int(status["VmRSS"].split()[0]),
    }


def children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def test_it_writes_nothing_while_it_waits(daemon: Watched) -> None:
    """Ticks touch no disk: a card lives longer."""
    process = daemon.start()
    daemon.wait_for("STATUS=next is")
    written = Path(f"/proc/{process.pid}/io")
    wait_until(lambda: not children(process.pid), "the end of the pass")
    before = written.read_text().split("wchar:")[1].split()[0]
    time.sleep(1)  # ten ticks
    assert written.read_text().split("wchar:")[1].split()[0] == before
