"""Runs one command and writes down what it took: `launch.py RESULT COMMAND…`.

A process of its own, because a child inherits the peak memory of whoever starts it: this one is
small and imports next to nothing. RESULT gets exit code, wall seconds, processor seconds (user and
system, of all its children too) and the peak resident size in KiB of its largest process.
"""

import os
import sys
import time


def main() -> None:
    """Runs it; what the command writes goes where this process's output goes."""
    result, *command = sys.argv[1:]
    begun = time.monotonic()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    with open(result, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs memory
        file.write(f"{code} {wall} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")


if __name__ == "__main__":
    main()
