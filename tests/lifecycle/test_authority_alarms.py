"""What a person hears of the private CA."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certwarden.errors import StoreError
from certwarden.lifecycle.alarms import Findings, matters, to_send
from certwarden.lifecycle.authority_alarms import (
    LADDER_ENDS,
    LIST_ENDS,
    LIST_FAILING,
    LOCKED,
    ROOT_ENDED,
    authority_expiry_matters,
    authority_matters,
)
from certwarden.lifecycle.setbacks import BACKUP, LIST
from certwarden.lifecycle.status import authority_needs_attention, client_state
from certwarden.lifecycle.trust import Verdict
from certwarden.model import ObservedAuthority, ProofOutcome, Rung, Setback, Told, Trust
from tests.builders import NOW
from tests.lifecycle.client_facts import ROOT, SPEC, a_client, a_list, a_proof, an_authority
from tests.lifecycle.facts import DAY, HOUR, SECOND


def keys(seen: ObservedAuthority, now: datetime = NOW, setback: Setback | None = None) -> set[str]:
    """Of all matters that stand."""
    found = [
        *authority_matters(seen, [setback] if setback else [], now),
        *authority_expiry_matters(seen, now),
    ]
    return {matter.key for matter in found}


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    """A fresh list, a proven target and a client with a long life are no matter."""
    seen = an_authority(a_list(), a_client(), proofs=[a_proof()])
    assert keys(seen) == set()
    assert not authority_needs_attention(seen, NOW)


@pytest.mark.parametrize(
    ("age", "is_said"), [(14 * DAY, False), (15 * DAY, True), (29 * DAY, True), (31 * DAY, True)]
)
def test_an_ageing_list_is_told(age: timedelta, is_said: bool) -> None:  # noqa: FBT001 - a row
    """With less than half of its life left somebody should look."""
    seen = an_authority(a_list(signed_at=NOW - age))
    assert (LIST_ENDS in keys(seen)) is is_said
    assert authority_needs_attention(seen, NOW) is is_said


def test_an_expired_list_says_what_that_means() -> None:
    """Nobody gets in any more."""
    seen = an_authority(a_list(signed_at=NOW - 31 * DAY))
    (matter,) = authority_expiry_matters(seen, NOW)
    assert "no client gets in" in matter.what


def test_a_failed_signature_is_told_from_the_second_time_on() -> None:
    """A busy moment is nobody's business."""
    seen = an_authority(a_list())
    failed = Setback(LIST, ROOT.fingerprint, NOW, NOW, NOW + HOUR, 1, "no passphrase", "find it")
    assert LIST_FAILING not in keys(seen, NOW, failed)
    assert LIST_FAILING in keys(seen, NOW, replace(failed, failures=2))


def test_a_backup_that_cannot_be_made_is_told_after_a_day() -> None:
    """A disk that is away for the night is nobody's business."""
    seen = an_authority(a_list())
    failed = Setback(BACKUP, "", NOW, NOW, NOW + HOUR, 3, "the disk is away", "mount it")
    assert BACKUP not in keys(seen, NOW + 23 * HOUR, failed)
    assert BACKUP in keys(seen, NOW + DAY, failed)


def test_a_revocation_that_waits_for_the_passphrase_is_told() -> None:
    """With a locked CA it is not in force before somebody unlocks it."""
    seen = an_authority(a_list(), is_locked=True, unlisted=["0c"])
    (matter,) = authority_matters(seen, [], NOW)
    assert (matter.key, matter.what) == (
        LOCKED,
        "1 revocation waits for the private CA to be unlocked",
    )


def test_a_superseded_certificate_waits_for_the_passphrase_too() -> None:
    """A locked CA cannot revoke by itself what was renewed two weeks ago."""
    seen = an_authority(a_list(), a_client(supersede_at=NOW), is_locked=True)
    assert LOCKED in keys(seen)
    assert LOCKED not in keys(seen, NOW - SECOND)


def test_the_end_of_the_ladder_is_told_in_time() -> None:
    """When the last list is being used, and not before."""
    last = Rung(40, NOW + 330 * DAY, NOW + 360 * DAY)
    seen = an_authority(a_list(), is_locked=True, ladder=[last])
    assert LADDER_ENDS not in keys(seen, NOW + 330 * DAY - SECOND)
    assert LADDER_ENDS in keys(seen, NOW + 330 * DAY)


@pytest.mark.parametrize(
    ("outcome", "age", "is_said"),
    [
        (ProofOutcome.PROVEN, 2 * DAY, False),
        (ProofOutcome.REFUTED, timedelta(), True),
        (ProofOutcome.UNKNOWN, 23 * HOUR, False),
        (ProofOutcome.UNKNOWN, DAY, True),
    ],
)
def test_who_gets_in_is_told_at_once_or_after_a_day(
    outcome: ProofOutcome,
    age: timedelta,
    is_said: bool,  # noqa: FBT001 - a row
) -> None:
    """That a revoked client gets in cannot wait; that nobody knows may be a program at rest."""
    proof = a_proof(outcome, NOW, failures=3, since=NOW - age)
    assert ("proof:node-red" in keys(an_authority(a_list(), proofs=[proof]))) is is_said


def test_an_unreadable_authority_is_told() -> None:
    """With the reason, and what to do."""
    seen = replace(an_authority(None, root=None), trouble=StoreError("no such file", "restore it"))
    (matter,) = authority_matters(seen, [], NOW)
    assert (matter.what, matter.todo) == (
        "the private CA cannot be read: no such file",
        "restore it",
    )


def test_clients_near_their_end_are_told_four_times() -> None:
    """At 30, 14, 7 and 1 days, once each, and without a word when it is over."""
    end = NOW + 40 * DAY
    told: dict[str, Told] = {}
    said: list[tuple[int, str]] = []
    for day in range(60):
        now = NOW + day * DAY
        seen = an_authority(a_list(signed_at=now), a_client(until=end))
        outbox = to_send(Findings(authority_expiry_matters(seen, now)), list(told.values()), now)
        for message in outbox.messages:
            said.append(((end - now).days, message.title))
            told.update({each.key: each for each in message.tell})
        for key in outbox.forget:
            told.pop(key, None)
    assert [days for days, _ in said] == [30, 14, 7, 1]
    assert all("the client certificate of alice ends on" in title for _, title in said)
    assert not told


def test_a_renewed_client_is_not_told_of() -> None:
    """The old certificate's end is of no interest once there is another."""
    old = a_client(until=NOW + 5 * DAY)
    assert keys(an_authority(a_list(), old))
    assert not keys(an_authority(a_list(), old, a_client(serial="0d")))


def test_a_revoked_client_is_not_told_of() -> None:
    """Nobody misses it."""
    assert not keys(an_authority(a_list(), a_client(until=NOW + 5 * DAY, revoked_at=NOW)))


def test_the_roots_end_is_told_long_before() -> None:
    """It is one command, and all clients end with it."""
    root = replace(ROOT, not_after=NOW + 80 * DAY)
    (matter,) = authority_expiry_matters(an_authority(a_list(), root=root), NOW)
    assert matter.key == f"ends:root:{ROOT.serial}:90"
    assert matter.todo == "extend it: certwarden ca renew-root"


def test_the_state_of_a_client() -> None:
    """Revoked stays revoked, also when it has expired."""
    assert client_state(a_client(), NOW) == "valid"
    assert client_state(a_client(until=NOW - SECOND), NOW) == "expired"
    assert client_state(a_client(until=NOW - SECOND, revoked_at=NOW - DAY), NOW) == "revoked"


def test_clients_that_end_together_are_one_matter() -> None:
    """A thousand that were issued at once are no message of a thousand paragraphs."""
    clients = [a_client(f"phone-{n}", f"{n:04x}", until=NOW + 20 * DAY) for n in range(1000)]
    (matter,) = authority_expiry_matters(an_authority(a_list(), *clients), NOW)
    assert matter.what.startswith("1000 client certificates end on 20")
    assert matter.what.endswith("phone-4 and 995 more")
    assert matter.key.endswith(":30")


def test_a_list_from_the_future_is_told() -> None:
    """With a locked CA nothing replaces it but a person."""
    seen = an_authority(a_list(signed_at=NOW + 3 * DAY), is_locked=True)
    assert LIST_ENDS in keys(seen)
    assert authority_needs_attention(seen, NOW)


def test_an_authority_that_has_ended_is_told() -> None:
    """It is the one matter for which nobody gets in at all."""
    seen = an_authority(a_list(), root=replace(ROOT, not_after=NOW))
    assert ROOT_ENDED in keys(seen)


def test_where_nobody_answers_nobody_gets_in() -> None:
    """Whoever stopped the program is not told for ever that nothing is known of it."""
    proof = a_proof(ProofOutcome.UNKNOWN, since=NOW - 3 * DAY)
    seen = an_authority(a_list(), proofs=[proof])
    assert not list(authority_matters(seen, [], NOW, absent=["node-red"]))
    assert list(authority_matters(seen, [], NOW))


def test_what_was_said_of_an_end_is_not_said_again_after_a_doubtful_hour() -> None:
    """A machine without a battery boots at a doubtful hour each day."""
    text = "the client certificate of alice ends"
    told = [Told("ends:client:0c:30", NOW - DAY, NOW - DAY, text)]
    seen = an_authority(a_list())
    verdict = Verdict(Trust.UNKNOWN, None)
    outbox = to_send(matters([], verdict, None, NOW, authority=seen), told, NOW)
    assert not outbox.forget
    verdict = Verdict(Trust.TRUSTED, synchronised=True)
    outbox = to_send(matters([], verdict, None, NOW, authority=seen), told, NOW)
    assert outbox.forget == ("ends:client:0c:30",)


def test_what_cannot_be_read_has_not_recovered() -> None:
    """A private CA that cannot be read is the only matter, and no good news."""
    text = "the revocation list has not been renewed"
    told = [Told(LIST_ENDS, NOW - DAY, NOW - DAY, text)]
    seen = ObservedAuthority(SPEC, None, trouble=StoreError("the register cannot be read"))
    verdict = Verdict(Trust.TRUSTED, synchronised=True)
    (message,) = to_send(matters([], verdict, None, NOW, authority=seen), told, NOW).messages
    assert "cannot be read" in message.title
    assert "recovered" not in message.title
