"""kill -9 after every step of an issuance: each change on the disk, each request over the network.

Each run begins afresh, dies at one point, and is judged as it lies there; then `renew` runs again,
and what must hold is judged: one order for the need, one account, a matching pair stored and in
use, no TXT record, no litter.

One cut is beyond anybody's reach: when the CA has taken the order and we die before its URL is
written down. RFC 8555 has no way to ask for it (the account's list of orders, section 7.1.2.1, is
not offered by Let's Encrypt, which instead hands out the pending order once more). There, and
nowhere else, a second order is allowed.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509

from bench.door import Door
from certwarden.files import TEMPORARY_PREFIX
from certwarden.model import Secret
from certwarden.pki.certificate import read_pair
from tests.waiting import wait_until
from tests.world import World, stepping
from tests.world.faultproxy import AcmeFault
from tests.world.house import House
from tests.world.killing import Ended, RequestKiller, Zygote, chosen_cuts
from tests.world.pebble import PebbleOptions

# Nothing by chance, so that the n-th step is the same in every run.
_CALM = PebbleOptions(nonce_reject=0, authz_reuse=0, retry_after_authz=0, retry_after_order=0)
_TARGET = """
  [[certificate.target]]
  name = "door"
  kind = "files"
  probe = "{address}"
"""
_FIRST = ("example.org", "*.example.org")
_CHANGED = (*_FIRST, "attic.example.org")


@dataclass
class Scene:
    """One run and its end: what it does is `renew` in a house that needs one certificate.

    `before` are the orders that the state directory knew when it began.
    """

    house: House
    world: World
    zygote: Zygote
    before: frozenset[bytes] = frozenset()
    pair_before: bytes = b""
    wrong: list[str] = field(default_factory=list)

    @property
    def live(self) -> Path:
        """The target's directory."""
        return self.house.state / "live" / "door"

    def judge_as_it_lies(self) -> bool:
        """What anybody would read at this instant; returns whether an order has been lost."""
        for link in (self.house.stored / "current", self.live / "current"):
            if link.is_symlink():
                self._check(_pair(link) != b"", f"{link} does not lead to a matching pair")
            else:
                self._check(self.pair_before == b"", f"{link} is gone")
        known = _orders_known(self.house.state) - self.before
        return self._accepted("newOrder") > len(known) and not self._is_stored()

    def judge_recovery(self, *, may_order_again: bool) -> None:
        """Runs `renew` again and looks at what has become of everything."""
        ended = self.zygote.run(self.house, "renew")
        said = f"\n{self.zygote.output(self.house)}"
        self._check(ended.code == 0, f"the next pass ended with {ended.code}{said}")
        orders = self._accepted("newOrder")
        allowed = {1, 2} if may_order_again else {1}
        self._check(orders in allowed, f"{orders} orders for one need{said}")
        accounts = self._accepted("newAccount")
        self._check(accounts == (0 if self.pair_before else 1), f"{accounts} new accounts{said}")
        left = self.world.txt_records()
        self._check(not left, f"TXT records are left: {left}{said}")
        litter = _litter(self.house.state)
        self._check(not litter, f"litter is left: {litter}{said}")
        self._check(self._is_stored(), f"the certificate is not stored{said}")
        self._check(
            _pair(self.house.stored / "current") == _pair(self.live / "current") != b"",
            f"what is installed is not what is stored{said}",
        )
        plan = self.house.directory / "plan"
        self.zygote.run(self.house, "plan", "--json", output=plan)
        self._check(plan.read_text().strip() == "[]", f"still to be done: {plan.read_text()}{said}")

    def _check(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - an assertion that goes on
        if not holds:
            self.wrong.append(sentence)

    def _accepted(self, resource: str) -> int:
        assert self.world.proxy is not None
        return sum(
            each.resource == resource and each.status == 201 for each in self.world.proxy.requests
        )

    def _is_stored(self) -> bool:
        path = self.house.stored / "current" / "cert.pem"
        if not path.exists():
            return False
        leaf = x509.load_pem_x509_certificate(path.read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(names.get_values_for_type(x509.DNSName)) == set(self.house.domains)


def _pair(link: Path) -> bytes:
    """The pair that a link leads to, or nothing where it does not match."""
    generation = link.resolve()
    key, chain = (
        (generation / name).read_bytes() if (generation / name).exists() else b""
        for name in ("privkey.pem", "fullchain.pem")
    )
    try:
        read_pair(Secret(key), chain)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no pair
        return b""
    return key + chain


def _orders_known(state: Path) -> frozenset[bytes]:
    """The orders at the CA that are written down somewhere in the state directory."""
    found = set()
    for path in state.rglob("*"):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(TEMPORARY_PREFIX):
            _, *after = path.read_bytes().split(b"/my-order/")
            found |= {each.partition(b'"')[0] for each in after}
    return frozenset(found)


def _litter(state: Path) -> list[str]:
    return [
        str(path.relative_to(state))
        for path in state.rglob("*")
        if path.name.startswith(TEMPORARY_PREFIX)
    ]


class Stage:
    """Where scenes are set: one small world with a door, and a house that is copied afresh."""

    def __init__(self, place: Path, world: World, door: Door, zygote: Zygote) -> None:
        self.world, self.zygote = world, zygote
        self._place, self._door = place, door
        self._numbers = count()
        self._template: House | None = None
        self._challenged: int | None = None

    def first(self) -> Scene:
        """An empty house: no account, no certificate."""
        return self._scene(_FIRST)

    def changed(self) -> Scene:
        """A house that has a certificate in use, and now wants another one."""
        if self._template is None:
            scene = self._scene(_FIRST)
            assert self.zygote.run(scene.house, "renew").code == 0
            self._template = scene.house
        scene = self._scene(_CHANGED)
        shutil.copytree(self._template.state, scene.house.state, symlinks=True)
        scene.before = _orders_known(scene.house.state)
        scene.pair_before = _pair(scene.live / "current")
        return scene

    def interrupted(self) -> Scene:
        """A house whose first renewal was killed when the CA was about to look at TXT records."""
        if self._challenged is None:
            self._challenged = self._moment_of("challenge")
        scene = self.first()
        with RequestKiller(self.world) as killer:
            killer.begin(self._challenged)
            ended = self.zygote.run(scene.house, "renew", on_start=killer.started)
        assert ended.was_killed
        assert self.world.txt_records()
        return scene

    def _moment_of(self, resource: str) -> int:
        """When such a request comes for the first time, as `RequestKiller` counts."""
        scene = self.first()
        assert self.world.proxy is not None
        self.world.emulator.forget_requests()
        assert self.zygote.run(scene.house, "renew").code == 0
        theirs = [(each.at, "") for each in self.world.emulator.requests]
        ours = [(each.at, each.resource) for each in self.world.proxy.requests]
        names = [name for _, name in sorted((*theirs, *ours))]
        return 2 * names.index(resource) + 1

    def _scene(self, domains: tuple[str, ...]) -> Scene:
        assert self.world.proxy is not None
        house = House(
            self.world,
            self._place / str(next(self._numbers)),
            targets=_TARGET.format(address=self._door.address),
            domains=domains,
        )
        scene = Scene(house, self.world, self.zygote)
        self._door.put_up("example.org", scene.live)
        self.world.proxy.forget_requests()
        return scene


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all tests: each scene has a house of its own."""
    place = tmp_path_factory.mktemp("stage")
    with ExitStack() as stack:
        world = stack.enter_context(World(proxy=True, pebble=_CALM))
        world.emulator.rate_limit = (1_000_000, 300.0)  # this is a crowd of houses, not one
        door = stack.enter_context(Door(world.authority))
        zygote = stack.enter_context(Zygote())
        stage = Stage(place, world, door, zygote)
        house = stage.first().house
        assert zygote.learn(house, "renew").code == 0, zygote.output(house)
        yield stage


SCENES: dict[str, Callable[[Stage], Scene]] = {
    "first": Stage.first,
    "changed": Stage.changed,
    "interrupted": Stage.interrupted,
}
_SHARES = 2  # so that two workers may share the work
_EVERY = {"changed": 2, "interrupted": 4}  # only so many, as much of them repeats the first


@pytest.mark.parametrize("share", range(_SHARES))
@pytest.mark.parametrize("kind", SCENES)
def test_killed_before_each_step_on_the_disk(stage: Stage, kind: str, share: int) -> None:
    """Whatever was written when it died, the next pass ends well with one order."""
    if why := stepping.why_not():
        pytest.skip(why)
    scene = SCENES[kind](stage)
    steps = stage.zygote.run_counted(scene.house, "renew").steps
    cuts = chosen_cuts(steps)[:: _EVERY.get(kind, 1)][share::_SHARES]

    def run(scene: Scene, cut: int) -> tuple[Ended, str]:
        ended = stage.zygote.run_counted(scene.house, "renew", kill_before=cut)
        return ended, f"before step {cut}, {ended.steps[-1]}"

    for where in judge_each(stage, kind, cuts, run):
        assert "certificates/home/draft" in where, "the order's URL is not what is saved next"


@pytest.mark.parametrize("share", range(_SHARES))
@pytest.mark.parametrize("kind", SCENES)
def test_killed_around_each_request(stage: Stage, kind: str, share: int) -> None:
    """Whatever CA and Cloudflare were asked or had done when it died, one order comes of it."""
    with RequestKiller(stage.world) as killer:
        scene = SCENES[kind](stage)
        killer.begin(None)
        assert stage.zygote.run(scene.house, "renew").code == 0
        cuts = list(range(1, killer.moments + 1))[:: _EVERY.get(kind, 1)][share::_SHARES]

        def run(scene: Scene, cut: int) -> tuple[Ended, str]:
            killer.begin(cut)
            ended = stage.zygote.run(scene.house, "renew", on_start=killer.started)
            moment = "carried out" if cut % 2 == 0 else "come"
            killer.begin(None)
            return ended, f"when request {(cut + 1) // 2} had {moment}"

        assert len(judge_each(stage, kind, cuts, run)) <= 1


def test_a_certificate_that_ended_before_it_was_fetched(tmp_path: Path) -> None:
    """Killed before the download and off for longer than the certificate lasts: it orders anew."""
    lifetime = 5
    brief = replace(_CALM, profiles={"default": lifetime})
    with World(proxy=True, pebble=brief) as world, Zygote() as zygote:
        assert world.proxy is not None
        house = House(world, tmp_path)
        asked = world.proxy.inject(AcmeFault("slow", "cert", seconds=20))
        process = house.start("renew")
        wait_until(lambda: asked.fired)
        process.kill()
        process.communicate()
        world.proxy.clear_faults()
        issued_at = time.monotonic()
        wait_until(lambda: time.monotonic() > issued_at + lifetime + 1)
        for _ in range(2):  # the first may find out; a name that is given waits for no back-off
            ended = zygote.run(house, "renew", "home")
        assert ended.code == 0, zygote.output(house)
        assert world.pebble.orders() >= 2


def judge_each(
    stage: Stage, kind: str, cuts: list[int], run: Callable[[Scene, int], tuple[Ended, str]]
) -> list[str]:
    """Sets a scene for each cut, plays it, and judges; fails once, with all that was wrong.

    Returns where an order had been taken whose URL nobody knew any more.
    """
    assert cuts
    wrong: list[str] = []
    lost: list[str] = []
    for cut in cuts:
        scene = SCENES[kind](stage)
        ended, where = run(scene, cut)
        assert ended.was_killed or ended.code == 0, stage.zygote.output(scene.house)
        if is_lost := scene.judge_as_it_lies():
            lost.append(where)
        scene.judge_recovery(may_order_again=is_lost)
        wrong += [f"killed {where}: {sentence}" for sentence in scene.wrong]
        shutil.rmtree(scene.house.directory)
    assert not wrong, "\n\n".join(wrong)
    return lost
