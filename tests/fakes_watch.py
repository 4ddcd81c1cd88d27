"""Stand-ins for those who can tell the time, for who reaches a person, and for the door."""

from datetime import UTC, datetime, timedelta

from certwarden.errors import NotifyError, TargetError


class FakeTimeSources:
    """Says what it is told to; the clock is synchronised unless said otherwise.

    `asked` counts how often a server was asked for its Date.
    """

    def __init__(
        self,
        *,
        synchronised: bool | None = True,
        offset: timedelta | None = None,
        build_date: datetime = datetime(2026, 11, 1, tzinfo=UTC),
    ) -> None:
        self.state = synchronised
        self.difference = offset
        self.built_at = build_date
        self.asked = 0

    def synchronised(self) -> bool | None:
        return self.state

    def build_date(self) -> datetime:
        return self.built_at

    def offset(self) -> timedelta | None:
        self.asked += 1
        return self.difference


class FakeMessenger:
    """Remembers what it sent, as (title, text); `failure` is raised while it is set.

    A partial failure is raised after somebody was reached. Without `readers` there is only the
    heartbeat.
    """

    def __init__(self, *, readers: bool = True) -> None:
        self.has_readers = readers
        self.sent: list[tuple[str, str]] = []
        self.heartbeats = 0
        self.failure: NotifyError | None = None

    def send(self, title: str, text: str) -> None:
        if self.failure is None or self.failure.is_partial:
            self.sent.append((title, text))
        if self.failure is not None:
            raise self.failure

    def heartbeat(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.heartbeats += 1


class FakeDoor:
    """Opens and shuts, and counts how often; `failure` is raised instead while it is set."""

    def __init__(self) -> None:
        self.stands_open = False
        self.moves = 0
        self.failure: TargetError | None = None

    def is_open(self) -> bool:
        return self.stands_open

    def open(self) -> None:
        self._move(stands_open=True)

    def shut(self) -> None:
        self._move(stands_open=False)

    def _move(self, *, stands_open: bool) -> None:
        if self.failure is not None:
            raise self.failure
        self.stands_open = stands_open
        self.moves += 1
