"""What a pass asks of others: when to renew, and whether the API token is good."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NoReturn

import pytest

from certwarden.errors import Error, IssuerError, StoreError, ZoneError
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.questions import ask_about_renewal, check_token, note_working_token
from certwarden.model import Observed, RenewalAnswer, RenewalWindow, TokenCheck, TokenHealth
from certwarden.pki.certificate import renewal_certificate_id
from tests.builders import DIRECTORY, NOW, a_certificate_spec, a_stored
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND
from tests.lifecycle.house import House

WINDOW = RenewalWindow(NOW + 60 * DAY, NOW + 62 * DAY)
ANSWER = RenewalAnswer(WINDOW, 6 * HOUR)


@pytest.fixture
def house() -> House:
    house = House()
    house.put(a_stored())
    house.world.infos.default = ANSWER
    return house


def ask(house: House) -> Observed:
    (seen,) = ask_about_renewal(house.world, Books(house.world.reporter), [house.seen()], house.now)
    return seen


def token_error(house: House, now: datetime) -> Error | None:
    return check_token(house.world, Books(house.world.reporter), now)


def disk_is_full(*_: object) -> NoReturn:
    raise StoreError("the disk is full", "free some space")


def questions(house: House) -> int:
    return len(house.world.infos.asked)


# ── renewal information ───────────────────────────────────────────────────────────────────────────


def test_the_ca_that_issued_it_is_asked_and_its_answer_kept(house: House) -> None:
    """By the certificate's id; what it said is on disk before anything is done about it."""
    stored = house.stored()
    info = ask(house).info
    assert info is not None
    assert (info.window, info.asked_at, info.ask_again_at) == (WINDOW, NOW, NOW + 6 * HOUR)
    certificate_id = renewal_certificate_id(stored.pair.chain_pem[0])
    assert house.world.infos.asked == [(DIRECTORY, certificate_id)]
    assert house.seen().info == info


def test_it_is_not_asked_again_before_its_time(house: House) -> None:
    """Its Retry-After holds across runs."""
    ask(house)
    house.after(6 * HOUR - SECOND)
    assert ask(house).info is not None
    assert questions(house) == 1
    house.after(SECOND)
    ask(house)
    assert questions(house) == 2


def test_an_answer_that_a_wrong_clock_dated_ahead_is_asked_for_again(house: House) -> None:
    """It would have to be believed for years."""
    house.after(1000 * DAY)
    house.put(a_stored(version=2, obtained_at=house.now))
    ask(house)
    house.after(-1000 * DAY)
    ask(house)
    assert questions(house) == 2


def test_a_new_certificate_is_asked_about_at_once(house: House) -> None:
    """What was said of another one does not count."""
    ask(house)
    house.put(a_stored(version=2))
    ask(house)
    assert questions(house) == 2


def test_an_answer_that_does_not_come_leaves_the_last_one_in_force(house: House) -> None:
    """A person hears of it; it is asked again after six hours at most, or when it said."""
    ask(house)
    house.after(6 * HOUR)
    house.world.infos.error = IssuerError("the CA is down", "wait")
    info = ask(house).info
    assert info is not None
    assert info.window == WINDOW
    assert info.ask_again_at == house.now + 6 * HOUR
    assert house.warnings == ["the CA did not say when to renew: the CA is down"]


@pytest.mark.parametrize(
    ("days", "retry_after", "wait"),
    [
        (90, None, 6 * HOUR),
        (4, None, 4 * DAY / 20),
        (1 / 1440, None, MINUTE),
        (90, 2 * HOUR, 2 * HOUR),
        (90, 2 * DAY, 2 * DAY),
        (90, SECOND, MINUTE),
    ],
)
def test_how_long_a_failed_question_rests(
    days: float, retry_after: timedelta | None, wait: timedelta
) -> None:
    """A twentieth of the lifetime between a minute and six hours; a Retry-After of the CA's."""
    house = House()
    house.put(a_stored(days=days))
    house.world.infos.error = IssuerError("no reply", retry_after=retry_after)
    info = ask(house).info
    assert info is not None
    assert info.window is None
    assert info.ask_again_at == NOW + wait


def test_a_window_that_moved_is_told(house: House) -> None:
    """The CA may be about to revoke; what it says about why is passed on."""
    ask(house)
    house.after(6 * HOUR)
    assert house.warnings == []
    moved = RenewalWindow(NOW, NOW + HOUR, "https://ca.example/why")
    house.world.infos.default = RenewalAnswer(moved, 6 * HOUR)
    ask(house)
    assert house.warnings == [
        "the CA now suggests to renew it from 2026-11-22 12:00 UTC on (see https://ca.example/why)"
    ]
    house.after(6 * HOUR)
    ask(house)
    assert len(house.warnings) == 1
    house.after(6 * HOUR)
    house.world.infos.default = RenewalAnswer(None, 6 * HOUR)
    assert ask(house).info is not None
    assert len(house.warnings) == 1


def test_nobody_is_asked_about_what_is_missing_or_expired(house: House) -> None:
    """There is nothing to be suggested; unreadable files neither."""
    house.after(90 * DAY)
    ask(house)
    missing = House()
    ask(missing)
    assert questions(house) == questions(missing) == 0
    broken = replace(house.seen(), trouble=StoreError("may not be read"))
    ask_about_renewal(house.world, Books(house.world.reporter), [broken], NOW)
    assert questions(house) == 0


def test_one_ca_that_is_down_keeps_no_other_from_answering() -> None:
    """Certificates are asked about side by side, each for itself."""
    house = House(a_certificate_spec(), a_certificate_spec("barn"))
    house.put(a_stored())
    barn = house.put(a_stored("barn"))
    barn_id = renewal_certificate_id(barn.pair.chain_pem[0])
    real_ask = house.world.infos.ask

    def answer(directory_url: str, certificate_id: str) -> RenewalAnswer:
        if certificate_id != barn_id:
            raise IssuerError("no reply")
        return real_ask(directory_url, certificate_id)

    house.world.infos.default = ANSWER
    house.world.infos.ask = answer  # type: ignore[method-assign]
    seen = ask_about_renewal(
        house.world, Books(house.world.reporter), [house.seen(spec) for spec in house.specs], NOW
    )
    windows = [each.info.window if each.info else None for each in seen]
    assert windows == [None, WINDOW]


# ── the API token ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def unchecked() -> House:
    house = House()
    house.world.watch.check = None
    return house


def test_a_good_token_is_looked_at_daily(unchecked: House) -> None:
    """And when it ends is written down."""
    house = unchecked
    ends_at = NOW + 20 * DAY
    house.zone.health = TokenHealth(ends_at)
    assert check_token(house.world, Books(house.world.reporter), NOW) is None
    assert house.world.watch.check == TokenCheck(NOW, "", ends_at)
    assert check_token(house.world, Books(house.world.reporter), NOW + 23 * HOUR) is None
    assert house.zone.calls_of("verify") == 1
    assert check_token(house.world, Books(house.world.reporter), NOW + DAY) is None
    assert house.zone.calls_of("verify") == 2


def test_another_token_is_looked_at_at_once(unchecked: House) -> None:
    """It is known by a digest."""
    check_token(unchecked.world, Books(unchecked.world.reporter), NOW)
    unchecked.world.setups[None] = "another"
    check_token(unchecked.world, Books(unchecked.world.reporter), NOW)
    assert unchecked.zone.calls_of("verify") == 2


def test_a_refused_token_is_an_error_until_it_is_looked_at_again(unchecked: House) -> None:
    """It is asked about once a day; that it stands is said in each pass."""
    house = unchecked
    house.zone.fail("verify", ZoneError("it is revoked", "make another", permanent=True))
    for hours in (0, 1, 23):
        error = check_token(house.world, Books(house.world.reporter), NOW + hours * HOUR)
        assert error is not None
        assert (error.what, error.hint, error.permanent) == ("it is revoked", "make another", True)
    assert house.zone.calls_of("verify") == 1
    assert house.errors == ["it is revoked"] * 3
    assert check_token(house.world, Books(house.world.reporter), NOW + DAY) is None


def test_a_provider_that_is_down_says_nothing_about_the_token(unchecked: House) -> None:
    """It is asked again an hour later, and until then the error stands; an answer ends that."""
    house, last = unchecked, NOW + 2 * HOUR
    for at in (NOW, NOW + HOUR):
        house.zone.fail("verify", ZoneError("no reply", "wait"))
        for minutes in (0, 10, 59):
            error = token_error(house, at + minutes * MINUTE)
            assert error is not None
            assert (error.what, error.hint, error.permanent) == ("no reply", "wait", False)
    assert house.zone.calls_of("verify") == 2
    assert house.world.watch.check is None
    (setback,) = house.world.watch.setbacks()
    assert (setback.failures, setback.since, setback.again_at) == (2, NOW, last)
    assert token_error(house, last) is None
    assert house.world.watch.setbacks() == ()


def test_another_token_does_not_wait_for_the_last_ones_rest(unchecked: House) -> None:
    """Whoever puts in a new one sees at once whether it is good."""
    unchecked.zone.fail("verify", ZoneError("status 403, code none"))
    token_error(unchecked, NOW)
    unchecked.world.setups[None] = "another"
    assert token_error(unchecked, NOW) is None


def test_a_refusal_ends_the_looks_in_vain(unchecked: House) -> None:
    """What the provider has said is what counts from then on; and once a day."""
    unchecked.zone.fail("verify", ZoneError("no reply"))
    unchecked.zone.fail("verify", ZoneError("it is revoked", permanent=True))
    token_error(unchecked, NOW)
    token_error(unchecked, NOW + HOUR)
    error = token_error(unchecked, NOW + 24 * HOUR)
    assert error is not None
    assert error.permanent
    assert unchecked.zone.calls_of("verify") == 2


def test_an_order_ends_the_looks_in_vain(unchecked: House) -> None:
    """It shows that the provider answers, and that the token is good."""
    unchecked.world.watch.check = TokenCheck(NOW - 2 * DAY, "")
    unchecked.zone.fail("verify", ZoneError("no reply"))
    token_error(unchecked, NOW)
    note_working_token(unchecked.world, Books(unchecked.world.reporter), NOW)
    assert unchecked.world.watch.setbacks() == ()


@pytest.mark.parametrize("entry", ["save_token_check", "save_setback", "token_check", "setbacks"])
def test_records_that_cannot_be_used_keep_nobody_from_looking(
    unchecked: House, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """A full disk, or a database that cannot be read."""
    monkeypatch.setattr(unchecked.world.watch, entry, disk_is_full)
    unchecked.zone.fail("verify", ZoneError("no reply"))
    assert token_error(unchecked, NOW) is not None
    assert token_error(unchecked, NOW + DAY) is None
    assert unchecked.zone.calls_of("verify") == 2


def test_an_answer_that_cannot_be_kept_counts_now(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass goes by it, and says once that the records cannot be written."""
    monkeypatch.setattr(house.world.suggestions, "save_renewal_info", disk_is_full)
    books = Books(house.world.reporter)
    for _ in range(2):
        (seen,) = ask_about_renewal(house.world, books, [house.seen()], NOW)
        assert seen.info is not None
        assert seen.info.window == WINDOW
    assert house.errors == ["the disk is full"]
    assert books.trouble is not None


def test_an_order_shows_that_a_token_is_good(unchecked: House) -> None:
    """A new token, or one that was refused, need not be looked at before tomorrow."""
    house, watch = unchecked, unchecked.world.watch
    note_working_token(house.world, Books(house.world.reporter), NOW)
    assert watch.check == TokenCheck(NOW, "")
    note_working_token(house.world, Books(house.world.reporter), NOW + HOUR)
    assert watch.check == TokenCheck(NOW, "")
    watch.check = TokenCheck(NOW, "", None, "it is revoked", "make another")
    note_working_token(house.world, Books(house.world.reporter), NOW + HOUR)
    assert watch.check == TokenCheck(NOW + HOUR, "")
    house.world.setups[None] = "another"
    note_working_token(house.world, Books(house.world.reporter), NOW + HOUR)
    assert watch.check == TokenCheck(NOW + HOUR, "another")
    assert check_token(house.world, Books(house.world.reporter), NOW + HOUR) is None
    assert house.zone.calls == []
