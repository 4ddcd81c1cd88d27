"""What is said of the private CA, its lists, its clients and its backup."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from certwarden.config import Config
from certwarden.doctor.authority import (
    authority,
    judge_authority,
    judge_clients,
    judge_installed_list,
    judge_kept_backups,
    judge_list,
    judge_own_backup,
)
from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.patient import Patient
from certwarden.errors import LockedError, StoreError
from certwarden.lifecycle.lists import trust_reason
from certwarden.lifecycle.setbacks import LIST
from certwarden.model import (
    AuthoritySpec,
    ClientTrust,
    Crl,
    HotReload,
    KeptBackup,
    ObservedAuthority,
    Reload,
    Rung,
    Setback,
    UnitReload,
    UnitVerb,
)
from certwarden.wiring import Warden
from tests.builders import NOW, a_deploy_record
from tests.lifecycle.client_facts import (
    ROOT,
    SPEC,
    a_client,
    a_client_target,
    a_list,
    an_authority,
)
from tests.lifecycle.facts import DAY, HOUR

RESTART = UnitReload("nodered.service", UnitVerb.RESTART)
HOT = HotReload()


def told(findings: Sequence[Finding]) -> list[tuple[Result, str]]:
    assert all(each.remedy for each in findings if each.needs_attention)
    return [(each.result, each.what) for each in findings]


@pytest.mark.parametrize(
    ("configured", "words"),
    [(None, "no private CA is configured"), (SPEC, "could not be looked at")],
)
def test_a_ca_that_nobody_has_looked_at_is_not_called_absent(
    configured: AuthoritySpec | None, words: str
) -> None:
    """As where a target's disk hangs: whether there is one is for the configuration to say."""
    patient = Patient(
        config=cast("Config", SimpleNamespace(authority=configured)),
        warden=cast("Warden", None),
        now=NOW,
        observed=(),
        authority=None,
        trouble=StoreError("no answer"),
    )
    (finding,) = authority(patient)
    assert finding.result is Result.SKIPPED
    assert words in finding.what


@pytest.mark.parametrize(
    ("seen", "locked", "result", "words"),
    [
        (an_authority(a_list()), None, Result.OK, "can sign"),
        (an_authority(a_list(), is_locked=True), None, Result.OK, "is locked"),
        (an_authority(None, root=None), None, Result.ERROR, "was not founded"),
        (ObservedAuthority(SPEC, None, trouble=StoreError("torn")), None, Result.ERROR, "torn"),
        (an_authority(a_list()), LockedError("it is gone"), Result.ERROR, "it is gone"),
        (
            an_authority(a_list(), root=replace(ROOT, not_after=NOW + 29 * DAY)),
            None,
            Result.WARNING,
            "ends on",
        ),
        (
            an_authority(a_list(), root=replace(ROOT, not_after=NOW - DAY)),
            None,
            Result.ERROR,
            "has ended",
        ),
    ],
)
def test_a_ca_is_to_be_readable_able_and_far_from_its_end(
    seen: ObservedAuthority, locked: LockedError | None, result: Result, words: str
) -> None:
    """One finding; what can be done about it comes along."""
    ((found, what),) = told([*judge_authority(seen, locked, NOW)])
    assert found is result
    assert words in what


FAILING = Setback(LIST, "", NOW - DAY, NOW, NOW, 3, "the disk is full", "free some")


@pytest.mark.parametrize(
    ("seen", "setbacks", "result", "words"),
    [
        (an_authority(a_list()), [], Result.OK, "holds all"),
        (an_authority(a_list(signed_at=NOW - 14 * DAY)), [], Result.OK, "holds all"),
        (an_authority(a_list(signed_at=NOW - 16 * DAY)), [], Result.WARNING, "not been renewed"),
        (an_authority(a_list(signed_at=NOW - 31 * DAY)), [], Result.ERROR, "has expired"),
        (an_authority(a_list(signed_at=NOW + 3 * HOUR)), [], Result.ERROR, "no client gets in"),
        (an_authority(None), [], Result.ERROR, "no revocation list"),
        (an_authority(a_list(), unlisted=["0c"]), [], Result.ERROR, "not in the published"),
        (an_authority(a_list()), [FAILING], Result.WARNING, "the disk is full"),
        (
            an_authority(
                a_list(), is_locked=True, unlisted=["0c"], ladder=[Rung(8, NOW, NOW + 300 * DAY)]
            ),
            [],
            Result.ERROR,
            "1 revocation waits",
        ),
        (
            an_authority(a_list(), is_locked=True, ladder=[Rung(8, NOW + DAY, NOW + 29 * DAY)]),
            [],
            Result.WARNING,
            "signed beforehand",
        ),
    ],
)
def test_the_list_is_to_be_fresh_and_complete(
    seen: ObservedAuthority, setbacks: list[Setback], result: Result, words: str
) -> None:
    """By what the alarms say, which a person may have missed."""
    ((found, what),) = told([*judge_list(seen, setbacks, NOW)])
    assert found is result
    assert words in what


@pytest.mark.parametrize(
    ("installed", "published", "reload", "result", "words"),
    [
        (a_list(7), a_list(7), HOT, Result.OK, "list 7"),
        (a_list(7), a_list(8), HOT, Result.ERROR, "newer list"),
        (a_list(7), a_list(8), RESTART, Result.OK, "list 7"),
        (a_list(7), a_list(8, serials=["0c"]), RESTART, Result.ERROR, "1 revocation"),
        (a_list(7, NOW - 31 * DAY), a_list(8), RESTART, Result.ERROR, "has expired"),
        (a_list(7, NOW + 2 * HOUR), a_list(8), HOT, Result.ERROR, "in the future"),
        (None, a_list(8), HOT, Result.ERROR, "not installed"),
    ],
)
def test_each_target_is_to_have_the_list_that_it_should_have(
    installed: Crl | None, published: Crl, reload: Reload, result: Result, words: str
) -> None:
    """Where a restart would be needed, an older one without revocations missing is right."""
    target = a_client_target(installed, reload)
    if isinstance(reload, UnitReload):
        last = replace(a_deploy_record(), ended_at=NOW, crl_number=7)  # it was told of list 7
        target = replace(target, last_deploy=last)
    reason = trust_reason(target, ClientTrust(ROOT.pem, published), NOW)
    finding = judge_installed_list(target, an_authority(published), reason, NOW)
    ((found, what),) = told([finding])
    assert found is result
    assert words in what


def test_another_root_at_a_target_is_told() -> None:
    """After `ca renew-root`, or where somebody has put his own there."""
    target = a_client_target(a_list(7), HOT, root_pem=b"another")
    reason = trust_reason(target, ClientTrust(ROOT.pem, a_list(7)), NOW)
    finding = judge_installed_list(target, an_authority(a_list(7)), reason, NOW)
    assert finding.result is Result.WARNING
    assert "another one" in finding.what


@pytest.mark.parametrize(("left", "result"), [(29 * DAY, Result.WARNING), (31 * DAY, Result.OK)])
def test_clients_near_their_end_are_named(left: timedelta, result: Result) -> None:
    """A month is time enough to hand out new ones."""
    ((found, what),) = told(
        [*judge_clients(an_authority(a_list(), a_client(until=NOW + left)), NOW)]
    )
    assert found is result
    assert ("alice" in what) is (result is Result.WARNING)


@pytest.mark.parametrize(
    ("backed_up_at", "result"),
    [(None, Result.WARNING), (NOW - 2 * DAY, Result.WARNING), (NOW, Result.OK)],
)
def test_a_backup_by_hand_is_to_be_newer_than_the_last_client(
    backed_up_at: datetime | None, result: Result
) -> None:
    """One that was issued or revoked since would be lost."""
    seen = replace(an_authority(a_list(), a_client()), backed_up_at=backed_up_at)
    assert judge_own_backup(seen, ROOT).result is result


@pytest.mark.parametrize(
    ("kept", "result"),
    [
        ([KeptBackup("a", NOW - HOUR, "as it is")], Result.OK),
        ([KeptBackup("a", NOW - 7 * DAY - HOUR, "as it is")], Result.OK),
        ([KeptBackup("a", NOW - 9 * DAY, "as it is")], Result.WARNING),
        ([KeptBackup("a", NOW - 3 * DAY, "as it was")], Result.WARNING),
        ([], Result.WARNING),
    ],
)
def test_backups_that_are_made_by_themselves_are_given_a_day(
    kept: list[KeptBackup], result: Result
) -> None:
    """A pass makes what is due; that it is due is no fault yet."""
    seen = an_authority(a_list(), replace(a_client(), not_before=NOW - 3 * DAY))
    ((found, _),) = told([judge_kept_backups(seen, ROOT, kept, "as it is", NOW)])
    assert found is result


def test_a_change_of_this_hour_is_no_fault_of_the_backup() -> None:
    """Neither is a CA that was just founded."""
    seen = an_authority(a_list(), replace(a_client(), not_before=NOW - 2 * HOUR))
    kept = [KeptBackup("a", NOW - 3 * DAY, "as it was")]
    assert judge_kept_backups(seen, ROOT, kept, "as it is", NOW).result is Result.OK
    assert judge_kept_backups(seen, ROOT, [], "as it is", NOW).result is Result.OK
