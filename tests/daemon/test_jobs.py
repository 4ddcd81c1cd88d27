"""The appointments, kept by the real APScheduler."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from certwarden.daemon.jobs import Jobs
from tests.waiting import wait_until

HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


class Woken:
    """Counts, and says when."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self) -> None:
        self.event.set()


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def jobs(woken: Woken) -> Iterator[Jobs]:
    jobs = Jobs(woken, 60)
    jobs.start()
    yield jobs
    jobs.stop()


def test_a_job_that_is_due_wakes_the_main_thread(jobs: Jobs, woken: Woken) -> None:
    """Once; and it is gone afterwards."""
    jobs.arm({"reconcile": now() + timedelta(seconds=0.1), "token": now() + HOUR})
    assert woken.event.wait(10)
    assert jobs.fired()
    assert not jobs.fired()
    assert not jobs.is_empty()
    jobs.arm({})
    assert jobs.is_empty()


@pytest.mark.parametrize("days", [200, 36500])
def test_a_job_long_overdue_fires_once(jobs: Jobs, woken: Woken, days: int) -> None:
    """A clock that jumped makes no storm, and no job is dropped for being late."""
    jobs.arm({"reconcile": now() - timedelta(days=days)})
    assert woken.event.wait(10)
    assert jobs.fired()
    assert not jobs.fired()


def test_what_is_armed_anew_does_not_fire_for_what_it_was(jobs: Jobs, woken: Woken) -> None:
    """A job that fires just before it is replaced has had its pass."""
    jobs.arm({"reconcile": now()})
    assert woken.event.wait(10)
    jobs.arm({"reconcile": now() + HOUR})
    assert not jobs.fired()
    assert not jobs.is_empty()


def test_a_scheduler_that_does_not_fire_is_not_healthy(jobs: Jobs) -> None:
    """A minute is the limit, as seen from the first look, on the monotonic clock."""
    jobs._scheduler.pause()
    jobs.arm({"reconcile": now() - HOUR})
    assert jobs.is_healthy(now(), 1000)
    assert jobs.is_healthy(now(), 1060)
    assert not jobs.is_healthy(now(), 1061)
    jobs.arm({"reconcile": now() + HOUR})
    assert jobs.is_healthy(now(), 1062)


def test_a_scheduler_whose_thread_has_died_is_not_healthy(jobs: Jobs) -> None:
    """Also while no job is late."""
    jobs.arm({"reconcile": now() + HOUR})
    assert jobs.is_healthy(now(), 0)
    jobs.stop()
    assert not jobs.is_healthy(now(), 0)


def test_a_scheduler_ends_while_a_job_fires(woken: Woken) -> None:
    """Without a word on stderr, and no thread is left."""
    before = threading.active_count()
    for _ in range(10):
        jobs = Jobs(woken, 60)
        jobs.start()
        jobs.arm({"reconcile": now()})
        jobs.stop()
    wait_until(lambda: threading.active_count() == before, "the end of its threads")
