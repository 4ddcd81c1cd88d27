"""`certwarden setup`: from nothing to a certificate in use, with the person's consent; and back.

The order is always: look, ask, show what would change, be agreed to, change. Until then nothing is
changed, so whoever leaves has lost nothing; afterwards each step can be made again.
"""

import os
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
    is_open,
    known,
    opened,
    refuse_incomplete,
    restored,
    spec_of,
    trial_of,
    with_node,
    with_port,
)
from certwarden.cli.shapes import show_line
from certwarden.config import Config, load, read_secret
from certwarden.errors import ConfigError, Error, UsageError, clean
from certwarden.setup import account, outline, steps
from certwarden.setup.answers import (
    GROUP,
    Answers,
    Place,
    check,
)
from certwarden.setup.commands import Certwarden
from certwarden.setup.configuration import House, configuration
from certwarden.setup.farewell import farewell
from certwarden.setup.find import Machine, find
from certwarden.setup.install import Ground
from certwarden.setup.outline import Change
from certwarden.setup.program import installed_program
from certwarden.setup.restoration import drafted, groups, house_of, powers, refuse_unsafe
from certwarden.setup.service import STATE_DIRECTORY
from certwarden.setup.steps import Line
from certwarden.setup.system import has_program
from certwarden.setup.trial import try_out
from certwarden.setup.unfinished import noted, resumed
from certwarden.targets.foreign import owner_of
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
        self._is_there = False  # a configuration, already
        self._certwarden = Certwarden(self._house.config_file, is_alone=self._is_alone)

    def run(self) -> int:
        program = installed_program()
        self._refuse_impossible()
        machine = resumed(find(os.environ), noted(self._ground))
        machine = with_node(machine, self._arguments.node)
        config = self._existing()
        self._is_there = config is not None
        if self._arguments.restore is not None:
            self._backup = opened(self._arguments)
        plan = config or self._restorable()
        if plan is not None:
            self._house = house_of(plan, self._house)
            self._refuse_other_authority(plan)
        is_configured = plan is not None
        answers = answers_of(self._arguments, machine, self._house, is_configured=is_configured)
        if config is not None:
            answers = known(answers, config, machine)
            self._tell(f"{config.source} is there already and stays as it is; edit it as you like.")
        elif plan is not None and self._backup is not None:
            answers = restored(answers, self._backup, plan, machine)
        check(answers)
        if self._is_alone:
            refuse_incomplete(
                answers,
                is_configured=is_configured,
                is_founding=self._is_founding(answers, plan),
            )
            self._try(answers, plan)
        else:
            answers = self._converse(answers, machine, plan)
        if plan is None:
            answers = with_port(answers, is_said=self._arguments.port is not None)
            text = configuration(answers, self._house).encode()
            plan = drafted(text, self._house, "no configuration can be made of that")
        line = self._line(answers, plan)
        changes = self._changes(answers, plan, program)
        self._show(changes, answers, line, plan)
        if not self._is_alone and not _is_agreed():
            self._tell("Nothing was changed.")
            return DONE
        with Outputs() as outputs:
            output = self._reserved(outputs, answers.recovery_code_file, plan)
            return self._carry_out(answers, changes, line, (outputs, output))

    def _refuse_impossible(self) -> None:
        """Raises UsageError where setup could not come to its end."""
        if not has_program("systemd-sysusers") or not _SYSTEMD.is_dir():
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
        if fault := account.fault_of_account():
            raise UsageError(fault, "certwarden works as a user of its own: rename that one first")

    # ── look and ask ──────────────────────────────────────────────────────────────────────────────

    def _existing(self) -> Config | None:
        """The configuration that is there already; raises ConfigError where it is wrong."""
        if not self._ground.has(self._house.config_file):
            return None
        return load(self._house.config_file, {})

    def _restorable(self) -> Config | None:
        """The backup's configuration; raises UsageError where it is not to be trusted unread."""
        if self._backup is None:
            return None
        config = self._backup.config(self._house)
        refuse_unsafe(
            config,
            self._house,
            api_url=self._arguments.api_url,
            gid_of=account.gid_of,
            ours=account.groups_made(self._ground) | {GROUP},
            owner_of=owner_of,
        )
        return config

    def _refuse_other_authority(self, plan: Config) -> None:
        """Raises UsageError where the backup's CA would have to take another one's place."""
        if self._backup is not None:
            steps.refuse_other_authority(plan.state_directory, self._backup.root, self._ground)

    def _is_founding(self, answers: Answers, plan: Config | None) -> bool:
        """Whether a private CA is made: there is none, and none in the backup."""
        is_wanted = answers.client_auth if plan is None else plan.authority is not None
        state = plan.state_directory if plan else STATE_DIRECTORY
        has_one = self._backup is not None or steps.has_authority(state, self._ground)
        return is_wanted and not has_one

    def _reserved(self, outputs: Outputs, file: Path | None, plan: Config) -> Output | None:
        """The file for the recovery code, unless an earlier run has written it."""
        if file is None or plan.authority is None:
            return None
        is_written = steps.has_authority(plan.state_directory, self._ground) and file.exists()
        return None if is_written else outputs.reserve(file)

    def _converse(self, answers: Answers, machine: Machine, plan: Config | None) -> Answers:
        """Asks what is not said yet; `plan` says it all where there is one."""
        is_configured = plan is not None
        questions.paragraph(questions.WELCOME)
        if not is_configured:
            answers = questions.ask_names(answers)
        if answers.token is not None:
            self._try(answers, plan)
        elif not self._is_kept_token_good(answers, plan):
            trial = trial_of(answers, plan)
            answers = questions.ask_token(answers, lambda token: try_out(token, trial))
        if not is_configured:
            answers = questions.ask_place(answers, machine)
            answers = questions.ask_clients(answers, is_open=is_open(answers.node_red))
        elif self._is_there and answers.client_auth and not steps.has_clients(self._certwarden):
            answers = questions.ask_clients(answers, is_open=False)
        if not is_configured or answers.needs_urls:
            answers = questions.ask_extras(answers)
        check(answers)
        return answers

    def _is_kept_token_good(self, answers: Answers, plan: Config | None) -> bool:
        if not answers.has_token:
            return False
        self._tell("There is an API token from an earlier time; it is tried.")
        try:
            self._try(answers, plan)
        except Error as error:
            self._tell(f"It does not work: {error.what}.")
            return False
        self._tell("It works.")
        return True

    def _try(self, answers: Answers, plan: Config | None) -> None:
        try_out(answers.token or read_secret(self._house.token), trial_of(answers, plan))

    def _line(self, answers: Answers, plan: Config) -> Line | None:
        """certwarden's line for settings.js, where there is one to be put in."""
        node_red = answers.node_red
        if node_red is None or answers.place is not Place.NODE_RED or not answers.is_editing:
            return None
        spec = spec_of(node_red.settings, plan)
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
        self, answers: Answers, plan: Config, program: Path
    ) -> tuple[list[Change], list[Change]]:
        """What is made before the certificate, and after it."""
        before = outline.users(groups(plan), outline.readers(answers.node_red, plan))
        if self._is_there:
            before += outline.secrets(answers, self._house)
        elif self._backup is not None:
            before += outline.secrets(answers, self._house)
            before.append(outline.restored_configuration(self._backup.text, self._house))
        else:
            before += outline.first_configuration(answers, self._house)
        after = [*outline.units(program), *outline.fittings(plan)] if answers.is_service else []
        return before, after

    def _show(
        self,
        changes: tuple[list[Change], list[Change]],
        answers: Answers,
        line: Line | None,
        plan: Config,
    ) -> None:
        items = [
            (change.place, change.what)
            for change in self._ground.outstanding([*changes[0], *changes[1]])
            if change.what
        ]
        if line is not None and line.proposal is None:
            items.append((str(line.node_red.settings), f"stays as it is: {line.why}"))
        self._tell("")
        self._tell("What will change on this machine:" if items else "No file has to change.")
        for place, what in items:
            self._tell(_item(place, what))
        if self._backup is not None and not self._is_there:
            self._show_backed_up(self._backup, plan)
        if line is not None and line.proposal is not None and line.proposal.diff:
            self._tell(_item(str(line.node_red.settings), "certwarden's line, after a backup:"))
            self._tell(textwrap.indent(line.proposal.diff.rstrip(), "    "))
            for remark in line.proposal.remarks:
                self._tell(f"    {remark}")
        self._tell("")
        self._tell("Then:")
        is_obtained = self._is_there and steps.has_certificate(self._certwarden)
        if self._backup is not None:
            is_back = steps.has_authority(plan.state_directory, self._ground)
            became = "there already, from" if is_back else "brought back from"
            self._tell(f"  - the private CA is {became} {self._backup.file}")
        if self._is_founding(answers, plan):
            self._tell("  - a private CA is made")
        for sentence in _sentences(answers, line, is_obtained=is_obtained):
            self._tell(f"  - {sentence}")

    def _show_backed_up(self, backup: Backup, plan: Config) -> None:
        """A stranger may have written it: it is read before it is agreed to."""
        self._tell(f"{self._house.config_file} as it was in the backup:")
        for written in backup.text.decode("utf-8-sig").splitlines():
            self._tell(f"    {written}".rstrip())
        for power in powers(plan):
            self._tell(f"  {power}")

    # ── change ────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(
        self,
        answers: Answers,
        changes: tuple[list[Change], list[Change]],
        line: Line | None,
        recovery: tuple[Outputs, Output | None],
    ) -> int:
        before, after = changes
        self._ground.make(before)
        config = self._loaded()
        outputs, output = recovery
        if self._backup is not None:
            backup = self._backup
            steps.restore_authority(
                self._certwarden, config, backup.file, backup.passphrase, self._ground
            )
        steps.found_authority(self._certwarden, config, self._ground, self._tell)
        if output and config.authority and self._ground.has(config.authority.passphrase_file):
            output.write(read_secret(config.authority.passphrase_file).reveal() + b"\n")
            outputs.keep()
            self._tell(f"The recovery code is in {output.path}.")
        steps.obtain(self._certwarden, config, self._tell)
        steps.put_to_use(
            self._certwarden, line, self._ground, self._tell, is_service=answers.is_service
        )
        if answers.client:
            steps.issue_first(self._certwarden, answers.client, self._tell)
        if answers.is_service:
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

    def _loaded(self) -> Config:
        """The configuration; one that we have just written and that will not do goes again."""
        try:
            return load(self._house.config_file, {})
        except ConfigError:
            if not self._is_there:
                self._ground.remove(self._house.config_file)
            raise


def _is_agreed() -> bool:
    terminal.say("")
    return terminal.confirm("Go on", default=False)


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def _item(place: str, what: str) -> str:
    gap = " " if len(place) < _PLACE_WIDTH else f"\n  {'':<{_PLACE_WIDTH}} "
    return f"  {place:<{_PLACE_WIDTH}}{gap}{what}"


def _sentences(answers: Answers, line: Line | None, *, is_obtained: bool) -> Iterable[str]:
    names = " and ".join(answers.domains)
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
