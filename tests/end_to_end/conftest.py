"""A world for the end-to-end tests, and a fresh house in it for each test."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock

import pytest

from tests.world import World, bare
from tests.world.debian import RELEASES
from tests.world.house import House
from tests.world.installed import build_wheel
from tests.world.process import DidNotStart
from tests.world.tools import Missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs real counterparts."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.world)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(proxy=True) as world:
        yield world


@pytest.fixture
def house(world: World, tmp_path: Path) -> Iterator[House]:
    """A house with one certificate that is in use nowhere; no fault outlives the test."""
    assert world.proxy is not None
    world.emulator.forget_requests()
    world.proxy.forget_requests()
    yield House(world, tmp_path)
    world.emulator.clear_faults()
    world.proxy.clear_faults()
    world.proxy.resume()
    for record in world.store.records():
        if record.type == "TXT":
            world.store.remove(record)


@pytest.fixture(scope="session")
def installed_by_pipx(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By release of Debian: what its pipx makes of certwarden, for a BareHouse; made once.

    The newest makes it of the sources, the others of a wheel.
    """
    lock = Lock()  # two machines may be made side by side

    @cache
    def wheel() -> Path:
        return build_wheel(tmp_path_factory.mktemp("wheel") / "built")

    def built() -> Path:
        with lock:
            return wheel()

    @cache
    def made(release: str) -> Path:
        directory = tmp_path_factory.mktemp(f"pipx-{release}")
        try:
            is_newest = release == RELEASES[-1]
            return bare.installed_by_pipx(release, built(), directory, is_from_sources=is_newest)
        except (Missing, DidNotStart) as why:
            pytest.skip(f"no container with systemd can be booted here: {why}")

    return made
