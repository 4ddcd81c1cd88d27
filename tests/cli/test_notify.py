"""`certwarden notify` reaches a person, and shows no address."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certwarden.cli import main
from certwarden.model import Secret
from tests.toml_text import toml_text
from tests.world.postbox import TOKEN, Postbox


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    """Somebody who can be reached."""
    with Postbox() as box:
        yield box


def _secret(path: Path, value: Secret) -> str:
    path.touch(mode=0o600)
    path.write_bytes(value.reveal())
    return str(path)


def _configured(directory: Path, notify: dict[str, str]) -> list[str]:
    """The command line's beginning, with a configuration that has this [notify]."""
    document = {
        "state_directory": "state",
        "acme": {"directory": "https://127.0.0.1:1/", "terms_of_service_agreed": True},
        "cloudflare": {"api_token_file": _secret(directory / "token", Secret(b"token"))},
        "certificate": [{"name": "home", "domains": ["example.org"]}],
        "notify": notify,
    }
    path = directory / "config.toml"
    path.touch(mode=0o600)
    path.write_text(toml_text(document))
    return ["--config", str(path), "notify"]


@pytest.fixture
def notify(tmp_path: Path, postbox: Postbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`certwarden notify` on a machine where messages and heartbeat go to the postbox."""
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "CERTWARDEN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    files = {
        "urls_file": _secret(tmp_path / "notify.urls", postbox.url),
        "heartbeat_url_file": _secret(tmp_path / "heartbeat.url", postbox.heartbeat_url),
    }
    return _configured(tmp_path, files)


def test_test_sends_a_message_and_no_heartbeat(notify: list[str], postbox: Postbox) -> None:
    """Trying whether messages arrive does not pass for a good pass."""
    assert main([*notify, "test"]) == 0
    assert len(postbox.messages) == 1
    assert len(postbox.calls) == 1


def test_test_says_that_nothing_arrived(
    notify: list[str], postbox: Postbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1 and a sentence, in which the address does not appear."""
    postbox.status = 403
    assert main([*notify, "test"]) == 1
    shown = capsys.readouterr()
    assert "did not take the message" in shown.err
    assert TOKEN not in shown.out + shown.err


@pytest.mark.parametrize("is_beating", [False, True])
def test_test_without_an_address_is_a_wrong_configuration(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    notify: list[str],
    *,
    is_beating: bool,
) -> None:
    """There is nothing to try: exit 2, and what is to be set."""
    files = {"heartbeat_url_file": str(tmp_path / "heartbeat.url")} if is_beating else {}
    assert notify == _configured(tmp_path, files)
    assert main([*notify, "test"]) == 2
    assert "urls_file" in capsys.readouterr().err


def test_a_failed_unit_is_told_once_a_day(notify: list[str], postbox: Postbox) -> None:
    """systemd may call again and again; a person hears of it once."""
    for _ in range(3):
        assert main([*notify, "unit-failed", "certwarden.service"]) == 0
    (message,) = postbox.messages
    assert "certwarden.service has failed" in message["title"]


def test_a_failed_unit_that_cannot_be_told_is_told_next_time(
    notify: list[str], postbox: Postbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody in reach is exit 1, and is not taken for told."""
    postbox.status = 500
    assert main([*notify, "unit-failed", "certwarden.service"]) == 1
    assert TOKEN not in capsys.readouterr().err
    postbox.status = 200
    assert main([*notify, "unit-failed", "certwarden.service"]) == 0
    assert len(postbox.messages) == 1


def test_a_failed_unit_without_an_address_is_a_line_in_the_log(
    tmp_path: Path, notify: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Who wants no messages gets no second failed unit for it."""
    assert notify == _configured(tmp_path, {})
    assert main([*notify, "unit-failed", "certwarden.service"]) == 0
    assert "nobody is told" in capsys.readouterr().err


@pytest.mark.parametrize(
    "unit", ["", "certwarden", "a b.service", "../x.service", "$(reboot).service", "x.service\n"]
)
def test_only_the_name_of_a_unit_will_do(notify: list[str], postbox: Postbox, unit: str) -> None:
    """What goes into a message and its advice is the name of a unit, and nothing else."""
    assert main([*notify, "unit-failed", unit]) == 2
    assert postbox.calls == []


def test_a_unit_that_fails_for_its_configuration_is_told(
    notify: list[str], postbox: Postbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a wrong configuration the part about messages is enough to say that it is wrong."""
    path = Path(notify[1])
    path.write_text(path.read_text().replace("example.org", "no domain"))
    assert main([*notify, "unit-failed", "certwarden.service"]) == 2
    (message,) = postbox.messages
    assert message["title"].endswith("the unit certwarden.service has failed")
    assert "config check" in message["message"]
    assert "no domain" in capsys.readouterr().err
