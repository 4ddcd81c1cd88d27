"""Backups of the private CA: when one is made, what is in it, and the way back.

No revocation is forgotten on the way back: whatever list of this CA is found, at the targets or in
the backup, is taken over, and the numbers jump past any that may have been given since. Where
backups lie, and how they look inside, is not known here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from certwarden.errors import Error, MaterialError, UsageError, as_error
from certwarden.lifecycle.authority import (
    NUMBER_JUMP,
    freshen_probe,
    required_root,
    required_spec,
    sign_lists,
    trusted_now,
)
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.setbacks import BACKUP, after_failure, setback_of
from certwarden.model import (
    Backup,
    ClientPurpose,
    Crl,
    Event,
    KeptBackup,
    Revoked,
    Root,
    Secret,
    Trust,
)
from certwarden.pki.authority import check_key, load_root, read_root
from certwarden.pki.backup import build_backup, content_mark
from certwarden.pki.crl import read_crl, read_entries
from certwarden.pki.protection import decrypt_key
from certwarden.ports import Level, Neighbours, Safe

SUBJECT = "backup"
KEPT = 10
LONGEST_WAIT = timedelta(days=7)


@dataclass(frozen=True)
class Restored:
    """What was put back. `newest` is the newest list that was found, if any was.

    `unknown` are the serials that the lists revoke and the backup does not know. `is_behind`: no
    list was found that is newer than the backup, so that nothing tells what was revoked since.
    """

    root: Root
    made_at: datetime
    clients: int
    newest: Crl | None
    unknown: tuple[str, ...]
    is_behind: bool


# ── making one ────────────────────────────────────────────────────────────────────────────────────


def back_up(world: Neighbours, passphrase: Secret, keep: Callable[[bytes], None]) -> Backup:
    """Seals a backup, and has `keep` put it away; then writes down that there is one.

    Raises UsageError where there is no CA yet.
    """
    now = world.clock.now()
    with world.locks.authority():
        backup = _gather(world, now)
    keep(build_backup(backup, passphrase))
    world.register.set_backed_up_at(now)
    return backup


def backup_reason(kept: Sequence[KeptBackup], mark: str, now: datetime) -> str | None:
    """Why a backup is to be made now; None where there is no need.

    `mark` is that of root and clients as they are. A backup of the future is a wrong clock's.
    """
    newest = max((each for each in kept if each.made_at <= now), key=_age, default=None)
    if newest is None:
        return "there is none yet"
    if newest.mark != mark:
        return "clients or their CA have changed since the last one"
    if newest.made_at + LONGEST_WAIT <= now:
        return "the last one is a week old"
    return None


def superfluous(kept: Sequence[KeptBackup], written: str) -> tuple[str, ...]:
    """The names of those beyond the newest ten; never the one just written, whatever its date."""
    oldest_first = sorted(kept, key=_age)
    beyond = oldest_first[: max(len(kept) - KEPT, 0)]
    return tuple(each.name for each in beyond if each.name != written)


def look_after_backups(world: Neighbours, books: Books, judge: ClockJudge) -> None:
    """The share of a pass: a backup if one is due, unless the clock is known to be wrong.

    Their names are dates. That none can be made is told after a while, and fails nothing else.
    """
    now = world.clock.now()
    if judge.assess(now, needs_date=False).trust is Trust.CONTRADICTED:
        return
    before = setback_of(books.read(world.watch.setbacks, ()), BACKUP)
    error = automatic_backup(world, now)
    if error is not None:
        failed = after_failure(before, BACKUP, "", error, now)
        books.write(partial(world.watch.save_setback, failed))
    elif before is not None:
        books.write(partial(world.watch.clear_setback, BACKUP))


def automatic_backup(world: Neighbours, now: datetime) -> Error | None:
    """Makes a backup where they are kept by themselves, if one is due; says why it cannot."""
    try:
        safe = world.safe()
        root = world.authority.root() if safe is not None else None
        if safe is None or root is None:
            return None
        mark = content_mark(root.pem, world.register.clients())
        if reason := backup_reason(safe.kept(), mark, now):
            keep_backup(world, safe, now)
            world.reporter.event(Level.INFO, SUBJECT, f"a backup was made: {reason}")
    except Exception as exception:  # noqa: BLE001 - whatever it is, it must not end a pass
        error = as_error(exception)
        world.reporter.event(Level.ERROR, SUBJECT, error.what, error.hint)
        return error
    return None


def keep_backup(world: Neighbours, safe: Safe, now: datetime) -> None:
    """Puts a backup into the safe, and takes out those that are too many."""
    name = f"certwarden-{now.astimezone(UTC):%Y%m%d-%H%M%S}.backup"
    back_up(world, safe.passphrase(), lambda sealed: safe.keep(name, sealed))
    for each in superfluous(safe.kept(), name):
        safe.discard(each)


def _age(kept: KeptBackup) -> tuple[datetime, str]:
    return kept.made_at, kept.name


def _gather(world: Neighbours, now: datetime) -> Backup:
    root = required_root(world)
    crl = world.authority.crl()
    is_locked = world.authority.is_locked()
    return Backup(
        made_at=now,
        root_pem=root.pem,
        key_pem=world.authority.key(),
        is_locked=is_locked,
        passphrase=None if is_locked else world.belongings.passphrase(),
        crl_pem=crl.pem if crl else None,
        probe=world.authority.probe(),
        booked=tuple(
            row
            for row in world.archive.rows()
            if row.certificate.purpose is ClientPurpose.CLIENT or row.certificate.revoked_at
        ),
        last_number=world.register.last_number(),
        accounts=world.belongings.accounts(),
        config_text=world.belongings.configuration(),
    )


# ── the way back ──────────────────────────────────────────────────────────────────────────────────


def check_backup(backup: Backup, passphrase: Secret) -> None:
    """Raises LockedError or MaterialError unless the passphrase opens the backup's own key."""
    check_key(load_root(backup.root_pem), decrypt_key(backup.key_pem, passphrase))


def refuse_existing(world: Neighbours) -> None:
    """Raises UsageError where there is a private CA already, or none is configured."""
    required_spec(world)
    root = world.authority.root()
    if root is not None:
        raise UsageError(
            f"there is a private CA already: {root.name}",
            "nothing was changed; see `certwarden ca show`, and move STATE/authority away if that "
            "one is no longer wanted",
        )


def restore(world: Neighbours, backup: Backup) -> Restored:
    """Puts the CA, its book and the accounts back; what is there already of the book stays.

    Nobody is invited any more. The CA itself comes last: until then nothing is in the way of
    another `restore`, and from then on a pass signs the list. Raises UsageError where there is a CA
    already.
    """
    root = read_root(backup.root_pem)
    refuse_existing(world)
    with world.locks.orders():
        for account in backup.accounts:
            world.belongings.put_account(account)
    with world.locks.authority():
        refuse_existing(world)
        # What was used or withdrawn since, a book that was put back as well does not know.
        world.invitations.withdraw_all(world.clock.now())
        own = [backup.crl_pem] if backup.crl_pem is not None else []
        found = _genuine([*world.belongings.lists(), *own], backup.root_pem)
        world.archive.put_back(backup.booked)
        numbers = (backup.last_number, world.register.last_number(), *(c.number for c in found))
        unknown = world.register.take_over(_entries(found), max(numbers) + NUMBER_JUMP)
        world.authority.create(backup.root_pem, backup.key_pem, is_locked=backup.is_locked)
        if backup.probe is not None:
            world.authority.save_probe(backup.probe)
        world.register.set_backed_up_at(backup.made_at)
    text = f"the private CA {root.name} was restored from a backup of {backup.made_at:%Y-%m-%d}"
    world.history.record(Event(world.clock.now(), "authority-restored", None, None, text))
    newest = max(found, key=lambda crl: crl.number, default=None)
    return Restored(
        root=root,
        made_at=backup.made_at,
        clients=len(world.register.clients()),
        newest=newest,
        unknown=unknown,
        is_behind=newest is None or newest.number <= backup.last_number,
    )


def sign_anew(world: Neighbours) -> tuple[Crl, ...]:
    """The first list, or lists, of a CA that was put back or taken over; the first is published.

    Raises LockedError, ClockError: then the next pass signs, or `ca unlock`.
    """
    now = trusted_now(world)
    root = required_root(world)
    with world.locks.authority():
        key = world.signing_key()
        freshen_probe(world, root, key, now)
        return sign_lists(world, root, key, now)


def _genuine(pems: Sequence[bytes], root_pem: bytes) -> tuple[Crl, ...]:
    """Those of the lists that this CA has signed; anybody's may stand at a target."""

    def read() -> Iterator[Crl]:
        for pem in dict.fromkeys(pems):
            try:
                yield read_crl(pem, root_pem)
            except MaterialError:
                continue

    return tuple(read())


def _entries(crls: Sequence[Crl]) -> tuple[Revoked, ...]:
    """What any of them revokes; the newest says when and why."""
    newest_first = sorted(crls, key=lambda crl: crl.number, reverse=True)
    found: dict[str, Revoked] = {}
    for crl in newest_first:
        for entry in read_entries(crl.pem):
            found.setdefault(entry.serial, entry)
    return tuple(found.values())
