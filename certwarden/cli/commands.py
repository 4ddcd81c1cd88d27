"""One short function per command: call a way through the house, hand what it returns to render."""

import difflib
import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from certwarden.cli import render
from certwarden.cli.arguments import config_file
from certwarden.cli.console import Console
from certwarden.cli.privilege import handed_over, settle
from certwarden.cli.shapes import show_line
from certwarden.config import MAX_CONFIG_BYTES, Config, effective, load
from certwarden.errors import ConfigError, Error, UsageError
from certwarden.model import CertificateSpec, Pair, RevocationReason, TargetSpec
from certwarden.ports import Level

if TYPE_CHECKING:
    from certwarden.wiring import Warden

DONE, FAILED, ATTENTION = 0, 1, 3


def renew(arguments: Namespace) -> int:
    """One reconcile pass, or a rehearsal of it."""
    config = read_config(arguments)
    specs = _chosen(config, arguments.names)
    if arguments.dry_run:
        return _rehearse(arguments, config, specs)
    from certwarden.lifecycle.reconcile import Wish, reconcile

    wish = Wish(
        force=[spec.name for spec in specs] if arguments.force else [],
        named=arguments.names,
        is_deploying=not arguments.no_deploy,
        is_whole=not arguments.names,
        is_starting=arguments.at_start,
    )
    with open_warden(arguments, config) as warden:
        result = reconcile(warden, specs, wish)
    render.show_pass(result, is_json=arguments.json)
    return DONE if result.is_good else FAILED


def deploy(arguments: Namespace) -> int:
    """Install, reload and verify again."""
    from certwarden.lifecycle.act import deploy_again
    from certwarden.lifecycle.reconcile import PassResult

    config = read_config(arguments)
    specs = _chosen(config, arguments.names)
    with open_warden(arguments, config) as warden:
        result = PassResult(deploy_again(warden, specs))
        if config.authority is not None:
            from certwarden.lifecycle.withdraw import prove_again

            result = replace(result, authority_error=prove_again(warden, specs))
    render.show_pass(result, is_json=arguments.json)
    return DONE if result.is_good else FAILED


def plan(arguments: Namespace) -> int:
    """What a pass would do now."""
    from certwarden.lifecycle.authority import observe_authority
    from certwarden.lifecycle.observe import observe
    from certwarden.lifecycle.plan import agenda

    config = read_config(arguments)
    with open_warden(arguments, config, is_read_only=True) as warden:
        now = warden.clock.now()
        observed = observe(warden, config.certificates)
        authority = observe_authority(warden)
        leftovers = len(warden.journal.leftovers())
        steps = agenda(observed, leftovers, now, warden.policy, authority=authority)
    render.show_plan(steps, observed, now, is_json=arguments.json)
    troubles = [authority and authority.trouble, *(seen.trouble for seen in observed)]
    return FAILED if any(troubles) else DONE


def history(arguments: Namespace) -> int:
    """What happened, newest first."""
    config = read_config(arguments)
    names = [spec.name for spec in config.certificates]
    names += [target.name for spec in config.certificates for target in spec.targets]
    if arguments.name is not None and arguments.name not in names:
        raise unknown("certificate or target", arguments.name, names)
    with open_warden(arguments, config, is_read_only=True) as warden:
        events = warden.history.events(arguments.name, arguments.limit)
    render.show_history(events, is_json=arguments.json)
    return DONE


def revoke(arguments: Namespace) -> int:
    """Replace, deploy, revoke; or revoke first."""
    from certwarden.lifecycle.reconcile import Wish, reconcile
    from certwarden.lifecycle.revoke import request_revocation

    config = read_config(arguments)
    specs = _chosen(config, [arguments.name])
    with open_warden(arguments, config) as warden:
        now = warden.clock.now()
        reason = RevocationReason(arguments.reason)
        request_revocation(warden, arguments.name, reason, now, is_urgent=arguments.now)
        result = reconcile(warden, specs, Wish(named=[arguments.name], is_whole=False))
        is_open = warden.revocations.pending_revocations(arguments.name)
    render.show_pass(result, is_json=False)
    return DONE if result.is_good and not is_open else FAILED


def config_check(arguments: Namespace) -> int:
    """Every mistake in the configuration at once."""
    try:
        config = read_config(arguments)
    except ConfigError as error:
        if not arguments.json:
            raise
        render.show_mistakes(error.mistakes)
        return error.exit_code
    if arguments.json:
        render.show_mistakes(())
    else:
        show_line(f"{config.source} is in order")
    return DONE


def config_show(arguments: Namespace) -> int:
    """The effective configuration."""
    render.show_config(effective(read_config(arguments)), is_json=arguments.json)
    return DONE


def _rehearse(arguments: Namespace, config: Config, specs: Sequence[CertificateSpec]) -> int:
    from certwarden.lifecycle.judge import ClockJudge
    from certwarden.lifecycle.obtain import Desk, rehearse

    if config.acme.staging_directory_url is None:
        raise UsageError(
            "there is no staging directory to rehearse at",
            "set `acme.staging_directory` in the configuration",
        )
    results: dict[str, Pair | Error] = {}
    with open_warden(arguments, config) as warden:
        refusal = ClockJudge(warden).refusal(warden.clock.now())
        for spec in specs:
            if refusal is not None:
                results[spec.name] = refusal
                continue
            try:
                with warden.locks.orders():
                    results[spec.name] = rehearse(Desk(warden), spec, warden.clock.now())
            except Error as error:
                warden.reporter.event(Level.ERROR, spec.name, error.what, error.hint)
                results[spec.name] = error
    render.show_rehearsals(results, is_json=arguments.json)
    return FAILED if any(isinstance(each, Error) for each in results.values()) else DONE


def read_config(arguments: Namespace) -> Config:
    handed_down = arguments.config_text_fd
    text = None if handed_down is None else os.pread(handed_down, MAX_CONFIG_BYTES + 1, 0)
    return load(config_file(arguments), os.environ, text)


@contextmanager
def open_warden(
    arguments: Namespace, config: Config, *, is_read_only: bool = False
) -> Iterator["Warden"]:
    from certwarden.wiring import Warden

    secrets = handed_over(config) if is_read_only else {}
    settle(
        config.state_directory,
        keep_root=arguments.command in ("deploy", "doctor"),
        is_looking=is_read_only,
    )
    console = Console(is_verbose=arguments.verbose, is_quiet=arguments.quiet)
    purpose = " ".join([arguments.purpose, *getattr(arguments, "names", ())])
    warden = Warden(
        config, console, purpose=purpose, is_read_only=is_read_only, handed_over=secrets
    )
    try:
        yield warden
    finally:
        warden.close()
        console.close()


def _chosen(config: Config, names: Sequence[str]) -> tuple[CertificateSpec, ...]:
    known = {spec.name: spec for spec in config.certificates}
    for name in names:
        if name not in known:
            raise unknown("certificate", name, list(known))
    return tuple(known[name] for name in dict.fromkeys(names)) or config.certificates


def configured_targets(config: Config) -> list[TargetSpec]:
    return [target for spec in config.certificates for target in spec.targets]


def unknown(kind: str, name: str, known: Sequence[str]) -> UsageError:
    """That the configuration has nothing of that name; with what it was probably to be."""
    near = difflib.get_close_matches(name, known, 1)
    advice = f"did you mean `{near[0]}`?" if near else f"there is: {', '.join(known) or 'none'}"
    return UsageError(f"there is no {kind} `{name}` in the configuration", advice)
