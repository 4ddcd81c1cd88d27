"""kill -9 at each step of the private CA: of founding, issuing, renewing, revoking and signing.

Each run begins in a copy of a house, dies before one change on the disk (the database's writes and
commits among them, and what is written into the files for people), and is judged as it lies there.
Then it goes on, by the same command again or by a pass of the daemon's, and is judged once more: no
serial and no list's number twice, numbers only rise, what was revoked is in the list, and whatever
anybody was given is still known.

The steps are a sample: one within each transaction, one of each row of temporary files, locks, or
files that are like each other (`CERTWARDEN_EVERY_STEP` takes all of these), and of long commands
only every third or fifth of what is left. The child that keeps the files for people is not killed,
as it is there to outlive its parent.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from certwarden.clock import SystemClock
from certwarden.config import load
from certwarden.lifecycle.authority import required_root, sign_lists
from certwarden.model import Secret
from certwarden.pki.protection import decrypt_key
from certwarden.wiring import Warden
from tests.end_to_end.private_ca import (
    PASSWORD_FILE,
    PASSWORDS,
    Evidence,
    Sight,
    a_house,
    desk,
)
from tests.fakes_store import RecordingReporter
from tests.world import World, stepping
from tests.world.house import House
from tests.world.killing import Ended, Zygote, chosen_cuts
from tests.world.pebble import PebbleOptions
from tests.world.turnstile import Turnstile

_CALM = PebbleOptions(nonce_reject=0, authz_reuse=0, retry_after_authz=0, retry_after_order=0)
_AGE = timedelta(days=2)  # of the list that is due to be signed anew
_MANY = [f"client{number}" for number in range(20)]


class Stage:
    """Where scenes are set: houses with and without a CA, which are copied afresh."""

    def __init__(self, place: Path, world: World, door: Turnstile, zygote: Zygote) -> None:
        self.zygote = zygote
        self._place, self._world, self._door = place, world, door
        self._numbers = count()

    def build(self) -> None:
        """The houses to copy; by the way, all that the commands need is imported once."""
        house = self._house()
        self._bare = house
        self._learn(house, "renew", allowed=(0, 1))  # the certificate, for a door without lists
        house = self._copy(self._bare)
        self._founded = house
        self._learn(house, "ca", "init")
        (desk(house) / PASSWORD_FILE).write_text("correct horse battery\n")
        (desk(house) / PASSWORD_FILE).chmod(0o600)
        self._learn(house, *_issue(house, "bob"))
        self._learn(house, *_issue(house, "carol"))
        self._learn(house, *_issue(house, "dave"))
        self._learn(house, "client", "revoke", "dave")
        house = self._copy(self._founded)
        self._aged = house
        _age(house)

    def bare(self) -> House:
        """No CA yet."""
        return self._copy(self._bare)

    def founded(self) -> House:
        """A CA with the clients bob and carol; dave has been revoked."""
        return self._copy(self._founded)

    def aged(self) -> House:
        """Its list is of the day before yesterday, and carol's time with a successor is over."""
        return self._copy(self._aged)

    def _learn(self, house: House, *arguments: str, allowed: tuple[int, ...] = (0,)) -> None:
        assert self.zygote.learn(house, *arguments).code in allowed, self.zygote.output(house)

    def _copy(self, template: House) -> House:
        house = self._house()
        for name in ("state", "desk"):
            shutil.copytree(
                template.directory / name,
                house.directory / name,
                symlinks=True,
                dirs_exist_ok=True,
            )
        passphrase = template.directory / "ca.passphrase"
        if passphrase.exists():
            shutil.copy(passphrase, house.directory)
        return house

    def _house(self) -> House:
        house = a_house(self._world, self._place / str(next(self._numbers)), self._door)
        (house.directory / "names").write_text("\n".join(_MANY))
        return house


def _is_alike(step: str) -> bool:
    """Locks, which die with their holder; what is said; and the many files, one like the other."""
    return "/locks/" in step or step.endswith(" output") or "/out/" in step


def _age(house: House) -> None:
    """Has a list signed as it would have been the day before yesterday."""

    class Earlier(SystemClock):
        def now(self) -> datetime:
            return super().now() - _AGE

    config = load(house.config, {})
    assert config.authority is not None
    warden = Warden(config, RecordingReporter(), purpose="test")
    warden.clock = Earlier()
    now = warden.clock.now()
    carol = [each.serial for each in warden.register.named("carol")]
    warden.register.supersede(carol, now + timedelta(days=1))
    sign_lists(warden, required_root(warden), warden.signing_key(), now)
    warden.close()


class Play:
    """A command that was killed in a house, and what comes after it."""

    def __init__(self, stage: Stage, house: House) -> None:
        self.house = house
        self.evidence = Evidence(house)
        self._zygote = stage.zygote

    def cut(self, arguments: list[str], step: int) -> tuple[Ended, Sight]:
        """Kills the command before that step; what lies there then."""
        self.evidence.look()
        ended = self._zygote.run_counted(
            self.house, *arguments, kill_before=step, below=self.house.directory
        )
        return ended, self.evidence.look()

    def expect(self, code: int, arguments: list[str]) -> Sight:
        """Runs a command to its end; what lies there then."""
        ended = self._zygote.run(self.house, *arguments)
        said = (self.house.directory / "output").read_text()
        what = f"`{' '.join(arguments[:3])}` ended with {ended.code} instead of {code}\n{said}"
        self.evidence.check(ended.code == code, what)
        return self.evidence.look()

    def settle(self) -> None:
        """A pass, which is to leave nothing to be done."""
        self.evidence.judge_settled(self.expect(0, ["renew"]))


def _issue(house: House, name: str) -> list[str]:
    out, password = desk(house) / f"{name}.p12", desk(house) / PASSWORD_FILE
    return ["client", "issue", name, "--out", str(out), "--password-file", str(password)]


def _issue_many(house: House) -> list[str]:
    out, passwords = desk(house) / "out", desk(house) / PASSWORDS
    names = house.directory / "names"
    arguments = ["client", "issue", "--from", str(names), "--out", str(out)]
    return [*arguments, "--format", "pem", "--password-file", str(passwords)]


def _renew(house: House, name: str, *options: str) -> list[str]:
    out, password = desk(house) / f"{name}-2.p12", desk(house) / PASSWORD_FILE
    arguments = ["client", "renew", name, "--out", str(out), "--password-file", str(password)]
    return [*arguments, *options]


def _after_founding(play: Play, lies: Sight) -> None:
    """There is one CA, whose key opens under the passphrase that is kept."""
    play.expect(2 if lies.has_root else 0, ["ca", "init"])
    key = Secret((play.house.state / "authority" / "root.key").read_bytes())
    decrypt_key(key, Secret((play.house.directory / "ca.passphrase").read_bytes().rstrip()))


def _after_issuing(play: Play, lies: Sight) -> None:
    """Who has no file gets one: by the same command, or as a renewal of what is lost."""
    is_known = bool(lies.valid("alice"))
    play.expect(2 if is_known else 0, _issue(play.house, "alice"))
    if is_known and "alice.p12" not in lies.files:
        play.expect(0, _renew(play.house, "alice"))
    files = play.evidence.look().files
    play.evidence.check(bool({"alice.p12", "alice-2.p12"} & files.keys()), "alice has no file")


def _after_issuing_many(play: Play, lies: Sight) -> None:
    """All have their files, or none has; then they get them as above."""
    had = [name for name in lies.files if name.startswith("out/")]
    play.evidence.check(len(had) in (0, len(_MANY)), f"only {len(had)} have their files")
    known = [name for name in _MANY if lies.valid(name)]
    play.evidence.check(len(known) in (0, len(_MANY)), f"only {len(known)} are in the register")
    if not known:
        sight = play.expect(0, _issue_many(play.house))
        play.evidence.check(len(sight.files) >= len(_MANY), "files are missing")
    elif not had:
        play.expect(0, _renew(play.house, known[-1]))


def _after_renewing(play: Play, lies: Sight) -> None:
    """The new certificate is there, and the ones before will end."""
    sight = play.expect(2 if "bob-2.p12" in lies.files else 0, _renew(play.house, "bob"))
    newest = sight.files.get("bob-2.p12")
    for serial in sight.valid("bob"):
        is_to_end = sight.entries[serial].supersede_at is not None
        play.evidence.check(is_to_end == (serial != newest), f"{serial} of bob's stays on")


def _after_replacing(play: Play, lies: Sight) -> None:
    """The new certificate is there, and the ones before have ended, or will."""
    arguments = _renew(play.house, "bob", "--replace")
    sight = play.expect(2 if "bob-2.p12" in lies.files else 0, arguments)
    newest = sight.files.get("bob-2.p12")
    for serial in sight.valid("bob") - {newest}:
        is_to_end = sight.entries[serial].supersede_at is not None
        play.evidence.check(is_to_end, f"{serial} of bob's stays on")


def _after_revoking(play: Play, lies: Sight) -> None:  # noqa: ARG001 - like the others
    """Once more, and it is done and proven."""
    sight = play.expect(0, ["client", "revoke", "bob"])
    play.evidence.check(not sight.valid("bob"), "bob is not revoked")
    play.evidence.judge_settled(sight)


def _after_signing(play: Play, lies: Sight) -> None:  # noqa: ARG001 - like the others
    """The list is today's, and carol is in it."""
    sight = play.expect(0, ["renew"])
    play.evidence.check(not sight.valid("carol"), "carol is not revoked")
    assert sight.published is not None
    is_of_today = sight.published.this_update > datetime.now().astimezone() - _AGE / 2
    play.evidence.check(is_of_today, "the list is still the old one")


@dataclass(frozen=True)
class Kind:
    """A command, the house in which it is killed, and what has to come of it.

    Only each n-th cut is made, n being odd: transactions and their commits take turns.
    """

    house: Callable[[Stage], House]
    arguments: Callable[[House], list[str]]
    judge: Callable[[Play, Sight], None]
    every: int = 1


KINDS = {
    "init": Kind(Stage.bare, lambda _: ["ca", "init"], _after_founding, every=3),
    "issue": Kind(Stage.founded, lambda house: _issue(house, "alice"), _after_issuing),
    "issue-many": Kind(Stage.founded, _issue_many, _after_issuing_many),
    "renew": Kind(Stage.founded, lambda house: _renew(house, "bob"), _after_renewing),
    "replace": Kind(
        Stage.founded, lambda house: _renew(house, "bob", "--replace"), _after_replacing, every=5
    ),
    "revoke": Kind(Stage.founded, lambda _: ["client", "revoke", "bob"], _after_revoking, every=3),
    "sign": Kind(Stage.aged, lambda _: ["renew"], _after_signing, every=3),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all tests: each scene has a house of its own."""
    if why := stepping.why_not():
        pytest.skip(why)
    with ExitStack() as stack:
        world = stack.enter_context(World(proxy=True, pebble=_CALM))
        door = stack.enter_context(Turnstile())
        zygote = stack.enter_context(Zygote())
        stage = Stage(tmp_path_factory.mktemp("stage"), world, door, zygote)
        stage.build()
        yield stage


@pytest.mark.parametrize("kind", KINDS)
def test_killed_before_each_step(stage: Stage, kind: str) -> None:
    """Whatever was written when it died, nothing is lost, and nothing is given twice."""
    plot = KINDS[kind]
    house = plot.house(stage)
    whole = stage.zygote.run_counted(house, *plot.arguments(house), below=house.directory)
    assert whole.code == 0, stage.zygote.output(house)
    wrong = []
    cuts = chosen_cuts(whole.steps, _is_alike)[:: plot.every]
    for turn, cut in enumerate(cuts):
        play = Play(stage, plot.house(stage))
        ended, lies = play.cut(plot.arguments(play.house), cut)
        assert ended.was_killed or ended.code == 0, stage.zygote.output(play.house)
        if turn % 2:  # else the command is the first to come after the kill
            play.settle()
        plot.judge(play, lies)
        play.settle()
        where = f"killed before step {cut}, {ended.steps[-1]}"
        wrong += [f"{where}: {sentence}" for sentence in play.evidence.wrong]
        shutil.rmtree(play.house.directory)
    assert not wrong, "\n\n".join(wrong)
