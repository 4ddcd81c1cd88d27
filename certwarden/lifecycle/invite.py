"""Invitations: a client certificate that goes out over the network, once, to who has the token.

Decides who may have one, and burns the token in the transaction that enters the certificate. Knows
nothing of pages, links or HTTP. A token is `ID-SECRET` in the base32 alphabet of RFC 4648, in lower
case: 40 bits that only say which invitation is meant, and 128 that nobody can guess.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from certwarden.errors import InvitationError, UsageError
from certwarden.lifecycle.authority import SUBJECT, required_root, trusted_now
from certwarden.lifecycle.books import record
from certwarden.lifecycle.issue import (
    ClientRequest,
    IssuedClient,
    certify,
    entry_for,
    record_issue,
)
from certwarden.lifecycle.lists import SUPERSEDED_AFTER
from certwarden.lifecycle.sightings import seen_serials
from certwarden.model import (
    CertificateSpec,
    ClientPurpose,
    Enrolment,
    Event,
    Invitation,
    KeyType,
    RevocationReason,
    Root,
    Secret,
)
from certwarden.pki.authority import check_identity
from certwarden.pki.csr import read_csr
from certwarden.pki.keys import generate_key_pair
from certwarden.ports import Level, Neighbours

TRIES = 5
LONGEST_OPEN = timedelta(days=30)
LOST_WITHIN = timedelta(days=1)
FORGOTTEN_AFTER = timedelta(days=30)  # past its end, if nobody came

_ID_BYTES = 5
_SECRET_BYTES = 16
_TOKEN = re.compile(rb"([a-z2-7]{8})-([a-z2-7]{26})")


class Verdict(Enum):
    """What is to be done about a token."""

    GOOD = auto()
    WRONG = auto()  # it names an open invitation, and has not its secret: a try less
    CLOSED = auto()  # there is no such invitation, or it cannot be redeemed any more


@dataclass(frozen=True)
class InvitationRequest:
    """What is asked for; without `lifetime` that of the certificate is the configured one.

    Without `email`, the address is that of the client's last certificate.
    """

    name: str
    email: str | None = None
    lifetime: timedelta | None = None
    enrolment: Enrolment = Enrolment.PAGE
    open_for: timedelta = timedelta(minutes=15)


# ── inviting ──────────────────────────────────────────────────────────────────────────────────────


def invite(world: Neighbours, request: InvitationRequest) -> tuple[Invitation, Secret]:
    """Writes an invitation down, and returns the token's text, which is kept nowhere.

    Earlier invitations of the client are withdrawn. Nothing is signed: a locked CA will do. Raises
    UsageError for a name, an address or a time that will not do, ClockError, StoreError and Busy.
    """
    check_identity(request.name, request.email)
    if not timedelta() < request.open_for <= LONGEST_OPEN:
        raise UsageError(
            "an invitation cannot be open for so long, or for no time at all",
            f"let it be a minute or more, and {LONGEST_OPEN.days} days at most",
        )
    required_root(world)
    now = trusted_now(world)
    invitation_id = _random(_ID_BYTES)
    secret = _random(_SECRET_BYTES)
    with world.locks.authority():
        invitation = Invitation(
            id=invitation_id,
            digest=_digest(secret.encode()),
            name=request.name,
            email=request.email or _last_email(world, request.name),
            lifetime=request.lifetime,
            enrolment=request.enrolment,
            made_at=now,
            ends_at=now + request.open_for,
            tries_left=TRIES,
        )
        world.invitations.forget(now - FORGOTTEN_AFTER)
        world.invitations.add(invitation)
    text = f"the client {request.name} is invited until {invitation.ends_at:%Y-%m-%d %H:%M} UTC"
    record(world, Event(now, "client-invited", None, None, text))
    return invitation, Secret(f"{invitation_id}-{secret}".encode())


def lost(
    world: Neighbours, name: str, now: datetime, specs: Sequence[CertificateSpec] = ()
) -> tuple[str, ...]:
    """Serials of the client's valid certificates whose download is taken to have failed.

    They were redeemed from a page within the last day, key and all, and were never seen in use,
    nor are by what the targets of `specs` tell now: no pass need have taken that over. A client
    that has made its own key has lost nothing.
    """
    downloaded = {
        each.serial
        for each in world.invitations.of(name)
        if each.enrolment is Enrolment.PAGE
        and each.redeemed_at is not None
        and now - each.redeemed_at <= LOST_WITHIN
    }
    downloaded -= seen_serials(world, specs)
    return tuple(
        each.serial
        for each in world.register.named(name)
        if each.serial in downloaded and each.seen_at is None and each.is_valid_at(now)
    )


def withdraw_invitation(world: Neighbours, invitation_id: str) -> None:
    """Nobody can redeem it from now on, if nobody has. Raises StoreError and Busy."""
    with world.locks.authority():
        world.invitations.withdraw(invitation_id, world.clock.now())


# ── redeeming ─────────────────────────────────────────────────────────────────────────────────────


def judge(invitation: Invitation | None, secret: bytes, now: datetime) -> Verdict:
    """What to do about a token that names this invitation, or none, and has this secret part."""
    kept = invitation.digest if invitation is not None else ""
    is_right = hmac.compare_digest(kept.encode(), _digest(secret).encode())
    if invitation is None or not invitation.is_open_at(now):
        return Verdict.CLOSED
    return Verdict.GOOD if is_right else Verdict.WRONG


def redeem(
    world: Neighbours,
    token: Secret,
    *,
    csr: bytes | None = None,
    key_type: KeyType = KeyType.ECDSA_P256,
) -> IssuedClient:
    """The certificate that the token is good for, for the key of a signing request or a new one.

    The client's earlier certificates stay good for two weeks. Raises MaterialError for a request
    that will not do, before the token is looked at; InvitationError for the token, always in the
    same words; LockedError, ClockError, StoreError and Busy, which leave the token as it was.
    """
    own_key = None if csr is None else (None, read_csr(csr))
    invitation_id, secret = _parts(token)
    # A stranger makes us write nothing, lock nothing and ask nobody for the time.
    invitation = world.invitations.find(invitation_id)
    verdict = judge(invitation, secret, world.clock.now())
    if invitation is not None and verdict is Verdict.WRONG:
        _miss(world, invitation)
    if verdict is not Verdict.GOOD:
        raise _refusal()
    now = trusted_now(world)
    root = required_root(world)
    client_key = own_key or generate_key_pair(key_type)
    with world.locks.authority():
        invitation = world.invitations.find(invitation_id)
        if invitation is None or judge(invitation, secret, now) is not Verdict.GOOD:
            raise _refusal()
        return _hand_out(world, root, invitation, client_key, now)


def redeem_by_certificate(world: Neighbours, serial: str, csr: bytes) -> IssuedClient:
    """Another certificate for a client that has shown a valid one, if it is invited to by EST.

    `serial` is that of a certificate whose key the client was seen to have. Raises as `redeem`
    does; InvitationError also where that certificate is not valid, or no invitation open.
    """
    client_key = None, read_csr(csr)
    if _open_to(world, serial, world.clock.now()) is None:
        raise _refusal()
    now = trusted_now(world)
    root = required_root(world)
    with world.locks.authority():
        invitation = _open_to(world, serial, now)
        if invitation is None:
            raise _refusal()
        return _hand_out(world, root, invitation, client_key, now)


def _hand_out(
    world: Neighbours,
    root: Root,
    invitation: Invitation,
    client_key: tuple[Secret | None, bytes],
    now: datetime,
) -> IssuedClient:
    """Signs, and only then writes down: until the token is burnt, nobody has what was signed."""
    request = ClientRequest(invitation.name, invitation.email, invitation.lifetime)
    entry = entry_for(world, root, request, now)
    issued = certify(root, world.signing_key(), entry, client_key)
    supersede_at = now + SUPERSEDED_AFTER
    world.invitations.redeem(
        invitation.id,
        now,
        issued.certificate,
        issued.pem,
        enrolment=Enrolment.EST if issued.key_pem is None else Enrolment.PAGE,
        supersede_at=supersede_at,
    )
    record_issue(world, issued.certificate, now)
    return issued


def _open_to(world: Neighbours, serial: str, now: datetime) -> Invitation | None:
    """The open invitation that a client's certificate can be shown for."""
    shown = world.register.find(serial)
    if shown is None or shown.purpose is not ClientPurpose.CLIENT or not shown.is_valid_at(now):
        return None
    for each in world.invitations.open(now):
        if each.name == shown.name and each.enrolment is Enrolment.EST:
            return each
    return None


def _miss(world: Neighbours, invitation: Invitation) -> None:
    with world.locks.authority():
        world.invitations.miss(invitation.id)
    text = f"somebody has opened a wrong link to the invitation of the client {invitation.name}"
    hint = f"it is closed after {TRIES} of them; invite again if it was not a mistake"
    world.reporter.event(Level.WARNING, SUBJECT, text, hint)


def _refusal() -> InvitationError:
    return InvitationError(
        "this invitation is not valid: it was used, its time is over, or the link is incomplete",
        "ask for another one",
    )


def _parts(token: Secret) -> tuple[str, bytes]:
    """Id and secret part; raises InvitationError for what is no token."""
    parts = _TOKEN.fullmatch(token.reveal())
    if parts is None:
        raise _refusal()
    return parts[1].decode(), parts[2]


def _last_email(world: Neighbours, name: str) -> str | None:
    """The address of the client's last certificate, unless that was taken from it."""
    known = world.register.named(name)
    if known and known[0].reason in (None, RevocationReason.SUPERSEDED):
        return known[0].email
    return None


def _random(size: int) -> str:
    return b32encode(secrets.token_bytes(size)).rstrip(b"=").decode().lower()


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
