"""Several deploys at once: one reload for all of a program, and nobody fails for another's sake."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from certwarden.lifecycle import side_by_side
from certwarden.lifecycle.act import CertificateResult, deploy_again
from certwarden.lifecycle.rollout import Job, roll_out
from certwarden.model import (
    Address,
    ClientTrust,
    CommandReload,
    DeployOutcome,
    Pair,
    Reload,
    Seen,
    UnitReload,
    UnitVerb,
)
from tests.builders import a_certificate_spec, a_stored, a_target_spec
from tests.lifecycle.house import House

NGINX = UnitReload("nginx.service", UnitVerb.RELOAD)
COMMAND = CommandReload(("reload-all",))
PROBE = Address("127.0.0.1", 443)
SECRET = "cfut_secret"


class Sites:
    """Certificates that are stored, with one target each; all targets are one program's."""

    def __init__(self, count: int, reload: Reload = NGINX, probe: Address | None = PROBE) -> None:
        specs = []
        for number in reversed(range(count)):  # the order of their names is another one
            name = f"{number:03d}"
            site = a_target_spec(f"t{name}", certificate=f"c{name}", reload=reload, probe=probe)
            specs.append(
                a_certificate_spec(f"c{name}", domains=(f"c{name}.example.org",), targets=[site])
            )
        self.house = House(*specs)
        self.world = self.house.world
        self.reloads = 0
        self._takes_up = [each.program.reload for each in self.world.targets.values()]
        self.reload_by(self._reload)
        for spec in specs:
            self.house.put(a_stored(spec.name, domains=spec.domains), is_used=False)

    def reload_by(self, reload: Callable[[], None]) -> None:
        for each in self.world.targets.values():
            each.program.is_unit = True
            each.program.reload = reload  # type: ignore[method-assign]

    def _reload(self) -> None:
        self.reloads += 1
        for take_up in self._takes_up:
            take_up()

    def deploy(self) -> list[DeployOutcome]:
        """How it ended, by the names of the targets."""
        return outcomes(deploy_again(self.world, self.house.specs))


def outcomes(results: tuple[CertificateResult, ...]) -> list[DeployOutcome]:
    ended = {each.target: each.outcome for result in results for each in result.deployed}
    return [ended[name] for name in sorted(ended)]


def test_a_shared_program_is_reloaded_once_when_a_person_deploys() -> None:
    """`certwarden deploy` is no reason to reload it for each site."""
    sites = Sites(3)
    assert sites.deploy() == [DeployOutcome.IN_USE] * 3
    assert sites.reloads == 1


@pytest.mark.parametrize("count", [70, side_by_side.MOST_AT_ONCE + 1])
def test_a_program_may_have_more_targets_than_are_worked_on_at_once(count: int) -> None:
    """They all wait for each other, and none for ever."""
    sites = Sites(count)
    assert sites.deploy() == [DeployOutcome.IN_USE] * count
    assert sites.reloads == 1


@pytest.mark.parametrize("room", [0, 1, 3])
def test_where_there_is_no_room_for_all_the_rest_follows(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """By further reloads; nobody waits for one that cannot begin."""
    monkeypatch.setattr(side_by_side, "_room", threading.Semaphore(room))
    sites = Sites(10)
    assert sites.deploy() == [DeployOutcome.IN_USE] * 10
    assert 1 < sites.reloads <= 10


def test_locks_are_taken_before_and_in_order() -> None:
    """Two processes never hold what the other one waits for."""
    sites = Sites(5)
    locks = sites.world.locks
    wanted = [f"target-t{number:03d}" for number in range(5)]
    held: list[set[str]] = []

    def reload() -> None:
        held.append(set(locks.held))
        sites._reload()

    sites.reload_by(reload)
    assert sites.deploy() == [DeployOutcome.IN_USE] * 5
    assert locks.taken == wanted
    assert held == [set(wanted)]
    assert locks.held == set()


def test_a_busy_target_fails_alone() -> None:
    """The others do without it."""
    sites = Sites(3)
    sites.world.locks.busy = {"target-t001"}
    assert sites.deploy() == [DeployOutcome.IN_USE, DeployOutcome.FAILED, DeployOutcome.IN_USE]
    assert sites.reloads == 1


# ── what nobody foresaw ───────────────────────────────────────────────────────────────────────────


def publish(sites: Sites) -> None:
    def fail(_pair: Pair, _trust: ClientTrust | None = None) -> None:
        raise OSError(SECRET)

    sites.world.targets["t001"].shelf.publish = fail  # type: ignore[method-assign, assignment]


def look(sites: Sites) -> None:
    def fail() -> Seen:
        raise ValueError(SECRET)

    sites.world.targets["t001"].probe.look = fail  # type: ignore[method-assign]


def begin(sites: Sites) -> None:
    taken = sites.world.locks.target

    @contextmanager
    def fail(name: str) -> Iterator[None]:
        if name == "t001":
            raise PermissionError(SECRET)
        with taken(name):
            yield

    sites.world.locks.target = fail  # type: ignore[method-assign]


@pytest.mark.parametrize("spoil", [publish, look, begin])
def test_a_mistake_of_ours_is_one_targets_failure(spoil: Callable[[Sites], None]) -> None:
    """Its kind and place are told, and never its text; the others are in use."""
    sites = Sites(3)
    spoil(sites)
    assert sites.deploy() == [DeployOutcome.IN_USE, DeployOutcome.FAILED, DeployOutcome.IN_USE]
    (told,) = sites.house.errors
    assert told.startswith("unforeseen: ")
    assert " in test_rollout.py, line " in told
    assert SECRET not in told


def test_a_mistake_of_ours_is_backed_off_like_any_failed_deploy() -> None:
    """It stands in the ledger, so that the next pass does not do the same at once."""
    sites = Sites(1)

    def reload() -> None:
        raise ZeroDivisionError

    sites.reload_by(reload)
    assert sites.deploy() == [DeployOutcome.FAILED]
    assert [each.outcome for each in sites.world.ledger.deploys] == [DeployOutcome.FAILED]


def test_a_reload_that_is_broken_off_counts_for_nobody() -> None:
    """Where there is no probe, a member that took it for done would be recorded as installed."""
    sites = Sites(3, COMMAND, probe=None)

    def reload() -> None:
        raise OSError(SECRET)

    sites.reload_by(reload)
    assert sites.deploy() == [DeployOutcome.FAILED] * 3
    for error in sites.house.errors:
        assert error.startswith("the reload was broken off, unforeseen: OSError in test_rollout.py")


def test_a_reload_that_is_interrupted_ends_it_for_all() -> None:
    """It is no failure of theirs: a kill in the midst, which the next pass finds."""
    sites = Sites(3, COMMAND, probe=None)

    def reload() -> None:
        raise KeyboardInterrupt

    sites.reload_by(reload)
    with pytest.raises(KeyboardInterrupt):
        sites.deploy()
    assert {each.outcome for each in sites.world.ledger.deploys} == {DeployOutcome.BEGUN}
    assert sites.world.locks.held == set()


def test_what_was_not_needed_is_not_told_of() -> None:
    """A job that finds its work done says nothing."""
    house = House(a_certificate_spec(targets=[a_target_spec()]))
    (target,) = house.spec.targets
    assert roll_out(house.world, [Job(target, lambda _: None)]) == {}


def test_programs_do_not_wait_for_each_other() -> None:
    """The reload of one does not begin when that of the other has ended, but beside it."""
    reloads: list[Reload] = [NGINX, COMMAND]
    specs = [
        a_certificate_spec(
            f"c{number}",
            domains=(f"c{number}.example.org",),
            targets=[a_target_spec(f"t{number}", certificate=f"c{number}", reload=reload)],
        )
        for number, reload in enumerate(reloads)
    ]
    house = House(*specs)
    both = threading.Barrier(2)
    for each in house.world.targets.values():
        take_up = each.program.reload

        def reload(take_up: Callable[[], None] = take_up) -> None:
            both.wait(30)
            take_up()

        each.program.reload = reload  # type: ignore[method-assign]
        each.program.is_unit = True
    for spec in specs:
        house.put(a_stored(spec.name, domains=spec.domains), is_used=False)
    assert outcomes(deploy_again(house.world, specs)) == [DeployOutcome.IN_USE] * 2
