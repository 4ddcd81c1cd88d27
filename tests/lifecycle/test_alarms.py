"""A person hears of what matters, in time and never twice a day; and of nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.errors import Error, StoreError
from certwarden.lifecycle.alarms import (
    DAY,
    Findings,
    Outbox,
    is_bearable,
    matters,
    to_send,
    unit_matter,
)
from certwarden.lifecycle.matter import Matter
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    AttemptOutcome,
    Cause,
    DeployOutcome,
    NoHandshake,
    Observed,
    ObservedTarget,
    PendingRevocation,
    RevocationReason,
    Seen,
    Served,
    Setback,
    Stored,
    TokenCheck,
    Told,
    Trust,
    Unreachable,
)
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_deploy_record,
    a_pair,
    a_stored,
    a_target_spec,
    an_attempt,
    an_installed,
)

TRUSTED = Verdict(Trust.TRUSTED, synchronised=True)
UNTRUSTED = Verdict(Trust.CONTRADICTED, False, "the clock is wrong", "set it")  # noqa: FBT003
REFUSED = Error("Cloudflare refuses the API token", "make a new one")


@cache
def _stored() -> Stored:
    return a_stored()


def _observed(
    *, seen: Seen | None = None, stored: Stored | None = None, **fields: object
) -> Observed:
    """A certificate that is in use at one target, unless said otherwise."""
    stored = stored or _stored()
    spec = a_target_spec()
    served = seen or Served(stored.certificate)
    target = ObservedTarget(spec, an_installed(stored.pair), served, a_deploy_record())
    observed = Observed(a_certificate_spec(targets=[spec]), stored, None, (target,))
    return replace(observed, **fields)  # type: ignore[arg-type]  # the fields' own types


def _with_target(observed: Observed, **fields: object) -> Observed:
    return replace(observed, targets=(replace(observed.targets[0], **fields),))  # type: ignore[arg-type]  # see above


def _standing(
    observed: Observed,
    now: datetime = NOW,
    *,
    verdict: Verdict = TRUSTED,
    check: TokenCheck | None = None,
) -> dict[str, Matter]:
    found = matters([observed], verdict, check, now, is_clock_needed=True)
    return {matter.key: matter for matter in found.standing}


def _at(fraction: float) -> datetime:
    """The instant at which that part of the stored certificate's lifetime is over."""
    leaf = _stored().certificate
    return leaf.not_before + leaf.lifetime * fraction


# ── what matters ──────────────────────────────────────────────────────────────────────────────────


def test_nothing_matters_where_all_is_well() -> None:
    """A certificate in use with half its life before it is no news."""
    assert _standing(_observed(), _at(0.5)) == {}


def test_one_failure_that_may_pass_is_no_matter() -> None:
    """A single failure is tried again before anybody is bothered."""
    assert _standing(_observed(failures=(an_attempt(),))) == {}


def test_the_second_failure_matters() -> None:
    """Two failures in a row are told, with when the first was and what to do."""
    failures = (
        an_attempt(begun_at=NOW, error=Error("the CA is busy", "wait")),
        an_attempt(begun_at=NOW - timedelta(minutes=5)),
    )
    matter = _standing(_observed(failures=failures))["failing:home"]
    assert "the CA is busy" in matter.what
    assert matter.since == NOW - timedelta(minutes=5)
    assert matter.todo == "wait"


def test_attempts_that_a_power_cut_ended_are_no_failures() -> None:
    """A restart in the middle of an order is nobody's fault."""
    cut = an_attempt(number=1, outcome=AttemptOutcome.BEGUN)
    assert _standing(_observed(failures=(cut, an_attempt(number=2)))) == {}


@pytest.mark.parametrize("cause", [Cause.CAA, Cause.CONFIGURATION, Cause.IDENTIFIER])
def test_the_first_permanent_failure_matters(cause: Cause) -> None:
    """Where trying again is no use there will be no second failure to wait for."""
    failures = (an_attempt(cause=cause),)
    assert set(_standing(_observed(failures=failures))) == {"failing:home"}


def test_the_first_refusal_of_the_token_matters() -> None:
    """An attempt that failed for the token is told at once, and once for all certificates."""
    failures = (an_attempt(error=REFUSED, cause=Cause.TOKEN),)
    matter = _standing(_observed(failures=failures))["token"]
    assert matter.what == REFUSED.what
    assert matter.todo == REFUSED.hint


def test_a_failed_look_at_the_token_matters() -> None:
    """The daily look finds a bad token before a renewal does."""
    check = TokenCheck(NOW, "setup", what=REFUSED.what, hint=REFUSED.hint)
    assert set(_standing(_observed(), check=check)) == {"token"}


def test_a_refusal_before_the_last_good_look_is_over() -> None:
    """A token that was put right is no matter although nothing has been obtained since."""
    failures = (an_attempt(begun_at=NOW - timedelta(hours=1), error=REFUSED, cause=Cause.TOKEN),)
    check = TokenCheck(NOW, "setup")
    assert "token" not in _standing(_observed(failures=failures), check=check)


def test_a_refused_token_says_it_once() -> None:
    """Certificates that fail for the token's sake are not told one by one."""
    refusal = an_attempt(error=REFUSED, cause=Cause.TOKEN)
    failures = (refusal, replace(refusal, id=2), replace(refusal, id=3))
    check = TokenCheck(NOW, "setup", NOW + DAY, what=REFUSED.what)
    assert set(_standing(_observed(failures=failures), check=check)) == {"token"}


@pytest.mark.parametrize(
    ("fraction", "keys"),
    [(0.7499, set()), (0.75, {"expiring:home"}), (0.9, {"expiring:home"}), (1, {"expired:home"})],
)
def test_the_last_quarter_matters(fraction: float, keys: set[str]) -> None:
    """A quarter of the lifetime left and not renewed; then expired, in place of it."""
    assert set(_standing(_observed(), _at(fraction))) == keys


@pytest.mark.parametrize("days", [90, 64, 45, 6])
def test_a_quarter_is_a_quarter_of_every_lifetime(days: int) -> None:
    """No number of days is built in."""
    observed = _observed(stored=a_stored(days=days))
    last_quarter = NOW + timedelta(days=days * 0.75)
    assert _standing(observed, last_quarter - timedelta(minutes=1)) == {}
    assert _standing(observed, last_quarter)["expiring:home"].since == last_quarter


@pytest.mark.parametrize(
    ("days", "keys"), [(31, set()), (30, {"token-expiry"}), (-1, {"token-expiry"})]
)
def test_a_token_near_its_end_matters(days: int, keys: set[str]) -> None:
    """Thirty days are enough to make a new one."""
    check = TokenCheck(NOW, "setup", expires_at=NOW + timedelta(days=days))
    assert set(_standing(_observed(), check=check)) == keys


def test_no_alarm_about_expiry_by_an_untrusted_clock() -> None:
    """A clock that is wrong by years must not cry wolf; that it is wrong is told instead."""
    check = TokenCheck(NOW, "setup", expires_at=NOW)
    found = matters([_observed()], UNTRUSTED, check, _at(2), is_clock_needed=True)
    assert [matter.key for matter in found.standing] == ["clock"]
    assert {"expiring:home", "expired:home", "token-expiry"} <= found.unclear


def test_an_untrusted_clock_that_nothing_depends_on_is_no_matter() -> None:
    """At boot, before the network is up, nobody is bothered."""
    assert matters([_observed()], UNTRUSTED, None, NOW).standing == ()


def _setback(key: str, *, failures: int = 1, is_permanent: bool = False) -> Setback:
    """Something that failed at NOW for the first time."""
    later = NOW + timedelta(hours=1)
    return Setback(key, "setup", NOW, NOW, later, failures, "no reply", "wait", is_permanent)


def _beside(
    observed: Observed | None = None, *setbacks: Setback, leftovers: int = 0, now: datetime = NOW
) -> list[Matter]:
    """What stands beside certificates and targets that are well."""
    found = matters(
        [observed or _observed()], TRUSTED, None, now, setbacks=setbacks, leftovers=leftovers
    )
    return list(found.standing)


def test_litter_matters_after_a_day() -> None:
    """Until then it may go by itself; what is gone is no matter any more."""
    setback = _setback("clean-up")
    assert _beside(None, setback, leftovers=2, now=NOW + timedelta(hours=23)) == []
    assert _beside(None, setback, leftovers=0, now=NOW + DAY) == []
    assert _beside(None, leftovers=2, now=NOW + DAY) == []
    (matter,) = _beside(None, setback, leftovers=2, now=NOW + DAY)
    assert matter.what == "2 TXT records of ours cannot be removed: no reply"
    assert (matter.key, matter.since, matter.todo) == ("litter", NOW, "wait")
    (matter,) = _beside(None, setback, leftovers=1, now=NOW + DAY)
    assert matter.what.startswith("1 TXT record of ours")


def test_litter_is_not_worth_a_word_beside_the_token() -> None:
    """The token is why."""
    check = TokenCheck(NOW, "setup", what="it is revoked")
    found = matters(
        [_observed()], TRUSTED, check, NOW + DAY, setbacks=[_setback("clean-up")], leftovers=1
    )
    assert [matter.key for matter in found.standing] == ["token"]


def test_a_token_that_nobody_has_vouched_for_in_a_day_matters() -> None:
    """The provider may be down for an hour without anybody's being called."""
    setback = _setback("token")
    assert _beside(None, setback, now=NOW + timedelta(hours=23)) == []
    (matter,) = _beside(None, setback, now=NOW + DAY)
    assert matter.what == "nobody tells whether the API token is good: no reply"
    assert (matter.key, matter.since, matter.todo) == ("token", NOW, "wait")


def test_a_revocation_that_fails_matters() -> None:
    """From the second failure on, or at once where trying again is no use."""
    pending = PendingRevocation("home", 1, "ab" * 32, RevocationReason.KEY_COMPROMISE, NOW)
    observed, key = _observed(revocations=(pending,)), f"revocation:home:{'ab' * 32}"
    assert _beside(observed, _setback(key)) == []
    assert _beside(observed, _setback(f"revocation:home:{'cd' * 32}", failures=2)) == []
    assert _beside(_observed(), _setback(key, failures=2)) == []
    for setback in (_setback(key, failures=2), _setback(key, is_permanent=True)):
        (matter,) = _beside(observed, setback)
        assert matter.key == key
        assert matter.what == "a replaced certificate home could not be revoked: no reply"
        assert (matter.since, matter.todo) == (NOW, "wait")
    (matter,) = _beside(observed, replace(_setback(key, failures=2), hint=""), now=NOW - DAY)
    assert (matter.since, matter.todo) == (NOW - DAY, "see `certwarden history home`")


def test_records_that_cannot_be_kept_matter() -> None:
    """A full disk or a failing card is told before anything else comes of it."""
    trouble = StoreError("the disk is full", "free some space")
    (matter,) = matters([_observed()], TRUSTED, None, NOW, trouble=trouble).standing
    assert matter == Matter(
        "records",
        "certwarden's own records cannot be kept: the disk is full",
        NOW,
        "free some space",
    )


@pytest.mark.parametrize(
    ("key", "is_bearable_"),
    [
        ("expired:home", False),
        ("expiring:home", False),
        ("failing:home", False),
        ("revocation:home:ab", False),
        ("target:node-red", True),
        ("token-expiry", True),
        ("litter", True),
    ],
)
def test_what_a_heartbeat_may_not_hide(key: str, *, is_bearable_: bool) -> None:
    """All is not well while a certificate is at its end, fails, or is still to be revoked."""
    other = Matter("token-expiry", "it ends soon", NOW, "")
    assert is_bearable(Findings((other, Matter(key, "it stands", NOW, "")))) == is_bearable_
    assert is_bearable(Findings(()))


def test_a_failed_deploy_matters() -> None:
    """Served is not stored, and will not be without help: what the deploy says, since when."""
    wanted = _stored().certificate.fingerprint
    failed = a_deploy_record(
        fingerprint=wanted,
        outcome=DeployOutcome.FAILED,
        begun_at=NOW - DAY,
        what="nodered.service did not start",
        hint="see its journal",
    )
    other = Served(a_pair().certificate)
    observed = _with_target(_observed(seen=other), last_deploy=failed, repeats=(failed,))
    matter = _standing(observed)["target:node-red"]
    assert "nodered.service did not start" in matter.what
    assert matter.since == NOW - DAY
    assert matter.todo == "see its journal"


def test_a_restart_that_waits_for_its_window_is_no_matter() -> None:
    """Another certificate than the stored one is served for less than a day: that may be meant."""
    observed = _observed(seen=Served(a_pair().certificate))
    assert _standing(observed, NOW + timedelta(hours=23)) == {}


def test_a_target_that_stays_behind_matters() -> None:
    """After a day no window is an excuse any more."""
    observed = _observed(seen=Served(a_pair().certificate))
    assert set(_standing(observed, NOW + DAY)) == {"target:node-red"}


def test_a_target_that_speaks_no_tls_matters() -> None:
    """Somebody answers there, but without the certificate."""
    observed = _observed(seen=NoHandshake("it speaks plain HTTP"))
    assert "it speaks plain HTTP" in _standing(observed)["target:node-red"].what


def test_a_target_that_was_stopped_is_no_matter() -> None:
    """Whoever stopped the program knows."""
    assert _standing(_observed(seen=Unreachable("nobody answers")), NOW + 2 * DAY) == {}


def test_a_stopped_target_has_not_recovered() -> None:
    """That nobody answers any more does not put right what was wrong before."""
    found = matters([_observed(seen=Unreachable("nobody answers"))], TRUSTED, None, NOW)
    assert found.unclear == {"target:node-red"}


def test_a_store_that_cannot_be_read_matters() -> None:
    """Every pass fails then; what was told of the certificate's end is not taken back."""
    observed = replace(
        _observed(trouble=StoreError("its key is damaged", "restore it")), stored=None
    )
    found = matters([observed], TRUSTED, None, NOW)
    assert [matter.key for matter in found.standing] == ["failing:home"]
    assert {"expiring:home", "target:node-red"} <= found.unclear


# ── when it is said ───────────────────────────────────────────────────────────────────────────────


def _matter(key: str = "token", *, since: datetime = NOW, covers: Sequence[str] = ()) -> Matter:
    return Matter(key, f"{key} is wrong", since, f"mend {key}", tuple(covers))


def _told(key: str = "token", *, since: datetime = NOW, told_at: datetime = NOW) -> Told:
    return Told(key, since, told_at, f"{key} is wrong")


def _send(*standing: Matter, told: Sequence[Told] = (), now: datetime = NOW) -> Outbox:
    return to_send(Findings(standing), told, now)


def test_a_new_matter_is_told_at_once() -> None:
    """What, since when, what to do."""
    (message,) = _send(_matter(since=NOW - DAY)).messages
    assert message.title == "token is wrong"
    assert message.text == "Token is wrong.\nSince: 2026-11-21 12:00 UTC\nTo do: mend token"
    assert message.tell == (Told("token", NOW - DAY, NOW, "token is wrong"),)


def test_the_matters_of_a_pass_make_one_message() -> None:
    """One message may hold several matters."""
    (message,) = _send(_matter("token"), _matter("failing:home")).messages
    assert message.title == "2 matters need attention"
    assert "mend token" in message.text
    assert "mend failing:home" in message.text
    assert len(message.tell) == 2


def test_a_standing_matter_is_not_told_twice_a_day() -> None:
    """What was told less than a day ago is not told again."""
    assert _send(_matter(), told=[_told()], now=NOW + DAY - timedelta(seconds=1)) == Outbox()


def test_a_standing_matter_is_told_again_less_and_less_often() -> None:
    """After 1, 2, 4, 8 days, then weekly."""
    told: tuple[Told, ...] = ()
    days = []
    for hour in range(30 * 24):
        now = NOW + timedelta(hours=hour)
        for message in _send(_matter(), told=told, now=now).messages:
            days.append(hour / 24)
            told = message.tell
    assert days == [0, 1, 2, 4, 8, 15, 22, 29]


def test_what_is_put_right_is_told_once() -> None:
    """A person who was alarmed hears that it is over, and since when it was so."""
    (message,) = _send(told=[_told()], now=NOW + timedelta(minutes=5)).messages
    assert message.title == "recovered"
    assert "No longer so: token is wrong" in message.text
    assert _send(told=message.tell, now=NOW + timedelta(minutes=6)) == Outbox()


def test_what_comes_back_within_a_day_waits_until_it_is_over() -> None:
    """A target that fails and recovers by turns does not send a message each time."""
    over = Told("token", NOW, NOW, "")
    assert _send(_matter(), told=[over], now=NOW + timedelta(hours=23)) == Outbox()
    assert len(_send(_matter(), told=[over], now=NOW + DAY).messages) == 1


def test_a_day_after_it_was_put_right_it_is_forgotten() -> None:
    """Nothing is kept for ever."""
    over = Told("token", NOW, NOW, "")
    assert _send(told=[over], now=NOW + DAY) == Outbox(forget=("token",))


def test_what_cannot_be_told_now_is_neither_repeated_nor_taken_back() -> None:
    """Under an untrusted clock an alarm about expiry stays as it is."""
    findings = Findings((), frozenset({"token"}))
    assert to_send(findings, [_told()], NOW + 30 * DAY) == Outbox()


def test_a_lesser_matter_is_forgotten_without_a_word() -> None:
    """Expired takes the place of expiring, which has not recovered."""
    outbox = _send(_matter("expired:home", covers=["expiring:home"]), told=[_told("expiring:home")])
    assert [message.title for message in outbox.messages] == ["expired:home is wrong"]
    assert outbox.forget == ("expiring:home",)


def test_an_instant_in_the_future_counts_as_long_ago() -> None:
    """What a wrong clock wrote down does not keep anybody silent for years."""
    later = NOW + 1000 * DAY
    (message,) = _send(_matter(), told=[_told(since=later, told_at=later)]).messages
    assert message.tell == (Told("token", NOW, NOW, "token is wrong"),)


def test_a_failed_unit_recovers_by_a_good_pass_only() -> None:
    """A pass that fails as well is no sign that the unit is well."""
    told = [_told("unit:certwarden.service")]
    assert to_send(Findings(()), told, NOW + DAY, is_good=False) == Outbox()
    assert len(to_send(Findings(()), told, NOW + DAY, is_good=True).messages) == 1


def test_a_failed_unit_says_where_to_look() -> None:
    """What OnFailure= sends names the unit and its journal."""
    (message,) = _send(unit_matter("certwarden.service", NOW)).messages
    assert message.title == "the unit certwarden.service has failed"
    assert "journalctl -u certwarden.service" in message.text


@st.composite
def _lives(draw: st.DrawFn) -> list[tuple[timedelta, frozenset[str], frozenset[str], bool]]:
    """Passes: the time until each, what stands then, what is unclear, whether sending works."""
    keys = st.frozensets(st.sampled_from(["a", "b"]))
    gaps = st.timedeltas(timedelta(seconds=10), timedelta(hours=30))
    return draw(st.lists(st.tuples(gaps, keys, keys, st.booleans()), max_size=60))


def _messages(
    life: Sequence[tuple[timedelta, frozenset[str], frozenset[str], bool]],
) -> Iterator[tuple[datetime, bool, frozenset[str], tuple[Told, ...], frozenset[str]]]:
    """When, whether it was taken, what stood, what was told, and what was known before."""
    known: dict[str, Told] = {}
    now = NOW
    for gap, standing, unclear, works in life:
        now += gap
        findings = Findings(tuple(_matter(key, since=now) for key in standing), unclear - standing)
        outbox = to_send(findings, list(known.values()), now)
        for key in outbox.forget:
            known.pop(key)
        before = frozenset(known)
        tell = tuple(told for message in outbox.messages for told in message.tell)
        if works:
            known |= {each.key: each for each in tell}
        yield now, works, standing, tell, before


@given(_lives())
def test_never_twice_a_day_for_the_same_thing(
    life: list[tuple[timedelta, frozenset[str], frozenset[str], bool]],
) -> None:
    """Whatever comes and goes: one alarm and one recovery a day at most, for each matter."""
    last: dict[tuple[str, bool], datetime] = {}
    for now, works, _, tell, _ in _messages(life):
        for each in tell:
            kind = (each.key, bool(each.text))
            assert kind not in last or now - last[kind] >= DAY
            if works:
                last[kind] = now


@given(_lives())
def test_what_stands_is_told_within_a_day(
    life: list[tuple[timedelta, frozenset[str], frozenset[str], bool]],
) -> None:
    """No matter is swallowed: new, it is told at once, and again until somebody was reached."""
    for _, _, standing, tell, before in _messages(life):
        told = {each.key for each in tell if each.text}
        assert standing - before <= told
        assert told <= standing
