"""The private CA, its clients and revocations: true words, and the contract's JSON."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certwarden.cli.render_authority import authority_json, authority_lines, show_authority
from certwarden.cli.render_clients import show_client, show_clients, show_withdrawal
from certwarden.errors import LockedError, StoreError
from certwarden.lifecycle.status import client_state
from certwarden.lifecycle.withdraw import Withdrawal
from certwarden.model import (
    AuthoritySpec,
    ClientCertificate,
    ObservedAuthority,
    Proof,
    ProofOutcome,
    RevocationReason,
    Rung,
)
from certwarden.pki.authority import read_root
from tests.builders import NOW
from tests.builders_authority import a_private_authority

DAY = timedelta(days=1)
AUTHORITY = a_private_authority()
SEEN = ObservedAuthority(
    AuthoritySpec("Home client CA", Path("ca.passphrase")),
    read_root(AUTHORITY.root_pem),
    AUTHORITY.crl(12),
)
Shown = pytest.CaptureFixture[str]


def a_client(name: str = "alice", *, days: int = 400, serial: str = "0a1b") -> ClientCertificate:
    return ClientCertificate(serial, name, None, NOW - DAY, NOW + days * DAY)


def a_proof(outcome: ProofOutcome, what: str = "", hint: str = "") -> Proof:
    return Proof("node-red", 12, NOW, outcome, what, hint)


def text(seen: ObservedAuthority) -> str:
    return "\n".join(authority_lines(seen, NOW))


def test_the_json_is_the_contracts() -> None:
    """Name, end, backup, list and the numbers of clients; times with a Z."""
    clients = (
        a_client(),
        a_client("bob", days=20),
        a_client("carol", days=-1),
        replace(a_client("dave"), revoked_at=NOW),
        replace(a_client("erin", days=20), supersede_at=NOW + DAY),
        replace(a_client("cut-short"), is_signed=False),
    )
    document = authority_json(replace(SEEN, clients=clients, backed_up_at=NOW), NOW)
    assert document is not None
    assert document["backed_up_at"] == "2026-11-22T12:00:00Z"
    assert document["crl"] == {
        "number": 12,
        "this_update": "2026-11-22T11:00:00Z",
        "next_update": "2026-12-22T12:00:00Z",
        "entries": 0,
    }
    assert document["clients"] == {"valid": 3, "revoked": 1, "expired": 1, "expiring": 1}
    assert document["not_after"].startswith("2036-")
    assert authority_json(None, NOW) is None


def test_a_ca_that_is_not_there_says_what_to_do(capsys: Shown) -> None:
    """Not made yet, or not to be read: never a traceback, and JSON with nulls."""
    assert "certwarden ca init" in text(replace(SEEN, root=None, crl=None))
    broken = replace(
        SEEN, root=None, crl=None, trouble=StoreError("root.pem is damaged", "restore")
    )
    assert "root.pem is damaged" in text(broken)
    show_authority(broken, NOW, is_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["name"], document["crl"], document["not_after"]) == (
        "Home client CA",
        None,
        None,
    )
    assert document["error"] == {"what": "root.pem is damaged", "hint": "restore"}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (SEEN, "list     number 12, until 2026-12-22 12:00 UTC, 30 days left"),
        (replace(SEEN, crl=None), "NONE: there is nothing to be put in place"),
        (replace(SEEN, crl=AUTHORITY.crl(12, at=NOW - 31 * DAY)), "number 12 is EXPIRED"),
        (replace(SEEN, crl=AUTHORITY.crl(12, at=NOW + DAY)), "number 12 is FROM THE FUTURE"),
        (replace(SEEN, unlisted=frozenset({"0a"})), "1 revoked, but NOT IN THE LIST yet"),
        (replace(SEEN, ladder=(Rung(13, NOW + DAY, NOW + 9 * DAY),)), "1 signed ahead, until 2026"),
        (replace(SEEN, is_locked=True), "  locked"),
        (SEEN, "backup   NEVER"),
        (replace(SEEN, backed_up_at=NOW), "backup   2026-11-22 12:00 UTC"),
        (replace(SEEN, clients=(a_client(days=20),)), "1 ends within 30 days"),
        (
            replace(SEEN, proofs={"node-red": a_proof(ProofOutcome.REFUTED, "0a got in", "stop")}),
            "node-red: DOES NOT DO what it should: 0a got in (stop)",
        ),
        (
            replace(SEEN, proofs={"node-red": a_proof(ProofOutcome.UNKNOWN, "nobody answers")}),
            "node-red: NOT PROVEN: nobody answers",
        ),
        (
            replace(SEEN, proofs={"node-red": a_proof(ProofOutcome.PROVEN)}),
            "node-red: refuses who is revoked",
        ),
    ],
)
def test_people_are_told_what_matters(seen: ObservedAuthority, words: str) -> None:
    """What keeps everybody out, or lets somebody in, is in capitals."""
    assert words in text(seen)


def test_a_state_is_the_first_that_applies() -> None:
    """A revoked one that has expired since is revoked; what was never signed is nobody's."""
    assert client_state(replace(a_client(days=-1), revoked_at=NOW), NOW) == "revoked"
    assert client_state(a_client(days=-1), NOW) == "expired"
    assert client_state(a_client(), NOW) == "valid"
    assert client_state(replace(a_client(), is_signed=False), NOW) is None


def test_of_a_stranger_only_the_serial_is_known(capsys: Shown) -> None:
    """Taken over from a list: null where nothing is known, and a line that holds together."""
    revoked = RevocationReason.UNSPECIFIED
    stranger = ClientCertificate("0a", "", None, None, None, revoked_at=NOW, reason=revoked)
    show_clients([stranger], NOW, is_json=True)
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["name"], document["not_after"], document["state"]) == (None, None, "revoked")
    show_clients([stranger], NOW, is_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["?", "revoked", "?", "0a"]


OLD = replace(a_client(), not_before=NOW - 300 * DAY)
USES = [
    (OLD, NOW - 301 * DAY, "never-used", "never used"),
    (OLD, NOW - 91 * DAY, "not-seen", "not seen since 2026-08-23"),
    (replace(OLD, seen_at=NOW - 100 * DAY), NOW - 200 * DAY, "not-seen", "since 2026-08-14"),
    (replace(OLD, seen_at=NOW - DAY), NOW - 200 * DAY, None, ""),
    (OLD, None, None, ""),
]


@pytest.mark.parametrize(("client", "since", "usage", "words"), USES)
def test_who_seems_not_to_use_a_certificate_is_marked(
    capsys: Shown, client: ClientCertificate, since: datetime | None, usage: str | None, words: str
) -> None:
    """At the end of its line, and in JSON as a word; nothing where nothing is odd, or known."""
    show_clients([client], NOW, is_json=False, watched_since=since)
    line = capsys.readouterr().out.splitlines()[1]
    assert line.endswith(words or client.serial)
    show_clients([client], NOW, is_json=True, watched_since=since)
    (document,) = json.loads(capsys.readouterr().out)
    assert document["usage"] == usage
    assert (document["seen_at"] is None) == (client.seen_at is None)


@pytest.mark.parametrize(
    ("client", "since", "words"),
    [
        (OLD, NOW - 301 * DAY, "  never used"),
        (OLD, NOW - 91 * DAY, "  not seen since 2026-08-23"),
        (
            replace(OLD, seen_at=NOW - 100 * DAY),
            NOW - 200 * DAY,
            "  last seen 2026-08-14 12:00 UTC",
        ),
        (replace(OLD, seen_at=NOW, revoked_at=NOW), None, "  last seen 2026-11-22 12:00 UTC"),
    ],
)
def test_a_clients_own_page_says_when_it_was_seen(
    capsys: Shown, client: ClientCertificate, since: datetime | None, words: str
) -> None:
    """Of a revoked certificate, too: whoever has lost a device wants to know."""
    show_client("alice", [client], None, NOW, is_json=False, watched_since=since)
    assert capsys.readouterr().out.splitlines()[-1].endswith(words)


def test_an_empty_list_says_how_to_begin(capsys: Shown) -> None:
    """Nothing to show is said, not left blank; JSON is an empty list."""
    show_clients([], NOW, is_json=False)
    assert "certwarden client issue" in capsys.readouterr().out
    show_clients([], NOW, is_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_a_revocation_is_told_as_far_as_it_came(capsys: Shown) -> None:
    """Booked, signed, proven: each is said, and what is missing too."""
    revoked = (replace(a_client(), revoked_at=NOW),)
    show_withdrawal(Withdrawal(revoked, error=LockedError("the private CA is locked")))
    booked = capsys.readouterr().out
    assert "serial 0a1b is revoked" in booked
    assert "still gets in" in booked
    proofs = (a_proof(ProofOutcome.PROVEN),)
    show_withdrawal(Withdrawal(revoked, AUTHORITY.crl(13), (), proofs))
    proven = capsys.readouterr().out
    assert "revocation list 13 is published" in proven
    assert "node-red: refuses who is revoked" in proven
