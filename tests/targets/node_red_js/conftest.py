"""What every test here starts from: a directory, an authority, clients, a `live`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import material
from .material import Live, Pair


@pytest.fixture
def place() -> Iterator[Path]:
    """A scratch directory that an unprivileged user may enter, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="certwarden-js-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def live(place: Path) -> Live:
    return Live.make(place / "live")


@pytest.fixture(scope="session")
def authority() -> Pair:
    return material.authority()


@pytest.fixture(scope="session")
def alice(authority: Pair) -> Pair:
    return material.client("alice", authority)


@pytest.fixture(scope="session")
def bob(authority: Pair) -> Pair:
    return material.client("bob", authority)


@pytest.fixture(scope="session")
def stranger() -> Pair:
    """Signed by another authority of the same name."""
    return material.client("alice", material.authority())
