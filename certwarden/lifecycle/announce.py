"""The end of a pass: a person hears of what matters, and the heartbeat of a pass that was good.

Owns the order of sending and writing down; what is worth a message is decided by `alarms`. That
nobody could be reached is a warning, and no reason for a pass to fail.

Never twice a day for the same thing, on a full disk neither: a message is prepared in the records
before it is sent, and settled there afterwards. Where they take no entry, one message a day goes
out all the same, by a mark that needs no room. Where not even that can be set, as on a file system
that has turned read-only, none does: it would be one in each pass. The missing heartbeat tells.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from certwarden.errors import Busy, Error, NotifyError, StoreError
from certwarden.lifecycle.alarms import (
    Findings,
    Message,
    Outbox,
    expiry_matters,
    is_bearable,
    matters,
    to_send,
    unit_matter,
)
from certwarden.lifecycle.authority_alarms import authority_expiry_matters
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.judge import ClockJudge
from certwarden.model import Observed, ObservedAuthority, Told
from certwarden.ports import Level, Messenger, Neighbours, Watch

SUBJECT = "notify"
DAY = timedelta(days=1)


def announce(
    world: Neighbours,
    books: Books,
    judge: ClockJudge,
    observed: Sequence[Observed],
    now: datetime,
    *,
    is_good: bool,
    authority: ObservedAuthority | None = None,
) -> None:
    """Tells a person what there is to tell after a whole pass, and the watchdog if all is well.

    `observed` is everything configured as it stands after the pass, probed: what it leaves out
    would pass for put right. What could not be sent is tried again by the next pass.
    """
    try:
        messenger = world.messenger()
        if messenger is None:
            return
        told = books.read(world.watch.told, ())
        findings = _findings(world, books, judge, observed, now, authority=authority)
        if books.trouble is not None:  # what is not found may only not have been read
            doubtful = {each.key for each in told} - {each.key for each in findings.standing}
            findings = replace(findings, unclear=findings.unclear | doubtful)
        outbox = to_send(findings, told, now, is_good=is_good)
        post = partial(_post, messenger)
        if authority is not None and messenger.has_readers:
            post = partial(_post_with_links, world, messenger, observed, authority)
        trouble = _send(world.watch, post, outbox, told, now)
        if is_good and books.trouble is None and is_bearable(findings):
            trouble = _beat(messenger) or trouble
    except Error as error:
        trouble = error
    if trouble is not None:
        world.reporter.event(Level.WARNING, SUBJECT, trouble.what, trouble.hint)


def announce_unit_failure(
    world: Neighbours, messenger: Messenger, unit: str, now: datetime
) -> Error | None:
    """Tells a person that a systemd unit has failed, unless that was told within the last day.

    Where it cannot be looked up whether it was told, it is told. Returns what went wrong.
    """
    matter = unit_matter(unit, now)
    try:
        told = [each for each in world.watch.told() if each.key == matter.key]
    except Error:  # what made the unit fail may have made this fail
        told = []
    try:
        outbox = to_send(Findings((matter,)), told, now)
        return _send(world.watch, partial(_post, messenger), outbox, told, now)
    except Error as error:
        return error


def _findings(
    world: Neighbours,
    books: Books,
    judge: ClockJudge,
    observed: Sequence[Observed],
    now: datetime,
    *,
    authority: ObservedAuthority | None,
) -> Findings:
    token_check = books.read(world.watch.token_check, None)
    setbacks = books.read(world.watch.setbacks, ())
    leftovers = books.read(world.journal.leftovers, ())
    is_clock_needed = judge.is_needed
    # A server is asked for the time only if something might have to be said about expiry.
    ends = (*expiry_matters(observed, token_check, now), *authority_expiry_matters(authority, now))
    needs_date = bool(ends)
    verdict = judge.assess(now, needs_date=needs_date)
    return matters(
        observed,
        verdict,
        token_check,
        now,
        is_clock_needed=is_clock_needed,
        setbacks=setbacks,
        leftovers=len(leftovers),
        trouble=books.trouble,
        authority=authority,
    )


def _send(
    watch: Watch,
    post: Callable[[Message], NotifyError | None],
    outbox: Outbox,
    told: Sequence[Told],
    now: datetime,
) -> Error | None:
    """Sends each message between two entries, so that a failure is made up for, and no more.

    Returns what kept a message from being sent.
    """
    trouble: Error | None = None
    before = {each.key: each for each in told}
    for message in outbox.messages:
        is_prepared = _prepare(watch, message, before, now)
        if not is_prepared and not _is_first_of_the_day(watch, now):
            continue
        failure = post(message)
        if failure is None or failure.is_partial:
            _settle(watch, message, now)
        elif is_prepared:
            _give_up(watch, message, before)
        else:
            with suppress(StoreError):
                watch.mark(now - DAY)
        trouble = failure or trouble
    for key in outbox.forget:
        watch.forget(key)
    return trouble


def _prepare(watch: Watch, message: Message, before: dict[str, Told], now: datetime) -> bool:
    """Whether the records take entries: those of before, or such as leave a new matter due."""
    try:
        for each in message.tell:
            watch.tell(before.get(each.key) or Told(each.key, each.since, now - DAY, ""))
    except (StoreError, Busy):
        return False
    return True


def _settle(watch: Watch, message: Message, now: datetime) -> None:
    try:
        for each in message.tell:
            watch.tell(each)
    except (StoreError, Busy):  # the disk has just filled up, or was full before
        with suppress(StoreError):
            watch.mark(now)


def _give_up(watch: Watch, message: Message, before: dict[str, Told]) -> None:
    with suppress(StoreError, Busy):
        for each in message.tell:
            if each.key not in before:
                watch.forget(each.key)


def _is_first_of_the_day(watch: Watch, now: datetime) -> bool:
    """Whether a message may go out without the records; it is marked as sent.

    A mark in the future is a wrong clock's.
    """
    try:
        marked_at = watch.marked_at()
        if marked_at is not None and marked_at <= now < marked_at + DAY:
            return False
        watch.mark(now)
    except StoreError:
        return False
    return True


def _post(messenger: Messenger, message: Message) -> NotifyError | None:
    try:
        messenger.send(message.title, message.text)
    except NotifyError as error:
        return error
    return None


def _post_with_links(
    world: Neighbours,
    messenger: Messenger,
    observed: Sequence[Observed],
    authority: ObservedAuthority,
    message: Message,
) -> NotifyError | None:
    """Puts invitations into a message about clients near their end; the records know of none."""
    if not message.ending:
        return _post(messenger, message)
    from certwarden.lifecycle.reinvite import make_links, take_back, with_links  # it signs

    links = make_links(world, message.ending, observed, authority)
    failure = _post(messenger, replace(message, text=with_links(message.text, links)))
    if failure is not None and not failure.is_partial:
        take_back(world, links)
    return failure


def _beat(messenger: Messenger) -> NotifyError | None:
    try:
        messenger.heartbeat()
    except NotifyError as error:
        return error
    return None
