"""Where no container can be made, it is said why."""

import os

import pytest

from tests.world import debian
from tests.world.debian import Debian
from tests.world.tools import Missing


def test_only_root_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched for somebody who could not boot it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Missing, match=r"^Only root can boot a container"):
        Debian.prepared()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package that it is in."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    assert debian.why_no_container() == "A container needs the system package apt."
