"""`status`: the house as text for people, and as the contract's JSON.

The text is a table of the certificates, the private CA among them, with what needs attention above
it and each one's particulars below its line. See `shapes` for the rules of JSON.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Self

from certwarden.cli.outlook import House, comings, concerns, in_time, target_words
from certwarden.cli.render_authority import authority_json, client_counts, ending_clients
from certwarden.cli.render_clients import proof_text
from certwarden.cli.screen import Colour, Screen
from certwarden.cli.shapes import bar_text, clock_json, date_text, left_text, time_text
from certwarden.frozen import frozen
from certwarden.lifecycle.authority_alarms import CLIENT_STAGES
from certwarden.lifecycle.lists import half_life
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import last_failure, next_try
from certwarden.lifecycle.status import (
    CertificateState,
    TargetState,
    authority_needs_attention,
    certificate_state,
    target_state,
)
from certwarden.model import Observed, ObservedAuthority, ObservedTarget, Served

_LABEL = 11
_LEFT = 18  # columns for what is left, and the gaps
_BAR = 24
_COMINGS = 3
_ENDING_SHOWN = 5

_STATE_COLOURS = {
    CertificateState.OK: Colour.GOOD,
    CertificateState.DUE: Colour.WARNING,
}
_TARGET_COLOURS = {
    TargetState.IN_USE: Colour.GOOD,
    TargetState.NOT_PROBED: None,
    TargetState.STALE: Colour.WARNING,
    TargetState.UNREACHABLE: Colour.WARNING,
}


@frozen
class _Row:
    """A line of the table: something with a life."""

    name: str
    state: str
    colour: Colour | None
    start: datetime | None = None
    end: datetime | None = None
    mark: datetime | None = None


def status_json(house: House) -> dict[str, Any]:
    """The contract's JSON."""
    return {
        "certificates": [_certificate_json(seen, house) for seen in house.certificates],
        "authority": authority_json(house.authority, house.now),
        "clock": clock_json(house.verdict),
    }


def status_lines(house: House, screen: Screen) -> list[str]:
    """The same for people, as lines for this screen."""
    blocks = [list(_headline(house, screen))]
    rows = [_certificate_row(seen, house) for seen in house.certificates]
    ca = [_authority_row(house.authority, house.now)] if house.authority else []
    table = _Table.of([*rows, *ca], screen)
    parts = [_certificate_lines(seen, house, screen) for seen in house.certificates]
    if house.authority is not None:
        parts.append(_authority_lines(house.authority, house.now, screen))
    things = [
        [*table.lines(row, house.now), *part] for row, part in zip(rows + ca, parts, strict=True)
    ]
    if things:
        things[0][:0] = table.header()
    blocks += [*things, list(_coming_lines(house, screen))]
    lines = [line for block in blocks if block for line in (*block, "")]
    return [screen.plain(line) for line in lines[:-1]]


# ── what matters first, and what comes next ───────────────────────────────────────────────────────


def _headline(house: House, screen: Screen) -> Iterator[str]:
    found = concerns(house)
    if not found:
        yield screen.coloured("All is well.", Colour.GOOD)
        return
    count = f"{len(found)} matter{'s need' if len(found) != 1 else ' needs'} attention:"
    yield screen.coloured(count, Colour.BAD)
    for each in found:
        yield from screen.wrapped("  ●", f"{each.subject}: {each.what}", 4)
        if each.hint:
            yield from screen.wrapped("", f"→ {each.hint}", 4)


def _coming_lines(house: House, screen: Screen) -> Iterator[str]:
    label = "next"
    for each in comings(house)[:_COMINGS]:
        told = f"{in_time(each.at, house.now)}, {date_text(each.at)}: {each.what}"
        yield from _field(label, told, screen)
        label = ""


# ── the table ─────────────────────────────────────────────────────────────────────────────────────


@frozen
class _Table:
    """How wide its columns are; on a narrow screen there are none."""

    name: int
    state: int
    is_narrow: bool
    screen: Screen

    @classmethod
    def of(cls, rows: Sequence[_Row], screen: Screen) -> Self:
        """As wide as the rows need it."""
        name = max(len(text) for text in ("CERTIFICATE", *(row.name for row in rows)))
        state = max(len(text) for text in ("STATE", *(row.state for row in rows)))
        return cls(name, state, screen.width < name + state + _BAR + _LEFT, screen)

    def header(self) -> list[str]:
        if self.is_narrow:
            return []
        names = f"{'CERTIFICATE':<{self.name}}  {'STATE':<{self.state}}"
        return [self.screen.coloured(f"{names}  {'LIFE':<{_BAR}}  LEFT", Colour.FAINT)]

    def lines(self, row: _Row, now: datetime) -> Iterator[str]:
        """One line for the row; some short ones on a narrow screen."""
        name, state, width = row.name, row.state, _BAR
        if self.is_narrow:
            width = min(_BAR, max(self.screen.width - 2, 8))
        else:
            name, state = f"{name:<{self.name}}", f"{state:<{self.state}}"
        head = [self.screen.coloured(name, Colour.STRONG), self.screen.coloured(state, row.colour)]
        life = []
        if row.start is not None and row.end is not None:
            bar = bar_text(row.start, row.end, now, row.mark, width=width)
            life = [self.screen.coloured(bar, row.colour), left_text(row.end - now)]
        if not self.is_narrow:
            yield "  ".join([*head, *life]).rstrip()
            return
        if len(name) + len(state) + 2 <= self.screen.width:
            head = ["  ".join(head)]
        yield from head
        yield from (f"  {each}" for each in life)


def _certificate_row(seen: Observed, house: House) -> _Row:
    state = certificate_state(seen, house.now)
    word = state.value.upper() if state is not CertificateState.OK else "ok"
    colour = _STATE_COLOURS.get(state, Colour.BAD)
    if seen.stored is None:
        return _Row(seen.spec.name, word, colour)
    leaf = seen.stored.certificate
    due = renewal(seen, house.now).at
    mark = due if due > house.now else None
    return _Row(seen.spec.name, word, colour, leaf.not_before, leaf.not_after, mark)


def _field(label: str, text: str, screen: Screen) -> list[str]:
    return screen.wrapped(f"  {label}", text, _LABEL)


# ── certificates ──────────────────────────────────────────────────────────────────────────────────


def _certificate_lines(seen: Observed, house: House, screen: Screen) -> Iterator[str]:
    now = house.now
    yield from _field("names", ", ".join(seen.spec.domains), screen)
    if seen.stored is not None:
        leaf = seen.stored.certificate
        span = f"{date_text(leaf.not_before)} to {date_text(leaf.not_after)}"
        yield from _field("valid", span, screen)
        yield from _field("issuer", f"{leaf.issuer}, serial {leaf.serial}", screen)
    due = renewal(seen, now)
    if due.at > now:
        told = f"{date_text(due.at)} ({in_time(due.at, now)}), when {due.text}"
        yield from _field("renews", told, screen)
    elif seen.trouble is None:
        yield from _field("renews", f"now: {due.text}", screen)
        following = next_try(seen, house.policy, now)
        if following.at > now:
            told = f"next try {date_text(following.at)}: {following.text}"
            yield from _field("", told, screen)
    for target in seen.targets:
        yield from _target_lines(seen, target, screen)
    if (error := _last_error_json(seen, house)) is not None:
        yield from _field("error", f"{error['at']}: {error['what']}", screen)
        if error["hint"]:
            yield from _field("", f"→ {error['hint']}", screen)


def _target_lines(seen: Observed, target: ObservedTarget, screen: Screen) -> Iterator[str]:
    state = target_state(seen, target)
    words = target_words(seen, target)
    text = f"{target.spec.name} ({target.spec.kind.name}): {state.value} — {words}"
    first, *others = _field("target", text, screen)
    colour = _TARGET_COLOURS.get(state, Colour.BAD)
    yield first.replace(f": {state.value} —", f": {screen.coloured(state.value, colour)} —", 1)
    yield from others


# ── the private CA ────────────────────────────────────────────────────────────────────────────────


def _authority_row(seen: ObservedAuthority, now: datetime) -> _Row:
    is_troubled = authority_needs_attention(seen, now)
    colour = Colour.BAD if is_troubled else Colour.GOOD
    root = seen.root
    if root is None:
        word = "CANNOT BE READ" if seen.trouble else "NOT MADE YET"
        return _Row(seen.spec.name, word, colour)
    word = "ATTENTION" if is_troubled else "ok"
    locked = ", locked" if seen.is_locked else ""
    return _Row(root.name, f"{word}{locked}", colour, root.not_before, root.not_after)


def _authority_lines(seen: ObservedAuthority, now: datetime, screen: Screen) -> Iterator[str]:
    if seen.trouble is not None:
        yield from _field("error", seen.trouble.what, screen)
        if seen.trouble.hint:
            yield from _field("", f"→ {seen.trouble.hint}", screen)
    if seen.root is None:
        if seen.trouble is None:
            yield from _field("to do", "certwarden ca init", screen)
        return
    yield from _list_lines(seen, now, screen)
    yield from _client_lines(seen, now, screen)
    for _, proof in sorted(seen.proofs.items()):
        yield from _field("target", proof_text(proof), screen)
    if seen.backed_up_at is not None:
        yield from _field("backup", date_text(seen.backed_up_at), screen)
    else:
        text = "NONE YET: without one, a broken card takes the CA along"
        yield from _field("backup", text, screen)
        yield from _field("", "→ certwarden ca backup FILE, or add the section [backup]", screen)


def _list_lines(seen: ObservedAuthority, now: datetime, screen: Screen) -> Iterator[str]:
    crl = seen.crl
    if crl is None:
        yield from _field("list", "NONE: there is nothing to be put in place", screen)
    else:
        width = max(min(_BAR, screen.width - _LABEL), 8)
        bar = bar_text(crl.this_update, crl.next_update, now, half_life(crl), width=width)
        yield f"{'  list':<{_LABEL}}{bar}"
        word = ""
        if not crl.is_current_at(now):
            word = "EXPIRED, " if crl.next_update <= now else "FROM THE FUTURE, "
        count = len(crl.serials)
        entries = f"{count} entr{'y' if count == 1 else 'ies'}"
        until = f"until {date_text(crl.next_update)}, {left_text(crl.next_update - now)}"
        yield from _field("", f"number {crl.number}, {word}{entries}, {until}", screen)
    if seen.unlisted:
        text = f"{len(seen.unlisted)} revoked, but NOT IN THE LIST yet"
        yield from _field("", text, screen)
    if seen.ladder:
        end = date_text(seen.ladder[-1].next_update)
        yield from _field("ladder", f"{len(seen.ladder)} signed ahead, until {end}", screen)


def _client_lines(seen: ObservedAuthority, now: datetime, screen: Screen) -> Iterator[str]:
    counts = client_counts(seen, now)
    told = [f"{counts[state]} {state}" for state in ("valid", "revoked", "expired")]
    yield from _field("clients", ", ".join(told), screen)
    ending = ending_clients(seen, now)
    for client in ending[:_ENDING_SHOWN]:
        end = client.not_after
        assert end is not None  # noqa: S101 - or it would have no end to be near
        text = f"{client.name} ends on {end:%Y-%m-%d}, {left_text(end - now)}"
        yield from _field("", f"{text} → certwarden client renew {client.name}", screen)
    if len(ending) > _ENDING_SHOWN:
        days = CLIENT_STAGES[0].days
        yield from _field("", f"{len(ending)} end within {days} days", screen)


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────


def _certificate_json(seen: Observed, house: House) -> dict[str, Any]:
    leaf = seen.stored.certificate if seen.stored else None
    due = renewal(seen, house.now)
    return {
        "name": seen.spec.name,
        "domains": list(seen.spec.domains),
        "state": certificate_state(seen, house.now).value,
        "serial": leaf.serial if leaf else None,
        "fingerprint_sha256": leaf.fingerprint if leaf else None,
        "issuer": leaf.issuer if leaf else None,
        "not_before": time_text(leaf.not_before) if leaf else None,
        "not_after": time_text(leaf.not_after) if leaf else None,
        "renewal": {"at": time_text(due.at), "reason": due.reason.value},
        "last_error": _last_error_json(seen, house),
        "targets": [_target_json(seen, target) for target in seen.targets],
    }


def _last_error_json(seen: Observed, house: House) -> dict[str, str | None] | None:
    now = house.now
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
        "next_try": time_text(next_try(seen, house.policy, now).at),
    }


def _target_json(seen: Observed, target: ObservedTarget) -> dict[str, Any]:
    leaf = target.seen.certificate if isinstance(target.seen, Served) else None
    return {
        "name": target.spec.name,
        "kind": target.spec.kind.name,
        "installed": target.installed.certificate.fingerprint if target.installed else None,
        "served": leaf.fingerprint if leaf else None,
        "state": target_state(seen, target).value,
    }
