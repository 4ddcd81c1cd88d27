"""`status`: the contract's JSON, and a table with true words on every kind of screen."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest

from certwarden.cli.outlook import Coming, House, comings, concerns, in_time
from certwarden.cli.render_status import status_json, status_lines
from certwarden.cli.screen import Colour, Screen, screen_of
from certwarden.errors import Error, TargetError
from certwarden.lifecycle.status import authority_needs_attention, needs_attention
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    AuthoritySpec,
    ClientCertificate,
    DeployOutcome,
    DeployRecord,
    KeyType,
    NoHandshake,
    Observed,
    ObservedAuthority,
    ObservedTarget,
    Policy,
    Proof,
    ProofOutcome,
    Rung,
    Seen,
    Served,
    Trust,
    Unreachable,
)
from certwarden.pki.authority import read_root
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_pair,
    a_stored,
    a_target_spec,
    an_attempt,
    an_installed,
)
from tests.builders_authority import a_private_authority
from tests.cli.conftest import Machine

DAY = timedelta(days=1)
TRUSTED = Verdict(Trust.TRUSTED, synchronised=True)
DOUBTFUL = Verdict(Trust.CONTRADICTED, None, "the clock is ahead", "set it")
STORED = a_stored(obtained_at=NOW - 30 * DAY)
OLD = a_stored(obtained_at=NOW - 80 * DAY)
OTHER = a_pair()
AUTHORITY = a_private_authority()
CA = ObservedAuthority(
    AuthoritySpec("Home client CA", Path("ca.passphrase")),
    read_root(AUTHORITY.root_pem),
    AUTHORITY.crl(12),
    backed_up_at=NOW,
)
WIDE = Screen()


def observed(*targets: ObservedTarget) -> Observed:
    return Observed(a_certificate_spec(targets=[t.spec for t in targets]), STORED, None, targets)


def failing(seen: Observed) -> Observed:
    """Another key type is wanted, and the attempt to get it has failed."""
    spec = replace(seen.spec, key_type=KeyType.ECDSA_P384)
    return replace(seen, spec=spec, failures=(an_attempt(),))


def a_target(seen: Seen | None) -> ObservedTarget:
    return ObservedTarget(a_target_spec(), an_installed(STORED.pair), seen, None)


def a_client(name: str, days: int) -> ClientCertificate:
    return ClientCertificate("0a1b", name, None, NOW - 100 * DAY, NOW + days * DAY)


def a_house(
    *seen: Observed, authority: ObservedAuthority | None = None, verdict: Verdict = TRUSTED
) -> House:
    return House(seen, authority, verdict, Policy(), NOW)


def text(house: House, screen: Screen = WIDE) -> str:
    return "\n".join(status_lines(house, screen))


def test_json_has_every_field_of_the_contract() -> None:
    """Times with a Z, even lower-case hex, null where there is nothing."""
    document = status_json(a_house(failing(observed(a_target(Served(STORED.certificate))))))
    (certificate,) = json.loads(json.dumps(document))["certificates"]
    assert set(certificate) >= {
        *("name", "domains", "state", "serial", "fingerprint_sha256", "issuer"),
        *("not_before", "not_after", "renewal", "last_error", "targets"),
    }
    assert certificate["state"] == "failing"
    assert certificate["last_error"]["what"] == "the CA could not be reached"
    assert certificate["renewal"] == {
        "at": "2026-11-22T12:00:00Z",
        "reason": "domains-changed",
    }
    assert certificate["targets"][0]["served"] == STORED.certificate.fingerprint
    assert "2026-11-22T12:00:48Z" <= certificate["last_error"]["next_try"] <= "2026-11-22T12:01:00Z"
    assert document["authority"] is None
    assert document["clock"] == {"synchronised": True, "trusted": True}


def test_a_doubtful_clock_is_told_first() -> None:
    """What is wrong with it, and what to do; JSON says no more than whether it is trusted."""
    house = a_house(observed(), verdict=DOUBTFUL)
    shown = text(house).splitlines()
    assert shown[:3] == [
        "1 matter needs attention:",
        "  ● clock: the clock is ahead",
        "    → set it",
    ]
    assert status_json(house)["clock"] == {"synchronised": None, "trusted": False}


def test_life_renewal_and_targets_are_shown() -> None:
    """A third of 90 days has passed: a third of the bar is full; the mark is where it renews."""
    shown = text(a_house(observed(a_target(Served(STORED.certificate)))))
    assert shown.startswith("All is well.\n\nCERTIFICATE  STATE  LIFE")
    assert f"home         ok     {'█' * 8 + '░' * 8 + '┃' + '░' * 7}  60 days left" in shown
    assert "renews   2026-12-22 12:00 UTC (in 30 days), when a third of its lifetime" in shown
    assert "node-red (node-red): in-use — installed, and served at 127.0.0.1:1880" in shown
    assert shown.endswith("next     in 30 days, 2026-12-22 12:00 UTC: home is renewed")


def test_what_fails_says_why_and_when_it_is_tried_again() -> None:
    """The reason to renew, the error with its hint, and the target that serves another one."""
    shown = text(a_house(failing(observed(a_target(Served(OTHER.certificate))))))
    assert "2 matters need attention:" in shown
    assert "renews   now: its key type is now ecdsa-p384" in shown
    assert "stale — serves serial" in shown
    assert "the CA could not be reached" in shown
    assert "→ check the network" in shown


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Unreachable("nobody is there"), "unreachable — nobody is there; the stored certificate"),
        (NoHandshake("no TLS\x1b[2J"), "failed — no TLS[2J"),
        (None, "not-probed — the stored certificate is installed; not looked at"),
    ],
)
def test_a_target_is_told_in_words(seen: Seen | None, words: str) -> None:
    """What is installed and what is seen; a stranger's words cannot reach into the terminal."""
    assert words in text(a_house(observed(a_target(seen))))


def test_the_authority_shows_its_list_its_clients_and_asks_for_a_backup() -> None:
    """With a bar for the list, the clients that end soon by name, and what to type."""
    clients = (a_client("alice", 400), a_client("bob", 12))
    shown = text(a_house(observed(), authority=replace(CA, clients=clients, backed_up_at=None)))
    assert "clients  2 valid, 0 revoked, 0 expired" in shown
    assert "bob ends on 2026-12-04, 12 days left → certwarden client renew bob" in shown
    assert "number 12, 0 entries, until" in shown
    assert "backup   NONE YET" in shown
    assert "certwarden ca backup FILE" in shown
    assert "in 12 days, 2026-12-04 12:00 UTC: the certificate of bob ends" in shown


def test_an_authority_that_is_not_made_yet_says_how() -> None:
    """There is nothing to be shown of it but that."""
    shown = text(a_house(observed(), authority=replace(CA, root=None)))
    assert "Home client CA  NOT MADE YET" in shown
    assert "to do    certwarden ca init" in shown


LATE = Proof("node-red", 12, NOW, ProofOutcome.UNKNOWN, "nobody answers", failures=2)
EMPTY = ObservedTarget(a_target_spec(), None, None, None)
DEPLOY_FAILED = DeployRecord(
    1,
    "node-red",
    STORED.certificate.fingerprint,
    NOW,
    None,
    None,
    DeployOutcome.FAILED,
    "it refused",
    "look at its log",
)
HOUSES: Sequence[House] = (
    a_house(observed()),
    a_house(observed(EMPTY)),
    a_house(observed(a_target(Served(STORED.certificate)))),
    a_house(observed(a_target(Served(OTHER.certificate)))),
    a_house(observed(a_target(Unreachable("away")))),
    a_house(observed(replace(a_target(NoHandshake("x")), last_deploy=DEPLOY_FAILED))),
    a_house(observed(replace(a_target(None), trouble=TargetError("no", "so")))),
    a_house(observed(replace(a_target(None), installed=an_installed(OTHER, is_placeholder=True)))),
    a_house(failing(observed())),
    a_house(replace(observed(), stored=OLD)),
    a_house(replace(observed(a_target(Unreachable("away"))), stored=OLD)),
    a_house(replace(observed(), stored=a_stored(obtained_at=NOW - 91 * DAY))),
    a_house(replace(observed(), stored=a_stored(obtained_at=NOW - 60.5 * DAY))),
    a_house(replace(observed(), stored=None)),
    a_house(replace(observed(), stored=None, failures=(an_attempt(),))),
    a_house(replace(observed(), trouble=Error("it cannot be read", "look"))),
    a_house(authority=CA),
    a_house(authority=replace(CA, root=None)),
    a_house(authority=replace(CA, crl=None)),
    a_house(authority=replace(CA, trouble=Error("broken"))),
    a_house(authority=replace(CA, crl=AUTHORITY.crl(12, at=NOW - 20 * DAY))),
    a_house(authority=replace(CA, crl=AUTHORITY.crl(12, at=NOW - 40 * DAY))),
    a_house(authority=replace(CA, crl=AUTHORITY.crl(12, at=NOW + 2 * DAY))),
    a_house(authority=replace(CA, is_locked=True, unlisted=frozenset(("0a",)))),
    a_house(authority=replace(CA, is_locked=True, ladder=(Rung(13, NOW + DAY, NOW + 31 * DAY),))),
    a_house(authority=replace(CA, proofs={"node-red": LATE})),
    a_house(observed(), verdict=DOUBTFUL),
)


@pytest.mark.parametrize("house", HOUSES)
def test_there_is_a_concern_exactly_where_attention_is_needed(house: House) -> None:
    """The list of what is wrong, the words above the table, and the judgement agree."""
    is_troubled = any(needs_attention(seen, NOW) for seen in house.certificates)
    is_troubled = is_troubled or authority_needs_attention(house.authority, NOW)
    found = concerns(house)
    assert bool(found) == (is_troubled or house.is_doubtful)
    assert all(each.what for each in found)
    assert text(house).startswith("All is well." if not found else f"{len(found)} matter")


@pytest.mark.parametrize("house", HOUSES)
@pytest.mark.parametrize("width", [40, 72, 80])
def test_no_line_is_wider_than_the_screen(house: House, width: int) -> None:
    """A wrapped bar would be no bar."""
    authority = house.authority and replace(house.authority, backed_up_at=None)
    lines = status_lines(replace(house, authority=authority), Screen(width))
    assert max(len(line) for line in lines) <= width


def test_what_comes_next_is_sorted_and_lies_ahead() -> None:
    """Renewals, lists and ends; what a locked CA has signed ahead has an end, too."""
    ladder = (Rung(13, NOW + DAY, NOW + 31 * DAY),)
    locked = replace(CA, is_locked=True, ladder=ladder, clients=(a_client("bob", 12),))
    found = comings(a_house(observed(), authority=locked))
    assert [each.what for each in found][:4] == [
        "the revocation list is signed anew",
        "the certificate of bob ends",
        "home is renewed",
        "the lists that were signed beforehand are used up",
    ]
    assert found[1] == Coming(NOW + 12 * DAY, "the certificate of bob ends")
    assert sorted(found, key=lambda each: each.at) == list(found)


def test_times_ahead_are_in_the_unit_that_says_it_best() -> None:
    """Nobody counts in seconds."""
    spans = (timedelta(seconds=20), timedelta(minutes=50), timedelta(hours=30), 30 * DAY)
    told = [in_time(NOW + span, NOW) for span in spans]
    assert told == ["in a minute", "in 50 minutes", "in 30 hours", "in 30 days"]


class _Terminal(TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("encoding", "environment", "screen"),
    [
        ("utf-8", {"TERM": "xterm"}, (True, True)),
        ("utf-8", {"TERM": "xterm", "NO_COLOR": "1"}, (False, True)),
        ("utf-8", {"TERM": "dumb"}, (False, True)),
        ("utf-8", {}, (False, True)),
        ("ascii", {"TERM": "linux"}, (True, False)),
    ],
)
def test_a_terminal_gets_what_it_can_show(
    encoding: str, environment: dict[str, str], screen: tuple[bool, bool]
) -> None:
    """Colours unless they are not wanted, and bars of ASCII where there are no others."""
    found = screen_of(_Terminal(BytesIO(), encoding=encoding), environment)
    assert (found.is_coloured, found.is_unicode) == screen


def test_a_pipe_gets_plain_whole_lines() -> None:
    """No colours, and no sentence is broken that somebody may search for."""
    found = screen_of(StringIO(), {"TERM": "xterm"})
    assert found == Screen(is_unicode=False)  # a StringIO has no encoding


def test_colours_change_nothing_but_the_colour() -> None:
    """A coloured line without its codes is the plain line."""
    house = HOUSES[3]
    coloured = text(house, Screen(80, is_coloured=True))
    assert "\x1b[" in coloured
    for code in ("\x1b[0m", *(f"\x1b[{colour.value}m" for colour in Colour)):
        coloured = coloured.replace(code, "")
    assert coloured == text(house, Screen(80))


def test_ascii_is_enough() -> None:
    """Where the locale knows no other characters nothing is lost."""
    for house in HOUSES:
        assert text(house, Screen(is_unicode=False)).isascii()


def test_the_command_shows_a_house_that_has_nothing_yet(bare: Machine) -> None:
    """Exit 3, the table on stdout, no colours in a pipe."""
    run = bare.run("status")
    assert run.code == 3
    assert "home            MISSING" in run.out
    assert "\x1b" not in run.out
    assert run.err == ""
