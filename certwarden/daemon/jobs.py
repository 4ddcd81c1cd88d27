"""The appointments as jobs of APScheduler, which only ever wake the main thread.

Each is a date, none an interval: a clock that jumps cannot make a storm of missed runs. Knows when
a job is late, so that a scheduler that has died is noticed.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from logging import NullHandler, getLogger
from queue import Empty, SimpleQueue

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

_THREAD = "APScheduler"  # the name that BackgroundScheduler gives its thread


class Jobs:
    """What is to be done when; `wake` is called, in another thread, when something is.

    After `patience` seconds without it the scheduler counts as dead.
    """

    def __init__(self, wake: Callable[[], None], patience: float) -> None:
        # What it has to say about jobs that were missed is seen, and told, by `is_healthy`.
        getLogger("apscheduler").addHandler(NullHandler())
        self._wake = wake
        self._patience = patience
        self._armed: dict[str, datetime] = {}
        self._fired: SimpleQueue[tuple[str, datetime]] = SimpleQueue()
        self._late_since: float | None = None
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Ends its threads; a job calls nobody afterwards."""
        if self._scheduler.running:
            # A job that fires during the shutdown would end its thread with a traceback.
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown()

    def arm(self, instants: Mapping[str, datetime]) -> None:
        """Exactly these jobs, at these instants, instead of all that there were."""
        for job in self._armed.keys() - instants.keys():
            try:
                self._scheduler.remove_job(job)
            except JobLookupError:
                pass  # it has fired just now
        for job, at in instants.items():
            self._scheduler.add_job(
                self._fire, DateTrigger(at), (job, at), id=job, replace_existing=True
            )
        self._armed = dict(instants)
        self._late_since = None

    def fired(self) -> bool:
        """Whether a job that is armed has come due since the last call; it is not armed any more.

        One that was armed anew in the meantime is not meant.
        """
        is_any = False
        while True:
            try:
                job, at = self._fired.get_nowait()
            except Empty:
                return is_any
            if self._armed.get(job) == at:
                del self._armed[job]
                is_any = True

    def is_empty(self) -> bool:
        """Whether no job is armed."""
        return not self._armed

    def is_healthy(self, now: datetime, monotonic: float) -> bool:
        """Whether the scheduler lives and fires; to be asked often, it wakes it for a late job.

        A job is late for the time during which it has been seen so: a clock that was set forward,
        or a machine that was suspended, is no fault of the scheduler's.
        """
        if any(at <= now for at in self._armed.values()):
            self._late_since = monotonic if self._late_since is None else self._late_since
            self._scheduler.wakeup()
        else:
            self._late_since = None
        is_alive = any(thread.name == _THREAD for thread in threading.enumerate())
        is_late = self._late_since is not None and monotonic - self._late_since > self._patience
        return is_alive and not is_late

    def _fire(self, job: str, at: datetime) -> None:
        self._fired.put((job, at))
        self._wake()
