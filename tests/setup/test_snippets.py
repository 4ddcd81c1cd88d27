"""What is rendered can be had at the command line, until it is installed by itself."""

from pathlib import Path

import pytest

from certwarden.cli import main
from certwarden.config import load
from certwarden.setup.polkit import polkit_rule
from certwarden.setup.service import service_drop_in
from tests.setup.configured import a_config


def test_rule_and_drop_in_are_printed_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stdout and nothing else there, so that it can be sent into a file."""
    path = a_config(tmp_path).source
    config = load(path, {})
    assert main(["--config", str(path), "snippet", "polkit"]) == 0
    assert capsys.readouterr().out == polkit_rule(config)
    assert main(["--config", str(path), "snippet", "systemd"]) == 0
    assert capsys.readouterr().out == service_drop_in(config)


def test_they_are_about_all_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A target that is named besides is not passed over in silence."""
    path = a_config(tmp_path).source
    assert main(["--config", str(path), "snippet", "polkit", "node-red"]) == 2
    assert "for all targets together" in capsys.readouterr().err
