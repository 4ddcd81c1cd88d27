"""Whether the door of the service stands open: while somebody has an invitation, and not longer.

Level-triggered: each whole pass looks, and so does, to shut it, the service that receives there.
Any invitation counts, also one of a person's own command, which has its own listener: whoever
listens takes all. Behind the door of a locked CA nobody could sign, so it stays shut.
"""

from datetime import datetime
from functools import partial

from certwarden.errors import Error
from certwarden.lifecycle.books import Books
from certwarden.lifecycle.setbacks import DOOR, after_failure, setback_of
from certwarden.model import Call, Invitation, Job
from certwarden.ports import Door, Level, Neighbours


def set_door(world: Neighbours, door: Door) -> tuple[Invitation, ...]:
    """Opens or shuts it; returns the open invitations, the one that ends soonest first.

    Raises StoreError, TargetError.
    """
    waiting = shut_behind_last(world, door)
    if waiting and not door.is_open():
        door.open()
    return waiting


def shut_behind_last(world: Neighbours, door: Door) -> tuple[Invitation, ...]:
    """Shuts it where nobody is invited; returns the open invitations as `set_door` does.

    That is all that who receives may do: systemd opens no door before that one is gone.
    """
    waiting = _waiting(world)
    if not waiting and door.is_open():
        door.shut()
        waiting = _waiting(world)  # whoever has made one between the two found the door open
    return waiting


def look_after_door(world: Neighbours, books: Books, now: datetime) -> tuple[Call, ...]:
    """The same at the end of a pass, which does not fail by it; when a pass is wanted for it."""
    before = setback_of(books.read(world.watch.setbacks, ()), DOOR)
    door = world.door()
    try:
        waiting = set_door(world, door) if door is not None else ()
    except Error as error:
        text = f"invitations cannot be redeemed: {error.what}"
        world.reporter.event(Level.WARNING, DOOR, text, error.hint)
        failed = after_failure(before, DOOR, "", error, now)
        books.write(partial(world.watch.save_setback, failed))
        return (Call(Job.INVITATIONS, failed.again_at, "the door for invitations is tried again"),)
    if before is not None:
        books.write(partial(world.watch.clear_setback, DOOR))
    return tuple(
        Call(Job.INVITATIONS, each.ends_at, f"{each.name}: the invitation ends")
        for each in waiting[:1]
    )


def _waiting(world: Neighbours) -> tuple[Invitation, ...]:
    """The invitations that can be redeemed here."""
    is_locked = world.authority.is_locked()
    return () if is_locked else world.invitations.open(world.clock.now())
