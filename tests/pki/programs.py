"""Other people's programs, which judge what we make."""

import subprocess
from pathlib import Path

from tests.world import tools


def run(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One of the world's programs, or of pkilint's."""
    program = tools.lint() / name if name.startswith("lint_") else tools.program(name)
    return subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
