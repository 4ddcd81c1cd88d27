"""Results as text for people and as JSON for programs, on stdout; `shapes` has the rules."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from certwarden.cli.shapes import (
    clock_json,
    date_text,
    error_json,
    show_json,
    show_line,
    time_text,
)
from certwarden.errors import Error, Mistake
from certwarden.model import DeployOutcome, Event, Observed, Pair, Step

if TYPE_CHECKING:  # these would load `cryptography`, which a quick command does without
    from certwarden.lifecycle.act import CertificateResult
    from certwarden.lifecycle.reconcile import PassResult

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
                "clock": clock_json(result.verdict),
            }
        )
        return
    for each in result.certificates:
        show_line(_result_line(each))


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
            show_line(f"{name}: the rehearsal failed")
        else:
            show_line(f"{name}: the rehearsal went well (by {result.certificate.issuer})")


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
        show_line(f"{step.kind.value:<8} {_step_text(step)}")
    if not due:
        show_line("nothing to do now")
    for seen in observed:
        if seen.trouble is not None:
            show_line(f"{seen.spec.name}: {seen.trouble.what}")
    for step in steps:
        if step.at > now:
            show_line(f"{step.kind.value:<8} {_step_text(step)} ({date_text(step.at)})")


def _step_text(step: Step) -> str:
    subject = " → ".join(name for name in (step.certificate, step.target) if name)
    return f"{subject}: {step.reason}" if subject else step.reason


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
        show_line(f"{date_text(event.at)}  {event.kind:<17}  {told}")


def show_mistakes(mistakes: Sequence[Mistake]) -> None:
    """The configuration's mistakes, as JSON."""
    show_json([{"path": mistake.path, "message": mistake.message} for mistake in mistakes])


def show_config(values: dict[str, Any], *, is_json: bool) -> None:
    """The effective configuration."""
    if is_json:
        show_json(values)
        return
    for path, value in _leaves("", values):
        show_line(f"{path} = {json.dumps(value, ensure_ascii=False)}")


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


def _leaves(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        prefix = f"{path}." if path else ""
        return [leaf for key, each in value.items() for leaf in _leaves(f"{prefix}{key}", each)]
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return [leaf for i, each in enumerate(value) for leaf in _leaves(f"{path}[{i}]", each)]
    return [(path, value)]
