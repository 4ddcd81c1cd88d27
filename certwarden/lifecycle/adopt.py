"""A CA that was made by other means becomes ours: its key, its book, its revocations.

The old directory is only read. Once this is done two could sign by the same key, each with a list
of its own: whoever calls tells the person to put the old one away.
"""

from dataclasses import dataclass, field

from certwarden.lifecycle.authority import trusted_now
from certwarden.lifecycle.backup import refuse_existing
from certwarden.model import Event, Predecessor, Root, Secret
from certwarden.pki.foreign_root import open_foreign_key, read_foreign_root
from certwarden.pki.keys import PrivateKey
from certwarden.pki.predecessor import Inheritance, inherit
from certwarden.pki.protection import encrypt_key
from certwarden.ports import Neighbours


@dataclass(frozen=True)
class Estate:
    """What another CA leaves, judged: its open key, its certificate, and what its book says."""

    key: PrivateKey = field(repr=False)
    root: Root
    inheritance: Inheritance


@dataclass(frozen=True)
class Adopted:
    """What was taken over; `remarks` are sentences about what did not come as it was."""

    root: Root
    valid: int
    revoked: int
    remarks: tuple[str, ...]


def examine(world: Neighbours, predecessor: Predecessor, old_passphrase: Secret | None) -> Estate:
    """Judges what is to be taken over, and changes nothing.

    Raises UsageError where there is a CA already, LockedError where its key does not open,
    MaterialError for what will not do, ClockError.
    """
    refuse_existing(world)
    now = trusted_now(world)
    key = open_foreign_key(predecessor.key_pem, old_passphrase)
    root = read_foreign_root(predecessor.root_pem, key, now)
    return Estate(key, root, inherit(predecessor))


def adopt(world: Neighbours, estate: Estate, passphrase: Secret, *, is_locked: bool) -> Adopted:
    """Takes the CA over, its key under a new passphrase; `backup.sign_anew` signs its first list.

    The CA itself comes last: until then nothing is in the way of another try.
    """
    now = world.clock.now()
    root, inheritance = estate.root, estate.inheritance
    key_pem = encrypt_key(estate.key, passphrase)
    with world.locks.authority():
        refuse_existing(world)
        world.invitations.withdraw_all(now)  # who was invited by another one
        world.archive.put_back(inheritance.booked)
        number = max(inheritance.last_number, world.register.last_number())
        world.register.take_over(inheritance.revoked, number)
        world.authority.create(root.pem, key_pem, is_locked=is_locked)
    world.history.record(
        Event(now, "authority-imported", None, None, f"the private CA {root.name} was taken over")
    )
    clients = world.register.clients()
    return Adopted(
        root=root,
        valid=sum(each.is_valid_at(now) for each in clients),
        revoked=sum(each.revoked_at is not None for each in clients),
        remarks=inheritance.remarks,
    )
