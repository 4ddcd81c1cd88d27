"""Two revocations and the daemon's signature at the same moment, by the real commands."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import Popen

import pytest

from certwarden.files import lock
from certwarden.pki.crl import read_crl
from tests.end_to_end.private_ca import (
    PASSWORD_FILE,
    Evidence,
    a_house,
    desk,
    last_number,
    live,
)
from tests.waiting import wait_until
from tests.world import World
from tests.world.house import House
from tests.world.turnstile import Turnstile

_ROUNDS = 3
_NAMES = [f"client{number}" for number in range(2 * _ROUNDS)]


class Watcher:
    """Reads the published and the installed list again and again, as other programs would."""

    def __init__(self, house: House) -> None:
        self._root = (house.state / "authority" / "root.pem").read_bytes()
        self._paths = (
            house.state / "authority" / "crl.pem",
            live(house) / "current" / "client-crl.pem",
        )
        self._is_over = threading.Event()
        self.numbers: dict[Path, list[int]] = {path: [] for path in self._paths}
        self.trouble: list[Exception] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks for as long as the block lasts."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _watch(self) -> None:
        try:
            while not self._is_over.wait(0.005):
                for path in self._paths:
                    number = read_crl(path.read_bytes(), self._root).number
                    if self.numbers[path][-1:] != [number]:
                        self.numbers[path].append(number)
        except Exception as error:  # noqa: BLE001 - the test is told
            self.trouble.append(error)


@pytest.fixture
def house(world: World, tmp_path: Path) -> Iterator[House]:
    """A CA whose clients are all let in at the door."""
    with Turnstile() as door:
        house = a_house(world, tmp_path / "house", door)
        password = desk(house) / PASSWORD_FILE
        password.touch(mode=0o600)
        password.write_text("correct horse battery\n")
        assert house.run("ca", "init").code == 0
        assert house.run("renew").code == 0
        for name in _NAMES:
            out = desk(house) / f"{name}.p12"
            arguments = ["--out", str(out), "--password-file", str(password)]
            assert house.run("client", "issue", name, *arguments).code == 0
        yield house


def test_two_revoke_while_the_daemon_signs(house: House) -> None:
    """Both revocations are listed and proven, no number is given twice, and none ever falls."""
    evidence = Evidence(house)
    number = evidence.look().last_number
    watcher = Watcher(house)
    with watcher.watching():
        for first, second in zip(_NAMES[::2], _NAMES[1::2], strict=True):
            # All three come to the same lock while it is held, and are let go at once.
            with lock(house.state / "locks" / "authority", "test", 10):
                daemon = house.start("run")
                revoking = [house.start("client", "revoke", each) for each in (first, second)]
                for process in (*revoking, daemon):
                    _wait_for_waiting(process)
            try:
                ended = [(*each.communicate(timeout=90), each.returncode) for each in revoking]
                signed = number + 3
                wait_until(partial(_has_signed, house, signed), "the daemon's list")
            finally:
                daemon.terminate()
                said = daemon.communicate(timeout=30)
            assert [code for *_, code in ended] == [0, 0], f"{ended}\n{said}"
            assert (
                house.run("renew").code == 0
            )  # what the daemon's pass may have left when it ended
            sight = evidence.look()
            assert not sight.valid(first) | sight.valid(second)
            evidence.judge_settled(sight)
            assert sight.last_number == signed
            number = sight.last_number
    assert not evidence.wrong, "\n".join(evidence.wrong)
    assert not watcher.trouble
    for numbers in watcher.numbers.values():
        assert numbers == sorted(set(numbers))


def _has_signed(house: House, number: int) -> bool:
    return last_number(house.state / "certwarden.db") >= number


def _wait_for_waiting(process: "Popen[str]") -> None:
    assert process.stderr is not None
    while "waiting up to" not in (line := process.stderr.readline()):
        assert line, "it did not wait"
