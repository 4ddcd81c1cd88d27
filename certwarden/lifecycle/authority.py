"""The private CA at work: founded, looked at, its lists signed and published.

Whoever signs holds the lock on the authority, and has made sure of the clock. When a list is due
is `lists`' to say; how one is put in place and proven, that of `withdraw` and `prove`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from certwarden.errors import ClockError, Error, MaterialError, StoreError, UsageError, as_error
from certwarden.lifecycle.books import Books, record
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.lists import (
    PROBE_LIFETIME,
    is_probe_due,
    ladder_dates,
    list_setup,
    may_sign,
    publication,
    rung_to_publish,
    signature_reason,
)
from certwarden.lifecycle.setbacks import LIST, after_failure, held_until, setback_of
from certwarden.model import (
    AuthoritySpec,
    ClientCertificate,
    ClientPurpose,
    ClientTrust,
    Crl,
    Event,
    KeyType,
    ObservedAuthority,
    Pair,
    RevocationReason,
    Revoked,
    Root,
    Secret,
)
from certwarden.pki.authority import (
    build_client,
    build_root,
    client_dates,
    extend_root,
    new_serial,
)
from certwarden.pki.certificate import read_pair
from certwarden.pki.crl import build_crl, check_trust, read_crl, read_entries
from certwarden.pki.keys import PrivateKey, generate_key_pair
from certwarden.pki.protection import encrypt_key, generate_authority_key
from certwarden.ports import Level, Neighbours

SUBJECT = "client CA"
PROBE_NAME = "certwarden-probe"
NUMBER_JUMP = 1000  # past every list that may have been signed by a register that was lost
PROBES_FORGOTTEN_AFTER = timedelta(days=1)

# ── looking ───────────────────────────────────────────────────────────────────────────────────────


def observe_authority(world: Neighbours) -> ObservedAuthority | None:
    """What is found of the private CA; None where none is configured."""
    spec = world.authority_spec
    if spec is None:
        return None
    authority, register = world.authority, world.register
    try:
        root = authority.root()
        if root is None:
            return ObservedAuthority(spec, None)
        crl = authority.crl()
        probe = authority.probe()
        return ObservedAuthority(
            spec,
            root,
            crl,
            is_locked=authority.is_locked(),
            clients=register.clients(),
            probe=probe.certificate if probe else None,
            ladder=register.ladder(),
            last_number=register.last_number(),
            unlisted=register.unlisted(crl),
            proofs={proof.target: proof for proof in world.proofs.proofs()},
            backed_up_at=register.backed_up_at(),
        )
    except Exception as exception:  # noqa: BLE001 - a fact about it, and none about the others
        return ObservedAuthority(spec, None, trouble=as_error(exception))


def client_trust(world: Neighbours, now: datetime) -> ClientTrust | None:
    """What targets are to judge their clients by; None where there is nothing sound to be had."""
    if world.authority_spec is None:
        return None
    try:
        root, crl = world.authority.root(), world.authority.crl()
        if root is None or crl is None:
            return None
        trust = ClientTrust(root.pem, crl)
        check_trust(trust, now)
    except (StoreError, MaterialError):
        return None  # told by whoever looks at the authority itself
    return trust


def required_spec(world: Neighbours) -> AuthoritySpec:
    """What is configured of the CA that a command needs; raises UsageError where nothing is."""
    if world.authority_spec is None:
        raise UsageError(
            "there is no private CA in the configuration",
            "add the section [authority] with name and passphrase_file, then run "
            "`certwarden ca init`",
        )
    return world.authority_spec


def required_root(world: Neighbours) -> Root:
    """The CA that a command needs; raises UsageError where there is none."""
    required_spec(world)
    root = world.authority.root()
    if root is None:
        raise UsageError("there is no private CA yet", "make it: certwarden ca init")
    return root


# ── what a person asks for ────────────────────────────────────────────────────────────────────────


def create_authority(world: Neighbours, *, passphrase: Secret, is_locked: bool) -> Root:
    """Founds the private CA, with its first list, or lists if it is locked.

    `passphrase` protects its key, and is what the world's signing key is to be opened with. Raises
    UsageError where there is one already, ClockError where the time is not certain.
    """
    now = trusted_now(world)
    spec = required_spec(world)
    with world.locks.authority():
        if (standing := world.authority.root()) is not None:
            raise UsageError(
                f"there is a private CA already: {standing.name}",
                "see `certwarden ca show`; only one is kept",
            )
        key = generate_authority_key()
        root_pem = build_root(spec.name, key, now)
        world.authority.create(root_pem, encrypt_key(key, passphrase), is_locked=is_locked)
        _retire_clients(world, now)
        record(
            world,
            Event(now, "authority-created", None, None, f"the private CA {spec.name} was founded"),
        )
        root = required_root(world)
        rotate_probe(world, root, key, now)
        sign_lists(world, root, key, now)
    return root


def renew_root(world: Neighbours) -> Root:
    """Extends the CA's certificate under the same key; clients and lists stay as they are.

    Raises UsageError where there is no CA, LockedError, ClockError.
    """
    now = trusted_now(world)
    root = required_root(world)
    with world.locks.authority():
        key = world.signing_key()
        world.authority.replace_root(extend_root(root.pem, key, now))
        renewed = required_root(world)
        text = f"the certificate of the private CA is good until {renewed.not_after:%Y-%m-%d}"
        record(world, Event(now, "root-renewed", None, None, text))
        return renewed


def trusted_now(world: Neighbours) -> datetime:
    """The instant at which something is signed; raises ClockError where it is not certain."""
    now = world.clock.now()
    judge = ClockJudge(world)
    verdict = judge.assess(now, needs_date=True)
    if not verdict.is_trusted:
        raise ClockError(verdict.what, verdict.hint)
    judge.settle(verdict)
    judge.signed(now)
    return now


def _retire_clients(world: Neighbours, now: datetime) -> None:
    """What a CA that was moved away has issued gets nobody in any more, and its names are free.

    Whom it has invited would be handed a certificate of another one.
    """
    world.invitations.withdraw_all(now)
    serials = [each.serial for each in world.register.clients() if each.revoked_at is None]
    world.register.revoke(serials, RevocationReason.CESSATION_OF_OPERATION, now)


# ── in a pass ─────────────────────────────────────────────────────────────────────────────────────


def tend(
    world: Neighbours, books: Books, judge: ClockJudge, now: datetime, *, is_starting: bool
) -> Error | None:
    """Signs the list that is due, or publishes the one whose time has come; says why not.

    What failed last rests before it is tried again.
    """
    seen = observe_authority(world)
    if seen is None or seen.root is None:
        return _told_trouble(world, seen)
    reason = signature_reason(seen, now, is_starting=is_starting)
    rung = rung_to_publish(seen, now) if seen.is_locked else None
    before = setback_of(books.read(world.watch.setbacks, ()), LIST)
    setup = list_setup(seen)
    if reason is None and rung is None:
        if before is not None:  # a command has done it meanwhile
            books.write(partial(world.watch.clear_setback, LIST))
        return None
    if held_until(before, setup, now) > now:
        return None
    verdict = judge.assess(now, needs_date=True)
    if not may_sign(verdict, seen.crl, now):
        return None  # told with the clock
    if not verdict.is_trusted:
        text = "a list is published by a clock that nobody vouches for, as the one before is ageing"
        world.reporter.event(Level.WARNING, SUBJECT, text, verdict.hint)
    try:
        with world.locks.authority():
            if seen.is_locked:
                _publish_rung(world, seen.root, now)
            else:
                _bring_up_to_date(world, seen.root, now)
    except Exception as exception:  # noqa: BLE001 - certificates are renewed all the same
        error = as_error(exception)
        _tell(world, error)
        failed = after_failure(before, LIST, setup, error, now)
        books.write(partial(world.watch.save_setback, failed))
        return error
    judge.signed(now)
    if before is not None:
        books.write(partial(world.watch.clear_setback, LIST))
    return None


def _bring_up_to_date(world: Neighbours, root: Root, now: datetime) -> None:
    key = world.signing_key()
    world.register.forget_probes(now - PROBES_FORGOTTEN_AFTER)
    freshen_probe(world, root, key, now)
    sign_lists(world, root, key, now)


# ── signing: whoever calls holds the lock on the authority ────────────────────────────────────────


def sign_lists(world: Neighbours, root: Root, key: PrivateKey, now: datetime) -> tuple[Crl, ...]:
    """Signs the next list and publishes it; with a locked CA also those of the year ahead.

    In it is all that stands in the book, and what is by now no longer to be used.
    """
    spec = required_spec(world)
    _learn_from_lists(world, root)
    if serials := world.register.superseded(now):
        world.register.revoke(serials, RevocationReason.SUPERSEDED, now)

    def sign(number: int, at: datetime, entries: Sequence[Revoked]) -> Crl:
        return build_crl(
            root.pem, key, number=number, at=at, lifetime=spec.crl_lifetime, entries=entries
        )

    dates = ladder_dates(now, spec.crl_lifetime) if world.authority.is_locked() else (now,)
    lists = world.register.sign_lists(dates, now, sign)
    _publish(world, lists[0], now)
    world.register.step_up(lists[0].number)
    return lists


def make_probe(
    world: Neighbours, root: Root, key: PrivateKey, now: datetime, lifetime: timedelta
) -> Pair:
    """A client certificate for ourselves; its key is in what is returned, and nowhere else."""
    key_pem, public_key = generate_key_pair(KeyType.ECDSA_P256)
    not_before, not_after = client_dates(root, now, lifetime)
    certificate = ClientCertificate(
        new_serial(), PROBE_NAME, None, not_before, not_after, ClientPurpose.PROBE, is_signed=False
    )
    world.register.add([certificate])
    pem = build_client(root.pem, key, certificate, public_key)
    world.register.signed({certificate.serial: pem})
    return read_pair(key_pem, pem)


def keep_revoked_probe(world: Neighbours, probe: Pair, now: datetime) -> None:
    """Revokes the probe and keeps it: that it is refused shows that a list from now on is used."""
    # In this order: one that is kept must never be found unrevoked.
    serial = probe.certificate.serial
    world.register.revoke([serial], RevocationReason.UNSPECIFIED, now)
    world.authority.save_probe(probe)


def rotate_probe(world: Neighbours, root: Root, key: PrivateKey, now: datetime) -> None:
    """Another probe to be refused, in place of the one that is kept."""
    keep_revoked_probe(world, make_probe(world, root, key, now, PROBE_LIFETIME), now)


def freshen_probe(world: Neighbours, root: Root, key: PrivateKey, now: datetime) -> None:
    """The same where the kept one would tell nothing of the next list.

    So it is where it ends soon; and where it may be in an earlier list, and somebody will only be
    in the next one: that it is refused would not show that this is in use.
    """
    probe = world.authority.probe()
    if probe is not None and not is_probe_due(probe.certificate, root, now):
        crl = world.authority.crl()
        if crl is not None and (
            probe.certificate.serial not in crl.serials or not _has_new_entries(world, crl, now)
        ):
            return
    rotate_probe(world, root, key, now)


def _has_new_entries(world: Neighbours, crl: Crl, now: datetime) -> bool:
    return bool(world.register.unlisted(crl) or world.register.superseded(now))


def _publish_rung(world: Neighbours, root: Root, now: datetime) -> None:
    seen = observe_authority(world)  # again: `ca unlock` may have been quicker
    rung = rung_to_publish(seen, now) if seen is not None else None
    if rung is not None:
        _publish(world, read_crl(world.register.rung(rung.number), root.pem), now)
        world.register.step_up(rung.number)


def _publish(world: Neighbours, crl: Crl, now: datetime) -> None:
    world.authority.publish(crl)
    text = publication(crl)
    world.reporter.event(Level.INFO, SUBJECT, f"{text} is published")
    record(world, Event(now, "list-published", None, None, text))


def _learn_from_lists(world: Neighbours, root: Root) -> None:
    """A list of which the register knows nothing: that was lost, or is an old one.

    Be it the published list, or one that a target has: its revocations are taken over, and the
    numbers jump past any that may have been given.
    """
    known = world.register.last_number()
    found = [crl for crl in _genuine_lists(world, root) if crl.number > known]
    if not found:
        return
    newest_first = sorted(found, key=lambda crl: crl.number, reverse=True)
    entries = [entry for crl in newest_first for entry in read_entries(crl.pem)]
    newest = newest_first[0].number
    unknown = world.register.take_over(entries, newest + NUMBER_JUMP)
    text = (
        f"the register did not know of revocation list {newest}: "
        f"{len(unknown)} revocations were taken over from it"
    )
    world.reporter.event(Level.WARNING, SUBJECT, text, "certwarden ca restore brings back the rest")


def _genuine_lists(world: Neighbours, root: Root) -> Iterator[Crl]:
    """The lists of this CA that are published, or installed at targets."""
    if (published := world.authority.crl()) is not None:
        yield published
    try:
        installed = world.belongings.lists()
    except StoreError as error:  # what cannot be read must not hold up the next list
        world.reporter.event(Level.WARNING, SUBJECT, error.what, error.hint)
        return
    for pem in installed:
        with suppress(MaterialError):  # anybody's may stand there
            yield read_crl(pem, root.pem)


def _told_trouble(world: Neighbours, seen: ObservedAuthority | None) -> Error | None:
    """Why the authority cannot be read, once that was told; None where there simply is none."""
    if seen is not None and seen.trouble is not None:
        _tell(world, seen.trouble)
        return seen.trouble
    return None


def _tell(world: Neighbours, error: Error) -> None:
    text = f"the revocation list could not be brought up to date: {error.what}"
    world.reporter.event(Level.ERROR, SUBJECT, text, error.hint)
