"""The end of a pass: a person hears of what matters, and the heartbeat of a pass that was good.

Owns the order of sending and writing down; what is worth a message is decided by `alarms`. That
nobody could be reached is a warning, and no reason for a pass to fail.
"""

from collections.abc import Sequence
from datetime import datetime

from certwarden.errors import Error, NotifyError
from certwarden.lifecycle.alarms import (
    Findings,
    Message,
    Outbox,
    expiry_matters,
    matters,
    to_send,
    unit_matter,
)
from certwarden.lifecycle.judge import ClockJudge
from certwarden.model import Observed
from certwarden.ports import Level, Messenger, Neighbours, Watch

SUBJECT = "notify"


def announce(
    world: Neighbours,
    judge: ClockJudge,
    observed: Sequence[Observed],
    now: datetime,
    *,
    is_good: bool,
) -> Error | None:
    """Tells a person what there is to tell after a whole pass; returns what kept us from it.

    `observed` is everything configured as it stands after the pass, probed: what it leaves out
    would pass for put right. What could not be sent is tried again by the next pass.
    """
    try:
        messenger = world.messenger()
        if messenger is None:
            return None
        findings = _findings(world, judge, observed, now)
        outbox = to_send(findings, world.watch.told(), now, is_good=is_good)
        trouble = _send(world.watch, messenger, outbox)
        if is_good:
            trouble = _beat(messenger) or trouble
    except Error as error:
        trouble = error
    if trouble is not None:
        world.reporter.event(Level.WARNING, SUBJECT, trouble.what, trouble.hint)
    return trouble


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
        return _send(world.watch, messenger, to_send(Findings((matter,)), told, now))
    except Error as error:
        return error


def _findings(
    world: Neighbours, judge: ClockJudge, observed: Sequence[Observed], now: datetime
) -> Findings:
    token_check = world.watch.token_check()
    is_clock_needed = judge.is_needed
    # A server is asked for the time only if something might have to be said about expiry.
    needs_date = bool(expiry_matters(observed, token_check, now))
    verdict = judge.assess(now, needs_date=needs_date)
    return matters(observed, verdict, token_check, now, is_clock_needed=is_clock_needed)


def _send(watch: Watch, messenger: Messenger, outbox: Outbox) -> Error | None:
    """Sends each message and then writes it down, so that a failure is made up for later."""
    trouble: Error | None = None
    for message in outbox.messages:
        failure = _send_one(messenger, message)
        if failure is None or failure.is_partial:
            for each in message.tell:
                watch.tell(each)
        trouble = failure or trouble
    for key in outbox.forget:
        watch.forget(key)
    return trouble


def _send_one(messenger: Messenger, message: Message) -> NotifyError | None:
    try:
        messenger.send(message.title, message.text)
    except NotifyError as error:
        return error
    return None


def _beat(messenger: Messenger) -> NotifyError | None:
    try:
        messenger.heartbeat()
    except NotifyError as error:
        return error
    return None
