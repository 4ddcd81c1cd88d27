"""The daemon: a clock that starts a pass when one is due, and watches over it.

Standard library and APScheduler only. It does no work itself: a pass is a child process, the very
program that `certwarden renew` is, and so is whatever reads the configuration. Nothing here opens
the database, a key or a connection to anywhere.
"""

from certwarden.daemon.daemon import Daemon, Pace

__all__ = ["Daemon", "Pace"]
