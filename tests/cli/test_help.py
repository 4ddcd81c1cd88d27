"""Help where people look: `--help` with examples, the man page, completion; all from one source."""

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

from certwarden.cli.arguments import parse, parser
from certwarden.cli.examples import EXAMPLES
from tests.man_page import PAGE, build

_REDIRECTION = ">"


def commands(
    parser_: argparse.ArgumentParser | None = None, words: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and group by its words, with its parser."""
    for action in (parser_ or parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                purpose = f"{words} {name}".strip()
                yield purpose, each
                yield from commands(each, purpose)


COMMANDS = dict(commands())


@pytest.mark.parametrize("purpose", COMMANDS)
def test_every_help_has_a_description_and_examples(purpose: str) -> None:
    """What it is for, then what to type; every option says what it means."""
    shown = COMMANDS[purpose].format_help()
    description = COMMANDS[purpose].description
    assert description
    assert description in " ".join(shown.split())
    _, _, examples = shown.partition("\nexamples:\n")
    assert all(line in examples for line in EXAMPLES[purpose])
    for action in COMMANDS[purpose]._actions:
        if action.help is not argparse.SUPPRESS and action.dest != "command":
            assert action.help, action.dest


def test_there_are_no_examples_of_what_is_not_there() -> None:
    """A command that was renamed takes its examples along."""
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("line", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_every_example_is_a_command_line(line: str) -> None:
    """It is taken as it stands, and the function is there that carries it out."""
    words = shlex.split(line.removeprefix("sudo "))
    if _REDIRECTION in words:
        words = words[: words.index(_REDIRECTION)]
    assert words.pop(0) == "certwarden"
    arguments = parse(words)
    assert callable(getattr(import_module(arguments.module), arguments.function))


def test_help_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for examples and usage, which are to be copied."""
    monkeypatch.setenv("COLUMNS", "60")
    for each in COMMANDS.values():
        shown = each.format_help().partition("\nexamples:")[0].partition("\n\n")[2]
        assert max(map(len, shown.splitlines()), default=0) <= 80


def test_only_help_reads_the_examples() -> None:
    """`--version`, and a command that is carried out, do without."""
    code = (
        "import sys\nfrom certwarden.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "assert 'certwarden.cli.examples' not in sys.modules\n"
        "assert 'certwarden.cli.bug_report' not in sys.modules\n"
        "assert 'traceback' not in sys.modules or sys.version_info >= (3, 13)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_man_page_is_current() -> None:
    """It is built from the same source: run script/man after a change."""
    assert PAGE.read_text() == build(), "run script/man"


def test_the_man_page_names_every_command_and_example() -> None:
    """Whoever has no network has this."""
    page = PAGE.read_text().replace("\\-", "-").replace("\\(aq", "'")
    assert all(f"certwarden {purpose}" in page for purpose in COMMANDS)
    assert all(line in page for lines in EXAMPLES.values() for line in lines)


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_nothing_to_say_about_the_man_page() -> None:
    """No warning of any kind, and something is shown."""
    command = ["groff", "-man", "-Tutf8", "-ww", str(PAGE)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stderr == ""
    assert "certwarden completion zsh" in run.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is made from the tree itself."""
    arguments = parse(["completion", shell])
    assert arguments.run(arguments) == 0
    script = capsys.readouterr().out
    words = {word for purpose in COMMANDS for word in purpose.split()}
    assert all(word in script for word in words)
    assert "watch" in script
