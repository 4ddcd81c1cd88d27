"""`certwarden run`: the daemon with the real program, streams and rights."""

import gc
import os
import sys
from argparse import Namespace

from certwarden.cli.arguments import config_file
from certwarden.cli.console import Console
from certwarden.cli.privilege import settle


def run(arguments: Namespace) -> int:
    """The daemon, in the foreground, until it is told to end."""
    # APScheduler loads asyncio, and that OpenSSL, if it can: 4 MB that the daemon has no use for.
    sys.modules["ssl"] = None  # type: ignore[assignment]  # "do not import", says Python's manual
    from certwarden.daemon import Daemon

    gc.set_threshold(700, 10, 10)  # unlike a command it lives long: Python's own
    gc.collect()
    gc.freeze()
    console = Console(is_verbose=arguments.verbose, is_quiet=arguments.quiet)
    flags = [
        *(["--verbose"] if arguments.verbose else []),
        *(["--quiet"] if arguments.quiet else []),
    ]
    daemon = Daemon(
        config_file(arguments).absolute(),
        console,
        # Not -m alone: the directory that we were started in is no place to look for a program.
        program=[sys.executable, "-I" if sys.flags.isolated else "-P", "-m", "certwarden", *flags],
        settle=settle,
        environ=os.environ,
    )
    try:
        return daemon.run()
    finally:
        console.close()
