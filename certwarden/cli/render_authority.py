"""The private CA as text and as JSON; `status` shows it too. See `shapes`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from certwarden.cli.render_clients import proof_text
from certwarden.cli.shapes import (
    bar_text,
    date_text,
    error_json,
    left_text,
    optional_time,
    show_json,
    show_line,
    time_text,
)
from certwarden.lifecycle.authority_alarms import CLIENT_STAGES
from certwarden.lifecycle.status import ClientState, client_state
from certwarden.model import ClientCertificate, Crl, ObservedAuthority, Proof, Root, Rung


def authority_json(seen: ObservedAuthority | None, now: datetime) -> dict[str, Any] | None:
    """The `authority` of `status --json`; None where none is configured."""
    if seen is None:
        return None
    root = seen.root
    return {
        "name": root.name if root else seen.spec.name,
        "serial": root.serial if root else None,
        "fingerprint_sha256": root.fingerprint if root else None,
        "not_before": optional_time(root.not_before) if root else None,
        "not_after": optional_time(root.not_after) if root else None,
        "locked": seen.is_locked,
        "backed_up_at": optional_time(seen.backed_up_at),
        "crl": _crl_json(seen.crl) if seen.crl else None,
        "unlisted": len(seen.unlisted),
        "ladder": [_rung_json(rung) for rung in seen.ladder],
        "clients": client_counts(seen, now),
        "targets": [_proof_json(proof) for _, proof in sorted(seen.proofs.items())],
        "error": error_json(seen.trouble),
    }


def authority_lines(seen: ObservedAuthority, now: datetime) -> Iterator[str]:
    """The same for people."""
    root = seen.root
    if root is None:
        yield f"{seen.spec.name}  {'cannot be read' if seen.trouble else 'not made yet'}"
        if seen.trouble is None:
            yield "  to do    certwarden ca init"
        else:
            yield f"  error    {seen.trouble.what}"
            if seen.trouble.hint:
                yield f"           {seen.trouble.hint}"
        return
    yield f"{root.name}{'  locked' if seen.is_locked else ''}"
    yield f"  life     {bar_text(root.not_before, root.not_after, now)}"
    left = left_text(root.not_after - now)
    yield f"           {date_text(root.not_before)} to {date_text(root.not_after)}, {left}"
    yield f"  SHA-256  {root.fingerprint}"
    yield from _list_lines(seen, now)
    counts = client_counts(seen, now)
    text = ", ".join(f"{counts[state]} {state}" for state in ("valid", "revoked", "expired"))
    if counts["expiring"]:
        verb = "ends" if counts["expiring"] == 1 else "end"
        text += f"; {counts['expiring']} {verb} within {CLIENT_STAGES[0].days} days"
    yield f"  clients  {text}"
    for _, proof in sorted(seen.proofs.items()):
        yield f"  target   {proof_text(proof)}"
    if seen.backed_up_at is not None:
        yield f"  backup   {date_text(seen.backed_up_at)}"
    else:
        yield "  backup   NEVER: whoever loses the CA's key can issue and revoke nothing any more"


def show_authority(seen: ObservedAuthority, now: datetime, *, is_json: bool) -> None:
    """The private CA as found."""
    if is_json:
        show_json(authority_json(seen, now))
        return
    for line in authority_lines(seen, now):
        show_line(line)


def show_founded(root: Root, ladder: Sequence[Rung]) -> None:
    """The CA that was just made, and what is to be done next."""
    show_line(f"{root.name} is founded, and good until {date_text(root.not_after)}.")
    show_line(f"SHA-256  {root.fingerprint}")
    show_ladder(ladder)
    show_line("Next: `certwarden ca backup FILE`, `client_auth = true` at a target, and then")
    show_line("`certwarden client issue NAME` for each device.")


def show_ladder(ladder: Sequence[Rung]) -> None:
    """The lists that are signed ahead."""
    if ladder:
        end = date_text(ladder[-1].next_update)
        show_line(f"Lists are signed until {end}: run `certwarden ca unlock` before.")


def show_renewed(root: Root) -> None:
    """The CA's certificate that was just extended."""
    show_line(f"{root.name} is good until {date_text(root.not_after)}.")
    show_line("Clients and lists stay as they are; the next pass brings it to the targets.")


def _list_lines(seen: ObservedAuthority, now: datetime) -> Iterator[str]:
    crl = seen.crl
    if crl is None:
        yield "  list     NONE: there is nothing to be put in place"
    elif not crl.is_current_at(now):
        word = "EXPIRED" if crl.next_update <= now else "FROM THE FUTURE"
        yield f"  list     number {crl.number} is {word}: it cannot be put in place"
    else:
        left = left_text(crl.next_update - now)
        yield f"  list     number {crl.number}, until {date_text(crl.next_update)}, {left}"
    if seen.unlisted:
        yield f"           {len(seen.unlisted)} revoked, but NOT IN THE LIST yet"
    if seen.ladder:
        last = seen.ladder[-1]
        yield f"  ladder   {len(seen.ladder)} signed ahead, until {date_text(last.next_update)}"


def client_counts(seen: ObservedAuthority, now: datetime) -> dict[str, int]:
    """How many client certificates are in each state, and how many of the valid end soon."""
    states = Counter(client_state(each, now) for each in seen.clients)
    named = (ClientState.VALID, ClientState.REVOKED, ClientState.EXPIRED)
    ending = len(ending_clients(seen, now))
    return {state.value: states[state] for state in named} | {"expiring": ending}


def ending_clients(seen: ObservedAuthority, now: datetime) -> list[ClientCertificate]:
    """Those that end soon and have no successor, soonest first."""
    ending = [
        (each.not_after, each)
        for each in seen.clients
        if client_state(each, now) is ClientState.VALID
        and each.supersede_at is None
        and each.not_after is not None
        and each.not_after - now <= CLIENT_STAGES[0]
    ]
    return [each for _, each in sorted(ending, key=lambda pair: pair[0])]


def _crl_json(crl: Crl) -> dict[str, Any]:
    return {
        "number": crl.number,
        "this_update": time_text(crl.this_update),
        "next_update": time_text(crl.next_update),
        "entries": len(crl.serials),
    }


def _rung_json(rung: Rung) -> dict[str, Any]:
    return {
        "number": rung.number,
        "at": time_text(rung.at),
        "next_update": time_text(rung.next_update),
    }


def _proof_json(proof: Proof) -> dict[str, Any]:
    return {
        "name": proof.target,
        "outcome": proof.outcome.value,
        "crl_number": proof.crl_number,
        "at": time_text(proof.at),
        "what": proof.what or None,
        "hint": proof.hint or None,
    }
