"""A program that is nothing but a listener: `python -m tests.enrolment.standing CERTIFICATE KEY`.

It prints its port, and for each request when it is begun and when it is answered. Limits follow
as JSON. It ends when its standard input does, or by a signal as the command of certwarden does.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

from certwarden.enrolment.exchange import Reply, Request
from certwarden.enrolment.listener import Limits, listen
from tests.world.server import context_for


def answer(request: Request) -> Reply:
    """Some paths take until something is written to the standard input, or for good."""
    print("begun", request.path, flush=True)
    if request.path == "/when-told":
        os.read(sys.stdin.fileno(), 1)
    elif request.path == "/never":
        threading.Event().wait()
    print("answered", request.path, flush=True)
    return Reply(200, "text/plain", request.path.encode())


def is_over() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    context = context_for(Path(sys.argv[1]), Path(sys.argv[2]))
    limits = Limits(**json.loads(sys.argv[3]))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with socket.create_server(("127.0.0.1", 0), backlog=200) as door:
        print(door.getsockname()[1], flush=True)
        try:
            listen(
                door,
                lambda: context,
                answer,
                is_over=is_over,
                limits=limits,
                report=lambda line: print("report:", line, flush=True),
            )
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    print(f"ended with {threading.active_count()} threads, {descriptors} descriptors")


if __name__ == "__main__":
    main()
