"""One certwarden at a time: locks that the kernel lets go of when their holder dies.

They are files: STATE/locks/orders, STATE/locks/authority, STATE/locks/target-NAME.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from certwarden import files
from certwarden.ports import Level, Reporter
from certwarden.store.state import explained, private_directory

PATIENCE = timedelta(seconds=60)


class FileLocks:
    """The port `Locks` on files. `purpose` is what others are told that we do: "renew home".

    Raises Busy after `patience`, and StoreError where a lock's file cannot be made. Whoever waits
    does so by `sleep`; what that raises ends the wait.
    """

    def __init__(
        self,
        state_directory: Path,
        reporter: Reporter,
        purpose: str,
        patience: timedelta = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,  # noqa: TID251 - wiring has the Clock's
    ) -> None:
        self._state = state_directory
        self._reporter = reporter
        self._purpose = purpose
        self._patience = patience
        self._sleep = sleep

    def orders(self) -> AbstractContextManager[None]:
        """Placing orders, and whatever is written down on the way."""
        return self._hold("orders", self._patience)

    def try_orders(self) -> AbstractContextManager[None]:
        """The same without waiting: Busy at once where it is held."""
        return self._hold("orders", timedelta())

    def authority(self) -> AbstractContextManager[None]:
        """The private CA: its register, its key, and its list."""
        return self._hold("authority", self._patience)

    def try_authority(self) -> AbstractContextManager[None]:
        """The same without waiting: Busy at once where it is held."""
        return self._hold("authority", timedelta())

    def target(self, name: str) -> AbstractContextManager[None]:
        """What is done to a target's files and its program."""
        return self._hold(f"target-{name}", self._patience)

    def try_target(self, name: str) -> AbstractContextManager[None]:
        """The same without waiting: Busy at once where it is held."""
        return self._hold(f"target-{name}", timedelta())

    @contextmanager
    def _hold(self, name: str, longest: timedelta) -> Iterator[None]:
        patience = longest.total_seconds()

        def tell(holder: str) -> None:
            text = f"waiting up to {patience:.0f} s for {holder}"
            self._reporter.event(Level.INFO, name, text)

        with ExitStack() as stack:
            with explained(f"the lock {name} cannot be taken"):
                path = private_directory(self._state, "locks") / name
                lock = files.lock(path, self._purpose, patience, tell, self._sleep)
                stack.enter_context(lock)
            yield
