"""Deploy: in use means seen, and what served before serves again (invariant 5)."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certwarden.errors import StoreError, TargetError
from certwarden.lifecycle import deploy as lifecycle
from certwarden.lifecycle.deploy import Deployed
from certwarden.model import (
    ClientTrust,
    DeployOutcome,
    Event,
    Installed,
    KeyType,
    NoHandshake,
    Pair,
    Served,
    TargetSpec,
    UnitReload,
    UnitVerb,
    Unreachable,
)
from certwarden.pki.certificate import build_placeholder
from certwarden.ports import Level
from tests.builders import DOMAINS, NOW, a_certificate_spec, a_pair, a_target_spec
from tests.fakes import FakeTarget, FakeWorld

UNIT = UnitReload("nodered.service", UnitVerb.RESTART)


def a_world(spec: TargetSpec) -> tuple[FakeWorld, FakeTarget]:
    world = FakeWorld(a_certificate_spec(targets=[spec]))
    target = world.targets[spec.name]
    target.program.is_unit = isinstance(spec.reload, UnitReload)
    return world, target


def deploy(world: FakeWorld, spec: TargetSpec, pair: Pair, now: datetime) -> Deployed:
    """By the target's own reloader."""
    return lifecycle.deploy(world, spec, pair, now, world.reloader(spec.name))


def serving(spec: TargetSpec, pair: Pair) -> tuple[FakeWorld, FakeTarget]:
    """A target at which the pair was deployed before, and is in use."""
    world, target = a_world(spec)
    assert deploy(world, spec, pair, NOW).outcome is DeployOutcome.IN_USE
    world.reporter.told.clear()
    return world, target


def text_of(result: Deployed) -> str:
    assert result.error is not None
    return result.error.what


def test_success_is_a_handshake_that_shows_the_new_leaf() -> None:
    """Installed, reloaded, seen: only then in use, and recorded as the last good generation."""
    world, target = a_world(a_target_spec())
    pair = a_pair()
    result = deploy(world, target.spec, pair, NOW)
    assert result.outcome is DeployOutcome.IN_USE
    assert target.shelf.last_good() == pair
    assert [record.outcome for record in world.ledger.deploys] == [DeployOutcome.IN_USE]
    assert world.ledger.history[-1].kind == "deployed"


def test_the_new_leaf_is_waited_for() -> None:
    """A program that takes a while to take up its files is looked at until it has."""
    world, target = a_world(a_target_spec())
    other = Served(a_pair().certificate)
    target.probe.overrides = [other, other, other, NoHandshake("starting"), other]
    assert deploy(world, target.spec, a_pair(), NOW).outcome is DeployOutcome.IN_USE
    assert world.clock.elapsed - 1000 < target.spec.probe_timeout.total_seconds()


@pytest.mark.parametrize("reload", [UNIT, None])
def test_a_program_that_keeps_the_old_leaf_gets_the_old_pair_back(
    reload: UnitReload | None,
) -> None:
    """What does not show the new leaf is rolled back by a new generation, and a person hears."""
    old, new = a_pair(), a_pair()
    world, target = serving(a_target_spec(reload=reload), old)
    target.program.is_deaf = True
    result = deploy(world, target.spec, new, NOW)
    assert result.outcome is DeployOutcome.FAILED
    assert "back in use" in text_of(result)
    assert [generation.number for generation in target.shelf.generations] == [1, 2, 3]
    assert target.shelf.current is not None
    assert target.shelf.current.pair == old
    assert world.reporter.texts(Level.ERROR)


def test_a_program_that_dies_of_the_new_pair_is_started_with_the_old_one() -> None:
    """A unit that ran before is restarted by the roll-back although it is down by then."""
    old, new = a_pair(), a_pair()
    world, target = serving(a_target_spec(reload=UNIT), old)
    target.program.dies_of = {new.certificate.fingerprint}
    result = deploy(world, target.spec, new, NOW)
    assert result.outcome is DeployOutcome.FAILED
    assert target.probe.look() == Served(old.certificate)


def test_a_reload_that_fails_is_rolled_back() -> None:
    """A command that ends in an error leaves the last good pair current."""
    old, new = a_pair(), a_pair()
    world, target = serving(a_target_spec(reload=UNIT), old)
    target.program.reload_error = TargetError("nodered.service could not be restarted")
    result = deploy(world, target.spec, new, NOW)
    assert result.outcome is DeployOutcome.FAILED
    assert "could not be restarted" in text_of(result)
    assert "the last good certificate is back in use" in text_of(result)  # it never was out of it
    assert target.shelf.current is not None
    assert target.shelf.current.pair == old


def test_the_pair_that_stood_there_before_is_the_first_to_go_back_to() -> None:
    """At fixed paths the person's own pair is put back when ours was never seen in use."""
    world, target = a_world(a_target_spec(reload=UNIT))
    own, new = a_pair(), a_pair()
    target.shelf.standing = target.program.loaded = own
    target.program.dies_of = {new.certificate.fingerprint}
    assert deploy(world, target.spec, new, NOW).outcome is DeployOutcome.FAILED
    assert target.probe.look() == Served(own.certificate)


def test_nothing_is_rolled_back_to_an_expired_certificate() -> None:
    """An expired pair is not a good one: the new one stays."""
    old, new = a_pair(days=1), a_pair()
    world, target = serving(a_target_spec(), old)
    target.program.is_deaf = True
    later = NOW + timedelta(hours=30)
    assert deploy(world, target.spec, new, later).outcome is DeployOutcome.FAILED
    assert target.shelf.current is not None
    assert target.shelf.current.pair == new


def test_a_program_that_was_down_keeps_the_new_pair() -> None:
    """Nobody there before or after: the files stay, it is a warning, and one look is enough."""
    world, target = a_world(a_target_spec(reload=UNIT))
    target.program.is_running = False
    pair = a_pair()
    result = deploy(world, target.spec, pair, NOW)
    assert result.outcome is DeployOutcome.UNREACHABLE
    assert target.shelf.current is not None
    assert target.shelf.current.pair == pair
    assert world.reporter.texts(Level.WARNING)
    assert not world.clock.sleeps


def test_what_a_person_has_stopped_is_not_started() -> None:
    """A unit that was not active before the deploy is not restarted by it."""
    world, target = a_world(a_target_spec(reload=UNIT))
    target.program.is_running = False
    deploy(world, target.spec, a_pair(), NOW)
    assert target.program.reloads == 0


def test_a_kill_in_the_midst_still_ends_in_a_roll_back() -> None:
    """What served before the kill is remembered: a pair that kills the program is not kept."""
    old, new = a_pair(), a_pair()
    world, target = serving(a_target_spec(reload=UNIT), old)
    served = old.certificate.fingerprint
    world.ledger.begin_deploy(
        target.spec.name, new.certificate.fingerprint, NOW, was_active=True, served_before=served
    )
    target.shelf.publish(new)
    target.program.is_running = False
    target.program.dies_of = {new.certificate.fingerprint}
    assert deploy(world, target.spec, new, NOW).outcome is DeployOutcome.FAILED
    assert target.probe.look() == Served(old.certificate)


def test_a_unit_that_a_failed_deploy_left_down_is_not_forgotten() -> None:
    """It is not started (a person may have stopped it since), but every pass fails aloud."""
    old, new = a_pair(), a_pair()
    world, target = serving(a_target_spec(reload=UNIT), old)
    target.program.dies_of = {old.certificate.fingerprint, new.certificate.fingerprint}
    assert deploy(world, target.spec, new, NOW).outcome is DeployOutcome.FAILED
    target.program.dies_of = set()
    reloads = target.program.reloads
    for _ in range(2):
        result = deploy(world, target.spec, new, NOW)
        assert result.outcome is DeployOutcome.FAILED
        assert result.error is not None
        assert "nodered.service" in result.error.hint
    assert target.program.reloads == reloads


def test_what_was_taken_up_later_is_what_to_go_back_to() -> None:
    """A program that was down, and serves the pair since a person started it, has used it."""
    world, target = a_world(a_target_spec(reload=UNIT))
    first, second = a_pair(), a_pair()
    target.program.is_running = False
    assert deploy(world, target.spec, first, NOW).outcome is DeployOutcome.UNREACHABLE
    target.program.is_running, target.program.loaded = True, first
    target.program.dies_of = {second.certificate.fingerprint}
    assert deploy(world, target.spec, second, NOW).outcome is DeployOutcome.FAILED
    assert target.probe.look() == Served(first.certificate)


def test_a_kill_in_the_midst_is_not_taken_for_a_stop_by_a_person() -> None:
    """The ledger remembers that the unit ran and served before a deploy that was cut short."""
    old, new = a_pair(), a_pair()
    world, target = serving(a_target_spec(reload=UNIT), old)
    served = old.certificate.fingerprint
    world.ledger.begin_deploy(
        target.spec.name, new.certificate.fingerprint, NOW, was_active=True, served_before=served
    )
    target.shelf.publish(new)
    target.program.is_running = False  # killed between the stop and the start
    assert deploy(world, target.spec, new, NOW).outcome is DeployOutcome.IN_USE


def test_the_same_pair_is_not_published_twice() -> None:
    """Deploying what is installed already reloads and verifies, and writes no new generation."""
    pair = a_pair()
    world, target = serving(a_target_spec(), pair)
    deploy(world, target.spec, pair, NOW)
    assert len(target.shelf.generations) == 1


def test_without_a_probe_nothing_is_called_in_use() -> None:
    """Where nobody can look, the outcome is `installed`."""
    world, target = a_world(a_target_spec(probe=None))
    assert deploy(world, target.spec, a_pair(), NOW).outcome is DeployOutcome.INSTALLED


def test_somebody_new_with_a_wrong_certificate_keeps_the_new_pair() -> None:
    """Unreachable before, serving another leaf after: a failure, with nothing put back."""
    world, target = a_world(a_target_spec())
    new, stranger = a_pair(), a_pair()
    target.program.is_deaf = True
    target.program.loaded = stranger
    target.probe.overrides = [Unreachable("connection refused")]
    assert deploy(world, target.spec, new, NOW).outcome is DeployOutcome.FAILED
    assert target.shelf.current is not None
    assert target.shelf.current.pair == new


def test_the_programs_own_complaint_is_told() -> None:
    """What the hot module says about why it kept the old pair is part of the sentence."""
    world, target = serving(a_target_spec(), a_pair())
    target.program.is_deaf = True
    target.program.says = "key values mismatch"
    assert "key values mismatch" in text_of(deploy(world, target.spec, a_pair(), NOW))


def test_a_placeholder_is_never_a_good_generation() -> None:
    """There is no going back to a placeholder."""
    world, target = a_world(a_target_spec())
    deploy(world, target.spec, build_placeholder(DOMAINS, KeyType.ECDSA_P256, NOW), NOW)
    assert target.shelf.last_good() is None


def test_files_that_cannot_be_written_are_an_error_and_no_traceback() -> None:
    """A shelf that refuses is told, and recorded as a failure."""
    world, target = a_world(a_target_spec())
    target.shelf.publish_error = TargetError("the directory is read-only", "remount it")
    result = deploy(world, target.spec, a_pair(), NOW)
    assert (result.outcome, text_of(result)) == (
        DeployOutcome.FAILED,
        "the directory is read-only",
    )
    assert world.ledger.deploys[-1].outcome is DeployOutcome.FAILED


def test_the_timeout_bounds_the_wait() -> None:
    """A program that never shows the leaf is given up at the probe's timeout."""
    spec = replace(a_target_spec(), probe_timeout=timedelta(seconds=60))
    world, target = serving(spec, a_pair())
    target.program.is_deaf = True
    start = world.clock.elapsed
    deploy(world, target.spec, a_pair(), NOW)
    assert 60 <= world.clock.elapsed - start < 62


def test_a_roll_back_that_cannot_be_written_does_not_hide_the_reason() -> None:
    """Both are told: why the new pair failed, and why the old one is not back."""
    old, new = a_pair(), a_pair()
    world, target = serving(a_target_spec(), old)
    target.program.is_deaf = True
    target.program.says = "key values mismatch"
    publish = target.shelf.publish

    def publish_only_new(pair: Pair, trust: ClientTrust | None = None) -> Installed:
        if pair == old:
            raise TargetError("there is no space left")
        return publish(pair, trust)

    target.shelf.publish = publish_only_new  # type: ignore[method-assign]
    text = text_of(deploy(world, target.spec, new, NOW))
    assert "key values mismatch" in text
    assert "no space left" in text


def test_a_history_that_cannot_be_written_does_not_hide_the_reason() -> None:
    """A full disk changes nothing about why the pair was rolled back, nor that it was."""
    world, target = serving(a_target_spec(), a_pair())
    target.program.is_deaf = True
    target.program.says = "key values mismatch"

    def record(_event: Event) -> None:
        raise StoreError("the disk is full")

    world.ledger.record = record  # type: ignore[method-assign, assignment]
    text = text_of(deploy(world, target.spec, a_pair(), NOW))
    assert "key values mismatch" in text
    assert text.endswith("the last good certificate is back in use")
    assert "the disk is full" in world.reporter.texts(Level.ERROR)


def test_what_cannot_be_asked_is_told() -> None:
    """A machine without systemctl: the sentence is heard, and nothing was touched."""
    world, target = a_world(a_target_spec(reload=UNIT))

    def is_active() -> bool:
        raise TargetError("there is no systemctl on this machine")

    target.program.is_active = is_active  # type: ignore[method-assign]
    assert deploy(world, target.spec, a_pair(), NOW).outcome is DeployOutcome.FAILED
    assert world.reporter.texts(Level.ERROR) == ["there is no systemctl on this machine"]
    assert target.shelf.generations == []


def test_a_ledger_that_cannot_be_written_does_not_unmake_a_deploy() -> None:
    """In use is in use; that it could not be recorded is told."""
    world, target = a_world(a_target_spec())

    def end_deploy(*_: object) -> None:
        raise StoreError("the disk is full")

    world.ledger.end_deploy = end_deploy  # type: ignore[method-assign, assignment]
    assert deploy(world, target.spec, a_pair(), NOW).outcome is DeployOutcome.IN_USE
    assert world.reporter.texts(Level.ERROR) == ["the disk is full"]
