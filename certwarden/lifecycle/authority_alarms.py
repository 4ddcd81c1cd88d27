"""What a person should hear of the private CA: pure functions of what was observed of it.

How often it is said is for `alarms`, which puts it beside the other matters.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certwarden.lifecycle.lists import half_life, superseded
from certwarden.lifecycle.matter import Matter
from certwarden.lifecycle.setbacks import BACKUP, DOOR, LIST, setback_of
from certwarden.model import ClientCertificate, ObservedAuthority, ProofOutcome, Setback

# Before what ends, so long: said once at each, and not again.
CLIENT_STAGES = tuple(timedelta(days=days) for days in (30, 14, 7, 1))
ROOT_STAGES = tuple(timedelta(days=days) for days in (365, 180, 90, 30, 14, 7, 1))
# With a target of which it cannot be told who gets in, and with a place for backups that is away.
NAMES_SHOWN = 5
PATIENCE = timedelta(days=1)

ENDS = "ends:"
LIST_ENDS = "list-ends"
LIST_FAILING = "list-failing"
LADDER_ENDS = "ladder-ends"
ROOT_ENDED = "root-ended"
LOCKED = "authority-locked"
AUTHORITY = "authority"
PROOF = "proof:"


def authority_matters(
    seen: ObservedAuthority,
    setbacks: Sequence[Setback],
    now: datetime,
    *,
    absent: Collection[str] = (),
) -> Iterator[Matter]:
    """What stands, whatever the clock shows.

    Of `absent` targets, where nobody answers, it need not be known who gets in: nobody does.
    """
    if seen.trouble is not None:
        what = f"the private CA cannot be read: {seen.trouble.what}"
        yield Matter(AUTHORITY, what, now, seen.trouble.hint)
        return
    unsaved = setback_of(setbacks, BACKUP)
    if unsaved is not None and now - unsaved.since >= PATIENCE:
        what = f"no backup of the private CA could be made: {unsaved.what}"
        yield Matter(BACKUP, what, unsaved.since, unsaved.hint)
    setback = setback_of(setbacks, LIST)
    if setback is not None and (setback.failures > 1 or setback.is_permanent):
        what = f"the revocation list could not be brought up to date: {setback.what}"
        yield Matter(LIST_FAILING, what, min(setback.since, now), setback.hint)
    closed = setback_of(setbacks, DOOR)
    if closed is not None and (closed.failures > 1 or closed.is_permanent):
        what = f"invitations cannot be redeemed: {closed.what}"
        yield Matter(DOOR, what, min(closed.since, now), closed.hint)
    waiting = seen.unlisted | set(superseded(seen.clients, now))
    if seen.is_locked and waiting:
        count = len(waiting)
        plural = "s wait" if count != 1 else " waits"
        what = f"{count} revocation{plural} for the private CA to be unlocked"
        yield Matter(LOCKED, what, now, "unlock it: certwarden ca unlock")
    for proof in seen.proofs.values():
        since = min(proof.since or proof.at, now)
        is_unknown = proof.outcome is ProofOutcome.UNKNOWN and proof.target not in absent
        is_overdue = is_unknown and now - since >= PATIENCE
        if proof.outcome is ProofOutcome.REFUTED or is_overdue:
            yield Matter(
                f"{PROOF}{proof.target}", f"{proof.target}: {proof.what}", since, proof.hint
            )


def authority_expiry_matters(seen: ObservedAuthority | None, now: datetime) -> tuple[Matter, ...]:
    """Those that are true only if the clock is right."""
    if seen is None or seen.root is None:
        return ()
    return (*_list_matters(seen, now), *_client_matters(seen, now), *_root_matters(seen, now))


def _list_matters(seen: ObservedAuthority, now: datetime) -> Iterator[Matter]:
    todo = (
        "unlock the private CA: certwarden ca unlock"
        if seen.is_locked
        else "see `certwarden ca show`, then `certwarden renew`"
    )
    crl = seen.crl
    if crl is None:
        yield Matter(LIST_ENDS, "the private CA has no revocation list", now, todo)
    elif crl.next_update <= now:
        what = f"the revocation list has expired on {_instant(crl.next_update)}: no client gets in"
        yield Matter(LIST_ENDS, what, crl.next_update, todo)
    elif now < crl.this_update:
        what = f"the revocation list is good from {_instant(crl.this_update)} on: no client gets in"
        yield Matter(LIST_ENDS, what, now, todo)
    elif half_life(crl) <= now:
        what = (
            f"the revocation list has not been renewed; it expires on {_instant(crl.next_update)}, "
            "and then no client gets in"
        )
        yield Matter(LIST_ENDS, what, half_life(crl), todo)
    if seen.is_locked and crl is not None:
        end = seen.ladder[-1].next_update if seen.ladder else crl.next_update
        notice = end - seen.spec.crl_lifetime
        if notice <= now < end:
            what = f"the lists that were signed beforehand last until {_instant(end)}"
            yield Matter(LADDER_ENDS, what, notice, todo)


def _client_matters(seen: ObservedAuthority, now: datetime) -> Iterator[Matter]:
    """Of clients whose last certificate is near its end; it may well be let go of.

    Those that end on the same day are one matter: they were issued together.
    """
    latest: dict[str, tuple[datetime, ClientCertificate]] = {}
    for each in seen.clients:
        if each.not_after is None or each.revoked_at is not None or not each.is_signed:
            continue
        if each.name not in latest or latest[each.name][0] < each.not_after:
            latest[each.name] = each.not_after, each
    groups: dict[str, list[tuple[datetime, ClientCertificate]]] = {}
    for end, each in latest.values():
        if _come(end, CLIENT_STAGES, now):
            groups.setdefault(f"{end:%Y-%m-%d}", []).append((end, each))
    for day, members in groups.items():
        yield from _ending_together(day, members, now)


def _ending_together(
    day: str, members: Sequence[tuple[datetime, ClientCertificate]], now: datetime
) -> Iterator[Matter]:
    end = min(end for end, _ in members)
    names = [each.name for _, each in members]
    if len(names) == 1:
        key = f"client:{members[0][1].serial}"
        what = f"the client certificate of {names[0]} ends on {_instant(end)}"
        todo = f"hand out the next one: certwarden client invite {names[0]}"
    else:
        key = f"clients:{day}"
        others = len(names) - NAMES_SHOWN
        shown = ", ".join(names[:NAMES_SHOWN]) + (f" and {others} more" if others > 0 else "")
        what = f"{len(names)} client certificates end on {day}: {shown}"
        todo = "hand out the next one to each still in use: certwarden client invite NAME"
    for matter in _last_stage(key, what, todo, end, _come(end, CLIENT_STAGES, now)):
        yield replace(matter, ending=tuple(each for _, each in members[:NAMES_SHOWN]))


def _root_matters(seen: ObservedAuthority, now: datetime) -> Iterator[Matter]:
    assert seen.root is not None  # noqa: S101 - whoever calls has looked
    end = seen.root.not_after
    todo = "extend it: certwarden ca renew-root"
    if end <= now:
        what = f"the certificate of the private CA has ended on {_instant(end)}: no client gets in"
        yield Matter(ROOT_ENDED, what, end, todo)
    what = f"the certificate of the private CA ends on {_instant(end)}, and all clients' with it"
    come = _come(end, ROOT_STAGES, now)
    yield from _last_stage(f"root:{seen.root.serial}", what, todo, end, come)


def _last_stage(
    key: str, what: str, todo: str, end: datetime, come: Sequence[timedelta]
) -> Iterator[Matter]:
    """The last of the stages that have come, which covers those before it."""
    if come:
        keys = [f"{ENDS}{key}:{stage.days}" for stage in come]
        yield Matter(keys[-1], what, end - come[-1], todo, covers=tuple(keys[:-1]), is_once=True)


def _come(end: datetime, stages: Sequence[timedelta], now: datetime) -> list[timedelta]:
    """The stages before the end that have come; none once it has ended."""
    return [stage for stage in stages if end - stage <= now < end]


def _instant(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
