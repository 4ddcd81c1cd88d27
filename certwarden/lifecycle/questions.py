"""What a pass asks of others before it plans, and at its end: the CA when to renew, the provider
whether the API token is good. The answers are kept, and count in this pass even if they cannot be;
asking fails without harm.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from certwarden.errors import Error, ZoneError
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.plan import ask_at, token_check_at
from certwarden.lifecycle.setbacks import TOKEN, after_failure, setback_of
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import Observed, RenewalAnswer, RenewalInfo, Setback, Stored, TokenCheck
from certwarden.pki.certificate import renewal_certificate_id
from certwarden.ports import Level, Neighbours

LONGEST_WAIT = timedelta(hours=6)  # after an answer that did not come
SHORTEST_WAIT = timedelta(minutes=1)
WAIT_OF_LIFETIME = 20


def ask_about_renewal(
    world: Neighbours, books: Books, observed: Sequence[Observed], now: datetime
) -> tuple[Observed, ...]:
    """The same with the CA's newest suggestions (RFC 9773), where it is time to ask for them."""
    asked = [seen for seen in observed if (at := ask_at(seen, now)) and at <= now]
    tasks = [partial(_ask, world, books, seen, seen.stored, now) for seen in asked if seen.stored]
    answers = {info.fingerprint: info for info in side_by_side(tasks, world.clock)}
    return tuple(
        replace(seen, info=answers.get(seen.stored.certificate.fingerprint, seen.info))
        if seen.stored
        else seen
        for seen in observed
    )


def check_token(world: Neighbours, books: Books, now: datetime) -> Error | None:
    """Looks at the API token once a day, or when it is another one; what is wrong with it.

    What was wrong at the last look stands until the next, which is made an hour later where nobody
    could tell whether the token is good.
    """
    setup = world.setup(None)
    check = books.read(world.watch.token_check, None)
    setback = setback_of(books.read(world.watch.setbacks, ()), TOKEN)
    if token_check_at(check, setup, now, setback) <= now:
        error = _look_at_token(world, books, setback, now)
    elif setback is not None:
        error = Error(setback.what, setback.hint)
    else:
        error = Error(check.what, check.hint, permanent=True) if check and check.what else None
    if error is not None:
        world.reporter.event(Level.ERROR, "API token", error.what, error.hint)
    return error


def note_working_token(world: Neighbours, books: Books, now: datetime) -> None:
    """An order has just shown that the token is good: a new one is not looked at before tomorrow.

    One that is known to be good keeps its daily turn, for only a look tells when it ends.
    """
    setup = world.setup(None)
    check = books.read(world.watch.token_check, None)
    if check is None or check.setup != setup or check.what:
        _save_token_check(world, books, TokenCheck(now, setup))
    else:
        _end_looks_in_vain(world, books)


def _look_at_token(
    world: Neighbours, books: Books, setback: Setback | None, now: datetime
) -> Error | None:
    setup = world.setup(None)
    try:
        health = world.zone().verify()
    except ZoneError as error:
        if error.permanent:
            _save_token_check(world, books, TokenCheck(now, setup, None, error.what, error.hint))
        else:
            failed = after_failure(setback, TOKEN, setup, error, now)
            books.write(partial(world.watch.save_setback, failed))
        return error
    _save_token_check(world, books, TokenCheck(now, setup, health.expires_at))
    return None


def _save_token_check(world: Neighbours, books: Books, check: TokenCheck) -> None:
    books.write(partial(world.watch.save_token_check, check))
    _end_looks_in_vain(world, books)


def _end_looks_in_vain(world: Neighbours, books: Books) -> None:
    if setback_of(books.read(world.watch.setbacks, ()), TOKEN) is not None:
        books.write(partial(world.watch.clear_setback, TOKEN))


def _ask(
    world: Neighbours, books: Books, seen: Observed, stored: Stored, now: datetime
) -> RenewalInfo:
    """Asks, and keeps the answer; one that does not come leaves the last one in force."""
    leaf = stored.certificate
    certificate_id = renewal_certificate_id(stored.pair.chain_pem[0])
    window = seen.info.window if seen.info else None
    wait = LONGEST_WAIT
    try:
        if certificate_id is not None:
            answer = world.renewal_infos().ask(stored.directory_url, certificate_id)
            window, wait = answer.window, answer.retry_after
            _tell(world, seen, answer)
    except Error as error:
        usual = min(LONGEST_WAIT, max(SHORTEST_WAIT, leaf.lifetime / WAIT_OF_LIFETIME))
        wait = max(error.retry_after or usual, SHORTEST_WAIT)
        text = f"the CA did not say when to renew: {error.what}"
        world.reporter.event(Level.WARNING, stored.name, text, error.hint)
    info = RenewalInfo(leaf.fingerprint, window, now, now + wait)
    books.write(partial(world.suggestions.save_renewal_info, info))
    return info


def _tell(world: Neighbours, seen: Observed, answer: RenewalAnswer) -> None:
    """That a CA has moved its window is worth a line: it may be about to revoke."""
    before = seen.info.window if seen.info else None
    if before is None or answer.window is None or before == answer.window:
        return
    text = f"the CA now suggests to renew it from {answer.window.start:%Y-%m-%d %H:%M} UTC on"
    if answer.window.explanation_url:
        text += f" (see {answer.window.explanation_url})"
    world.reporter.event(Level.WARNING, seen.spec.name, text)
