"""The whole command tree and its help; touches nothing, and imports nothing heavy."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from certwarden import __version__

if TYPE_CHECKING:
    from pathlib import Path

EXIT_CODES = """\
exit codes:
  0  done, or nothing to do
  1  something failed; the rest was still done
  2  wrong command line or configuration; nothing was changed
  3  attention needed (status)
  130  interrupted
"""
DEFAULT_CONFIG = "/etc/certwarden/config.toml"
REASONS = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence, with a suggestion and a hint."""

    def error(self, message: str) -> NoReturn:
        print(f"certwarden: {message}", file=sys.stderr)
        print(f"certwarden: hint: see `{self.prog} --help`", file=sys.stderr)
        sys.exit(2)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        choices = [str(choice) for choice in action.choices or ()]
        if choices and value not in choices:
            import difflib  # only a mistake pays for it

            near = difflib.get_close_matches(str(value), choices, 1)
            what = "there is no command" if action.dest == "command" else "there is no choice"
            advice = f"; did you mean `{near[0]}`?" if near else f" (one of {', '.join(choices)})"
            raise argparse.ArgumentError(None, f"{what} `{value}`{advice}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as values; `run` is the function that carries it out. May exit."""
    top = parser()
    arguments, unknown = top.parse_known_args(argv)
    if unknown:
        top.error(_about(unknown[0], top))
    arguments.run = _later(arguments.module, arguments.function)
    return arguments


def _about(word: str, top: argparse.ArgumentParser) -> str:
    """What to say about a word that no command takes."""
    name = word.partition("=")[0]
    if not name.startswith("-"):
        return f"`{word}` is one word too many"
    if name in top._option_string_actions:  # noqa: SLF001 - argparse has no other way to ask
        return f"`{name}` belongs before the command"
    import difflib

    near = difflib.get_close_matches(name, _options(top), 1)
    return f"there is no option `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of the parser and of the commands below it."""
    found: set[str] = set()
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - see above
            for each in action.choices.values():
                found |= _options(each)
    return found


def parser() -> argparse.ArgumentParser:
    """The whole tree; also what shell completion is made from."""
    top = _Parser(
        prog="certwarden",
        description="TLS certificates for a house: obtained, installed, and proven to be in use.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"certwarden {__version__}")
    top.add_argument(
        "--config",
        type=_path,
        metavar="FILE",
        help="the configuration (default: $CERTWARDEN_CONFIG, else /etc/certwarden/config.toml)",
    )
    # How the daemon hands down the text of the configuration that it has accepted.
    top.add_argument("--config-text-fd", type=int, help=argparse.SUPPRESS)
    top.add_argument("--verbose", action="store_true", help="tell each phase of the work")
    top.add_argument("--quiet", action="store_true", help="on stderr, only warnings and errors")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = _command(commands, "run", "the daemon: keep everything in order, in the foreground")
    run.set_defaults(module="certwarden.cli.daemon")

    renew = _command(commands, "renew", "obtain what is due, deploy what is not in use, clean up")
    renew.add_argument("names", nargs="*", metavar="NAME", help="only these certificates")
    renew.add_argument("--force", action="store_true", help="renew even what is not due")
    renew.add_argument(
        "--dry-run",
        action="store_true",
        help="go through the whole order at the staging directory and keep no certificate",
    )
    renew.add_argument("--no-deploy", action="store_true", help="obtain and store only")
    _json(renew)

    deploy = _command(commands, "deploy", "install, reload and verify again")
    deploy.add_argument("names", nargs="*", metavar="NAME", help="only these certificates")
    _json(deploy)

    _json(_command(commands, "plan", "what a pass would do now, and why; changes nothing"))

    status = _command(commands, "status", "every certificate: its life, its targets, its errors")
    status.add_argument("--offline", action="store_true", help="do not look at what is served")
    _json(status)

    history = _command(commands, "history", "what happened, newest first")
    history.add_argument("name", nargs="?", metavar="NAME", help="of this certificate or target")
    history.add_argument(
        "--limit", type=_positive, default=50, metavar="N", help="so many lines (default: 50)"
    )
    _json(history)

    revoke = _command(commands, "revoke", "replace a certificate under a new key, then revoke it")
    revoke.add_argument("name", metavar="NAME")
    revoke.add_argument("--reason", choices=REASONS, default="unspecified", metavar="R")
    revoke.add_argument("--now", action="store_true", help="revoke first, replace afterwards")

    config = _group(commands, "config", "the configuration")
    _json(_command(config, "check", "every mistake at once", prefix="config_"))
    _json(_command(config, "show", "what is in force, secrets masked", prefix="config_"))

    nodered = _group(commands, "nodered", "Node-RED's settings.js")
    inspect = _command(nodered, "inspect", "what settings.js says about TLS now", prefix="nodered_")
    inspect.add_argument(
        "settings", nargs="?", type=_path, metavar="SETTINGS", help="default: the one configured"
    )
    inspect.add_argument("--node", type=_path, metavar="FILE", help="the node program to use")
    _json(inspect)

    snippet = _command(commands, "snippet", "what to paste into other programs, polkit or systemd")
    snippet.add_argument(
        "program",
        choices=("node-red", "polkit", "systemd"),
        metavar="PROGRAM",
        help="node-red (its settings.js), polkit (the rule) or systemd (the units' drop-in)",
    )
    snippet.add_argument("target", nargs="?", metavar="TARGET", help="a Node-RED target")

    notify = _group(commands, "notify", "messages to a person")
    _command(notify, "test", "send a message everywhere it is configured to").set_defaults(
        module="certwarden.cli.notify"
    )
    failed = _command(notify, "unit-failed", "tell that a systemd unit has failed")
    failed.set_defaults(module="certwarden.cli.notify", function="unit_failed")
    failed.add_argument("unit", metavar="UNIT", help="such as certwarden.service")

    completion = _command(commands, "completion", "print a completion script for a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="SHELL")
    # Every new shell may wait for it, so it does not load what the other commands need.
    completion.set_defaults(module="certwarden.cli.completion")
    return top


def _command(
    commands: "argparse._SubParsersAction[_Parser]", name: str, summary: str, prefix: str = ""
) -> _Parser:
    parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    parser.set_defaults(module="certwarden.cli.commands", function=f"{prefix}{name}")
    return parser


def _group(
    commands: "argparse._SubParsersAction[_Parser]", name: str, summary: str
) -> "argparse._SubParsersAction[_Parser]":
    parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    return parser.add_subparsers(dest="command", metavar="COMMAND", required=True)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def config_file(arguments: argparse.Namespace) -> "Path":
    """The configuration that is meant."""
    given: Path | None = arguments.config
    return given or _path(os.environ.get("CERTWARDEN_CONFIG") or DEFAULT_CONFIG)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 6 and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"`{text}` is not a positive number")
    return int(text)


def _path(text: str) -> "Path":
    from pathlib import Path  # `--help` needs none

    return Path(text)


def _later(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """The command of that name, whose module is imported only when it runs."""

    def run(arguments: argparse.Namespace) -> int:
        command: Callable[[argparse.Namespace], int]
        command = getattr(import_module(module), function)
        return command(arguments)

    return run
