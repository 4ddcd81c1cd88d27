"""Programs are made to take up their files in the configured way, and say why where they cannot."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.model import CommandReload, HotReload, Reload, UnitReload, UnitVerb
from certwarden.ports import Reloader
from certwarden.targets import reload as module
from certwarden.targets.process import Limits
from certwarden.targets.reload import reloader_for
from tests.builders import a_target_spec

UNIT = "nodered.service"
FakeSystemctl = Callable[[str], Path]


def a_reloader(reload: Reload) -> Reloader:
    return reloader_for(a_target_spec(reload=reload))


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemctl:
    """Puts a shell script in systemctl's place; it notes its arguments in the file returned."""
    calls = tmp_path / "calls"

    def install(script: str) -> Path:
        directory = tmp_path / "bin"
        directory.mkdir(exist_ok=True)
        program = directory / "systemctl"
        program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(directory), prepend=":")
        return calls

    return install


# ── a unit ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", list(UnitVerb))
def test_systemd_is_asked_for_exactly_the_unit_and_verb(
    systemctl: FakeSystemctl, verb: UnitVerb
) -> None:
    """As the polkit rule allows it; and nobody is asked for a password."""
    calls = systemctl("exit 0")

    a_reloader(UnitReload(UNIT, verb)).reload()

    assert calls.read_text() == f"--no-ask-password {verb} -- {UNIT}\n"


@pytest.mark.parametrize(
    ("status", "what", "hint"),
    [
        (4, "may not restart nodered.service: Access denied", "polkit"),
        (5, "could not restart nodered.service: Access denied", "unit's name"),
        (1, "could not restart nodered.service: Access denied", "systemctl status"),
    ],
)
def test_a_refusal_of_systemd_is_explained(
    systemctl: FakeSystemctl, status: int, what: str, hint: str
) -> None:
    """One sentence with its own words, and what to do."""
    systemctl(f"echo 'Access denied' >&2; exit {status}")

    with pytest.raises(TargetError) as caught:
        a_reloader(UnitReload(UNIT, UnitVerb.RESTART)).reload()

    assert what in caught.value.what
    assert hint in caught.value.hint


def test_a_restart_without_end_is_given_up(
    systemctl: FakeSystemctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit that hangs while it stops does not hold us up for ever."""
    systemctl("sleep 1000")
    monkeypatch.setattr(module, "UNIT_LIMITS", Limits(seconds=0.3, output=100))

    with pytest.raises(TargetError, match="within"):
        a_reloader(UnitReload(UNIT, UnitVerb.RESTART)).reload()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("active", True),
        ("activating", True),
        ("reloading", True),
        ("inactive", False),
        ("failed", False),
        ("deactivating", False),
    ],
)
def test_a_unit_is_active_when_somebody_wants_it_to_run(
    systemctl: FakeSystemctl, state: str, *, expected: bool
) -> None:
    """One that is on its way up was not stopped by a person; one that failed does not run."""
    calls = systemctl(f"printf 'Id={UNIT}\\nLoadState=loaded\\nActiveState={state}\\n'")

    assert a_reloader(UnitReload(UNIT, UnitVerb.RESTART)).is_active() is expected
    assert calls.read_text() == f"show --property=Id,LoadState,ActiveState -- {UNIT}\n"


@pytest.mark.parametrize(
    ("usability", "what", "hint"),
    [
        ("not-found", "there is no unit nodered.service", "correct the unit's name"),
        ("masked", "nodered.service (masked)", "systemctl status nodered.service"),
        ("bad-setting", "nodered.service (bad-setting)", "systemctl status nodered.service"),
        ("error", "nodered.service (error)", "systemctl status nodered.service"),
    ],
)
def test_a_unit_that_does_not_exist_was_not_stopped_by_a_person(
    systemctl: FakeSystemctl, usability: str, what: str, hint: str
) -> None:
    """A misspelt name is told, though systemd calls such a unit inactive and ends with 0."""
    systemctl(f"printf 'Id={UNIT}\\nLoadState={usability}\\nActiveState=inactive\\n'")

    with pytest.raises(TargetError) as caught:
        a_reloader(UnitReload(UNIT, UnitVerb.RESTART)).is_active()

    assert what in caught.value.what
    assert hint in caught.value.hint


def test_without_a_running_systemd_nothing_is_guessed(systemctl: FakeSystemctl) -> None:
    """In a container, say: neither yes nor no."""
    systemctl("echo 'System has not been booted with systemd as init system' >&2; exit 1")

    with pytest.raises(TargetError, match="has not been booted"):
        a_reloader(UnitReload(UNIT, UnitVerb.RESTART)).is_active()


def test_without_systemctl_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the other way to reload as the hint; `complaint` does not raise even then."""
    monkeypatch.setenv("PATH", str(tmp_path))
    reloader = a_reloader(UnitReload(UNIT, UnitVerb.RELOAD))

    with pytest.raises(TargetError, match="no systemctl") as caught:
        reloader.reload()

    assert "command" in caught.value.hint
    assert "no systemctl" in reloader.complaint()


def test_a_unit_that_went_down_says_how(systemctl: FakeSystemctl) -> None:
    """Node-RED ends with status 0 where it cannot use a key: then only its state shows it."""
    said = "ActiveState=inactive\\nResult=success\\nExecMainStatus=0"
    systemctl(f"printf 'Id={UNIT}\\n{said}\\n'")

    complaint = a_reloader(UnitReload(UNIT, UnitVerb.RESTART)).complaint()

    assert complaint == "nodered.service is inactive (result success, exit status 0)"


def test_a_unit_that_runs_has_no_complaint(systemctl: FakeSystemctl) -> None:
    """Why it does not serve what it should is then for its log to say."""
    said = "ActiveState=active\\nResult=success\\nExecMainStatus=0"
    systemctl(f"printf 'Id={UNIT}\\n{said}\\n'")

    assert a_reloader(UnitReload(UNIT, UnitVerb.RESTART)).complaint() == ""


# ── a command ─────────────────────────────────────────────────────────────────────────────────────


def test_a_command_is_run_without_a_shell(tmp_path: Path) -> None:
    """Its arguments arrive as they were written."""
    strange = "a b; $HOME `id` *"

    a_reloader(CommandReload(("touch", str(tmp_path / strange)))).reload()

    assert [path.name for path in tmp_path.iterdir()] == [strange]


def test_a_command_that_fails_is_quoted() -> None:
    """With what it said, fit for a terminal, or else with how it ended."""
    with pytest.raises(TargetError, match=r"failed: no such\[31m container") as caught:
        a_reloader(
            CommandReload(("sh", "-c", "printf 'no such\\033[31m\\ncontainer'; exit 1"))
        ).reload()
    assert caught.value.what.isprintable()

    with pytest.raises(TargetError, match="exit status 7"):
        a_reloader(CommandReload(("sh", "-c", "exit 7"))).reload()
    with pytest.raises(TargetError, match="signal 15"):
        a_reloader(CommandReload(("sh", "-c", "kill $$"))).reload()


def test_a_key_in_the_words_of_a_command_is_not_repeated() -> None:
    """Some programs quote the file that they cannot read."""
    script = "printf 'cannot read -----BEGIN PRIVATE KEY-----\\nMIGHAgEA'; exit 1"

    with pytest.raises(TargetError) as caught:
        a_reloader(CommandReload(("sh", "-c", script))).reload()

    assert "MIGHAgEA" not in caught.value.what
    assert "cannot read" in caught.value.what


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Absent, or not executable."""
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for program in ("/nonexistent/reload", str(plain), "a\0b"):
        with pytest.raises(TargetError, match="cannot be started") as caught:
            a_reloader(CommandReload((program,))).reload()
        assert "full path" in caught.value.hint


def test_a_command_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute, in earnest."""
    monkeypatch.setattr(module, "COMMAND_LIMITS", Limits(seconds=0.3, output=100))

    with pytest.raises(TargetError, match="did not end"):
        a_reloader(CommandReload(("sleep", "1000"))).reload()


# ── by itself, or not at all ──────────────────────────────────────────────────────────────────────


def test_nothing_to_reload_is_no_failure() -> None:
    """A program that looks by itself has no unit, no command, and no complaint that we know."""
    reloader = a_reloader(None)

    reloader.reload()

    assert reloader.is_active() is None
    assert reloader.complaint() == ""


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A live directory whose current generation is 0002."""
    (tmp_path / "generations" / "0002").mkdir(parents=True)
    (tmp_path / "current").symlink_to("generations/0002")
    (tmp_path / "loaded").mkdir()
    return tmp_path


def hot(live: Path) -> Reloader:
    return reloader_for(a_target_spec(directory=live, reload=HotReload()))


def report(live: Path, text: str, pid: int = os.getpid()) -> Path:
    path = live / "loaded" / f"{pid}.json"
    path.write_text(text)
    return path


def test_the_hot_way_needs_no_call(live: Path) -> None:
    """The module in Node-RED looks every few seconds."""
    hot(live).reload()

    assert hot(live).is_active() is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"generation": "0002", "servers": 1, "error": null}', ""),
        ('{"generation": "0001", "servers": 1, "error": "bad key"}', "bad key"),
        ('{"generation": "0001", "servers": 1, "error": null}', "0001 is still in use, not 0002"),
        ('{"generation": null, "servers": 1, "error": null}', "none is still in use, not 0002"),
        ('{"generation": "0002", "servers": 0, "error": null}', "found no server"),
    ],
)
def test_the_module_says_why(live: Path, text: str, expected: str) -> None:
    """Its own error first, then what its report lets us conclude."""
    report(live, text)

    complaint = hot(live).complaint()

    assert expected in complaint
    assert bool(complaint) == bool(expected)


def test_no_report_at_all_hints_at_the_missing_line(live: Path) -> None:
    """The commonest mistake: the line was never put into settings.js."""
    assert "line in settings.js" in hot(live).complaint()
