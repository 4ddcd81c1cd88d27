"""`certwarden setup`: from nothing to a certificate in use, with the person's consent; and back.

The order is always: look, ask, show what would change, be agreed to, change. Until then nothing is
changed, so whoever leaves has lost nothing; afterwards each step can be made again.
"""

import os
import shutil
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

from certwarden.cli import setup_questions as questions
from certwarden.cli import terminal
from certwarden.cli.arguments import DEFAULT_CONFIG, config_file
from certwarden.cli.commands import ATTENTION, DONE
from certwarden.cli.outputs import Output, Outputs
from certwarden.cli.setup_answers import (
    Backup,
    answers_of,
    groups_of,
    is_open,
    known,
    opened,
    refuse_incomplete,
    restored,
    spec_of,
    trial_of,
    with_port,
)
from certwarden.cli.shapes import show_line
from certwarden.config import Config, load, read_secret
from certwarden.errors import Error, UsageError, clean
from certwarden.setup import outline, steps
from certwarden.setup.answers import (
    Answers,
    Place,
    check,
)
from certwarden.setup.commands import Certwarden
from certwarden.setup.configuration import House
from certwarden.setup.farewell import farewell
from certwarden.setup.find import Machine, find
from certwarden.setup.install import Ground
from certwarden.setup.outline import Change
from certwarden.setup.program import installed_program
from certwarden.setup.restoration import house_of
from certwarden.setup.service import STATE_DIRECTORY
from certwarden.setup.steps import Line
from certwarden.setup.trial import try_out
from certwarden.targets.node_red.apply import propose

_SYSTEMD = Path("/run/systemd/system")  # there where it is the first process (sd_booted(3))
_PLACE_WIDTH = 40
_CAS = {"letsencrypt": "Let's Encrypt", "letsencrypt-staging": "Let's Encrypt's staging CA"}


def setup(arguments: Namespace) -> int:
    """Sets up, or takes it back."""
    if os.geteuid() != 0:
        raise UsageError("setup changes the machine, which only root may", "run it with sudo")
    if not arguments.unattended and not terminal.has_terminal():
        raise UsageError(
            "there is no terminal to ask on",
            "run it in a terminal, or say everything by options: --unattended",
        )
    if arguments.remove:
        from certwarden.cli.setup_removal import remove

        return remove(arguments)
    return _Setup(arguments).run()


class _Setup:
    """One run: what was found, said and decided so far."""

    def __init__(self, arguments: Namespace) -> None:
        self._arguments = arguments
        self._is_alone: bool = arguments.unattended
        self._tell: Callable[[str], None] = show_line if self._is_alone else terminal.say
        self._ground = Ground()
        self._house = House.at(config_file(arguments).absolute())
        self._backup: Backup | None = None
        self._certwarden = Certwarden(self._house.config_file, is_alone=self._is_alone)

    def run(self) -> int:
        program = installed_program()
        self._refuse_impossible()
        machine = find(os.environ)
        config = self._existing()
        if self._arguments.restore is not None:
            self._backup = opened(self._arguments)
        text = config.source.read_bytes() if config else self._backup and self._backup.text
        if text:
            self._house = house_of(text, self._house)
        answers = answers_of(self._arguments, machine, self._house)
        if config is not None:
            answers = known(answers, config, machine)
            self._tell(f"{config.source} is there already and stays as it is; edit it as you like.")
        elif self._backup is not None:
            answers = restored(answers, self._backup, machine)
        check(answers)
        if self._is_alone:
            refuse_incomplete(
                answers,
                is_configured=self._is_configured(config),
                is_founded=self._is_founded(config),
            )
            self._try(answers, config)
        else:
            answers = self._converse(answers, machine, config)
        if not self._is_configured(config):
            answers = with_port(answers, is_said=self._arguments.port is not None)
        line = self._line(answers, config)
        changes = self._changes(answers, config, program)
        self._show(changes, answers, line, config)
        if not self._is_alone and not _is_agreed():
            self._tell("Nothing was changed.")
            return DONE
        with Outputs() as outputs:
            code_file = answers.recovery_code_file
            is_founding = answers.client_auth and not self._is_founded(config)
            output = outputs.reserve(code_file) if code_file and is_founding else None
            return self._carry_out(answers, changes, line, program, (outputs, output))

    def _refuse_impossible(self) -> None:
        """Raises UsageError where setup could not come to its end."""
        if shutil.which("systemd-sysusers") is None or not _SYSTEMD.is_dir():
            raise UsageError(
                "this machine is not run by systemd, which setup needs",
                "in a container, run `certwarden run` with a configuration of your own",
            )
        file = self._house.config_file
        if file != Path(DEFAULT_CONFIG) and not self._arguments.no_service:
            raise UsageError(
                f"the service reads {DEFAULT_CONFIG}, not {clean(str(file))}",
                "leave --config and $CERTWARDEN_CONFIG out, or add --no-service",
            )

    # ── look and ask ──────────────────────────────────────────────────────────────────────────────

    def _existing(self) -> Config | None:
        """The configuration that is there already; raises ConfigError where it is wrong."""
        if not self._ground.has(self._house.config_file):
            return None
        return load(self._house.config_file, {})

    def _is_configured(self, config: Config | None) -> bool:
        """Whether there is nothing to be asked that a configuration says."""
        return config is not None or self._backup is not None

    def _is_founded(self, config: Config | None) -> bool:
        """Whether there is a private CA, or will be by the backup."""
        state = config.state_directory if config else STATE_DIRECTORY
        return self._backup is not None or steps.has_authority(state, self._ground)

    def _converse(self, answers: Answers, machine: Machine, config: Config | None) -> Answers:
        is_configured = self._is_configured(config)
        questions.paragraph(questions.WELCOME)
        if not is_configured:
            answers = questions.ask_names(answers)
        if answers.token is not None:
            self._try(answers, config)
        elif not self._is_kept_token_good(answers, config):
            trial = trial_of(answers, config)
            answers = questions.ask_token(answers, lambda token: try_out(token, trial))
        if not is_configured:
            answers = questions.ask_place(answers, machine)
            answers = questions.ask_clients(answers, is_open=is_open(answers.node_red))
        elif config and answers.client_auth and not steps.has_clients(self._certwarden):
            answers = questions.ask_clients(answers, is_open=False)
        if not is_configured or answers.needs_urls:
            answers = questions.ask_extras(answers)
        check(answers)
        return answers

    def _is_kept_token_good(self, answers: Answers, config: Config | None) -> bool:
        if not answers.has_token:
            return False
        self._tell("There is an API token from an earlier time; it is tried.")
        try:
            self._try(answers, config)
        except Error as error:
            self._tell(f"It does not work: {error.what}.")
            return False
        self._tell("It works.")
        return True

    def _try(self, answers: Answers, config: Config | None) -> None:
        try_out(answers.token or read_secret(self._house.token), trial_of(answers, config))

    def _line(self, answers: Answers, config: Config | None) -> Line | None:
        """certwarden's line for settings.js, where there is one to be put in."""
        node_red = answers.node_red
        if node_red is None or answers.place is not Place.NODE_RED or not answers.is_editing:
            return None
        spec = spec_of(answers, config)
        try:
            proposal = propose(
                node_red.settings,
                spec,
                node=node_red.node,
                user=node_red.user,
                is_published=False,
            )
        except Error as error:
            return Line(node_red, spec, None, error.what, error.hint)
        return Line(node_red, spec, proposal)

    # ── show ──────────────────────────────────────────────────────────────────────────────────────

    def _changes(
        self, answers: Answers, config: Config | None, program: Path
    ) -> tuple[list[Change], list[Change]]:
        """What is made before the certificate, and after it."""
        groups = groups_of(answers, config, self._backup)
        readers = [
            reader for group in groups for reader in outline.readers(answers.node_red, group)
        ]
        before = outline.users(groups, readers)
        if config is not None:
            before += outline.secrets(answers, self._house)
        elif self._backup is not None:
            before += outline.secrets(answers, self._house)
            before.append(outline.restored_configuration(self._backup.text, self._house))
        else:
            before += outline.first_configuration(answers, self._house)
        after = outline.units(program) if answers.is_service else []
        if config is not None and answers.is_service:
            after += outline.fittings(config)
        return before, after

    def _show(
        self,
        changes: tuple[list[Change], list[Change]],
        answers: Answers,
        line: Line | None,
        config: Config | None,
    ) -> None:
        items = [
            (change.place, change.what)
            for change in self._ground.outstanding([*changes[0], *changes[1]])
            if change.what
        ]
        if config is None and answers.is_service:
            items += [(str(path), what) for path, what in outline.fittings_to_come()]
        if line is not None and line.proposal is None:
            items.append((str(line.node_red.settings), f"stays as it is: {line.why}"))
        self._tell("")
        self._tell("What will change on this machine:" if items else "No file has to change.")
        for place, what in items:
            self._tell(_item(place, what))
        if line is not None and line.proposal is not None and line.proposal.diff:
            self._tell(_item(str(line.node_red.settings), "certwarden's line, after a backup:"))
            self._tell(textwrap.indent(line.proposal.diff.rstrip(), "    "))
            for remark in line.proposal.remarks:
                self._tell(f"    {remark}")
        self._tell("")
        self._tell("Then:")
        is_obtained = config is not None and steps.has_certificate(self._certwarden)
        if self._backup is not None:
            self._tell(f"  - the private CA is brought back from {self._backup.file}")
        for sentence in _sentences(answers, line, is_obtained=is_obtained):
            self._tell(f"  - {sentence}")

    # ── change ────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(
        self,
        answers: Answers,
        changes: tuple[list[Change], list[Change]],
        line: Line | None,
        program: Path,
        recovery: tuple[Outputs, Output | None],
    ) -> int:
        before, _ = changes
        self._ground.make(before)
        config = load(self._house.config_file, {})
        outputs, output = recovery
        if self._backup is not None:
            backup = self._backup
            steps.restore_authority(
                self._certwarden, config, backup.file, backup.passphrase, self._ground
            )
        if steps.found_authority(self._certwarden, config, self._ground, self._tell) and output:
            assert config.authority is not None  # noqa: S101 - it has just been founded
            output.write(read_secret(config.authority.passphrase_file).reveal() + b"\n")
            outputs.keep()
        steps.obtain(self._certwarden, config, self._tell)
        steps.put_to_use(self._certwarden, line, self._ground, self._tell)
        if answers.client:
            steps.issue_first(self._certwarden, answers.client, self._tell)
        if answers.is_service:
            after = [*outline.units(program), *outline.fittings(config)]
            is_changed = any(change.what for change in self._ground.outstanding(after))
            self._ground.make(after)
            steps.enable(self._ground, is_changed=is_changed)
            self._tell(f"{outline.SERVICE} runs, and starts with the machine.")
        self._tell("")
        for text in steps.served(self._certwarden, config):
            self._tell(text)
        self._tell("\nWhat certwarden doctor finds:")
        code = self._certwarden.run("doctor")
        for text in farewell(answers, config):
            self._tell(text)
        return ATTENTION if code else DONE


def _is_agreed() -> bool:
    terminal.say("")
    return terminal.confirm("Go on", default=False)


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def _item(place: str, what: str) -> str:
    gap = " " if len(place) < _PLACE_WIDTH else f"\n  {'':<{_PLACE_WIDTH}} "
    return f"  {place:<{_PLACE_WIDTH}}{gap}{what}"


def _sentences(answers: Answers, line: Line | None, *, is_obtained: bool) -> Iterable[str]:
    names = " and ".join(answers.domains)
    if answers.needs_client_auth and not is_obtained:
        yield "a private CA is made, unless there is one"
    if not is_obtained:
        ca = _CAS.get(answers.directory, answers.directory)
        yield f"a certificate for {names} is obtained from {ca}, after a rehearsal"
    if line is not None and line.proposal is not None:
        if not line.node_red.is_active:
            yield f"{line.node_red.name} serves the certificate from its next start on"
        elif line.is_there:
            yield f"{line.node_red.name} is seen to serve the certificate, or restarted once"
        else:
            yield f"{line.node_red.name} is restarted once, and seen to serve the certificate"
    if answers.client:
        yield f"a certificate for {answers.client.name} is made, unless it has one"
    if answers.is_service:
        yield f"{outline.SERVICE} is started, now and with the machine"
    yield "`certwarden doctor` looks at everything"
