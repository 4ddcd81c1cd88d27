"""Programs that are not ours, run within limits of time and output.

No shell, nothing on stdin but what the caller lends, and an environment of a few harmless
variables: what certwarden was given (credentials, systemd's sockets, tokens) is not for them.
Judges no exit status.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from certwarden.frozen import frozen

_PASSED_ON = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER"}
    | {"DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"}
)
_CHUNK = 64 * 1024


@frozen
class Limits:
    """How long a program may take (seconds), how much of its output is kept (bytes), and whether
    what it has started may outlive it.
    """

    seconds: float
    output: int
    may_leave_children: bool = False


@frozen
class Identity:
    """Whom a program runs as, where that is not us; `groups` are those beside its own."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@frozen
class Finished:
    """How it ended: `status` is its exit status (negative: a signal), None where time ran out."""

    status: int | None
    output: bytes  # stdout and stderr as they came, cut at the limit
    is_cut: bool


def harmless_environment() -> dict[str, str]:
    """The variables of ours that another program may see."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith("LC_")
    }


def run(
    argv: Sequence[str],
    limits: Limits,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    identity: Identity | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Finished:
    """Runs the program to its end or to its limit; raises OSError where it cannot be started.

    `stdin` is a descriptor that it may read from.

    Its end is that of the program itself: a service that it has left running, which still holds
    its output open, is not waited for.
    """
    with subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=directory,
        env=harmless_environment() if environment is None else environment,
        user=identity.uid if identity else None,
        group=identity.gid if identity else None,
        extra_groups=list(identity.groups) if identity else None,
    ) as process:
        is_over = False
        try:
            assert process.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
            kept, size, is_over = listen(process.stdout.fileno(), process.pid, limits)
        finally:
            # Before `wait`: until then the number of the group cannot have gone to anybody else.
            if not is_over or not limits.may_leave_children:
                _kill_group(process.pid)
        status = process.wait()
    return Finished(status if is_over else None, kept, is_cut=size > limits.output)


def listen(stream: int, process: int, limits: Limits) -> tuple[bytes, int, bool]:
    """Reads until the child is over or late: what is kept, how much there was, is it over.

    `stream` is the end of a pipe to read from, `process` the child's id.
    """
    os.set_blocking(stream, False)
    deadline = time.monotonic() + limits.seconds
    kept, size, is_over = bytearray(), 0, False
    end = os.pidfd_open(process)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            while not is_over and (left := deadline - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left)}
                is_over = end in ready
                if stream in ready:
                    piece = _read_available(stream, drain=is_over)
                    if piece == b"":
                        selector.unregister(stream)
                    size += len(piece or b"")
                    kept += (piece or b"")[: limits.output - len(kept)]
    finally:
        os.close(end)
    return bytes(kept), size, is_over


def _read_available(stream: int, *, drain: bool) -> bytes | None:
    """What is there to read, b"" at the end of the stream, None where nothing is there yet.

    `drain`: all of what a pipe can hold, because nobody will look again.
    """
    pieces = []
    for _ in range(16 if drain else 1):
        try:
            piece = os.read(stream, _CHUNK)
        except BlockingIOError:
            break
        pieces.append(piece)
        if not piece:
            break
    return b"".join(pieces) if pieces else None


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone already, or its last member is a set-user-id program that is not ours to end
