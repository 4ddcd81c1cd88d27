"""Programs of the system's, found where it keeps them: root takes nobody's word for a PATH."""

import shutil
from collections.abc import Sequence

from certwarden.targets.process import Finished, Limits, harmless_environment, run

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def has_program(name: str) -> bool:
    """Whether there is such a one."""
    return shutil.which(name, path=PATH) is not None


def run_program(argv: Sequence[str], limits: Limits) -> Finished:
    """Runs one, as `process.run` does; raises OSError where it cannot be started."""
    return run(argv, limits, environment=harmless_environment() | {"PATH": PATH})
