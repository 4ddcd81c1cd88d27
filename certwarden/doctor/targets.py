"""Whether certificates are in order, installed, readable to their programs, and served by them."""

import ipaddress
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from certwarden.doctor.finding import Finding, day, error, minute, ok, skipped, warning
from certwarden.errors import TargetError
from certwarden.lifecycle.plan import LAST_TENTH, deploy_steps
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.lifecycle.status import OVERDUE, TargetState, target_state
from certwarden.model import (
    TARGET_KINDS,
    Certificate,
    DeployOutcome,
    NoHandshake,
    Observed,
    ObservedTarget,
    Policy,
    Protocol,
    Served,
    Step,
    TargetSpec,
    UnitReload,
    UnitVerb,
    Unreachable,
    covers,
)

if TYPE_CHECKING:
    from certwarden.doctor.patient import Patient
    from certwarden.targets.readers import Reader, UnitFacts

_RUNNING = {"active", "activating", "reloading", "refreshing"}
_HTTP_KINDS = [kind.name for kind in TARGET_KINDS.values() if kind.protocol is Protocol.HTTP]


def pairs(patient: "Patient") -> Iterator[tuple[Observed, ObservedTarget]]:
    """Every target as found, with its certificate."""
    for seen in patient.observed:
        for target in seen.targets:
            yield seen, target


# ── what is stored ────────────────────────────────────────────────────────────────────────────────


def certificates(patient: "Patient") -> Iterator[Finding]:
    """Whether each certificate is there, readable, and renewed in time."""
    for seen in patient.observed:
        yield judge_certificate(seen, patient.now)


def judge_certificate(seen: Observed, now: datetime) -> Finding:
    """One finding; why the last attempt failed is told with the attempts."""
    name, stored = seen.spec.name, seen.stored
    renew = f"certwarden renew {name}"
    if seen.trouble is not None:
        return error(name, seen.trouble.what, seen.trouble.hint or renew)
    if stored is None:
        return error(name, "there is no certificate yet", f"obtain it: {renew}")
    due, until = renewal(seen, now), stored.certificate.not_after
    if until <= now:
        return error(name, f"the stored certificate has expired on {day(until)}", renew)
    if due.at + OVERDUE <= now:
        what = f"it was to be renewed on {day(due.at)}, and was not; it expires on {day(until)}"
        return warning(name, what, f"see whether the daemon runs; now: {renew}")
    return ok(name, f"it is good until {day(until)}, and is to be renewed on {day(due.at)}")


# ── the files ─────────────────────────────────────────────────────────────────────────────────────


def files(patient: "Patient") -> Iterator[Finding]:
    """Whether the current generation is whole, for the right names, and the newest."""
    from certwarden.targets.soundness import faults

    for seen, target in pairs(patient):
        parts = () if target.installed and not target.trouble else faults(target.spec)
        waiting = waiting_step(seen, target, patient.now, patient.warden.policy)
        yield from judge_files(seen, target, parts, waiting, patient.now)


def judge_files(
    seen: Observed,
    target: ObservedTarget,
    parts: Sequence[str],
    waiting: Step | None,
    now: datetime,
) -> Iterator[Finding]:
    """`parts` is what is wrong with the files one by one; `waiting` the deploy that is to come."""
    name, spec, installed = target.spec.name, target.spec, target.installed
    again = _deploy(spec)
    if target.trouble is not None:
        yield error(name, target.trouble.what, target.trouble.hint or again)
    if installed is None:
        if seen.stored is None and not target.trouble:
            yield skipped(name, f"there is no certificate {spec.certificate} yet")
        elif not target.trouble or parts:
            for part in parts or ["what is installed is not whole"]:
                yield error(name, part, again)
        return
    leaf = installed.certificate
    if installed.is_placeholder:
        yield error(
            name,
            "only a placeholder is installed: a self-signed certificate that no browser accepts",
            f"obtain the real one: certwarden renew {spec.certificate}",
        )
        return
    findings = [
        *_judge_dates(spec, leaf, now),
        *_judge_names(seen, spec, leaf),
        *_judge_version(seen, spec, leaf, waiting),
    ]
    yield from findings or [
        ok(name, f"generation {installed.number:04d} is whole, good until {day(leaf.not_after)}")
    ]


def _judge_dates(spec: TargetSpec, leaf: Certificate, now: datetime) -> Iterator[Finding]:
    renew = f"see `certwarden status`, then: certwarden renew {spec.certificate}"
    if leaf.not_after <= now:
        what = f"the installed certificate has expired on {day(leaf.not_after)}"
        yield error(spec.name, what, renew)
    elif now < leaf.not_before:
        what = f"the installed certificate is good from {day(leaf.not_before)} on only"
        yield error(spec.name, what, "check this machine's clock")
    elif leaf.not_after - leaf.lifetime / LAST_TENTH <= now:
        what = f"the installed certificate expires on {day(leaf.not_after)}"
        yield warning(spec.name, what, renew)


def _judge_names(seen: Observed, spec: TargetSpec, leaf: Certificate) -> Iterator[Finding]:
    lacking = sorted({name.lower() for name in seen.spec.domains} - {n.lower() for n in leaf.names})
    if lacking:
        yield warning(
            spec.name,
            f"the installed certificate is not for {', '.join(lacking)}",
            f"obtain one that is: certwarden renew {spec.certificate}",
        )
    asked = "" if _is_address(spec.probe_name) else spec.probe_name
    if spec.probe and asked and not covers(leaf.names, asked):
        yield error(
            spec.name,
            f"the installed certificate is not for {spec.probe_name}, which `probe_name` asks for",
            f"add it to the `domains` of {spec.certificate}, or correct `probe_name`",
        )


def _judge_version(
    seen: Observed, spec: TargetSpec, leaf: Certificate, waiting: Step | None
) -> Iterator[Finding]:
    if seen.stored is None or seen.stored.certificate.fingerprint == leaf.fingerprint:
        return
    if waiting is not None:
        what = f"the newest certificate is put in place at {minute(waiting.at)}: {waiting.reason}"
        yield ok(spec.name, what)
        return
    what = "another certificate than the newest stored one is installed"
    yield warning(spec.name, what, _deploy(spec))


def _is_address(host: str) -> bool:
    """An address is told no name, and is served what there is."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def waiting_step(
    seen: Observed, target: ObservedTarget, now: datetime, policy: Policy
) -> Step | None:
    """The deploy that is planned for later, as long as nothing has failed: a window is waited for.

    What waits because it failed is no such thing.
    """
    last = target.last_deploy
    if last is not None and last.outcome is DeployOutcome.FAILED:
        return None
    steps = deploy_steps(seen, now, policy, is_named=False)
    return next((each for each in steps if each.target == target.spec.name and each.at > now), None)


# ── what is served ────────────────────────────────────────────────────────────────────────────────


def served(patient: "Patient") -> Iterator[Finding]:
    """Whether the stored certificate is what is seen at the target."""
    for seen, target in pairs(patient):
        waiting = waiting_step(seen, target, patient.now, patient.warden.policy)
        yield from judge_served(seen, target, waiting)


def judge_served(  # noqa: C901  # one case for each state
    seen: Observed, target: ObservedTarget, waiting: Step | None
) -> Iterator[Finding]:
    """One finding, with what the last deploy has said where it failed."""
    spec, name, last = target.spec, target.spec.name, target.last_deploy
    has_failed = last is not None and last.outcome is DeployOutcome.FAILED
    again = _deploy(spec)
    match target_state(seen, target):
        case TargetState.IN_USE:
            assert isinstance(target.seen, Served)  # noqa: S101  # else it would not be in use
            until = day(target.seen.certificate.not_after)
            yield ok(name, f"{spec.probe} serves the stored certificate, good until {until}")
        case TargetState.NOT_PROBED:
            hint = f'set `probe = "127.0.0.1:PORT"` for {name}'
            yield skipped(name, "there is no `probe`, so nobody sees what is served", hint)
        case TargetState.PLACEHOLDER:
            yield skipped(name, "a placeholder is installed, which is told with its files")
        case TargetState.UNREACHABLE:
            assert isinstance(target.seen, Unreachable)  # noqa: S101  # the state says so
            yield error(name, target.seen.what, _start(spec))
        case TargetState.FAILED if isinstance(target.seen, NoHandshake):
            yield error(name, target.seen.what, _speak_tls(target, again))
        case TargetState.FAILED if has_failed and last is not None:
            what = f"the last deploy failed: {last.what}"
            yield error(name, what, f"{last.hint + ', then ' if last.hint else ''}{again}")
        case TargetState.FAILED:
            yield skipped(name, "it could not be looked at, which is told with its files")
        case TargetState.STALE if seen.trouble is not None:
            yield skipped(name, "what is stored cannot be read, which is told with the certificate")
        case TargetState.STALE if seen.stored is None:
            yield _judge_strange(target)
        case TargetState.STALE if waiting is not None:
            yield ok(name, f"it serves the one before until {minute(waiting.at)}")
        case TargetState.STALE:
            what = f"{spec.probe} serves another certificate than the stored one"
            if isinstance(target.seen, Served):
                leaf = target.seen.certificate
                what += f": one of {leaf.issuer} that ends on {day(leaf.not_after)}"
            yield error(name, what, _take_up(spec))


def _judge_strange(target: ObservedTarget) -> Finding:
    """Something is served, and nothing is stored."""
    name, installed = target.spec.name, target.installed
    served = target.seen.certificate.fingerprint if isinstance(target.seen, Served) else ""
    if installed is not None and served == installed.certificate.fingerprint:
        return skipped(name, "nothing is stored to compare, which is told with the certificate")
    renew = f"obtain one: certwarden renew {target.spec.certificate}"
    return warning(name, "it serves a certificate that is not ours", renew)


def _speak_tls(target: ObservedTarget, again: str) -> str:
    is_plain = isinstance(target.seen, NoHandshake) and "plain HTTP" in target.seen.what
    if is_plain and target.spec.kind.name in _HTTP_KINDS:
        return (
            "have it serve HTTPS: `certwarden snippet` prints the lines; then restart it, and "
            f"look with `certwarden status {target.spec.certificate}`"
        )
    return f"look at the program's own log, then {again}"


def _take_up(spec: TargetSpec) -> str:
    return (
        f"see that the program reads {spec.directory}/current, as `certwarden snippet` shows it, "
        f"and restart it; or correct `probe`; then {_deploy(spec)}"
    )


def _start(spec: TargetSpec) -> str:
    if isinstance(spec.reload, UnitReload):
        return f"start it: sudo systemctl start {spec.reload.unit}; or correct `probe`"
    return f"start the program, or correct `probe` of {spec.name}"


# ── the chain ─────────────────────────────────────────────────────────────────────────────────────


def chain(patient: "Patient") -> Iterator[Finding]:
    """Whether browsers are shown all that they need to find the CA."""
    found = list(pairs(patient))
    looks = [partial(_shown, target) for _, target in found]
    shown = side_by_side(looks, patient.warden.clock)
    for (seen, target), chain_shown in zip(found, shown, strict=True):
        yield from judge_chain(seen, target, chain_shown)


def _shown(target: ObservedTarget) -> tuple[bytes, ...]:
    from certwarden.targets.visits import served_chain

    if target.spec.probe and isinstance(target.seen, Served):
        return served_chain(target.spec.probe, target.spec.probe_name)
    return ()


def judge_chain(
    seen: Observed, target: ObservedTarget, shown: Sequence[bytes]
) -> Iterator[Finding]:
    """`shown` is the chain in the handshake, in DER; () where none was to be seen."""
    stored, name = seen.stored, target.spec.name
    if stored is None:
        return
    length = len(stored.pair.chain_pem)
    if length < 2 and not is_self_signed(stored.pair.chain_pem[0]):
        yield error(
            name,
            "the stored chain is the leaf alone: who issued it is missing",
            f"obtain it again: certwarden renew --force {target.spec.certificate}",
        )
        return
    if not shown or target_state(seen, target) is not TargetState.IN_USE:
        yield skipped(name, "the stored certificate is not seen there")
    elif len(shown) < length:
        yield error(
            name,
            f"it shows {len(shown)} of the {length} certificates of the chain: devices that do "
            "not know the missing ones refuse it",
            f"have it read {target.spec.directory}/current/fullchain.pem in place of cert.pem",
        )
    else:
        yield ok(name, f"the whole chain is shown: {len(shown)} certificates")


def is_self_signed(pem: bytes) -> bool:
    """Whether it is a CA of its own, so that nothing is missing behind it."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return False
    return certificate.issuer == certificate.subject


# ── units ─────────────────────────────────────────────────────────────────────────────────────────


def units(patient: "Patient") -> Iterator[Finding]:
    """Whether the units that are to be restarted or reloaded are there, and can be."""
    from certwarden.targets.units import is_booted

    facts = unit_facts(patient)
    for _, target in pairs(patient):
        reload = target.spec.reload
        if not isinstance(reload, UnitReload):
            continue
        if isinstance(facts, TargetError):
            yield judge_silence(target.spec.name, reload, facts, is_booted=is_booted())
        else:
            yield judge_unit(target.spec.name, reload, facts[reload.unit])


def unit_facts(patient: "Patient") -> "dict[str, UnitFacts] | TargetError":
    """What systemd says of the targets' units, or why it says nothing."""
    from certwarden.targets.readers import ask_units

    reloads = [each.reload for _, each in patient.targets]
    try:
        return ask_units(each.unit for each in reloads if isinstance(each, UnitReload))
    except TargetError as failure:
        return failure


def judge_silence(
    name: str, reload: UnitReload, failure: TargetError, *, is_booted: bool
) -> Finding:
    """Nobody tells of the unit; `is_booted`: there is a systemd that could."""
    if is_booted:
        return error(name, failure.what, failure.hint or f"see `systemctl status {reload.unit}`")
    return error(
        name,
        f"{reload.unit} cannot be asked to {reload.verb}: there is no systemd here",
        f"give the `reload` of {name} a command in place of the unit, `{{ command = [...] }}`",
    )


def judge_unit(name: str, reload: UnitReload, facts: "UnitFacts") -> Finding:
    """One finding for one unit."""
    unit, verb = reload.unit, reload.verb
    see = f"see `systemctl status {unit}`"
    if facts.load == "not-found":
        hint = f"correct `unit` in the `reload` of {name}; `systemctl list-units` has the names"
        return error(name, f"there is no unit {unit}", hint)
    if facts.load != "loaded":
        return error(name, f"systemd cannot use the unit {unit} ({facts.load})", see)
    if facts.active == "failed":
        return error(name, f"{unit} has failed", see)
    if facts.active not in _RUNNING:
        what = f"{unit} does not run ({facts.active or 'systemd does not say why'})"
        return warning(name, what, f"start it: sudo systemctl start {unit}")
    if verb is UnitVerb.RELOAD and facts.can_reload is False:
        hint = 'write `verb = "restart"` in its `reload`, and `certwarden setup` for the new rule'
        return error(name, f"{unit} cannot be reloaded, only restarted", hint)
    return ok(name, f"{unit} runs, and can be asked to {verb}")


# ── who reads ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Reading:
    """Who reads the files, and what hinders him.

    `after_restart`: whom the program will be once it is started again, where that is more.
    """

    reader: "Reader"
    after_restart: "Reader | None" = None
    refused: tuple[Path, ...] = ()
    refused_after_restart: tuple[Path, ...] = ()
    unseen: tuple[Path, ...] = ()


def readers(patient: "Patient") -> Iterator[Finding]:
    """Whether the program's user may read the files."""
    told = unit_facts(patient)
    units = {} if isinstance(told, TargetError) else told
    looks = [
        partial(
            _look_at_reader,
            target.spec,
            units,
            is_in_use=target_state(seen, target) is TargetState.IN_USE,
        )
        for seen, target in pairs(patient)
        if target.installed is not None
    ]
    yield from side_by_side(looks, patient.warden.clock)


def _look_at_reader(
    spec: TargetSpec, units: "Mapping[str, UnitFacts]", *, is_in_use: bool
) -> Finding:
    from certwarden.targets.readers import members, reader_of_owner

    if isinstance(spec.reload, UnitReload):
        facts = units.get(spec.reload.unit)
        if facts is None or facts.load != "loaded":
            return skipped(spec.name, "its unit is not known, so neither is who reads the files")
        now, later = readers_of(spec, facts)
        if now is None:
            what = f"systemd starts {facts.unit} as {facts.user}, and there is no such user"
            return error(spec.name, what, f"correct User= or Group= of {facts.unit}")
        return judge_reading(spec, _look_at(spec, now, later))
    if is_in_use:
        return ok(spec.name, "its program has read them: it serves them")
    if spec.settings and (owner := reader_of_owner(spec.settings)):
        return judge_reading(spec, _look_at(spec, owner, None))
    return judge_group(spec, members(spec.group) if spec.group else None)


def readers_of(spec: TargetSpec, facts: "UnitFacts") -> "tuple[Reader | None, Reader | None]":
    """Whom the unit's program is now, and whom it will be after its next start.

    A program that is started as root reads as root, unless it has become another user: that one
    reads at a reload, and mosquitto's at a start as well.
    """
    from certwarden.targets.readers import reader_of_process, reader_of_user

    later = reader_of_user(facts.user or "root", facts.group, facts.supplementary_groups)
    now = reader_of_process(facts.main_pid) if facts.main_pid else None
    if now is None or later is None:
        return now or later, None
    if later.uid != 0:
        return now, later
    is_reread = isinstance(spec.reload, UnitReload) and spec.reload.verb is UnitVerb.RELOAD
    if now.uid != 0 and (is_reread or spec.kind.name == "mosquitto"):
        return now, reader_of_user(str(now.uid))
    return later, None


def _look_at(spec: TargetSpec, reader: "Reader", later: "Reader | None") -> Reading:
    paths = [spec.directory / "current" / file for file in spec.files]
    paths += [path for path in (spec.key_path, spec.certificate_path) if path is not None]
    refused, unseen = _refused(paths, reader)
    after, _ = _refused(paths, later) if later is not None and refused else (refused, ())
    return Reading(reader, later, refused, after, unseen)


def _refused(paths: Sequence[Path], reader: "Reader") -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What the reader may not read, and of what that cannot be told.

    A child that tries knows what modes do not show.
    """
    from certwarden.targets.readers import can_read, may_read

    tried = can_read(paths, reader)
    by_mode = [may_read(path, reader) for path in paths] if tried is None else []
    answers: list[bool | None] = by_mode if tried is None else [*tried]
    refused = tuple(p for p, allowed in zip(paths, answers, strict=True) if allowed is False)
    unseen = tuple(p for p, allowed in zip(paths, answers, strict=True) if allowed is None)
    return refused, unseen


def judge_reading(spec: TargetSpec, reading: Reading) -> Finding:
    """One finding about one reader."""
    name, who = spec.name, reading.reader.name
    if reading.refused:
        what = f"{who}, as whom its program runs, may not read {_listed(reading.refused)}"
        if reading.after_restart is not None and not reading.refused_after_restart:
            unit = spec.reload.unit if isinstance(spec.reload, UnitReload) else "the program"
            return error(
                name,
                f"{what}: it was started before {who} was put into the group",
                f"restart it: sudo systemctl restart {unit}",
            )
        return error(name, what, _let_read(spec, who))
    if reading.unseen:
        what = f"whether {who} may read {_listed(reading.unseen)} cannot be seen"
        return skipped(name, what, "run it with sudo")
    return ok(name, f"{who}, as whom its program runs, may read the files")


def judge_group(spec: TargetSpec, members: frozenset[str] | None) -> Finding:
    """Where nothing says who reads: the members of its group; None where it names none."""
    if members is None:
        return skipped(spec.name, "nothing says which user reads the files")
    if not members:
        return skipped(
            spec.name,
            f"nobody on this machine is in the group {spec.group}, which may read the key; a "
            "container's user need not be",
            f"give the container the group by `group_add`, else put the program's user into it: "
            f"sudo usermod -aG {spec.group} USER",
        )
    return skipped(spec.name, f"who of {', '.join(sorted(members))} reads the files is not known")


def _let_read(spec: TargetSpec, who: str) -> str:
    if spec.group is None:
        return (
            f"make a group, `sudo groupadd --system tls-{spec.name}`, put {who} and certwarden's "
            f'user into it, set `group = "tls-{spec.name}"` for {spec.name}, and '
            f"{_deploy(spec)}"
        )
    return (
        f"sudo usermod -aG {spec.group} {who}, then restart the program; "
        f"`namei -l {shlex.quote(f'{spec.directory}/current/')}` shows where it is stopped"
    )


def _listed(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}"


def _deploy(spec: TargetSpec) -> str:
    return f"sudo certwarden deploy {spec.certificate}"


CHECKS = {
    "certificate": certificates,
    "target-files": files,
    "target-served": served,
    "target-chain": chain,
    "target-unit": units,
    "target-reader": readers,
}
