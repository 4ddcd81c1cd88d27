"""Client certificates: issued, and renewed with an overlap. Keys are made, handed over, not kept.

A serial is written down before it is signed, those of a batch together; what is returned is in the
register, on the disk. Knows nothing of files for people, or of passwords.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certwarden.errors import MaterialError, UsageError
from certwarden.lifecycle.authority import required_root, required_spec, trusted_now
from certwarden.lifecycle.books import record
from certwarden.lifecycle.lists import SUPERSEDED_AFTER
from certwarden.model import ClientCertificate, Event, KeyType, Root, Secret
from certwarden.pki.authority import build_client, check_identity, client_dates, new_serial
from certwarden.pki.csr import read_csr
from certwarden.pki.keys import PrivateKey, generate_key_pair
from certwarden.ports import Neighbours

ISSUED = "client-issued"  # in the history


@dataclass(frozen=True)
class ClientRequest:
    """What is asked for; without `lifetime` it is the configured one.

    `csr` is a signing request for a key that the client has made itself.
    """

    name: str
    email: str | None = None
    lifetime: timedelta | None = None
    key_type: KeyType = KeyType.ECDSA_P256
    csr: bytes | None = None


@dataclass(frozen=True)
class IssuedClient:
    """A certificate (PEM), and its key where it was made here."""

    certificate: ClientCertificate
    pem: bytes
    key_pem: Secret | None


def issue(world: Neighbours, requests: Sequence[ClientRequest]) -> tuple[IssuedClient, ...]:
    """Issues all, or none; raises UsageError for a name that has a valid certificate already.

    Also raises UsageError for a name, an address or a request that will not do, LockedError,
    ClockError and StoreError.
    """
    keys = _public_keys(requests)
    now = trusted_now(world)
    root = required_root(world)
    with world.locks.authority():
        _refuse_known(world, requests, now)
        return _sign(world, root, requests, keys, now)


def renew_client(world: Neighbours, request: ClientRequest) -> tuple[IssuedClient, tuple[str, ...]]:
    """Another certificate for the same client, and the serials of those that it takes the place of.

    They stay good for two weeks, also where whoever calls means to revoke them once the new one is
    handed over: should it not come to that, they end all the same. The address is that of the last
    one, unless the request has another. Raises as `issue` does, and UsageError for a client whose
    certificates are all revoked.
    """
    now = trusted_now(world)
    root = required_root(world)
    with world.locks.authority():
        known = world.register.named(request.name)
        if not any(each.revoked_at is None for each in known):
            what = "has no certificate that is not revoked" if known else "is not known"
            raise UsageError(
                f"the client {request.name} {what}",
                f"issue its first certificate: certwarden client issue {request.name}",
            )
        request = replace(request, email=request.email or known[0].email)
        keys = _public_keys([request])
        (issued,) = _sign(world, root, [request], keys, now)
        before = tuple(each.serial for each in known if each.is_valid_at(now))
        world.register.supersede(before, now + SUPERSEDED_AFTER)
        return issued, before


def _public_keys(requests: Sequence[ClientRequest]) -> list[tuple[Secret | None, bytes]]:
    """A key for each request, or None where the client has its own; and the public one in DER."""
    keys: list[tuple[Secret | None, bytes]] = []
    for request in requests:
        check_identity(request.name, request.email)
        if request.csr is not None:
            keys.append((None, _read_csr(request.csr)))
        else:
            keys.append(generate_key_pair(request.key_type))
    return keys


def _read_csr(csr: bytes) -> bytes:
    """The public key of a request that a person has named; UsageError where it will not do."""
    try:
        return read_csr(csr)
    except MaterialError as error:
        raise UsageError(error.what, error.hint) from None


def _refuse_known(world: Neighbours, requests: Sequence[ClientRequest], now: datetime) -> None:
    if len(requests) == 1:
        known = world.register.named(requests[0].name)
    else:  # one question for all of them
        known = world.register.clients()
    valid = {each.name for each in known if each.is_valid_at(now)}
    seen: set[str] = set()
    for request in requests:
        if request.name in valid:
            raise UsageError(
                f"the client {request.name} has a valid certificate",
                f"renew it: certwarden client renew {request.name}",
            )
        if request.name in seen:
            raise UsageError(f"the client {request.name} is named twice", "name it once")
        seen.add(request.name)


def _sign(
    world: Neighbours,
    root: Root,
    requests: Sequence[ClientRequest],
    keys: Sequence[tuple[Secret | None, bytes]],
    now: datetime,
) -> tuple[IssuedClient, ...]:
    key = world.signing_key()
    entries = [entry_for(world, root, request, now) for request in requests]
    world.register.add(entries)
    issued = [certify(root, key, *each) for each in zip(entries, keys, strict=True)]
    world.register.signed({each.certificate.serial: each.pem for each in issued})
    if len(issued) == 1:
        record_issue(world, issued[0].certificate, now)
    else:
        text = f"{len(issued)} client certificates were issued"
        record(world, Event(now, ISSUED, None, None, text))
    return tuple(issued)


# ── the parts of it, for whoever else issues ──────────────────────────────────────────────────────


def entry_for(
    world: Neighbours, root: Root, request: ClientRequest, now: datetime
) -> ClientCertificate:
    """What is to be signed, under a serial of its own; raises MaterialError for a root at its end.

    It is in no book yet, and must be in one before anybody is handed the certificate.
    """
    lifetime = request.lifetime or required_spec(world).client_lifetime
    not_before, not_after = client_dates(root, now, lifetime)
    return ClientCertificate(
        new_serial(), request.name, request.email, not_before, not_after, is_signed=False
    )


def certify(
    root: Root,
    signing_key: PrivateKey,
    entry: ClientCertificate,
    client_key: tuple[Secret | None, bytes],
) -> IssuedClient:
    """The entry's certificate, for a client's key: its PEM, if it was made here, and its SPKI."""
    key_pem, public_key = client_key
    pem = build_client(root.pem, signing_key, entry, public_key)
    return IssuedClient(replace(entry, is_signed=True), pem, key_pem)


def record_issue(world: Neighbours, certificate: ClientCertificate, now: datetime) -> None:
    """The line of the history."""
    text = (
        f"a certificate (serial {certificate.serial}) was issued to the client {certificate.name}"
    )
    record(world, Event(now, ISSUED, None, None, text))
