"""`certwarden run` as systemd would start it, with the real program as its worker."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_privilege import can_become_others
from tests.waiting import wait_until
from tests.world.house import House
from tests.world.tools import Missing
from tests.world.wallshift import WallShift

MAX_RESIDENT_KIB = 28 * 1024


class Service:
    """A house's daemon, and what it tells systemd."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(house.directory / "notify"))
        (house.directory / "notify").chmod(0o777)
        self._socket.settimeout(0)
        house.environment["NOTIFY_SOCKET"] = str(house.directory / "notify")
        self.process = house.start("run")

    def said(self, message: str) -> int:
        """How often systemd was sent such an assignment."""
        while True:
            try:
                self.messages += self._socket.recv(1 << 16).decode().splitlines()
            except BlockingIOError:
                return sum(message in each for each in self.messages)

    def wait_for(self, message: str, times: int = 1) -> None:
        wait_until(lambda: self.said(message) >= times, f"{message} ({times})", timeout=90)

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr after SIGTERM."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._socket.close()


@pytest.fixture
def services() -> Iterator[list[Service]]:
    started: list[Service] = []
    yield started
    for service in started:
        service.close()


def test_it_obtains_the_first_certificate_and_stays_small(
    house: House, services: list[Service]
) -> None:
    """READY, a certificate in the store, nothing on stdout; no library in its memory."""
    services.append(service := Service(house))
    service.wait_for("READY=1")
    service.wait_for("STATUS=next is ")
    assert (house.stored / "current" / "cert.pem").exists()
    process = Path(f"/proc/{service.process.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) <= MAX_RESIDENT_KIB
    maps = (process / "maps").read_text()
    assert not [each for each in ("cryptography", "sqlite", "_ssl", "_cffi") if each in maps]
    code, out, _ = service.end()
    assert (code, out) == (0, "")


def test_a_wrong_configuration_is_said_with_its_mistakes(house: House) -> None:
    """Exit 2, the same sentences as `config check` has, and no state directory."""
    house.extra_acme = "colour = 1"
    house.write_config()
    run, check = house.run("run"), house.run("config", "check")
    assert (run.code, run.out, run.err) == (2, "", check.err)
    assert not house.state.exists()


def test_what_was_accepted_is_what_is_used(house: House, services: list[Service]) -> None:
    """A wrong file leaves the old text in force, jump or not; a right one is taken over."""
    services.append(service := Service(house))
    service.wait_for("STATUS=next is ")
    house.extra_acme = "colour = 1"
    house.write_config()
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("is wrong, the configuration before it is in force")
    assert service.said("READY=1") == 2
    house.extra_acme = ""
    house.domains = ["example.org"]
    house.write_config()
    service.process.send_signal(signal.SIGHUP)
    service.wait_for("READY=1", times=3)
    version = house.stored / "versions" / "0002" / "metadata.json"
    wait_until(version.exists, "the certificate for the new domains", timeout=60)
    _, _, err = service.end()
    assert "acme.colour" in err


def test_a_killed_daemon_begins_again(house: House, services: list[Service]) -> None:
    """No lock and no worker is left over."""
    services.append(service := Service(house))
    service.wait_for("STATUS=a pass is at work")
    service.process.kill()
    service.process.wait()
    (house.directory / "notify").unlink()
    services.append(again := Service(house))
    again.wait_for("STATUS=next is ")
    assert (house.stored / "current" / "cert.pem").exists()
    assert house.world.txt_records() == []


def test_a_jump_of_the_clock_calls_the_worker(
    house: House, services: list[Service], tmp_path: Path
) -> None:
    """Once, within a tick, and the worker lives in the same new time."""
    try:
        wallshift = WallShift(tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))
    house.environment |= wallshift.env
    services.append(service := Service(house))
    service.wait_for("STATUS=next is ")
    wallshift.shift(-3 * 86400)
    service.wait_for("STATUS=a pass is at work", times=2)
    service.wait_for("STATUS=next is ", times=2)
    _, _, err = service.end()
    assert "the clock was set back by 2592" in err


@pytest.mark.skipif(
    not can_become_others(), reason="needs root, and an interpreter that all users can read"
)
def test_run_as_root_it_becomes_the_states_owner(house: House, services: list[Service]) -> None:
    """The whole process, for good; all that it leaves is the owner's."""
    owner = pwd.getpwnam("nobody")
    for each in (house.directory, *house.directory.parents, house.world.directory):
        mode = each.stat().st_mode
        if not mode & 0o001:
            each.chmod(mode | 0o011)
    house.state.mkdir(mode=0o711)
    os.chown(house.state, owner.pw_uid, owner.pw_gid)
    os.chown(house.world.token_file, 0, owner.pw_gid)
    house.world.token_file.chmod(0o640)
    try:
        services.append(service := Service(house))  # config.toml is root's alone
        service.wait_for("STATUS=next is ")
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert set(uids) == {str(owner.pw_uid)}
        assert {each.lstat().st_uid for each in house.state.rglob("*")} == {owner.pw_uid}
        assert (house.stored / "current" / "cert.pem").exists()
        assert service.end()[0] == 0
    finally:
        house.world.token_file.chmod(0o600)


def test_the_text_in_a_descriptor_takes_the_place_of_the_file(house: House) -> None:
    """The file's rights are judged all the same; what stands in it is not looked at."""
    arguments = ["config", "show", "--json"]
    text = house.config.read_bytes().replace(b"home", b"other")
    with (house.directory / "text").open("w+b") as file:
        file.write(text)
        file.flush()
        house.config.write_text("wrong")
        command = [sys.executable, "-m", "certwarden", "--config", str(house.config)]
        command += ["--config-text-fd", str(file.fileno()), *arguments]
        done = subprocess.run(command, pass_fds=[file.fileno()], capture_output=True, check=True)
        assert json.loads(done.stdout)["certificate"][0]["name"] == "other"
        house.config.chmod(0o666)
        done = subprocess.run(command, pass_fds=[file.fileno()], capture_output=True, check=False)
        assert done.returncode == 2
        assert b"may be written by others" in done.stderr
