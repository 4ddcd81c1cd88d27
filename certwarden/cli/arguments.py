"""The whole command tree and its help; touches nothing, and imports nothing heavy."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from certwarden import __version__
from certwarden.errors import visible

if TYPE_CHECKING:
    from pathlib import Path

    _Commands = argparse._SubParsersAction["_Parser"]  # noqa: SLF001 - the type has no other name

EXIT_CODES = """\
exit codes:
  0  done, or nothing to do
  1  something failed; the rest was still done
  2  wrong command line or configuration; nothing was changed
  3  attention needed (status, doctor, setup)
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
CLIENT_REASONS = (*REASONS, "privilegeWithdrawn")
CLIENT_KEY_TYPES = ("ecdsa-p256", "rsa-2048", "rsa-3072")
FORMATS = ("p12", "p12-legacy", "mobileconfig", "pem")
SHELLS = ("bash", "zsh", "tcsh")
PROGRAMS = (
    *("node-red", "nginx", "mosquitto", "haproxy", "uibuilder", "dnsmasq"),
    *("polkit", "systemd", "systemd-socket"),
)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence, with a suggestion and a hint."""

    def error(self, message: str) -> NoReturn:
        print(visible(f"certwarden: {message}"), file=sys.stderr)
        print(f"certwarden: hint: see `{self.prog} --help`", file=sys.stderr)
        sys.exit(2)

    def format_help(self) -> str:
        """With the command's examples; nothing else pays for them."""
        if self.epilog is None:
            from certwarden.cli.examples import epilog

            self.epilog = epilog(self.prog.partition(" ")[2])
            self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

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
    top = parser(argv)
    arguments, unknown = top.parse_known_args(argv)
    if unknown:
        top.error(_about(unknown[0], parser()))
    if arguments.command == "setup" and arguments.purge and not arguments.remove:
        top.error("`--purge` does nothing without `--remove`")
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

    options = _options(top)
    if name in options:
        return f"`{name}` does not belong there"
    near = difflib.get_close_matches(name, options, 1)
    return f"there is no option `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")


def command_names() -> set[str]:
    """Every word that names a command or a group of commands."""
    return _names(parser())


def _names(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - see above
            for name, each in action.choices.items():
                found |= {name} | _names(each)
    return found


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of the parser and of the commands below it."""
    found: set[str] = set()
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - see above
            for each in action.choices.values():
                found |= _options(each)
    return found


def parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The whole tree, which shell completion is made from; or as much as these words need.

    argparse takes a millisecond for each command, so groups that are not named stay empty.
    """
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
    top.add_argument(
        "--verbose",
        action="store_true",
        help="tell each phase of the work, and where an error comes from",
    )
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
    # How the daemon says that it is its first pass.
    renew.add_argument("--at-start", action="store_true", help=argparse.SUPPRESS)
    renew.add_argument("--no-deploy", action="store_true", help="obtain and store only")
    _json(renew)

    deploy = _command(commands, "deploy", "install, reload and verify again")
    deploy.add_argument("names", nargs="*", metavar="NAME", help="only these certificates")
    _json(deploy)

    _json(_command(commands, "plan", "what a pass would do now, and why; changes nothing"))

    status = _command(
        commands,
        "status",
        "every certificate: its life, its targets, its errors",
        module="certwarden.cli.status",
    )
    status.add_argument("--offline", action="store_true", help="do not look at what is served")
    status.add_argument(
        "--watch", action="store_true", help="keep looking, and show it anew, until Ctrl-C"
    )
    _json(status)

    doctor = _command(
        commands, "doctor", "every check, with its remedy", module="certwarden.cli.doctor"
    )
    _json(doctor)

    report = _command(
        commands, "report", "a page to look at, in one file", module="certwarden.cli.report"
    )
    report.add_argument(
        "--out", type=_path, required=True, metavar="FILE", help="the HTML file to write"
    )

    setup = _command(
        commands, "setup", "set everything up, step by step", module="certwarden.cli.setup"
    )
    _setup(setup)

    history = _command(commands, "history", "what happened, newest first")
    history.add_argument("name", nargs="?", metavar="NAME", help="of this certificate or target")
    history.add_argument(
        "--limit", type=_positive, default=50, metavar="N", help="so many lines (default: 50)"
    )
    _json(history)

    revoke = _command(commands, "revoke", "replace a certificate under a new key, then revoke it")
    revoke.add_argument("name", metavar="NAME", help="the certificate")
    _reason(revoke, REASONS)
    revoke.add_argument("--now", action="store_true", help="revoke first, replace afterwards")

    for name, (summary, fill) in _GROUPS.items():
        group = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        members = group.add_subparsers(dest="command", metavar="COMMAND", required=True)
        if words is None or name in words:
            fill(members)

    snippet = _command(commands, "snippet", "what to paste into other programs, polkit or systemd")
    snippet.set_defaults(module="certwarden.cli.snippets")
    snippet.add_argument(
        "program", choices=PROGRAMS, metavar="PROGRAM", help=f"one of {', '.join(PROGRAMS)}"
    )
    snippet.add_argument("target", nargs="?", metavar="TARGET", help="the target that it is for")

    completion = _command(commands, "completion", "print a completion script for a shell")
    completion.add_argument(
        "shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}"
    )
    # Every new shell may wait for it, so it does not load what the other commands need.
    completion.set_defaults(module="certwarden.cli.completion")
    return top


def _config(config: "_Commands") -> None:
    _json(_command(config, "check", "every mistake at once", prefix="config_"))
    _json(_command(config, "show", "what is in force, secrets masked", prefix="config_"))


def _setup(setup: argparse.ArgumentParser) -> None:
    """Every question of the set-up as an option."""

    def option(name: str, meaning: str, metavar: str = "FILE") -> None:
        kind = _path if metavar in ("FILE", "DIRECTORY") else str
        setup.add_argument(name, type=kind, metavar=metavar, help=meaning)

    def switch(name: str, meaning: str) -> None:
        setup.add_argument(name, action="store_true", help=meaning)

    switch("--unattended", "ask nothing: all answers are options")
    setup.add_argument(
        "--domain", action="append", metavar="NAME", help="a name of the certificate; repeat it"
    )
    option("--token-file", "the API token of Cloudflare's: Zone:Read and DNS:Edit")
    switch("--accept-terms", "you have read the CA's terms of service, and agree")
    setup.add_argument(
        "--directory", default="letsencrypt", metavar="URL", help="another CA (ACME directory)"
    )
    option("--staging-directory", "where that CA lets one rehearse", "URL")
    option("--ca-bundle", "whom to trust for that CA's own TLS")
    option("--api-url", "another address of Cloudflare's API", "URL")
    setup.add_argument(
        "--nameserver",
        action="append",
        metavar="ADDRESS",
        help="ask only this DNS server about the records; repeat it",
    )
    setup.add_argument(
        "--target",
        choices=("node-red", "files", "none"),
        metavar="KIND",
        help="what uses the certificate: node-red, files or none",
    )
    option("--node-red-unit", "the unit that starts Node-RED, where there are several", "UNIT")
    option("--settings", "Node-RED's settings.js")
    option("--node", "the node program that runs Node-RED")
    setup.add_argument(
        "--port", type=_positive, metavar="N", help="where Node-RED listens (default: as it says)"
    )
    setup.add_argument(
        "--group",
        default="tls-nodered",
        metavar="GROUP",
        help="who may read the key (default: tls-nodered)",
    )
    option("--key", "with --target files: where the key is to be copied")
    option("--certificate", "with --target files: where the chain is to be copied")
    switch("--client-auth", "let in only devices with a certificate of your own CA")
    option("--client", "make a certificate for this device, too", "NAME")
    setup.add_argument(
        "--client-format",
        choices=FORMATS,
        default=FORMATS[0],
        metavar="FORM",
        help=f"one of {', '.join(FORMATS)} (default: {FORMATS[0]})",
    )
    option("--client-out", "where the device's certificate is written")
    option("--client-password-file", "its password; made and written there if there is none")
    option("--recovery-code-file", "where the CA's recovery code is written")
    option("--backup-directory", "where the CA's backups are kept: another disk", "DIRECTORY")
    option("--backup-passphrase-file", "what backups are encrypted under")
    option("--notify-urls-file", "URLs of Apprise by which you are told what goes wrong")
    option("--restore", "bring the CA back from this backup")
    switch("--no-settings", "leave settings.js as it is")
    switch("--no-service", "install no units, and start nothing")
    switch("--remove", "take certwarden out of this machine; CA and state stay")
    switch("--purge", "with --remove: the CA, the state and the configuration as well")


def _nodered(nodered: "_Commands") -> None:
    module = "certwarden.cli.node_red"
    inspect = _command(nodered, "inspect", "what settings.js says about TLS now", module=module)
    inspect.add_argument(
        "settings", nargs="?", type=_path, metavar="SETTINGS", help="default: the one configured"
    )
    inspect.add_argument("--node", type=_path, metavar="FILE", help="the node program to use")
    inspect.add_argument("--user", metavar="NAME", help="who Node-RED runs as, if not the owner")
    _json(inspect)
    apply = _command(nodered, "apply", "put certwarden's line into settings.js", module=module)
    apply.add_argument(
        "settings", nargs="?", type=_path, metavar="SETTINGS", help="default: the one configured"
    )
    apply.add_argument("--node", type=_path, metavar="FILE", help="the node program to use")
    apply.add_argument("--user", metavar="NAME", help="who Node-RED runs as, if not the owner")
    apply.add_argument("--yes", action="store_true", help="do not ask before it is changed")


def _notify(notify: "_Commands") -> None:
    module = "certwarden.cli.notify"
    _command(notify, "test", "send a message everywhere it is configured to", module=module)
    failed = _command(notify, "unit-failed", "tell that a systemd unit has failed", module=module)
    failed.add_argument("unit", metavar="UNIT", help="such as certwarden.service")


def _authority(ca: "_Commands") -> None:
    def command(name: str, summary: str) -> _Parser:
        return _command(ca, name, summary, module="certwarden.cli.authority")

    init = command("init", "make the private CA")
    init.add_argument(
        "--locked", action="store_true", help="under a passphrase of yours, which is not kept here"
    )
    _password_file(init, "the passphrase, with --locked; else it is asked for")
    unlock = command("unlock", "sign the lists of a year, where the CA is locked")
    _password_file(unlock, "the passphrase; else it is asked for")
    _json(command("show", "the CA, its list, its clients, and who refuses revoked ones"))
    command("crl", "print the current revocation list")
    command("export", "print the CA's own certificate")
    command("renew-root", "let the CA live longer, under the same key")

    backup = command("backup", "the CA, the accounts and the configuration in one encrypted file")
    restore = command("restore", "make an empty machine whole from a backup")
    for each in (backup, restore):
        each.set_defaults(module="certwarden.cli.backup")
        each.add_argument("file", type=_path, metavar="FILE", help="the backup's file")
        _password_file(each, "the backup's passphrase; else it is asked for")
    restore.add_argument("--no-deploy", action="store_true", help="obtain and store only")
    takeover = command("import", "take over a CA of easy-rsa or `openssl ca`")
    takeover.set_defaults(module="certwarden.cli.backup", function="import_directory")
    takeover.add_argument(
        "directory", type=_path, metavar="DIRECTORY", help="where its index.txt is"
    )
    takeover.add_argument(
        "--locked", action="store_true", help="under a passphrase of yours, which is not kept here"
    )
    _password_file(takeover, "the passphrase of the old key; else it is asked for")


def _clients(client: "_Commands") -> None:
    def command(name: str, summary: str) -> _Parser:
        return _command(client, name, summary, module="certwarden.cli.clients")

    issue = command("issue", "make a client certificate, in the form that its device takes")
    issue.add_argument("name", nargs="?", metavar="NAME", help="what the client is to be called")
    issue.add_argument(
        "--from", dest="names_file", type=_path, metavar="FILE", help="many names, one a line"
    )
    _bundle(
        issue, out="the file to write (default: ./NAME.p12 and so on); with --from, a directory"
    )
    listing = command("list", "all client certificates")
    listing.set_defaults(function="list_clients")
    _json(listing)
    show = command("show", "the certificates of a client")
    show.add_argument("name", metavar="NAME", help="the client")
    _json(show)
    export = command("export", "print a client's certificate; its key is never kept")
    export.add_argument("name", metavar="NAME", help="the client")
    renew = command("renew", "another certificate for the same client; the old one follows")
    renew.add_argument("name", metavar="NAME", help="the client")
    renew.add_argument(
        "--replace", action="store_true", help="revoke the old one at once, not in two weeks"
    )
    _bundle(renew, out="the file to write (default: ./NAME.p12 and so on)")
    _invite(command("invite", "hand out a client certificate by a QR code, once"))
    revoke = command("revoke", "revoke a client's certificates, and prove that they are refused")
    revoke.add_argument(
        "subject", metavar="NAME|SERIAL", help="the client, or one certificate of its"
    )
    _reason(revoke, CLIENT_REASONS)
    receive = command("receive", "what systemd calls when somebody comes with an invitation")
    receive.set_defaults(module="certwarden.cli.reception")


def _invite(invite: argparse.ArgumentParser) -> None:
    invite.set_defaults(module="certwarden.cli.invitations")
    invite.add_argument("name", metavar="NAME", help="the client: one device of one person")
    invite.add_argument(
        "--for",
        dest="open_for",
        default="15m",
        metavar="TIME",
        help="how long it can be used: 10m, 2h, 3d (default: 15m)",
    )
    invite.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        help="where to serve it (default: invite_listen, or port 8443 on the LAN)",
    )
    invite.add_argument(
        "--host", metavar="NAME", help="the name in the link (default: one that leads here)"
    )
    _identity(invite)
    invite.add_argument(
        "--est", action="store_true", help="for a program that makes its own key (RFC 7030)"
    )
    _json(invite)


def _bundle(parser: argparse.ArgumentParser, *, out: str) -> None:
    """What a client certificate shall be, and how it is handed over."""
    _identity(parser)
    parser.add_argument(
        "--key-type",
        choices=CLIENT_KEY_TYPES,
        default=CLIENT_KEY_TYPES[0],
        metavar="TYPE",
        help=f"one of {', '.join(CLIENT_KEY_TYPES)} (default: {CLIENT_KEY_TYPES[0]})",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="FORM",
        help=f"one of {', '.join(FORMATS)} (default: {FORMATS[0]})",
    )
    parser.add_argument("--out", type=_path, metavar="PATH", help=out)
    _password_file(parser, "the password; made and written there if there is no such file")
    parser.add_argument(
        "--csr", type=_path, metavar="FILE", help="the client's own request; its key stays there"
    )


def _identity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--email", metavar="ADDRESS", help="an address to stand in it")
    parser.add_argument(
        "--days", type=_positive, metavar="N", help="how long it lasts (default: client_days)"
    )


_GROUPS: dict[str, tuple[str, Callable[["_Commands"], None]]] = {
    "ca": ("the private CA", _authority),
    "client": ("client certificates: who may come in", _clients),
    "config": ("the configuration", _config),
    "nodered": ("Node-RED's settings.js", _nodered),
    "notify": ("messages to a person", _notify),
}


def _reason(parser: argparse.ArgumentParser, choices: Sequence[str]) -> None:
    parser.add_argument(
        "--reason",
        choices=choices,
        default=choices[0],
        metavar="R",
        help=f"one of {', '.join(choices)} (default: {choices[0]})",
    )


def _password_file(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--password-file", type=_path, metavar="FILE", help=meaning)


def _command(
    commands: "_Commands",
    name: str,
    summary: str,
    *,
    prefix: str = "",
    module: str = "certwarden.cli.commands",
) -> _Parser:
    parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    purpose = parser.prog.partition(" ")[2]
    function = f"{prefix}{name}".replace("-", "_")
    parser.set_defaults(module=module, function=function, purpose=purpose)
    return parser


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
