"""The report as one page of HTML: no script, nothing from elsewhere, nothing that could call home.

The judgement is that of `status`; what happened comes from the chronicle. Everything that is drawn
stands there as text, too.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from certwarden import __version__
from certwarden.cli.chronicle import Chronicle, List, Span, gaps, known_lists
from certwarden.cli.markup import Markup, joined, tag, verbatim
from certwarden.cli.outlook import House, comings, concerns, in_time, target_words
from certwarden.cli.render_authority import client_counts
from certwarden.cli.render_clients import proof_text
from certwarden.cli.report_style import STYLE
from certwarden.cli.shapes import date_text, left_text
from certwarden.cli.timeline import FIGURES, Axis, Bar, Mark, strip
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.status import (
    CertificateState,
    ClientState,
    TargetState,
    certificate_state,
    client_state,
    target_state,
)
from certwarden.model import ClientCertificate, Event, Observed, ObservedAuthority, Stored

# The first bytes of a report, by which the next one knows that it may take its place.
MARKER = "<!doctype html>\n<!-- certwarden report -->\n"

_EVENTS_SHOWN = 200
_LISTS_SHOWN = 12
_CLIENTS_SHOWN = 500
_COMINGS_SHOWN = 5
_FAILURES = {"obtain-failed", "deploy-failed", "rolled-back"}
_BADGES: dict[str, str] = {
    CertificateState.OK: "good",
    CertificateState.DUE: "warn",
    TargetState.IN_USE: "good",
    TargetState.NOT_PROBED: "",
    TargetState.STALE: "warn",
    TargetState.UNREACHABLE: "warn",
    ClientState.VALID: "good",
    ClientState.REVOKED: "",
    ClientState.EXPIRED: "",
}
# Columns that stay on one line where there is room.
_SHORT = dict.fromkeys(("when", "from", "until", "of", "target", "kind", "client", "ends"), "short")
_LEGEND = {"renewal": "renewed", "failure": "failed", "due": "renews next"}


def build_page(chronicle: Chronicle) -> str:
    """The whole page, which begins with MARKER."""
    house = chronicle.house
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="robots", content="noindex"),
        tag("title", f"certwarden report, {date_text(house.now)}"),
        tag("style", verbatim(STYLE)),
    )
    main = tag(
        "main",
        _summary(house),
        *_certificates(chronicle),
        *_authority(chronicle),
        *_targets(house),
        _history(chronicle.events),
    )
    title = tag("h1", "Certificate report")
    made = tag("p", f"As seen on {date_text(house.now)}", class_="soft")
    foot = tag(
        "footer",
        f"Made by certwarden {__version__}. It names hosts and clients: show it to those "
        "who may know them.",
    )
    body = tag("body", tag("header", title, made), main, foot)
    return f"{MARKER}{tag('html', head, body, lang='en')}\n"


# ── the summary ───────────────────────────────────────────────────────────────────────────────────


def _summary(house: House) -> Markup:
    found = concerns(house)
    if found:
        count = f"{len(found)} matter{'s need' if len(found) != 1 else ' needs'} attention"
        matters = [
            tag("li", tag("b", each.subject), f": {each.what}", _hint(each.hint)) for each in found
        ]
        verdict = tag("div", count, tag("ul", *matters), class_="card verdict bad")
    else:
        verdict = tag("div", "All is well.", class_="card verdict")
    ahead = [
        tag("li", f"{in_time(each.at, house.now)}, {date_text(each.at)}: {each.what}")
        for each in comings(house)[:_COMINGS_SHOWN]
    ]
    coming = (
        [tag("h2", "What comes next"), tag("div", tag("ul", *ahead), class_="card")]
        if ahead
        else []
    )
    tiles = tag("ul", *_tiles(house), class_="tiles")
    return tag("section", verdict, tiles, *coming, aria_label="Summary")


def _hint(text: str) -> Markup:
    return tag("span", f"→ {text}", class_="hint") if text else joined()


def _tiles(house: House) -> Iterator[Markup]:
    def tile(figure: str, words: str) -> Markup:
        return tag("li", tag("b", figure), tag("span", words, class_="soft"))

    states = [certificate_state(seen, house.now) for seen in house.certificates]
    good = sum(state is CertificateState.OK for state in states)
    yield tile(f"{good} of {len(states)}", "certificates in order")
    targets = [target_state(seen, target) for seen in house.certificates for target in seen.targets]
    if targets:
        served = sum(state is TargetState.IN_USE for state in targets)
        yield tile(f"{served} of {len(targets)}", "targets serve theirs")
    authority = house.authority
    if authority is None or authority.root is None:
        return
    yield tile(str(client_counts(authority, house.now)["valid"]), "clients may come in")
    if authority.crl is not None:
        left = left_text(authority.crl.next_update - house.now)
        yield tile(left, f"for revocation list {authority.crl.number}")


# ── certificates ──────────────────────────────────────────────────────────────────────────────────


def _certificates(chronicle: Chronicle) -> Iterator[Markup]:
    yield tag("h2", "Certificates")
    legend = [
        tag("li", tag("svg", _figure(kind), width=12, height=12, aria_hidden="true"), words)
        for kind, words in _LEGEND.items()
    ]
    yield tag("ul", *legend, tag("li", "the upright line is now"), class_="legend soft")
    for seen in chronicle.house.certificates:
        yield _certificate(seen, chronicle)


def _figure(kind: str) -> Markup:
    return tag("path", d=FIGURES[kind], class_=f"mark {kind}", transform="translate(6 6)")


def _certificate(seen: Observed, chronicle: Chronicle) -> Markup:
    now = chronicle.house.now
    state = certificate_state(seen, now)
    due = renewal(seen, now)
    facts = [("names", ", ".join(seen.spec.domains))]
    if seen.stored is not None:
        leaf = seen.stored.certificate
        left = left_text(leaf.not_after - now)
        facts += [("issuer", leaf.issuer), ("until", f"{date_text(leaf.not_after)}, {left}")]
    when = f"{date_text(due.at)} ({in_time(due.at, now)}), when" if due.at > now else "now:"
    facts.append(("renews", f"{when} {due.text}"))
    versions = chronicle.versions.get(seen.spec.name, ())
    failures = [
        event
        for event in chronicle.events
        if event.certificate == seen.spec.name and event.kind in _FAILURES
    ]
    return tag(
        "section",
        tag("h3", seen.spec.name, _badge(state)),
        _facts(facts),
        *_lifetimes(seen, versions, failures, now),
        class_="card",
        aria_label=f"certificate {seen.spec.name}",
    )


def _lifetimes(
    seen: Observed, versions: Sequence[Stored], failures: Sequence[Event], now: datetime
) -> Iterator[Markup]:
    """Each version's life in a row of its own, the newest uppermost, with the failures in it."""
    if not versions:
        return
    due = renewal(seen, now).at
    lives = [each.certificate for each in versions]
    axis = Axis.around([now, due, *(each.not_before for each in lives), lives[0].not_after])
    bars = [
        Bar(row, leaf.not_before, leaf.not_after, _life_kind(row, leaf.not_after, now), _life(each))
        for row, (each, leaf) in enumerate(zip(versions, lives, strict=True))
    ]
    marks = [
        Mark(row, each.obtained_at, "renewal", f"version {each.version} was obtained")
        for row, each in enumerate(versions)
    ]
    marks += [
        Mark(
            _row_at(event.at, versions), event.at, "failure", f"{date_text(event.at)}: {event.text}"
        )
        for event in failures
        if event.at >= axis.start
    ]
    if due > now:
        marks.append(Mark(0, due, "due", f"renews {date_text(due)}"))
    count = len(versions)
    label = (
        f"Lifetimes of {seen.spec.name}: {count} version{'s' if count != 1 else ''}, the newest "
        f"until {date_text(lives[0].not_after)}; {len(failures)} failures"
    )
    yield strip(axis, now, bars, marks, label=label)
    rows = [
        (
            str(each.version),
            date_text(each.certificate.not_before),
            date_text(each.certificate.not_after),
            each.certificate.issuer,
            tag("code", each.certificate.serial),
        )
        for each in versions
    ]
    heads = ("version", "from", "until", "issuer", "serial")
    yield _table(f"Stored versions of {seen.spec.name}", heads, rows)


def _row_at(instant: datetime, versions: Sequence[Stored]) -> int:
    """The row of the version that was the newest then."""
    older = (row for row, each in enumerate(versions) if each.obtained_at <= instant)
    return next(older, len(versions) - 1)


def _life_kind(row: int, end: datetime, now: datetime) -> str:
    if row:
        return "past"
    return "current" if end > now else "ended"


def _life(stored: Stored) -> str:
    leaf = stored.certificate
    return f"version {stored.version}: {date_text(leaf.not_before)} to {date_text(leaf.not_after)}"


# ── the private CA ────────────────────────────────────────────────────────────────────────────────


def _authority(chronicle: Chronicle) -> Iterator[Markup]:
    house = chronicle.house
    seen = house.authority
    if seen is None:
        return
    yield tag("h2", "The private CA")
    if seen.root is None:
        yield tag("p", seen.trouble.what if seen.trouble else "It is not made yet.", class_="card")
        return
    backup = date_text(seen.backed_up_at) if seen.backed_up_at else "none yet: make one soon"
    left = left_text(seen.root.not_after - house.now)
    facts = [
        ("until", f"{date_text(seen.root.not_after)}, {left}"),
        ("SHA-256", seen.root.fingerprint),
        ("backup", backup),
        *(("target", proof_text(proof)) for _, proof in sorted(seen.proofs.items())),
    ]
    locked = [_badge("locked")] if seen.is_locked else []
    name = tag("h3", seen.root.name, *locked)
    yield tag("section", name, _facts(facts), class_="card", aria_label=f"CA {seen.root.name}")
    lists = known_lists(chronicle)
    if lists:
        yield _coverage(lists, house.now)
    yield _clients(seen, house.now)


def _coverage(lists: Sequence[List], now: datetime) -> Markup:
    """All lists in one row, as one covers for the other; where none did, there is a gap."""
    missing = gaps(lists, now)
    ends = (each for one in lists for each in (one.this_update, one.next_update))
    axis = Axis.around([now, *ends])
    bars = [
        Bar(0, each.this_update, each.next_update, _list_kind(each, now), _list_words(each))
        for each in lists
    ]
    bars += [Bar(0, each.start, each.end, "gap", _gap_words(each)) for each in missing]
    state = "without a gap" if not missing else f"with {len(missing)} gaps"
    end = date_text(max(each.next_update for each in lists))
    label = f"Coverage by revocation lists {lists[0].number} to {lists[-1].number}, {state}"
    newest = [
        (
            str(each.number),
            date_text(each.this_update),
            date_text(each.next_update),
            "" if each.entries is None else str(each.entries),
        )
        for each in reversed(lists[-_LISTS_SHOWN:])
    ]
    heads = ("number", "from", "until", "entries")
    told = [tag("li", _gap_words(each)) for each in missing]
    return tag(
        "section",
        tag("h3", "Revocation lists", _badge("gaps" if missing else "no gap", not missing)),
        tag("p", f"{len(lists)} known lists cover the time until {end}."),
        strip(axis, now, bars, (), label=label),
        *([tag("ul", *told)] if told else []),
        _table("The newest lists", heads, newest),
        class_="card",
        aria_label="revocation lists",
    )


def _list_kind(each: List, now: datetime) -> str:
    if each.this_update > now:
        return "ahead"
    return "current" if each.next_update > now else "past"


def _list_words(each: List) -> str:
    span = f"{date_text(each.this_update)} to {date_text(each.next_update)}"
    return f"list {each.number}: {span}"


def _gap_words(gap: Span) -> str:
    return f"no list was good from {date_text(gap.start)} to {date_text(gap.end)}"


def _clients(seen: ObservedAuthority, now: datetime) -> Markup:
    known = [(each, state) for each in seen.clients if (state := client_state(each, now))]
    order = (ClientState.VALID, ClientState.REVOKED, ClientState.EXPIRED)
    last = now + timedelta(days=36500)
    known.sort(key=lambda pair: (order.index(pair[1]), pair[0].not_after or last))
    rows = [
        (
            each.name or "?",
            _badge(state),
            f"{each.not_after:%Y-%m-%d}" if each.not_after else "?",
            _client_words(each, state, now),
            tag("code", each.serial),
        )
        for each, state in known[:_CLIENTS_SHOWN]
    ]
    counts = Counter(state for _, state in known)
    told = ", ".join(f"{counts[state]} {state}" for state in order)
    heads = ("client", "state", "ends", "note", "serial")
    more = len(known) - _CLIENTS_SHOWN
    return tag(
        "section",
        tag("h3", "Clients"),
        _table(told, heads, rows) if rows else tag("p", "There are none yet."),
        *([tag("p", f"… and {more} more: certwarden client list")] if more > 0 else []),
        class_="card",
        aria_label="clients",
    )


def _client_words(client: ClientCertificate, state: ClientState, now: datetime) -> str:
    if client.revoked_at is not None:
        return f"revoked {date_text(client.revoked_at)}"
    if state is ClientState.VALID and client.not_after is not None:
        return left_text(client.not_after - now)
    return ""


# ── targets and history ───────────────────────────────────────────────────────────────────────────


def _targets(house: House) -> Iterator[Markup]:
    rows = [
        (
            target.spec.name,
            target.spec.kind.name,
            seen.spec.name,
            _badge(target_state(seen, target)),
            target_words(seen, target),
        )
        for seen in house.certificates
        for target in seen.targets
    ]
    if rows:
        heads = ("target", "kind", "certificate", "state", "what is there")
        yield tag("h2", "Where they are in use")
        yield tag("div", _table("Installed and served", heads, rows), class_="card")


def _history(events: Sequence[Event]) -> Markup:
    rows = [
        (
            date_text(event.at),
            _badge(event.kind, event.kind not in _FAILURES),
            event.target or event.certificate or "",
            event.text,
        )
        for event in events[:_EVENTS_SHOWN]
    ]
    heads = ("when", "what", "of", "how")
    table = _table("Newest first", heads, rows) if rows else tag("p", "Nothing yet.")
    return tag("section", tag("h2", "History"), tag("div", table, class_="card"))


def _facts(facts: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", *(joined(tag("dt", name), tag("dd", text)) for name, text in facts))


def _badge(word: str, is_good: bool | None = None) -> Markup:  # noqa: FBT001 - yes, no, or by its word
    look = _BADGES.get(word, "bad")
    if is_good is not None:
        look = "good" if is_good else "bad"
    return tag("span", word, class_=f"badge {look}".rstrip())


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table whose cells stand below each other on a phone, each with its column's name."""
    head = tag("tr", *(tag("th", each, scope="col", role="columnheader") for each in heads))
    body = [
        tag(
            "tr",
            *(
                tag("td", cell, role="cell", data_label=name, class_=_SHORT.get(name))
                for name, cell in zip(heads, row, strict=True)
            ),
            role="row",
        )
        for row in rows
    ]
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", head, role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table",
    )
