"""Client certificates, and what came of revoking some, as text and as JSON; see `shapes`."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from certwarden.cli.shapes import date_text, left_text, optional_time, show_json, show_line
from certwarden.lifecycle.status import ClientState, ClientUsage, client_state, client_usage
from certwarden.model import ClientCertificate, Proof, ProofOutcome, RevocationReason
from certwarden.setup.chrome import POLICY_PATHS

if TYPE_CHECKING:  # this would load what a quick command does without
    from certwarden.lifecycle.withdraw import Withdrawal


def show_clients(
    certificates: Sequence[ClientCertificate],
    now: datetime,
    *,
    is_json: bool,
    watched_since: datetime | None = None,
) -> None:
    """All client certificates, one a line; `watched_since` as in `client_usage`."""
    known = [(each, state) for each in certificates if (state := client_state(each, now))]
    if is_json:
        show_json([_client_json(each, state, now, watched_since) for each, state in known])
        return
    if not known:
        show_line("there are no client certificates yet: certwarden client issue NAME")
        return
    width = max(len("NAME"), *(len(each.name) for each, _ in known))
    show_line(f"{'NAME':<{width}}  {'STATE':<7}  {'ENDS':<10}  SERIAL")
    for each, state in known:
        end = f"{each.not_after:%Y-%m-%d}" if each.not_after else "?"
        usage = _usage_text(each, now, watched_since)
        line = f"{each.name or '?':<{width}}  {state:<7}  {end:<10}  {each.serial}"
        show_line(f"{line}  {usage}" if usage else line)


def show_client(
    name: str,
    certificates: Sequence[ClientCertificate],
    policy: dict[str, Any] | None,
    now: datetime,
    *,
    is_json: bool,
    watched_since: datetime | None = None,
) -> None:
    """A client's certificates, newest first; `policy` has its Chrome show them without asking."""
    known = [(each, state) for each in certificates if (state := client_state(each, now))]
    if is_json:
        listed = [_client_json(each, state, now, watched_since) for each, state in known]
        show_json({"name": name, "certificates": listed, "chrome_policy": policy})
        return
    addresses = [each.email for each in certificates if each.email]
    show_line(f"{name}  {addresses[0]}" if addresses else name)
    for each, state in known:
        for line in _client_lines(each, state, now, watched_since):
            show_line(f"  {line}")
    if policy is not None:
        show_line(f"  Chrome chooses it by itself where {POLICY_PATHS[0]}")
        show_line(f"  (Chromium: {POLICY_PATHS[1]}) holds this line:")
        show_line(f"  {json.dumps(policy)}")


def show_withdrawal(result: "Withdrawal") -> None:
    """What was revoked, by which list, and who was seen to refuse it."""
    for each in result.certificates:
        show_line(f"{each.name or '?'}: serial {each.serial} is revoked")
    if result.crl is None:
        show_line("no list could be signed: whoever was revoked since the last one still gets in")
        return
    show_line(f"revocation list {result.crl.number} is published")
    for proof in result.proofs:
        show_line(proof_text(proof))
    if not result.proofs and result.error is None:
        show_line("no target asks its clients for certificates, so there is none to refuse any")


def proof_text(proof: Proof) -> str:
    """What is known of a target that has to refuse revoked clients."""
    match proof.outcome:
        case ProofOutcome.PROVEN:
            text = f"refuses who is revoked, and lets others in (seen {date_text(proof.at)})"
        case ProofOutcome.REFUTED:
            text = f"DOES NOT DO what it should: {proof.what}"
        case ProofOutcome.UNKNOWN:
            text = f"NOT PROVEN: {proof.what}"
    advice = f" ({proof.hint})" if proof.hint else ""
    return f"{proof.target}: {text}{advice}"


def _client_json(
    certificate: ClientCertificate,
    state: ClientState,
    now: datetime,
    watched_since: datetime | None,
) -> dict[str, Any]:
    usage = client_usage(certificate, now, watched_since)
    return {
        "name": certificate.name or None,
        "email": certificate.email,
        "serial": certificate.serial,
        "not_before": optional_time(certificate.not_before),
        "not_after": optional_time(certificate.not_after),
        "state": state.value,
        "revoked_at": optional_time(certificate.revoked_at),
        "reason": certificate.reason.value if certificate.reason else None,
        "supersede_at": optional_time(certificate.supersede_at),
        "seen_at": optional_time(certificate.seen_at),
        "usage": usage.value if usage else None,
    }


def _client_lines(
    certificate: ClientCertificate,
    state: ClientState,
    now: datetime,
    watched_since: datetime | None,
) -> Iterator[str]:
    yield f"serial {certificate.serial}  {state}"
    if certificate.not_before and certificate.not_after:
        left = f", {left_text(certificate.not_after - now)}" if state is ClientState.VALID else ""
        start, end = date_text(certificate.not_before), date_text(certificate.not_after)
        yield f"       {start} to {end}{left}"
    if certificate.revoked_at is not None:
        is_told = certificate.reason not in {None, RevocationReason.UNSPECIFIED}
        reason = f" ({certificate.reason})" if is_told else ""
        yield f"       revoked {date_text(certificate.revoked_at)}{reason}"
    elif certificate.supersede_at is not None and state is ClientState.VALID:
        yield f"       will be revoked {date_text(certificate.supersede_at)}: it has a successor"
    if certificate.seen_at is not None:
        yield f"       last seen {date_text(certificate.seen_at)}"
    elif usage := _usage_text(certificate, now, watched_since):
        yield f"       {usage}"


def _usage_text(
    certificate: ClientCertificate, now: datetime, watched_since: datetime | None
) -> str:
    match client_usage(certificate, now, watched_since):
        case ClientUsage.NEVER_USED:
            return "never used"
        case ClientUsage.NOT_SEEN if last := certificate.seen_at or watched_since:
            return f"not seen since {last:%Y-%m-%d}"
    return ""
