"""A Node-RED's home with a settings.js, and a target with a certificate to serve from it."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

from certwarden.model import TargetSpec
from certwarden.targets.shelf import GenerationShelf
from tests.builders import a_pair, a_target_spec
from tests.targets.trust import SmallAuthority

NOBODY = 65534
Settings = Callable[[bytes], Path]


@pytest.fixture
def home() -> Iterator[Path]:
    """Of Node-RED's user: of nobody, where root runs the tests; pytest's own he may not enter."""
    home = Path(mkdtemp(prefix="certwarden-node-red-"))
    home.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def settings(home: Path) -> Settings:
    """Makes a settings.js of this content."""

    def write(source: bytes) -> Path:
        path = home / "settings.js"
        path.write_bytes(source)
        path.chmod(0o640)
        os.chown(path, home.stat().st_uid, home.stat().st_gid)
        return path

    return write


@pytest.fixture
def spec(home: Path) -> TargetSpec:
    """A target to which a certificate has been published."""
    return published(home, client_auth=False)


@pytest.fixture
def guarded_spec(home: Path) -> TargetSpec:
    """The same, which asks its clients for certificates."""
    return published(home, client_auth=True)


def published(home: Path, *, client_auth: bool) -> TargetSpec:
    live = home / "live"
    spec = replace(
        a_target_spec(directory=live), client_auth=client_auth, settings=home / "settings.js"
    )
    GenerationShelf(spec).publish(a_pair(), SmallAuthority().trust())
    for path in (live, *live.rglob("*")):
        os.chown(path, home.stat().st_uid, home.stat().st_gid, follow_symlinks=False)
    return spec
