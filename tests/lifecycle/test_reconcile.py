"""A pass among others: what is looked at again under a lock, and what is none of its business."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from certwarden.lifecycle.act import deploy_again
from certwarden.model import DeployOutcome, Stored
from certwarden.ports import Level
from tests.builders import NOW, a_certificate_spec, a_pair, a_stored, a_target_spec, a_txt_record
from tests.fakes import FakeTarget, FakeWorld
from tests.lifecycle.house import House


class OneTarget(House):
    """One certificate, wanted at one target."""

    def __init__(self) -> None:
        super().__init__(a_certificate_spec(targets=[a_target_spec()]))

    @property
    def target(self) -> FakeTarget:
        return self.world.targets["node-red"]

    def meanwhile(self, stored: Stored) -> None:
        """While somebody waits for the target, another process stores and deploys this."""
        taken = self.world.locks.target

        @contextmanager
        def target(name: str) -> Iterator[None]:
            with taken(name):
                self.world.certificates.versions["home"].append(stored)
                self.target.shelf.publish(stored.pair)
                self.target.program.loaded = stored.pair
                yield

        self.world.locks.target = target  # type: ignore[method-assign]


@pytest.fixture
def house() -> OneTarget:
    return OneTarget()


def test_after_waiting_the_newest_version_is_deployed(house: OneTarget) -> None:
    """What was read before the wait for a target's lock is not put over what came since."""
    house.world.certificates.versions["home"] = [a_stored()]
    newer = a_stored(version=2)
    house.meanwhile(newer)
    assert house.run().is_good
    assert house.target.shelf.current is not None
    assert house.target.shelf.current.pair == newer.pair


def test_deploy_looks_again_as_well(house: OneTarget) -> None:
    """The same for the command that deploys needed or not."""
    house.world.certificates.versions["home"] = [a_stored()]
    newer = a_stored(version=2)
    house.meanwhile(newer)
    deploy_again(house.world, [house.spec])
    assert house.target.shelf.current is not None
    assert house.target.shelf.current.pair == newer.pair


def test_records_of_a_running_order_are_not_litter(house: OneTarget) -> None:
    """Somebody else holds the lock on orders: what the journal shows may be at work."""
    stored = a_stored()
    house.world.certificates.versions["home"] = [stored]
    house.target.shelf.publish(stored.pair)
    house.target.program.loaded = stored.pair
    house.world.ledger.intend([a_txt_record()], NOW)
    house.world.locks.busy = {"orders"}
    assert house.run().is_good
    assert house.world.reporter.texts(Level.ERROR) == []


def test_an_order_that_begins_beside_us_is_not_our_failure(house: OneTarget) -> None:
    """Only our own records that could not be removed make a pass a bad one."""
    taken = house.world.locks.target

    @contextmanager
    def target(name: str) -> Iterator[None]:
        with taken(name):
            yield
        house.world.ledger.intend([a_txt_record()], NOW)

    house.world.locks.target = target  # type: ignore[method-assign]
    assert house.run().is_good


def test_a_busy_target_does_not_hold_up_the_next_one() -> None:
    """A lock that is not to be had is that target's failure alone."""
    spec = a_certificate_spec(targets=[a_target_spec("a"), a_target_spec("b")])
    world = FakeWorld(spec)
    world.certificates.versions["home"] = [a_stored()]
    world.locks.busy = {"target-a"}
    (result,) = deploy_again(world, [spec])
    outcomes = [each.outcome for each in result.deployed]
    assert outcomes == [DeployOutcome.FAILED, DeployOutcome.IN_USE]


def test_a_placeholder_is_never_called_in_use(house: OneTarget) -> None:
    """It lets a program start; it is a failure to a script, and a warning to a person."""
    (result,) = deploy_again(house.world, [house.spec])
    assert not result.is_good
    assert not any("in use" in text for text in house.world.reporter.texts())
    assert [event.kind for event in house.world.ledger.history] == ["placeholder"]


def test_a_placeholder_takes_no_valid_certificates_place(house: OneTarget) -> None:
    """What a target serves from elsewhere stays until there is a certificate of ours."""
    house.target.program.loaded = a_pair()
    (result,) = deploy_again(house.world, [house.spec])
    assert not result.is_good
    assert house.target.shelf.generations == []
