"""Several deploys: side by side, each under its target's lock, one reload for all of a program.

What a deploy consists of is `deploy`'s to say, whether one is needed that of whoever asks for it.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from certwarden.errors import Error, as_error
from certwarden.lifecycle.deploy import Deployed
from certwarden.lifecycle.side_by_side import (
    SharedReloader,
    SharedService,
    side_by_side,
    together,
)
from certwarden.model import CommandReload, DeployOutcome, TargetSpec, UnitReload
from certwarden.ports import Level, Neighbours, Reloader


@dataclass(frozen=True)
class Job:
    """A deploy: `put` makes it with the reloader that it is given; None where it was not needed."""

    target: TargetSpec
    put: Callable[[Reloader], Deployed | None]


def roll_out(world: Neighbours, jobs: Sequence[Job]) -> dict[str, Deployed]:
    """What came of the jobs, by the target's name; what goes wrong on the way is a failed deploy.

    Never raises Error. Targets of different programs do not wait for each other.
    """
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        groups.setdefault(service_of(job.target), []).append(job)
    tasks = [partial(_roll_out_together, world, group) for group in groups.values()]
    done = side_by_side(tasks, world.clock)
    return {each.target: each for group in done for each in group}


def service_of(target: TargetSpec) -> object:
    """What is reloaded for the target: the same for all targets of one program."""
    if isinstance(target.reload, UnitReload | CommandReload):
        return target.reload
    return target.name


def told(world: Neighbours, subject: str, exception: Exception) -> Error:
    """What went wrong with a certificate or target, once a person was told of it."""
    error = as_error(exception)
    world.reporter.event(Level.ERROR, subject, error.what, error.hint)
    return error


def _roll_out_together(world: Neighbours, jobs: Sequence[Job]) -> list[Deployed]:
    """Deploys to targets of one program, which is reloaded once for all of them.

    All locks are taken before, in the order of their names: while a member waits for the others
    to be ready, none of these may wait for what another process holds that waits for us.
    """
    done: list[Deployed | None] = []
    ready = []
    with ExitStack() as locks:
        for job in sorted(jobs, key=lambda job: job.target.name):
            try:
                locks.enter_context(world.locks.target(job.target.name))
            except Exception as exception:  # noqa: BLE001 - the others' locks may be free
                done.append(_failed(world, job, exception))
            else:
                ready.append(partial(_put, world, job))
        done += together(ready, world.clock)
    return [each for each in done if each is not None]


def _put(world: Neighbours, job: Job, service: SharedService) -> Deployed | None:
    try:
        return job.put(SharedReloader(world.reloader(job.target.name), service))
    except Exception as exception:  # noqa: BLE001 - the others are put to use all the same
        return _failed(world, job, exception)


def _failed(world: Neighbours, job: Job, exception: Exception) -> Deployed:
    name = job.target.name
    return Deployed(name, DeployOutcome.FAILED, told(world, name, exception))
