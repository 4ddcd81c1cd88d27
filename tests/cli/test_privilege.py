"""Root becomes the owner of the state directory, and does not found one by accident."""

import os
import pwd
from pathlib import Path

import pytest

from certwarden.cli.privilege import settle
from certwarden.errors import UsageError

ROOT = pwd.getpwuid(0)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that is not there, and root who looks for it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path / "state"


def test_root_makes_no_state_where_certwarden_has_a_user(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would stay root, and run whatever the configuration names; looking harms nobody."""
    monkeypatch.setattr(pwd, "getpwnam", lambda _: ROOT)
    with pytest.raises(UsageError, match=f"there is no {state}") as refusal:
        settle(state)
    assert f"-o certwarden -g certwarden {state}" in refusal.value.hint
    settle(state, is_looking=True)


def test_root_is_root_by_choice_where_there_is_no_such_user(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, for example."""

    def unknown(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    settle(state)
