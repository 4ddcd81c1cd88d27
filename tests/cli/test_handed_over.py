"""Secrets that systemd hands to the service: root reads them for commands that only look."""

import os
from pathlib import Path

import pytest

from certwarden.cli.privilege import handed_over
from certwarden.config import load
from certwarden.doctor.configuration import look_at_secrets
from certwarden.doctor.finding import Result
from certwarden.doctor.patient import admit
from certwarden.model import Secret
from certwarden.wiring import Warden
from tests.fakes_store import RecordingReporter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of its own")

UNIT = """\
# /etc/systemd/system/certwarden.service.d/secrets.conf
[Service]
LoadCredential=cloudflare.token:/etc/certwarden/secrets/cloudflare.token
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose token is root's alone."""
    token = tmp_path / "cloudflare.token"
    token.write_text("x" * 40)
    token.chmod(0o600)
    file = tmp_path / "config.toml"
    file.touch(mode=0o600)
    file.write_text(
        f"""\
state_directory = "{tmp_path}/state"
[acme]
directory = "http://127.0.0.1:9/directory"
terms_of_service_agreed = true
[cloudflare]
api_token_file = "{token}"
base_url = "http://127.0.0.1:9/client/v4"
[clock]
trust = "always"
[[certificate]]
name = "home"
domains = ["example.org"]
"""
    )
    return file


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `systemctl cat` shows."""
    shown = tmp_path / "unit"
    shown.write_text(UNIT)
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$1" = cat ] && cat {shown}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return shown


def test_what_systemd_hands_to_the_service_is_read_by_root(config: Path, unit: Path) -> None:
    """Else a house with LoadCredential= would seem to fail to whoever looks at it."""
    read = load(config, {})
    token = config.parent / "cloudflare.token"
    assert handed_over(read) == {token: Secret(b"x" * 40)}
    unit.write_text("#LoadCredential=cloudflare.token:/x\nLoadCredential=other:/y\n")
    assert handed_over(read) == {}, "a service that cannot read its token does fail"
    unit.write_text(UNIT)
    os.chown(token, 0, 65534)
    token.chmod(0o640)
    assert handed_over(read) == {}, "the service reads the file itself"


def test_with_it_such_a_house_is_looked_at_as_any_other(config: Path, unit: Path) -> None:
    """Nothing reads the file again, which is closed by then."""
    assert unit.exists()
    read = load(config, {})
    secrets = handed_over(read)
    token = config.parent / "cloudflare.token"
    token.unlink()
    reporter = RecordingReporter()
    warden = Warden(read, reporter, purpose="doctor", is_read_only=True, handed_over=secrets)
    try:
        patient = admit(read, warden)
        assert [each.trouble for each in patient.observed] == [None]
        (finding,) = look_at_secrets(patient)
    finally:
        warden.close()
    assert (finding.subject, finding.result) == (str(token), Result.OK)
    assert "systemd hands it to the service" in finding.what
