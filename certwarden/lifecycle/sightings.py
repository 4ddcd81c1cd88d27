"""Which client certificates are in use: what targets tell of it, taken over into the register.

What they tell is advice: it decides nothing about who gets in. What is to be made of it, for a
person's eyes, is `status`' to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from certwarden.errors import Busy
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.prove import client_targets
from certwarden.model import CertificateSpec, ClientCertificate, HotReload, TargetSpec, Trust
from certwarden.ports import Neighbours

WORTH_WRITING = timedelta(hours=1)  # later than what stands in the book: flash memory wears


def note_sightings(
    world: Neighbours, books: Books, judge: ClockJudge, specs: Sequence[CertificateSpec]
) -> None:
    """Writes down who was seen, if it is news, and since when nobody can come in unseen.

    `specs` are those of all certificates. While the clock is wrong, or somebody else is at the
    register, that waits for another pass.
    """
    now = world.clock.now()
    if judge.assess(now, needs_date=False).trust is Trust.CONTRADICTED:
        return
    guarded = _guarded(specs)
    told = _told(world, guarded)
    seen = news(books.read(world.register.clients, ()), told, now)
    before = books.read(world.register.watched_since, None)
    since = watch(before, guarded, now, is_complete=len(told) == len(guarded))
    if seen or since != before:
        books.write(partial(_write, world, seen, since))


def _guarded(specs: Sequence[CertificateSpec]) -> list[TargetSpec]:
    return [target for spec in specs for target in client_targets(spec.targets)]


def _told(world: Neighbours, guarded: Sequence[TargetSpec]) -> list[Mapping[str, datetime]]:
    reported = [world.sightings(target.name) for target in guarded if can_tell(target)]
    return [each for each in reported if each is not None]


def _write(world: Neighbours, seen: Mapping[str, datetime], since: datetime | None) -> None:
    with suppress(Busy), world.locks.try_authority():
        world.register.saw(seen)
        world.register.set_watched_since(since)


def seen_serials(world: Neighbours, specs: Sequence[CertificateSpec]) -> frozenset[str]:
    """Whom the targets of these certificates tell of right now, be it in the book or not yet."""
    return frozenset(serial for each in _told(world, _guarded(specs)) for serial in each)


def can_tell(target: TargetSpec) -> bool:
    """Whether it is of a kind that tells whom it lets in: certwarden's module in Node-RED does."""
    return target.client_auth and isinstance(target.reload, HotReload)


def news(
    clients: Iterable[ClientCertificate],
    told: Iterable[Mapping[str, datetime]],
    now: datetime,
) -> dict[str, datetime]:
    """What of it is worth writing down: of clients of ours, by serial. Nothing is after now."""
    known = {each.serial: each.seen_at for each in clients}
    latest: dict[str, datetime] = {}
    for serial, at in (sighting for each in told for sighting in each.items()):
        if serial in known:
            at_most_now = min(at, now)
            latest[serial] = max(at_most_now, latest.get(serial, at_most_now))
    return {
        serial: at
        for serial, at in latest.items()
        if (before := known[serial]) is None or at - before > WORTH_WRITING
    }


def watch(
    before: datetime | None, guarded: Sequence[TargetSpec], now: datetime, *, is_complete: bool
) -> datetime | None:
    """Since when nobody comes in unseen, which so far was `before`; None where somebody may.

    It begins when all `guarded` targets have told (`is_complete`), and outlasts that one of them is
    not running for a while.
    """
    if not guarded or not all(can_tell(target) for target in guarded):
        return None
    if before is not None and before <= now:
        return before
    return now if is_complete else None
