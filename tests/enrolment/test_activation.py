"""The socket that systemd hands over is taken, and nothing else for one."""

import os
import socket

import pytest

from certwarden.enrolment.activation import handed_over
from certwarden.errors import UsageError

PID = 4711
MEANT = {"LISTEN_PID": str(PID), "LISTEN_FDS": "1"}


def test_the_socket_is_taken_and_goes_to_no_child() -> None:
    """It listens where systemd has bound it, and programs that we start do not get it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as bound,
        handed_over(MEANT, PID, first=os.dup(bound.fileno())) as door,
    ):
        assert door.getsockname() == bound.getsockname()
        assert not door.get_inheritable()


@pytest.mark.parametrize(
    "environ",
    [{}, MEANT | {"LISTEN_PID": "1"}, MEANT | {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "1"}],
)
def test_what_is_not_meant_for_us_is_left_alone(environ: dict[str, str]) -> None:
    """Without systemd, or in a child of the one that it was for."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        with pytest.raises(UsageError, match="nobody has handed over"):
            handed_over(environ, PID, first=bound.fileno())
        assert bound.fileno() >= 0


def test_what_does_not_listen_is_refused() -> None:
    """A file, a socket that is nobody's door, or no descriptor at all."""
    with socket.socket() as idle, open(os.devnull) as file:  # noqa: PTH123 - a descriptor
        for found in (os.dup(idle.fileno()), file.fileno(), 1_000_000):
            with pytest.raises(UsageError, match="nobody has handed over"):
                handed_over(MEANT, PID, first=found)
