"""A mistake of ours: one line, and a file that can be sent because no secret is in it."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from certwarden.cli.bug_report import bug_report, cause_lines, write_bug_report
from certwarden.errors import Error, IssuerError
from certwarden.model import Secret
from tests.cli.conftest import Machine

TOKEN = "cfut_8Jd93kfLs02mXq7TzPw5VbNc6RyHg1Ua4Eio3KeW"
PEM = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49
AwEHBG0wawIBAQQg
-----END PRIVATE KEY-----"""
PASSPHRASE = "correct horse battery staple"

SECRETS: dict[str, tuple[str, str]] = {
    "token": (f"bad header: Bearer {TOKEN}", TOKEN),
    "bare token": (f"cannot send {TOKEN} there", TOKEN),
    "short token": ("'cfut_secret'", "secret"),
    "key": (f"cannot read {PEM}", "MIGHAgEAMBMGByqGSM49"),
    "half a key": (PEM[:60], "MIGHAgEAMBMG"),
    "quoted": (f"invalid literal for int(): '{PASSPHRASE}'", "horse"),
    "bytes": (f"got {PASSPHRASE.encode()!r}", "horse"),
    "url": ("https://me:hunter2@example.org/ refused", "hunter2"),
    "assigned": ("password=hunter2 is wrong", "hunter2"),
    "base64": ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj/abc+def==", "MIIEvQIBADANBgkq"),
}


def raised(what: BaseException) -> BaseException:
    """It, with a traceback that has secrets in its local variables."""

    def fail(token: str) -> NoReturn:
        assert token
        raise what

    try:
        fail(TOKEN)
    except BaseException as caught:  # noqa: BLE001 - of whatever kind
        return caught


@pytest.mark.parametrize("kind", SECRETS)
def test_what_looks_like_a_secret_is_masked(kind: str) -> None:
    """In the words of the exception, and of what it came from."""
    message, secret = SECRETS[kind]
    outer = raised(RuntimeError("failed"))
    outer.__context__ = raised(ValueError(message))
    for mistake in (raised(ValueError(message)), outer):
        text = bug_report(mistake, [])
        assert secret not in text
        assert TOKEN not in text
        assert "***" in text


def test_what_helps_is_left() -> None:
    """Names in the program, the place, the versions; a Secret is stars anyhow."""
    text = bug_report(raised(KeyError("not_after")), ["renew"])
    assert "builtins.KeyError: 'not_after'" in text
    assert "in fail" in text
    assert "test_bug_report.py" in text
    assert text.startswith("certwarden ")
    message = "'NoneType' object has no attribute 'certificate'"
    assert message in bug_report(raised(AttributeError(message)), [])
    assert "***" in bug_report(raised(ValueError(Secret(b"x"))), [])


def test_the_command_is_told_without_its_values() -> None:
    """Commands and options, and nothing that somebody has chosen."""
    argv = ["--config", "/home/bob/x.toml", "client", "issue", "alice", "--email=a@example.org"]
    text = bug_report(raised(ValueError()), [*argv, "--password-file", "hunter2"])
    assert "command: certwarden --config … client issue … --email --password-file …\n" in text
    for value in ("alice", "bob", "example.org", "hunter2"):
        assert value not in text.partition("\n\n")[0]


def test_the_file_is_ours_alone_and_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0600 in $XDG_STATE_HOME; the same mistake again is the same file."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    mistake = raised(ValueError("x"))
    first, again = write_bug_report(mistake, []), write_bug_report(mistake, [])
    assert first is not None
    assert first == again
    assert list(tmp_path.iterdir()) == [first]
    assert stat.S_IMODE(first.stat().st_mode) == 0o600


def test_a_link_in_its_place_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everybody may write, somebody may have put one; then it is written elsewhere."""
    state, other = tmp_path / "state", tmp_path / "other"
    state.mkdir()
    other.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setattr("tempfile.tempdir", str(other))
    mistake = raised(ValueError("x"))
    path = write_bug_report(mistake, [])
    assert path is not None
    path.unlink()
    victim = tmp_path / "victim"
    path.symlink_to(victim)
    elsewhere = write_bug_report(mistake, [])
    assert elsewhere is not None
    assert elsewhere.parent == other
    assert not victim.exists()


def test_nowhere_to_write_is_no_further_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is only the sentence."""
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    assert write_bug_report(raised(ValueError("x")), []) is None


Break = Callable[[BaseException], None]


@pytest.fixture
def break_history(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Has `history` fail with this."""

    def let(what: BaseException) -> None:
        def fail(*_: object, **__: object) -> NoReturn:
            raise what

        monkeypatch.setattr("certwarden.cli.render.show_history", fail)

    return let


def test_a_mistake_of_ours_is_one_line(
    machine: Machine, break_history: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback reaches a person; the line says where the report is; exit 1."""
    state = machine.directory / "reports"
    state.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    break_history(RuntimeError(f"oops {TOKEN}"))
    run = machine.run("history")
    assert (run.code, run.out) == (1, "")
    what, hint = run.err.splitlines()
    assert what.startswith("certwarden: unforeseen: RuntimeError in test_bug_report.py, line ")
    (report,) = state.iterdir()
    assert str(report) in hint
    assert TOKEN not in run.err + report.read_text()
    assert "command: certwarden --config … history" in report.read_text()


def test_a_mistake_that_cannot_even_be_told_is_one_line(
    machine: Machine, break_history: Break
) -> None:
    """An exception whose own words fail is no way to a traceback."""

    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise ValueError

    break_history(Mute())
    run = machine.run("history")
    assert run.code == 1
    assert len(run.err.splitlines()) == 2
    assert "unforeseen: Mute in" in run.err


def test_verbose_tells_where_an_error_comes_from(machine: Machine, break_history: Break) -> None:
    """Classes and places of the whole chain, in nobody's words; without it two lines."""
    error = IssuerError("the CA could not be reached", "wait")
    error.__cause__ = raised(ConnectionError(TOKEN))
    break_history(error)
    assert len(machine.run("history").err.splitlines()) == 2
    run = machine.run("--verbose", "history")
    _, _, first, second = run.err.splitlines()
    assert first.startswith("certwarden: from IssuerError in cli/test_bug_report.py, line ")
    assert second.startswith("certwarden: from ConnectionError in cli/test_bug_report.py, line ")
    assert TOKEN not in run.err


def test_a_circle_of_causes_has_an_end() -> None:
    """As libraries sometimes make one."""
    one, other = Error("one"), Error("other")
    one.__cause__, other.__cause__ = other, one
    assert list(cause_lines(one)) == ["Error", "Error"]
    assert os.linesep not in "".join(cause_lines(one))


def test_quotes_without_an_end_are_read_quickly() -> None:
    """Backslashes after a quote could be read in two ways each, and were: for hours."""
    text = "'" + "\\a" * 28
    begun = time.process_time()
    bug_report(ValueError(text), [])
    assert time.process_time() - begun < 5
