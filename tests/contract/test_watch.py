"""What TimeSources and Messenger promise, held against the real ones and their fakes."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from certwarden.clock import SystemTimeSources
from certwarden.errors import NotifyError
from certwarden.notify import AppriseMessenger
from certwarden.ports import Messenger, TimeSources
from tests.builders import NOW
from tests.fakes_store import FakeClock
from tests.fakes_watch import FakeMessenger, FakeTimeSources
from tests.world.postbox import Postbox


class Line:
    """A messenger, what has arrived by it, and how to cut it."""

    def __init__(
        self, messenger: Messenger, arrived: Callable[[], int], cut: Callable[[], None]
    ) -> None:
        self.messenger = messenger
        self.arrived = arrived
        self.cut = cut


@pytest.fixture(params=["fake", "real"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """A way to reach a person."""
    if request.param == "fake":
        fake = FakeMessenger()

        def cut() -> None:
            fake.failure = NotifyError("nobody is there")

        yield Line(fake, lambda: len(fake.sent) + fake.heartbeats, cut)
        return
    with Postbox() as postbox:
        messenger = AppriseMessenger(postbox.url, postbox.heartbeat_url)
        yield Line(messenger, lambda: len(postbox.calls), postbox.stop)


class TestMessenger:
    """Messages and heartbeats arrive, or it is said that they did not."""

    def test_both_arrive(self, line: Line) -> None:
        """What is sent is there when the call returns."""
        line.messenger.send("title", "text")
        assert line.arrived() == 1
        line.messenger.heartbeat()
        assert line.arrived() == 2

    def test_nobody_there_is_an_error(self, line: Line) -> None:
        """Neither is lost in silence."""
        line.cut()
        with pytest.raises(NotifyError) as failed:
            line.messenger.send("title", "text")
        assert not failed.value.is_partial
        with pytest.raises(NotifyError):
            line.messenger.heartbeat()
        assert line.arrived() == 0


@pytest.fixture(params=["fake", "real"])
def nobody(request: pytest.FixtureRequest) -> TimeSources:
    """Time sources with nobody who could be asked for a Date."""
    if request.param == "fake":
        return FakeTimeSources(synchronised=None)
    return SystemTimeSources(FakeClock(), [("http://127.0.0.1:1/", None)])


class TestTimeSources:
    """Whoever cannot tell says None, and never raises."""

    def test_nobody_can_tell(self, nobody: TimeSources) -> None:
        """Not to know is no error."""
        assert nobody.offset() is None
        assert nobody.synchronised() in {None, True, False}

    def test_build_date(self, nobody: TimeSources) -> None:
        """It is aware, and before what the tests take for now."""
        assert nobody.build_date().utcoffset() == timedelta()
        assert nobody.build_date() <= NOW
