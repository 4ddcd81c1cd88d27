"""What is said of a target's files, of what is served, and of who reads them."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, time
from pathlib import Path

import pytest

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.targets import (
    Reading,
    judge_certificate,
    judge_chain,
    judge_files,
    judge_group,
    judge_reading,
    judge_served,
    judge_silence,
    judge_unit,
    readers_of,
    waiting_step,
)
from certwarden.errors import StoreError, TargetError
from certwarden.model import (
    DeployOutcome,
    Installed,
    MaintenanceWindow,
    NoHandshake,
    Observed,
    ObservedTarget,
    Policy,
    Secret,
    Served,
    Stored,
    TargetSpec,
    UnitReload,
    UnitVerb,
    Unreachable,
    covers,
)
from certwarden.targets.readers import Reader, UnitFacts, reader_of_process
from tests.builders import NOW, a_deploy_record, a_self_signed_pem, a_stored, a_target_spec
from tests.lifecycle.facts import DAY, a_leaf, a_version, found

STORED = a_version()
LEAF = STORED.certificate
OLD = a_leaf(start=NOW - 60 * DAY, fingerprint="cd" * 32)
UNIT = UnitReload("nodered.service", UnitVerb.RESTART)
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
PI = Reader("pi", 1000, 1000, frozenset({1000}))


def as_found(
    installed: Installed | None = Installed(3, LEAF),  # noqa: B008  a frozen value
    seen: Served | Unreachable | NoHandshake | None = Served(LEAF),  # noqa: B008  the same
    *,
    stored: Stored | None = STORED,
    spec: TargetSpec | None = None,
    failed: bool = False,
    trouble: TargetError | None = None,
) -> tuple[Observed, ObservedTarget]:
    last = None
    if failed:
        failure = TargetError("the unit failed", "look at its log")
        last = a_deploy_record(fingerprint=LEAF.fingerprint, outcome=DeployOutcome.FAILED)
        last = replace(last, what=failure.what, hint=failure.hint)
    target = ObservedTarget(spec or a_target_spec(), installed, seen, last, trouble)
    return found(stored, target), target


def results(findings: Sequence[Finding]) -> list[Result]:
    return [each.result for each in findings]


def the_only(findings: Sequence[Finding]) -> Finding:
    (finding,) = findings
    return finding


# ── the files ─────────────────────────────────────────────────────────────────────────────────────


def test_a_whole_generation_of_the_stored_certificate_is_in_order() -> None:
    """There is nothing more to ask of it."""
    seen, target = as_found()
    assert results([*judge_files(seen, target, (), None, NOW)]) == [Result.OK]


@pytest.mark.parametrize(
    ("installed", "now", "result", "words"),
    [
        (Installed(3, LEAF), NOW + 90 * DAY, Result.ERROR, "has expired"),
        (Installed(3, LEAF), NOW + 82 * DAY, Result.WARNING, "expires on"),
        (Installed(3, LEAF), NOW + 80 * DAY, Result.OK, "good until"),
        (Installed(3, LEAF), NOW - DAY, Result.ERROR, "from 2026-11-22 on only"),
        (Installed(3, OLD), NOW, Result.WARNING, "another certificate than the newest"),
        (Installed(3, LEAF, is_placeholder=True), NOW, Result.ERROR, "only a placeholder"),
        (Installed(3, replace(LEAF, names=("*.example.org",))), NOW, Result.ERROR, "probe_name"),
    ],
)
def test_what_is_installed_is_judged_by_dates_names_and_version(
    installed: Installed, now: datetime, result: Result, words: str
) -> None:
    """Each is said by itself, with something to do."""
    seen, target = as_found(installed)
    findings = [*judge_files(seen, target, (), None, now)]
    assert result in results(findings)
    assert any(words in each.what for each in findings)
    assert all(each.remedy for each in findings if each.needs_attention)


def test_an_address_asks_for_no_name() -> None:
    """Whoever calls by an address is served what there is."""
    spec = replace(a_target_spec(), probe_name="192.0.2.1")
    seen, target = as_found(spec=spec)
    assert results([*judge_files(seen, target, (), None, NOW)]) == [Result.OK]


def test_each_part_that_is_not_whole_is_told() -> None:
    """With the command that puts it right."""
    seen, target = as_found(None)
    findings = [*judge_files(seen, target, ["privkey.pem is gone", "it leads astray"], None, NOW)]
    assert [each.what for each in findings] == ["privkey.pem is gone", "it leads astray"]
    assert {each.remedy for each in findings} == {"sudo certwarden deploy home"}


def test_without_a_certificate_there_is_one_thing_to_do() -> None:
    """Not one for each file that is missing."""
    seen, target = as_found(None, stored=None)
    findings = [*judge_files(seen, target, ["nothing is published"], None, NOW)]
    assert the_only(findings).result is Result.SKIPPED
    assert judge_certificate(seen, NOW).remedy == "obtain it: certwarden renew home"


@pytest.mark.parametrize(
    ("now", "result", "words"),
    [
        (NOW, Result.OK, "to be renewed"),
        (NOW + 60 * DAY, Result.OK, "to be renewed"),
        (NOW + 62 * DAY, Result.WARNING, "and was not"),
        (NOW + 90 * DAY, Result.ERROR, "has expired"),
    ],
)
def test_a_certificate_is_to_be_renewed_in_time(now: datetime, result: Result, words: str) -> None:
    """That it is due is no fault for a day: a daemon may be off for a night."""
    finding = judge_certificate(as_found()[0], now)
    assert finding.result is result
    assert words in finding.what


def test_a_store_that_cannot_be_read_is_told_once() -> None:
    """And nothing is concluded of what is served."""
    seen, target = as_found(stored=None)
    seen = replace(seen, trouble=StoreError("it is torn", "renew it"))
    finding = judge_certificate(seen, NOW)
    assert (finding.result, finding.what, finding.remedy) == (
        Result.ERROR,
        "it is torn",
        "renew it",
    )
    assert the_only([*judge_served(seen, target, None)]).result is Result.SKIPPED


def test_what_cannot_be_read_is_told_with_its_hint() -> None:
    """And nothing is concluded from it."""
    seen, target = as_found(None, trouble=TargetError("there is no group x", "groupadd x"))
    finding = the_only([*judge_files(seen, target, (), None, NOW)])
    assert (finding.what, finding.remedy) == ("there is no group x", "groupadd x")


@pytest.mark.parametrize(
    ("names", "host", "is_covered"),
    [
        (("example.org",), "EXAMPLE.org.", True),
        (("*.example.org",), "www.example.org", True),
        (("*.example.org",), "example.org", False),
        (("*.example.org",), "a.b.example.org", False),
        (("example.org",), "192.0.2.1", False),
        (("example.org",), "localhost", False),
    ],
)
def test_a_star_covers_one_label(names: tuple[str, ...], host: str, is_covered: bool) -> None:  # noqa: FBT001 - a row
    """`*.d` is neither for `d` nor for `a.b.d`."""
    assert covers(names, host) is is_covered


# ── what is served ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("installed", "look", "result", "words"),
    [
        (Installed(3, LEAF), Served(LEAF), Result.OK, "serves the stored"),
        (Installed(3, LEAF), Served(OLD), Result.ERROR, "another certificate than the stored"),
        (Installed(3, LEAF), Unreachable("nobody answers"), Result.ERROR, "nobody answers"),
        (Installed(3, LEAF), NoHandshake("speaks plain HTTP"), Result.ERROR, "plain HTTP"),
        (Installed(3, LEAF), None, Result.SKIPPED, "`probe`"),
        (Installed(3, LEAF, is_placeholder=True), Served(OLD), Result.SKIPPED, "placeholder"),
    ],
)
def test_each_state_of_a_target_is_said(
    installed: Installed,
    look: Served | Unreachable | NoHandshake | None,
    result: Result,
    words: str,
) -> None:
    """With a remedy wherever a person has something to do."""
    finding = the_only([*judge_served(*as_found(installed, look), None)])
    assert finding.result is result
    assert words in finding.what
    assert finding.remedy or not finding.needs_attention


def test_the_last_deploys_error_comes_along() -> None:
    """It says why another certificate is served."""
    finding = the_only([*judge_served(*as_found(seen=Served(OLD), failed=True), None)])
    assert finding.result is Result.ERROR
    assert "the unit failed" in finding.what
    assert "look at its log" in finding.remedy


def test_plain_http_gets_the_line_to_paste() -> None:
    """As on the day when certwarden was installed, before settings.js was changed."""
    finding = the_only([*judge_served(*as_found(seen=NoHandshake("speaks plain HTTP")), None)])
    assert "certwarden snippet" in finding.remedy


def test_a_restart_that_waits_for_its_window_is_no_fault() -> None:
    """A healthy house may serve the certificate before for hours."""
    policy = Policy(maintenance=MaintenanceWindow(time(3), time(5)), zone=NOW.tzinfo)
    spec = a_target_spec(kind="nginx", reload=UNIT)
    seen, target = as_found(Installed(3, OLD), Served(OLD), spec=spec)
    waiting = waiting_step(seen, target, NOW, policy)
    assert waiting is not None
    assert the_only([*judge_served(seen, target, waiting)]).result is Result.OK
    assert results([*judge_files(seen, target, (), waiting, NOW)]) == [Result.OK]
    assert waiting_step(seen, target, NOW, Policy()) is None


def test_a_unit_on_a_machine_without_systemd_gets_the_way_to_do_without() -> None:
    """In a container there is nobody to ask, and never will be."""
    silence = TargetError("systemd does not answer: Host is down", "see `systemctl status`")
    assert judge_silence("nginx", UNIT, silence, is_booted=True).what == silence.what
    finding = judge_silence("nginx", UNIT, silence, is_booted=False)
    assert "there is no systemd here" in finding.what
    assert "{ command = [...] }" in finding.remedy


def test_what_is_served_is_not_strange_where_only_the_stored_one_is_gone() -> None:
    """The certificate that is missing is told once; a stranger's is told as well."""
    for served, result in ((LEAF, Result.SKIPPED), (OLD, Result.WARNING)):
        seen, target = as_found(Installed(3, LEAF), Served(served), stored=None)
        assert the_only([*judge_served(seen, target, None)]).result is result


# ── the chain ─────────────────────────────────────────────────────────────────────────────────────


def test_the_chain_is_to_be_shown_whole() -> None:
    """`cert.pem` in place of `fullchain.pem` works in some browsers, and not on phones."""
    stored = a_stored()
    leaf = stored.certificate
    seen, target = as_found(Installed(3, leaf), Served(leaf), stored=stored)
    assert the_only([*judge_chain(seen, target, [b"leaf", b"issuer"])]).result is Result.OK
    alone = the_only([*judge_chain(seen, target, [b"leaf"])])
    assert alone.result is Result.ERROR
    assert "1 of the 2" in alone.what
    assert "fullchain.pem" in alone.remedy
    assert the_only([*judge_chain(seen, target, [])]).result is Result.SKIPPED


def test_a_stored_leaf_alone_is_told_unless_it_is_a_ca_of_its_own() -> None:
    """Else somebody is missing behind it, whom not every device knows."""
    stored = a_stored()
    short = replace(stored, pair=replace(stored.pair, chain_pem=stored.pair.chain_pem[:1]))
    finding = the_only([*judge_chain(*as_found(stored=short), [b"leaf"])])
    assert finding.result is Result.ERROR
    assert "renew --force" in finding.remedy
    own = a_self_signed_pem(Secret(stored.pair.key_pem.reveal()))
    seen, target = as_found(
        stored=replace(stored, pair=replace(stored.pair, chain_pem=(own,))),
        seen=Served(stored.certificate),
    )
    assert the_only([*judge_chain(seen, target, [b"leaf"])]).result is Result.OK


def a_unit(
    load: str = "loaded", active: str = "active", *, can_reload: bool | None = False
) -> UnitFacts:
    return UnitFacts("x", load, active, can_reload, 0)


# ── units and readers ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("facts", "verb", "result"),
    [
        (a_unit(can_reload=True), UnitVerb.RELOAD, Result.OK),
        (a_unit(can_reload=False), UnitVerb.RESTART, Result.OK),
        (a_unit(can_reload=None), UnitVerb.RELOAD, Result.OK),
        (a_unit(can_reload=False), UnitVerb.RELOAD, Result.ERROR),
        (a_unit("not-found", "inactive"), UnitVerb.RESTART, Result.ERROR),
        (a_unit("masked", "inactive"), UnitVerb.RESTART, Result.ERROR),
        (a_unit(active="failed"), UnitVerb.RESTART, Result.ERROR),
        (a_unit(active="inactive"), UnitVerb.RESTART, Result.WARNING),
    ],
)
def test_a_unit_is_to_be_there_running_and_able(
    facts: UnitFacts, verb: UnitVerb, result: Result
) -> None:
    """A unit that cannot be reloaded fails only at the first renewal."""
    finding = judge_unit("nginx", UnitReload("x", verb), facts)
    assert finding.result is result
    assert finding.remedy or result is Result.OK


def test_a_reader_who_may_not_is_told_how_he_may() -> None:
    """By the group that is configured, by one to be made, or by a restart."""
    key = (Path("/live/current/privkey.pem"),)
    spec = a_target_spec(group="tls-red", reload=UNIT)
    assert judge_reading(spec, Reading(PI)).result is Result.OK
    refused = judge_reading(spec, Reading(PI, None, key, key))
    assert refused.result is Result.ERROR
    assert "usermod -aG tls-red pi" in refused.remedy
    without = judge_reading(a_target_spec(reload=UNIT), Reading(PI, None, key, key))
    assert 'group = "tls-node-red"' in without.remedy
    stale = judge_reading(spec, Reading(PI, PI, key, ()))
    assert "systemctl restart nodered.service" in stale.remedy
    unseen = judge_reading(spec, Reading(PI, None, (), (), key))
    assert (unseen.result, unseen.remedy) == (Result.SKIPPED, "run it with sudo")


def test_without_a_unit_the_group_says_who_reads() -> None:
    """Nobody in it is a fault only where nothing is seen to be read."""
    spec = a_target_spec(group="tls-red")
    assert judge_group(spec, None).result is Result.SKIPPED
    of_a_container = judge_group(spec, frozenset())
    assert of_a_container.result is Result.SKIPPED
    assert "`group_add`" in of_a_container.remedy
    assert judge_group(spec, frozenset({"pi"})).result is Result.SKIPPED


@pytest.fixture
def of_nobody() -> Iterator[int]:
    """The process of a program that has become another user, as mosquitto does."""
    with subprocess.Popen(
        ["/bin/sleep", "60"], user=NOBODY, group=NOBODY, extra_groups=[NOBODY]
    ) as process:
        yield process.pid
        process.kill()


@needs_root
@pytest.mark.parametrize(
    ("kind", "verb", "user", "uid"),
    [
        ("mosquitto", UnitVerb.RESTART, "", NOBODY),
        ("nginx", UnitVerb.RELOAD, "", NOBODY),
        ("files", UnitVerb.RESTART, "", 0),
        ("node-red", UnitVerb.RESTART, "nobody", NOBODY),
    ],
)
def test_who_reads_is_whom_the_program_is_when_it_reads(
    of_nobody: int, kind: str, verb: UnitVerb, user: str, uid: int
) -> None:
    """Root's programs read before they become somebody else, but not at a reload."""
    spec = a_target_spec(kind=kind, reload=UnitReload("x", verb))
    facts = UnitFacts("x", "loaded", "active", can_reload=True, main_pid=of_nobody, user=user)
    reader, _ = readers_of(spec, facts)
    assert reader is not None
    assert reader.uid == uid


def test_a_unit_of_a_user_who_is_not_there_has_no_reader() -> None:
    """systemd could not even start it."""
    spec = a_target_spec(reload=UNIT)
    facts = UnitFacts("x", "loaded", "inactive", None, 0, user="no-such-user")
    assert readers_of(spec, facts) == (None, None)
    running = replace(facts, main_pid=os.getpid())  # DynamicUser=, without libnss-systemd
    assert readers_of(spec, running) == (reader_of_process(os.getpid()), None)
