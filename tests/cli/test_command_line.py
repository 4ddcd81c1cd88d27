"""The command line's manners: one sentence, a suggestion, exit 2, and nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from certwarden.cli import main
from certwarden.cli.arguments import parse, parser

CONFIG = """\
state_directory = "state"
[acme]
directory = "https://127.0.0.1:1/directory"
terms_of_service_agreed = true
[cloudflare]
api_token_file = "token"
[[certificate]]
name = "home"
domains = ["example.org"]
  [[certificate.target]]
  name = "node-red"
  kind = "node-red"
  reload = { hot = true }
  probe = "127.0.0.1:1"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that is in order; nobody is there to talk to."""
    for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "CERTWARDEN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # where a bug is written down
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("cfut_" + "0" * 40)
    path = tmp_path / "config.toml"
    path.touch(mode=0o600)
    path.write_text(CONFIG)
    return path


def shell(line: str) -> "subprocess.CompletedProcess[str]":
    """How a line ends that a person types, with `certwarden` as the program of this checkout."""
    line = line.replace("certwarden", f"{sys.executable} -m certwarden", 1)
    return subprocess.run(line, shell=True, capture_output=True, text=True, check=False)


WRONG = [
    ([], "COMMAND"),
    (["renw"], "did you mean `renew`"),
    (["renew", "--frce"], "--frce"),
    (["renew", "--forc"], "--forc"),  # no abbreviations: they would break when options are added
    (["renew", "--config"], "--config"),
    (["renew", "hme"], "did you mean `home`"),
    (["renew", "elsewhere"], "there is no certificate `elsewhere`"),
    (["renew", "home", "barn"], "there is no certificate `barn`"),
    (["deploy", "node-red"], "there is no certificate `node-red`"),
    (["renew", "--dry-run"], "staging_directory"),
    (["revoke"], "NAME"),
    (["revoke", "barn"], "there is no certificate `barn`"),
    (["revoke", "home"], "there is no certificate home to revoke"),
    (["revoke", "home", "--reason", "keycompromise"], "did you mean `keyCompromise`"),
    (["revoke", "home", "--reason", "boredom"], "`boredom`"),
    (["history", "barn"], "there is no certificate or target `barn`"),
    (["history", "--limit", "0"], "`0` is not a positive number"),
    (["history", "--limit", "many"], "`many` is not a positive number"),
    (["config"], "COMMAND"),
    (["config", "chekc"], "did you mean `check`"),
    (["config", "show", "extra"], "extra"),
    (["nodered"], "COMMAND"),
    (["nodered", "inspect"], "0 targets in the configuration name a settings.js"),
    (["snippet"], "PROGRAM"),
    (["snippet", "node-rde"], "did you mean `node-red`"),
    (["snippet", "node-red", "node-rde"], "did you mean `node-red`"),
    (["snippet", "nginx"], "0 targets of kind nginx"),
    (["snippet", "nginx", "node-red"], "there is no nginx target `node-red`"),
    (["snippet", "systemd", "node-red"], "for all targets together"),
    (["ca"], "COMMAND"),
    (["ca", "shwo"], "did you mean `show`"),
    (["ca", "show"], "add the section [authority]"),
    (["ca", "init", "--lockd"], "did you mean `--locked`?"),
    (["client"], "COMMAND"),
    (["client", "isue", "alice"], "did you mean `issue`"),
    (["client", "issue"], "it is not said whom"),
    (["client", "issue", "alice", "--format", "p21"], "did you mean `p12`?"),
    (["client", "issue", "alice", "--days", "0"], "`0` is not a positive number"),
    (["client", "issue", "alice", "--key-type", "rsa-1024"], "did you mean `rsa-"),
    (["client", "issue", "--from", "none"], "none cannot be read: No such file"),
    (["client", "revoke", "alice", "--reason", "boredom"], "`boredom`"),
    (["client", "show"], "NAME"),
    (["renew", "--replace"], "`--replace` does not belong there"),
    (["completion"], "SHELL"),
    (["completion", "basch"], "did you mean `bash`"),
    (["status", "--jason"], "--jason"),
    (["plan", "home"], "home"),
    (["--verbos", "plan"], "there is no option `--verbos`; did you mean `--verbose`?"),
    (["renew", "--froce"], "did you mean `--force`?"),
    (["status", "--quiet"], "`--quiet` belongs before the command"),
    (["plan", "home"], "`home` is one word too many"),
    (["history", "--limit", "9" * 20], "is not a positive number"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), WRONG, ids=[" ".join(arguments) or "nothing" for arguments, _ in WRONG]
)
def test_a_wrong_command_line_is_one_sentence(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Exit 2, what is wrong and what to do, nothing on stdout, nothing written."""
    try:
        code = main(["--config", str(config), *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert words in err
    assert 1 <= len(err.splitlines()) <= 2
    assert all(each.startswith("certwarden: ") for each in err.splitlines())
    assert not (config.parent / "state").exists()


def test_every_mistake_in_the_configuration_is_told_at_once(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its key path, with a suggestion for a misspelt key, before anything is written."""
    text = CONFIG.replace("terms_of_service_agreed", "terms_of_service_agred")
    text = text.replace('kind = "node-red"', 'kind = "node-rad"').replace("127.0.0.1:1", "nowhere")
    config.write_text(text)
    assert main(["--config", str(config), "renew"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) >= 4
    assert "acme.terms_of_service_agred" in err
    assert "`terms_of_service_agreed`" in err
    assert "certificate[0].target[0].kind" in err
    assert "certificate[0].target[0].probe" in err
    assert not (config.parent / "state").exists()


def test_config_check_tells_mistakes_as_json(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`[{"path", "message"}]`, and an empty list where there is none."""
    assert main(["--config", str(config), "config", "check", "--json"]) == 0
    assert capsys.readouterr().out.strip() == "[]"
    config.write_text(CONFIG.replace('name = "home"', 'name = "Home"'))
    assert main(["--config", str(config), "config", "check", "--json"]) == 2
    assert '"path": "certificate[0].name"' in capsys.readouterr().out


def test_the_configuration_is_found_by_the_environment(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config, else $CERTWARDEN_CONFIG, else the default, which is named when it is missing."""
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(config))
    assert main(["config", "check"]) == 0
    monkeypatch.setenv("CERTWARDEN_CONFIG", str(config.with_name("none.toml")))
    assert main(["config", "check"]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of the whole program names every command and the exit codes."""
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    commands = ("renew", "deploy", "plan", "status", "history", "revoke", "config", "nodered")
    for command in (*commands, "ca", "client", "notify", "snippet", "completion"):
        assert command in text
    assert "exit codes" in text


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_completion_is_a_script_that_the_shell_takes(name: str, tmp_path: Path) -> None:
    """Made from the command tree itself; the shell finds no mistake in it."""
    script = shell(f"certwarden completion {name}").stdout
    assert "renew" in script
    path = tmp_path / "script"
    path.write_text(script)
    if name == "bash":
        subprocess.run(["bash", "-n", path], check=True)


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """A person who presses Tab after `certwarden re` is offered `renew` and `revoke`."""
    script = tmp_path / "completion.bash"
    script.write_text(shell("certwarden completion bash").stdout)
    ask = (
        f"source {script}; COMP_WORDS=(certwarden re); COMP_CWORD=1; "
        "$(complete -p certwarden | grep -o -- '-F [^ ]*' | cut -d' ' -f2); "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    offered = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert {"renew", "revoke"} <= set(offered.stdout.split())


def test_a_reader_that_goes_away_is_no_traceback(config: Path) -> None:
    """`certwarden … | head` ends quietly."""
    done = shell(f"certwarden --config {config} config show | head -n 1")
    assert done.stderr == ""


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_stream_stops_nothing(config: Path, closed: str) -> None:
    """Neither a traceback nor another exit code, and nothing is printed into a file of ours."""
    done = shell(f"certwarden --config {config} status {closed}>&-")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_a_full_disk_under_the_output_is_a_sentence(config: Path) -> None:
    """Exit 1 and what is wrong; no complaint of Python's."""
    done = shell(f"certwarden --config {config} config show >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "certwarden: the output could not be written: No space left on device\n"


@pytest.mark.parametrize("arguments", ["--help", "completion bash"])
def test_help_into_a_pipe_that_nobody_reads_is_quiet(arguments: str) -> None:
    """`certwarden --help | true` ends without a word."""
    done = shell(f"certwarden {arguments} | true")
    assert done.stderr == ""


def test_a_poor_character_set_is_no_mistake(config: Path) -> None:
    """What the terminal cannot show is shown by its number."""
    done = subprocess.run(
        [sys.executable, "-m", "certwarden", "--config", config, "status", "--offline"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr


@pytest.mark.parametrize("group", ["ca", "client", "config", "nodered", "notify"])
def test_a_group_has_all_its_commands_wherever_it_is_named(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left out of the tree for speed is never what a command line needs."""
    with pytest.raises(SystemExit):
        parse(["--quiet", group, "--help"])
    text = capsys.readouterr().out
    action = next(act for act in parser()._actions if act.dest == "command")
    assert isinstance(action.choices, dict)
    members = next(act for act in action.choices[group]._actions if act.dest == "command")
    assert members.choices
    assert all(name in text for name in members.choices)


def test_the_parser_needs_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the command tree reads neither file nor environment."""
    monkeypatch.setattr(os, "environ", {})
    assert parser().prog == "certwarden"


def test_a_rehearsal_waits_for_the_clock(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order is an order, at the staging directory too: none under a clock that is wrong."""
    staging = 'staging_directory = "https://127.0.0.1:1/staging"'
    config.write_text(CONFIG.replace("[cloudflare]", f"{staging}\n[cloudflare]"))
    monkeypatch.setattr("certwarden.clock.SystemTimeSources.synchronised", lambda _: False)
    assert main(["--config", str(config), "renew", "--dry-run", "--json"]) == 1
    out, err = capsys.readouterr()
    assert "not synchronised" in err
    assert "not synchronised" in json.loads(out)["certificates"][0]["error"]["what"]
    assert not (config.parent / "state" / "accounts").exists()


def test_a_mistake_of_ours_is_a_sentence_without_its_text(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody foresaw: its kind and place, never what it quotes."""

    def stumble(*_: object) -> None:
        raise ValueError("cfut_secret")

    monkeypatch.setattr("certwarden.cli.commands.effective", stumble)
    assert main(["--config", str(config), "config", "show"]) == 1
    err = capsys.readouterr().err
    assert "unforeseen: ValueError in test_command_line.py, line" in err
    assert "cfut_secret" not in err
