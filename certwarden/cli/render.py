"""Results as text for people and as JSON for programs, on stdout; `shapes` has the rules."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from certwarden.cli.render_authority import authority_json, authority_lines
from certwarden.cli.shapes import bar_text, date_text, error_json, left_text, show_json, time_text
from certwarden.errors import Error, Mistake
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import last_failure, next_try
from certwarden.lifecycle.status import (
    CertificateState,
    TargetState,
    certificate_state,
    target_state,
)
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    DeployOutcome,
    Event,
    Observed,
    ObservedAuthority,
    ObservedTarget,
    Pair,
    Policy,
    Served,
    Step,
)

if TYPE_CHECKING:  # these would load `cryptography`, which a quick command does without
    from certwarden.lifecycle.act import CertificateResult
    from certwarden.lifecycle.reconcile import PassResult
    from certwarden.targets.node_red.settings import Https, Inspection

ALMOST_A_SECOND = timedelta(microseconds=999_999)


def show_pass(result: "PassResult", *, is_json: bool) -> None:
    """What a pass did."""
    if is_json:
        show_json(
            {
                "certificates": [_result_json(each) for each in result.certificates],
                "swept": result.swept,
                "sweep_error": error_json(result.sweep_error),
                "token_error": error_json(result.token_error),
                "authority_error": error_json(result.authority_error),
                "store_error": error_json(result.store_error),
                "next": [
                    # Rounded up: a pass that comes early finds nothing due.
                    {
                        "job": call.job.value,
                        "at": time_text(call.at + ALMOST_A_SECOND),
                        "why": call.why,
                    }
                    for call in result.calls
                ],
                "clock": _clock_json(result.verdict),
            }
        )
        return
    for each in result.certificates:
        print(_result_line(each))


def show_rehearsals(results: Mapping[str, Pair | Error], *, is_json: bool) -> None:
    """How each rehearsal at the staging directory ended."""
    if is_json:
        show_json(
            {
                "certificates": [
                    {
                        "name": name,
                        "issuer": None if isinstance(result, Error) else result.certificate.issuer,
                        "error": error_json(result) if isinstance(result, Error) else None,
                    }
                    for name, result in results.items()
                ]
            }
        )
        return
    for name, result in results.items():
        if isinstance(result, Error):
            print(f"{name}: the rehearsal failed")
        else:
            print(f"{name}: the rehearsal went well (by {result.certificate.issuer})")


def show_plan(
    steps: Sequence[Step], observed: Sequence[Observed], now: datetime, *, is_json: bool
) -> None:
    """What a pass would do now; for people also what comes later, and when."""
    due = [step for step in steps if step.at <= now]
    if is_json:
        show_json(
            [
                {
                    "step": step.kind.value,
                    "certificate": step.certificate,
                    "target": step.target,
                    "reason": step.reason,
                    "at": time_text(step.at),
                }
                for step in due
            ]
        )
        return
    for step in due:
        print(f"{step.kind.value:<8} {_step_text(step)}")
    if not due:
        print("nothing to do now")
    for seen in observed:
        if seen.trouble is not None:
            print(f"{seen.spec.name}: {seen.trouble.what}")
    for step in steps:
        if step.at > now:
            print(f"{step.kind.value:<8} {_step_text(step)} ({date_text(step.at)})")


def _step_text(step: Step) -> str:
    subject = " → ".join(name for name in (step.certificate, step.target) if name)
    return f"{subject}: {step.reason}" if subject else step.reason


def show_status(
    observed: Sequence[Observed],
    authority: ObservedAuthority | None,
    verdict: Verdict,
    policy: Policy,
    now: datetime,
    *,
    is_json: bool,
) -> None:
    """Every certificate and its targets, the private CA, and the clock."""
    if is_json:
        show_json(
            {
                "certificates": [_status_json(seen, policy, now) for seen in observed],
                "authority": authority_json(authority, now),
                "clock": _clock_json(verdict),
            }
        )
        return
    blocks = [_status_lines(seen, policy, now) for seen in observed]
    blocks += [[*authority_lines(authority, now)]] if authority else []
    print("\n\n".join("\n".join(lines) for lines in blocks))
    if verdict.is_asked and not verdict.is_trusted:
        print(f"\nclock  NOT TRUSTED: {verdict.what}")
        if verdict.hint:
            print(f"       {verdict.hint}")


def show_history(events: Sequence[Event], *, is_json: bool) -> None:
    """What happened, newest first."""
    if is_json:
        show_json(
            [
                {
                    "at": time_text(event.at),
                    "kind": event.kind,
                    "certificate": event.certificate,
                    "target": event.target,
                    "text": event.text,
                }
                for event in events
            ]
        )
        return
    for event in events:
        subject = event.target or event.certificate
        told = f"{subject}: {event.text}" if subject else event.text
        print(f"{date_text(event.at)}  {event.kind:<17}  {told}")


def show_mistakes(mistakes: Sequence[Mistake]) -> None:
    """The configuration's mistakes, as JSON."""
    show_json([{"path": mistake.path, "message": mistake.message} for mistake in mistakes])


def show_config(values: dict[str, Any], *, is_json: bool) -> None:
    """The effective configuration."""
    if is_json:
        show_json(values)
        return
    for path, value in _leaves("", values):
        print(f"{path} = {json.dumps(value, ensure_ascii=False)}")


def show_inspection(inspection: "Inspection", contradiction: str, *, is_json: bool) -> None:
    """What settings.js says about TLS, and how it contradicts the configuration, if it does."""
    if is_json:
        values = asdict(inspection)
        values["settings"] = str(inspection.settings)
        values["contradiction"] = contradiction or None
        show_json(values)
        return
    for line in _inspection_lines(inspection):
        print(line)
    if contradiction:
        print(f"  WRONG    {contradiction}")


def _inspection_lines(inspection: "Inspection") -> Iterator[str]:
    yield f"{inspection.settings}, run by Node.js {inspection.node or '?'}"
    if inspection.error is not None:
        yield f"  it cannot be run: {inspection.error}"
        return
    https = inspection.https
    if https is None or https.kind == "absent":
        yield "  https    absent: Node-RED speaks plain HTTP"
        yield "  advice   put in the line that `certwarden snippet node-red` prints"
    else:
        yield from _https_lines(https, inspection.refresh_hours)
    if inspection.uibuilder_without_certificate:
        yield "  uibuilder has a server of its own, which `https` as a function leaves without one"
    for attempt in inspection.blocked:
        yield f"  blocked  {attempt}"


def _https_lines(https: "Https", refresh_hours: float | None) -> Iterator[str]:
    yield f"  https    {https.kind}"
    if https.error is not None:
        yield f"  error    {https.error}"
    if (line := https.certwarden) is not None:
        yield f"  module   certwarden's, reading {line.live}"
        if line.error is not None:
            yield f"           {line.error}"
    for word, files in (("key", https.key_files), ("cert", https.certificate_files)):
        for file in files:
            mode = f" (mode {file.mode})" if file.mode else ""
            yield f"  {word:<7}  {file.realpath or file.path}{mode}"
    if https.leaf is not None:
        yield f"  leaf     {', '.join(https.leaf.names)}, until {https.leaf.not_after}"
    if not https.is_usable:
        yield f"  UNUSABLE {https.unusable_because or 'no certificate'}"
    if https.certwarden is None:
        if https.kind.startswith("function") and refresh_hours:
            yield f"  reload   by Node-RED itself, every {refresh_hours:g} h"
        else:
            yield "  reload   only by a restart"


def _result_line(result: "CertificateResult") -> str:
    if result.stored is None:
        return f"{result.name}: no certificate"
    until = f"valid until {date_text(result.stored.certificate.not_after)}"
    parts = [("renewed, " if result.is_new else "") + until]
    if result.error is not None and not result.is_new:
        parts[0] = f"not renewed, {until}"
    words = {
        DeployOutcome.IN_USE: "in use at",
        DeployOutcome.INSTALLED: "installed at",
        DeployOutcome.UNREACHABLE: "installed, but nobody answers at",
        DeployOutcome.FAILED: "NOT in use at",
    }
    parts += [f"{words[each.outcome]} {each.target}" for each in result.deployed]
    return f"{result.name}: {', '.join(parts)}"


def _result_json(result: "CertificateResult") -> dict[str, Any]:
    leaf = result.stored.certificate if result.stored else None
    return {
        "name": result.name,
        "renewed": result.is_new,
        "serial": leaf.serial if leaf else None,
        "fingerprint_sha256": leaf.fingerprint if leaf else None,
        "not_after": time_text(leaf.not_after) if leaf else None,
        "error": error_json(result.error),
        "clean_up_error": error_json(result.litter),
        "targets": [
            {
                "name": each.target,
                "outcome": each.outcome.value,
                "error": error_json(each.error),
            }
            for each in result.deployed
        ],
    }


def _clock_json(verdict: Verdict | None) -> dict[str, bool | None] | None:
    if verdict is None:
        return None
    is_known = verdict.is_trusted or verdict.is_asked
    return {
        "synchronised": verdict.synchronised,
        "trusted": verdict.is_trusted if is_known else None,
    }


def _status_json(seen: Observed, policy: Policy, now: datetime) -> dict[str, Any]:
    leaf = seen.stored.certificate if seen.stored else None
    due = renewal(seen, now)
    return {
        "name": seen.spec.name,
        "domains": list(seen.spec.domains),
        "state": certificate_state(seen, now).value,
        "serial": leaf.serial if leaf else None,
        "fingerprint_sha256": leaf.fingerprint if leaf else None,
        "issuer": leaf.issuer if leaf else None,
        "not_before": time_text(leaf.not_before) if leaf else None,
        "not_after": time_text(leaf.not_after) if leaf else None,
        "renewal": {"at": time_text(due.at), "reason": due.reason.value},
        "last_error": _last_error_json(seen, policy, now),
        "targets": [_target_json(seen, target) for target in seen.targets],
    }


def _last_error_json(seen: Observed, policy: Policy, now: datetime) -> dict[str, str | None] | None:
    if seen.trouble is not None:
        what, hint = seen.trouble.what, seen.trouble.hint
        return {"at": time_text(now), "what": what, "hint": hint, "next_try": None}
    last = last_failure(seen)
    if last is None or renewal(seen, now).at > now:
        return None
    return {
        "at": time_text(last.ended_at or last.begun_at),
        "what": last.what,
        "hint": last.hint,
        "next_try": time_text(next_try(seen, policy, now).at),
    }


def _target_json(seen: Observed, target: ObservedTarget) -> dict[str, Any]:
    return {
        "name": target.spec.name,
        "kind": target.spec.kind.name,
        "installed": target.installed.certificate.fingerprint if target.installed else None,
        "served": target.seen.certificate.fingerprint if isinstance(target.seen, Served) else None,
        "state": target_state(seen, target).value,
    }


def _status_lines(seen: Observed, policy: Policy, now: datetime) -> list[str]:
    state = certificate_state(seen, now)
    lines = [
        f"{seen.spec.name}  {state.value.upper() if state is not CertificateState.OK else 'ok'}"
    ]
    lines.append(f"  names    {', '.join(seen.spec.domains)}")
    due = renewal(seen, now)
    if seen.stored:
        leaf = seen.stored.certificate
        lines.append(f"  issuer   {leaf.issuer}, serial {leaf.serial}")
        lines.append(f"  life     {bar_text(leaf.not_before, leaf.not_after, now)}")
        lines.append(
            f"           {date_text(leaf.not_before)} to {date_text(leaf.not_after)}, "
            f"{left_text(leaf.not_after - now)}"
        )
    if due.at > now:
        lines.append(f"  renews   {date_text(due.at)}, when {due.text}")
    elif seen.trouble is None:
        following = next_try(seen, policy, now)
        lines.append(f"  renews   now: {due.text}")
        if following.at > now:
            lines.append(f"           next try {date_text(following.at)}: {following.text}")
    lines += [f"  target   {_target_line(seen, target)}" for target in seen.targets]
    if (error := _last_error_json(seen, policy, now)) is not None:
        lines.append(f"  error    {error['at']}: {error['what']}")
        if error["hint"]:
            lines.append(f"           {error['hint']}")
    return lines


def _target_line(seen: Observed, target: ObservedTarget) -> str:
    state = target_state(seen, target)
    where = f" at {target.spec.probe}" if target.spec.probe else ""
    text = f"{target.spec.name} ({target.spec.kind.name}){where}: {state.value}"
    match state:
        case TargetState.UNREACHABLE | TargetState.FAILED:
            detail = target.trouble.what if target.trouble else getattr(target.seen, "what", "")
            if not detail and target.last_deploy is not None:
                detail = target.last_deploy.what
            text += f" — {detail}" if detail else ""
        case TargetState.STALE if isinstance(target.seen, Served):
            leaf = target.seen.certificate
            text += f" — serves serial {leaf.serial}, valid until {date_text(leaf.not_after)}"
    return text


def _leaves(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        prefix = f"{path}." if path else ""
        return [leaf for key, each in value.items() for leaf in _leaves(f"{prefix}{key}", each)]
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return [leaf for i, each in enumerate(value) for leaf in _leaves(f"{path}[{i}]", each)]
    return [(path, value)]
